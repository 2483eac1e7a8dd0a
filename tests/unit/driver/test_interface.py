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

"""The console interface: what Ironic asks for, and what it gets.

Bridges are replaced by Pool, which does as it is told. How the real ones
behave is tested beside it, and all of it inside a real Ironic.
"""

import collections.abc
import copy
import inspect
import pathlib
import re
import threading
import time
import types
import typing
import uuid

from ironic import objects
from ironic.common import exception as ironic_exception
from ironic.conductor import manager
from ironic.conductor import task_manager
from ironic.conf import CONF
import pytest

from ironic_solconsole import conf
from ironic_solconsole import exception
from ironic_solconsole import spec
from ironic_solconsole.driver import bridges
from ironic_solconsole.driver import interface
from ironic_solconsole.exception import Reason
from tests.support import waiting
from tests.unit.driver import fakes
from tests.unit.driver.fakes import task

Outcome = dict[str, typing.Any] | Exception

BAD = {'ipmi_address': '192.0.2.7', 'ipmi_port': 'none'}


def connected() -> dict[str, typing.Any]:
    return {'state': 'connected', 'reason': '', 'settled': True}


def failed(reason: Reason) -> dict[str, typing.Any]:
    return {'state': 'waiting', 'reason': str(reason), 'settled': True,
            'detail': 'what came back'}


class Pool:
    """Bridges that do as they are told.

    The outcomes are taken one by one, the last one again and again.
    """

    def __init__(self, start: typing.Any, count: int,
                 port_lost: typing.Any, memories: typing.Any,
                 timing: typing.Any, database_age: typing.Any) -> None:
        self.count = count
        self.port_lost = port_lost
        self.memories = memories
        self.timing = timing
        self.database_age = database_age
        self.outcomes: list[Outcome] = [connected()]
        self.opened: list[tuple[spec.ConsoleSpec, dict[str, float]]] = []
        self.closed: list[tuple[str, str]] = []
        self.parked: list[float] = []
        self.wanted: dict[str, spec.ConsoleSpec] = {}
        self.urls: dict[tuple[str, str], str] = {}
        self.shut = threading.Event()

    def open(self, wanted: spec.ConsoleSpec, **limits: float,
             ) -> dict[str, typing.Any]:
        self.opened.append((wanted, limits))
        self.wanted[wanted.node] = wanted
        outcome = (self.outcomes.pop(0) if len(self.outcomes) > 1
                   else self.outcomes[0])
        if isinstance(outcome, Exception):
            raise outcome
        self.urls[wanted.node, wanted.generation] = wanted.url
        return outcome

    def close(self, node: str, generation: str, *,
              park: float = 0.0) -> None:
        self.closed.append((node, generation))
        self.parked.append(park)
        self.wanted.pop(node, None)
        self.urls.pop((node, generation), None)

    def ended(self, generation: str) -> bool:
        return any(word == generation for _, word in self.closed)

    def url(self, node: str, generation: str) -> str:
        return self.urls.get((node, generation), '')

    def shut_down(self) -> None:
        self.shut.set()


class Setup:
    """A console interface, its bridges, and the nodes of the cloud."""

    def __init__(self, console: interface.SolConsole,
                 pools: list[Pool]) -> None:
        self.console = console
        self.pools = pools
        self.pool = pools[0]
        self.nodes: list[fakes.Node] = []
        self.listed = 0

    def node(self, *args: typing.Any, **fields: typing.Any) -> fakes.Node:
        self.nodes.append(fakes.Node(*args, **fields))
        return self.nodes[-1]

    def list_nodes(self, context: object, fields: list[str],
                   filters: dict[str, object]) -> list[fakes.Node]:
        assert filters == {'include_children': True}
        self.listed += 1
        return self.nodes

    def start(self, node: fakes.Node) -> None:
        """As Ironic does it: console_enabled follows success."""
        self.console.start_console(task(node))
        node.console_enabled = True

    def stop(self, node: fakes.Node) -> None:
        self.console.stop_console(task(node))
        node.console_enabled = False

    def start_fails(self, node: fakes.Node) -> str:
        with pytest.raises(ironic_exception.ConsoleError) as caught:
            self.console.start_console(task(node))
        return str(caught.value)


def marker(node: fakes.Node) -> str:
    return str(node.driver_internal_info.get('solconsole_generation', ''))


def port(node: fakes.Node) -> int:
    return int(node.driver_internal_info['solconsole_port'])


@pytest.fixture
def options() -> collections.abc.Iterator[
        collections.abc.Callable[..., None]]:
    """Sets options of Ironic, and puts them back."""
    conf.register_opts(CONF)
    touched: list[tuple[str, str]] = []

    def override(name: str, value: object, group: str = conf.GROUP) -> None:
        CONF.set_override(name, value, group)
        touched.append((name, group))

    yield override
    for name, group in touched:
        CONF.clear_override(name, group)


@pytest.fixture
def setup(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch,
          options: collections.abc.Callable[..., None]) -> Setup:
    options('run_dir', str(tmp_path / 'run'))
    options('port_range', '7000:7010')
    options('start_wait', 5.0)
    options('socat_address', '192.0.2.1', 'console')
    pools: list[Pool] = []

    def make(*args: typing.Any) -> Pool:
        pools.append(Pool(*args))
        return pools[-1]

    monkeypatch.setattr(bridges, 'BridgePool', make)
    console = interface.SolConsole()
    made = Setup(console, pools)
    monkeypatch.setattr(objects.Node, 'list', made.list_nodes)
    # what is waited for in these tests never takes long
    monkeypatch.setattr(interface, 'PORT_PATIENCE', 0.5)
    return made


