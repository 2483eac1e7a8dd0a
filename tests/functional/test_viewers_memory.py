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

"""Memory of a bridge whose viewers do their worst."""

import pytest

from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import processes
from tests.support import viewers
from tests.support import waiting

EACH = 8                # viewers at a console
SCROLLBACK = 16         # KiB


def documented(consoles: int, client_buffer: int) -> float:
    """KiB, as doc/source/admin/viewers.rst has it.

    :param client_buffer: KiB.
    """
    console = 2 * SCROLLBACK + 64 + 64
    viewer = client_buffer + client_buffer / 64 + 32
    return consoles * (console + EACH * viewer)


@pytest.mark.parametrize(('consoles', 'client_buffer'), [
    (6, 64), pytest.param(20, 256, marks=pytest.mark.long),
    pytest.param(100, 64, marks=pytest.mark.long)])
def test_memory_stays_within_the_sum_of_the_limits(
        consoles: int, client_buffer: int) -> None:
    """Nobody reads, all paste, the hosts print, and all is parked."""
    text = hosts.text(client_buffer * 1024 + 300_000)
    paste = hosts.text(300_000, 'paste')
    with ipmi_sim.IpmiSim(consoles) as sim, bridge_support.Bridge(
            client_buffer=client_buffer * 1024,
            scrollback=SCROLLBACK * 1024) as bridge:
        specs = [bridge_support.make_spec(bmc) for bmc in sim.bmcs]
        for status in bridge.open_all(specs):
            assert status['state'] == 'connected', status
        before = processes.memory_kib(bridge.pid)
        hanging = [viewers.Viewer(spec.url, receive_buffer=4096)
                   for spec in specs for _ in range(EACH)]
        for viewer in hanging:
            viewer.stop_reading()
        wait_viewers(bridge, consoles * EACH)
        sent = [bmc.host.stream(text, 20_000 if consoles > 50 else 0.0)
                for bmc in sim.bmcs]
        for future in sent:
            future.result(280)
        waiting.wait_until(
            lambda: all(status['bytes_out'] == len(text)
                        for status in bridge.consoles()),
            'all output taken from the BMCs', 100)
        for viewer in hanging:
            viewer.send(paste)
        waiting.wait_until(
            lambda: all(bmc.host.received for bmc in sim.bmcs),
            'input at all hosts')
        for spec in specs:
            bridge.request('close', {'node': spec.node, 'park': 60})
        sent = [bmc.host.stream(text) for bmc in sim.bmcs]
        waiting.wait_until(
            lambda: all(status['bytes_out'] > len(text) + 65_000
                        for status in bridge.consoles()),
            'output that waits', 100, seen=bridge.consoles)
        grown = processes.memory_kib(bridge.pid) - before
        for future in sent:
            future.cancel()
        limit = documented(consoles, client_buffer)
        assert grown < limit, f'{grown} KiB, where {limit} are documented'
        for viewer in hanging:
            viewer.abort()
        check_unharmed(bridge)
