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

"""BMCs as they are: each habit by itself, recognised or worked around."""

import pytest

from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import viewers
from tests.support import waiting

Reason = exception.Reason


def set_sol(**changes):
    def prepare(bmc):
        for name, value in changes.items():
            setattr(bmc.settings.sol, name, value)
    return prepare


def check_works(bmc, bridge, spec, size=3000):
    """Connected, and exact both ways."""
    status = bridge.open(spec)
    assert status['state'] == 'connected', status
    with viewers.Viewer(spec.url) as person:
        waiting.wait_until(
            lambda: bridge.show(spec.node)['viewers'] == 1, 'the viewer')
        text, paste = hosts.text(size), hosts.text(size, 'paste')
        bmc.host.send(text)
        person.send(paste)
        person.wait_exactly(text, 60)
        bmc.host.wait_received(paste, 60)
    return status


RECOGNISED = {
    'says payload size 0 (Supermicro)': set_sol(inbound_size=0, takes=32),
    'swaps the size (Supermicro)': set_sol(
        inbound_size=0x8000, takes=124),
    'says 65535': set_sol(inbound_size=0xffff, takes=64),
    'says characters where bytes are meant': set_sol(
        inbound_size=64, takes=60, oversize=model.Oversize.DROP),
    'takes less than it says': set_sol(inbound_size=255, takes=10),
    'takes less than it says, and refuses the rest': set_sol(
        inbound_size=255, takes=10, oversize=model.Oversize.PARTIAL),
    'swaps the port (Supermicro X8)': set_sol(port=model.Port.SWAPPED),
    'has SOL on another port': set_sol(port=model.Port.SECOND),
    'says capacity 0 (Dell M605, M610)': set_sol(capacity=0),
    'says port 0': set_sol(port=0),
    'sends before it has answered the activation': set_sol(early=True),
    'starts its count at 9': set_sol(first_sequence=9),
    'puts more into a retry': set_sol(retries_grow=True),
    'acknowledges with data': set_sol(piggyback=True),
}


@pytest.mark.parametrize('habit', RECOGNISED)
def test_a_bmc_that(model_bmc, bridge, habit):
    RECOGNISED[habit](model_bmc)
    check_works(model_bmc, bridge, bridge_support.model_spec(model_bmc))


@pytest.mark.parametrize('suite', [3, 17])
@pytest.mark.parametrize('kind', ['standard', 'openbmc', 'ipmi_sim', 'Kg'])
def test_each_suite_with_each_kind_of_bmc(bridge, suite, kind):
    options = {
        'standard': model.BmcOptions, 'openbmc': model.openbmc,
        'ipmi_sim': model.ipmi_sim,
        'Kg': lambda: model.BmcOptions(kg=b'twenty bytes of a Kg')}[kind]()
    with model.ModelBmcs(options) as (bmc,):
        spec = bridge_support.model_spec(
            bmc, suites=(suite,), kg=options.kg.hex())
        assert check_works(bmc, bridge, spec)['suite'] == suite


def test_suite_17_is_preferred_and_3_is_taken_where_there_is_no_other(
        bridge):
    with model.ModelBmcs(
            model.BmcOptions(), model.BmcOptions(suites=(3,))) as (new, old):
        for bmc, suite in ((new, 17), (old, 3)):
            spec = bridge_support.model_spec(bmc, suites=(17, 3))
            assert bridge.connect(spec)['suite'] == suite


def test_a_wrong_kg_is_told_as_bad_credentials(bridge):
    with model.ModelBmcs(model.BmcOptions(kg=b'right')) as (bmc,):
        status = bridge.open(bridge_support.model_spec(
            bmc, kg=b'wrong'.hex()))
        assert status['reason'] == Reason.BAD_CREDENTIALS, status


@pytest.mark.parametrize('refusal', model.RoleRefusal)
def test_too_low_a_privilege_is_told_as_such(bridge, refusal):
    with model.ModelBmcs(model.BmcOptions(role_refusal=refusal)) as (bmc,):
        status = bridge.open(bridge_support.model_spec(
            bmc, username='operator', password='secret6'))
        assert status['reason'] == Reason.PRIVILEGE, status
        waiting.wait_until(lambda: not bmc.live_sessions, 'the slot is free')


def test_encryption_that_is_refused_is_told_and_may_be_left_out(
        model_bmc, bridge):
    model_bmc.settings.sol.encryption = model.Encryption.REFUSED
    status = bridge.open(bridge_support.model_spec(model_bmc))
    assert status['reason'] == Reason.ENCRYPTION_REFUSED, status
    check_works(model_bmc, bridge, bridge_support.model_spec(
        model_bmc, workarounds=('unencrypted',)))
    assert not model_bmc.journal.activations[-1].aux & 0x80


def test_a_port_that_is_not_true_can_be_ignored(model_bmc, bridge):
    model_bmc.settings.sol.port = 9
    check_works(model_bmc, bridge, bridge_support.model_spec(
        model_bmc, workarounds=('ignore-sol-port',)))


