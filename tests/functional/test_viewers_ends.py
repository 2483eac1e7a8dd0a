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

"""How a connection to a console ends, and who has to go."""

import pathlib
import time

import pytest

from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import viewers
from tests.support import waiting

CLOSED = b'\r\n[solconsole: the console was closed]\r\n'


def test_the_kernel_looks_for_viewers_that_vanished(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url):
        wait_viewers(bridge, 1)
        # proc_net_tcp(5): local address, state 01 (established), timer 02
        # (keepalive) and when it is due, in hundredths of a second.
        (fields,) = [
            line.split() for line in pathlib.Path(
                '/proc/net/tcp').read_text().splitlines()[1:]
            if line.split()[1].endswith(f':{spec.tcp_port:04X}')
            and line.split()[3] == '01']
        timer, _, due = fields[5].partition(':')
        assert timer == '02', 'no keepalive'
        assert int(due, 16) <= 6000, 'the first probe is late'


@pytest.mark.parametrize('parked', [False, True])
def test_the_end_of_the_process_is_fin_though_input_is_unread(
        model_bmc: model.ModelBmc, parked: bool) -> None:
    with bridge_support.Bridge() as bridge:
        spec = bridge_support.model_spec(model_bmc)
        bridge.connect(spec)
        model_bmc.host.limit(0)
        with viewers.Viewer(spec.url) as viewer:
            wait_viewers(bridge, 1)
            viewer.send(b'x' * 500_000)
            if parked:
                bridge.request('close', {'node': spec.node, 'park': 30})
            bridge.hang_up()
            assert bridge.wait_ended(2.5) == 0
            viewer.wait_closed()
            assert not viewer.reset
            assert viewer.data == CLOSED


def test_who_comes_in_vain_is_logged_once(bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(max_clients=1) as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        with viewers.Viewer(spec.url):
            wait_viewers(bridge, 1)
            for _ in range(20):
                with viewers.Viewer(spec.url) as late:
                    late.wait_closed()
                    assert b'as many viewers as it allows' in late.data
        assert len(bridge.logged('was turned away')) == 1
        check_unharmed(bridge)


@pytest.mark.long
def test_a_forgotten_viewer_makes_room_after_a_minute_of_resets(
        model_bmc: model.ModelBmc) -> None:
    """Each tab that is opened parks the console three times."""
    with bridge_support.Bridge(max_clients=2) as bridge:
        spec = bridge_support.model_spec(model_bmc)
        bridge.connect(spec)
        with (viewers.Viewer(spec.url) as forgotten,
              viewers.Viewer(spec.url) as types):
            wait_viewers(bridge, 2)
            began = time.monotonic()
            while time.monotonic() < began + 61:
                bridge.request('close', {'node': spec.node, 'park': 3})
                assert bridge.open(spec)['taken_up'] is True
                types.send(b'x')
                waiting.always(lambda: not forgotten.closed,
                               'nobody has to go', 5.0)
            types.send(b'x')
            with viewers.Viewer(spec.url) as third:
                forgotten.wait_closed()
                assert not forgotten.reset
                assert b'closed to make room' in forgotten.data
                model_bmc.host.send(b'hello')
                third.wait_for(b'hello')
                types.wait_for(b'hello')
