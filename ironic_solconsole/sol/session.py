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

"""One RMCP+ session with one BMC: pyghmi's, driven by asyncio.

pyghmi knows how to log in (RAKP, IPMI v2.0 section 13.20) and how commands
are framed; its event loop, socket pool, waiting and logging out are not
used, as they block, deadlock above 64 BMCs and deactivate other people's
consoles. Once the session is up, ``sealing`` takes the packets. What this
module steps around is listed with its source in
``doc/source/contributor/pyghmi.rst``.

This is the only file that touches pyghmi's private names, and
``tests/unit/sol/test_pyghmi_names.py`` fails when a release changes them.
It must never block, never touch another session's BMC slot, never send
Deactivate Payload by itself, and never let bytes from the network raise
into the event loop.
"""

import asyncio
import collections
import collections.abc
import contextlib
import dataclasses
import errno
import logging
import random
import socket
import struct
import typing

from pyghmi.ipmi.private import session as pyghmi_session

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import sealing

LOG = logging.getLogger(__name__)

NETFN_APP = 0x06
CMD_GET_DEVICE_ID = 0x01
CMD_SET_PRIVILEGE = 0x3b
CMD_CLOSE_SESSION = 0x3c

#: Cipher suite -> pyghmi's attemptedhash (IPMI v2.0 table 22-20: 3 is
#: RAKP-HMAC-SHA1 with AES, 17 is RAKP-HMAC-SHA256 with AES).
_HASH_OF_SUITE = {17: 256, 3: 1}

#: RMCP+ status codes (IPMI v2.0 table 13-15) by what they mean here.
_STATUS_REASON = {
    0x01: Reason.SESSION_LIMIT,
    0x09: Reason.PRIVILEGE,
    0x0a: Reason.PRIVILEGE,
    0x0b: Reason.SESSION_LIMIT,
    0x0c: Reason.BAD_CREDENTIALS,
    0x0d: Reason.BAD_CREDENTIALS,
    0x0f: Reason.BAD_CREDENTIALS,
    0x10: Reason.ENCRYPTION_REFUSED,
    0x11: Reason.ENCRYPTION_REFUSED,
}
_STATUS_TEXT = {
    0x01: 'insufficient resources to create a session',
    0x02: 'invalid session ID',
    0x03: 'invalid payload type',
    0x04: 'invalid authentication algorithm',
    0x05: 'invalid integrity algorithm',
    0x06: 'no matching authentication payload',
    0x07: 'no matching integrity payload',
    0x08: 'inactive session ID',
    0x09: 'invalid role',
    0x0a: 'unauthorized role or privilege level requested',
    0x0b: 'insufficient resources to create a session at this role',
    0x0c: 'invalid name length',
    0x0d: 'unauthorized name',
    0x0e: 'unauthorized GUID',
    0x0f: 'invalid integrity check value',
    0x10: 'invalid confidentiality algorithm',
    0x11: 'no cipher suite match with the proposed security algorithms',
    0x12: 'illegal or unrecognized parameter',
}
#: Status codes of Open Session that call for the next cipher suite.
_SUITE_REFUSED = {0x03, 0x04, 0x05, 0x06, 0x07, 0x10, 0x11, 0x12}

#: RMCP header, IPMI v2.0 section 13.1.3: version 6, class 7 is IPMI.
_RMCP = b'\x06\x00\xff\x07'

#: NetFn Transport, command SOL Activating (IPMI v2.0 section 26.1): a BMC
#: tells that somebody activates SOL. OpenBMC sends it to the session that
#: loses the console, in place of the deactivating flag.
_SOL_ACTIVATING = (0x0c, 0x20)

_FIRST_RETRY = 0.5          # seconds; a management network answers in ms
_HURRY = 0.12               # seconds, where there is little time left
_MAX_RETRY = 5.0            # seconds
_RAKP_1_TRIES = 3           # unanswered ones that are no chance any more
_PATIENCE = 3.0             # seconds for a command, or twice a BMC's pace
#: Nothing is authenticated before RAKP 2, and errors never are: seconds for
#: which a refusal may be a forgery that the true answer follows.
_FORGERY_GRACE = 0.3
_DATAGRAMS_A_WAKEUP = 32    # so that one BMC cannot hold up the others
_MAX_DATAGRAM = 2048        # bytes; an RMCP+ SOL packet has under 350
_RECEIVE_BUFFER = 256 * 1024    # bytes of kernel buffer for a socket


