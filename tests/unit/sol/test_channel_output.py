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

"""What the host writes: numbers and acknowledgments of the BMC's packets."""

import pytest

from ironic_solconsole.sol.channel import DataReceived
from ironic_solconsole.sol.channel import InputAccepted
from ironic_solconsole.sol.channel import Overrun
from tests.unit.sol.bench import SIZE
from tests.unit.sol.bench import Bench
from tests.unit.sol.bench import ack
from tests.unit.sol.bench import data

NUMBERS = range(1, 16)


def after(number, steps):
    """The number that many steps later."""
    return (number - 1 + steps) % 15 + 1


# Numbers

def test_data_is_delivered_and_acknowledged_by_number_and_count():
    bench = Bench()
    bench.bmc_sends(4, b'login: ')
    bench.expect_sent(ack(4, 7))
    bench.expect_events(DataReceived(b'login: '))
    assert bench.channel.bytes_received == 7


@pytest.mark.parametrize('number', NUMBERS)
def test_the_first_packet_may_have_any_number(number):
    bench = Bench()
    bench.bmc_sends(number, b'x')
    bench.expect_sent(ack(number, 1))
    bench.expect_events(DataReceived(b'x'))


@pytest.mark.parametrize('number', NUMBERS)
def test_the_number_that_follows_is_taken_and_1_follows_15(number):
    bench = Bench()
    bench.bmc_sends(number, b'x')
    bench.bmc_sends(after(number, 1), b'y')
    bench.expect_sent(ack(number, 1), ack(after(number, 1), 1))
    bench.expect_events(DataReceived(b'x'), DataReceived(b'y'))
    assert bench.channel.gaps == 0


def test_the_numbers_may_go_round_many_times():
    bench = Bench()
    for turn in range(100):
        number = turn % 15 + 1
        bench.bmc_sends(number, b'%d' % turn)
        bench.expect_sent(ack(number, len(b'%d' % turn)))
        bench.expect_events(DataReceived(b'%d' % turn))
    assert bench.channel.gaps == bench.channel.duplicates == 0


def test_reserved_bits_beside_the_numbers_are_ignored():
    bench = Bench()
    bench.types(b'x')
    bench.sent()
    bench.bmc_sends(0xa0 | 3, b'y', acks=0x50 | 2, count=1, status=0x83)
    bench.expect_sent(ack(3, 1))
    bench.expect_events(DataReceived(b'y'), InputAccepted(1))


def test_every_byte_value_passes_unchanged():
    bench = Bench()
    text = bytes(range(255)) + b'\xff'
    bench.bmc_sends(1, text[:128])
    bench.bmc_sends(2, text[128:])
    bench.expect_events(DataReceived(text[:128]), DataReceived(text[128:]))


# Retries of the BMC

def test_a_retry_is_acknowledged_again_and_not_delivered_again():
    bench = Bench()
    bench.bmc_sends(7, b'once')
    bench.expect_sent(ack(7, 4))
    bench.events()
    for copy in range(1, 4):
        bench.bmc_sends(7, b'once')
        bench.expect_sent(ack(7, 4))
        bench.expect_events()
        assert bench.channel.duplicates == copy


@pytest.mark.parametrize('again', [b'once, and more', b'on', b''])
def test_a_longer_or_shorter_retry_is_acknowledged_with_the_first_count(
        again):
    bench = Bench()
    bench.bmc_sends(7, b'once')
    bench.bmc_sends(7, again)
    bench.expect_sent(ack(7, 4), ack(7, 4))
    bench.expect_events(DataReceived(b'once'))
    assert bench.channel.bytes_received == 4


def test_what_a_retry_added_is_delivered_when_it_has_a_number_of_its_own():
    bench = Bench()
    bench.bmc_sends(7, b'first')
    bench.bmc_sends(7, b'first second')
    bench.bmc_sends(8, b' second')
    bench.expect_events(DataReceived(b'first'), DataReceived(b' second'))


