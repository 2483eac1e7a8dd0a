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

"""Which answers of a bridge make an enable fail, and in which words."""

import typing

import pytest

from ironic_solconsole import exception
from ironic_solconsole.driver import verdict
from ironic_solconsole.exception import Reason


def status(state: str = 'waiting', reason: str = '', settled: bool = True,
           detail: str = 'what came back') -> dict[str, typing.Any]:
    return {'state': state, 'reason': reason, 'settled': settled,
            'detail': detail}


def failure(answer: dict[str, typing.Any]) -> exception.LinkError | None:
    return verdict.failure(answer, 5.0, 'RMCP+ on UDP 192.0.2.7:623')


@pytest.mark.parametrize('answer', [
    status('connected'), status('idle', settled=False),
    status('fenced', settled=False), status('fenced', Reason.LOCKED),
    status('held', Reason.HELD), status('held', Reason.STOLEN),
    status(reason=Reason.HELD), status(reason=Reason.SESSION_LIMIT),
    status(reason=Reason.POWERED_OFF), status(reason=Reason.STOLEN),
    status(reason='of a later version'), status()])
def test_what_heals_by_itself_is_a_success(
        answer: dict[str, typing.Any]) -> None:
    assert failure(answer) is None


@pytest.mark.parametrize('state', ['waiting', 'connecting'])
@pytest.mark.parametrize('reason', [
    Reason.UNREACHABLE, Reason.BAD_CREDENTIALS, Reason.PRIVILEGE,
    Reason.SOL_DISABLED, Reason.ENCRYPTION_REFUSED, Reason.CLOSED_BY_BMC,
    Reason.PROTOCOL_ERROR])
def test_what_somebody_must_act_on_is_a_failure(
        state: str, reason: Reason) -> None:
    error = failure(status(state, str(reason)))
    assert error is not None
    assert error.reason is reason
    assert error.detail == 'what came back'


def test_every_reason_has_been_thought_of() -> None:
    heals = {Reason.SESSION_LIMIT, Reason.HELD, Reason.STOLEN,
             Reason.POWERED_OFF, Reason.LOCKED, Reason.NO_LOCK,
             Reason.CONDUCTOR_AWAY}
    assert set(Reason) == verdict.FAILURES | heals
    assert not verdict.FAILURES & heals


def test_no_answer_in_time_is_unreachable_with_what_was_tried() -> None:
    error = failure(status('connecting', settled=False))
    assert error is not None
    assert error.reason is Reason.UNREACHABLE
    assert '5.0 s' in error.detail
    assert '192.0.2.7:623' in error.detail


def test_the_sentence_names_node_bmc_reason_detail_and_advice() -> None:
    error = exception.LinkError(Reason.BAD_CREDENTIALS, 'RAKP 2 said no')
    text = verdict.sentence(error, 'the-node', '192.0.2.7:623')
    for part in ('the-node', '192.0.2.7:623', 'bad credentials',
                 'RAKP 2 said no', 'check ipmi_username'):
        assert part in text, f'{part!r} is not in {text!r}'


def test_an_empty_detail_leaves_no_brackets() -> None:
    error = exception.LinkError(Reason.UNREACHABLE, '')
    assert '()' not in verdict.sentence(error, 'n', 'b')
