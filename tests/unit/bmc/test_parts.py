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

"""Packets, keys, sequence windows, sessions and faults of our BMC."""

import random

import hypothesis
from hypothesis import strategies
import pytest

from tests.support.bmc import faults
from tests.support.bmc import options
from tests.support.bmc import sessions
from tests.support.bmc import suites
from tests.support.bmc import wire

KEY = bytes(range(20))


def opened(keys: suites.Keys, datagram: bytes) -> tuple[int, bytes]:
    packet = wire.parse(datagram)
    if not isinstance(packet, wire.Packet):
        raise suites.NotOpenedError('of another format')
    return packet.session_id, keys.open(packet)


@pytest.mark.parametrize('number', suites.SUITES)
@hypothesis.given(payload=strategies.binary(max_size=300))
def test_what_is_sealed_can_be_opened(number: int, payload: bytes) -> None:
    suite = suites.SUITES[number]
    keys = suites.Keys(suite, KEY)
    sealed = keys.seal(1, suite.encrypts, suite.authenticates, 0xdeadbeef,
                       7, payload)
    assert opened(keys, sealed) == (0xdeadbeef, payload)
    if suite.authenticates:
        assert (len(sealed) - 4 - suite.check_size) % 4 == 0


@pytest.mark.parametrize('number', [3, 17])
@hypothesis.given(at=strategies.integers(min_value=0))
def test_no_bit_can_be_flipped(number: int, at: int) -> None:
    suite = suites.SUITES[number]
    keys = suites.Keys(suite, KEY)
    sealed = bytearray(keys.seal(1, True, True, 5, 7, b'some characters'))
    # The RMCP header is not covered.
    at = 32 + at % (8 * len(sealed) - 32)
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises((wire.MalformedError, suites.NotOpenedError)):
        assert not opened(keys, bytes(sealed))


@hypothesis.given(data=strategies.binary(max_size=200))
def test_any_bytes_are_a_packet_or_malformed(data: bytes) -> None:
    for datagram in (data, b'\x06\x00\xff\x07' + data,
                     b'\x06\x00\xff\x07\x06' + data,
                     b'\x06\x00\xff\x06\x00\x00\x11\xbe' + data):
        try:
            packet = wire.parse(datagram)
        except wire.MalformedError:
            continue
        if isinstance(packet, wire.Packet):
            with pytest.raises(suites.NotOpenedError):
                raise_if_opened(packet)


def raise_if_opened(packet: wire.Packet) -> None:
    """Random bytes must not get in; but what is plain is open."""
    suites.Keys(suites.SUITES[17], KEY).open(packet)
    assert not packet.encrypted
    assert not packet.authenticated
    raise suites.NotOpenedError('plain')


@hypothesis.given(data=strategies.binary(max_size=40))
def test_messages(data: bytes) -> None:
    request = wire.request(0x06, 0x3d, 5, data)
    message = wire.parse_message(request)
    assert (message.netfn, message.command, message.data) == (0x06, 0x3d, data)
    answer = wire.parse_message(wire.answer(message, 0xc1, data))
    assert (answer.netfn, answer.sequence, answer.data) == (
        0x07, 5, b'\xc1' + data)
    spoiled = bytearray(request)
    spoiled[-1] ^= 1
    with pytest.raises(wire.MalformedError):
        wire.parse_message(bytes(spoiled))


def test_a_sequence_window() -> None:
    window = sessions.Window(ahead=15, behind=16)
    assert not window.accepts(0)
    assert window.accepts(1)
    assert not window.accepts(1)
    assert window.accepts(16)
    assert not window.accepts(32)
    assert window.accepts(31)
    assert window.accepts(17)           # 14 behind, not seen yet
    assert not window.accepts(17)
    assert window.accepts(15)           # 16 behind
    assert not window.accepts(14)       # 17 behind
    assert not window.accepts(16)       # seen long ago


@hypothesis.given(numbers=strategies.lists(
    strategies.integers(1, 60), max_size=80))
