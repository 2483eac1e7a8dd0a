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

"""A console on demand: a session with the BMC while somebody is there."""

import collections.abc
import dataclasses
import time

import pytest

from ironic_solconsole import spec as console_spec
from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.functional.test_parking import start
from tests.functional.test_parking import stop
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import ports
from tests.support import viewers
from tests.support import waiting

LINGER = 1.0            # seconds


@pytest.fixture
def bridge() -> collections.abc.Iterator[bridge_support.Bridge]:
    """A bridge where links do not outlast their viewers for long."""
    with bridge_support.Bridge(linger=LINGER) as process:
        yield process
        check_unharmed(process)


def on_demand(bmc: model.ModelBmc, **changes: object
              ) -> console_spec.ConsoleSpec:
    return bridge_support.model_spec(
        bmc, **{'connection': 'on-demand', **changes})


def check_idle(bridge: bridge_support.Bridge, bmc: model.ModelBmc,
               spec: console_spec.ConsoleSpec, seconds: float) -> None:
    """Nothing is done, and nothing is planned."""
    logins = len(bmc.journal.logins)
    waiting.always(
        lambda: len(bmc.journal.logins) == logins and not bmc.live_sessions,
        'the BMC is left alone', seconds)
    status = bridge.show(spec.node)
    assert (status['state'], status['reason'], status['next_try']) == (
        'idle', '', None)


