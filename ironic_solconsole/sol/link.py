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

"""The states of a link to a BMC: one table, and what goes with it.

:data:`TRANSITIONS` says which event leads from which state to which;
nothing else changes a state, and the diagram in the documentation is drawn
from it. :class:`LinkMachine` applies it and decides when to try next, with
no clock, task, socket or randomness of its own. ``connection.Link`` is the
shell that feeds it.

Theory of operation: a link begins IDLE and is always on its way to
CONNECTED, unless an operator RELEASED it. (One on demand rests in IDLE
while nobody is there.) It is CONNECTING until the BMC
has accepted the payload activation, so that nobody is told "connected" too
early. Where somebody else has the console it is HELD, after any other
failure WAITING, and from both it tries again when ``next_try`` comes: it
never gives up, and it never knocks faster than backoff allows. Whoever owns
it may fence it: it then leaves the BMC, and stays away until it is admitted.
"""

import dataclasses
import enum
import typing

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason

Json = dict[str, typing.Any]


class LinkState(enum.StrEnum):
    """Where a link stands; the value is what ``list`` prints."""

    IDLE = 'idle'
    CONNECTING = 'connecting'
    CONNECTED = 'connected'
    HELD = 'held'
    WAITING = 'waiting'
    RELEASED = 'released'
    FENCED = 'fenced'
    CLOSED = 'closed'


class LinkEvent(enum.Enum):
    """What moves a link from state to state."""

    TRY = 'a try is due'
    ACTIVATED = 'the BMC accepted the activation'
    BUSY = 'another session has the console'
    FAILED = 'the attempt or the connection failed'
    HOST_OFF = 'the BMC has no serial data: host off'
    HOST_ON = 'serial data is back'
    UNWANTED = 'nobody is at a console on demand'
    CHANGED = 'address, account or suites changed'
    RELEASE = 'an operator releases the console'
    RESUME = 'an operator resumes it, or the time is up'
    FENCE = 'this process may not use the console'
    ADMIT = 'it may use it again'
    CLOSE = 'the console is closed'


#: What can happen in every state that is not the end.
_ALWAYS = {
    LinkEvent.RELEASE: LinkState.RELEASED,
    LinkEvent.FENCE: LinkState.FENCED,
    LinkEvent.CLOSE: LinkState.CLOSED,
}

TRANSITIONS: dict[LinkState, dict[LinkEvent, LinkState]] = {
    LinkState.IDLE: {
        LinkEvent.TRY: LinkState.CONNECTING,
        LinkEvent.CHANGED: LinkState.IDLE,
        **_ALWAYS,
    },
    LinkState.CONNECTING: {
        LinkEvent.ACTIVATED: LinkState.CONNECTED,
        LinkEvent.BUSY: LinkState.HELD,
        LinkEvent.FAILED: LinkState.WAITING,
        LinkEvent.UNWANTED: LinkState.IDLE,
        LinkEvent.CHANGED: LinkState.IDLE,
        **_ALWAYS,
    },
    LinkState.CONNECTED: {
        LinkEvent.BUSY: LinkState.HELD,
        LinkEvent.FAILED: LinkState.WAITING,
        LinkEvent.HOST_OFF: LinkState.CONNECTED,
        LinkEvent.HOST_ON: LinkState.CONNECTED,
        LinkEvent.UNWANTED: LinkState.IDLE,
        LinkEvent.CHANGED: LinkState.IDLE,
        **_ALWAYS,
    },
    LinkState.HELD: {
        LinkEvent.TRY: LinkState.CONNECTING,
        LinkEvent.UNWANTED: LinkState.IDLE,
        LinkEvent.CHANGED: LinkState.IDLE,
        **_ALWAYS,
    },
    LinkState.WAITING: {
        LinkEvent.TRY: LinkState.CONNECTING,
        LinkEvent.UNWANTED: LinkState.IDLE,
        LinkEvent.CHANGED: LinkState.IDLE,
        **_ALWAYS,
    },
    LinkState.RELEASED: {
        LinkEvent.RESUME: LinkState.IDLE,
        LinkEvent.CHANGED: LinkState.RELEASED,
        **_ALWAYS,
    },
    LinkState.FENCED: {
        LinkEvent.ADMIT: LinkState.IDLE,
        LinkEvent.CHANGED: LinkState.FENCED,
        LinkEvent.RELEASE: LinkState.FENCED,
        LinkEvent.FENCE: LinkState.FENCED,
        LinkEvent.CLOSE: LinkState.CLOSED,
    },
    LinkState.CLOSED: {},
}

