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

"""Hardware types of Ironic 39, and nodes of more than one of them."""

import typing

import pytest

from tests.integration import steps
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic

TYPES = 'ipmi,redfish,intel-ipmi'


@pytest.mark.parametrize(('consoles', 'default'), [
    (steps.IN_TREE, 'ipmitool-socat'), ('solconsole', 'solconsole')])
def test_types_accept_it_and_keep_their_defaults(
        consoles: str, default: str, sim: ipmi_sim.IpmiSim) -> None:
    bmc = sim.bmcs[0]
    with real_ironic.Ironic(
            options=steps.hardware_options(TYPES, consoles)) as ironic:
        steps.assert_accepted(
            ironic, dict.fromkeys(TYPES.split(','), default))
        accounts: dict[str, dict[str, typing.Any]] = {
                'intel-ipmi': {},
                # one account for all protocols
                'redfish': {
                    'ipmi_address': None, 'ipmi_username': None,
                    'ipmi_password': None,
                    'redfish_address': 'https://127.0.0.1:8443',
                    'redfish_username': ipmi_sim.ADMIN.name,
                    'redfish_password': ipmi_sim.ADMIN.password}}
        for driver, info in accounts.items():
            node = ironic.api.create_node(bmc, driver=driver, **info)
            steps.wait_echo(ironic.api.enable(node), driver.encode())
            ironic.api.disable(node)
            ironic.api.delete(node)
