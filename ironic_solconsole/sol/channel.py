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


"""The Serial over LAN payload protocol, as a plain object.

IPMI v2.0 rev. 1.1 chapter 15; the format is that of table 15-2, "SOL
Payload Data Format"::

    byte 1     sequence number of this packet, 1 to 15 (low nibble);
               0: nothing in it has to be acknowledged
    byte 2     sequence number that is acknowledged (low nibble); 0: none
    byte 3     how many characters of that packet were accepted
    byte 4     operation (to the BMC) or status (from the BMC)
    byte 5...  up to 255 characters

A SolChannel lives as long as one activation. Payloads from the BMC and
what people type go in; events and payloads for the BMC come out. There is
no socket, clock, task or randomness in it: ``now`` comes from outside, in
seconds of any clock that does not go backwards.

Two rules hold everything together:

1. One packet is outstanding each way. Until it is acknowledged it is sent
   again with the same number and the same bytes, and nothing after it is
   sent. Who gets a number for the second time answers as for the first
   time, and takes nothing.
2. What was not accepted stays at the head of the queue, and goes out
   again, first, under a *new* number: under the old one the BMC would take
   it for a retry and drop it.

Numbers from 1 to 15 tell a packet that was overtaken by up to 7 others from
one that is new. What comes later than that, the session layer must drop by
its own sequence numbers, as pyghmi's Session does.

An acknowledgment is always a packet of its own. The format would let it
ride on a data packet, but it would then have to wait for that packet's
turn, and would be repeated, stale, by that packet's retries.

Where chapter 15 is silent, what BMCs do decides: ``lanserv/sol.c`` of
OpenIPMI and ``sol/sol_context.cpp`` of OpenBMC's phosphor-net-ipmid were
read for it. The first packet of an activation is empty, which both of them
acknowledge. OpenBMC waits for number 1 and drops every other, so number 1
it has to be; OpenIPMI remembers the last number of the activation before,
and takes a packet that repeats it for a retry, whose characters it drops:
so there had better be none.
"""

import dataclasses
import enum

#: Bytes before the characters.
HEADER_SIZE = 4

#: What one packet may carry: the accepted count is one byte.
MAX_CHARACTERS = 255

_FULL_SIZE = HEADER_SIZE + MAX_CHARACTERS

#: Characters a packet, where the BMC names a size that cannot be. Small
#: enough for any BMC, and at 1 ms a round trip faster than a serial port.
FALLBACK_CHARACTERS = 32

#: The largest payload size that is believed: a UDP datagram on Ethernet.
MAX_PAYLOAD_SIZE = 1472

#: Breaks that may wait; they occupy no bytes of ``max_pending``.
MAX_BREAKS = 16

#: How often a break is sent. FreeIPMI reports BMCs that refuse every packet
#: without characters, and break though the packet is refused.
BREAK_TRIES = 5

#: How often the empty packet is sent again, before it is left unanswered.
EMPTY_RETRIES = 2

#: After how many retries a packet is cut, or refusals in a row packets
#: become shorter: some BMCs take less than they say.
SHRINK_AFTER = 3

#: What every BMC takes; packets do not become shorter.
FEW_CHARACTERS = 16

#: After how many packets that were taken whole they become longer again.
GROW_AFTER = 16

#: After how many retries the number behind the packet is tried with it.
PROBE_AFTER = 5

#: After how many retries a packet gets a new number, where that is wanted.
SKIP_AFTER = 3

#: Seconds before input that the BMC refused is offered again; doubled with
#: each refusal in a row, up to ``max_retry``.
FIRST_HOLD = 0.05

#: After how many copies in a row a number from the past is the present:
#: the BMC has begun its count anew.
RESTART_COPIES = 3

#: Acknowledgments that may wait; one of each number is all that can matter.
MAX_ACKS = 15

# Byte 4 towards the BMC. The other operations (flush, CTS pause, ring,
# DCD/DSR) are not used: they act on the host's serial port, which all
# viewers share.
OPERATION_NONE = 0x00
OPERATION_BREAK = 0x10

