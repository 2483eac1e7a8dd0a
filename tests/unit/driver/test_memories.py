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

"""Which activation counts: that of the bridge, or that of the node."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole.driver import memories


def activation(at: float, session: int = 7) -> dict[str, object]:
    return {'session': session, 'user': 2, 'address': '192.0.2.1',
            'port': 623, 'at': at}


def test_a_memory_is_kept_as_it_was_told() -> None:
    store = memories.Memories(10)
    told = {'activation': None, 'refused': 'x', 'more': [1]}
    store.put('n', told)
    assert store.get('n') == told
    assert store.get('other') is None


@pytest.mark.parametrize(('told', 'stored', 'counts'), [
    (None, activation(5), 5), (activation(9), activation(5), 9),
    (activation(5), activation(9), 9), (activation(5), activation(5), 5)])
def test_the_newer_activation_counts(
        told: object, stored: object, counts: float) -> None:
    store = memories.Memories(10)
    store.put('n', {'activation': told, 'refused': 'x'})
    store.recall('n', stored)
    memory = store.get('n')
    assert memory is not None
    assert memory['activation']['at'] == counts
    assert memory['refused'] == 'x'


def test_an_activation_that_has_ended_here_does_not_come_back() -> None:
    store = memories.Memories(10)
    store.put('n', {'activation': activation(5)})
    store.put('n', {'activation': None})
    store.recall('n', activation(5))
    assert store.get('n') == {'activation': None}
    store.recall('n', activation(6))
    assert store.get('n') == {'activation': activation(6)}


def test_what_no_node_has_is_to_be_stored() -> None:
    store = memories.Memories(10)
    assert store.unrecorded() == []
    store.put('n', {'activation': activation(5)})
    store.put('other', {'activation': None})
    assert store.unrecorded() == ['n']
    store.postpone('n', 100.0)
    assert store.unrecorded(99.0) == []
    assert store.unrecorded(100.0) == ['n']
    pending = store.pending('n')
    assert pending == activation(5)
    store.recorded('n', pending)
    assert store.unrecorded(200.0) == []
    assert store.pending('n') is None


def test_what_was_told_meanwhile_is_to_be_stored_as_well() -> None:
    store = memories.Memories(10)
    store.put('n', {'activation': activation(5)})
    pending = store.pending('n')
    assert pending is not None
    store.put('n', {'activation': activation(6)})
    store.recorded('n', pending)
    assert store.unrecorded() == ['n']
    assert store.pending('n') == activation(6)


def test_a_session_that_outlives_a_stop_is_stored_again() -> None:
    """Parked for a moment: the bridge has nothing new to tell."""
    store = memories.Memories(10)
    store.put('n', {'activation': activation(5)})
    store.recorded('n', activation(5))
    store.forget('n')
    assert store.unrecorded() == []
    store.recall('n', None)
    assert store.pending('n') == activation(5)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(['session', 'user', 'address', 'port', 'at', 'x']),
        inner)))
def test_anything_else_is_no_activation(junk: object) -> None:
    store = memories.Memories(10)
    store.recall('n', junk)
    store.put('m', {'activation': junk})
    for node in ('n', 'm'):
        assert store.pending(node) is None or isinstance(junk, dict)
