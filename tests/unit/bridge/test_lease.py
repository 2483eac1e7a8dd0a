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

"""The lease's decisions, against a backend, clocks and faults made up.

The world below is a lock server with a clock, and processes that reach it
or do not, are stopped and go on, and get answers late. Whatever happens,
two processes never have a valid lease on the same node at the same time,
and when all is well again one of them has it.
"""

import dataclasses
import itertools
import typing

from hypothesis import settings as hypothesis_settings
from hypothesis import stateful
from hypothesis import strategies as st

from ironic_solconsole import coordination
from ironic_solconsole.bridge import backends
from ironic_solconsole.bridge import lease
from ironic_solconsole.bridge.lease import Standing

SETTINGS = coordination.Coordination(
    'file:///locks', ttl=12.0, margin=2.0, renew_interval=3.0)
NODE = '11111111-2222-3333-4444-555555555555'
NAME = f'ironic-solconsole-{NODE}'
WANT = f'ironic-solconsole-want-{NODE}'


@dataclasses.dataclass(eq=False)
class Held:
    """A lock as a backend hands it out."""

    name: str
    token: int = 0


def held(name: str = NAME) -> backends.Held:
    return typing.cast(backends.Held, Held(name))


def book_with(*, away: bool = False) -> lease.LeaseBook:
    book = lease.LeaseBook(SETTINGS)
    book.away = away
    return book


def test_a_lease_ends_a_margin_before_the_ttl_from_before_the_question(
        ) -> None:
    book = book_with()
    found = book.want(NODE)
    assert book.due(100.0) == [NODE]
    book.acquired(NODE, held(), 100.0)
    assert found.standing is Standing.HELD
    assert found.valid_until == 100.0 + 12.0 - 2.0
    assert book.due(1e9) == []


def test_what_is_not_renewed_is_fenced_and_kept_until_it_is_left() -> None:
    book = book_with()
    found = book.want(NODE)
    lock = held()
    book.acquired(NODE, lock, 100.0)
    book.expire(109.9)
    assert found.valid_until
    book.expire(110.0)
    assert not found.valid_until
    assert found.standing is Standing.AWAY
    # Not asked for again, and not given back, while the BMC is left.
    assert book.due(200.0) == []
    assert book.unwanted == []
    book.free(found)
    assert book.unwanted == [lock]
    assert book.due(200.0) == [NODE]


def test_a_renewal_that_comes_after_the_fence_changes_nothing() -> None:
    book = book_with()
    found = book.want(NODE)
    lock = held()
    book.acquired(NODE, lock, 100.0)
    book.expire(110.0)
    book.renewed(lock, 109.0)
    assert found.valid_until == 0.0


def test_an_answer_that_is_late_never_shortens_a_lease() -> None:
    book = book_with()
    found = book.want(NODE)
    lock = held()
    book.acquired(NODE, lock, 100.0)
    book.renewed(lock, 105.0)
    book.renewed(lock, 103.0)
    assert found.valid_until == 115.0


def test_a_lock_that_is_lost_is_fenced_at_once() -> None:
    book = book_with()
    found = book.want(NODE)
    lock = held()
    book.acquired(NODE, lock, 100.0)
    book.lost(lock)
    assert not found.valid_until
    assert found.standing is Standing.LOST
    assert found.explain() is not None


def test_a_lock_got_for_a_node_that_is_not_wanted_any_more_is_given_back(
        ) -> None:
    book = book_with()
    book.forget(book.want(NODE))
    lock = held()
    book.acquired(NODE, lock, 100.0)
    assert book.unwanted == [lock]


def test_a_lock_elsewhere_is_tried_again_in_one_to_two_seconds() -> None:
    book = book_with()
    found = book.want(NODE)
    assert book.refused(NODE, 'cond-b:7:abc', 100.0, 0.5)
    assert found.standing is Standing.ELSEWHERE
    assert book.due(101.4) == []
    assert book.due(101.5) == [NODE]
    error = found.explain()
    assert error is not None
    assert 'cond-b (process 7)' in error.detail


def test_a_claim_is_made_once_and_given_back_with_the_lock() -> None:
    book = book_with()
    book.want(NODE)
    assert book.refused(NODE, '', 100.0, 0.0)
    claim, lock = held(WANT), held()
    book.claimed(NODE, claim)
    assert not book.refused(NODE, '', 101.0, 0.0)
    assert book.to_renew() == [claim]
    book.acquired(NODE, lock, 102.0)
    assert book.unwanted == [claim]
    assert book.to_renew() == [lock]


