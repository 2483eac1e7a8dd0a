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

"""What people type: packets to the BMC, and how it answers them."""

import pytest

from ironic_solconsole.sol import channel
from ironic_solconsole.sol.channel import DataReceived
from ironic_solconsole.sol.channel import InputAccepted
from ironic_solconsole.sol.channel import InputDropped
from ironic_solconsole.sol.channel import Lost
from ironic_solconsole.sol.channel import Unavailable
from tests.unit.sol.bench import NACK
from tests.unit.sol.bench import SIZE
from tests.unit.sol.bench import UNAVAILABLE
from tests.unit.sol.bench import Bench
from tests.unit.sol.bench import ack
from tests.unit.sol.bench import data
from tests.unit.sol.bench import serial_break

# The empty packet that opens an activation

def test_the_first_packet_is_empty_and_has_number_1():
    bench = Bench(activated=False)
    bench.activate()
    bench.expect_sent(data(1, b''))


def test_input_waits_until_the_empty_packet_is_acknowledged():
    bench = Bench(activated=False)
    bench.activate()
    bench.types(b'x')
    bench.expect_sent(data(1, b''))
    bench.bmc_sends(acks=1)
    bench.expect_sent(data(2, b'x'))


def test_a_bmc_that_remembers_the_last_activation_drops_no_input():
    # OpenIPMI's lanserv takes number 1 for a retry and answers with what it
    # accepted then.
    bench = Bench(activated=False)
    bench.types(b'first')
    bench.activate()
    bench.sent()
    bench.bmc_sends(acks=1, count=32)
    bench.expect_sent(data(2, b'first'))
    bench.expect_events()
    assert bench.channel.pending == 5


def test_the_empty_packet_is_sent_again_where_it_was_lost():
    bench = Bench(activated=False)
    bench.activate()
    bench.sent()
    bench.passes(0.3)
    bench.expect_sent(data(1, b''))
    bench.bmc_sends(acks=1)
    bench.types(b'x')
    bench.expect_sent(data(2, b'x'))


def test_a_bmc_that_never_acknowledges_the_empty_packet_gets_input():
    bench = Bench(activated=False)
    bench.activate()
    bench.types(b'x')
    bench.expect_sent(data(1, b''))
    bench.passes(1.7)
    bench.expect_sent(data(1, b''), data(1, b''))
    bench.expect_events()
    bench.passes(0.1)
    bench.expect_sent(data(2, b'x'))
    bench.bmc_sends(acks=2, count=1)
    bench.expect_events(InputAccepted(1))


def test_an_idle_channel_is_not_lost_for_the_empty_packets_sake():
    bench = Bench(activated=False)
    bench.activate()
    bench.passes(60)
    bench.expect_events()
    assert bench.channel.next_timer() is None
    assert bench.channel.state is channel.State.OPEN


def test_a_bmc_that_refuses_the_empty_packet_gets_input_at_once():
    bench = Bench(activated=False)
    bench.activate()
    bench.types(b'x')
    bench.sent()
    bench.bmc_sends(acks=1, status=NACK)
    bench.expect_sent(data(2, b'x'))


def test_a_host_that_is_off_is_known_from_the_empty_packet():
    bench = Bench(activated=False)
    bench.types(b'x')
    bench.activate()
    bench.sent()
    bench.bmc_sends(acks=1, status=NACK | UNAVAILABLE)
    bench.expect_events(
        Unavailable(), InputDropped(1, 'the host is powered off'))
    bench.expect_sent()


# Numbers, and one packet at a time

def test_the_next_packet_waits_for_the_acknowledgment_of_the_last():
    bench = Bench()
    bench.types(b'a')
    bench.types(b'b')
    bench.types(b'c')
    bench.expect_sent(data(2, b'a'))
    bench.bmc_sends(acks=2, count=1)
    bench.expect_sent(data(3, b'bc'))
    bench.expect_events(InputAccepted(1))
    bench.bmc_sends(acks=3, count=2)
    bench.expect_events(InputAccepted(2))
    bench.expect_sent()
    assert bench.channel.bytes_accepted == 3


