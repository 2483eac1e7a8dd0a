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

"""What take_next() takes, it takes as receive_data() does."""

import copy

import hypothesis
from hypothesis import strategies

from ironic_solconsole.sol import channel
from tests.unit.sol.bench import from_bmc

#: Payloads of a BMC, of which most are what take_next() is for.
PAYLOADS = strategies.one_of(
    strategies.builds(
        from_bmc, strategies.integers(1, 15),
        strategies.binary(min_size=1, max_size=8)),
    strategies.builds(
        lambda number, characters, acks, count, status: from_bmc(
            number, characters, acks=acks, count=count, status=status),
        strategies.integers(0, 31),
        strategies.one_of(strategies.binary(max_size=8),
                          strategies.integers(250, 260).map(bytes)),
        strategies.sampled_from([0, 0, 1, 2, 16]),
        strategies.integers(0, 255),
        strategies.sampled_from([0, 0, 0x40, 0x20, 0x10, 0x08, 0x04])),
    strategies.binary(max_size=6))

#: 'next' is a packet with the number that is due.
STEPS = strategies.lists(strategies.one_of(
    strategies.just('next'), strategies.just('next'), PAYLOADS,
    strategies.sampled_from([
        'again', 'pause', 'resume', 'type', 'activated', 'time'])),
    max_size=30)


def state(sol):
    """All that a channel remembers."""
    return {name: copy.copy(getattr(sol, name)) for name in sol.__slots__}


def fast(sol, payload, now):
    """Take a payload as a link does; gives what it sends and reports."""
    before = state(sol)
    taken = sol.take_next(payload)
    if taken is not None:
        return [taken[0]], [channel.DataReceived(taken[1])], True
    assert state(sol) == before, 'it refused the payload, and changed'
    return (*slow(sol, payload, now), False)


def slow(sol, payload, now):
    sol.receive_data(payload, now)
    return sol.data_to_send(), sol.events_received()


@hypothesis.given(STEPS)
def test_both_ways_are_the_same(steps):
    pair = channel.SolChannel(), channel.SolChannel()
    now, last = 0.0, b''
    for step in steps:
        now += 0.1
        if step == 'next':
            step = from_bmc(pair[0]._last % 15 + 1, b'%f' % now)
        elif step == 'again':
            step = last
        if isinstance(step, bytes):
            last = step
            sent, events, _ = fast(pair[0], step, now)
            assert (sent, events) == slow(pair[1], step, now)
        else:
            for sol in pair:
                if step == 'pause':
                    sol.pause_receiving()
                elif step == 'resume':
                    sol.resume_receiving()
                elif step == 'type':
                    sol.send(b'ls', now)
                elif step == 'activated':
                    sol.activated(259, now)
                else:
                    sol.handle_timer(now)
                sol.data_to_send()
                sol.events_received()
        assert state(pair[0]) == state(pair[1])


def test_a_stream_takes_the_fast_way_from_its_second_packet_on():
    sol = channel.SolChannel()
    sol.activated(259, 0.0)
    sol.data_to_send()
    ways = [fast(sol, from_bmc(number % 15 + 1, bytes(255)), 0.0)[2]
            for number in range(100)]
    assert ways == [False] + [True] * 99
    assert sol.bytes_received == 25_500


def test_what_waits_to_be_sent_is_not_overtaken():
    sol = channel.SolChannel()
    sol.receive_data(from_bmc(1, b'a'), 0.0)
    assert sol.take_next(from_bmc(2, b'b')) is None
