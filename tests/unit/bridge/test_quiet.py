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

"""One log line a minute for each source, and a count of the others."""

from ironic_solconsole.bridge import quiet


def test_one_of_a_minute_is_told_and_the_next_says_how_many_were_not(
        ) -> None:
    events = quiet.Quiet()
    told = [events.note('a', second) for second in range(0, 121, 20)]
    assert told == [0, None, None, 2, None, None, 2]


def test_sources_are_told_of_apart() -> None:
    events = quiet.Quiet()
    assert events.note('a', 0.0) == 0
    assert events.note('b', 0.0) == 0
    assert events.note('a', 1.0) is None


def test_no_more_sources_are_remembered_than_said() -> None:
    events = quiet.Quiet()
    for number in range(quiet.MAX_SOURCES + 100):
        assert events.note(str(number), 0.0) == 0
    assert len(events._told) == quiet.MAX_SOURCES
    assert events.note('0', 1.0) == 0, 'the oldest was not forgotten'
    assert events.note(str(quiet.MAX_SOURCES + 99), 1.0) is None