def test_the_numbers_go_from_1_to_15_and_round():
    bench = Bench()
    numbers = []
    for _ in range(31):
        bench.types(b'x')
        packet, = bench.sent()
        numbers.append(packet.number)
        bench.bmc_sends(acks=packet.number, count=1)
    assert numbers == [turn % 15 + 1 for turn in range(1, 32)]


@pytest.mark.parametrize('first', range(1, 16))
def test_the_first_number_can_be_chosen(first):
    sol = channel.SolChannel(first_sequence=first)
    sol.activated(SIZE, 0.0)
    assert sol.data_to_send() == [bytes((first, 0, 0, 0))]


@pytest.mark.parametrize('first', [-1, 0, 16, 255])
def test_a_first_number_that_cannot_be_is_refused(first):
    with pytest.raises(ValueError, match='must be 1 to 15'):
        channel.SolChannel(first_sequence=first)


def test_empty_input_sends_nothing():
    bench = Bench()
    assert bench.types(b'') == 0
    bench.expect_nothing()
    assert bench.channel.next_timer() is None


# Sizes

@pytest.mark.parametrize(('size', 'characters'), [
    pytest.param(0, 32, id='nothing'),
    pytest.param(1, 32, id='less than the header, or 256 swapped'),
    pytest.param(4, 32, id='the header alone'),
    pytest.param(5, 1, id='the least there is room for'),
    pytest.param(32, 28, id='OpenIPMI'),
    pytest.param(68, 64, id='64 characters'),
    pytest.param(255, 251, id='OpenBMC'),
    pytest.param(258, 254, id='one less than the most'),
    pytest.param(259, 255, id='the most a packet can have'),
    pytest.param(260, 255, id='more than a packet can have'),
    pytest.param(1024, 255, id='AMI'),
    pytest.param(1472, 255, id='a datagram'),
    pytest.param(1473, 32, id='more than a datagram, not better swapped'),
    pytest.param(0xff00, 251, id='255 swapped'),
    pytest.param(0x2000, 28, id='32 swapped'),
    pytest.param(0x0301, 255, id='259 swapped'),
    pytest.param(0x0400, 255, id='4 swapped'),
    pytest.param(0x8000, 124, id='128 swapped'),
    pytest.param(0xffff, 32, id='flash memory never written'),
    pytest.param(-1, 32, id='below nothing'),
    pytest.param(1 << 40, 32, id='beyond two bytes'),
])
def test_a_packet_carries_what_the_bmc_takes_or_a_sane_size(size, characters):
    bench = Bench(size=size)
    bench.types(b'x' * 600)
    bench.expect_sent(data(2, b'x' * characters))
    assert bench.channel.characters == characters
    assert channel.characters_per_packet(size) == characters


# Acceptance

def test_the_rest_of_a_partly_accepted_packet_goes_first_and_at_once():
    bench = Bench()
    bench.types(b'abcdef')
    bench.types(b'ghi')
    bench.expect_sent(data(2, b'abcdef'))
    bench.bmc_sends(acks=2, count=4)
    bench.expect_events(InputAccepted(4))
    bench.expect_sent(data(3, b'efghi'))
    bench.bmc_sends(acks=3, count=5)
    bench.expect_events(InputAccepted(5))
    assert bench.channel.pending == 0


def test_a_bmc_that_takes_one_character_a_packet_gets_all_of_them():
    bench = Bench()
    bench.types(b'paste me')
    taken = b''
    while packets := bench.sent():
        taken += packets[0].data[:1]
        bench.bmc_sends(acks=packets[0].number, count=1)
    assert taken == b'paste me'


def test_more_accepted_than_was_sent_counts_as_what_was_sent():
    bench = Bench()
    bench.types(b'ab')
    bench.types(b'cd')
    bench.sent()
    bench.bmc_sends(acks=2, count=255)
    bench.expect_events(InputAccepted(2))
    bench.expect_sent(data(3, b'cd'))


