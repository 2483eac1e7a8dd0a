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

"""One console from open to close, byte for byte."""

import datetime
import random
import re

from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import viewers
from tests.support import waiting

MEGABYTE = 1024 * 1024


def test_open_reports_a_connected_console(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc, name='node-1')

    status = bridge.open(spec)

    since = status.pop('since')
    session = status.pop('session')
    assert status == {
        'node': spec.node, 'name': 'node-1', 'state': 'connected',
        'reason': '', 'detail': '', 'bmc': f'127.0.0.1:{bmc.port}',
        'url': f'tcp://127.0.0.1:{spec.tcp_port}', 'viewers': 0,
        'bytes_in': 0, 'bytes_out': 0, 'suite': 3,
        'generation': spec.generation, 'settled': True, 'next_try': None,
        'lock': 'held', 'holder': ''}
    when = datetime.datetime.fromisoformat(since)
    age = datetime.datetime.now(datetime.UTC) - when
    assert abs(age.total_seconds()) < 60, since
    assert re.fullmatch('0x[0-9a-f]{1,8}', session), session
    assert int(session, 16) == bmc.ipmitool().holder()


def test_list_and_show_find_it_by_uuid_and_by_name(
        two_bmcs: list[ipmi_sim.Bmc], bridge: bridge_support.Bridge) -> None:
    first = bridge_support.make_spec(two_bmcs[0], name='node-1')
    second = bridge_support.make_spec(two_bmcs[1], name='node-2')
    bridge.connect(first)
    bridge.connect(second)

    assert bridge.show(first.node)['name'] == 'node-1'
    assert bridge.show('node-2')['node'] == second.node
    assert {status['node'] for status in bridge.consoles()} == {
        first.node, second.node}
    assert bridge.request('ping')['consoles'] == 2


