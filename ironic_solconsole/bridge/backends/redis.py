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

"""Locks as keys of a redis server that expire.

Keys and their expiry are as redis-py's Lock has them, which tooz uses. A
script tries, renews or releases many of them in one round trip, and what
it does to a key depends on the key's value at that moment.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import typing

from redis import backoff
from redis import retry
from tooz import utils
from tooz.drivers import redis as tooz_redis

from ironic_solconsole import coordination
from ironic_solconsole.bridge.backends import base

# KEYS: locks. ARGV: TTL in ms, then a token for each lock. Gives '' where
# the lock was got, else the token that is there.
_ACQUIRE = """
local found = {}
for i, key in ipairs(KEYS) do
    if redis.call('set', key, ARGV[i + 1], 'NX', 'PX', ARGV[1]) then
        found[i] = ''
    else
        local token = redis.pcall('get', key)
        found[i] = type(token) == 'string' and token or '?'
    end
end
return found
"""

# KEYS and ARGV as before. Gives 1 where the lock is ours, else 0.
_RENEW = """
local ours = {}
for i, key in ipairs(KEYS) do
    ours[i] = 0
    if redis.pcall('get', key) == ARGV[i + 1] then
        ours[i] = redis.call('pexpire', key, ARGV[1])
    end
end
return ours
"""

# KEYS: locks. ARGV: how the tokens of a dead process begin.
_BURY = """
for i, key in ipairs(KEYS) do
    local token = redis.pcall('get', key)
    if type(token) == 'string' and
            string.sub(token, 1, #ARGV[1]) == ARGV[1] then
        redis.call('del', key)
    end
end
"""

# KEYS: locks. ARGV: a token for each lock.
_RELEASE = """
for i, key in ipairs(KEYS) do
    if redis.pcall('get', key) == ARGV[i] then
        redis.call('del', key)
    end
end
"""


class _Held(base.Held):
    def __init__(self, name: str, since: float, key: bytes,
                 token: str) -> None:
        super().__init__(name, since)
        self.key = key
        self.token = token


class Redis(base.Common[_Held]):
    """See :class:`base.Backend`."""

    kind = 'redis'

    def __init__(self, settings: coordination.Coordination,
                 member_id: str) -> None:
        super().__init__(settings, member_id)
        parts, options = base.url_options(settings)
        options.update(socket_timeout=self._timeout,
                       socket_connect_timeout=self._timeout / 2,
                       health_check_interval=0, retry_on_timeout='false')
        if parts.scheme == 'rediss':
            options['ssl'] = 'true'
        with base.translated():
            self._driver: typing.Any = tooz_redis.RedisDriver(
                member_id.encode(), parts, options)
            self._client: typing.Any = self._driver._make_client(
                parts, utils.collapse(
                    options, exclude=self._driver.EXCLUDE_OPTIONS),
                int(self._timeout) or 1)
            self._no_retries()
            self._scripts = {text: self._client.register_script(text)
                             for text in (_ACQUIRE, _RENEW, _BURY, _RELEASE)}
        self._ttl_ms = int(settings.ttl * 1000)

    def _no_retries(self) -> None:
        """A call that fails is repeated by the lease, not below it."""
        never = retry.Retry(backoff.NoBackoff(), 0)
        self._client.set_retry(never)
        manager = getattr(self._client.connection_pool, 'sentinel_manager',
                          None)
        # All of them are asked in turn within the time of one call.
        sentinels = manager.sentinels if manager else []
        for sentinel in sentinels:
            sentinel.set_retry(never)
            sentinel.get_connection_kwargs().update(
                socket_timeout=self._timeout / len(sentinels),
                socket_connect_timeout=self._timeout / len(sentinels))

    def start(self) -> float:
        """See :class:`base.Backend`."""
        info = base.bounded(self._client.info, self._timeout + 1)
        self.warnings = []
        if not info.get('aof_enabled'):
            self.warnings.append(
                'redis keeps no append-only file (appendonly no): when it '
                'is restarted, it has forgotten every lock: consoles close '
                'at the next renewal, and until then another conductor can '
                'open them too')
        policy = str(info.get('maxmemory_policy', 'noeviction'))
        if policy.startswith(('allkeys', 'volatile')):
            self.warnings.append(
                f'redis may evict locks when its memory is full '
                f'(maxmemory-policy {policy}); use a server with noeviction')
        return self._ttl_ms / 1000

    def _stop(self) -> None:
        try:
            for batch in base.batches(list(self._held)):
                self._release(batch)
        finally:
            self._client.connection_pool.disconnect()

    def _renew(self, held: list[_Held], deadline: float
               ) -> Iterator[tuple[_Held, float | None]]:
        for batch in base.batches(held):
            since = base.now()
            if since >= deadline:
                return
            ours = self._run(_RENEW, batch, [self._ttl_ms])
            for each, still in zip(batch, ours):
                yield each, since if still else None

    def taken(self, names: Sequence[str]) -> set[str]:
        """See :class:`base.Backend`."""
        taken: set[str] = set()
        with base.translated():
            for batch in base.batches(names):
                values = self._client.mget(
                    [self._key(name) for name in batch])
                taken.update(name for name, value in zip(batch, values)
                             if value is not None)
        return taken

    def _acquire(self, names: list[str]) -> dict[str, _Held | str]:
        since = base.now()
        tries = [_Held(name, since, self._key(name), self._token())
                 for name in names]
        with self._doubting(tries):
            found = self._run(_ACQUIRE, tries, [self._ttl_ms])
        return {each.name: each if token == b'' else self._holder(token)
                for each, token in zip(tries, found)}

    def _release(self, held: list[_Held]) -> None:
        self._run(_RELEASE, held, [])

    def _bury(self, names: list[str], member: str) -> None:
        self._scripts[_BURY](keys=[self._key(name) for name in names],
                             args=[f'{member}:'])

    def _run(self, script: str, held: list[_Held],
             values: list[int]) -> typing.Any:
        return self._scripts[script](
            keys=[each.key for each in held],
            args=[*values, *(each.token for each in held)])

    def _key(self, name: str) -> bytes:
        # As tooz 9 has it, and not asked of tooz: older ones have others,
        # and during an upgrade two conductors would have two locks.
        return b'%s_%s_lock' % (self._driver.namespace, name.encode())