def test_nothing_accepted_has_the_rest_wait_a_moment_that_grows():
    bench = Bench()
    bench.types(b'x')
    delays = []
    for _ in range(8):
        packet, = bench.sent()
        bench.bmc_sends(acks=packet.number, count=0)
        bench.expect_nothing()
        delays.append(bench.waits())
    assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    packet, = bench.sent()
    assert packet == data(10, b'x')
    bench.bmc_sends(acks=10, count=1)
    bench.expect_events(InputAccepted(1))
    bench.types(b'y')
    bench.sent()
    bench.bmc_sends(acks=11, count=0)
    assert bench.waits() == 0.05


def test_what_is_typed_while_the_bmc_is_full_waits_its_turn():
    bench = Bench()
    bench.types(b'x')
    bench.sent()
    bench.bmc_sends(acks=2, count=0)
    bench.types(b'y')
    bench.expect_sent()
    bench.passes(0.05)
    bench.expect_sent(data(3, b'xy'))


def test_an_acknowledgment_of_another_number_is_ignored():
    bench = Bench()
    bench.types(b'x')
    bench.types(b'y')
    bench.sent()
    due = bench.channel.next_timer()
    for number in (1, 3, 4, 15):
        bench.bmc_sends(acks=number, count=1)
    bench.expect_nothing()
    assert bench.channel.next_timer() == due
    assert bench.channel.stray_acks == 4


def test_an_acknowledgment_that_comes_twice_counts_once():
    bench = Bench()
    bench.types(b'ab')
    bench.types(b'cd')
    bench.sent()
    for _ in range(2):
        bench.bmc_sends(acks=2, count=2)
    bench.expect_events(InputAccepted(2))
    bench.expect_sent(data(3, b'cd'))
    assert bench.channel.pending == 2


def test_an_acknowledgment_repeated_by_a_retry_of_data_is_old_news():
    # OpenBMC sends the same bytes again, while 15 packets of a paste may
    # have been acknowledged.
    bench = Bench()
    bench.types(b'a')
    bench.bmc_sends(1, b'data', acks=2, count=1)
    for number in [*range(3, 16), 1]:
        bench.types(b'x')
        bench.bmc_sends(acks=number, count=1)
    bench.sent()
    bench.events()
    bench.types(b'the next round')
    bench.types(b'and more')
    bench.expect_sent(data(2, b'the next round'))
    bench.bmc_sends(1, b'data', acks=2, count=1)
    bench.expect_sent(ack(1, 4))
    bench.expect_events()
    bench.bmc_sends(acks=2, count=14)
    bench.expect_sent(data(3, b'and more'))


def test_an_acknowledgment_that_a_retry_of_data_brings_first_counts():
    bench = Bench()
    bench.bmc_sends(1, b'data')
    bench.types(b'a')
    bench.sent()
    bench.bmc_sends(1, b'data', acks=2, count=1)
    assert bench.events()[-1] == InputAccepted(1)


def test_an_acknowledgment_of_nothing_is_no_acknowledgment():
    bench = Bench()
    bench.types(b'x')
    bench.sent()
    bench.bmc_sends(acks=0, count=1)
    bench.expect_nothing()
    assert bench.channel.pending == 1
    assert bench.channel.stray_acks == 0


# Refusals

def test_a_refused_packet_goes_again_under_a_new_number_after_a_moment():
    bench = Bench()
    bench.types(b'abc')
    bench.sent()
    bench.bmc_sends(acks=2, count=0, status=NACK)
    bench.expect_nothing()
    bench.passes(0.04)
    bench.expect_sent()
    bench.passes(0.01)
    bench.expect_sent(data(3, b'abc'))
    assert bench.channel.nacks == 1


def test_refusals_in_a_row_have_the_moment_grow_to_a_second():
    bench = Bench()
    bench.types(b'x')
    delays = []
    for _ in range(7):
        packet, = bench.sent()
        bench.bmc_sends(acks=packet.number, status=NACK)
        delays.append(bench.waits())
    assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    bench.expect_events()


def test_what_a_refused_packet_had_accepted_is_not_sent_again():
    bench = Bench()
    bench.types(b'abcdef')
    bench.sent()
    bench.bmc_sends(acks=2, count=4, status=NACK)
    bench.expect_events(InputAccepted(4))
    bench.expect_sent()
    bench.passes(0.05)
    bench.expect_sent(data(3, b'ef'))


