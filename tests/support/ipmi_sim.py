# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Simulated BMCs: OpenIPMI's ``ipmi_sim``, many in one process.

::

    with IpmiSim([BmcSetup(), BmcSetup(sol_enabled=False)]) as sim:
        bmc = sim.bmcs[0]
        bmc.host.send(b'login: ')
        assert not bmc.payload_active()

What the simulator cannot do: cipher suite 17; refusing an account a
privilege; telling the address of the client in Get Session Info;
forgetting a session earlier than 30 s after its last packet that was not
SOL.
"""

import collections.abc
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from tests.support import hosts
from tests.support import ipmitool
from tests.support import ports
from tests.support import processes
from tests.support import waiting

#: More management controllers than this do not fit on one simulated IPMB:
#: they have the even addresses from 0x20.
BMCS_A_PROCESS = 112

#: ASF Presence Ping (IPMI v2.0 section 13.2.3): needs no session.
_ARE_YOU_THERE = bytes.fromhex('0600ff06' '000011be' '80000000')


@dataclasses.dataclass(frozen=True)
class User:
    """An account on a BMC."""

    number: int
    name: str
    password: str
    privilege: str = 'admin'


ADMIN = User(2, 'admin', 'secret')
SECOND = User(5, 'second', 'secret5')
OPERATOR = User(6, 'operator', 'secret6', 'operator')
PLAIN = User(7, 'plain', 'secret7', 'user')
USERS = (User(1, '', 'test', 'user'), ADMIN, SECOND, OPERATOR, PLAIN)


@dataclasses.dataclass(frozen=True)
class BmcSetup:
    """What one simulated BMC is to be like.

    :param users: its accounts.
    :param serial: 'host' for a Host of ours on the serial line; a path of
        a pty; or '' for a BMC without SOL, which answers Activate Payload
        with 0xC1 (invalid command) as if it did not know it.
    :param sol_enabled: False makes it answer Activate Payload with 0x81,
        as a BMC on which SOL is switched off.
    :param echo: the Host echoes.
    :param kg: the BMC's key Kg as text without blanks; '' is none.
    """

    users: tuple[User, ...] = USERS
    serial: str = 'host'
    sol_enabled: bool = True
    echo: bool = False
    kg: str = ''


class Bmc:
    """One simulated BMC and the host behind it."""

    address = '127.0.0.1'

    def __init__(self, setup: BmcSetup, port: int, number: int) -> None:
        self.setup = setup
        self.port = port
        self.mc = 0x20 + 2 * number
        self._host = (hosts.Host(setup.echo) if setup.serial == 'host'
                      else None)

    @property
    def host(self) -> hosts.Host:
        """What plays the machine on the serial line."""
        assert self._host is not None, 'this BMC has no Host of ours'
        return self._host

    @property
    def has_host(self) -> bool:
        """Whether a Host of ours is on the serial line."""
        return self._host is not None

    def ipmitool(self, user: User = ADMIN) -> ipmitool.Ipmitool:
        """The command line tool, logged in here."""
        return ipmitool.Ipmitool(
            self.address, self.port, user.name, user.password,
            self.setup.kg)

    def payload_active(self) -> bool:
        """Whether the BMC says that somebody has SOL open."""
        return self.ipmitool().payload_active()

    def wait_free(self, timeout: float = waiting.PATIENCE) -> None:
        """Wait until nobody has SOL open."""
        waiting.wait_until(
            lambda: not self.payload_active(),
            f'BMC on port {self.port} without an active SOL payload',
            timeout, interval=0.2)

    def answers(self) -> bool:
        """Whether the BMC answers IPMI at all."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.3)
            sock.connect((self.address, self.port))
            try:
                sock.send(_ARE_YOU_THERE)
                return bool(sock.recv(1024))
            except OSError:
                return False

    def lan_conf(self) -> str:
        """The section of lan.conf for this BMC."""
        serial = (f'tcp:127.0.0.1:{self.host.port}' if self._host
                  else self.setup.serial)
        auths = 'none md2 md5 straight'
        lines = [
            f'set_working_mc {self.mc:#x}',
            '  startlan 1',
            f'    addr {self.address} {self.port}',
            '    priv_limit admin',
            *(f'    allowed_auths_{level} {auths}' for level in
              ('callback', 'user', 'operator', 'admin')),
            *([f'    bmc_key "{self.setup.kg}"'] if self.setup.kg else []),
            f'    guid a123456789abcdefa12345678{self.port:07x}',
            '  endlan']
        if serial:
            # A pty has no modem lines.
            lines.append(f'  sol "{serial}" 115200'
                         + (' nortscts' if serial.startswith('/') else ''))
        lines.append('  startnow false')
        lines += [
            f'  user {user.number} true "{user.name}" "{user.password}" '
            f'{user.privilege} 10 {auths}' for user in self.setup.users]
        return '\n'.join(lines) + '\n'

    def sim_emu(self) -> str:
        """The commands of sim.emu for this BMC."""
        return (f'mc_add {self.mc:#x} 0 no-device-sdrs 0x23 9 8 0x9f '
                '0x1291 0xf02\n'
                f'sel_enable {self.mc:#x} 1000 0x0a\n'
                f'mc_enable {self.mc:#x}\n')


