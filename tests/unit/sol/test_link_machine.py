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

import hypothesis
from hypothesis import strategies
import pytest

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import link
from ironic_solconsole.sol.link import LinkEvent
from ironic_solconsole.sol.link import LinkState


def machine_in(state, now=0.0):
    """A machine that has come to a state by events."""
    machine = link.LinkMachine(now)
    path = {
        LinkState.IDLE: [],
        LinkState.CONNECTING: [LinkEvent.TRY],
        LinkState.CONNECTED: [LinkEvent.TRY, LinkEvent.ACTIVATED],
        LinkState.HELD: [LinkEvent.TRY, LinkEvent.BUSY],
        LinkState.WAITING: [LinkEvent.TRY, LinkEvent.FAILED],
        LinkState.CLOSED: [LinkEvent.CLOSE],
    }[state]
    for event in path:
        machine.handle(event, now, error_for(event))
    assert machine.state is state
    return machine


def error_for(event, reason=Reason.UNREACHABLE):
    if event is LinkEvent.BUSY:
        return LinkError(Reason.HELD, 'session 84h')
    if event is LinkEvent.FAILED:
        return LinkError(reason, 'no answer')
    return None


@pytest.mark.parametrize('state', LinkState)
@pytest.mark.parametrize('event', LinkEvent)
def test_each_event_leads_where_the_table_says_or_is_refused(state, event):
    machine = machine_in(state)
    if event in link.TRANSITIONS[state]:
        machine.handle(event, 1.0, error_for(event))
        assert machine.state is link.TRANSITIONS[state][event]
    else:
        with pytest.raises(KeyError):
            machine.handle(event, 1.0, error_for(event))
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


def test_every_live_state_can_be_closed_and_closed_is_the_end():
    for state in LinkState:
        if state is LinkState.CLOSED:
            assert link.TRANSITIONS[state] == {}
        else:
            assert (link.TRANSITIONS[state][LinkEvent.CLOSE]
                    is LinkState.CLOSED)


def test_connected_is_told_only_after_an_activation():
    before = {
        (state, event) for state, row in link.TRANSITIONS.items()
        for event, target in row.items() if target is LinkState.CONNECTED}
    assert before == {(LinkState.CONNECTING, LinkEvent.ACTIVATED)}


def test_a_verdict_settles_and_a_new_target_unsettles():
    machine = machine_in(LinkState.CONNECTING)
    assert not machine.settled
    machine.handle(
        LinkEvent.FAILED, 1.0, LinkError(Reason.SOL_DISABLED, '81h'))
    assert machine.settled
    assert (machine.reason, machine.detail) == (Reason.SOL_DISABLED, '81h')
    machine.handle(LinkEvent.CHANGED, 2.0)
    assert not machine.settled
    assert (machine.reason, machine.detail) == (None, '')


def test_the_reason_of_the_last_failure_stays_while_it_is_tried_again():
    machine = machine_in(LinkState.WAITING)
    machine.handle(LinkEvent.TRY, 5.0)
    assert machine.reason is Reason.UNREACHABLE
    machine.handle(LinkEvent.ACTIVATED, 6.0)
    assert machine.reason is None


def test_since_is_the_start_of_the_state():
    machine = machine_in(LinkState.CONNECTED, now=3.0)
    assert machine.since == 3.0
    machine.handle(LinkEvent.FAILED, 9.0, error_for(LinkEvent.FAILED))
    assert machine.since == 9.0


def fail(machine, now, reason=Reason.UNREACHABLE, chance=1.0):
    if machine.state is not LinkState.CONNECTED:
        machine.handle(LinkEvent.TRY, now)
    machine.handle(
        LinkEvent.FAILED, now, error_for(LinkEvent.FAILED, reason))
    return machine.delay(chance)


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
    machine.handle(LinkEvent.TRY, 10.0)
    machine.handle(LinkEvent.ACTIVATED, 10.0)
    assert fail(machine, 10.0 + link.HEALTHY - 1) == 120.0
    machine.handle(LinkEvent.TRY, 100.0)
    machine.handle(LinkEvent.ACTIVATED, 100.0)
    assert fail(machine, 100.0 + link.HEALTHY) == 3.0


def test_bad_credentials_wait_so_that_no_account_is_locked():
    machine = link.LinkMachine(0.0)
    assert fail(machine, 0.0, Reason.BAD_CREDENTIALS, 0.0) == 300.0


def test_a_held_console_is_looked_at_every_few_seconds():
    machine = machine_in(LinkState.HELD)
    assert machine.delay(0.0) == 3.0
    assert machine.delay(1.0) == 6.0
