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

"""Which addresses may connect."""

import logging

import pytest

from ironic_solconsole.bridge import access


@pytest.mark.parametrize(('networks', 'address', 'admitted'), [
    ([], '192.0.2.1', True),
    ([], '', True),
    (['192.0.2.0/24'], '192.0.2.1', True),
    (['192.0.2.0/24'], '192.0.3.1', False),
    (['192.0.2.0/24'], '::ffff:192.0.2.1', True),
    (['192.0.2.0/24'], '2001:db8::1', False),
    (['192.0.2.0/24', '2001:db8::/64'], '2001:db8::1', True),
    (['::ffff:192.0.2.0/120'], '192.0.2.1', True),
    (['::ffff:192.0.2.0/120'], '::ffff:192.0.2.1', True),
    (['::ffff:192.0.2.0/120'], '192.0.3.1', False),
    (['::/0'], '2001:db8::1', True),
    (['::/0'], '192.0.2.1', False),
    (['fe80::/10'], 'fe80::1%eth0', True),
    (['192.0.2.7'], '192.0.2.7', True),
    (['192.0.2.0/24'], '', False),
])
def test_only_who_is_of_an_allowed_network_may_come(
        networks: list[str], address: str, admitted: bool) -> None:
    assert access.Gate(networks).admits(address) is admitted


@pytest.mark.parametrize('network', ['', 'x', '192.0.2.1/24', '1.2.3.4/33'])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError):
        access.Gate([network])


def test_a_source_has_one_line_a_minute(
        caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    gate = access.Gate(['192.0.2.0/24'])
    for second in range(0, 120, 10):
        gate.log_refused('198.51.100.1', second, {})
        gate.log_refused('198.51.100.2', second, {})
    lines = [record.getMessage() for record in caplog.records]
    assert [sum(f'from 198.51.100.{last} ' in line for line in lines)
            for last in (1, 2)] == [2, 2]
    assert ' 5 more of this source' in lines[-1]


def test_who_is_turned_away_has_one_line_a_minute_and_console(
        caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    gate = access.Gate()
    for second in range(0, 120, 10):
        for node in ('a', 'b'):
            gate.log_turned_away(
                '198.51.100.1', 'no room', second, {'node': node})
    assert [record.getMessage() for record in caplog.records] == [
        'A viewer from 198.51.100.1 was turned away: no room. 0 more of '
        'this source were not told.'] * 2 + [
        'A viewer from 198.51.100.1 was turned away: no room. 5 more of '
        'this source were not told.'] * 2
