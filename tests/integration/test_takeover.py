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
"""Conductors that come and go, and where their consoles are then."""

import collections.abc
import contextlib
import os
import pathlib
import signal

import pytest

from tests.support import cluster as real_cluster
from tests.support import cluster_case
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import processes
from tests.support import viewers
from tests.support import waiting

Case = cluster_case.Case
Cluster = real_cluster.Cluster
Conductor = real_cluster.Conductor

#: Seconds within which a bridge is gone; what is promised is 2.
BRIDGE_END = 6.0

#: In the error about conductors that the locks do not reach.
STRANGERS = 'Conductors on other hosts have consoles as well'

#: Columns of nodes that a takeover must not be choosy about.
STATES = {
    'available': {'provision_state': 'available'},
    'manageable': {'provision_state': 'manageable'},
    'active': {'provision_state': 'active'},
    'clean failed': {'provision_state': 'clean failed', 'maintenance': 1},
    'maintenance': {'provision_state': 'available', 'maintenance': 1}}


@pytest.fixture(scope='module')
def cluster() -> collections.abc.Iterator[Cluster]:
    """Two conductors that run, and a third that does not; on one host."""
    options = {'DEFAULT': {'enabled_console_interfaces':
                           'solconsole,ipmitool-socat,no-console'}}
    with Cluster(2, options, shared_run_dir=True) as one:
        one.add()
        yield one


@pytest.fixture(scope='module')
def bmcs() -> collections.abc.Iterator[
        collections.abc.Iterator[ipmi_sim.Bmc]]:
    """BMCs whose hosts echo; each is used once."""
    with ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(echo=True)] * 60) as sim:
        yield iter(sim.bmcs)


@pytest.fixture
def case(cluster: Cluster,
         bmcs: collections.abc.Iterator[ipmi_sim.Bmc]
         ) -> collections.abc.Iterator[Case]:
    """What a test uses; the cluster is whole again after it."""
    one = Case(cluster, bmcs)
    try:
        yield one
        one.check_on()
    finally:
        cluster.heal(cluster.conductors[:2])
        one.finish()


def test_a_killed_conductor_loses_its_consoles_and_gets_them_back(
        case: Case) -> None:
    cluster = case.cluster
    first, second, _ = cluster.conductors
    nodes = {name: case.node(first) for name in STATES}
    for name, columns in STATES.items():
        cluster.set_fields(nodes[name].uuid, **columns)
    away = case.node(first)
    bystander = case.node(second)
    session = case.session(bystander)
    with ipmi_sim.silent_bmc() as silent, viewers.Viewer(
            case.api.url(bystander.uuid)) as viewer:
        case.api.patch(away.uuid, driver_info__ipmi_port=silent)
        bridges = first.bridges()
        first.kill()
        case.note('kill -9')
        for pid in bridges:
            processes.wait_gone(pid, 'the bridge of a killed conductor',
                                BRIDGE_END)
        cluster.wait_mapped(nodes['active'].uuid, second)
        case.note('mapped')
        case.wait_works(
            nodes.values(), second, 3 * cluster_case.TAKEN_OVER)
        waiting.wait_until(
            lambda: second.console(away.uuid),
            'the console of a BMC that is away')
        case.check_on()
        first.start()
        case.note('it is back')
        cluster.wait_mapped(nodes['active'].uuid, first)
        case.wait_works(nodes.values(), first, 3 * cluster_case.CLOSED)
        cluster.wait_gone(away.uuid, second)
        assert case.session(bystander) == session, (
            'a console that did not move was disturbed')
        viewer.send(b'undisturbed')
        viewer.wait_for(b'undisturbed')


@pytest.mark.long
def test_the_bmc_session_of_a_dead_host_is_reclaimed(case: Case) -> None:
    cluster = case.cluster
    first, second, _ = cluster.conductors
    nodes = [case.node(first) for _ in range(2)]
    for node in nodes:
        case.activated(node)
    first.lose_power()
    cluster.wait_mapped(nodes[0].uuid, second)
    case.wait_works(nodes, second, 3 * cluster_case.TAKEN_OVER)
    for node in nodes:
        case.no_session_of_the_dead(node)


