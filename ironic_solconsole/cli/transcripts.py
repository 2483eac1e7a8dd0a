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

"""Read the transcripts of nodes, while others write and rotate them."""

import collections.abc
import errno
import heapq
import itertools
import os
import pathlib
import stat
import typing

from ironic_solconsole import transcript

_READ = 1 << 16         # bytes at a time
_FLAGS = (os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
          | os.O_NOCTTY)


class Line(typing.NamedTuple):
    """A record, and whose it is.

    :param order: by which lines of several nodes are merged: its time, or a
        later one where the clock of the writer went back.
    :param record: None for what is no record.
    :param text: as it is in the file.
    """

    order: bytes
    node: str
    record: transcript.Record | None
    text: bytes


def nodes_of(directory: pathlib.Path) -> set[str]:
    """The nodes with a transcript.

    :raises: OSError
    """
    return {found[0] for name in os.listdir(directory)
            if (found := transcript.parse_name(name)) is not None}


class NodeReader:
    """Reads the files of one node, the oldest first.

    :param node: UUID, in its canonical form.
    :param since: seconds since 1970; files that are older are left out.
    """

    def __init__(self, directory: pathlib.Path, node: str,
                 since: float = 0.0) -> None:
        self._directory = directory
        self._node = node
        self._since = since
        #: Open files, the oldest first. The last one is still written.
        self._files: list[int] = []
        self._rest = b''        # a line that is not complete
        self._order = b''

    def close(self) -> None:
        """Close all files."""
        while self._files:
            os.close(self._files.pop())

    def lines(self) -> collections.abc.Iterator[Line]:
        """What there is, or what has come since.

        :raises: OSError
        """
        if not self._files or not self._current():
            # What has come before it was renamed is read first.
            self._files += self._opened()
        while self._files:
            yield from self._read(self._files[0])
            if len(self._files) == 1:
                return
            os.close(self._files.pop(0))
            if self._rest:
                rest, self._rest = self._rest, b''
                yield self._line(rest)

    def _read(self, file: int) -> collections.abc.Iterator[Line]:
        while data := os.read(file, _READ):
            *lines, self._rest = (self._rest + data).split(b'\n')
            for line in lines:
                yield self._line(line)
            if len(self._rest) > transcript.MAX_RECORD:
                rest, self._rest = self._rest, b''
                yield self._line(rest)

    def _line(self, text: bytes) -> Line:
        record = transcript.parse(text)
        if record is not None and record.time > self._order:
            self._order = record.time
        return Line(self._order, self._node, record, text)

    def _current(self) -> bool:
        """Whether the last open file is the one that is written."""
        try:
            found = os.stat(self._path(0), follow_symlinks=False)
        except FileNotFoundError:
            return True         # for the moment
        return os.path.samestat(found, os.fstat(self._files[-1]))

    def _path(self, number: int) -> pathlib.Path:
        return self._directory / transcript.file_name(self._node, number)

    def _opened(self) -> list[int]:
        """Open the files that come after those that are open.

        From the newest to the oldest: a file that is renamed meanwhile is
        met again, and none is missed.
        """
        last = os.fstat(self._files[-1]) if self._files else None
        opened: dict[tuple[int, int], int] = {}
        for number in self._numbers():
            try:
                file = os.open(self._path(number), _FLAGS)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENXIO):
                    continue        # nobody writes to such a thing
                for other in opened.values():
                    os.close(other)
                raise
            found = os.fstat(file)
            place = (found.st_dev, found.st_ino)
            if last is not None and os.path.samestat(last, found):
                os.close(file)
                break
            if (place in opened or not stat.S_ISREG(found.st_mode)
                    or (number and found.st_mtime < self._since)):
                os.close(file)
                continue
            opened[place] = file
        return list(reversed(opened.values()))

    def _numbers(self) -> collections.abc.Iterator[int]:
        """Those of the files, from the newest."""
        numbers = sorted({0, *(
            found[1] for name in os.listdir(self._directory)
            if (found := transcript.parse_name(name)) is not None
            and found[0] == self._node)})
        yield from numbers
        # They may have been counted up meanwhile.
        for number in itertools.count(numbers[-1] + 1):
            if not self._path(number).exists():
                return
            yield number


def merged(readers: collections.abc.Iterable[NodeReader]
           ) -> collections.abc.Iterator[Line]:
    """What several nodes have, in the order of time.

    :raises: OSError
    """
    return heapq.merge(*(reader.lines() for reader in readers),
                       key=lambda line: line.order)
