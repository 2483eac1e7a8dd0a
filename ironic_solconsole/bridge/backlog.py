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

"""What waits to be sent to a viewer."""

import collections

from ironic_solconsole.bridge import terminal

#: Bytes that are sealed, and taken, at a time. Growing one long buffer for
#: each of hundreds of viewers in turn would leave holes in the heap.
BLOCK = 4 * 1024

#: Bytes at the end that are not sealed, at most; so many can be taken back
#: whenever there are blocks.
_ROOM = BLOCK + terminal.LIMIT


class Backlog:
    """A queue of bytes, of which the last LIMIT can be taken back.

    Its end has one size while there is anything in it, for the sake of the
    heap.
    """

    __slots__ = ('_blocks', '_end', '_size', '_used')

    def __init__(self) -> None:
        # Made when it is needed: empty it would have 700 bytes, for each
        # viewer, of which hardly any is ever behind.
        self._blocks: collections.deque[bytes] | None = None
        self._end = bytearray()
        self._used = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, data: bytes) -> None:
        """Put bytes at the end."""
        if data and not self._end:
            self._end = bytearray(_ROOM)
        self._size += len(data)
        position = 0
        while position < len(data):
            part = data[position:position + _ROOM - self._used]
            self._end[self._used:self._used + len(part)] = part
            self._used += len(part)
            position += len(part)
            if self._used == _ROOM:
                if self._blocks is None:
                    self._blocks = collections.deque()
                self._blocks.append(self._cut_off(BLOCK))

    def take(self, most: int) -> bytes:
        """Take bytes from the beginning, and no part of a character.

        :param most: bytes; a block may be more.
        """
        data = (self._blocks.popleft() if self._blocks
                else self._cut_off(most))
        self._size -= len(data)
        return data

    def take_back(self, count: int) -> int:
        """Take bytes from the end, at most LIMIT.

        :returns: how many there were.
        """
        count = min(count, self._used)
        self._used -= count
        self._size -= count
        return count

    def clear(self) -> None:
        """Forget all of it."""
        self._blocks = None
        self._end = bytearray()
        self._used = self._size = 0

    def _cut_off(self, most: int) -> bytes:
        data = bytes(memoryview(self._end)[:min(most, self._used)])
        if most < self._used:
            data = data[:len(data) - terminal.unfinished_character(data)]
        self._used -= len(data)
        if self._used:
            count = len(data)
            self._end[:self._used] = self._end[count:count + self._used]
        else:
            self._end = bytearray()     # gives its memory back
        return data
