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

"""Locks as ephemeral znodes in a ZooKeeper session of this process.

The znodes are those of kazoo's Lock, which tooz uses: a contender has a
sequence number, and the lowest one holds the lock. Its code is not used: it
waits without an end where a server does not answer, and makes a contender
even where somebody holds the lock. Requests are sent many at a time, and
answers waited for with one deadline.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import logging
import threading
import typing

from kazoo import exceptions
from kazoo.protocol import serialization
from tooz.drivers import zookeeper as tooz_zookeeper

from ironic_solconsole import coordination
from ironic_solconsole.bridge.backends import base

#: Seconds between two attempts to connect, at most.
_RECONNECT = 1.0


class _Held(base.Held):
    """One contender; ``session`` is the one that its znode lives in."""

    def __init__(self, name: str, since: float, session: int,
                 lock: typing.Any) -> None:
        super().__init__(name, since)
        self.session = session
        self.lock = lock

    @property
    def path(self) -> str:
        return f'{self.lock.path}/{self.lock.node}'


class _Client:
    """A kazoo client, connecting in the background as long as it lives.

    :param driver: of tooz, which has made it from the URL.
    """

    def __init__(self, driver: typing.Any) -> None:
        self.driver = driver
        self.kazoo = driver._coord
        self.granted = 0.0      # seconds; the session timeout in force
        connection = self.kazoo._connection
        invoke = connection._invoke

        def listen(timeout: float, request: object,
                   *rest: typing.Any) -> typing.Any:
            answer = invoke(timeout, request, *rest)
            # Kazoo keeps what was granted in local variables.
            if isinstance(request, serialization.Connect):
                self.granted = answer[0].time_out / 1000
            return answer

        connection._invoke = listen
        self._live = self.kazoo.start_async()

    def wait(self, seconds: float) -> bool:
        """Wait until there is a session."""
        return bool(self._live.wait(seconds))

    @property
    def dead(self) -> bool:
        """Whether kazoo has given up for good, as after bad credentials."""
        thread = self.kazoo._connection._connection_routine
        return thread is None or not thread.is_alive()

    def session(self) -> int | None:
        """The id of the session; None while there is no connection."""
        found = self.kazoo.client_id
        return found[0] if found else None

    def stop(self) -> None:
        """End the session, and every znode with it."""
        self.kazoo.stop()
        self.kazoo.close()


class ZooKeeper(base.Common[_Held]):
    """See :class:`base.Backend`."""

    kind = 'zookeeper'

    def __init__(self, settings: coordination.Coordination,
                 member_id: str) -> None:
        super().__init__(settings, member_id)
        self._client: _Client | None = None
        self._connecting = threading.Lock()
        self._ttl = settings.ttl
        # It logs a warning at each attempt to connect.
        logging.getLogger('kazoo').setLevel(logging.ERROR)

    def start(self) -> float:
        """See :class:`base.Backend`."""
        with base.translated():
            client = self._connected(self._timeout)
            if client.session() is None:
                raise base.BackendError('no connection')
            self._ttl = min(self._settings.ttl, client.granted)
            return client.granted

    def _stop(self) -> None:
        with self._connecting:
            client, self._client = self._client, None
        if client is not None:
            client.stop()

    def _connected(self, seconds: float) -> _Client:
        """A client that is connecting, or connected."""
        with self._connecting:
            client = self._client
            if client is None or client.dead:
                if client is not None:
                    with contextlib.suppress(base.BackendError):
                        base.bounded(client.stop, 0.1)
                self._client = client = self._new_client()
            client.wait(seconds)
            return client

    def _new_client(self) -> _Client:
        parts, options = base.url_options(self._settings)
        options.update(timeout=self._settings.ttl, connection_retry={
            'max_tries': -1, 'max_delay': _RECONNECT})
        return _Client(tooz_zookeeper.KazooDriver(
            self._member_id.encode(), parts, options))

    def _session(self) -> tuple[_Client, int]:
        client = self._connected(0)
        session = client.session()
        if session is None:
            raise base.BackendError('no connection')
        return client, session

    def _renew(self, held: list[_Held], deadline: float
               ) -> Iterator[tuple[_Held, float | None]]:
        client, session = self._session()
        mine = []
        for each in held:
            if each.session == session:
                mine.append(each)
            else:
                yield each, None
        for batch in base.batches(mine):
            since = self._since(client)
            if base.now() >= deadline:
                return
            # One request for all, and answered by the leader. Nobody else
            # makes a znode of the same name, and nobody changes one.
            check = client.kazoo.transaction()
            for each in batch:
                check.check(each.path, 0)
            [answer] = self._wait([check.commit_async()])
            if all(each is True for each in answer):
                yield from ((each, since) for each in batch)
            else:
                yield from self._renew_singly(batch, client, session)

    def _renew_singly(self, held: list[_Held], client: _Client,
                      session: int) -> Iterator[tuple[_Held, float | None]]:
        """Find out which of these are lost."""
        since = self._since(client)
        # Else a server that lags behind would answer for the others.
        found = self._wait([client.kazoo.sync_async('/'), *(
            client.kazoo.exists_async(each.path) for each in held)])
        for each, stat in zip(held, found[1:]):
            ours = stat is not None and stat.ephemeralOwner == session
            yield each, since if ours else None

    def taken(self, names: Sequence[str]) -> set[str]:
        """See :class:`base.Backend`."""
        taken: set[str] = set()
        with base.translated():
            client, _ = self._session()
            for batch in base.batches(names):
                tries = [_Held(name, 0.0, 0, self._lock(client, name))
                         for name in batch]
                taken.update(name for name, holder in zip(
                    batch, self._holders(client, tries)) if holder)
        return taken

    def _acquire(self, names: list[str]) -> dict[str, _Held | str]:
        client, session = self._session()
        since = self._since(client)
        tries = [_Held(name, since, session, self._lock(client, name))
                 for name in names]
        first = dict(zip(tries, self._holders(client, tries)))
        free = [each for each in tries if not first[each]]
        with self._doubting(free):
            if free:
                first.update(zip(free, self._contend(client, free)))
                # A session that has just begun has none of these znodes.
                if client.session() != session:
                    raise base.BackendError('the session has expired')
            beaten = [each for each in tries
                      if first[each] != each.lock.node]
            self._give_back([each for each in free if each in beaten])
            found: dict[str, _Held | str] = dict(zip(names, tries))
            found.update(zip(
                (each.name for each in beaten), self._data(client, [
                    f'{each.lock.path}/{first[each]}' if first[each]
                    else each.lock.path for each in beaten])))
        return found

    def _contend(self, client: _Client, tries: list[_Held]) -> list[str]:
        """Add a contender to each; gives the znodes of those who hold."""
        paths = self._wait([client.kazoo.create_async(
            each.lock.create_path, each.lock.data, ephemeral=True,
            sequence=True, makepath=True) for each in tries])
        for each, path in zip(tries, paths):
            each.lock.node = path.rpartition('/')[2]
        return self._holders(client, tries)

    def _release(self, held: list[_Held]) -> None:
        client, session = self._session()
        # The znodes of other sessions ended with these.
        held = [each for each in held if each.session == session]
        lost = [each for each in held if each.lock.node is None]
        paths = [each.path for each in held if each.lock.node is not None]
        if lost:
            # Created or not, as the answer has not come.
            children = self._children(client, [each.lock for each in lost])
            paths += [f'{each.lock.path}/{child}'
                      for each, those in zip(lost, children)
                      for child in those
                      if child.startswith(each.lock.prefix)]
        self._wait([client.kazoo.delete_async(path) for path in paths])

    def _bury(self, names: list[str], member: str) -> None:
        client, _ = self._session()
        tries = [_Held(name, 0.0, 0, self._lock(client, name))
                 for name in names]
        paths = [f'{each.lock.path}/{node}' for each, node in zip(
            tries, self._holders(client, tries)) if node]
        # A znode has a name of its own: nobody else's is deleted.
        self._wait([client.kazoo.delete_async(path) for path, who in zip(
            paths, self._data(client, paths)) if who == member])

    def _since(self, client: _Client) -> float:
        """Now, or less: a server may grant less than the one before it."""
        return base.now() - max(0.0, self._ttl - client.granted)

    def _lock(self, client: _Client, name: str) -> typing.Any:
        """A kazoo lock, for its path, pattern, data and unique prefix."""
        return client.driver.get_lock(name.encode())._lock

    def _children(self, client: _Client, locks: Iterable[typing.Any]
                  ) -> list[list[str]]:
        return [found or [] for found in self._wait(
            [client.kazoo.get_children_async(lock.path) for lock in locks])]

    def _holders(self, client: _Client, tries: list[_Held]) -> list[str]:
        """For each lock the znode of who holds it; '' if it is free."""
        locks = [each.lock for each in tries]
        return [_lowest(lock, children) for lock, children in zip(
            locks, self._children(client, locks))]

    def _data(self, client: _Client, paths: list[str]) -> list[str]:
        """What is written in znodes: member ids."""
        return [base.readable(found[0].decode('utf-8', 'replace'))
                if found and found[0] else ''
                for found in self._wait([client.kazoo.get_async(path)
                                         for path in paths])]

    def _wait(self, results: list[typing.Any]) -> list[typing.Any]:
        """Answers in the same order; None where there is no such znode."""
        deadline = base.now() + self._timeout
        answers = []
        for result in results:
            try:
                answers.append(result.get(
                    timeout=max(0.0, deadline - base.now())))
            except exceptions.NoNodeError:
                answers.append(None)
        return answers


def _lowest(lock: typing.Any, children: list[str]) -> str:
    """The contender that came first."""
    found = [match for match in map(lock._contenders_re.search, children)
             if match]
    return str(min(found, key=lambda match: match.group(1)).string
               ) if found else ''
