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

"""A BMC and a network to test SolChannel against.

Both are written from chapter 15 of IPMI v2.0, from OpenIPMI's lanserv and
from OpenBMC's phosphor-net-ipmid; they share nothing with channel.py. They
decide nothing by themselves: what a BMC or a network may do one way or the
other is an attribute or an argument, for the test to choose.

Streams are lists of integers: 0 to 255 are characters, BREAK is a serial
break.
"""

import dataclasses

BREAK = 256

Stream = list[int]

#: Seconds between two copies of a packet of the BMC.
RETRY_INTERVAL = 0.5


def follows(number: int) -> int:
    """The SOL packet number after this one."""
    return 1 if number == 15 else number + 1


@dataclasses.dataclass
class Verdict:
    """What a BMC does with the next new packet of input.

    :param accepts: characters it takes, at most.
    :param refuses: whether it says NACK; of a break: whether it does not
        carry it out.
    """

    accepts: int = 255
    refuses: bool = False


class ModelBmc:
    """A BMC with SOL active, and the host behind it.

    :param careful: drops packets with a number from the past, which takes
        no session layer to filter them. Else it takes every number that is
        not the last one's for new, as lanserv does.
    :param strict: takes the number that follows and no other, not even the
        last one's again, and begins with 1, as OpenBMC does.
    :param remembers: the number that the activation before ended with.
    :param piggybacks: acknowledgments ride on data where data is to be
        sent, and are repeated by its retries, as OpenBMC does it.
    :param grows: a retry carries what the host has written meanwhile.
    :param packet_size: characters a packet of the BMC.
    """

    def __init__(self, *, careful: bool, strict: bool = False,
                 remembers: int = 0, piggybacks: bool = False,
                 grows: bool = False, packet_size: int = 255) -> None:
        self.careful = careful
        self.strict = strict
        self.piggybacks = piggybacks
        self.grows = grows
        self.packet_size = packet_size
        self.now = 0.0
        self.host_is_on = True
        self.verdicts: list[Verdict] = []
        self.to_send: list[bytes] = []

        # Input
        self.host_received: Stream = []
        self.last_number = remembers
        self.last_count = 7 if remembers else 0
        self.last_nack = False
        self.last_was_break = False
        self.seen_a_packet = False

        # Output
        self.written: Stream = []           # by the host, not acked yet
        self.number = 0                     # outstanding, or 0
        self.next_number = 1
        self.packet: bytes = b''
        self.packet_breaks = False
        self.retry_at: float | None = None

    # The host

    def host_writes(self, items: Stream) -> None:
        """Output of the host."""
        self.written += items
        self.send_output(0)

    # Input

    def receive(self, payload: bytes) -> None:
        """A payload of the console arrives."""
        number, acks, count, operation = payload[:4]
        assert not (number and acks), 'an ack rides on a packet of input'
        assert len(payload) <= 259, 'more than 255 characters in a packet'
        if acks:
            assert operation == 0
            self.receive_ack(acks, count)
        elif number:
            self.receive_input(number, operation, payload[4:])

    def receive_input(self, number: int, operation: int,
                      characters: bytes) -> None:
        """Take, refuse or recognize a packet of input."""
        if self.strict:
            if number != follows(self.last_number or 15):
                return
        elif number == self.last_number:
            self.acknowledge()
            return
        if (self.careful and self.seen_a_packet
                and (number - self.last_number) % 15 > 7):
            return
        self.seen_a_packet = True
        is_break = operation == 0x10
        empty = not characters and not is_break
        verdict = Verdict()
        if self.verdicts and not empty:
            verdict = self.verdicts.pop(0)
        if not self.host_is_on:
            verdict = Verdict(0, True)
        taken = list(characters[:verdict.accepts])
        if is_break and not verdict.refuses:
            taken = [BREAK]
        self.host_received += taken
        self.last_number = number
        self.last_count = len(characters[:verdict.accepts])
        self.last_nack = verdict.refuses
        self.last_was_break = is_break
        self.acknowledge()

    def acknowledge(self) -> None:
        """Answer the last packet of input, not for the first time maybe."""
        if self.piggybacks and not self.number and self.written:
            self.send_output(self.last_number)
            return
        self.to_send.append(bytes((
            0, self.last_number, self.last_count, self.status())))

    def status(self) -> int:
        """Byte 4, breaks of the host aside."""
        return 0x40 * self.last_nack | 0x20 * (not self.host_is_on)

    def says_it_is_ready(self) -> None:
        """Take back a NACK, as lanserv does when its buffer is empty."""
        if self.last_nack and not self.last_was_break and self.host_is_on:
            self.last_nack = False
            self.acknowledge()

    # Output

    def run(self) -> tuple[Stream, bool]:
        """What the next packet carries: characters, then maybe a break."""
        characters: Stream = []
        for item in self.written[:self.packet_size + 1]:
            if item == BREAK:
                return characters, True
            characters.append(item)
        return characters[:self.packet_size], False

    def send_output(self, acks: int) -> None:
        """Send a new packet, if there is data and none is outstanding."""
        if self.number or not self.written:
            return
        characters, breaks = self.run()
        self.number = self.next_number
        self.next_number = follows(self.next_number)
        self.packet_breaks = breaks
        self.packet = bytes((
            self.number, acks, self.last_count if acks else 0,
            (self.status() if acks else 0x20 * (not self.host_is_on))
            | 0x04 * breaks)) + bytes(characters)
        self.to_send.append(self.packet)
        self.retry_at = self.now + RETRY_INTERVAL

    def receive_ack(self, number: int, count: int) -> None:
        """The console has taken so many characters of a packet."""
        if number != self.number:
            return
        carried = len(self.packet) - 4
        assert count <= carried, (
            f'{count} characters acknowledged of a packet with {carried}')
        del self.written[:count]
        if self.packet_breaks:
            assert count == carried, 'a break acknowledged without its data'
            del self.written[0]
        self.number = 0
        self.retry_at = None
        self.send_output(0)

    def handle_timer(self) -> None:
        """Send the outstanding packet again."""
        assert self.number
        if self.grows and not self.packet_breaks:
            characters, _breaks = self.run()
            self.packet = self.packet[:4] + bytes(characters)
        # The host may be off meanwhile, and the rest of byte 4 is of then.
        self.packet = (self.packet[:3]
                       + bytes((self.packet[3] & 0xdf
                                | 0x20 * (not self.host_is_on),))
                       + self.packet[4:])
        self.to_send.append(self.packet)
        self.retry_at = self.now + RETRY_INTERVAL

    def gives_up_packet(self) -> int:
        """Send the outstanding packet no more.

        :returns: how many items of output may be lost with it.
        """
        count = len(self.packet) - 4 + self.packet_breaks
        del self.written[:count]
        self.number = 0
        self.retry_at = None
        self.send_output(0)
        return count


