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

"""The lease on a node's console: who may pass its bytes, and until when.

One tooz lock a node, held by the process that talks to the BMC. tooz tells
nobody that a lock was lost, and asking may hang, so that a lease has an end
by the local clock: ``valid_until`` is the moment before the last call that
proved that the lock is ours, plus the TTL, less a margin. Three things keep
it: one thread renews and verifies; another acquires and releases; and the
event loop, which waits for neither, fences what has expired, while the data
path looks at ``valid_until`` before each byte. A process that was stopped
and continued therefore passes nothing before it has looked.

:class:`LeaseBook` decides, with no thread, clock or backend of its own.
:class:`LeaseKeeper` is the shell round it.
"""

import asyncio
import collections.abc
import contextlib
import enum
import logging
import random
import threading
import typing

from ironic_solconsole import coordination
from ironic_solconsole.bridge import backends
from ironic_solconsole.bridge.backends import now
from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason

LOG = logging.getLogger(__name__)

RETRY_DELAY = 1.0       # seconds, plus up to as much again
WANTED_INTERVAL = 2.0   # seconds between two looks for a claimant
WATCH_INTERVAL = 0.25   # seconds between two looks for what has expired
STOP_TIMEOUT = 0.7      # seconds to release what is left at the end
_PREFIX = 'ironic-solconsole-'
_PREFIX_WANTED = 'ironic-solconsole-want-'


class Standing(enum.StrEnum):
    """How this process stands to a node's lock; ``show`` prints it."""

    WAITING = 'waiting'             # not asked for yet
    HELD = 'held'
    LOST = 'lost'
    ELSEWHERE = 'elsewhere'
    AWAY = 'backend away'
    SILENT = 'conductor away'
    YIELDED = 'yielded'


class Owner(typing.Protocol):
    """The console that a lease is for."""

    def lease_changed(self) -> None:
        """The standing changed. Called in the event loop."""


