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

"""BMCs that give no console, each with its own reason."""

import time

import pytest

from ironic_solconsole import control
from ironic_solconsole import exception
from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import ipmitool
from tests.support import ports
from tests.support import processes
from tests.support import viewers
from tests.support import waiting

Reason = exception.Reason

WRONG = ipmi_sim.User(2, 'admin', 'notsecret')
UNKNOWN = ipmi_sim.User(9, 'nobody', 'secret')


def check_refused(status: control.Json, reason: Reason) -> None:
    """A console that waits, with this reason and a sentence about it."""
    assert (status['state'], status['reason']) == ('waiting', reason), status
    assert status['detail'], status
    assert status['settled'] is True, status
    assert status['session'] == '', status
    assert 'secret' not in status['detail'], status


@pytest.mark.parametrize('user', [WRONG, UNKNOWN], ids=['password', 'user'])
def test_a_wrong_password_or_user_is_bad_credentials(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge,
        user: ipmi_sim.User) -> None:
    spec = bridge_support.make_spec(bmc, user)
    check_refused(bridge.open(spec), Reason.BAD_CREDENTIALS)

    # BMCs lock accounts: no second try for minutes, a viewer or not.
    since = bridge.show(spec.node)['since']
    with viewers.Viewer(spec.url):
        waiting.always(
            lambda: bridge.show(spec.node)['since'] == since,
            'no second login with credentials that are known to be bad', 4)
    bmc.wait_free()


def test_corrected_credentials_are_tried_at_once(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    wrong = bridge_support.make_spec(bmc, WRONG)
    check_refused(bridge.open(wrong), Reason.BAD_CREDENTIALS)
    right = bridge_support.make_spec(
        bmc, node=wrong.node, tcp_port=wrong.tcp_port)
    assert bridge.open(right)['state'] == 'connected'


def test_the_key_kg_is_used_and_a_wrong_one_is_bad_credentials(
        bridge: bridge_support.Bridge) -> None:
    with ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(kg='akey')]) as sim:
        bmc = sim.bmcs[0]
        wrong = bridge_support.make_spec(bmc, kg=b'nokey'.hex())
        check_refused(bridge.open(wrong), Reason.BAD_CREDENTIALS)
        right = bridge_support.make_spec(
            bmc, kg=b'akey'.hex(), node=wrong.node,
            tcp_port=wrong.tcp_port)
        assert bridge.open(right)['state'] == 'connected'
        bridge.close(right.node)


def test_a_bmc_on_which_nobody_listens_is_unreachable(
        bridge: bridge_support.Bridge) -> None:
    port = ports.free_port()
    spec = bridge_support.make_spec(address='127.0.0.1', port=port)
    check_refused(bridge.open(spec), Reason.UNREACHABLE)


def test_a_bmc_that_is_silent_is_unreachable(
        bridge: bridge_support.Bridge) -> None:
    with ipmi_sim.silent_bmc() as port:
        spec = bridge_support.make_spec(address='127.0.0.1', port=port)
        check_refused(bridge.open(spec), Reason.UNREACHABLE)


def test_a_name_that_does_not_resolve_is_unreachable_and_named(
        bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(address='bmc.invalid')
    status = bridge.open(spec, wait=25)
    check_refused(status, Reason.UNREACHABLE)
    assert 'bmc.invalid' in status['detail'], status


def test_an_unreachable_bmc_delays_no_other(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    with ipmi_sim.silent_bmc() as port:
        dead = [bridge_support.make_spec(address='127.0.0.1', port=port)
                for _ in range(5)]
        opening = [bridge.submit('open', {'spec': spec.to_json(), 'wait': 25})
                   for spec in dead]
        assert bridge.open(bridge_support.make_spec(bmc))[
            'state'] == 'connected'
        assert not any(future.done() for future in opening), (
            'the silent BMC was given up before the good one was tried')
        for future in opening:
            check_refused(bridge.collect(future, 'open', 30),
                          Reason.UNREACHABLE)


def test_sol_switched_off_is_told_and_taken_up_when_it_is_on(
        bridge: bridge_support.Bridge) -> None:
    setup = ipmi_sim.BmcSetup(sol_enabled=False)
    with ipmi_sim.IpmiSim([setup]) as sim:
        bmc = sim.bmcs[0]
        spec = bridge_support.make_spec(bmc)
        check_refused(bridge.open(spec), Reason.SOL_DISABLED)
        bmc.ipmitool().set_sol_enabled(True)
        bridge.wait_state(spec.node, 'connected', 40)
        bridge.close(spec.node)
        bmc.wait_free()


def test_a_bmc_without_sol_gets_an_answer_too(
        bridge: bridge_support.Bridge) -> None:
    with ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(serial='')]) as sim:
        status = bridge.open(bridge_support.make_spec(sim.bmcs[0]))
        assert status['state'] == 'waiting', status
        assert status['reason'] in (
            Reason.SOL_DISABLED, Reason.PROTOCOL_ERROR), status
        assert status['detail'], status