@pytest.mark.parametrize(('workaround', 'bit'), [
    ('alerts-deferred', 0x04), ('deassert-handshake', 0x02)])
def test_a_bit_of_the_activation_is_set_where_it_is_needed(
        model_bmc, bridge, workaround, bit):
    bridge.connect(bridge_support.model_spec(model_bmc))
    assert model_bmc.journal.activations[-1].aux == 0xc0
    bridge.close(bridge.consoles()[0]['node'])
    waiting.wait_until(lambda: model_bmc.holder is None, 'free')
    check_works(model_bmc, bridge, bridge_support.model_spec(
        model_bmc, workarounds=(workaround,)))
    assert model_bmc.journal.activations[-1].aux == 0xc0 | bit


def test_no_word_harms_a_bmc_that_does_not_need_it(model_bmc, bridge):
    check_works(model_bmc, bridge, bridge_support.model_spec(
        model_bmc, workarounds=console_spec.WORKAROUNDS))


def test_a_count_that_is_stuck_is_left_behind(model_bmc, bridge):
    spec = bridge_support.model_spec(
        model_bmc, workarounds=('skip-sequence',))
    session = bridge.connect(spec)['session']
    with viewers.Viewer(spec.url) as person:
        model_bmc.stick()
        person.send(b'are you there')
        model_bmc.host.wait_received(b'are you there')
    assert bridge.show(spec.node)['session'] == session


def test_an_answer_to_the_activation_that_is_lost_costs_nothing(
        model_bmc, bridge):
    """Our retry is told "already active": by ourselves."""
    model_bmc.faults.lose_answers((6, 0x48))
    check_works(model_bmc, bridge, bridge_support.model_spec(model_bmc))


@pytest.mark.parametrize('kind', [0x11, 0x13, 0x15])
def test_a_lost_message_of_the_login_leaves_no_session_behind(
        model_bmc, bridge, kind):
    model_bmc.faults.lose_payloads(kind)
    check_works(model_bmc, bridge, bridge_support.model_spec(model_bmc))
    waiting.wait_until(lambda: len(model_bmc.live_sessions) == 1,
                       'one session', seen=lambda: model_bmc.live_sessions)


def test_a_bmc_that_takes_three_seconds_for_everything_is_used(
        model_bmc, bridge):
    model_bmc.faults.answer_delay = 3.0
    spec = bridge_support.model_spec(model_bmc)
    bridge.open(spec, wait=0)
    bridge.wait_state(spec.node, 'connected', 90)


@pytest.mark.parametrize('command', [0x3d, 0x46, 0x4a, 0x4b])
def test_a_bmc_that_leaves_a_question_unanswered_is_used(
        model_bmc, bridge, command):
    model_bmc.settings.overrides[6, command] = None
    spec = bridge_support.model_spec(model_bmc)
    bridge.open(spec, wait=0)
    session = bridge.wait_state(spec.node, 'connected', 60)['session']
    waiting.always(
        lambda: bridge.show(spec.node)['session'] == session,
        'the session lasts', 8)


@pytest.mark.parametrize('lost', [(6, 0x49), (6, 0x4b), (6, 0x3c)])
def test_a_lost_answer_at_the_end_leaks_no_session(
        model_bmc, bridge, lost):
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    model_bmc.faults.lose_answers(lost, 3)
    bridge.close(spec.node)
    waiting.wait_until(lambda: not model_bmc.live_sessions,
                       'the slot is free',
                       seen=lambda: model_bmc.live_sessions)


@pytest.mark.parametrize('delay', [0.4, 0.7, 1.3])
def test_a_bmc_that_is_slow_at_the_end_keeps_no_session(
        model_bmc, bridge, delay):
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    model_bmc.faults.answer_delay = delay
    bridge.close(spec.node)
    waiting.wait_until(lambda: not model_bmc.live_sessions,
                       'the slot is free',
                       seen=lambda: model_bmc.live_sessions)


def test_a_bmc_that_is_silent_to_whom_it_does_not_know_is_not_pestered(
        bridge):
    options = model.BmcOptions(unknown_user=model.Refusal.SILENT)
    with model.ModelBmcs(options) as (bmc,):
        spec = bridge_support.model_spec(bmc, username='nobody')
        status = bridge.open(spec)
        assert status['reason'] == Reason.BAD_CREDENTIALS, status
        assert status['next_try'] > 200


def test_our_own_session_of_before_an_outage_is_taken_over(
        model_bmc, bridge):
    spec = bridge_support.model_spec(model_bmc)
    session = bridge.connect(spec)['session']
    model_bmc.faults.black_hole = True
    bridge.wait_state(spec.node, 'waiting', 30)
    model_bmc.faults.black_hole = False
    waiting.wait_until(
        lambda: bridge.show(spec.node)['state'] == 'connected'
        and bridge.show(spec.node)['session'] != session,
        'a new session is connected', 30,
        seen=lambda: bridge.show(spec.node))
    waiting.wait_until(lambda: len(model_bmc.live_sessions) == 1,
                       'the old session is closed')
