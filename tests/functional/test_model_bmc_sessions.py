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

"""Our BMC and our session: logins, refusals, privileges, time-outs."""

import asyncio
import struct

import pytest

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from tests.support.bmc import ADMIN
from tests.support.bmc import NO_SOL
from tests.support.bmc import OPERATOR
from tests.support.bmc import PLAIN
from tests.support.bmc import BmcOptions
from tests.support.bmc import Locked
from tests.support.bmc import ModelBmc
from tests.support.bmc import RoleRefusal
from tests.support.bmc import Unknown
from tests.support.bmc import User
from tests.support.bmc import codes
from tests.support.bmc.client import Client
from tests.support.bmc.client import refused
from tests.support.bmc.client import with_bmc

WRONG = User(2, 'admin', 'wrong')

#: What becomes of a login with it: a console that does not like RAKP 2 may
#: say so in RAKP 3, or just go away.
FAILED = ('abandoned', 'bad password')


@pytest.mark.parametrize('suite', [3, 17])
@pytest.mark.parametrize('kg', [b'', b'the key of the BMC'])
def test_login_and_console(suite: int, kg: bytes) -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc, suite=suite, kg=kg) as client:
            assert await client.activate() == 0
            assert bmc.holder == client.session_id
            bmc.host.send(b'login: ')
            client.type(b'root\r')
            await client.until(lambda: client.output == b'login: ', 'output')
            await client.until(lambda: bmc.host.received == b'root\r', 'input')
        assert not bmc.live_sessions
        login, = bmc.journal.logins
        assert (login.user, login.suite, login.result) == (
            'admin', suite, 'ok')
        activation, = bmc.journal.activations
        assert activation.remote == login.remote
        assert (activation.aux, activation.code) == (0xc0, 0)
        assert [end.why for end in bmc.journal.session_ends] == ['closed']
        assert not list(bmc.journal.drops)

    with_bmc(body, BmcOptions(kg=kg))


def test_login_over_ipv6() -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc) as client:
            _, info = await client.ask(codes.GET_SESSION_INFO, b'\0')
            assert info[6:10] == bytes(4)

    with_bmc(body, BmcOptions(address='::1'))


@pytest.mark.parametrize(('user', 'changes', 'reason', 'word', 'results'), [
    (WRONG, {}, Reason.BAD_CREDENTIALS, 'RAKP 2', FAILED),
    (User(2, 'nobody', 'x'), {}, Reason.BAD_CREDENTIALS, '0dh',
     ('unknown user',)),
    (User(2, 'operator', 'secret6'), {}, Reason.PRIVILEGE, '0ah',
     ('role refused',)),
    (User(2, 'operator', 'secret6'), {'role_refusal': RoleRefusal.INVALID},
     Reason.PRIVILEGE, '09h', ('role refused',)),
    (User(2, 'operator', 'secret6'), {'role_refusal': RoleRefusal.COMMAND},
     Reason.PRIVILEGE, '81h', ('ok',)),
    (ADMIN, {'kg': b'a key'}, Reason.BAD_CREDENTIALS, 'RAKP 4', ('ok',)),
    (ADMIN, {'slots': 0}, Reason.SESSION_LIMIT, '01h', ()),
    (ADMIN, {'suites': (3,)}, Reason.ENCRYPTION_REFUSED, '11h', ()),
    (ADMIN, {'ipmi_2_0': False}, Reason.PROTOCOL_ERROR, 'IPMI 1.5', ()),
])
def test_refused_logins(user: User, changes: dict[str, object],
                        reason: Reason, word: str,
                        results: tuple[str, ...]) -> None:
    async def body(bmc: ModelBmc) -> None:
        client = Client(bmc, user)
        error = await refused(client)
        assert error.reason is reason
        assert word in error.detail
        await client.until(
            lambda: not results or bmc.journal.logins[-1].result in results,
            f'login recorded as {results}')
        assert len(bmc.journal.logins) == bool(results)

    with_bmc(body, BmcOptions(**changes))    # type: ignore[arg-type]


@pytest.mark.parametrize(('how', 'word'), [
    (Locked.BAD_PASSWORD, '0fh'), (Locked.UNKNOWN, '0dh')])
def test_an_account_is_locked_for_a_while(how: Locked, word: str) -> None:
    async def body(bmc: ModelBmc) -> None:
        for _ in range(2):
            client = Client(bmc, WRONG)
            await refused(client)
            await client.until(
                lambda: bmc.journal.logins[-1].result in FAILED,
                'login counted as failed')
        error = await refused(Client(bmc))
        assert error.reason is Reason.BAD_CREDENTIALS
        assert word in error.detail
        assert len(bmc.journal.failed_logins('admin')) == 3
        # Nobody else is locked, and it ends.
        async with Client(bmc, OPERATOR):
            pass
        bmc.unlock()
        async with Client(bmc):
            pass

    with_bmc(body, BmcOptions(
        lockout_after=2, lockout=how, abandoned_after=0.05))


