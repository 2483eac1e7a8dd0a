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

"""One RMCP+ session with one BMC: log in, ask, pass SOL payloads, close.

The login is ``login``'s, the packets are ``sealing``'s, the commands
``messages``'; this is the socket, the timers and what holds them together.
It must never block, never touch another session's BMC slot, never send
Deactivate Payload by itself, and never let bytes from the network raise
into the event loop.
"""

import asyncio
import collections.abc
import contextlib
import errno
import socket
import struct

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import messages
from ironic_solconsole.sol import receiver
from ironic_solconsole.sol import sealing
from ironic_solconsole.sol.login import FIRST_RETRY
from ironic_solconsole.sol.login import MAX_RETRY
from ironic_solconsole.sol.login import Login
from ironic_solconsole.sol.target import Target
from ironic_solconsole.sol.target import resolve

_HURRY = 0.12               # seconds, where there is little time left
_PATIENCE = 3.0             # seconds for a command, or twice a BMC's pace
_MAX_DATAGRAM = 2048        # bytes; an RMCP+ SOL packet has under 350
_RECEIVE_BUFFER = 256 * 1024    # bytes of kernel buffer for a socket


class _Pending:
    """A command that is not answered yet."""

    __slots__ = ('answer', 'key', 'payload', 'retry', 'timer')

    def __init__(self, key: messages.Key, payload: bytes, retry: float,
                 answer: 'asyncio.Future[messages.Answer]') -> None:
        self.key = key
        self.payload = payload
        self.retry = retry
        self.answer = answer
        self.timer: asyncio.TimerHandle | None = None


