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

"""Who may write at a console."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole.bridge import writers


def test_all_write_in_shared_mode_and_the_first_in_exclusive_mode() -> None:
    for exclusive, expected in ((False, 'ab'), (True, 'a')):
        who: writers.Writers[str] = writers.Writers(exclusive)
        who.came('a')
        who.came('b')
        assert [name for name in 'abc' if who.may_write(name)] == [
            *expected]
        who.left('a')
        assert who.may_write('b')
        assert not who.may_write('a')


@pytest.mark.parametrize('exclusive', [False, True])
def test_who_takes_the_right_writes_alone_until_he_gives_it_back(
        exclusive: bool) -> None:
    who: writers.Writers[str] = writers.Writers(exclusive)
    for name in 'abc':
        who.came(name)
    who.take('b')
    assert [name for name in 'abc' if who.may_write(name)] == ['b']
    who.give_back('c')          # not his
    assert who.may_write('b')
    who.take('c')
    assert [name for name in 'abc' if who.may_write(name)] == ['c']
    who.give_back('b')          # not his any more
    assert who.may_write('c')
    who.left('c')
    assert [name for name in 'abc' if who.may_write(name)] == [
        *('a' if exclusive else 'ab')]


def test_who_came_to_read_cannot_take_the_right() -> None:
    who: writers.Writers[str] = writers.Writers(False)
    who.came('a')
    who.take('b')
    assert who.may_write('a')
    assert not who.may_write('b')


@given(exclusive=st.booleans(), steps=st.lists(st.tuples(
    st.sampled_from(['came', 'left', 'take', 'give_back']),
    st.integers(0, 3))))
def test_somebody_may_write_as_long_as_anybody_is_there_who_wants_to(
        exclusive: bool, steps: list[tuple[str, int]]) -> None:
    who: writers.Writers[int] = writers.Writers(exclusive)
    there: list[int] = []
    for step, name in steps:
        if step == 'came' and name in there:
            continue
        getattr(who, step)(name)
        if step == 'came':
            there.append(name)
        elif step == 'left' and name in there:
            there.remove(name)
        may = [name for name in range(4) if who.may_write(name)]
        assert bool(may) == bool(there), (step, name)
        assert set(may) <= set(there)
        if exclusive:
            assert len(may) <= 1
    who.clear()
    assert not any(who.may_write(name) for name in range(4))
