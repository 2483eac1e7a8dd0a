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

"""An open console follows its spec; what is equal is not disturbed."""

import dataclasses
import os
import socket
import uuid

import pytest

from ironic_solconsole import exception
from tests.functional.test_console import wait_viewers
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import ports
from tests.support import viewers
from tests.support import waiting


def test_an_equal_spec_disturbs_nothing(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    before = bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        for _ in range(20):
            after = bridge.open(dataclasses.replace(
                spec, generation=uuid.uuid4().hex))
            assert (after['session'], after['since'], after['viewers']) == (
                before['session'], before['since'], 1)
        assert after['generation'] != before['generation']
        viewer.send(b'hello')
        viewer.wait_exactly(b'hello')


def test_a_new_name_disturbs_nothing(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc, name='before')
    session = bridge.connect(spec)['session']
    bridge.open(dataclasses.replace(spec, name='after'))
    assert bridge.show('after')['session'] == session
    with pytest.raises(exception.RequestRefused) as refusal:
        bridge.show('before')
    assert refusal.value.kind == 'no-such-console'


def test_a_new_address_moves_the_link_under_its_viewers(
        two_bmcs: list[ipmi_sim.Bmc], bridge: bridge_support.Bridge) -> None:
    old, new = two_bmcs
    spec = bridge_support.make_spec(old)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        status = bridge.open(dataclasses.replace(spec, port=new.port))
        assert (status['state'], status['bmc']) == (
            'connected', f'127.0.0.1:{new.port}')
        old.wait_free()
        old.host.send(b'old')
        new.host.send(b'new')
        viewer.wait_exactly(b'new')
        viewer.send(b'typed')
        new.host.wait_received(b'typed')
        assert old.host.received == b''
        assert bridge.show(spec.node)['viewers'] == 1


def test_a_new_account_on_the_same_bmc_connects_anew(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    session = bridge.connect(spec)['session']
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        status = bridge.open(dataclasses.replace(
            spec, username=ipmi_sim.SECOND.name,
            password=ipmi_sim.SECOND.password))
        assert status['state'] == 'connected', status
        assert status['session'] != session
        bmc.host.send(b'hello')
        viewer.wait_for(b'hello')


def test_a_bad_address_is_followed_too_and_back(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        wrong = dataclasses.replace(spec, port=ports.free_port())
        status = bridge.open(wrong)
        assert status['reason'] == exception.Reason.UNREACHABLE, status
        bmc.wait_free()
        assert bridge.open(spec)['state'] == 'connected'
        bmc.host.send(b'hello')
        viewer.wait_for(b'hello')


def test_a_new_tcp_port_is_listened_on_instead_of_the_old(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    before = bridge.connect(spec)
    moved = dataclasses.replace(spec, tcp_port=ports.free_port())
    status = bridge.open(moved)
    assert status['url'] == moved.url
    assert status['session'] == before['session']
    assert viewers.refused(spec.url), 'the old port is still open'
    with viewers.Viewer(moved.url) as viewer:
        viewer.send(b'hello')
        viewer.wait_for(b'hello')


def test_another_instance_sends_the_viewers_of_the_last_one_away(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc, instance_uuid=str(uuid.uuid4()))
    session = bridge.connect(spec)['session']
    with viewers.Viewer(spec.url) as tenant:
        wait_viewers(bridge, 1)
        status = bridge.open(dataclasses.replace(
            spec, instance_uuid=str(uuid.uuid4())))
        wait_viewers(bridge, 0)
        bmc.host.send(b'of the next tenant')
        tenant.wait_closed()
        assert b'next tenant' not in tenant.data
    assert status['session'] == session
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        bmc.host.send(b'welcome')
        viewer.wait_for(b'welcome')


def test_what_the_last_tenant_pasted_does_not_reach_the_next_one(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc, instance_uuid=str(uuid.uuid4()))
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as tenant:
        tenant.send(b'x' * 200_000)
        waiting.wait_until(lambda: len(bmc.host.received) > 500,
                           'the begin of the paste at the host')
        bridge.open(dataclasses.replace(
            spec, instance_uuid=str(uuid.uuid4())))
        before = len(bmc.host.received)
        tenant.wait_closed()
    with viewers.Viewer(spec.url) as viewer:
        viewer.send(b'next tenant')
        waiting.wait_until(lambda: b'next tenant' in bmc.host.received,
                           'input of the next tenant at the host',
                           seen=lambda: bmc.host.received[-100:])
    late = bmc.host.received[before:].count(b'x')
    # What is under way when the owner changes cannot be called back.
    assert late <= 2 * 255, (
        f'{late} bytes of the last tenant reached the host of the next')


def test_the_address_may_change_to_one_that_includes_the_old_one(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    session = bridge.connect(spec)['session']
    for host in ('0.0.0.0', '127.0.0.1'):
        status = bridge.open(dataclasses.replace(spec, tcp_host=host))
        assert status['session'] == session
        assert status['url'] == f'tcp://{host}:{spec.tcp_port}'
        with viewers.Viewer(spec.url):
            wait_viewers(bridge, 1)
        wait_viewers(bridge, 0)


def test_a_port_in_use_is_refused_with_the_holders_name(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    with socket.socket() as occupant:
        occupant.bind(('127.0.0.1', spec.tcp_port))
        occupant.listen()
        with pytest.raises(exception.PortInUse) as refusal:
            bridge.open(spec)
        assert str(spec.tcp_port) in str(refusal.value)
        assert str(os.getpid()) in str(refusal.value)
        assert bridge.consoles() == []
        assert not bmc.payload_active(), (
            'a console that was refused went to its BMC')
    assert bridge.open(spec)['state'] == 'connected'


def test_a_port_of_another_console_is_refused(
        two_bmcs: list[ipmi_sim.Bmc], bridge: bridge_support.Bridge) -> None:
    first = bridge_support.make_spec(two_bmcs[0])
    second = bridge_support.make_spec(two_bmcs[1], tcp_port=first.tcp_port)
    bridge.connect(first)
    with pytest.raises(exception.PortInUse):
        bridge.open(second)
    assert bridge.show(first.node)['state'] == 'connected'
    # And it is free at once when the first is closed.
    assert bridge.close(first.node)
    assert bridge.open(second)['state'] == 'connected'


def test_an_update_to_a_port_in_use_changes_nothing(
        two_bmcs: list[ipmi_sim.Bmc], bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(two_bmcs[0])
    before = bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer, socket.socket() as occupant:
        wait_viewers(bridge, 1)
        taken = ports.free_port()
        occupant.bind(('127.0.0.1', taken))
        occupant.listen()
        with pytest.raises(exception.PortInUse):
            bridge.open(dataclasses.replace(
                spec, tcp_port=taken, port=two_bmcs[1].port))
        after = bridge.show(spec.node)
        for key in ('session', 'url', 'bmc', 'since', 'generation'):
            assert after[key] == before[key], key
        two_bmcs[0].host.send(b'hello')
        viewer.wait_exactly(b'hello')


def test_an_address_that_is_not_of_this_host_is_refused(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc, tcp_host='192.0.2.1')
    with pytest.raises(exception.RequestRefused) as refusal:
        bridge.open(spec)
    assert '192.0.2.1' in str(refusal.value)
    assert not isinstance(refusal.value, exception.PortInUse)
    assert bridge.consoles() == []


def test_opens_and_closes_in_any_order_end_as_the_last_one_says(
        two_bmcs: list[ipmi_sim.Bmc], bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(two_bmcs[0])
    other = dataclasses.replace(spec, port=two_bmcs[1].port)
    futures = []
    for _ in range(10):
        futures.append(bridge.submit(
            'open', {'spec': spec.to_json(), 'wait': 0}))
        futures.append(bridge.submit('close', {'node': spec.node}))
        futures.append(bridge.submit(
            'open', {'spec': other.to_json(), 'wait': 5}))
        futures.append(bridge.submit(
            'open', {'spec': spec.to_json(), 'wait': 5}))
    for future in futures:
        bridge.collect(future, 'open or close')
    bridge.wait_state(spec.node, 'connected')
    assert bridge.show(spec.node)['bmc'] == spec.bmc
    two_bmcs[1].wait_free()
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        two_bmcs[0].host.send(b'hello')
        viewer.wait_exactly(b'hello')
    bridge.close(spec.node)
    waiting.wait_until(
        lambda: not two_bmcs[0].payload_active(), 'a free BMC')
