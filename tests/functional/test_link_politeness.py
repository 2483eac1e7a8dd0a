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

"""Whose console it is: wait, reclaim, steal, release; never fight."""

import dataclasses
import time

import pytest

from ironic_solconsole import exception
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import viewers
from tests.support import waiting

Reason = exception.Reason

ACTIVATE = (6, 0x48)
DEACTIVATE = (6, 0x49)
ACTIVATION_STATUS = (6, 0x4a)
INSTANCE_INFO = (6, 0x4b)
SESSION_INFO = (6, 0x3d)
CLOSE_SESSION = (6, 0x3c)

HELD_NOTICE = (b'\r\n[solconsole: in use by another session; waiting for it '
               b'to end]\r\n')


def deactivations(bmc, since=0.0):
    return bmc.journal.having(DEACTIVATE, since=since)


def check_leaves_alone(bridge, bmc, spec, seconds=1.0):
    """The console is held, and whoever has it is not touched."""
    holder, since = bmc.holder, time.monotonic()
    waiting.always(
        lambda: bmc.holder == holder
        and bridge.show(spec.node)['state'] in ('held', 'connecting'),
        'the holder keeps the console and we wait', seconds)
    assert not deactivations(bmc, since)


def leave_behind(bmc, spec):
    """Connect with a bridge, kill it, and give what its conductor knew."""
    with bridge_support.Bridge() as bridge:
        bridge.connect(spec)
        waiting.wait_until(lambda: spec.node in bridge.memories,
                           'memory of the activation')
        bridge.kill()
    assert bmc.holder, 'the BMC forgot the session of a killed bridge'
    return bridge.memories[spec.node]


def test_a_holder_is_named_to_operators_and_not_to_viewers(
        model_bmc, bridge):
    bmc = model_bmc
    bmc.hold('second', '192.0.2.7', 40000)
    spec = bridge_support.model_spec(bmc)
    status = bridge.open(spec)
    assert (status['state'], status['reason']) == ('held', Reason.HELD)
    for word in (f'{bmc.holder:x}h', "'second'", '192.0.2.7:40000',
                 'administrator'):
        assert word in status['detail'], status
        assert bridge.logged(word), f'{word} is not in the log'
    with viewers.Viewer(spec.url) as viewer:
        viewer.wait_exactly(HELD_NOTICE)
        check_leaves_alone(bridge, bmc, spec, 8.0)
        bmc.release()
        bridge.wait_state(spec.node, 'connected', 30)
        viewer.wait_exactly(HELD_NOTICE + b'\r\n[solconsole: connected]\r\n')


@pytest.mark.parametrize('missing', [
    [ACTIVATION_STATUS], [INSTANCE_INFO], [SESSION_INFO],
    [ACTIVATION_STATUS, INSTANCE_INFO],
    [ACTIVATION_STATUS, INSTANCE_INFO, SESSION_INFO]])
def test_a_bmc_that_cannot_be_asked_is_used_and_not_robbed(
        model_bmc, bridge, missing):
    """Activate's own 80h is the truth then, and we say less."""
    bmc = model_bmc
    bmc.settings.overrides.update(dict.fromkeys(missing, 0xc1))
    spec = bridge_support.model_spec(bmc)
    session = bridge.connect(spec)['session']
    # Keepalives must do without them as well.
    waiting.always(
        lambda: bridge.show(spec.node)['session'] == session,
        'the session lasts', 3)
    bridge.close(spec.node)
    waiting.wait_until(lambda: not bmc.live_sessions, 'the slot is free')
    bmc.hold()
    assert bridge.open(spec)['state'] == 'held'
    check_leaves_alone(bridge, bmc, spec)


@pytest.mark.parametrize('tells_address', [True, False])
def test_the_session_of_a_killed_bridge_is_reclaimed_and_closed(
        model_bmc, bridge, tells_address):
    bmc = model_bmc
    bmc.settings.tells_address = tells_address
    spec = bridge_support.model_spec(bmc)
    memory = leave_behind(bmc, spec)
    left = bmc.holder
    status = bridge.open(spec, memory=memory)
    assert status['state'] == 'connected', status
    waiting.wait_until(
        lambda: left not in [s.id for s in bmc.live_sessions],
        'the slot of the dead session is free')
    assert bridge.logged('predecessor')


@pytest.mark.parametrize('change', [
    {'session': 0x77}, {'user': 5}, {'address': '192.0.2.1'}, {'port': 9}])
def test_a_session_that_only_resembles_our_predecessors_is_not_touched(
        model_bmc, bridge, change):
    bmc = model_bmc
    spec = bridge_support.model_spec(bmc)
    memory = leave_behind(bmc, spec)
    memory['activation'] |= change
    assert bridge.open(spec, memory=memory)['state'] == 'held'
    check_leaves_alone(bridge, bmc, spec)


@pytest.mark.parametrize('unknown', [
    model.Unknown.SHORT, model.Unknown.NOT_PRESENT])
