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

"""Ends console processes that were left behind on this host.

Those are bridges whose conductor has died while they hung, and the socat
and ipmitool of Ironic's own ipmitool-socat for a node that uses it no more.
Each process is looked at right before it is sent a signal; what is not
surely what it should be is left alone.
"""

from collections.abc import Callable
from collections.abc import Collection
import contextlib
import dataclasses
import os
import pathlib
import signal

from ironic.conf import CONF

from ironic_solconsole.driver import bridge_log
from ironic_solconsole.driver import procs
from ironic_solconsole.driver import records

#: Seconds for a bridge to log out of its BMCs, and then for the kernel to
#: end it.
BRIDGE_TIMEOUT = 2.5
KILL_TIMEOUT = 1.0

#: Seconds for ipmitool to log out when its terminal is gone, and then to
#: end on SIGTERM.
LOGOUT_TIMEOUT = 1.5
TERM_TIMEOUT = 0.5

#: Seconds by which a clock may be wrong when a socat is compared with the
#: file that it has written.
CLOCK_SLACK = 10.0


# Bridges

def end_bridges(run_dir: pathlib.Path) -> list[str]:
    """End the bridges of this host whose conductor is dead.

    What is written down of bridges that are gone is removed. Takes at most
    about 4 s, and next to nothing when there is nothing to do.

    :param run_dir: [solconsole]run_dir.
    :returns: what was done, as texts for the log.
    """
    hanging: dict[str, tuple[pathlib.Path, records.Record]] = {}
    texts = []
    for path, record in records.read_all(run_dir):
        if record is None:
            texts.append(f'Removed {bridge_log.printable(path)}, which is '
                         'damaged.')
            _remove(path)
        elif procs.is_alive(record.conductor):
            continue
        elif procs.send_signal(record.token, signal.SIGTERM,
                               _is_bridge_of(record)):
            hanging[record.token] = path, record
        else:
            _remove(path)
    left = procs.wait_gone(list(hanging), BRIDGE_TIMEOUT)
    killed = {token for token in left if procs.send_signal(
        token, signal.SIGKILL, _is_bridge_of(hanging[token][1]))}
    left = procs.wait_gone(left, KILL_TIMEOUT)
    for token, (path, record) in hanging.items():
        how = 'it was killed' if token in killed else 'it has ended'
        if token in left:
            how = 'it does not end'
        else:
            _remove(path)
        texts.append(
            f'Bridge {record.bridge} (pid {procs.pid_of(token)}) of '
            f'{bridge_log.printable(record.host, 255)} was left behind by '
            f'a conductor that is dead: {how}.')
    return texts


