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

"""A node's console through Ironic's API, as a client uses it."""

import concurrent.futures
import os
import pathlib
import signal
import socket

import pytest

from tests.integration import steps
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import ports
from tests.support import viewers
from tests.support import waiting

Ironic = real_ironic.Ironic
IpmiSim = ipmi_sim.IpmiSim


def test_the_life_of_a_console(ironic: Ironic, sim: IpmiSim) -> None:
    api, bmc = ironic.api, sim.bmcs[0]
    node = api.create_node(bmc, name='life')
    assert api.validate(node)['result'] is True
    url = api.enable(node)
    assert steps.port_of(url) in ironic.port_range, url
    assert url.startswith('tcp://127.0.0.1:')
    with viewers.Viewer(url) as viewer:
        viewer.send(b'uname -a\r')
        viewer.wait_for(b'uname -a\r')
        bmc.host.wait_received(b'uname -a\r')
        api.disable(node)
        viewer.wait_closed()
    assert viewers.refused(url), 'a console that is off has no open port'
    assert api.console(node) == {
        'console_enabled': False, 'console_info': None}
    bmc.wait_free()
    assert api.enable(node) == url, 'a node keeps its port'
    steps.wait_echo(url, b'again')
    api.delete(node)
    waiting.wait_until(lambda: viewers.refused(url),
                       'the port of a deleted node to be closed')
    bmc.wait_free()


def test_each_failure_has_its_own_words(ironic: Ironic,
                                        sim: IpmiSim) -> None:
    api, good, without = ironic.api, sim.bmcs[0], sim.bmcs[3]
    with ipmi_sim.silent_bmc() as silent:
        expected = {
            api.create_node(good, ipmi_password='wrong'): (
                'bad credentials', 'check ipmi_username, ipmi_password'),
            api.create_node(good, ipmi_username='nobody'): (
                'bad credentials', 'check ipmi_username, ipmi_password'),
            api.create_node(good, ipmi_port=silent): (
                'unreachable', 'check ipmi_address and ipmi_port'),
            api.create_node(without): (
                'SOL disabled', 'enable Serial over LAN on the BMC')}
        errors = {node: api.enable_fails(node) for node in expected}
    for node, words in expected.items():
        state = api.node(node)
        address = '127.0.0.1:{ipmi_port}'.format(**state['driver_info'])
        for part in (node, address, *words):
            assert part in errors[node], (
                f'{part!r} is missing in last_error {errors[node]!r}')
        internal = state['driver_internal_info']
        assert 'solconsole_generation' not in internal, (
            'a console that could not be enabled is off')
        assert 'solconsole_port' in internal
        assert viewers.refused(
            f'tcp://127.0.0.1:{internal["solconsole_port"]}')
        api.delete(node)
    good.wait_free()


def test_a_console_can_be_enabled_after_its_trouble_is_over(
        ironic: Ironic, sim: IpmiSim) -> None:
    api = ironic.api
    node = api.create_node(sim.bmcs[0], ipmi_password='wrong')
    api.enable_fails(node)
    api.patch(node, driver_info__ipmi_password='secret')
    steps.wait_echo(api.enable(node), b'now it works')
    api.delete(node)


def test_bad_driver_info_is_told_when_the_node_is_validated(
        ironic: Ironic, sim: IpmiSim) -> None:
    api = ironic.api
    node = api.create_node(
        sim.bmcs[0], ipmi_cipher_suite=8, ipmi_hex_kg_key='xyz')
    answer = api.validate(node)
    assert answer['result'] is False
    for part in ('ipmi_cipher_suite', '17 or 3', 'ipmi_hex_kg_key'):
        assert part in answer['reason']
    assert 'xyz' not in answer['reason'], 'a secret is in an answer'
    with pytest.raises(real_ironic.ApiError) as caught:
        api.set_console(node, True)
    assert caught.value.status == 400
    api.delete(node)


def test_a_node_may_be_on_demand(ironic: Ironic, sim: IpmiSim) -> None:
    api, bmc = ironic.api, sim.bmcs[1]
    node = api.create_node(bmc, solconsole_connection='sometimes')
    answer = api.validate(node)
    assert answer['result'] is False
    for part in ('solconsole_connection', 'sometimes', 'on-demand'):
        assert part in answer['reason'], answer
    api.patch(node, driver_info__solconsole_connection='on-demand')
    url = api.enable(node)
    assert not bmc.payload_active(), 'a session though nobody is there'
    with viewers.Viewer(url) as viewer:
        waiting.wait_until(bmc.payload_active, 'a session for the viewer')
        api.disable(node)       # as Nova does
        assert api.enable(node) == url
        assert not viewer.closed
        viewer.send(b'hello')
        viewer.wait_for(b'hello')
    api.delete(node)
    bmc.wait_free()


