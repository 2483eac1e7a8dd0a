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

"""The last output of a console, for those who come later."""

from ironic_solconsole.bridge import terminal


class Scrollback:
    """Keeps the last output, within bounds.

    It begins where a terminal may begin to read. To be cheap it holds up
    to a quarter more than it shows.

    :param limit: bytes to show at most; 0 keeps nothing.
    """

    __slots__ = ('_cut', '_data', '_limit', '_room')

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = limit + limit // 4
        self._data = bytearray()
        #: Whether there was something before.
        self._cut = False

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes) -> None:
        """Take output."""
        if not self._limit:
            return
        self._data += data
        if len(self._data) <= self._room:
            return
        self._cut = True
        excess = len(self._data) - self._limit
        cut = terminal.last_cut(bytes(self._data[:excess]))
        if excess - cut > terminal.LIMIT or len(self._data) - cut > self._room:
            cut = excess
        del self._data[:cut]

    def replay(self, tail: int, most: int) -> bytes:
        """What to show who comes now, from the beginning of a line.

        Of a line that is longer than all there is to show, the end. What
        would make a terminal answer is left out.

        :param tail: bytes at the end to leave out.
        :param most: bytes.
        """
        data = bytes(self._data[:max(0, len(self._data) - tail)])
        excess = max(0, len(data) - min(most, self._limit))
        if excess or self._cut:
            begin = terminal.next_line(data, excess)
            if begin is None:
                begin = terminal.next_cut(data, excess)
            data = data[begin:]
        return terminal.harmless(data)

    def erase(self) -> None:
        """Forget everything."""
        self._data = bytearray()
        self._cut = False
