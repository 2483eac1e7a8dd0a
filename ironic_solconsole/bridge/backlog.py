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


class Backlog:
    """A queue of bytes, of which the last LIMIT can be taken back."""

    __slots__ = ('_blocks', '_end', '_size')

    def __init__(self) -> None:
        self._blocks: collections.deque[bytes] = collections.deque()
        self._end = bytearray()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, data: bytes) -> None:
        """Put bytes at the end."""
        self._end += data
        self._size += len(data)
        while len(self._end) >= BLOCK + terminal.LIMIT:
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
        count = min(count, len(self._end))
        del self._end[len(self._end) - count:]
        self._size -= count
        return count

    def clear(self) -> None:
        """Forget all of it."""
        self._blocks.clear()
        self._end = bytearray()
        self._size = 0

    def _cut_off(self, most: int) -> bytes:
        data = bytes(self._end[:most])
        if most < len(self._end):
            data = data[:len(data) - terminal.unfinished_character(data)]
        if len(data) == len(self._end):
            self._end = bytearray()     # gives its memory back
        else:
            del self._end[:len(data)]
        return data