class Lease:
    """One node's lease.

    :param node: UUID.
    :ivar valid_until: end of the lease, in seconds of the backends' clock;
        0 while there is none. The data path reads it without a lock.
    :ivar holder: who has the lock instead, as far as is known.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self.owner: Owner | None = None
        self.standing = Standing.WAITING
        self.holder = ''
        self.valid_until = 0.0
        self.held: backends.Held | None = None
        self.claim: backends.Held | None = None
        self.next_try = 0.0

    @property
    def valid(self) -> bool:
        """Whether bytes may pass at this moment."""
        return now() < self.valid_until

    def explain(self) -> LinkError | None:
        """Why there is no lease; None where it is just being asked for."""
        if self.standing is Standing.ELSEWHERE:
            return LinkError(Reason.LOCKED, 'the lock of the node is held '
                             f'by {describe(self.holder)}')
        if self.standing is Standing.LOST:
            return LinkError(Reason.NO_LOCK, 'the lock of the node was lost')
        if self.standing is Standing.AWAY:
            return LinkError(Reason.NO_LOCK, 'the lock of the node cannot '
                             'be had or renewed; see the log')
        if self.standing is Standing.SILENT:
            return LinkError(Reason.CONDUCTOR_AWAY, 'the conductor of this '
                             'process is silent')
        if self.standing is Standing.YIELDED:
            return LinkError(Reason.LOCKED, 'given up to another conductor, '
                             'as this one does not reach the database')
        return None


def describe(member: str) -> str:
    """A member id, ``HOST:PID:RANDOM``, in words."""
    host, _, rest = member.rpartition(':')[0].rpartition(':')
    return f'{host} (process {rest})' if host else 'another conductor'


class LeaseBook:
    """All leases of a process, and what to do about them.

    Every ``now`` is seconds of one clock. Not safe for threads.

    :param settings: TTL, margin and interval in force.
    """

    def __init__(self, settings: coordination.Coordination) -> None:
        self.settings = settings
        self.leases: dict[str, Lease] = {}
        #: Locks to give back. An entry stays until that has succeeded.
        self.unwanted: list[backends.Held] = []
        #: Leases whose owner has to hear of a change.
        self.changed: dict[Lease, None] = {}
        self.away = False
        self.silent = False
        self.blind = False
        self._next_probe = 0.0

    def want(self, node: str) -> Lease:
        """A lease that is to be held from now on; an old one goes on."""
        lease = self.leases.get(node)
        if lease is None:
            lease = self.leases[node] = Lease(node)
            if self.silent:
                lease.standing = Standing.SILENT
        return lease

    def forget(self, lease: Lease) -> None:
        """A lease is not wanted any more; its lock is given back."""
        if self.leases.get(lease.node) is lease:
            del self.leases[lease.node]
        self.changed.pop(lease, None)
        self.free(lease)
        self._drop_claim(lease)

    def free(self, lease: Lease) -> None:
        """Nothing of the console is left on the BMC: let the lock go."""
        lease.valid_until = 0.0
        if lease.held is not None:
            self.unwanted.append(lease.held)
            lease.held = None

    def due(self, now: float) -> list[str]:
        """The nodes whose lock should be tried for, in that order."""
        if self.silent:
            return []
        waiting = sorted((lease for lease in self.leases.values()
                          if lease.held is None and lease.next_try <= now
                          and lease.standing is not Standing.YIELDED),
                         key=lambda lease: lease.next_try)
        if not self.away:
            return [lease.node for lease in waiting]
        # One is enough to see whether the backend is back.
        return [lease.node for lease in waiting[:1]
                if self._next_probe <= now]

    def next_due(self) -> float | None:
        """When there will be something to try for; None: not by time."""
        times = [lease.next_try for lease in self.leases.values()
                 if lease.held is None
                 and lease.standing is not Standing.YIELDED]
        if self.silent or not times:
            return None
        return max(min(times), self._next_probe if self.away else 0.0)

    def acquired(self, node: str, held: backends.Held, since: float) -> None:
        """A lock was got.

        :param since: the moment before it was asked for.
        """
        lease = self.leases.get(node)
        if lease is None or lease.held is not None or self.silent:
            self.unwanted.append(held)
            return
        lease.held = held
        lease.valid_until = since + self.settings.ttl - self.settings.margin
        lease.holder = ''
        self._drop_claim(lease)
        self._stand(lease, Standing.HELD)

    def refused(self, node: str, holder: str, now: float,
                chance: float) -> bool:
        """Somebody else has a lock.

        :param chance: a random number from 0 to 1.
        :returns: whether to claim it, so that a holder that does not know
            what the database says will yield.
        """
        lease = self.leases.get(node)
        if lease is None or lease.held is not None:
            return False
        lease.next_try = now + RETRY_DELAY * (1 + chance)
        if lease.holder != holder:
            lease.holder = holder
            self.changed[lease] = None
        self._stand(lease, Standing.ELSEWHERE)
        return lease.claim is None

    def claimed(self, node: str, held: backends.Held) -> None:
        """The claim to a node's lock was got."""
        lease = self.leases.get(node)
        if lease is None or lease.held is not None or lease.claim:
            self.unwanted.append(held)
        else:
            lease.claim = held

    def failed(self, now: float, chance: float) -> bool:
        """The backend did not answer.

        :returns: whether that is news.
        """
        news, self.away = not self.away, True
        self._next_probe = now + RETRY_DELAY * (1 + chance)
        for lease in self.leases.values():
            if lease.held is None and lease.standing in (
                    Standing.WAITING, Standing.LOST, Standing.ELSEWHERE):
                self._stand(lease, Standing.AWAY)
        return news

    def answered(self, now: float,
                 chance: collections.abc.Callable[[], float]) -> bool:
        """The backend answered.

        :param chance: gives random numbers from 0 to 1: not all conductors
            take up all consoles at the same moment.
        :returns: whether that is news.
        """
        news, self.away = self.away, False
        if news:
            for lease in self.leases.values():
                if lease.held is None:
                    lease.next_try = now + RETRY_DELAY * chance()
        return news

    def to_renew(self) -> list[backends.Held]:
        """The locks to renew, the one that expires first at the front."""
        leases = sorted((lease for lease in self.leases.values()
                         if lease.held is not None and lease.valid_until),
                        key=lambda lease: lease.valid_until)
        held = [lease.held for lease in leases if lease.held is not None]
        return held + [lease.claim for lease in self.leases.values()
                       if lease.claim is not None]

    def renewed(self, held: backends.Held, since: float) -> None:
        """A lock was proved to be ours.

        :param since: the moment before the proof.
        """
        lease = self._of(held)
        # One that was fenced stays so: its console is on the way out.
        if lease is not None and lease.valid_until:
            lease.valid_until = max(
                lease.valid_until,
                since + self.settings.ttl - self.settings.margin)

    def lost(self, held: backends.Held) -> None:
        """A lock was proved not to be ours any more."""
        lease = self._of(held)
        if lease is not None:
            self._fence(lease, Standing.LOST)
            return
        for lease in self.leases.values():
            if lease.claim is held:
                lease.claim = None

    def expire(self, now: float) -> None:
        """Fence what has not been renewed in time."""
        for lease in self.leases.values():
            if lease.valid_until and lease.valid_until <= now:
                self._fence(lease, Standing.AWAY)

    @property
    def first_expiry(self) -> float:
        """When the first lease ends unless it is renewed."""
        return min((lease.valid_until for lease in self.leases.values()
                    if lease.valid_until), default=float('inf'))

    def hear(self, silent: bool, blind: bool) -> None:
        """What is known of the conductor of this process.

        :param silent: it has not been heard of for too long.
        :param blind: it has not reached the database for too long.
        """
        if silent and not self.silent:
            for lease in self.leases.values():
                self._fence(lease, Standing.SILENT)
                self._drop_claim(lease)
        for lease in self.leases.values():
            if (not silent and lease.standing is Standing.SILENT) or (
                    not blind and lease.standing is Standing.YIELDED):
                lease.next_try = 0.0
                self._stand(lease, Standing.WAITING)
        self.silent, self.blind = silent, blind

    def to_watch(self) -> list[str]:
        """Nodes for which to look whether somebody claims them."""
        if not self.blind:
            return []
        return [lease.node for lease in self.leases.values()
                if lease.valid_until]

    def yield_to_claimant(self, node: str) -> None:
        """Somebody who may know better claims the lock of a node."""
        lease = self.leases.get(node)
        if lease is not None and self.blind and lease.valid_until:
            self._fence(lease, Standing.YIELDED)

    def _of(self, held: backends.Held) -> Lease | None:
        lease = self.leases.get(held.name.removeprefix(_PREFIX))
        return lease if lease is not None and lease.held is held else None

    def _fence(self, lease: Lease, standing: Standing) -> None:
        lease.valid_until = 0.0
        self._stand(lease, standing)

    def _stand(self, lease: Lease, standing: Standing) -> None:
        if lease.standing is not standing:
            lease.standing = standing
            self.changed[lease] = None

    def _drop_claim(self, lease: Lease) -> None:
        if lease.claim is not None:
            self.unwanted.append(lease.claim)
            lease.claim = None


