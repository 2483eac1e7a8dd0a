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

"""The queue before the disk, and the thread behind it."""

import asyncio
import collections.abc
import errno
import functools
import logging
import os
import pathlib
import shutil
import threading
import time
import typing

import pytest

from ironic_solconsole.bridge import transcript_clean
from ironic_solconsole.bridge import transcript_file
from ironic_solconsole.bridge import transcript_writer
from tests.support import transcripts

NODE = '9044c15c-2c8e-4603-9973-ba682f6ca08d'
SECOND = 'a1a3d5f0-5b44-4a53-90ad-1a2b3c4d5e6f'
OWNER, OTHER = '11111111-1111-4111-8111-111111111111', (
    '22222222-2222-4222-8222-222222222222')
BUFFER = 16 * 1024

Test = collections.abc.Callable[
    ..., collections.abc.Coroutine[typing.Any, typing.Any, None]]


def in_loop(test: Test) -> collections.abc.Callable[..., None]:
    """Run a test in an event loop."""
    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))
    return run


class Disk:
    """os.write() that a test can let fail or hang."""

    def __init__(self) -> None:
        self.error = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.calls = 0

    def write(self, file: int, data: bytes) -> int:
        self.calls += 1
        self.goes_on.wait(30)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return os.write(file, data)


class Desk:
    """A writer without a thread: a test takes its turns."""

    def __init__(self, path: pathlib.Path, **changes: typing.Any) -> None:
        self.path = path / 'transcripts'
        self.disk = Disk()
        values: dict[str, typing.Any] = {
            'directory': str(self.path), 'max_bytes': 0, 'backups': 3,
            'buffer': BUFFER, 'host': 'cond-a', **changes}
        self.writer = transcript_writer.Writer(
            transcript_writer.Settings(**values), self.disk.write)
        self.now = 1000.0

    async def turn(self, seconds: float = 0.2) -> None:
        """One turn of the thread, after so many seconds."""
        self.now += seconds
        self.writer.turn(self.now)
        await asyncio.sleep(0)      # what it has told the loop

    def contents(self, node: str = NODE) -> bytes:
        return transcripts.contents(self.path, node)

    def stream(self, node: str = NODE) -> bytes:
        return transcripts.stream(self.contents(node))

    def events(self, node: str = NODE) -> list[str]:
        """But for those that a file begins with."""
        return [event for event in transcripts.events(self.contents(node))
                if not event.startswith('transcript of node')]


def lost(events: list[str]) -> int:
    """The bytes that the marks among events count."""
    return sum(int(event.partition(' ')[0]) for event in events
               if 'lost here' in event)


