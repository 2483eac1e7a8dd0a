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

"""From what was seen to what is told: no clock, no process, no socket."""

import collections.abc
import dataclasses
import math
import statistics

#: Latencies, as percentiles of all samples together: name and fraction.
_PERCENTILES = (('p50', 0.50), ('p99', 0.99))

Points = collections.abc.Sequence[tuple[float, float]]


@dataclasses.dataclass
class Round:
    """What one console server did in one round.

    :param figures: by name; what was not measured is not there.
    :param samples: latencies in seconds, by name.
    :param wrong: streams that were not exact, one sentence each.
    """

    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    samples: dict[str, list[float]] = dataclasses.field(
        default_factory=dict)
    wrong: list[str] = dataclasses.field(default_factory=list)
    streams: int = 0

    def check(self, what: str, got: bytes, expected: bytes) -> None:
        """Compare a stream with what was sent."""
        self.streams += 1
        found = difference(got, expected)
        if found:
            self.wrong.append(f'{what}: {found}')


def difference(got: bytes, expected: bytes) -> str:
    """Where two byte strings part; '' when they are the same."""
    if got == expected:
        return ''
    at = next((index for index, (one, other) in enumerate(zip(got, expected))
               if one != other), min(len(got), len(expected)))
    return (f'{len(got)} bytes came of {len(expected)}; at byte {at} '
            f'{bytes(got[at:at + 60])!r} came instead of '
            f'{bytes(expected[at:at + 60])!r}')


def percentile(values: collections.abc.Iterable[float],
               fraction: float) -> float:
    """The value below which a fraction of all is, interpolated.

    :param fraction: from 0 to 1.
    :raises: ValueError when there are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError('no values')
    place = fraction * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(rounds: collections.abc.Iterable[Round]) -> dict[str, float]:
    """Figures of several rounds as one: the median of each.

    Samples of all rounds are put together, and given in milliseconds:
    ``attach`` as ``attach_p50`` and ``attach_p99``.
    """
    figures: dict[str, list[float]] = {}
    samples: dict[str, list[float]] = {}
    for each in rounds:
        for name, value in each.figures.items():
            figures.setdefault(name, []).append(value)
        for name, values in each.samples.items():
            samples.setdefault(name, []).extend(values)
    result = {name: statistics.median(values)
              for name, values in figures.items()}
    for name, values in samples.items():
        if values:
            for suffix, fraction in _PERCENTILES:
                result[f'{name}_{suffix}'] = 1000 * percentile(
                    values, fraction)
    return result


def exponent(points: Points) -> float:
    """The k of y = c * x**k that fits best (log-log, least squares).

    :raises: ValueError with fewer than two different x, or values that
        are not positive.
    """
    if any(x <= 0 or y <= 0 for x, y in points):
        raise ValueError('a power law needs positive values')
    return line([(math.log(x), math.log(y)) for x, y in points])[0]


def line(points: Points) -> tuple[float, float]:
    """The a and b of y = a * x + b that fits best.

    :raises: ValueError with fewer than two different x.
    """
    if len({x for x, _ in points}) < 2:
        raise ValueError('a fit needs two different sizes')
    fit = statistics.linear_regression(*zip(*points))
    return fit.slope, fit.intercept
