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

"""control.py's lines on an asyncio transport.

One :class:`Connection` for the conductor's socketpair, and one for each
client of the UNIX socket. Whatever the other side sends or fails to read,
nothing here grows without a bound and nobody else waits: lines are cut at a
limit, requests under way are counted, and a peer that does not read its
answers is not read from either.
"""

import asyncio
import collections.abc
import dataclasses
import logging
import traceback
import typing

from ironic_solconsole import control
from ironic_solconsole import exception

LOG = logging.getLogger(__name__)


class Successor(typing.Protocol):
    """What takes a connection over."""

    def begin(self, transport: asyncio.Transport, rest: bytes) -> None:
        """Go on with a connection, in the same step of the event loop.

        :param transport: the connection.
        :param rest: what has come behind the request.
        """


@dataclasses.dataclass(frozen=True)
class Upgrade:
    """An answer after which a connection carries no lines any more.

    :param result: the last reply.
    :param successor: gets the connection.
    """

    result: control.Json
    successor: Successor


#: Answers a request; raises RequestRefused to say no.
Answer = collections.abc.Callable[
    [control.Request], collections.abc.Awaitable[control.Json | Upgrade]]

#: Seconds for which a command line may leave its answers unread.
STALL_TIMEOUT = 10.0

_MAX_EVENT_BACKLOG = 256 * 1024     # bytes of events not yet read


class Connection(asyncio.Protocol):
    """One peer that sends requests.

    :param answer: answers a request.
    :param on_made: called with this connection when it is up; False closes
        it.
    :param on_lost: called with this connection when it is gone.
    :param line_limit: longest request in bytes.
    :param max_requests: requests under way before reading pauses.
    :param upgrades: verbs that may be answered by an Upgrade. What comes
        behind such a request is not read as lines until it is answered.
    """

    def __init__(self, answer: Answer, *,
                 on_made: collections.abc.Callable[['Connection'], bool],
                 on_lost: collections.abc.Callable[['Connection'], None],
                 line_limit: int, max_requests: int,
                 upgrades: frozenset[str] = frozenset()) -> None:
        self._answer = answer
        self._on_made = on_made
        self._on_lost = on_lost
        self._reader = control.LineReader(line_limit)
        self._max_requests = max_requests
        self._upgrades = upgrades
        self._upgrading = False
        self._requests: set[asyncio.Task[None]] = set()
        self._backlog: collections.deque[bytes] = collections.deque()
        self._congested = False
        self.transport: asyncio.Transport | None = None
        self.last_heard = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = typing.cast(asyncio.Transport, transport)
        self.last_heard = asyncio.get_running_loop().time()
        if not self._on_made(self):
            self.close()

    def data_received(self, data: bytes) -> None:
        self.last_heard = asyncio.get_running_loop().time()
        try:
            self._backlog.extend(self._reader.feed(data))
        except exception.MessageError as error:
            self._refuse(0, 'bad-request', str(error))
            self.close()
            return
        self._serve_backlog()

    def _serve_backlog(self) -> None:
        while (self._backlog and not self._congested and not self._upgrading
               and len(self._requests) < self._max_requests):
            line = self._backlog.popleft()
            try:
                message = control.decode(line)
                if not isinstance(message, control.Request):
                    raise exception.MessageError(
                        'only requests are accepted here')
            except exception.MessageError as error:
                self._refuse(0, 'bad-request', str(error))
                self.close()
                return
            self._upgrading = message.verb in self._upgrades
            task = asyncio.get_running_loop().create_task(
                self._serve(message))
            self._requests.add(task)
            task.add_done_callback(self._served)
        self._throttle()

    def _served(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        self._serve_backlog()

    def _throttle(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if self._backlog or self._upgrading:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    async def _serve(self, request: control.Request) -> None:
        try:
            result = await self._answer(request)
        except exception.RequestRefused as error:
            self._refuse(request.id, error.kind, str(error))
        except exception.SpecError as error:
            self._refuse(request.id, 'bad-spec', str(error))
        except Exception as error:
            # Its words may repeat a value, and a value may be a password.
            where = traceback.extract_tb(error.__traceback__)[-1]
            LOG.error('Request %r failed: %s at %s:%s.', request.verb[:64],
                      type(error).__name__, where.filename, where.lineno)
            self._refuse(request.id, 'internal',
                         f'internal error ({type(error).__name__})')
        else:
            if isinstance(result, Upgrade):
                self._upgrade(request.id, result)
            else:
                self._send(control.Reply(request.id, result))
        if request.verb in self._upgrades:
            self._upgrading = False     # _served() goes on

    def _upgrade(self, number: int, upgrade: Upgrade) -> None:
        """Give the connection away; what else was asked stays unanswered.
        """
        if self.transport is None or self.transport.is_closing():
            return
        self._send(control.Reply(number, upgrade.result))
        rest = b''.join([*(line + b'\n' for line in self._backlog),
                         self._reader.rest()])
        self._backlog.clear()
        transport, self.transport = self.transport, None
        self._on_lost(self)
        upgrade.successor.begin(transport, rest)

    def _refuse(self, number: int, kind: str, message: str) -> None:
        self._send(control.Reply(number, None, kind, message))

    def _send(self, message: control.Message) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(control.encode(message))

    def send_event(self, event: control.Event) -> bool:
        """Tell something unasked.

        :returns: False if the peer is behind with reading and the event
            was not sent.
        """
        if (self.transport is None or self.transport.is_closing()
                or self.transport.get_write_buffer_size()
                > _MAX_EVENT_BACKLOG):
            return False
        self._send(event)
        return True

    def pause_writing(self) -> None:
        self._congested = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._congested = False
        self._serve_backlog()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._backlog.clear()
        for task in self._requests:
            task.cancel()
        self._on_lost(self)

    def close(self) -> None:
        """End the connection after what was written is sent."""
        self._backlog.clear()
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """End the connection at once; what was not sent is dropped."""
        self._backlog.clear()
        if self.transport is not None:
            self.transport.abort()


class ClientConnection(Connection):
    """A command line: it may stop sending before it reads, and must read.

    It is answered in the order of its requests, one after another, so that
    no more than one answer waits for it; and it is left when it has not
    read that for :data:`STALL_TIMEOUT`.
    """

    def __init__(self, answer: Answer, *,
                 on_made: collections.abc.Callable[[Connection], bool],
                 on_lost: collections.abc.Callable[[Connection], None],
                 **more: typing.Any) -> None:
        super().__init__(
            answer, on_made=on_made, on_lost=on_lost,
            line_limit=control.MAX_CLIENT_LINE, max_requests=1, **more)
        self._stalled: asyncio.TimerHandle | None = None
        self._said_all = False

    def eof_received(self) -> bool:
        """It sends no more; True while it is to get answers still."""
        self._said_all = True
        return bool(self._requests or self._backlog)

    def _served(self, task: asyncio.Task[None]) -> None:
        super()._served(task)
        if self._said_all and not self._requests and not self._backlog:
            self.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._unwatch()
        super().resume_writing()

    def close(self) -> None:
        super().close()
        if self.transport is not None:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._stalled is None:
            self._stalled = asyncio.get_running_loop().call_later(
                STALL_TIMEOUT, self.abort)

    def _unwatch(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
