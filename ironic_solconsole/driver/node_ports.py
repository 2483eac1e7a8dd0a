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

"""The TCP port of each Ironic node.

Between ports and journal, which know nothing of Ironic, and its database
and options.
"""

from collections.abc import Collection
from collections.abc import Mapping
import pathlib
import typing

from ironic import objects
from ironic.common import exception as ironic_exception
from ironic.conf import CONF
from oslo_log import log

from ironic_solconsole import conf
from ironic_solconsole import exception
from ironic_solconsole.driver import journal
from ironic_solconsole.driver import node_info
from ironic_solconsole.driver import ports

LOG = log.getLogger(__name__)


def remembered(node: typing.Any) -> int | None:
    """The port that a node was given before, or None."""
    return ports.as_port(node.driver_internal_info.get(node_info.PORT_KEY))


def recorded(node: typing.Any, fixed: int | None) -> int | None:
    """The port that a node can have without any further check, or None.

    :param fixed: the port that its driver_info asks for, or None.
    """
    port = remembered(node)
    return port if fixed in (None, port) else None


def ranges() -> list[range]:
    """Where ports are picked from.

    :raises: InvalidParameterValue if the options give no port.
    """
    try:
        return conf.configured_ranges(
            CONF[conf.GROUP].port_range, CONF.console.port_range)
    except exception.PortError as error:
        raise ironic_exception.InvalidParameterValue(
            f'configuration of this conductor: {error}') from error


class NodePorts:
    """Gives ports to nodes, and takes them back.

    :param directory: [solconsole]run_dir.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._book = journal.PortBook(
            directory, CONF[conf.GROUP].port_quarantine)

    def take(self, task: typing.Any, fixed: int | None,
             avoid: Collection[int] = ()) -> int:
        """Give the task's node its port; a new one is saved in the node.

        :param fixed: the port that driver_info asks for, or None.
        :param avoid: ports that somebody else listens on.
        :raises: PortError if it can have none.
        :raises: InvalidParameterValue if the options give no port.
        """
        node = task.node
        avoid = set(avoid)

        def claims() -> dict[int, ports.Claim]:
            return ports.recorded(
                objects.Node.list(
                    task.context, filters={'include_children': True},
                    fields=['uuid', 'name', 'driver_info',
                            'driver_internal_info']),
                besides=node.uuid)

        while True:
            before = remembered(node)
            port = self._book.take(
                node.uuid, fixed=fixed, remembered=before, ranges=ranges(),
                claims=claims, avoid=avoid)
            if port == before:
                return port
            node.set_driver_internal_info(node_info.PORT_KEY, port)
            node.save()
            # A conductor on another host may have chosen it for another
            # node at the same moment. Both have saved before they look, so
            # at least one of them sees it, and steps back.
            if fixed is not None or port not in claims():
                return port
            avoid.add(port)

    def take_many(self, recorded: Mapping[str, int]) -> set[str]:
        """Let nodes have the ports that are recorded for them, at once.

        :param recorded: ports by UUID.
        :returns: the nodes that have them now; each other one needs take().
        :raises: PortError if the journal fails.
        """
        return self._book.take_many(recorded) if recorded else set()

    def release(self, *nodes: str) -> None:
        """The ports of nodes serve no more; never fails.

        :param nodes: UUIDs, or '' for all nodes of this conductor.
        """
        if not nodes:
            return
        try:
            self._book.release(*nodes)
        except exception.PortError as error:
            # what serves is released when this process is gone
            LOG.warning('The TCP ports of %(nodes)s cannot be released: '
                        '%(error)s', {'error': error, 'nodes': (
                            f'nodes {", ".join(nodes)}' if all(nodes)
                            else 'all nodes')})