FIRST_DELAY = 1.0           # seconds; DESIGN section 5
MAX_DELAY = 120.0           # seconds
HEALTHY = 60.0              # seconds connected after which backoff restarts
CREDENTIALS_DELAY = 300.0   # seconds; BMCs lock accounts
HELD_DELAY = 3.0            # seconds, plus up to as much again
NUDGE_DELAY = 1.0           # seconds between tries that viewers cause
SCARCE_PROBE = 60.0         # seconds between looks for a free session slot
SCARCE_FOR = 600.0          # seconds a slot must have been free


class LinkMachine:
    """The state of a link, why, and when to try next.

    :param now: seconds of a clock that never goes back.
    """

    __slots__ = (
        '_previous_delay', '_slot_free_since', 'detail', 'dormant',
        'next_try', 'reason', 'scarce', 'settled', 'since', 'state')

    def __init__(self, now: float) -> None:
        self.state = LinkState.IDLE
        self.reason: Reason | None = None
        self.detail = ''
        #: When the state began.
        self.since = now
        #: When a TRY is due, or RESUME while released; None: not by time.
        self.next_try: float | None = now
        #: Whether an attempt has ended, well or not, since the last change
        #: of target.
        self.settled = False
        #: Whether the BMC has had no session to spare: the link then
        #: connects only while somebody wants it, so that Ironic's own power
        #: calls get the slot.
        self.scarce = False
        #: On demand, and nobody is there: it is not to leave IDLE.
        self.dormant = False
        self._slot_free_since: float | None = None
        self._previous_delay = FIRST_DELAY

    def handle(self, event: LinkEvent, now: float, *,
               error: LinkError | None = None, chance: float = 0.5,
               until: float | None = None) -> None:
        """Apply an event.

        :param event: what happened.
        :param now: seconds of the same clock.
        :param error: the reason, with BUSY, FAILED and HOST_OFF; with
            FENCE too, unless that is not known yet.
        :param chance: a random number from 0 to 1, with BUSY and FAILED.
        :param until: with RELEASE, when to resume; None for not by time.
        :raises: KeyError for an event that the state does not know, which
            is a bug of the caller.
        """
        old = self.state
        self.state = TRANSITIONS[old][event]
        if old is LinkState.CONNECTED and now - self.since >= HEALTHY:
            self._previous_delay = FIRST_DELAY
        if self.state is not old:
            self.since = now
        if event is LinkEvent.CHANGED:
            self._previous_delay = FIRST_DELAY
        if self.state is LinkState.FENCED and event is not LinkEvent.FENCE:
            return      # the reason stands until the fence ends
        if event is LinkEvent.CHANGED:
            self._explain(None, settled=False)
            if self.state is LinkState.RELEASED:
                return
        elif event is LinkEvent.TRY:
            pass        # the last reason stands until there is a new one
        elif event in (LinkEvent.RESUME, LinkEvent.ADMIT,
                       LinkEvent.UNWANTED):
            self._explain(None, settled=False)
        elif event is LinkEvent.FENCE:
            self._explain(error, settled=error is not None)
        else:
            self._explain(error, settled=True)
        self.next_try = self._due(now, chance, until)

    def _explain(self, error: LinkError | None, settled: bool) -> None:
        self.settled = settled
        self.reason = error.reason if error is not None else None
        self.detail = error.detail if error is not None else ''
        if self.reason is Reason.SESSION_LIMIT:
            self.scarce = True

    def _due(self, now: float, chance: float,
             until: float | None) -> float | None:
        if self.state is LinkState.IDLE:
            return None if self.dormant else now
        if self.state is LinkState.HELD:
            return now + HELD_DELAY * (1 + chance)
        if self.state is LinkState.WAITING:
            return now + self._backoff(chance)
        if self.state is LinkState.RELEASED:
            return until
        return None

    def _backoff(self, chance: float) -> float:
        """Decorrelated jitter: between FIRST_DELAY and three times the
        delay before, at most MAX_DELAY."""
        if self.reason is Reason.BAD_CREDENTIALS:
            return CREDENTIALS_DELAY
        if self.scarce and self._slot_free_since is not None:
            return SCARCE_PROBE
        spread = 3 * self._previous_delay - FIRST_DELAY
        self._previous_delay = min(MAX_DELAY, FIRST_DELAY + chance * spread)
        return self._previous_delay

    def refuse(self, error: LinkError, now: float, remaining: float) -> None:
        """Begin with a refusal that is remembered from before.

        :param error: bad credentials.
        :param now: seconds of the same clock.
        :param remaining: seconds until they may be tried again.
        """
        self.handle(LinkEvent.TRY, now)
        self.handle(LinkEvent.FAILED, now, error=error)
        self.next_try = now + remaining

    def nudge(self, now: float) -> None:
        """Somebody waits at the console: try soon.

        Not after bad credentials, as BMCs lock accounts, and not faster
        than one try in NUDGE_DELAY.
        """
        if (self.state in (LinkState.HELD, LinkState.WAITING)
                and self.reason is not Reason.BAD_CREDENTIALS
                and self.next_try is not None):
            self.next_try = min(
                self.next_try, max(now, self.since + NUDGE_DELAY))

    def doze(self) -> None:
        """On demand, and nobody is there: UNWANTED is what leaves a BMC,
        this is for what has not begun."""
        self.dormant = True
        if self.state is LinkState.IDLE:
            self.next_try = None

    def wake(self, now: float) -> None:
        """Somebody is there, or it is not on demand any more."""
        self.dormant = False
        if self.state is LinkState.IDLE:
            self.next_try = now

    def retry(self, now: float) -> None:
        """An operator asks for a try now, whatever the reason."""
        if self.state in (LinkState.HELD, LinkState.WAITING):
            self.next_try = now

    def slot_seen(self, now: float, free: bool) -> None:
        """A look at the BMC's session slots, while they are scarce.

        :param now: seconds of the same clock.
        :param free: whether a login got one.
        """
        if not free:
            self._slot_free_since = None
        elif self._slot_free_since is None:
            self._slot_free_since = now
        elif now - self._slot_free_since >= SCARCE_FOR:
            self._slot_free_since = None
            self.scarce = False


