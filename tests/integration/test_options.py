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

"""A conductor whose ``[solconsole]`` options are wrong."""

import pytest

from tests.integration import steps
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic

WRONG = {
    'bridges': '0', 'client_mode': 'mine', 'max_clients': 'many',
    'coordination_url': 'redis://:hunter$two@192.0.2.1',
    'allowed_clients': 'nova', 'port_range': '20000:10000',
    'notices': 'perhaps', 'lock_ttl': '1'}


def test_it_starts_says_so_in_one_line_and_switches_no_console_off(
        own_ironic: real_ironic.Ironic, sim: ipmi_sim.IpmiSim) -> None:
    ironic, bmc = own_ironic, sim.bmcs[0]
    api = ironic.api
    both: dict[str, dict[str, object]] = {'DEFAULT': {
        'enabled_console_interfaces': steps.IN_TREE}}
    node = api.create_node(bmc)
    url = api.enable(node)
    steps.wait_echo(url, b'before')
    ironic.stop()

    ironic.set_options({**both, 'solconsole': WRONG})
    ironic.start()
    ironic.wait_log('No console can be opened')
    lines = [line for line in ironic.log.read_text().splitlines()
             if 'No console can be opened' in line]
    assert len(lines) == 1, lines
    for name in WRONG:
        assert f'[solconsole]{name}' in lines[0]
    assert 'hunter' not in ironic.log_text()
    assert 'Traceback' not in ironic.log_text()
    steps.wait_refused(url)
    assert api.node(node)['console_enabled'] is True
    with pytest.raises(real_ironic.ApiError, match=r'\[solconsole\]bridges'):
        api.console(node)
    other = api.create_node(bmc)
    assert '[solconsole]bridges' in api.validate(other)['reason']
    with pytest.raises(real_ironic.ApiError, match=r'\[solconsole\]bridges'):
        api.set_console(other, True)
    # other interfaces are as good as ever
    api.patch(other, console_interface='ipmitool-socat')
    assert api.validate(other)['result'] is True

    ironic.stop()
    ironic.set_options(both)
    ironic.start()
    assert api.url(node) == url
    steps.wait_echo(url, b'after')


def test_a_console_can_be_switched_off_all_the_same(
        own_ironic: real_ironic.Ironic, sim: ipmi_sim.IpmiSim) -> None:
    node = own_ironic.api.create_node(sim.bmcs[1])
    own_ironic.api.enable(node)
    own_ironic.stop()
    own_ironic.set_options({'solconsole': {'bridges': 0}})
    own_ironic.start()
    own_ironic.api.disable(node)