def test_an_activation_of_a_session_that_is_no_more_is_ended(
        model_bmc, bridge, unknown):
    bmc = model_bmc
    bmc.settings.unknown_session = unknown
    bmc.hold(ghost=True)
    began = time.monotonic()
    status = bridge.open(bridge_support.model_spec(bmc))
    assert status['state'] == 'connected', status
    assert time.monotonic() - began >= 2.0, 'it was not looked at twice'
    looks = [c.data for c in bmc.journal.having(SESSION_INFO)]
    assert len(looks) >= 3, looks


@pytest.mark.parametrize('override', [0xc1, 0xcc, 0xff])
def test_what_a_bmc_does_not_know_is_no_ghost(model_bmc, bridge, override):
    bmc = model_bmc
    bmc.settings.overrides[SESSION_INFO] = override
    bmc.hold(ghost=True)
    spec = bridge_support.model_spec(bmc)
    assert bridge.open(spec)['state'] == 'held'
    check_leaves_alone(bridge, bmc, spec)


def test_steal_once_takes_the_console_once(model_bmc, bridge):
    bmc = model_bmc
    bmc.hold('second')
    spec = bridge_support.model_spec(bmc, steal='once')
    assert bridge.open(spec)['state'] == 'connected'
    assert len(deactivations(bmc)) == 1
    bmc.steal('second')
    bridge.wait_state(spec.node, 'held', 30)
    # The same start, repeated by a takeover pass, is no new start.
    bridge.open(spec)
    check_leaves_alone(bridge, bmc, spec)
    assert len(deactivations(bmc)) == 1


def test_an_operator_may_steal_without_steal_in_driver_info(
        model_bmc, bridge):
    bmc = model_bmc
    bmc.hold('second')
    spec = bridge_support.model_spec(bmc)
    bridge.open(spec)
    bridge.request('steal', {'node': spec.node})
    bridge.wait_state(spec.node, 'connected')
    assert len(deactivations(bmc)) == 1


@pytest.mark.parametrize('farewell', model.Farewell)
def test_a_theft_is_noticed_however_the_bmc_tells_it(
        model_bmc, bridge, farewell):
    bmc = model_bmc
    bmc.settings.sol.farewell = farewell
    spec = bridge_support.model_spec(bmc)
    bridge.connect(spec)
    ours = bmc.holder
    since = time.monotonic()
    with viewers.Viewer(spec.url) as viewer:
        bmc.steal('second')
        status = bridge.wait_state(spec.node, 'held', 30)
        assert 'second' in status['detail']
        viewer.wait_for(b'[solconsole: taken by another session')
        assert not viewer.closed
        check_leaves_alone(bridge, bmc, spec)
    assert not deactivations(bmc, since), 'the thief was thrown out'
    assert ours in [c.session for c in bmc.journal.having(
        CLOSE_SESSION, since=since)], 'our session was not closed'
    bmc.release()
    bridge.wait_state(spec.node, 'connected', 30)


@pytest.mark.parametrize('how', ['close', 'end', 'update', 'release'])
def test_no_way_to_leave_ends_a_thiefs_console(model_bmc, how):
    """Before we have noticed, which is when it is dangerous."""
    bmc = model_bmc
    bmc.settings.sol.farewell = model.Farewell.SILENT
    with bridge_support.Bridge(keepalive_interval=20) as bridge:
        spec = bridge_support.model_spec(bmc)
        bridge.connect(spec)
        ours = bmc.holder
        since = time.monotonic()
        thief = bmc.steal('second')
        if how == 'close':
            bridge.close(spec.node)
        elif how == 'end':
            bridge.hang_up()
        elif how == 'update':
            bridge.open(dataclasses.replace(spec, privilege='OPERATOR'))
        else:
            bridge.request('release', {'node': spec.node, 'seconds': 0})
        waiting.wait_until(
            lambda: ours in [c.session for c in bmc.journal.having(
                CLOSE_SESSION, since=since)], 'our session is closed')
    assert bmc.holder == thief
    assert not deactivations(bmc, since)


