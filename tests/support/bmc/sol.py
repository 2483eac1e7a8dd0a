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

"""The BMC's end of Serial over LAN, by the rules of the standard.

IPMI v2.0 chapter 15. Payloads from the console and the time go in,
payloads for the console come out; there is no socket and no timer here.
"""

import collections.abc
import dataclasses

from tests.support.bmc import codes
from tests.support.bmc import host as host_side
from tests.support.bmc import journal
from tests.support.bmc import options
from tests.support.bmc.codes import SOL_HEADER

NEVER = float('inf')


def following(number: int) -> int:
    """The packet sequence number after another: 1 to 15, then 1 again."""
    return number % 15 + 1


@dataclasses.dataclass
class Outstanding:
    """A packet that waits for its acknowledgment."""

    number: int
    payload: bytes
    deadline: float
    tries: int = 0

    @property
    def characters(self) -> int:
        """How many it carries."""
        return len(self.payload) - SOL_HEADER


class SolEnd:
    """One activation, from the BMC's side.

    :param settings: the rules and quirks.
    :param host: the serial port.
    :param book: counters.
    :param powered: whether the host is on.
    """

    def __init__(self, settings: options.SolOptions, host: host_side.Host,
                 book: journal.Journal,
                 powered: collections.abc.Callable[[], bool]) -> None:
        self.settings = settings
        self.host = host
        self.book = book
        self.powered = powered
        #: No try was acknowledged, and the settings say that this ends it.
        self.given_up = False
        self.outstanding: Outstanding | None = None
        self.number = (settings.first_sequence + 13) % 15 + 1
        self._out: list[bytes] = []
        self._closing = False
        self._lost = False              # to be told as an overrun
        self._greeted = not settings.handshake
        # What the console wants.
        self._paused = False
        self._hold_until = 0.0
        # The last packet from the console, and what it was answered.
        self._last = 0
        self._last_reply = (0, 0)       # accepted, status bits
        self._refused = False           # as the host had no room
        self._deaf_to = 0
        self._first_character = NEVER   # when the oldest one came

    def start(self, now: float) -> None:
        """The activation is accepted."""
        self.host.attach(now)
        self.run(now)

    # From the console.

    def receive(self, payload: bytes, now: float) -> None:
        """Take a SOL payload."""
        if len(payload) < SOL_HEADER:
            self.book.drop('SOL payload without a header', len(payload))
            return
        self.book.sol_packets_in += 1
        self._greeted = True
        number, acked = payload[0] & 0x0f, payload[1] & 0x0f
        count, operation = payload[2], payload[3]
        if acked:
            self._acknowledged(acked, count, operation, now)
        if self._closing:
            self._refuse(number)
            return
        self._paused = bool(operation & codes.TO_BMC_PAUSE)
        if operation & codes.TO_BMC_FLUSH_OUTBOUND:
            self.host.flush()
        if number:
            self._characters(number, payload[SOL_HEADER:], operation, now)
        elif operation & codes.TO_BMC_BREAK and self.powered():
            self.host.breaks += 1
        self.run(now)

    def _refuse(self, number: int) -> None:
        """Answer a packet that comes after the end."""
        if number and self.settings.refuses_after:
            self._emit(bytes((
                0, number, 0,
                codes.NACK | codes.DEACTIVATED | self._status())))

    def _acknowledged(self, number: int, count: int, operation: int,
                      now: float) -> None:
        waiting = self.outstanding
        if waiting is None or waiting.number != number:
            return                      # late, or of nothing of ours
        self.outstanding = None
        self.host.consume(min(count, waiting.characters))
        self._first_character = now if self.host.waiting else NEVER
        self._hold_until = 0.0
        if operation & codes.TO_BMC_NACK:
            # The console has no room: what it did not take is offered
            # again a while later, under a new number.
            self._hold_until = now + self.settings.retry_interval

    def _characters(self, number: int, data: bytes, operation: int,
                    now: float) -> None:
        if number == self._last:
            # Our acknowledgment was lost. Nothing is taken, whatever more
            # it carries now.
            self.book.sol_duplicates_in += 1
            self._acknowledge(number, *self._last_reply, now)
            return
        if self._deaf_to:
            if number == self._deaf_to:
                return
            self._deaf_to = 0
        most = self.settings.most_in
        oversize = self.settings.oversize
        if len(data) > most and oversize is options.Oversize.DROP:
            return
        reply = (self.settings.replies.popleft() if self.settings.replies
                 else options.Reply())
        too_much = (len(data) > most
                    and oversize is options.Oversize.NACK)
        if too_much or not self.powered():
            accepted, nack = 0, True
        else:
            if operation & codes.TO_BMC_BREAK:
                self.host.breaks += 1
            limits = [len(data), most]
            if reply.takes is not None:
                limits.append(reply.takes)
            if self.host.room is not None:
                limits.append(max(0, self.host.room))
            accepted = min(limits)
            nack = reply.nack or (
                accepted < len(data) and self.host.room is not None)
            self.host.give(data[:accepted])
        self._last = number
        self._last_reply = (accepted, codes.NACK if nack else 0)
        self._refused = (nack and self.host.room is not None
                         and self.powered())
        if not reply.silent:
            self._acknowledge(number, *self._last_reply, now)

    def _acknowledge(self, number: int, accepted: int, bits: int,
                     now: float) -> None:
        if self.settings.piggyback and self._may_send():
            self._send_characters(number, accepted, bits, now)
        else:
            self._emit(bytes((0, number, accepted, bits | self._status())))

    # To the console.

    def take(self) -> list[bytes]:
        """The payloads to send."""
        out, self._out = self._out, []
        return out

    def due(self, now: float) -> float:
        """When run() has something to do; infinity if never."""
        if self.outstanding is not None:
            return self.outstanding.deadline
        if self._closing or self._paused or not self._greeted:
            return NEVER
        if self._urgent():
            return now
        ready = self.host.ready_at(now)
        if ready is None:
            return NEVER
        first = min(self._first_character, now)
        return max(ready, self._hold_until,
                   min(first + self.settings.accumulate,
                       now if self._full(now) else NEVER))

    def _full(self, now: float) -> bool:
        most = self.settings.most_out
        return len(self.host.peek(most, now)) >= most

    def run(self, now: float) -> None:
        """Do what is due: first tries, further tries, giving up."""
        if self.outstanding is not None:
            if now >= self.outstanding.deadline:
                self._again(self.outstanding, now)
            return
        if self._closing or self.given_up:
            return
        if self._refused and self.settings.resume_notice and (
                self.host.room is None or self.host.room > 0):
            self._refused = False
            self._emit(bytes((0, self._last, self._last_reply[0],
                              self._status())))
        if self._first_character == NEVER and self.host.waiting:
            self._first_character = now
        if self._may_send() and now >= self._hold_until:
            wait = self._first_character + self.settings.accumulate
            if now >= wait or self._urgent() or self._full(now):
                self._send_characters(0, 0, 0, now)

    def _urgent(self) -> bool:
        """Whether there is something to tell that is no character."""
        return self._lost or self.host.overrun or self.host.break_waiting

    def _may_send(self) -> bool:
        return (self.outstanding is None and not self._paused
                and self._greeted and not self._closing and self.powered())

    def _send_characters(self, acked: int, accepted: int, bits: int,
                         now: float) -> None:
        """Send what the host has written, and with it an acknowledgment."""
        data = self.host.peek(self.settings.most_out, now)
        if self.host.take_overrun() or self._lost:
            self._lost = False
            bits |= codes.OVERRUN
        if self.host.take_break():
            bits |= codes.BREAK
        if not data and not bits & (codes.OVERRUN | codes.BREAK):
            if acked:
                self._emit(bytes((0, acked, accepted, bits | self._status())))
            return
        self._send_numbered(
            bytes((acked, accepted, bits | self._status())) + data, now)

    def _send_numbered(self, rest: bytes, now: float) -> None:
        self.number = following(self.number)
        payload = bytes([self.number]) + rest
        self.outstanding = Outstanding(
            self.number, payload, now + self.settings.retry_interval)
        self._emit(payload)

    def _again(self, waiting: Outstanding, now: float) -> None:
        if waiting.tries < self.settings.retry_count:
            waiting.tries += 1
            waiting.deadline = now + self.settings.retry_interval
            if self.settings.retries_grow and waiting.characters:
                more = self.host.peek(self.settings.most_out, now)
                waiting.payload = waiting.payload[:SOL_HEADER] + more
            self.book.sol_retries_out += 1
            self._emit(waiting.payload)
            return
        self.outstanding = None
        if self._closing:
            return
        how = self.settings.give_up
        if how is options.GiveUp.DEACTIVATE:
            self.given_up = True
            return
        if how is options.GiveUp.DROP:
            self.book.characters_lost += waiting.characters
            self.host.consume(waiting.characters)
            self._lost = True
        self.run(now)

    def _status(self) -> int:
        return 0 if self.powered() else codes.UNAVAILABLE

    def _emit(self, payload: bytes) -> None:
        self.book.sol_packets_out += 1
        self._out.append(payload)

    # What else happens.

    def power_changed(self) -> None:
        """The host was switched on or off."""
        self.outstanding = None
        if self.settings.power_notice:
            self._emit(bytes((0, 0, 0, self._status())))

    def close(self) -> None:
        """The activation has ended."""
        self._closing = True
        self.outstanding = None

    def farewell(self, how: options.Farewell, now: float) -> None:
        """Tell the console that its activation has ended."""
        bits = codes.DEACTIVATED | self._status()
        if how is options.Farewell.FLAG:
            self._emit(bytes((0, 0, 0, bits)))
        elif how is options.Farewell.FLAG_WITH_ACK:
            self._emit(bytes((0, self._last, self._last_reply[0],
                              bits | self._last_reply[1])))
        elif how is options.Farewell.FLAG_WITH_NUMBER:
            self._send_numbered(bytes((0, 0, bits)), now)

    def stick(self) -> None:
        """Behave as if the console's next number had been there already:
        no packet with it is answered, until another number comes.
        """
        self._deaf_to = following(self._last)

    def skip(self) -> None:
        """Leave out the next number of our own."""
        self.number = following(self.number)

    def say(self, payload: bytes) -> None:
        """Send any payload, whatever the rules say."""
        self._emit(payload)
