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

"""What the people at a console are told."""

import itertools
import re

import pytest

from ironic_solconsole.bridge import notices
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol.link import LinkState

NOTHING = notices.Standing()
SECRET = '192.0.2.7 root 0x1234 cond-9 \x1b[6n]'


@pytest.mark.parametrize(('state', 'reason'), [
    *itertools.product(LinkState, [None, *Reason])])
def test_brief_notices_name_a_state_and_nothing_else(
        state: LinkState, reason: Reason | None) -> None:
    standing = notices.of_state(state, reason, NOTHING, 1010.0, SECRET)
    text = notices.sentence(standing, 1000.0, full=False)
    assert re.fullmatch(r"[a-zA-Z0-9;:, ']*", text)
    assert not any(word in text for word in (
        '192', 'root', '0x', 'cond-9')), text


def test_full_notices_tell_the_reason_with_no_control_characters() -> None:
    standing = notices.of_state(
        LinkState.WAITING, Reason.UNREACHABLE, NOTHING, None, SECRET)
    text = notices.sentence(standing, 1000.0, full=True)
    assert text == ('the console does not answer; trying again '
                    '(192.0.2.7 root 0x1234 cond-9 ?[6n])')


@pytest.mark.parametrize(('next_try', 'wanted'), [
    (None, 'the console does not answer; trying again'),
    (1012.4, 'the console does not answer; next try in 12 s'),
    (1000.2, 'the console does not answer; trying again'),
    (990.0, 'the console does not answer; trying again')])
def test_who_waits_knows_when_the_next_try_is(
        next_try: float | None, wanted: str) -> None:
    standing = notices.of_state(
        LinkState.WAITING, Reason.UNREACHABLE, NOTHING, next_try)
    assert notices.sentence(standing, 1000.0, full=False) == wanted


def test_a_connected_console_has_nothing_to_tell() -> None:
    assert notices.of_state(LinkState.CONNECTED, None, notices.Standing(
        'released for maintenance')) == NOTHING


def test_connecting_is_told_late_and_only_if_nothing_else_was() -> None:
    first = notices.of_state(LinkState.CONNECTING, None, NOTHING)
    assert (first.text, first.late) == (notices.CONNECTING, True)
    trouble = notices.of_state(
        LinkState.WAITING, Reason.UNREACHABLE, NOTHING, 5.0)
    again = notices.of_state(LinkState.CONNECTING, None, trouble)
    assert (again.text, again.next_try) == (trouble.text, None)


def test_a_theft_stays_one_while_the_thief_is_there() -> None:
    stolen = notices.of_state(LinkState.HELD, Reason.STOLEN, NOTHING)
    assert notices.of_state(LinkState.HELD, Reason.HELD, stolen) == stolen


def test_a_notice_is_a_line_of_its_own() -> None:
    assert notices.line('x') == b'\r\n[solconsole: x]\r\n'


@pytest.mark.parametrize(('text', 'said'), [
    ('back at 5', 'operator: back at 5'),
    (' a\r\n[solconsole: connected]\tb ',
     'operator: a [solconsole: connected] b'),
    ('\x1b[2Jx\x07\udc80\u202ey\u00e9', 'operator: ?[2Jx???y\u00e9')])
def test_what_an_operator_says_is_one_line_and_moves_no_cursor(
        text: str, said: str) -> None:
    assert notices.said(text) == said
    assert notices.line(notices.said(text)).count(b'\r\n') == 2


@pytest.mark.parametrize('text', ['', ' \n ', 'x' * (notices.MAX_SAID + 1)])
def test_what_cannot_be_said_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='it '):
        notices.said(text)