def test_what_is_typed_reaches_the_host_and_its_answer_comes_back(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    status = bridge.connect(spec)
    with viewers.Viewer(status['url']) as viewer:
        viewer.send(b'uname -a\r')
        viewer.wait_exactly(b'uname -a\r')
        echo_bmc.host.wait_received(b'uname -a\r')

        status = bridge.show(spec.node)
        assert status['viewers'] == 1
        assert status['bytes_in'] == len(b'uname -a\r')
        assert status['bytes_out'] == len(b'uname -a\r')


def test_a_megabyte_arrives_byte_for_byte_at_two_viewers_at_once(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    url = bridge.connect(bridge_support.make_spec(bmc))['url']
    text = hosts.text(MEGABYTE)
    with viewers.Viewer(url) as first, viewers.Viewer(url) as second:
        wait_viewers(bridge, 2)
        sent = bmc.host.stream(text)
        first.wait_exactly(text, timeout=60)
        second.wait_exactly(text, timeout=60)
        sent.result(1)


def test_a_paste_of_20000_bytes_arrives_byte_for_byte_at_the_host(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    url = bridge.connect(spec)['url']
    text = hosts.text(20_000, 'paste')
    with viewers.Viewer(url) as viewer:
        viewer.send(text)
        bmc.host.wait_received(text, timeout=60)
        waiting.wait_until(
            lambda: bridge.show(spec.node)['bytes_in'] == len(text),
            'all pasted bytes counted as input',
            seen=lambda: bridge.show(spec.node))


def test_every_byte_value_passes_unchanged_in_both_directions(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    url = bridge.connect(bridge_support.make_spec(bmc))['url']
    values = list(range(256)) * 8
    random.Random(8).shuffle(values)
    data = bytes(values)
    with viewers.Viewer(url) as viewer:
        wait_viewers(bridge, 1)
        viewer.send(data)
        bmc.host.wait_received(data)
        bmc.host.send(data)
        viewer.wait_exactly(data)


def test_both_directions_at_once_do_not_disturb_each_other(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    url = bridge.connect(bridge_support.make_spec(bmc))['url']
    down, up = hosts.text(200_000), hosts.text(10_000, 'paste')
    with viewers.Viewer(url) as viewer:
        wait_viewers(bridge, 1)
        sent = bmc.host.stream(down)
        viewer.send(up)
        viewer.wait_exactly(down, timeout=60)
        bmc.host.wait_received(up, timeout=60)
        sent.result(1)


def test_two_viewers_write_and_no_byte_of_either_is_lost(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    url = bridge.connect(bridge_support.make_spec(bmc))['url']
    lower = bytes(random.Random(1).choices(b'abcdefgh', k=4000))
    upper = bytes(random.Random(2).choices(b'ABCDEFGH', k=4000))
    with viewers.Viewer(url) as first, viewers.Viewer(url) as second:
        first.send(lower)
        second.send(upper)
        waiting.wait_until(
            lambda: len(bmc.host.received) >= len(lower) + len(upper),
            'the input of both viewers at the host', 60,
            seen=lambda: bmc.host.received)
    got = bmc.host.received
    waiting.assert_same_bytes(
        bytes(byte for byte in got if byte in b'abcdefgh'), lower,
        'input of the first viewer')
    waiting.assert_same_bytes(
        bytes(byte for byte in got if byte in b'ABCDEFGH'), upper,
        'input of the second viewer')


def test_a_viewer_may_come_before_the_bmc_answers(
        sim: ipmi_sim.IpmiSim, bridge: bridge_support.Bridge) -> None:
    bmc = sim.bmcs[0]
    sim.power_off()
    spec = bridge_support.make_spec(bmc)
    url = bridge.open(spec, wait=0)['url']
    with viewers.Viewer(url) as viewer:
        wait_viewers(bridge, 1)
        sim.power_on()
        bridge.wait_state(spec.node, 'connected')
        bmc.host.send(b'login: ')
        viewer.wait_for(b'login: ')


def test_what_is_typed_at_a_dead_console_never_reaches_the_host(
        sim: ipmi_sim.IpmiSim, bridge: bridge_support.Bridge) -> None:
    bmc = sim.bmcs[0]
    sim.power_off()
    spec = bridge_support.make_spec(bmc)
    url = bridge.open(spec)['url']
    with viewers.Viewer(url) as viewer:
        viewer.send(b'reboot\r')
        wait_viewers(bridge, 1)
        sim.power_on()
        bridge.wait_state(spec.node, 'connected')
        viewer.send(b'hello\r')
        bmc.host.wait_received(b'hello\r')


def test_close_closes_the_port_and_frees_the_bmc(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    url = bridge.connect(spec)['url']
    with viewers.Viewer(url) as viewer:
        wait_viewers(bridge, 1)
        bmc.host.send(b'before')
        viewer.wait_exactly(b'before')

        assert bridge.close(spec.node)

        assert viewers.refused(url), 'the port is open after close'
        viewer.wait_closed()
        assert not viewer.reset, 'the viewer got RST, not FIN'
        bmc.host.send(b'after')
        bmc.wait_free()
        assert b'after' not in viewer.data
    assert bridge.consoles() == []
    assert bridge.close(spec.node) is False


def test_a_closed_console_opens_again_on_the_same_port(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    for word in (b'first', b'second', b'third'):
        status = bridge.open(spec)
        assert status['state'] == 'connected', status
        with viewers.Viewer(status['url']) as viewer:
            viewer.send(word)
            viewer.wait_for(word)
        assert bridge.close(spec.node)


def test_a_console_listens_on_ipv6_too(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc, tcp_host='::1')
    status = bridge.connect(spec)
    assert status['url'] == f'tcp://[::1]:{spec.tcp_port}'
    with viewers.Viewer(status['url']) as viewer:
        viewer.send(b'six')
        viewer.wait_for(b'six')


def test_a_bmc_is_found_by_its_name(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc, address='localhost')
    assert bridge.connect(spec)['bmc'] == f'localhost:{echo_bmc.port}'


def wait_viewers(bridge: bridge_support.Bridge, count: int) -> None:
    """Wait until the consoles of a bridge have so many viewers together.

    A connection is open before the bridge has accepted it, and output that
    comes in between is not for it.
    """
    waiting.wait_until(
        lambda: sum(status['viewers']
                    for status in bridge.consoles()) == count,
        f'{count} viewers attached', seen=bridge.consoles)
