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

"""The last output of a console."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole.bridge import scrollback
from ironic_solconsole.bridge import terminal
from tests.unit.bridge import test_terminal


def filled(data: bytes, limit: int, piece: int = 100,
           ) -> scrollback.Scrollback:
    """What is left of output that came in pieces."""
    kept = scrollback.Scrollback(limit)
    for start in range(0, len(data), piece):
        kept.add(data[start:start + piece])
    return kept


LINES = b''.join(b'line %d\r\n' % number for number in range(10_000))


def test_all_is_shown_while_there_is_room() -> None:
    kept = filled(b'no line ends here', 100)
    assert kept.replay(0, 100) == b'no line ends here'


@pytest.mark.parametrize('limit', [1, 100, 4096, 16384])
@pytest.mark.parametrize('piece', [1, 7, 250, 1024])
def test_the_last_lines_are_shown_from_the_beginning_of_one(
        limit: int, piece: int) -> None:
    kept = filled(LINES[:50_000], limit, piece)
    shown = kept.replay(0, 1 << 20)
    assert LINES[:50_000].endswith(shown)
    assert len(shown) <= limit
    if limit >= 100:
        assert shown.startswith(b'line ')
        assert len(shown) > limit - 20
    assert len(kept) <= limit + limit // 4


def test_less_is_shown_where_less_may_be() -> None:
    shown = filled(LINES, 16384).replay(0, 200)
    assert 150 < len(shown) <= 200
    assert shown.startswith(b'line ')


def test_of_one_endless_line_the_end_is_shown() -> None:
    shown = filled(b'x' * 1_000_000, 1000).replay(0, 500)
    assert shown == b'x' * 500


def test_what_is_unfinished_can_be_left_out() -> None:
    kept = filled(b'prompt\x1b[3', 1000)
    assert kept.replay(3, 1000) == b'prompt'


def test_nothing_is_kept_where_nothing_is_wanted() -> None:
    kept = filled(LINES, 0)
    assert (len(kept), kept.replay(0, 1000)) == (0, b'')


def test_nothing_is_left_when_it_is_erased() -> None:
    kept = filled(LINES, 1000)
    kept.erase()
    assert (len(kept), kept.replay(0, 1000)) == (0, b'')
    kept.add(b'new')
    assert kept.replay(0, 1000) == b'new'


def test_a_line_within_a_sequence_is_no_beginning() -> None:
    kept = filled(b'x' * 90 + b'\x1bPa\nb\nc\x1b\\d\ne\n', 20, 200)
    assert kept.replay(0, 20) == b'e\n'


@given(st.lists(test_terminal.PIECES, max_size=60), st.integers(0, 120),
       st.integers(0, 150))
def test_memory_is_bounded_and_only_the_end_is_shown(
        pieces: list[bytes], limit: int, most: int) -> None:
    kept = scrollback.Scrollback(limit)
    scanner = terminal.Scanner()
    for piece in pieces:
        kept.add(piece)
        scanner.feed(piece)
        assert len(kept) <= limit + limit // 4
    tail = len(scanner.tail)
    shown = kept.replay(tail, most)
    assert len(shown) <= min(limit, most)
    assert terminal.harmless(shown) == shown
    data = b''.join(pieces)
    data = data[:len(data) - tail]
    if data.isascii() and b'\x1b' not in data and b'\x05' not in data:
        assert data.endswith(shown)


@given(st.lists(st.binary(max_size=90), max_size=40), st.integers(1, 60))
def test_what_is_kept_is_the_end_of_what_came(
        pieces: list[bytes], limit: int) -> None:
    """The ring gives out what was put in, wherever it goes round."""
    kept = scrollback.Scrollback(limit)
    data = b''
    for piece in pieces:
        piece = piece.replace(b'\x1b', b'').replace(b'\x9b', b'')
        data += piece
        kept.add(piece)
        whole = kept._bytes(len(kept))
        assert data.endswith(whole)
        assert len(whole) >= min(limit, len(data))
        assert len(kept._ring) <= limit + limit // 4


def test_a_sequence_is_not_cut_up_at_the_beginning() -> None:
    title = b'\x1b]0;' + b't' * 900 + b'\x07'
    kept = filled(title * 50, 16384, 255)
    whole = kept._bytes(len(kept))
    assert whole.startswith(b'\x1b]0;')
    assert 16384 <= len(whole) <= 16384 + 1024


def test_memory_is_taken_as_it_is_needed() -> None:
    kept = filled(b'login: ', 16384)
    assert len(kept._ring) < 64
    assert len(filled(LINES, 16384)._ring) == 16384 + 1024


@given(st.text(alphabet='aä│😀\n', max_size=400))
def test_no_character_is_shown_in_part(text: str) -> None:
    kept = scrollback.Scrollback(50)
    scanner = terminal.Scanner()
    data = text.encode()
    for at in range(0, len(data), 7):
        kept.add(data[at:at + 7])
        scanner.feed(data[at:at + 7])
    assert text.endswith(kept.replay(len(scanner.tail), 50).decode())
