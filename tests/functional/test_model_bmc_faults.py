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

"""Our BMC: faults, random packets, many at a time, by hand."""

import asyncio
import pathlib
import random
import re
import socket
import subprocess
import sys
import time

import pytest

from ironic_solconsole.exception import LinkError
from tests.support import ipmitool
from tests.support import processes
from tests.support.bmc import BmcOptions
from tests.support.bmc import GiveUp
from tests.support.bmc import ModelBmc
from tests.support.bmc import ModelBmcs
from tests.support.bmc import codes
from tests.support.bmc.client import Client
from tests.support.bmc.client import with_bmc


def test_faults_at_run_time() -> None:
    async def body(bmc: ModelBmc) -> None:
        async with Client(bmc) as client:
            bmc.faults.black_hole = True
            with pytest.raises(LinkError):
                await client.command(*codes.GET_DEVICE_ID, timeout=0.3)
            bmc.faults.clear()
            bmc.faults.answer_delay = 0.2
            before = time.monotonic()
            await client.ask(codes.GET_DEVICE_ID)
            assert time.monotonic() - before >= 0.2
            bmc.faults.clear()
            bmc.faults.lose_answers(codes.GET_DEVICE_ID)
            await client.ask(codes.GET_DEVICE_ID)
            assert bmc.journal.count(codes.GET_DEVICE_ID) == 3
            bmc.settings.overrides[codes.GET_DEVICE_ID] = None
            with pytest.raises(LinkError):
                await client.command(*codes.GET_DEVICE_ID, timeout=0.3)
            bmc.settings.overrides.clear()
            assert await client.activate() == 0
            bmc.settings.sol.give_up = GiveUp.KEEP
            bmc.faults.both(drop=0.05, duplicate=0.05, reorder=0.05,
                            mutate=0.05, truncate=0.05, forge=0.1,
                            garbage=0.1)
            text = bytes(random.Random(1).choices(range(32, 127), k=3000))
            bmc.host.send(text)
            client.type(text)
            await client.until(lambda: len(client.output) >= len(text)
                               and len(bmc.host.received) >= len(text),
                               'all bytes both ways', 60.0)
            assert bytes(client.output) == text
            assert bmc.host.received == text
            assert bmc.journal.dropped('integrity')
            bmc.faults.clear()
            bmc.faults.inbound.duplicate = 1.0
            before = bmc.journal.dropped('session sequence number')
            await client.ask(codes.GET_DEVICE_ID)
            await client.until(
                lambda: bmc.journal.dropped(
                    'session sequence number') == before + 1,
                'the copy dropped')

    with_bmc(body, BmcOptions(name='bad network'))


def test_random_and_spoiled_packets_do_it_no_harm() -> None:
    chance = random.Random(42)

    async def body(bmc: ModelBmc) -> None:
        sniffed: list[bytes] = []
        incoming = bmc.faults.incoming

        def tap(datagram: bytes) -> list[tuple[float, bytes]]:
            sniffed.append(datagram)
            return incoming(datagram)

        bmc.faults.incoming = tap       # type: ignore[method-assign]
        async with Client(bmc) as client:
            assert await client.activate() == 0
            await client.ask(codes.GET_DEVICE_ID)
            good = list(sniffed)
            logins = len(bmc.journal.logins)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect((bmc.address, bmc.port))
                for number in range(4000):
                    data = bytearray(chance.choice(good))
                    for _ in range(chance.randrange(1, 4)):
                        data[chance.randrange(len(data))] = (
                            chance.randrange(256))
                    sender.send(data[:chance.randrange(1, len(data) + 1)]
                                if number % 3 else data)
                    if number % 50 == 0:
                        await asyncio.sleep(0)
            await client.ask(codes.GET_DEVICE_ID)
            assert [entry.id for entry in bmc.live_sessions] == [
                client.session_id]
            assert bmc.holder == client.session_id
            assert not any(entry.result == 'ok' for entry in
                           list(bmc.journal.logins)[logins:])

    with_bmc(body)


def test_two_hundred_in_one_thread() -> None:
    with ModelBmcs(200) as bmcs:
        assert len({bmc.port for bmc in bmcs}) == 200

        async def visit(bmc: ModelBmc) -> None:
            async with Client(bmc) as client:
                assert await client.activate() == 0
                text = f'host on port {bmc.port}\r\n'.encode() * 20
                # From another thread than the BMC's.
                bmc.host.send(text)
                await client.until(lambda: len(client.output) >= len(text),
                                   'all output')
                assert client.output == text

        async def all_of_them() -> None:
            await asyncio.gather(*(visit(bmc) for bmc in bmcs))

        asyncio.run(all_of_them())
        for bmc in bmcs:
            assert not bmc.live_sessions
            bmc.host.wait_sent()


def test_by_hand() -> None:
    with subprocess.Popen(
            processes.die_with_us([
                sys.executable, '-m', 'tests.support.bmc', '--preset',
                'openbmc', '--tick', '0.1']),
            stdout=subprocess.PIPE,
            cwd=pathlib.Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            words = re.match(
                r'(\S+) UDP port (\d+), user (\S+), password (\S+)',
                process.stdout.readline().decode())
            assert words is not None
            address, port, user, password = words.groups()
            tool = ipmitool.Ipmitool(address, int(port), user, password)
            with tool.activate() as console:
                console.wait_for(b'line 3')
                console.leave()
        finally:
            assert processes.end(process) == 0
