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

"""Files of a transcript: what is written to, rotated and refused."""

import collections.abc
import contextlib
import errno
import fcntl
import os
import pathlib
import stat
import tempfile

import hypothesis
from hypothesis import strategies
import pytest

from ironic_solconsole.bridge import transcript_file
from tests.support import transcripts

NODE = '9044c15c-2c8e-4603-9973-ba682f6ca08d'
OWNER, OTHER = '11111111-1111-4111-8111-111111111111', (
    '22222222-2222-4222-8222-222222222222')
STAMP = b'2026-11-21T12:25:03.123Z'


def record(body: bytes, kind: bytes = b'|') -> bytes:
    """A record of a host's line."""
    return STAMP + b' ' + kind + b' ' + body + b'\n'


class Files:
    """A directory, and a node's file in it."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.path.chmod(0o750)

    def make(self, instance: str = OWNER, max_bytes: int = 0,
             backups: int = 3, write: transcript_file.Write = os.write,
             ) -> transcript_file.NodeFile:
        return transcript_file.NodeFile(
            NODE, instance, max_bytes, backups, write)

    def write(self, file: transcript_file.NodeFile,
              *records: bytes) -> None:
        with transcript_file.directory(str(self.path)) as directory:
            file.write(directory, b''.join(records))

    def look(self, file: transcript_file.NodeFile) -> None:
        with transcript_file.directory(str(self.path)) as directory:
            file.look(directory)

    def named(self, number: int = 0) -> pathlib.Path:
        return self.path / (f'{NODE}.log.{number}' if number
                            else f'{NODE}.log')

    @property
    def names(self) -> list[str]:
        return sorted(path.name.removeprefix(f'{NODE}.log')
                      for path in self.path.iterdir())

    def stream(self) -> bytes:
        return transcripts.stream(
            transcripts.contents(self.path, NODE))


@contextlib.contextmanager
def some_files() -> collections.abc.Iterator[Files]:
    """For generated tests, which have no fixture each time."""
    with tempfile.TemporaryDirectory() as path:
        yield Files(pathlib.Path(path))


@pytest.fixture
def files(tmp_path: pathlib.Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def umask() -> collections.abc.Iterator[None]:
    before = os.umask(0o777)
    yield
    os.umask(before)


def test_a_new_file_names_its_owner_and_is_for_few(
        files: Files, umask: None) -> None:
    file = files.make()
    files.write(file, record(b'login:'))
    assert files.named().read_bytes() == (
        STAMP + f' # transcript of node {NODE}, instance {OWNER}\n'.encode()
        + record(b'login:'))
    assert stat.S_IMODE(files.named().stat().st_mode) == 0o640
    flags = fcntl.fcntl(file._file, fcntl.F_GETFL)
    assert flags & os.O_APPEND
    assert fcntl.fcntl(file._file, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_the_directory_is_made_for_few(
        tmp_path: pathlib.Path, umask: None) -> None:
    path = tmp_path / 'transcripts'
    transcript_file.make_directory(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    path.chmod(0o700)
    transcript_file.make_directory(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700, (
        'what the deployer has made is not changed')


@hypothesis.settings(deadline=None)
@hypothesis.given(
    strategies.lists(strategies.lists(strategies.binary(max_size=300).map(
        lambda body: body.replace(b'\n', b'')), max_size=8), max_size=8),
    strategies.integers(150, 3000))
def test_rotation_loses_nothing(
        batches: list[list[bytes]], max_bytes: int) -> None:
    with some_files() as files:
        file = files.make(max_bytes=max_bytes, backups=999)
        for batch in batches:
            files.write(file, *map(record, batch))
        file.close()
        assert files.stream() == b''.join(
            body + b'\n' for batch in batches for body in batch)
        for path in transcripts.files(files.path, NODE):
            data = path.read_bytes()
            header, *rest = transcripts.records(data)
            assert header[2].startswith(b'transcript of node')
            assert len(data) <= max_bytes or len(rest) == 1


def test_only_so_many_older_files_are_kept(files: Files) -> None:
    for backups, names in ((3, ['', '.1', '.2', '.3']),
                           (1, ['', '.1']), (0, [''])):
        file = files.make(max_bytes=150, backups=backups)
        for number in range(9):
            files.write(file, record(b'%d' % number * 50))
        file.close()
        assert files.names == names
    assert files.stream() == b'8' * 50 + b'\n'


def test_a_file_that_is_there_goes_on(files: Files) -> None:
    for word in (b'one', b'two'):
        file = files.make()
        files.write(file, record(word))
        file.close()
    assert files.names == ['']
    assert files.stream() == b'one\ntwo\n'


@pytest.mark.parametrize('instance', ['', OWNER, '\n\x1b\ud800 é'])
def test_a_file_is_known_again_whoever_owns_it(
        files: Files, instance: str) -> None:
    for _ in range(2):
        file = files.make(instance)
        files.write(file, record(b'one'))
        file.close()
    assert files.names == ['']
    assert files.stream() == b'one\none\n'


@pytest.mark.parametrize('again', [False, True])
def test_another_owner_gets_a_file_of_his_own(
        files: Files, again: bool) -> None:
    file = files.make()
    files.write(file, record(b'secret of the first'))
    if again:       # another process, which knows the new owner only
        file.close()
        file = files.make(OTHER)
    else:
        file.give(OTHER)
    files.write(file, record(b'the second'))
    assert files.names == ['', '.1']
    assert transcripts.stream(files.named().read_bytes()) == b'the second\n'
    assert transcripts.events(files.named().read_bytes()) == [
        f'transcript of node {NODE}, instance {OTHER}']
    assert transcripts.stream(
        files.named(1).read_bytes()) == b'secret of the first\n'


def test_renamed_by_logrotate(files: Files) -> None:
    file = files.make()
    files.write(file, record(b'one'))
    files.named().rename(files.path / 'elsewhere')
    files.look(file)
    assert files.named().exists()
    files.write(file, record(b'two'))
    assert files.stream() == b'two\n'
    assert transcripts.stream(
        (files.path / 'elsewhere').read_bytes()) == b'one\n'


def test_emptied_by_logrotate(files: Files) -> None:
    file = files.make()
    files.write(file, record(b'one'))
    os.truncate(files.named(), 0)
    files.write(file, record(b'two'))
    file.close()
    file = files.make()
    files.write(file, record(b'three'))
    assert files.names == ['']
    assert files.stream() == b'two\nthree\n'


def _symbolic_link(path: pathlib.Path) -> None:
    (path.parent / 'target').write_bytes(b'theirs')
    path.symlink_to('target')


def _dangling_link(path: pathlib.Path) -> None:
    path.symlink_to('target')


def _hard_link(path: pathlib.Path) -> None:
    (path.parent / 'target').write_bytes(b'theirs')
    path.hardlink_to(path.parent / 'target')


def _foreign(path: pathlib.Path) -> None:
    if os.geteuid():
        pytest.skip('only root can give a file away')
    path.write_bytes(b'')
    os.chown(path, 4242, 4242)


def _open_to_all(path: pathlib.Path) -> None:
    path.write_bytes(b'')
    path.chmod(0o666)


@pytest.mark.parametrize(('make', 'why'), [
    (_symbolic_link, 'symbolic link'), (_dangling_link, 'symbolic link'),
    (_hard_link, 'another name'), (_foreign, 'belongs to uid 4242'),
    (os.mkfifo, 'not a file'), (pathlib.Path.mkdir, 'not a file'),
    (_open_to_all, 'everybody')])
def test_what_somebody_has_put_there_is_not_written_to(
        files: Files,
        make: collections.abc.Callable[[pathlib.Path], object],
        why: str) -> None:
    make(files.named())
    file = files.make()
    for _ in range(2):
        with pytest.raises(transcript_file.Refused, match=why):
            files.write(file, record(b'a'))
    assert not file.is_open
    target = files.path / 'target'
    assert not target.exists() or target.read_bytes() == b'theirs'
    files.named().rename(files.path / 'removed')
    files.write(file, record(b'b'))
    assert files.stream() == b'a\na\nb\n'


def test_put_there_later_it_is_refused_as_well(files: Files) -> None:
    file = files.make()
    files.write(file, record(b'a'))
    files.named().rename(files.path / 'moved')
    _symbolic_link(files.named())
    with pytest.raises(transcript_file.Refused):
        files.write(file, record(b'b'))
    assert (files.path / 'target').read_bytes() == b'theirs'


@pytest.mark.parametrize(('mode', 'uid', 'why'), [
    (0o777, 0, 'everybody'), (0o1777, 0, 'everybody'),
    (0o750, 4242, 'uid 4242')])
def test_a_directory_that_others_may_write_to(
        files: Files, mode: int, uid: int, why: str) -> None:
    files.path.chmod(mode)
    if uid and os.geteuid():
        pytest.skip('only root can give a directory away')
    if uid:
        os.chown(files.path, uid, uid)
    with pytest.raises(transcript_file.Refused, match=why):
        files.write(files.make(), record(b'a'))
    assert files.names == []


class Disk:
    """A disk that takes so many bytes and no more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, file: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = os.write(file, data[:self.room])
        self.room -= count
        return count