@pytest.mark.parametrize('text', [b'twice', b'x', b'other, and longer'])
def test_other_characters_under_the_last_number_are_no_retry(text):
    # The BMC has begun its count anew, or given up 14 packets.
    bench = Bench()
    bench.bmc_sends(7, b'once')
    bench.bmc_sends(7, text)
    bench.expect_sent(ack(7, 4), ack(7, len(text)))
    bench.expect_events(DataReceived(b'once'), DataReceived(text))
    assert bench.channel.restarts == 1
    assert bench.channel.duplicates == bench.channel.gaps == 0
    bench.bmc_sends(8, b'next')
    bench.expect_events(DataReceived(b'next'))


def test_other_characters_under_the_last_number_wait_in_a_pause():
    bench = Bench()
    bench.bmc_sends(7, b'once')
    bench.sent()
    bench.events()
    bench.channel.pause_receiving()
    for _ in range(3):
        bench.bmc_sends(7, b'anew')
    bench.expect_nothing()
    bench.channel.resume_receiving()
    bench.bmc_sends(7, b'anew')
    bench.expect_sent(ack(7, 4))
    bench.expect_events(DataReceived(b'anew'))
    assert bench.channel.restarts == 1


# Packets that the BMC gave up

@pytest.mark.parametrize('last', [1, 8, 15])
@pytest.mark.parametrize('steps', range(2, 8))
def test_a_number_up_to_7_ahead_is_taken_and_output_is_missing(last, steps):
    bench = Bench()
    bench.bmc_sends(last, b'x')
    bench.bmc_sends(after(last, steps), b'y')
    bench.expect_sent(ack(last, 1), ack(after(last, steps), 1))
    bench.expect_events(DataReceived(b'x'), Overrun(), DataReceived(b'y'))
    assert bench.channel.gaps == steps - 1


# Packets from the past

@pytest.mark.parametrize('last', [1, 8, 15])
@pytest.mark.parametrize('steps', range(8, 15))
def test_a_number_from_the_past_is_neither_taken_nor_acknowledged(
        last, steps):
    bench = Bench()
    bench.bmc_sends(last, b'x')
    bench.sent()
    bench.events()
    for _ in range(2):
        bench.bmc_sends(after(last, steps), b'old')
        bench.expect_nothing()
    assert bench.channel.out_of_order == 2
    bench.bmc_sends(after(last, 1), b'new')
    bench.expect_sent(ack(after(last, 1), 3))
    bench.expect_events(DataReceived(b'new'))


@pytest.mark.parametrize('steps', range(8, 15))
def test_the_third_copy_in_a_row_is_taken_as_the_bmc_has_begun_anew(steps):
    bench = Bench()
    bench.bmc_sends(5, b'x')
    bench.sent()
    bench.events()
    number = after(5, steps)
    for _ in range(2):
        bench.bmc_sends(number, b'again')
    bench.expect_nothing()
    bench.bmc_sends(number, b'again')
    bench.expect_sent(ack(number, 5))
    bench.expect_events(DataReceived(b'again'))
    bench.bmc_sends(after(number, 1), b'next')
    bench.expect_events(DataReceived(b'next'))
    assert bench.channel.restarts == 1
    assert bench.channel.gaps == 0


@pytest.mark.parametrize('between', [
    pytest.param([(5, b'x')], id='a retry of the last one'),
    pytest.param([(3, b'older')], id='another one from the past'),
    pytest.param([(6, b'new'), (5, b'x')], id='a new one'),
])
def test_copies_from_the_past_with_data_between_are_never_taken(between):
    bench = Bench()
    bench.bmc_sends(5, b'x')
    for _ in range(2):
        for number, text in [(4, b'old'), (4, b'old'), *between]:
            bench.bmc_sends(number, text)
    assert DataReceived(b'old') not in bench.events()
    assert bench.channel.restarts == 0


