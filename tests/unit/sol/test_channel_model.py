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

"""SolChannel against a model BMC behind a network that does its worst.

Whatever is lost, doubled, delayed or overtaken, the host gets a prefix of
what was typed and the viewers get a prefix of what the host wrote, breaks in
their places; and when the network is well again, they get all of it.
"""

import hypothesis
from hypothesis import stateful
from hypothesis import strategies
import pytest

from ironic_solconsole.sol import channel
from tests.unit.sol import model

#: Steps after which a healed network must have brought everything. All that
#: a test can type, one character a packet, takes some ten thousand.
PATIENCE = 100_000

short = strategies.lists(
    strategies.integers(0, 255) | strategies.just(model.BREAK), min_size=1,
    max_size=6)
long = strategies.integers(1, 300).map(
    lambda count: [item % 251 for item in range(count)])
streams = short | long
index = strategies.integers(0, 7)


class Console:
    """A channel, the people before it, and a BMC behind two Directions."""

    def __init__(self, bmc, filters, size):
        self.bmc = bmc
        self.to_bmc = model.Direction(filters=filters)
        self.to_channel = model.Direction(filters=filters)
        self.now = 0.0
        # Never lost: that is another test, and no network is this bad.
        self.channel = channel.SolChannel(first_sequence=1, retries=10**9)
        self.size = size
        self.held = False       # input may not go out
        self.typed = []         # less what was dropped
        self.accepted = 0
        self.viewed = []
        self.breaks = 0         # that the channel says were taken
        self.wrote = []         # less what the BMC gave up

    def activate(self):
        self.channel.activated(self.size, self.now)
        self.exchange()

    def types(self, items):
        for item in items:
            if item == model.BREAK:
                taken = self.channel.send_break(self.now)
            else:
                taken = self.channel.send(bytes((item,)), self.now)
            if not taken:
                break
            self.typed.append(item)
        self.exchange()

    def pastes(self, items):
        text = bytes(item for item in items if item != model.BREAK)
        taken = self.channel.send(text, self.now)
        self.typed += text[:taken]
        self.exchange()

    def pause_sending(self):
        self.held = True
        self.channel.pause_sending()

    def resume_sending(self):
        self.held = False
        self.channel.resume_sending(self.now)
        self.exchange()

    def host_writes(self, items):
        self.wrote += items
        self.bmc.host_writes(items)
        self.exchange()

    def under_way(self):
        return self.to_bmc.under_way or self.to_channel.under_way

    def deliver_to_bmc(self, number, doubled=False):
        for payload in self.to_bmc.deliver(number, doubled=doubled):
            self.bmc.receive(payload)
            self.exchange()

    def deliver_to_channel(self, number, doubled=False):
        for payload in self.to_channel.deliver(number, doubled=doubled):
            self.channel.receive_data(payload, self.now)
            self.exchange()

    def deliver_all(self):
        for _ in range(PATIENCE):
            if not self.under_way():
                return
            self.deliver_to_bmc(0)
            self.deliver_to_channel(0)
        raise AssertionError('BMC and channel never stop sending')

    def next_timer(self):
        timers = [self.channel.next_timer(), self.bmc.retry_at]
        return min((at for at in timers if at is not None), default=None)

    def time_passes(self):
        """Until the next timer, which goes off."""
        due = self.next_timer()
        if due is None:
            return
        assert due >= self.now
        self.now = self.bmc.now = due
        if self.bmc.retry_at is not None and self.bmc.retry_at <= due:
            self.bmc.handle_timer()
        self.channel.handle_timer(due)
        self.exchange()

    def exchange(self):
        """Put on its way what either side wants to send; see the events."""
        for payload in self.channel.data_to_send():
            assert not self.held or not (payload[4:] or payload[3]), (
                f'{payload} is sent though input is held')
            self.to_bmc.send(payload)
        for payload in self.bmc.to_send:
            self.to_channel.send(payload)
        self.bmc.to_send.clear()
        for event in self.channel.events_received():
            self.see(event)
        self.check()

    def see(self, event):
        if isinstance(event, channel.DataReceived):
            self.viewed += event.data
        elif isinstance(event, channel.BreakReceived):
            self.viewed.append(model.BREAK)
        elif isinstance(event, channel.InputAccepted):
            self.accepted += event.count
        elif isinstance(event, channel.BreakAccepted):
            self.breaks += 1
            assert self.breaks <= self.bmc.host_received.count(model.BREAK)
        elif isinstance(event, channel.InputDropped):
            got = len(self.bmc.host_received)
            dropped = self.typed[got:]
            if event.why == 'the BMC refuses serial breaks':
                dropped = dropped[:1]
            assert event.breaks == dropped.count(model.BREAK)
            assert event.count == len(dropped) - event.breaks
            del self.typed[got:got + len(dropped)]
        else:
            assert isinstance(event, (
                channel.Overrun, channel.Unavailable, channel.Available))

    def check(self):
        host = self.bmc.host_received
        assert host == self.typed[:len(host)], (
            f'the host received {host[-20:]}, which is not what was typed')
        assert self.viewed == self.wrote[:len(self.viewed)], (
            f'viewers received {self.viewed[-20:]}, which is not what the '
            'host wrote')
        characters = sum(item != model.BREAK for item in host)
        assert self.accepted <= characters, (
            'more was reported as accepted than the host received')
        typed = sum(item != model.BREAK for item in self.typed)
        assert self.channel.pending == typed - self.accepted

    def heal(self):
        """From now on the network and the host do what they should."""
        self.bmc.host_is_on = True
        self.bmc.verdicts.clear()
        self.channel.resume_receiving()
        self.resume_sending()
        for _ in range(PATIENCE):
            self.deliver_all()
            if self.next_timer() is None:
                break
            self.time_passes()
        self.check()
        assert self.bmc.host_received == self.typed, 'input is missing'
        assert self.viewed == self.wrote, 'output is missing'
        assert self.channel.pending == self.channel.pending_breaks == 0
        assert not self.bmc.written


