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

"""The states of a link, with no socket, clock or task."""

import json

import hypothesis
from hypothesis import strategies
import pytest

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import link
from ironic_solconsole.sol.link import LinkEvent
from ironic_solconsole.sol.link import LinkState


def error_for(event, reason=Reason.UNREACHABLE):
    if event is LinkEvent.BUSY:
        return LinkError(Reason.HELD, 'session 84h')
    if event is LinkEvent.FAILED:
        return LinkError(reason, 'no answer')
    if event is LinkEvent.HOST_OFF:
        return LinkError(Reason.POWERED_OFF, 'no serial port')
    return None


def apply(machine, *events, now=0.0):
    for event in events:
        machine.handle(event, now, error=error_for(event))
    return machine


PATHS = {
    LinkState.IDLE: [],
    LinkState.CONNECTING: [LinkEvent.TRY],
    LinkState.CONNECTED: [LinkEvent.TRY, LinkEvent.ACTIVATED],
    LinkState.HELD: [LinkEvent.TRY, LinkEvent.BUSY],
    LinkState.WAITING: [LinkEvent.TRY, LinkEvent.FAILED],
    LinkState.RELEASED: [LinkEvent.RELEASE],
    LinkState.FENCED: [LinkEvent.FENCE],
    LinkState.CLOSED: [LinkEvent.CLOSE],
}


def machine_in(state, now=0.0):
    """A machine that has come to a state by events."""
    machine = apply(link.LinkMachine(now), *PATHS[state], now=now)
    assert machine.state is state
    return machine


@pytest.mark.parametrize('state', LinkState)
@pytest.mark.parametrize('event', LinkEvent)
def test_each_event_leads_where_the_table_says_or_is_refused(state, event):
    machine = machine_in(state)
    if event in link.TRANSITIONS[state]:
        machine.handle(event, 1.0, error=error_for(event))
        assert machine.state is link.TRANSITIONS[state][event]
    else:
        with pytest.raises(KeyError):
            machine.handle(event, 1.0, error=error_for(event))
        assert machine.state is state


def test_every_state_has_a_row_and_can_be_reached():
    assert set(link.TRANSITIONS) == set(LinkState)
    reached = {LinkState.IDLE}
    while True:
        more = {target for state in reached
                for target in link.TRANSITIONS[state].values()}
        if more <= reached:
            break
        reached |= more
    assert reached == set(LinkState)


def test_every_event_is_used():
    used = {event for row in link.TRANSITIONS.values() for event in row}
    assert used == set(LinkEvent)


@pytest.mark.parametrize(
    'event', [LinkEvent.CLOSE, LinkEvent.CHANGED, LinkEvent.RELEASE,
              LinkEvent.FENCE])
def test_what_people_do_is_possible_in_every_state_but_the_last(event):
    for state in set(LinkState) - {LinkState.CLOSED}:
        assert event in link.TRANSITIONS[state], state
    assert link.TRANSITIONS[LinkState.CLOSED] == {}


def test_connected_is_told_only_after_an_activation():
    before = {
        (state, event) for state, row in link.TRANSITIONS.items()
        for event, target in row.items()
        if target is LinkState.CONNECTED and state is not target}
    assert before == {(LinkState.CONNECTING, LinkEvent.ACTIVATED)}


@pytest.mark.parametrize('state', LinkState)
def test_a_link_that_is_not_at_work_knows_when_it_tries_next(state):
    machine = machine_in(state, now=5.0)
    at_work = {LinkState.CONNECTING, LinkState.CONNECTED, LinkState.CLOSED,
               LinkState.RELEASED, LinkState.FENCED}
    if state in at_work:
        assert machine.next_try is None
    else:
        assert machine.next_try >= 5.0


def test_a_verdict_settles_and_a_new_target_unsettles():
    machine = machine_in(LinkState.CONNECTING)
    assert not machine.settled
    machine.handle(LinkEvent.FAILED, 1.0,
                   error=LinkError(Reason.SOL_DISABLED, '81h'))
    assert machine.settled
    assert (machine.reason, machine.detail) == (Reason.SOL_DISABLED, '81h')
    machine.handle(LinkEvent.CHANGED, 2.0)
    assert not machine.settled
    assert (machine.reason, machine.detail) == (None, '')
    assert machine.next_try == 2.0