def test_a_sequence_window_never_takes_a_number_twice(
        numbers: list[int]) -> None:
    window = sessions.Window(ahead=15, behind=16)
    taken = [number for number in numbers if window.accepts(number)]
    assert len(taken) == len(set(taken))


def test_a_sequence_window_goes_round() -> None:
    window = sessions.Window(ahead=15, behind=16, highest=0xfffffff0)
    for number in (0xfffffffe, 0xffffffff, 1, 2):
        assert window.accepts(number), hex(number)
    assert not window.accepts(0xffffffff)


def table(slots: int = 2) -> sessions.Table:
    return sessions.Table(
        options.BmcOptions(slots=slots, session_timeout=60.0,
                           setup_timeout=10.0), random.Random(1))


def test_slots_and_handles() -> None:
    here = table(slots=2)
    suite = suites.SUITES[3]
    first, second, third = (
        here.open(1, suite, 4, ('127.0.0.1', 1), None, 0.0)
        for _ in range(3))
    assert here.activate(first, 0.0)
    assert here.activate(second, 0.0)
    assert not here.activate(third, 0.0)
    assert [first.handle, second.handle, third.handle] == [1, 2, 0]
    here.remove(first)
    assert here.activate(third, 0.0)
    assert third.handle == 1
    assert here.by_handle(1) is third
    assert here.free_slots == 0


def test_unfinished_logins_give_way_and_time_out() -> None:
    here = table(slots=1)
    suite = suites.SUITES[3]
    made = [here.open(number, suite, 4, ('127.0.0.1', 1), None, 0.0)
            for number in range(here.MAX_PENDING + 3)]
    assert len(here) == here.MAX_PENDING
    assert here.get(made[0].id) is None
    assert here.get(made[-1].id) is made[-1]
    assert here.overdue(9.0) == []
    assert len(here.overdue(10.0)) == here.MAX_PENDING


def test_faults_are_the_same_for_the_same_seed() -> None:
    def run(seed: str) -> list[list[faults.Delivery]]:
        network = faults.Faults(seed)
        network.both(drop=0.2, duplicate=0.2, reorder=0.2, mutate=0.1,
                     truncate=0.1, forge=0.1, garbage=0.1)
        return [network.incoming(bytes([number]) * 20)
                for number in range(200)]

    assert run('a') == run('a')
    assert run('a') != run('b')


def test_single_packets_can_be_lost() -> None:
    network = faults.Faults('seed')
    network.lose_answers((0x06, 0x48), times=2)
    network.lose_payloads(0x15)
    got = [bool(network.outgoing(b'x', ('answer', 0x06, 0x48)))
           for _ in range(3)]
    assert got == [False, False, True]
    assert network.outgoing(b'x', ('answer', 0x06, 0x49))
    assert not network.outgoing(b'x', ('payload', 0x15))
    network.slow_answers((0x06, 0x4b), 2.0)
    assert network.outgoing(b'x', ('answer', 0x06, 0x4b)) == [(2.0, b'x')]
    network.clear()
    assert network.outgoing(b'x', ('answer', 0x06, 0x4b)) == [(0.0, b'x')]


def test_each_fault_does_what_it_says() -> None:
    data = bytes(range(200))

    def once(**way: float) -> list[faults.Delivery]:
        network = faults.Faults('seed')
        network.both(**way)
        return network.outgoing(data, ('sol', 'data'))

    assert once() == [(0.0, data)]
    assert once(drop=1.0) == []
    first, second = once(duplicate=1.0)
    assert first == (0.0, data)
    assert second[1] == data
    assert 0.003 <= second[0] <= 0.03
    (delay, same), = once(reorder=1.0)
    assert same == data
    assert 0.003 <= delay <= 0.03
    (_, cut), = once(truncate=1.0)
    assert data.startswith(cut)
    assert len(cut) < len(data)
    (_, spoiled), = once(mutate=1.0)
    assert sum((a ^ b).bit_count() for a, b in zip(data, spoiled)) == 1
    (_, forged), (_, real) = once(forge=1.0)
    assert forged != data
    assert real == data
    (_, noise), (_, real) = once(garbage=1.0)
    assert noise != data
    assert real == data
