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

"""Whether locks in files reach all conductors that have consoles.

They reach those of one host. So the conductors of a host leave a word in
the directory of the locks, and one that Ironic knows of and that leaves
none there is on another host: then two may hold one node's console.
"""

from collections.abc import Collection
import contextlib
import hashlib
import json
import os
import pathlib
import time
import typing
import urllib.parse

from ironic_solconsole import coordination
from ironic_solconsole.driver import bridge_log
from ironic_solconsole.driver import procs

#: Seconds for which a conductor must have been there to be named: one that
#: starts is in the database before it has left word in the directory.
PATIENCE = 5.0

#: Seconds between two errors about the same conductors.
REPEAT = 3600.0

_DIRECTORY = 'conductors'
_INTERFACE = 'solconsole'
_MAX_SIZE = 4096


def register(lock_dir: pathlib.Path, host: str) -> None:
    """Leave word that this process is a conductor on this host.

    To be repeated: it tells that the conductor was there lately.

    :param lock_dir: the directory of the locks.
    :param host: name of the conductor.
    :raises: OSError
    """
    directory = lock_dir / _DIRECTORY
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256(host.encode()).hexdigest()[:12]
    path = directory / f'{digest}.json'
    token = procs.process_token(os.getpid())
    # a name of our own: a conductor may be on the way out while the next
    # one of that name starts
    temporary = path.with_suffix(f'.{os.getpid()}')
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, 'w', encoding='ascii') as file:
        json.dump({'host': host, 'token': token}, file)
    temporary.replace(path)


def local(lock_dir: pathlib.Path, grace: float) -> set[str]:
    """Names of the conductors that use this directory.

    :param grace: seconds since its last word for which one that is not
        there any more counts, as Ironic counts it as well; and one that
        cannot be seen from here, as it runs in another container.
    """
    found = set()
    for path in (lock_dir / _DIRECTORY).glob('*.json'):
        try:
            age = time.time() - path.stat().st_mtime
            with path.open('rb') as file:
                data = json.loads(file.read(_MAX_SIZE))
            host, token = data['host'], data['token']
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(host, str) and isinstance(token, str) and (
                age < grace or procs.is_alive(token)):
            found.add(host)
    return found


def online(dbapi: typing.Any) -> set[str]:
    """Names of the conductors that are online and offer solconsole.

    :param dbapi: Ironic's.
    """
    types = list(dbapi.get_active_hardware_type_dict())
    with_us = {
        row.conductor_id for row in dbapi.list_hardware_type_interfaces(types)
        if (row.interface_type, row.interface_name) == (
            'console', _INTERFACE)} if types else set()
    return {conductor.hostname for conductor in dbapi.get_conductor_list()
            if conductor.id in with_us}


class Decision:
    """When there is an error to be logged; without a clock of its own."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._known: frozenset[str] = frozenset()
        self._said_at = 0.0

    @property
    def known(self) -> frozenset[str]:
        """Who has been there for long enough to be named."""
        return self._known

    def due(self, strangers: Collection[str], now: float) -> bool:
        """Whether to log now that there are conductors on other hosts.

        :param strangers: their names, as of now.
        :param now: seconds of a clock that does not jump.
        """
        self._since = {name: self._since.get(name, now)
                       for name in strangers}
        settled = frozenset(name for name, since in self._since.items()
                            if now - since >= PATIENCE)
        changed = settled != self._known
        self._known = settled
        if not settled or not (
                changed or now - self._said_at >= REPEAT):
            return False
        self._said_at = now
        return True


class Watch:
    """Looks for conductors that the locks of this one do not reach.

    :param url: coordination_url.
    :param host: name of this conductor.
    :param grace: seconds for which Ironic counts a conductor as online
        after its end, and some more.
    """

    def __init__(self, url: str, host: str, grace: float) -> None:
        self._lock_dir = (
            pathlib.Path(urllib.parse.urlsplit(url).path)
            if coordination.check_url(url) == 'file' else None)
        self._host = host
        self._grace = grace
        self._decision = Decision()

    def look(self, dbapi: typing.Any, now: float) -> str:
        """Look once.

        :param dbapi: Ironic's; what it raises is passed on.
        :param now: seconds of a clock that does not jump.
        :returns: what to log as an error, or ''.
        """
        if self._lock_dir is None:
            return ''
        # if it fails, the locks fail, and the bridges say so
        with contextlib.suppress(OSError):
            register(self._lock_dir, self._host)
        strangers = online(dbapi) - local(self._lock_dir, self._grace)
        strangers.discard(self._host)
        if not self._decision.due(strangers, now):
            return ''
        names = ', '.join(bridge_log.printable(name, 255)
                          for name in sorted(self._decision.known))
        return (
            f'Conductors on other hosts have consoles as well ({names}), and '
            f'the locks in {bridge_log.printable(self._lock_dir)} do not '
            'reach them: two conductors may hold the console of one node '
            'at a time. Set [solconsole]coordination_url to the same '
            'redis://HOST:PORT, etcd3+http://HOST:PORT or '
            'zookeeper://HOST:PORT on all conductors.')
