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

"""The link to one BMC: connect, keep, lose, and connect again.

:data:`TRANSITIONS` is the table of states; :class:`LinkMachine` applies it
and decides when to try next, with no clock, task or randomness of its own;
:class:`Link` is the thin shell that owns the session, the SOL channel and
the one task that drives them.

A link never tells its owner "connected" before the BMC has accepted the
activation, never ends an activation that 0x4B does not name as its own,
never gives up for good, and leaves no session on the BMC on any path that
still runs.
"""

import asyncio
import contextlib
import enum
import logging
import random
import struct
import time
import typing

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import channel as sol_channel
from ironic_solconsole.sol import sealing
from ironic_solconsole.sol import session as sol_session

LOG = logging.getLogger(__name__)

# IPMI v2.0 section 24: payload commands, and 22.20, 22.29 for who has it.
CMD_GET_SESSION_INFO = 0x3d
CMD_GET_USER_NAME = 0x46
CMD_ACTIVATE = 0x48
CMD_DEACTIVATE = 0x49
CMD_ACTIVATION_STATUS = 0x4a
CMD_INSTANCE_INFO = 0x4b

_INSTANCE = bytes([sealing.PAYLOAD_SOL, 1])
#: Encrypted and authenticated, serial alerts fail, handshake asserted.
_ACTIVATE_DATA = _INSTANCE + bytes([0xc0, 0, 0, 0])

LEAVE_TIMEOUT = 1.2     # seconds for deactivate and logout together


class LinkState(enum.StrEnum):
    """Where a link stands; the value is what ``list`` prints."""

    IDLE = 'idle'
    CONNECTING = 'connecting'
    CONNECTED = 'connected'
    HELD = 'held'
    WAITING = 'waiting'
    CLOSED = 'closed'


class LinkEvent(enum.Enum):
    """What moves a link from state to state."""

    TRY = 'a try is due or asked for'
    ACTIVATED = 'the BMC accepted the payload activation'
    BUSY = 'another session has the console'
    FAILED = 'the attempt or the connection failed'
    CHANGED = 'address, account or suites changed'
    CLOSE = 'the console is closed'


TRANSITIONS: dict[LinkState, dict[LinkEvent, LinkState]] = {
    LinkState.IDLE: {
        LinkEvent.TRY: LinkState.CONNECTING,
        LinkEvent.CHANGED: LinkState.IDLE,
        LinkEvent.CLOSE: LinkState.CLOSED,
    },
    LinkState.CONNECTING: {
        LinkEvent.ACTIVATED: LinkState.CONNECTED,
        LinkEvent.BUSY: LinkState.HELD,
        LinkEvent.FAILED: LinkState.WAITING,
        LinkEvent.CHANGED: LinkState.IDLE,
        LinkEvent.CLOSE: LinkState.CLOSED,
    },
    LinkState.CONNECTED: {
        LinkEvent.BUSY: LinkState.HELD,
        LinkEvent.FAILED: LinkState.WAITING,
        LinkEvent.CHANGED: LinkState.IDLE,
        LinkEvent.CLOSE: LinkState.CLOSED,
    },
    LinkState.HELD: {
        LinkEvent.TRY: LinkState.CONNECTING,
        LinkEvent.CHANGED: LinkState.IDLE,
        LinkEvent.CLOSE: LinkState.CLOSED,
    },
    LinkState.WAITING: {
        LinkEvent.TRY: LinkState.CONNECTING,
        LinkEvent.CHANGED: LinkState.IDLE,
        LinkEvent.CLOSE: LinkState.CLOSED,
    },
    LinkState.CLOSED: {},
}

FIRST_DELAY = 1.0           # seconds; DESIGN section 5
MAX_DELAY = 120.0           # seconds
HEALTHY = 60.0              # seconds connected after which backoff restarts
CREDENTIALS_DELAY = 300.0   # seconds; BMCs lock accounts
HELD_DELAY = 3.0            # seconds, plus up to as much again


