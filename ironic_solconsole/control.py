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

"""The wire between conductor, bridge and command line.

One JSON object a line, UTF-8, at most a stated number of bytes. Three
kinds of line::

    request   {"v": 1, "id": 7, "verb": "show", "args": {...}}
    reply     {"v": 1, "id": 7, "result": {...}}
              {"v": 1, "id": 7, "error": {"kind": "...", "message": "..."}}
    event     {"v": 1, "event": "log", "data": {...}}

A request is answered exactly once, in any order. The conductor may send
every verb; the UNIX socket that the command line uses offers those that
open nothing and tell no secret. After the reply to ``attach`` that socket
carries the console's bytes, both ways, and no lines any more. This module
decides what is a valid line and owns no socket.
"""

import dataclasses
import json
import typing

from ironic_solconsole import exception

VERSION = 1

#: Longest line, in bytes with its end, between conductor and bridge: a
#: bulk answer for 1000 consoles takes about 400 kB.
MAX_LINE = 4 * 1024 * 1024

#: Longest request that a command line may send, in bytes.
MAX_CLIENT_LINE = 64 * 1024

#: Pieces that a line is kept in: who sends it byte by byte costs no more.
_MAX_CHUNKS = 256

Json = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """Ask the other side to do something.

    :param id: number that the reply repeats.
    :param verb: what to do.
    :param args: the values it needs.
    """

    id: int
    verb: str
    args: Json = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True)
class Reply:
    """The answer to a request: either result, or error_kind and message."""

    id: int
    result: Json | None = None
    error_kind: str = ''
    error_message: str = ''

    def unwrap(self) -> Json:
        """The result.

        :raises: PortInUse, RequestRefused if the reply is an error.
        """
        if self.result is not None:
            return self.result
        if self.error_kind == exception.PortInUse.KIND:
            raise exception.PortInUse(self.error_message)
        raise exception.RequestRefused(self.error_kind, self.error_message)


@dataclasses.dataclass(frozen=True)
class Event:
    """Something a bridge tells its conductor unasked."""

    name: str
    data: Json


Message = Request | Reply | Event


def encode(message: Message) -> bytes:
    """One line, with its end.

    :raises: MessageError if it would be longer than MAX_LINE.
    """
    body: Json
    if isinstance(message, Request):
        body = {'id': message.id, 'verb': message.verb, 'args': message.args}
    elif isinstance(message, Event):
        body = {'event': message.name, 'data': message.data}
    elif message.result is not None:
        body = {'id': message.id, 'result': message.result}
    else:
        body = {'id': message.id, 'error': {
            'kind': message.error_kind, 'message': message.error_message}}
    line = json.dumps({'v': VERSION, **body},
                      separators=(',', ':')).encode() + b'\n'
    if len(line) > MAX_LINE:
        raise exception.MessageError(
            f'a control line of {len(line)} bytes is longer than the '
            f'{MAX_LINE} allowed')
    return line


def decode(line: bytes) -> Message:
    """The message in one line.

    :raises: MessageError; its text never repeats the line, which may hold
        a secret.
    """
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        raise exception.MessageError(
            'a control line is not JSON in UTF-8') from None
    if not isinstance(body, dict):
        raise exception.MessageError('a control line is not a JSON object')
    if body.get('v') != VERSION:
        raise exception.MessageError(
            f'a control line is not of version {VERSION}; restart the '
            'conductor after an upgrade')
    if 'event' in body:
        if (isinstance(body['event'], str)
                and isinstance(body.get('data'), dict)):
            return Event(body['event'], body['data'])
        raise exception.MessageError('an event needs a name and data')
    number = body.get('id')
    if not isinstance(number, int) or isinstance(number, bool):
        raise exception.MessageError('a control line has no id')
    if 'verb' in body:
        args = body.get('args', {})
        if isinstance(body['verb'], str) and isinstance(args, dict):
            return Request(number, body['verb'], args)
        raise exception.MessageError('a request needs a verb and args')
    if isinstance(body.get('result'), dict):
        return Reply(number, body['result'])
    error = body.get('error')
    if (isinstance(error, dict) and isinstance(error.get('kind'), str)
            and isinstance(error.get('message'), str)):
        return Reply(number, None, error['kind'], error['message'])
    raise exception.MessageError('a reply needs a result or an error')


class LineReader:
    """Cut a stream of bytes into lines, and bound their length.

    :param limit: longest line in bytes, with its end.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, give the lines that they complete.

        :raises: MessageError when a line is too long; the stream cannot
            be used any more.
        """
        *complete, rest = data.split(b'\n')
        lines = []
        for part in complete:
            lines.append(b''.join([*self._chunks, part]))
            self._chunks, self._size = [], 0
            if len(lines[-1]) >= self._limit:
                raise exception.MessageError(self._too_long())
        if rest:
            self._chunks.append(rest)
            if len(self._chunks) > _MAX_CHUNKS:
                self._chunks = [b''.join(self._chunks)]
            self._size += len(rest)
            if self._size >= self._limit:
                raise exception.MessageError(self._too_long())
        return lines

    def rest(self) -> bytes:
        """Give what was fed and is no whole line; it is forgotten here."""
        data = b''.join(self._chunks)
        self._chunks, self._size = [], 0
        return data

    def _too_long(self) -> str:
        return f'a control line is longer than {self._limit} bytes'
