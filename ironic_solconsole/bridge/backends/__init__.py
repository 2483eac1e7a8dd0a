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

"""Where the locks of nodes are kept: one driver a backend, one protocol.

Names, values and URLs are those of tooz, so that its tools and other users
see our locks as locks. The requests are our own and in bulk: tooz has a
call or two a lock, retries of its own that outlive a lease, and no way to
ask etcd whether a lock is still held. All that is private in tooz,
redis-py, etcd3gw and kazoo and is used here, is used in this package only.
"""

from ironic_solconsole import coordination
from ironic_solconsole.bridge.backends.base import Backend
from ironic_solconsole.bridge.backends.base import BackendError
from ironic_solconsole.bridge.backends.base import Held
from ironic_solconsole.bridge.backends.base import now

__all__ = ['Backend', 'BackendError', 'Held', 'make', 'now']


def make(settings: coordination.Coordination, member_id: str) -> Backend:
    """The backend of a coordination_url, not connected yet.

    Imports the libraries of this backend only: each takes some megabytes.

    :param settings: where, and for how long.
    :param member_id: ``HOST:PID:RANDOM``, unique for each process.
    :raises: BackendError if a library is missing or does not take the URL.
    """
    kind = settings.backend
    try:
        if kind == 'redis':
            from ironic_solconsole.bridge.backends import redis
            return redis.Redis(settings, member_id)
        if kind == 'etcd':
            from ironic_solconsole.bridge.backends import etcd
            return etcd.Etcd(settings, member_id)
        if kind == 'zookeeper':
            from ironic_solconsole.bridge.backends import zookeeper
            return zookeeper.ZooKeeper(settings, member_id)
        from ironic_solconsole.bridge.backends import file
        return file.File(settings, member_id)
    except ImportError as error:
        raise BackendError(
            f'{kind} needs a Python library that is not installed: '
            f'{error.name}') from error
