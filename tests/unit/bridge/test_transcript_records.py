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

"""Whatever comes, and however it is cut: the stream can be had back."""

import hypothesis
from hypothesis import strategies

from ironic_solconsole import transcript
from ironic_solconsole.bridge import transcript_records
from tests.support import transcripts

Recorder = transcript_records.Recorder

TIMES = strategies.floats(0, 4e9)
PIECES = strategies.one_of(
    strategies.binary(max_size=200),
    strategies.text('ab\r\n|+#Z 0123-', max_size=200).map(str.encode),
    strategies.integers(0, 20_000).map(lambda size: b'x' * size))
STEPS = strategies.lists(strategies.one_of(
    strategies.tuples(strategies.just('data'), TIMES, PIECES),
    strategies.tuples(strategies.just('event'), TIMES, strategies.text()),
    strategies.just(('pause', 0.0, b'')),
    strategies.just(('part', 0.0, b''))), max_size=30)


@hypothesis.given(STEPS)
def test_the_stream_can_be_had_back(
        steps: list[tuple[str, float, bytes | str]]) -> None:
    recorder = Recorder()
    written = b''
    for what, at, value in steps:
        if isinstance(value, str):
            written += recorder.event(at, value)
        elif what == 'data':
            written += recorder.data(at, value)
        else:
            written += getattr(recorder, what)()
        assert not written or written.endswith(b'\n')
    written += recorder.part()

    sent = b''.join(value for _, _, value in steps
                    if isinstance(value, bytes))
    assert transcripts.stream(written) == sent
    lines = written.split(b'\n')[:-1]
    parsed = [record for line in lines
              if (record := transcript.parse(line)) is not None]
    assert len(parsed) == len(lines)
    assert b''.join(map(transcript.stream_of, parsed)) == sent
    assert len(transcripts.events(written)) == sum(
        what == 'event' for what, _, _ in steps)
    assert max(map(len, lines), default=0) < transcript.MAX_RECORD


def test_a_line_is_one_record_with_the_time_of_its_beginning() -> None:
    recorder = Recorder()
    assert recorder.data(1.0, b'log') == b''
    assert recorder.data(2.25, b'in:\nnext\nand') == (
        b'1970-01-01T00:00:01.000Z | login:\n'
        b'1970-01-01T00:00:02.250Z | next\n')
    assert recorder.holds
    assert recorder.data(3.0, b' more\n') == (
        b'1970-01-01T00:00:02.250Z | and more\n')
    assert not recorder.holds


def test_a_prompt_is_written_after_a_pause_and_goes_on() -> None:
    recorder = Recorder()
    recorder.data(1.0, b'login: ')
    assert recorder.pause() == b''
    assert recorder.pause() == b'1970-01-01T00:00:01.000Z + login: \n'
    assert recorder.pause() == b''
    assert recorder.data(9.0, b'root\r\n') == (
        b'1970-01-01T00:00:09.000Z | root\r\n')


def test_a_line_that_began_after_the_pause_waits_for_another() -> None:
    recorder = Recorder()
    recorder.data(1.0, b'a')
    recorder.pause()
    recorder.data(2.0, b'\nb')
    assert recorder.pause() == b''
    assert recorder.pause() == b'1970-01-01T00:00:02.000Z + b\n'


def test_an_event_stands_where_it_happened() -> None:
    recorder = Recorder()
    recorder.data(1.0, b'half of a ')
    assert recorder.event(2.0, 'stolen') == (
        b'1970-01-01T00:00:01.000Z + half of a \n'
        b'1970-01-01T00:00:02.000Z # stolen\n')
    assert recorder.data(3.0, b'line\n') == (
        b'1970-01-01T00:00:03.000Z | line\n')


def test_a_host_cannot_forge_an_event() -> None:
    forged = b'x\r\n1970-01-01T00:00:00.000Z # viewer 192.0.2.9:1 came\r\n'
    written = Recorder().data(5.0, forged)
    assert transcripts.events(written) == []
    assert transcripts.stream(written) == forged
    assert b'\n1970-01-01T00:00:05.000Z | 1970-' in written


def test_an_event_cannot_forge_another() -> None:
    written = Recorder().event(
        5.0, 'held\n1970-01-01T00:00:00.000Z # closed\x1b[2J\ud800')
    event, = transcripts.events(written)
    assert event == ('held\\n1970-01-01T00:00:00.000Z # closed\\x1b[2J'
                     '\\ud800')


def test_a_line_without_an_end_is_not_kept_for_long() -> None:
    recorder = Recorder()
    written = recorder.data(1.0, b'x' * 1_000_000)
    assert len(transcripts.stream(written)) > 990_000
    assert all(kind == b'+' for _, kind, _ in transcripts.records(written))
