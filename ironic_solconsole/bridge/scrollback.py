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

    It begins where a terminal may begin to read. What it begins with is
    found as older output is given up, a kilobyte or so at a time, so that
    it holds a little more than it shows. The memory is a ring that is never
    moved once it has its size: hundreds of buffers that grow and shrink in
    turn would leave as much in holes.

    :param limit: bytes to show at most; 0 keeps nothing.
    """

    __slots__ = ('_cut', '_first', '_limit', '_ring', '_room', '_size')

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # With that much more, no sequence that counts as one is cut up.
        self._room = limit + max(
            limit // 16, min(limit // 4, terminal.LIMIT))
        self._ring = bytearray()
        self._first = 0         # where in the ring it begins
        self._size = 0
        #: Whether there was something before.
        self._cut = False

    def __len__(self) -> int:
        return self._size

    def add(self, data: bytes) -> None:
        """Take output."""
        if self._size + len(data) > len(self._ring):
            if not self._limit:
                return
            data = self._make_room(data)
        ring = self._ring
        begin = self._first + self._size
        if begin >= len(ring):
            begin -= len(ring)
        end = begin + len(data)
        if end <= len(ring):
            ring[begin:end] = data
        else:
            end = len(ring) - begin
            ring[begin:] = data[:end]
            ring[:len(data) - end] = data[end:]
        self._size += len(data)

    def _make_room(self, data: bytes) -> bytes:
        """Let the ring grow, or give up the oldest output.

        :param data: what is to be added.
        :returns: what of it is to be added; not less, where it has room.
        """
        size = self._size + len(data)
        grown = min(self._room, max(size, 2 * len(self._ring)))
        if grown > len(self._ring):
            # It has been filled from its beginning until now.
            self._ring += bytes(grown - len(self._ring))
        if size <= self._room:
            return data
        self._cut = True
        excess = size - self._limit
        front = self._bytes(min(excess, self._size))
        if excess > self._size:
            front += data[:excess - self._size]
        cut = terminal.last_cut(front)
        if excess - cut > terminal.LIMIT or size - cut > self._room:
            cut = excess
        kept = min(cut, self._size)
        self._size -= kept
        self._first = (self._first + kept) % len(self._ring)
        return data[cut - kept:]

    def _bytes(self, count: int) -> bytes:
        """The oldest output."""
        end = self._first + count
        data = bytes(self._ring[self._first:end])
        if end > len(self._ring):
            data += self._ring[:end - len(self._ring)]
        return data

    def replay(self, tail: int, most: int) -> bytes:
        """What to show who comes now, from the beginning of a line.

        Of a line that is longer than all there is to show, the end. What
        would make a terminal answer is left out.

        :param tail: bytes at the end to leave out.
        :param most: bytes.
        """
        data = self._bytes(max(0, self._size - tail))
        excess = max(0, len(data) - min(most, self._limit))
        if excess or self._cut:
            begin = terminal.next_line(data, excess)
            if begin is None:
                begin = terminal.next_cut(data, excess)
            data = data[begin:]
        return terminal.harmless(data)

    def erase(self) -> None:
        """Forget everything."""
        self._ring = bytearray()
        self._first = self._size = 0
        self._cut = False
