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

"""The simulated machine: a BMC, and a host with a login shell on ttyS0."""

import contextlib
import os
import pathlib
import pwd
import secrets
import shlex
import shutil
import socket

import family

#: ASF Presence Ping (IPMI v2.0 section 13.2.3), which needs no session.
_PING = bytes.fromhex('0600ff06' '000011be' '80000000')

_LAN_CONF = """\
name "demo"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid 5f0c1e5e00000000000000000000de30
  endlan
  sol "{serial}" 115200 nortscts
  startnow false
  user 1 true "" "{password}" user 10 none md2 md5 straight
  user 2 true "{username}" "{password}" admin 10 none md2 md5 straight
"""

_SIM_EMU = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


class Machine:
    """One of them.

    :param relatives: starts its processes.
    :param directory: for its files.
    """

    address = '127.0.0.1'
    username = 'ironic'

    def __init__(self, relatives: family.Family,
                 directory: pathlib.Path) -> None:
        self._family = relatives
        self._directory = directory
        self.port = family.free_ports(socket.SOCK_DGRAM)
        #: At most 16 bytes, as IPMI 1.5 allowed; a new one each time.
        self.password = secrets.token_hex(8)
        # The name is unique, because ipmi_sim locks the line by it.
        self.serial = directory / f'ttyS0-{os.getpid()}'

    def start(self) -> None:
        """Plug the serial line in, then power the BMC.

        :raises: DemoError if they do not come up.
        """
        shell = [str(pathlib.Path(__file__).with_name('login.sh')),
                 *self._login()]
        self._family.start('host', [
            'socat', f'PTY,link={self.serial},rawer,wait-slave',
            f'EXEC:{shlex.join(["bash", *shell])},pty,setsid,ctty,stderr'])
        family.wait_for(self.serial.is_symlink, 'the serial line', 10.0)
        values = {'port': self.port, 'serial': self.serial,
                  'username': self.username, 'password': self.password}
        (self._directory / 'lan.conf').write_text(_LAN_CONF.format(**values))
        (self._directory / 'sim.emu').write_text(_SIM_EMU)
        simulator = self._family.start('bmc', [
            'ipmi_sim', '-n', '-c', str(self._directory / 'lan.conf'),
            '-f', str(self._directory / 'sim.emu'),
            '-s', str(self._directory / 'bmc')])

        def is_up() -> bool:
            if simulator.poll() is not None:
                raise family.DemoError('the simulated BMC ended at once')
            return self.answers()

        family.wait_for(is_up, 'an answer of the simulated BMC', 20.0)

    def _login(self) -> list[str]:
        """Arguments of login.sh: who the shell is to be.

        The TCP port of a console asks for no password. So that nobody on
        this machine gets more than they have, the shell of a demo that
        root starts is nobody's.
        """
        home = self._directory / 'home'
        home.mkdir(mode=0o700)
        if os.geteuid() != 0:
            return [str(home)]
        nobody = pwd.getpwnam('nobody')
        shutil.chown(home, nobody.pw_uid, nobody.pw_gid)
        return [str(home), str(nobody.pw_uid), str(nobody.pw_gid)]

    def answers(self) -> bool:
        """Whether the BMC answers IPMI."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.5)
            sock.connect((self.address, self.port))
            with contextlib.suppress(OSError):
                sock.send(_PING)
                return bool(sock.recv(1024))
        return False