class LinkMachine:
    """The state of a link, and how long to wait before the next try.

    :param now: seconds of a clock that never goes back.
    """

    def __init__(self, now: float) -> None:
        self.state = LinkState.IDLE
        self.reason: Reason | None = None
        self.detail = ''
        self.since = now
        #: Whether an attempt has ended, well or not, since the last change
        #: of target.
        self.settled = False
        self._previous_delay = FIRST_DELAY

    def handle(self, event: LinkEvent, now: float,
               error: LinkError | None = None) -> None:
        """Apply an event.

        :param event: what happened.
        :param now: seconds of the same clock.
        :param error: the reason, with BUSY and FAILED.
        :raises: KeyError for an event that the state does not know, which
            is a bug of the caller.
        """
        old = self.state
        self.state = TRANSITIONS[old][event]
        if old is LinkState.CONNECTED and now - self.since >= HEALTHY:
            self._previous_delay = FIRST_DELAY
        if self.state is not old:
            self.since = now
        if error is not None:
            self.reason, self.detail = error.reason, error.detail
            self.settled = True
        elif event is LinkEvent.ACTIVATED or event is LinkEvent.CLOSE:
            self.reason, self.detail = None, ''
            self.settled = True
        elif event is LinkEvent.CHANGED:
            self.reason, self.detail = None, ''
            self.settled = False
            self._previous_delay = FIRST_DELAY

    def delay(self, chance: float) -> float:
        """Seconds until the next try, by the reason of the last failure.

        Decorrelated jitter: between FIRST_DELAY and three times the delay
        before, at most MAX_DELAY.

        :param chance: a random number from 0 to 1.
        """
        if self.state is LinkState.HELD:
            return HELD_DELAY * (1 + chance)
        if self.reason is Reason.BAD_CREDENTIALS:
            return CREDENTIALS_DELAY
        spread = 3 * self._previous_delay - FIRST_DELAY
        self._previous_delay = min(MAX_DELAY, FIRST_DELAY + chance * spread)
        return self._previous_delay


class Owner(typing.Protocol):
    """Who a link reports to; every call returns quickly and never raises."""

    def link_data(self, data: bytes) -> None:
        """Output of the host arrived."""

    def link_changed(self) -> None:
        """State, reason or detail changed."""

    def link_input_accepted(self, count: int) -> None:
        """The BMC accepted so many bytes: there is room for more."""

    def link_input_dropped(self, count: int) -> None:
        """So many bytes of input will not reach the host."""


def check_activation(answer: sol_session.Answer) -> None:
    """Raise what a completion code of Activate Payload means.

    IPMI v2.0 table 24-2, with the generic codes of table 5-2.
    """
    code = answer.code
    if not code:
        return
    known = {
        0x81: (Reason.SOL_DISABLED, 'SOL is disabled'),
        0x82: (Reason.SESSION_LIMIT, 'payload activation limit reached'),
        0x83: (Reason.ENCRYPTION_REFUSED, 'cannot activate with encryption'),
        0x84: (Reason.ENCRYPTION_REFUSED,
               'cannot activate without encryption'),
        0xd4: (Reason.PRIVILEGE, 'insufficient privilege level'),
        0xc1: (Reason.SOL_DISABLED, 'the BMC does not know the command'),
    }
    reason, text = known.get(
        code, (Reason.PROTOCOL_ERROR, 'unexpected completion code'))
    raise LinkError(
        reason, f'the BMC answered Activate Payload with {code:02x}h '
        f'({text})')


