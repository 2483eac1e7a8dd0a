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

"""A console that somebody else uses is not taken; ours is watched."""

import pytest

from ironic_solconsole import exception
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import ipmitool
from tests.support import viewers
from tests.support import waiting

Reason = exception.Reason


def check_undisturbed(bmc: ipmi_sim.Bmc, hand: ipmitool.SolByHand,
                      word: bytes) -> None:
    """ipmitool still has the console, both ways."""
    assert hand.running, hand.screen
    bmc.host.clear()
    hand.type(word)
    bmc.host.wait_received(word)
    hand.wait_for(word)         # the host echoes


def test_a_console_in_use_is_held_until_it_is_free(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    bmc = echo_bmc
    with bmc.ipmitool(ipmi_sim.SECOND).activate() as hand:
        hand.wait_open()
        holder = bmc.ipmitool().holder()
        spec = bridge_support.make_spec(bmc)

        status = bridge.open(spec)

        assert (status['state'], status['reason']) == ('held', Reason.HELD)
        assert status['settled'] is True
        assert 'second' in status['detail'], status
        with viewers.Viewer(spec.url) as viewer:
            # A person at the port is no reason to take it either, and what
            # that person types is not typed into the other's session.
            viewer.send(b'I want it')
            waiting.always(
                lambda: bmc.ipmitool().holder() == holder
                and bridge.show(spec.node)['state'] in ('held', 'connecting'),
                'ipmitool holds the console and we wait for it', 5)
            check_undisturbed(bmc, hand, b'mine')
            # What a tenant may know, and no more.
            viewer.wait_exactly(
                b'\r\n[solconsole: in use by another session; waiting for '
                b'it to end]\r\n\r\n[solconsole: not connected; what is typed '
                b'is not sent]\r\n')

            hand.leave()
            bridge.wait_state(spec.node, 'connected', 30)
            bmc.host.clear()
            viewer.wait_for(b'[solconsole: connected]\r\n')
            viewer.clear()
            viewer.send(b'thanks')
            bmc.host.wait_received(b'thanks')
            viewer.wait_exactly(b'thanks')


def test_a_theft_is_noticed_and_not_fought(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    bmc = echo_bmc
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    second = bmc.ipmitool(ipmi_sim.SECOND)
    with viewers.Viewer(spec.url) as viewer:
        # Between the two commands we may take it up again, as after any
        # deactivation: then the thief has to try again.
        hand = _steal(second)
        with hand:
            thief = second.holder()
            status = bridge.wait_state(spec.node, 'held', 30)
            assert status['reason'] in (Reason.STOLEN, Reason.HELD), status
            assert 'second' in status['detail'], status
            waiting.always(
                lambda: second.holder() == thief,
                'the thief keeps what it took', 5)
            viewer.clear()
            check_undisturbed(bmc, hand, b'loot')
            assert viewer.data == b'', 'the victim still gets output'
            assert not viewer.closed
            hand.leave()
        bridge.wait_state(spec.node, 'connected', 30)
        viewer.clear()
        viewer.send(b'ours again')
        viewer.wait_for(b'ours again')


def _steal(tool: ipmitool.Ipmitool) -> ipmitool.SolByHand:
    for _ in range(10):
        tool.deactivate()
        hand = tool.activate()
        waiting.wait_until(
            lambda hand=hand: not hand.running or (  # type: ignore[misc]
                b'operational' in hand.screen), 'ipmitool open or ended')
        if hand.running:
            return hand
        hand.kill()
    raise AssertionError('ipmitool cannot take the console at all')


def test_closing_a_stolen_console_leaves_the_thief_alone(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    bmc = echo_bmc
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with _steal(bmc.ipmitool(ipmi_sim.SECOND)) as hand:
        # Before or after we have noticed: it must not matter.
        bridge.close(spec.node)
        waiting.always(lambda: hand.running, 'ipmitool runs on', 3)
        check_undisturbed(bmc, hand, b'still mine')
        hand.leave()
    bmc.wait_free()


def test_closing_a_held_console_leaves_its_holder_alone(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    bmc = echo_bmc
    with bmc.ipmitool(ipmi_sim.SECOND).activate() as hand:
        hand.wait_open()
        spec = bridge_support.make_spec(bmc)
        assert bridge.open(spec)['state'] == 'held'
        bridge.close(spec.node)
        waiting.always(lambda: hand.running, 'ipmitool runs on', 3)
        check_undisturbed(bmc, hand, b'mine')
        hand.leave()
    bmc.wait_free()


def test_two_consoles_on_one_bmc_do_not_fight(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    first = bridge_support.make_spec(echo_bmc)
    second = bridge_support.make_spec(echo_bmc)
    session = bridge.connect(first)['session']
    assert bridge.open(second)['state'] == 'held'
    waiting.always(
        lambda: bridge.show(first.node)['session'] == session,
        'the first console keeps its session', 5)
    bridge.close(first.node)
    bridge.wait_state(second.node, 'connected', 30)


@pytest.mark.long
def test_ipmitool_is_left_alone_for_a_minute_and_followed_in_ten_seconds(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    with echo_bmc.ipmitool(ipmi_sim.SECOND).activate() as hand:
        hand.wait_open()
        holder = echo_bmc.ipmitool().holder()
        spec = bridge_support.make_spec(echo_bmc)
        bridge.open(spec)
        waiting.always(
            lambda: bridge.show(spec.node)['state'] in ('held', 'connecting'),
            'we wait', 60, interval=0.5)
        assert echo_bmc.ipmitool().holder() == holder
        check_undisturbed(echo_bmc, hand, b'still mine')
        hand.leave()
        bridge.wait_state(spec.node, 'connected', 30)