def test_an_account_is_used_with_the_privilege_asked_for(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(
        bmc, ipmi_sim.OPERATOR, privilege='OPERATOR')
    assert bridge.open(spec)['state'] == 'connected'


def test_suite_17_falls_to_3_where_the_bmc_lacks_it(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    status = bridge.open(bridge_support.make_spec(bmc, suites=(17, 3)))
    assert (status['state'], status['suite']) == ('connected', 3), status


def test_suite_17_alone_is_not_lowered(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    status = bridge.open(bridge_support.make_spec(bmc, suites=(17,)))
    check_refused(status, Reason.ENCRYPTION_REFUSED)
    assert '17' in status['detail'], status
    assert status['suite'] is None, status


def test_a_bmc_that_comes_back_is_connected_again(
        sim: ipmi_sim.IpmiSim, bridge: bridge_support.Bridge) -> None:
    bmc = sim.bmcs[0]
    spec = bridge_support.make_spec(bmc)
    first = bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        sim.power_off()
        status = bridge.wait_state(spec.node, 'waiting', 60)
        check_refused(status, Reason.UNREACHABLE)
        sim.power_on()
        bridge.wait_state(spec.node, 'connected', 60)
        bmc.host.send(b'back again')
        viewer.wait_for(b'back again')
        assert not viewer.closed
        assert bridge.show(spec.node)['since'] >= first['since']


def test_a_viewer_that_attaches_makes_an_unreachable_bmc_be_tried(
        sim: ipmi_sim.IpmiSim, bridge: bridge_support.Bridge) -> None:
    sim.power_off()
    spec = bridge_support.make_spec(sim.bmcs[0])
    # Long enough for the pauses between tries to have grown.
    bridge.open(spec)
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        bridge.show(spec.node)
        time.sleep(0.5)
    sim.power_on()
    with viewers.Viewer(spec.url):
        bridge.wait_state(spec.node, 'connected', 10)


def test_a_frozen_bmc_is_noticed_and_taken_up_when_it_goes_on(
        sim: ipmi_sim.IpmiSim, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(sim.bmcs[0])
    bridge.connect(spec)
    sim.freeze()
    try:
        check_refused(bridge.wait_state(spec.node, 'waiting', 60),
                      Reason.UNREACHABLE)
    finally:
        sim.thaw()
    # Until the simulator forgets our old session it is HELD by that.
    bridge.wait_state(spec.node, 'connected', 100)


def test_sol_deactivated_by_hand_is_taken_up_again(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    session = bridge.connect(spec)['session']
    bmc.ipmitool().deactivate()
    waiting.wait_until(
        lambda: bridge.show(spec.node)['session'] not in ('', session),
        'a new session after somebody deactivated SOL', 30,
        seen=lambda: bridge.show(spec.node))
    bridge.wait_state(spec.node, 'connected')
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        bmc.host.send(b'again')
        viewer.wait_for(b'again')


def test_no_session_slot_leaks_however_often_a_console_fails(
        bridge: bridge_support.Bridge) -> None:
    # ipmi_sim has 63 session slots; each round would leak one.
    setup = ipmi_sim.BmcSetup(sol_enabled=False)
    with ipmi_sim.IpmiSim([setup]) as sim:
        bmc = sim.bmcs[0]
        for _ in range(70):
            spec = bridge_support.make_spec(bmc)
            check_refused(bridge.open(spec), Reason.SOL_DISABLED)
            bridge.close(spec.node)
        bmc.ipmitool().set_sol_enabled(True)
        spec = bridge_support.make_spec(bmc)
        assert bridge.open(spec)['state'] == 'connected'
        bridge.close(spec.node)
        bmc.wait_free()


def test_reopening_a_console_many_times_leaks_neither_slots_nor_files(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    bridge.close(spec.node)
    bmc.wait_free()
    before = processes.open_files(bridge.pid)
    for _ in range(70):
        assert bridge.open(spec)['state'] == 'connected'
        bridge.close(spec.node)
    bmc.wait_free()
    waiting.wait_until(
        lambda: processes.open_files(bridge.pid) <= before,
        f'{before} open files, as before the console was opened 70 times',
        seen=lambda: processes.open_files(bridge.pid))


def test_an_operator_can_log_in_after_every_refusal(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge() as bridge:
        bridge.open(bridge_support.make_spec(bmc, WRONG))
        check_unharmed(bridge)
    assert bmc.ipmitool().holder() == 0
    with pytest.raises(ipmitool.IpmitoolError):
        bmc.ipmitool(WRONG).holder()