def test_it_connects_for_the_first_viewer_and_leaves_after_the_last(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = on_demand(model_bmc)
    began = time.monotonic()
    status = bridge.open(spec, wait=5)
    assert time.monotonic() - began < 0.5, 'a start waited for nobody'
    assert status['url'] == spec.url
    assert status['state'] in ('fenced', 'idle'), 'at most the lock is missing'
    bridge.wait_state(spec.node, 'idle')
    check_idle(bridge, model_bmc, spec, 1.0)
    assert not model_bmc.journal.logins
    with viewers.Viewer(spec.url) as first:
        bridge.wait_state(spec.node, 'connected')
        with viewers.Viewer(spec.url) as second:
            wait_viewers(bridge, 2)
            model_bmc.host.send(b'hello')
            first.wait_for(b'hello')
            second.wait_for(b'hello')
        wait_viewers(bridge, 1)
        session = bridge.show(spec.node)['session']
        waiting.always(
            lambda: bridge.show(spec.node)['session'] == session,
            'the session lasts while one is there', 2 * LINGER)
        first.send(b'typed')
        model_bmc.host.wait_received(b'typed')
    left = time.monotonic()
    wait_viewers(bridge, 0)
    bridge.wait_state(spec.node, 'idle')
    assert time.monotonic() - left >= LINGER - 0.1
    waiting.wait_until(lambda: not model_bmc.live_sessions,
                       'the session to be closed')
    check_idle(bridge, model_bmc, spec, 1.0)
    assert len(model_bmc.journal.activations) == 1


def test_who_comes_back_in_time_finds_the_same_session(
        model_bmc: model.ModelBmc) -> None:
    with bridge_support.Bridge(linger=60) as bridge:
        spec = on_demand(model_bmc)
        bridge.open(spec)
        for _ in range(3):
            with viewers.Viewer(spec.url) as viewer:
                bridge.wait_state(spec.node, 'connected')
                wait_viewers(bridge, 1)
                model_bmc.host.send(b'hello')
                viewer.wait_for(b'hello')
            wait_viewers(bridge, 0)
        assert len(model_bmc.journal.logins) == 1
        check_unharmed(bridge)


def test_it_comes_and_goes_with_its_viewers(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = on_demand(model_bmc)
    bridge.open(spec)
    for number in range(1, 4):
        with viewers.Viewer(spec.url) as viewer:
            bridge.wait_state(spec.node, 'connected')
            word = f'<{number}>'.encode()
            model_bmc.host.send(word)
            viewer.wait_for(word)
        bridge.wait_state(spec.node, 'idle')
        assert len(model_bmc.journal.activations) == number


@pytest.mark.parametrize('held', [True, False])
def test_nobody_knocks_when_nobody_waits(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge,
        held: bool) -> None:
    if held:
        model_bmc.hold()
        spec = on_demand(model_bmc)
    else:
        spec = on_demand(model_bmc, port=ports.free_port())
    bridge.open(spec)
    with viewers.Viewer(spec.url):
        bridge.wait_state(spec.node, 'held' if held else 'waiting')
    bridge.wait_state(spec.node, 'idle')
    if held:
        waiting.wait_until(lambda: len(model_bmc.live_sessions) == 1,
                           'our session to be closed')
        model_bmc.release()
    check_idle(bridge, model_bmc, spec, 4.0)


def test_an_attempt_is_given_up_with_its_viewer(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    model_bmc.faults.answer_delay = 30.0
    spec = on_demand(model_bmc)
    bridge.open(spec)
    with viewers.Viewer(spec.url):
        bridge.wait_state(spec.node, 'connecting')
    bridge.wait_state(spec.node, 'idle')


def test_an_operator_can_have_it_tried(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = on_demand(model_bmc)
    bridge.open(spec)
    bridge.request('retry', {'node': spec.node})
    bridge.wait_state(spec.node, 'connected')
    bridge.wait_state(spec.node, 'idle')


def test_a_release_goes_before_demand(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = on_demand(model_bmc)
    bridge.open(spec)
    bridge.request('release', {'node': spec.node, 'seconds': 0})
    with viewers.Viewer(spec.url):
        wait_viewers(bridge, 1)
        waiting.always(lambda: not model_bmc.journal.logins,
                       'nobody goes to the BMC', 1.0)
        bridge.request('resume', {'node': spec.node})
        bridge.wait_state(spec.node, 'connected')
    bridge.wait_state(spec.node, 'idle')
    bridge.request('release', {'node': spec.node, 'seconds': 1})
    bridge.wait_state(spec.node, 'released')
    bridge.wait_state(spec.node, 'idle')
    check_idle(bridge, model_bmc, spec, 1.0)


def test_it_may_become_persistent_and_on_demand_again(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = on_demand(model_bmc)
    bridge.open(spec)
    bridge.open(dataclasses.replace(spec, connection='persistent'))
    session = bridge.wait_state(spec.node, 'connected')['session']
    waiting.always(lambda: bridge.show(spec.node)['session'] == session,
                   'it lasts with nobody there', 2 * LINGER)
    bridge.open(spec)
    bridge.wait_state(spec.node, 'idle')
    check_idle(bridge, model_bmc, spec, 1.0)


def test_a_new_owner_is_no_viewer_of_the_last_one(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = on_demand(model_bmc, instance_uuid='one')
    bridge.open(spec)
    with viewers.Viewer(spec.url) as viewer:
        bridge.wait_state(spec.node, 'connected')
        bridge.open(dataclasses.replace(spec, instance_uuid='two'))
        viewer.wait_closed()
        bridge.wait_state(spec.node, 'idle')


def test_it_is_parked_as_any_other(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = on_demand(model_bmc)
    bridge.open(spec)
    stop(bridge, spec)
    spec, status = start(bridge, spec)
    assert status['taken_up'] is True
    assert not model_bmc.journal.logins
    with viewers.Viewer(spec.url) as viewer:
        bridge.wait_state(spec.node, 'connected')
        stop(bridge, spec)
        model_bmc.host.send(b'meanwhile')
        model_bmc.host.wait_sent()
        waiting.always(
            lambda: bridge.show(spec.node)['state'] == 'parked'
            and len(model_bmc.live_sessions) == 1,
            'the session lasts', 2 * LINGER)
        spec, status = start(bridge, spec)
        viewer.wait_for(b'meanwhile')
        assert len(model_bmc.journal.activations) == 1
    bridge.wait_state(spec.node, 'idle')
