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

"""Which TCP port a node gets, and which it never gets."""

import math
import typing
import uuid

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole import conf
from ironic_solconsole import exception
from ironic_solconsole.driver import ports
from tests.unit.driver import fakes

NODE = '11111111-1111-4111-8111-111111111111'
OTHER = '22222222-2222-4222-8222-222222222222'
RANGES = [range(100, 104), range(200, 204)]


def held(node: str = OTHER) -> ports.Claim:
    return ports.Claim(node, f'{node} (other)', True)


def asked(node: str = OTHER) -> ports.Claim:
    return ports.Claim(node, f'{node} (other)', False)


def choose(node: str = NODE, **given: typing.Any) -> int:
    values: dict[str, typing.Any] = {
        'fixed': None, 'remembered': None, 'ranges': RANGES, 'claims': {},
        'resting': {}, **given}
    return ports.choose(node, **values)


# The decision

PORTS = st.integers(98, 106) | st.integers(199, 204)
NODES = st.sampled_from([str(uuid.UUID(int=n, version=4)) for n in range(9)])
CLAIMS = st.dictionaries(PORTS, st.builds(
    ports.Claim, NODES, st.just('other'), st.booleans()))
RESTING = st.dictionaries(PORTS, st.builds(
    ports.Resting, NODES, st.floats(0, 900) | st.just(math.inf)))


@given(node=NODES, fixed=st.none() | PORTS, remembered=st.none() | PORTS,
       claims=CLAIMS, resting=RESTING, avoid=st.frozensets(PORTS))
def test_a_port_is_given_if_and_only_if_there_is_one(
        node: str, fixed: int | None, remembered: int | None,
        claims: dict[int, ports.Claim], resting: dict[int, ports.Resting],
        avoid: frozenset[int]) -> None:
    pool = {port for ports_ in RANGES for port in ports_}
    free = (pool | {remembered}) - set(claims) - set(resting) - avoid
    free.discard(None)
    try:
        port = choose(node, fixed=fixed, remembered=remembered,
                      claims=claims, resting=resting, avoid=avoid)
    except exception.PortError as error:
        if fixed is not None:
            assert fixed in claims or fixed in resting
            assert str(fixed) in str(error)
        else:
            assert not free, f'{free} were free: {error}'
        return
    assert port not in resting, 'it served another node not long ago'
    if fixed is not None:
        assert port == fixed
        assert fixed not in claims or not claims[fixed].held
        return
    assert port in free
    if remembered in free:
        assert port == remembered, 'a node keeps its port'


@given(node=NODES)
def test_a_node_gets_the_same_port_everywhere(node: str) -> None:
    assert choose(node) == choose(node)


def test_nodes_spread_over_the_range() -> None:
    wide = [range(10000, 20000)]
    nodes = [str(uuid.UUID(int=n, version=4)) for n in range(300)]
    given_ports = {choose(node, ranges=wide) for node in nodes}
    assert len(given_ports) > 290, 'ports must not depend on the order'


def test_the_last_port_of_a_range_is_given_and_its_end_is_not() -> None:
    claims = {port: held() for port in (100, 101, 102)}
    assert choose(ranges=[range(100, 104)], claims=claims) == 103
    claims[103] = held()
    with pytest.raises(exception.PortError, match='port_range'):
        choose(ranges=[range(100, 104)], claims=claims)


def test_a_fixed_port_goes_before_a_remembered_one() -> None:
    assert choose(fixed=7000, remembered=100) == 7000


def test_a_fixed_port_that_another_node_has_is_refused_by_name() -> None:
    for claim in (held(), asked()):
        with pytest.raises(exception.PortError, match=OTHER):
            choose(fixed=7000, claims={7000: claim})


def test_who_has_a_port_keeps_it_when_another_node_asks_for_it() -> None:
    assert choose(fixed=7000, remembered=7000, claims={7000: asked()}) == 7000


def test_two_nodes_that_have_the_same_port_are_both_told() -> None:
    with pytest.raises(exception.PortError, match=OTHER):
        choose(fixed=7000, remembered=7000, claims={7000: held()})


def test_a_fixed_port_in_quarantine_is_refused_with_the_time_left() -> None:
    with pytest.raises(exception.PortError, match=f'{OTHER}.* 450 s'):
        choose(fixed=7000, resting={7000: ports.Resting(OTHER, 450.0)})


def test_a_fixed_port_that_is_served_is_refused() -> None:
    with pytest.raises(exception.PortError, match=f'serves .*{OTHER}'):
        choose(fixed=7000, resting={7000: ports.Resting(OTHER, math.inf)})


def test_a_remembered_port_stays_when_the_range_changes() -> None:
    assert choose(remembered=150) == 150


# Where ports come from

@pytest.mark.parametrize(('own', 'console', 'expected'), [
    ('100:104', [range(1, 9)], [range(100, 104)]),
    ('100:104,200:204', None, [range(100, 104), range(200, 204)]),
    (None, [range(100, 104), range(200, 204)],
     [range(100, 104), range(200, 204)]),
    (None, '100:104', [range(100, 104)]),           # up to Ironic 30
    (None, [range(0, 3)], [range(1, 3)]),
    (None, None, [conf.DEFAULT_PORT_RANGE]),
    (None, [], [conf.DEFAULT_PORT_RANGE]),
    ('', None, [conf.DEFAULT_PORT_RANGE]),
])
def test_the_range_in_force(own: str | None, console: object,
                            expected: list[range]) -> None:
    assert conf.configured_ranges(own, console) == expected


@pytest.mark.parametrize(('own', 'console'), [
    ('5', None), (None, '20000:10000'), (None, [range(5, 5)])])
def test_a_range_without_ports_is_refused(own: str | None,
                                          console: object) -> None:
    with pytest.raises(exception.PortError, match='port_range'):
        conf.configured_ranges(own, console)


def test_every_recorded_port_counts() -> None:
    nodes = [
        fakes.Node({'ipmi_terminal_port': '7001'}, name='fixed'),
        fakes.Node(driver_internal_info={'solconsole_port': 7002}),
        fakes.Node(driver_internal_info={
            'allocated_ipmi_terminal_port': 7003}),
        fakes.Node({'ipmi_terminal_port': 'x'}, driver_internal_info={
            'solconsole_port': None}),
        fakes.Node({'ipmi_terminal_port': 7004}, uuid=NODE),
        fakes.Node({'ipmi_terminal_port': 7002})]
    claims = ports.recorded(nodes, besides=NODE)
    assert set(claims) == {7001, 7002, 7003}
    assert claims[7001].name == f'{nodes[0].uuid} (fixed)'
    assert not claims[7001].held
    assert claims[7002].held, 'who has a port goes before who asks for it'
    assert claims[7003].held
