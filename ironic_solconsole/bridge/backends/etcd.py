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

"""Locks as keys of etcd that hang on one lease of this process.

Keys are those of tooz; it attaches each to a lease of its own. One lease
for all makes a round of renewal two requests and a few more instead of one
a lock, and leaves nothing behind when a try fails. That the lease lives
does not prove that a key is there: each is compared.
"""

import base64
from collections.abc import Iterator
from collections.abc import Sequence
import math
import threading
import typing

from tooz.drivers import etcd3gw as tooz_etcd

from ironic_solconsole import coordination
from ironic_solconsole.bridge.backends import base

_Operation = dict[str, typing.Any]


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class _Held(base.Held):
    """One key; ``value`` is the token, as etcd's gateway writes it."""

    def __init__(self, name: str, since: float, lease: int, key: str,
                 value: str) -> None:
        super().__init__(name, since)
        self.lease = lease
        self.key = key
        self.value = value

    def is_ours(self) -> _Operation:
        """The comparison that holds while the lock is ours."""
        return {'key': self.key, 'target': 'VALUE', 'result': 'EQUAL',
                'value': self.value}


def _read(key: str) -> _Operation:
    # Never "serializable": a member that is cut off would answer from what
    # it remembers.
    return {'request_range': {'key': key}}


class Etcd(base.Common[_Held]):
    """See :class:`base.Backend`."""

    kind = 'etcd'

    def __init__(self, settings: coordination.Coordination,
                 member_id: str) -> None:
        super().__init__(settings, member_id)
        parts, options = base.url_options(settings)
        with base.translated():
            self._driver: typing.Any = tooz_etcd.Etcd3Driver(
                member_id.encode(), parts, options)
            self._client: typing.Any = self._driver.client
        # To connect, and to wait for an answer.
        self._client.timeout = (self._timeout / 2, self._timeout)
        # A lease has whole seconds.
        self._ttl = math.ceil(settings.ttl)
        self._lease: typing.Any = None
        self._leasing = threading.Lock()

    def start(self) -> float:
        """See :class:`base.Backend`."""
        # Finds out the version of the API, and that it is answered.
        base.bounded(self._beat, self._timeout + 1)
        return float(self._ttl)

    def _stop(self) -> None:
        with self._leasing:
            lease, self._lease = self._lease, None
        try:
            if lease is not None:
                lease.revoke()
        finally:
            self._client.session.close()

    def _renew(self, held: list[_Held], deadline: float
               ) -> Iterator[tuple[_Held, float | None]]:
        lease, since = self._beat()
        mine = []
        for each in held:
            if each.lease == lease:
                mine.append(each)
            else:
                yield each, None
        for batch in base.batches(mine):
            if base.now() >= deadline:
                return
            # The reads are for what has failed, and make etcd ask its
            # quorum: a comparison alone does not.
            answer = self._client.transaction({
                'compare': [each.is_ours() for each in batch],
                'success': [],
                'failure': [_read(each.key) for each in batch]})
            if answer.get('succeeded'):
                yield from ((each, since) for each in batch)
            else:
                values = _values(answer['responses'])
                yield from (
                    (each, since if value == each.value else None)
                    for each, value in zip(batch, values))

    def taken(self, names: Sequence[str]) -> set[str]:
        """See :class:`base.Backend`."""
        taken: set[str] = set()
        with base.translated():
            for batch in base.batches(names):
                taken.update(name for name, value in zip(
                    batch, self._look(batch)) if value is not None)
        return taken

    def _acquire(self, names: list[str]) -> dict[str, _Held | str]:
        # First a look: a try writes, even one that fails, and most names
        # that are tried over and over are taken.
        found: dict[str, _Held | str] = {}
        free = []
        for name, value in zip(names, self._look(names)):
            if value is None:
                free.append(name)
            found[name] = self._who(value)
        if not free:
            return found
        lease, since = self._beat()
        tries = [_Held(name, since, lease, self._key(name),
                       _encode(self._token())) for name in free]
        with self._doubting(tries):
            answer = self._client.transaction({
                'success': [{'request_txn': _try(each)} for each in tries]})
            for each, response in zip(tries, answer['responses']):
                outcome = response['response_txn']
                found[each.name] = each if outcome.get('succeeded') else (
                    self._who(_values(outcome['responses'])[0]))
        return found

    def _release(self, held: list[_Held]) -> None:
        self._client.transaction({'success': [{'request_txn': {
            'compare': [each.is_ours()],
            'success': [{'request_delete_range': {'key': each.key}}],
        }} for each in held]})

    def _bury(self, names: list[str], member: str) -> None:
        dead = [(self._key(name), value)
                for name, value in zip(names, self._look(names))
                if value is not None and self._who(value) == member]
        if dead:
            self._client.transaction({'success': [{'request_txn': {
                'compare': [{'key': key, 'target': 'VALUE',
                             'result': 'EQUAL', 'value': value}],
                'success': [{'request_delete_range': {'key': key}}],
            }} for key, value in dead]})

    def _beat(self) -> tuple[int, float]:
        """Keep the lease, or get a new one if it has expired.

        :returns: its id, and seconds just before it was asked for.
        """
        while True:
            lease = self._lease
            since = base.now()
            # Not under the mutex: one that waits for an answer that does
            # not come must not make another wait as well.
            if lease is not None and lease.refresh() > 0:
                return int(lease.id), since
            with self._leasing:
                if self._lease is lease:
                    since = base.now()
                    self._lease = lease = self._client.lease(self._ttl)
                    return int(lease.id), since

    def _look(self, names: list[str]) -> list[str | None]:
        """The values of locks; None for those that nobody holds."""
        answer = self._client.transaction({
            'success': [_read(self._key(name)) for name in names]})
        return _values(answer['responses'])

    def _who(self, value: str | None) -> str:
        try:
            return self._holder(base64.b64decode(value or ''))
        except ValueError:
            return ''

    def _key(self, name: str) -> str:
        return str(self._driver.get_lock(name.encode())._key_b64)


def _try(held: _Held) -> _Operation:
    return {
        'compare': [{'key': held.key, 'target': 'CREATE', 'result': 'EQUAL',
                     'create_revision': 0}],
        'success': [{'request_put': {
            'key': held.key, 'value': held.value, 'lease': held.lease}}],
        'failure': [_read(held.key)]}


def _values(responses: list[_Operation]) -> list[str | None]:
    """What reads of one key each have found."""
    found = [each['response_range'].get('kvs') for each in responses]
    return [kvs[0].get('value', '') if kvs else None for kvs in found]
