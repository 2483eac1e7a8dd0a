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

"""Benchmarks: percentiles, fits, rounds and the comparison of streams."""

import math
import random

from hypothesis import given
from hypothesis import strategies
import pytest

from benchmarks import measure
from benchmarks import phases

FLOATS = strategies.floats(-1e6, 1e6)


def test_a_percentile_lies_between_its_neighbours() -> None:
    values = [40.0, 10.0, 30.0, 20.0]
    assert measure.percentile(values, 0.0) == 10.0
    assert measure.percentile(values, 1.0) == 40.0
    assert measure.percentile(values, 0.5) == 25.0
    assert measure.percentile([7.0], 0.99) == 7.0


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match='no values'):
        measure.percentile([], 0.5)


@given(strategies.lists(FLOATS, min_size=1), strategies.floats(0, 1))
def test_a_percentile_has_its_fraction_below_it(
        values: list[float], fraction: float) -> None:
    found = measure.percentile(values, fraction)
    assert min(values) - 1e-6 <= found <= max(values) + 1e-6
    below = sum(value < found - 1e-6 for value in values)
    assert below <= fraction * (len(values) - 1) + 1


@given(strategies.floats(-3, 3), strategies.floats(1e-3, 1e3))
def test_the_exponent_of_a_power_law_is_found(
        power: float, factor: float) -> None:
    points = [(x, factor * x ** power) for x in (100, 300, 1000)]
    assert measure.exponent(points) == pytest.approx(power, abs=1e-6)


def test_an_exponent_needs_sizes_that_differ_and_positive_values() -> None:
    with pytest.raises(ValueError, match='two different'):
        measure.exponent([(100, 1.0), (100, 2.0)])
    with pytest.raises(ValueError, match='positive'):
        measure.exponent([(100, 0.0), (300, 2.0)])


def test_a_line_has_a_slope_and_a_beginning() -> None:
    slope, rest = measure.line([(1, 5.0), (2, 7.0), (4, 11.0)])
    assert (slope, rest) == (pytest.approx(2.0), pytest.approx(3.0))


def test_a_summary_has_medians_and_percentiles_in_milliseconds() -> None:
    rounds = [
        measure.Round({'cpu': 3.0}, {'echo': [0.001, 0.002]}),
        measure.Round({'cpu': 1.0, 'idle': 5.0}, {'echo': [0.003]}),
        measure.Round({'cpu': 2.0}, {'echo': []})]
    assert measure.summary(rounds) == {
        'cpu': 2.0, 'idle': 5.0, 'echo_p50': pytest.approx(2.0),
        'echo_p99': pytest.approx(2.98)}


def test_streams_that_are_the_same_differ_nowhere() -> None:
    assert measure.difference(b'', b'') == ''
    assert measure.difference(b'login: ', b'login: ') == ''


@pytest.mark.parametrize(('got', 'where'), [
    (b'01234', 'byte 5'),               # the end is missing
    (b'0123456789x', 'byte 10'),        # more than was sent
    (b'0123456798', 'byte 8'),          # out of order
    (b'0122345678', 'byte 3'),          # doubled
    (b'', 'byte 0')])
def test_a_difference_names_its_place(got: bytes, where: str) -> None:
    text = measure.difference(got, b'0123456789')
    assert where in text
    assert f'{len(got)} bytes came of 10' in text


@given(strategies.binary(min_size=1), strategies.randoms())
def test_any_changed_byte_is_noticed(
        data: bytes, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    changed = bytearray(data)
    changed[at] ^= chance.randrange(1, 256)
    assert f'at byte {at} ' in measure.difference(changed, data)


def test_a_round_counts_its_streams_and_says_which_one_is_wrong() -> None:
    result = measure.Round()
    result.check('burst 1', b'abc', b'abc')
    result.check('burst 2', b'abd', b'abc')
    assert result.streams == 2
    assert len(result.wrong) == 1 and 'burst 2' in result.wrong[0]


@pytest.mark.parametrize('consoles', [1, 100, 500, 1000])
def test_no_plan_asks_more_than_a_serial_line_or_the_machine_carries(
        consoles: int) -> None:
    plan = phases.Plan()
    rate = plan.rate_of(consoles)
    assert 0 < rate <= phases.LINE_RATE
    assert rate * consoles <= plan.rate * (1 + 1e-9)
    assert math.floor(plan.burst_of(consoles)) * consoles <= plan.burst