@dataclasses.dataclass
class Datagram:
    """A payload on its way, with its RMCP+ session sequence number."""

    sequence: int
    payload: bytes
    overtaken: int = 0


class Direction:
    """One way through the network.

    :param filters: the receiver drops what is older than the newest that it
        has seen, as pyghmi's Session does. Then all may happen on the way;
        without it, a datagram is overtaken by at most ``most_overtaken``
        others.
    """

    most_overtaken = 3

    def __init__(self, *, filters: bool) -> None:
        self.filters = filters
        self.under_way: list[Datagram] = []
        self.sequence = 0
        self.newest = 0

    def send(self, payload: bytes) -> None:
        """Put a payload on its way."""
        self.sequence += 1
        self.under_way.append(Datagram(self.sequence, payload))

    def pick(self, index: int) -> Datagram:
        """The datagram that comes next, of those that may."""
        if not self.filters:
            for late, datagram in enumerate(self.under_way):
                if datagram.overtaken >= self.most_overtaken:
                    index = min(index % len(self.under_way), late)
                    break
        return self.under_way[index % len(self.under_way)]

    def drop(self, index: int) -> None:
        """Lose a datagram."""
        if self.under_way:
            del self.under_way[index % len(self.under_way)]

    def deliver(self, index: int = 0, *, doubled: bool = False
                ) -> list[bytes]:
        """Take a datagram out.

        :param doubled: it comes twice.
        :returns: the payloads that the receiver's session layer passes on.
        """
        if not self.under_way:
            return []
        datagram = self.pick(index)
        place = self.under_way.index(datagram)
        for other in self.under_way[:place]:
            other.overtaken += 1
        del self.under_way[place]
        if not self.filters:
            return [datagram.payload] * (1 + doubled)
        if datagram.sequence < self.newest:
            return []
        self.newest = datagram.sequence
        if doubled:
            self.under_way.append(datagram)     # its twin, later
        return [datagram.payload]