class Session:
    """A session with a BMC: log in, ask, pass SOL payloads, close.

    Made and used in one event loop. ``close`` must be awaited, or ``abort``
    called, whatever happened before.

    :param target: the BMC and the account.
    :param on_sol: called with each SOL payload that the BMC sends, from
        the moment of the login on.
    :param on_notice: called when the BMC tells unasked that somebody
        activates SOL.
    """

    __slots__ = (
        '_command', '_ended', '_login', '_loop', '_number',
        '_on_notice', '_on_sol', '_pace', '_pending', '_refused', '_sealing',
        '_socket', '_suite', 'session_id', 'target', 'unanswered')

    def __init__(self, target: Target,
                 on_sol: collections.abc.Callable[[bytes], None],
                 on_notice: collections.abc.Callable[[], None]) -> None:
        self.target = target
        self._on_sol = on_sol
        self._on_notice = on_notice
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._login: Login | None = None
        self._ended: asyncio.Future[None] | None = None
        self._sealing: sealing.Sealing | None = None
        self._suite: int | None = None
        self._pace = FIRST_RETRY
        self._refused = 0
        self._command = asyncio.Lock()
        self._number = 0
        self._pending: _Pending | None = None
        #: The id that the BMC gave this session, 0 before it did.
        self.session_id = 0
        #: Commands that the BMC leaves unanswered while it answers others.
        self.unanswered: frozenset[int] = frozenset()

    @property
    def doubted(self) -> LinkError | None:
        """A refusal of the login that may still turn out to be forged."""
        return self._login.doubted if self._login is not None else None

    @property
    def suite(self) -> int | None:
        """The cipher suite in use, None without a session."""
        return None if self._sealing is None else self._suite

    # -- the login -------------------------------------------------------

    async def login(self, silence: float = 4.0, timeout: float = 20.0) -> None:
        """Open the session.

        :param silence: seconds after which a BMC that did not answer at all
            counts as unreachable.
        :param timeout: seconds for the whole login of a BMC that answers.
        :raises: LinkError.
        """
        begun = self._loop.time()
        await self._connect(silence)
        ended = self._ended = self._loop.create_future()
        login = self._login = Login(
            self.target, self._loop, self._transmit, self._login_ended)
        login.begin()
        try:
            await asyncio.wait([ended], timeout=silence)
            if not ended.done() and login.answered:
                await asyncio.wait([ended], timeout=timeout - silence)
            if not ended.done():
                waited = timeout if login.answered else silence
                raise LinkError(
                    Reason.UNREACHABLE,
                    f'the BMC stopped answering, and the login was not '
                    f'complete after {waited:g} s' if login.answered else
                    f'no answer to UDP packets for {waited:g} s')
            ended.result()
        finally:
            ended.cancel()
        await self._take_privilege(begun + timeout - self._loop.time())

    async def _connect(self, silence: float) -> None:
        target = self.target
        family, sockaddr = await resolve(target.address, target.port, silence)
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket = sock
        with contextlib.suppress(OSError):
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        try:
            sock.connect(sockaddr)
        except OSError as error:
            raise LinkError(
                Reason.UNREACHABLE,
                f'no route to the BMC: {error.strerror}') from None
        receiver.add(self._loop, sock.fileno(), self._readable)

    def _login_ended(self, error: LinkError | None) -> None:
        login, ended = self._login, self._ended
        if ended is None or ended.done():
            return
        if error is not None:
            ended.set_exception(error)
        elif login is not None:
            # From the next packet on; pyghmi's part is done.
            self._sealing = login.sealing
            self._suite = login.suite
            self._pace = login.pace
            self.session_id = login.session_id
            self._login = None
            ended.set_result(None)

    async def _take_privilege(self, timeout: float) -> None:
        level = self.target.privilege
        answer = await self.command(
            messages.NETFN_APP, messages.CMD_SET_PRIVILEGE, bytes([level]),
            max(timeout, self._patience))
        # IPMI v2.0 table 22-23: 80h level not available for this user, 81h
        # exceeds the channel's or user's limit.
        if answer.code in (0x80, 0x81, 0xd4):
            raise LinkError(
                Reason.PRIVILEGE,
                f'the BMC refused Set Session Privilege Level {level} with '
                f'completion code {answer.code:02x}h')
        if answer.code:
            raise LinkError(
                Reason.PROTOCOL_ERROR,
                'the BMC answered Set Session Privilege Level with '
                f'completion code {answer.code:02x}h')

    # -- packets ---------------------------------------------------------

    def _transmit(self, packet: bytes) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(packet)
        except (BlockingIOError, InterruptedError):
            pass    # as if the network had lost it: every sender retries
        except OSError as error:
            self._network_error(error)

    def _network_error(self, error: OSError) -> None:
        # An ICMP error belongs to an earlier packet. One may be a BMC that
        # is just starting; a second one is its word.
        self._refused += 1
        if self._refused < 2:
            return
        text = ('UDP port closed (ICMP port unreachable)'
                if error.errno == errno.ECONNREFUSED
                else f'network error: {error.strerror}')
        self._login_ended(LinkError(Reason.UNREACHABLE, text))

    def _readable(self) -> None:
        if self._socket is None:
            return
        # One datagram: SOL has one outstanding, so that another look would
        # find nothing, and a BMC that sends more cannot hold up the others.
        try:
            datagram = self._socket.recv(_MAX_DATAGRAM)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._network_error(error)
            return
        self.feed(datagram)

    def feed(self, datagram: bytes) -> None:
        """Take one datagram from the BMC, whatever it holds."""
        keys = self._sealing
        if keys is None:
            if self._login is not None:
                self._login.feed(datagram)
            return
        # Only what is sealed counts in a session.
        opened = keys.open(datagram)
        if opened is None:
            return
        kind, payload = opened
        if kind == sealing.PAYLOAD_SOL:
            self._on_sol(payload)
        elif kind == sealing.PAYLOAD_IPMI:
            self._take_message(payload)

    def _take_message(self, message: bytes) -> None:
        if messages.tells_of_activation(message):
            self._on_notice()
            return
        parsed = messages.parse(message)
        pending = self._pending
        if (parsed is not None and pending is not None
                and parsed[0] == pending.key and not pending.answer.done()):
            pending.answer.set_result(parsed[1])

    def send_sol(self, payload: bytes) -> None:
        """Send a SOL payload at once, even while a command is under way;
        nothing happens once the session is gone."""
        keys = self._sealing
        if keys is not None:
            self._transmit(keys.seal(sealing.PAYLOAD_SOL, payload))
            if keys.sequence >= sealing.LAST_SEQUENCE:
                self._sealing = None    # the keepalive notices

    def encrypt_sol(self, encrypt: bool) -> None:
        """Whether SOL packets are encrypted, as the activation asked."""
        if self._sealing is not None:
            self._sealing.encrypt_sol = encrypt

    # -- commands --------------------------------------------------------

    @property
    def _patience(self) -> float:
        """Seconds to wait for an answer of this BMC."""
        return max(_PATIENCE, 2 * self._pace)

    async def command(self, netfn: int, command: int, data: bytes = b'',
                      timeout: float = 0.0,
                      hurry: bool = False) -> messages.Answer:
        """Ask the BMC, and ask again while it does not answer.

        :param timeout: seconds to wait in all, retries included; 0 is what
            the BMC's pace calls for.
        :param hurry: ask again sooner.
        :returns: completion code and data.
        :raises: LinkError (unreachable) without an answer.
        """
        timeout = timeout or self._patience
        try:
            async with asyncio.timeout(timeout), self._command:
                if self._sealing is None:
                    raise LinkError(
                        Reason.UNREACHABLE, 'the session has ended')
                number = self._number = (self._number + 1) % messages.NUMBERS
                pending = self._pending = _Pending(
                    messages.key(netfn, command, number),
                    messages.request(netfn, command, data, number),
                    _HURRY if hurry else self._pace,
                    self._loop.create_future())
                try:
                    self._send_pending()
                    return await pending.answer
                finally:
                    self._forget_pending()
        except TimeoutError:
            raise LinkError(
                Reason.UNREACHABLE,
                f'no answer to command {netfn:02x}h {command:02x}h for '
                f'{timeout:g} s') from None

    def _send_pending(self) -> None:
        pending = self._pending
        if pending is None or self._sealing is None:
            return
        self._transmit(
            self._sealing.seal(sealing.PAYLOAD_IPMI, pending.payload))
        pending.timer = self._loop.call_later(
            pending.retry, self._send_pending)
        pending.retry = min(2 * pending.retry, MAX_RETRY)

    def _forget_pending(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None and pending.timer is not None:
            pending.timer.cancel()

    # -- the end ---------------------------------------------------------

    async def close(self, timeout: float = 1.0) -> None:
        """Give the session's slot on the BMC back, and end.

        :param timeout: seconds to wait for the BMC's confirmation.
        """
        try:
            if self._sealing is not None:
                with contextlib.suppress(LinkError):
                    await self.command(
                        messages.NETFN_APP, messages.CMD_CLOSE_SESSION,
                        struct.pack('<I', self.session_id), timeout,
                        hurry=True)
            elif self._login is not None:
                self._login.give_up()
        finally:
            self.abort()

    def abort(self) -> None:
        """End at once, with nothing sent."""
        self._forget_pending()
        self._sealing = None
        self.session_id = 0
        if self._login is not None:
            self._login.end()
            self._login = None
        if self._socket is not None:
            receiver.remove(self._loop, self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(
                LinkError(Reason.UNREACHABLE, 'given up'))
