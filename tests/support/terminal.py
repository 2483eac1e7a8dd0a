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

"""The command line on a terminal that a test holds the other end of."""

import contextlib
import fcntl
import os
import pathlib
import pty
import select
import struct
import subprocess
import sys
import termios
import time

import ironic_solconsole
from tests.support import waiting


class TerminalRun:
    """``ironic-solconsole`` in a session of its own, on a new pty.

    :param words: the arguments.
    """

    def __init__(self, *words: object) -> None:
        self.output = b''
        self._master, slave = pty.openpty()
        #: The terminal, as its programs see it.
        self.slave = slave
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ,
                    struct.pack('4H', 24, 80, 0, 0))
        #: As it was before.
        self.before = self.modes()
        root = pathlib.Path(ironic_solconsole.__file__).parent.parent
        self.process = subprocess.Popen(
            # It is no leader of a group yet: setsid does not fork.
            ['setsid', '--ctty', sys.executable, '-m',
             'ironic_solconsole.cli.main', *map(str, words)],
            stdin=self.slave, stdout=self.slave, stderr=self.slave,
            env={**os.environ, 'PYTHONPATH': str(root)})

    def __enter__(self) -> 'TerminalRun':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait(10)
        for descriptor in (self._master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    @property
    def pid(self) -> int:
        """The command's process id."""
        return self.process.pid

    def modes(self) -> str:
        """All that ``stty -a`` says of the terminal."""
        return subprocess.run(
            ['stty', '-a'], stdin=self.slave, check=True, text=True,
            capture_output=True).stdout

    @property
    def raw(self) -> bool:
        """Whether keys go to the program one by one."""
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def type(self, data: bytes) -> None:
        """Type at the terminal."""
        os.write(self._master, data)

    def read(self) -> bytes:
        """All that was shown until now."""
        while select.select([self._master], [], [], 0)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                break
            if not data:
                break
            self.output += data
        return self.output

    def wait_for(self, wanted: bytes,
                 timeout: float = waiting.PATIENCE) -> bytes:
        """Wait until something is shown; gives all that was."""
        waiting.wait_until(
            lambda: wanted in self.read(), f'{wanted!r} at a terminal',
            timeout, seen=lambda: self.output)
        return self.output

    def wait_attached(self) -> None:
        """Wait until the console has the terminal."""
        self.wait_for(b'opens the menu')
        waiting.wait_until(lambda: self.raw, 'a raw terminal')

    def menu(self, key: bytes) -> None:
        """Choose from the menu."""
        self.type(b'\x1d')
        self.type(key)

    def wait_ended(self, timeout: float = waiting.PATIENCE) -> int:
        """Wait until it has ended; gives its exit status, negative for a
        signal."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
            time.sleep(0.02)
        self.read()
        assert self.process.returncode is not None, (
            f'it has not ended within {timeout:g} s; it showed '
            f'{waiting.excerpt(self.output)}')
        return self.process.returncode

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self.slave)
        os.close(self._master)