def test_a_hung_bridge_of_a_dead_conductor_is_ended(case: Case) -> None:
    cluster = case.cluster
    first, second, _ = cluster.conductors
    node = case.node(first)
    case.activated(node)
    bridges = first.bridges()
    for pid in bridges:
        os.kill(pid, signal.SIGSTOP)
    first.kill()
    # it keeps the lock until it is ended
    for pid in bridges:
        processes.wait_gone(
            pid, 'a hung bridge without a conductor',
            3 * (cluster_case.CLOSED + 4.0))
    case.note('the bridge is gone')
    case.wait_works([node], second, 3 * (
        real_cluster.RING_CHANGE + cluster_case.OPENED))
    case.no_session_of_the_dead(node)


def test_a_graceful_stop_hands_consoles_over(case: Case) -> None:
    cluster = case.cluster
    first, second, _ = cluster.conductors
    nodes = [case.node(first) for _ in range(2)]
    first.terminate()
    cluster.wait_mapped(nodes[0].uuid, second)
    case.note('mapped')
    case.wait_works(nodes, second, 3 * cluster_case.HANDED_OVER)
    first.stop()
    assert not first.bridges()


def test_a_conductor_that_is_added_takes_its_share(case: Case) -> None:
    cluster = case.cluster
    first, second, third = cluster.conductors
    nodes = [case.node() for _ in range(6)]
    sessions = {node: case.session(node) for node in nodes}
    owners = {node: cluster.owner(node.uuid) for node in nodes}
    third.start()
    cluster.wait_settled()
    moved = [node for node in nodes if cluster.mapped(node.uuid) is third]
    case.wait_works(moved, third, 3 * cluster_case.CLOSED)
    for node in nodes:
        if node not in moved:
            assert cluster.owner(node.uuid) is owners[node]
            assert case.session(node) == sessions[node], 'undisturbed'
    third.stop()
    cluster.wait_settled()
    for conductor in (first, second):
        case.wait_works(
            [node for node in moved if owners[node] is conductor],
            conductor, 3 * cluster_case.HANDED_OVER)


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSTOP])
def test_a_bridge_that_dies_or_hangs_is_replaced(
        number: signal.Signals, case: Case) -> None:
    first = case.cluster.conductors[0]
    node = case.node(first)
    (old,) = first.bridges()
    os.kill(old, number)
    case.note(f'{number.name} of the bridge')
    processes.wait_gone(old, 'a bridge that is of no use', 45.0)
    case.wait_works([node], first, 3 * cluster_case.TAKEN_OVER)


def test_a_worker_replaced_by_sighup_brings_its_consoles_back(
        case: Case) -> None:
    first, second, _ = case.cluster.conductors
    node, bystander = case.node(first), case.node(second)
    session = case.session(bystander)
    (old,) = first.bridges()
    first.hup()
    processes.wait_gone(old, 'the bridge of the worker', BRIDGE_END)
    case.wait_works([node], first, 3 * cluster_case.HANDED_OVER)
    assert case.session(bystander) == session


def outage(case: Case, seconds: float) -> None:
    """No database for a while: the consoles stay as they are."""
    cluster = case.cluster
    first, second, _ = cluster.conductors
    nodes = {case.node(conductor): conductor
             for conductor in (first, second)}
    sessions = {node: case.session(node) for node in nodes}
    with contextlib.ExitStack() as stack:
        watching = [stack.enter_context(viewers.Viewer(
            case.api.url(node.uuid))) for node in nodes]
        cluster.database.stop()
        waiting.always(
            lambda: all(cluster.owner(node.uuid) is conductor
                        for node, conductor in nodes.items()),
            'consoles stay connected without a database', seconds, 0.3)
        for viewer in watching:
            viewer.send(b'no database')
            viewer.wait_for(b'no database')
        cluster.database.start()
        case.note('the database is back')
        # conductors are dead to each other until their heartbeats come
        waiting.always(
            lambda: {node: case.session(node) for node in nodes} == sessions,
            'no session ends when the database comes back',
            real_cluster.RING_CHANGE, 0.3)
        cluster.wait_settled(60.0)
        for viewer in watching:
            viewer.send(b'here it is')
            viewer.wait_for(b'here it is')
    for node, conductor in nodes.items():
        case.wait_works([node], conductor, 3 * cluster_case.TAKEN_OVER)


