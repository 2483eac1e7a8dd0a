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

"""Benchmarks: the tables, and what counts as failed."""

import json

import pytest

from benchmarks import measure
from benchmarks import report


def column(name: str, **figures: float) -> report.Column:
    return report.Column(name, [measure.Round(figures, streams=4)])


def cells(text: str, label: str) -> list[str]:
    """The cells of a row, which two blanks part."""
    row = next(line for line in text.splitlines()
               if line.startswith(label + '  '))
    return [cell.strip() for cell in row[len(label):].split('  ')
            if cell.strip()]


def test_ratios_say_how_many_times_what_ours_costs() -> None:
    text = report.Table(200, [
        column('solconsole', cpu_steady=0.1, throughput=2.0),
        column('conman', cpu_steady=0.16, throughput=4.0),
        column('socat', cpu_steady=2.0, throughput=1.0)]).text()
    assert cells(text, 'CPU s per MB, steady') == [
        '0.100', '0.160 (1.6x)', '2.000 (20x)']
    # More is better: half of what the other passes is 0.5.
    assert cells(text, 'all at full speed, MB/s') == [
        '2.00', '4.00 (0.5x)', '1.00 (2x)']


def test_what_was_not_measured_has_no_figure_and_no_row() -> None:
    text = report.Table(1, [
        column('solconsole', start=0.5), column('conman')]).text()
    assert cells(text, 'start until all connected, s') == ['0.50', '-']
    assert 'echo' not in text


def test_who_cannot_run_is_not_left_out() -> None:
    table = report.Table(1000, [
        column('solconsole', start=0.5),
        report.Column('socat', unable='no memory')])
    assert cells(table.text(), 'start until all connected, s') == [
        '0.50', '-']
    assert 'socat cannot run here: no memory' in table.text()
    assert table.passed


def test_a_table_without_ours_compares_with_the_first() -> None:
    text = report.Table(8, [
        column('2 bridges', start=1.0), column('4 bridges', start=3.0)
    ]).text()
    assert cells(text, 'start until all connected, s') == [
        '1.00', '3.00 (3x)']


def test_a_stream_that_is_not_exact_fails_and_is_shown() -> None:
    wrong = measure.Round(wrong=['burst 7: 3 bytes came of 4'], streams=4)
    table = report.Table(4, [report.Column('solconsole', [wrong])])
    assert not table.passed
    assert cells(table.text(), 'streams exact') == ['3 of 4']
    assert 'solconsole NOT EXACT: burst 7: 3 bytes' in table.text()


def test_what_crashed_fails_and_is_shown() -> None:
    table = report.Table(4, [
        column('solconsole'), report.Column('conman', failures=['gone'])])
    assert not table.passed
    assert 'conman FAILED: gone' in table.text()


def test_a_round_that_was_repeated_is_no_failure_and_is_shown() -> None:
    table = report.Table(4, [report.Column(
        'conman', [measure.Round({'start': 1.0})], repeated=['3 of 4'])])
    assert table.passed
    assert 'conman: a round was begun again: 3 of 4' in table.text()


def test_slow_is_no_failure() -> None:
    assert report.Table(4, [
        column('solconsole', cpu_steady=99.0, echo_p99=9e9)]).passed


def test_a_table_as_data_has_figures_of_each_round() -> None:
    two = report.Column('solconsole', [
        measure.Round({'start': 1.0}, {'echo': [0.001]}),
        measure.Round({'start': 2.0})])
    data = json.loads(json.dumps(report.Table(4, [two]).to_json()))
    assert data['consoles'] == 4
    [one] = data['columns']
    assert [each['start'] for each in one['rounds']] == [1.0, 2.0]
    assert one['figures']['start'] == 1.5
    assert one['figures']['echo_p50'] == pytest.approx(1.0)


def test_growth_fits_totals_and_not_shares() -> None:
    # 10 MB and 50 kB more a console, and list in proportion to consoles
    tables = [report.Table(size, [column(
        'solconsole', pss_attached=(10_000 + 50 * size) / size,
        cpu_idle=0.2, list_ms=0.01 * size, attach_p50=1.0)])
        for size in (100, 300, 1000)]
    text, exponents = report.growth(tables)
    assert 0 < exponents['total_pss_attached'] < 1
    assert exponents['total_cpu_idle'] == pytest.approx(1.0)
    assert exponents['list_ms'] == pytest.approx(1.0)
    assert exponents['attach_p50'] == pytest.approx(0.0)
    assert cells(text, 'PSS MB, attached')[:3] == ['15.0', '25.0', '60.0']
    assert 'one console more: 50.00 kB PSS, attached' in text
    assert 'one console more: 0.20 CPU s an hour, idle' in text


def test_growth_leaves_out_what_failed() -> None:
    tables = [report.Table(100, [column('solconsole', start=1.0)]),
              report.Table(300, [report.Column(
                  'solconsole', failures=['gone'])])]
    text, exponents = report.growth(tables)
    assert exponents == {}
    assert '300 consoles: solconsole FAILED: gone' in text
