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

"""Read transcripts in tests, by nothing but what the documentation says."""

import pathlib
import re

RECORD = re.compile(
    rb'([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z) '
    rb'([|+#]) ([^\n]*)\n')


def files(directory: pathlib.Path, node: str) -> list[pathlib.Path]:
    """The files of a node, the oldest first."""
    return sorted(directory.glob(f'{node}.log*'), reverse=True,
                  key=lambda path: int(path.suffix[1:] if path.suffix[
                      1:].isdigit() else 0))


def records(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Time, kind and body of each record; anything else is a failure."""
    found = []
    position = 0
    while position < len(data):
        match = RECORD.match(data, position)
        assert match is not None, data[position:position + 200]
        found.append((match[1], match[2], match[3]))
        position = match.end()
    return found


def stream(data: bytes) -> bytes:
    """What the host has sent, from the contents of files."""
    return b''.join(
        body + b'\n' if kind == b'|' else body if kind == b'+' else b''
        for _, kind, body in records(data))


def events(data: bytes) -> list[str]:
    """The events, in order."""
    return [body.decode() for _, kind, body in records(data)
            if kind == b'#']


def contents(directory: pathlib.Path, node: str) -> bytes:
    """All files of a node, one after the other."""
    return b''.join(path.read_bytes() for path in files(directory, node))
