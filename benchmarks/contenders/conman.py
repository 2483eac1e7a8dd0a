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

"""conman with FreeIPMI, which is always connected."""

import pathlib
import re
import shutil
import subprocess
import tempfile

from benchmarks import contenders
from benchmarks import usage
from tests.support import ports
from tests.support import processes
from tests.support import waiting

#: Cipher suite 3, and those workarounds of FreeIPMI that ipmi_sim needs. It
#: does not survive the question that solchannelsupport leaves out.
_OPTIONS = 'C:3,W:opensesspriv,W:solpayloadsize,W:solchannelsupport'

#: Seconds within which it has all consoles, or one of them has failed.
_START_TIMEOUT = 45.0


class Conman:
    """conmand, with its own protocol for clients.

    :param program: path of a conmand.
    """

    name = 'conman'
    always_on = True

    def __init__(self, program: str = 'conmand') -> None:
        self._program = program
        self._directory = pathlib.Path()
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def version(self) -> str:
        """Its first word about itself, such as ``conman-0.3.1 FREEIPMI``.

        '' when it cannot be run.
        """
        try:
            return subprocess.run(
                [self._program, '-V'], capture_output=True, text=True,
                timeout=10.0, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return ''

    def missing(self, consoles: int) -> str:
        """Why this cannot run here; '' when it can."""
        version = self.version()
        if not version:
            return f'{self._program} cannot be run'
        if 'FREEIPMI' not in version:
            return f'{version} is built without FreeIPMI'
        number = re.search(r'(\d+)\.(\d+)', version)
        if number is None or tuple(map(int, number.groups())) < (0, 3):
            return f'{version} has no solchannelsupport (since 0.3)'
        return ''

    def start(self, targets: list[contenders.Target]) -> None:
        """Start conmand and wait until it has all consoles."""
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix='conman.'))
        self._port = ports.free_port()
        account = targets[0]
        (self._directory / 'conman.conf').write_text('\n'.join([
            'server keepalive=on', 'server loopback=on',
            f'server port={self._port}',
            f'server pidfile="{self._directory / "pid"}"',
            f'global ipmiopts="U:{account.username},P:{account.password},'
            f'{_OPTIONS}"',
            *(f'console name="c{target.number}" '
              f'dev="ipmi:{target.address}:{target.port}"'
              for target in targets), '']))
        # There is a password in it.
        (self._directory / 'conman.conf').chmod(0o600)
        with (self._directory / 'output').open('wb') as output:
            self._process = subprocess.Popen(
                processes.die_with_us([
                    self._program, '-F', '-v', '-c',
                    str(self._directory / 'conman.conf')]),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            waiting.wait_until(
                lambda: self._connected() >= len(targets),
                'all consoles', _START_TIMEOUT)
        except AssertionError:
            raise contenders.NotConnected(
                f'{self._connected()} of {len(targets)} consoles are '
                f'connected after {_START_TIMEOUT:g} s; it said last: '
                + self._output().strip().rpartition('\n')[2]) from None
        waiting.wait_until(lambda: self._port in usage.listening(),
                           'conman listening')

    def _output(self) -> str:
        return (self._directory / 'output').read_text(errors='replace')

    def _connected(self) -> int:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f'conman has ended: {self._output()}')
        return len(set(re.findall(
            r'Console \[(c\d+)\] connected to', self._output())))

    def line(self, number: int) -> contenders.Line:
        """The way to one console: what its own client says.

        It joins, as ``conman -j`` does, who may still seem to be there.
        """
        name = f"CONSOLE='c{number}'"
        return contenders.Line(self._port, (
            (b"HELLO USER='benchmark' TTY='none'\n", b'OK\n'),
            (f'CONNECT OPTION=JOIN {name}\n'.encode(),
             f'OK {name}\n'.encode())))

    def pids(self) -> list[int]:
        """conmand."""
        return ([] if self._process is None
                else usage.family([self._process.pid]))

    def free(self, number: int) -> None:
        """It is."""

    def stop(self) -> None:
        """End it and remove its files."""
        if self._process is not None:
            processes.end(self._process, 20.0)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)
