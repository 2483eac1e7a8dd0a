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

"""The BMC that the devstack plugin gives a node: a real ipmi_sim."""

import collections.abc
import pathlib
import shlex
import subprocess

import pytest

from tests.support import devstack
from tests.support import hosts
from tests.support import ipmitool
from tests.support import ports
from tests.support import processes
from tests.support import waiting

Rig = tuple[devstack.Devstack, hosts.Host, ipmitool.Ipmitool]


@pytest.fixture
def rig(tmp_path: pathlib.Path) -> collections.abc.Iterator[Rig]:
    """The plugin's BMC, started as it asks devstack to, and its host."""
    udp = ports.free_port()
    with hosts.Host(echo=True) as host:
        stack = devstack.Devstack(
            tmp_path, IRONIC_SOLCONSOLE_BMC_PORT=str(udp),
            IRONIC_SOLCONSOLE_SERIAL_PORT=str(host.port))
        (call,) = (call for call in stack.run('stack', 'extra')
                   if call.startswith('run_process'))
        _, _, command, _ = shlex.split(call.replace(
            'ir-sol-bmc ', 'ir-sol-bmc "').replace(' libvirt', '" libvirt'))
        with (tmp_path / 'ipmi_sim.log').open('wb') as log:
            bmc = subprocess.Popen(
                processes.die_with_us(shlex.split(command)),
                env=stack.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)
        try:
            host.wait_plugged()
            yield stack, host, ipmitool.Ipmitool(
                '127.0.0.1', udp, 'admin', 'password')
        finally:
            processes.end(bmc)


def test_power_and_boot_device_are_those_of_the_domain(rig: Rig) -> None:
    stack, _, tool = rig
    assert 'is off' in tool.run('chassis', 'power', 'status')
    tool.run('chassis', 'power', 'on')
    waiting.wait_until(lambda: stack.state() == 'running', 'a running node')
    assert 'is on' in tool.run('chassis', 'power', 'status')
    tool.run('chassis', 'bootdev', 'disk')
    waiting.wait_until(
        lambda: "dev=\"hd\" /><boot dev=\"network" in
        stack.domain_path().read_text(), 'a node that boots from its disk',
        seen=stack.domain_path().read_text)
    tool.run('chassis', 'bootdev', 'pxe')
    waiting.wait_until(
        lambda: "dev=\"network\" /><boot dev=\"hd" in
        stack.domain_path().read_text(), 'a node that boots from the network',
        seen=stack.domain_path().read_text)
    tool.run('chassis', 'power', 'off')
    waiting.wait_until(lambda: stack.state() == 'shut off', 'a node that is '
                       'off')


def test_its_console_is_the_serial_port(rig: Rig) -> None:
    _, host, tool = rig
    with tool.activate() as console:
        console.wait_open()
        console.type(b'typed')
        host.wait_received(b'typed')
        console.wait_for(b'typed')
        console.leave()
