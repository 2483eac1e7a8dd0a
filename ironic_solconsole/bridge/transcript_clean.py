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

"""Transcripts of nodes that are gone.

The conductor knows which nodes there are, and the writer's thread has the
disk. A node that is found to be gone gets a mark, an empty file, whose age
is then how long it has been gone: that outlives all processes, and is the
same for all that share a directory.
"""

import contextlib
import os
import stat
import typing

from ironic_solconsole import transcript


class Job(typing.NamedTuple):
    """What the conductor knows.

    With no node at all it is the question which have a transcript.

    :param there: nodes that exist.
    :param gone: nodes that do not.
    :param age: seconds for which transcripts are kept after that.
    :param keep: nodes to leave alone.
    """

    there: frozenset[str]
    gone: frozenset[str]
    age: float
    keep: frozenset[str] = frozenset()


def clean(directory: int, job: Job, now: float) -> list[str]:
    """Do what is to be done.

    :param directory: descriptor.
    :param now: seconds since 1970.
    :returns: the nodes that have files here.
    :raises: OSError
    """
    files: dict[str, list[str]] = {}
    marks: set[str] = set()
    for name in os.listdir(directory):
        found = transcript.parse_name(name)
        if found is not None:
            files.setdefault(found[0], []).append(name)
        elif (node := transcript.parse_mark(name)) is not None:
            marks.add(node)
    for node in marks & (job.there | job.keep):
        _remove(directory, transcript.mark_name(node))
    for node in job.gone - job.keep:
        if node not in marks:
            if node in files:
                _mark(directory, node)
        elif _age(directory, node, now) >= job.age:
            for name in files.pop(node, []):
                _remove(directory, name)
            _remove(directory, transcript.mark_name(node))
            marks.discard(node)
    return sorted({*files, *marks})


def _mark(directory: int, node: str) -> None:
    # Another conductor may do the same at this moment.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(
            transcript.mark_name(node),
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640,
            dir_fd=directory))


def _age(directory: int, node: str, now: float) -> float:
    """Seconds since a node was found to be gone; -1 if that is not known.
    """
    try:
        mark = os.stat(transcript.mark_name(node), dir_fd=directory,
                       follow_symlinks=False)
    except FileNotFoundError:
        return -1.0
    return now - mark.st_mtime if stat.S_ISREG(mark.st_mode) else -1.0


def _remove(directory: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(name, dir_fd=directory)