def _remove(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _is_bridge_of(record: records.Record) -> Callable[[procs.Process], bool]:
    wanted = ('-m', 'ironic_solconsole.bridge', '--host', record.host,
              '--bridge', str(record.bridge))

    def check(process: procs.Process) -> bool:
        return any(process.argv[start:start + len(wanted)] == wanted
                   for start in range(1, 8))
    return check


# ipmitool-socat

@dataclasses.dataclass(frozen=True)
class InTree:
    """What ipmitool-socat runs for one node.

    :param node: UUID.
    :param pid_file: that of socat, which is its lock as well.
    :param seen: the pid file, to be told from another one.
    :param socats: the one that listens, if it lives, and those that it has
        forked, one a viewer.
    :param children: ipmitool, and what runs it.
    """

    node: str
    pid_file: pathlib.Path
    seen: tuple[int, int]
    socats: tuple[procs.Process, ...]
    children: tuple[procs.Process, ...]

    def end(self) -> str:
        """End it: at most about 3 s, mostly 0.1 s.

        socat gets no SIGTERM. One that has a viewer does not heed it, and
        one that is forked passes it on to ipmitool, which then ends without
        logging out. When socat is killed, ipmitool reads the end of its
        terminal, and closes the console and its session on the BMC.

        :returns: what was done, as a text for the log.
        """
        # the listener first, then what it has forked up to its end
        _signal(self.socats, signal.SIGKILL)
        procs.wait_gone([one.token for one in self.socats], KILL_TIMEOUT)
        late = _families({self.node: self.pid_file}).get(self.node)
        if late is not None:
            _signal(late.socats, signal.SIGKILL)
        family = {one.token: one for one in (
            *self.socats, *self.children,
            *((*late.socats, *late.children) if late else ()))}
        left = procs.wait_gone(list(family), LOGOUT_TIMEOUT)
        for number, seconds in ((signal.SIGTERM, TERM_TIMEOUT),
                                (signal.SIGKILL, KILL_TIMEOUT)):
            _signal([family[token] for token in left], number)
            left = procs.wait_gone(left, seconds)
        names = ', '.join(f'{one.program} (pid {one.pid})'
                          for one in family.values())
        if left:
            pids = ', '.join(str(procs.pid_of(token)) for token in left)
            return f'{bridge_log.printable(names)}: {pids} does not end'
        self._remove_files()
        return f'{bridge_log.printable(names)}: ended'

    def _remove_files(self) -> None:
        """Remove what Ironic removes when it stops such a console."""
        with contextlib.suppress(OSError):
            if _identity(self.pid_file) == self.seen:
                self.pid_file.unlink()
        with contextlib.suppress(OSError):
            # the BMC's password, in a file of our own user
            password = pathlib.Path(CONF.tempdir) / f'{self.node}.pw'
            if password.lstat().st_uid == os.geteuid():
                password.unlink()


def in_tree(node: str) -> InTree | None:
    """What ipmitool-socat still runs for a node, or None.

    :param node: UUID of a node that does not use ipmitool-socat.
    """
    return in_tree_of([node]).get(node)


def in_tree_of(nodes: Collection[str]) -> dict[str, InTree]:
    """What ipmitool-socat still runs for some nodes.

    :param nodes: UUIDs of nodes that do not use ipmitool-socat. A thousand
        cost one look at a directory where there is nothing.
    :returns: by UUID, those for which something runs.
    """
    directory = pathlib.Path(CONF.console.terminal_pid_dir or CONF.tempdir)
    try:
        names = set(os.listdir(directory))
    except OSError:
        return {}
    files = {node: directory / f'{node}.pid' for node in nodes
             if f'{node}.pid' in names}
    return _families(files) if files else {}


def _families(files: dict[str, pathlib.Path]) -> dict[str, InTree]:
    """What runs for these pid files, by node."""
    around = procs.look_around()
    children: dict[int, list[procs.Process]] = {}
    socats: dict[str, list[procs.Process]] = {}
    for process in around:
        children.setdefault(process.parent, []).append(process)
        if process.program == 'socat':
            for word in process.argv[1:]:
                if word.startswith('-L'):
                    socats.setdefault(word[2:], []).append(process)
    found = {}
    for node, path in files.items():
        family = _family(path, socats.get(str(path), []))
        if family:
            pids = {one.pid for one in family}
            found[node] = InTree(
                node, path, _identity(path), tuple(family), tuple(
                    one for one in _below(family, children)
                    if one.pid not in pids))
    return found


def _family(path: pathlib.Path,
            socats: list[procs.Process]) -> list[procs.Process]:
    """The socats of a pid file, the one that listens first; or none."""
    if not socats:
        return []
    pid = _recorded(path)
    listener = next((one for one in socats if one.pid == pid), None)
    if listener is None:
        # it was killed, and socat's forked ones go on
        return socats
    began = procs.started_at(listener.pid)
    try:
        written = path.lstat().st_mtime
    except OSError:
        return []
    if began is None or began > written + CLOCK_SLACK:
        return []
    return [listener, *(one for one in socats if one is not listener)]


def _below(family: list[procs.Process],
           children: dict[int, list[procs.Process]]) -> list[procs.Process]:
    """All that these processes have started, nearest first."""
    found: dict[str, procs.Process] = {}
    level = family
    while level:
        level = [child for one in level for child in children.get(one.pid, [])
                 if child.token not in found]
        found.update({child.token: child for child in level})
    return list(found.values())


def _signal(processes: Collection[procs.Process], number: int) -> None:
    for process in processes:
        procs.send_signal(process.token, number, _still(process))


def _still(was: procs.Process) -> Callable[[procs.Process], bool]:
    return lambda process: process.argv == was.argv


def _recorded(path: pathlib.Path) -> int:
    """The process id in a pid file, or 0."""
    try:
        with path.open('rb') as file:
            text = file.read(32).split(b'\n')[0].strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _identity(path: pathlib.Path) -> tuple[int, int]:
    """Tells a file from another one in its place."""
    try:
        status = path.lstat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns
