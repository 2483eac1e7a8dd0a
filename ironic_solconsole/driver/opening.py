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

"""What has to be settled before a console is opened.

Its generation and its port, which are saved in the node first; its spec,
made from the node; and what the conductor before us knew of the BMC.
"""

import typing
import uuid

from ironic.conf import CONF

from ironic_solconsole import conf
from ironic_solconsole import driver_info
from ironic_solconsole import spec
from ironic_solconsole.driver import bridges
from ironic_solconsole.driver import memories as node_memories
from ironic_solconsole.driver import node_info


def mark(node: typing.Any, pool: bridges.BridgePool) -> None:
    """See that a node has a generation that has not ended."""
    generation = node_info.generation(node)
    if not generation or pool.ended(generation):
        node.set_driver_internal_info(
            node_info.GENERATION_KEY, uuid.uuid4().hex)
    node.del_driver_internal_info(node_info.TORN_DOWN_KEY)


def unmark(node: typing.Any, memories: node_memories.Memories) -> None:
    """Take from a node what says that its console should be open."""
    node.del_driver_internal_info(node_info.GENERATION_KEY)
    node.del_driver_internal_info(node_info.ACTIVATION_KEY)
    memories.forget(node.uuid)


def make_spec(node: typing.Any, info: driver_info.ConsoleInfo,
              port: int) -> spec.ConsoleSpec:
    """The spec of a marked node.

    :raises: InvalidParameterValue if the values do not make a console.
    """
    return node_info.console_spec(
        node, info, generation=node_info.generation(node),
        connection=CONF[conf.GROUP].connection,
        tcp_host=CONF.console.socat_address, tcp_port=port)


def recall(node: typing.Any, memories: node_memories.Memories) -> None:
    """Let the bridge know what another conductor has left in the node."""
    memories.recall(node.uuid, node.driver_internal_info.get(
        node_info.ACTIVATION_KEY))


def save(node: typing.Any) -> None:
    """Save a node, if anything in it has changed."""
    if node.obj_what_changed():
        node.save()