class _Process:
    """One ipmi_sim process with up to BMCS_A_PROCESS BMCs."""

    def __init__(self, bmcs: list[Bmc], directory: pathlib.Path) -> None:
        self.bmcs = bmcs
        self.directory = directory
        self.log = directory / 'ipmi_sim.log'
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self) -> None:
        state = self.directory / 'state' / 'ipmi_sim' / 'sim'
        state.mkdir(parents=True)
        (self.directory / 'lan.conf').write_text(
            'name "sim"\n' + ''.join(bmc.lan_conf() for bmc in self.bmcs))
        (self.directory / 'sim.emu').write_text(
            'mc_setbmc 0x20\n' + ''.join(bmc.sim_emu() for bmc in self.bmcs))
        for bmc in self.bmcs:
            if not bmc.setup.sol_enabled:
                # Where ipmi_sim keeps what "sol set enabled" changes.
                (state / f'sol.mc{bmc.mc:02x}').write_text(
                    'bitrate:i:0\nenabled:i:0\n')

    def start(self) -> None:
        with self.log.open('ab') as log:
            self.process = subprocess.Popen(
                processes.die_with_us([
                    'ipmi_sim', '-n', '-c', str(self.directory / 'lan.conf'),
                    '-f', str(self.directory / 'sim.emu'),
                    '-s', str(self.directory / 'state')]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait_answer(self, bmc: Bmc, timeout: float) -> None:
        def answers() -> bool:
            assert self.process is not None
            return self.process.poll() is not None or bmc.answers()

        waiting.wait_until(
            answers, f'answer of the simulated BMC on port {bmc.port}',
            timeout)
        assert self.process is not None
        assert self.process.poll() is None, (
            f'ipmi_sim ended with {self.process.returncode}: '
            f'{self.log.read_text(errors="replace")[-2000:]}')


class IpmiSim:
    """A set of simulated BMCs on loopback ports of their own.

    :param setups: one a BMC, or the number of BMCs with the default one.
    """

    def __init__(self, setups: int | collections.abc.Iterable[BmcSetup] = 1
                 ) -> None:
        if isinstance(setups, int):
            setups = [BmcSetup()] * setups
        wanted = list(setups)
        numbers = ports.free_ports(len(wanted))
        #: In the order of the setups.
        self.bmcs = [
            Bmc(setup, port, index % BMCS_A_PROCESS)
            for index, (setup, port) in enumerate(zip(wanted, numbers))]
        self._directory: pathlib.Path | None = None
        self._processes: list[_Process] = []

    def __enter__(self) -> 'IpmiSim':
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> 'IpmiSim':
        """Start hosts, then BMCs; return when every BMC answers."""
        assert shutil.which('ipmi_sim'), (
            'ipmi_sim is not installed (Debian: openipmi)')
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix='ipmi_sim.'))
        for bmc in self.bmcs:
            if bmc.has_host:
                bmc.host.start()
        for first in range(0, len(self.bmcs), BMCS_A_PROCESS):
            directory = self._directory / str(first)
            directory.mkdir()
            process = _Process(
                self.bmcs[first:first + BMCS_A_PROCESS], directory)
            process.configure()
            self._processes.append(process)
        self.power_on()
        return self

    def stop(self) -> None:
        """End everything and remove its files."""
        self.power_off()
        for bmc in self.bmcs:
            if bmc.has_host:
                bmc.host.stop()
        self._processes.clear()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def power_on(self, timeout: float = 20.0) -> None:
        """Start the BMCs on the ports that they had."""
        for process in self._processes:
            process.start()
        for process in self._processes:
            for bmc in process.bmcs:
                process.wait_answer(bmc, timeout)
        for bmc in self.bmcs:
            if bmc.has_host:
                bmc.host.wait_plugged(timeout)

    def power_off(self) -> None:
        """End the BMCs at once, as a power cut; sessions are forgotten."""
        for process in self._processes:
            if process.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.signal(signal.SIGKILL)
                process.process.wait(5.0)
                process.process = None

    def freeze(self) -> None:
        """Let the BMCs take packets and answer none."""
        for process in self._processes:
            process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on; what waited in their sockets is answered."""
        for process in self._processes:
            process.signal(signal.SIGCONT)

    def pids(self) -> list[int]:
        """Process ids of the simulators that run."""
        return [process.process.pid for process in self._processes
                if process.process is not None]

    def log(self) -> str:
        """What the simulators printed."""
        return ''.join(
            process.log.read_text(errors='replace')
            for process in self._processes if os.path.exists(process.log))


@contextlib.contextmanager
def silent_bmc() -> collections.abc.Iterator[int]:
    """A UDP port that takes packets and answers nothing.

    :returns: its number, on 127.0.0.1.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(('127.0.0.1', ports.free_port()))
        yield sock.getsockname()[1]
