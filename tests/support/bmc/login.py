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

"""The login: Open Session and RAKP 1 to 4, as the BMC sees them.

IPMI v2.0 sections 13.17 to 13.24, and table 13-15 for what goes wrong.
"""

import collections.abc
import hmac
import random
import struct
import time

from tests.support.bmc import journal
from tests.support.bmc import options
from tests.support.bmc import sessions
from tests.support.bmc import sockets
from tests.support.bmc import suites
from tests.support.bmc.codes import Level
from tests.support.bmc.codes import Payload
from tests.support.bmc.codes import Status

_NAME_ONLY = 0x10       # bit of the role byte of RAKP 1

#: (payload type of the answer, its bytes), or None for silence.
Answer = tuple[Payload, bytes] | None


class LoginDesk:
    """Takes the login messages of one BMC.

    :param settings: accounts, suites, how to refuse.
    :param table: where sessions are kept.
    :param chance: where random numbers come from.
    :param guid: the managed system's GUID.
    :param book: records attempts.
    :param now: the clock.
    """

    def __init__(self, settings: options.BmcOptions, table: sessions.Table,
                 chance: random.Random, guid: bytes, book: journal.Journal,
                 now: collections.abc.Callable[[], float]) -> None:
        self._settings = settings
        self._table = table
        self._chance = chance
        self._guid = guid
        self._book = book
        self._now = now
        self._failures: dict[str, int] = {}
        self._locked_until: dict[str, float] = {}

    # Who may come in.

    def locked(self, name: str) -> bool:
        """Whether an account is locked now."""
        return self._now() < self._locked_until.get(name, 0.0)

    def unlock(self) -> None:
        """Forget all failures."""
        self._failures.clear()
        self._locked_until.clear()

    def _find(self, name: bytes) -> options.User | None:
        return next((user for user in self._settings.users
                     if user.name_bytes == name), None)

    def _failed(self, name: str) -> None:
        count = self._failures[name] = self._failures.get(name, 0) + 1
        limit = self._settings.lockout_after
        if limit and count >= limit:
            self._failures[name] = 0
            self._locked_until[name] = (
                self._now() + self._settings.lockout_seconds)

    def _end_attempt(self, session: sessions.Session, result: str) -> None:
        """An attempt is over; failures count against the account."""
        if session.login is None:
            return
        before, session.login.result = session.login.result, result
        name = session.login.user
        if result == 'ok':
            self._failures.pop(name, None)
        elif (result in ('bad password', 'abandoned')
                and before == 'under way'):
            self._failed(name)

    def sweep(self) -> None:
        """Count logins that stood still after RAKP 2 as failed.

        It is how clients take a RAKP 2 that does not fit their password,
        where they do not say so in RAKP 3. One that goes on all the same
        may.
        """
        for entry in self._waiting():
            if self._abandoned_at(entry) <= self._now():
                self._end_attempt(entry, 'abandoned')

    def next_sweep(self) -> float:
        """When there may be something to sweep; infinity if never."""
        return min(map(self._abandoned_at, self._waiting()),
                   default=float('inf'))

    def _waiting(self) -> list[sessions.Session]:
        return [entry for entry in self._table.all
                if entry.stage is sessions.Stage.NAMED
                and entry.login is not None
                and entry.login.result == 'under way']

    def _abandoned_at(self, session: sessions.Session) -> float:
        return session.heard + self._settings.abandoned_after

    # Open Session, tables 13-9 and 13-10.

    def open_session(self, data: bytes, remote: tuple[str, int],
                     socket: sockets.Socket) -> Answer:
        """Answer an Open Session Request."""
        if len(data) < 32:
            return None
        tag, role = data[0], data[1] & 0x0f
        console_id = struct.unpack_from('<I', data, 4)[0]

        def refuse(status: Status) -> Answer:
            return Payload.OPEN_SESSION_RESPONSE, struct.pack(
                '<BBxxI', tag, status, console_id)

        if role > 5:
            return refuse(Status.INVALID_ROLE)
        found = self._choose(data[8:32])
        if isinstance(found, Status):
            return refuse(found)
        if not self._table.free_slots:
            return refuse(Status.NO_RESOURCES)
        session = self._table.open(console_id, found, role or Level.ADMIN,
                                   remote, socket, self._now())
        return Payload.OPEN_SESSION_RESPONSE, struct.pack(
            '<BBBxII', tag, Status.OK, session.role, console_id, session.id
        ) + b''.join(bytes((kind, 0, 0, 8, number, 0, 0, 0))
                     for kind, number in enumerate((
                         found.authentication, found.integrity,
                         found.confidentiality)))

    def _choose(self, proposal: bytes) -> suites.Suite | Status:
        """The suite that three algorithm records ask for, or what is wrong.

        A record of length 0 leaves the choice to the BMC.
        """
        wanted: list[int | None] = []
        for kind in range(3):
            record = proposal[8 * kind:8 * kind + 8]
            if record[0] != kind:
                return (Status.NO_AUTHENTICATION_PAYLOAD,
                        Status.NO_INTEGRITY_PAYLOAD,
                        Status.INVALID_PAYLOAD_TYPE)[kind]
            wanted.append(record[4] & 0x3f if record[3] else None)
        offered = [suites.SUITES[number] for number in self._settings.suites]
        for at, refusal in enumerate((
                Status.INVALID_AUTHENTICATION, Status.INVALID_INTEGRITY,
                Status.INVALID_CONFIDENTIALITY)):
            known = {_algorithms(suite)[at]
                     for suite in suites.SUITES.values()}
            if wanted[at] is not None and wanted[at] not in known:
                return refusal
        fitting = [suite for suite in offered if all(
            want in (None, has)
            for want, has in zip(wanted, _algorithms(suite)))]
        if not fitting:
            return Status.NO_CIPHER_SUITE
        return max(fitting, key=lambda suite: suite.number)

    # RAKP 1, tables 13-11 and 13-12.

    def rakp_1(self, data: bytes, remote: tuple[str, int]) -> Answer:
        """Answer a RAKP 1."""
        if len(data) < 28:
            return None
        tag, session_id = struct.unpack_from('<BxxxI', data)
        session = self._table.get(session_id)
        if session is None or session.active:
            # Without a session the console's id is not known.
            return Payload.RAKP_2, struct.pack(
                '<BBxxI', tag, Status.INVALID_SESSION_ID, 0)
        if session.stage is not sessions.Stage.OPENED:
            return self._again(session, Payload.RAKP_2, data)
        role, size = data[24], data[27]
        name = data[28:28 + size]
        self.sweep()
        attempt = journal.Login(
            time.monotonic(), name.decode('utf-8', 'backslashreplace'),
            session.suite.number, remote)
        self._book.logins.add(attempt)
        session.login = attempt

        def refuse(status: Status, result: str) -> Answer:
            attempt.result = result
            self._table.remove(session)
            return Payload.RAKP_2, struct.pack(
                '<BBxxI', tag, status, session.console_id)

        if size > 16 or len(name) != size:
            return refuse(Status.INVALID_NAME_LENGTH, 'unknown user')
        if role & 0x0f > 5:
            return refuse(Status.INVALID_ROLE, 'role refused')
        if self.locked(attempt.user):
            if self._settings.lockout is options.Locked.SILENT:
                attempt.result = 'locked'
                return None
            if self._settings.lockout is options.Locked.UNKNOWN:
                return refuse(Status.UNAUTHORIZED_NAME, 'locked')
        user = self._find(name)
        if user is None:
            answer = refuse(Status.UNAUTHORIZED_NAME, 'unknown user')
            silent = self._settings.unknown_user is options.Refusal.SILENT
            return None if silent else answer
        level = role & 0x0f or session.role
        if level > user.level:
            how = self._settings.role_refusal
            if how is options.RoleRefusal.UNAUTHORIZED:
                return refuse(Status.UNAUTHORIZED_ROLE, 'role refused')
            if how is options.RoleRefusal.INVALID:
                return refuse(Status.INVALID_ROLE, 'role refused')
        session.user = user
        session.role = min(level, session.role, user.level)
        session.stage = sessions.Stage.NAMED
        session.heard = self._now()
        session.remote = remote
        session.handshake = suites.Handshake(
            session.suite, session.console_id, session.id, data[8:24],
            self._chance.randbytes(16), self._guid, role, name)
        reply = struct.pack('<BBxxI', tag, Status.OK, session.console_id) + (
            session.handshake.bmc_random + self._guid
            + session.handshake.rakp_2(user.key))
        session.last_rakp, session.last_answer = data, reply
        return Payload.RAKP_2, reply

    # RAKP 3, tables 13-13 and 13-14.

    def rakp_3(self, data: bytes, remote: tuple[str, int]) -> Answer:
        """Answer a RAKP 3."""
        if len(data) < 8:
            return None
        tag, status, session_id = struct.unpack_from('<BBxxI', data)
        session = self._table.get(session_id)
        if session is None:
            return Payload.RAKP_4, struct.pack(
                '<BBxxI', tag, Status.INVALID_SESSION_ID, 0)
        if session.active:
            return self._again(session, Payload.RAKP_4, data)
        handshake, user = session.handshake, session.user
        if handshake is None or user is None:
            return Payload.RAKP_4, struct.pack(
                '<BBxxI', tag, Status.INACTIVE_SESSION_ID,
                session.console_id)
        if status:
            # The console did not like RAKP 2, and wants no answer.
            self._end_attempt(session, 'bad password')
            self._table.remove(session)
            return None

        def refuse(reason: Status, result: str) -> Answer:
            self._end_attempt(session, result)
            self._table.remove(session)
            return Payload.RAKP_4, struct.pack(
                '<BBxxI', tag, reason, session.console_id)

        if not hmac.compare_digest(data[8:], handshake.rakp_3(user.key)):
            answer = refuse(Status.BAD_INTEGRITY_CHECK, 'bad password')
            silent = self._settings.bad_password is options.Refusal.SILENT
            return None if silent else answer
        if self.locked(user.name):
            return refuse(Status.BAD_INTEGRITY_CHECK, 'locked')
        if not self._table.activate(session, self._now()):
            return refuse(Status.NO_RESOURCES, 'no slot')
        self._end_attempt(session, 'ok')
        session_key = handshake.session_key(self._settings.kg or user.key)
        session.keys = suites.Keys(session.suite, session_key)
        session.remote = remote
        reply = struct.pack('<BBxxI', tag, Status.OK, session.console_id) + (
            handshake.rakp_4(session_key))
        session.last_rakp, session.last_answer = data, reply
        return Payload.RAKP_4, reply

    def _again(self, session: sessions.Session, kind: Payload,
               data: bytes) -> Answer:
        """A message that came before."""
        if self._settings.repeats_login and data[1:] == session.last_rakp[1:]:
            return kind, data[:1] + session.last_answer[1:]
        return None


def _algorithms(suite: suites.Suite) -> tuple[int, int, int]:
    return (suite.authentication, suite.integrity, suite.confidentiality)