def test_a_fence_settles_once_its_reason_is_known_and_keeps_it():
    machine = machine_in(LinkState.FENCED)
    assert not machine.settled
    error = LinkError(Reason.LOCKED, 'elsewhere')
    machine.handle(LinkEvent.FENCE, 1.0, error=error)
    for event in (LinkEvent.CHANGED, LinkEvent.RELEASE):
        machine.handle(event, 2.0)
        assert (machine.state, machine.reason, machine.settled) == (
            LinkState.FENCED, Reason.LOCKED, True)
    machine.handle(LinkEvent.ADMIT, 3.0)
    assert (machine.state, machine.reason, machine.settled) == (
        LinkState.IDLE, None, False)
    assert machine.next_try == 3.0


def test_the_reason_of_the_last_failure_stays_while_it_is_tried_again():
    machine = machine_in(LinkState.WAITING)
    apply(machine, LinkEvent.TRY)
    assert machine.reason is Reason.UNREACHABLE
    apply(machine, LinkEvent.ACTIVATED)
    assert machine.reason is None


def test_a_host_that_is_off_is_told_and_taken_back():
    machine = machine_in(LinkState.CONNECTED, now=3.0)
    apply(machine, LinkEvent.HOST_OFF, now=4.0)
    assert (machine.state, machine.reason) == (
        LinkState.CONNECTED, Reason.POWERED_OFF)
    assert machine.since == 3.0
    apply(machine, LinkEvent.HOST_ON, now=5.0)
    assert machine.reason is None


def test_since_is_the_start_of_the_state():
    machine = machine_in(LinkState.CONNECTED, now=3.0)
    assert machine.since == 3.0
    apply(machine, LinkEvent.FAILED, now=9.0)
    assert machine.since == 9.0


def fail(machine, now, reason=Reason.UNREACHABLE, chance=1.0):
    """Fail once more; seconds until the next try."""
    if machine.state is not LinkState.CONNECTED:
        machine.handle(LinkEvent.TRY, now)
    machine.handle(LinkEvent.FAILED, now, chance=chance,
                   error=error_for(LinkEvent.FAILED, reason))
    return machine.next_try - now


@hypothesis.given(strategies.lists(
    strategies.floats(0, 1), min_size=1, max_size=40))
def test_backoff_stays_within_its_bounds(chances):
    machine = link.LinkMachine(0.0)
    previous = link.FIRST_DELAY
    for chance in chances:
        delay = fail(machine, 0.0, chance=chance)
        assert link.FIRST_DELAY <= delay <= link.MAX_DELAY
        assert delay <= 3 * previous
        previous = delay


def test_backoff_grows_to_two_minutes():
    machine = link.LinkMachine(0.0)
    assert [fail(machine, 0.0) for _ in range(6)] == [
        3.0, 9.0, 27.0, 81.0, 120.0, 120.0]


def test_backoff_starts_anew_only_after_a_healthy_minute():
    machine = link.LinkMachine(0.0)
    for _ in range(4):
        fail(machine, 0.0)
    apply(machine, LinkEvent.TRY, LinkEvent.ACTIVATED, now=10.0)
    assert fail(machine, 10.0 + link.HEALTHY - 1) == 120.0
    apply(machine, LinkEvent.TRY, LinkEvent.ACTIVATED, now=100.0)
    assert fail(machine, 100.0 + link.HEALTHY) == 3.0


def test_bad_credentials_wait_so_that_no_account_is_locked():
    machine = link.LinkMachine(0.0)
    assert fail(machine, 0.0, Reason.BAD_CREDENTIALS, 0.0) == 300.0
    machine.nudge(10.0)
    assert machine.next_try == 300.0, 'a viewer must not cause a login'
    machine.retry(10.0)
    assert machine.next_try == 10.0, 'an operator may'


def test_a_refusal_remembered_is_not_tried_again_before_its_time():
    machine = link.LinkMachine(0.0)
    machine.refuse(LinkError(Reason.BAD_CREDENTIALS, '0dh'), 5.0, 120.0)
    assert machine.state is LinkState.WAITING
    assert machine.settled
    assert machine.next_try == 125.0


def test_a_held_console_is_looked_at_every_few_seconds():
    for chance, delay in ((0.0, 3.0), (1.0, 6.0)):
        machine = machine_in(LinkState.CONNECTING)
        machine.handle(LinkEvent.BUSY, 10.0, chance=chance,
                       error=error_for(LinkEvent.BUSY))
        assert machine.next_try == 10.0 + delay