def test_consoles_stay_while_the_database_is_away(case: Case) -> None:
    outage(case, real_cluster.HEARTBEAT_TIMEOUT + 4.0)


@pytest.mark.long
def test_consoles_stay_while_the_database_is_away_for_two_minutes(
        case: Case) -> None:
    outage(case, 120.0)


@pytest.mark.parametrize('how', ['api', 'database'])
def test_the_console_of_a_deleted_node_is_closed(
        how: str, case: Case) -> None:
    node = case.node()
    with viewers.Viewer(case.api.url(node.uuid)) as viewer:
        case.no_longer_on(node.uuid)
        if how == 'api':
            case.api.delete(node.uuid)
        else:
            case.cluster.database.execute(
                'DELETE FROM nodes WHERE uuid=%s', node.uuid)
        waiting.wait_until(
            lambda: not case.cluster.consoles(node.uuid),
            'no console of a node that is gone', 3 * cluster_case.CLOSED)
        viewer.wait_closed()
    node.bmc.wait_free()


def test_a_console_whose_interface_is_changed_is_closed(case: Case) -> None:
    first = case.cluster.conductors[0]
    node = case.node(first)
    with viewers.Viewer(case.api.url(node.uuid)) as viewer:
        case.api.patch(node.uuid, console_interface='no-console')
        case.cluster.wait_gone(node.uuid, first, 3 * cluster_case.CLOSED)
        viewer.wait_closed()
    node.bmc.wait_free()

    def unmarked() -> bool:
        keys = case.internal(node.uuid)
        return (cluster_case.GENERATION not in keys
                and cluster_case.ACTIVATION not in keys)

    waiting.wait_until(unmarked, 'a node without our marks',
                       3 * cluster_case.CLOSED, 0.2,
                       seen=lambda: case.internal(node.uuid))
    case.stays_closed(node.uuid, cluster_case.TAKEOVER + 1.0)


def in_tree_processes(conductor: Conductor, uuid: str) -> list[int]:
    """The socat of ipmitool-socat for a node, and all below it."""
    path = conductor.directory / 'tmp' / f'{uuid}.pid'
    if not path.exists():
        return []
    found = [int(path.read_text())]
    for pid in found:
        found += [int(word) for task in pathlib.Path(
            f'/proc/{pid}/task').iterdir() for word in (
            task / 'children').read_text().split()]
    return found


def test_a_node_moved_from_ipmitool_socat_while_on_is_adopted(
        case: Case) -> None:
    first = case.cluster.conductors[0]
    bmc = case.bmc()
    uuid = case.create(bmc, first, interface='ipmitool-socat')
    case.api.set_console(uuid, True)
    waiting.wait_until(lambda: case.api.node(uuid)['console_enabled'],
                       'the console of ipmitool-socat')
    url = case.api.url(uuid)
    with viewers.Viewer(url) as viewer:
        waiting.wait_until(
            lambda: len(in_tree_processes(first, uuid)) >= 2
            and bmc.payload_active(), 'socat with its ipmitool',
            interval=0.2)
        old = in_tree_processes(first, uuid)
        case.api.patch(uuid, console_interface='solconsole')
        case.note(f'moved; there were {old}')
        for pid in old:
            processes.wait_gone(
                pid, 'a process of ipmitool-socat',
                3 * (cluster_case.OPENED + 4.0))
        case.note('they are gone')
        viewer.wait_closed()
    case.cluster.wait_connected(uuid, first, 90.0)
    case.note('connected')
    port = int(case.api.url(uuid).rpartition(':')[2])
    case.works(cluster_case.Node(uuid, bmc, port), first)
    assert 'allocated_ipmi_terminal_port' not in case.internal(uuid)
    assert case.api.node(uuid)['console_enabled']


