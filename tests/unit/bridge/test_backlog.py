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

"""What waits to be sent to a viewer."""

from hypothesis import given
from hypothesis import strategies as st

from ironic_solconsole.bridge import backlog
from ironic_solconsole.bridge import terminal

STEPS = st.lists(st.one_of(
    st.binary(max_size=1024).map(lambda data: ('add', data)),
    st.text('aä│😀', max_size=300).map(
        lambda text: ('add', text.encode())),
    st.integers(8, 5000).map(lambda most: ('take', most)),
    st.integers(0, terminal.LIMIT).map(lambda count: ('back', count))),
    max_size=60)


@given(STEPS)
def test_it_gives_what_it_was_given(
        steps: list[tuple[str, bytes | int]]) -> None:
    queue, model = backlog.Backlog(), b''
    for what, value in steps:
        if isinstance(value, bytes):
            queue.add(value)
            model += value
        elif what == 'take' and model:
            data = queue.take(value)
            assert 0 < len(data) <= max(value, backlog.BLOCK)
            assert model.startswith(data)
            model = model[len(data):]
        elif what == 'back':
            count = queue.take_back(value)
            assert count == min(value, len(model))
            model = model[:len(model) - count]
        assert len(queue) == len(model)
    left = b''
    while queue:
        left += queue.take(100)
    assert left == model


@given(st.text('aä│😀', max_size=9000), st.integers(4, 3000))
def test_no_character_is_taken_in_part(text: str, most: int) -> None:
    queue = backlog.Backlog()
    data = text.encode()
    for at in range(0, len(data), 500):
        queue.add(data[at:at + 500])
    while queue:
        queue.take(most).decode()


def test_nothing_is_left_when_it_is_cleared() -> None:
    queue = backlog.Backlog()
    queue.add(b'x' * 10_000)
    queue.clear()
    assert not queue
    queue.add(b'y')
    assert queue.take(10) == b'y'