def test_refusals_with_progress_do_not_have_the_moment_grow():
    bench = Bench()
    bench.types(b'abcdef')
    for _ in range(5):
        packet, = bench.sent()
        bench.bmc_sends(acks=packet.number, count=1, status=NACK)
        bench.passes(0.05)
    bench.expect_sent(data(7, b'f'))


def test_a_full_bmc_that_says_it_is_no_longer_full_gets_input_at_once():
    # OpenIPMI's lanserv takes all, sets the NACK bit as its buffer is full,
    # and acknowledges the same packet again when it has been emptied.
    bench = Bench()
    bench.types(b'ab')
    bench.types(b'cd')
    bench.sent()
    bench.bmc_sends(acks=2, count=2, status=NACK)
    bench.expect_events(InputAccepted(2))
    bench.expect_sent()
    bench.bmc_sends(acks=2, count=2)
    bench.expect_events()
    bench.expect_sent(data(3, b'cd'))


def test_what_a_bmc_accepts_after_it_had_refused_is_not_sent_again():
    bench = Bench()
    bench.types(b'abcd')
    bench.sent()
    bench.bmc_sends(acks=2, count=1, status=NACK)
    bench.bmc_sends(acks=2, count=3)
    bench.expect_events(InputAccepted(1), InputAccepted(2))
    bench.expect_sent(data(3, b'd'))


@pytest.mark.parametrize('status', [0, NACK])
def test_a_refusal_that_comes_again_does_not_prolong_the_moment(status):
    bench = Bench()
    bench.types(b'x')
    bench.sent()
    bench.bmc_sends(acks=2, status=status)
    for _ in range(4):
        bench.now += 0.01
        bench.bmc_sends(acks=2, status=status)
    bench.expect_nothing()
    bench.passes(0.01)
    bench.expect_sent(data(3, b'x'))
    assert bench.channel.nacks == (1 if status else 0)


def test_a_bmc_may_refuse_for_ever_without_the_channel_being_lost():
    bench = Bench()
    bench.types(b'x')
    for _ in range(100):
        packet, = bench.sent()
        bench.bmc_sends(acks=packet.number, status=NACK)
        bench.waits()
    bench.expect_events()
    assert bench.channel.state is channel.State.OPEN


# A host that is off

def test_input_refused_as_the_host_is_off_is_dropped_and_counted():
    bench = Bench()
    bench.types(b'abc')
    bench.types(b'def')
    bench.sends_break()
    bench.sent()
    bench.bmc_sends(acks=2, count=1, status=NACK | UNAVAILABLE)
    bench.expect_events(
        Unavailable(), InputAccepted(1),
        InputDropped(5, 'the host is powered off', breaks=1))
    bench.passes(60)
    bench.expect_sent()
    assert bench.channel.pending == 0
    assert bench.channel.pending_breaks == 0
    assert bench.channel.bytes_dropped == 5
    assert bench.channel.breaks_dropped == 1
    assert bench.channel.next_timer() is None


def test_input_not_accepted_as_the_host_is_off_is_dropped_without_nack_too():
    bench = Bench()
    bench.types(b'abc')
    bench.sent()
    bench.bmc_sends(acks=2, count=1, status=UNAVAILABLE)
    bench.expect_events(
        Unavailable(), InputAccepted(1),
        InputDropped(2, 'the host is powered off'))


def test_input_accepted_while_the_host_is_off_keeps_what_is_queued():
    bench = Bench()
    bench.types(b'abc')
    bench.types(b'def')
    bench.sent()
    bench.bmc_sends(acks=2, count=3, status=UNAVAILABLE)
    bench.expect_events(Unavailable(), InputAccepted(3))
    bench.expect_sent(data(3, b'def'))


def test_a_refusal_for_the_host_that_follows_a_plain_one_drops_input():
    bench = Bench()
    bench.types(b'abc')
    bench.sent()
    bench.bmc_sends(acks=2, status=NACK)
    bench.bmc_sends(acks=2, status=NACK | UNAVAILABLE)
    bench.expect_events(
        Unavailable(), InputDropped(3, 'the host is powered off'))
    bench.passes(60)
    bench.expect_sent()


