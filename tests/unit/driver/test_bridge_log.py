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

"""No line in the conductor's log is forged by a BMC or a tenant."""

import logging
import typing

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ironic_solconsole import control
from ironic_solconsole.driver import bridge_log

NODE = '11111111-1111-4111-8111-111111111111'


def emit(**data: typing.Any) -> None:
    values = {'level': logging.WARNING, 'node': NODE, 'dropped': 0,
              'logger': 'ironic_solconsole.sol.link', 'message': 'text'}
    bridge_log.emit(control.Event('log', {**values, **data}), 2)


@given(st.text())
def test_text_from_outside_stays_in_its_line(text: str) -> None:
    shown = bridge_log.printable(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


def test_long_text_is_cut_with_its_length() -> None:
    assert bridge_log.printable('x' * 5000, 10) == (
        'xxxxxxxxxx... (5000 characters)')


def test_a_record_keeps_its_level_logger_and_node(
        caplog: pytest.LogCaptureFixture) -> None:
    emit(message='the BMC said \x1b[2J\r\n2026-11-20 ERROR forged %s %d')
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == 'ironic_solconsole.sol.link'
    assert record.getMessage() == (
        f'Node {NODE}: the BMC said \\x1b[2J\\r\\n2026-11-20 ERROR forged '
        '%s %d')
    assert vars(record)['resource'] == f'[node-{NODE}] '


def test_a_record_without_a_node_names_the_bridge(
        caplog: pytest.LogCaptureFixture) -> None:
    emit(node='')
    assert caplog.messages == ['Bridge 2: text']


def test_lost_records_are_counted_in_the_log(
        caplog: pytest.LogCaptureFixture) -> None:
    emit(dropped=17)
    assert 'lost 17 log records' in caplog.messages[0]


@pytest.mark.parametrize('data', [
    {'level': 'high'}, {'level': 10**9}, {'level': -1}, {'logger': None},
    {'logger': 'oslo.messaging'}, {'logger': 'ironic_solconsole\n.x'},
    {'logger': 'ironic_solconsole.' + 'x' * 999}, {'message': None},
    {'message': {'a': '\n'}}, {'node': 7}, {'node': 'x\ny'},
    {'dropped': 'many'}])
def test_a_strange_record_is_logged_all_the_same(
        data: dict[str, typing.Any],
        caplog: pytest.LogCaptureFixture) -> None:
    emit(**data)
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert record.name.startswith('ironic_solconsole')


def test_other_events_are_not_for_the_log(
        caplog: pytest.LogCaptureFixture) -> None:
    bridge_log.emit(control.Event('lamp', {'message': 'x'}), 0)
    assert not caplog.records


def test_output_of_a_bridge_is_a_warning_in_one_line(
        caplog: pytest.LogCaptureFixture) -> None:
    bridge_log.output('Traceback\x1b[0m\r', 1)
    assert caplog.messages == ['Bridge 1 wrote: Traceback\\x1b[0m\\r']
    assert caplog.records[0].levelno == logging.WARNING
