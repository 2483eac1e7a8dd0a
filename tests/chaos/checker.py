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

"""Did two processes ever pass bytes of one console at the same time?

A *holder* is a process, by its pid. It *passes bytes* of a node when

* a BMC gets an Activate Payload from it and accepts it;
* a BMC gets a SOL packet from it that carries characters, or that
  acknowledges characters, whether or not its session still has SOL;
* it writes characters of the host to a viewer.

What counts is only what the process itself did. Datagrams that a BMC sends
to it do not: they wait in the buffer of a process that is stopped. Nor do
notices, commands (keepalives, logout) and acknowledgments of nothing.

**When.** A BMC of ours has one socket, so that the order in which it takes
packets is the order in which they were sent, however late it runs. Bytes at
a viewer have the time at which the kernel put them into the viewer's
buffer, which over loopback is when the process sent them: neither a viewer
that reads late nor a process that was stopped after it had sent moves them.
A BMC that runs late can only make the *begin* of its next holder later, by
milliseconds, and nothing of the holder before earlier. So an overlap that
is seen is real.

**Intervals.** An activation of a holder and all that it passes until its
next one of the same node are one interval, from the first to the last of
them. What comes late, after somebody else was there, stretches the interval
of the holder over his: an overlap. A holder that has lost a node and has it
again has a new activation and so a new interval.

**Taken alive.** Two processes that know of no lock at all, and take SOL from
each other at the BMC, would have intervals side by side. So it is a fault as
well if an activation is ended by the session of another process, while its
own was there and ran, all of the last seconds: it should have left before.

**Not fenced.** Whether or not somebody else comes: a process that has not
reached the backend for the TTL less the margin, whose conductor has not
spoken for its timeout, or whose conductor is dead, passes nothing until that
is over.

**Strays.** What is typed at a listener must reach the host through a session
of the very process that listens.

**The slip.** A process that is stopped between its last check and the system
call sends that one datagram, or writes to that one viewer, when it goes on.
It is one a pause and at the very moment; it is counted apart.
"""

import bisect
import collections
import collections.abc
import dataclasses
import enum
import itertools

#: Seconds that a process has for leaving its BMCs once it runs again.
GRACE = 2.0

#: Seconds after which a process that died or stopped has been seen to.
SEEN_WITHIN = 0.3

#: Seconds after SIGCONT in which a system call that was on its way is done.
SLIP_WITHIN = 0.05

#: Kinds of faults that are two holders at a time.
TWO_HOLDERS = ('overlap', 'taken alive')

Pid = int


class What(enum.StrEnum):
    """How bytes were passed."""

    ACTIVATED = 'SOL activated'
    TAKEN = 'characters of the host acknowledged'
    GIVEN = 'characters sent to the BMC'
    SHOWN = 'characters written to a viewer'


@dataclasses.dataclass(frozen=True)
class Passed:
    """A process passed bytes.

    :param time: seconds of time.monotonic(), as everywhere here.
    :param stale: the BMC did not take it: the session had no SOL any more.
    """

    time: float
    node: str
    holder: Pid
    what: What
    stale: bool = False


@dataclasses.dataclass(frozen=True)
class Taken:
    """A session ended the activation of another one."""

    time: float
    node: str
    holder: Pid         # who had it


@dataclasses.dataclass(frozen=True)
class Interval:
    """From the first to the last bytes of one activation."""

    node: str
    holder: Pid
    begin: float
    end: float
    count: int
    last: What

    def meets(self, other: 'Interval') -> bool:
        """Whether both lasted at some moment."""
        return not (self.end <= other.begin or other.end <= self.begin)


@dataclasses.dataclass(frozen=True)
class Fault:
    """Two holders where there must be one.

    :param kind: 'overlap', 'taken alive', 'not fenced' or 'stray'.
    """

    kind: str
    time: float
    node: str
    text: str

    def __str__(self) -> str:
        return f'{self.time:.3f} {self.kind}: node {self.node}: {self.text}'


@dataclasses.dataclass(frozen=True)
class Silence:
    """A time for which a process must pass nothing.

    :param conductor: of the process.
    :param begin: when it was cut off.
    :param after: seconds that it may go on.
    :param end: when it was over.
    :param why: for people.
    """

    conductor: str
    begin: float
    after: float
    end: float
    why: str


class Lives:
    """When processes ran.

    Made of looks at them: what is not known counts as not running.
    """

    RUNS = 'runs'
    GONE = 'gone'

    def __init__(self) -> None:
        self._times: dict[Pid, list[float]] = collections.defaultdict(list)
        self._states: dict[Pid, list[str]] = collections.defaultdict(list)

    def add(self, pid: Pid, time: float, state: str) -> None:
        """A process is first seen in a state; to be called in order."""
        self._times[pid].append(time)
        self._states[pid].append(state)

    def ran(self, pid: Pid, since: float, until: float) -> bool:
        """Whether a process ran all the time, as long as it is known."""
        times = self._times.get(pid)
        if not times:
            return False
        first = max(0, bisect.bisect_right(times, since) - 1)
        end = bisect.bisect_right(times, until + SEEN_WITHIN)
        states = self._states[pid][first:end]
        return bool(states) and all(state == self.RUNS for state in states)

    def there(self, pid: Pid, time: float) -> bool:
        """Whether a process had not ended."""
        at = bisect.bisect_right(self._times.get(pid, []), time)
        return self.GONE not in self._states.get(pid, [])[:at]


