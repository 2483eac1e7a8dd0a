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

"""What a BMC of ours has seen and done, for tests to look at.

Written in the BMC's loop only; may be read in any thread.
"""

import collections
import collections.abc
import dataclasses
import time
import typing

#: Entries of each kind that are kept; then the oldest go.
KEPT = 100_000

T = typing.TypeVar('T')


@dataclasses.dataclass(frozen=True)
class Command:
    """An IPMI command that was carried out or refused.

    :param time: seconds of time.monotonic(), as in every other entry.
    :param session: the BMC's session id, 0 outside a session.
    :param code: completion code; None where it was left unanswered.
    """

    time: float
    session: int
    user: str
    netfn: int
    command: int
    data: bytes
    code: int | None


@dataclasses.dataclass(frozen=True)
class Activation:
    """An Activate Payload.

    :param remote: address and port it came from.
    :param aux: first byte of the auxiliary data.
    :param code: completion code.
    """

    time: float
    session: int
    user: str
    remote: tuple[str, int]
    aux: int
    code: int


@dataclasses.dataclass
class Login:
    """An attempt to log in that got as far as RAKP 1.

    :param result: 'under way', 'ok', 'unknown user', 'role refused',
        'bad password', 'locked', 'no slot' or 'abandoned'.
    """

    time: float
    user: str
    suite: int
    remote: tuple[str, int]
    result: str = 'under way'


@dataclasses.dataclass(frozen=True)
class SessionEnd:
    """A session that is no more.

    :param why: 'closed', 'closed by another', 'timeout', 'forgotten' or
        'released'.
    """

    time: float
    session: int
    user: str
    why: str


@dataclasses.dataclass(frozen=True)
class PayloadEnd:
    """An activation that is no more.

    :param why: 'deactivated', 'deactivated by another', 'session ended',
        'by the BMC', 'stolen' or 'given up'.
    """

    time: float
    session: int
    why: str


@dataclasses.dataclass(frozen=True)
class Drop:
    """A datagram that was not accepted."""

    time: float
    why: str
    size: int


class Kept(typing.Generic[T]):
    """Entries of one kind; iterating takes a copy."""

    def __init__(self) -> None:
        self._entries: collections.deque[T] = collections.deque(maxlen=KEPT)

    def add(self, entry: T) -> T:
        """Keep an entry."""
        self._entries.append(entry)
        return entry

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()

    def __iter__(self) -> collections.abc.Iterator[T]:
        return iter(self._entries.copy())

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, at: int) -> T:
        return self._entries[at]

    def __repr__(self) -> str:
        return repr(list(self))


class Journal:
    """The records of one BMC."""

    def __init__(self) -> None:
        self.commands = Kept[Command]()
        self.activations = Kept[Activation]()
        self.logins = Kept[Login]()
        self.session_ends = Kept[SessionEnd]()
        self.payload_ends = Kept[PayloadEnd]()
        self.drops = Kept[Drop]()
        #: Datagrams and their bytes that came and went, as the network
        #: had them.
        self.datagrams_in = 0
        self.datagrams_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        #: SOL packets that were opened and that were sent, with retries.
        self.sol_packets_in = 0
        self.sol_packets_out = 0
        #: SOL packets sent to the console for the second or a later time.
        self.sol_retries_out = 0
        #: SOL packets from the console that had been there before.
        self.sol_duplicates_in = 0
        #: Characters that the BMC gave up sending.
        self.characters_lost = 0

    def clear(self) -> None:
        """Forget everything but the counters."""
        for kept in (self.commands, self.activations, self.logins,
                     self.session_ends, self.payload_ends, self.drops):
            kept.clear()

    def drop(self, why: str, size: int) -> None:
        """Keep that a datagram was not accepted."""
        self.drops.add(Drop(time.monotonic(), why, size))

    def having(self, command: tuple[int, int], *,
               session: int | None = None, user: str | None = None,
               since: float = 0.0, code: int | None = None) -> list[Command]:
        """The commands of one kind.

        :param command: network function and command.
        :param session: only of this session.
        :param user: only of this user.
        :param since: only after this time.
        :param code: only with this completion code.
        """
        return [entry for entry in self.commands
                if (entry.netfn, entry.command) == command
                and session in (None, entry.session)
                and user in (None, entry.user)
                and entry.time >= since and code in (None, entry.code)]

    def count(self, command: tuple[int, int], *,
              session: int | None = None, user: str | None = None,
              since: float = 0.0) -> int:
        """How many commands of one kind."""
        return len(self.having(command, session=session, user=user,
                               since=since))

    def failed_logins(self, user: str | None = None) -> list[Login]:
        """Attempts that did not end well; those under way are not told."""
        return [entry for entry in self.logins
                if entry.result not in ('ok', 'under way')
                and user in (None, entry.user)]

    def dropped(self, word: str) -> int:
        """How many datagrams were dropped with a word in the reason."""
        return sum(word in entry.why for entry in self.drops)