async def describe_holder(
        session: sol_session.Session, owner: int) -> str:
    """Say who holds the console, as far as the BMC tells.

    :param owner: session id of the holder, 0 if it is not known.
    """
    if not owner:
        return 'another session uses the console; the BMC does not say which'
    words = [f'session {owner:x}h']
    with contextlib.suppress(LinkError):
        info = await session.command(
            sol_session.NETFN_APP, CMD_GET_SESSION_INFO,
            b'\xff' + struct.pack('<I', owner), timeout=1.0)
        if not info.code and len(info.data) >= 6:
            user, privilege = info.data[3] & 0x3f, info.data[4] & 0x0f
            named = await session.command(
                sol_session.NETFN_APP, CMD_GET_USER_NAME, bytes([user]),
                timeout=1.0)
            name = ''
            if not named.code:
                name = named.data[:16].split(b'\0')[0].decode(
                    'utf-8', 'backslashreplace')
            words.append(f'of user {name!r}' if name else f'of user {user}')
            words.append(f'with privilege {privilege}')
            if len(info.data) >= 18 and any(info.data[6:10]):
                ip = '.'.join(map(str, info.data[6:10]))
                port = struct.unpack('<H', info.data[16:18])[0]
                words.append(f'from {ip}:{port}')
    return f'{" ".join(words)} uses the console'