def test_a_viewer_who_comes_makes_it_try_soon_but_no_faster_than_once_a_second(
        ):
    machine = link.LinkMachine(0.0)
    for _ in range(5):
        fail(machine, 0.0)
    machine.nudge(0.2)
    assert machine.next_try == 1.0
    machine.nudge(0.5)
    assert machine.next_try == 1.0


def test_a_viewer_changes_nothing_where_nothing_is_waited_for():
    for state in (LinkState.CONNECTING, LinkState.CONNECTED,
                  LinkState.RELEASED, LinkState.CLOSED):
        machine = machine_in(state)
        machine.nudge(1.0)
        machine.retry(1.0)
        assert machine.next_try is None


def test_a_release_lasts_until_its_time_or_until_it_is_resumed():
    machine = machine_in(LinkState.CONNECTED)
    machine.handle(LinkEvent.RELEASE, 1.0, until=61.0)
    assert (machine.state, machine.next_try) == (LinkState.RELEASED, 61.0)
    machine.handle(LinkEvent.CHANGED, 5.0)
    assert (machine.state, machine.next_try) == (LinkState.RELEASED, 61.0)
    machine.handle(LinkEvent.RESUME, 9.0)
    assert (machine.state, machine.next_try) == (LinkState.IDLE, 9.0)


def test_scarce_session_slots_are_left_alone_until_free_for_ten_minutes():
    machine = link.LinkMachine(0.0)
    fail(machine, 0.0, Reason.SESSION_LIMIT)
    assert machine.scarce
    machine.slot_seen(10.0, free=True)
    assert fail(machine, 10.0, Reason.SESSION_LIMIT) == link.SCARCE_PROBE
    machine.slot_seen(500.0, free=False)
    machine.slot_seen(510.0, free=True)
    machine.slot_seen(510.0 + link.SCARCE_FOR - 1, free=True)
    assert machine.scarce
    machine.slot_seen(510.0 + link.SCARCE_FOR, free=True)
    assert not machine.scarce


memories = strategies.builds(
    link.LinkMemory,
    strategies.none() | strategies.builds(
        link.Activation, strategies.integers(0, 1 << 32),
        strategies.integers(0, 63), strategies.text(max_size=15),
        strategies.integers(0, 65535)),
    strategies.text(max_size=5), strategies.floats(0, 1e10),
    strategies.text(max_size=5), strategies.booleans(),
    strategies.floats(0, 1e10))


@hypothesis.given(memories)
def test_a_memory_crosses_the_wire_unchanged(memory):
    wire = json.loads(json.dumps(memory.to_json()))
    assert link.LinkMemory.from_json(wire) == memory


@hypothesis.given(strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.text(max_size=5),
    lambda inner: strategies.dictionaries(
        strategies.sampled_from(
            ['activation', 'refused', 'refused_at', 'released', 'session',
             'user', 'address', 'port']), inner, max_size=5)))
def test_any_value_makes_a_memory(data):
    memory = link.LinkMemory.from_json(data)
    assert link.LinkMemory.from_json(memory.to_json()) == memory


# On demand

@pytest.mark.parametrize('state', [
    LinkState.CONNECTING, LinkState.CONNECTED, LinkState.HELD,
    LinkState.WAITING])
def test_nobody_is_there_and_it_rests(state):
    machine = machine_in(state)
    machine.doze()
    machine.handle(LinkEvent.UNWANTED, 5.0)
    assert (machine.state, machine.next_try) == (LinkState.IDLE, None)
    assert (machine.reason, machine.detail) == (None, '')


def test_it_rests_from_the_start_until_somebody_comes():
    machine = link.LinkMachine(0.0)
    machine.doze()
    assert machine.next_try is None
    machine.wake(7.0)
    assert machine.next_try == 7.0
    assert not machine.dormant


@pytest.mark.parametrize('events', [
    [LinkEvent.RELEASE, LinkEvent.RESUME],
    [LinkEvent.FENCE, LinkEvent.ADMIT], [LinkEvent.CHANGED]])
def test_nothing_but_somebody_wakes_it(events):
    machine = link.LinkMachine(0.0)
    machine.doze()
    apply(machine, *events, now=3.0)
    assert (machine.state, machine.next_try) == (LinkState.IDLE, None)


def test_who_comes_during_a_fence_is_waited_for_by_it():
    machine = link.LinkMachine(0.0)
    machine.doze()
    machine.handle(LinkEvent.FENCE, 1.0)
    machine.wake(2.0)
    assert machine.next_try is None
    machine.handle(LinkEvent.ADMIT, 3.0)
    assert machine.next_try == 3.0
