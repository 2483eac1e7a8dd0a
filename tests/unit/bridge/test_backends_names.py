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

"""Names of tooz, redis-py, etcd3gw and kazoo that bridge/backends uses.

They are private, or nobody has promised them. A release that renames or
changes one fails here, with the name, and not when a lock is to be had.
"""

import ast
import inspect
import os
import pathlib
import re
import urllib.parse

import pytest
from tooz.drivers import file as tooz_file

from ironic_solconsole import coordination
from ironic_solconsole.bridge import backends
from ironic_solconsole.bridge.backends import etcd
from ironic_solconsole.bridge.backends import redis
from ironic_solconsole.bridge.backends import zookeeper

MEMBER = 'host:1:abc'
NAME = 'ironic-solconsole-x'

#: By library; the tests below are about each of them.
PRIVATE = {
    'file.py': set(),
    'redis.py': {'_make_client'},
    'etcd.py': {'_key_b64'},
    'zookeeper.py': {'_coord', '_connection', '_invoke', '_lock',
                     '_connection_routine', '_contenders_re'},
}


def made(url, ttl=20.0):
    """Settings for a backend that is not connected."""
    return coordination.Coordination(url, ttl, 4.0, 4.0)


def parameters(function):
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize('name', sorted(PRIVATE))
def test_every_private_name_of_a_library_is_listed_here(name):
    path = pathlib.Path(backends.__file__).parent / name
    tree = ast.parse(path.read_text())
    used = {node.attr for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr.startswith('_')
            and not node.attr.startswith('__')
            and not (isinstance(node.value, ast.Name)
                     and node.value.id == 'self')}
    assert used == PRIVATE[name]


@pytest.mark.parametrize('driver', [
    redis.tooz_redis.RedisDriver, etcd.tooz_etcd.Etcd3Driver,
    zookeeper.tooz_zookeeper.KazooDriver])
def test_drivers_of_tooz_are_made_as_before(driver):
    assert parameters(driver)[:3] == ['member_id', 'parsed_url', 'options']
    assert parameters(driver.get_lock) == ['self', 'name']


def test_file_locks_are_where_tooz_has_them(tmp_path):
    url = f'file://{tmp_path}'
    driver = tooz_file.FileDriver(
        MEMBER.encode(), urllib.parse.urlsplit(url), {})
    theirs = driver.get_lock(NAME.encode())
    [(_, held)] = backends.make(made(url), MEMBER).acquire(
        [NAME], backends.now() + 10)
    assert held.path == os.fsdecode(theirs._lock.path)
    assert os.path.exists(held.path)


def test_redis_client_has_no_retries_and_our_timeouts():
    assert parameters(redis.tooz_redis.RedisDriver._make_client) == [
        'parsed_url', 'options', 'default_socket_timeout']
    backend = backends.make(made('rediss://user:pw@host:7000?db=3'), MEMBER)
    kwargs = backend._client.connection_pool.connection_kwargs
    assert kwargs['retry']._retries == 0
    assert (kwargs['host'], kwargs['port'], kwargs['db']) == (
        'host', 7000, 3)
    assert kwargs['socket_timeout'] == 2.0
    assert kwargs['socket_connect_timeout'] == 1.0
    connection = backend._client.connection_pool.connection_class
    assert connection.__name__ == 'SSLConnection'
    assert backend._key(NAME) == b'_tooz_' + NAME.encode() + b'_lock'
    backend = backends.make(made('redis://host?namespace=other'), MEMBER)
    assert backend._key(NAME) == b'other_' + NAME.encode() + b'_lock'


def test_redis_sentinels_have_no_retries_and_share_the_time():
    backend = backends.make(made(
        'redis://one:26379?sentinel=main&sentinel_fallback=two:26379'
        '&sentinel_fallback=three:26379'), MEMBER)
    pool = backend._client.connection_pool
    assert pool.connection_kwargs['retry']._retries == 0
    sentinels = pool.sentinel_manager.sentinels
    assert len(sentinels) == 3
    for sentinel in sentinels:
        kwargs = sentinel.get_connection_kwargs()
        assert kwargs['retry']._retries == 0
        assert kwargs['socket_timeout'] == pytest.approx(2 / 3)
        assert kwargs['socket_connect_timeout'] == pytest.approx(2 / 3)


def test_redis_locks_of_the_library_look_as_ours_do():
    # What another user of tooz does to a lock of ours.
    lock = redis.tooz_redis.redis.lock.Lock
    assert "redis.call('get', KEYS[1])" in lock.LUA_RELEASE_SCRIPT
    assert 'nx=True, px=timeout' in inspect.getsource(lock.do_acquire)


def test_etcd_client():
    backend = backends.make(made('etcd3+http://host:1234'), MEMBER)
    client = backend._client
    assert client.timeout == (1.0, 2.0)
    assert 'timeout=self.timeout' in inspect.getsource(type(client))
    assert parameters(client.lease) == ['ttl']
    assert parameters(client.transaction) == ['txn']
    assert hasattr(client.session, 'close')
    lease = inspect.getmodule(type(client)).Lease
    assert parameters(lease) == ['id', 'client']
    for name in ('refresh', 'revoke'):
        assert parameters(getattr(lease, name)) == ['self']
    # An expired lease is told from one that lives by this.
    assert "get('TTL', -1)" in inspect.getsource(lease.refresh)
    assert backend._key(NAME) == (
        'L3Rvb3ovbG9ja3Npcm9uaWMtc29sY29uc29sZS14')


def test_kazoo_lock():
    driver = zookeeper.tooz_zookeeper.KazooDriver(
        MEMBER.encode(), *_kazoo_arguments())
    lock = driver.get_lock(NAME.encode())._lock
    assert lock.path == f'/tooz/locks/{NAME}'
    assert lock.data == MEMBER.encode()
    assert lock.node is None
    assert re.fullmatch('[0-9a-f]{32}__lock__', lock.prefix)
    assert lock.create_path == f'{lock.path}/{lock.prefix}'
    children = ['y__lock__0000000007', 'z__lock__0000000003', 'other',
                'x__lock__0000000010']
    assert zookeeper._lowest(lock, children) == 'z__lock__0000000003'
    assert zookeeper._lowest(lock, ['other']) == ''


def test_kazoo_client():
    from kazoo import client
    from kazoo.protocol import connection
    from kazoo.protocol import serialization

    driver = zookeeper.tooz_zookeeper.KazooDriver(
        MEMBER.encode(), *_kazoo_arguments())
    assert isinstance(driver._coord, client.KazooClient)
    assert driver._coord._session_timeout == 20000
    handler = driver._coord._connection
    assert handler._connection_routine is None
    assert parameters(handler._invoke) == ['timeout', 'request', 'xid']
    source = inspect.getsource(connection.ConnectionHandler._connect)
    before, _, after = source.partition('self._invoke(')
    assert 'connect = Connect(' in before
    assert after.index('connect_result.time_out') < after.index(
        '_session_callback(')
    assert issubclass(connection.Connect, serialization.Connect)
    transaction = driver._coord.transaction()
    assert parameters(transaction.check) == ['path', 'version']
    assert parameters(transaction.commit_async) == []


def _kazoo_arguments():
    from ironic_solconsole.bridge.backends import base
    parts, options = base.url_options(made('zookeeper://host:2181'))
    return parts, {**options, 'timeout': 20.0,
                   'connection_retry': {'max_tries': -1}}
