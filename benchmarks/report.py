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

"""Tables, and the same as data: pure."""

import collections.abc
import dataclasses
import typing

from benchmarks import measure

#: The column that the others are compared with.
BASE = 'solconsole'


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of the table.

    :param more: whether more is better.
    """

    name: str
    label: str
    digits: int
    more: bool = False


METRICS = (
    Metric('throughput', 'all at full speed, MB/s', 2, more=True),
    Metric('cpu_burst', 'CPU s per MB, at full speed', 3),
    Metric('cpu_steady', 'CPU s per MB, steady', 3),
    Metric('steady_rate', 'the steady rate, MB/s', 3, more=True),
    Metric('echo_p50', 'key echo p50, ms', 2),
    Metric('echo_p99', 'key echo p99, ms', 2),
    Metric('attach_p50', 'attach to first byte p50, ms', 2),
    Metric('attach_p99', 'attach to first byte p99, ms', 2),
    Metric('start', 'start until all connected, s', 2),
    Metric('pss_idle', 'PSS kB per console, nobody there', 0),
    Metric('pss_attached', 'PSS kB per console, attached', 0),
    Metric('cpu_idle', 'CPU s per console-hour, idle', 2),
    Metric('list_ms', 'list, ms', 2),
    Metric('stop_ms', 'stop of one console, ms', 2),
)


@dataclasses.dataclass
class Column:
    """What one console server did.

    :param unable: why it could not run here.
    :param failures: what broke, one sentence a round.
    :param repeated: why rounds were begun again.
    """

    name: str
    rounds: list[measure.Round] = dataclasses.field(default_factory=list)
    unable: str = ''
    failures: list[str] = dataclasses.field(default_factory=list)
    repeated: list[str] = dataclasses.field(default_factory=list)

    @property
    def figures(self) -> dict[str, float]:
        """All rounds as one."""
        return measure.summary(self.rounds)

    @property
    def streams(self) -> int:
        """How many streams were compared with what was sent."""
        return sum(each.streams for each in self.rounds)

    @property
    def wrong(self) -> list[str]:
        """Streams that were not exact."""
        return [text for each in self.rounds for text in each.wrong]

    def to_json(self) -> dict[str, typing.Any]:
        """For a file."""
        return {'name': self.name, 'unable': self.unable,
                'failures': self.failures, 'repeated': self.repeated,
                'streams': self.streams,
                'wrong': self.wrong, 'figures': self.figures,
                'rounds': [each.figures for each in self.rounds]}


@dataclasses.dataclass
class Table:
    """Console servers side by side, with so many consoles."""

    consoles: int
    columns: list[Column]

    @property
    def passed(self) -> bool:
        """Whether nothing crashed and every stream was exact."""
        return not any(column.failures or column.wrong
                       for column in self.columns)

    def to_json(self) -> dict[str, typing.Any]:
        """For a file."""
        return {'consoles': self.consoles,
                'columns': [column.to_json() for column in self.columns]}

    def text(self) -> str:
        """The table, and below it what could not be measured."""
        figures = {column.name: column.figures for column in self.columns}
        base = figures.get(BASE) or next(iter(figures.values()))
        rounds = max(len(column.rounds) for column in self.columns)
        rows = [[f'{self.consoles} consoles, {rounds} rounds',
                 *(column.name for column in self.columns)]]
        for metric in METRICS:
            if any(metric.name in values for values in figures.values()):
                rows.append([metric.label, *(
                    _cell(metric, values, base)
                    for values in figures.values())])
        rows.append(['streams exact', *(
            f'{column.streams - len(column.wrong)} of {column.streams}'
            for column in self.columns)])
        return '\n'.join([*_aligned(rows), *self.remarks()])

    def remarks(self) -> list[str]:
        """What could not be measured, broke or was not exact."""
        remarks = []
        for column in self.columns:
            if column.unable:
                remarks.append(f'{column.name} cannot run here: '
                               f'{column.unable}')
            remarks += [f'{column.name}: a round was begun again: {text}'
                        for text in column.repeated]
            remarks += [f'{column.name} FAILED: {text}'
                        for text in column.failures]
            remarks += [f'{column.name} NOT EXACT: {text}'
                        for text in column.wrong[:5]]
        return remarks


def _cell(metric: Metric, figures: dict[str, float],
          base: dict[str, float]) -> str:
    if metric.name not in figures:
        return '-'
    value, ours = figures[metric.name], base.get(metric.name)
    text = f'{value:.{metric.digits}f}'
    if figures is base or not ours or not value:
        return text
    ratio = ours / value if metric.more else value / ours
    return f'{text} ({ratio:.2g}x)' if ratio < 10 else (
        f'{text} ({ratio:.0f}x)')


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ['  '.join([
        row[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in rows]
    return [lines[0], '-' * len(lines[0]), *lines[1:]]


def growth(tables: collections.abc.Sequence[Table]) -> tuple[
        str, dict[str, float]]:
    """How figures grow with the number of consoles.

    :param tables: of one column each, with different numbers.
    :returns: the table, and the exponent by name of the figure. The
        figures of memory and idle time are totals, not a console's share:
        1 is linear.
    """
    columns = [(table.consoles, _totals(table)) for table in tables
               if table.columns[0].rounds]
    rows = [['consoles', *(str(number) for number, _ in columns),
             'exponent']]
    exponents = {}
    for metric in (*_TOTALS, *(
            metric for metric in METRICS if metric.name not in _SHARES)):
        points = [(number, figures[metric.name])
                  for number, figures in columns
                  if figures.get(metric.name, 0.0) > 0]
        if len(points) < 2:
            continue
        exponents[metric.name] = measure.exponent(points)
        rows.append([metric.label, *(
            f'{figures[metric.name]:.{metric.digits}f}'
            for _, figures in columns),
            f'{exponents[metric.name]:.2f}'])
    remarks = [f'{table.consoles} consoles: {remark}'
               for table in tables for remark in table.remarks()]
    return '\n'.join(
        [*_aligned(rows), *_more(columns), *remarks]), exponents


_TOTALS = (
    Metric('total_pss_idle', 'PSS MB, nobody there', 1),
    Metric('total_pss_attached', 'PSS MB, attached', 1),
    Metric('total_cpu_idle', 'CPU ms per s, idle', 1),
    Metric('total_cpu_steady', 'CPU ms per s, steady', 1))

#: What stands among the totals, or is the plan's choice.
_SHARES = {'pss_idle', 'pss_attached', 'cpu_idle', 'cpu_steady',
           'steady_rate'}


def _totals(table: Table) -> dict[str, float]:
    """What all consoles cost together, beside each one's share."""
    figures = table.columns[0].figures
    number = table.consoles
    totals = {
        f'total_{name}': figures[name] * number / 1000
        for name in ('pss_idle', 'pss_attached') if name in figures}
    if 'cpu_idle' in figures:
        totals['total_cpu_idle'] = figures['cpu_idle'] * number / 3.6
    if 'cpu_steady' in figures:
        totals['total_cpu_steady'] = (
            1000 * figures['cpu_steady'] * figures['steady_rate'])
    return {**figures, **totals}


def _more(columns: list[tuple[int, dict[str, float]]]) -> list[str]:
    """What one console more costs: the slope of the totals."""
    lines = []
    for name, unit, scale in (
            ('total_pss_idle', 'kB PSS, nobody there', 1000),
            ('total_pss_attached', 'kB PSS, attached, scrollback full', 1000),
            ('total_cpu_idle', 'CPU s an hour, idle', 3.6)):
        points = [(number, figures[name]) for number, figures in columns
                  if name in figures]
        if len(points) > 1:
            slope, _ = measure.line(points)
            lines.append(f'one console more: {slope * scale:.2f} {unit}')
    return lines
