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

"""The machine behind a BMC's serial port."""

import collections.abc

from tests.support.bmc import options
from tests.support.bmc import threads
from tests.support.waiting import PATIENCE
from tests.support.waiting import assert_same_bytes
from tests.support.waiting import wait_until


class Host:
    """The host's serial port, from both sides.

    The test writes and reads as the host does; the BMC's SOL end takes
    from it and gives to it. All of a test's methods may be called in any
    thread.

    :param settings: buffer size, pace, what happens while nobody listens.
    :param home: the loop of the BMC.
    :param wake: called when there is something new to send or to take.
    """

    def __init__(self, settings: options.SolOptions, home: threads.Loop,
                 wake: collections.abc.Callable[[], None]) -> None:
        self.home = home
        self._settings = settings
        self._wake = wake
        self._output = bytearray()      # what the BMC has
        self._line = bytearray()        # what flow control holds back
        self._input = bytearray()
        self._room: int | None = None
        self._breaks_out = 0
        self._budget = 0.0              # characters, by the pace
        self._paced_until = 0.0
        self._powered = True
        #: Send back what comes, as a terminal line does.
        self.echo = False
        #: Called with what comes, in the BMC's loop.
        self.on_input: collections.abc.Callable[[bytes], None] | None = None
        #: Whether a console is attached; set by the BMC.
        self.attached = False
        #: Serial breaks that consoles have sent.
        self.breaks = 0
        #: Characters that nobody was attached to see, or that the BMC had
        #: no room for.
        self.unseen = 0
        self.overrun = False

    # The test's side.

    @threads.in_loop
    def send(self, data: bytes) -> None:
        """Write to the serial line."""
        if not self._powered:
            raise AssertionError('a host that is off writes nothing')
        self._print(data)
        self._wake()

    @threads.in_loop
    def send_break(self) -> None:
        """Hold the serial line in break."""
        self._breaks_out += 1
        self._wake()

    @threads.in_loop
    def limit(self, room: int | None) -> None:
        """How many more characters the host takes; None is any number."""
        self._room = room
        self._wake()

    @property
    def received(self) -> bytes:
        """All that consoles have typed, since the start or clear()."""
        return bytes(self._input)

    @property
    def waiting(self) -> int:
        """Characters written that no console has acknowledged."""
        return len(self._output) + len(self._line)

    @threads.in_loop
    def clear(self) -> None:
        """Forget what was received."""
        self._input.clear()

    def wait_received(self, expected: bytes,
                      timeout: float = PATIENCE) -> None:
        """Wait until exactly these bytes have come; not in the loop."""
        try:
            wait_until(
                lambda: len(self._input) >= len(expected),
                'all bytes at the host', timeout)
        except AssertionError:
            pass                # the comparison tells more
        assert_same_bytes(
            self.received, expected, 'input that reached the host')

    def wait_sent(self, timeout: float = PATIENCE) -> None:
        """Wait until all that was written is acknowledged; not in the
        loop.
        """
        wait_until(
            lambda: not self.waiting, 'all output acknowledged', timeout,
            seen=lambda: f'{self.waiting} characters left')

    # The BMC's side; in its loop.

    def _print(self, data: bytes) -> None:
        if not self.attached and not self._settings.keep_detached:
            self.unseen += len(data)
        elif self._settings.flow_control and self.attached:
            self._line += data
            self._refill()
        else:
            room = max(0, self._settings.buffer - len(self._output))
            self._output += data[:room]
            if len(data) > room:
                self.unseen += len(data) - room
                self.overrun = True

    def _refill(self) -> None:
        room = self._settings.buffer - len(self._output)
        if room > 0 and self._line:
            self._output += self._line[:room]
            del self._line[:room]

    def power(self, on: bool) -> None:
        """Switch the host; what it has not got out is lost."""
        self._powered = on
        if not on:
            self._line.clear()
            self._output.clear()

    def attach(self, now: float) -> None:
        """A console is there."""
        self.attached = True
        self._paced_until = now

    def detach(self) -> None:
        """No console is there any more."""
        self.attached = False
        if self._settings.keep_detached:
            self._refill()
        else:
            self.unseen += self.waiting
            self._output.clear()
        self._line.clear()

    def peek(self, most: int, now: float) -> bytes:
        """Characters to send; they stay until consume()."""
        return bytes(self._output[:min(most, self._allowed(now))])

    def consume(self, count: int) -> None:
        """So many characters are done with."""
        del self._output[:count]
        self._budget -= count
        self._refill()

    def flush(self) -> None:
        """Throw away what waits to be sent."""
        self.unseen += len(self._output)
        self._output.clear()
        self._refill()

    def _allowed(self, now: float) -> int:
        """Characters that the serial line's pace has brought so far."""
        rate = self._settings.rate
        if not rate:
            return len(self._output)
        if not self._output:
            self._budget = 0.0
        else:
            self._budget = min(float(len(self._output)), self._budget + (
                now - self._paced_until) * rate)
        self._paced_until = now
        return int(self._budget)

    def ready_at(self, now: float) -> float | None:
        """When there will be a character to send; None if there is none."""
        if not self._output:
            return None
        if not self._settings.rate or self._allowed(now) >= 1:
            return now
        # Not less than a millisecond, or rounding makes it spin.
        return now + max(
            0.001, (1.0 - self._budget) / self._settings.rate)

    @property
    def break_waiting(self) -> bool:
        """Whether a serial break is to be told."""
        return self._breaks_out > 0

    def take_break(self) -> bool:
        """Whether a serial break is to be told; it then counts as told."""
        if self._breaks_out:
            self._breaks_out -= 1
            return True
        return False

    def take_overrun(self) -> bool:
        """Whether characters were lost; it then counts as told."""
        overrun, self.overrun = self.overrun, False
        return overrun

    @property
    def room(self) -> int | None:
        """Characters the host takes now; None is any number."""
        return self._room

    def give(self, data: bytes) -> None:
        """Type at the host."""
        if not data:
            return
        self._input += data
        if self._room is not None:
            self._room -= len(data)
        if self.on_input is not None:
            self.on_input(data)
        if self.echo:
            self._print(data)
