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

"""Benchmarks: whose turn it is, and what is tried again."""

import collections.abc
import dataclasses

import pytest

from benchmarks import contenders
from benchmarks import fleet
from benchmarks import measure
from benchmarks import phases
from benchmarks import report
from benchmarks import runner


@dataclasses.dataclass
class Server:
    """A console server of which only the name matters here."""

    name: str
    why_not: str = ''

    def missing(self, consoles: int) -> str:
        return self.why_not


class NoFleet:
    """Counts how often the BMCs were made anew."""

    resets = 0

    def __init__(self, consoles: int) -> None:
        type(self).resets = 0

    def __enter__(self) -> 'NoFleet':
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def reset(self) -> None:
        type(self).resets += 1


Fake = collections.abc.Callable[[str, phases.Plan], None]


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch
           ) -> collections.abc.Callable[..., list[report.Column]]:
    """Runs servers, with a function in place of what is measured."""
    monkeypatch.setattr(fleet, 'Fleet', NoFleet)

    def compare(servers: list[Server], count: int, fake: Fake
                ) -> list[report.Column]:
        def run(server: Server, fleet: NoFleet, plan: phases.Plan,
                extra: object) -> measure.Round:
            fake(server.name, plan)
            return measure.Round()

        monkeypatch.setattr(phases, 'run', run)
        return runner.compare(
            4, servers, phases.Plan(idle=7.0), count,    # type: ignore
            lambda text: None).columns

    return compare


def test_another_one_is_first_each_time_and_idleness_comes_once(
        rounds: collections.abc.Callable[..., list[report.Column]]) -> None:
    seen: list[tuple[str, float]] = []
    columns = rounds([Server('a'), Server('b')], 3,
                     lambda name, plan: seen.append((name, plan.idle)))
    assert [name for name, _ in seen] == ['a', 'b', 'b', 'a', 'a', 'b']
    assert [idle for _, idle in seen] == [7.0, 7.0, 0.0, 0.0, 0.0, 0.0]
    assert [len(column.rounds) for column in columns] == [3, 3]
    assert NoFleet.resets == 5


def test_who_cannot_run_is_not_started(
        rounds: collections.abc.Callable[..., list[report.Column]]) -> None:
    seen: list[str] = []
    columns = rounds([Server('a', 'no memory'), Server('b')], 2,
                     lambda name, plan: seen.append(name))
    assert seen == ['b', 'b']
    assert columns[0].unable == 'no memory'


def test_who_has_failed_is_not_tried_again_and_the_others_are(
        rounds: collections.abc.Callable[..., list[report.Column]]) -> None:
    def fake(name: str, plan: phases.Plan) -> None:
        assert name != 'a', 'gone'

    columns = rounds([Server('a'), Server('b')], 2, fake)
    assert [len(column.failures) for column in columns] == [1, 0]
    assert 'gone' in columns[0].failures[0]
    assert len(columns[1].rounds) == 2


def test_who_is_not_connected_for_once_is_tried_again(
        rounds: collections.abc.Callable[..., list[report.Column]]) -> None:
    tries = iter([False, True, True])

    def fake(name: str, plan: phases.Plan) -> None:
        if not next(tries):
            raise contenders.NotConnected('3 of 4')

    [column] = rounds([Server('a')], 2, fake)
    assert column.repeated == ['3 of 4']
    assert len(column.rounds) == 2 and not column.failures


def test_who_is_never_connected_cannot_run(
        rounds: collections.abc.Callable[..., list[report.Column]]) -> None:
    def fake(name: str, plan: phases.Plan) -> None:
        raise contenders.NotConnected('3 of 4')

    [column] = rounds([Server('a')], 2, fake)
    assert column.unable and not column.failures and not column.rounds
