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

"""The protocol that all backends have, and what they share."""

import abc
import collections
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import itertools
import secrets
import threading
import time
import typing
import urllib.parse

from ironic_solconsole import coordination

#: Seconds for which what was got in one request with others may wait to be
#: handed over. A caller that comes later, because it was stopped, gets the
#: rest anew.
STALE = 1.0

#: Locks in one request. etcd takes 128 operations; and parsing the answer
#: must not keep the event loop from running.
BATCH = 50

T = typing.TypeVar('T')


class BackendError(Exception):
    """The backend did not answer, or not usefully. Holds no secret."""


class Held:
    """One lock that was acquired.

    :param name: of the lock.
    :param since: seconds of :func:`now` just before the request that got
        it: it cannot expire in the backend before this plus the TTL.
    """

    __slots__ = ('name', 'since')

    def __init__(self, name: str, since: float) -> None:
        self.name = name
        self.since = since

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.name}>'


class Backend(typing.Protocol):
    """What keeps the locks.

    All methods block, and may be called from several threads, but never for
    one lock at once. Each request ends within the call timeout and about a
    second, whatever the network does.

    :ivar kind: file, redis, etcd or zookeeper.
    :ivar warnings: what the deployer should know; filled by start().
    """

    kind: str
    warnings: list[str]

    def start(self) -> float:
        """Connect. May be called again after it has failed.

        :returns: seconds after which a lock that nobody renews is free.
        :raises: BackendError
        """

    def stop(self) -> None:
        """End the session and with it every lock. Never raises."""

    def acquire(self, names: Sequence[str], deadline: float
                ) -> Iterator[tuple[str, Held | str]]:
        """Try for locks, in this order.

        :param deadline: seconds of :func:`now` after which no try begins.
        :returns: for each name the lock, or who holds it ('' if unknown).
            ``Held.since`` is the moment to count from: several are got by
            one request, and wait here until they are asked for.
        :raises: BackendError; what comes after it has not been tried.
        """

    def renew(self, held: Sequence[Held], deadline: float
              ) -> Iterator[tuple[Held, float | None]]:
        """Beat, and find out which locks are still ours.

        :param deadline: seconds of :func:`now` after which no call begins.
        :returns: for each lock that something is known of: the moment just
            before it was proven ours, before which plus the TTL it cannot
            expire; or None where it is surely lost.
        :raises: BackendError; nothing is known of the others.
        """

    def release(self, held: Sequence[Held]) -> None:
        """Give locks back; those that are not ours any more are left.

        :raises: BackendError
        """

    def taken(self, names: Sequence[str]) -> set[str]:
        """Which of these locks somebody holds.

        :raises: BackendError
        """

    def bury(self, names: Sequence[str], member: str) -> None:
        """Take locks from a process that is surely dead, if it has them.

        :param member: its member id.
        :raises: BackendError
        """


