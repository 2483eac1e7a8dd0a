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

"""Our BMC and our SOL channel: activation, holders, endings."""

import asyncio
import struct
from typing import Any

from ironic_solconsole.sol import channel as sol_channel
from tests.support.bmc import Encryption
from tests.support.bmc import Farewell
from tests.support.bmc import ModelBmc
from tests.support.bmc import Port
from tests.support.bmc import codes
from tests.support.bmc import openbmc
from tests.support.bmc import sessions
from tests.support.bmc.client import ACTIVATE
from tests.support.bmc.client import SOL
from tests.support.bmc.client import Client
from tests.support.bmc.client import with_bmc


def test_activation_is_refused_with_the_right_code() -> None:
    async def body(bmc: ModelBmc) -> None:
        sol = bmc.settings.sol
        async with Client(bmc) as client, Client(bmc) as other:
            assert (await client.ask(
                codes.DEACTIVATE_PAYLOAD, SOL + bytes(4)))[0] == 0x80
            sol.encryption = Encryption.REFUSED
            assert await client.activate() == 0x83
            sol.encryption = Encryption.REQUIRED
            assert await client.activate(SOL + bytes(4)) == 0x84
            assert await client.activate() == 0
            assert await other.activate() == 0x80
            assert await client.activate() == 0x80
            bmc.set_sol_enabled(False)
            assert await client.activate() == 0x81
            assert (await client.ask(
                codes.DEACTIVATE_PAYLOAD, SOL + bytes(4)))[0] == 0x81
            bmc.set_sol_enabled(True)
            bmc.settings.overrides[codes.ACTIVATE_PAYLOAD] = 0x82
            assert await client.activate() == 0x82
            assert await client.activate(b'\1\2' + bytes(4)) == 0x82
            bmc.settings.overrides.clear()
            assert await client.activate(b'\1\2' + bytes(4)) == 0xcc

    with_bmc(body)


def test_what_it_reports_is_what_it_is_told_to_report() -> None:
    async def body(bmc: ModelBmc) -> None:
        sol = bmc.settings.sol
        swapped = (bmc.port & 0xff) << 8 | bmc.port >> 8
        async with Client(bmc) as client:
            for port, reported in ((Port.SESSION, bmc.port),
                                   (Port.SWAPPED, swapped), (16992, 16992),
                                   (Port.SECOND, bmc.second_port)):
                sol.port = port
                sol.inbound_size, sol.outbound_size = 0x8000, 0
                code, data = await client.ask(
                    codes.ACTIVATE_PAYLOAD, ACTIVATE)
                assert code == 0
                assert struct.unpack('<4xHHHH', data) == (
                    0x8000, 0, reported, 0xffff)
                assert (await client.ask(
                    codes.GET_PAYLOAD_STATUS, b'\1'))[1] == b'\1\1\0'
                await client.ask(codes.DEACTIVATE_PAYLOAD, SOL + bytes(4))
            sol.capacity = 0
            assert (await client.ask(
                codes.GET_PAYLOAD_STATUS, b'\1'))[1] == bytes(3)
            bmc.settings.overrides[codes.GET_PAYLOAD_STATUS] = 0xc1
            assert (await client.ask(
                codes.GET_PAYLOAD_STATUS, b'\1'))[0] == 0xc1
        async with Client(bmc, port=bmc.second_port) as client:
            assert await client.activate() == 0
            bmc.host.send(b'here')
            await client.until(lambda: client.output == b'here', 'output')

    with_bmc(body)


def test_others_hold_the_console() -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc) as client:
            async def holder() -> tuple[int, bytes]:
                _, data = await client.ask(codes.GET_PAYLOAD_INSTANCE, SOL)
                session_id = struct.unpack_from('<I', data)[0]
                _, info = await client.ask(
                    codes.GET_SESSION_INFO, b'\xff' + data[:4])
                return session_id, info

            assert (await holder())[0] == 0
            session_id = bmc.hold('second', '192.0.2.9', 4711)
            assert await client.activate() == 0x80
            found, info = await holder()
            assert found == session_id
            assert info[3] == 5
            assert info[6:10] == bytes((192, 0, 2, 9))
            bmc.release()
            assert bmc.journal.session_ends[-1].why == 'released'
            # A ghost has no session.
            session_id = bmc.hold(ghost=True)
            found, info = await holder()
            assert found == session_id
            assert info[0] == 0
            bmc.release()
            assert await client.activate() == 0
            bmc.steal()
            await client.until(
                lambda: client.saw(sol_channel.Deactivated), 'the flag')
            assert (await holder())[0] == bmc.holder
            assert bmc.journal.payload_ends[-1].why == 'stolen'

    with_bmc(body)


def test_openbmc_says_it_in_its_own_way() -> None:
    sent: list[bytes] = []

    class Spy(ModelBmc):
        def _send(self, session: sessions.Session, kind: codes.Payload,
                  payload: bytes, *rest: Any) -> None:
            sent.append(payload)
            super()._send(session, kind, payload, *rest)

    async def body() -> None:
        with Spy(openbmc()) as bmc:
            async with Client(bmc) as client:
                assert await client.activate(SOL + bytes(4)) == 0x84
                assert await client.activate() == 0
                bmc.deactivate()
                # SOL Activating: network function 0Ch, command 20h.
                message = sent[-1]
                assert message[:2] == b'\x81\x30'
                assert message[5:-1] == b'\x20\x00\x01\x01\x00'
                assert not client.saw(sol_channel.Deactivated)

    asyncio.run(body())


def test_power_and_partial_answers_reach_the_client() -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc) as client:
            assert await client.activate() == 0
            bmc.host.limit(3)
            client.type(b'abcdef')
            await client.until(lambda: bmc.host.received == b'abc', 'a part')
            bmc.host.limit(None)
            await client.until(lambda: bmc.host.received == b'abcdef', 'all')
            await client.ask(codes.CHASSIS_CONTROL, b'\0')
            await client.until(
                lambda: client.saw(sol_channel.Unavailable), 'power off')
            assert (await client.ask(
                codes.GET_CHASSIS_STATUS))[1][0] & 1 == 0
            await client.ask(codes.CHASSIS_CONTROL, b'\1')
            await client.until(
                lambda: client.saw(sol_channel.Available), 'power on')
            bmc.host.send_break()
            await client.until(
                lambda: client.saw(sol_channel.BreakReceived), 'a break')
            bmc.deactivate(Farewell.FLAG_WITH_NUMBER)
            await client.until(
                lambda: client.saw(sol_channel.Deactivated), 'the end')

    with_bmc(body)