@dataclasses.dataclass(frozen=True)
class Target:
    """A BMC and the account to use there.

    :param address: IP address or host name.
    :param port: UDP port.
    :param username: up to 16 bytes.
    :param password: up to 20 bytes.
    :param kg: the BMC's key Kg, or None where it has none.
    :param privilege: 2 user, 3 operator, 4 administrator.
    :param suites: cipher suites to propose, in this order (17, 3).
    """

    address: str
    port: int
    username: bytes = dataclasses.field(repr=False)
    password: bytes = dataclasses.field(repr=False)
    kg: bytes | None = dataclasses.field(repr=False)
    privilege: int
    suites: tuple[int, ...]

    def __str__(self) -> str:
        host = f'[{self.address}]' if ':' in self.address else self.address
        return f'{host}:{self.port}'


class Answer(typing.NamedTuple):
    """A BMC's answer to a command: completion code and the data after it."""

    code: int
    data: bytes


def _by_login_error(status: int, where: str) -> LinkError:
    text = _STATUS_TEXT.get(status, 'unknown status')
    return LinkError(
        _STATUS_REASON.get(status, Reason.PROTOCOL_ERROR),
        f'the BMC answered {where} with status {status:02x}h ({text})')


class _Wire(pyghmi_session.Session):   # type: ignore[misc]
    """pyghmi's Session with its sockets, threads and waits taken out.

    Everything that arrives is given to :meth:`feed`; everything that is to
    be sent comes out of ``transmit``. The end of the login is told once, to
    ``on_login`` (None, or the LinkError).
    """

    # pyghmi's state, as far as it is used here; it has no types.
    aeskey: typing.Any
    attemptedhash: int
    currhashlib: typing.Any
    currhashlen: int
    k1: typing.Any
    lastpayload: typing.Any
    localsid: int
    netpacket: bytearray
    pendingsessionid: int
    privlevel: int
    rmcptag: int
    sequencenumber: int
    sessioncontext: typing.Any
    sessionid: int

    def __new__(cls, *args: typing.Any, **kwargs: typing.Any) -> '_Wire':
        # pyghmi would look for a session to share, with a blocking
        # getaddrinfo.
        return object.__new__(cls)

    def __init__(
            self, target: Target, loop: asyncio.AbstractEventLoop,
            transmit: collections.abc.Callable[[bytes], None],
            on_login: collections.abc.Callable[[LinkError | None], None],
            on_sol: collections.abc.Callable[[bytes], None],
            on_notice: collections.abc.Callable[[], None]) -> None:
        self._target = target
        self._loop = loop
        self._transmit = transmit
        self._on_login = on_login
        self._on_sol = on_sol
        self._on_notice = on_notice
        self._suites = collections.deque(target.suites)
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: asyncio.TimerHandle | None = None
        self.doubted: LinkError | None = None
        self._first_retry = _FIRST_RETRY
        self._retry = _FIRST_RETRY
        self._first_sent = 0.0
        self._sealing: sealing.Sealing | None = None
        self._unanswered_rakp_1 = 0
        self.answered = False
        self.malformed = 0
        self.lastpayload = None
        # What pyghmi's own __init__ sets, less its socket and its look-up.
        self.bmc = target.address
        self.port = target.port
        self.userid = target.username
        self.password = target.password
        self.kgo = target.kg
        self.kg = target.kg if target.kg else target.password
        self.privlevel = target.privilege
        self.autopriv = False
        self.nameonly = 16
        self.servermode = False
        self.broken = False
        self.logontries = 0
        self.maxtimeout = 2
        self.incommand = False
        self.last_payload_type = None
        self.onlogpayload = None
        self.onlogpayloadtype = None
        self.nowait = False
        self.evq: collections.deque[typing.Any] = collections.deque()
        self.pendingpayloads: collections.deque[typing.Any] = (
            collections.deque())
        self.request_entry: list[typing.Any] = []
        self.sockaddr = (target.address, target.port)
        self.ipmicallback: typing.Any = None
        self.hasretried = 0

    # -- the ways in -----------------------------------------------------

    def begin(self) -> None:
        """Start to log in."""
        self._restart()

    def feed(self, datagram: bytes) -> None:
        """Take one datagram from the BMC, whatever it holds."""
        if self._sealing is None:
            if len(datagram) >= 16 and datagram.startswith(_RMCP):
                # The None stand for addresses that pyghmi would route by;
                # the socket is connected to this one BMC.
                data = bytearray(datagram)
                self._parse(lambda: self._handle_ipmi_packet(
                    data, qent=(data, None, None)))
            return
        # Only what is sealed counts in a session: pyghmi would let a forged
        # packet of IPMI 1.5 move its counters.
        opened = self._sealing.open(datagram)
        if opened is None:
            return
        kind, payload = opened
        if kind == sealing.PAYLOAD_SOL:
            self._on_sol(payload)
        elif kind == sealing.PAYLOAD_IPMI:
            if len(payload) >= 6 and (
                    payload[1] >> 2, payload[5]) == _SOL_ACTIVATING:
                self._on_notice()
            else:
                self._parse(
                    lambda: self._parse_ipmi_payload(bytearray(payload)))

    def _parse(self, parser: collections.abc.Callable[[], object]) -> None:
        try:
            parser()
        except Exception:   # pyghmi's parsing has no bounds checks
            self.malformed += 1
            LOG.debug('A packet from %s was dropped.', self._target,
                      exc_info=True)

    def send_sol(self, payload: bytes) -> None:
        """Send a SOL payload at once, even while a command is under way."""
        if self._sealing is not None:
            self._transmit(self._sealing.seal(sealing.PAYLOAD_SOL, payload))
            if self._sealing.worn:
                self.end()      # the keepalive notices, and logs in anew

    def start_command(
            self, netfn: int, command: int, data: bytes,
            callback: collections.abc.Callable[[Answer], None],
            hurry: bool = False) -> None:
        """Send a command; one at a time is the caller's duty."""
        self._retry = _HURRY if hurry else self._first_retry
        self.ipmicallback = lambda response: callback(
            Answer(response['code'], bytes(response['data'])))
        self._first_sent = self._loop.time()
        self._send_ipmi_net_payload(netfn, command, data, retry=True)

    def forget_command(self) -> None:
        """Nobody waits for the answer any more."""
        self._cancel_timer()
        self.lastpayload = None
        self.request_entry.clear()
        self.ipmicallback = lambda response: None

    def end(self) -> None:
        """Send nothing more and accept nothing more."""
        self.forget_command()
        self._doubt_no_more()
        self._sealing = None
        self.sessioncontext = None

    # -- what pyghmi calls -----------------------------------------------

    def _initsession(self) -> None:
        super()._initsession()
        # pyghmi starts every session of every process with one and the
        # same id; a late answer to an earlier login must not fit.
        self.localsid = random.SystemRandom().randrange(1, 0xfffffff0)
        self.attemptedhash = _HASH_OF_SUITE[self._suites[0]]
        self.pendingsessionid = 0

    def _restart(self) -> None:
        self.request_entry.clear()
        self._initsession()
        self._first_sent = self._loop.time()
        self._get_channel_auth_cap()

    def send_payload(
            self, payload: bytes = b'', payload_type: int | None = None,
            retry: bool = True, delay_xmit: float | None = None,
            needskeepalive: bool = False,
            timeout: float | None = None) -> None:
        if self._sealing is None:
            super().send_payload(payload, payload_type, retry)
            return
        if not payload:
            payload = self.lastpayload      # once more, as it was
        elif retry:
            self.lastpayload = payload
        self._transmit(
            self._sealing.seal(sealing.PAYLOAD_IPMI, bytes(payload)))
        if retry:
            self._arm_timer()

    def _xmit_packet(self, retry: bool = True, delay_xmit: float | None = None,
                     timeout: float | None = None) -> None:
        if self.sequencenumber:     # 0 is for packets outside a session
            self.sequencenumber += 1
        self._doubt_no_more()
        self._transmit(bytes(self.netpacket))
        if retry:
            self._arm_timer()

    def _arm_timer(self) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(self._retry, self._timedout)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timedout(self) -> None:
        self._timer = None
        if not self.lastpayload:
            return
        self._retry = min(self._retry * 2, _MAX_RETRY)
        if self.sessioncontext == 'OPENSESSION':
            # A request with a session id of its own, so that a late answer
            # to the first one cannot be mixed up.
            self.lastpayload = None
            self._open_rmcpplus_request()
        elif self.sessioncontext in ('EXPECTINGRAKP2', 'EXPECTINGRAKP4'):
            # BMCs do not take RAKP 1 or 3 twice. The session may be up on
            # the BMC's side if only RAKP 4 was lost: give its slot back.
            if self.sessioncontext == 'EXPECTINGRAKP2':
                self._unanswered_rakp_1 += 1
            if self._unanswered_rakp_1 >= _RAKP_1_TRIES:
                # Some BMCs are silent to whom they do not know or have
                # locked out; to go on asking would keep the lock shut.
                self._refused(LinkError(
                    Reason.BAD_CREDENTIALS,
                    f'the BMC answers Open Session, but left '
                    f'{_RAKP_1_TRIES} RAKP 1 unanswered, as for an account '
                    'that is unknown or locked'))
                return
            self.give_up_login()
            self._restart()
        else:
            self.hasretried = 1
            self.send_payload()

    def give_up_login(self) -> None:
        """Leave no session behind if only RAKP 4 is still to come."""
        if self.sessioncontext == 'EXPECTINGRAKP4':
            self.sessioncontext = None
            self._close_pending()

    def _close_pending(self) -> None:
        self.sessionid = self.pendingsessionid
        self.integrityalgo = self.attemptedhash
        self.confalgo = 'aes'
        self.sequencenumber = 1
        self.lastpayload = None
        self._send_ipmi_net_payload(
            NETFN_APP, CMD_CLOSE_SESSION,
            struct.pack('<I', self.pendingsessionid), retry=False)

    def _heard(self) -> None:
        """The BMC answered a step of the login: adapt to its pace."""
        self.answered = True
        elapsed = self._loop.time() - self._first_sent
        self._first_retry = min(max(_FIRST_RETRY, 1.5 * elapsed), _MAX_RETRY)
        self._retry = self._first_retry
        self._first_sent = self._loop.time()

    def _parse_payload(self, payload: bytearray) -> None:
        self._cancel_timer()
        self._heard()
        super()._parse_payload(payload)

    def _got_channel_auth_cap(self, response: dict[str, typing.Any]) -> None:
        # IPMI v2.0 table 22-15.
        code, data = response['code'], response['data']
        if code or len(data) < 4:
            self._fail(LinkError(
                Reason.PROTOCOL_ERROR,
                'the BMC answered Get Channel Authentication Capabilities '
                f'with completion code {code:02x}h'))
        elif not (data[1] & 0x80 and data[3] & 0x02):
            self._fail(LinkError(
                Reason.PROTOCOL_ERROR,
                'the BMC offers IPMI 1.5 only; Serial over LAN needs '
                'IPMI 2.0'))
        else:
            self.currentchannel = data[0]
            self.ipmiversion = 2.0
            self._open_rmcpplus_request()

    def _open_rmcpplus_request(self) -> None:
        self._first_sent = self._loop.time()
        super()._open_rmcpplus_request()

    def _got_rmcp_response(self, data: bytearray) -> None:
        if (self.sessioncontext != 'OPENSESSION' or len(data) < 2
                or data[0] != self.rmcptag):
            return
        if data[1]:
            self._heard()
            if data[1] in _SUITE_REFUSED and len(self._suites) > 1:
                self._suites.popleft()
                self.attemptedhash = _HASH_OF_SUITE[self._suites[0]]
                self._open_rmcpplus_request()
                return
            error = _by_login_error(data[1], 'Open Session')
            if data[1] in _SUITE_REFUSED:
                error = LinkError(
                    Reason.ENCRYPTION_REFUSED,
                    f'cipher suite {self._suites[0]}: {error.detail}')
            self._fail(error)
        elif len(data) >= 12:
            self._heard()
            super()._got_rmcp_response(data)

    def _got_rakp2(self, data: bytearray) -> None:
        if (self.sessioncontext != 'EXPECTINGRAKP2' or len(data) < 2
                or data[0] != self.rmcptag):
            return
        if data[1]:
            self._heard()
            self._fail(_by_login_error(data[1], 'RAKP 1'))
        elif len(data) >= 40:
            self._heard()
            super()._got_rakp2(data)

    def _got_rakp4(self, data: bytearray) -> None:
        if (self.sessioncontext != 'EXPECTINGRAKP4' or len(data) < 2
                or data[0] != self.rmcptag):
            return
        if data[1]:
            self._heard()
            self._fail(_by_login_error(data[1], 'RAKP 3'))
        elif len(data) >= 8:
            self._heard()
            super()._got_rakp4(data)

    def _req_priv_level(self) -> None:
        # pyghmi waits for the answer in a nested loop.
        self._doubt_no_more()
        self.logged = 1
        self.logging = False
        self._sealing = sealing.Sealing(
            k1=self.k1, aes_key=self.aeskey, digest=self.currhashlib().name,
            code_size=self.currhashlen, local_id=self.localsid,
            remote_id=self.sessionid)
        self.start_command(
            NETFN_APP, CMD_SET_PRIVILEGE, bytes([self.privlevel]),
            self._got_priv_level)

    def _got_priv_level(self, answer: Answer) -> None:
        # IPMI v2.0 table 22-23: 80h level not available for this user, 81h
        # exceeds the channel's or user's limit.
        if answer.code in (0x80, 0x81, 0xd4):
            self._fail(LinkError(
                Reason.PRIVILEGE,
                'the BMC refused Set Session Privilege Level '
                f'{self.privlevel} with completion code '
                f'{answer.code:02x}h'))
        elif answer.code:
            self._fail(LinkError(
                Reason.PROTOCOL_ERROR,
                'the BMC answered Set Session Privilege Level with '
                f'completion code {answer.code:02x}h'))
        else:
            self._on_login(None)

    def onlogon(self, parameter: dict[str, typing.Any]) -> None:
        # Only pyghmi's own checks of RAKP 2 and 4 still end here.
        if self.sessioncontext == 'FAILED':
            self.sessioncontext = 'EXPECTINGRAKP2'
            self._fail(LinkError(
                Reason.BAD_CREDENTIALS,
                'the BMC\'s RAKP 2 does not fit the password'))
        else:
            self._fail(LinkError(
                Reason.BAD_CREDENTIALS,
                'the BMC\'s RAKP 4 does not fit the key Kg'))

    def _fail(self, error: LinkError) -> None:
        """The BMC refuses, or somebody in its name: see what follows."""
        if self._sealing is not None:
            self._refused(error)
        elif self._refusal is None:
            self.doubted = error
            self._refusal = self._loop.call_later(
                _FORGERY_GRACE, self._refused, error)

    def _doubt_no_more(self) -> None:
        self.doubted = None
        if self._refusal is not None:
            self._refusal.cancel()
            self._refusal = None

    def _refused(self, error: LinkError) -> None:
        self._doubt_no_more()
        self._cancel_timer()
        self.lastpayload = None
        self.give_up_login()
        self._on_login(error)

    def logout(self, sessionok: bool = True) -> dict[str, bool]:
        # pyghmi's sends Deactivate Payload, which would end the console of
        # whoever has it now. Session.close() does what is right.
        return {'success': True}

    def _mark_broken(self, error: object = None) -> None:
        self.broken = True

    @property
    def patience(self) -> float:
        """Seconds to wait for an answer of this BMC."""
        return max(_PATIENCE, 2 * self._first_retry)

    @property
    def established(self) -> bool:
        """Whether the BMC has let us in."""
        return self._sealing is not None

    @property
    def suite(self) -> int:
        """The cipher suite in use or proposed now."""
        return self._suites[0]

    def encrypt_sol(self, encrypt: bool) -> None:
        """Whether SOL packets are encrypted, as the activation asked."""
        if self._sealing is not None:
            self._sealing.encrypt_sol = encrypt


