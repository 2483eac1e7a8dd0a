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

"""The format of transcripts: what a bridge writes and the CLI reads.

A transcript is a sequence of *records*, one a line of the file::

    2026-11-21T12:25:03.123Z | Debian GNU/Linux 12 web-1 ttyS0
    2026-11-21T12:25:03.340Z + web-1 login:
    2026-11-21T12:25:09.002Z # viewer 192.0.2.7:51234 came
    2026-11-21T12:25:11.870Z | root

Each is the time in UTC, always as long, a blank, the kind, a blank, the
body, and one line feed. The body holds no line feed. The kind says what the
line feed is:

``|``
    the host's own: a line of the host, or the rest of one, ends here;
``+``
    the file's: the line goes on in the next ``|`` or ``+`` record;
``#``
    the file's: this is an event, and no byte of it came from the host.

So each record by itself tells which bytes of the stream it stands for:
:func:`stream_of`. Nothing that a host prints can begin a record, as each of
its line feeds is followed by a prefix of ours.

A file of a node is ``UUID.log``, its predecessors are ``UUID.log.1``,
``UUID.log.2`` and so on, the oldest with the highest number. Its first
record is an event, :func:`header`, that names the node and whose instance
was on it: a file holds the output of one owner.
"""

import enum
import functools
import re
import time
import typing

#: Bytes from the beginning of a record to its body.
PREFIX = 27

#: Bytes of a record, at most, its line feed included.
MAX_RECORD = 16 * 1024

#: Characters of an event, at most.
MAX_EVENT = 1000

_TIME = PREFIX - 3
_STAMP = re.compile(
    rb'[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z ')
_NODE = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
_FILE = re.compile(rf'({_NODE})\.log(?:\.([1-9][0-9]{{0,5}}))?', re.ASCII)
_MARK = re.compile(rf'({_NODE})\.gone', re.ASCII)


class Kind(enum.Enum):
    """What a record is; the value stands in the file."""

    LINE = b'|'
    PART = b'+'
    EVENT = b'#'


_KINDS = {kind.value: kind for kind in Kind}


class Record(typing.NamedTuple):
    """One record.

    :param time: as in the file. Times compare as the text that they are.
    :param body: without a line feed.
    """

    time: bytes
    kind: Kind
    body: bytes


@functools.lru_cache(maxsize=64)
def _second(at: int) -> bytes:
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at)).encode()


def stamp(at: float) -> bytes:
    """A time as records have it.

    :param at: seconds since 1970, before the year 10000.
    """
    seconds, milliseconds = divmod(int(at * 1000), 1000)
    return b'%s.%03dZ' % (_second(seconds), milliseconds)


def prefix(at: float, kind: Kind) -> bytes:
    """What a record begins with."""
    return b'%s %s ' % (stamp(at), kind.value)


def line_prefix(at: float) -> bytes:
    """What a record of a host's line begins with."""
    seconds, milliseconds = divmod(int(at * 1000), 1000)
    return b'%s.%03dZ | ' % (_second(seconds), milliseconds)


def event(at: float, text: str) -> bytes:
    """The record of an event.

    :param at: seconds since 1970.
    :param text: whatever is not printable in it is escaped.
    """
    return prefix(at, Kind.EVENT) + printable(text)[:MAX_EVENT].encode(
        ) + b'\n'


def header(node: str, instance: str) -> str:
    """The event that a file begins with.

    :param node: UUID.
    :param instance: UUID of the instance on it, '' for none.
    """
    return printable(
        f'transcript of node {node}, instance {instance or "none"}')


def parse(line: bytes) -> Record | None:
    """Read a record.

    :param line: with its line feed, or without.
    :returns: None for what is not a record: a file that was torn.
    """
    kind = _KINDS.get(line[_TIME + 1:_TIME + 2])
    if (kind is None or line[_TIME + 2:PREFIX] != b' '
            or not _STAMP.match(line)):
        return None
    return Record(line[:_TIME], kind, line[PREFIX:].removesuffix(b'\n'))


def stream_of(record: Record) -> bytes:
    """The bytes of the host's stream that a record stands for."""
    if record.kind is Kind.LINE:
        return record.body + b'\n'
    return record.body if record.kind is Kind.PART else b''


def printable(text: str) -> str:
    """Text with escapes for whatever could move a cursor."""
    if text.isprintable():
        return text
    return ''.join(
        char if char.isprintable()
        else char.encode('unicode_escape').decode('ascii')
        for char in text)


def file_name(node: str, number: int = 0) -> str:
    """The name of a file.

    :param node: UUID, in its canonical form.
    :param number: 0 for the one that is written now.
    """
    return f'{node}.log.{number}' if number else f'{node}.log'


def parse_name(name: str) -> tuple[str, int] | None:
    """Node and number of a file; None where it is no transcript."""
    match = _FILE.fullmatch(name)
    return None if match is None else (match[1], int(match[2] or 0))


def mark_name(node: str) -> str:
    """The name of the mark that a node was found to be gone."""
    return f'{node}.gone'


def parse_mark(name: str) -> str | None:
    """The node of a mark; None where it is none."""
    match = _MARK.fullmatch(name)
    return None if match is None else match[1]
