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

"""One run: a schedule, a cloud that suffers it, a verdict."""

import collections
import collections.abc
import dataclasses
import heapq
import itertools
import pathlib
import time

from tests.chaos import breaker
from tests.chaos import checker
from tests.chaos import cloud
from tests.chaos import schedule
from tests.chaos import witness

_NODES = 6
_CONDUCTORS = 2

#: Seconds until every console is back when all is healed: a conductor that
#: starts, a ring that changes, locks that expire, and some to spare.
RECOVERY = 90.0

_TICK = 0.1
_RETRY = 0.3

Say = collections.abc.Callable[[str], None]


@dataclasses.dataclass
class Verdict:
    """What a run has shown.

    :param faults: by kind.
    :param gap: seconds; the longest without bytes for any node.
    :param contests: takeovers while the process before was there.
    :param silences: times when processes had to be silent.
    :param slips: see the checker.
    :param sessions: most that one BMC has at the end; 1 is best.
    :param stale: SOL packets of sessions that had no SOL any more.
    :param unknown: bytes passed by a process that could not be named.
    :param wrong: two holders, and what else the checker has found.
    :param missing: nodes whose console did not come back, and why.
    :param complaints: what else must not happen.
    :param notes: what is worth to be known.
    """

    backend: str
    seed: int
    faults: collections.Counter[str]
    seconds: float = 0.0
    activations: int = 0
    takeovers: int = 0
    contests: int = 0
    gap: float = 0.0
    recovery: float = 0.0
    silences: int = 0
    slips: int = 0
    stale: int = 0
    sessions: int = 0
    unknown: int = 0
    lag: float = 0.0
    wrong: list[checker.Fault] = dataclasses.field(default_factory=list)
    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    complaints: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def overlaps(self) -> list[checker.Fault]:
        """Two holders at a time."""
        return [fault for fault in self.wrong
                if fault.kind in checker.TWO_HOLDERS]

    @property
    def passed(self) -> bool:
        """Whether every promise was kept."""
        return not (self.wrong or self.missing or self.complaints
                    or self.unknown)

    def __str__(self) -> str:
        lines = [f'{self.backend}, seed {self.seed}: '
                 f'{self.faults.total()} faults in {self.seconds:.0f} s']
        lines += [f'  {count:4d}  {kind}'
                  for kind, count in sorted(self.faults.items())]
        lines += [
            f'takeovers: {self.takeovers}, {self.contests} of them from a '
            f'process that was still there ({self.activations} activations)',
            f'longest gap: {self.gap:.1f} s; all back after '
            f'{self.recovery:.1f} s',
            f'sessions of one BMC at the end: at most {self.sessions}',
            f'slips at SIGCONT: {self.slips}; packets of sessions that had '
            f'lost SOL: {self.stale}; the observer was late by up to '
            f'{self.lag:.2f} s',
            f'times when processes had to be silent: {self.silences}',
            f'overlaps: {len(self.overlaps)}']
        lines += [f'  {fault}' for fault in self.wrong]
        lines += [f'not back: node {node}: {why}'
                  for node, why in self.missing.items()]
        lines += [f'wrong: {text}' for text in self.complaints]
        lines += [f'bytes of unknown processes: {self.unknown}'
                  ] * bool(self.unknown)
        lines += [f'note: {text}' for text in self.notes]
        lines.append('PASSED' if self.passed else 'FAILED')
        return '\n'.join(lines)


def run(backend: str, count: int, seed: int, directory: pathlib.Path,
        say: Say = print, group: bool = True, only: str = '') -> Verdict:
    """Break things in a cluster, and see who passes bytes.

    :param backend: what keeps the locks.
    :param count: how many faults.
    :param seed: of the schedule.
    :param directory: for records, and for logs if something was wrong.
    :param group: have another conductor group to move nodes to.
    :param only: a word in the names of the faults.
    """
    setting = schedule.Setting(
        _CONDUCTORS, _NODES, backend != 'file', group, cloud.TIMEOUT,
        only)
    plan = schedule.draw(setting, count, seed)
    verdict = Verdict(backend, seed, collections.Counter(
        one.kind.name for one in plan))
    with cloud.Cloud(backend, _CONDUCTORS, group, _NODES, directory
                     ) as plant:
        try:
            _run(plant, plan, verdict, say)
        finally:
            plant.keep_logs(directory)
    return verdict


