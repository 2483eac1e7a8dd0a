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

"""Takeover and untakeover: each console where it belongs, and only there.

The bridges are processes that answer as real ones do; Ironic's database,
rings and locks are fakes.Cloud.
"""

from collections.abc import Callable
from collections.abc import Iterator
import pathlib
import types
import typing
import uuid

from ironic.conf import CONF
from oslo_db import exception as db_exception
import pytest

from ironic_solconsole import conf
from ironic_solconsole.driver import memories
from ironic_solconsole.driver import neighbours
from ironic_solconsole.driver import node_ports
from ironic_solconsole.driver import orphans
from ironic_solconsole.driver import ring
from ironic_solconsole.driver import snapshot
from ironic_solconsole.driver import takeover
from tests.support import waiting
from tests.unit.driver import conftest
from tests.unit.driver import fakes

GENERATION = 'solconsole_generation'
PORT = 'solconsole_port'
ACTIVATION = {'session': 7, 'user': 2, 'address': '192.0.2.1',
              'port': 623, 'at': 100.0}


class Setup:
    """A conductor: its passes, its bridge, and the cloud around it."""

    def __init__(self, fake: conftest.FakeBridges, directory: pathlib.Path,
                 ) -> None:
        self.fake = fake
        self.cloud = fakes.Cloud(fakes.Manager())
        self.pool = fake.pool()
        self.memories = memories.Memories(100)
        self.passes = takeover.Takeover(
            self.pool, node_ports.NodePorts(directory), self.memories,
            directory)
        self.next_port = 7000

    def node(self, *args: typing.Any, **fields: typing.Any) -> fakes.Node:
        """A node whose console is on, as start_console leaves it."""
        self.next_port += 1
        fields.setdefault('console_enabled', True)
        fields.setdefault('driver_internal_info', {
            GENERATION: uuid.uuid4().hex, PORT: self.next_port})
        return self.cloud.add(*args, **fields)

    def nodes_now(self) -> snapshot.Snapshot:
        rings = ring.read(self.cloud.manager)
        assert rings is not None
        return snapshot.Snapshot(self.cloud.manager, rings)

    def takeover(self) -> None:
        self.passes.run_takeover(self.nodes_now(), None)

    def untakeover(self) -> None:
        self.passes.run_untakeover(self.nodes_now(), None)

    def wanted(self) -> set[str]:
        return {console.node for console in self.pool.consoles()}

    def in_bridge(self) -> dict[str, str]:
        """What the bridge has open, and whether people may come in."""
        found: dict[str, str] = {}
        for request in self.fake.requests():
            verb, args = request['verb'], request['args']
            if verb == 'open':
                node = args['spec']['node']
                if args.get('admit', True):
                    found[node] = 'admitted'
                else:
                    found.setdefault(node, 'held')
            elif verb == 'admit':
                found.update((node, 'admitted')
                             for node, _ in args['consoles'])
            elif verb == 'close':
                found.pop(args['node'], None)
        return found

    def wait_open(self, *nodes: fakes.Node) -> None:
        waiting.wait_until(
            lambda: all(self.url(node) for node in nodes)
            and all(self.in_bridge().get(node.uuid) == 'admitted'
                    for node in nodes),
            'consoles that are open for everybody', seen=self.in_bridge)

    def url(self, node: fakes.Node) -> str:
        return self.pool.url(node.uuid, node.driver_internal_info[GENERATION])

    def open(self, *nodes: fakes.Node) -> None:
        self.takeover()
        self.wait_open(*nodes)

    def stop_elsewhere(self, node: fakes.Node) -> None:
        """What stop_console of another conductor leaves behind."""
        node.driver_internal_info.pop(GENERATION)

    def stop_here(self, node: fakes.Node) -> None:
        """What stop_console of this conductor does."""
        generation = node.driver_internal_info.pop(GENERATION)
        self.pool.close(node.uuid, generation)


