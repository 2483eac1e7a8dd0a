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

"""coordination_url and its times."""

import pytest

from ironic_solconsole import coordination
from ironic_solconsole import exception


@pytest.mark.parametrize(('url', 'backend'), [
    ('file:///var/lib/ironic/solconsole/locks', 'file'),
    ('redis://:secret@redis:6379/', 'redis'),
    ('redis://sentinel:26379?sentinel=master&sentinel_fallback=b:26379',
     'redis'),
    ('etcd3+http://[2001:db8::1]:2379', 'etcd'),
    ('etcd3+https://etcd:2379?ca_cert=/etc/ca.pem&api_version=v3', 'etcd'),
    ('zookeeper://a:2181,b:2181,c:2181', 'zookeeper'),
])
def test_backends(url: str, backend: str) -> None:
    assert coordination.check_url(url) == backend


@pytest.mark.parametrize(('url', 'word'), [
    ('', 'not supported'),
    ('memcached://cache', 'cannot tell whether a lock is still held'),
    ('mysql://ironic:secret@db/ironic', 'loses locks'),
    ('postgresql://ironic:secret@db/ironic', 'loses locks'),
    ('http://etcd:2379', 'etcd3+http'),
    ('redis://redis?timeout=5', 'lock_ttl'),
    ('redis://redis?lock_timeout=5', 'lock_ttl'),
    ('etcd3+http://etcd?membership_timeout=5', 'lock_ttl'),
    ('file://relative/locks', 'absolute path'),
    ('file:///', 'absolute path'),
    ('file:locks', 'absolute path'),
    ('redis://[::1', 'not a URL'),
    ('redis://redis?secret', 'not a URL'),
])
def test_refused(url: str, word: str) -> None:
    with pytest.raises(exception.CoordinationError) as caught:
        coordination.check_url(url)
    assert word in str(caught.value)
    assert 'secret' not in str(caught.value)


def test_secrets_do_not_show() -> None:
    url = 'redis://user:secret@redis:6379/?ssl=1&sentinel_password=secret2'
    settings = coordination.Coordination(url)
    assert 'secret' not in repr(settings)
    assert coordination.redacted(url) == 'redis://redis:6379/'


@pytest.mark.parametrize('data', [
    None, [], {}, {'url': 3}, {'url': 'file:///locks', 'ttl': 0},
    {'url': 'file:///locks', 'ttl': True},
    {'url': 'file:///locks', 'margin': float('nan')},
    {'url': 'file:///locks', 'renew_interval': '5'},
])
def test_bad_json(data: object) -> None:
    with pytest.raises(exception.CoordinationError):
        coordination.Coordination.from_json(data)


def test_json_there_and_back() -> None:
    settings = coordination.Coordination('file:///locks', 20.0, 4.0, 3.0)
    assert coordination.Coordination.from_json(
        settings.to_json()) == settings


def test_short_ttls_leave_room_for_two_failed_renewals() -> None:
    settings = coordination.Coordination('file:///locks', ttl=6.0)
    used = settings.limited_to(6.0)
    assert used.margin == 3.0
    assert used.renew_interval == 1.0
    assert used.call_timeout <= used.renew_interval
