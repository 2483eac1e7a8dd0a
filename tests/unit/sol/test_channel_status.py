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

"""Byte 4: what the BMC says of itself, and what is never said to it."""

import hypothesis
from hypothesis import strategies
import pytest

from ironic_solconsole.sol.channel import Available
from ironic_solconsole.sol.channel import BreakReceived
from ironic_solconsole.sol.channel import DataReceived
from ironic_solconsole.sol.channel import Deactivated
from ironic_solconsole.sol.channel import InputAccepted
from ironic_solconsole.sol.channel import Overrun
from ironic_solconsole.sol.channel import State
from ironic_solconsole.sol.channel import Unavailable
from tests.unit.sol.bench import BREAK_DETECTED
from tests.unit.sol.bench import DEACTIVATED
from tests.unit.sol.bench import NACK
from tests.unit.sol.bench import OVERRUN
from tests.unit.sol.bench import UNAVAILABLE
from tests.unit.sol.bench import Bench
from tests.unit.sol.bench import ack
from tests.unit.sol.bench import data

# Break (04h)

def test_a_break_of_the_host_is_reported_after_the_data_it_came_with():
    bench = Bench()
    bench.bmc_sends(1, b'x', status=BREAK_DETECTED)
    bench.expect_events(DataReceived(b'x'), BreakReceived())


def test_a_break_of_the_host_may_come_in_a_packet_without_characters():
    bench = Bench()
    bench.bmc_sends(1, status=BREAK_DETECTED)
    bench.expect_sent(ack(1, 0))
    bench.expect_events(BreakReceived())


def test_a_break_of_the_host_may_come_in_a_packet_without_a_number():
    bench = Bench()
    bench.bmc_sends(status=BREAK_DETECTED)
    bench.expect_sent()
    bench.expect_events(BreakReceived())


# Overrun (08h)

def test_an_overrun_is_reported_before_the_data_it_came_with():
    bench = Bench()
    bench.bmc_sends(1, b'x', status=OVERRUN)
    bench.expect_events(Overrun(), DataReceived(b'x'))
    assert bench.channel.overruns == 1


def test_an_overrun_may_come_in_a_packet_without_a_number():
    bench = Bench()
    bench.bmc_sends(status=OVERRUN)
    bench.expect_events(Overrun())
    assert bench.channel.overruns == 1


def test_an_overrun_after_packets_given_up_is_one_overrun():
    bench = Bench()
    bench.bmc_sends(1, b'x')
    bench.bmc_sends(3, b'y', status=OVERRUN)
    bench.expect_events(DataReceived(b'x'), Overrun(), DataReceived(b'y'))


def test_an_overrun_in_a_pause_is_told_when_its_data_is_taken():
    bench = Bench()
    bench.bmc_sends(1, b'x')
    bench.channel.pause_receiving()
    bench.bmc_sends(3, b'y', status=OVERRUN)
    bench.expect_events(DataReceived(b'x'), Overrun())      # 2 is missing
    bench.channel.resume_receiving()
    bench.bmc_sends(3, b'y', status=OVERRUN)
    bench.expect_events(Overrun(), DataReceived(b'y'))


# Both, in retries

@pytest.mark.parametrize(('status', 'event'), [
    (BREAK_DETECTED, BreakReceived()), (OVERRUN, Overrun())])
def test_a_retry_reports_nothing_again(status, event):
    bench = Bench()
    for _ in range(3):
        bench.bmc_sends(1, status=status)
    bench.expect_events(event)


@pytest.mark.parametrize(('status', 'event'), [
    (BREAK_DETECTED, BreakReceived()), (OVERRUN, Overrun())])
def test_what_a_retry_adds_is_reported_once(status, event):
    bench = Bench()
    bench.bmc_sends(1, b'x')
    for _ in range(3):
        bench.bmc_sends(1, b'x', status=status)
    bench.expect_events(DataReceived(b'x'), event)


@pytest.mark.parametrize(('status', 'event'), [
    (BREAK_DETECTED, BreakReceived()), (OVERRUN, Overrun())])
def test_in_a_pause_nothing_is_reported_until_the_packet_is_taken(
        status, event):
    bench = Bench()
    bench.channel.pause_receiving()
    bench.bmc_sends(1, status=status)
    bench.expect_events()
    bench.channel.resume_receiving()
    bench.bmc_sends(1, status=status)
    bench.expect_events(event)


# Character transfer unavailable (20h)

@pytest.mark.parametrize('number', [0, 1])
def test_that_the_host_is_off_and_on_is_reported_once_a_change(number):
    bench = Bench()
    for turn in range(3):
        bench.bmc_sends(number and 2 * turn + 1, status=UNAVAILABLE)
        bench.bmc_sends(number and 2 * turn + 1, status=UNAVAILABLE)
        bench.expect_events(Unavailable())
        assert bench.channel.unavailable
        bench.bmc_sends(number and 2 * turn + 2)
        bench.bmc_sends(number and 2 * turn + 2)
        bench.expect_events(Available())
        assert not bench.channel.unavailable


def test_a_channel_begins_with_the_host_taken_for_on():
    bench = Bench()
    bench.bmc_sends(1, b'x')
    bench.expect_events(DataReceived(b'x'))


def test_data_of_a_host_that_is_going_off_counts():
    bench = Bench()
    bench.bmc_sends(1, b'bye', status=UNAVAILABLE)
    bench.expect_sent(ack(1, 3))
    bench.expect_events(DataReceived(b'bye'), Unavailable())


