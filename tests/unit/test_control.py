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

"""The control wire: what is a valid line, and how long it may be."""

import json

import hypothesis
from hypothesis import strategies
import pytest

from ironic_solconsole import control
from ironic_solconsole import exception

json_objects = strategies.dictionaries(
    strategies.text(max_size=8),
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.text(max_size=20), max_size=5)
messages = strategies.one_of(
    strategies.builds(control.Request, strategies.integers(0),
                      strategies.text(max_size=10), json_objects),
    strategies.builds(control.Reply, strategies.integers(0), json_objects),
    strategies.builds(control.Reply, strategies.integers(0),
                      strategies.none(), strategies.text(max_size=10),
                      strategies.text(max_size=10)),
    strategies.builds(control.Event, strategies.text(max_size=10),
                      json_objects))


@hypothesis.given(messages)
def test_what_is_encoded_is_one_line_and_decodes_to_the_same(message):
    line = control.encode(message)
    assert line.endswith(b'\n')
    assert line.count(b'\n') == 1
    assert control.decode(line) == message


@hypothesis.given(strategies.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_message_error(line):
    try:
        control.decode(line)
    except exception.MessageError:
        pass


@hypothesis.given(strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.text(max_size=5),
    lambda inner: strategies.lists(inner, max_size=3)
    | strategies.dictionaries(
        strategies.sampled_from(
            ['v', 'id', 'verb', 'args', 'event', 'data', 'result', 'error',
             'kind', 'message']), inner, max_size=6)))
def test_any_json_is_a_message_or_a_message_error(body):
    if isinstance(body, dict):
        body['v'] = control.VERSION
    try:
        control.decode(json.dumps(body).encode())
    except exception.MessageError:
        pass


def test_deep_nesting_is_refused():
    with pytest.raises(exception.MessageError):
        control.decode(b'[' * 100000)


def test_another_version_is_refused_and_says_what_to_do():
    with pytest.raises(exception.MessageError, match='restart the conductor'):
        control.decode(b'{"v": 2, "id": 1, "verb": "ping"}')


def test_an_error_never_repeats_the_line():
    with pytest.raises(exception.MessageError) as caught:
        control.decode(b'{"v": 1, "password": "hunter2"')
    assert 'hunter2' not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_line_that_is_too_long_to_send_is_refused():
    with pytest.raises(exception.MessageError, match='longer than'):
        control.encode(control.Request(1, 'x', {'a': 'b' * control.MAX_LINE}))


def test_a_request_does_not_show_its_arguments():
    assert 'secret' not in repr(
        control.Request(1, 'open', {'password': 'secret'}))


def test_an_error_reply_raises_its_kind():
    with pytest.raises(exception.PortInUse, match='16100'):
        control.Reply(1, None, 'port-in-use', 'port 16100').unwrap()
    with pytest.raises(exception.RequestRefused) as caught:
        control.Reply(1, None, 'bad-spec', 'node: no').unwrap()
    assert caught.value.kind == 'bad-spec'
    assert control.Reply(1, {'a': 1}).unwrap() == {'a': 1}


@hypothesis.given(
    strategies.lists(strategies.binary(max_size=30).map(
        lambda line: line.replace(b'\n', b'x')), max_size=8),
    strategies.integers(1, 7))
def test_lines_come_out_whole_however_they_are_cut(lines, size):
    stream = b''.join(line + b'\n' for line in lines)
    reader = control.LineReader(limit=64)
    found = []
    for start in range(0, len(stream), size):
        found += reader.feed(stream[start:start + size])
    assert found == lines


@pytest.mark.parametrize('stream', [
    b'x' * 64, b'x' * 64 + b'\n', b'short\n' + b'x' * 64])
def test_a_long_line_is_refused_before_it_is_complete(stream):
    with pytest.raises(exception.MessageError, match='64 bytes'):
        control.LineReader(limit=64).feed(stream)


def test_the_longest_line_is_taken():
    assert control.LineReader(limit=64).feed(b'x' * 63 + b'\n') == [b'x' * 63]


def test_a_line_that_comes_byte_by_byte_is_kept_in_few_pieces() -> None:
    reader = control.LineReader(1 << 16)
    text = bytes(range(11, 256)) * 100
    for at in range(0, len(text), 2):
        assert reader.feed(text[at:at + 2]) == []
    assert len(reader._chunks) <= 257
    assert reader.feed(b'\n') == [text]