def test_a_released_console_is_free_for_others_and_comes_back(
        model_bmc, bridge):
    bmc = model_bmc
    spec = bridge_support.model_spec(bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        bridge.request('release', {'node': spec.node, 'seconds': 0})
        waiting.wait_until(
            lambda: bmc.holder is None and not bmc.live_sessions,
            'the BMC is free')
        viewer.wait_for(b'[solconsole: released')
        bmc.hold('second')
        # Neither viewers nor a repeated start end a release.
        with viewers.Viewer(spec.url) as other:
            other.wait_for(b'[solconsole: released')
            bridge.open(spec)
            bridge.request('retry', {'node': spec.node})
            waiting.always(
                lambda: bridge.show(spec.node)['state'] == 'released',
                'it stays released', 1)
        bmc.release()
        bridge.request('resume', {'node': spec.node})
        bridge.wait_state(spec.node, 'connected')
        viewer.wait_for(b'[solconsole: connected]')


def test_a_release_ends_when_its_time_is_up(model_bmc, bridge):
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    status = bridge.request('release', {'node': spec.node, 'seconds': 1})
    assert status['state'] == 'released'
    assert 0 < status['next_try'] <= 1
    bridge.wait_state(spec.node, 'connected')


def test_a_release_outlives_a_disable_and_a_bridge(model_bmc, bridge):
    spec = bridge_support.model_spec(model_bmc)
    with bridge_support.Bridge() as first:
        first.connect(spec)
        first.request('release', {'node': spec.node, 'seconds': 0})
        first.close(spec.node)
        assert first.open(spec)['state'] == 'released'
        memory = first.memories[spec.node]
        first.kill()
    assert bridge.open(spec, memory=memory)['state'] == 'released'
    bridge.request('resume', {'node': spec.node})
    bridge.wait_state(spec.node, 'connected')


def test_wrong_credentials_are_tried_once_whatever_happens(
        model_bmc, bridge):
    bmc = model_bmc
    spec = bridge_support.model_spec(bmc, password='wrong')
    status = bridge.open(spec)
    assert status['reason'] == Reason.BAD_CREDENTIALS
    assert len(bmc.journal.logins) == 1
    for _ in range(3):          # Nova resets, takeover passes, people
        with viewers.Viewer(spec.url) as viewer:
            viewer.send(b'\r')
            bridge.open(spec)
        bridge.close(spec.node)
        again = bridge.open(spec, wait=5)
        assert again['settled']
        assert again['reason'] == Reason.BAD_CREDENTIALS
        assert 's ago' in again['detail'], again
    bridge.close(spec.node)
    with bridge_support.Bridge() as successor:
        status = successor.open(spec, memory=bridge.memories[spec.node])
        assert status['reason'] == Reason.BAD_CREDENTIALS
    bridge.open(spec)
    assert len(bmc.journal.logins) == 1, bmc.journal.logins

    bridge.request('retry', {'node': spec.node})
    waiting.wait_until(lambda: len(bmc.journal.logins) == 2,
                       'the login that an operator asked for')
    good = dataclasses.replace(spec, password='secret')
    bridge.open(good)
    bridge.wait_state(spec.node, 'connected')


def test_a_refusal_counts_though_the_console_was_closed_meanwhile(
        model_bmc, bridge):
    """Nova switches off and on faster than a refusal is believed."""
    bmc = model_bmc
    bmc.settings.abandoned_after = 0.05
    spec = bridge_support.model_spec(bmc, password='wrong')
    bridge.open(spec, wait=0)
    waiting.wait_until(
        lambda: any(login.result != 'under way'
                    for login in bmc.journal.logins),
        'the login has been refused', interval=0.005)
    bridge.close(spec.node)
    status = bridge.open(spec)
    assert status['reason'] == Reason.BAD_CREDENTIALS, status
    assert len(bmc.journal.logins) == 1, bmc.journal.logins


def test_the_last_free_session_of_a_bmc_is_left_to_others(bridge):
    with model.ModelBmcs(model.BmcOptions(slots=1)) as (bmc,):
        bmc.hold('second')
        spec = bridge_support.model_spec(bmc)
        status = bridge.open(spec)
        assert status['reason'] == Reason.SESSION_LIMIT, status
        bmc.release()
        waiting.wait_until(
            lambda: 'left to others' in bridge.show(spec.node)['detail'],
            'the free slot is seen and left', 30,
            seen=lambda: bridge.show(spec.node))
        waiting.wait_until(lambda: not bmc.live_sessions, 'the slot is free')
        with viewers.Viewer(spec.url):
            bridge.wait_state(spec.node, 'connected')


def test_two_links_that_steal_do_not_fight(model_bmc, bridge):
    """One deactivate a start: after that, rivals wait for each other."""
    bmc = model_bmc
    with bridge_support.Bridge() as rival:
        mine = bridge_support.model_spec(bmc, steal='once')
        theirs = bridge_support.model_spec(
            bmc, steal='once', username='second', password='secret5')
        bridge.connect(mine)
        rival.connect(theirs)
        bridge.wait_state(mine.node, 'connected', 30)   # its one steal
        rival.wait_state(theirs.node, 'held', 30)
        since = time.monotonic()
        waiting.always(lambda: not deactivations(bmc, since),
                       'nobody steals any more', 6)


@pytest.mark.long
def test_wrong_credentials_are_tried_twice_in_five_minutes_and_a_bit(
        model_bmc, bridge):
    """Whatever viewers, Nova and takeover passes do meanwhile."""
    bmc = model_bmc
    spec = bridge_support.model_spec(bmc, password='wrong')
    bridge.open(spec)
    begun = time.monotonic()
    while time.monotonic() - begun < 310:
        with viewers.Viewer(spec.url) as viewer:
            viewer.send(b'\r')
            bridge.open(spec, wait=0)
        bridge.close(spec.node)
        bridge.open(spec, wait=1)
        assert len(bmc.journal.logins) == 1 or (
            time.monotonic() - begun > 299), bmc.journal.logins
        time.sleep(0.5)
    assert len(bmc.journal.logins) == 2, bmc.journal.logins
