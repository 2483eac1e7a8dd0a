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


"""A day of churn in short: nothing is left of what has gone."""

import asyncio
import pathlib
import re
import socket
import struct
import urllib.parse
import uuid

import pytest

from tests.functional import conftest
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import viewers
from tests.support import waiting

pytestmark = pytest.mark.long

CONSOLES = 10
ATTACHES = 100_000
OPENS = 10_000

#: Tenths after which an allocator has what it will ever use: open and close
#: reach their plateau after some 1,000 (of 6,000 measured).
WARM = 2

#: Viewers that are attached at a time, at each console.
AT_ONCE = 4

#: Growth in KiB, from there to the end, that counts as none: 262 bytes for
#: each console, or 26 for each viewer. How many happen to log out at a time
#: moves the plateau by about 1,000.
FLAT = 2048


def footprint(bridge: bridge_support.Bridge) -> dict[str, int]:
    """What a bridge uses when all is quiet."""
    proc = pathlib.Path(f'/proc/{bridge.pid}')
    rollup = (proc / 'smaps_rollup').read_text()
    found = re.search(r'^Private_Dirty: +(\d+)', rollup, re.MULTILINE)
    assert found is not None
    return {'private_kib': int(found[1]),
            'descriptors': len(list((proc / 'fd').iterdir())),
            'threads': len(list((proc / 'task').iterdir())),
            'tasks': bridge.request('ping')['tasks']}


def quiet(bridge: bridge_support.Bridge, viewers_left: int = 0
          ) -> dict[str, int]:
    """The same, once nobody is on the way in or out."""
    seen: list[dict[str, int]] = [footprint(bridge)]

    def settled() -> bool:
        seen.append(footprint(bridge))
        one, other = ({key: value for key, value in each.items()
                       if key != 'private_kib'} for each in seen[-2:])
        return one == other and viewers_left == sum(
            status['viewers'] for status in bridge.consoles())

    waiting.wait_until(settled, 'the bridge to be quiet', 30.0, 1.5)
    return seen[-1]


def check_flat(first: dict[str, int], last: dict[str, int]) -> None:
    """Compare two footprints."""
    print(first, last)
    for key in ('descriptors', 'threads', 'tasks'):
        assert last[key] <= first[key], (first, last)
    assert last['private_kib'] - first['private_kib'] < FLAT, (first, last)


async def come_and_go(urls: list[str], count: int) -> None:
    """Attach and detach so often; every third does not say good-bye."""
    numbers = iter(range(count))

    async def person(url: str) -> None:
        place = urllib.parse.urlsplit(url)
        for number in numbers:
            reader, writer = await asyncio.open_connection(
                place.hostname, place.port)
            if number % 3 == 0:
                # what is there from before shows that it is let in
                await asyncio.wait_for(reader.readexactly(1), 10.0)
                writer.get_extra_info('socket').setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack('ii', 1, 0))
                writer.transport.abort()
            else:
                writer.write_eof()
                await asyncio.wait_for(reader.read(), 10.0)
                writer.close()

    await asyncio.gather(*(person(url) for url in urls * AT_ONCE))


def test_viewers_that_came_and_went_leave_nothing() -> None:
    with (ipmi_sim.IpmiSim(CONSOLES) as sim,
          bridge_support.Bridge() as bridge):
        specs = [bridge_support.make_spec(bmc) for bmc in sim.bmcs]
        bridge.open_all(specs)
        for bmc in sim.bmcs:
            bmc.host.send(hosts.text(20_000))
        waiting.wait_until(
            lambda: all(status['bytes_out'] == 20_000
                        for status in bridge.consoles()), 'all output')
        urls = [spec.url for spec in specs]
        asyncio.run(come_and_go(urls, WARM * ATTACHES // 10))
        first = quiet(bridge)
        asyncio.run(come_and_go(
            urls, ATTACHES - WARM * ATTACHES // 10))
        check_flat(first, quiet(bridge))
        with viewers.Viewer(specs[0].url) as viewer:
            waiting.wait_until(
                lambda: viewer.data.endswith(hosts.text(20_000)[-1000:]),
                'the scrollback')
        conftest.check_unharmed(bridge)


def test_consoles_that_were_opened_and_closed_leave_nothing() -> None:
    with (ipmi_sim.IpmiSim(CONSOLES) as sim,
          bridge_support.Bridge() as bridge):
        nodes = [str(uuid.uuid4()) for _ in sim.bmcs]

        def cycles(count: int) -> None:
            for _ in range(count):
                specs = [bridge_support.make_spec(bmc, node=node)
                         for bmc, node in zip(sim.bmcs, nodes)]
                for status in bridge.open_all(specs):
                    assert status['state'] == 'connected', status
                for spec in specs:
                    bridge.close(spec.node)

        cycles(WARM * OPENS // 10 // CONSOLES)
        first = quiet(bridge)
        cycles((OPENS - WARM * OPENS // 10) // CONSOLES)
        check_flat(first, quiet(bridge))
        conftest.check_unharmed(bridge)
