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

"""What operators do to a console, through the control socket.

Every verb that changes something is logged with who asked for it. An
operator who attaches is a viewer like those on TCP, with a place of his own:
he has proved to be root or the conductor's user, so that he is told what
tenants are not, and no option about tenants turns him away.
"""

import asyncio
import collections.abc
import datetime
import logging
import socket
import time
import typing

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.bridge import arguments
from ironic_solconsole.bridge import askers
from ironic_solconsole.bridge import console as bridge_console
from ironic_solconsole.bridge import listener
from ironic_solconsole.bridge import notices
from ironic_solconsole.bridge import wire
from ironic_solconsole.sol import connection as sol_connection

LOG = logging.getLogger(__name__)

MAX_RELEASE = 31 * 24 * 3600.0      # seconds
MAX_BREAK_WAIT = 60.0               # seconds

#: Verbs after which a connection carries the console's bytes.
UPGRADES = frozenset({'attach'})

#: Finds the console that a request names; parked ones too if the second
#: argument says so.
Find = collections.abc.Callable[
    [control.Json, bool], bridge_console.Console]
_Answer = control.Json | wire.Upgrade
_Verb = collections.abc.Callable[
    [control.Json, str], collections.abc.Awaitable[_Answer]]


class OperatorViewer(listener.Viewer):
    """Somebody who is at a console through the control socket.

    :param host: the console's audience.
    :param limit: bytes of output to hold while the peer does not read.
    :param peer: who it is, in words.
    :param read_only: whether what comes from there is dropped.
    """

    operator = True

    def __init__(self, host: listener.Host, limit: int, peer: str,
                 read_only: bool) -> None:
        super().__init__(host, limit)
        self.peer = peer
        self.read_only = read_only

    def begin(self, transport: asyncio.Transport, rest: bytes) -> None:
        """Take the connection over; see :class:`wire.Successor`."""
        peer: socket.socket = transport.get_extra_info('socket')
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            peer.setsockopt(
                socket.SOL_SOCKET, option, listener.KERNEL_BUFFER)
        transport.set_protocol(self)
        # The reply may not have gone out yet.
        if transport.get_write_buffer_size():
            self.pause_writing()
        transport.resume_reading()
        self.connection_made(transport)
        if rest:
            self.take(rest)


