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

"""What a BMC's answers about the SOL payload mean."""

import struct

import pytest

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import payload
from ironic_solconsole.sol import taking
from ironic_solconsole.sol.link import Activation
from ironic_solconsole.sol.messages import Answer
from ironic_solconsole.sol.payload import Holder

#: Get Session Info as a BMC that follows table 22-25 answers for a LAN
#: session: handle, slots, active, user, privilege, channel, address, MAC,
#: port.
LAN = (bytes([7, 63, 2, 0x02, 0x04, 0x11]) + bytes([192, 0, 2, 9])
       + bytes(6) + struct.pack('<H', 40123))


def test_a_session_is_described_with_all_that_the_bmc_tells():
    holder = payload.parse_session_info(0x8584, Answer(0, LAN))
    assert holder == Holder(0x8584, True, 2, '', 4, '192.0.2.9', 40123)
    assert str(holder) == (
        'session 8584h of user number 2 with privilege administrator from '
        '192.0.2.9:40123')


def test_ipmi_sim_tells_no_address():
    holder = payload.parse_session_info(0x8584, Answer(0, LAN[:6]))
    assert (holder.exists, holder.user, holder.address) == (True, 2, '')


@pytest.mark.parametrize('answer', [
    Answer(0, bytes([0, 63, 1])), Answer(0, b'\0'), Answer(0xcb, b'')])
def test_a_session_that_is_not_there(answer):
    holder = payload.parse_session_info(0x84, answer)
    assert holder.exists is False
    assert 'no longer knows' in str(holder)


@pytest.mark.parametrize('answer', [
    Answer(0xc1, b''), Answer(0xcc, b''), Answer(0xd4, b''), Answer(0, b''),
    Answer(0, bytes([7, 63, 1]))])
def test_a_bmc_that_does_not_tell_makes_no_ghost(answer):
    assert payload.parse_session_info(0x84, answer).exists is None


def test_a_holder_without_a_name_is_told_as_such():
    assert 'does not name' in str(Holder(0))


def test_a_user_name_cannot_forge_a_line():
    assert '\n' not in str(Holder(1, user_name='x\nCRITICAL: y'))


@pytest.mark.parametrize(('code', 'reason'), [
    (0x80, Reason.HELD), (0x81, Reason.SOL_DISABLED),
    (0x82, Reason.SESSION_LIMIT), (0x83, Reason.ENCRYPTION_REFUSED),
    (0x84, Reason.ENCRYPTION_REFUSED), (0xc1, Reason.SOL_DISABLED),
    (0xd4, Reason.PRIVILEGE), (0xff, Reason.PROTOCOL_ERROR)])
def test_each_completion_code_of_activate_has_its_reason(code, reason):
    with pytest.raises(LinkError, match=f'{code:02x}h') as caught:
        payload.check_activation(Answer(code, b''))
    assert caught.value.reason is reason


def answer(port, inbound=255):
    return bytes(4) + struct.pack('<HHHH', inbound, 255, port, 0xffff)


@pytest.mark.parametrize(('port', 'ignore', 'found'), [
    (623, False, 0), (0x6f02, False, 0), (0, False, 0), (0xffff, False, 0),
    (1623, False, 1623), (1623, True, 0)])
def test_the_port_for_sol_is_the_sessions_unless_it_is_really_another(
        port, ignore, found):
    activation = payload.parse_activation(answer(port), 623, ignore)
    assert activation == payload.Activation(255, found)


@pytest.mark.parametrize('length', range(12))
def test_a_short_answer_to_activate_is_read_as_far_as_it_goes(length):
    found = payload.parse_activation(answer(623)[:length], 623, False)
    assert found.inbound_size in (0, 255)
    assert found.port in (0, 0x6f)


OURS = Activation(0x84, 2, '192.0.2.9', 40123)
HOLDER = Holder(0x84, True, 2, 'admin', 4, '192.0.2.9', 40123)


def test_a_session_is_our_predecessors_only_if_all_matches():
    assert taking.is_predecessor(HOLDER, OURS)
    for field, value in (('session', 0x85), ('user', 3),
                         ('address', '192.0.2.8'), ('port', 40124),
                         ('exists', False), ('exists', None)):
        other = Holder(**{**HOLDER.__dict__, field: value})
        assert not taking.is_predecessor(other, OURS), field
    assert not taking.is_predecessor(HOLDER, None)


def test_where_the_bmc_tells_no_address_session_and_user_decide():
    holder = Holder(0x84, True, 2)
    assert taking.is_predecessor(holder, Activation(0x84, 2, '', 0))
    assert not taking.is_predecessor(holder, OURS)
    assert not taking.is_predecessor(
        Holder(0x84, True, 0), Activation(0x84, 0, '', 0))
