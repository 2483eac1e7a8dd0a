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

"""Each phase of the devstack plugin, with stubs in the place of devstack."""

import pathlib
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from tests.support import devstack

LIBRARY = devstack.ROOT / 'devstack' / 'lib' / 'solconsole'


def test_a_whole_life(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path, IRONIC_VM_COUNT='2')
    stack.add_node('node-1')

    calls = stack.run('stack', 'install')
    assert f'setup_develop {devstack.ROOT} redis' in calls
    assert 'install_package openipmi ipmitool' in calls
    assert 'install_package redis-server' in calls

    calls = stack.run('stack', 'post-config')
    assert 'start_service redis-server' in calls
    assert 'redis-cli config set appendonly yes' in calls
    assert stack.option('DEFAULT', 'enabled_console_interfaces') == (
        'no-console,solconsole')
    assert stack.option('solconsole', 'coordination_url') == (
        'redis://192.0.2.1:6379')
    assert stack.option('console', 'socat_address') == '192.0.2.1'

    calls = stack.run('stack', 'extra')
    (bmc,) = (call for call in calls if call.startswith('run_process'))
    assert 'ipmi_sim' in bmc
    assert bmc.endswith(' libvirt')
    sets = [call for call in calls if 'baremetal node set' in call]
    assert [call.rpartition(' ')[2] for call in sets] == ['node-0', 'node-1']
    assert 'ipmi_port=6331' in sets[1]
    assert '--console-interface solconsole' in sets[1]
    assert (stack.data / 'lan.conf').stat().st_mode & 0o077 == 0, (
        'passwords are in it')

    calls = stack.run('unstack')
    assert 'stop_process ir-sol-bmc' in calls
    assert 'stop_service redis-server' in calls

    stack.run('clean')
    assert not stack.data.exists()


def test_it_is_run_twice_without_harm(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path)
    for _ in range(2):
        for phase in ('install', 'post-config', 'extra'):
            stack.run('stack', phase)
    assert stack.option('DEFAULT', 'enabled_console_interfaces') == (
        'no-console,solconsole')
    lan = (stack.data / 'lan.conf').read_text()
    assert lan.count('startlan') == 1
    xml = ElementTree.parse(stack.domain_path())
    assert len(xml.findall('devices/serial[@type="tcp"]')) == 1


def test_etcd_is_that_of_devstack(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path, IRONIC_SOLCONSOLE_BACKEND='etcd')
    calls = stack.run('stack', 'install')
    assert f'setup_develop {devstack.ROOT} etcd' in calls
    assert not any('redis' in call for call in calls)
    stack.run('stack', 'post-config')
    assert stack.option('solconsole', 'coordination_url') == (
        'etcd3+http://192.0.2.1:2379')
    stack.run('unstack')
    assert not any('redis' in call for call in stack.calls())


def test_etcd_must_be_enabled(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path, services='ir-cond ir-sol-bmc',
                              IRONIC_SOLCONSOLE_BACKEND='etcd')
    done = stack.phase('stack', 'install')
    assert done.returncode
    assert 'enable_service etcd3' in done.stderr


def test_files_need_nothing(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path, IRONIC_SOLCONSOLE_BACKEND='file')
    assert f'setup_develop {devstack.ROOT}' in stack.run('stack', 'install')
    stack.run('stack', 'post-config')
    assert stack.option('solconsole', 'coordination_url') == ''


@pytest.mark.parametrize(('url', 'extra'), [
    ('zookeeper://192.0.2.9:2181', 'zookeeper'),
    ('rediss://192.0.2.9:6379', 'redis')])