@in_loop
async def test_output_and_events_are_written_in_order(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    one = desk.writer.open(NODE, OWNER)
    one.event('connected')
    one.data(b'login: ')
    one.data(b'root\r\npass')
    one.event('stolen')
    one.data(b'word')
    one.close()
    await desk.turn()
    kinds = [(kind, body) for _, kind, body in transcripts.records(
        desk.contents())][1:]
    assert kinds == [
        (b'#', b'connected'), (b'|', b'login: root\r'), (b'+', b'pass'),
        (b'#', b'stolen'), (b'+', b'word'), (b'#', b'closed')]


@in_loop
async def test_a_prompt_is_written_within_two_ticks(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    desk.writer.open(NODE, OWNER).data(b'login: ')
    await desk.turn()
    for _ in range(2):
        await desk.turn(transcript_writer.TICK)
    assert desk.stream() == b'login: '


@in_loop
async def test_a_new_owner_gets_a_new_file(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    one = desk.writer.open(NODE, OWNER)
    one.data(b'of the first owner')
    one.new_owner(OTHER)
    one.data(b'of the second owner\n')
    await desk.turn()
    old, new = [path.read_bytes() for path in transcripts.files(
        desk.path, NODE)]
    assert transcripts.stream(old) == b'of the first owner'
    assert transcripts.stream(new) == b'of the second owner\n'
    assert OTHER not in ''.join(transcripts.events(old))
    one.new_owner(OTHER)
    one.data(b'still\n')
    await desk.turn()
    assert len(transcripts.files(desk.path, NODE)) == 2


@in_loop
async def test_a_new_owner_waits_until_the_old_one_is_written(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    one = desk.writer.open(NODE, OWNER)
    desk.disk.error = errno.ENOSPC
    one.data(b'of the first owner\n')
    one.new_owner(OTHER)
    one.data(b'of the second owner\n')
    for _ in range(3):
        await desk.turn(5)
    desk.disk.error = 0
    await desk.turn(5)
    old, new = [path.read_bytes() for path in transcripts.files(
        desk.path, NODE)]
    assert transcripts.stream(old) == b'of the first owner\n'
    assert transcripts.stream(new) == b'of the second owner\n'


@in_loop
async def test_opened_again_before_it_is_written(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    first = desk.writer.open(NODE, OWNER)
    first.data(b'one\n')
    first.close()
    second = desk.writer.open(NODE, OTHER)
    second.data(b'two\n')
    await desk.turn()
    second.data(b'three\n')
    await desk.turn()
    assert desk.stream() == b'one\ntwo\nthree\n'
    old, new = transcripts.files(desk.path, NODE)
    assert transcripts.stream(new.read_bytes()) == b'two\nthree\n'
    assert 'closed' in transcripts.events(old.read_bytes())


@in_loop
async def test_what_is_closed_is_let_go_of(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(3):
        one = desk.writer.open(NODE, OWNER)
        one.data(b'one\n')
        await desk.turn()
        assert len(os.listdir('/proc/self/fd')) == before + 1
        one.close()
        await desk.turn()
    assert len(os.listdir('/proc/self/fd')) == before
    assert not desk.writer._open and not desk.writer._places
    assert desk.stream() == b'one\n' * 3


@pytest.mark.parametrize('error', [
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE])
@in_loop
async def test_a_full_disk_is_told_once_and_marked(
        tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture,
        error: int) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk(tmp_path)
    one, two = desk.writer.open(NODE, OWNER), desk.writer.open(SECOND, '')
    sent = bytearray()

    async def print_lines(count: int) -> None:
        for number in range(count):
            line = b'%06d\r\n' % (len(sent) // 8)
            sent.extend(line)
            one.data(line)
            if not number % 50:
                await desk.turn()

    await print_lines(200)
    two.data(b'two\n')
    await desk.turn()
    desk.disk.error = error
    two.data(b'more\n')
    await print_lines(1000)
    assert one.losing
    for _ in range(5):
        await desk.turn(5)
    assert one.taken - one.written <= BUFFER
    desk.disk.error = 0
    await desk.turn(5)
    assert not one.losing
    await desk.turn()
    await print_lines(100)
    await desk.turn()

    assert desk.stream(SECOND) == b'two\nmore\n'
    assert lost(desk.events()) > 4000
    position, at = 0, 0
    for _, kind, body in transcripts.records(desk.contents()):
        if kind == b'#':
            position += lost([body.decode()])
            continue
        assert body == bytes(sent[position:position + 7]), (at, position)
        position += 8
        at += 1
    assert position == len(sent)
    texts = [record.getMessage() for record in caplog.records
             if record.levelno >= logging.INFO]
    assert len(texts) == 2, texts
    assert os.strerror(error) in texts[0]
    assert 'written again' in texts[1]


@in_loop
async def test_a_directory_that_vanishes_and_comes_back(
        tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(tmp_path)
    one = desk.writer.open(NODE, OWNER)
    one.data(b'one\n')
    await desk.turn()
    shutil.rmtree(desk.path)
    for number in range(500):
        one.data(b'%d\n' % number)
        await desk.turn()
    assert not desk.path.exists(), (
        'it may be a disk that is not mounted: nothing may be made there')
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 1 and 'No such file' in texts[0], texts
    desk.path.mkdir(0o750)
    for _ in range(2):
        await desk.turn(5)
    one.data(b'again\n')
    await desk.turn()
    stream = desk.stream()
    assert stream.startswith(b'0\n1\n2\n') and stream.endswith(b'again\n')
    total = sum(len(b'%d\n' % number) for number in range(500))
    assert len(stream) + lost(desk.events()) == total + len(b'again\n')


@in_loop
async def test_renamed_while_nobody_prints(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    desk.writer.open(NODE, OWNER).data(b'one\n')
    await desk.turn()
    file, = transcripts.files(desk.path, NODE)
    file.rename(tmp_path / 'elsewhere')
    assert transcript_writer.LOOK + transcript_writer.FLUSH < 5
    await desk.turn(transcript_writer.LOOK)
    assert file.exists()


@in_loop
async def test_one_bad_file_harms_no_other(
        tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(tmp_path)
    transcript_file.make_directory(str(desk.path))
    (desk.path / f'{NODE}.log').symlink_to('/etc/passwd')
    one, two = desk.writer.open(NODE, OWNER), desk.writer.open(SECOND, '')
    for _ in range(3):
        one.data(b'one\n')
        two.data(b'two\n')
        await desk.turn(5)
    assert desk.stream(SECOND) == b'two\n' * 3
    record, = caplog.records
    assert 'symbolic link' in record.getMessage()
    assert record.__dict__['node'] == NODE
    (desk.path / f'{NODE}.log').unlink()
    await desk.turn(5)
    assert desk.stream() == b'one\n' * 3


@in_loop
async def test_who_comes_and_goes_all_day_fills_no_file(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    one = desk.writer.open(NODE, OWNER)
    for number in range(5000):
        one.viewer_event(f'viewer {number} came')
    one.event('stolen')
    one.close()
    await desk.turn()
    events = desk.events()
    assert 50 < len(events) < 70
    assert events[-3] == 'stolen'
    assert events[-1] == 'closed'
    told, _, text = events[-2].partition(' ')
    assert text == 'events of viewers are left out here'
    assert int(told) + len(events) - 3 == 5000


@in_loop
async def test_events_do_not_grow_without_a_bound(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    one = desk.writer.open(NODE, OWNER)
    for _ in range(5000):
        one.event('x' * 100)
    assert len(one.queue) < 300
    await desk.turn()
    await desk.turn()
    mark = desk.events()[-1]
    assert mark.startswith('0 bytes of output and '), mark


@in_loop
async def test_a_closed_console_does_not_wait_for_ever(
        tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(tmp_path)
    one = desk.writer.open(NODE, OWNER)
    desk.disk.error = errno.ENOSPC
    one.data(b'one\n')
    one.close()
    await desk.turn(5)
    assert desk.writer._open
    await desk.turn(transcript_writer.GIVE_UP)
    assert not desk.writer._open and not desk.writer._places
    assert not desk.writer._failing and not desk.writer._troubles
    assert 'is lost' in caplog.text


@in_loop
async def test_opened_again_just_as_it_is_given_up(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    one = desk.writer.open(NODE, OWNER)
    one.data(b'of the first owner\n')
    await desk.turn()
    desk.disk.error = errno.ENOSPC
    one.data(b'lost\n')
    one.new_owner(OTHER)
    one.close()
    await desk.turn(5)
    desk.writer.turn(desk.now + transcript_writer.GIVE_UP)
    # The loop has not been told yet.
    again = desk.writer.open(NODE, OTHER)
    desk.disk.error = 0
    again.data(b'of the second owner\n')
    await desk.turn(transcript_writer.GIVE_UP)
    old, new = [path.read_bytes() for path in transcripts.files(
        desk.path, NODE)]
    assert transcripts.stream(old) == b'of the first owner\n'
    assert transcripts.stream(new) == b'of the second owner\n'


@in_loop
async def test_closed_again_before_the_first_end_is_told(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    desk.writer.open(NODE, OWNER).close()
    desk.writer.turn(desk.now)
    again = desk.writer.open(NODE, OWNER)
    desk.disk.error = errno.ENOSPC
    again.data(b'one\n')
    again.close()
    await desk.turn()       # now the loop is told of the first
    desk.writer.open(NODE, OWNER).data(b'two\n')
    desk.disk.error = 0
    for _ in range(2):
        await desk.turn(5)
    assert desk.stream() == b'one\ntwo\n'
    assert len(desk.writer._places) == 1


@in_loop
async def test_opened_again_it_waits_for_as_long_again(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    desk.disk.error = errno.ENOSPC
    one = desk.writer.open(NODE, OWNER)
    one.close()
    await desk.turn(5)
    assert desk.writer.open(NODE, OWNER) is one
    one.data(b'one\n')
    await desk.turn(transcript_writer.GIVE_UP)
    one.close()
    await desk.turn(5)
    desk.disk.error = 0
    await desk.turn(5)
    assert desk.stream() == b'one\n'


@in_loop
async def test_newlines_alone_take_no_more_memory_than_they_may(
        tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path, buffer=256 * 1024)
    one = desk.writer.open(NODE, OWNER)
    desk.disk.error = errno.ENOSPC
    for size in (200, 200_000):
        for _ in range(1000):
            one.data(b'\n' * size)
        await desk.turn()
    place, = desk.writer._places.values()
    assert 64 * 1024 < place.file.unwritten < 192 * 1024


@in_loop
async def test_a_disk_that_hangs_holds_up_nobody(
        tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(tmp_path)
    desk.disk.goes_on.clear()
    one = desk.writer.open(NODE, OWNER)
    desk.writer.start()
    one.data(b'x\n')
    deadline = time.monotonic() + 20
    while not desk.disk.calls and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert desk.disk.calls, 'the thread does not write'
    before = time.thread_time()
    for _ in range(20_000):
        one.data(b'y' * 100)
    assert one.taken - one.written <= BUFFER + 400
    assert one.losing
    assert time.thread_time() - before < 2
    one.close()
    began = time.monotonic()
    await desk.writer.stop()
    assert time.monotonic() - began < 5
    assert 'does not answer' in caplog.text
    desk.disk.goes_on.set()


@in_loop
async def test_at_the_end_all_is_written(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path, buffer=256 * 1024)
    desk.writer.start()
    one = desk.writer.open(NODE, OWNER)
    for _ in range(100):
        one.data(b'z' * 100 + b'\n')
    one.data(b'the end')
    one.close()
    await desk.writer.stop()
    assert desk.stream() == (b'z' * 100 + b'\n') * 100 + b'the end'
    assert desk.events()[-1] == 'closed'


@in_loop
async def test_those_of_nodes_that_are_gone(
        tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    for node in (NODE, SECOND):
        one = desk.writer.open(node, OWNER)
        one.data(b'one\n')
        one.close()
    await desk.turn()
    monkeypatch.setattr(transcript_writer, 'MAX_NODES', 1)
    job = transcript_clean.Job(frozenset(), frozenset(), 86400.0)
    assert desk.writer.clean(job) is None
    await desk.turn()
    asked = [desk.writer.clean(job) for _ in range(3)]
    assert asked == [[NODE], [SECOND], [NODE]]
    await desk.turn()
    gone = job._replace(gone=frozenset([NODE]), there=frozenset([SECOND]))
    assert desk.writer.clean(gone) == []
    await desk.turn()
    mark = desk.path / f'{NODE}.gone'
    assert mark.exists() and desk.stream() == b'one\n'
    os.utime(mark, (time.time() - 90000,) * 2)
    desk.writer.clean(gone)
    await desk.turn()
    assert sorted(os.listdir(desk.path)) == [f'{SECOND}.log']


@in_loop
async def test_an_open_one_is_never_removed(tmp_path: pathlib.Path) -> None:
    desk = Desk(tmp_path)
    desk.writer.open(NODE, OWNER).data(b'one\n')
    await desk.turn()
    (desk.path / f'{NODE}.gone').touch()
    os.utime(desk.path / f'{NODE}.gone', (0, 0))
    desk.writer.clean(transcript_clean.Job(
        frozenset(), frozenset([NODE]), 86400.0))
    await desk.turn()
    assert sorted(os.listdir(desk.path)) == [f'{NODE}.log']