def now() -> float:
    """Seconds of a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def batches(items: Sequence[T], size: int = BATCH) -> Iterator[list[T]]:
    """Split a sequence into lists."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def explain(error: BaseException) -> str:
    """An exception of somebody else's library, on one short line."""
    text = ' '.join(str(error).split())
    plain = ''.join(c if c.isprintable() else '?' for c in text)
    return f'{type(error).__name__}: {plain[:200]}' if plain else (
        type(error).__name__)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn whatever a library raises into BackendError.

    All of Exception: their trees have nothing in common, and some let raw
    socket and JSON errors through.
    """
    try:
        yield
    except BackendError:
        raise
    except Exception as error:
        raise BackendError(explain(error)) from error


def bounded(call: Callable[[], T], seconds: float) -> T:
    """Call what may hang, in a thread of its own.

    :param seconds: after which it is left to itself.
    :raises: BackendError
    """
    outcome: list[tuple[T | None, Exception | None]] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, name='backend-call', daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise BackendError(f'no answer within {seconds:.1f} s')
    value, error = outcome[0]
    if error is not None:
        with translated():
            raise error
    return typing.cast(T, value)


def url_options(settings: coordination.Coordination
                ) -> tuple[urllib.parse.SplitResult, dict[str, typing.Any]]:
    """A URL as the drivers of tooz want it."""
    parts = urllib.parse.urlsplit(settings.url)
    return parts, dict(urllib.parse.parse_qs(parts.query))


def readable(member: str) -> str:
    """A member id that somebody else wrote, if it is fit to be shown."""
    return member if member.isprintable() and len(member) <= 300 else ''


H = typing.TypeVar('H', bound=Held)


class Common(abc.ABC, typing.Generic[H]):
    """What all backends do in the same way.

    :param settings: where, and for how long.
    :param member_id: ``HOST:PID:RANDOM``
    """

    kind = ''

    def __init__(self, settings: coordination.Coordination,
                 member_id: str) -> None:
        self.warnings: list[str] = []
        self._settings = settings
        self._member_id = member_id
        self._timeout = settings.call_timeout
        self._held: set[H] = set()
        # What may be ours without our knowledge, as no answer came, and
        # until when a late request could still make it so.
        self._doubtful: dict[H, float] = {}
        self._mutex = threading.Lock()

    @abc.abstractmethod
    def _acquire(self, names: list[str]) -> dict[str, H | str]:
        """Try for one batch of locks."""

    @abc.abstractmethod
    def _release(self, held: list[H]) -> None:
        """Give one batch back, as far as it is ours."""

    @abc.abstractmethod
    def _renew(self, held: list[H], deadline: float
               ) -> Iterator[tuple[H, float | None]]:
        """What renew() gives."""

    @abc.abstractmethod
    def _bury(self, names: list[str], member: str) -> None:
        """Take one batch of locks from a dead process."""

    @abc.abstractmethod
    def _stop(self) -> None:
        """End the session, release what is held. May raise or hang."""

    def bury(self, names: Sequence[str], member: str) -> None:
        """See :class:`Backend`."""
        with translated():
            for batch in batches(names):
                self._bury(batch, member)

    def stop(self) -> None:
        """See :class:`Backend`."""
        with contextlib.suppress(Exception):
            bounded(self._stop, self._timeout)

    def acquire(self, names: Sequence[str], deadline: float
                ) -> Iterator[tuple[str, Held | str]]:
        """See :class:`Backend`."""
        for batch in batches(list(dict.fromkeys(names))):
            if now() >= deadline:
                return
            with translated():
                self._clean()
                found = collections.deque(self._acquire(batch).items())
            with self._mutex:
                self._held.update(each for _, each in found
                                  if isinstance(each, Held))
            stale = now() + STALE
            try:
                while found and now() < stale:
                    yield found.popleft()
            finally:
                self._give_back([each for _, each in found
                                 if isinstance(each, Held)])
            if found:
                return

    def renew(self, held: Sequence[Held], deadline: float
              ) -> Iterator[tuple[Held, float | None]]:
        """See :class:`Backend`."""
        ours = typing.cast(list[H], list(held))
        with translated():
            self._clean()
            for each, since in self._renew(ours, deadline):
                if since is None:
                    with self._mutex:
                        self._held.discard(each)
                yield each, since

    def release(self, held: Sequence[Held]) -> None:
        """See :class:`Backend`."""
        ours = typing.cast(list[H], list(held))
        with translated():
            self._clean()
            for batch in batches(ours):
                self._release(batch)
                with self._mutex:
                    self._held.difference_update(batch)

    def _token(self) -> str:
        """A value that tells who holds a lock, and which time it is."""
        return f'{self._member_id}:{secrets.token_hex(8)}'

    def _holder(self, token: bytes | str) -> str:
        """Who wrote a value of :meth:`_token`; '' for that of others."""
        if isinstance(token, bytes):
            token = token.decode('utf-8', 'replace')
        return readable(token.rpartition(':')[0])

    @contextlib.contextmanager
    def _doubting(self, held: Sequence[H]) -> Iterator[None]:
        """Remember what a failing request may have left behind."""
        try:
            yield
        except Exception:
            until = now() + 2 * self._settings.ttl
            with self._mutex:
                self._doubtful.update(dict.fromkeys(held, until))
            raise

    def _clean(self) -> None:
        """Remove what failing requests may have left behind."""
        with self._mutex:
            doubtful = dict(self._doubtful)
        if not doubtful:
            return
        for batch in batches(list(doubtful)):
            self._release(batch)
        at = now()
        with self._mutex:
            for held, until in doubtful.items():
                if until <= at:
                    self._doubtful.pop(held, None)

    def _give_back(self, held: list[H]) -> None:
        """Release what nobody asked for after all."""
        if not held:
            return
        with self._mutex:
            self._held.difference_update(held)
        with contextlib.suppress(Exception), self._doubting(held):
            self._release(held)
