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

"""A real Ironic cluster, with all around it that can be broken."""

import contextlib
import pathlib
import shutil
import types
import typing

from tests.chaos import nodes
from tests.chaos import witness
from tests.support import black_hole
from tests.support import cluster as real_cluster
from tests.support import ipmi_sim
from tests.support import ironic_process
from tests.support import servers

BACKENDS = ('file', 'redis', 'etcd', 'zookeeper')

#: Of the conductor that nodes are moved to.
GROUP = 'other'

TTL = 6.0
_MARGIN = 1.5

#: Seconds for which a process passes bytes that does not reach the backend,
#: or whose conductor is silent (see the driver's conductor_timeout), or
#: dead.
LEASE = TTL - _MARGIN
CONDUCTOR_TIMEOUT = real_cluster.HEARTBEAT_TIMEOUT - 2.0
END = 2.0

_RING_CACHE = 1

#: Seconds after which everybody has given up a conductor: its locks have
#: expired, and all know it, some from what they keep for a while.
TIMEOUT = max(TTL, real_cluster.HEARTBEAT_TIMEOUT + _RING_CACHE + 1.0)

_OPTIONS: dict[str, dict[str, object]] = {
    'DEFAULT': {'hash_ring_reset_interval': _RING_CACHE},
    'solconsole': {
        'lock_ttl': TTL, 'lock_margin': _MARGIN, 'lock_renew_interval': 1,
        'takeover_interval': 3, 'untakeover_interval': 3,
        'keepalive_interval': 1}}

_SERVERS: dict[str, type[servers.Server]] = {
    'redis': servers.Redis, 'etcd': servers.Etcd,
    'zookeeper': servers.ZooKeeper}


class Cloud:
    """Conductors of one group, a conductor of another, nodes, locks.

    :param backend: one of BACKENDS.
    :param conductors: how many share the nodes.
    :param group: whether there is another one, in a group of its own.
    :param count: how many nodes.
    :param directory: for what the observer writes.
    """

    def __init__(self, backend: str, conductors: int, group: bool,
                 count: int, directory: pathlib.Path) -> None:
        self.backend = backend
        self._count = count
        self._hit = conductors
        self.nodes: list[nodes.Node] = []
        self._stack = contextlib.ExitStack()
        self.server: servers.Server | None = None
        #: Between each conductor and the server, and the database.
        self.paths: list[black_hole.BlackHole] = []
        self.database_paths: list[black_hole.BlackHole] = []
        own: list[dict[str, dict[str, object]]] = []
        total = conductors + group
        if backend != 'file':
            self.server = _SERVERS[backend]()
            self._stack.enter_context(self.server)
            for _ in range(total):
                path = self._proxy(self.server.port)
                self.paths.append(path)
                own.append({'solconsole': {
                    'coordination_url': self.server.url_at(path.port)}})
        self.cluster = real_cluster.Cluster(
            total, _OPTIONS, own,
            [*[''] * conductors, *[GROUP] * group])
        database = self.cluster.database
        for conductor in self.cluster.conductors:
            path = self._proxy(database.port)
            self.database_paths.append(path)
            conductor.options = ironic_process.merge(
                {}, conductor.options, {'database': {
                    'connection': database.url.replace(
                        f':{database.port}/', f':{path.port}/')}})
        self.witness = witness.Witness(count, directory / 'records')

    def _proxy(self, port: int) -> black_hole.BlackHole:
        return self._stack.enter_context(
            black_hole.BlackHole('127.0.0.1', port))

    def __enter__(self) -> 'Cloud':
        try:
            self._stack.callback(self._stop_witness)
            self._stack.enter_context(self.cluster)
            for number in range(self._count):
                self._add_node(str(number), number % self._hit)
        except BaseException:
            self._stack.close()
            raise
        return self

    def _stop_witness(self) -> None:
        if self.witness.running:
            self.witness.stop()

    def _add_node(self, name: str, on: int) -> None:
        conductors = self.cluster.conductors
        user = ipmi_sim.ADMIN
        uuid = self.cluster.create_node(
            on=conductors[on], ipmi_address='127.0.0.1',
            ipmi_port=self.witness.ports[name], ipmi_username=user.name,
            ipmi_password=user.password, ipmi_cipher_suite=3)
        url = self.cluster.api.enable(uuid)
        port = int(url.rpartition(':')[2])
        for conductor in conductors:
            self.witness.watch(name, conductor.address, port)
        node = nodes.Node(self.cluster.api, name, uuid, port)
        self._stack.callback(node.stop)
        self.nodes.append(node)

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None) -> None:
        try:
            self._stack.close()
        except AssertionError:
            if kind is None:
                raise

    def keep_logs(self, directory: pathlib.Path) -> None:
        """Copy what the conductors have logged."""
        for conductor in self.cluster.conductors:
            for path in (conductor.log, conductor.directory / 'stderr.log'):
                if path.exists():
                    shutil.copy(path, directory /
                                f'{conductor.address}-{path.name}')

    # Where the consoles are.

    def missing(self, since: dict[str, int]) -> dict[str, str]:
        """Nodes without a console that works, in one place, and why.

        :param since: lines of each node's host that do not count.
        """
        status = self.witness.status()
        problems = {}
        for node in self.nodes:
            why = (self._why_not(status, node, since[node.name])
                   if node.content else 'the API call is not done')
            if why:
                problems[node.name] = why
        return problems

    def _why_not(self, status: dict[str, typing.Any], node: nodes.Node,
                 since: int) -> str:
        seen = status['nodes'][node.name]
        recent = status['time'] - 1.0
        hosts = [host for host, shown in seen['shown'].items()
                 if shown['time'] > recent]
        if len(hosts) != 1:
            return f'output at {hosts or "no listener"}'
        shown = seen['shown'][hosts[0]]
        if shown['line'] <= since:
            return 'no new line of the host'
        if shown['pid'] != seen['pid']:
            return (f'process {shown["pid"]} shows, {seen["pid"]} has the '
                    'session')
        where = self.cluster.where(node.uuid)
        listening = [conductor.address for conductor in where.consoles]
        connected = [conductor.address for conductor in where.connected]
        mapped = where.mapped.address if where.mapped else 'nobody'
        if not hosts == connected == listening == [mapped]:
            return (f'output at {hosts}, open at {listening}, connected at '
                    f'{connected}, mapped to {mapped}')
        return ''