@dataclasses.dataclass(frozen=True)
class Activation:
    """The session under which a console of ours was activated.

    What a successor must find on the BMC, all of it, to know a session for
    its predecessor's.

    :param session: id on the BMC.
    :param user: user id as the BMC tells, 0 if it does not.
    :param address: our address as the BMC tells, '' if it does not.
    :param port: our UDP port as the BMC tells, 0 if it does not.
    :param at: when, in seconds of the epoch: of two, the later one counts.
    """

    session: int
    user: int
    address: str
    port: int
    at: float = 0.0


@dataclasses.dataclass
class LinkMemory:
    """What must outlive a link, and a bridge process.

    The conductor keeps it for a bridge that dies; it never leaves the two.

    :param activation: the last activation of ours.
    :param refused: fingerprint of the credentials that the BMC refused, or
        ''.
    :param refused_at: when, in seconds of the epoch.
    :param refused_detail: what the BMC answered.
    :param released: whether an operator has released the console.
    :param released_until: until when, in seconds of the epoch; 0: until it
        is resumed.
    """

    activation: Activation | None = None
    refused: str = ''
    refused_at: float = 0.0
    refused_detail: str = ''
    released: bool = False
    released_until: float = 0.0

    def learn(self, other: 'LinkMemory') -> None:
        """Take the activation of another memory if it is a later one."""
        theirs, ours = other.activation, self.activation
        if theirs is not None and (ours is None or theirs.at > ours.at):
            self.activation = theirs

    def to_json(self) -> Json:
        """A plain dict that ``json`` can write."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: object) -> 'LinkMemory':
        """The memory that to_json() gave; an empty one for anything else.
        """
        memory = cls()
        if not isinstance(data, dict):
            return memory
        for field in dataclasses.fields(cls):
            value = data.get(field.name)
            default = getattr(memory, field.name)
            if field.name == 'activation':
                memory.activation = _activation_of(value)
            elif isinstance(value, type(default)) or (
                    isinstance(default, float) and isinstance(value, int)
                    and not isinstance(value, bool)):
                setattr(memory, field.name, value)
        return memory


def _activation_of(data: object) -> Activation | None:
    if not isinstance(data, dict):
        return None
    try:
        found = Activation(**data)
    except TypeError:
        return None
    kinds: dict[str, type | tuple[type, ...]] = {
        'session': int, 'user': int, 'address': str, 'port': int,
        'at': (int, float)}
    if all(isinstance(getattr(found, name), kind)
           for name, kind in kinds.items()):
        return found
    return None
