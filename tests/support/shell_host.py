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

"""A machine with a shell on its serial port.

socat joins the pty that a simulated BMC takes for the serial port with the
one that is the terminal of a real bash.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import termios

from tests.support import processes
from tests.support import waiting

PROMPT = 'host> '


class ShellHost:
    """A bash to be given to ``ipmi_sim`` as ``serial``."""

    def __init__(self) -> None:
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix='shell.'))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> 'ShellHost':
        link = self._directory / 'serial'
        script = self._directory / 'host.sh'
        script.write_text(
            f'tty > {self._directory}/tty\n'
            f'exec env -i PATH="$PATH" HOME={self._directory} TERM=xterm '
            f'LANG=C.UTF-8 PS1="{PROMPT}" bash --norc --noprofile -i\n')
        try:
            self._process = subprocess.Popen(
                processes.die_with_us([
                    'socat', f'PTY,link={link},rawer',
                    f'EXEC:bash {script},pty,setsid,ctty,stderr,sane']),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, cwd=self._directory)
            waiting.wait_until(
                lambda: link.exists() and self.tty, 'the shell of a host')
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the shell."""
        if self._process is not None:
            # It ends what it has started, unless it is killed.
            self._process.send_signal(signal.SIGTERM)
            processes.end(self._process, 5.0)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def serial(self) -> str:
        """The pty that is the serial port."""
        return os.path.realpath(self._directory / 'serial')

    @property
    def tty(self) -> str:
        """The terminal of the shell."""
        path = self._directory / 'tty'
        return path.read_text().strip() if path.exists() else ''

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal of the shell another size."""
        descriptor = os.open(self.tty, os.O_RDWR | os.O_NOCTTY)
        try:
            termios.tcsetwinsize(descriptor, (rows, columns))
        finally:
            os.close(descriptor)
