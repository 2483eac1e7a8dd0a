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

"""OpenBMC's end of Serial over LAN.

The rules of phosphor-net-ipmid, ``sol/sol_context.cpp``, as they are, and
not as chapter 15 would have them:

* the console's numbers begin at 1, and a packet with any other than the
  expected one is dropped with no answer, a retry of the last one as well;
* a packet with an acknowledgment of another number than the last one sent
  is dropped whole, characters included;
* an acknowledgment of fewer characters than were sent, or a NACK, has the
  whole packet sent again, with the same number and the same characters;
* characters that were not acknowledged after all tries are sent again
  under the next number;
* acknowledgments ride on characters where there are some;
* neither break, overrun nor "unavailable" is ever told.
"""

from tests.support.bmc import codes
from tests.support.bmc import sol
from tests.support.bmc.codes import SOL_HEADER


class OpenBmcEnd(sol.SolEnd):
    """One activation, from an OpenBMC's side."""

    _expected = 1

    def receive(self, payload: bytes, now: float) -> None:
        """Take a SOL payload."""
        if len(payload) < SOL_HEADER:
            self.book.drop('SOL payload without a header', len(payload))
            return
        self.book.sol_packets_in += 1
        number, acked = payload[0] & 0x0f, payload[1] & 0x0f
        data = payload[SOL_HEADER:]
        if self._closing:
            self._refuse(number)
            return
        if number and number != self._expected:
            self.book.drop('SOL packet out of sequence', len(payload))
            return
        if acked and acked != self.number:
            self.book.drop('SOL acknowledgment out of sequence',
                           len(payload))
            return
        if not self._answered(acked, payload[2], payload[3], now):
            return
        if number:
            if payload[3] & codes.TO_BMC_BREAK and self.powered():
                self.host.breaks += 1
            # The number counts as seen even where the host takes nothing.
            self._expected = sol.following(self._expected)
            if self.powered():
                self.host.give(data)
                self._acknowledge(number, len(data), 0, now)
            else:
                self._acknowledge(0, 0, codes.NACK, now)
        self.run(now)

    def _answered(self, acked: int, count: int, operation: int,
                  now: float) -> bool:
        """Take note of an acknowledgment.

        :returns: False if it has the packet dropped and ours sent again.
        """
        waiting = self.outstanding
        expected = waiting.characters if waiting is not None else 0
        if operation & codes.TO_BMC_NACK or (acked and count != expected):
            if waiting is not None:
                waiting.deadline = now + self.settings.retry_interval
                self.book.sol_retries_out += 1
                self._emit(waiting.payload)
            return False
        if acked:
            self.outstanding = None
            self.host.consume(count)
        return True

    def _again(self, waiting: sol.Outstanding, now: float) -> None:
        # One more try than the counter says, as its timer has it; then the
        # buffer is left as it is, and goes out under a new number.
        waiting.deadline = now + self.settings.retry_interval
        self.book.sol_retries_out += 1
        self._emit(waiting.payload)
        waiting.tries += 1
        if waiting.tries > self.settings.retry_count:
            self.outstanding = None

    def _status(self) -> int:
        return 0

    def stick(self) -> None:
        """Behave as if the console's next number had been there already."""
        self._expected = sol.following(self._expected)