def test_input_after_a_drop_is_tried_at_once_and_in_order():
    bench = Bench()
    bench.types(b'abc')
    bench.sent()
    bench.bmc_sends(acks=2, status=NACK | UNAVAILABLE)
    bench.types(b'de')
    bench.sends_break()
    bench.types(b'f')
    bench.expect_sent(data(3, b'de'))
    bench.bmc_sends(acks=3, count=2)
    bench.expect_sent(serial_break(4))
    bench.bmc_sends(acks=4)
    bench.expect_sent(data(5, b'f'))


# Retries

def test_a_packet_not_acknowledged_goes_again_unchanged_until_it_is():
    bench = Bench()
    bench.types(b'abc')
    bench.expect_sent(data(2, b'abc'))
    bench.types(b'def')
    for _ in range(5):
        bench.waits()
        bench.expect_sent(data(2, b'abc'))
    assert bench.channel.retries_sent == 5
    bench.bmc_sends(acks=2, count=3)
    bench.expect_sent(data(3, b'def'))


def test_the_time_between_retries_doubles_up_to_its_limit():
    bench = Bench(first_retry=0.5, max_retry=3.0, retries=6)
    bench.types(b'x')
    begin = bench.now
    times = []
    while bench.channel.next_timer() is not None:
        bench.waits()
        times.append(bench.now - begin)
    assert times == [0.5, 1.5, 3.5, 6.5, 9.5, 12.5, 15.5]
    bench.expect_events(Lost())


def test_each_packet_has_its_retries_to_itself():
    bench = Bench(retries=2)
    for _ in range(4):
        bench.types(b'x')
        bench.passes(1.0)
        packets = bench.sent()
        assert len(packets) == 3
        bench.bmc_sends(acks=packets[0].number, count=1)
        bench.expect_events(InputAccepted(1))


def test_a_bmc_that_acknowledges_nothing_is_lost_after_all_retries():
    bench = Bench()
    bench.types(b'abc')
    bench.types(b'de')
    bench.passes(7.7)
    bench.expect_sent(*[data(2, b'abc')] * 9)
    bench.expect_events()
    bench.passes(0.1)
    bench.expect_events(Lost())
    bench.expect_closed()
    assert bench.channel.retries_sent == 8
    assert bench.channel.pending == 5


def test_a_timer_that_is_not_due_does_nothing():
    bench = Bench()
    bench.channel.handle_timer(bench.now)
    bench.types(b'x')
    bench.sent()
    bench.now += 0.2
    bench.channel.handle_timer(bench.now)
    bench.expect_nothing()


def test_a_loop_that_was_stopped_for_an_hour_retries_once_and_goes_on():
    bench = Bench()
    bench.types(b'x')
    bench.sent()
    bench.now += 3600
    bench.channel.handle_timer(bench.now)
    bench.expect_sent(data(2, b'x'))
    bench.expect_events()
    assert bench.channel.next_timer() > bench.now


def test_a_retry_that_nobody_fetched_is_not_sent_once_acknowledged():
    bench = Bench()
    bench.types(b'x')
    bench.sent()
    bench.busy = True
    bench.passes(0.3)
    bench.bmc_sends(acks=2, count=1)
    bench.expect_sent()


# Bounds

def test_input_is_bounded_and_the_caller_is_told_what_was_taken():
    bench = Bench(max_pending=10)
    assert bench.types(b'123456') == 6
    assert bench.types(b'7890ab') == 4
    assert bench.types(b'c') == 0
    assert bench.channel.pending == 10
    assert bench.sent() == [data(2, b'123456')]
    bench.bmc_sends(acks=2, count=6)
    bench.expect_sent(data(3, b'7890'))
    assert bench.types(b'ab') == 2


