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

"""The pool: what should be open is open, and what was closed is closed."""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import typing
import uuid

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole import exception
from ironic_solconsole import spec
from ironic_solconsole.driver import bridges
from ironic_solconsole.driver import keeper
from tests.support import processes
from tests.support import waiting
from tests.unit.driver import conftest
from tests.unit.driver.conftest import make_spec

#: Seconds that cover what promptly comes, on a busy machine.
SOON = 10.0


def is_open(pool: bridges.BridgePool, wanted: spec.ConsoleSpec) -> bool:
    return pool.url(wanted.node, wanted.generation) == wanted.url


def wait_open(pool: bridges.BridgePool, *specs: spec.ConsoleSpec) -> None:
    def missing() -> list[str]:
        return [wanted.node for wanted in specs
                if not is_open(pool, wanted)]

    waiting.wait_until(lambda: not missing(),
                       'consoles of these nodes confirmed open',
                       seen=missing)


def open_(pool: bridges.BridgePool, *specs: spec.ConsoleSpec) -> None:
    for wanted in specs:
        pool.open(wanted, wait=0.0, patience=SOON, budget=2 * SOON)


# Opening and closing

def test_no_process_runs_before_the_first_console(
        fake: conftest.FakeBridges) -> None:
    fake.pool()
    assert fake.pids() == []


def test_the_first_request_gives_the_options(
        fake: conftest.FakeBridges) -> None:
    open_(fake.pool(max_clients=5), make_spec())
    first, second = fake.requests()[:2]
    assert first['verb'] == 'configure'
    assert first['args'] == {'options': {'number': 0, 'max_clients': 5}}
    assert second['verb'] == 'open'


def test_a_bridge_is_told_which_ones_before_it_are_dead(
        fake: conftest.FakeBridges) -> None:
    open_(fake.pool(), make_spec())
    (pid,) = fake.pids()
    fake.kill(pid)
    waiting.wait_until(lambda: len(fake.requests('configure')) == 2,
                       'another bridge')
    told = fake.requests('configure')[1]['args']['options']['dead']
    assert told == [f'cond:{pid}:fake']


