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

"""Two hundred consoles in one process."""

import time

from tests.functional.conftest import check_unharmed
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import viewers
from tests.support import waiting

CONSOLES = 200
STREAM = 100_000        # bytes from each host

#: Bytes a second from each host: faster than any serial line, and slow
#: enough that ipmi_sim itself keeps up on a small machine.
RATE = 8_000


def test_200_consoles_stream_and_every_stream_is_exact() -> None:
    with ipmi_sim.IpmiSim(CONSOLES) as sim, bridge_support.Bridge() as bridge:
        specs = [bridge_support.make_spec(bmc) for bmc in sim.bmcs]
        for status in bridge.open_all(specs):
            assert status['state'] == 'connected', status
        assert bridge.request('ping')['consoles'] == CONSOLES
        attached = [viewers.Viewer(spec.url) for spec in specs]
        waiting.wait_until(
            lambda: all(status['viewers'] for status in bridge.consoles()),
            'a viewer at every console')

        texts = [hosts.text(STREAM, f'host-{number}')
                 for number in range(CONSOLES)]
        pastes = [hosts.text(500, f'paste-{number}')
                  for number in range(CONSOLES)]
        sent = [bmc.host.stream(text, RATE)
                for bmc, text in zip(sim.bmcs, texts)]
        for viewer, paste in zip(attached, pastes):
            viewer.send(paste)

        deadline = time.monotonic() + 120
        for viewer, text in zip(attached, texts):
            viewer.wait_exactly(text, max(1.0, deadline - time.monotonic()))
        for bmc, paste in zip(sim.bmcs, pastes):
            bmc.host.wait_received(paste, 10)
        for future in sent:
            future.result(1)
        for status in bridge.consoles():
            assert status['state'] == 'connected', status
            assert status['bytes_out'] == STREAM, status
            assert status['bytes_in'] == 500, status
        for viewer in attached:
            viewer.close()
        check_unharmed(bridge)

        for spec in specs:
            bridge.close(spec.node)
        for bmc in (sim.bmcs[0], sim.bmcs[-1]):
            bmc.wait_free()
