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

"""Which TCP port belongs to which node.

Nova's token names only a host and a port. A port that goes from one node
to another while such a token lives shows one tenant the console of another,
so ports stay with their nodes, and one that has served a node rests before
another node may have it. Everything here decides from plain data.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import math
import typing

from ironic_solconsole import exception
from ironic_solconsole import spec
from ironic_solconsole.driver import node_info


@dataclasses.dataclass(frozen=True)
class Claim:
    """A port that another node has.

    :param node: UUID of that node.
    :param name: how to name it to people.
    :param held: whether it was given to that node by us or by Ironic's
        ipmitool-socat; otherwise its driver_info asks for it.
    """

    node: str
    name: str
    held: bool


@dataclasses.dataclass(frozen=True)
class Resting:
    """A port that served another node on this host not long ago.

    :param node: UUID of that node.
    :param seconds: until it may serve another one; infinite while it is
        still served.
    """

    node: str
    seconds: float


def choose(node: str, *, fixed: int | None, remembered: int | None,
           ranges: Sequence[range], claims: Mapping[int, Claim],
           resting: Mapping[int, Resting],
           avoid: Collection[int] = ()) -> int:
    """The TCP port for a node's console.

    :param node: UUID of the node.
    :param fixed: the port that its driver_info asks for, or None.
    :param remembered: the port that it was given before, or None.
    :param ranges: where a port may be picked from.
    :param claims: ports that other nodes have.
    :param resting: ports that served other nodes not long ago.
    :param avoid: ports that somebody else on this host listens on.
    :raises: PortError if it can have none, with the reason.
    """
    if fixed is not None:
        claim = claims.get(fixed)
        # two nodes that ask for the same port: it is his who has it
        if claim is not None and (claim.held or fixed != remembered):
            raise exception.PortError(
                f'ipmi_terminal_port {fixed} belongs to node {claim.name}; '
                'give each node a port of its own')
        if fixed in resting:
            raise exception.PortError(_resting(fixed, resting[fixed]))
        return fixed
    if (remembered is not None and remembered not in avoid
            and remembered not in claims and remembered not in resting):
        return remembered
    taken = set(claims).union(resting, avoid)
    for port in _candidates(node, ranges):
        if port not in taken:
            return port
    total = sum(map(len, ranges))
    raise exception.PortError(
        f'no free TCP port: all {total} of port_range are taken by other '
        f'nodes ({len(claims)}), were in use a short while ago '
        f'({len(resting)}), or are in use on this host ({len(avoid)}); '
        'extend [solconsole]port_range')


def _candidates(node: str, ranges: Sequence[range]) -> Iterator[int]:
    """All ports, from the one that the UUID stands for.

    The same node gets the same port wherever it can.
    """
    total = sum(map(len, ranges))
    digest = hashlib.sha256(node.encode()).digest()
    start = int.from_bytes(digest[:8]) % total if total else 0
    for index in range(total):
        place = (start + index) % total
        for ports in ranges:
            if place < len(ports):
                yield ports[place]
                break
            place -= len(ports)


def _resting(port: int, rest: Resting) -> str:
    if math.isinf(rest.seconds):
        return f'TCP port {port} serves the console of node {rest.node}'
    return (f'TCP port {port} served the console of node {rest.node} a '
            f'short while ago; another node can have it in '
            f'{rest.seconds:.0f} s ([solconsole]port_quarantine)')


def recorded(nodes: Iterable[typing.Any],
             besides: str) -> dict[int, Claim]:
    """Every port that is recorded in any node.

    :param nodes: Ironic nodes with uuid, name, driver_info and
        driver_internal_info.
    :param besides: UUID of the node that asks.
    """
    claims: dict[int, Claim] = {}
    for node in nodes:
        if node.uuid == besides:
            continue
        internal = node.driver_internal_info or {}
        name = f'{node.uuid} ({node.name})' if node.name else node.uuid
        for value, held in (
                (internal.get(node_info.PORT_KEY), True),
                (internal.get(node_info.IN_TREE_PORT_KEY), True),
                ((node.driver_info or {}).get('ipmi_terminal_port'), False)):
            port = as_port(value)
            if port is not None and not (
                    port in claims and claims[port].held):
                claims[port] = Claim(node.uuid, name, held)
    return claims


def as_port(value: object) -> int | None:
    """A recorded port, or None for anything that is none."""
    try:
        return spec.check_port('port', value)
    except exception.SpecError:
        return None