class LeaseKeeper:
    """The leases of a bridge, with the threads and the backend.

    Made, and called, in the event loop; nothing here waits for I/O there.

    :param settings: where the locks are, and their times.
    :param backend: what keeps them.
    :param conductor_timeout: seconds without a ping, or without news of the
        database, after which the conductor counts as cut off.
    :param dead: member ids of processes that are surely dead: what they
        still hold need not be waited for.
    """

    def __init__(self, settings: coordination.Coordination,
                 backend: backends.Backend, conductor_timeout: float,
                 dead: collections.abc.Collection[str] = ()) -> None:
        self._loop = asyncio.get_running_loop()
        self._backend = backend
        self._settings = settings
        self._book = LeaseBook(settings)
        self._mutex = threading.Condition()
        self._conductor_timeout = conductor_timeout
        self._dead = frozenset(dead)
        self._buried: set[str] = set()
        self._heard_at = now()
        self._database_at: float | None = None
        self._look_at = 0.0
        self._telling = False
        self._stopping = False
        self._started = False
        self._stopped = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Connect to the backend, in the background, and keep on trying."""
        for target in (self._claim_forever, self._renew_forever):
            threading.Thread(target=target, name=f'lease-{target.__name__}',
                             daemon=True).start()
        self._tick()

    # -- called by consoles, in the event loop ----------------------------

    def want(self, node: str, owner: Owner) -> Lease:
        """Hold a node's lock from now on, for this owner."""
        with self._mutex:
            lease = self._book.want(node)
            lease.owner = owner
            self._mutex.notify_all()
        return lease

    def forget(self, lease: Lease, owner: Owner) -> None:
        """Give a lock back, unless the lease has another owner by now."""
        if lease.owner is owner:
            with self._mutex:
                self._book.forget(lease)
                self._mutex.notify_all()

    def free(self, lease: Lease) -> None:
        """The console of a fenced lease is gone from its BMC."""
        with self._mutex:
            if not lease.valid_until:
                self._book.free(lease)
                self._mutex.notify_all()

    def heard(self, database_age: float | None) -> None:
        """The conductor has sent a ping.

        :param database_age: seconds since it last reached the database;
            None if that does not matter.
        """
        self._heard_at = now()
        self._database_at = (None if database_age is None
                             else self._heard_at - database_age)
        self._look(self._heard_at)

    def watch(self) -> None:
        """Fence what has expired; called at each turn of the event loop,
        before what has arrived is looked at."""
        at = now()
        if at >= self._look_at:
            self._look(at)

    async def stop(self) -> None:
        """Release every lock, in bounded time."""
        with self._mutex:
            self._stopping = True
            for lease in list(self._book.leases.values()):
                self._book.forget(lease)
            self._mutex.notify_all()
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._stopped.wait()

    # -- the watchdog -----------------------------------------------------

    def _tick(self) -> None:
        self._timer = self._loop.call_later(WATCH_INTERVAL, self._tick)
        self.watch()

    def _look(self, at: float) -> None:
        limit = self._conductor_timeout
        silent = at - self._heard_at > limit
        blind = (self._database_at is not None
                 and at - self._database_at > limit)
        with self._mutex:
            book = self._book
            book.expire(at)
            if (silent, blind) != (book.silent, book.blind):
                self._tell_conductor(silent, blind)
                book.hear(silent, blind)
                self._mutex.notify_all()
            self._look_at = min(book.first_expiry, at + WATCH_INTERVAL)
        self._deliver()

    def _tell_conductor(self, silent: bool, blind: bool) -> None:
        if silent and not self._book.silent:
            LOG.warning('The conductor has been silent for %.0f s: consoles '
                        'close until it is back.', self._conductor_timeout)
        if blind and not self._book.blind:
            LOG.warning('The conductor has not reached the database for '
                        '%.0f s: consoles stay open until another conductor '
                        'claims them.', self._conductor_timeout)

    def _deliver(self) -> None:
        """Let the owners hear what has changed."""
        with self._mutex:
            self._telling = False
            changed, self._book.changed = self._book.changed, {}
        for lease in changed:
            if lease.owner is not None:
                try:
                    lease.owner.lease_changed()
                except Exception:
                    LOG.exception('A change of the lock could not be '
                                  'followed.', extra={'node': lease.node})

    # -- threads ----------------------------------------------------------

    def _tell(self) -> None:
        """Under the mutex: see that owners hear of changes soon."""
        if self._book.changed and not self._telling:
            self._telling = True
            # The loop may be closed at the very end.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver)

    def _failed(self, problem: Exception) -> None:
        with self._mutex:
            news = self._book.failed(now(), random.random())
            self._tell()
        if news:
            where = coordination.redacted(self._settings.url)
            known = isinstance(problem, backends.BackendError)
            LOG.error('The locks at %s cannot be reached: %s. Consoles that '
                      'are open stay so for at most %.0f s, and none is '
                      'opened until it answers.', where,
                      problem if known else type(problem).__name__,
                      self._book.settings.ttl - self._book.settings.margin,
                      exc_info=None if known else problem)

    def _answered(self) -> None:
        """Under the mutex."""
        if self._book.answered(now(), random.random):
            self._mutex.notify_all()
            LOG.info('The locks at %s can be reached.',
                     coordination.redacted(self._settings.url))

    def _connect(self) -> bool:
        """Connect to the backend; gives whether that has worked."""
        try:
            granted = self._backend.start()
        except Exception as error:
            self._failed(error)
            return False
        for warning in self._backend.warnings:
            LOG.warning('coordination_url: %s', warning)
        settings = self._settings.limited_to(granted)
        if settings != self._settings:
            LOG.warning('Locks have a TTL of %.1f s, a margin of %.1f s, and '
                        'are renewed every %.1f s: the backend grants %.1f '
                        's, and the options ask for %.1f, %.1f and %.1f s.',
                        settings.ttl, settings.margin,
                        settings.renew_interval, granted, self._settings.ttl,
                        self._settings.margin, self._settings.renew_interval)
        with self._mutex:
            self._book.settings = settings
            self._started = True
            self._answered()
            self._mutex.notify_all()
        return True

    def _claim_forever(self) -> None:
        """Thread: acquire, release, and look for claimants."""
        next_watch = pause = 0.0
        while True:
            with self._mutex:
                self._wait_claims(next_watch, pause)
                if self._stopping and (
                        not self._book.unwanted or pause > now()):
                    break
                unwanted = list(self._book.unwanted)
                due = [] if self._stopping else self._book.due(now())
                watched = (self._book.to_watch()
                           if now() >= next_watch else [])
            try:
                if not self._started and not self._connect():
                    pause = now() + RETRY_DELAY
                    continue
                if unwanted:
                    self._release(unwanted)
                if due:
                    self._acquire(due)
                if watched:
                    next_watch = now() + WANTED_INTERVAL
                    self._look_for_claimants(watched)
                pause = 0.0
            except Exception as error:
                self._failed(error)
                pause = now() + RETRY_DELAY
        if self._started:
            self._backend.stop()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopped.set)

    def _wait_claims(self, next_watch: float, pause: float) -> None:
        """Under the mutex: wait until there is something to do."""
        while not self._stopping:
            book = self._book
            times = [book.next_due()]
            if book.unwanted or not self._started:
                times.append(0.0)
            if book.blind:
                times.append(next_watch)
            due = min((at for at in times if at is not None), default=None)
            wait = None if due is None else max(due, pause) - now()
            if wait is not None and wait <= 0:
                return
            self._mutex.wait(wait)

    def _release(self, unwanted: list[backends.Held]) -> None:
        self._backend.release(unwanted)
        done = set(map(id, unwanted))
        with self._mutex:
            self._book.unwanted = [held for held in self._book.unwanted
                                   if id(held) not in done]
            self._answered()

    def _acquire(self, nodes: list[str]) -> None:
        claims = []
        graves: dict[str, list[str]] = {}
        names = [_PREFIX + node for node in nodes]
        # In turns, so that what is to be released need not wait.
        turn = self._book.settings.renew_interval
        for name, outcome in self._backend.acquire(names, now() + turn):
            node = name.removeprefix(_PREFIX)
            with self._mutex:
                self._answered()
                if not isinstance(outcome, str):
                    self._book.acquired(node, outcome, outcome.since)
                    self._look_at = 0.0
                elif outcome in self._dead and name not in self._buried:
                    # Once only, and then tried again at once.
                    self._buried.add(name)
                    graves.setdefault(outcome, []).append(name)
                elif self._book.refused(
                        node, outcome, now(), random.random()):
                    claims.append(_PREFIX_WANTED + node)
                self._tell()
        for member, those in graves.items():
            LOG.info('%d locks are taken from %s, which is dead.',
                     len(those), describe(member))
            self._backend.bury(those, member)
        for name, outcome in self._backend.acquire(claims, now() + turn):
            if not isinstance(outcome, str):
                with self._mutex:
                    self._book.claimed(
                        name.removeprefix(_PREFIX_WANTED), outcome)

    def _look_for_claimants(self, nodes: list[str]) -> None:
        taken = self._backend.taken(
            [_PREFIX_WANTED + node for node in nodes])
        with self._mutex:
            for name in taken:
                self._book.yield_to_claimant(
                    name.removeprefix(_PREFIX_WANTED))
            self._tell()

    def _renew_forever(self) -> None:
        """Thread: beat, and verify that locks are ours."""
        while True:
            with self._mutex:
                if self._started:
                    self._mutex.wait_for(
                        lambda: self._stopping,
                        self._book.settings.renew_interval)
                else:
                    self._mutex.wait_for(
                        lambda: self._started or self._stopping)
                if self._stopping:
                    return
                held = self._book.to_renew()
                settings = self._book.settings
            try:
                if held:
                    self._renew(held, now() + settings.ttl - settings.margin)
            except Exception as error:
                self._failed(error)

    def _renew(self, held: list[backends.Held], deadline: float) -> None:
        for each, since in self._backend.renew(held, deadline):
            with self._mutex:
                self._answered()
                if since is None:
                    self._book.lost(each)
                    self._look_at = 0.0
                else:
                    self._book.renewed(each, since)
                self._tell()
