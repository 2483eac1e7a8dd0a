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

"""What a conductor asks of a bridge about transcripts."""

import os
import re
import typing

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.bridge import transcript_clean
from ironic_solconsole.bridge import transcript_writer

MIN_BYTES = 64 * 1024               # of a file
MAX_BYTES = 1024 ** 4
MAX_BACKUPS = 1000
BUFFER = range(16 * 1024, 64 * 1024 * 1024 + 1)     # bytes
MAX_AGE = 100 * 366 * 86400.0       # seconds
_UUID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', re.ASCII)


def make(options: object, host: str) -> transcript_writer.Writer | None:
    """What writes transcripts; None where none are wanted.

    :param options: of the configuration of a bridge; None for none.
    :param host: name of the conductor.
    :raises: RequestRefused
    """
    if options is None:
        return None
    if not isinstance(options, dict):
        raise _refused('transcript must be an object or null')
    directory = options.get('directory')
    if not isinstance(directory, str) or not os.path.isabs(directory) or (
            '\0' in directory):
        raise _refused('the directory of transcripts must be absolute')
    max_bytes = _integer(options, 'max_bytes', range(MAX_BYTES + 1))
    return transcript_writer.Writer(transcript_writer.Settings(
        directory, max_bytes and max(max_bytes, MIN_BYTES),
        _integer(options, 'backups', range(MAX_BACKUPS + 1)),
        _integer(options, 'buffer', BUFFER), host))


def clean(writer: transcript_writer.Writer | None,
          args: control.Json) -> control.Json:
    """Mark and remove transcripts of nodes that are gone.

    :param args: ``there`` and ``gone``, lists of nodes, and ``age``, the
        seconds for which a transcript is kept after that.
    :returns: ``nodes``, as :meth:`Writer.clean` gives them.
    :raises: RequestRefused
    """
    age = args.get('age')
    if (isinstance(age, bool) or not isinstance(age, (int, float))
            or not 0 < age <= MAX_AGE):
        raise _refused('age must be seconds above 0')
    job = transcript_clean.Job(
        _nodes(args, 'there'), _nodes(args, 'gone'), age)
    return {'nodes': [] if writer is None else writer.clean(job)}


def _nodes(args: control.Json, name: str) -> frozenset[str]:
    value = args.get(name)
    if not isinstance(value, list) or not all(
            isinstance(node, str) and _UUID.fullmatch(node)
            for node in value):
        raise _refused(f'{name} must be a list of UUIDs')
    return frozenset(value)


def _integer(options: dict[str, typing.Any], name: str,
             allowed: range) -> int:
    value = options.get(name)
    if (isinstance(value, bool) or not isinstance(value, int)
            or value not in allowed):
        raise _refused(f'{name} of transcripts must be a whole number from '
                       f'{allowed[0]} to {allowed[-1]}')
    return value


def _refused(text: str) -> exception.RequestRefused:
    return exception.RequestRefused('bad-request', text)