# Enabling a console that is off

def test_a_console_is_enabled(setup: Setup) -> None:
    node = setup.node(name='n1')
    setup.start(node)
    ((wanted, limits),) = setup.pool.opened
    assert (wanted.node, wanted.name) == (node.uuid, 'n1')
    assert wanted.bmc == '192.0.2.7:623'
    assert wanted.generation == marker(node)
    assert wanted.url == f'tcp://192.0.2.1:{port(node)}'
    assert limits['wait'] == 5.0
    assert 7000 <= port(node) < 7010
    assert setup.console.get_console(task(node)) == {
        'type': 'socat', 'url': wanted.url}


def test_marker_and_port_are_saved_before_anything_is_open(
        setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    node = setup.node()
    seen: list[dict[str, typing.Any]] = []
    real = setup.pool.open

    def open_(wanted: spec.ConsoleSpec, **limits: float) -> typing.Any:
        seen.append(node.saved[-1])
        return real(wanted, **limits)

    monkeypatch.setattr(setup.pool, 'open', open_)
    setup.start(node)
    assert seen == [{'solconsole_port': port(node),
                     'solconsole_generation': marker(node)}]


def test_an_ipv6_address_stands_in_brackets(
        setup: Setup, options: collections.abc.Callable[..., None]) -> None:
    options('socat_address', '2001:db8::1', 'console')
    node = setup.node()
    setup.start(node)
    url = setup.console.get_console(task(node))['url']
    assert url == f'tcp://[2001:db8::1]:{port(node)}'


@pytest.mark.parametrize('reason', [
    Reason.UNREACHABLE, Reason.BAD_CREDENTIALS, Reason.PRIVILEGE,
    Reason.SOL_DISABLED, Reason.ENCRYPTION_REFUSED, Reason.CLOSED_BY_BMC,
    Reason.PROTOCOL_ERROR])
def test_what_the_deployer_must_act_on_makes_it_fail(
        setup: Setup, reason: Reason) -> None:
    node = setup.node()
    setup.pool.outcomes = [failed(reason)]
    text = setup.start_fails(node)
    for part in (node.uuid, '192.0.2.7:623', str(reason), 'what came back',
                 exception.ADVICE[reason]):
        assert part in text, f'{part!r} is not in {text!r}'
    ((wanted, _),) = setup.pool.opened
    assert setup.pool.closed == [(node.uuid, wanted.generation)]
    assert not marker(node), 'the console is off again'
    assert port(node) == wanted.tcp_port, 'but the port stays with the node'
    assert node.saved[-1] == {'solconsole_port': wanted.tcp_port}


@pytest.mark.parametrize('answer', [
    {'state': 'held', 'reason': 'held', 'settled': True},
    {'state': 'idle', 'reason': '', 'settled': False},
    failed(Reason.SESSION_LIMIT), failed(Reason.POWERED_OFF)])
def test_what_heals_by_itself_is_enabled(
        setup: Setup, answer: dict[str, typing.Any]) -> None:
    node = setup.node()
    setup.pool.outcomes = [answer]
    setup.start(node)
    assert setup.pool.closed == []


def test_no_answer_in_time_makes_it_fail_with_what_was_tried(
        setup: Setup) -> None:
    node = setup.node({**fakes.IPMI, 'ipmi_cipher_suite': 3})
    setup.pool.outcomes = [{'state': 'connecting', 'settled': False}]
    text = setup.start_fails(node)
    assert 'unreachable' in text
    assert 'RMCP+ on UDP 192.0.2.7:623 with cipher suite 3' in text


def test_without_start_wait_nothing_is_reported(
        setup: Setup, options: collections.abc.Callable[..., None]) -> None:
    options('start_wait', 0.0)
    setup.pool.outcomes = [{'state': 'connecting', 'settled': False}]
    setup.start(setup.node())
    assert setup.pool.closed == []


def test_a_bridge_that_does_not_come_up_makes_it_fail(setup: Setup) -> None:
    node = setup.node()
    setup.pool.outcomes = [exception.BridgeUnavailable('exec format error')]
    assert 'exec format error' in setup.start_fails(node)
    assert not marker(node)


def test_a_bad_driver_info_makes_it_fail_and_leaves_nothing(
        setup: Setup) -> None:
    node = setup.node(BAD)
    with pytest.raises(ironic_exception.InvalidParameterValue,
                       match='ipmi_port'):
        setup.console.start_console(task(node))
    assert (setup.pool.opened, node.saved) == ([], [])


def test_a_defect_leaves_no_console_behind(setup: Setup) -> None:
    node = setup.node()
    setup.pool.outcomes = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        setup.console.start_console(task(node))
    assert setup.pool.closed
    assert not marker(node)


def test_control_characters_do_not_reach_last_error(setup: Setup) -> None:
    node = setup.node()
    setup.pool.outcomes = [
        {**failed(Reason.PROTOCOL_ERROR), 'detail': 'x\x1b[2J\ny'}]
    assert setup.start_fails(node).isprintable()


# Healing

@pytest.mark.parametrize('outcome', [
    failed(Reason.UNREACHABLE), failed(Reason.BAD_CREDENTIALS),
    {'state': 'connecting', 'settled': False},
    exception.BridgeUnavailable('it is starting')])
def test_a_console_that_was_on_a_moment_ago_comes_back(
        setup: Setup, outcome: Outcome,
        caplog: pytest.LogCaptureFixture) -> None:
    """Nova switches it off and on each time somebody looks."""
    node = setup.node()
    setup.start(node)
    setup.stop(node)
    setup.pool.outcomes = [outcome]
    setup.start(node)
    assert marker(node)
    assert node.uuid in setup.pool.wanted, 'it is to heal'
    assert 'expected to come back' in caplog.text


def test_a_console_that_was_on_long_ago_does_not(
        setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, 'RECENTLY_ON', 0.0)
    node = setup.node()
    setup.start(node)
    setup.stop(node)
    setup.pool.outcomes = [failed(Reason.UNREACHABLE)]
    setup.start_fails(node)


def test_a_console_that_was_never_on_does_not(setup: Setup) -> None:
    node = setup.node()
    setup.pool.outcomes = [failed(Reason.UNREACHABLE)]
    setup.start_fails(node)
    setup.stop(node)
    setup.start_fails(node)


def test_a_stop_of_one_node_heals_no_other(setup: Setup) -> None:
    one, other = setup.node(), setup.node()
    setup.start(one)
    setup.stop(one)
    setup.pool.outcomes = [failed(Reason.UNREACHABLE)]
    setup.start_fails(other)


# Starting a console that is on

@pytest.mark.parametrize('outcome', [
    connected(), failed(Reason.UNREACHABLE), failed(Reason.BAD_CREDENTIALS),
    exception.BridgeUnavailable('it is starting'),
    exception.PortInUse('port 7001 is in use'),
    exception.RequestRefused('bad-spec', 'no'), ZeroDivisionError()])
def test_a_console_that_is_on_is_never_refused(
        setup: Setup, outcome: Outcome) -> None:
    node = setup.node(console_enabled=True)
    setup.pool.outcomes = [outcome]
    setup.console.start_console(task(node))
    assert node.uuid in setup.pool.wanted
    assert setup.pool.closed == []
    ((_, limits),) = setup.pool.opened
    assert limits.get('wait', 0) == limits.get('patience', 0) == 0, (
        'the conductor starts consoles one after the other')


def test_its_marker_and_port_are_kept(setup: Setup) -> None:
    node = setup.node(console_enabled=True, driver_internal_info={
        'solconsole_generation': 'abc', 'solconsole_port': 9999})
    setup.console.start_console(task(node))
    setup.console.start_console(task(node))
    assert [(wanted.generation, wanted.tcp_port)
            for wanted, _ in setup.pool.opened] == [('abc', 9999)] * 2
    assert setup.listed == 0, 'there is no need to look at all nodes'


def test_a_generation_that_has_ended_is_not_used_again(
        setup: Setup) -> None:
    """The stop could not save the node, say."""
    node = setup.node(console_enabled=True)
    setup.start(node)
    old = marker(node)
    setup.pool.close(node.uuid, old)
    setup.console.start_console(task(node))
    assert marker(node) not in ('', old)


@pytest.mark.parametrize('driver_info', [BAD, {}])
def test_a_bad_edit_leaves_what_is_open(
        setup: Setup, driver_info: dict[str, typing.Any],
        caplog: pytest.LogCaptureFixture) -> None:
    node = setup.node()
    setup.start(node)
    node.driver_info = driver_info
    setup.console.start_console(task(node))
    assert len(setup.pool.opened) == 1
    assert setup.pool.closed == []
    assert marker(node)
    assert 'ipmi_' in caplog.text


def test_without_a_port_it_is_marked_all_the_same(
        setup: Setup, options: collections.abc.Callable[..., None],
        caplog: pytest.LogCaptureFixture) -> None:
    options('port_range', '7000:7001')
    setup.node(driver_internal_info={'solconsole_port': 7000})
    node = setup.node(console_enabled=True)
    setup.console.start_console(task(node))
    assert marker(node) == node.saved[-1]['solconsole_generation']
    assert 'port_range' in caplog.text


def test_a_database_that_is_away_does_not_switch_it_off(
        setup: Setup, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    node = setup.node(console_enabled=True)

    def fail() -> None:
        raise RuntimeError('the database is away')

    monkeypatch.setattr(node, 'save', fail)
    setup.console.start_console(task(node))
    assert 'the database is away' in caplog.text


# Stopping

def test_a_stop_closes_and_forgets_the_marker(setup: Setup) -> None:
    node = setup.node()
    setup.start(node)
    generation, given = marker(node), port(node)
    setup.stop(node)
    assert setup.pool.closed == [(node.uuid, generation)]
    assert node.saved[-1] == {'solconsole_port': given}


SWITCHING = 'setting console mode'


def held(node: fakes.Node, purpose: str) -> types.SimpleNamespace:
    """A task that holds a node for a stated purpose."""
    return types.SimpleNamespace(node=node, context=None, _purpose=purpose)


def test_ironic_says_that_it_switches_a_console() -> None:
    """The word that tells a stop by API from a teardown is Ironic's."""
    source = inspect.getsource(manager)
    assert source.count(f"purpose='{interface.SWITCHING}'") == 1
    assert 'self._purpose = purpose' in inspect.getsource(
        task_manager.TaskManager.__init__)


@pytest.mark.parametrize(('purpose', 'state', 'parked'), [
    (SWITCHING, 'active', 3.0), (SWITCHING, 'available', 3.0),
    (SWITCHING, 'deleting', 0.0), ('node deletion', 'available', 0.0),
    ('node tear down', 'active', 0.0), ('unspecified action', 'active', 0.0),
    ('', 'active', 0.0)])
def test_only_a_stop_by_api_parks(setup: Setup, purpose: str, state: str,
                                  parked: float) -> None:
    node = setup.node(provision_state='active')
    setup.start(node)
    node.provision_state = state
    setup.console.stop_console(held(node, purpose))
    assert setup.pool.parked == [parked]
    looked_at = setup.console._passes._parked.now(0.0)
    assert [one.node for one in looked_at] == (
        [node.uuid] if parked else [])


def test_reset_grace_may_be_zero(
        setup: Setup, options: collections.abc.Callable[..., None]) -> None:
    options('reset_grace', 0.0)
    node = setup.node()
    setup.start(node)
    setup.console.stop_console(held(node, SWITCHING))
    assert setup.pool.parked == [0.0]


@pytest.mark.parametrize('answer', [
    failed(Reason.UNREACHABLE), failed(Reason.BAD_CREDENTIALS),
    {'state': 'connecting', 'settled': False}])
def test_a_console_that_is_taken_up_is_on_whatever_its_link_does(
        setup: Setup, answer: dict[str, typing.Any]) -> None:
    node = setup.node()
    setup.start(node)
    setup.console.stop_console(held(node, SWITCHING))
    setup.console._stopped.clear()
    setup.pool.outcomes = [{**answer, 'taken_up': True}]
    node.console_enabled = False
    setup.start(node)
    assert setup.console.get_console(task(node))
    assert len(setup.pool.closed) == 1


def test_a_start_that_fails_parks_nothing(setup: Setup) -> None:
    node = setup.node()
    setup.pool.outcomes = [failed(Reason.BAD_CREDENTIALS)]
    with pytest.raises(ironic_exception.ConsoleError):
        setup.console.start_console(held(node, SWITCHING))
    assert setup.pool.parked == [0.0]


def test_a_process_outlasts_the_consoles_parked_in_it(
        setup: Setup, options: collections.abc.Callable[..., None]) -> None:
    assert setup.pool.timing.idle == 5.0
    options('reset_grace', 10.0)
    interface.SolConsole()
    assert setup.pools[-1].timing.idle == 12.0


@pytest.mark.parametrize('connection', ['persistent', 'on-demand'])
def test_the_connection_is_as_the_option_says(
        setup: Setup, options: collections.abc.Callable[..., None],
        connection: str) -> None:
    options('connection', connection)
    setup.start(setup.node())
    ((wanted, _),) = setup.pool.opened
    assert wanted.connection == connection


def test_the_generation_ends_before_anything_else_can_fail(
        setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    node = setup.node()
    setup.start(node)
    generation = marker(node)

    def fail() -> None:
        raise RuntimeError('the database is away')

    monkeypatch.setattr(node, 'save', fail)
    with pytest.raises(RuntimeError):
        setup.stop(node)
    assert setup.pool.ended(generation)


def test_a_stop_reads_no_driver_info(setup: Setup) -> None:
    node = setup.node()
    setup.start(node)
    node.driver_info = typing.cast(typing.Any, None)
    setup.stop(node)
    assert not marker(node)


def test_a_stop_is_idempotent(setup: Setup) -> None:
    node = setup.node()
    setup.stop(node)
    setup.start(node)
    for _ in range(3):
        setup.stop(node)
    assert node.uuid not in setup.pool.wanted


def test_a_stop_works_without_the_run_directory(
        setup: Setup, tmp_path: pathlib.Path,
        caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / 'run').write_text('in the way')
    node = setup.node(driver_internal_info={'solconsole_generation': 'g'})
    setup.stop(node)
    assert setup.pool.closed == [(node.uuid, 'g')]
    assert 'run_dir' in caplog.text


def test_each_start_is_another_generation(setup: Setup) -> None:
    node = setup.node()
    seen = set()
    for _ in range(5):
        setup.start(node)
        seen.add(marker(node))
        setup.stop(node)
    assert len(seen) == 5


# Teardown

def test_a_teardown_keeps_the_console_closed_until_the_next_deployment(
        setup: Setup) -> None:
    node = setup.node(provision_state='deploying')
    setup.start(node)
    node.provision_state = 'deleting'
    setup.console.stop_console(task(node))
    assert node.saved[-1] == {'solconsole_port': port(node),
                              'solconsole_torn_down': True}
    for state in ('cleaning', 'available', 'error', 'manageable'):
        node.provision_state = state
        setup.console.start_console(task(node))
        assert not marker(node), 'the conductor has restarted'
    assert len(setup.pool.opened) == 1
    node.provision_state = 'deploying'
    setup.console.start_console(task(node))
    assert len(setup.pool.opened) == 2
    assert 'solconsole_torn_down' not in node.saved[-1]


def test_disabling_and_enabling_opens_what_was_torn_down(
        setup: Setup) -> None:
    node = setup.node(provision_state='deleting')
    setup.start(node)
    setup.console.stop_console(task(node))
    node.provision_state = 'available'
    setup.stop(node)
    assert 'solconsole_torn_down' not in node.saved[-1]
    setup.start(node)
    assert setup.console.get_console(task(node))


def test_enabling_forgets_a_teardown(setup: Setup) -> None:
    node = setup.node(driver_internal_info={'solconsole_torn_down': True})
    setup.start(node)
    assert 'solconsole_torn_down' not in node.saved[-1]


# Activations

ACTIVATION = {'session': 7, 'user': 2, 'address': '192.0.2.1', 'port': 623,
              'at': 100.0}


def test_a_start_stores_the_session_if_there_is_one(
        setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    node = setup.node()
    real = setup.pool.open

    def open_(wanted: spec.ConsoleSpec, **limits: float) -> typing.Any:
        setup.pool.memories.put(wanted.node, {'activation': ACTIVATION})
        return real(wanted, **limits)

    monkeypatch.setattr(setup.pool, 'open', open_)
    setup.start(node)
    assert len(node.saved) == 1, 'a database takes longer than all the rest'
    assert node.obj_what_changed(), 'Ironic would not save it'
    node.save()         # as Ironic does when the start has succeeded
    assert node.saved[-1]['solconsole_activation'] == ACTIVATION
    assert setup.pool.memories.unrecorded() == []
    setup.stop(node)
    assert 'solconsole_activation' not in node.saved[-1]


def test_ironic_saves_the_node_after_a_start() -> None:
    source = inspect.getsource(
        manager.ConductorManager._set_console_mode)
    assert re.search(r"start_console\(task\).*"
                     r"node\.console_enabled = enabled\n"
                     r"\s+node\.last_error = None\n\s+node\.save\(\)",
                     source, re.DOTALL)


@pytest.mark.parametrize('enabled', [True, False])
def test_a_start_recalls_the_session_of_the_conductor_before(
        setup: Setup, enabled: bool) -> None:
    node = setup.node(console_enabled=enabled, driver_internal_info={
        'solconsole_activation': ACTIVATION})
    setup.start(node)
    assert setup.pool.memories.get(node.uuid) == {'activation': ACTIVATION}


# Ports

def test_a_node_keeps_its_port(setup: Setup) -> None:
    node = setup.node()
    setup.start(node)
    given = port(node)
    for _ in range(3):
        setup.stop(node)
        setup.start(node)
        assert port(node) == given


def test_no_two_nodes_share_a_port(setup: Setup) -> None:
    nodes = [setup.node() for _ in range(10)]
    for node in nodes:
        setup.start(node)
    assert sorted(map(port, nodes)) == list(range(7000, 7010))
    assert 'port_range' in setup.start_fails(setup.node())


def test_ports_of_ipmitool_socat_and_fixed_ones_are_not_given(
        setup: Setup) -> None:
    setup.node({'ipmi_terminal_port': 7000})
    setup.node(driver_internal_info={'allocated_ipmi_terminal_port': 7001})
    nodes = [setup.node() for _ in range(8)]
    for node in nodes:
        setup.start(node)
    assert sorted(map(port, nodes)) == list(range(7002, 7010))


def test_a_fixed_port_is_used(setup: Setup) -> None:
    node = setup.node({**fakes.IPMI, 'ipmi_terminal_port': '9000'})
    setup.start(node)
    assert setup.pool.wanted[node.uuid].tcp_port == 9000


def test_a_fixed_port_of_another_node_is_refused_by_name(
        setup: Setup) -> None:
    other = setup.node(name='other',
                       driver_internal_info={'solconsole_port': 9000})
    node = setup.node({**fakes.IPMI, 'ipmi_terminal_port': 9000})
    text = setup.start_fails(node)
    assert f'{other.uuid} (other)' in text
    assert not marker(node)


def test_a_port_of_a_deleted_node_rests(
        setup: Setup, options: collections.abc.Callable[..., None]) -> None:
    options('port_range', '7000:7001')
    node = setup.node()
    setup.start(node)
    setup.stop(node)
    setup.nodes.clear()
    assert 'a short while ago' in setup.start_fails(setup.node())


def test_a_new_port_in_use_is_passed_over_at_once(setup: Setup) -> None:
    node = setup.node()
    setup.pool.outcomes = [exception.PortInUse('in use by pid 7 (x)'),
                           exception.PortInUse('in use by pid 7 (x)'),
                           connected()]
    began = time.monotonic()
    setup.start(node)
    assert time.monotonic() - began < interface.PORT_PATIENCE
    tried = [wanted.tcp_port for wanted, _ in setup.pool.opened]
    assert len(set(tried)) == 3
    assert port(node) == tried[-1]


def test_a_known_port_in_use_is_waited_for(setup: Setup) -> None:
    node = setup.node()
    setup.start(node)
    setup.stop(node)
    given = port(node)
    setup.pool.outcomes = [exception.PortInUse('in use'),
                           exception.PortInUse('in use'), connected()]
    setup.start(node)
    assert port(node) == given


def test_a_known_port_that_stays_in_use_is_moved_naming_the_holder(
        setup: Setup, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    node = setup.node()
    setup.start(node)
    setup.stop(node)
    given = port(node)
    real = setup.pool.open

    def open_(wanted: spec.ConsoleSpec, **limits: float) -> typing.Any:
        if wanted.tcp_port == given:
            raise exception.PortInUse('in use by pid 4711 (nc)')
        return real(wanted, **limits)

    monkeypatch.setattr(setup.pool, 'open', open_)
    setup.start(node)
    assert port(node) != given
    assert 'pid 4711 (nc)' in caplog.text
    assert node.uuid in caplog.text


def test_a_fixed_port_that_stays_in_use_makes_it_fail(setup: Setup) -> None:
    node = setup.node({**fakes.IPMI, 'ipmi_terminal_port': 9000})
    setup.pool.outcomes = [exception.PortInUse('9000: pid 4711 (nc)')]
    assert 'pid 4711 (nc)' in setup.start_fails(node)


def test_two_conductors_that_choose_the_same_port_notice(
        setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one saves between our look at the database and our save."""
    node, other = setup.node(), fakes.Node()
    real = node.save

    def save() -> None:
        if not other.driver_internal_info:
            other.set_driver_internal_info('solconsole_port', port(node))
            setup.nodes.append(other)
        real()

    monkeypatch.setattr(node, 'save', save)
    setup.start(node)
    assert port(node) != port(other)


class Tasks:
    """task_manager.acquire, for nodes of a Setup."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.locked = False

    def acquire(self, context: object, node_uuid: str, *,
                shared: bool, purpose: str) -> 'Tasks':
        assert not shared
        if self.locked:
            raise ironic_exception.NodeLocked(node=node_uuid, host='other')
        self._node = next(node for node in self._setup.nodes
                          if node.uuid == node_uuid)
        return self

    def __enter__(self) -> types.SimpleNamespace:
        return task(self._node)

    def __exit__(self, *exc_info: object) -> None:
        pass


@pytest.fixture
def moving(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    tasks = Tasks(setup)
    monkeypatch.setattr(task_manager, 'acquire', tasks.acquire)
    return tasks


def lose_port(setup: Setup, node: fakes.Node, generation: str) -> None:
    """What the pool does when a port stays in use; waits for the worker."""
    manager = fakes.Manager()
    setup.console.watch_conductor(manager, None)
    guards = len(manager.workers)
    setup.pool.urls.clear()
    setup.pool.port_lost(node.uuid, generation, 'in use by pid 4711 (nc)')
    for worker in manager.workers[guards:]:
        worker.join(10)
    manager.shut_down()


def test_a_console_that_is_on_moves_when_its_port_stays_in_use(
        setup: Setup, moving: Tasks,
        caplog: pytest.LogCaptureFixture) -> None:
    node = setup.node(console_enabled=True)
    setup.start(node)
    given = port(node)
    lose_port(setup, node, marker(node))
    assert port(node) != given
    assert setup.pool.wanted[node.uuid].tcp_port == port(node)
    assert node.saved[-1]['solconsole_port'] == port(node)
    assert 'pid 4711 (nc)' in caplog.text


def test_a_fixed_port_is_not_moved(setup: Setup, moving: Tasks) -> None:
    node = setup.node({**fakes.IPMI, 'ipmi_terminal_port': 9000})
    setup.start(node)
    lose_port(setup, node, marker(node))
    assert setup.pool.wanted[node.uuid].tcp_port == 9000


def test_a_console_that_was_stopped_meanwhile_is_not_moved(
        setup: Setup, moving: Tasks) -> None:
    node = setup.node()
    setup.start(node)
    generation = marker(node)
    setup.stop(node)
    lose_port(setup, node, generation)
    assert node.uuid not in setup.pool.wanted


def test_a_locked_node_is_moved_later(
        setup: Setup, moving: Tasks,
        caplog: pytest.LogCaptureFixture) -> None:
    node = setup.node()
    setup.start(node)
    given = port(node)
    moving.locked = True
    lose_port(setup, node, marker(node))
    assert port(node) == given
    assert 'not moved' in caplog.text


# Validation

@pytest.mark.parametrize('driver_info', [BAD, {}])
def test_validate_complains_while_the_console_is_off(
        setup: Setup, driver_info: dict[str, typing.Any]) -> None:
    with pytest.raises(ironic_exception.InvalidParameterValue,
                       match='ipmi_'):
        setup.console.validate(task(setup.node(driver_info)))


def test_validate_is_content_with_a_good_node(setup: Setup) -> None:
    setup.console.validate(task(setup.node()))


@pytest.mark.parametrize('state', [
    {'console_enabled': True},
    {'driver_internal_info': {'solconsole_generation': 'g'}}])
def test_validate_never_blocks_a_disable(
        setup: Setup, state: dict[str, typing.Any],
        caplog: pytest.LogCaptureFixture) -> None:
    node = setup.node(BAD, **state)
    for _ in range(3):
        setup.console.validate(task(node))
    assert caplog.text.count('ipmi_port') == 1, 'each complaint once'
    node.driver_info['ipmi_priv_level'] = 'ROOT'
    setup.console.validate(task(node))
    assert 'ipmi_priv_level' in caplog.text, 'and a new one as well'


def test_validate_complains_about_a_useless_port_range(
        setup: Setup, options: collections.abc.Callable[..., None]) -> None:
    options('port_range', None)
    options('port_range', '5:5', 'console')
    with pytest.raises(ironic_exception.InvalidParameterValue,
                       match='port_range'):
        setup.console.validate(task(setup.node()))


@pytest.mark.parametrize('url', [
    'memcached://192.0.2.1', 'file:locks', 'redis://192.0.2.1?timeout=5'])
def test_validate_complains_about_a_useless_coordination_url(
        setup: Setup, url: str, caplog: pytest.LogCaptureFixture,
        options: collections.abc.Callable[..., None]) -> None:
    options('coordination_url', url)
    node = setup.node()
    with pytest.raises(ironic_exception.InvalidParameterValue,
                       match='coordination_url'):
        setup.console.validate(task(node))
    node.console_enabled = True
    setup.console.validate(task(node))
    caplog.clear()
    setup.console.watch_conductor(manager := fakes.Manager(), None)
    assert 'No console can be opened' in caplog.text
    assert 'coordination_url' in caplog.text
    with pytest.raises(exception.BridgeUnavailable,
                       match='coordination_url'):
        setup.console._bridge_options(0)
    manager.shut_down()


def test_bridges_are_told_of_locks_and_of_the_conductor(
        setup: Setup, options: collections.abc.Callable[..., None]) -> None:
    options('coordination_url', 'redis://:hunter2@192.0.2.1:6379')
    options('lock_ttl', 12.0)
    options('heartbeat_timeout', 5, 'conductor')
    setup.console.watch_conductor(manager := fakes.Manager(), None)
    given = setup.console._bridge_options(0)
    manager.shut_down()
    assert given['coordination'] == {
        'url': 'redis://:hunter2@192.0.2.1:6379', 'ttl': 12.0,
        'margin': 5.0, 'renew_interval': 5.0}
    assert given['conductor_timeout'] == 3.0


@pytest.mark.parametrize(('timeout', 'interval'), [
    (60, 2.0), (20, 2.0), (5, 0.5), (1, 0.1)])
def test_bridges_are_pinged_often_enough(
        setup: Setup, timeout: int, interval: float,
        options: collections.abc.Callable[..., None],
        monkeypatch: pytest.MonkeyPatch) -> None:
    options('heartbeat_timeout', timeout, 'conductor')
    made: list[Pool] = []

    def make(*args: typing.Any) -> Pool:
        made.append(Pool(*args))
        return made[-1]

    monkeypatch.setattr(bridges, 'BridgePool', make)
    interface.SolConsole()
    assert made[0].timing.ping_interval == interval
    assert made[0].timing.tick < interval


def test_the_periodics_never_fail(setup: Setup) -> None:
    manager = fakes.Manager()
    manager._started = False
    for task_ in (setup.console.takeover, setup.console.untakeover,
                  setup.console.record_activations):
        task_(manager, None)
    assert setup.pool.opened == []


def test_properties_are_described(setup: Setup) -> None:
    properties = setup.console.get_properties()
    assert 'ipmi_address' in properties
    assert all(text.endswith('.') for text in properties.values())


# get_console

def test_get_console_asks_for_patience_until_a_bridge_has_confirmed(
        setup: Setup) -> None:
    node = setup.node(console_enabled=True)
    setup.pool.outcomes = [exception.BridgeUnavailable('starting')]
    setup.console.start_console(task(node))
    with pytest.raises(ironic_exception.ConsoleError,
                       match='is being moved here.*try again'):
        setup.console.get_console(task(node))


def test_get_console_tells_of_this_generation_only(setup: Setup) -> None:
    node = setup.node()
    setup.start(node)
    node.driver_internal_info['solconsole_generation'] = 'of elsewhere'
    with pytest.raises(ironic_exception.ConsoleError):
        setup.console.get_console(task(node))


def test_get_console_of_a_node_without_a_marker(setup: Setup) -> None:
    """After teardown console_enabled is True, and the console off."""
    with pytest.raises(ironic_exception.ConsoleError,
                       match='is closed.*next deployment'):
        setup.console.get_console(task(setup.node(console_enabled=True)))


def test_a_console_is_where_it_was_until_ironic_knows_that_it_is_off(
        setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova asks at once after it has told Ironic to switch it off."""
    node = setup.node()
    setup.start(node)
    where = setup.console.get_console(task(node))
    before = copy.deepcopy(node.driver_internal_info)
    setup.console.stop_console(held(node, SWITCHING))
    assert node.console_enabled, 'Ironic changes it after the stop'
    after = node.driver_internal_info
    for snapshot in (before, after):
        node.driver_internal_info = snapshot
        assert setup.console.get_console(task(node)) == where
    now = time.monotonic()
    monkeypatch.setattr(time, 'monotonic',
                        lambda: now + interface.RECENTLY_ON)
    with pytest.raises(ironic_exception.ConsoleError, match='is closed'):
        setup.console.get_console(task(node))


def test_a_stop_that_is_never_written_down_names_no_port_for_long(
        setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database was away; the port may serve another node one day."""
    node = setup.node()
    setup.start(node)
    before = copy.deepcopy(node.driver_internal_info)
    setup.stop(node)
    node.console_enabled, node.driver_internal_info = True, before
    assert setup.console.get_console(task(node))['url']
    now = time.monotonic()
    monkeypatch.setattr(time, 'monotonic',
                        lambda: now + interface.RECENTLY_ON)
    with pytest.raises(ironic_exception.ConsoleError):
        setup.console.get_console(task(node))


def test_a_stop_without_a_bridge_names_no_port_of_an_earlier_start(
        setup: Setup) -> None:
    node = setup.node()
    setup.start(node)
    setup.stop(node)
    setup.start(node)
    setup.pool.urls.clear()     # the bridge has died
    setup.console.stop_console(held(node, SWITCHING))
    with pytest.raises(ironic_exception.ConsoleError):
        setup.console.get_console(task(node))


def test_a_console_that_was_torn_down_is_nowhere(setup: Setup) -> None:
    node = setup.node(provision_state='deleting')
    setup.start(node)
    setup.console.stop_console(held(node, 'node tear down'))
    with pytest.raises(ironic_exception.ConsoleError,
                       match='is closed.*next deployment'):
        setup.console.get_console(task(node))


def test_a_stopped_console_that_was_never_open_is_nowhere(
        setup: Setup) -> None:
    node = setup.node(console_enabled=True)
    setup.pool.outcomes = [exception.BridgeUnavailable('starting')]
    setup.console.start_console(task(node))
    setup.console.stop_console(held(node, SWITCHING))
    with pytest.raises(ironic_exception.ConsoleError):
        setup.console.get_console(task(node))


# The conductor

def test_it_ends_with_its_conductor(
        setup: Setup, tmp_path: pathlib.Path) -> None:
    node = setup.node()
    setup.start(node)
    manager = fakes.Manager()
    setup.console.watch_conductor(manager, None)
    setup.console.watch_conductor(manager, None)
    assert len(manager.workers) == 1, 'one worker is enough'
    assert not setup.pool.shut.is_set()
    manager.shut_down()
    assert setup.pool.shut.is_set()
    assert '"owner": ""' in (tmp_path / 'run' / 'ports.json').read_text()


@pytest.mark.parametrize('flag', [None, False])
def test_it_ends_with_a_conductor_of_ironic_29(
        setup: Setup, flag: bool | None) -> None:
    manager = fakes.Manager()
    manager._shutdown = typing.cast(typing.Any, flag)
    setup.console.watch_conductor(manager, None)
    manager._shutdown = typing.cast(typing.Any, True)
    waiting.wait_until(setup.pool.shut.is_set, 'end of the bridges')


def test_a_conductor_without_a_free_worker_is_asked_again(
        setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = fakes.Manager()

    def full(*args: object) -> None:
        raise ironic_exception.NoFreeConductorWorker

    with monkeypatch.context() as patch:
        patch.setattr(manager, '_spawn_worker', full)
        setup.console.watch_conductor(manager, None)
    setup.console.watch_conductor(manager, None)
    manager.shut_down()
    assert setup.pool.shut.is_set()


def test_a_run_dir_that_is_too_long_is_an_error_in_the_log(
        tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture,
        options: collections.abc.Callable[..., None]) -> None:
    options('run_dir', str(tmp_path / ('x' * 100)))
    manager = fakes.Manager()
    interface.SolConsole().watch_conductor(manager, None)
    manager.shut_down()
    assert 'set [solconsole]run_dir to a path of at most' in caplog.text


def test_the_number_of_bridges_is_an_option(
        setup: Setup, monkeypatch: pytest.MonkeyPatch,
        options: collections.abc.Callable[..., None]) -> None:
    options('bridges', 3)
    made: list[Pool] = []

    def make(*args: typing.Any) -> Pool:
        made.append(Pool(*args))
        return made[-1]

    monkeypatch.setattr(bridges, 'BridgePool', make)
    interface.SolConsole()
    assert [pool.count for pool in made] == [3]


def test_secrets_are_in_no_log(
        setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('DEBUG')
    secret = f'hunter2-{uuid.uuid4().hex[:8]}'
    node = setup.node({**fakes.IPMI, 'ipmi_password': secret})
    for outcome in (connected(), failed(Reason.BAD_CREDENTIALS),
                    exception.BridgeUnavailable('away')):
        setup.pool.outcomes = [outcome]
        for enabled in (False, True):
            node.console_enabled = enabled
            try:
                setup.console.start_console(task(node))
            except ironic_exception.ConsoleError as error:
                assert secret not in str(error)
        setup.stop(node)
    assert secret not in caplog.text


def test_what_viewers_may_do_is_told_to_the_bridge(
        setup: Setup, options: collections.abc.Callable[..., None]) -> None:
    options('terminal_timeout', 77, 'console')
    options('allowed_clients', ['192.0.2.0/24'])
    setup.console.watch_conductor(manager := fakes.Manager(), None)
    given = setup.console._bridge_options(0)
    manager.shut_down()
    wanted = {
        'max_clients': 8, 'max_clients_per_address': 0,
        'client_mode': 'shared', 'client_buffer': 262144,
        'scrollback': 16384, 'notices': True, 'notice_detail': 'brief',
        'allowed_clients': ['192.0.2.0/24'], 'idle_timeout': 77}
    assert {name: given.get(name) for name in wanted} == wanted


def test_where_transcripts_go_is_told_to_the_bridge(
        setup: Setup, options: collections.abc.Callable[..., None],
        caplog: pytest.LogCaptureFixture) -> None:
    setup.console.watch_conductor(manager := fakes.Manager(), None)
    assert setup.console._bridge_options(0)['transcript'] is None
    options('transcript_dir', 'var/log/consoles')
    assert setup.console._bridge_options(0)['transcript'] is None
    assert 'not an absolute path' in caplog.text
    options('transcript_dir', '/var/log/consoles')
    options('transcript_max_bytes', 0)
    given = setup.console._bridge_options(0)['transcript']
    manager.shut_down()
    assert given == {'directory': '/var/log/consoles', 'max_bytes': 0,
                     'backups': 4, 'buffer': 262144}


@pytest.mark.parametrize('network', ['x', '192.0.2.1/24', ''])
def test_what_is_no_network_is_no_option(
        network: str, options: collections.abc.Callable[..., None]) -> None:
    with pytest.raises(ValueError):
        options('allowed_clients', ['192.0.2.0/24', network])
