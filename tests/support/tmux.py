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

"""A real terminal, in which a test types and whose screen it looks at."""

import pathlib
import shutil
import subprocess
import tempfile

from tests.support import waiting

PROMPT = 'local> '


class Tmux:
    """A tmux server of its own, with one window in which a shell runs.

    The shell leaves the modes of the terminal alone while it waits for a
    line.

    :param columns: width of the window.
    :param rows: its height.
    :param environment: of the shell, beyond ours.
    """

    def __init__(self, columns: int = 100, rows: int = 30,
                 **environment: str) -> None:
        self._size = (columns, rows)
        self._environment = environment
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix='tmux.'))

    def __enter__(self) -> 'Tmux':
        columns, rows = self._size
        variables = [word for item in {
            'PS1': PROMPT, 'LANG': 'C.UTF-8', **self._environment}.items()
            for word in ('-e', '='.join(item))]
        self.run('-f', '/dev/null', 'new-session', '-d', '-x', columns,
                 '-y', rows, *variables, 'bash', '--norc', '--noprofile',
                 '--noediting', '-i')
        try:
            # No line below the window, and its size is what is said here.
            self.run('set-option', '-g', 'status', 'off')
            self.run('set-option', '-g', 'window-size', 'manual')
            self.resize(columns, rows)
            self.wait_for(PROMPT)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server, and with it what runs in the window."""
        subprocess.run(self._command('kill-server'), timeout=20,
                       capture_output=True)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _command(self, *words: object) -> list[str]:
        return ['tmux', '-S', str(self._directory / 'socket'), '-u',
                *map(str, words)]

    def run(self, *words: object) -> str:
        """Run a command of tmux; gives what it printed."""
        done = subprocess.run(self._command(*words), timeout=20, text=True,
                              capture_output=True)
        assert done.returncode == 0, f'tmux {words}: {done.stderr}'
        return done.stdout

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self.run('resize-window', '-x', columns, '-y', rows)

    def type(self, text: str) -> None:
        """Type text as it is."""
        self.run('send-keys', '-l', '--', text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names, as Enter or C-]."""
        self.run('send-keys', *keys)

    def enter(self, line: str) -> None:
        """Type a line."""
        self.type(line)
        self.press('Enter')

    def screen(self) -> list[str]:
        """The lines that are seen, without blanks at their ends."""
        return [line.rstrip() for line in
                self.run('capture-pane', '-p').split('\n')]

    def text(self) -> str:
        """All that is seen, lines that were wrapped joined."""
        return self.run('capture-pane', '-p', '-J')

    def history(self) -> list[str]:
        """The lines that have scrolled away, and those that are seen."""
        return [line.rstrip() for line in self.run(
            'capture-pane', '-p', '-J', '-S', '-').split('\n')]

    def ask(self, name: str) -> str:
        """A variable of the pane, as ``alternate_on``."""
        return self.run('display-message', '-p', f'#{{{name}}}').strip()

    def wait_for(self, wanted: str,
                 timeout: float = waiting.PATIENCE) -> str:
        """Wait until text is seen; gives all that is."""
        waiting.wait_until(lambda: wanted in self.text(),
                           f'{wanted!r} on the screen', timeout,
                           interval=0.05, seen=self.text)
        return self.text()
