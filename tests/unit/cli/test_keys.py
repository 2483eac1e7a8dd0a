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

"""What is typed at attach."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole.cli import keys


def feed(*pieces: bytes) -> tuple[bytes, list[bytes]]:
    """Input for the host and keys of the menu."""
    keyboard = keys.Keyboard()
    found = [item for piece in pieces for item in keyboard.feed(piece)]
    return (b''.join(piece for is_key, piece in found if not is_key),
            [piece for is_key, piece in found if is_key])


@given(st.lists(st.binary()))
def test_all_but_the_escape_key_is_input(pieces: list[bytes]) -> None:
    pieces = [piece.replace(b'\x1d', b'') for piece in pieces]
    if b'\x1b[27;5;93~' in b''.join(pieces) or b'\x1b[93' in b''.join(
            pieces):
        return
    assert feed(*pieces) == (b''.join(pieces), [])


def test_the_key_behind_the_escape_key_is_for_the_menu() -> None:
    assert feed(b'ab\x1ddcd') == (b'abcd', [b'', b'd'])
    assert feed(b'ab\x1d', b'd', b'cd') == (b'abcd', [b'', b'd'])
    assert feed(b'\x1d\x1d') == (b'', [b'', b'\x1d'])


@pytest.mark.parametrize('escape', [
    b'\x1d', b'\x1b[27;5;93~', b'\x1b[93;5u', b'\x1b[93;5:1u',
    b'\x1b[93;69u', b'\x1b[93:125;5u', b'\x1b[93;5:1;29u'])
@pytest.mark.parametrize(('typed', 'key'), [
    (b'd', b'd'), (b'\x1b[100u', b'd'), (b'\x1b[100;1:1u', b'd'),
    (b'\x1b[27;5;93~', b'\x1d'), (b'\x1b[93;5u', b'\x1d'),
    (b'\x1b[27;2;63~', b'?')])
def test_a_host_that_changes_the_keyboard_locks_nobody_in(
        escape: bytes, typed: bytes, key: bytes) -> None:
    assert feed(b'x' + escape + typed + b'y') == (b'xy', [b'', key])


def test_a_mouse_or_an_answer_of_the_terminal_is_no_key_of_the_menu(
        ) -> None:
    assert feed(b'\x1d', b'\x1b[<35;10;10M', b'\x1b[?62;4c', b'\x1b[93;5:3u',
                b'\x1bOP', b'w') == (b'', [b'', b'w'])


def test_the_escape_alone_leaves_the_menu() -> None:
    assert feed(b'\x1d', b'\x1b', b'x') == (b'x', [b'', b'\x1b'])


@given(st.lists(st.binary(max_size=20)))
def test_nothing_typed_is_lost_and_all_of_it_comes_to_an_end(
        pieces: list[bytes]) -> None:
    typed, menu = feed(*pieces)
    assert len(typed) + len(menu) <= len(b''.join(pieces))
