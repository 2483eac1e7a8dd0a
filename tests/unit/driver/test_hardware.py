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

"""Which hardware types accept the interface, and that nothing else moves."""

import subprocess
import sys
import typing

from ironic.drivers import generic
from ironic.drivers import ipmi
from ironic.drivers import redfish
from ironic.drivers.modules import ipmitool
from ironic.drivers.modules import noop
import pytest

from ironic_solconsole.driver import hardware
from ironic_solconsole.driver import interface


class Other:
    """Some vendor's console interface."""


class VendorIpmi(ipmi.IPMIHardware):
    """Adds in front of its parent's list, as iRMC or a vendor does."""

    @property
    def supported_console_interfaces(self) -> list[type]:
        return [Other, *super().supported_console_interfaces]


class VendorIpmiLast(ipmi.IPMIHardware):
    """Adds behind its parent's list."""

    @property
    def supported_console_interfaces(self) -> list[type]:
        return [*super().supported_console_interfaces, Other]


class VendorAlone(generic.GenericHardware):
    """Lists ipmitool-socat by itself, in a plain attribute."""

    supported_console_interfaces = [ipmitool.IPMISocatConsole,
                                    noop.NoConsole]
    supported_management_interfaces: list[type] = []
    supported_power_interfaces: list[type] = []


class VendorWithout(generic.GenericHardware):
    """Has nothing to do with IPMI."""

    supported_management_interfaces: list[type] = []
    supported_power_interfaces: list[type] = []

    @property
    def supported_console_interfaces(self) -> list[type]:
        return [Other, *super().supported_console_interfaces]


class VendorRedfish(redfish.RedfishHardware):
    """A Redfish type that inherits its list."""


class VendorRedfishOwn(redfish.RedfishHardware):
    """A Redfish type with a list of its own."""

    @property
    def supported_console_interfaces(self) -> list[type]:
        return [Other, noop.NoConsole]


@pytest.fixture(autouse=True)
def _accepted() -> None:
    hardware.accept(interface.SolConsole)


def listed(hardware_type: type) -> list[type]:
    return list(hardware_type().supported_console_interfaces)


@pytest.mark.parametrize('hardware_type', [
    ipmi.IPMIHardware, redfish.RedfishHardware, VendorIpmi, VendorIpmiLast,
    VendorAlone, VendorRedfish, VendorRedfishOwn])
def test_a_type_accepts_it_once_and_last(hardware_type: type) -> None:
    interfaces = listed(hardware_type)
    assert interfaces.count(interface.SolConsole) == 1, interfaces
    assert interfaces[-1] is interface.SolConsole, (
        'it must be last, or it becomes a default')


@pytest.mark.parametrize('hardware_type', [
    VendorWithout, generic.ManualManagementHardware])
def test_a_type_without_ipmi_does_not(hardware_type: type) -> None:
    assert interface.SolConsole not in listed(hardware_type)


def test_the_generic_base_is_not_touched() -> None:
    # up to Ironic 29 it has no list of its own
    own = vars(generic.GenericHardware).get('supported_console_interfaces')
    assert own is None or type(own) is property


def test_what_was_listed_stays_in_its_order() -> None:
    assert listed(VendorIpmi)[:2] == [Other, ipmitool.IPMISocatConsole]
    assert listed(VendorIpmiLast)[-2:] == [Other, interface.SolConsole]
    assert noop.NoConsole in listed(ipmi.IPMIHardware)


def test_accepting_twice_changes_nothing() -> None:
    before = {cls: listed(cls) for cls in (ipmi.IPMIHardware, VendorIpmi)}
    hardware.accept(interface.SolConsole)
    assert {cls: listed(cls) for cls in before} == before


def test_importing_the_module_alone_changes_nothing() -> None:
    code: typing.Final = (
        'import ironic_solconsole.driver.interface\n'
        'from ironic.drivers import ipmi\n'
        'names = [cls.__name__ for cls in '
        'ipmi.IPMIHardware().supported_console_interfaces]\n'
        'assert "SolConsole" not in names, names\n'
        'ironic_solconsole.driver.interface.SolConsole()\n'
        'names = [cls.__name__ for cls in '
        'ipmi.IPMIHardware().supported_console_interfaces]\n'
        'assert names[-1] == "SolConsole", names\n')
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60)