def test_a_locked_account_may_be_met_with_silence() -> None:
    async def body(bmc: ModelBmc) -> None:
        client = Client(bmc, WRONG)
        await refused(client)
        await client.until(
            lambda: bmc.journal.logins[-1].result in FAILED,
            'login counted as failed')
        with pytest.raises(LinkError):
            await Client(bmc).login(silence=0.3, timeout=0.6)
        assert bmc.journal.logins[1].result == 'locked'
        bmc.settings.lockout_seconds = 0.0
        bmc.unlock()
        async with Client(bmc):
            pass

    with_bmc(body, BmcOptions(lockout_after=1, lockout=Locked.SILENT,
                         abandoned_after=0.05))


def test_the_last_slot() -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc):
            error = await refused(Client(bmc))
            assert error.reason is Reason.SESSION_LIMIT
        async with Client(bmc):
            pass

    with_bmc(body, BmcOptions(slots=1))


def test_who_has_a_session_and_from_where() -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc, OPERATOR) as other, Client(bmc) as client:
            code, data = await client.ask(
                codes.GET_SESSION_INFO,
                b'\xff' + struct.pack('<I', other.session_id))
            assert code == 0
            assert data[:6] == bytes((1, 8, 2, OPERATOR.number, 3, 0x11))
            port = bmc.journal.logins[0].remote[1]
            assert data[6:] == (b'\x7f\0\0\1' + bmc.settings.mac
                                + struct.pack('<H', port))
            for request in (b'\xfe\x01', b'\x01'):
                assert await client.ask(
                    codes.GET_SESSION_INFO, request) == (0, data)
            assert (await client.ask(
                codes.GET_SESSION_INFO, b'\0'))[1][3] == ADMIN.number
            assert (await client.ask(
                codes.GET_USER_NAME, bytes([OPERATOR.number])))[1] == (
                b'operator' + bytes(8))
            # As an operator may not, and as ipmi_sim does not tell.
            bmc.settings.tells_address = False
            assert len((await client.ask(
                codes.GET_SESSION_INFO, b'\0'))[1]) == 6
            missing = b'\xff\x01\x02\x03\x04'
            for how, code in ((Unknown.SHORT, 0), (Unknown.INVALID, 0xcc),
                              (Unknown.NOT_PRESENT, 0xcb)):
                bmc.settings.unknown_session = how
                answer = await client.ask(codes.GET_SESSION_INFO, missing)
                assert answer == (code, b'' if code else b'\0\x08\x02')

    with_bmc(body)


def test_what_a_privilege_allows() -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc, PLAIN) as client:
            assert (await client.ask(codes.GET_USER_NAME, b'\2'))[0] == 0xd4
            assert (await client.ask(
                codes.SET_SESSION_PRIVILEGE, b'\4'))[0] == 0x81
            assert await client.activate() == 0
        async with Client(bmc, NO_SOL) as client:
            assert await client.activate() == 0xd4
        bmc.settings.sol.level = codes.Level.ADMIN
        async with Client(bmc, OPERATOR) as client:
            assert await client.activate() == 0xd4

    with_bmc(body)


def test_closing_sessions() -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc) as admin, Client(bmc, PLAIN) as plain:
            mine = struct.pack('<I', admin.session_id)
            theirs = struct.pack('<I', plain.session_id)
            assert (await plain.ask(codes.CLOSE_SESSION, mine))[0] == 0xd4
            assert (await admin.ask(
                codes.CLOSE_SESSION, b'\1\2\3\4'))[0] == 0x87
            assert await plain.activate() == 0
            assert (await admin.ask(codes.CLOSE_SESSION, theirs))[0] == 0
            assert [entry.id for entry in bmc.live_sessions] == [
                admin.session_id]
            assert bmc.holder is None
            assert bmc.journal.payload_ends[-1].why == 'session ended'
            plain.abort()

    with_bmc(body)


@pytest.mark.parametrize('sol_keeps_alive', [True, False])
def test_sessions_end_when_idle(sol_keeps_alive: bool) -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc) as client:
            assert await client.activate() == 0
            # Ten packets or more in each time-out.
            for _ in range(15):
                client.type(b'x')
                await client.until(lambda: not client.channel.pending
                                   or not bmc.live_sessions, 'answer')
                await asyncio.sleep(0.1)
            assert bool(bmc.live_sessions) is sol_keeps_alive
            await client.until(lambda: not bmc.live_sessions, 'timeout')
            assert bmc.journal.session_ends[-1].why == 'timeout'
            assert bmc.holder is None

    with_bmc(body, BmcOptions(session_timeout=1.0,
                         sol_keeps_alive=sol_keeps_alive))


def test_it_forgets_and_moves() -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc) as client:
            assert await client.activate() == 0
            bmc.reboot()
            assert bmc.holder is None
            assert bmc.journal.session_ends[-1].why == 'forgotten'
            with pytest.raises(LinkError):
                await client.command(*codes.GET_DEVICE_ID, timeout=0.3)
            assert bmc.journal.dropped('no such session')
            client.abort()
        async with Client(bmc) as client:
            old, new = bmc.port, bmc.move()
            assert old != new
            with pytest.raises(LinkError):
                await client.command(*codes.GET_DEVICE_ID, timeout=0.3)
            client.abort()
        bmc.change_user('admin', password='other')
        assert (await refused(Client(bmc))).reason is Reason.BAD_CREDENTIALS
        async with Client(bmc, User(2, 'admin', 'other')):
            pass

    with_bmc(body)
