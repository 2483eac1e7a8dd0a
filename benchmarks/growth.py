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

"""How our costs grow with consoles, and what more bridges change."""

import collections.abc
import dataclasses
import time

from benchmarks import measure
from benchmarks import phases
from benchmarks import report
from benchmarks import runner
from benchmarks.contenders import bridge

#: Numbers of consoles.
SIZES = (100, 300, 1000)

#: Numbers of bridges.
BRIDGES = (1, 2, 4)

#: Bytes a second from each host, whatever their number.
_RATE = 500.0

#: How often list and stop are measured.
_CALLS = 20

Say = collections.abc.Callable[[str], None]


def by_consoles(sizes: collections.abc.Iterable[int], plan: phases.Plan,
                rounds: int, say: Say) -> list[report.Table]:
    """The same for each number of consoles, with one bridge."""
    plan = dataclasses.replace(
        plan, console_rate=_RATE, rate=float('inf'))
    return [runner.compare(
        size, [bridge.Solconsole()], plan, rounds, say, _calls)
        for size in sizes]


def by_bridges(consoles: int, plan: phases.Plan, rounds: int, say: Say
               ) -> report.Table:
    """The same consoles, shared by more and more bridges."""
    return runner.compare(
        consoles, [bridge.Solconsole(count) for count in BRIDGES], plan,
        rounds, say, _calls)


def _calls(contender: bridge.Solconsole, result: measure.Round) -> None:
    """What list and a stop take, in milliseconds: the median."""
    def times(call: collections.abc.Callable[[int], object],
              count: int) -> list[float]:
        took = []
        for index in range(count):
            began = time.perf_counter()
            call(index)
            took.append(1000 * (time.perf_counter() - began))
        return took

    consoles = len(contender.consoles())
    result.figures['list_ms'] = measure.percentile(
        times(lambda _: contender.consoles(), _CALLS), 0.5)
    result.figures['stop_ms'] = measure.percentile(
        times(contender.close, min(_CALLS, consoles)), 0.5)