def test_a_bad_edit_blocks_neither_reading_nor_disabling(
        ironic: Ironic, sim: IpmiSim) -> None:
    api = ironic.api
    node = api.create_node(sim.bmcs[0])
    url = api.enable(node)
    api.patch(node, driver_info__ipmi_port='none')
    steps.wait_echo(api.url(node), b'still there')
    api.disable(node)
    steps.wait_refused(url)
    sim.bmcs[0].wait_free()
    api.delete(node)


def test_enabling_twice_disturbs_nobody(ironic: Ironic,
                                        sim: IpmiSim) -> None:
    api = ironic.api
    node = api.create_node(sim.bmcs[0])
    url = api.enable(node)
    with viewers.Viewer(url) as viewer:
        assert api.enable(node) == url
        viewer.send(b'same viewer')
        viewer.wait_for(b'same viewer')
    api.delete(node)


def test_two_nodes_never_share_a_port(ironic: Ironic, sim: IpmiSim) -> None:
    api = ironic.api
    nodes = [api.create_node(sim.bmcs[number % 3]) for number in range(9)]
    # BMCs are shared: some consoles are held by others, and on as well
    with concurrent.futures.ThreadPoolExecutor(9) as threads:
        urls = list(threads.map(api.enable, nodes))
    assert len(set(map(steps.port_of, urls))) == 9, urls
    assert len(ironic.bridges()) == 1, 'one process for all'
    for node in nodes:
        api.delete(node)


def test_a_port_passes_to_no_other_node_in_its_quarantine(
        ironic: Ironic, sim: IpmiSim) -> None:
    api, port = ironic.api, ports.free_port()
    first = api.create_node(sim.bmcs[0], ipmi_terminal_port=port)
    assert steps.port_of(api.enable(first)) == port
    api.disable(first)
    second = api.create_node(sim.bmcs[1], ipmi_terminal_port=port)
    error = api.enable_fails(second)
    assert f'ipmi_terminal_port {port} belongs to node {first}' in error
    api.delete(first)
    error = api.enable_fails(second)
    assert f'TCP port {port} served' in error
    assert 'port_quarantine' in error
    api.patch(second, driver_info__ipmi_terminal_port=None)
    assert steps.port_of(api.enable(second)) != port
    api.delete(second)


def test_a_port_that_somebody_else_listens_on_is_passed_over(
        ironic: Ironic, sim: IpmiSim) -> None:
    api, port = ironic.api, ports.free_port()
    with socket.create_server(('127.0.0.1', port)):
        node = api.create_node(sim.bmcs[0], ipmi_terminal_port=port)
        error = api.enable_fails(node)
        assert str(port) in error
        assert 'in use' in error
        api.patch(node, driver_info__ipmi_terminal_port=None)
        url = api.enable(node)
        assert steps.port_of(url) != port, 'it moved'
        steps.wait_echo(url, b'moved')
    assert 'moves to a new TCP port' in ironic.log_text()
    api.delete(node)


def test_a_bridge_that_is_killed_comes_back_with_its_consoles(
        ironic: Ironic, sim: IpmiSim) -> None:
    api = ironic.api
    nodes = [api.create_node(bmc) for bmc in sim.bmcs[:2]]
    urls = [api.enable(node) for node in nodes]
    (old,) = ironic.bridges()
    os.kill(old, signal.SIGKILL)
    ironic.wait_bridges(1, besides=[old])
    for node, url in zip(nodes, urls):
        assert api.url(node) == url
        steps.wait_listening(url)
        assert api.node(node)['console_enabled']
    for node in nodes:
        api.delete(node)


def test_no_secret_is_in_a_command_line_environment_log_or_file(
        ironic: Ironic, sim: IpmiSim) -> None:
    api, secret = ironic.api, ipmi_sim.SECOND.password
    node = api.create_node(sim.bmcs[2], user=ipmi_sim.SECOND)
    url = api.enable(node)
    steps.wait_echo(url, b'x')
    (bridge,) = ironic.bridges()
    proc = pathlib.Path(f'/proc/{bridge}')
    for name in ('cmdline', 'environ'):
        assert secret.encode() not in (proc / name).read_bytes(), name
    api.disable(node)
    ours = [line for line in ironic.log_text().splitlines()
            if 'solconsole' in line and secret in line]
    assert not ours, ours[:3]
    for path in ironic.run_dir.rglob('*'):
        if path.is_file():
            assert secret not in path.read_text(errors='replace'), path
    api.delete(node)


def test_run_dir_is_closed_to_others(ironic: Ironic, sim: IpmiSim) -> None:
    node = ironic.api.create_node(sim.bmcs[0])
    ironic.api.enable(node)
    (socket_path,) = ironic.run_dir.rglob('*.sock')
    for path, mode in ((ironic.run_dir, 0o700), (socket_path.parent, 0o700),
                       (socket_path, 0o600),
                       (ironic.run_dir / 'ports.json', 0o600)):
        found = path.stat().st_mode & 0o777
        assert found == mode, f'{path} has mode {found:o}'
    ironic.api.delete(node)
