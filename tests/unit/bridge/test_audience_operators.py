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

"""Operators among the people at one console."""

import asyncio

import pytest

from ironic_solconsole.bridge import access
from ironic_solconsole.bridge import audience as bridge_audience
from ironic_solconsole.bridge import notices
from tests.unit.bridge.test_audience import Console
from tests.unit.bridge.test_audience import Transport
from tests.unit.bridge.test_audience import in_loop
from tests.unit.bridge.test_audience import leave
from tests.unit.bridge.test_audience import type_at

DOWN = notices.Standing('down', detail='192.0.2.7 does not answer')


def viewer_of(transport: Transport) -> bridge_audience.console_listener.Viewer:
    assert transport.protocol is not None
    return transport.protocol


@in_loop
async def test_operators_have_places_of_their_own_but_not_for_ever() -> None:
    console = Console(max_clients=1, max_clients_per_address=1,
                      gate=access.Gate(['192.0.2.1']))
    tenant = console.attach()
    there = [console.attach_operator()
             for _ in range(bridge_audience.MAX_OPERATORS)]
    assert not any(one.ended for one in there)
    assert console.audience.count == 1 + bridge_audience.MAX_OPERATORS
    assert console.attach().ended, 'the place of a tenant is taken'
    late = console.attach_operator()
    assert late.ended
    assert b'operators are here already' in late.sent
    leave(there[0])
    assert not console.attach_operator().ended
    leave(tenant)
    assert not console.attach().ended, (
        'operators take the place of tenants')


@in_loop
async def test_no_idle_operator_makes_room_or_is_closed() -> None:
    console = Console(max_clients=1, idle_timeout=100.0)
    operator = console.attach_operator()
    await asyncio.sleep(70)
    tenant = console.attach()
    await asyncio.sleep(99)
    assert not tenant.ended
    await asyncio.sleep(2)
    assert tenant.ended
    await asyncio.sleep(1000)
    assert not operator.ended


@in_loop
async def test_operators_are_told_all_whatever_tenants_are_told() -> None:
    for options in ({}, {'notices': False}):
        console = Console(**options)
        tenant, operator = console.attach(), console.attach_operator()
        console.audience.state(DOWN)
        await asyncio.sleep(2)
        assert b'down (192.0.2.7 does not answer)' in operator.sent
        assert b'192' not in tenant.sent
        assert (b'down' in tenant.sent) == (not options)
        console.audience.close()
        assert notices.line(notices.CLOSED) in operator.sent
        assert (b'closed' in tenant.sent) == (not options)


@in_loop
async def test_an_operator_may_come_while_the_console_is_parked() -> None:
    console = Console(scrollback=16384)
    console.audience.deliver(b'before')
    console.audience.pause()
    assert console.attach().ended
    operator = console.attach_operator()
    assert operator.sent == b''
    console.audience.resume()
    console.audience.deliver(b' after')
    assert operator.sent == b'before after'


@in_loop
async def test_nobody_may_come_before_the_console_is_admitted() -> None:
    console = Console()
    console.audience.shut = notices.MOVING
    assert console.audience.refusal_of_operators() == notices.MOVING
    assert console.attach_operator().ended
    console.audience.shut = ''
    assert console.audience.refusal_of_operators() is None
    console.audience.close()
    assert console.audience.refusal_of_operators() == notices.CLOSED
    assert console.attach_operator().ended


@in_loop
async def test_who_came_to_read_types_nothing_and_holds_nobody_up() -> None:
    console = Console(exclusive=True)
    operator = console.attach_operator(read_only=True)
    tenant = console.attach()
    type_at(operator, b'no')
    type_at(tenant, b'yes')
    await asyncio.sleep(2)
    assert console.typed == b'yes'
    assert operator.sent == b''


@pytest.mark.parametrize('exclusive', [False, True])
@in_loop
async def test_an_operator_takes_the_right_and_gives_it_back(
        exclusive: bool) -> None:
    console = Console(exclusive=exclusive)
    tenant, operator = console.attach(), console.attach_operator()
    type_at(tenant, b'a')
    console.audience.give_right(viewer_of(operator), True)
    await asyncio.sleep(2)
    # At once, and not only when it types.
    assert tenant.sent == notices.line(notices.EXCLUSIVE)
    type_at(tenant, b'b')
    type_at(operator, b'c')
    console.audience.give_right(viewer_of(operator), False)
    await asyncio.sleep(2)
    assert tenant.sent.endswith(notices.line(notices.WRITER))
    type_at(tenant, b'd')
    type_at(operator, b'e')
    assert console.typed == (b'acd' if exclusive else b'acde')


@in_loop
async def test_who_leaves_gives_the_right_back() -> None:
    console = Console()
    tenant, operator = console.attach(), console.attach_operator()
    console.audience.give_right(viewer_of(operator), True)
    type_at(tenant, b'a')
    leave(operator)
    type_at(tenant, b'b')
    assert console.typed == b'b'
    console.audience.dismiss(notices.NEW_OWNER)
    other = console.attach()
    type_at(other, b'c')
    assert console.typed == b'bc'


@in_loop
async def test_a_right_that_goes_to_and_fro_leaves_no_heap_of_notices(
        ) -> None:
    console = Console()
    tenant, operator = console.attach(), console.attach_operator()
    for _ in range(1000):
        console.audience.give_right(viewer_of(operator), True)
        console.audience.give_right(viewer_of(operator), False)
    await asyncio.sleep(60)
    assert tenant.sent.count(b'solconsole') <= 2
    assert tenant.sent.endswith(notices.line(notices.WRITER))


@in_loop
async def test_one_viewer_is_kicked_or_all_but_operators() -> None:
    console = Console()
    tenants = [console.attach() for _ in range(3)]
    operator = console.attach_operator()
    assert console.audience.kick(2) == [2]
    assert [tenant.ended for tenant in tenants] == [False, True, False]
    assert tenants[1].sent == notices.line(notices.KICKED)
    assert console.audience.kick(2) == []
    assert console.audience.kick(None) == [1, 3]
    assert all(tenant.ended for tenant in tenants)
    assert not operator.ended
    assert console.audience.kick(4) == [4]
    assert operator.ended
    assert console.audience.count == 0
    # Numbers are not used again.
    assert viewer_of(console.attach()).number == 5


@in_loop
async def test_what_is_said_is_told_to_those_who_may_be_told() -> None:
    console = Console(notices=False)
    tenant, operator = console.attach(), console.attach_operator()
    assert console.audience.tell(notices.said('hello')) == 1
    await asyncio.sleep(2)
    assert operator.sent == notices.line('operator: hello')
    assert tenant.sent == b''
    assert [console.audience.tell(str(number)) for number in range(9)] == [
        # The first is told at once.
        *[1] * (1 + bridge_audience.MAX_WISHES), *[0] * 4]


@in_loop
async def test_what_was_sent_and_lost_adds_up() -> None:
    console = Console()
    slow, quick = console.attach(room=0), console.attach()
    text = b''.join(b'line %d\r\n' % number for number in range(5000))
    for start in range(0, len(text), 200):
        console.audience.deliver(text[start:start + 200])
    assert (viewer_of(quick).sent, viewer_of(quick).lost) == (len(text), 0)
    assert viewer_of(slow).lost > len(text) - 2 * 4096
    assert viewer_of(slow).sent == len(slow.buffer) + len(slow.sent)
    slow.read(None)
    marks = len(notices.line(f'{viewer_of(slow).lost} bytes lost'))
    assert viewer_of(slow).sent == len(slow.sent)
    assert viewer_of(slow).lost == len(text) - (len(slow.sent) - marks)
