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

"""Where output may be cut, and what a terminal would answer."""

import itertools
import re

from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole.bridge import terminal

SEQUENCES = [
    b'\x1b[6n', b'\x1b[31;1m', b'\x1b[?25l', b'\x1b[', b'\x1b', b'\x1b]0;a',
    b'\x1b]0;title\x07', b'\x1b]4;1;?\x1b\\', b'\x1bP$qm\x1b\\', b'\x1bPq',
    b'\x1b_G\x1b\\', b'\x1b^', b'\x1bX', b'\x1b(B', b'\x1bZ', b'\x1b7',
    b'\xc2\x9b6n', b'\x9bc', b'\x9b', b'\xc2', b'\x05', b'\x18', b'\x1a',
    b'\x07', b'\\', b'[', b'\n', b'\r\n', 'ä'.encode(), '│'.encode(),
    '😀'.encode(), '│'.encode()[:2], '😀'.encode()[:3], b'\xff', b'6n',
    b'\x90', b'\x9c', b' ', b'text', b'\0']
PIECES = st.one_of(st.sampled_from(SEQUENCES), st.binary(max_size=4))
STREAMS = st.lists(PIECES, max_size=24).map(b''.join)


@pytest.mark.parametrize('whole', [
    'ä'.encode(), '│'.encode(), '😀'.encode(), b'\x1b[31m', b'\x1b[?1049h',
    b'\x1b]0;title\x07', b'\x1b]0;title\x1b\\', b'\x1bP$qm\x1b\\', b'\x1b7',
    b'\x1b(B', b'\x1b#8', b'\xc2\x9b6n', b'\x9b6n', b'\x1b[1\n;2H',
    b'\x1b_x\x1b\\', b'\x1b^x\x1b\\', b'\x1bXx\x1b\\'])
def test_nothing_is_cut_within_a_character_or_a_sequence(
        whole: bytes) -> None:
    for length in range(1, len(whole)):
        data = b'before' + whole[:length]
        assert terminal.last_cut(data) == len(b'before'), data
        scanner = terminal.Scanner()
        for at in range(len(data)):
            scanner.feed(data[at:at + 1])
        assert scanner.tail == whole[:length]
        scanner.feed(whole[length:])
        assert scanner.tail == b''
    assert terminal.last_cut(b'before' + whole + b'after') == len(
        b'before' + whole + b'after')


@pytest.mark.parametrize('ended', [
    b'\x1b[3\x18', b'\x1b[3\x1a', b'\x1b]0;x\x18', b'\x1bPx\x1a', b'\xc3x',
    b'\xff', b'\x80', b'\xed\xa0\x80', b'\xc0\xaf', b'\xf5', b'\xf4\x90'])
def test_what_is_aborted_or_invalid_is_over(ended: bytes) -> None:
    assert terminal.last_cut(ended) == len(ended)


@given(STREAMS)
def test_an_escape_begins_a_new_sequence(data: bytes) -> None:
    """The short way of last_cut() gives what the grammar gives."""
    assert terminal.last_cut(data) == terminal._follow(
        terminal._FINISHED, data, 0)


@given(STREAMS, st.lists(st.integers(0, 60), max_size=8))
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    scanner = terminal.Scanner()
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            scanner.feed(data[start:end])
    assert scanner.tail == data[terminal.last_cut(data):]


def test_a_sequence_without_end_is_given_up() -> None:
    scanner = terminal.Scanner()
    scanner.feed(b'\x1b]')
    scanner.feed(b'x' * (terminal.LIMIT - 2))
    assert len(scanner.tail) == terminal.LIMIT
    scanner.feed('ä'.encode()[:1])
    assert scanner.tail == 'ä'.encode()[:1]
    scanner.feed('ä'.encode()[1:] + b'text')
    assert scanner.tail == b''


@given(STREAMS)
def test_only_bytes_that_go_on_are_an_unfinished_character(
        data: bytes) -> None:
    count = terminal.unfinished_character(data)
    assert count <= 3
    tail = data[len(data) - count:]
    if count:
        # As Python's own incremental decoder has it.
        with pytest.raises(UnicodeDecodeError, match='unexpected end'):
            tail.decode()
    else:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            assert error.reason != 'unexpected end of data'


