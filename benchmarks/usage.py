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

"""What processes cost, as the kernel counts it."""

import collections
import collections.abc
import os
import pathlib
import time

_PROC = pathlib.Path('/proc')

#: State of a listening socket in /proc/net/tcp.
_LISTEN = '0A'


def cpu(pids: collections.abc.Iterable[int]) -> dict[int, float]:
    """CPU seconds, user and system, of processes that run.

    /proc/PID/stat counts in hundredths of a second, which is more than
    most of the processes here use; the clock of a process counts
    nanoseconds, all its threads together. Its number is made of the
    process id: see clock_getcpuclockid(3).
    """
    used = {}
    for pid in pids:
        try:
            used[pid] = time.clock_gettime((~pid << 3) | 2)
        except OSError:
            pass                        # it has ended
    return used


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds between two calls of cpu().

    What a process that has ended in between used is not known.
    """
    return sum(now - before.get(pid, 0.0) for pid, now in after.items())


def pss(pids: collections.abc.Iterable[int]) -> int:
    """Bytes of memory, shared pages divided among those who share them."""
    total = 0
    for pid in pids:
        try:
            text = (_PROC / str(pid) / 'smaps_rollup').read_text()
        except OSError:
            continue                    # it has ended
        total += sum(int(line.split()[1]) for line in text.splitlines()
                     if line.startswith('Pss:'))
    return total * 1024


def family(roots: collections.abc.Iterable[int]) -> list[int]:
    """Processes and all their descendants that run."""
    children: dict[int, list[int]] = collections.defaultdict(list)
    running = set()
    for entry in os.listdir(_PROC):
        if not entry.isdigit():
            continue
        try:
            stat = (_PROC / entry / 'stat').read_text()
        except OSError:
            continue
        # The name in parentheses may contain anything.
        state, parent = stat.rpartition(')')[2].split()[:2]
        if state not in 'ZX':
            running.add(int(entry))
            children[int(parent)].append(int(entry))
    found = []
    pending = [pid for pid in roots if pid in running]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += children[pid]
    return found


def listening() -> set[int]:
    """TCP ports that somebody listens on, IPv4."""
    rows = (_PROC / 'net' / 'tcp').read_text().splitlines()[1:]
    return {int(local.rpartition(':')[2], 16)
            for _, local, _, state, *_ in map(str.split, rows)
            if state == _LISTEN}


def available_memory() -> int:
    """Bytes that could be used without swapping."""
    for line in (_PROC / 'meminfo').read_text().splitlines():
        if line.startswith('MemAvailable:'):
            return int(line.split()[1]) * 1024
    raise OSError('/proc/meminfo has no MemAvailable')
