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

"""Which rings are believed, and when something is to be done."""

import types
import typing

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole.driver import ring
from tests.unit.driver import fakes


def manager(rings: dict[str, list[str]] | Exception) -> typing.Any:
    class RingManager:
        @property
        def ring(self) -> typing.Any:
            if isinstance(rings, Exception):
                raise rings
            return {key: types.SimpleNamespace(nodes=dict.fromkeys(hosts, 1))
                    for key, hosts in rings.items()}

    made: typing.Any = fakes.Manager()
    made.ring_manager = RingManager()
    return made


def test_rings_are_read() -> None:
    assert ring.read(manager({':ipmi': ['cond-a', 'cond-b'],
                              'g:redfish': ['cond-b']})) == {
        ':ipmi': frozenset({'cond-a', 'cond-b'}),
        'g:redfish': frozenset({'cond-b'})}


@pytest.mark.parametrize('rings', [
    {}, {':ipmi': []}, {':ipmi': ['cond-b']}, RuntimeError('away')])
def test_rings_without_this_conductor_are_not_known(
        rings: typing.Any) -> None:
    assert ring.read(manager(rings)) is None


def test_the_ring_of_a_conductor_that_starts_is_not_touched() -> None:
    """Ironic would keep it for 15 s, without this conductor in it."""
    starting = manager({':ipmi': ['cond-a']})
    starting._started = False
    starting.ring_manager = None
    assert ring.read(starting) is None


@pytest.mark.parametrize('flag', [None, False])
def test_the_end_of_a_conductor_is_seen_in_every_release(
        flag: bool | None) -> None:
    ending = manager({':ipmi': ['cond-a']})
    assert not ring.shutting_down(ending)
    ending._shutdown.set()
    assert ring.shutting_down(ending)
    ending._shutdown = flag
    assert not ring.shutting_down(ending)
    ending._shutdown = True
    assert ring.shutting_down(ending)
    assert ring.read(ending) is None


RINGS = st.dictionaries(
    st.sampled_from([':ipmi', 'g:ipmi']),
    st.frozensets(st.sampled_from(['cond-a', 'cond-b'])))


@given(RINGS, RINGS, st.floats(0, 100))
def test_it_is_due_at_first_at_changes_and_after_the_interval(
        seen: ring.Rings, now: ring.Rings, elapsed: float) -> None:
    due = ring.Due(15.0)
    assert due.due(1000.0, seen)
    due.done(1000.0, seen)
    assert not due.due(1000.0, dict(seen))
    assert due.due(1000.0 + elapsed, now) == (
        now != seen or 1000.0 + elapsed - 1000.0 >= 15.0)