class Operators:
    """The verbs.

    :param find: finds consoles.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self._names = askers.Names()
        self._verbs: dict[str, _Verb] = {
            'attach': self._attach,
            'break': self._break,
            'kick': self._kick,
            'release': self._release,
            'resume': self._resume,
            'retry': self._retry,
            'say': self._say,
            'steal': self._steal,
            'who': self._who,
            'write': self._write,
        }

    def offers(self, verb: str) -> bool:
        """Whether this is one of the verbs."""
        return verb in self._verbs

    async def answer(self, request: control.Request,
                     asker: askers.Asker | None) -> _Answer:
        """Answer a request with one of the verbs.

        :param asker: who asks; None is the conductor.
        :raises: RequestRefused
        """
        who = ('the conductor' if asker is None
               else await self._names.describe(asker))
        return await self._verbs[request.verb](request.args, who)

    def _log(self, console: bridge_console.Console, who: str,
             what: str) -> None:
        LOG.info('Asked by %s: %s.', who, what,
                 extra={'node': console.spec.node})
        console.record(f'asked by {who}: {what}')

    # -- the link --------------------------------------------------------

    async def _release(self, args: control.Json, who: str) -> control.Json:
        console = self._find(args, False)
        seconds = arguments.number(args, 'seconds', 0, MAX_RELEASE)
        self._log(console, who, 'release' + (
            f' for {seconds:g} s' if seconds else ''))
        console.link.release(time.time() + seconds if seconds else 0.0)
        return console.status()

    async def _resume(self, args: control.Json, who: str) -> control.Json:
        return self._tell_link(args, who, 'resume', sol_connection.Link.resume)

    async def _retry(self, args: control.Json, who: str) -> control.Json:
        return self._tell_link(args, who, 'retry', sol_connection.Link.retry)

    async def _steal(self, args: control.Json, who: str) -> control.Json:
        return self._tell_link(args, who, 'steal', sol_connection.Link.steal)

    def _tell_link(self, args: control.Json, who: str, verb: str,
                   do: collections.abc.Callable[
                       [sol_connection.Link], None]) -> control.Json:
        console = self._find(args, False)
        self._log(console, who, verb)
        do(console.link)
        return console.status()

    async def _break(self, args: control.Json, who: str) -> control.Json:
        console = self._find(args, False)
        seconds = arguments.number(args, 'seconds', 0, MAX_BREAK_WAIT)
        answer = console.link.send_break()
        why = 'nobody waited for the answer'
        try:
            await asyncio.wait([answer], timeout=seconds)
            why = (answer.result() if answer.done() else
                   f'the BMC has not answered within {seconds:g} s; it may '
                   'still take it')
        finally:
            self._log(console, who,
                      f'break ({why or "the BMC has taken it"})')
        if why:
            raise exception.RequestRefused('not-taken', why)
        return {}

    # -- the people ------------------------------------------------------

    async def _attach(self, args: control.Json, who: str) -> wire.Upgrade:
        console = self._find(args, True)
        read_only = arguments.flag({'read_only': False, **args}, 'read_only')
        force = arguments.flag({'force': False, **args}, 'force')
        if read_only and force:
            raise exception.RequestRefused(
                'bad-request', 'who only reads cannot take the write right')
        audience = console.audience
        refusal = audience.refusal_of_operators()
        if refusal is not None:
            raise exception.RequestRefused('no-room', refusal)
        viewer = OperatorViewer(
            audience, audience.buffer_limit, who, read_only)
        viewer.number = audience.next_number()
        self._log(console, who, f'attach as viewer {viewer.number}'
                  + (', to read only' if read_only else '')
                  + (', to write alone' if force else ''))
        return wire.Upgrade(
            {'viewer': viewer.number, 'status': console.status()},
            _Forced(viewer, console) if force else viewer)

    def _viewer(self, console: bridge_console.Console,
                number: int) -> listener.Viewer:
        viewer = console.audience.find(number)
        if viewer is None:
            raise exception.RequestRefused(
                'no-such-viewer', f'the console has no viewer {number}')
        return viewer

    async def _write(self, args: control.Json, who: str) -> control.Json:
        console = self._find(args, True)
        viewer = self._viewer(console, _viewer_number(args))
        alone = arguments.flag(args, 'alone')
        if not viewer.operator:
            raise exception.RequestRefused(
                'not-allowed', 'only an operator can take the write right')
        if viewer.read_only:
            raise exception.RequestRefused(
                'not-allowed', 'this viewer came to read only')
        self._log(console, who, f'viewer {viewer.number} '
                  + ('writes alone' if alone else
                     'gives the write right back'))
        console.audience.give_right(viewer, alone)
        return {'writes': console.audience.may_write(viewer)}

    async def _kick(self, args: control.Json, who: str) -> control.Json:
        console = self._find(args, True)
        number = (None if args.get('viewer') is None
                  else _viewer_number(args))
        if number is not None:
            self._viewer(console, number)
        kicked = console.audience.kick(number)
        self._log(console, who, 'kick of ' + (
            f'viewer {number}' if number is not None else
            f'all viewers on TCP ({len(kicked)})'))
        return {'kicked': kicked}

    async def _say(self, args: control.Json, who: str) -> control.Json:
        console = self._find(args, True)
        try:
            notice = notices.said(arguments.text(args, 'text'))
        except ValueError as error:
            raise exception.RequestRefused(
                'bad-request', f'this text cannot be said: {error}'
            ) from None
        self._log(console, who, f'say, {notice!r}')
        return {'viewers': console.audience.count,
                'told': console.audience.tell(notice)}

    async def _who(self, args: control.Json, who: str) -> control.Json:
        audience = self._find(args, True).audience
        now = asyncio.get_running_loop().time()
        return {'viewers': sorted((
            _row(viewer, now, audience.may_write(viewer))
            for viewer in audience.viewers),
            key=lambda row: int(row['viewer']))}


class _Forced(typing.NamedTuple):
    """Attaches somebody who is to write alone at once."""

    viewer: OperatorViewer
    console: bridge_console.Console

    def begin(self, transport: asyncio.Transport, rest: bytes) -> None:
        self.viewer.begin(transport, b'')
        self.console.audience.give_right(self.viewer, True)
        if rest:
            self.viewer.take(rest)


def _viewer_number(args: control.Json) -> int:
    number = args.get('viewer')
    if isinstance(number, bool) or not isinstance(number, int):
        raise exception.RequestRefused(
            'bad-request', 'viewer must be the number of a viewer')
    return number


def _row(viewer: listener.Viewer, now: float, writes: bool) -> control.Json:
    since = datetime.datetime.fromtimestamp(viewer.since, datetime.UTC)
    return {
        'viewer': viewer.number,
        'kind': 'operator' if viewer.operator else 'tcp',
        'from': viewer.peer,
        'since': since.strftime('%Y-%m-%dT%H:%M:%SZ'),
        'idle': round(max(0.0, now - viewer.active), 1),
        'writes': writes,
        'bytes_sent': viewer.sent,
        'bytes_lost': viewer.lost,
    }
