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

"""Rounds in turn: every console server with the same machines."""

import collections.abc
import dataclasses
import gc
import sys
import traceback
import typing

from benchmarks import contenders
from benchmarks import fleet as fleets
from benchmarks import measure
from benchmarks import phases
from benchmarks import report

#: How often a round is tried whose console server is not connected to all.
_TRIES = 3

Extra = collections.abc.Callable[[typing.Any, measure.Round], None]


def compare(consoles: int,
            servers: collections.abc.Sequence[contenders.Contender],
            plan: phases.Plan, rounds: int,
            say: collections.abc.Callable[[str], None],
            extra: Extra | None = None) -> report.Table:
    """Measure console servers with so many consoles.

    In each round another one is first. What nothing passes costs is
    measured in the first round only, because it takes longest. A server
    that has failed is not tried again.

    :param extra: called at the end of each round, while the server runs.
    """
    columns = [report.Column(server.name, unable=server.missing(consoles))
               for server in servers]
    table = report.Table(consoles, columns)
    pairs = list(zip(servers, columns))
    if all(column.unable for column in columns):
        return table
    with fleets.Fleet(consoles) as fleet:
        used = False
        for number in range(rounds):
            first = number % len(pairs)
            for server, column in pairs[first:] + pairs[:first]:
                if column.unable or column.failures:
                    continue
                if used:
                    fleet.reset()
                used = True
                say(f'{consoles} consoles, round {number + 1} of {rounds}: '
                    f'{column.name}')
                _round(server, column, fleet, plan if number == 0
                       else dataclasses.replace(plan, idle=0.0), extra)
    return table


def _round(server: contenders.Contender, column: report.Column,
           fleet: fleets.Fleet, plan: phases.Plan, extra: Extra | None
           ) -> None:
    # A pause for garbage would count as latency.
    gc.collect()
    gc.disable()
    try:
        for _ in range(_TRIES):
            try:
                column.rounds.append(phases.run(
                    server, fleet, plan, None if extra is None else
                    lambda result: extra(server, result)))
                return
            except contenders.NotConnected as error:
                column.repeated.append(str(error))
                fleet.reset()
        column.unable = f'it was not connected in {_TRIES} tries'
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        column.failures.append(f'{type(error).__name__}: {error}'[:500])
    finally:
        gc.enable()