def test_input_from_before_the_activation_waits_and_is_bounded():
    bench = Bench(activated=False, max_pending=4)
    assert bench.types(b'early bird') == 4
    bench.expect_nothing()
    assert bench.channel.next_timer() is None
    bench.activate()
    bench.bmc_sends(acks=1)
    bench.expect_sent(data(1, b''), data(2, b'earl'))


def test_a_megabyte_goes_through_in_pieces_with_little_waiting():
    text = bytes(range(256)) * 4096
    bench = Bench()
    host = bytearray()
    offset = 0
    while len(host) < len(text):
        offset += bench.types(text[offset:offset + 16384])
        assert bench.channel.pending <= 64 * 1024
        packets = bench.sent()
        if packets:
            host += packets[0].data
            bench.bmc_sends(acks=packets[0].number,
                            count=len(packets[0].data))
        bench.events()
    assert bytes(host) == text


# Breaks

def test_a_break_is_a_packet_of_its_own_with_the_operation_bit():
    bench = Bench()
    bench.sends_break()
    bench.expect_sent(serial_break(2))
    bench.bmc_sends(acks=2)
    bench.expect_sent()
    bench.expect_events(channel.BreakAccepted())
    assert bench.channel.breaks_accepted == 1
    assert bench.channel.pending_breaks == 0


def test_breaks_keep_their_place_in_the_input():
    bench = Bench()
    bench.types(b'a')
    bench.sends_break()
    bench.types(b'bcd')
    bench.sends_break()
    bench.sends_break()
    bench.types(b'e')
    sent = []
    while packets := bench.sent():
        sent += packets
        bench.bmc_sends(acks=packets[0].number, count=len(packets[0].data))
    assert sent == [
        data(2, b'a'), serial_break(3), data(4, b'bcd'), serial_break(5),
        serial_break(6), data(7, b'e')]


def test_a_break_waits_for_the_rest_of_what_was_typed_before_it():
    bench = Bench()
    bench.types(b'abc')
    bench.sends_break()
    bench.sent()
    bench.bmc_sends(acks=2, count=1)
    bench.expect_sent(data(3, b'bc'))
    bench.bmc_sends(acks=3, count=2)
    bench.expect_sent(serial_break(4))


def test_a_break_before_the_activation_waits_for_it():
    bench = Bench(activated=False)
    assert bench.sends_break()
    bench.expect_nothing()
    bench.activate()
    bench.bmc_sends(acks=1)
    bench.expect_sent(data(1, b''), serial_break(2))


def test_a_lost_break_is_sent_again_with_its_number():
    bench = Bench()
    bench.sends_break()
    bench.sent()
    bench.passes(0.3)
    bench.expect_sent(serial_break(2))


def test_a_refused_break_is_sent_again_before_what_follows():
    bench = Bench()
    bench.sends_break()
    bench.types(b'b')
    bench.sent()
    bench.bmc_sends(acks=2, status=NACK)
    bench.expect_sent()
    bench.passes(0.05)
    bench.expect_sent(serial_break(3))
    bench.bmc_sends(acks=3)
    bench.expect_sent(data(4, b'b'))


def test_a_break_refused_and_then_acknowledged_is_not_sent_again():
    bench = Bench()
    bench.sends_break()
    bench.types(b'b')
    bench.sent()
    bench.bmc_sends(acks=2, status=NACK)
    bench.bmc_sends(acks=2)
    bench.expect_sent(data(3, b'b'))
    assert bench.channel.breaks_accepted == 1


def test_a_bmc_that_refuses_all_breaks_gets_the_input_behind_them():
    bench = Bench()
    for turn in range(2):
        bench.sends_break()
        bench.types(b'b')
        for _ in range(5):
            packet, = bench.sent()
            assert packet == serial_break(packet.number)
            bench.expect_events()
            bench.bmc_sends(acks=packet.number, status=NACK)
            if bench.channel.breaks_dropped == turn:
                bench.waits()
        bench.expect_events(
            InputDropped(0, 'the BMC refuses serial breaks', breaks=1))
        packet, = bench.sent()
        assert packet == data(packet.number, b'b')
        bench.bmc_sends(acks=packet.number, count=1)
        bench.expect_events(InputAccepted(1))
        assert bench.channel.breaks_dropped == turn + 1