@pytest.fixture
def setup(fake: conftest.FakeBridges, tmp_path: pathlib.Path,
          monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    conf.register_opts(CONF)
    values = [('socat_address', '127.0.0.1', 'console'),
              ('terminal_pid_dir', str(tmp_path / 'pids'), 'console'),
              ('port_range', '7500:7510', conf.GROUP),
              ('coordination_url', f'file://{tmp_path}/locks', conf.GROUP)]
    for name, value, group in values:
        CONF.set_override(name, value, group)
    made = Setup(fake, tmp_path / 'run')
    made.cloud.install(monkeypatch)
    yield made
    for name, _, group in values:
        CONF.clear_override(name, group)


# takeover

def test_what_should_be_open_here_is_opened(setup: Setup) -> None:
    nodes = [setup.node(provision_state=state) for state in (
        'available', 'manageable', 'active', 'clean failed', 'enroll')]
    setup.open(*nodes)
    assert setup.wanted() == {node.uuid for node in nodes}
    assert setup.cloud.locked == [], 'nothing had to be written'
    for node in nodes:
        port = node.driver_internal_info[PORT]
        assert setup.url(node) == f'tcp://127.0.0.1:{port}'


@pytest.mark.parametrize('fields', [
    {'console_enabled': False},
    {'console_enabled': False, 'reservation': 'cond-a'},
    {'console_interface': 'ipmitool-socat'},
    {'here': False},
    {'provision_state': 'deleting'},
    {'driver_internal_info': {}},
    {'driver_internal_info': {'solconsole_torn_down': True}}])
def test_what_should_not_be_is_not(
        setup: Setup, fields: dict[str, typing.Any]) -> None:
    setup.node(**fields)
    setup.takeover()
    assert setup.wanted() == set()
    assert setup.cloud.locked == []


def test_a_pass_with_nothing_to_do_asks_for_no_lock_and_no_bridge(
        setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    seen = len(setup.fake.requests('open'))
    setup.cloud.asked.clear()
    setup.takeover()
    setup.untakeover()
    assert len(setup.cloud.asked) == 3
    assert len(setup.fake.requests('open')) == seen
    assert setup.cloud.locked == []


def test_a_type_that_no_conductor_has_is_not_asked_for(setup: Setup) -> None:
    """Ironic would read all rings anew, for each node."""
    setup.node(driver='redfish')
    setup.takeover()
    assert setup.wanted() == set()


@pytest.mark.parametrize('change', [
    {'ipmi_address': '192.0.2.8'}, {'ipmi_username': 'other'},
    {'ipmi_password': 'other'}, {'ipmi_hex_kg_key': 'c0ffee'},
    {'ipmi_port': 6230}, {'ipmi_cipher_suite': 3}])
def test_a_change_reaches_the_console(
        setup: Setup, change: dict[str, typing.Any]) -> None:
    node = setup.node()
    setup.open(node)
    node.driver_info.update(change)
    setup.takeover()
    setup.fake.wait_requests('open', 2)
    first, second = (request['args'] for request in
                     setup.fake.requests('open'))
    assert first['spec'] != second['spec']
    assert 'admit' not in second, 'those who are in stay in'
    assert not setup.fake.requests('close')
    assert setup.cloud.locked == []


def test_another_instance_reaches_the_console(setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    node.instance_uuid = str(uuid.uuid4())
    setup.takeover()
    setup.fake.wait_requests('open', 2)
    spec = setup.fake.requests('open')[-1]['args']['spec']
    assert spec['instance_uuid'] == node.instance_uuid


def test_a_bad_edit_leaves_it_open_and_is_complained_about_once(
        setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    node = setup.node()
    setup.open(node)
    node.driver_info['ipmi_port'] = 'none'
    for _ in range(3):
        setup.takeover()
    assert setup.wanted() == {node.uuid}
    assert caplog.text.count('ipmi_port') == 1
    node.driver_info['ipmi_port'] = 624
    setup.takeover()
    setup.fake.wait_requests('open', 2)


def test_a_start_without_a_port_is_made_up_for(
        setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.cloud.add(driver_internal_info={PORT: 7500})
    CONF.set_override('port_range', '7500:7501', conf.GROUP)
    node = setup.node(driver_internal_info={GENERATION: 'g'})
    for _ in range(3):
        setup.takeover()
    assert setup.wanted() == set()
    assert caplog.text.count('no free TCP port') == 1
    CONF.set_override('port_range', '7500:7502', conf.GROUP)
    setup.open(node)
    assert node.saved[-1][PORT] == 7501


def test_a_locked_node_gets_its_port_later(setup: Setup) -> None:
    node = setup.node(driver_internal_info={GENERATION: 'g'},
                      reservation='cond-b')
    setup.takeover()
    assert setup.wanted() == set()
    node.reservation = None
    setup.open(node)


def test_a_changed_fixed_port_is_chosen_under_the_lock(setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    node.driver_info['ipmi_terminal_port'] = 7999
    setup.takeover()
    assert setup.cloud.locked == [node.uuid]
    assert node.saved[-1][PORT] == 7999
    waiting.wait_until(
        lambda: setup.url(node) == 'tcp://127.0.0.1:7999', 'the new port')


def test_a_recorded_port_that_served_another_node_is_not_taken(
        setup: Setup) -> None:
    node, other = setup.node(), setup.node()
    setup.open(node)
    # two databases, say: a host remembers what it has served
    other.driver_internal_info[PORT] = node.driver_internal_info[PORT]
    setup.untakeover()
    setup.pool.close(other.uuid, other.driver_internal_info[GENERATION])
    other.driver_internal_info[GENERATION] = 'next'
    setup.open(other)
    assert (other.driver_internal_info[PORT]
            != node.driver_internal_info[PORT])


# Barriers: the world changes while a pass runs

def after_rows(setup: Setup, action: Callable[[], None],
               number: int = 2) -> None:
    """Do something once, right after a query of the pass."""
    setup.cloud.asked.clear()

    def between(count: int) -> None:
        if count == number:
            setup.cloud.between = lambda count: None
            action()

    setup.cloud.between = between


@pytest.mark.parametrize('where', ['here', 'elsewhere'])
def test_a_teardown_between_snapshot_and_open_leaves_it_closed(
        setup: Setup, where: str) -> None:
    other = setup.node()
    setup.open(other)
    node = setup.node()
    stop = setup.stop_here if where == 'here' else setup.stop_elsewhere

    def tear_down() -> None:
        stop(node)
        node.driver_internal_info['solconsole_torn_down'] = True
        if where == 'elsewhere':
            # nobody here knows: the open goes out
            setup.cloud.between = lambda number: (
                setup.fake.wait_requests('open', 2))

    after_rows(setup, tear_down)
    setup.takeover()
    setup.cloud.between = lambda number: None
    assert len(setup.fake.requests('open')) == (
        1 if where == 'here' else 2)
    for _ in range(2):
        assert setup.wanted() == {other.uuid}
        assert setup.in_bridge() == {other.uuid: 'admitted'}
        setup.takeover()
        setup.untakeover()
    let_in = [request['args']['spec']['node']
              for request in setup.fake.requests('open')
              if request['args'].get('admit', True)]
    for request in setup.fake.requests('admit'):
        let_in += [one for one, _ in request['args']['consoles']]
    assert node.uuid not in let_in, 'somebody could have come in'


def test_nobody_is_let_in_before_the_node_was_read_again(
        setup: Setup) -> None:
    node = setup.node()
    seen: list[dict[str, str]] = []

    def look() -> None:
        setup.fake.wait_requests('open', 1)
        seen.append(setup.in_bridge())

    after_rows(setup, look, 3)
    setup.open(node)
    assert seen == [{node.uuid: 'held'}]
    assert setup.fake.requests('admit')[0]['args'] == {
        'consoles': [[node.uuid, node.driver_internal_info[GENERATION]]]}


def test_a_console_that_is_held_has_no_url(setup: Setup) -> None:
    node = setup.node()
    urls: list[str] = []

    def look() -> None:
        setup.fake.wait_requests('ping', 5)
        urls.append(setup.url(node))

    after_rows(setup, look, 3)
    setup.open(node)
    assert urls == ['']


def test_a_pass_that_fails_in_between_is_finished_by_the_next(
        setup: Setup) -> None:
    node = setup.node()

    def fail() -> None:
        raise db_exception.DBConnectionError()

    after_rows(setup, fail, 3)
    with pytest.raises(db_exception.DBConnectionError):
        setup.takeover()
    setup.fake.wait_requests('open', 1)
    assert setup.in_bridge() == {node.uuid: 'held'}
    setup.fake.kill(setup.fake.alive()[0])
    setup.fake.wait_requests('open', 2)
    assert not setup.fake.requests('open')[1]['args']['admit'], (
        'a new bridge lets nobody in either')
    setup.open(node)


def test_a_stop_and_a_start_between_snapshot_and_open_count(
        setup: Setup) -> None:
    """Ironic opens the next generation; the pass knows the one before."""
    node = setup.node()
    spec = conftest.make_spec(node.uuid, generation='next', tcp_port=7001)

    def restart() -> None:
        setup.stop_elsewhere(node)
        node.driver_internal_info[GENERATION] = 'next'
        setup.pool.open(spec, patience=5.0, budget=10.0)

    after_rows(setup, restart)
    setup.takeover()
    assert [console.spec for console in setup.pool.consoles()] == [spec]
    assert len(setup.fake.requests('open')) == 1


def test_a_restart_elsewhere_is_a_console_of_its_own(setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    node.driver_internal_info[GENERATION] = 'next'
    setup.open(node)
    verbs = [request['verb'] for request in setup.fake.requests()
             if request['verb'] in ('open', 'close')]
    assert verbs == ['open', 'close', 'open']


# untakeover

@pytest.mark.parametrize('change', [
    'gone', 'moved', 'disabled', 'unmarked', 'another start', 'interface'])
def test_what_should_not_be_open_here_is_closed(
        setup: Setup, change: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO')
    node, other = setup.node(), setup.node()
    setup.open(node, other)
    if change == 'gone':
        del setup.cloud.nodes[node.uuid]
    elif change == 'moved':
        setup.cloud.here.remove(node.uuid)
    elif change == 'disabled':
        node.console_enabled = False
    elif change == 'unmarked':
        setup.stop_elsewhere(node)
    elif change == 'another start':
        node.driver_internal_info[GENERATION] = 'next'
    else:
        node.console_interface = 'ipmitool-socat'
    setup.untakeover()
    assert setup.wanted() == {other.uuid}
    assert setup.in_bridge() == {other.uuid: 'admitted'}
    assert node.uuid in caplog.text


def test_a_node_that_moves_away_and_back_opens_again(setup: Setup) -> None:
    """With the same generation: nobody has stopped its console."""
    node = setup.node()
    for _ in range(3):
        setup.open(node)
        setup.cloud.here.remove(node.uuid)
        setup.untakeover()
        assert setup.wanted() == set()
        setup.cloud.here.add(node.uuid)
    setup.cloud.here.add(node.uuid)
    setup.open(node)
    setup.stop_here(node)
    node.driver_internal_info[GENERATION] = 'next'
    setup.open(node)


def test_a_stopped_console_does_not_come_back_with_its_node(
        setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    generation = node.driver_internal_info[GENERATION]
    setup.stop_here(node)
    node.driver_internal_info[GENERATION] = generation      # save failed
    setup.takeover()
    assert setup.wanted() == set()


def test_a_console_that_is_being_enabled_is_left_alone(
        setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    node.console_enabled, node.reservation = False, 'cond-a'
    setup.cloud.here.remove(node.uuid)
    setup.untakeover()
    assert setup.wanted() == {node.uuid}
    node.reservation = None
    setup.untakeover()
    assert setup.wanted() == set()


def test_a_start_after_the_snapshot_is_not_undone(setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    (console,) = setup.pool.consoles()
    setup.cloud.here.remove(node.uuid)

    def come_back() -> None:
        # it moves back, and Ironic starts it, while the pass decides
        setup.pool.open(console.spec, patience=5.0, budget=10.0)

    after_rows(setup, come_back)
    setup.cloud.asked.clear()
    setup.untakeover()
    assert setup.wanted() == {node.uuid}


def test_a_close_is_confirmed_by_reading_the_node_again(
        setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    node.console_enabled = False

    def enable() -> None:
        node.console_enabled = True

    after_rows(setup, enable, 1)
    setup.untakeover()
    assert setup.wanted() == {node.uuid}


def test_a_changed_interface_loses_our_marker(setup: Setup) -> None:
    node = setup.node()
    node.driver_internal_info['solconsole_activation'] = ACTIVATION
    setup.open(node)
    node.console_interface = 'ipmitool-socat'
    node.reservation = 'cond-b'
    setup.untakeover()
    assert setup.wanted() == set(), 'it is closed at once'
    assert GENERATION in node.driver_internal_info
    node.reservation = None
    setup.untakeover()
    assert node.saved[-1] == {PORT: node.driver_internal_info[PORT]}
    setup.cloud.locked.clear()
    setup.untakeover()
    assert setup.cloud.locked == []


# ipmitool-socat

class InTree:
    """Processes of ipmitool-socat, as orphans knows them."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.ended: list[str] = []
        directory.mkdir()

    def add(self, node: fakes.Node) -> None:
        (self.directory / f'{node.uuid}.pid').write_text('1\n')

    def of(self, nodes: list[str]) -> dict[str, typing.Any]:
        return {node: types.SimpleNamespace(
            node=node, end=lambda node=node: self.end(node))
            for node in nodes
            if (self.directory / f'{node}.pid').exists()}

    def end(self, node: str) -> str:
        self.ended.append(node)
        (self.directory / f'{node}.pid').unlink()
        return 'ended'


@pytest.fixture
def in_tree(setup: Setup, tmp_path: pathlib.Path,
            monkeypatch: pytest.MonkeyPatch) -> InTree:
    made = InTree(tmp_path / 'pids')
    monkeypatch.setattr(orphans, 'in_tree_of', made.of)
    monkeypatch.setattr(
        orphans, 'in_tree', lambda node: made.of([node]).get(node))
    return made


@pytest.mark.parametrize('evidence', ['port', 'process'])
@pytest.mark.parametrize('order', ['takeover', 'untakeover'])
def test_a_console_of_ipmitool_socat_is_adopted(
        setup: Setup, in_tree: InTree, evidence: str, order: str) -> None:
    info = ({'allocated_ipmi_terminal_port': 7400}
            if evidence == 'port' else {})
    node = setup.node(driver_internal_info=info)
    if evidence == 'process':
        in_tree.add(node)
    if order == 'untakeover':
        setup.untakeover()
    setup.open(node)
    assert in_tree.ended == ([node.uuid] if evidence == 'process' else [])
    assert set(node.saved[-1]) == {GENERATION, PORT}
    assert setup.url(node)


def test_a_locked_node_is_adopted_later(
        setup: Setup, in_tree: InTree) -> None:
    node = setup.node(driver_internal_info={}, reservation='cond-b')
    in_tree.add(node)
    setup.takeover()
    setup.untakeover()
    assert in_tree.ended == [], 'nothing else tells that there was one'
    node.reservation = None
    setup.open(node)
    assert in_tree.ended == [node.uuid]


def test_what_runs_here_for_a_node_of_elsewhere_is_adopted_for_it(
        setup: Setup, in_tree: InTree) -> None:
    node = setup.node(driver_internal_info={}, here=False)
    in_tree.add(node)
    setup.untakeover()
    assert in_tree.ended == [node.uuid]
    assert GENERATION in node.saved[-1]
    assert setup.wanted() == set()


@pytest.mark.parametrize('fields', [
    {}, {'console_enabled': False}, {'here': False},
    {'driver_internal_info': {'solconsole_torn_down': True}}])
def test_what_was_left_behind_is_ended(
        setup: Setup, in_tree: InTree, fields: dict[str, typing.Any],
        caplog: pytest.LogCaptureFixture) -> None:
    node = setup.node(**fields)
    in_tree.add(node)
    setup.untakeover()
    assert in_tree.ended == [node.uuid]
    assert node.uuid in caplog.text


def test_what_ipmitool_socat_uses_is_left_alone(
        setup: Setup, in_tree: InTree) -> None:
    node = setup.node(console_interface='ipmitool-socat',
                      driver_internal_info={
                          'allocated_ipmi_terminal_port': 7400})
    in_tree.add(node)
    setup.takeover()
    setup.untakeover()
    assert in_tree.ended == []
    assert node.saved == []


@pytest.mark.parametrize('fields', [
    {}, {'driver_internal_info': {'solconsole_torn_down': True,
                                  'allocated_ipmi_terminal_port': 7400}}])
def test_what_was_torn_down_is_not_adopted(
        setup: Setup, in_tree: InTree, fields: dict[str, typing.Any]) -> None:
    setup.node(**{'driver_internal_info': {}, **fields})
    setup.takeover()
    assert setup.wanted() == set()
    assert setup.cloud.locked == []


def test_orphaned_bridges_are_ended_and_named(
        setup: Setup, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(orphans, 'end_bridges', lambda run_dir: ['pid 7'])
    setup.untakeover()
    assert 'pid 7' in caplog.text


# Activations

def record(setup: Setup) -> None:
    setup.passes.record_activations(setup.cloud.manager, None)


def test_an_activation_is_stored_in_its_node(setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    setup.memories.put(node.uuid, {'activation': ACTIVATION, 'refused': 'x'})
    record(setup)
    assert node.saved[-1]['solconsole_activation'] == ACTIVATION
    setup.cloud.locked.clear()
    setup.memories.put(node.uuid, {'activation': dict(ACTIVATION)})
    record(setup)
    assert setup.cloud.locked == [], 'nothing is new'
    newer = {**ACTIVATION, 'session': 8, 'at': 200.0}
    setup.memories.put(node.uuid, {'activation': newer})
    record(setup)
    assert node.saved[-1]['solconsole_activation'] == newer


def test_a_locked_node_is_told_of_its_activation_later(
        setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    node = setup.node()
    setup.open(node)
    setup.memories.put(node.uuid, {'activation': ACTIVATION})
    node.reservation = 'cond-b'
    record(setup)
    assert node.saved == []
    node.reservation = None
    record(setup)
    assert node.saved == [], 'it is not tried again and again'
    monkeypatch.setattr(takeover, 'RECORD_RETRY', 0.0)
    setup.memories.postpone(node.uuid, 0.0)
    record(setup)
    assert node.saved[-1]['solconsole_activation'] == ACTIVATION


def test_a_console_that_is_closed_stores_nothing(setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    setup.memories.put(node.uuid, {'activation': ACTIVATION})
    setup.stop_here(node)
    record(setup)
    gone = setup.node()
    setup.memories.put(gone.uuid, {'activation': ACTIVATION})
    del setup.cloud.nodes[gone.uuid]
    record(setup)
    assert node.saved == []
    assert setup.memories.unrecorded() == []


def test_the_next_conductor_knows_of_the_last_activation(
        setup: Setup) -> None:
    node = setup.node()
    node.driver_internal_info['solconsole_activation'] = ACTIVATION
    setup.open(node)
    assert setup.memories.get(node.uuid) == {'activation': ACTIVATION}


# When there is something to do

def due(setup: Setup) -> tuple[int, int]:
    """Queries of both periodics."""
    setup.cloud.asked.clear()
    setup.passes.takeover(setup.cloud.manager, None)
    first = len(setup.cloud.asked)
    setup.passes.untakeover(setup.cloud.manager, None)
    return first, len(setup.cloud.asked) - first


def test_the_passes_run_at_once_and_at_each_change_of_the_ring(
        setup: Setup) -> None:
    setup.node()
    assert all(due(setup))
    assert not any(due(setup))
    setup.cloud.hosts = {'cond-a'}
    assert all(due(setup))
    assert not any(due(setup))


@pytest.mark.parametrize('trouble', [
    'starting', 'ending', 'no ring', 'not in the ring'])
def test_nothing_is_done_while_the_ring_is_not_to_be_believed(
        setup: Setup, trouble: str) -> None:
    node = setup.node()
    setup.open(node)
    setup.cloud.here.remove(node.uuid)
    manager = setup.cloud.manager
    if trouble == 'starting':
        manager._started = False
    elif trouble == 'ending':
        manager._shutdown.set()
    elif trouble == 'no ring':
        setup.cloud.down = db_exception.DBConnectionError()
    else:
        setup.cloud.hosts = {'cond-b'}
    assert not any(due(setup))
    assert setup.wanted() == {node.uuid}


def test_an_outage_of_the_database_is_logged_once_and_changes_nothing(
        setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO')
    node = setup.node()
    setup.open(node)

    def fail(number: int) -> None:
        raise db_exception.DBConnectionError()

    setup.cloud.between = fail
    for _ in range(3):
        due(setup)
    assert caplog.text.count('The database does not answer') == 2
    assert setup.wanted() == {node.uuid}
    setup.cloud.between = lambda number: None
    assert all(due(setup)), 'it is still to be done'
    assert 'looked after again' in caplog.text


def test_a_defect_in_a_pass_is_logged_once(
        setup: Setup, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    def broken(*args: object) -> typing.Any:
        raise ZeroDivisionError

    monkeypatch.setattr(setup.pool, 'consoles', broken)
    for _ in range(3):
        setup.passes.takeover(setup.cloud.manager, None)
    assert caplog.text.count('could not be looked after') == 1


def test_conductors_that_the_locks_do_not_reach_are_an_error(
        setup: Setup, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    cloud: typing.Any = setup.cloud
    cloud.get_active_hardware_type_dict = lambda: {'ipmi': {}}
    cloud.list_hardware_type_interfaces = lambda types_: [
        types.SimpleNamespace(conductor_id=2, interface_type='console',
                              interface_name='solconsole')]
    cloud.get_conductor_list = lambda: [
        types.SimpleNamespace(id=2, hostname='cond-b')]
    monkeypatch.setattr(neighbours, 'PATIENCE', 0.0)
    setup.passes.untakeover(setup.cloud.manager, None)
    assert 'coordination_url' in caplog.text
    assert 'cond-b' in caplog.text
