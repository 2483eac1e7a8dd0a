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

"""Sessions of a BMC: ids, slots, sequence numbers, keys, the time they have.

IPMI v2.0 sections 6.12 and 13.20 to 13.30.
"""

import dataclasses
import enum
import random
import typing

from tests.support.bmc import codes
from tests.support.bmc import options
from tests.support.bmc import suites

if typing.TYPE_CHECKING:
    from tests.support.bmc import journal
    from tests.support.bmc import sockets

_WRAP = 1 << 32


class Stage(enum.Enum):
    """How far a session has come."""

    OPENED = 'Open Session answered'
    NAMED = 'RAKP 2 sent'
    ACTIVE = 'RAKP 4 sent'
    ENDED = 'gone'


class Window:
    """Session sequence numbers seen, section 6.12.13.

    :param ahead: how far a number may be ahead of the highest seen.
    :param behind: how far behind it.
    :param highest: the number before the first.
    """

    def __init__(self, ahead: int, behind: int, highest: int = 0) -> None:
        self._ahead = ahead
        self._behind = behind
        self._highest = highest
        self._seen = 1          # bit n: highest - n

    def accepts(self, number: int) -> bool:
        """Whether a number is new and near enough; it then counts as seen.

        Only for packets whose integrity holds, or anybody could move the
        window.
        """
        if number == 0:
            return False
        step = (number - self._highest + _WRAP // 2) % _WRAP - _WRAP // 2
        if step > 0:
            if step > self._ahead:
                return False
            self._seen = (self._seen << step | 1) & (
                (1 << self._behind + 1) - 1)
            self._highest = number
            return True
        if -step > self._behind or self._seen >> -step & 1:
            return False
        self._seen |= 1 << -step
        return True


@dataclasses.dataclass(eq=False)
class Session:
    """A session, from Open Session to its end.

    :param id: the BMC's.
    :param console_id: the console's.
    :param handle: 1 to slots once active, 0 before.
    :param role: highest privilege it may have.
    :param level: privilege it has now.
    :param remote: where its last good packet came from.
    :param socket: through which its packets come and go; None for one
        that a test has made up.
    :param heard: when a packet last kept it alive.
    """

    id: int
    console_id: int
    suite: suites.Suite
    role: int
    remote: tuple[str, int]
    socket: 'sockets.Socket | None'
    heard: float
    stage: Stage = Stage.OPENED
    handle: int = 0
    level: int = codes.Level.USER
    user: options.User | None = None
    handshake: suites.Handshake | None = None
    keys: suites.Keys | None = None
    last_rakp: bytes = b''
    last_answer: bytes = b''
    login: 'journal.Login | None' = None
    _sent: dict[bool, int] = dataclasses.field(default_factory=dict)
    _windows: dict[bool, Window] = dataclasses.field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the login is through and the session not ended."""
        return self.stage is Stage.ACTIVE

    @property
    def user_name(self) -> str:
        """Name of the account, '' before RAKP 1."""
        return self.user.name if self.user is not None else ''

    def next_sequence(self, authenticated: bool) -> int:
        """Number of the next packet; signed ones are counted apart."""
        number = self._sent.get(authenticated, 0) % (_WRAP - 1) + 1
        self._sent[authenticated] = number
        return number

    def accepts(self, authenticated: bool, number: int, ahead: int,
                behind: int) -> bool:
        """Whether a packet's number is new and near enough."""
        window = self._windows.get(authenticated)
        if window is None:
            window = self._windows[authenticated] = Window(ahead, behind)
        return window.accepts(number)


class Table:
    """All sessions of a BMC.

    :param settings: slots and timeouts.
    :param chance: where ids come from.
    """

    #: Logins under way at a time. The oldest gives way, or anybody could
    #: lock everybody out (section 6.12.8 wants the same).
    MAX_PENDING = 32

    def __init__(self, settings: options.BmcOptions,
                 chance: random.Random) -> None:
        self._settings = settings
        self._chance = chance
        self._sessions: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def all(self) -> list[Session]:
        """Every session, oldest first."""
        return list(self._sessions.values())

    @property
    def active(self) -> list[Session]:
        """Sessions that are logged in, oldest first."""
        return [entry for entry in self.all if entry.active]

    @property
    def free_slots(self) -> int:
        """How many more may log in."""
        return max(0, self._settings.slots - len(self.active))

    def get(self, session_id: int) -> Session | None:
        """The session with an id."""
        return self._sessions.get(session_id)

    def by_handle(self, handle: int) -> Session | None:
        """The active session with a handle."""
        return next((entry for entry in self.active
                     if entry.handle == handle), None)

    def open(self, console_id: int, suite: suites.Suite, role: int,
             remote: tuple[str, int], socket: 'sockets.Socket | None',
             now: float) -> Session:
        """A new session, not logged in yet."""
        pending = [entry for entry in self.all if not entry.active]
        for entry in pending[:max(0, len(pending) + 1 - self.MAX_PENDING)]:
            self.remove(entry)
        session_id = self.new_id()
        self._sessions[session_id] = session = Session(
            session_id, console_id, suite, role, remote, socket, now)
        return session

    def new_id(self) -> int:
        """A random id that is not in use, and not 0."""
        while True:
            session_id = self._chance.randrange(1, _WRAP)
            if session_id not in self._sessions:
                return session_id

    def activate(self, session: Session, now: float) -> bool:
        """Give a session a slot; False if there is none."""
        if not self.free_slots:
            return False
        taken = {entry.handle for entry in self.active}
        session.handle = next(
            number for number in range(1, len(taken) + 2)
            if number not in taken)
        session.stage = Stage.ACTIVE
        session.level = min(codes.Level.USER, session.role)
        session.heard = now
        return True

    def remove(self, session: Session) -> None:
        """Forget a session."""
        self._sessions.pop(session.id, None)
        session.stage = Stage.ENDED
        session.keys = None

    def clear(self) -> list[Session]:
        """Forget all sessions, and give them out."""
        sessions = self.all
        for session in sessions:
            self.remove(session)
        return sessions

    def deadline(self, session: Session) -> float:
        """When a session ends if nothing is heard of it.

        One that a test has made up ends when the test says so.
        """
        if session.active:
            if session.socket is None:
                return float('inf')
            return session.heard + self._settings.session_timeout
        return session.heard + self._settings.setup_timeout

    def overdue(self, now: float) -> list[Session]:
        """Sessions whose time is up."""
        return [entry for entry in self.all if self.deadline(entry) <= now]

    def next_deadline(self) -> float:
        """When the next session may end; infinity without one."""
        return min((self.deadline(entry) for entry in
                    self._sessions.values()), default=float('inf'))