@pytest.fixture
def powered() -> collections.abc.Iterator[ipmi_sim.Bmc]:
    """A BMC with a chassis, which only the first of a process has."""
    with ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(echo=True)]) as sim:
        yield sim.bmcs[0]


@pytest.mark.long
def test_what_a_dead_conductor_left_of_ipmitool_socat_is_ended(
        case: Case) -> None:
    cluster = case.cluster
    first, second, _ = cluster.conductors
    bmc = case.bmc()
    uuid = case.create(bmc, first, interface='ipmitool-socat')
    case.api.set_console(uuid, True)
    waiting.wait_until(lambda: case.api.node(uuid)['console_enabled'],
                       'the console of ipmitool-socat')
    url = case.api.url(uuid)
    with viewers.Viewer(url):
        waiting.wait_until(
            lambda: len(in_tree_processes(first, uuid)) >= 2
            and bmc.payload_active(), 'socat with its ipmitool',
            interval=0.2)
        old = in_tree_processes(first, uuid)
        first.kill()
        cluster.wait_mapped(uuid, second)
        case.api.patch(uuid, console_interface='solconsole')
        assert all(processes.alive(pid) for pid in old)
        first.start()
        for pid in old:
            processes.wait_gone(pid, 'a process of ipmitool-socat',
                                3 * (cluster_case.CLOSED + 4.0))
        case.note('they are gone')
    cluster.wait_mapped(uuid, first)
    cluster.wait_connected(uuid, first, 90.0)
    port = int(case.api.url(uuid).rpartition(':')[2])
    case.works(cluster_case.Node(uuid, bmc, port), first)


def test_a_console_that_teardown_closed_stays_closed(
        powered: ipmi_sim.Bmc, case: Case) -> None:
    cluster = case.cluster
    first, second, _ = cluster.conductors
    node = case.node(first, powered)
    cluster.set_fields(node.uuid, provision_state='active')
    with viewers.Viewer(case.api.url(node.uuid)) as viewer:
        case.api.call('PUT', f'/v1/nodes/{node.uuid}/states/provision',
                      {'target': 'deleted'})
        viewer.wait_closed()
    waiting.wait_until(
        lambda: case.api.node(node.uuid)['provision_state'] == 'available',
        'the node to be available', 60.0, 0.2,
        seen=lambda: [case.api.node(node.uuid)[key] for key in (
            'provision_state', 'last_error', 'reservation')])
    node.bmc.wait_free()
    case.stays_closed(node.uuid, cluster_case.TAKEOVER + 2.0)
    assert case.api.node(node.uuid)['console_enabled'], (
        'teardown leaves it so, for the next deployment')
    with pytest.raises(real_ironic.ApiError, match='is closed'):
        case.api.console(node.uuid)
    first.kill()
    cluster.wait_mapped(node.uuid, second)
    case.stays_closed(node.uuid, cluster_case.TAKEOVER + 2.0)
    case.api.disable(node.uuid)
    case.api.enable(node.uuid)
    case.works(node, second)


def test_a_node_moved_to_another_conductor_group_moves(case: Case) -> None:
    cluster = case.cluster
    first, _, third = cluster.conductors
    node = case.node(first)
    third.options = {'conductor': {'conductor_group': 'far'}}
    cluster.configure(third)
    try:
        third.start()
        cluster.wait_settled()
        case.api.patch(node.uuid, conductor_group='far')
        cluster.wait_mapped(node.uuid, third)
        case.wait_works([node], third, 3 * cluster_case.CLOSED)
        case.api.patch(node.uuid, conductor_group='')
        cluster.wait_mapped(node.uuid, first)
        case.wait_works([node], first, 3 * cluster_case.CLOSED)
    finally:
        third.kill()
        third.options = {}
        cluster.configure(third)


