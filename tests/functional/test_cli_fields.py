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

"""``list -f json`` and ``show -f json`` are what the documentation says."""

import collections.abc
import json
import pathlib
import re
import typing

import pytest

from tests.functional.test_cli import run_cli
from tests.functional.test_console import wait_viewers
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import viewers

_PAGE = (pathlib.Path(__file__).parents[2]
         / 'doc' / 'source' / 'cli' / 'index.rst')

_TYPES: dict[str, tuple[type, ...]] = {
    'string': (str,), 'integer': (int,), 'number': (int, float),
    'boolean': (bool,), 'null': (type(None),)}


def documented(table: str) -> dict[str, tuple[type, ...]]:
    """Fields and their types in a table of the page.

    :param table: its ``:name:``.
    """
    text = _PAGE.read_text()
    assert text.count(f':name: {table}\n') == 1, f'no table {table}'
    body = text.split(f':name: {table}\n')[1]
    body = re.split(r'\n(?=\S)', body)[0]
    rows = re.findall(
        r'^   \* - ``(\w+)``\n     - ([a-z ]+)\n     - \S', body, re.MULTILINE)
    # a row that is not understood must not go unnoticed
    assert len(rows) == body.count('   * - ') - 1, rows
    return {field: tuple(kind for word in words.split(' or ')
                         for kind in _TYPES[word])
            for field, words in rows}


def check_fields(got: collections.abc.Mapping[str, object],
                 wanted: dict[str, tuple[type, ...]]) -> None:
    """The same fields in the same order, with values of the types."""
    assert list(got) == list(wanted)
    for field, kinds in wanted.items():
        # bool is an int in Python, not in JSON
        assert type(got[field]) in kinds, (field, got[field], kinds)


@pytest.fixture
def rows(bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge
         ) -> collections.abc.Iterator[list[dict[str, typing.Any]]]:
    """Each console as list tells of it, and as show does."""
    up = bridge_support.make_spec(bmc, name='up')
    # waits for minutes, as BMCs lock accounts
    nameless = bridge_support.make_spec(bmc, password='wrong')
    bridge.connect(up)
    bridge.open(nameless)
    bridge.wait_state(nameless.node, 'waiting')
    where = ('--run-dir', bridge.run_dir)
    with viewers.Viewer(up.url):
        wait_viewers(bridge, 1)
        yield [{'list': row, 'show': json.loads(run_cli(
                    *where, 'show', row['node'], '-f', 'json').stdout)}
               for row in run_cli(*where, 'list', '-f', 'json').rows()]


def test_every_field_is_documented_with_its_type(
        rows: list[dict[str, typing.Any]]) -> None:
    in_list = documented('fields-of-list')
    in_show = documented('fields-of-show')
    assert len(rows) == 2
    for row in rows:
        check_fields(row['list'], in_list)
        check_fields(row['show'], {**in_list, **in_show})


def test_what_may_be_null_is_null_somewhere_and_is_not_elsewhere(
        rows: list[dict[str, typing.Any]]) -> None:
    fields = {**documented('fields-of-list'), **documented('fields-of-show')}
    for field, kinds in fields.items():
        if type(None) in kinds:
            seen = {row['show'][field] is None for row in rows}
            assert seen == {True, False}, (
                f'{field} is documented as a value or null', rows)
