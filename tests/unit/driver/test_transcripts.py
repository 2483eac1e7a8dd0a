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

"""Which nodes are gone, as far as transcripts go."""

import collections.abc
import typing

from ironic.conf import CONF
import pytest

from ironic_solconsole import conf
from ironic_solconsole import control
from ironic_solconsole.driver import bridges
from ironic_solconsole.driver import memories
from ironic_solconsole.driver import snapshot
from ironic_solconsole.driver import transcripts
from tests.unit.driver import fakes

A, B = 'a' * 8 + '-aaaa' * 3 + '-' + 'a' * 12, (
    'b' * 8 + '-bbbb' * 3 + '-' + 'b' * 12)


class Bridge:
    """A pool of them. What it answers: the nodes that have a transcript."""

    def __init__(self, nodes: object) -> None:
        self.nodes = nodes
        self.asked: list[control.Json] = []

    def clean_transcripts(self, args: control.Json) -> control.Json:
        self.asked.append(args)
        asks = not args['there'] and not args['gone']
        return {'nodes': self.nodes if asks else []}


@pytest.fixture
def directory() -> collections.abc.Iterator[None]:
    conf.register_opts(CONF)
    CONF.set_override('transcript_dir', '/consoles', conf.GROUP)
    yield
    CONF.clear_override('transcript_dir', conf.GROUP)


def only_b(nodes: typing.Iterable[str]) -> set[str]:
    """All nodes but B are gone."""
    return {B} & set(nodes)


def test_a_bridge_is_told_which_nodes_are_gone(directory: None) -> None:
    bridge = Bridge([A, B])
    cleaner = transcripts.Cleaner(bridge, 30)
    cleaner.look(only_b, 1000.0)
    assert bridge.asked[1:] == [
        {'there': [B], 'gone': [A], 'age': 30 * 86400.0}]
    cleaner.look(only_b, 1000.0 + transcripts.INTERVAL - 1)
    assert len(bridge.asked) == 2
    cleaner.look(only_b, 1000.0 + transcripts.INTERVAL)
    assert len(bridge.asked) == 4


@pytest.mark.parametrize('answer', [None, 'x'])
def test_without_an_answer_it_is_asked_again(
        directory: None, answer: object) -> None:
    bridge = Bridge(answer)
    cleaner = transcripts.Cleaner(bridge, 30)
    for now in (1000.0, 1015.0):
        cleaner.look(only_b, now)
    assert len(bridge.asked) == 2
    bridge.nodes = [A]
    cleaner.look(only_b, 1030.0)
    assert bridge.asked[-1]['gone'] == [A]


def test_kept_for_ever_nobody_is_asked(directory: None) -> None:
    bridge = Bridge([A])
    transcripts.Cleaner(bridge, 0).look(only_b, 1000.0)
    assert not bridge.asked


def test_without_transcripts_nobody_is_asked() -> None:
    conf.register_opts(CONF)
    bridge = Bridge([A])
    transcripts.Cleaner(bridge, 30).look(only_b, 1000.0)
    assert not bridge.asked


def test_no_transcript_is_gone_while_the_database_is(
        directory: None) -> None:
    def down(nodes: typing.Iterable[str]) -> set[str]:
        raise RuntimeError('no database')

    bridge = Bridge([A])
    cleaner = transcripts.Cleaner(bridge, 30)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            cleaner.look(down, 1000.0)
    assert all(not asked['gone'] for asked in bridge.asked)


def test_nodes_are_looked_for_in_batches() -> None:
    class Database:
        sizes: typing.ClassVar[list[int]] = []

        def get_nodeinfo_list(self, columns: list[str],
                              filters: dict[str, typing.Any]
                              ) -> list[tuple[str]]:
            assert columns == ['uuid'] and filters['include_children']
            self.sizes.append(len(filters['uuid_in']))
            return [(node,) for node in filters['uuid_in'] if node != A]

    manager = fakes.Manager()
    manager.dbapi = Database()  # type: ignore[attr-defined]
    nodes = [A, *(f'node-{number}' for number in range(1200))]
    assert snapshot.Snapshot(manager, {}).existing(nodes) == set(nodes) - {A}
    assert sorted(Database.sizes) == [201, 500, 500]


def test_with_no_bridge_there_is_no_answer() -> None:
    def never(number: int) -> typing.Any:
        raise AssertionError('a bridge was started to ask it')

    pool = bridges.BridgePool(
        never, 2, lambda *_: None, memories.Memories(10))
    assert pool.clean_transcripts({'there': [], 'gone': [], 'age': 1}) == {}