def test_copies_from_the_past_are_counted_anew_after_new_data():
    bench = Bench()
    bench.bmc_sends(5, b'x')
    for _ in range(2):
        bench.bmc_sends(4, b'old')
    bench.bmc_sends(6, b'new')
    bench.bmc_sends(4, b'old')
    bench.expect_events(DataReceived(b'x'), DataReceived(b'new'))


def test_acknowledgments_between_do_not_make_a_new_count_look_old():
    bench = Bench()
    bench.bmc_sends(5, b'x')
    bench.sent()
    bench.events()
    for _ in range(3):
        bench.bmc_sends(1, b'again')
        bench.bmc_sends(acks=14, count=1)
    bench.expect_sent(ack(1, 5))
    bench.expect_events(DataReceived(b'again'))


# Sizes

@pytest.mark.parametrize(('size', 'taken'), [
    (1, 1), (254, 254), (255, 255), (256, 255), (300, 255), (1400, 255)])
def test_at_most_255_characters_are_taken_and_acknowledged(size, taken):
    text = bytes(range(1, 201)) * 7
    bench = Bench()
    bench.bmc_sends(1, text[:size])
    bench.expect_sent(ack(1, taken))
    bench.expect_events(DataReceived(text[:taken]))
    bench.bmc_sends(1, text[:size])
    bench.expect_sent(ack(1, taken))
    bench.expect_events()


def test_a_packet_with_a_number_and_no_characters_is_acknowledged():
    bench = Bench()
    bench.bmc_sends(1)
    bench.bmc_sends(2, b'x')
    bench.expect_sent(ack(1, 0), ack(2, 1))
    bench.expect_events(DataReceived(b'x'))


def test_characters_in_a_packet_without_a_number_are_not_taken():
    bench = Bench()
    bench.bmc_sends(0, b'what?')
    bench.expect_nothing()
    assert bench.channel.malformed == 1
    bench.bmc_sends(1, b'x')
    bench.expect_events(DataReceived(b'x'))


@pytest.mark.parametrize('payload', [b'', b'\x01', b'\x01\0', b'\x01\0\0'])
def test_a_packet_shorter_than_its_header_is_dropped_and_counted(payload):
    bench = Bench()
    bench.bmc_sends_bytes(payload)
    bench.expect_nothing()
    assert bench.channel.malformed == 1


# Before the activation's answer

def test_data_that_comes_before_the_activations_answer_counts():
    bench = Bench(activated=False)
    bench.bmc_sends(3, b'early')
    bench.expect_sent(ack(3, 5))
    bench.expect_events(DataReceived(b'early'))
    bench.bmc_sends(3, b'early')
    bench.expect_sent(ack(3, 5))
    bench.activate()
    bench.bmc_sends(3, b'early')
    bench.bmc_sends(4, b'later')
    bench.expect_events(DataReceived(b'later'))


def test_data_that_comes_with_the_activations_answer_counts():
    bench = Bench(activated=False)
    bench.busy = True
    bench.bmc_sends(3, b'early')
    bench.activate()
    bench.expect_sent(ack(3, 5), data(1, b''))
    bench.expect_events(DataReceived(b'early'))


# Pauses

def test_while_paused_data_is_neither_taken_nor_acknowledged():
    bench = Bench()
    bench.channel.pause_receiving()
    for _ in range(5):
        bench.bmc_sends(1, b'wait')
        bench.expect_nothing()
    assert bench.channel.deferred == 5
    bench.channel.resume_receiving()
    bench.expect_nothing()
    bench.bmc_sends(1, b'wait')
    bench.expect_sent(ack(1, 4))
    bench.expect_events(DataReceived(b'wait'))
    assert bench.channel.duplicates == 0


def test_while_paused_what_was_taken_before_is_acknowledged_again():
    bench = Bench()
    bench.bmc_sends(1, b'taken')
    bench.sent()
    bench.events()
    bench.channel.pause_receiving()
    bench.bmc_sends(1, b'taken')
    bench.expect_sent(ack(1, 5))
    bench.expect_events()