class Machine(stateful.RuleBasedStateMachine):
    """What may happen to a console."""

    filters: bool

    @stateful.initialize(
        # 2 is what an empty packet lost three times would not help against.
        remembers=strategies.integers(0, 15).filter(lambda n: n != 2),
        piggybacks=strategies.booleans(), grows=strategies.booleans(),
        packet_size=strategies.sampled_from([1, 7, 255]),
        size=strategies.sampled_from([0, 5, 32, 255, 259]),
        early=strategies.booleans())
    def begin(self, remembers, piggybacks, grows, packet_size, size, early):
        bmc = model.ModelBmc(
            careful=not self.filters, remembers=remembers,
            piggybacks=piggybacks, grows=grows, packet_size=packet_size)
        self.console = Console(bmc, self.filters, size)
        self.activated = False
        self.paused = False
        self.given_up = 0           # since the viewers got something
        self.viewed = 0
        if not early:
            self.activate()

    @stateful.precondition(lambda self: not self.activated)
    @stateful.rule()
    def activate(self):
        self.activated = True
        self.console.activate()

    @stateful.rule(items=short)
    def somebody_types(self, items):
        self.console.types(items)

    # What would change nothing is no step: there are few enough of them.

    @stateful.precondition(lambda self: self.console.channel.pending < 1000)
    @stateful.rule(items=long)
    def somebody_pastes(self, items):
        self.console.pastes(items)

    @stateful.rule(items=streams)
    def the_host_writes(self, items):
        self.console.host_writes(items)

    @stateful.precondition(lambda self: self.console.to_bmc.under_way)
    @stateful.rule(index=index, doubled=strategies.booleans())
    def a_datagram_reaches_the_bmc(self, index, doubled):
        self.console.deliver_to_bmc(index, doubled)

    @stateful.precondition(lambda self: self.console.to_channel.under_way)
    @stateful.rule(index=index, doubled=strategies.booleans())
    def a_datagram_reaches_the_channel(self, index, doubled):
        self.console.deliver_to_channel(index, doubled)

    @stateful.precondition(lambda self: self.console.under_way())
    @stateful.rule()
    def the_network_is_quick(self):
        self.console.deliver_all()

    @stateful.precondition(lambda self: self.console.to_bmc.under_way)
    @stateful.rule(index=index)
    def a_datagram_to_the_bmc_is_lost(self, index):
        self.console.to_bmc.drop(index)

    @stateful.precondition(lambda self: self.console.to_channel.under_way)
    @stateful.rule(index=index)
    def a_datagram_to_the_channel_is_lost(self, index):
        self.console.to_channel.drop(index)

    @stateful.precondition(lambda self: self.console.next_timer())
    @stateful.rule()
    def time_passes(self):
        if not self.filters:
            # Without the filter, nothing is under way for so long that
            # both sides have gone on meanwhile.
            self.console.deliver_all()
        self.console.time_passes()

    @stateful.rule(verdicts=strategies.lists(strategies.builds(
        model.Verdict, strategies.sampled_from([0, 1, 5, 100, 255]),
        strategies.booleans()), max_size=3))
    def the_bmc_gets_picky(self, verdicts):
        self.console.bmc.verdicts = verdicts

    @stateful.precondition(lambda self: self.console.bmc.last_nack)
    @stateful.rule()
    def the_bmc_is_ready_again(self):
        self.console.bmc.says_it_is_ready()
        self.console.exchange()

    @stateful.rule()
    def the_host_is_switched(self):
        self.console.bmc.host_is_on = not self.console.bmc.host_is_on

    @stateful.rule()
    def receiving_is_paused_or_resumed(self):
        self.paused = not self.paused
        if self.paused:
            self.console.channel.pause_receiving()
        else:
            self.console.channel.resume_receiving()

    @stateful.rule()
    def sending_is_paused_or_resumed(self):
        if self.console.held:
            self.console.resume_sending()
        else:
            self.console.pause_sending()

    @stateful.precondition(lambda self: self.console.bmc.number)
    @stateful.rule(times=strategies.sampled_from([1, 1, 2, 9]))
    def the_bmc_gives_up_packets(self, times):
        if self.viewed != len(self.console.viewed):
            self.viewed = len(self.console.viewed)
            self.given_up = 0
        # Retries take longer than any datagram is under way. A packet might
        # still be taken; an ack might be for the same number, next round.
        self.console.to_channel.under_way.clear()
        self.console.to_bmc.under_way.clear()
        for _ in range(times):
            # After 14 packets that were never seen, the number is that of
            # the last one that was, and perhaps the characters are, too.
            if self.given_up == 13:
                break
            self.given_up += 1
            lost = self.console.bmc.gives_up_packet()
            viewed = len(self.console.viewed)
            rest = len(self.console.bmc.written)
            sent = len(self.console.wrote) - rest
            assert sent - lost <= viewed <= sent
            del self.console.wrote[viewed:sent]
            self.console.bmc.to_send.clear()
            if not self.console.bmc.number:
                break
        self.console.check()

    def teardown(self):
        if hasattr(self, 'console'):
            if not self.activated:
                self.activate()
            self.console.heal()


class FilteredMachine(Machine):
    """Anything may happen on the way; the session layer drops the past."""

    filters = True


class UnfilteredMachine(Machine):
    """Datagrams overtake each other a little, and all of them arrive."""

    filters = False


settings = hypothesis.settings(
    max_examples=100, stateful_step_count=50, deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow])

TestFiltered = FilteredMachine.TestCase
TestFiltered.settings = settings
TestUnfiltered = UnfilteredMachine.TestCase
TestUnfiltered.settings = settings


@pytest.mark.parametrize('filters', [True, False])
@pytest.mark.parametrize('piggybacks', [True, False])
def test_both_directions_at_once_go_through_a_sound_network(
        filters, piggybacks):
    bmc = model.ModelBmc(careful=not filters, piggybacks=piggybacks)
    console = Console(bmc, filters, 259)
    text = [item % 251 for item in range(20_000)]
    text[5000] = text[5001] = text[19_999] = model.BREAK
    console.host_writes(text)
    console.types(text)
    console.activate()
    console.heal()
    assert bmc.host_received == text
    assert console.viewed == text
