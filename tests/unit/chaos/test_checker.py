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

"""The judge of chaos runs: what it must see, and what it must not."""

import collections.abc
import itertools

import hypothesis
from hypothesis import strategies
import pytest

from tests.chaos import checker
from tests.chaos.checker import What

NODE = '1'
A, B = 100, 200

Story = list[tuple[float, int, What]]


def passed(*story: tuple[float, int, What], node: str = NODE
           ) -> list[checker.Passed]:
    """Records of one node."""
    return [checker.Passed(time, node, holder, what)
            for time, holder, what in story]


def found(*story: tuple[float, int, What]) -> list[checker.Fault]:
    """Overlaps in a story of one node."""
    return checker.overlaps(checker.intervals(passed(*story)))


def test_one_after_the_other_is_right() -> None:
    assert not found(
        (1, A, What.ACTIVATED), (2, A, What.SHOWN), (2, A, What.TAKEN),
        (3, B, What.ACTIVATED), (4, B, What.TAKEN),
        (5, A, What.ACTIVATED), (6, A, What.GIVEN))


@pytest.mark.parametrize(
    'what', [What.TAKEN, What.GIVEN, What.SHOWN])
def test_what_comes_late_overlaps(what: What) -> None:
    fault, = found((1, A, What.ACTIVATED), (2, A, What.TAKEN),
                   (3, B, What.ACTIVATED), (4, B, What.TAKEN), (5, A, what))
    assert fault.kind == 'overlap' and fault.node == NODE
    assert str(A) in fault.text and str(B) in fault.text


def test_a_late_byte_within_the_other_interval_overlaps() -> None:
    assert found((1, A, What.ACTIVATED), (3, B, What.ACTIVATED),
                 (4, A, What.SHOWN), (5, B, What.TAKEN))


def test_bytes_of_a_process_that_never_activated_overlap() -> None:
    assert found((1, A, What.ACTIVATED), (2, B, What.SHOWN),
                 (3, A, What.TAKEN))


def test_an_activation_within_the_other_interval_overlaps() -> None:
    assert found((1, A, What.ACTIVATED), (2, B, What.ACTIVATED),
                 (3, A, What.TAKEN))


def test_nodes_do_not_disturb_each_other() -> None:
    records = passed((1, A, What.ACTIVATED), (5, A, What.TAKEN))
    records += passed((2, B, What.ACTIVATED), (3, B, What.TAKEN), node='2')
    assert not checker.overlaps(checker.intervals(records))


def test_all_pairs_of_three_are_told() -> None:
    assert len(found(
        (1, 1, What.ACTIVATED), (2, 2, What.ACTIVATED),
        (3, 3, What.ACTIVATED), (4, 1, What.TAKEN), (5, 2, What.TAKEN),
        (6, 3, What.TAKEN))) == 3


stories = strategies.lists(strategies.tuples(
    strategies.integers(0, 40), strategies.sampled_from([1, 2, 3]),
    strategies.sampled_from(list(What)), strategies.sampled_from('ab')),
    max_size=30, unique_by=lambda entry: (entry[0], entry[3]))


def plainly(records: list[checker.Passed]) -> bool:
    """The rule in its plainest form: between two records of one activation
    there is none of another holder, and no activation has one of another
    holder around it.
    """
    for node in {entry.node for entry in records}:
        own = sorted((entry for entry in records if entry.node == node),
                     key=lambda entry: entry.time)
        for first, middle, last in itertools.combinations(own, 3):
            if first.holder == last.holder != middle.holder and not any(
                    entry.what is What.ACTIVATED
                    and entry.holder == first.holder
                    and first.time < entry.time <= last.time
                    for entry in own):
                return False
    return True


@hypothesis.given(stories)
def test_faults_are_found_as_by_the_plain_rule(
        story: list[tuple[int, int, What, str]]) -> None:
    records = [checker.Passed(time, node, holder, what)
               for time, holder, what, node in story]
    faults = checker.overlaps(checker.intervals(records))
    assert (not faults) == plainly(records)