# Byte 4 from the BMC.
STATUS_NACK = 0x40
STATUS_UNAVAILABLE = 0x20
STATUS_DEACTIVATED = 0x10
STATUS_OVERRUN = 0x08
STATUS_BREAK = 0x04


class State(enum.IntEnum):
    """Where a channel is in its life."""

    OPENING = 0     #: the activation has not been answered yet
    OPEN = 1        #: data flows both ways
    CLOSED = 2      #: nothing is sent or taken any more


@dataclasses.dataclass(frozen=True, slots=True)
class DataReceived:
    """The host has written ``data``."""

    data: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class BreakReceived:
    """The host has sent a serial break."""


@dataclasses.dataclass(frozen=True, slots=True)
class Overrun:
    """Some of the host's output is missing before what follows.

    The BMC lost it, or gave up sending it to us.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class InputAccepted:
    """The BMC has taken ``count`` more bytes of input."""

    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class InputDropped:
    """Input was given up before the BMC had accepted it.

    :param count: bytes.
    :param why: the reason, in words that can end a sentence.
    :param breaks: serial breaks given up with them.
    """

    count: int
    why: str
    breaks: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class BreakAccepted:
    """The BMC has taken a serial break."""


@dataclasses.dataclass(frozen=True, slots=True)
class Unavailable:
    """The BMC cannot reach the host's serial port (host powered off)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Available:
    """The BMC can reach the host's serial port again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Deactivated:
    """The BMC has ended the activation. The channel is closed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """The BMC acknowledges nothing any more. The channel is closed."""


Event = (DataReceived | BreakReceived | Overrun | InputAccepted
         | InputDropped | BreakAccepted | Unavailable | Available
         | Deactivated | Lost)

# They carry nothing, so one of each will do.
_BREAK_ACCEPTED = BreakAccepted()
_BREAK_RECEIVED = BreakReceived()
_OVERRUN = Overrun()

# What a packet of ours carries.
_CHARACTERS, _BREAK, _EMPTY = range(3)


def characters_per_packet(inbound_size: int) -> int:
    """How many characters a BMC takes in one packet.

    :param inbound_size: the inbound payload size in the answer to Activate
        Payload (IPMI v2.0 table 24-2): bytes, with the SOL header.
    :returns: 1 to MAX_CHARACTERS. Some BMCs swap the bytes of the size and
        some report one that is too small or too large to be true: a size
        that makes sense only when swapped is swapped, and
        FALLBACK_CHARACTERS stands for the rest.
    """
    size = inbound_size
    if size > MAX_PAYLOAD_SIZE:
        size = (size & 0xff) << 8 | size >> 8 & 0xff
    if HEADER_SIZE < size <= MAX_PAYLOAD_SIZE:
        return min(size - HEADER_SIZE, MAX_CHARACTERS)
    return FALLBACK_CHARACTERS