def test_breaks_are_bounded_and_the_caller_is_told():
    bench = Bench()
    assert [bench.sends_break() for _ in range(18)] == (
        [True] * 16 + [False] * 2)
    assert bench.channel.pending_breaks == 16
    bench.sent()
    bench.bmc_sends(acks=2)
    assert bench.sends_break()


def test_a_break_counts_as_no_byte_of_input():
    bench = Bench(max_pending=1)
    bench.sends_break()
    assert bench.channel.pending == 0
    assert bench.types(b'x') == 1


# The end

def test_a_channel_that_is_closed_sends_nothing_and_keeps_its_count():
    bench = Bench()
    bench.busy = True
    bench.types(b'abc')
    bench.bmc_sends(1, b'x')
    bench.events()
    bench.channel.close()
    bench.expect_closed()
    assert bench.channel.pending == 3


def test_a_second_answer_to_the_activation_changes_nothing():
    bench = Bench(size=20)
    bench.types(b'x' * 20)
    bench.activate(259)
    bench.expect_sent(data(2, b'x' * 16))
    assert bench.channel.characters == 16


def test_a_packet_that_is_too_long_for_the_bmc_becomes_shorter():
    """One that drops what it does not take, with no answer."""
    bench = Bench(size=259)
    bench.types(b'x' * 255)
    lengths = [len(packet.data) for packet in bench.sent()]
    for _ in range(7):
        bench.waits()
        lengths += [len(packet.data) for packet in bench.sent()]
    assert lengths == [255, 255, 255, 127, 63, 31, 16, 16]


def test_the_bmc_may_have_taken_the_long_packet_all_the_same():
    bench = Bench(size=259)
    bench.types(b'x' * 255)
    for _ in range(4):
        bench.waits()
    bench.bmc_sends(acks=2, count=255)
    assert bench.channel.pending == 0
    assert bench.channel.bytes_accepted == 255


def test_packets_that_are_refused_again_and_again_become_shorter():
    bench = Bench(size=259)
    bench.types(b'x' * 255)
    sent = bench.sent()
    for number in range(2, 5):
        assert len(sent[-1].data) == 255
        bench.bmc_sends(acks=number, count=0, status=NACK)
        bench.waits()
        sent = bench.sent()
    assert len(sent[-1].data) == 127


def test_packets_become_longer_again_when_all_is_well():
    bench = Bench(size=259)
    bench.types(b'x' * 255)
    for _ in range(3):
        bench.waits()
    bench.sent()
    bench.bmc_sends(acks=2, count=127)
    number = 3
    for _ in range(channel.GROW_AFTER + 2):
        bench.types(b'x' * 255)
        longest = max(len(packet.data) for packet in bench.sent())
        bench.bmc_sends(acks=number, count=255)
        number = number % 15 + 1
    assert longest == 2 * 127


def test_a_number_that_is_stuck_is_left_behind_where_that_is_wanted():
    bench = Bench(skip_sequence=True)
    bench.types(b'abc')
    numbers = [packet.number for packet in bench.sent()]
    for _ in range(4):
        bench.waits()
        numbers += [packet.number for packet in bench.sent()]
    assert numbers == [2, 2, 2, 3, 4]
    bench.bmc_sends(acks=4, count=3)
    assert bench.channel.pending == 0


def test_the_number_behind_tells_what_a_silent_bmc_has_taken():
    """OpenBMC took number 2; its answer was lost."""
    bench = Bench(silent_copies=True)
    bench.types(b'abc')
    bench.sent()
    for _ in range(channel.PROBE_AFTER - 1):
        bench.waits()
        bench.expect_sent(data(2, b'abc'))
    bench.waits()
    bench.expect_sent(data(2, b'abc'), data(3, b''))
    bench.bmc_sends(acks=3, count=0)
    assert bench.channel.pending == 0
    bench.types(b'd')
    bench.expect_sent(data(4, b'd'))