def test_a_claim_that_is_lost_is_made_again() -> None:
    book = book_with()
    book.want(NODE)
    book.refused(NODE, '', 100.0, 0.0)
    claim = held(WANT)
    book.claimed(NODE, claim)
    book.lost(claim)
    assert book.refused(NODE, '', 101.0, 0.0)


def test_while_the_backend_is_away_one_probe_asks() -> None:
    book = book_with()
    for number in range(5):
        book.want(f'node-{number}')
    assert book.failed(100.0, 0.0)
    assert not book.failed(100.5, 0.0), 'this is no news'
    assert book.due(100.6) == []
    assert len(book.due(101.5)) == 1
    assert book.answered(102.0, itertools.cycle([0.0, 1.0]).__next__)
    # With jitter: not all at the same moment.
    assert 0 < len(book.due(102.0)) < 5
    assert len(book.due(103.0)) == 5


def test_a_silent_conductor_closes_all_and_opens_nothing() -> None:
    book = book_with()
    found, other = book.want(NODE), book.want('other')
    book.acquired(NODE, held(), 100.0)
    book.hear(silent=True, blind=False)
    assert not found.valid_until
    assert {found.standing, other.standing} == {Standing.SILENT}
    book.free(found)
    assert book.due(200.0) == []
    assert book.next_due() is None
    late = held('ironic-solconsole-other')
    book.acquired('other', late, 150.0)
    assert late in book.unwanted
    book.hear(silent=False, blind=False)
    assert set(book.due(200.0)) == {NODE, 'other'}


def test_a_blind_holder_yields_to_a_claimant_and_to_nobody_else() -> None:
    book = book_with()
    found = book.want(NODE)
    book.acquired(NODE, held(), 100.0)
    assert book.to_watch() == []
    book.yield_to_claimant(NODE)
    assert found.valid_until, 'it knows the database: it stays'
    book.hear(silent=False, blind=True)
    assert found.valid_until
    assert book.to_watch() == [NODE]
    book.yield_to_claimant(NODE)
    assert found.standing is Standing.YIELDED
    book.free(found)
    assert book.due(200.0) == [], 'it would fight the claimant'
    book.hear(silent=False, blind=False)
    assert book.due(200.0) == [NODE]


def test_margin_and_interval_follow_the_ttl_that_is_granted() -> None:
    asked = coordination.Coordination('zookeeper://zk', ttl=30.0)
    granted = asked.limited_to(8.0)
    assert granted.ttl == 8.0
    assert granted.margin == 4.0
    assert granted.renew_interval * 3 <= granted.ttl - granted.margin
    assert asked.limited_to(60.0) == asked


class Server:
    """A lock server: one lock, with a clock that runs like all others."""

    def __init__(self) -> None:
        self.tokens: dict[str, tuple[int, float]] = {}

    def owner(self, name: str, at: float) -> int:
        token, expires = self.tokens.get(name, (0, 0.0))
        return token if at < expires else 0


class Process:
    """A bridge: its book, what it has asked, and how it fares."""

    def __init__(self) -> None:
        self.book = lease.LeaseBook(SETTINGS)
        self.lease = self.book.want(NODE)
        self.reached = True
        self.stopped = False
        #: Questions on their way: (kind, name or lock, asked at).
        self.asked: list[tuple[str, typing.Any, float]] = []
        #: Answers on their way: callables of the book.
        self.answers: list[typing.Callable[[], object]] = []
        self.leaving = False


