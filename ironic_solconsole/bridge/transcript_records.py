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

"""From what happens at a console to the records of its transcript.

Pure: no file, clock or thread. Output of the host comes in pieces that have
nothing to do with its lines. A line is one record where that is possible:
what has no end yet is kept, until the rest comes, a pause, an event, or so
much that it is written as a part.
"""

from ironic_solconsole import transcript

#: Bytes of a line that are kept for its end to come.
PIECE = 4096


class Recorder:
    """Makes the records of one console."""

    __slots__ = ('_begun', '_line', '_waited')

    def __init__(self) -> None:
        self._line = b''        # has no end yet
        self._begun = 0.0       # when it began
        self._waited = False    # since the pause before

    @property
    def holds(self) -> bool:
        """Whether there is the beginning of a line."""
        return bool(self._line)

    def data(self, at: float, data: bytes) -> bytes:
        """Output of the host.

        :param at: seconds since 1970.
        :returns: the records that are complete.
        """
        if len(data) <= PIECE:
            return self._piece(at, data)
        return b''.join(self._piece(at, data[start:start + PIECE])
                        for start in range(0, len(data), PIECE))

    def _piece(self, at: float, data: bytes) -> bytes:
        lines, newline, rest = data.rpartition(b'\n')
        records = b''
        if newline:
            # Each packet comes through here: all of its lines at once.
            prefix = transcript.line_prefix(at)
            first = (transcript.line_prefix(self._begun) + self._line
                     if self._line else prefix)
            records = b'%s%s\n' % (
                first, lines.replace(b'\n', b'\n' + prefix))
            self._line = b''
        if rest:
            if not self._line:
                self._begun, self._waited = at, False
            self._line += rest
            if len(self._line) >= PIECE:
                records += self.part()
        return records

    def event(self, at: float, text: str) -> bytes:
        """An event; what came before it is written before it."""
        return self.part() + transcript.event(at, text)

    def pause(self) -> bytes:
        """To be called at intervals: a line waits for one, at most two."""
        if self._waited:
            return self.part()
        self._waited = bool(self._line)
        return b''

    def part(self) -> bytes:
        """What there is of a line, though it has no end."""
        line, self._line = self._line, b''
        self._waited = False
        if not line:
            return b''
        return transcript.prefix(
            self._begun, transcript.Kind.PART) + line + b'\n'