def test_while_paused_input_goes_on():
    bench = Bench()
    bench.channel.pause_receiving()
    bench.types(b'a')
    bench.expect_sent(data(2, b'a'))
    bench.types(b'b')
    bench.bmc_sends(1, b'wait', acks=2, count=1)
    bench.expect_sent(data(3, b'b'))
    bench.expect_events(InputAccepted(1))


@pytest.mark.parametrize('given_up', range(1, 40))
def test_what_follows_packets_given_up_in_a_pause_is_taken(given_up):
    bench = Bench()
    bench.bmc_sends(5, b'before')
    bench.sent()
    bench.events()
    bench.channel.pause_receiving()
    for step in range(1, given_up + 1):
        for _ in range(3):
            bench.bmc_sends(after(5, step), b'gone')
    bench.channel.resume_receiving()
    number = after(5, given_up + 1)
    bench.bmc_sends(number, b'after')
    bench.expect_sent(ack(number, 5))
    assert bench.events()[-1] == DataReceived(b'after')
    assert bench.channel.gaps == given_up
    assert bench.channel.restarts == 0


def test_a_packet_given_up_in_a_pause_is_not_taken_afterwards():
    bench = Bench()
    bench.bmc_sends(5, b'before')
    bench.channel.pause_receiving()
    bench.bmc_sends(6, b'gone')
    bench.bmc_sends(7, b'wait')
    bench.channel.resume_receiving()
    bench.events()
    bench.bmc_sends(6, b'gone')
    bench.bmc_sends(7, b'wait')
    bench.expect_events(DataReceived(b'wait'))


def test_the_first_packet_of_all_may_come_in_a_pause():
    bench = Bench()
    bench.channel.pause_receiving()
    bench.bmc_sends(9, b'gone')
    bench.bmc_sends(10, b'wait')
    bench.channel.resume_receiving()
    bench.bmc_sends(10, b'wait')
    bench.expect_sent(ack(10, 4))


def test_a_bmc_that_begins_anew_in_a_pause_is_understood_after_it():
    bench = Bench()
    bench.bmc_sends(5, b'before')
    bench.sent()
    bench.events()
    bench.channel.pause_receiving()
    for _ in range(4):
        bench.bmc_sends(1, b'anew')
        bench.expect_nothing()
    bench.channel.resume_receiving()
    bench.bmc_sends(1, b'anew')
    bench.expect_sent(ack(1, 4))
    bench.expect_events(DataReceived(b'anew'))
    assert bench.channel.restarts == 1


# Acknowledgments

def test_acknowledgments_go_first_and_never_ride_on_data():
    bench = Bench()
    bench.busy = True
    bench.types(b'x')
    bench.bmc_sends(1, b'y')
    bench.expect_sent(ack(1, 1), data(2, b'x'))


def test_of_acknowledgments_nobody_fetches_the_last_15_are_kept():
    bench = Bench()
    bench.busy = True
    for turn in range(100):
        bench.bmc_sends(turn % 15 + 1, b'x')
    assert bench.sent() == [ack(turn % 15 + 1, 1) for turn in range(85, 100)]


def test_a_lost_acknowledgment_is_not_sent_again_by_itself():
    bench = Bench()
    bench.bmc_sends(1, b'x')
    bench.expect_sent(ack(1, 1))
    assert bench.channel.next_timer() is None
    bench.passes(60)
    bench.expect_sent()


def test_data_arrives_in_one_packet_with_an_acknowledgment():
    bench = Bench(size=SIZE)
    bench.types(b'l')
    bench.sent()
    bench.bmc_sends(1, b'l', acks=2, count=1)
    bench.expect_sent(ack(1, 1))
    bench.expect_events(DataReceived(b'l'), InputAccepted(1))