def _run(plant: cloud.Cloud, plan: list[schedule.Planned],
         verdict: Verdict, say: Say) -> None:
    _wait_back(plant, verdict)
    begin = time.monotonic()
    say(f'the cluster is ready; time 0 is {begin:.3f}')
    hands = breaker.Breaker(plant)
    if not verdict.missing:
        _break(plan, hands, say, begin)
        say('all is healed')
        verdict.recovery = _wait_back(plant, verdict, hands)
    end = time.monotonic()
    verdict.seconds = end - begin
    status = plant.witness.status()
    verdict.lag = status['lag']
    verdict.sessions = max(
        node['sessions'] for node in status['nodes'].values())
    for node in plant.nodes:
        node.stop()
    plant.witness.stop()
    _judge(plant, hands, verdict, begin, end)


def _break(plan: list[schedule.Planned], hands: breaker.Breaker, say: Say,
           begin: float) -> None:
    order = itertools.count()
    todo: list[tuple[
        float, int, schedule.Planned, breaker.Heal | None]] = [
        (begin + one.at, next(order), one, None) for one in plan]
    heapq.heapify(todo)
    while todo:
        hands.revive()
        when, _, fault, heal = todo[0]
        now = time.monotonic()
        if when > now:
            time.sleep(min(_TICK, when - now))
            continue
        heapq.heappop(todo)
        if heal is None:
            say(f'{now - begin:7.1f} s  {fault.kind.name}, '
                f'{fault.target}, for {fault.duration:.1f} s')
            heal = hands.begin(fault)
            heapq.heappush(todo, (
                time.monotonic() + fault.duration, next(order), fault, heal))
        elif not heal():
            heapq.heappush(todo, (now + _RETRY, next(order), fault, heal))


def _wait_back(plant: cloud.Cloud, verdict: Verdict,
               hands: breaker.Breaker | None = None) -> float:
    """Wait until every console is in one place; seconds that it took."""
    begin = time.monotonic()
    since = {name: node['line'] for name, node in
             plant.witness.status()['nodes'].items()}
    while True:
        if hands is not None:
            hands.revive()
        verdict.missing = plant.missing(since)
        took = time.monotonic() - begin
        if not verdict.missing or took > RECOVERY:
            return took
        time.sleep(_RETRY)


def _judge(plant: cloud.Cloud, hands: breaker.Breaker, verdict: Verdict,
           begin: float, end: float) -> None:
    with plant.witness.records.open() as records:
        said = witness.Testimony(records)
    verdict.wrong, verdict.slips = said.faults(
        hands.continued, hands.silences)
    verdict.silences = len(hands.silences)
    verdict.takeovers, verdict.contests = said.takeovers()
    verdict.activations = sum(
        entry.what is checker.What.ACTIVATED for entry in said.passed)
    verdict.stale, verdict.unknown = said.stale, said.unknown
    verdict.gap = max(checker.longest_gap(
        said.shown(node.name), _windows(begin, end, node.off))
        for node in plant.nodes)
    verdict.complaints += [
        text for node in plant.nodes for text in node.complaints]
    verdict.notes += [f'a conductor ended by itself: {text}'
                      for text in hands.deaths]


def _windows(begin: float, end: float, off: list[tuple[float, float]]
             ) -> list[tuple[float, float]]:
    """What is left of a time without some others."""
    edges = [begin, *itertools.chain.from_iterable(sorted(off)), end]
    return list(zip(edges[::2], edges[1::2]))
