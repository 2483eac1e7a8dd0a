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

"""What has to move, as a table and as rules."""

import collections.abc
import typing

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole.driver import keeper
from ironic_solconsole.driver import moves
from tests.unit.driver import fakes
from tests.unit.driver.conftest import make_spec


def row(generation: str = 'g', **fields: typing.Any) -> moves.Row:
    internal = {'solconsole_generation': generation} if generation else {}
    return moves.Row.of(fakes.Node(**{
        'console_enabled': True, 'driver_internal_info': internal,
        **fields}))


def console(node: str, generation: str = 'g') -> keeper.OpenConsole:
    return keeper.OpenConsole(
        make_spec(node, generation=generation), 0.0, True)


@pytest.mark.parametrize(('fields', 'here', 'why'), [
    ({}, True, None),
    ({}, False, moves.Why.MOVED),
    ({'maintenance': True, 'reservation': 'cond-b'}, True, None),
    ({'provision_state': 'deleting'}, True, None),
    ({'generation': ''}, True, moves.Why.STOPPED),
    ({'generation': 'another'}, True, moves.Why.STOPPED),
    ({'generation': 'another', 'console_enabled': False,
      'reservation': 'cond-b'}, True, moves.Why.STOPPED),
    ({'console_enabled': False}, True, moves.Why.DISABLED),
    ({'console_enabled': False, 'reservation': 'cond-a'}, True, None),
    ({'console_enabled': False, 'reservation': 'cond-a'}, False, None),
    ({'console_interface': 'no-console'}, True, moves.Why.INTERFACE),
    ({'console_interface': None}, False, moves.Why.INTERFACE)])
def test_why_a_console_is_closed(fields: dict[str, typing.Any], here: bool,
                                 why: moves.Why | None) -> None:
    node = row(**fields)
    found = moves.to_close([console(node.uuid)], {node.uuid: node},
                           lambda row: here)
    assert [reason for _, reason in found] == ([why] if why else [])


def test_a_console_without_a_node_is_closed() -> None:
    gone = console(row().uuid)
    assert moves.to_close([gone], {}, lambda row: True) == [
        (gone, moves.Why.GONE)]


ROWS: st.SearchStrategy[moves.Row] = st.builds(
    row, generation=st.sampled_from(['', 'g', 'ended']),
    console_enabled=st.booleans(),
    console_interface=st.sampled_from(['solconsole', 'no-console', None]),
    reservation=st.sampled_from([None, 'cond-a', 'cond-b']),
    provision_state=st.sampled_from(['active', 'deleting', 'available']),
    conductor_group=st.sampled_from(['here', 'elsewhere']))


def here(node: moves.Row) -> bool:
    return node.conductor_group == 'here'


@given(st.lists(ROWS))
def test_what_is_opened_is_not_closed_and_the_other_way_round(
        rows: list[moves.Row]) -> None:
    opened = moves.to_open(rows, here, lambda word: word == 'ended')
    assert not moves.to_close(
        [console(node.uuid, node.generation) for node in opened],
        {node.uuid: node for node in rows}, here)
    for node in rows:
        wanted = (node.console_interface == 'solconsole'
                  and node.console_enabled and node.generation == 'g'
                  and node.provision_state != 'deleting' and here(node))
        assert (node in opened) == wanted


@given(ROWS, st.booleans())
def test_what_is_adopted_is_not_open_and_not_torn_down(
        node: moves.Row, torn_down: bool) -> None:
    if torn_down:
        node.driver_internal_info['solconsole_torn_down'] = True
    if moves.adoptable(node):
        assert not torn_down
        assert not moves.should_be_open(node)
        assert not moves.to_unmark(node)


def test_secrets_are_not_in_the_repr_of_a_row() -> None:
    assert 'secret' not in repr(row())


def test_a_row_has_what_a_spec_needs() -> None:
    rows: collections.abc.Sequence[str] = moves.FIELDS
    assert {'uuid', 'name', 'instance_uuid', 'driver_info'} <= set(rows)
