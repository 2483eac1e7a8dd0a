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

"""The consoles that are parked, and why one of them has to end at once.

Ironic calls no console interface where a node is torn down, deleted or
moved whose console is off, and a parked one is. So these few nodes are
looked at once a second.
"""

from collections.abc import Mapping
import dataclasses
import threading
import typing

from ironic.common import states

from ironic_solconsole.driver import moves

#: Where a node has an instance, or gets one: its console opens again
#: although a teardown closed it. (Ironic 26 does not know all of them.)
OCCUPIED = frozenset(
    getattr(states, name) for name in (
        'ACTIVE', 'ADOPTING', 'DEPLOYDONE', 'DEPLOYHOLD', 'DEPLOYING',
        'DEPLOYWAIT', 'RESCUE', 'RESCUEFAIL', 'RESCUEWAIT', 'RESCUING',
        'SERVICEFAIL', 'SERVICEHOLD', 'SERVICEWAIT', 'SERVICING',
        'UNRESCUEFAIL', 'UNRESCUING')
    if hasattr(states, name))


@dataclasses.dataclass(frozen=True)
class Parked:
    """A node whose console was parked.

    :param node: UUID.
    :param generation: of the console.
    :param instance_uuid: that the node had.
    :param occupied: whether it had an instance, or got one.
    :param until: when the bridge closes it, of time.monotonic().
    """

    node: str
    generation: str
    instance_uuid: str | None
    occupied: bool
    until: float


def why_end(parked: Parked, row: moves.Row | None,
            mapped: moves.Mapped) -> moves.Why | None:
    """Why a parked console has to end before its time, or None."""
    if row is None:
        return moves.Why.GONE
    if not row.ours:
        return moves.Why.INTERFACE
    if (row.provision_state == states.DELETING
            or (parked.occupied and row.provision_state not in OCCUPIED)):
        return moves.Why.TORN_DOWN
    if row.instance_uuid != parked.instance_uuid:
        return moves.Why.INSTANCE
    return None if mapped(row) else moves.Why.MOVED


class ParkedConsoles:
    """The consoles that this conductor has parked; used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parked: dict[str, Parked] = {}

    def note(self, node: typing.Any, generation: str,
             until: float) -> None:
        """The console of a node, which is locked, is parked.

        :param until: of time.monotonic().
        """
        with self._lock:
            self._parked[node.uuid] = Parked(
                node.uuid, generation, node.instance_uuid,
                node.provision_state in OCCUPIED, until)

    def forget(self, node: str, generation: str = '') -> None:
        """A console is not parked any more.

        :param generation: only this one, if it is given.
        """
        with self._lock:
            one = self._parked.get(node)
            if one is not None and generation in ('', one.generation):
                del self._parked[node]

    def now(self, now: float) -> list[Parked]:
        """Those that are parked.

        :param now: time.monotonic().
        """
        with self._lock:
            for one in list(self._parked.values()):
                if one.until <= now:
                    del self._parked[one.node]
            return list(self._parked.values())


def to_end(parked: list[Parked], rows: Mapping[str, moves.Row],
           mapped: moves.Mapped) -> list[tuple[Parked, moves.Why]]:
    """The parked consoles that have to end at once, and why."""
    return [(one, why) for one in parked
            if (why := why_end(one, rows.get(one.node), mapped))]