@hypothesis.given(stories, strategies.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(
        story: list[tuple[int, int, What, str]],
        chance: collections.abc.MutableSequence[int]) -> None:
    records = [checker.Passed(time, node, holder, what)
               for time, holder, what, node in story]
    before = checker.intervals(records)
    chance.shuffle(records)         # type: ignore[attr-defined]
    assert checker.intervals(records) == before


@hypothesis.given(stories)
def test_every_record_is_in_one_interval(
        story: list[tuple[int, int, What, str]]) -> None:
    records = [checker.Passed(time, node, holder, what)
               for time, holder, what, node in story]
    made = checker.intervals(records)
    assert sum(one.count for one in made) == len(records)
    for entry in records:
        assert any(one.holder == entry.holder and one.node == entry.node
                   and one.begin <= entry.time <= one.end for one in made)


# The slip.

def slip(*, at: float, more: Story | None = None) -> list[checker.Fault]:
    """A is stopped at 2 and goes on at 8; B has it from 5 on."""
    records = passed((1, A, What.ACTIVATED), (2, A, What.TAKEN),
                     (5, B, What.ACTIVATED), (9, B, What.TAKEN),
                     (at, A, What.TAKEN), *(more or []))
    return checker.overlaps(checker.intervals(
        checker.without_slips(records, [(A, 8.0)])))


def test_what_was_on_its_way_when_it_stopped_is_no_fault() -> None:
    assert not slip(at=8.01)


def test_the_slip_is_one() -> None:
    assert slip(at=8.01, more=[(8.02, A, What.SHOWN)])


def test_the_slip_is_at_once() -> None:
    assert slip(at=8.2)


def test_an_activation_is_no_slip() -> None:
    assert slip(at=8.01, more=[(8.005, A, What.ACTIVATED)])


# Taken alive.

def alive(*states: tuple[float, str], activated: float = 10.1,
          by: int = B) -> list[checker.Fault]:
    """A loses it at 10."""
    lives = checker.Lives()
    for time, state in states:
        lives.add(A, time, state)
    return checker.taken_alive(
        passed((1, A, What.ACTIVATED), (activated, by, What.ACTIVATED)),
        [checker.Taken(10.0, NODE, A), checker.Taken(10.05, NODE, A)], lives)


def test_taken_from_a_process_that_ran() -> None:
    fault, = alive((1, 'runs'))
    assert fault.kind == 'taken alive'


@pytest.mark.parametrize('states', [
    [(1, 'runs'), (9.9, 'gone')],
    [(1, 'runs'), (10.2, 'gone')],          # seen a little late
    [(1, 'runs'), (5, 'stopped')],
    [(1, 'runs'), (5, 'stopped'), (9.5, 'runs')],
    [(1, 'runs'), (9, 'unsure'), (9.1, 'runs')],
    [],
], ids=str)
def test_taken_from_a_process_that_could_not_leave(
        states: list[tuple[float, str]]) -> None:
    assert not alive(*states)


def test_taken_from_one_that_had_time_since_it_went_on() -> None:
    assert alive((1, 'runs'), (5, 'stopped'), (7.5, 'runs'))


def test_one_that_takes_from_itself_robs_nobody() -> None:
    assert not alive((1, 'runs'), by=A)


def test_one_that_is_known_for_a_short_time_can_be_robbed() -> None:
    assert alive((9.5, 'runs'))


# Not fenced.

@pytest.mark.parametrize(('time', 'holder', 'right'), [
    (14.4, A, True),        # within what it may
    (15.0, A, False),
    (19.9, A, False),
    (20.1, A, True),        # over
    (15.0, B, True),        # of another conductor
])
def test_silence(time: float, holder: int, right: bool) -> None:
    faults = checker.unfenced(
        passed((time, holder, What.SHOWN), (9.0, A, What.SHOWN)),
        [checker.Silence('one', 10.0, 4.5, 20.0, 'the loss of the backend')],
        {A: 'one', B: 'other'})
    assert [fault.kind for fault in faults] == ['not fenced'] * (not right)


# Strays, gaps.

def test_strays() -> None:
    typed = {'a': (NODE, A), 'b': (NODE, A)}
    assert not checker.strays(typed, [(1, NODE, 'a', A)])
    for arrived in ([(1, NODE, 'a', B)], [(1, '2', 'a', A)],
                    [(1, NODE, 'c', A)],
                    [(1, NODE, 'a', A), (2, NODE, 'a', A)]):
        assert len(checker.strays(typed, arrived)) == 1


def test_the_longest_gap() -> None:
    times = [1.0, 2.0, 4.0, 20.0, 21.0]
    assert checker.longest_gap(times, [(0.0, 4.5), (19.0, 22.0)]) == 2.0
    assert checker.longest_gap(times, [(0.0, 22.0)]) == 16.0
    assert checker.longest_gap([], [(3.0, 10.0)]) == 7.0
    assert checker.longest_gap(times, []) == 0.0