class World(stateful.RuleBasedStateMachine):
    """Two processes, one server, and a clock for all."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1000.0
        self.server = Server()
        self.tokens = itertools.count(1)
        self.processes = [Process(), Process()]

    pick = st.sampled_from([0, 1])

    @stateful.rule(seconds=st.sampled_from([0.1, 0.7, 2.0, 5.0, 11.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.at += seconds
        self.watchdogs()

    def watchdogs(self) -> None:
        """What runs at each turn of a loop that is not stopped."""
        for process in self.processes:
            if not process.stopped:
                process.book.expire(self.at)
                if process.lease.held and not process.lease.valid_until:
                    process.book.free(process.lease)

    @stateful.rule(who=pick)
    def asks_for_the_lock(self, who: int) -> None:
        process = self.processes[who]
        if not process.stopped and process.book.due(self.at):
            process.asked.append(('acquire', NAME, self.at))

    @stateful.rule(who=pick)
    def renews(self, who: int) -> None:
        process = self.processes[who]
        if not process.stopped:
            for lock in process.book.to_renew():
                process.asked.append(('renew', lock, self.at))

    @stateful.rule(who=pick)
    def gives_back(self, who: int) -> None:
        process = self.processes[who]
        if not process.stopped and process.reached:
            for lock in process.book.unwanted:
                token, _ = self.server.tokens.get(lock.name, (0, 0.0))
                if token == typing.cast(Held, lock).token:
                    del self.server.tokens[lock.name]
            process.book.unwanted.clear()

    @stateful.rule(who=pick)
    def the_server_takes_a_question(self, who: int) -> None:
        process = self.processes[who]
        if not (process.asked and process.reached):
            return
        kind, what, since = process.asked.pop(0)
        book = process.book
        if kind == 'acquire':
            if self.server.owner(what, self.at):
                process.answers.append(lambda: book.refused(
                    NODE, '', self.at, 0.5))
            else:
                lock = Held(what, next(self.tokens))
                self.server.tokens[what] = (
                    lock.token, self.at + SETTINGS.ttl)
                process.answers.append(lambda: book.acquired(
                    NODE, typing.cast(backends.Held, lock), since))
            return
        if self.server.owner(what.name, self.at) == what.token:
            self.server.tokens[what.name] = (
                what.token, self.at + SETTINGS.ttl)
            process.answers.append(lambda: book.renewed(what, since))
        else:
            process.answers.append(lambda: book.lost(what))

    @stateful.rule(who=pick)
    def an_answer_comes(self, who: int) -> None:
        process = self.processes[who]
        if process.answers and not process.stopped:
            process.answers.pop(0)()
            self.watchdogs()

    @stateful.rule(who=pick)
    def a_call_times_out(self, who: int) -> None:
        process = self.processes[who]
        if process.asked and not process.stopped:
            process.asked.pop(0)
            process.book.failed(self.at, 0.5)

    @stateful.rule(who=pick, reached=st.booleans())
    def the_network(self, who: int, reached: bool) -> None:
        self.processes[who].reached = reached

    @stateful.rule(who=pick, stopped=st.booleans())
    def a_signal(self, who: int, stopped: bool) -> None:
        self.processes[who].stopped = stopped
        self.watchdogs()

    @stateful.rule(who=pick, silent=st.booleans(), blind=st.booleans())
    def the_conductor(self, who: int, silent: bool, blind: bool) -> None:
        process = self.processes[who]
        if not process.stopped:
            process.book.hear(silent, blind)
            self.watchdogs()

    @stateful.rule(who=pick)
    def a_claimant_shows(self, who: int) -> None:
        process = self.processes[who]
        if not process.stopped:
            process.book.yield_to_claimant(NODE)
            self.watchdogs()

    @stateful.invariant()
    def at_most_one_may_pass_bytes(self) -> None:
        # The data path asks the clock, stopped before or not.
        valid = [process for process in self.processes
                 if self.at < process.lease.valid_until]
        assert len(valid) <= 1

    @stateful.invariant()
    def who_may_pass_bytes_has_the_lock_for_a_margin_more(self) -> None:
        for process in self.processes:
            lock = typing.cast('Held | None', process.lease.held)
            if lock is not None and self.at < process.lease.valid_until:
                owner = self.server.owner(
                    NAME, process.lease.valid_until + SETTINGS.margin - 0.01)
                assert owner == lock.token

    def teardown(self) -> None:
        """All is well again: somebody gets the lock."""
        for process in self.processes:
            process.stopped, process.reached = False, True
            process.asked.clear()
            while process.answers:
                process.answers.pop(0)()
            process.book.hear(silent=False, blind=False)
        for _ in range(60):
            self.at += 1.0
            self.watchdogs()
            for who in (0, 1):
                self.gives_back(who)
                self.asks_for_the_lock(who)
                self.renews(who)
                while self.processes[who].asked:
                    self.the_server_takes_a_question(who)
                    self.processes[who].book.answered(self.at, lambda: 0.5)
                while self.processes[who].answers:
                    self.an_answer_comes(who)
        assert any(process.lease.valid_until > self.at
                   for process in self.processes)


World.TestCase.settings = hypothesis_settings(
    deadline=None, stateful_step_count=60)
TestWorld = World.TestCase
