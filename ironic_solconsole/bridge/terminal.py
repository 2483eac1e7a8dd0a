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

"""What a terminal makes of bytes: where they may be cut, what answers.

Nothing here changes what passes. It tells where a character of UTF-8 or a
control sequence is unfinished, so that nothing is put into the midst of
one, and it takes out of old output what would make a terminal type
something by itself when it is shown once more.

Sequences begin with ESC; CSI is known in its eight-bit forms too, bare and
as UTF-8. As in a terminal, control characters within a sequence do not end
it; CAN, SUB and another ESC do.
"""

import re

#: Bytes after which an unfinished sequence is not one any more: nothing that
#: is meant for a terminal of text is so long.
LIMIT = 1024

_CHARACTER = (
    rb'(?:[\xc3-\xdf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}'
    rb'|\xc2[\xa0-\xbf]'
    rb'|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]'
    rb'|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}'
    rb'|\xf4[\x80-\x8f][\x80-\xbf]{2})')
_UNFINISHED_CHARACTER = (
    rb'(?:[\xc2-\xdf]|\xe0[\xa0-\xbf]?|\xed[\x80-\x9f]?'
    rb'|[\xe1-\xec\xee\xef][\x80-\xbf]?|\xf0(?:[\x90-\xbf][\x80-\xbf]?)?'
    rb'|[\xf1-\xf3][\x80-\xbf]{0,2}|\xf4(?:[\x80-\x8f][\x80-\xbf]?)?)\Z')

# After ESC or CSI: what does not end it, then what does.
_CSI_BODY = (rb'[\x00-\x17\x19\x1c-\x3f\x7f]*+'
             rb'(?:[\x18\x1a\x40-\x7e]|(?=[\x1b\x80-\xff]))')
_ESCAPE = (
    rb'\x1b[\x00-\x17\x19\x1c-\x1f\x7f]*+'
    rb'(?:\[' + _CSI_BODY
    + rb'|\][^\x07\x18\x1a\x1b]*+(?:[\x07\x18\x1a]|\x1b\\|(?=\x1b[^\\]))'
    rb'|[PX^_][^\x18\x1a\x1b]*+(?:[\x18\x1a]|\x1b\\|(?=\x1b[^\\]))'
    rb'|(?![\[\]PX^_])[\x00-\x17\x19\x1c-\x2f\x7f]*+'
    rb'(?:[\x18\x1a\x30-\x7e]|(?=[\x1b\x80-\xff])))')
_CSI_8BIT = rb'\xc2?\x9b' + _CSI_BODY
# Bytes that are no part of a character, and stand for themselves.
_OTHER = (rb'(?!\xc2?\x9b|' + _UNFINISHED_CHARACTER + rb')[\x80-\xff]')

_SPECIAL = (_ESCAPE + rb'|' + _CHARACTER + rb'|' + _CSI_8BIT + rb'|'
            + _OTHER)
# Nothing follows these repetitions, so that there is nothing to go back for;
# they have a bound, as each step takes memory until the last. Possessive ones
# would say so, but give wrong matches in Python before 3.11.5 (gh-106052)
# where what they repeat is more than one set of characters.
_STEPS = rb'{0,256}'
_FINISHED = re.compile(
    rb'(?:[\x00-\x1a\x1c-\x7f]++|' + _SPECIAL + rb')' + _STEPS)
_ONE = re.compile(rb'[\x00-\x1a\x1c-\x7f]|' + _SPECIAL)
_ONE_ESCAPE = re.compile(_ESCAPE)
_LINE = re.compile(
    rb'(?:[\x00-\x09\x0b-\x1a\x1c-\x7f]++|' + _SPECIAL + rb')' + _STEPS)
_TAIL = re.compile(_UNFINISHED_CHARACTER)
_EIGHT_BITS = re.compile(
    rb'(\A\xc2?\x9b|' + _CHARACTER + rb')|\xc2?[\x80-\x9f]|\x05')