async def resolve(address: str, port: int, timeout: float) -> tuple[
        int, tuple[typing.Any, ...]]:
    """Address family and socket address of a BMC.

    An address literal costs nothing; a name is looked up in a thread.

    :param timeout: seconds to wait for the name service.
    :raises: LinkError (unreachable) if the name does not resolve.
    """
    loop = asyncio.get_running_loop()
    try:
        found = socket.getaddrinfo(
            address, port, type=socket.SOCK_DGRAM,
            flags=socket.AI_NUMERICHOST)
    except OSError:
        try:
            async with asyncio.timeout(timeout):
                found = await loop.getaddrinfo(
                    address, port, type=socket.SOCK_DGRAM)
        except TimeoutError:
            raise LinkError(
                Reason.UNREACHABLE,
                f'the name {address} did not resolve within '
                f'{timeout:g} s') from None
        except (OSError, UnicodeError) as error:
            raise LinkError(
                Reason.UNREACHABLE,
                f'the name {address} does not resolve: {error}') from None
    family, _, _, _, sockaddr = found[0]
    return int(family), sockaddr


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

    def __init__(self, target: Target,
                 on_sol: collections.abc.Callable[[bytes], None],
                 on_notice: collections.abc.Callable[[], None]) -> None:
        self.target = target
        self._on_sol = on_sol
        self._on_notice = on_notice
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._wire: _Wire | None = None
        self._login: asyncio.Future[None] | None = None
        self._refused = 0
        self._command = asyncio.Lock()
        #: Commands that the BMC leaves unanswered while it answers others.
        self.unanswered: set[int] = set()

    @property
    def session_id(self) -> int:
        """The id that the BMC gave this session, 0 before it did."""
        return int(self._wire.sessionid) if self._wire is not None else 0

    @property
    def doubted(self) -> LinkError | None:
        """A refusal of the login that may still turn out to be forged."""
        return self._wire.doubted if self._wire is not None else None

    @property
    def suite(self) -> int | None:
        """The cipher suite in use, None without a session."""
        if self._wire is None or not self._wire.established:
            return None
        return self._wire.suite

    async def login(self, silence: float = 4.0, timeout: float = 20.0) -> None:
        """Open the session.

        :param silence: seconds after which a BMC that did not answer at all
            counts as unreachable.
        :param timeout: seconds for the whole login of a BMC that answers.
        :raises: LinkError.
        """
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
        login = self._login = self._loop.create_future()
        self._wire = wire = _Wire(
            target, self._loop, self._transmit, self._login_ended,
            self._on_sol, self._on_notice)
        self._loop.add_reader(sock.fileno(), self._readable)
        wire.begin()
        try:
            await asyncio.wait([login], timeout=silence)
            if not login.done() and wire.answered:
                await asyncio.wait([login], timeout=timeout - silence)
            if not login.done():
                waited = timeout if wire.answered else silence
                raise LinkError(
                    Reason.UNREACHABLE,
                    f'the BMC stopped answering, and the login was not '
                    f'complete after {waited:g} s' if wire.answered else
                    f'no answer to UDP packets for {waited:g} s')
            login.result()
        finally:
            login.cancel()

    def _login_ended(self, error: LinkError | None) -> None:
        if self._login is None or self._login.done():
            return
        if error is None:
            self._login.set_result(None)
        else:
            self._login.set_exception(error)

    def encrypt_sol(self, encrypt: bool) -> None:
        """Whether SOL packets are encrypted, as the activation asked."""
        if self._wire is not None:
            self._wire.encrypt_sol(encrypt)

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
        for _ in range(_DATAGRAMS_A_WAKEUP):
            if self._socket is None or self._wire is None:
                return      # closed by what it said before
            try:
                datagram = self._socket.recv(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._network_error(error)
                return
            self._wire.feed(datagram)

    def send_sol(self, payload: bytes) -> None:
        """Send a SOL payload; nothing happens once the session is gone."""
        if self._wire is not None and self._wire.established:
            self._wire.send_sol(payload)

    async def command(self, netfn: int, command: int, data: bytes = b'',
                      timeout: float = 0.0, hurry: bool = False) -> Answer:
        """Ask the BMC, and ask again while it does not answer.

        :param timeout: seconds to wait in all, retries included; 0 is what
            the BMC's pace calls for.
        :param hurry: ask again sooner.
        :returns: completion code and data.
        :raises: LinkError (unreachable) without an answer.
        """
        if not timeout and self._wire is not None:
            timeout = self._wire.patience
        try:
            async with asyncio.timeout(timeout), self._command:
                wire = self._wire
                if wire is None or not wire.established:
                    raise LinkError(
                        Reason.UNREACHABLE, 'the session has ended')
                answer: asyncio.Future[Answer] = self._loop.create_future()

                def done(result: Answer) -> None:
                    if not answer.done():
                        answer.set_result(result)

                try:
                    wire.start_command(
                        netfn, command, data, done, hurry=hurry)
                    return await answer
                finally:
                    wire.forget_command()
        except TimeoutError:
            raise LinkError(
                Reason.UNREACHABLE,
                f'no answer to command {netfn:02x}h {command:02x}h for '
                f'{timeout:g} s') from None

    async def close(self, timeout: float = 1.0) -> None:
        """Give the session's slot on the BMC back, and end.

        :param timeout: seconds to wait for the BMC's confirmation.
        """
        try:
            if self._wire is not None and self._wire.established:
                with contextlib.suppress(LinkError):
                    await self.command(
                        NETFN_APP, CMD_CLOSE_SESSION,
                        struct.pack('<I', self.session_id), timeout,
                        hurry=True)
            elif self._wire is not None:
                self._wire.give_up_login()
        finally:
            self.abort()

    def abort(self) -> None:
        """End at once, with nothing sent."""
        if self._wire is not None:
            self._wire.end()
            self._wire = None
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._login_ended(LinkError(Reason.UNREACHABLE, 'given up'))