def test_a_server_that_is_there_already(
        url: str, extra: str, tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(
        tmp_path, IRONIC_SOLCONSOLE_COORDINATION_URL=url)
    calls = stack.run('stack', 'install')
    assert f'setup_develop {devstack.ROOT} {extra}' in calls
    assert 'install_package redis-server' not in calls
    stack.run('stack', 'post-config')
    assert stack.option('solconsole', 'coordination_url') == url


def test_an_unknown_backend_is_refused(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path, IRONIC_SOLCONSOLE_BACKEND='mysql')
    done = stack.phase('stack', 'post-config')
    assert done.returncode
    assert 'file, redis or etcd' in done.stderr


def test_other_distributions_name_packages_otherwise(
        tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path, distribution='rocky')
    calls = stack.run('stack', 'install')
    assert 'install_package OpenIPMI-lanserv ipmitool' in calls
    assert 'install_package redis' in calls


def test_without_bmcs_nodes_are_left_alone(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path, services='ir-cond',
                              IRONIC_SOLCONSOLE_BMCS='False')
    before = stack.domain_path().read_text()
    assert 'enable_service ir-sol-bmc' not in stack.run('stack', 'extra')
    assert stack.domain_path().read_text() == before
    stack.run('unstack')
    assert 'stop_process ir-sol-bmc' not in stack.calls()


def test_without_a_conductor_nothing_is_done(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path, services='ir-api')
    for words in (('stack', 'install'), ('stack', 'post-config'),
                  ('stack', 'extra'), ('unstack',), ('clean',)):
        calls = [call for call in stack.run(*words)
                 if not call.startswith(('define_', 'plugin_', 'enable_'))]
        assert calls == []


def test_nodes_may_be_named(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path,
                              IRONIC_SOLCONSOLE_NODES='left, right')
    stack.add_node('left')
    stack.add_node('right')
    calls = stack.run('stack', 'extra')
    assert [call.rpartition(' ')[2] for call in calls
            if 'node set' in call] == ['left', 'right']


def domain(stack: devstack.Devstack, *words: str) -> str:
    """Run tools/domain for node-0."""
    return subprocess.run(
        [devstack.ROOT / 'devstack/tools/domain', 'node-0', *words],
        env=stack.environment, check=True, timeout=30, text=True,
        stdout=subprocess.PIPE).stdout.strip()


def test_the_serial_port_listens_and_keeps_its_log(
        tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path)
    domain(stack, 'serial', '21330')
    xml = ElementTree.parse(stack.domain_path())
    (serial,) = xml.findall('devices/serial[@type="tcp"]')
    source, log = serial.find('source'), serial.find('log')
    assert source is not None
    assert source.attrib == {
        'mode': 'bind', 'host': '127.0.0.1', 'service': '21330'}
    assert log is not None
    assert log.get('file') == '/var/log/node-0.log'
    assert not xml.findall('devices/console')
    assert xml.find('devices/serial[@type="pty"]') is not None, (
        'the second serial port is not ours')


def test_the_boot_device_is_changed(tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path)
    assert domain(stack, 'boot') == 'pxe'
    domain(stack, 'boot', 'hd')
    assert domain(stack, 'boot') == 'default'
    domain(stack, 'boot', 'network')
    assert domain(stack, 'boot') == 'pxe'


def test_boot_order_of_devices_counts_and_is_replaced(
        tmp_path: pathlib.Path) -> None:
    stack = devstack.Devstack(tmp_path)
    path = stack.domain_path()
    path.write_text(path.read_text().replace(
        "<boot dev='network'/>", '').replace(
        '</interface>', "<boot order='1'/></interface>"))
    assert domain(stack, 'boot') == 'pxe'
    domain(stack, 'boot', 'hd')
    assert domain(stack, 'boot') == 'default'
    assert ElementTree.parse(path).find('devices/interface/boot') is None


def test_no_function_is_dead() -> None:
    names = re.findall(r'^function (\w+)', LIBRARY.read_text(), re.MULTILINE)
    assert len(names) > 10
    text = LIBRARY.read_text() + (
        devstack.ROOT / 'devstack/plugin.sh').read_text()
    unused = [name for name in names
              if len(re.findall(rf'\b{name}\b', text)) < 2]
    assert not unused