@hypothesis.settings(deadline=None)
@hypothesis.given(
    strategies.lists(strategies.integers(0, 500), min_size=1, max_size=12),
    strategies.integers(150, 1000))
def test_a_full_disk_leaves_whole_records_and_loses_none(
        rooms: list[int], max_bytes: int) -> None:
    with some_files() as files:
        disk = Disk(0)
        file = files.make(max_bytes=max_bytes, backups=999,
                          write=disk.write)
        sent = b''
        for number, room in enumerate(rooms):
            disk.room += room
            body = b'line %d' % number
            sent += body + b'\n'
            with contextlib.suppress(OSError):
                files.write(file, record(body))
            written = files.stream()        # fails for a torn record
            assert sent.startswith(written)
        disk.room = 1_000_000
        files.write(file)
        file.close()
        assert files.stream() == sent


def test_a_torn_record_is_told_and_spoils_no_other(files: Files) -> None:
    file = files.make()
    files.write(file, record(b'one'), record(b'two'))
    file.close()
    os.truncate(files.named(), files.named().stat().st_size - 3)
    file = files.make()
    files.write(file, record(b'three'))
    data = files.named().read_bytes()
    assert [body for _, _, body in transcripts.records(data)][1:] == [
        b'one', b't', b'the record before this one is torn', b'three']


def test_what_is_no_transcript_is_put_aside(files: Files) -> None:
    files.named().write_bytes(b'something else')
    file = files.make()
    files.write(file, record(b'one'))
    assert files.named(1).read_bytes() == b'something else'
    assert transcripts.stream(files.named().read_bytes()) == b'one\n'


def test_two_processes_in_turn(files: Files) -> None:
    first, second = files.make(max_bytes=400), files.make(max_bytes=400)
    sent = b''
    for number in range(40):
        body = b'%d' % number
        files.write(first if number % 3 else second, record(body))
        sent += body + b'\n'
        kept = files.stream()
        assert sent.endswith(kept)
    assert files.names == ['', '.1', '.2', '.3']


def test_while_another_process_writes_it_is_put_off(files: Files) -> None:
    first, second = files.make(), files.make()
    files.write(first, record(b'one'))
    fcntl.flock(first._file, fcntl.LOCK_EX)
    with pytest.raises(OSError, match='another process'):
        files.write(second, record(b'two'))
    fcntl.flock(first._file, fcntl.LOCK_UN)
    files.write(second)
    assert files.stream() == b'one\ntwo\n'
