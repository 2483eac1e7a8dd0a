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

"""What of a console is worth an event in its transcript, and how many.

Pure: plain values in, plain values out.
"""

import typing

from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import link as sol_link


class LinkEvent(typing.NamedTuple):
    """What happened to the link.

    :param key: the same as that of the event before: nothing new.
    """

    key: tuple[object, ...]
    text: str


def of_link(state: sol_link.LinkState, reason: Reason | None, detail: str,
            bmc: str, suite: int | None) -> LinkEvent | None:
    """What a transcript says of a state; None where it is on its way.

    A BMC that does not answer for a month is one event, not one for each
    try.
    """
    if state is sol_link.LinkState.CONNECTED:
        if reason is not None:
            return LinkEvent((state, reason), str(reason))
        return LinkEvent((state,), f'connected to {bmc}, cipher suite '
                                   f'{suite}')
    if state is sol_link.LinkState.RELEASED:
        return LinkEvent((state,), 'released')
    if reason is None or state not in (
            sol_link.LinkState.HELD, sol_link.LinkState.WAITING,
            sol_link.LinkState.FENCED):
        return None
    held = state is sol_link.LinkState.HELD
    text = f'{reason}: {detail}' if detail else str(reason)
    return LinkEvent((state, reason, detail if held else ''),
                     text if held else f'not connected: {text}')


class Throttle:
    """How many events of viewers a console may have; too many would push
    its output out of the files.

    :param burst: at a time.
    :param rate: more a second.
    """

    __slots__ = ('_at', '_burst', '_left', '_rate')

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._at: float | None = None

    def admits(self, now: float) -> bool:
        """Whether one more may be written.

        :param now: seconds of a clock that never goes back.
        """
        if self._at is not None:
            self._left = min(
                self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
