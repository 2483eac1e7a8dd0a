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

"""A link comes back by itself, tells why it was gone, and leaves nothing."""

import dataclasses

import pytest

from ironic_solconsole import exception
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ports
from tests.support import processes
from tests.support import viewers
from tests.support import waiting

Reason = exception.Reason


def break_and_mend(how, bmc):
    """Something that happens to a BMC, what we say of it, and its end."""
    faults, sol = bmc.faults, bmc.settings.sol

    def black_hole():
        faults.black_hole = True

    def see_again():
        faults.black_hole = False

    return {
        'black hole': (black_hole, {Reason.UNREACHABLE}, see_again),
        'reboot': (bmc.reboot, None, None),
        'deactivated': (bmc.deactivate, None, None),
        'SOL disabled': (
            lambda: bmc.set_sol_enabled(False), {Reason.SOL_DISABLED},
            lambda: bmc.set_sol_enabled(True)),
        'privilege lost': (
            lambda: (setattr(sol, 'level', 5), bmc.reboot()),
            {Reason.PRIVILEGE}, lambda: setattr(sol, 'level', 2)),
    }[how]


@pytest.mark.parametrize('how', [
    'black hole', 'reboot', 'deactivated', 'SOL disabled',
    'privilege lost'])
def test_it_comes_back_by_itself_and_viewers_stay(model_bmc, bridge, how):
    bmc = model_bmc
    spec = bridge_support.model_spec(bmc)
    session = bridge.connect(spec)['session']
    with viewers.Viewer(spec.url) as viewer:
        happen, reasons, mend = break_and_mend(how, bmc)
        happen()
        if reasons is not None:
            # At first it only knows that it lost the console.
            waiting.wait_until(
                lambda: bridge.show(spec.node)['reason'] in reasons,
                f'{reasons} as the reason', 60,
                seen=lambda: bridge.show(spec.node))
            assert bridge.show(spec.node)['detail']
            viewer.wait_for(b'[solconsole: the console ')
            assert mend is not None
            mend()
            # A person who comes back does not have to wait for a backoff.
            with viewers.Viewer(spec.url):
                bridge.wait_state(spec.node, 'connected', 30)
        waiting.wait_until(
            lambda: bridge.show(spec.node)['state'] == 'connected'
            and bridge.show(spec.node)['session'] != session,
            'a new session is connected', 60,
            seen=lambda: bridge.show(spec.node))
        viewer.wait_for(b'[solconsole: connected]')
        viewer.clear()
        viewer.send(b'back')
        waiting.wait_until(lambda: bmc.host.received.endswith(b'back'),
                           'input at the host', seen=lambda:
                           bmc.host.received)
        bmc.host.send(b'welcome')
        viewer.wait_for(b'welcome')
        assert not viewer.closed


def test_a_host_that_is_off_is_told_and_what_is_typed_is_dropped(
        model_bmc, bridge):
    bmc = model_bmc
    spec = bridge_support.model_spec(bmc)
    session = bridge.connect(spec)['session']
    with viewers.Viewer(spec.url) as viewer:
        bmc.power(False)
        viewer.send(b'rm -rf /\r')
        viewer.wait_for(b'[solconsole: the machine is powered off]')
        status = bridge.show(spec.node)
        assert (status['state'], status['reason']) == (
            'connected', Reason.POWERED_OFF)
        bmc.power(True)
        waiting.wait_until(
            lambda: bridge.show(spec.node)['reason'] == '',
            'the host is on again', seen=lambda: bridge.show(spec.node))
        viewer.send(b'ls\r')
        bmc.host.wait_received(b'ls\r')
    assert bridge.show(spec.node)['session'] == session


def test_a_changed_password_is_taken_up_at_once(model_bmc, bridge):
    bmc = model_bmc
    spec = bridge_support.model_spec(bmc)
    bridge.connect(spec)
    bmc.settings.users = [
        dataclasses.replace(user, password='changed')
        if user.name == 'admin' else user for user in bmc.settings.users]
    bmc.reboot()
    waiting.wait_until(
        lambda: bridge.show(spec.node)['reason'] == Reason.BAD_CREDENTIALS,
        'bad credentials as the reason', 30,
        seen=lambda: bridge.show(spec.node))
    assert bridge.show(spec.node)['next_try'] > 200, (
        'an account may be locked')
    bridge.open(dataclasses.replace(spec, password='changed'))
    bridge.wait_state(spec.node, 'connected')


