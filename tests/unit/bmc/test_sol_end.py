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

"""The BMC's end of SOL, by chapter 15: no socket, no clock, no client."""

import asyncio
import collections.abc

import pytest

from tests.support.bmc import host as host_side
from tests.support.bmc import journal
from tests.support.bmc import sol
from tests.support.bmc import threads
from tests.support.bmc.codes import BREAK
from tests.support.bmc.codes import DEACTIVATED
from tests.support.bmc.codes import NACK
from tests.support.bmc.codes import OVERRUN
from tests.support.bmc.codes import UNAVAILABLE
from tests.support.bmc.openbmc import OpenBmcEnd
from tests.support.bmc.options import Farewell
from tests.support.bmc.options import GiveUp
from tests.support.bmc.options import Oversize
from tests.support.bmc.options import Reply
from tests.support.bmc.options import SolOptions


class Bench:
    """An end of SOL, a host, and a clock that the test sets."""

    def __init__(self, kind: type[sol.SolEnd], /, **changes: object
                 ) -> None:
        self.now = 100.0
        self.on = True
        self.settings = SolOptions(**changes)   # type: ignore[arg-type]
        # Never runs: everything is called in this thread.
        self.loop = asyncio.new_event_loop()
        self.host = host_side.Host(
            self.settings, threads.Loop(self.loop), self.run)
        self.book = journal.Journal()
        self.end = kind(
            self.settings, self.host, self.book, lambda: self.on)
        self.end.start(self.now)

    def run(self) -> None:
        self.end.run(self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.run()

    def get(self, *payload: int, data: bytes = b'') -> list[bytes]:
        """What it sends when it gets a payload."""
        self.end.take()
        self.end.receive(bytes(payload) + data, self.now)
        return self.end.take()


@pytest.fixture
def bench() -> collections.abc.Iterator[
        collections.abc.Callable[..., Bench]]:
    made: list[Bench] = []

    def make(kind: type[sol.SolEnd] = sol.SolEnd, /, **changes: object
             ) -> Bench:
        made.append(Bench(kind, **changes))
        return made[-1]

    yield make
    for entry in made:
        entry.loop.close()


Make = collections.abc.Callable[..., Bench]


def test_output_waits_for_its_acknowledgment(bench: Make) -> None:
    b = bench()
    b.host.send(b'one')
    assert b.end.take() == [b'\x01\0\0\0one']
    b.host.send(b'two')
    assert b.end.take() == []
    assert b.get(0, 1, 3, 0) == [b'\x02\0\0\0two']
    assert b.get(0, 2, 3, 0) == []
    assert b.host.waiting == 0


def test_numbers_go_from_15_to_1(bench: Make) -> None:
    b = bench(first_sequence=14)
    numbers = []
    for _ in range(4):
        b.host.send(b'x')
        numbers.append(b.end.take()[0][0])
        b.get(0, numbers[-1], 1, 0)
    assert numbers == [14, 15, 1, 2]


def test_a_packet_is_repeated_and_then_given_up(bench: Make) -> None:
    b = bench(retry_count=2, retry_interval=0.5)
    b.host.send(b'abc')
    assert b.end.take() == [b'\x01\0\0\0abc']
    assert b.end.due(b.now) == b.now + 0.5
    for _ in range(2):
        b.wait(0.5)
        assert b.end.take() == [b'\x01\0\0\0abc']
    b.host.send(b'def')
    b.wait(0.5)
    # What came in the meantime follows, with the news of the loss.
    assert b.end.take() == [b'\x02\0\0' + bytes([OVERRUN]) + b'def']
    assert b.book.characters_lost == 3
    assert b.book.sol_retries_out == 2


@pytest.mark.parametrize(('how', 'then', 'given_up'), [
    (GiveUp.KEEP, [b'\x02\0\0\0abc'], False),
    (GiveUp.DEACTIVATE, [], True)])
def test_giving_up_in_other_ways(
        bench: Make, how: GiveUp, then: list[bytes], given_up: bool) -> None:
    b = bench(retry_count=0, give_up=how)
    b.host.send(b'abc')
    b.end.take()
    b.wait(0.1)
    assert b.end.take() == then
    assert b.end.given_up is given_up


def test_a_retry_may_carry_more(bench: Make) -> None:
    b = bench(retries_grow=True)
    b.host.send(b'abc')
    b.end.take()
    b.host.send(b'def')
    b.wait(0.1)
    assert b.end.take() == [b'\x01\0\0\0abcdef']
    # Acknowledged as it was at first: the rest comes under a new number.
    assert b.get(0, 1, 3, 0) == [b'\x02\0\0\0def']


def test_what_the_console_did_not_accept_is_offered_again(
        bench: Make) -> None:
    b = bench()
    b.host.send(b'abcdef')
    assert b.get(0, 1, 2, 0) == [b'\x02\0\0\0cdef']
    assert b.get(0, 2, 1, NACK) == []
    assert b.end.due(b.now) == pytest.approx(b.now + 0.1)
    b.wait(0.11)
    assert b.end.take() == [b'\x03\0\0\0def']


def test_a_late_acknowledgment_is_nothing(bench: Make) -> None:
    b = bench()
    b.host.send(b'abc')
    b.get(0, 1, 3, 0)
    b.host.send(b'def')
    assert b.get(0, 1, 3, 0) == []
    assert b.host.waiting == 3


def test_the_console_pauses_and_flushes(bench: Make) -> None:
    b = bench()
    assert b.get(0, 0, 0, 0x08) == []
    b.host.send(b'abc')
    assert b.end.take() == []
    assert b.end.due(b.now) == sol.NEVER
    assert b.get(0, 0, 0, 0x09) == []
    b.host.send(b'new')
    assert b.get(0, 0, 0, 0) == [b'\x01\0\0\0new']


def test_input_is_acknowledged_and_taken_once(bench: Make) -> None:
    b = bench()
    assert b.get(7, 0, 0, 0, data=b'ls\r') == [b'\0\x07\x03\0']
    # Again, and longer: answered as before, and nothing of it is taken.
    assert b.get(7, 0, 0, 0, data=b'ls\rmore') == [b'\0\x07\x03\0']
    assert b.get(8, 0, 0, 0, data=b'x') == [b'\0\x08\x01\0']
    assert b.host.received == b'ls\rx'
    assert b.book.sol_duplicates_in == 1


def test_more_than_it_takes(bench: Make) -> None:
    b = bench(inbound_size=8)
    assert b.get(1, 0, 0, 0, data=b'abcdef') == [b'\0\x01\x04\0']
    b.settings.oversize = Oversize.NACK
    assert b.get(2, 0, 0, 0, data=b'efghij') == [
        bytes((0, 2, 0, NACK))]
    b.settings.oversize = Oversize.DROP
    assert b.get(3, 0, 0, 0, data=b'efghij') == []
    assert b.get(4, 0, 0, 0, data=b'efgh') == [b'\0\x04\x04\0']
    assert b.host.received == b'abcdefgh'


def test_a_host_with_little_room(bench: Make) -> None:
    b = bench()
    b.host.limit(3)
    assert b.get(1, 0, 0, 0, data=b'abcdef') == [bytes((0, 1, 3, NACK))]
    assert b.get(2, 0, 0, 0, data=b'def') == [bytes((0, 2, 0, NACK))]
    b.host.limit(3)
    assert b.end.take() == [b'\0\x02\0\0']
    assert b.get(3, 0, 0, 0, data=b'def') == [b'\0\x03\x03\0']
    assert b.host.received == b'abcdef'


def test_answers_that_the_test_asks_for(bench: Make) -> None:
    b = bench()
    b.settings.replies.extend(
        (Reply(takes=1), Reply(takes=0, nack=True), Reply(silent=True)))
    assert b.get(1, 0, 0, 0, data=b'abc') == [b'\0\x01\x01\0']
    assert b.get(2, 0, 0, 0, data=b'bc') == [bytes((0, 2, 0, NACK))]
    assert b.get(3, 0, 0, 0, data=b'bc') == []
    assert b.get(3, 0, 0, 0, data=b'bc') == [b'\0\x03\x02\0']
    assert b.host.received == b'abc'


def test_breaks_go_both_ways(bench: Make) -> None:
    b = bench()
    assert b.get(1, 0, 0, 0x10) == [b'\0\x01\0\0']
    assert b.get(1, 0, 0, 0x10) == [b'\0\x01\0\0']
    assert b.host.breaks == 1
    b.host.send_break()
    assert b.end.take() == [bytes((1, 0, 0, BREAK))]


def test_a_host_that_is_off(bench: Make) -> None:
    b = bench()
    b.host.send(b'never seen')
    b.end.take()
    b.on = False
    b.host.power(False)
    b.end.power_changed()
    assert b.end.take() == [bytes((0, 0, 0, UNAVAILABLE))]
    assert b.get(1, 0, 0, 0, data=b'x') == [
        bytes((0, 1, 0, NACK | UNAVAILABLE))]
    b.on = True
    b.host.power(True)
    b.end.power_changed()
    assert b.end.take() == [bytes(4)]
    assert b.get(2, 0, 0, 0, data=b'x') == [b'\0\x02\x01\0']
    assert b.host.received == b'x'


def test_a_full_buffer_overruns_without_flow_control(bench: Make) -> None:
    b = bench(buffer=4, flow_control=False)
    b.host.send(b'abcdefgh')
    assert b.end.take() == [b'\x01\0\0' + bytes([OVERRUN]) + b'abcd']
    assert b.host.unseen == 4


def test_flow_control_loses_nothing(bench: Make) -> None:
    b = bench(buffer=4)
    b.host.send(b'abcdefgh')
    assert b.end.take() == [b'\x01\0\0\0abcd']
    assert b.get(0, 1, 4, 0) == [b'\x02\0\0\0efgh']


def test_nobody_is_attached(bench: Make) -> None:
    b = bench()
    b.host.detach()
    b.host.send(b'nobody sees this')
    assert b.host.waiting == 0
    b.settings.keep_detached = True
    b.host.send(b'kept')
    assert b.host.waiting == 4
    end = sol.SolEnd(b.settings, b.host, b.book, lambda: True)
    end.start(b.now)
    assert end.take() == [b'\x01\0\0\0kept']


def test_characters_are_collected(bench: Make) -> None:
    b = bench(accumulate=0.05, outbound_size=8)
    b.host.send(b'a')
    assert b.end.take() == []
    assert b.end.due(b.now) == pytest.approx(b.now + 0.05)
    b.wait(0.03)
    b.host.send(b'b')
    b.wait(0.02)
    assert b.end.take() == [b'\x01\0\0\0ab']
    b.get(0, 1, 2, 0)
    # A full packet does not wait.
    b.host.send(b'cdef')
    assert b.end.take() == [b'\x02\0\0\0cdef']


def test_the_serial_line_has_a_pace(bench: Make) -> None:
    b = bench(rate=10.0)
    b.host.send(b'abcdefghij')
    assert b.end.take() == []
    b.wait(0.31)
    assert b.end.take() == [b'\x01\0\0\0abc']
    b.wait(0.05)
    b.get(0, 1, 3, 0)
    assert b.now < b.end.due(b.now) < b.now + 0.1
    b.wait(0.1)
    assert b.end.take() == [b'\x02\0\0\0d']


def test_a_handshake_that_is_honoured(bench: Make) -> None:
    b = bench(handshake=True)
    b.host.send(b'abc')
    assert b.end.take() == []
    assert b.get(1, 0, 0, 0) == [b'\0\x01\0\0', b'\x01\0\0\0abc']


def test_acknowledgments_may_ride_on_characters(bench: Make) -> None:
    b = bench(piggyback=True)
    b.host.echo = True
    assert b.get(1, 0, 0, 0, data=b'x') == [b'\x01\x01\x01\0x']


@pytest.mark.parametrize(('how', 'payload'), [
    (Farewell.FLAG, bytes((0, 0, 0, DEACTIVATED))),
    (Farewell.FLAG_WITH_ACK, bytes((0, 5, 2, DEACTIVATED))),
    (Farewell.FLAG_WITH_NUMBER, bytes((1, 0, 0, DEACTIVATED)))])
def test_farewells(bench: Make, how: Farewell, payload: bytes) -> None:
    b = bench()
    b.get(5, 0, 0, 0, data=b'ab')
    b.end.close()
    b.end.farewell(how, b.now)
    assert b.end.take() == [payload]
    b.wait(0.1)
    again = how is Farewell.FLAG_WITH_NUMBER
    assert b.end.take() == [payload] * again
    b.get(0, 1, 0, 0)
    b.wait(0.1)
    assert b.end.take() == []
    # Nothing passes any more.
    assert b.get(6, 0, 0, 0, data=b'c') == []
    b.settings.refuses_after = True
    assert b.get(6, 0, 0, 0, data=b'c') == [
        bytes((0, 6, 0, NACK | DEACTIVATED))]
    assert b.host.received == b'ab'


def test_a_stuck_number_is_left_out(bench: Make) -> None:
    b = bench()
    b.get(1, 0, 0, 0, data=b'a')
    b.end.stick()
    assert b.get(2, 0, 0, 0, data=b'b') == []
    assert b.get(2, 0, 0, 0, data=b'b') == []
    assert b.get(3, 0, 0, 0, data=b'b') == [b'\0\x03\x01\0']
    assert b.get(4, 0, 0, 0, data=b'c') == [b'\0\x04\x01\0']
    assert b.host.received == b'abc'


def test_openbmc_starts_at_1_and_answers_no_retry(bench: Make) -> None:
    b = bench(OpenBmcEnd)
    assert b.get(2, 0, 0, 0, data=b'x') == []
    assert b.get(1, 0, 0, 0, data=b'a') == [b'\0\x01\x01\0']
    assert b.get(1, 0, 0, 0, data=b'a') == []
    assert b.get(2, 0, 0, 0, data=b'b') == [b'\0\x02\x01\0']
    assert b.host.received == b'ab'
    assert b.book.dropped('out of sequence') == 2


def test_openbmc_repeats_what_is_accepted_in_part(bench: Make) -> None:
    b = bench(OpenBmcEnd)
    b.host.send(b'abcdef')
    assert b.end.take() == [b'\x01\0\0\0abcdef']
    assert b.get(0, 1, 3, 0) == [b'\x01\0\0\0abcdef']
    assert b.get(0, 1, 6, NACK) == [b'\x01\0\0\0abcdef']
    assert b.get(0, 2, 6, 0) == []
    assert b.get(0, 1, 6, 0) == []
    assert b.host.waiting == 0


def test_openbmc_gives_nothing_up(bench: Make) -> None:
    b = bench(OpenBmcEnd, retry_count=1)
    b.host.send(b'abc')
    b.end.take()
    for number in (1, 1, 2):
        b.wait(0.1)
        assert b.end.take()[-1] == bytes((number, 0, 0, 0)) + b'abc'
    assert b.book.characters_lost == 0
