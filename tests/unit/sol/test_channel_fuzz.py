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

"""No bytes make a SolChannel raise, hang or grow."""

import random
import tracemalloc

import hypothesis
from hypothesis import strategies
import pytest

from ironic_solconsole.sol import channel
from tests.unit.sol.bench import Bench

# Numbers that meet, so that more than the first check is reached.
likely = strategies.builds(
    lambda header, rest: bytes(header) + rest,
    strategies.tuples(
        strategies.integers(0, 15), strategies.integers(0, 4),
        strategies.sampled_from([0, 1, 5, 255]),
        # The rarest bit ends it all: hardly ever.
        strategies.integers(0, 255).map(lambda bits: bits & ~0x10)),
    strategies.binary(max_size=20))
payloads = likely | strategies.binary(max_size=600)


@hypothesis.settings(deadline=None)
@hypothesis.given(strategies.lists(payloads, max_size=60),
                  strategies.booleans(), strategies.booleans())
def test_any_payloads_are_an_event_or_nothing(received, activated, paused):
    bench = Bench(activated=activated)
    bench.types(b'x' * 700)
    bench.sends_break()
    if paused:
        bench.channel.pause_receiving()
    viewed = 0
    for payload in received:
        bench.bmc_sends_bytes(payload)
        events = bench.events()
        assert len(events) <= 7, 'more events than a packet has parts'
        bench.now += 0.3
        bench.channel.handle_timer(bench.now)
        for packet in bench.sent():
            assert len(packet.data) <= 255
        for event in events:
            if isinstance(event, channel.DataReceived):
                assert payload[4:].startswith(event.data)
                assert 1 <= len(event.data) <= 255
                viewed += len(event.data)
    sol = bench.channel
    assert viewed == sol.bytes_received
    assert sol.bytes_accepted + sol.bytes_dropped + sol.pending == 700
    assert sol.breaks_accepted + sol.breaks_dropped + sol.pending_breaks == 1


@hypothesis.given(strategies.integers(-10, 1 << 20))
def test_any_size_of_the_bmc_gives_1_to_255_characters(size):
    assert 1 <= channel.characters_per_packet(size) <= 255


@pytest.mark.parametrize('seed', range(4))
def test_a_flood_of_random_payloads_leaves_nothing_behind(seed):
    chance = random.Random(seed)
    sol = channel.SolChannel(first_sequence=1, retries=10**9)
    sol.activated(259, 0.0)
    sol.pause_receiving()

    def flood(packets):
        for turn in range(packets):
            payload = bytearray(chance.randbytes(chance.randrange(300)))
            if len(payload) > 3:
                payload[3] &= ~0x10
            sol.receive_data(bytes(payload), float(turn))
            sol.send(payload, float(turn))
            sol.send_break(float(turn))
            # Acknowledgments are not fetched: even these must not pile up.
            sol.events_received()
            sol.handle_timer(float(turn))
            if turn % 50 == 0:
                sol.resume_receiving()

    flood(2000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    flood(4000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert sol.state is channel.State.OPEN
    assert sol.pending <= 64 * 1024
    assert sol.pending_breaks <= channel.MAX_BREAKS
    assert len(sol.data_to_send()) <= channel.MAX_ACKS + 1
    # The queue itself may have filled up since.
    assert grown < 128 * 1024, f'{grown} bytes more than before'