class Link:
    """A link to one BMC, from :meth:`start` to :meth:`wait_closed`.

    :param target: the BMC and the account.
    :param owner: who gets the data and hears of changes.
    :param login_slots: bounds the logins that run at a time.
    :param keepalive_interval: seconds between two keepalives.
    :param node: UUID, for the log.
    """

    def __init__(self, target: sol_session.Target, owner: Owner, *,
                 login_slots: asyncio.Semaphore, keepalive_interval: float,
                 node: str) -> None:
        self.target = target
        self._owner = owner
        self._login_slots = login_slots
        self._keepalive_interval = keepalive_interval
        self._extra = {'node': node}
        self._loop = asyncio.get_running_loop()
        self._machine = LinkMachine(self._loop.time())
        self._since = time.time()
        self._session: sol_session.Session | None = None
        self._channel: sol_channel.SolChannel | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._poke = asyncio.Event()
        self._settled = asyncio.Event()
        self._logged = ''

    # -- what it is ------------------------------------------------------

    @property
    def state(self) -> LinkState:
        """Where it stands."""
        return self._machine.state

    @property
    def reason(self) -> Reason | None:
        """Why it is not connected; None if it is, or was not tried yet."""
        return self._machine.reason

    @property
    def detail(self) -> str:
        """The reason in a sentence."""
        return self._machine.detail

    @property
    def since(self) -> float:
        """When the state began, in seconds of the epoch."""
        return self._since

    @property
    def settled(self) -> bool:
        """Whether the first attempt at this target has ended."""
        return self._machine.settled

    @property
    def suite(self) -> int | None:
        """Cipher suite of the session, if there is one."""
        return self._session.suite if self._session is not None else None

    @property
    def session_id(self) -> int:
        """The BMC's id of the session, 0 if there is none."""
        return self._session.session_id if self._session is not None else 0

    # -- what can be asked of it -----------------------------------------

    def start(self, predecessor: 'Link | None' = None) -> None:
        """Begin to connect.

        :param predecessor: a link whose logout to wait for.
        """
        self._task = self._loop.create_task(self._run(predecessor))

    def update(self, target: sol_session.Target) -> None:
        """Go to another BMC or use another account."""
        self.target = target
        self._settled.clear()
        self._detach()
        self._move(LinkEvent.CHANGED)
        self._poke.set()
        if self._attempt is not None:
            self._attempt.cancel()

    def close(self) -> None:
        """Let no byte pass from now on, and log out in the background."""
        if self._machine.state is LinkState.CLOSED:
            return
        self._detach()
        self._move(LinkEvent.CLOSE)
        self._poke.set()
        if self._attempt is not None:
            self._attempt.cancel()

    async def wait_closed(self) -> None:
        """Wait until the BMC's session is logged out or given up."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def wait_settled(self, timeout: float) -> None:
        """Wait for the first verdict on this target.

        :param timeout: seconds after which to return without one.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._settled.wait()

    def send(self, data: bytes) -> int:
        """Give input to the host.

        :returns: how many bytes were taken; 0 unless connected.
        """
        if self._channel is None or self.state is not LinkState.CONNECTED:
            return 0
        taken = self._channel.send(data, self._loop.time())
        self._pump()
        return taken

    # -- the task --------------------------------------------------------

    async def _run(self, predecessor: 'Link | None') -> None:
        if predecessor is not None:
            await predecessor.wait_closed()
        while self.state is not LinkState.CLOSED:
            self._poke.clear()
            self._move(LinkEvent.TRY)
            self._attempt = self._loop.create_task(self._connect_and_serve())
            await asyncio.wait([self._attempt])
            attempt, self._attempt = self._attempt, None
            if not attempt.cancelled():
                self._ended(attempt.exception())
            if not self._poke.is_set():
                delay = self._machine.delay(random.random())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._poke.wait()

    def _ended(self, error: BaseException | None) -> None:
        if self._poke.is_set():
            return      # closed or changed meanwhile: its error is old
        if not isinstance(error, LinkError):
            LOG.error('The console link to %s failed in a way nobody '
                      'foresaw; it is tried again.', self.target,
                      exc_info=error, extra=self._extra)
            error = LinkError(Reason.PROTOCOL_ERROR, f'internal: {error!r}')
        busy = error.reason in (Reason.HELD, Reason.STOLEN)
        self._move(LinkEvent.BUSY if busy else LinkEvent.FAILED, error)

    async def _connect_and_serve(self) -> None:
        session = self._session = sol_session.Session(
            self.target, self._on_sol)
        channel = self._channel = sol_channel.SolChannel()
        self._lost = self._loop.create_future()
        try:
            async with self._login_slots:
                await session.login()
                await self._activate(session, channel)
            self._move(LinkEvent.ACTIVATED)
            self._pump()
            await self._serve(session, self._lost)
        finally:
            self._detach()
            if not self._lost.cancel():
                self._lost.exception()      # told already, or overtaken
            try:
                await self._leave(session)
            finally:
                session.abort()
                self._session = None

    async def _owner_session(
            self, session: sol_session.Session) -> int | None:
        """Session id of who has the console; None if the BMC can't say."""
        answer = await session.command(
            sol_session.NETFN_APP, CMD_INSTANCE_INFO, _INSTANCE)
        if answer.code or len(answer.data) < 4:
            return None
        return int(struct.unpack('<I', answer.data[:4])[0])

    async def _activate(self, session: sol_session.Session,
                        channel: sol_channel.SolChannel) -> None:
        owner = await self._owner_session(session)
        if owner and owner != session.session_id:
            raise LinkError(
                Reason.HELD, await describe_holder(session, owner))
        answer = await session.command(
            sol_session.NETFN_APP, CMD_ACTIVATE, _ACTIVATE_DATA)
        if answer.code == 0x80:
            owner = await self._owner_session(session)
            if owner == session.session_id:
                # The answer to our first request was lost on the way.
                await session.command(
                    sol_session.NETFN_APP, CMD_DEACTIVATE, _ACTIVATE_DATA[:2]
                    + bytes(4))
                answer = await session.command(
                    sol_session.NETFN_APP, CMD_ACTIVATE, _ACTIVATE_DATA)
        if answer.code == 0x80:
            raise LinkError(
                Reason.HELD, await describe_holder(session, owner or 0))
        check_activation(answer)
        # IPMI v2.0 table 24-2: aux(4), inbound size, outbound size, UDP
        # port, VLAN. Some BMCs swap the port's bytes, or leave it out.
        sizes = answer.data[4:10].ljust(6, b'\0')
        inbound, _outbound, port = struct.unpack('<HHH', sizes)
        swapped = port >> 8 | (port & 0xff) << 8
        if port and self.target.port not in (port, swapped):
            raise LinkError(
                Reason.PROTOCOL_ERROR,
                f'the BMC wants SOL on UDP port {port}, not on that of the '
                'session')
        channel.activated(inbound, self._loop.time())

    async def _serve(self, session: sol_session.Session,
                     lost: 'asyncio.Future[None]') -> None:
        while True:
            await asyncio.wait([lost], timeout=self._keepalive_interval)
            # Any answer keeps the session alive; who is named tells a theft
            # from a BMC that ended the console or died.
            owner = await self._owner_session(session)
            if owner and owner != session.session_id:
                raise LinkError(
                    Reason.STOLEN, await describe_holder(session, owner))
            if lost.done():
                lost.result()
            if owner == 0:
                raise LinkError(
                    Reason.CLOSED_BY_BMC,
                    'the BMC says that nobody has the console any more')

    async def _leave(self, session: sol_session.Session) -> None:
        with contextlib.suppress(LinkError, TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                # Deactivate ends whoever has the console: only what 0x4B
                # has just named ours may be ended.
                if session.suite is not None:
                    owner = await self._owner_session(session)
                    if owner and owner == session.session_id:
                        await session.command(
                            sol_session.NETFN_APP, CMD_DEACTIVATE,
                            _INSTANCE + bytes(4), timeout=0.5)
                await session.close(timeout=0.5)

    # -- bytes -----------------------------------------------------------

    def _on_sol(self, payload: bytes) -> None:
        if self._channel is not None:
            self._channel.receive_data(payload, self._loop.time())
            self._pump()

    def _on_timer(self) -> None:
        self._timer = None
        if self._channel is not None:
            self._channel.handle_timer(self._loop.time())
            self._pump()

    def _pump(self) -> None:
        """Send what the channel wants to send, report what it reports."""
        channel, session = self._channel, self._session
        if channel is None or session is None:
            return
        for payload in channel.data_to_send():
            session.send_sol(payload)
        for event in channel.events_received():
            self._report(event)
        if self._channel is not channel:
            return      # closed by what was reported
        due = channel.next_timer()
        if self._timer is not None and self._timer.when() != due:
            self._timer.cancel()
            self._timer = None
        if due is not None and self._timer is None:
            self._timer = self._loop.call_at(due, self._on_timer)

    def _report(self, event: object) -> None:
        if isinstance(event, sol_channel.DataReceived):
            self._owner.link_data(event.data)
        elif isinstance(event, sol_channel.InputAccepted):
            self._owner.link_input_accepted(event.count)
        elif isinstance(event, sol_channel.InputDropped):
            self._owner.link_input_dropped(event.count)
        elif isinstance(event, sol_channel.Deactivated):
            self._lose(Reason.CLOSED_BY_BMC,
                       'the BMC deactivated the SOL payload')
        elif isinstance(event, sol_channel.Lost):
            self._lose(Reason.UNREACHABLE,
                       'the BMC did not acknowledge what was typed')
        elif isinstance(event, sol_channel.Unavailable):
            LOG.info('BMC %s offers no serial data now: the host is powered '
                     'off or in reset.', self.target, extra=self._extra)

    def _lose(self, reason: Reason, detail: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_exception(LinkError(reason, detail))

    def _detach(self) -> None:
        """Let no byte pass; say how much input was not delivered."""
        channel, self._channel = self._channel, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if channel is not None and channel.pending:
            self._owner.link_input_dropped(channel.pending)

    def _move(self, event: LinkEvent, error: LinkError | None = None) -> None:
        before = self._machine.state
        self._machine.handle(event, self._loop.time(), error)
        if self._machine.state is not before:
            self._since = time.time()
        if self._machine.settled:
            self._settled.set()
        self._log()
        self._owner.link_changed()

    def _log(self) -> None:
        """One line a change, not one a try."""
        state, reason = self._machine.state, self._machine.reason
        if state is LinkState.CONNECTED:
            text = 'connected'
        elif state in (LinkState.HELD, LinkState.WAITING):
            text = f'{reason}: {self._machine.detail}'
        else:
            return
        if text == self._logged:
            return
        self._logged = text
        level = (logging.INFO if state is LinkState.CONNECTED
                 else logging.WARNING)
        LOG.log(level, 'Console link to BMC %s: %s', self.target, text,
                extra=self._extra)
