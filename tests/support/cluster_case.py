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
"""Nodes with consoles on a cluster, for one test, and what must hold."""

import collections.abc
import dataclasses
import time
import typing

from tests.support import cluster as real_cluster
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import viewers
from tests.support import waiting

Conductor = real_cluster.Conductor

#: Seconds, as TIMES of the cluster says.
TAKEOVER = 3.0
LOCK_TTL = 8.0

#: What is promised, in seconds; tests wait three times as long.
TAKEN_OVER = LOCK_TTL + 3.0     # from the ring's change, after kill -9
HANDED_OVER = 5.0               # the same, after a graceful stop
CLOSED = TAKEOVER + 2.0         # by untakeover
OPENED = TAKEOVER + 2.0         # by takeover, where nobody has the lock

ACTIVATION = 'solconsole_activation'
GENERATION = 'solconsole_generation'


@dataclasses.dataclass(frozen=True)
class Node:
    """A node whose console was enabled.

    :param port: TCP port of the console.
    """

    uuid: str
    bmc: ipmi_sim.Bmc
    port: int


class Case:
    """The nodes of one test.

    :param bmcs: gives BMCs that no test has used.
    """

    def __init__(self, cluster: real_cluster.Cluster,
                 bmcs: collections.abc.Iterator[ipmi_sim.Bmc]) -> None:
        self.cluster = cluster
        self.api = cluster.api
        self._bmcs = bmcs
        self._made: list[str] = []
        #: Nodes whose console_enabled must be True to the end.
        self._on: set[str] = set()
        self._start = time.monotonic()

    def bmc(self) -> ipmi_sim.Bmc:
        """One that no test has used."""
        return next(self._bmcs)

    def node(self, on: Conductor | None = None,
             bmc: ipmi_sim.Bmc | None = None,
             **fields: typing.Any) -> Node:
        """A node whose console is on and connected.

        :param on: the conductor that the ring gives it to.
        :param bmc: its BMC; one that no test has used when None.
        :param fields: as of Api.create_node.
        """
        bmc = bmc or self.bmc()
        uuid = self.create(bmc, on, **fields)
        port = self.enable(uuid)
        self.cluster.wait_connected(uuid, on)
        return Node(uuid, bmc, port)

    def create(self, bmc: ipmi_sim.Bmc, on: Conductor | None = None,
               **fields: typing.Any) -> str:
        """A node whose console is off."""
        uuid = self.cluster.create_node(bmc, on, **fields)
        self._made.append(uuid)
        return uuid

    def enable(self, uuid: str) -> int:
        """Switch a console on; gives its TCP port."""
        url = self.api.enable(uuid)
        self._on.add(uuid)
        return int(url.rpartition(':')[2])

    def no_longer_on(self, uuid: str) -> None:
        """A test switches a console off, or deletes the node."""
        self._on.discard(uuid)

    def note(self, what: str) -> None:
        """Print what happened and when, for who reads the output."""
        print(f'{time.monotonic() - self._start:6.1f} s  {what}')

    def activated(self, node: Node) -> None:
        """Wait until the activation is in the database."""
        waiting.wait_until(
            lambda: ACTIVATION in self.internal(node.uuid),
            f'{ACTIVATION} of node {node.uuid}', 3 * CLOSED, interval=0.2,
            seen=lambda: self.internal(node.uuid))

    def internal(self, uuid: str) -> dict[str, typing.Any]:
        """driver_internal_info of a node."""
        info = self.api.node(uuid)['driver_internal_info']
        assert isinstance(info, dict)
        return info

    def session(self, node: Node) -> str:
        """The BMC session that its console has."""
        for status in self.cluster.consoles(node.uuid).values():
            if status['state'] == 'connected':
                return str(status['session'])
        return ''

    def works(self, node: Node, on: Conductor) -> None:
        """See that a console is where it belongs, once, and of use."""
        cluster = self.cluster
        cluster.wait_connected(node.uuid, on)
        where = cluster.where(node.uuid)
        assert set(where.consoles) == {on}, (
            f'node {node.uuid} belongs on {on} alone: {where}')
        url = f'tcp://{on.address}:{node.port}'
        waiting.wait_until(
            lambda: self.api.console(node.uuid)['console_info']['url'] == url,
            f'URL {url} of node {node.uuid}', interval=0.1)
        for other in cluster.conductors:
            if other is not on:
                assert viewers.refused(
                    f'tcp://{other.address}:{node.port}'), (
                    f'{other} listens for node {node.uuid} as well')
        with viewers.Viewer(url) as viewer:
            viewer.send(b'still of use')
            viewer.wait_for(b'still of use')
        holder = node.bmc.ipmitool().holder()
        session = int(self.session(node), 16)
        assert holder == session, (
            f'BMC session {holder:#x} has the console of node {node.uuid}, '
            f'and the bridge has {session:#x}')

    def wait_works(self, nodes: collections.abc.Iterable[Node],
                   on: Conductor, timeout: float) -> None:
        """Wait until consoles are connected on a conductor, and try them.

        :param timeout: seconds, for all of them.
        """
        deadline = time.monotonic() + timeout
        for node in nodes:
            self.cluster.wait_connected(
                node.uuid, on, max(0.1, deadline - time.monotonic()))
        self.note(f'connected on {on}')
        for node in nodes:
            for other in self.cluster.conductors:
                if other is not on and other.running:
                    self.cluster.wait_gone(node.uuid, other, 3 * CLOSED)
        for node in nodes:
            self.works(node, on)

    def no_session_of_the_dead(self, node: Node) -> None:
        """See that a BMC has our console's session and no other."""
        # handle, slots, and how many are logged in: this one as well
        answer = node.bmc.ipmitool().raw(0x06, 0x3D, 0x00)
        assert answer[2] == 2, (
            f'the BMC has sessions of the dead: {answer.hex()}')

    def stays_closed(self, uuid: str, seconds: float) -> None:
        """See that no bridge has a console, for a while."""
        waiting.always(
            lambda: not self.cluster.consoles(uuid),
            f'no bridge has a console of node {uuid}', seconds, 0.2)

    def check_on(self) -> None:
        """See that Ironic has switched off no console."""
        for uuid in self._on:
            state = self.api.node(uuid)
            assert state['console_enabled'], (
                f'the console of node {uuid} was switched off: '
                f'{state["last_error"]}')

    def finish(self) -> None:
        """Delete the nodes, whatever state they are in."""
        for uuid in self._made:
            try:
                self.cluster.set_fields(
                    uuid, provision_state='enroll', maintenance=0,
                    target_provision_state=None, instance_uuid=None,
                    reservation=None)
                self.api.delete(uuid)
            except real_ironic.ApiError as error:
                if error.status != 404:
                    raise