def test_an_open_console_has_a_url_for_its_generation_only(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    assert pool.url(wanted.node, wanted.generation) == ''
    status = pool.open(wanted, wait=0.5, patience=SOON, budget=20)
    assert status['state'] == 'connected'
    assert pool.url(wanted.node, wanted.generation) == wanted.url
    assert pool.url(wanted.node, 'another') == ''
    assert pool.url(str(uuid.uuid4()), wanted.generation) == ''
    (request,) = fake.requests('open')
    assert request['args'] == {
        'spec': json.loads(json.dumps(wanted.to_json())), 'wait': 0.5}


def test_a_closed_console_has_none(fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    pool.close(wanted.node, wanted.generation)
    assert not is_open(pool, wanted)
    assert fake.requests('close')[0]['args'] == {'node': wanted.node}


def test_a_console_may_be_parked(fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    pool.close(wanted.node, wanted.generation, park=3.0)
    (request,) = fake.requests('close')
    assert request['args'] == {'node': wanted.node, 'park': 3.0}
    assert not is_open(pool, wanted), 'a parked console is not open'
    assert pool.consoles() == []
    assert pool.ended(wanted.generation)
    with pytest.raises(keeper.GenerationEnded):
        pool.open(wanted)


def test_a_stop_for_good_follows_a_parked_console(
        fake: conftest.FakeBridges) -> None:
    pool, wanted, other = fake.pool(), make_spec(), make_spec(tcp_port=7001)
    open_(pool, wanted, other)
    pool.close(wanted.node, wanted.generation, park=30.0)
    pool.close(other.node, other.generation)
    pool.close(wanted.node, wanted.generation)
    assert [request['args'] for request in fake.requests('close')] == [
        {'node': wanted.node, 'park': 30.0}, {'node': other.node},
        {'node': wanted.node}]
    pool.close(wanted.node, wanted.generation)
    assert len(fake.requests('close')) == 3, 'it is gone for good'


def test_a_parked_console_is_forgotten_in_time(
        fake: conftest.FakeBridges) -> None:
    pool, wanted, other = fake.pool(), make_spec(), make_spec(tcp_port=7001)
    open_(pool, wanted, other)
    pool.close(wanted.node, wanted.generation, park=0.05)
    since = time.monotonic()
    waiting.wait_until(lambda: time.monotonic() - since > 0.05,
                       'the end of its time')
    pool.close(wanted.node, wanted.generation)
    assert len(fake.requests('close')) == 1


@pytest.mark.parametrize('order', ['hang', 'exit', 'garbage', 'refused'])
def test_a_bridge_that_does_not_confirm_that_it_parked_is_killed(
        fake: conftest.FakeBridges, order: str) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    (pid,) = fake.pids()
    fake.order(close=order)
    pool.close(wanted.node, wanted.generation, park=3.0)
    assert not processes.alive(pid)


def test_what_a_pass_closes_is_never_parked(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    assert pool.close_if(wanted.node, wanted.generation)
    (request,) = fake.requests('close')
    assert request['args'] == {'node': wanted.node}


def test_closing_what_is_not_open_asks_nobody(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    pool.close(wanted.node, wanted.generation)
    open_(pool, wanted2 := make_spec())
    pool.close(wanted.node, wanted.generation)
    assert not fake.requests('close')
    assert is_open(pool, wanted2)


def test_an_ended_generation_is_never_opened_again(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    pool.close(wanted.node, wanted.generation)
    with pytest.raises(keeper.GenerationEnded):
        open_(pool, wanted)
    assert pool.ended(wanted.generation)
    assert len(fake.requests('open')) == 1
    open_(pool, dataclasses.replace(wanted, generation='the next'))


def test_a_close_ends_the_generation_that_is_open_as_well(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    pool.close(wanted.node, '')
    assert pool.ended(wanted.generation)


def test_a_stop_before_the_first_start_counts(
        fake: conftest.FakeBridges) -> None:
    """A takeover pass with an old snapshot comes after the stop."""
    pool, wanted = fake.pool(), make_spec()
    pool.close(wanted.node, wanted.generation)
    with pytest.raises(keeper.GenerationEnded):
        open_(pool, wanted)


def test_ended_generations_are_bounded(
        fake: conftest.FakeBridges,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridges, 'MAX_ENDED', 10)
    pool = fake.pool()
    node = str(uuid.uuid4())
    for number in range(30):
        pool.close(node, f'g{number}')
    assert [pool.ended(f'g{number}') for number in (19, 20, 29)] == [
        False, True, True]


def test_a_changed_spec_is_told_to_the_bridge(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    moved = dataclasses.replace(wanted, tcp_port=7001, password='other')
    open_(pool, moved)
    assert pool.url(wanted.node, wanted.generation) == moved.url
    assert fake.requests('open')[-1]['args']['spec']['password'] == 'other'


def test_an_error_of_the_bridge_reaches_the_caller(
        fake: conftest.FakeBridges) -> None:
    pool = fake.pool()
    fake.order(open='bad-spec')
    with pytest.raises(exception.RequestRefused, match='refuse open'):
        open_(pool, make_spec())


def test_the_budget_cuts_the_wait(fake: conftest.FakeBridges) -> None:
    pool = fake.pool()
    open_(pool, make_spec())
    pool.open(make_spec(), wait=30.0, patience=5.0, budget=3.0)
    wait = fake.requests('open')[-1]['args']['wait']
    assert 0 < wait <= 3.0


def test_nodes_are_shared_among_bridges_by_their_uuid(
        fake: conftest.FakeBridges) -> None:
    pool = fake.pool(count=3)
    specs = [make_spec(str(uuid.UUID(int=n))) for n in range(9)]
    open_(pool, *specs)
    by_pid: dict[int, set[int]] = {}
    for request in fake.requests('open'):
        number = uuid.UUID(request['args']['spec']['node']).int
        by_pid.setdefault(request['pid'], set()).add(number)
    assert sorted(map(sorted, by_pid.values())) == [
        [0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_a_new_bridge_is_told_what_the_one_before_it_knew(
        fake: conftest.FakeBridges) -> None:
    """Else it could not tell its predecessor's session from a colleague's,
    and would knock again with credentials that were refused."""
    memory = {'activation': {'session': 7}, 'refused': 'x'}
    pool, console = fake.pool(), make_spec()
    open_(pool, console)
    fake.order(memory=memory)
    waiting.wait_until(lambda: len(fake.requests('ping')) > 3, 'a memory')
    (pid,) = fake.alive()
    os.kill(pid, signal.SIGKILL)
    waiting.wait_until(lambda: len(fake.requests('open')) == 2,
                       'the console opened again')
    first, second = fake.requests('open')
    assert 'memory' not in first['args']
    assert second['args']['memory'] == memory


# Many at once, and held until they are admitted

def test_many_are_opened_at_once(fake: conftest.FakeBridges) -> None:
    pool = fake.pool(count=2)
    specs = [make_spec(tcp_port=7000 + n) for n in range(700)]
    assert sorted(pool.open_many(specs, admit=True), key=id) == sorted(
        specs, key=id)
    wait_open(pool, *specs)
    assert len(fake.pids()) == 2, 'a bridge choked on them'
    assert len(fake.requests('open')) == len(specs)
    assert {console.spec for console in pool.consoles()} == set(specs)


def test_a_held_console_has_no_url_until_it_is_admitted(
        fake: conftest.FakeBridges) -> None:
    pool, one, two = fake.pool(), make_spec(), make_spec(tcp_port=7001)
    pool.open_many([one, two], admit=False)
    fake.wait_requests('ping', 3)
    assert [request['args']['admit'] for request in
            fake.requests('open')] == [False, False]
    assert not is_open(pool, one)
    pool.admit_many([one])
    wait_open(pool, one)
    assert not is_open(pool, two)
    (request,) = fake.requests('admit')
    assert request['args'] == {'consoles': [[one.node, one.generation]]}
    assert {console.node: console.admitted
            for console in pool.consoles()} == {
        one.node: True, two.node: False}


def test_a_new_bridge_holds_what_was_held(
        fake: conftest.FakeBridges) -> None:
    pool, held, free = fake.pool(), make_spec(), make_spec(tcp_port=7001)
    pool.open_many([held], admit=False)
    pool.open_many([free], admit=False)
    fake.wait_requests('open', 2)
    pool.admit_many([free])
    wait_open(pool, free)
    (pid,) = fake.alive()
    fake.kill(pid)
    fake.wait_requests('open', 4)
    assert {request['args']['spec']['node']:
            request['args'].get('admit', True)
            for request in fake.requests('open')[2:]} == {
        held.node: False, free.node: True}


def test_what_is_admitted_before_it_was_sent_is_never_held(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    fake.order(configure='slow')
    pool.open_many([wanted], admit=False)
    pool.admit_many([wanted])
    wait_open(pool, wanted)
    (request,) = fake.requests('open')
    assert 'admit' not in request['args']
    assert not fake.requests('admit')


@pytest.mark.parametrize('order', ['hang', 'unknown-verb', 'exit'])
def test_an_admission_that_is_not_confirmed_is_made_up_for(
        order: str, fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    pool.open_many([wanted], admit=False)
    fake.wait_requests('ping', 2)
    fake.order(admit=order)
    pool.admit_many([wanted])
    wait_open(pool, wanted)
    assert 'admit' not in fake.requests('open')[-1]['args']


def test_another_generation_is_not_admitted(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    pool.open_many([wanted], admit=False)
    fake.wait_requests('ping', 2)
    pool.admit_many([dataclasses.replace(wanted, generation='another')])
    assert not fake.requests('admit')
    assert not is_open(pool, wanted)


def test_a_start_admits_what_a_pass_holds(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    pool.open_many([wanted], admit=False)
    open_(pool, wanted)
    assert is_open(pool, wanted)


def test_an_update_does_not_hold_what_is_admitted(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    changed = dataclasses.replace(wanted, address='192.0.2.9')
    pool.open_many([changed], admit=False)
    fake.wait_requests('open', 2)
    assert 'admit' not in fake.requests('open')[-1]['args']
    assert is_open(pool, changed)


def test_an_ended_generation_is_not_opened_with_many(
        fake: conftest.FakeBridges) -> None:
    pool, ended, other = fake.pool(), make_spec(), make_spec(tcp_port=7001)
    pool.close(ended.node, ended.generation)
    assert pool.open_many([ended, other], admit=True) == [other]
    wait_open(pool, other)
    assert len(fake.requests('open')) == 1


def test_what_was_opened_later_is_neither_replaced_nor_closed(
        fake: conftest.FakeBridges) -> None:
    pool, before, wanted = fake.pool(), time.monotonic(), make_spec()
    open_(pool, wanted)
    old = dataclasses.replace(wanted, generation='old')
    assert pool.open_many([old], admit=False, before=before) == []
    assert not pool.close_if(wanted.node, wanted.generation, before)
    assert not pool.close_if(wanted.node, 'old')
    assert is_open(pool, wanted)
    assert pool.close_if(wanted.node, wanted.generation)
    assert not is_open(pool, wanted)


def test_what_only_moves_away_may_come_back(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    for _ in range(3):
        open_(pool, wanted)
        assert is_open(pool, wanted)
        assert pool.close_if(wanted.node, wanted.generation)
    assert len(fake.requests('close')) == 3
    assert not pool.ended(wanted.generation)


def test_a_console_that_moves_away_is_closed_for_sure(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    (pid,) = fake.alive()
    fake.order(close='hang')
    pool.close_if(wanted.node, wanted.generation)
    assert not processes.alive(pid)


def test_each_ping_tells_the_age_of_the_database(
        fake: conftest.FakeBridges) -> None:
    ages: list[float | None] = [1.5, None]
    pool = fake.pool(database_age=lambda: ages[0])
    open_(pool, make_spec())
    fake.wait_requests('ping', 2)
    assert fake.requests('ping')[0]['args'] == {'database_age': 1.5}
    ages.pop(0)
    waiting.wait_until(
        lambda: fake.requests('ping')[-1]['args'] == {'database_age': None},
        'another age')


# Off means off

def test_a_bridge_that_does_not_confirm_a_close_is_killed(
        fake: conftest.FakeBridges,
        caplog: pytest.LogCaptureFixture) -> None:
    pool, gone, stays = fake.pool(), make_spec(), make_spec(tcp_port=7001)
    open_(pool, gone, stays)
    (pid,) = fake.alive()
    fake.order(close='hang')
    pool.close(gone.node, gone.generation)
    assert not processes.alive(pid), 'it lives when stop_console returns'
    assert gone.node in caplog.text
    fake.order()
    wait_open(pool, stays)
    assert fake.alive() != [pid]
    reopened = [request['args']['spec']['node']
                for request in fake.requests('open')
                if request['pid'] != pid]
    assert set(reopened) == {stays.node}, 'what was closed stays closed'


@pytest.mark.parametrize('order', ['exit', 'garbage', 'bad-request'])
def test_whatever_else_a_close_meets_the_process_is_gone(
        order: str, fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    (pid,) = fake.alive()
    fake.order(close=order)
    pool.close(wanted.node, wanted.generation)
    assert not processes.alive(pid)


def test_a_close_at_a_bridge_that_is_stopped_does_not_hang(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    (pid,) = fake.alive()
    fake.kill(pid, signal.SIGSTOP)
    pool.close(wanted.node, wanted.generation)
    assert not processes.alive(pid)


def test_a_close_while_the_bridge_starts_is_not_undone(
        fake: conftest.FakeBridges) -> None:
    pool, wanted, other = fake.pool(), make_spec(), make_spec(tcp_port=7001)
    fake.order(configure='slow')
    for one in (wanted, other):
        with pytest.raises(exception.BridgeUnavailable, match='starting'):
            pool.open(one)
    pool.close(wanted.node, wanted.generation)
    wait_open(pool, other)
    opened = {request['args']['spec']['node']
              for request in fake.requests('open')}
    assert opened == {other.node}


def test_who_waits_for_a_bridge_is_told_of_a_close(
        fake: conftest.FakeBridges) -> None:
    timing = dataclasses.replace(conftest.TIMING, start_timeout=1.5)
    pool, wanted = fake.pool(timing=timing), make_spec()
    fake.order(configure='hang')
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            open_(pool, wanted)
        except exception.ControlError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    fake.wait_requests('configure', 1)
    pool.close(wanted.node, wanted.generation)
    thread.join(SOON)
    assert [type(error) for error in caught] == [keeper.GenerationEnded]


def test_no_open_follows_a_close_whatever_runs_beside(
        fake: conftest.FakeBridges) -> None:
    """Starts from snapshots race with stops of the same generation."""
    pool = fake.pool()
    keep = make_spec(tcp_port=7999)
    open_(pool, keep)
    stop = threading.Event()
    specs = [make_spec(tcp_port=7000 + n) for n in range(60)]
    current = [specs[0]]

    def takeover() -> None:
        while not stop.is_set():
            try:
                pool.open(current[0], patience=0.0)
            except exception.ControlError:
                pass

    threads = [threading.Thread(target=takeover) for _ in range(3)]
    for thread in threads:
        thread.start()
    for wanted in specs:
        current[0] = wanted
        time.sleep(0.002)
        pool.close(wanted.node, wanted.generation)
    stop.set()
    for thread in threads:
        thread.join(SOON)
    last: dict[str, str] = {}
    for request in fake.requests():
        if request['verb'] in ('open', 'close'):
            args = request['args']
            node = args.get('node') or args['spec']['node']
            last[node] = request['verb']
    wrong = [node for node, verb in last.items()
             if verb == 'open' and node != keep.node]
    assert not wrong, 'an open left after the close'


# Supervision

def test_a_bridge_that_dies_comes_back_with_its_consoles(
        fake: conftest.FakeBridges,
        caplog: pytest.LogCaptureFixture) -> None:
    pool = fake.pool()
    specs = [make_spec(tcp_port=7000 + n) for n in range(5)]
    open_(pool, *specs)
    (pid,) = fake.alive()
    fake.kill(pid)
    waiting.wait_until(lambda: not is_open(pool, specs[0]),
                       'the URL to be withdrawn')
    wait_open(pool, *specs)
    assert len(fake.pids()) == 2
    assert 'does not run' in caplog.text


def test_a_bridge_that_hangs_is_replaced(
        fake: conftest.FakeBridges,
        caplog: pytest.LogCaptureFixture) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    (pid,) = fake.alive()
    fake.kill(pid, signal.SIGSTOP)
    waiting.wait_until(lambda: not processes.alive(pid),
                       'end of the bridge that hangs')
    wait_open(pool, wanted)
    assert 'no answer to a ping' in caplog.text


def test_a_bridge_is_pinged_all_the_time(
        fake: conftest.FakeBridges) -> None:
    open_(fake.pool(), make_spec())
    fake.wait_requests('ping', 5)
    assert len(fake.pids()) == 1


def test_a_slow_answer_to_a_ping_is_not_a_hang(
        fake: conftest.FakeBridges) -> None:
    fake.order(ping='slow')
    open_(fake.pool(), make_spec())
    fake.wait_requests('ping', 4)
    assert len(fake.pids()) == 1


STOPPED: typing.Final = '''
import pathlib, sys, time
from ironic_solconsole.driver import bridges
from ironic_solconsole.driver import keeper
from tests.unit.driver import conftest
fakes = conftest.FakeBridges(pathlib.Path(sys.argv[1]))
pool = fakes.pool()
pool.open(conftest.make_spec(), patience=10, budget=20)
print('open', flush=True)
sys.stdin.read()
'''


def test_a_conductor_that_was_stopped_does_not_blame_its_bridge(
        fake: conftest.FakeBridges) -> None:
    root = pathlib.Path(__file__).parents[3]
    conductor = subprocess.Popen(
        [sys.executable, '-c', STOPPED, str(fake.directory)], cwd=root,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert conductor.stdout is not None
    assert conductor.stdin is not None
    try:
        assert conductor.stdout.readline() == b'open\n'
        for _ in range(3):
            conductor.send_signal(signal.SIGSTOP)
            time.sleep(3 * conftest.TIMING.ping_timeout)
            seen = len(fake.requests('ping'))
            conductor.send_signal(signal.SIGCONT)
            fake.wait_requests('ping', seen + 3)
        assert len(fake.pids()) == 1, 'the bridge was killed'
    finally:
        conductor.kill()
        conductor.wait(10)
        conductor.stdin.close()
        conductor.stdout.close()


def test_it_ends_after_its_last_console(fake: conftest.FakeBridges) -> None:
    pool, one, two = fake.pool(), make_spec(), make_spec(tcp_port=7001)
    open_(pool, one, two)
    pool.close(one.node, one.generation)
    waiting.always(fake.alive, 'the bridge runs while it has a console', 0.6)
    pool.close(two.node, two.generation)
    fake.wait_alive(0)
    assert fake.requests()[-1]['verb'] in ('ping', 'close')


def test_disabling_and_enabling_keeps_the_process(
        fake: conftest.FakeBridges) -> None:
    """What Nova does at each click on the console tab."""
    pool, wanted = fake.pool(), make_spec()
    for number in range(4):
        wanted = dataclasses.replace(wanted, generation=f'g{number}')
        open_(pool, wanted)
        pool.close(wanted.node, wanted.generation)
    assert len(fake.pids()) == 1


def test_an_open_after_the_end_starts_a_new_one(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    for number in range(3):
        wanted = dataclasses.replace(wanted, generation=f'g{number}')
        open_(pool, wanted)
        pool.close(wanted.node, wanted.generation)
        fake.wait_alive(0)
    assert len(fake.pids()) == 3


@pytest.mark.parametrize('order', ['exit', 'garbage', 'cannot-listen'])
def test_a_console_is_remembered_until_a_bridge_is_up(
        order: str, fake: conftest.FakeBridges,
        caplog: pytest.LogCaptureFixture) -> None:
    pool, wanted = fake.pool(), make_spec()
    fake.order(configure=order)
    with pytest.raises(exception.BridgeUnavailable):
        pool.open(wanted)
    fake.wait_requests('configure', 2)
    with pytest.raises(exception.BridgeUnavailable, match='does not run'):
        pool.open(wanted)
    fake.order()
    wait_open(pool, wanted)


def test_a_process_that_does_not_configure_is_replaced(
        fake: conftest.FakeBridges) -> None:
    timing = dataclasses.replace(conftest.TIMING, start_timeout=0.5)
    pool, wanted = fake.pool(timing=timing), make_spec()
    fake.order(configure='hang')
    with pytest.raises(exception.BridgeUnavailable):
        pool.open(wanted)
    fake.wait_requests('configure', 1)
    fake.order()
    wait_open(pool, wanted)
    assert len(fake.alive()) == 1


def test_who_can_wait_is_served_by_the_next_process(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, wanted)
    fake.kill(fake.alive()[0])
    status = pool.open(wanted, patience=SOON, budget=20)
    assert status['url'] == wanted.url


def test_an_open_that_is_not_answered_is_tried_again(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    fake.order(open='hang')
    with pytest.raises(exception.BridgeUnavailable, match='not answer'):
        open_(pool, wanted)
    fake.order()
    wait_open(pool, wanted)
    assert len(fake.pids()) == 1


def test_an_answer_for_another_port_is_not_believed(
        fake: conftest.FakeBridges,
        caplog: pytest.LogCaptureFixture) -> None:
    pool, wanted = fake.pool(), make_spec()
    fake.order(url='tcp://127.0.0.1:1')
    open_(pool, wanted)
    assert not is_open(pool, wanted)
    assert 'tcp://127.0.0.1:1' in caplog.text
    fake.order()
    wait_open(pool, wanted)


@given(st.integers(1, 100000))
def test_the_delay_grows_to_a_minute(crashes: int) -> None:
    delay = keeper.restart_delay(crashes, keeper.DEFAULT_TIMING)
    assert delay == min(60.0, 2.0 ** min(crashes - 1, 6))


# Ports in use

def test_a_port_in_use_is_tried_again(fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    fake.order(open='port-in-use')
    with pytest.raises(exception.PortInUse):
        open_(pool, wanted)
    assert not is_open(pool, wanted)
    fake.order()
    wait_open(pool, wanted)
    assert fake.lost == [], 'it must not be moved at once'


def test_a_port_that_stays_in_use_is_given_up(
        fake: conftest.FakeBridges) -> None:
    pool, wanted = fake.pool(), make_spec()
    open_(pool, make_spec(tcp_port=7001))
    fake.order(open='port-in-use')
    with pytest.raises(exception.PortInUse):
        open_(pool, wanted)
    began = time.monotonic()
    waiting.wait_until(lambda: fake.lost, 'the port to be given up')
    assert time.monotonic() - began > conftest.TIMING.port_patience / 2, (
        'our own bridge that is ending needs time')
    assert fake.lost[0] == (wanted.node, wanted.generation,
                            'ordered to refuse open')
    # and again and again: the conductor may not have had a worker free
    waiting.wait_until(lambda: len(fake.lost) > 1, 'another report')
    moved = dataclasses.replace(wanted, tcp_port=7002)
    fake.order()
    open_(pool, moved)
    assert is_open(pool, moved)


def test_a_trouble_is_logged_once(fake: conftest.FakeBridges,
                                  caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pool, wanted = fake.pool(), make_spec()
    fake.order(open='port-in-use')
    with pytest.raises(exception.PortInUse):
        open_(pool, wanted)
    fake.wait_requests('open', 5)
    assert caplog.text.count('is not open yet') == 1
    fake.order()
    wait_open(pool, wanted)
    waiting.wait_until(lambda: f'is open now, at {wanted.url}' in caplog.text,
                       'a word in the log', seen=lambda: caplog.text)


# The end

def test_shut_down_lets_bridges_end_and_starts_none(
        fake: conftest.FakeBridges) -> None:
    pool = fake.pool(count=2)
    specs = [make_spec(str(uuid.UUID(int=n))) for n in range(2)]
    open_(pool, *specs)
    assert len(fake.alive()) == 2
    pool.shut_down()
    assert fake.alive() == []
    with pytest.raises(exception.BridgeUnavailable, match='shutting down'):
        open_(pool, specs[0])
    pool.close(specs[0].node, specs[0].generation)
    waiting.always(lambda: not fake.alive(),
                   'no bridge is started any more', 0.5)


def test_shut_down_waits_for_no_bridge_that_hangs(
        fake: conftest.FakeBridges) -> None:
    pool = fake.pool()
    open_(pool, make_spec())
    fake.order(eof='hang')
    pool.shut_down()
    assert fake.alive() == []


def test_shut_down_during_the_backoff(fake: conftest.FakeBridges) -> None:
    timing = dataclasses.replace(conftest.TIMING, backoff=60.0,
                                 max_backoff=60.0)
    pool, wanted = fake.pool(timing=timing), make_spec()
    fake.order(configure='exit')
    with pytest.raises(exception.BridgeUnavailable):
        pool.open(wanted)
    waiting.wait_until(
        lambda: 'does not run' in trouble(pool, wanted), 'the backoff')
    pool.shut_down()


def trouble(pool: bridges.BridgePool, wanted: spec.ConsoleSpec) -> str:
    try:
        pool.open(wanted)
    except exception.ControlError as error:
        return str(error)
    return ''


def test_no_secret_is_in_any_log(
        fake: conftest.FakeBridges,
        caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pool = fake.pool()
    wanted = make_spec(password='hunter2', kg='C0FFEE')
    trials: list[dict[str, str]] = [
        {}, {'open': 'bad-spec'}, {'open': 'garbage'}, {'close': 'hang'}]
    for orders in trials:
        fake.order(**orders)
        wanted = dataclasses.replace(wanted, generation=uuid.uuid4().hex)
        with contextlib.suppress(exception.ControlError):
            pool.open(wanted, patience=0.5, budget=1.0)
        pool.close(wanted.node, wanted.generation)
    for secret in ('hunter2', 'C0FFEE'):
        assert secret not in caplog.text
