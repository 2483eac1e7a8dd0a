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

"""Steps that several of these tests take."""

import urllib.parse

from tests.support import ironic as real_ironic
from tests.support import viewers
from tests.support import waiting

#: Console interfaces of Ironic that a cloud has enabled beside ours.
IN_TREE = 'ipmitool-socat,no-console,solconsole'


def port_of(url: str) -> int:
    """The TCP port in a console's URL."""
    port = urllib.parse.urlsplit(url).port
    assert port is not None, url
    return port


def wait_echo(url: str, text: bytes, timeout: float = 60.0) -> None:
    """Wait until what is typed at a console comes back from the host."""
    def echoed() -> bool:
        # the port may be closed, and what is typed too early is dropped
        with viewers.Viewer(url) as viewer:
            viewer.send(text)
            viewer.wait_for(text, timeout=2.0)
        return True

    waiting.wait_until(echoed, f'echo of {text!r} at {url}', timeout)


def wait_listening(url: str) -> None:
    """Wait until a console's port takes connections."""
    waiting.wait_until(lambda: not viewers.refused(url),
                       f'{url} to listen')


def wait_refused(url: str) -> None:
    """Wait until a console that was disabled is gone."""
    waiting.wait_until(lambda: viewers.refused(url),
                       f'{url} to be closed')


def hardware_options(types: str, consoles: str) -> real_ironic.Options:
    """Options of an Ironic with some hardware types.

    :param types: enabled_hardware_types.
    :param consoles: enabled_console_interfaces.
    """
    names = types.split(',')
    power = ['ipmitool', 'redfish', *(['irmc'] if 'irmc' in names else [])]
    boot = ['pxe', *(['irmc-pxe'] if 'irmc' in names else [])]
    return {'DEFAULT': {
        'enabled_hardware_types': types,
        'enabled_console_interfaces': consoles,
        'enabled_power_interfaces': ','.join(power),
        'enabled_management_interfaces': ','.join(
            [*power, 'intel-ipmitool']),
        'enabled_boot_interfaces': ','.join(boot)}}


def assert_accepted(ironic: real_ironic.Ironic,
                    defaults: dict[str, str]) -> None:
    """Check that hardware types accept us and keep their defaults.

    :param defaults: default console interface by hardware type.
    """
    for name, default in defaults.items():
        driver = ironic.api.call('GET', f'/v1/drivers/{name}')
        assert 'solconsole' in driver['enabled_console_interfaces'], (
            f'{name} does not accept solconsole: {driver}')
        assert driver['default_console_interface'] == default, (
            f'the default of {name} has changed: {driver}')
        node = ironic.api.create_node(
            driver=name, interface=None, ipmi_address='127.0.0.1')
        assert ironic.api.node(node)['console_interface'] == default
        ironic.api.patch(node, console_interface='solconsole')
        ironic.api.delete(node)
