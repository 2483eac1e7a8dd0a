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

"""An Ironic node, as far as its serial console goes.

What its ``driver_info`` says is read in :mod:`ironic_solconsole.driver_info`;
complaints become Ironic's exceptions here.
"""

import typing

from ironic.common import exception as ironic_exception

from ironic_solconsole import driver_info
from ironic_solconsole import exception
from ironic_solconsole import spec

#: Keys in driver_internal_info. The port stays while the console is off;
#: the generation is there from start_console to stop_console, the last
#: activation on the BMC as well. A teardown leaves console_enabled True,
#: and a word that keeps the console closed until the next deployment.
PORT_KEY = 'solconsole_port'
GENERATION_KEY = 'solconsole_generation'
ACTIVATION_KEY = 'solconsole_activation'
TORN_DOWN_KEY = 'solconsole_torn_down'

#: Where ipmitool-socat records the port that it allocated.
IN_TREE_PORT_KEY = 'allocated_ipmi_terminal_port'


def parse(node: typing.Any) -> driver_info.ConsoleInfo:
    """Read the driver_info of a node.

    :param node: an Ironic node, with its secrets.
    :raises: MissingParameterValue if nothing but missing fields is wrong.
    :raises: InvalidParameterValue otherwise; it names every bad field.
    """
    try:
        return driver_info.parse(node.driver_info or {})
    except exception.DriverInfoError as error:
        if error.missing:
            raise ironic_exception.MissingParameterValue(
                str(error)) from None
        raise ironic_exception.InvalidParameterValue(str(error)) from None


def generation(node: typing.Any) -> str:
    """The generation of a console that should be open, or ''."""
    value = (node.driver_internal_info or {}).get(GENERATION_KEY)
    return value if isinstance(value, str) else ''


def console_spec(node: typing.Any, info: driver_info.ConsoleInfo, *,
                 generation: str, connection: str, tcp_host: str,
                 tcp_port: int) -> spec.ConsoleSpec:
    """All that a bridge needs to open the console of a node.

    :param node: an Ironic node.
    :param info: what parse() found in it.
    :param generation: the word that this start of the console has.
    :param connection: where the node does not say: of spec.CONNECTION.
    :param tcp_host: local address to listen on.
    :param tcp_port: TCP port to listen on.
    :raises: InvalidParameterValue if the values do not make a console.
    """
    try:
        return info.to_spec(
            node=node.uuid, name=node.name or '',
            instance_uuid=node.instance_uuid or '', generation=generation,
            connection=connection, tcp_host=tcp_host, tcp_port=tcp_port)
    except exception.SpecError as error:
        raise ironic_exception.InvalidParameterValue(str(error)) from None