def intervals(passed: collections.abc.Iterable[Passed]) -> list[Interval]:
    """The intervals of all holders, by node and begin."""
    lasting: dict[tuple[str, Pid], Interval] = {}
    done: list[Interval] = []
    for entry in sorted(passed, key=lambda entry: entry.time):
        key = entry.node, entry.holder
        before = lasting.get(key)
        if before is None or entry.what is What.ACTIVATED:
            if before is not None:
                done.append(before)
            lasting[key] = Interval(entry.node, entry.holder, entry.time,
                                    entry.time, 1, entry.what)
        else:
            lasting[key] = dataclasses.replace(
                before, end=entry.time, count=before.count + 1,
                last=entry.what)
    done += lasting.values()
    return sorted(done, key=lambda one: (one.node, one.begin, one.end))


def overlaps(found: collections.abc.Iterable[Interval]) -> list[Fault]:
    """Every pair of intervals of one node and two holders that meet.

    :param found: by node and begin, as intervals() gives them.
    """
    faults: list[Fault] = []
    open_ones: list[Interval] = []
    for one in found:
        open_ones = [other for other in open_ones
                     if other.node == one.node and other.end > one.begin]
        for other in open_ones:
            if other.holder != one.holder and one.meets(other):
                faults.append(Fault(
                    'overlap', one.begin, one.node,
                    f'{_describe(other)} and {_describe(one)}'))
        open_ones.append(one)
    return faults


def _describe(one: Interval) -> str:
    return (f'process {one.holder} from {one.begin:.3f} to {one.end:.3f} '
            f'({one.count} times, last: {one.last})')


def without_slips(passed: collections.abc.Sequence[Passed],
                  continued: collections.abc.Iterable[tuple[Pid, float]]
                  ) -> list[Passed]:
    """Leave out what was on its way when a process was stopped.

    :param continued: processes, and when they were let go on.
    """
    by_holder: dict[Pid, list[Passed]] = collections.defaultdict(list)
    for entry in sorted(passed, key=lambda entry: entry.time):
        by_holder[entry.holder].append(entry)
    slips: set[int] = set()
    for pid, time in continued:
        own = by_holder.get(pid, [])
        at = bisect.bisect_left(own, time, key=lambda entry: entry.time)
        if at < len(own) and own[at].time <= time + SLIP_WITHIN and (
                own[at].what is not What.ACTIVATED):
            slips.add(id(own[at]))
    return [entry for entry in passed if id(entry) not in slips]


def taken_alive(passed: collections.abc.Iterable[Passed],
                taken: collections.abc.Iterable[Taken],
                lives: Lives) -> list[Fault]:
    """Activations that a process lost to another while it ran."""
    starts: dict[str, list[Passed]] = collections.defaultdict(list)
    for entry in sorted(passed, key=lambda entry: entry.time):
        if entry.what is What.ACTIVATED:
            starts[entry.node].append(entry)
    faults: list[Fault] = []
    told: set[int] = set()
    for loss in taken:
        own = starts[loss.node]
        at = bisect.bisect_right(own, loss.time,
                                 key=lambda entry: entry.time)
        if at == len(own) or id(own[at]) in told:
            continue            # the activation, then its session as well
        told.add(id(own[at]))
        # One that ends its own session, and activates again, robs nobody.
        if own[at].holder != loss.holder and lives.ran(
                loss.holder, loss.time - GRACE, loss.time):
            faults.append(Fault(
                'taken alive', loss.time, loss.node,
                f'process {loss.holder} ran and had it; process '
                f'{own[at].holder} activated at {own[at].time:.3f}'))
    return faults


def unfenced(passed: collections.abc.Iterable[Passed],
             silences: collections.abc.Iterable[Silence],
             conductors: collections.abc.Mapping[Pid, str]) -> list[Fault]:
    """What processes passed that should have been silent.

    :param conductors: of each process.
    """
    ordered = sorted(passed, key=lambda entry: entry.time)
    faults: list[Fault] = []
    for silence in silences:
        first = bisect.bisect_right(
            ordered, silence.begin + silence.after + SEEN_WITHIN,
            key=lambda entry: entry.time)
        last = bisect.bisect_left(ordered, silence.end,
                                  key=lambda entry: entry.time)
        for entry in ordered[first:last]:
            if conductors.get(entry.holder) == silence.conductor:
                late = entry.time - silence.begin
                faults.append(Fault(
                    'not fenced', entry.time, entry.node,
                    f'process {entry.holder}: {entry.what}, {late:.2f} s '
                    f'after {silence.why}, {silence.after:g} s allowed'))
                break
    return faults


def strays(typed: collections.abc.Mapping[str, tuple[str, Pid]],
           arrived: collections.abc.Iterable[tuple[float, str, str, Pid]]
           ) -> list[Fault]:
    """What was typed at one process, and came through another or twice.

    :param typed: token: node and process that was typed at.
    :param arrived: time, node, token and process.
    """
    faults: list[Fault] = []
    seen: dict[str, float] = {}
    for time, node, token, holder in arrived:
        if token in seen:
            faults.append(Fault('stray', time, node, (
                f'{token} came at {seen[token]:.3f} already')))
        seen.setdefault(token, time)
        if token not in typed:
            faults.append(Fault('stray', time, node, (
                f'{token} came from process {holder}, and nobody typed it')))
        elif typed[token] != (node, holder):
            faults.append(Fault('stray', time, node, (
                f'{token} was typed at {typed[token]} and came through '
                f'process {holder}')))
    return faults


def longest_gap(times: collections.abc.Iterable[float],
                windows: collections.abc.Iterable[tuple[float, float]]
                ) -> float:
    """The longest time without bytes.

    :param times: when bytes passed.
    :param windows: when some should, from and to.
    """
    when = sorted(times)
    longest = 0.0
    for begin, end in windows:
        low = bisect.bisect_right(when, begin)
        high = bisect.bisect_left(when, end)
        marks = [begin, *when[low:high], end]
        longest = max([longest, *(
            after - before for before, after in itertools.pairwise(marks))])
    return longest
