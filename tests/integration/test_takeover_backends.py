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
"""Conductors that share a lock server, and lose it, the database, or all.

The first conductor reaches both through proxies that can be cut.
"""

import collections.abc
import contextlib
import typing

import pytest

from tests.support import black_hole
from tests.support import cluster as real_cluster
from tests.support import cluster_case
from tests.support import ipmi_sim
from tests.support import servers
from tests.support import viewers
from tests.support import waiting

Case = cluster_case.Case
Cluster = real_cluster.Cluster
Conductor = real_cluster.Conductor

Backend = type[servers.Server]


class Proxies(typing.NamedTuple):
    """Ways of the first conductor to what it needs."""

    locks: black_hole.BlackHole
    database: black_hole.BlackHole

    def cut(self) -> None:
        """The host is alone, except that it reaches its BMCs."""
        self.locks.cut()
        self.database.cut()

    def heal(self) -> None:
        """It is no longer."""
        self.locks.heal()
        self.database.heal()


class Rig(typing.NamedTuple):
    """A cluster and its lock server."""

    cluster: Cluster
    server: servers.Server
    proxies: Proxies


@contextlib.contextmanager
def running(backend: Backend) -> collections.abc.Iterator[Rig]:
    """A lock server, and two conductors that use it."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(backend())
        cluster = Cluster(2, {'solconsole': {
            'coordination_url': server.url}})
        proxies = Proxies(
            stack.enter_context(black_hole.BlackHole(
                server.host, server.port)),
            stack.enter_context(black_hole.BlackHole(
                '127.0.0.1', cluster.database.port)))
        cluster.conductors[0].options = {
            'solconsole': {'coordination_url': server.url_at(
                proxies.locks.port)},
            'database': {'connection': cluster.database.url_at(
                proxies.database.port)}}
        stack.enter_context(cluster)
        yield Rig(cluster, server, proxies)


@pytest.fixture(scope='module', params=[
    pytest.param(servers.Redis, id='redis'),
    pytest.param(servers.Etcd, id='etcd', marks=pytest.mark.long),
    pytest.param(servers.ZooKeeper, id='zookeeper',
                 marks=pytest.mark.long)])
def rig(request: pytest.FixtureRequest) -> collections.abc.Iterator[Rig]:
    """A cluster on each backend."""
    with running(request.param) as one:
        yield one


@pytest.fixture(scope='module')
def bmcs() -> collections.abc.Iterator[
        collections.abc.Iterator[ipmi_sim.Bmc]]:
    """BMCs whose hosts echo; each is used once."""
    with ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(echo=True)] * 60) as sim:
        yield iter(sim.bmcs)


@pytest.fixture
def case(rig: Rig, bmcs: collections.abc.Iterator[ipmi_sim.Bmc]
         ) -> collections.abc.Iterator[Case]:
    """What a test uses; all is whole again after it."""
    one = Case(rig.cluster, bmcs)
    try:
        yield one
        one.check_on()
    finally:
        rig.proxies.heal()
        with contextlib.suppress(AssertionError):
            rig.server.start()
        rig.cluster.heal()
        one.finish()


def test_a_dead_host_is_replaced_when_its_locks_expire(case: Case) -> None:
    cluster = case.cluster
    first, second = cluster.conductors
    nodes = [case.node(first) for _ in range(3)]
    for node in nodes:
        case.activated(node)
    first.lose_power()
    case.note('no power')
    cluster.wait_mapped(nodes[0].uuid, second)
    case.note('mapped')
    case.wait_works(nodes, second, 3 * cluster_case.TAKEN_OVER)
    for node in nodes:
        case.no_session_of_the_dead(node)
    first.start()
    cluster.wait_mapped(nodes[0].uuid, first)
    case.wait_works(nodes, first, 3 * cluster_case.CLOSED)


@pytest.mark.long
def test_a_graceful_stop_releases_locks_at_once(case: Case) -> None:
    cluster = case.cluster
    first, second = cluster.conductors
    nodes = [case.node(first) for _ in range(3)]
    first.terminate()
    cluster.wait_mapped(nodes[0].uuid, second)
    case.note('mapped')
    case.wait_works(nodes, second, 3 * cluster_case.HANDED_OVER)
    first.stop()


def test_a_host_that_is_cut_off_is_fenced_before_another_takes_over(
        rig: Rig, case: Case) -> None:
    cluster = case.cluster
    first, second = cluster.conductors
    node = case.node(first)
    with viewers.Viewer(case.api.url(node.uuid)) as viewer:
        rig.proxies.cut()
        case.note('cut off')
        # each look fails when two are connected
        cluster.wait_connected(
            node.uuid, second,
            3 * (real_cluster.RING_CHANGE + cluster_case.TAKEN_OVER))
        case.note('elsewhere')
        status = first.console(node.uuid)
        assert status is None or status['lock'] != 'held', status
        viewer.clear()
        with contextlib.suppress(AssertionError):
            viewer.send(b'of no effect')
        node.bmc.host.send(b'not for the old viewer')
        rig.proxies.heal()
        case.note('healed')
        cluster.wait_mapped(node.uuid, first)
        assert b'not for the old' not in viewer.data
        assert b'of no effect' not in viewer.data
    case.wait_works([node], first, 3 * cluster_case.TAKEN_OVER)


def test_a_host_that_was_frozen_passes_no_byte(case: Case) -> None:
    cluster = case.cluster
    first, second = cluster.conductors
    node = case.node(first)
    case.activated(node)
    with viewers.Viewer(case.api.url(node.uuid)) as viewer:
        viewer.send(b'before')
        viewer.wait_for(b'before')
        first.freeze()
        viewer.clear()
        viewer.send(b'typed into the void')
        cluster.wait_connected(
            node.uuid, second,
            3 * (real_cluster.RING_CHANGE + cluster_case.TAKEN_OVER))
        case.note('elsewhere')
        with viewers.Viewer(
                f'tcp://{second.address}:{node.port}') as other:
            other.send(b'attached')
            other.wait_for(b'attached')
            node.bmc.host.send(b'for the new viewer')
            other.wait_for(b'for the new viewer')
            first.resume()
            cluster.wait_mapped(node.uuid, first)
            case.wait_works([node], first, 3 * cluster_case.TAKEN_OVER)
            assert b'typed into the void' not in other.data
        assert b'for the new viewer' not in viewer.data


def test_who_lost_the_database_yields_to_a_claimant(
        rig: Rig, case: Case) -> None:
    cluster = case.cluster
    first, second = cluster.conductors
    node, bystander = case.node(first), case.node(second)
    session = case.session(bystander)
    rig.proxies.database.cut()
    case.note('no database')
    cluster.wait_mapped(node.uuid, second)
    case.note('mapped')
    holders = set()

    def yielded() -> bool:
        status = second.console(node.uuid) or {}
        if status.get('lock') == 'elsewhere':
            holders.add(status['holder'])
        return cluster.owner(node.uuid) is second

    waiting.wait_until(yielded, 'the claimant to be connected',
                       3 * cluster_case.TAKEN_OVER, 0.05,
                       seen=lambda: str(cluster.where(node.uuid)))
    case.note(f'yielded; it was said that the lock is at {holders}')
    assert all(first.host in holder for holder in holders), holders
    assert case.session(bystander) == session
    rig.proxies.database.heal()
    cluster.wait_mapped(node.uuid, first, 90.0)
    case.note('mapped back')
    case.wait_works([node], first, 3 * cluster_case.TAKEN_OVER)


@pytest.mark.long
def test_consoles_survive_a_restart_of_the_lock_server(
        rig: Rig, case: Case) -> None:
    cluster = case.cluster
    nodes = {case.node(conductor): conductor
             for conductor in cluster.conductors}
    sessions = {node: case.session(node) for node in nodes}
    rig.server.kill()
    rig.server.start()
    case.note('restarted')
    waiting.always(
        lambda: {node: case.session(node) for node in nodes} == sessions,
        'consoles keep their sessions', cluster_case.LOCK_TTL + 1.0, 0.3)
    rig.server.stop()
    case.note('stopped')
    for node in nodes:
        waiting.wait_until(
            lambda node=node:       # type: ignore[misc]
            cluster.owner(node.uuid) is None,
            'consoles without a lock server to be fenced',
            3 * cluster_case.LOCK_TTL, 0.1)
    case.note('fenced')
    case.check_on()
    rig.server.start()
    case.note('started')
    for node, conductor in nodes.items():
        case.wait_works([node], conductor, 3 * 5.0)
