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

"""Link: the session, the SOL channel and the one task that drives them.

The thin shell round ``link.LinkMachine``. It tells its owner what arrives
and what changes; it asks the BMC who has the console before it takes it and
before it gives it up (``taking`` decides what may be taken). It never sends
Deactivate Payload unless the BMC has just named a session that is ours; and
it leaves no session on the BMC on any path that still runs.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import random
import time
import typing

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import channel as sol_channel
from ironic_solconsole.sol import payload as sol_payload
from ironic_solconsole.sol import session as sol_session
from ironic_solconsole.sol import taking as sol_taking
from ironic_solconsole.sol.flag import Flag
from ironic_solconsole.sol.link import CREDENTIALS_DELAY
from ironic_solconsole.sol.link import Activation
from ironic_solconsole.sol.link import LinkEvent
from ironic_solconsole.sol.link import LinkMachine
from ironic_solconsole.sol.link import LinkMemory
from ironic_solconsole.sol.link import LinkState
from ironic_solconsole.sol.target import Target

LOG = logging.getLogger(__name__)

# Seconds to leave a BMC in; a bridge has 2 to end in.
DEACTIVATE_TIMEOUT = 0.7
CLOSE_TIMEOUT = 0.5
IDLE_SLOT = 30.0        # seconds a scarce slot is kept with nobody there


class Owner(typing.Protocol):
    """Who a link reports to; every call returns quickly and never raises."""

    def link_data(self, data: bytes) -> None:
        """Output of the host arrived."""

    def link_changed(self) -> None:
        """State, reason or detail changed."""

    def link_memory_changed(self) -> None:
        """What a successor must know changed."""

    def link_input_accepted(self, count: int) -> None:
        """The BMC accepted so many bytes: there is room for more."""

    def link_input_dropped(self, count: int) -> None:
        """So many bytes of input will not reach the host."""

    def link_wanted(self) -> bool:
        """Whether anybody is at the console."""

    def link_permitted(self) -> bool:
        """Whether bytes may pass at this moment; asked for each packet.

        It may become False a moment before the owner calls
        :meth:`Link.fence`.
        """


def fingerprint(target: Target) -> str:
    """Tells whether a BMC and the credentials for it are the same."""
    return hashlib.sha256(repr(
        dataclasses.astuple(target)).encode()).hexdigest()


class Link:
    """A link to one BMC, from :meth:`start` to :meth:`wait_closed`.

    :param target: the BMC and the account.
    :param owner: who gets the data and hears of changes.
    :param login_slots: bounds the logins that run at a time.
    :param keepalive_interval: seconds between two keepalives.
    :param node: UUID, for the log.
    :param memory: what an earlier link of this node left; is kept current.
    :param workarounds: what the BMC needs.
    :param steal: whether a session of somebody else may be ended, once.
    :param linger: seconds for which a link on demand outlasts the last one
        who was at the console; None where it is always wanted.
    """

    __slots__ = (
        '_attempt', '_break', '_channel', '_check', '_extra',
        '_keepalive_interval', '_leaving', '_linger', '_lingering',
        '_logged', '_login_slots', '_loop', '_lost', '_machine',
        '_may_steal', '_owner', '_parked', '_poke', '_session', '_settled',
        '_since', '_takes_output', '_task', '_timer', 'memory', 'target',
        'workarounds')

    def __init__(
            self, target: Target, owner: Owner, *,
            login_slots: asyncio.Semaphore, keepalive_interval: float,
            node: str, memory: LinkMemory,
            workarounds: frozenset[sol_payload.Workaround] = frozenset(),
            steal: bool = False, linger: float | None = None) -> None:
        self.target = target
        self.memory = memory
        self.workarounds = workarounds
        self._owner = owner
        self._login_slots = login_slots
        self._keepalive_interval = keepalive_interval
        self._may_steal = steal
        self._linger = linger
        self._lingering: asyncio.TimerHandle | None = None
        self._parked = False
        self._takes_output = True
        self._extra = {'node': node}
        self._loop = asyncio.get_running_loop()
        self._machine = LinkMachine(self._loop.time())
        self._since = time.time()
        self._session: sol_session.Session | None = None
        self._channel: sol_channel.SolChannel | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[None] | None = None
        self._break: asyncio.Future[str] | None = None
        self._check = Flag()
        self._task: asyncio.Task[None] | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._poke = Flag()
        self._settled = Flag()
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
    def next_try(self) -> float | None:
        """Seconds until it tries again by itself; None: not by time."""
        due = self._machine.next_try
        return None if due is None else max(0.0, due - self._loop.time())

    @property
    def settled(self) -> bool:
        """Whether the first attempt at this target has ended."""
        return self._machine.settled

    @property
    def suite(self) -> int | None:
        """Cipher suite of the session, if there is one."""
        session = self._live_session
        return session.suite if session is not None else None

    @property
    def session_id(self) -> int:
        """The BMC's id of the session, 0 if there is none."""
        session = self._live_session
        return session.session_id if session is not None else 0

    @property
    def _live_session(self) -> sol_session.Session | None:
        # One that is just being left is of no interest.
        if self.state in (LinkState.CONNECTING, LinkState.CONNECTED):
            return self._session
        return None

    # -- what can be asked of it -----------------------------------------

    def start(self, predecessor: 'Link | None' = None) -> None:
        """Begin to connect.

        :param predecessor: a link whose logout to wait for.
        """
        if self._linger is not None and not self._owner.link_wanted():
            self._machine.doze()
        if self.state is LinkState.IDLE:
            self._recall()
        self._task = self._loop.create_task(self._run(predecessor))

    def _recall(self) -> None:
        """Begin where an earlier link of the node has ended."""
        now, memory = self._loop.time(), self.memory
        age = time.time() - memory.refused_at
        if memory.released:
            self.release(memory.released_until)
        elif (memory.refused == fingerprint(self.target)
                and 0 <= age < CREDENTIALS_DELAY):
            self._machine.refuse(LinkError(
                Reason.BAD_CREDENTIALS,
                f'{memory.refused_detail} (tried {age:.0f} s ago with the '
                'same account; not tried again now, as BMCs lock accounts)'),
                now, CREDENTIALS_DELAY - age)
            self._changed()

    def update(self, target: Target,
               workarounds: frozenset[sol_payload.Workaround]) -> None:
        """Go to another BMC, or use another account or workarounds."""
        self.target = target
        self.workarounds = workarounds
        self._settled.clear()
        self._interrupt(LinkEvent.CHANGED)

    def release(self, until: float) -> None:
        """Give the console up for work by hand.

        :param until: when to resume, in seconds of the epoch; 0: not by
            time.
        """
        self.memory.released, self.memory.released_until = True, until
        due = (self._loop.time() + max(0.0, until - time.time())
               if until else None)
        if self.state is not LinkState.FENCED:      # admit() sees to it
            self._interrupt(LinkEvent.RELEASE, until=due)
        self._owner.link_memory_changed()

    def resume(self) -> None:
        """Take the console up again after a release."""
        if self.memory.released:
            self.memory.released, self.memory.released_until = False, 0.0
            self._owner.link_memory_changed()
        if self.state is LinkState.RELEASED:
            self._move(LinkEvent.RESUME)
            self._poke.set()

    def fence(self, error: LinkError | None) -> None:
        """Let no byte pass, and leave the BMC, until :meth:`admit`.

        :param error: why; None while that is not known.
        """
        if self.state is not LinkState.CLOSED:
            self._interrupt(LinkEvent.FENCE, error=error)

    def admit(self) -> None:
        """End the fence; what an operator has released stays so."""
        if self.state is LinkState.FENCED:
            self._move(LinkEvent.ADMIT)
            self._recall()
            self._poke.set()

    async def wait_left(self) -> None:
        """Wait until a BMC that is being left is logged out or given up.
        """
        if self._leaving is not None:
            await asyncio.wait([self._leaving])

    def retry(self) -> None:
        """Try now, even after bad credentials."""
        if self.dormant:
            self._wake()
            self.deserted()
        self._machine.retry(self._loop.time())
        self._poke.set()

    def steal(self) -> None:
        """Try now, and end the session that has the console, once."""
        self._may_steal = True
        self.retry()

    def nudge(self) -> None:
        """Somebody came to the console: try soon if that can help."""
        self._wake()
        self._machine.nudge(self._loop.time())
        self._poke.set()

    # -- on demand -------------------------------------------------------

    @property
    def dormant(self) -> bool:
        """Whether it rests until somebody comes to the console."""
        return self._machine.dormant

    def set_linger(self, linger: float | None) -> None:
        """Be on demand, or not any more.

        :param linger: as for the class.
        """
        self._linger = linger
        if linger is None:
            self._wake()
            self._poke.set()
        elif not self._owner.link_wanted() and not self.dormant:
            self.deserted()

    def deserted(self) -> None:
        """Nobody is at the console any more."""
        if self._linger is not None:
            self._stop_lingering()
            self._lingering = self._loop.call_later(
                self._linger, self._lingered)

    def _lingered(self) -> None:
        self._lingering = None
        if self._linger is None or self._owner.link_wanted():
            return
        self._machine.doze()
        if self.state in (LinkState.CONNECTING, LinkState.CONNECTED,
                          LinkState.HELD, LinkState.WAITING):
            self._interrupt(LinkEvent.UNWANTED)

    def _wake(self) -> None:
        self._stop_lingering()
        if self.dormant:
            self._machine.wake(self._loop.time())

    def _stop_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    # -- parking ---------------------------------------------------------

    def park(self) -> None:
        """Let no input out and begin no attempt, until :meth:`unpark`.

        A connection stays up, and its output goes to the owner, who keeps
        it.
        """
        self._parked = True
        if self._channel is not None:
            self._channel.pause_sending()
            self._pump()

    def take_no_output(self) -> None:
        """Leave output in the BMC, until :meth:`unpark`."""
        self._takes_output = False
        if self._channel is not None:
            self._channel.pause_receiving()

    def unpark(self, steal: bool) -> None:
        """Go on where :meth:`park` stopped.

        :param steal: as for the class.
        """
        self._parked, self._takes_output = False, True
        self._may_steal = self._may_steal or steal
        if self._channel is not None:
            self._channel.resume_receiving()
            self._channel.resume_sending(self._loop.time())
            self._pump()
        self._machine.nudge(self._loop.time())
        self._poke.set()

    # -- the end ---------------------------------------------------------

    def drop_input(self) -> None:
        """Give up what was typed and has not gone out yet."""
        if self._channel is not None:
            self._channel.drop_input('the console has a new owner')
            self._pump()

    def close(self) -> None:
        """Let no byte pass from now on, and log out in the background."""
        self._stop_lingering()
        if self._machine.state is not LinkState.CLOSED:
            self._interrupt(LinkEvent.CLOSE)

    def _interrupt(self, event: LinkEvent, error: LinkError | None = None,
                   until: float | None = None) -> None:
        self._detach()
        self._move(event, error, until)
        self._poke.set()
        # Once only: a second one would cut its logging out short.
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            self._leaving = attempt
            attempt.cancel()

    async def wait_closed(self) -> None:
        """Wait until the BMC's session is logged out or given up."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def wait_settled(self, timeout: float) -> None:
        """Wait for the first verdict on this target.

        :param timeout: seconds after which to return without one.
        """
        if self.dormant:
            return      # there will be none
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._settled.wait()

    def send(self, data: bytes) -> int:
        """Give input to the host.

        :returns: how many bytes were taken; 0 unless connected.
        """
        if (self._channel is None or self._parked
                or self.state is not LinkState.CONNECTED
                or not self._owner.link_permitted()):
            return 0
        taken = self._channel.send(data, self._loop.time())
        self._pump()
        return taken

    def send_break(self) -> asyncio.Future[str]:
        """Send the host a serial break, behind what was typed before.

        :returns: its result is why the BMC has not taken it, '' if it has.
            What waits on it must not cancel it.
        """
        answer: asyncio.Future[str] = self._loop.create_future()
        if self._break is not None:
            answer.set_result('another break is under way')
        elif (self._channel is None or self._parked
                or self.state is not LinkState.CONNECTED
                or not self._owner.link_permitted()
                or not self._channel.send_break(self._loop.time())):
            answer.set_result('the console is not connected')
        else:
            self._break = answer
            self._pump()
        return answer

    def _answer_break(self, why: str) -> None:
        answer, self._break = self._break, None
        if answer is not None and not answer.done():
            answer.set_result(why)

    # -- the task --------------------------------------------------------

    async def _run(self, predecessor: 'Link | None') -> None:
        if predecessor is not None:
            await predecessor.wait_closed()
        while await self._try_is_due():
            self.resume()       # if it was released until now
            self._move(LinkEvent.TRY)
            attempt = self._attempt = self._loop.create_task(
                self._connect_and_serve())
            await asyncio.wait([attempt])
            self._attempt = None
            # One that was cancelled was interrupted, and what it was
            # interrupted for stands.
            if not attempt.cancelled():
                self._ended(attempt.exception())

    async def _try_is_due(self) -> bool:
        """Wait until it is time; False when the link is closed."""
        while self.state is not LinkState.CLOSED:
            self._poke.clear()
            delay = None if self._parked else self.next_try
            if delay is not None and delay <= 0:
                if not self.dormant:
                    return True
                if self.state in (LinkState.HELD, LinkState.WAITING):
                    self._move(LinkEvent.UNWANTED)
                elif self.state is LinkState.RELEASED:
                    self.resume()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._poke.wait()
        return False

    def _ended(self, error: BaseException | None) -> None:
        if self.state not in (LinkState.CONNECTING, LinkState.CONNECTED):
            return      # interrupted while it failed
        if not isinstance(error, LinkError):
            LOG.error('The console link to %s failed in a way nobody '
                      'foresaw; it is tried again.', self.target,
                      exc_info=error, extra=self._extra)
            error = LinkError(
                Reason.PROTOCOL_ERROR,
                f'internal error ({type(error).__name__}); see the log')
        self._note_refusal(self.target, error)
        busy = error.reason in (Reason.HELD, Reason.STOLEN)
        self._move(LinkEvent.BUSY if busy else LinkEvent.FAILED, error)

    def _note_refusal(self, target: Target,
                      error: LinkError | None) -> None:
        """Remember credentials that were refused, beyond this link."""
        if error is not None and error.reason is Reason.BAD_CREDENTIALS:
            self.memory.refused = fingerprint(target)
            self.memory.refused_at = time.time()
            self.memory.refused_detail = error.detail
            self._owner.link_memory_changed()

    async def _connect_and_serve(self) -> None:
        port = await self._attempt_on(self.target.port)
        if await self._attempt_on(port):
            raise LinkError(
                Reason.PROTOCOL_ERROR,
                f'the BMC sends SOL from UDP port {self.target.port} to '
                f'{port}, and from there to another')

    async def _attempt_on(self, port: int) -> int:
        """Connect, and serve until the end, which is a LinkError.

        :param port: UDP port of the BMC.
        :returns: only when the BMC has SOL on another port: which. That
            takes a session of its own there.
        """
        target = self.target
        session = self._session = sol_session.Session(
            dataclasses.replace(target, port=port), self._on_sol,
            self._check.set)
        self._channel = sol_channel.SolChannel(
            skip_sequence=sol_payload.Workaround.SKIP_SEQUENCE
            in self.workarounds,
            silent_copies=sol_payload.Workaround.SILENT_COPIES
            in self.workarounds)
        if self._parked:
            self._channel.pause_sending()
        if not self._takes_output:
            self._channel.pause_receiving()
        self._lost = self._loop.create_future()
        self._check.clear()
        try:
            async with self._login_slots:
                await self._login(session)
                session.encrypt_sol(sol_payload.Workaround.UNENCRYPTED
                                    not in self.workarounds)
                # How the BMC sees us, for who comes after us; asked now, as
                # there is nothing to leave behind yet.
                ours = await sol_payload.session_info(
                    session, session.session_id)
                activation = await sol_taking.Taking(
                    session, ours, memory=self.memory,
                    permitted=self._owner.link_permitted,
                    steal=self._steal_once, bmc=str(target),
                    extra=self._extra).activate(self.workarounds)
            if activation.port:
                return activation.port
            self._channel.activated(
                activation.inbound_size, self._loop.time())
            self.memory.activation = Activation(
                ours.session, ours.user, ours.address, ours.port,
                round(time.time(), 3))
            self._owner.link_memory_changed()
            self._move(LinkEvent.ACTIVATED)
            self._pump()
            return await self._serve(session, self._lost)
        except LinkError as error:
            self._ended(error)      # before leaving, which takes a moment
            raise
        finally:
            # Whoever switches off and on must not cause another login.
            self._note_refusal(target, session.doubted)
            self._detach()
            if not self._lost.cancel():
                self._lost.exception()      # told already, or overtaken
            try:
                await self._leave(session)
            finally:
                session.abort()
                self._session = None

    async def _login(self, session: sol_session.Session) -> None:
        machine = self._machine
        try:
            await session.login()
        except LinkError as error:
            if error.reason is Reason.SESSION_LIMIT:
                machine.slot_seen(self._loop.time(), free=False)
            raise
        if self.memory.refused:
            self.memory.refused = ''
            self._owner.link_memory_changed()
        if machine.scarce:
            machine.slot_seen(self._loop.time(), free=True)
        if machine.scarce and not self._owner.link_wanted():
            raise LinkError(
                Reason.SESSION_LIMIT,
                'the BMC was out of sessions; the free one is left to others '
                'until somebody attaches, or for ten minutes')

    def _steal_once(self) -> bool:
        allowed, self._may_steal = self._may_steal, False
        return allowed

    async def _serve(self, session: sol_session.Session,
                     lost: 'asyncio.Future[None]') -> typing.NoReturn:
        begun = self._loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._keepalive_interval):
                    await self._check.wait()
            self._check.clear()
            # Any answer keeps the session alive; who is named tells a theft
            # from a BMC that ended the console or died.
            owner = await sol_payload.owner(session)
            if owner and owner != session.session_id:
                holder = await sol_payload.name_holder(session, owner)
                raise LinkError(Reason.STOLEN, f'{holder} took the console')
            if lost.done():
                lost.result()
            if owner == 0:
                raise LinkError(
                    Reason.CLOSED_BY_BMC,
                    'the BMC says that nobody has the console any more')
            if (self._machine.scarce and not self._owner.link_wanted()
                    and self._loop.time() - begun >= IDLE_SLOT):
                raise LinkError(
                    Reason.SESSION_LIMIT,
                    'the BMC was out of sessions, and nobody is here: the '
                    'session is left to others')

    async def _leave(self, session: sol_session.Session) -> None:
        """Give up the console and the session's slot, in bounded time."""
        try:
            with contextlib.suppress(LinkError, TimeoutError):
                async with asyncio.timeout(DEACTIVATE_TIMEOUT):
                    # Deactivate ends whoever has the console: only what
                    # 0x4B has just named ours may be ended.
                    if session.suite is not None:
                        owner = await sol_payload.owner(session)
                        if owner and owner == session.session_id:
                            await sol_payload.deactivate(
                                session, DEACTIVATE_TIMEOUT)
        finally:
            # This ends the activation as well, and must be sent whatever
            # came of the questions before.
            await session.close(CLOSE_TIMEOUT)

    # -- bytes -----------------------------------------------------------

    def _on_sol(self, payload: bytes) -> None:
        # What is not taken is not acknowledged either: it stays in the BMC.
        channel, session, owner = self._channel, self._session, self._owner
        if channel is None or session is None or not owner.link_permitted():
            return
        taken = channel.take_next(payload)
        if taken is None:
            channel.receive_data(payload, self._loop.time())
            self._pump()
            return
        if not owner.link_permitted():
            channel.put_back(*taken)
            return
        session.send_sol(taken[0])
        owner.link_data(taken[1])

    def _on_timer(self) -> None:
        self._timer = None
        if self._channel is not None and self._owner.link_permitted():
            self._channel.handle_timer(self._loop.time())
            self._pump()

    def _pump(self) -> None:
        """Send what the channel wants to send, report what it reports."""
        channel, session = self._channel, self._session
        if channel is None or session is None:
            return
        for payload in channel.data_to_send():
            if not self._owner.link_permitted():
                return
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

    def _report(self, event: sol_channel.Event) -> None:
        if isinstance(event, sol_channel.DataReceived):
            self._owner.link_data(event.data)
        elif isinstance(event, sol_channel.InputAccepted):
            self._owner.link_input_accepted(event.count)
        elif isinstance(event, sol_channel.InputDropped):
            if event.breaks:
                self._answer_break(event.why)
            if event.count:
                self._owner.link_input_dropped(event.count)
        elif isinstance(event, sol_channel.BreakAccepted):
            self._answer_break('')
        elif isinstance(event, sol_channel.Deactivated):
            self._lose(Reason.CLOSED_BY_BMC,
                       'the BMC deactivated the SOL payload')
        elif isinstance(event, sol_channel.Lost):
            self._lose(Reason.UNREACHABLE,
                       'the BMC did not acknowledge what was typed')
        elif self.state is LinkState.CONNECTED:
            if isinstance(event, sol_channel.Unavailable):
                self._move(LinkEvent.HOST_OFF, LinkError(
                    Reason.POWERED_OFF,
                    'the BMC says that it cannot reach the serial port'))
            elif isinstance(event, sol_channel.Available):
                self._move(LinkEvent.HOST_ON)

    def _lose(self, reason: Reason, detail: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_exception(LinkError(reason, detail))
            self._check.set()

    def _detach(self) -> None:
        """Let no byte pass; say how much input was not delivered."""
        channel, self._channel = self._channel, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._answer_break('the link to the BMC was lost')
        if channel is not None and channel.pending:
            self._owner.link_input_dropped(channel.pending)

    # -- changes ---------------------------------------------------------

    def _move(self, event: LinkEvent, error: LinkError | None = None,
              until: float | None = None) -> None:
        before = self._machine.state
        self._machine.handle(event, self._loop.time(), error=error,
                             chance=random.random(), until=until)
        if self._machine.state is not before:
            self._since = time.time()
        self._changed()

    def _changed(self) -> None:
        if self._machine.settled:
            self._settled.set()
        self._log()
        self._owner.link_changed()

    def _log(self) -> None:
        """One line a change, not one a try."""
        state, reason = self._machine.state, self._machine.reason
        if state in (LinkState.HELD, LinkState.WAITING) or (
                state is LinkState.CONNECTED and reason is not None):
            level = logging.WARNING
            text = f'{reason}: {self._machine.detail}'
        elif state in (LinkState.CONNECTED, LinkState.RELEASED):
            level, text = logging.INFO, str(state)
        elif state is LinkState.FENCED and reason is not None:
            level, text = logging.INFO, f'{reason}: {self._machine.detail}'
        else:
            return
        # Who holds the console may change; how it fails to answer does so
        # from try to try.
        change = (text if state in (LinkState.HELD, LinkState.FENCED)
                  else f'{state} {reason}')
        if change != self._logged:
            self._logged = change
            LOG.log(level, 'Console link to BMC %s: %s', self.target, text,
                    extra=self._extra)
