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

"""``log``: what is in the files, in order, and harmless."""

import os
import pathlib
import time

import hypothesis
from hypothesis import strategies
import pytest

from ironic_solconsole import transcript
from ironic_solconsole.bridge import transcript_file
from ironic_solconsole.bridge import transcript_records
from ironic_solconsole.cli import log
from ironic_solconsole.cli import transcripts
from tests.unit.cli import conftest
from tests.unit.cli import fake_bridge

A = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'
B = 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'
NOW = 1_790_000_000.0
STAMP = transcript.stamp(NOW).decode()


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / 'consoles'
    path.mkdir(0o750)
    return path


class Host:
    """Writes the transcript of a node as a bridge does."""

    def __init__(self, directory: pathlib.Path, node: str = A,
                 max_bytes: int = 0) -> None:
        self._directory = directory
        self._file = transcript_file.NodeFile(node, '', max_bytes, 99)
        self._recorder = transcript_records.Recorder()

    def _write(self, records: bytes) -> None:
        with transcript_file.directory(str(self._directory)) as directory:
            self._file.write(directory, records)

    def prints(self, data: bytes, at: float = NOW) -> None:
        self._write(self._recorder.data(at, data) + self._recorder.part())

    def event(self, text: str, at: float = NOW) -> None:
        self._write(self._recorder.event(at, text))


def lines(output: conftest.Output) -> list[str]:
    """What was printed, without the first event of a file."""
    assert output.code == 0, output
    return [line for line in output.stdout.splitlines()
            if '# transcript of node' not in line]


def test_records_are_printed_and_harmless(
        run: conftest.Run, directory: pathlib.Path) -> None:
    host = Host(directory)
    host.event('opened')
    host.prints('Grüße\r\n'.encode() + b'\x1b[2Jbad\x9b\xff\r\rx\r\nlogin: ')
    output = run('log', A, '--transcript-dir', directory)
    assert lines(output) == [
        f'{STAMP} # opened', f'{STAMP} | Grüße',
        f'{STAMP} | \\x1b[2Jbad\\x9b\\xff\\r\\rx', f'{STAMP} + login: ']
    assert '\x1b' not in output.stdout and '\r' not in output.stdout
    assert output.stderr == ''