def test_that_the_host_is_off_is_heard_in_a_pause():
    bench = Bench()
    bench.channel.pause_receiving()
    bench.bmc_sends(1, b'bye', status=UNAVAILABLE)
    bench.expect_sent()
    bench.expect_events(Unavailable())


def test_a_packet_from_the_past_does_not_say_whether_the_host_is_on():
    bench = Bench()
    bench.bmc_sends(5, b'x', status=UNAVAILABLE)
    bench.expect_events(DataReceived(b'x'), Unavailable())
    bench.bmc_sends(4, b'old')
    bench.expect_events()
    bench.bmc_sends(6)
    bench.bmc_sends(5, b'x', status=UNAVAILABLE)
    bench.bmc_sends(5, b'x', status=UNAVAILABLE)
    bench.expect_events(Available())


# SOL deactivated (10h)

@pytest.mark.parametrize('input_', [b'', b'x'])
@pytest.mark.parametrize('acks', [0, 1, 2, 3])
@pytest.mark.parametrize('number', [0, 1])
@pytest.mark.parametrize('paused', [False, True])
def test_a_deactivation_closes_the_channel_whatever_it_comes_with(
        paused, number, acks, input_):
    bench = Bench()
    bench.busy = True       # nor is what it was about to send
    bench.types(input_)
    if paused:
        bench.channel.pause_receiving()
    bench.bmc_sends(number, acks=acks, count=1, status=DEACTIVATED)
    assert bench.events()[-1] == Deactivated()
    bench.expect_closed()


def test_data_and_acknowledgment_that_come_with_a_deactivation_count():
    bench = Bench()
    bench.types(b'abc')
    bench.sent()
    bench.bmc_sends(1, b'bye', acks=2, count=2, status=DEACTIVATED)
    bench.expect_events(
        DataReceived(b'bye'), InputAccepted(2), Deactivated())
    bench.expect_closed()
    assert bench.channel.pending == 1
    assert bench.channel.bytes_received == 3
    assert bench.channel.bytes_accepted == 2


def test_a_deactivation_may_come_in_a_retry_or_in_an_old_packet():
    for number in (4, 5):
        bench = Bench()
        bench.bmc_sends(5, b'x')
        bench.sent()
        bench.bmc_sends(number, b'x', status=DEACTIVATED)
        bench.expect_events(DataReceived(b'x'), Deactivated())
        bench.expect_closed()


def test_a_deactivation_may_come_before_the_activations_answer():
    bench = Bench(activated=False)
    bench.types(b'x')
    bench.bmc_sends(status=DEACTIVATED)
    bench.expect_events(Deactivated())
    bench.activate()
    bench.expect_closed()


def test_a_deactivation_counts_although_it_says_nack():
    bench = Bench()
    bench.busy = True
    bench.types(b'x')
    bench.bmc_sends(acks=2, status=NACK | DEACTIVATED)
    bench.expect_events(Deactivated())
    bench.expect_closed()
    assert bench.channel.pending == 1


# NACK (40h) is in test_channel_input.py; the rest means nothing

@pytest.mark.parametrize('status', [0x80, 0x02, 0x01, 0x83, NACK])
def test_bits_that_mean_nothing_here_change_nothing(status):
    bench = Bench()
    bench.types(b'x')
    bench.sent()
    bench.bmc_sends(status=status)
    bench.expect_nothing()
    bench.bmc_sends(1, b'y', status=status)
    bench.expect_sent(ack(1, 1))
    bench.expect_events(DataReceived(b'y'))
    assert bench.channel.state is State.OPEN
    assert bench.channel.pending == 1


@pytest.mark.parametrize('status', range(256))
def test_every_status_is_understood_bit_by_bit(status):
    bench = Bench()
    bench.types(b'abc')
    bench.sent()
    bench.bmc_sends(1, b'x', acks=2, count=3, status=status)
    events = bench.events()
    assert (Overrun() in events) == bool(status & OVERRUN)
    assert (BreakReceived() in events) == bool(status & BREAK_DETECTED)
    assert (Unavailable() in events) == bool(status & UNAVAILABLE)
    assert (Deactivated() in events) == bool(status & DEACTIVATED)
    assert DataReceived(b'x') in events
    assert InputAccepted(3) in events
    assert bench.channel.nacks == bool(status & NACK)


# What goes to the BMC

@hypothesis.settings(deadline=None)
@hypothesis.given(strategies.lists(strategies.one_of(
    strategies.tuples(strategies.just('type'), strategies.integers(0, 40)),
    strategies.tuples(strategies.just('break'), strategies.just(0)),
    strategies.tuples(strategies.just('bmc'),
                      strategies.binary(min_size=4, max_size=8)),
    strategies.tuples(strategies.just('pass'), strategies.floats(0, 2)))))
def test_only_a_break_sets_an_operation_and_nothing_else_is_ever_set(steps):
    bench = Bench(activated=False)
    bench.activate()
    for step, value in steps:
        if step == 'type':
            bench.types(b'x' * value)
        elif step == 'break':
            bench.sends_break()
        elif step == 'bmc':
            bench.bmc_sends_bytes(value)
        else:
            bench.passes(value)
        for packet in bench.sent():
            if packet.acks:
                # An acknowledgment; it must not be acknowledged itself.
                assert packet.number == packet.operation == 0
                assert packet.data == b''
            elif packet.operation:
                assert packet == (packet.number, 0, 0, 0x10, b'')
                assert 1 <= packet.number <= 15
            else:
                assert packet == data(packet.number, packet.data)
                assert 1 <= packet.number <= 15
