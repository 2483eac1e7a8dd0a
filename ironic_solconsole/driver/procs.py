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

"""Processes of this host: which is which, and signals to the right one.

A process id comes again. So a process is known by a token, and a signal
goes only to what was looked at right before, through a pidfd.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import functools
import os
import pathlib
import signal
import time

#: Seconds between two looks at processes that are to end.
_TICK = 0.02


def process_token(pid: int) -> str:
    """A word for a process that no other process has, or '' if it is gone.

    A process id alone comes again; with the time of its start (proc(5),
    field 22 of stat) and the boot it does not.
    """
    fields = _stat(pid)
    if not fields or fields[0] in 'ZX':
        return ''
    try:
        return f'{_boot()}:{pid}:{fields[19]}'
    except OSError:
        return ''


def is_alive(token: str) -> bool:
    """Whether the process that a word stands for still runs."""
    pid = pid_of(token)
    return pid > 0 and process_token(pid) == token


def pid_of(token: str) -> int:
    """The process id in a token, or 0."""
    pid = token.split(':')[1:2]
    # longer ones are no process ids, and int() refuses very long ones
    if pid and pid[0].isascii() and pid[0].isdigit() and len(pid[0]) < 20:
        return int(pid[0])
    return 0


@dataclasses.dataclass(frozen=True)
class Process:
    """A process as it was when it was looked at.

    :param token: the word for it.
    :param parent: process id of its parent.
    :param argv: its command line.
    """

    token: str
    parent: int
    argv: tuple[str, ...]

    @property
    def pid(self) -> int:
        """Process id."""
        return pid_of(self.token)

    @property
    def program(self) -> str:
        """The last part of argv[0]."""
        return os.path.basename(self.argv[0]) if self.argv else ''


def look_at(pid: int) -> Process | None:
    """A process, if it runs and is of our own user."""
    token = process_token(pid)
    try:
        status = pathlib.Path(f'/proc/{pid}/status').read_text(
            'utf-8', 'replace')
        raw = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()
    except OSError:
        return None
    values = dict(line.split(':', 1) for line in status.splitlines()
                  if ':' in line)
    # real and effective user; who has changed only one is not ours
    users = values.get('Uid', '').split()[:2]
    ours = str(os.geteuid())
    if not token or users != [ours, ours] or token != process_token(pid):
        return None
    return Process(token, int(values.get('PPid', '0')), tuple(
        os.fsdecode(word) for word in raw.rstrip(b'\0').split(b'\0')))


def look_around() -> list[Process]:
    """All processes of our own user that run."""
    user = os.geteuid()
    found = []
    for name in os.listdir('/proc'):
        if not name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            # cheaper than status, and right but for what hides its memory
            if os.stat(f'/proc/{name}').st_uid != user:
                continue
            process = look_at(int(name))
            if process is not None:
                found.append(process)
    return found


def started_at(pid: int) -> float | None:
    """When a process began, in seconds since the epoch, or None."""
    fields = _stat(pid)
    if not fields:
        return None
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks = os.sysconf('SC_CLK_TCK')
    return time.time() - up + int(fields[19]) / ticks


def send_signal(token: str, number: int,
                check: Callable[[Process], bool]) -> bool:
    """Send a signal to a process if it is the one that is meant.

    :param number: of the signal.
    :param check: looks at the process once more; it is of our user.
    :returns: whether it was sent.
    """
    pid = pid_of(token)
    if pid <= 1:
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (AttributeError, OSError):
        # an old kernel or a sandbox, or there are too many descriptors
        descriptor = -1
    try:
        # with a pidfd the number cannot pass to another process from here on
        process = look_at(pid)
        if process is None or process.token != token or not check(process):
            return False
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(pid, number)
    except OSError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


def wait_gone(tokens: list[str], seconds: float) -> list[str]:
    """Wait until processes have ended.

    :param tokens: those that are to end.
    :returns: those that have not.
    """
    deadline = time.monotonic() + seconds
    while True:
        tokens = [token for token in tokens if is_alive(token)]
        if not tokens or time.monotonic() >= deadline:
            return tokens
        time.sleep(_TICK)


@functools.cache
def _boot() -> str:
    """A word for this boot of the host."""
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text()
    return boot[:8]


def _stat(pid: int) -> list[str]:
    """Fields of stat from the third on; none if it is gone."""
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text(
            'utf-8', 'replace')
    except OSError:
        return []
    # field 2 is the command, which may contain spaces and parentheses
    return stat.rpartition(')')[2].split()
