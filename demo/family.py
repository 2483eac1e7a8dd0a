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

"""What the demo starts: kept in view, and stopped to the last process."""

import collections.abc
import contextlib
import dataclasses
import os
import pathlib
import socket
import subprocess
import time

#: In the environment of everything that the demo starts, so that it finds
#: what its processes have started in their turn.
MARK = 'SOLCONSOLE_DEMO'

#: What login.sh puts after the mark for the shell and all that runs in it.
SHELL = '.shell'


class DemoError(Exception):
    """The demo cannot go on; the text says what failed."""


def wait_for(condition: collections.abc.Callable[[], object], what: str,
             seconds: float) -> None:
    """Wait until a condition holds.

    :raises: DemoError that names what did not come.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f'{what}: not within {seconds:.0f} s')
        time.sleep(0.05)


def free_ports(kind: socket.SocketKind, count: int = 1) -> int:
    """Find free loopback ports in a row, below the ephemeral ones.

    :returns: the first of them.
    """
    start = 20000 + os.getpid() % 10000
    for first in [*range(start, 32000 - count), *range(20000, start)]:
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    sock = stack.enter_context(
                        socket.socket(socket.AF_INET, kind))
                    sock.bind(('127.0.0.1', port))
            except OSError:
                continue
            return first
    raise DemoError('no free port on 127.0.0.1 between 20000 and 32000')


def is_open(port: int) -> bool:
    """Whether somebody listens on a TCP port of 127.0.0.1."""
    with socket.socket() as sock:
        sock.settimeout(2.0)
        return sock.connect_ex(('127.0.0.1', port)) == 0


@dataclasses.dataclass(frozen=True)
class Seen:
    """One process; a number used again later is another one.

    :param pid: process id.
    :param start: when it started, in clock ticks since boot.
    """

    pid: int
    start: str

    @classmethod
    def at(cls, pid: int) -> 'Seen | None':
        """The process of that number, unless it is dead."""
        try:
            text = pathlib.Path(f'/proc/{pid}/stat').read_text()
        except OSError:
            return None
        fields = text.rpartition(')')[2].split()
        return None if fields[0] in 'ZX' else cls(pid, fields[19])

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return Seen.at(self.pid) == self

    @property
    def parent(self) -> int:
        """Process id of its parent, 0 when it is gone."""
        try:
            text = pathlib.Path(f'/proc/{self.pid}/stat').read_text()
        except OSError:
            return 0
        return int(text.rpartition(')')[2].split()[1])

    @property
    def command(self) -> str:
        """Its arguments, or '' when it is gone."""
        try:
            raw = pathlib.Path(f'/proc/{self.pid}/cmdline').read_bytes()
        except OSError:
            return ''
        return raw.replace(b'\0', b' ').decode(errors='replace').strip()

    @property
    def mark(self) -> str:
        """What its environment says of the demo that started it."""
        try:
            raw = pathlib.Path(f'/proc/{self.pid}/environ').read_bytes()
        except OSError:
            return ''
        found = [word.partition(b'=')[2] for word in raw.split(b'\0')
                 if word.startswith(f'{MARK}='.encode())]
        return found[0].decode(errors='replace') if found else ''


class Family:
    """All processes of this demo.

    :param directory: where their output goes; its path is the mark.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._mark = str(directory)
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._known: set[Seen] = set()

    def start(self, name: str, command: list[str]
              ) -> 'subprocess.Popen[bytes]':
        """Start one; its output goes to ``NAME.log``.

        It has a session of its own, so that Ctrl-C reaches the demo only,
        and the kernel ends it should the demo be killed.
        """
        with (self.directory / f'{name}.log').open('ab') as log:
            process = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'TERM', *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd='/',
                env={**os.environ, MARK: self._mark})
        self._children.append((name, process))
        return process

    def members(self) -> set[Seen]:
        """The processes that run now, with their children."""
        everyone = {
            seen for entry in os.listdir('/proc') if entry.isdecimal()
            and (seen := Seen.at(int(entry))) is not None}
        found = {seen for seen in everyone if seen.pid != os.getpid()
                 and seen.mark in (self._mark, self._mark + SHELL)}
        found |= {seen for _, process in self._children
                  if (seen := Seen.at(process.pid)) is not None}
        while True:
            pids = {seen.pid for seen in found}
            more = {seen for seen in everyone - found
                    if seen.parent in pids}
            if not more:
                break
            found |= more
        self._known |= found
        return found | {seen for seen in self._known if seen.alive}

    def stop(self, *, strict: bool) -> list[str]:
        """End them, the last started first, and wait.

        :param strict: count what was left running in the shell, too.
        :returns: what did not end when asked; it is killed then.
        """
        self.members()
        slow = []
        for name, process in reversed(self._children):
            process.terminate()
            try:
                process.wait(20.0)
            except subprocess.TimeoutExpired:
                slow.append(f'{name} (pid {process.pid})')
                process.kill()
                process.wait(5.0)
        deadline = time.monotonic() + 6.0
        while left := self.members():
            if time.monotonic() > deadline:
                for seen in left:
                    # A person may leave something running in the shell.
                    if strict or not seen.mark.endswith(SHELL):
                        slow.append(f'{seen.command} (pid {seen.pid})')
                    with contextlib.suppress(OSError):
                        os.kill(seen.pid, 9)
                break
            time.sleep(0.05)
        self._children.clear()
        return slow