def cycles_of_addresses(bmc, bridge, count):
    """Bad address, good address; gives memory and files at the ends."""
    good = bridge_support.model_spec(bmc)
    bad = dataclasses.replace(good, port=ports.free_port())
    sizes = []
    with viewers.Viewer(good.url) if bridge.connect(good) else None as stay:
        for number in range(count):
            bridge.open(bad, wait=0)
            bridge.wait_state(good.node, 'waiting')
            bridge.open(good)
            bridge.wait_state(good.node, 'connected', 30)
            if number >= min(10, count // 2):   # after warming up
                sizes.append((processes.memory_kib(bridge.pid),
                              processes.open_files(bridge.pid)))
        assert not stay.closed
    return sizes


def check_no_growth(bmc, bridge, sizes):
    files = {size[1] for size in sizes}
    assert max(files) - min(files) <= 2, f'open files: {sorted(files)}'
    grown = sizes[-1][0] - sizes[0][0]
    assert grown < 512, f'the bridge grew by {grown} KiB'
    # Ours, and one that is just being left.
    assert len(bmc.live_sessions) <= 2, bmc.live_sessions
    assert bmc.pending_logins == 0


def test_addresses_that_go_bad_and_good_leave_nothing_behind(
        model_bmc, bridge):
    check_no_growth(model_bmc, bridge,
                    cycles_of_addresses(model_bmc, bridge, 12))


@pytest.mark.long
def test_a_hundred_bad_addresses_leave_nothing_behind(model_bmc, bridge):
    check_no_growth(model_bmc, bridge,
                    cycles_of_addresses(model_bmc, bridge, 110))


def test_a_state_is_logged_once_a_change_and_not_once_a_try(
        model_bmc, bridge):
    bmc = model_bmc
    bmc.faults.black_hole = True
    spec = bridge_support.model_spec(bmc)
    bridge.open(spec)
    for _ in range(3):
        with viewers.Viewer(spec.url):
            bridge.wait_state(spec.node, 'connecting')
            bridge.wait_state(spec.node, 'waiting')
    assert len(bridge.logged('unreachable')) == 1, bridge.logs


def exact_streams(bmcs, bridge, size, timeout):
    """Text both ways over every console at once, byte for byte."""
    specs = [bridge_support.model_spec(bmc) for bmc in bmcs]
    for status in bridge.open_all(specs, wait=30):
        bridge.wait_state(status['node'], 'connected', 60)
    people = [viewers.Viewer(spec.url) for spec in specs]
    try:
        waiting.wait_until(
            lambda: all(bridge.show(spec.node)['viewers'] == 1
                        for spec in specs), 'a viewer at each console')
        texts = [hosts.text(size, f'host{number}')
                 for number in range(len(bmcs))]
        pastes = [hosts.text(size // 4, f'person{number}')
                  for number in range(len(bmcs))]
        for bmc, person, text, paste in zip(bmcs, people, texts, pastes):
            bmc.host.send(text)
            person.send(paste)
        for bmc, person, text, paste in zip(bmcs, people, texts, pastes):
            person.wait_exactly(text, timeout)
            bmc.host.wait_received(paste, timeout)
    finally:
        for person in people:
            person.close()


def test_streams_are_exact_over_a_bad_network(bridge):
    with model.ModelBmcs(8) as bmcs:
        for bmc in bmcs:
            bmc.faults.both(drop=0.02, reorder=0.02, duplicate=0.01)
        exact_streams(bmcs, bridge, 20_000, 120)
        assert sum(bmc.journal.sol_retries_out for bmc in bmcs) > 0


@pytest.mark.long
def test_200_streams_are_exact_over_a_bad_network(bridge):
    with model.ModelBmcs(200) as bmcs:
        for bmc in bmcs:
            bmc.faults.both(drop=0.02, reorder=0.02)
        exact_streams(bmcs, bridge, 20_000, 300)


def test_garbage_and_forgeries_crash_and_change_nothing(bridge):
    with model.ModelBmcs(2) as bmcs:
        for bmc in bmcs:
            bmc.faults.both(garbage=0.5, forge=0.5, truncate=0.02,
                            mutate=0.02)
        exact_streams(bmcs, bridge, 20_000, 120)


@pytest.mark.parametrize('bad', ['black hole', 'garbage', 'slow', 'stuck'])
def test_one_bad_console_is_not_noticed_by_another(bridge, bad):
    with model.ModelBmcs(2) as (good, ill):
        ill_spec = bridge_support.model_spec(ill)
        bridge.connect(ill_spec)
        spec = bridge_support.model_spec(good)
        bridge.connect(spec)
        with viewers.Viewer(ill_spec.url) as hangs, viewers.Viewer(
                spec.url) as person:
            waiting.wait_until(
                lambda: all(c['viewers'] == 1 for c in bridge.consoles()),
                'a viewer at each console')
            if bad == 'black hole':
                ill.faults.black_hole = True
            elif bad == 'garbage':
                ill.faults.both(garbage=1.0, forge=1.0, mutate=0.5)
            elif bad == 'slow':
                ill.faults.answer_delay = 3.0
            else:
                hangs.stop_reading()
            ill.host.send(hosts.text(200_000))
            text, paste = hosts.text(100_000), hosts.text(20_000)
            good.host.send(text)
            person.send(paste)
            person.wait_exactly(text, 60)
            good.host.wait_received(paste, 60)
        assert not bridge.logged('held up')


@pytest.mark.long
def test_200_streaming_consoles_do_not_notice_three_bad_ones(bridge):
    """A black hole, a babbler and a slow one, and a viewer that hangs."""
    with model.ModelBmcs(204) as bmcs:
        bad = bmcs[:4]
        for bmc in bad:
            bridge.connect(bridge_support.model_spec(bmc))
        with viewers.Viewer(bridge.consoles()[3]['url']) as hangs:
            hangs.stop_reading()
            bad[0].faults.black_hole = True
            bad[1].faults.both(garbage=1.0, forge=1.0, mutate=0.5)
            bad[2].faults.answer_delay = 3.0
            for bmc in bad[1:]:
                bmc.host.send(hosts.text(200_000))
            exact_streams(bmcs[4:], bridge, 20_000, 300)
        assert not bridge.logged('held up'), bridge.logged('held up')
