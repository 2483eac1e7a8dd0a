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

"""Schedules of faults."""

import itertools

import hypothesis
from hypothesis import strategies

from tests.chaos import schedule

settings = strategies.builds(
    schedule.Setting, conductors=strategies.integers(1, 4),
    nodes=strategies.integers(1, 8), server=strategies.booleans(),
    group=strategies.booleans(), timeout=strategies.floats(5.0, 10.0))


@hypothesis.given(settings, strategies.integers(0, 40),
                  strategies.integers(0, 1000))
def test_a_schedule_keeps_the_rules(setting: schedule.Setting, count: int,
                                    seed: int) -> None:
    plan = schedule.draw(setting, count, seed)
    assert len(plan) == count
    assert plan == schedule.draw(setting, count, seed)
    assert plan == sorted(plan, key=lambda one: one.at)
    for one in plan:
        assert one.kind in setting.kinds()
        if one.kind.length is schedule.Length.LONG:
            assert one.duration > setting.timeout
        if one.kind.length is schedule.Length.SHORT:
            assert one.duration < setting.timeout
    for first, second in itertools.combinations(plan, 2):
        if first.hits & second.hits:
            assert first.end <= second.at, 'broken, and broken again'


@hypothesis.given(strategies.integers(0, 1000))
def test_a_long_schedule_has_all_kinds(seed: int) -> None:
    setting = schedule.Setting(2, 6, True, True, 6.0)
    kinds = {one.kind for one in schedule.draw(setting, 150, seed)}
    assert kinds == set(schedule.KINDS)


def test_without_a_server_none_is_broken() -> None:
    setting = schedule.Setting(2, 6, False, False, 6.0)
    targets = {kind.target for kind in setting.kinds()}
    assert schedule.Target.BACKEND not in targets
    assert schedule.Target.PATH not in targets
    assert schedule.Target.PATHS not in targets
    assert schedule.NODE_MOVE not in setting.kinds()