class SolChannel:
    """One activation of the SOL payload.

    :param first_sequence: number of the first packet sent, 1 to 15. OpenBMC
        takes no other than 1.
    :param max_pending: bytes of input that may wait.
    :param first_retry: seconds after which a packet is sent again; doubled
        with each retry.
    :param max_retry: seconds between retries, at most.
    :param retries: how often a packet is sent again before the BMC is
        given up. The defaults allow 7.75 s: more than a network takes to
        converge, less than it takes a BMC to drop a session.
    :param skip_sequence: whether a packet that is not acknowledged goes out
        under the next number from its third retry on: for BMCs whose count
        of our packets gets stuck. Others could take its bytes twice.
    :param silent_copies: whether the BMC does not answer a copy of what it
        has taken, as OpenBMC: the number behind a packet is then tried with
        it. With others the packet would be taken for accepted if that one
        got through and all copies of the packet were lost.
    :raises: ValueError if first_sequence is not 1 to 15.
    """

    __slots__ = (
        '_accepted', '_acks', '_behind', '_behind_copies', '_break_tries',
        '_breaks', '_characters', '_count_sent', '_due', '_events',
        '_first_retry', '_front', '_full_takes', '_held', '_hold', '_kind',
        '_last', '_last_data', '_last_status', '_max_pending', '_max_retry',
        '_most_characters', '_number', '_packet', '_paused', '_probing',
        '_queue', '_refusals', '_retries', '_retry_after', '_rode', '_shrunk',
        '_silent_copies', '_skip_sequence', '_to_send', '_tries',
        '_unanswered', 'breaks_accepted', 'breaks_dropped', 'bytes_accepted',
        'bytes_dropped', 'bytes_received', 'deferred', 'duplicates', 'gaps',
        'malformed', 'nacks', 'out_of_order', 'overruns', 'restarts',
        'retries_sent', 'state', 'stray_acks', 'unavailable')

    def __init__(self, *, first_sequence: int = 1,
                 max_pending: int = 64 * 1024, first_retry: float = 0.25,
                 max_retry: float = 1.0, retries: int = 8,
                 skip_sequence: bool = False,
                 silent_copies: bool = False) -> None:
        if not 1 <= first_sequence <= 15:
            raise ValueError(
                f'first_sequence is {first_sequence}, must be 1 to 15')
        self._max_pending = max_pending
        self._first_retry = first_retry
        self._max_retry = max_retry
        self._retries = retries
        self._skip_sequence = skip_sequence
        self._silent_copies = silent_copies

        self.state = State.OPENING
        #: Whether the BMC says that it cannot reach the serial port.
        self.unavailable = False
        self._events: list[Event] = []
        self._acks: list[bytes] = []

        # Input. Bytes stay in the queue until the BMC has accepted them;
        # breaks are positions in the stream, of which _front is that of
        # the first byte in the queue.
        self._queue = bytearray()
        self._front = 0
        self._breaks: list[int] = []
        self._break_tries = 0               # of the first break
        self._characters = FALLBACK_CHARACTERS
        self._most_characters = FALLBACK_CHARACTERS
        self._refusals = 0                  # in a row, with nothing taken
        self._full_takes = 0                # in a row
        self._shrunk = False                # before

        # The last packet sent.
        self._number = (first_sequence + 13) % 15 + 1
        self._kind = _EMPTY
        self._packet = b''
        self._count_sent = 0                # characters in it
        self._accepted = 0                  # how many the BMC has taken
        self._held = False                  # input may not go out now
        self._unanswered = False
        self._to_send = False               # to be given out (again)
        self._probing = False               # with an empty one behind it
        self._tries = 0
        self._retry_after = first_retry
        self._hold = 0.0
        # When it is to be sent again or, where it was refused, when input
        # may be offered again. None: nothing is between us and the BMC.
        self._due: float | None = None
        self._rode = b''        # header of the last data with an ack on it

        # Output of the host.
        self._paused = False
        self._last = 0                      # number of the last one taken
        self._last_data = b''               # its characters
        self._last_status = 0               # what it had in byte 4
        self._behind = 0                    # number from the past
        self._behind_copies = 0             # how often, in a row

        self.bytes_received = 0     #: characters taken from the BMC
        self.bytes_accepted = 0     #: characters the BMC has taken
        self.bytes_dropped = 0      #: in InputDropped
        self.breaks_accepted = 0    #: serial breaks the BMC has taken
        self.breaks_dropped = 0     #: in InputDropped
        self.retries_sent = 0       #: packets sent again
        self.nacks = 0              #: packets that the BMC refused
        self.stray_acks = 0         #: acks of what is not outstanding
        self.duplicates = 0         #: data packets received again
        self.out_of_order = 0       #: data packets from the past, dropped
        self.gaps = 0               #: packets that the BMC gave up
        self.restarts = 0           #: the BMC began its count anew
        self.deferred = 0           #: data packets not taken while paused
        self.overruns = 0           #: the BMC lost output of the host
        self.malformed = 0          #: packets that make no sense

    # What goes in.

    def activated(self, inbound_size: int, now: float) -> None:
        """The BMC has accepted the activation: input may flow.

        :param inbound_size: see characters_per_packet().
        :param now: seconds.
        """
        if self.state is State.OPENING:
            self.state = State.OPEN
            self._characters = characters_per_packet(inbound_size)
            self._most_characters = self._characters
            self._send_packet(_EMPTY, 0, now)

    def take_next(self, payload: bytes) -> tuple[bytes, bytes] | None:
        """Take a SOL payload that is what nearly all of them are.

        That is the next characters of the host, and nothing else. It spares
        what is needed to tell all other cases apart, and the timers: none
        of them is touched.

        :param payload: as for :meth:`receive_data`.
        :returns: the acknowledgment to send now, and the characters. None
            if it is something else: nothing has happened then, and
            :meth:`receive_data` is to have it.
        """
        last = self._last
        size = len(payload)
        if (size <= HEADER_SIZE or size > _FULL_SIZE or not last
                or payload[0] != last % 15 + 1 or payload[1] or payload[3]
                or self._paused or self.unavailable
                or self.state is State.CLOSED or self._acks or self._events):
            return None
        self._last = sequence = payload[0]
        self._last_data = data = payload[HEADER_SIZE:]
        self._last_status = self._behind = self._behind_copies = 0
        count = size - HEADER_SIZE
        self.bytes_received += count
        return bytes((0, sequence, count, OPERATION_NONE)), data

    def put_back(self, acknowledgment: bytes, data: bytes) -> None:
        """What :meth:`take_next` has just given may not pass now: it waits
        for :meth:`data_to_send` and :meth:`events_received`."""
        self._acks.append(acknowledgment)
        self._events.append(DataReceived(data))

    def receive_data(self, payload: bytes, now: float) -> None:
        """Take one SOL payload that the BMC has sent.

        No bytes make it raise. Data counts before activated() as well: a
        BMC may send some ahead of the activation's answer, or the network
        may turn the two round.

        :param payload: decrypted, from the packet sequence number on.
        :param now: seconds.
        """
        if self.state is State.CLOSED:
            return
        if len(payload) < HEADER_SIZE:
            self.malformed += 1
            return
        sequence = payload[0] & 0x0f
        acked = payload[1] & 0x0f
        status = payload[3]
        current = True
        if sequence:
            current = self._receive_packet(sequence, status, payload)
        else:
            if len(payload) > HEADER_SIZE:
                # Could not be acknowledged, so the BMC would not know
                # whether it was taken.
                self.malformed += 1
            if status:
                self._signals(status)
        # What a packet from the past says of availability is outdated.
        if current and self.unavailable is not (
                status & STATUS_UNAVAILABLE != 0):
            self.unavailable = not self.unavailable
            self._events.append(
                Unavailable() if self.unavailable else Available())
        if acked:
            header = payload[:3]
            if sequence and header == self._rode:
                # A retry repeats the acknowledgment that rode on its first
                # copy; by now the number may be in use for the next round.
                self.stray_acks += 1
            elif (self._probing and self._unanswered
                    and acked == self._number % 15 + 1):
                self._probe_answered(now)
            elif acked == self._number and self._due is not None:
                self._answered(payload[2], status, now)
            else:
                self.stray_acks += 1
            if sequence:
                self._rode = header
        if status & STATUS_DEACTIVATED:
            self._events.append(Deactivated())
            self.close()

    def send(self, data: bytes, now: float) -> int:
        """Queue input for the host.

        :param data: bytes.
        :param now: seconds.
        :returns: how many bytes of it were taken: what there is room for,
            and nothing when closed.
        """
        if self.state is State.CLOSED:
            return 0
        room = self._max_pending - len(self._queue)
        taken = len(data)
        if taken > room:
            taken = max(room, 0)
            data = data[:taken]
        self._queue += data
        self._send_next(now)
        return taken

    def send_break(self, now: float) -> bool:
        """Queue a serial break, after the input that is queued already.

        :param now: seconds.
        :returns: whether it was taken: not when closed, or when MAX_BREAKS
            of them wait.
        """
        if self.state is State.CLOSED or len(self._breaks) >= MAX_BREAKS:
            return False
        self._breaks.append(self._front + len(self._queue))
        self._send_next(now)
        return True

    def drop_input(self, why: str) -> None:
        """Give up all input but the packet that is on its way.

        :param why: the reason, in words that can end a sentence.
        """
        kept = self._count_sent - self._accepted if self._unanswered else 0
        kept_breaks = int(self._unanswered and self._kind == _BREAK)
        count = len(self._queue) - kept
        breaks = len(self._breaks) - kept_breaks
        if count or breaks:
            del self._queue[kept:]
            for _ in range(breaks):
                self._breaks.pop()
            self.bytes_dropped += count
            self.breaks_dropped += breaks
            self._events.append(InputDropped(count, why, breaks))

    def pause_receiving(self) -> None:
        """Take no more of the host's output.

        It is not acknowledged either, so the BMC keeps it, and tries it
        again for as long as it is configured to.
        """
        self._paused = True

    def resume_receiving(self) -> None:
        """Take the host's output again, from the BMC's next retry on."""
        self._paused = False

    def pause_sending(self) -> None:
        """Let no input out, old or new, until resume_sending().

        What is on its way can still be answered.
        """
        self._held = True

    def resume_sending(self, now: float) -> None:
        """Go on with the input where it was.

        :param now: seconds.
        """
        self._held = False
        if self._to_send:
            self._due = now + self._retry_after
        elif self._due is not None:
            self._due = max(self._due, now)
        else:
            self._send_next(now)

    @property
    def _frozen(self) -> bool:
        """Whether the last packet may not go out, or again."""
        return self._held and self._unanswered and self._kind != _EMPTY

    def close(self) -> None:
        """Send and take nothing any more. ``pending`` stays as it is."""
        self.state = State.CLOSED
        self._acks.clear()
        self._to_send = False
        self._due = None

    # What comes out.

    def events_received(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events = self._events
        if events:
            self._events = []
            return events
        return []

    def data_to_send(self) -> list[bytes]:
        """The SOL payloads to send now, acknowledgments first."""
        payloads = self._acks
        if payloads:
            self._acks = []
        else:
            payloads = []
        if self._to_send and not self._frozen:
            self._to_send = False
            payloads.append(self._packet)
            if self._probing:
                payloads.append(bytes((
                    self._number % 15 + 1, 0, 0, OPERATION_NONE)))
        return payloads

    @property
    def pending(self) -> int:
        """Bytes of input that the BMC has not accepted yet."""
        return len(self._queue)

    @property
    def pending_breaks(self) -> int:
        """Serial breaks that the BMC has not accepted yet."""
        return len(self._breaks)

    @property
    def characters(self) -> int:
        """Characters that one packet to the BMC may carry."""
        return self._characters

    # Time.

    def next_timer(self) -> float | None:
        """When handle_timer() is due, or None. Same clock as ``now``."""
        return None if self._frozen else self._due

    def handle_timer(self, now: float) -> None:
        """Do what is due; nothing if it is not due yet.

        :param now: seconds.
        """
        if self._due is None or now < self._due or self._frozen:
            return
        if not self._unanswered:
            self._due = None
            self._send_next(now)
        elif self._tries < (self._retries if self._kind != _EMPTY
                            else min(self._retries, EMPTY_RETRIES)):
            self._tries += 1
            self.retries_sent += 1
            self._insist()
            self._to_send = True
            self._retry_after = min(2 * self._retry_after, self._max_retry)
            self._due = now + self._retry_after
        elif self._kind == _EMPTY:
            # A BMC that does not acknowledge it can do without it.
            self._due = None
            self._send_next(now)
        else:
            self._events.append(Lost())
            self.close()

    # Output of the host.

    def _receive_packet(self, sequence: int, status: int,
                        payload: bytes) -> bool:
        """Take or refuse the data of a packet with a number.

        :returns: whether the packet is of now, not of the past.
        """
        last = self._last
        data = payload[HEADER_SIZE:HEADER_SIZE + MAX_CHARACTERS]
        if sequence != last:
            # The numbers go round from 15 to 1, so up to 7 steps ahead is
            # the future and the rest is the past.
            ahead = (sequence - last) % 15 if last else 1
        elif data.startswith(self._last_data[:len(data)]):
            # Our acknowledgment was lost. A retry may carry more than its
            # first copy did; the BMC sends that again under a new number
            # when it sees what was accepted at first.
            self.duplicates += 1
            self._behind_copies = 0
            self._signals(status & ~self._last_status)
            self._last_status |= status
            self._acknowledge(sequence, len(self._last_data))
            return True
        else:
            # No retry: the count has come round, or begun anew.
            ahead = 15
        if 7 < ahead < 15:
            if sequence != self._behind:
                self._behind = sequence
                self._behind_copies = 0
            self._behind_copies += 1
            if self._behind_copies < RESTART_COPIES:
                self.out_of_order += 1
                return False
        elif 1 < ahead < 15:
            self.gaps += ahead - 1
            if self._paused or not status & STATUS_OVERRUN:
                self._events.append(_OVERRUN)
            # In case it is not taken now: from here it is the next one.
            self._last = sequence - 1 or 15
            self._last_data = b''
        if self._paused:
            self.deferred += 1
            return True
        if ahead > 7:
            self.restarts += 1
        count = len(data)
        self._last = sequence
        self._last_data = data
        self._last_status = status
        self._behind = self._behind_copies = 0
        if status & STATUS_OVERRUN:
            self.overruns += 1
            self._events.append(_OVERRUN)
        if count:
            self.bytes_received += count
            self._events.append(DataReceived(data))
        if status & STATUS_BREAK:
            self._events.append(_BREAK_RECEIVED)
        self._acknowledge(sequence, count)
        return True

    def _signals(self, status: int) -> None:
        """Report what is in byte 4 of a packet whose data is not taken."""
        if status & STATUS_OVERRUN:
            self.overruns += 1
            self._events.append(_OVERRUN)
        if status & STATUS_BREAK:
            self._events.append(_BREAK_RECEIVED)

    def _acknowledge(self, sequence: int, count: int) -> None:
        """Have an acknowledgment sent."""
        acks = self._acks
        if len(acks) >= MAX_ACKS:
            del acks[0]
        acks.append(bytes((0, sequence, count, OPERATION_NONE)))

    # Input for the host.

    def _send_next(self, now: float) -> None:
        """Have the next packet sent, if there is one and it may be."""
        if (self._due is not None or self._held
                or self.state is not State.OPEN):
            return
        count = min(len(self._queue), self._characters)
        kind = _CHARACTERS
        if self._breaks:
            count = min(count, self._breaks[0] - self._front)
            if not count:
                kind = _BREAK
                self._break_tries += 1
        elif not count:
            return
        self._send_packet(kind, count, now)

    def _send_packet(self, kind: int, count: int, now: float) -> None:
        """Have a new packet sent, with that many bytes of the queue."""
        self._number = self._number % 15 + 1
        self._kind = kind
        self._packet = bytes((
            self._number, 0, 0,
            OPERATION_BREAK if kind == _BREAK else OPERATION_NONE,
        )) + self._queue[:count]
        self._count_sent = count
        self._accepted = 0
        self._unanswered = True
        self._to_send = True
        self._probing = False
        self._tries = 0
        self._retry_after = self._first_retry
        self._due = now + self._first_retry

    def _insist(self) -> None:
        """Change what plain repeating does not get through."""
        if self._kind == _EMPTY:
            return
        if self._skip_sequence:
            if self._tries >= SKIP_AFTER:
                self._number = self._number % 15 + 1
                self._packet = bytes([self._number]) + self._packet[1:]
            return
        if self._tries >= SHRINK_AFTER:
            # A BMC may drop what is longer than it really takes. If it had
            # taken all and its answer was lost, it will say so.
            sent = len(self._packet) - HEADER_SIZE
            if sent > FEW_CHARACTERS:
                self._shrink(sent)
                self._packet = self._packet[:HEADER_SIZE + self._characters]
        if self._silent_copies and self._tries >= PROBE_AFTER:
            # One lost answer would end the link. The number behind is
            # answered by a BMC that has taken this one.
            self._probing = True

    def _shrink(self, size: int) -> None:
        """Send shorter packets than one that was not taken."""
        self._characters = max(FEW_CHARACTERS, size // 2)
        if self._shrunk:
            self._most_characters = self._characters
        self._shrunk = True
        self._refusals = self._full_takes = 0

    def _note_taking(self, refused: bool) -> None:
        """Learn from an answer how long packets should be."""
        if not self._accepted:
            self._full_takes = 0
            self._refusals += 1
            if (self._refusals >= SHRINK_AFTER
                    and self._count_sent > FEW_CHARACTERS):
                self._shrink(self._count_sent)
            return
        self._refusals = 0
        if refused or self._accepted < self._count_sent:
            self._full_takes = 0
        elif self._characters < self._most_characters:
            self._full_takes += 1
            if self._full_takes >= GROW_AFTER:
                self._full_takes = 0
                self._characters = min(
                    2 * self._characters, self._most_characters)

    def _probe_answered(self, now: float) -> None:
        """The BMC has answered the number behind the packet, which it
        would not if it had not taken the packet."""
        self._number = self._number % 15 + 1
        self._probing = False
        self._answered(self._count_sent, 0, now)

    def _answered(self, count: int, status: int, now: float) -> None:
        """The BMC has answered the last packet, perhaps not for the first
        time: one that refused it, as its buffer was full, may tell that it
        is no longer.

        :param count: characters that it says it has accepted.
        :param status: byte 4 of the answer.
        :param now: seconds.
        """
        first = self._unanswered
        self._unanswered = False
        self._to_send = False
        refused = status & STATUS_NACK != 0
        if first and refused:
            self.nacks += 1
        more = min(count, self._count_sent) - self._accepted
        if more > 0:
            del self._queue[:more]
            self._front += more
            self._accepted += more
            self.bytes_accepted += more
            self._events.append(InputAccepted(more))
        rest = self._count_sent - self._accepted
        if first and self._kind == _CHARACTERS:
            self._note_taking(refused)
        if status & STATUS_UNAVAILABLE and (refused or rest):
            # What was typed at a host that is off must not reach its boot
            # loader when it is on again.
            self._hold = 0.0
            self._due = None
            self._drop(len(self._queue), len(self._breaks),
                       'the host is powered off')
            return
        if self._kind == _BREAK:
            if not refused:
                del self._breaks[0]
                self._break_tries = 0
                self.breaks_accepted += 1
                self._events.append(_BREAK_ACCEPTED)
            elif self._break_tries >= BREAK_TRIES:
                refused = False
                self._drop(0, 1, 'the BMC refuses serial breaks')
        if ((refused and self._kind != _EMPTY)
                or (rest and not self._accepted)):
            if first:
                # At once, it would be refused at once, at the network's
                # speed.
                self._hold = (FIRST_HOLD if self._accepted or not self._hold
                              else min(2 * self._hold, self._max_retry))
                self._due = now + self._hold
        else:
            self._hold = 0.0
            self._due = None
            if self._probing:
                # Its number may be used up or not: use it up.
                self._send_packet(_EMPTY, 0, now)
            else:
                self._send_next(now)

    def _drop(self, count: int, breaks: int, why: str) -> None:
        """Give up input from the head of the queue."""
        if count or breaks:
            del self._queue[:count]
            self._front += count
            for _ in range(breaks):
                del self._breaks[0]
            self._break_tries = 0
            self.bytes_dropped += count
            self.breaks_dropped += breaks
            self._events.append(InputDropped(count, why, breaks))
