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

"""Logging in to a BMC: pyghmi's RAKP, driven by whoever reads the socket.

pyghmi knows how to log in (RAKP, IPMI v2.0 section 13.20): that is used, up
to the keys of the session, and then its object is dropped. Its event loop,
socket pool, waiting, commands and logging out are not used, as they block,
deadlock above 64 BMCs and deactivate other people's consoles. What this
module steps around is listed with its source in
``doc/source/contributor/pyghmi.rst``.

This is the only file that touches pyghmi's private names, and
``tests/unit/sol/test_pyghmi_names.py`` fails when a release changes them.
It must never block, and never let bytes from the network raise into the
event loop.
"""

import asyncio
import collections
import collections.abc
import logging
import random
import struct
import typing

from pyghmi.ipmi.private import session as pyghmi_session

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import messages
from ironic_solconsole.sol import sealing
from ironic_solconsole.sol.target import Target

LOG = logging.getLogger(__name__)

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

#: Seconds until a request is sent again; a management network answers in ms.
FIRST_RETRY = 0.5
MAX_RETRY = 5.0             # seconds
_RAKP_1_TRIES = 3           # unanswered ones that are no chance any more
#: Nothing is authenticated before RAKP 2, and errors never are: seconds for
#: which a refusal may be a forgery that the true answer follows.
_FORGERY_GRACE = 0.3


def _by_login_error(status: int, where: str) -> LinkError:
    text = _STATUS_TEXT.get(status, 'unknown status')
    return LinkError(
        _STATUS_REASON.get(status, Reason.PROTOCOL_ERROR),
        f'the BMC answered {where} with status {status:02x}h ({text})')



class Login(pyghmi_session.Session):   # type: ignore[misc]
    """One login: pyghmi's, with its sockets, threads and waits taken out.

    Everything that arrives is given to :meth:`feed`; everything that is to
    be sent comes out of ``transmit``. The end is told once, to ``on_end``:
    None, and ``sealing`` has the keys of the session then, or the
    LinkError. Whoever has the keys has no use for this object any more.

    :param target: the BMC and the account.
    :param loop: for timers.
    :param transmit: sends a packet.
    :param on_end: called at the end.
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

    def __new__(cls, *args: typing.Any, **kwargs: typing.Any) -> 'Login':
        # pyghmi would look for a session to share, with a blocking
        # getaddrinfo.
        return object.__new__(cls)

    def __init__(
            self, target: Target, loop: asyncio.AbstractEventLoop,
            transmit: collections.abc.Callable[[bytes], None],
            on_end: collections.abc.Callable[[LinkError | None], None],
            ) -> None:
        self._target = target
        self._loop = loop
        self._transmit = transmit
        self._on_end = on_end
        self._suites = collections.deque(target.suites)
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: asyncio.TimerHandle | None = None
        #: A refusal that may still turn out to be forged.
        self.doubted: LinkError | None = None
        #: Seconds until a request is sent again, by the BMC's pace.
        self.pace = FIRST_RETRY
        self._retry = FIRST_RETRY
        self._first_sent = 0.0
        #: The keys of the session, once it is up.
        self.sealing: sealing.Sealing | None = None
        self._unanswered_rakp_1 = 0
        #: Whether the BMC has answered anything.
        self.answered = False
        #: Packets that pyghmi could not parse.
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
        if len(datagram) < 16 or not datagram.startswith(_RMCP):
            return
        data = bytearray(datagram)
        try:
            # The None stand for addresses that pyghmi would route by; the
            # socket is connected to this one BMC.
            self._handle_ipmi_packet(data, qent=(data, None, None))
        except Exception:   # pyghmi's parsing has no bounds checks
            self.malformed += 1
            LOG.debug('A packet from %s was dropped.', self._target,
                      exc_info=True)

    def give_up(self) -> None:
        """Leave no session behind if only RAKP 4 is still to come."""
        if self.sessioncontext == 'EXPECTINGRAKP4':
            self.sessioncontext = None
            self._transmit(self._keys().seal(
                sealing.PAYLOAD_IPMI, messages.request(
                    messages.NETFN_APP, messages.CMD_CLOSE_SESSION,
                    struct.pack('<I', self.pendingsessionid), 0)))

    def end(self) -> None:
        """Send nothing more and accept nothing more."""
        self._forget_request()
        self._doubt_no_more()
        self.sessioncontext = None

    @property
    def suite(self) -> int:
        """The cipher suite in use or proposed now."""
        return self._suites[0]

    @property
    def session_id(self) -> int:
        """The id that the BMC has given to the session."""
        return self.pendingsessionid

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

    def _forget_request(self) -> None:
        self._cancel_timer()
        self.lastpayload = None
        self.request_entry.clear()

    def _timedout(self) -> None:
        self._timer = None
        if not self.lastpayload:
            return
        self._retry = min(self._retry * 2, MAX_RETRY)
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
            self.give_up()
            self._restart()
        else:
            self.hasretried = 1
            self.send_payload()

    def _heard(self) -> None:
        """The BMC answered a step of the login: adapt to its pace."""
        self.answered = True
        elapsed = self._loop.time() - self._first_sent
        self.pace = min(max(FIRST_RETRY, 1.5 * elapsed), MAX_RETRY)
        self._retry = self.pace
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

    def _keys(self) -> sealing.Sealing:
        return sealing.Sealing(
            k1=self.k1, aes_key=self.aeskey, digest=self.currhashlib().name,
            code_size=self.currhashlen, local_id=self.localsid,
            remote_id=self.pendingsessionid)

    def _req_priv_level(self) -> None:
        # RAKP is through. pyghmi would go on here, and wait for the answer
        # in a nested loop.
        self._forget_request()
        self._doubt_no_more()
        self.sealing = self._keys()
        self._on_end(None)

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
        if self._refusal is None:
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
        self.give_up()
        self._on_end(error)

    def logout(self, sessionok: bool = True) -> dict[str, bool]:
        # pyghmi's sends Deactivate Payload, which would end the console of
        # whoever has it now. Session.close() does what is right.
        return {'success': True}

    def _mark_broken(self, error: object = None) -> None:
        self.broken = True
