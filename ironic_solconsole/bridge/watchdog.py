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

"""Notice when something holds up the event loop.

Nothing may block the loop for more than 50 ms, or one console waits for
another. Between two waits for I/O the loop runs callbacks: how long that
took is known where it goes to wait, so no stall is missed and a look costs
two clock readings. The CPU clock is a system call: it is read a hundred
times a second at most.
"""

import collections.abc
import logging
import selectors
import time
import typing

LOG = logging.getLogger(__name__)

STALL = 0.05        # seconds
#: A stall this long is told whatever the reason; a shorter one only if the
#: process was computing, as a busy machine may just not have run it.
LONG_STALL = 1.0    # seconds
_QUIET = 10.0       # seconds between two lines
_CPU_AGE = 0.01     # seconds that a reading of the CPU clock may be old


def is_stall(wall: float, cpu: float) -> bool:
    """Whether a turn of the loop took too long through our own fault.

    :param wall: seconds that it took.
    :param cpu: seconds of CPU that it used.
    """
    return wall >= LONG_STALL or cpu >= STALL


class WatchedSelector(selectors.EpollSelector):
    """The selector of an event loop that tells of stalls."""

    def __init__(self) -> None:
        super().__init__()
        #: Stalls so far.
        self.stalls = 0
        #: Called after each wait, before what has arrived is looked at.
        self.on_wake: collections.abc.Callable[[], None] | None = None
        self._woke = time.monotonic()
        self._cpu_at = self._woke
        self._cpu = time.thread_time()
        self._quiet_until = 0.0
        self._untold = 0

    def select(self, timeout: float | None = None) -> list[
            tuple[selectors.SelectorKey, typing.Any]]:
        now = time.monotonic()
        wall = now - self._woke
        if wall >= STALL:
            # Less what may have been used before the turn began.
            cpu = (time.thread_time() - self._cpu
                   - (self._woke - self._cpu_at))
            if is_stall(wall, cpu):
                self._tell(now, wall, cpu)
        events = super().select(timeout)
        now = self._woke = time.monotonic()
        if now - self._cpu_at > _CPU_AGE:
            self._cpu_at = now
            self._cpu = time.thread_time()
        if self.on_wake is not None:
            self.on_wake()
        return events

    def _tell(self, now: float, wall: float, cpu: float) -> None:
        self.stalls += 1
        if now < self._quiet_until:
            self._untold += 1
            return
        LOG.warning(
            'The event loop was held up for %.0f ms (%.0f ms of CPU): all '
            'consoles of this bridge waited. %d more stalls were not told.',
            wall * 1000, cpu * 1000, self._untold)
        self._quiet_until = now + _QUIET
        self._untold = 0
