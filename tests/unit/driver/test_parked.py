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

"""A parked console ends when its node is taken from under it."""

import typing

from oslo_db import exception as db_exception
import pytest

from ironic_solconsole.driver import moves
from ironic_solconsole.driver import parked
from tests.unit.driver import fakes
from tests.unit.driver.test_takeover import GENERATION
from tests.unit.driver.test_takeover import Setup
from tests.unit.driver.test_takeover import setup

assert setup        # the fixture


@pytest.mark.parametrize(('before', 'after', 'here', 'why'), [
    ({}, {}, True, None),
    ({}, {'console_enabled': False, 'reservation': 'cond-a',
          'maintenance': True}, True, None),
    ({}, {'driver_internal_info': {GENERATION: 'next'}}, True, None),
    ({}, {}, False, moves.Why.MOVED),
    ({}, {'console_interface': 'no-console'}, True, moves.Why.INTERFACE),
    ({}, {'provision_state': 'deleting'}, True, moves.Why.TORN_DOWN),
    ({'provision_state': 'active'}, {'provision_state': 'active'}, True,
     None),
    ({'provision_state': 'active'}, {'provision_state': 'rescuing'}, True,
     None),
    ({'provision_state': 'active'}, {'provision_state': 'cleaning'}, True,
     moves.Why.TORN_DOWN),
    ({'provision_state': 'active'}, {'provision_state': 'available'}, True,
     moves.Why.TORN_DOWN),
    ({'provision_state': 'available'}, {'provision_state': 'deploying'},
     True, None),
    ({'instance_uuid': 'one'}, {'instance_uuid': 'one'}, True, None),
    ({'instance_uuid': 'one'}, {}, True, moves.Why.INSTANCE),
    ({'instance_uuid': 'one'}, {'instance_uuid': 'two'}, True,
     moves.Why.INSTANCE),
    ({}, {'instance_uuid': 'one'}, True, moves.Why.INSTANCE)])
def test_why_a_parked_console_ends(
        before: dict[str, typing.Any], after: dict[str, typing.Any],
        here: bool, why: moves.Why | None) -> None:
    consoles = parked.ParkedConsoles()
    old = fakes.Node(**before)
    consoles.note(old, 'g', 10.0)
    row = moves.Row.of(fakes.Node(uuid=old.uuid, **after))
    found = parked.to_end(
        consoles.now(9.0), {old.uuid: row}, lambda row: here)
    assert [reason for _, reason in found] == ([why] if why else [])


def test_one_without_a_node_ends() -> None:
    consoles = parked.ParkedConsoles()
    consoles.note(fakes.Node(), 'g', 10.0)
    found = parked.to_end(consoles.now(9.0), {}, lambda row: True)
    assert [why for _, why in found] == [moves.Why.GONE]


def test_it_is_remembered_for_its_time_only() -> None:
    consoles, node = parked.ParkedConsoles(), fakes.Node()
    consoles.note(node, 'g', 10.0)
    assert [one.generation for one in consoles.now(9.9)] == ['g']
    consoles.forget(node.uuid, 'another')
    assert consoles.now(9.9)
    assert not consoles.now(10.0)
    assert not consoles.now(0.0), 'it is not forgotten'
    consoles.note(node, 'g', 10.0)
    consoles.forget(node.uuid)
    assert not consoles.now(0.0)


def park(setup: Setup, node: fakes.Node, seconds: float = 30.0) -> str:
    """What a stop through the API does."""
    generation: str = node.driver_internal_info.pop(GENERATION)
    setup.pool.close(node.uuid, generation, park=seconds)
    setup.passes.stopped(node, generation, seconds)
    node.console_enabled = False
    return generation


def look(setup: Setup) -> list[typing.Any]:
    """What comes of the periodic task; gives the closes of parked ones."""
    setup.passes.untakeover(setup.cloud.manager, None)
    return [request['args'] for request in setup.fake.requests('close')
            if 'park' not in request['args']]


@pytest.mark.parametrize('change', ['deleted', 'torn down', 'moved'])
def test_it_is_closed_within_a_second_of_the_change(
        setup: Setup, change: str,
        caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO')
    node, other = setup.node(), setup.node()
    setup.open(node, other)
    generation = park(setup, node)
    park(setup, other)
    assert look(setup) == []
    if change == 'deleted':
        del setup.cloud.nodes[node.uuid]
    elif change == 'torn down':
        node.provision_state = 'deleting'
    else:
        setup.cloud.here.remove(node.uuid)
    wanted = [{'node': node.uuid, 'generation': generation}]
    assert look(setup) == wanted, 'the next look closes it'
    assert look(setup) == wanted, 'and only once'
    assert f'{node.uuid}, which was parked, is closed' in caplog.text


def test_one_that_was_taken_up_is_not_closed(setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    park(setup, node)
    node.console_enabled = True
    node.driver_internal_info[GENERATION] = 'next'
    setup.open(node)
    setup.cloud.nodes.clear()
    assert not setup.pool.close_parked(node.uuid, 'next')
    asked = len(setup.fake.requests('close'))
    setup.passes._end_parked(setup.cloud.manager)
    assert len(setup.fake.requests('close')) == asked


def test_one_whose_time_is_over_is_not_closed(setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    generation = park(setup, node, 1e-6)
    assert not setup.pool.close_parked(node.uuid, generation)
    setup.cloud.asked.clear()
    setup.passes._end_parked(setup.cloud.manager)
    assert setup.cloud.asked == []


def test_nobody_is_asked_while_nothing_is_parked(setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    look(setup)
    setup.cloud.asked.clear()
    look(setup)
    assert setup.cloud.asked == []


def test_a_database_that_is_away_leaves_it_to_its_time(
        setup: Setup) -> None:
    node = setup.node()
    setup.open(node)
    park(setup, node)
    setup.cloud.down = db_exception.DBConnectionError()
    assert look(setup) == []
