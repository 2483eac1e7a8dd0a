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

"""Real numbers: a lossy network, latencies, the default retries.

The model of test_channel_model.py explores; this one measures up to the
promise that no byte is lost, doubled or out of order at 2% loss and 2%
reordering, and to much more than that.
"""

import heapq
import itertools
import random

import pytest

from ironic_solconsole.sol import channel
from tests.unit.sol import model


class Simulation:
    """A console over a network that loses, doubles and reorders by chance.

    :param loss: probability that a datagram is lost.
    :param late: probability that it is late.
    :param doubled: probability that it comes twice.
    :param filters: whether the session layers drop what is overtaken. Then
        a datagram is late by up to 50 ms. If not, the BMC itself is careful,
        and lateness is limited to what numbers from 1 to 15 can tell from
        the next round: being overtaken by 7 packets.
    """

    latency = 0.0005

    def __init__(self, seed, *, loss, late, doubled, filters,
                 **options):
        self.chance = random.Random(seed)
        self.loss, self.late, self.doubled = loss, late, doubled
        self.filters = filters
        self.lateness = 0.05 if filters else 6 * self.latency
        self.bmc = model.ModelBmc(careful=not filters, **options)
        self.channel = channel.SolChannel(first_sequence=1)
        self.now = 0.0
        self.order = itertools.count(1)
        self.queue = []                 # (time, order, to the BMC?, payload)
        self.newest = {True: 0, False: 0}
        self.viewed = bytearray()
        self.accepted = 0
        self.ended = []

    def put(self, to_bmc, payload):
        if self.chance.random() < self.loss:
            return
        order = next(self.order)
        for _ in range(1 + (self.chance.random() < self.doubled)):
            at = self.now + self.latency
            if self.chance.random() < self.late:
                at += self.lateness * self.chance.random()
            heapq.heappush(self.queue, (at, order, to_bmc, payload))

    def exchange(self):
        for payload in self.channel.data_to_send():
            self.put(True, payload)
        for payload in self.bmc.to_send:
            self.put(False, payload)
        self.bmc.to_send.clear()
        for event in self.channel.events_received():
            if isinstance(event, channel.DataReceived):
                self.viewed += event.data
            elif isinstance(event, channel.InputAccepted):
                self.accepted += event.count
            else:
                self.ended.append(event)

    def step(self):
        """The next thing that happens.

        :returns: False if nothing will.
        """
        timers = [at for at in (self.channel.next_timer(),
                                self.bmc.retry_at) if at is not None]
        if self.queue and self.queue[0][0] <= min(timers, default=1e9):
            self.now, order, to_bmc, payload = heapq.heappop(self.queue)
            self.bmc.now = self.now
            if self.filters:
                if order < self.newest[to_bmc]:
                    return True
                self.newest[to_bmc] = order
            if to_bmc:
                self.bmc.receive(payload)
            else:
                self.channel.receive_data(payload, self.now)
        elif timers:
            self.now = self.bmc.now = min(timers)
            if self.bmc.retry_at is not None and (
                    self.bmc.retry_at <= self.now):
                self.bmc.handle_timer()
            self.channel.handle_timer(self.now)
        else:
            return False
        self.exchange()
        return True

    def run(self, typed, written, pick=lambda chance: None):
        """Both streams at once.

        :param pick: gives the BMC's next Verdict, or None.
        """
        self.channel.activated(259, self.now)
        offset = 0
        # In pieces, so that there is more to send when a retry is due.
        pieces = [list(written[at:at + 100])
                  for at in range(0, len(written), 100)]
        pieces.reverse()
        for _ in range(200_000):
            offset += self.channel.send(typed[offset:offset + 4096], self.now)
            if not self.bmc.verdicts:
                verdict = pick(self.chance)
                if verdict:
                    self.bmc.verdicts.append(verdict)
            if pieces and self.chance.random() < 0.3:
                self.bmc.host_writes(pieces.pop())
            self.exchange()
            if not self.step() and not pieces:
                break
        assert self.ended == []
        assert bytes(self.bmc.host_received) == typed, 'input is not exact'
        assert bytes(self.viewed) == written, 'output is not exact'
        assert self.accepted == len(typed)
        assert self.channel.pending == 0


TEXT = bytes(item * 7 % 251 for item in range(100_000))


@pytest.mark.parametrize('filters', [True, False])
@pytest.mark.parametrize('seed', range(5))
def test_streams_are_exact_at_2_percent_loss_and_reordering(seed, filters):
    Simulation(seed, loss=0.02, late=0.02, doubled=0.02, filters=filters,
               grows=True).run(TEXT, TEXT[::-1])


@pytest.mark.parametrize('filters', [True, False])
@pytest.mark.parametrize('seed', range(5))
def test_streams_are_exact_on_a_network_that_hardly_works(seed, filters):
    Simulation(seed, loss=0.2, late=0.3, doubled=0.3, filters=filters,
               piggybacks=bool(seed % 2)).run(TEXT[:20_000], TEXT[:20_000])


@pytest.mark.parametrize('seed', range(3))
def test_a_paste_is_exact_at_a_bmc_that_takes_it_bit_by_bit(seed):
    def pick(chance):
        return model.Verdict(
            chance.choice([0, 1, 32, 32, 32, 100, 255]),
            chance.random() < 0.2)

    Simulation(seed, loss=0.02, late=0.02, doubled=0.02, filters=True).run(
        TEXT[:20_000], TEXT[:1000], pick)


@pytest.mark.parametrize('seed', range(3))
def test_a_bmc_that_takes_numbers_in_order_only_gets_all_that_is_not_lost(
        seed):
    # Where its acknowledgment is lost, the link is: such a BMC does not
    # answer a retry.
    Simulation(seed, loss=0, late=0.1, doubled=0.1, filters=False,
               strict=True, piggybacks=True).run(TEXT, TEXT[:50_000])


def test_on_a_sound_network_nothing_is_sent_twice():
    simulation = Simulation(0, loss=0, late=0, doubled=0, filters=True)
    simulation.run(TEXT, TEXT)
    sol = simulation.channel
    assert sol.retries_sent == sol.duplicates == sol.stray_acks == 0
    assert sol.gaps == sol.out_of_order == sol.malformed == sol.nacks == 0