@example(b'\x1b[\x1b[6n', 1)
@example(b'\x1bPq\x1b[6n', 1)
@given(STREAMS, st.integers(0, 200))
def test_a_cut_is_found_in_either_direction(
        data: bytes, position: int) -> None:
    position = min(position, len(data))
    cut = terminal.next_cut(data, position)
    assert position <= cut <= len(data)
    if cut > position:
        # An ESC that follows may be what ends a sequence, and a string if
        # it begins another one.
        assert terminal.last_cut(data[:cut + 2]) >= cut
    line = terminal.next_line(data, position)
    if line is not None:
        assert position < line
        assert data[:line].endswith(b'\n')
        assert terminal.last_cut(data[:line]) == line


@pytest.mark.parametrize('query', [
    b'\x05', b'\x1b[5n', b'\x1b[6n', b'\x1b[?6n', b'\x1b[c', b'\x1b[0c',
    b'\x1b[>c', b'\x1b[=c', b'\x1bZ', b'\x1b[?25$p', b'\x1b[4$p',
    b'\x1bP$qm\x1b\\', b'\x1bP+q544e\x1b\\', b'\x1b]10;?\x07',
    b'\x1b]4;1;?\x1b\\', b'\x1b]52;c;?\x07', b'\x1b[14t', b'\x1b[18t',
    b'\x1b[21t', b'\x1b[>q', b'\x1b[?u', b'\x1b[x', b'\x1b[1;1;1;1;1;1*y',
    b'\x1b[?1;1;0S', b'\x1b[?4m', b'\x1b_Gi=1,a=q;AAAA\x1b\\', b'\x1b[1$w',
    b'\x9b6n', b'\xc2\x9b6n', b'\x9a', b'\xc2\x9a', b'\x1b\n[6n',
    b'\x1b[\n6n', b'\x9b>c', b'\xc2\x9b?25$p', b'\x1b[?996n', b'\x1b[1$u',
    b'\x1b[&u', b'\x9b18t', b'\x1b]1337;ReportCellSize\x07',
    b'\x1b[?1004h', b'\x1b[?2048h', b'\x1b[1#|'])
def test_what_a_terminal_answers_is_not_shown_again(query: bytes) -> None:
    assert terminal.harmless(b'a' + query + b'b') == b'ab'


@pytest.mark.parametrize('shown', [
    b'plain\r\n\ttext\x07\x08 \x7f', b'\x1b[31;1mred\x1b[m', b'\x1b[2J',
    b'\x1b[10;20H', b'\x1b[K', b'\x1b[?25l', b'\x1b[?1049h', b'\x1b(B',
    b'\x1b7\x1b8', b'\x1bM', b'\x1b[4h', 'Größe │ 😀'.encode(),
    b'\xff\xa4\xe2(', b'\x1b[38;2;1;2;3m', b'\x1b[s\x1b[u'])
def test_text_and_colours_are_shown_again(shown: bytes) -> None:
    assert terminal.harmless(shown) == shown


#: What there may be in replayed output behind an ESC.
ALLOWED = re.compile(
    rb'\x1b(?:\[[0-9;:]*[@A-MPSXZ`abdefgmrsu]|\[[0-9]*T|\[4[hl]'
    rb'|\[\?[0-9;]+[hl]|[78=>DEHMc]|[()*+][0-9A-Za-z<>=])')


@given(STREAMS)
def test_no_query_is_made_of_what_is_left(data: bytes) -> None:
    left = terminal.harmless(data)
    assert b'\x05' not in left
    assert b'\x1b' not in ALLOWED.sub(b'', left)
    assert b'\xc2\x9b' not in left
    # Where a byte of eight bits is no part of a character.
    bare = left.decode(errors='surrogateescape')
    assert not {chr(0xdc00 + byte) for byte in b'\x90\x98\x9a\x9b\x9d'
                } & set(bare)
    assert terminal.harmless(left) == left


@pytest.mark.parametrize('unit', [
    b'\x90', b'\x1b]', b'\x1bP', b'\x1b[', b'\x1b\0', b'\x9b0', b'\x1b ',
    b'\xc2', b'\xe2\x94', b'\x1b]\x07', b'\0', b'\x1b[1;'])
def test_no_output_takes_long(unit: bytes) -> None:
    """Steps grow with the length and not with its square."""
    data = unit * (256 * 1024 // len(unit))
    terminal.harmless(data)
    terminal.last_cut(data)
    terminal.next_line(data, len(data) // 2)