def test_a_conductor_that_joins_is_not_taken_for_one_without_our_locks(
        case: Case) -> None:
    cluster = case.cluster
    third = cluster.conductors[2]
    third.start()
    cluster.wait_settled()
    # each has looked around since
    waiting.always(lambda: third.running, 'it runs',
                   cluster_case.TAKEOVER + 1.0)
    for conductor in cluster.conductors:
        said = [line for line in conductor.log_text().splitlines()
                if STRANGERS in line]
        assert not said, f'they share their locks, but {conductor}: {said}'


def test_locks_that_do_not_reach_all_conductors_are_told(
        case: Case) -> None:
    cluster = case.cluster
    third = cluster.conductors[2]
    other = cluster.directory / 'not-shared'
    third.options = {'solconsole': {'coordination_url': f'file://{other}'}}
    cluster.configure(third)
    try:
        third.start()
        third.wait_log(STRANGERS, 3 * cluster_case.CLOSED)
        assert 'Set [solconsole]coordination_url' in third.new_log()
    finally:
        third.kill()
        third.options = {}
        cluster.configure(third)


def test_a_paused_conductor_loses_its_consoles_and_has_none_twice(
        case: Case) -> None:
    cluster = case.cluster
    first, second, _ = cluster.conductors
    node = case.node(first)
    first.pause()
    cluster.wait_mapped(node.uuid, second)
    cluster.wait_connected(node.uuid, second, 3 * cluster_case.TAKEN_OVER)
    case.note('elsewhere')
    first.resume()
    # each call fails when two are connected
    cluster.wait_mapped(node.uuid, first)
    case.wait_works([node], first, 3 * cluster_case.CLOSED)


def test_a_changed_address_moves_the_link_under_its_viewers(
        case: Case) -> None:
    first = case.cluster.conductors[0]
    node, bmc = case.node(first), case.bmc()
    with viewers.Viewer(case.api.url(node.uuid)) as viewer:
        case.api.patch(node.uuid, driver_info__ipmi_port=bmc.port)

        def there() -> bool:
            return node.uuid in [
                status['node'] for status in first.consoles()
                if status['bmc'].endswith(f':{bmc.port}')
                and status['state'] == 'connected']

        waiting.wait_until(there, 'the link to go to another BMC',
                           3 * cluster_case.OPENED, 0.1)
        bmc.host.send(b'the other machine')
        viewer.wait_for(b'the other machine')
    node.bmc.wait_free()


@pytest.mark.filterwarnings('ignore:\\s*Eventlet')
def test_a_lock_that_is_elsewhere_is_told_and_waited_for(
        case: Case) -> None:
    first = case.cluster.conductors[0]
    bmc = case.bmc()
    uuid = case.create(bmc, first)
    with foreign_lock(case.cluster, uuid):
        port = case.enable(uuid)
        waits_for_lock(first, uuid, port)
        assert not bmc.payload_active(), 'no lock, no byte'
        # as Ironic starts consoles, it switches off what raises
        first.hup()
        waits_for_lock(first, uuid, port)
        case.check_on()
    case.wait_works([cluster_case.Node(uuid, bmc, port)], first,
                    3 * cluster_case.CLOSED)


def waits_for_lock(conductor: Conductor, uuid: str, port: int) -> None:
    """Wait until a console says that its lock is elsewhere."""
    waiting.wait_until(
        lambda: (conductor.console(uuid) or {}).get('lock') == 'elsewhere',
        f'node {uuid} without its lock', 3 * cluster_case.OPENED, 0.1,
        seen=lambda: conductor.console(uuid))
    with viewers.Viewer(f'tcp://{conductor.address}:{port}') as viewer:
        viewer.wait_for(b'served elsewhere')


@contextlib.contextmanager
def foreign_lock(cluster: Cluster, uuid: str
                 ) -> collections.abc.Iterator[None]:
    """Hold a node's lock, as a process that is none of the cluster's."""
    from tooz import coordination

    coordinator = coordination.get_coordinator(
        f'file://{cluster.lock_dir}', b'somebody:1:else')
    coordinator.start()
    try:
        lock = coordinator.get_lock(f'ironic-solconsole-{uuid}'.encode())
        assert lock.acquire(blocking=False)
        try:
            yield
        finally:
            lock.release()
    finally:
        coordinator.stop()