def test_a_packet_that_was_not_taken_is_answered_before_the_one_behind_it():
    bench = Bench(silent_copies=True)
    bench.types(b'abc')
    for _ in range(channel.PROBE_AFTER):
        bench.waits()
    bench.sent()
    bench.types(b'd')
    bench.bmc_sends(acks=2, count=3)
    bench.expect_sent(data(3, b''))
    bench.bmc_sends(acks=3, count=0)
    bench.expect_sent(data(4, b'd'))


def test_input_can_be_given_up_but_for_the_packet_on_its_way():
    bench = Bench(size=12)
    bench.types(b'12345678' + b'rest')
    bench.expect_sent(data(2, b'12345678'))
    bench.channel.send_break(bench.now)
    bench.channel.drop_input('somebody else is here')
    bench.expect_events(InputDropped(4, 'somebody else is here', 1))
    bench.bmc_sends(acks=2, count=8)
    bench.expect_sent()
    assert bench.channel.pending == 0


# Input that may not go out for a while

def test_what_is_typed_while_sending_is_paused_goes_out_after():
    bench = Bench()
    bench.channel.pause_sending()
    bench.types(b'later')
    bench.passes(60)
    bench.expect_sent()
    assert bench.channel.next_timer() is None
    bench.channel.resume_sending(bench.now)
    bench.expect_sent(data(2, b'later'))
    bench.bmc_sends(acks=2, count=5)
    bench.expect_events(InputAccepted(5))


def test_a_packet_on_its_way_is_answered_and_not_repeated_while_paused():
    bench = Bench()
    bench.types(b'first')
    bench.expect_sent(data(2, b'first'))
    bench.channel.pause_sending()
    bench.types(b'second')
    bench.passes(60)
    bench.expect_sent()
    bench.bmc_sends(acks=2, count=5)
    bench.expect_events(InputAccepted(5))
    bench.passes(60)
    bench.expect_sent()
    bench.channel.resume_sending(bench.now)
    bench.expect_sent(data(3, b'second'))


def test_a_packet_that_was_not_answered_is_repeated_when_it_goes_on():
    bench = Bench()
    bench.types(b'first')
    bench.expect_sent(data(2, b'first'))
    bench.channel.pause_sending()
    bench.passes(60)
    bench.expect_events()
    bench.channel.resume_sending(bench.now)
    bench.passes(0.1)
    bench.expect_sent(data(2, b'first'))
    bench.bmc_sends(acks=2, count=5)
    bench.expect_events(InputAccepted(5))


def test_a_packet_that_had_not_left_goes_out_once_when_it_goes_on():
    bench = Bench()
    bench.channel.send(b'first', bench.now)
    bench.channel.pause_sending()
    bench.passes(60)
    bench.expect_sent()
    bench.channel.resume_sending(bench.now)
    bench.expect_sent(data(2, b'first'))
    bench.passes(0.1)
    bench.expect_sent()


def test_what_the_bmc_refused_is_not_offered_again_while_paused():
    bench = Bench()
    bench.types(b'first')
    bench.sent()
    bench.channel.pause_sending()
    bench.bmc_sends(acks=2, status=NACK)
    bench.passes(60)
    bench.expect_sent()
    bench.channel.resume_sending(bench.now)
    bench.expect_sent(data(3, b'first'))


def test_a_break_waits_as_input_does():
    bench = Bench()
    bench.channel.pause_sending()
    bench.channel.send_break(bench.now)
    bench.passes(60)
    bench.expect_sent()
    bench.channel.resume_sending(bench.now)
    bench.expect_sent(serial_break(2))


def test_an_activation_begins_though_sending_is_paused():
    bench = Bench(activated=False)
    bench.channel.pause_sending()
    bench.types(b'x')
    bench.activate()
    bench.expect_sent(data(1, b''))
    bench.bmc_sends(acks=1)
    bench.expect_sent()
    bench.channel.resume_sending(bench.now)
    bench.expect_sent(data(2, b'x'))


def test_output_is_taken_while_sending_is_paused():
    bench = Bench()
    bench.channel.pause_sending()
    bench.bmc_sends(1, b'hello')
    bench.expect_events(DataReceived(b'hello'))
    bench.expect_sent(ack(1, 5))
