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

"""The journal of a host's TCP ports, which outlives conductors.

Journal is plain data; PortBook keeps it in a file that all conductors of
the host share, and chooses ports under the host's lock.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import threading
import time

from oslo_concurrency import lockutils
from oslo_log import log

from ironic_solconsole import exception
from ironic_solconsole import spec
from ironic_solconsole.driver import ports
from ironic_solconsole.driver import procs
from ironic_solconsole.driver import run_dir

LOG = log.getLogger(__name__)

#: Seconds to wait for the host's lock on the journal. It is held for
#: milliseconds.
LOCK_TIMEOUT = 3.0


@dataclasses.dataclass
class Entry:
    """What the journal says of a port.

    :param node: UUID of the node that it served last.
    :param owner: the process that serves it, or '' if none does.
    :param released: when it ceased to serve, in seconds since the epoch;
        0 while it serves.
    """

    node: str
    owner: str
    released: float


class Journal:
    """The ports of this host, as plain data.

    :param quarantine: seconds for which a port rests.
    :ivar changed: whether it differs from what was given.
    """

    def __init__(self, quarantine: float,
                 entries: dict[int, Entry] | None = None) -> None:
        self._quarantine = quarantine
        self.entries = dict(entries or {})
        self.changed = False

    def prune(self, now: float, alive: Callable[[str], bool]) -> None:
        """Release what dead processes served, drop what has rested."""
        owners = {entry.owner for entry in self.entries.values()}
        dead = {owner for owner in owners if owner and not alive(owner)}
        for port, entry in list(self.entries.items()):
            # a clock that was set back must not make a port rest longer
            if entry.owner in dead or entry.released > now:
                self._let_rest(entry, now)
            if not entry.owner and now - entry.released >= self._quarantine:
                del self.entries[port]
                self.changed = True

    def resting(self, node: str, now: float) -> dict[int, ports.Resting]:
        """The ports that a node may not have yet."""
        return {
            port: ports.Resting(entry.node, math.inf if entry.owner else (
                entry.released + self._quarantine - now))
            for port, entry in self.entries.items() if entry.node != node}

    def available(self, port: int, node: str) -> bool:
        """Whether a port that is recorded for a node may serve it."""
        entry = self.entries.get(port)
        return entry is None or entry.node == node

    def serve(self, port: int, node: str, owner: str, now: float) -> None:
        """A port serves a node from now on, and no other port does."""
        self.release(node, owner, now, but=port)
        entry = Entry(node, owner, 0.0)
        if self.entries.get(port) != entry:
            self.entries[port] = entry
            self.changed = True

    def release(self, node: str, owner: str, now: float,
                but: int | None = None) -> None:
        """What an owner serves for a node ('' for all nodes) rests now."""
        for port, entry in self.entries.items():
            if (port != but and entry.owner == owner
                    and node in ('', entry.node)):
                self._let_rest(entry, now)

    def _let_rest(self, entry: Entry, now: float) -> None:
        entry.owner, entry.released = '', now
        self.changed = True

    def to_json(self) -> str:
        """The journal as text."""
        return json.dumps({'version': 1, 'ports': {
            str(port): vars(entry)
            for port, entry in sorted(self.entries.items())}})

    @classmethod
    def from_json(cls, text: str, quarantine: float) -> 'Journal':
        """The journal that to_json() gave.

        :raises: ValueError if it did not.
        """
        entries = {}
        try:
            body = json.loads(text)
            if body['version'] != 1:
                raise ValueError(f'version {body["version"]!r}')
            for port, item in body['ports'].items():
                entry = Entry(str(item['node']), str(item['owner']),
                              float(item['released']))
                if not math.isfinite(entry.released):
                    raise ValueError(f'released {entry.released}')
                entries[spec.check_port('port', port)] = entry
        except (KeyError, TypeError, AttributeError, RecursionError,
                ValueError, exception.SpecError) as error:
            raise ValueError(f'is damaged ({error!r})') from None
        return cls(quarantine, entries)


class PortBook:
    """Gives out this host's TCP ports, and remembers what served whom.

    Each call takes a lock that all conductors of the host share.

    :param directory: [solconsole]run_dir.
    :param quarantine: seconds for which a port rests.
    """

    def __init__(self, directory: pathlib.Path, quarantine: float) -> None:
        self._directory = directory
        self._path = directory / 'ports.json'
        self._quarantine = quarantine
        self._threads = threading.Lock()
        self._owner = procs.process_token(os.getpid())

    def take(self, node: str, *, fixed: int | None, remembered: int | None,
             ranges: Sequence[range],
             claims: Callable[[], Mapping[int, ports.Claim]],
             avoid: Collection[int] = ()) -> int:
        """Choose the port of a node, and note that it serves it.

        :param claims: reads the ports that other nodes have; called only
            where the answer matters.
        :raises: PortError if there is none, or the journal fails.
        """
        # a port that is recorded for this node was checked when it was
        # given, and others have kept away from it since
        known = remembered is not None and fixed in (None, remembered)
        others = None if known and remembered not in avoid else claims()
        while True:
            with self._locked() as journal:
                resting = journal.resting(node, time.time())
                if others is not None or remembered not in resting:
                    port = ports.choose(
                        node, fixed=fixed, remembered=remembered,
                        ranges=ranges, claims=others or {},
                        resting=resting, avoid=avoid)
                    journal.serve(port, node, self._owner, time.time())
                    return port
            # not under the lock, as it asks the database
            others = claims()

    def take_many(self, recorded: Mapping[str, int]) -> set[str]:
        """Note that nodes are served at the ports recorded for them.

        :param recorded: ports by node; they were checked when they were
            given, and others have kept away from them since.
        :returns: the nodes for which that is so; the others need take().
        :raises: PortError if the journal fails.
        """
        with self._locked() as journal:
            now = time.time()
            given = {node for node, port in recorded.items()
                     if journal.available(port, node)}
            for node in given:
                journal.serve(recorded[node], node, self._owner, now)
        return given

    def release(self, *nodes: str) -> None:
        """Note that the ports of nodes serve no more.

        :param nodes: UUIDs, or '' for all nodes of this process.
        :raises: PortError if the journal fails.
        """
        with self._locked() as journal:
            for node in nodes:
                journal.release(node, self._owner, time.time())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Journal]:
        """The journal, pruned, to be written back if it changes."""
        try:
            run_dir.prepare(self._directory)
        except exception.BridgeUnavailable as error:
            raise exception.PortError(str(error)) from error
        if not self._threads.acquire(timeout=LOCK_TIMEOUT):
            raise exception.PortError(_busy(self._path))
        try:
            # a lock between processes does not hold between threads
            lock = lockutils.external_lock(
                'ports.lock', lock_path=str(self._directory))
            if not lock.acquire(timeout=LOCK_TIMEOUT):
                raise exception.PortError(_busy(self._path))
            try:
                journal = self._load()
                journal.prune(time.time(), procs.is_alive)
                yield journal
                if journal.changed:
                    self._save(journal.to_json())
            finally:
                lock.release()
        except OSError as error:
            raise exception.PortError(
                f'the journal of TCP ports fails: {error}') from error
        finally:
            self._threads.release()

    def _load(self) -> Journal:
        try:
            text = self._path.read_text('utf-8', 'replace')
            return Journal.from_json(text, self._quarantine)
        except FileNotFoundError:
            return Journal(self._quarantine)
        except ValueError as error:
            LOG.error('%(path)s %(problem)s. It is begun anew; ports may '
                      'pass to other nodes before their quarantine ends.',
                      {'path': self._path, 'problem': error})
            return Journal(self._quarantine)

    def _save(self, text: str) -> None:
        """Replace the file at once; the directory is closed to others."""
        temporary = self._path.with_suffix('.new')
        temporary.unlink(missing_ok=True)
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, 'w', encoding='ascii') as file:
            file.write(text)
        temporary.replace(self._path)


def _busy(path: pathlib.Path) -> str:
    return (f'{str(path)!r} is locked by another thread or conductor for '
            f'more than {LOCK_TIMEOUT:.0f} s')
