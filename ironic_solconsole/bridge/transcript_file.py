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

"""The files of one node's transcript, on a disk that may be anything.

Used by the writer's thread alone: each call may take as long as the disk
does. What is opened must be a plain file of ours with one name: no link,
FIFO, or file that somebody else has put there is written to.

Several processes may share a directory, as conductors of one host do, and
have a node in turn. Each write is made under an advisory lock on the file,
once it is certain that the file still has its name: a file that another
process has rotated, or logrotate has renamed, is left and the new one taken.
"""

import collections.abc
import contextlib
import errno
import fcntl
import itertools
import os
import stat
import time

from ironic_solconsole import transcript

DIRECTORY_MODE = 0o750
FILE_MODE = 0o640

#: How often the file may be another one before a write is put off.
_TRIES = 8

#: What a file system without locks answers. Files there are for one process.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

_FLAGS = (os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
          | os.O_NONBLOCK | os.O_NOCTTY)

#: os.write(), or what a test puts in its place.
Write = collections.abc.Callable[[int, bytes], int]


class Refused(Exception):
    """What is there is not what may be written to. Says what it is."""


@contextlib.contextmanager
def directory(path: str) -> collections.abc.Iterator[int]:
    """Open the directory for one round of writes.

    :param path: absolute.
    :raises: OSError; Refused if everybody could put files there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in (0, os.geteuid()):
            raise Refused(f'it belongs to uid {found.st_uid}, and this '
                          f'process runs as uid {os.geteuid()}')
        if found.st_mode & stat.S_IWOTH:
            raise Refused('everybody may write to it')
        yield descriptor
    finally:
        os.close(descriptor)


def make_directory(path: str) -> None:
    """Make the directory, if it is not there.

    :raises: OSError
    """
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        return
    os.chmod(path, DIRECTORY_MODE)      # whatever the umask is


class NodeFile:
    """Where the records of one node go.

    :param node: UUID.
    :param instance: UUID of the instance on the node, '' for none.
    :param max_bytes: of a file; 0 if others see to that.
    :param backups: how many older files are kept.
    """

    def __init__(self, node: str, instance: str, max_bytes: int,
                 backups: int, write: Write = os.write) -> None:
        self._node = node
        self._max = max_bytes
        self._backups = backups
        self._os_write = write
        self._name = transcript.file_name(node)
        self._header = transcript.header(node, instance)
        self._file = -1
        self._unwritten = b''

    @property
    def unwritten(self) -> int:
        """Bytes of records that could not be written yet."""
        return len(self._unwritten)

    @property
    def is_open(self) -> bool:
        """Whether there is an open file."""
        return self._file >= 0

    def add(self, records: bytes) -> None:
        """Take records that the next write will write."""
        self._unwritten += records

    def write(self, directory: int, records: bytes) -> None:
        """Write whole records after those that could not be written before.

        :param directory: descriptor.
        :raises: OSError, Refused. What was not written is kept, and
            written by the next call.
        """
        self.add(records)
        if self._unwritten:
            self._locked(directory)

    def look(self, directory: int) -> None:
        """If the file has lost its name, begin a new one.

        :raises: OSError, Refused.
        """
        if self._file >= 0 and not self._named(directory):
            self._locked(directory)

    def give(self, instance: str) -> None:
        """What comes from now on belongs to another instance.

        All that came before must have been written.
        """
        assert not self._unwritten
        self._header = transcript.header(self._node, instance)
        self.close()    # when it is opened, it is seen whose it is

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    # -- writing ---------------------------------------------------------

    def _locked(self, directory: int) -> None:
        """Write all there is, in as many files as it takes."""
        try:
            while True:
                self._ready(directory)
                if not self._unwritten:
                    break
                if not self._put():
                    self._rotate(directory)
        except BaseException:
            self.close()        # and look at all of it anew
            raise
        if self._file >= 0:
            self._unlock()

    def _put(self) -> bool:
        """Write what fits; whether that was all."""
        records = self._unwritten
        size = os.fstat(self._file).st_size
        if self._max and size + len(records) > self._max:
            cut = records.rfind(b'\n', 0, max(0, self._max - size)) + 1
            if not cut and size <= self._head_size():
                # it would not fit into the next one either
                cut = records.index(b'\n') + 1
            records = records[:cut]
        if records:
            self._append(records, size)
        return not self._unwritten

    def _append(self, records: bytes, size: int) -> None:
        """Write records, and leave none that is not whole."""
        done = 0
        try:
            while done < len(records):
                done += self._os_write(self._file, records[done:])
        finally:
            whole = records.rfind(b'\n', 0, done) + 1
            if whole != done:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, size + whole)
            self._unwritten = self._unwritten[whole:]

    def _rotate(self, directory: int) -> None:
        """Make room for a new file. The one that is open is left."""
        for number in itertools.count(self._backups + 1):
            # there were more once
            try:
                os.unlink(self._numbered(number), dir_fd=directory)
            except FileNotFoundError:
                break
        if not self._backups:
            os.unlink(self._name, dir_fd=directory)
        for number in reversed(range(self._first_free(directory))):
            os.rename(self._numbered(number), self._numbered(number + 1),
                      src_dir_fd=directory, dst_dir_fd=directory)
        self.close()

    def _first_free(self, directory: int) -> int:
        """The lowest number that is free, or that may be overwritten."""
        for number in range(1, self._backups):
            try:
                os.stat(self._numbered(number), dir_fd=directory,
                        follow_symlinks=False)
            except FileNotFoundError:
                return number
        return self._backups

    def _numbered(self, number: int) -> str:
        return transcript.file_name(self._node, number)

    # -- which file ------------------------------------------------------

    def _ready(self, directory: int) -> None:
        """Have the right file open, and its lock.

        :raises: OSError, Refused.
        """
        for _ in range(_TRIES):
            new = self._file < 0
            if new:
                self._open(directory)
            self._lock()
            if not self._named(directory):
                self.close()
                continue
            # logrotate's copytruncate empties it
            new = new or not os.fstat(self._file).st_size
            if not new or self._begun():
                return
            self._rotate(directory)
        raise OSError(errno.EAGAIN, 'it is another file each time')

    def _named(self, directory: int) -> bool:
        """Whether the open file is the one of this name."""
        ours = os.fstat(self._file)
        try:
            found = os.stat(self._name, dir_fd=directory,
                            follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)

    def _open(self, directory: int) -> None:
        try:
            self._file = self._open_or_make(directory)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Refused('it is a symbolic link') from None
            if error.errno in (errno.EISDIR, errno.ENXIO):
                raise Refused('it is not a file') from None
            raise
        self._check(os.fstat(self._file))

    def _open_or_make(self, directory: int) -> int:
        with contextlib.suppress(FileNotFoundError):
            return os.open(self._name, _FLAGS, dir_fd=directory)
        try:
            made = os.open(self._name, _FLAGS | os.O_CREAT | os.O_EXCL,
                           FILE_MODE, dir_fd=directory)
        except FileExistsError:
            # another process was faster
            return os.open(self._name, _FLAGS, dir_fd=directory)
        os.fchmod(made, FILE_MODE)      # whatever the umask is
        return made

    def _check(self, found: os.stat_result) -> None:
        """Whether it may be written to.

        :raises: Refused
        """
        if not stat.S_ISREG(found.st_mode):
            raise Refused('it is not a file')
        if found.st_uid != os.geteuid():
            raise Refused(f'it belongs to uid {found.st_uid}, and this '
                          f'process runs as uid {os.geteuid()}')
        if found.st_nlink > 1:
            raise Refused('it has another name as well (a hard link)')
        if found.st_mode & stat.S_IWOTH:
            raise Refused('everybody may write to it')

    def _begun(self) -> bool:
        """See that it begins with the header of this owner.

        :returns: False if it is the file of another one.
        """
        text = self._header
        size = os.fstat(self._file).st_size
        if not size:
            begun = self._unwritten[:transcript.PREFIX - 3]
            record = transcript.event(time.time(), text)
            self._head(begun + record[len(begun):])
            return True
        first = os.pread(self._file, transcript.MAX_RECORD, 0)
        found = transcript.parse(first.partition(b'\n')[0])
        if (found is None or found.kind is not transcript.Kind.EVENT
                or found.body != text.encode()):
            return False
        if os.pread(self._file, 1, size - 1) != b'\n':
            # its writer was killed in mid-record
            self._head(b'\n' + transcript.event(
                time.time(), 'the record before this one is torn'))
        return True

    def _head_size(self) -> int:
        return transcript.PREFIX + len(self._header) + 1

    def _head(self, record: bytes) -> None:
        """Write a record that is not among the unwritten ones."""
        before, self._unwritten = self._unwritten, record
        try:
            self._append(record, os.fstat(self._file).st_size)
        finally:
            self._unwritten = before

    # -- the lock --------------------------------------------------------

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(
                errno.EAGAIN, 'another process is writing to it') from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def _unlock(self) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)
