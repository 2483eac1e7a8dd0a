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

"""What the recorders of a chaos run take for bytes."""

import itertools
import os
import socket

import hypothesis
from hypothesis import strategies

from tests.chaos import bmcs
from tests.chaos import owners
from tests.chaos import spectator
from tests.chaos.checker import What

LINES = b''.join(b'%08d\r\n' % number for number in range(1, 6))
NOTICES = [b'\r\n[solconsole: connected]\r\n',
           b'\r\n[solconsole: 20 bytes lost]\r\n']


@hypothesis.given(
    strategies.lists(strategies.tuples(
        strategies.integers(0, len(LINES)),
        strategies.sampled_from(NOTICES)), max_size=4),
    strategies.lists(strategies.integers(0, 200), max_size=10))
def test_notices_are_no_characters(
        notices: list[tuple[int, bytes]], cuts: list[int]) -> None:
    text = LINES
    for at, notice in sorted(notices, reverse=True):
        text = text[:at] + notice + text[at:]
    seen = spectator.Characters()
    edges = [0, *sorted(cuts), len(text)]
    count = sum(seen.count(text[begin:end])
                for begin, end in itertools.pairwise(edges))
    assert count == 5 * 8
    if not notices:
        assert seen.line == 5


def test_a_line_counts_when_it_is_whole() -> None:
    seen = spectator.Characters()
    assert seen.count(b'0000') == 4 and seen.line == 0
    assert seen.count(b'0007') == 4 and seen.line == 0
    assert seen.count(b'\r\n') == 0 and seen.line == 7
    seen.count(b'123\r\n')      # the end of a line whose start was lost
    assert seen.line == 7


def test_what_a_packet_passes() -> None:
    assert bmcs.passed_by(bytes((3, 0, 0, 0)) + b'x') is What.GIVEN
    assert bmcs.passed_by(bytes((3, 2, 9, 0)) + b'x') is What.GIVEN
    assert bmcs.passed_by(bytes((0, 2, 9, 0))) is What.TAKEN
    assert bmcs.passed_by(bytes((0, 2, 0, 0x40))) is None   # takes nothing
    assert bmcs.passed_by(bytes((0, 0, 0, 0x10))) is None   # a break
    assert bmcs.passed_by(b'\0\2') is None


def test_only_bridges_own_sockets() -> None:
    found = owners.Owners()
    with socket.create_server(('127.0.0.1', 0)) as listener:
        assert found.of_listener(*listener.getsockname()) == 0
    assert owners.state(os.getpid()) == 'runs'
    assert owners.state(2 ** 22 + 1) == 'gone'
    assert owners.conductor(os.getpid()) == ''
