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

"""ipmitool, as an operator uses it beside us."""

import os
import pty
import re
import select
import subprocess
import threading
import tty

from tests.support import processes
from tests.support import waiting

#: Seconds for one command; at our BMCs it takes a few hundredths.
TIMEOUT = 20.0


class IpmitoolError(Exception):
    """A command failed.

    :param code: the completion code where the BMC gave one, else None.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        found = re.search(r'rsp=0x([0-9a-f]+)', text)
        self.code = int(found.group(1), 16) if found else None


class Ipmitool:
    """Commands to one BMC with cipher suite 3.

    :param address: of the BMC.
    :param port: UDP port of the BMC.
    :param username: account.
    :param password: goes through the environment, not the command line.
    :param kg: the BMC's key Kg as text; '' is none.
    """

    def __init__(self, address: str, port: int, username: str,
                 password: str, kg: str = '') -> None:
        self._command = [
            'ipmitool', '-I', 'lanplus', '-H', address, '-p', str(port),
            '-C', '3', '-U', username, '-E', *(['-k', kg] if kg else [])]
        self._environment = {**os.environ, 'IPMI_PASSWORD': password}

    def run(self, *words: str, timeout: float = TIMEOUT) -> str:
        """One command; gives what it printed.

        :raises: IpmitoolError.
        """
        done = subprocess.run(
            [*self._command, *words], env=self._environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors='replace', timeout=timeout, check=False)
        if done.returncode:
            raise IpmitoolError(
                f'ipmitool {" ".join(words)}: {done.stderr.strip()}')
        return done.stdout

    def raw(self, *request: int) -> bytes:
        """One raw request: network function, command, data.

        :raises: IpmitoolError with the completion code.
        """
        answer = self.run('raw', *(f'{byte:#x}' for byte in request))
        return bytes.fromhex(answer.replace('\n', ' '))

    def payload_active(self) -> bool:
        """Whether SOL is open (Get Payload Activation Status, 0x4A)."""
        answer = self.raw(0x06, 0x4A, 0x01)
        return any(answer[1:3])

    def holder(self) -> int:
        """Session id of who has SOL open (0x4B); 0 is nobody."""
        answer = self.raw(0x06, 0x4B, 0x01, 0x01)
        return int.from_bytes(answer[:4], 'little')

    def set_sol_enabled(self, enabled: bool) -> None:
        """Switch SOL on or off on the BMC."""
        self.run('sol', 'set', 'enabled', str(enabled).lower(), '1')

    def deactivate(self) -> None:
        """Take SOL away from whoever has it."""
        self.run('sol', 'deactivate')

    def activate(self) -> 'SolByHand':
        """Open the console, as ``sol activate`` on a terminal."""
        return SolByHand([*self._command, 'sol', 'activate'],
                         self._environment)


class SolByHand:
    """An operator's ``ipmitool sol activate`` on a pty of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]
                 ) -> None:
        self._master, slave = pty.openpty()
        # ipmitool makes its terminal raw too late to keep what a fast
        # host sends first.
        tty.setraw(slave)
        self._screen = bytearray()
        self._process = subprocess.Popen(
            processes.die_with_us(command), env=environment, stdin=slave,
            stdout=slave, stderr=slave)
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> 'SolByHand':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:             # the slave's last user has gone
                return
            if not data:
                return
            self._screen += data

    @property
    def screen(self) -> bytes:
        """All that ipmitool has printed."""
        return bytes(self._screen)

    @property
    def running(self) -> bool:
        """Whether ipmitool has not ended."""
        return self._process.poll() is None

    def wait_for(self, wanted: bytes,
                 timeout: float = waiting.PATIENCE) -> None:
        """Wait for text on the screen."""
        waiting.wait_until(lambda: wanted in self._screen,
                           f'{wanted!r} on the screen of ipmitool', timeout,
                           seen=lambda: self.screen)

    def wait_open(self) -> None:
        """Wait until it says that the console is open."""
        self.wait_for(b'SOL Session operational')

    def type(self, data: bytes) -> None:
        """Send keys."""
        _, writable, _ = select.select([], [self._master], [], 5.0)
        assert writable, 'ipmitool does not read its terminal'
        os.write(self._master, data)

    def leave(self, timeout: float = 10.0) -> None:
        """End in order with ``~.`` and log out."""
        self.type(b'\r~.')
        waiting.wait_until(lambda: not self.running,
                           'end of ipmitool after ~.', timeout,
                           seen=lambda: self.screen)
        self.kill()

    def kill(self) -> None:
        """Kill -9 if it runs: its session stays open on the BMC."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(5.0)
        self._reader.join(5.0)
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