# What may be shown once more: text, colours, moves of the cursor, deletions,
# modes of the screen, character sets. Whatever else there is among the
# sequences either has an answer or may have one in some terminal.
_MODES = rb'(?:1|5|6|7|12|25|45|47|66|1047|1048|1049|2004)'
_REPLAY = re.compile(
    rb'((?:[\x00-\x04\x06-\x1a\x1c-\x7f]++'
    rb'|\x1b\[[0-9;:]*+[@A-MPSXZ`abdefgmrsu]'
    rb'|' + _CHARACTER
    + rb'|\x1b[78=>DEHMc]|\x1b[()*+][0-9A-Za-z<>=]'
    rb'|\x1b\[\?' + _MODES + rb'(?:;' + _MODES + rb')*[hl]'
    rb'|\x1b\[[0-9]*+T|\x1b\[4[hl]'
    rb'|(?!\xc2[\x80-\x9f])[\x80-\x8f\x91-\x97\x99\x9c\xa0-\xff]){1,256})'
    rb'|' + _ESCAPE + rb'|' + _CSI_8BIT + rb'|\xc2[\x80-\x9f]|.', re.DOTALL)


def _follow(steps: re.Pattern[bytes], data: bytes, position: int) -> int:
    """Where the steps end that begin at a position."""
    while found := steps.match(data, position):
        if found.end() == position:
            break
        position = found.end()
    return position


def unfinished_character(data: bytes) -> int:
    """How many bytes at the end begin a UTF-8 character that goes on."""
    if not data or data[-1] < 0x80:
        return 0
    found = _TAIL.search(data, max(0, len(data) - 3))
    return len(data) - found.start() if found else 0


def last_cut(data: bytes) -> int:
    """Where an unfinished character or sequence at the end begins.

    :param data: begins at a cut point.
    :returns: a position; that of the end where nothing is unfinished.
    """
    # An ESC ends whatever was before it, so that only what is behind the
    # last one counts, unless it may become the end of a string.
    start = data.rfind(b'\x1b')
    if start == len(data) - 1 and start >= 0:
        start = 0
    elif start >= 0:
        escape = _ONE_ESCAPE.match(data, start)
        if escape is None:
            return start
        start = escape.end()
    else:
        start = 0
    rest = data[start:]
    if rest.isascii() and b'\x1b' not in rest:
        return len(data)
    if b'\x1b' not in rest and b'\xc2\x9b' not in rest:
        count = unfinished_character(rest)
        try:
            rest[:len(rest) - count].decode()
        except ValueError:
            pass
        else:
            return len(data) - count
    return _follow(_FINISHED, data, start)


def next_cut(data: bytes, position: int) -> int:
    """The first cut point that is not before a position.

    :param data: begins at a cut point.
    :returns: a position; where an unfinished sequence goes on to the end,
        the one that was given.
    """
    cut = last_cut(data[:position])
    while cut < position:
        found = _ONE.match(data, cut)
        if found is None:
            return position
        cut = found.end()
    return cut


def next_line(data: bytes, position: int) -> int | None:
    """The first beginning of a line that is after a position.

    :param data: begins at a cut point.
    :returns: a position, None if there is no such line.
    """
    cut = last_cut(data[:position])
    while True:
        cut = _follow(_LINE, data, cut)
        if data[cut:cut + 1] != b'\n':
            return None
        cut += 1
        if cut > position:
            return cut


def harmless(data: bytes) -> bytes:
    """Output without what makes a terminal answer.

    Terminals answer ENQ and many sequences (DA, DSR, DECRQM, window
    operations, queries in OSC and DCS strings, and new ones each year), so
    only sequences that are known for having no answer stay.

    :param data: begins at a cut point.
    """
    if b'\x1b' not in data and data.isascii():
        return data.replace(b'\x05', b'')
    return b''.join(
        found.group(1) or b'' for found in _REPLAY.finditer(data))


def harmless_beginning(tail: bytes) -> bytes:
    """An unfinished sequence without what makes a terminal answer.

    ENQ is obeyed anywhere, and a control of eight bits ends a string and
    begins something else. The byte that begins the sequence stays, as does
    half a character at the end.

    :param tail: begins at a cut point and has no other.
    """
    if b'\x1b' in tail or b'\x05' in tail:
        count = unfinished_character(tail)
        tail = _EIGHT_BITS.sub(
            rb'\1', tail[:len(tail) - count]) + tail[len(tail) - count:]
    return tail


class Scanner:
    """Follows output, and knows whether it may be cut where it is."""

    __slots__ = ('tail',)

    def __init__(self) -> None:
        #: What has come since the last cut point; at most LIMIT bytes.
        self.tail = b''

    def feed(self, data: bytes) -> None:
        """Take output."""
        if self.tail:
            data = self.tail + data
        elif b'\x1b' not in data and data.isascii():
            return
        self.tail = data[last_cut(data):]
        if len(self.tail) > LIMIT:
            count = unfinished_character(self.tail)
            self.tail = self.tail[len(self.tail) - count:]
