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

"""A SolChannel on the bench: the test is the BMC, the clock and the loop.

::

    bench = Bench()                         # activated
    bench.types(b'ls')
    bench.expect_sent(data(2, b'ls'))       # number 1 was the empty packet
    bench.bmc_sends(acks=2, count=2)
    bench.expect_events(channel.InputAccepted(2))
"""

import typing

from ironic_solconsole.sol import channel

#: What a BMC says that takes 255 characters in a packet.
SIZE = 259

NACK = 0x40
UNAVAILABLE = 0x20
DEACTIVATED = 0x10
OVERRUN = 0x08
BREAK_DETECTED = 0x04


class Sent(typing.NamedTuple):
    """A payload that the channel sent, taken apart."""

    number: int
    acks: int
    count: int
    operation: int
    data: bytes


def ack(number: int, count: int) -> Sent:
    """What acknowledges a packet of the BMC."""
    return Sent(0, number, count, 0x00, b'')


def data(number: int, characters: bytes) -> Sent:
    """What carries input."""
    return Sent(number, 0, 0, 0x00, characters)


def serial_break(number: int) -> Sent:
    """What has the BMC generate a serial break."""
    return Sent(number, 0, 0, 0x10, b'')


def from_bmc(number: int = 0, characters: bytes = b'', *, acks: int = 0,
             count: int = 0, status: int = 0) -> bytes:
    """A SOL payload of a BMC (IPMI v2.0 table 15-2)."""
    return bytes((number, acks, count, status)) + characters


class Bench:
    """A channel, and what the tests do to it and expect of it.

    :param activated: whether the activation has been answered, and the
        empty packet that opens it acknowledged. The next packet of the
        channel then has number 2.
    :param size: the inbound payload size in that answer.
    :param options: for SolChannel.

    What the channel wants to send is fetched after each step, as a loop
    would, unless ``busy`` is set.
    """

    def __init__(self, *, activated: bool = True, size: int = SIZE,
                 **options: typing.Any) -> None:
        self.now = 1000.0
        self.busy = False
        self._sent: list[Sent] = []
        self.channel = channel.SolChannel(first_sequence=1, **options)
        if activated:
            self.activate(size)
            self.expect_sent(data(1, b''))
            self.bmc_sends(acks=1)
            self.expect_nothing()

    def activate(self, size: int = SIZE) -> None:
        """The BMC answers Activate Payload."""
        self.channel.activated(size, self.now)
        self._fetch()

    def bmc_sends(self, number: int = 0, characters: bytes = b'', *,
                  acks: int = 0, count: int = 0, status: int = 0) -> None:
        """A packet of the BMC arrives."""
        self.bmc_sends_bytes(from_bmc(
            number, characters, acks=acks, count=count, status=status))

    def bmc_sends_bytes(self, payload: bytes) -> None:
        """Any bytes of the BMC arrive."""
        self.channel.receive_data(payload, self.now)
        self._fetch()

    def types(self, characters: bytes) -> int:
        """Somebody types."""
        taken = self.channel.send(characters, self.now)
        self._fetch()
        return taken

    def sends_break(self) -> bool:
        """Somebody asks for a serial break."""
        taken = self.channel.send_break(self.now)
        self._fetch()
        return taken

    def _fetch(self) -> None:
        if not self.busy:
            self._sent += [Sent(*payload[:4], payload[4:])
                           for payload in self.channel.data_to_send()]

    def sent(self) -> list[Sent]:
        """What the channel has sent since the last call."""
        self.busy = False
        self._fetch()
        sent, self._sent = self._sent, []
        return sent

    def events(self) -> list[channel.Event]:
        """What the channel has reported since the last call."""
        return self.channel.events_received()

    def expect_sent(self, *packets: Sent) -> None:
        """Exactly these have been sent since the last look."""
        sent = self.sent()
        assert sent == list(packets), (
            f'the channel sent {sent}, expected {list(packets)}')

    def expect_events(self, *events: channel.Event) -> None:
        """Exactly these have been reported since the last look."""
        reported = self.events()
        assert reported == list(events), (
            f'the channel reported {reported}, expected {list(events)}')

    def expect_nothing(self) -> None:
        """Nothing has been sent or reported since the last look."""
        self.expect_sent()
        self.expect_events()

    def passes(self, seconds: float) -> None:
        """Time passes, with no event but timers."""
        until = self.now + seconds
        while (due := self.channel.next_timer()) is not None and due <= until:
            assert due >= self.now, 'the timer goes back in time'
            self.now = due
            self.channel.handle_timer(due)
            self._fetch()
            assert self.channel.next_timer() != due, (
                'the timer does not move on: this is an endless loop')
        self.now = until

    def waits(self) -> float:
        """Time passes until the timer is due.

        :returns: how long that was, in seconds.
        """
        due = self.channel.next_timer()
        assert due is not None, 'the channel waits for nothing'
        delay = due - self.now
        self.passes(delay)
        self.now = due
        return round(delay, 6)

    def expect_closed(self) -> None:
        """Whatever happens now, nothing is sent, taken or reported."""
        assert self.channel.state is channel.State.CLOSED, (
            f'the channel is {self.channel.state!r}, not closed')
        assert self.channel.next_timer() is None, 'a timer runs on'
        self.expect_nothing()
        assert self.types(b'late') == 0, 'input was taken after the end'
        assert not self.sends_break(), 'a break was taken after the end'
        self.activate()
        self.bmc_sends(9, b'late', acks=2, count=1)
        self.bmc_sends(status=UNAVAILABLE | DEACTIVATED)
        self.passes(60)
        assert self.channel.next_timer() is None, 'a timer runs again'
        self.expect_nothing()