def test_raw_is_the_stream(
        run: conftest.Run, directory: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    # What it prints need not be text.
    written = bytearray()
    monkeypatch.setattr(log, '_print_raw', lambda line: written.extend(
        transcript.stream_of(line.record) if line.record else b''))
    host = Host(directory, max_bytes=400)
    sent = bytes(range(256)) * 4 + b'\nlogin: '
    for start in range(0, len(sent), 50):
        host.prints(sent[start:start + 50])
        host.event('viewer came')
    assert len(os.listdir(directory)) > 3
    output = run('log', '--raw', A, '--transcript-dir', directory)
    assert (output.code, output.stderr) == (0, '')
    assert bytes(written) == sent


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(strategies.lists(strategies.binary(max_size=120)))
def test_all_files_in_order(
        tmp_path_factory: pytest.TempPathFactory, parts: list[bytes],
        ) -> None:
    directory = tmp_path_factory.mktemp('consoles')
    host = Host(directory, max_bytes=300)
    reader = transcripts.NodeReader(directory, A)
    followed = b''
    for number, part in enumerate(parts):
        host.prints(part)
        if number % 3:
            followed += _stream(reader)
    followed += _stream(reader)
    reader.close()
    fresh = transcripts.NodeReader(directory, A)
    assert _stream(fresh) == followed == b''.join(parts)
    fresh.close()


def _stream(reader: transcripts.NodeReader) -> bytes:
    """What there is or has come since."""
    found = b''
    for _ in range(2):      # after the file that was renamed the new ones
        for line in reader.lines():
            assert line.record is not None, line
            found += transcript.stream_of(line.record)
    return found


def test_several_are_merged_by_time(
        run: conftest.Run, directory: pathlib.Path) -> None:
    one, two = Host(directory, A), Host(directory, B)
    for number in range(6):
        (two if number % 2 else one).prints(
            b'line %d\n' % number, NOW + number)
    shown = lines(run('log', A, B, '--transcript-dir', directory))
    assert [line[-6:] for line in shown] == [
        f'line {number}' for number in range(6)]
    assert [line.partition(': ')[0] for line in shown] == [A, B] * 3


def test_a_clock_that_goes_back_changes_no_order(
        run: conftest.Run, directory: pathlib.Path) -> None:
    one, two = Host(directory, A), Host(directory, B)
    one.prints(b'one 1\n', NOW + 10)
    one.prints(b'one 2\n', NOW - 10)
    two.prints(b'two\n', NOW)
    shown = lines(run('log', A, B, '--transcript-dir', directory))
    assert [line.rpartition('| ')[2] for line in shown] == [
        'two', 'one 1', 'one 2']


def test_since(run: conftest.Run, directory: pathlib.Path) -> None:
    host, now = Host(directory), time.time()
    for ago in (7200, 1200, 300, 10):
        host.prints(b'%d s ago\n' % ago, now - ago)
    for since, count in (('30s', 1), ('10m', 2), ('1h', 3), ('1d', 4)):
        shown = lines(run('log', A, '--since', since, '--transcript-dir',
                          directory))
        assert len(shown) == count, (since, shown)
    assert run('log', A, '--since', 'soon').code == 2


def test_a_name_and_a_pattern(
        run: conftest.Run, run_dir: pathlib.Path,
        directory: pathlib.Path) -> None:
    for node in (A, B):
        Host(directory, node).prints(b'of %s\n' % node.encode())
    where = ('--transcript-dir', directory)
    with fake_bridge.FakeBridge(run_dir / 'aa/0.sock', fake_bridge.consoles(
            fake_bridge.status(node=A, name='web-1'),
            fake_bridge.status(node=B, name='db-1'))):
        assert lines(run('log', 'web-1', *where)) == [f'{STAMP} | of {A}']
        shown = lines(run('log', '*-1', *where))
        assert sorted(shown) == [f'db-1: {STAMP} | of {B}',
                                 f'web-1: {STAMP} | of {A}']
        output = run('log', 'web-1', 'web-2', *where)
        assert output.code == 1
        assert 'no transcript of node web-2' in output.stderr
        assert f'of {A}' in output.stdout


def test_without_a_conductor_a_uuid_will_do(
        run: conftest.Run, directory: pathlib.Path) -> None:
    Host(directory).prints(b'words\n')
    where = ('--transcript-dir', directory)
    for word in (A, A.upper(), 'aaaa*'):
        assert lines(run('log', word, *where)) == [f'{STAMP} | words']
    output = run('log', 'web-1', *where)
    assert output.code == 3
    assert output.stderr.count('\n') == 1
    assert 'web-1 is not a UUID' in output.stderr


def test_what_there_is_not_is_one_plain_line(
        run: conftest.Run, tmp_path: pathlib.Path,
        directory: pathlib.Path) -> None:
    empty = tmp_path / 'ironic.conf'
    empty.write_text('[DEFAULT]\nstate_path = /nowhere\n')
    for words, text in (
            ((A, '--config-file', empty), 'transcript_dir is not set'),
            ((A, '--transcript-dir', tmp_path / 'none'), 'does not exist'),
            ((A, '--transcript-dir', directory), 'no transcript of node')):
        output = run('log', *words)
        assert output.code == 1
        assert text in output.stderr, output.stderr
        assert output.stdout == ''
    for node in (A, B):
        Host(directory, node).prints(b'words\n')
    output = run('log', '--raw', A, B, '--transcript-dir', directory)
    assert output.code == 1 and 'one node' in output.stderr


def test_the_directory_is_in_the_configuration(
        run: conftest.Run, tmp_path: pathlib.Path,
        directory: pathlib.Path) -> None:
    Host(directory).prints(b'words\n')
    file = tmp_path / 'ironic.conf'
    file.write_text(f'[solconsole]\ntranscript_dir = {directory}\n')
    assert lines(run('log', A, '--config-file', file)) == [
        f'{STAMP} | words']


def test_what_is_no_record_is_named_so(
        run: conftest.Run, directory: pathlib.Path) -> None:
    (directory / f'{A}.log').write_bytes(
        b'2026-11-21T12:00\x1b\n' + b'\0' * 40_000 + b'\n'
        + f'{STAMP} | words\n'.encode())
    shown = lines(run('log', A, '--transcript-dir', directory))
    assert shown[0] == 'not a record: 2026-11-21T12:00\\x1b'
    assert all(line.startswith('not a record: \\x00') for line
               in shown[1:-1])
    assert shown[-1] == f'{STAMP} | words'


def test_nothing_but_files_is_read(
        run: conftest.Run, directory: pathlib.Path) -> None:
    os.mkfifo(directory / f'{A}.log')
    (directory / f'{A}.log.1').symlink_to('/etc/passwd')
    (directory / f'{A}.log.2').mkdir()
    output = run('log', A, '--transcript-dir', directory)
    assert (output.code, output.stdout) == (0, '')


def test_a_file_is_read_once_though_it_is_renamed_meanwhile(
        directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(directory, max_bytes=200)
    sent = b''
    for number in range(8):
        sent += b'%d' % number * 60 + b'\n'
        host.prints(b'%d' % number * 60 + b'\n')
    before = len(os.listdir(directory))
    opened = os.open
    calls = 0

    def slow(path: object, *args: object, **kwargs: object) -> int:
        nonlocal calls
        found = opened(path, *args, **kwargs)  # type: ignore[arg-type]
        if isinstance(path, pathlib.Path):
            calls += 1
            if calls in (2, 4):     # it is rotated while files are opened
                monkeypatch.setattr(os, 'open', opened)
                host.prints(b'more' * 20 + b'\n')
                monkeypatch.setattr(os, 'open', slow)
        return found

    reader = transcripts.NodeReader(directory, A)
    monkeypatch.setattr(os, 'open', slow)
    text = _stream(reader)
    monkeypatch.undo()
    text += _stream(reader)
    reader.close()
    assert len(os.listdir(directory)) == before + 2
    assert text == sent + (b'more' * 20 + b'\n') * 2
