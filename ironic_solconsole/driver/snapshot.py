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

"""Nodes, read in bulk and without a lock.

Rows, not objects: a conductor with a thousand consoles reads them again
and again, and only the few that need something are looked at closer.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import itertools
import typing

from ironic_solconsole.driver import moves
from ironic_solconsole.driver import ring

#: Nodes that are asked for at a time: SQLite takes 999 values, and what a
#: node says of itself may be long.
_BATCH = 500


class Snapshot:
    """Reads nodes for a conductor.

    :param manager: the conductor manager.
    :param rings: the hash rings that are believed.
    """

    def __init__(self, manager: typing.Any, rings: ring.Rings) -> None:
        self._manager = manager
        self._rings = rings

    def enabled(self) -> list[str]:
        """UUIDs of the nodes here that have their console of ours on."""
        # little of each: these are the nodes of all conductors
        found = self._manager.dbapi.get_nodeinfo_list(
            columns=['uuid', 'driver', 'conductor_group',
                     'console_interface'],
            filters={'console_enabled': True, 'include_children': True})
        return [uuid for uuid, driver, group, interface in found
                if interface == moves.INTERFACE
                and self._mapped(uuid, driver, group)]

    def rows(self, uuids: Iterable[str]) -> dict[str, moves.Row]:
        """What nodes say now; those that are gone are missing."""
        rows: dict[str, moves.Row] = {}
        left = iter(sorted(set(uuids)))
        while batch := list(itertools.islice(left, _BATCH)):
            for values in self._read(batch):
                row = moves.Row(**dict(zip(moves.FIELDS, values)))
                rows[row.uuid] = row
        return rows

    def existing(self, uuids: Iterable[str]) -> set[str]:
        """Which of these nodes there are."""
        found: set[str] = set()
        left = iter(sorted(set(uuids)))
        while batch := list(itertools.islice(left, _BATCH)):
            found.update(row[0] for row in (
                self._manager.dbapi.get_nodeinfo_list(
                    columns=['uuid'],
                    filters={'uuid_in': batch, 'include_children': True})))
        return found

    def mapped(self, row: moves.Row) -> bool:
        """Whether a node belongs to this conductor."""
        return self._mapped(row.uuid, row.driver, row.conductor_group)

    def _read(self, uuids: Sequence[str]) -> Iterable[typing.Any]:
        found: Iterable[typing.Any] = self._manager.dbapi.get_nodeinfo_list(
            columns=list(moves.FIELDS),
            filters={'uuid_in': uuids, 'include_children': True})
        return found

    def _mapped(self, uuid: str, driver: str, group: str) -> bool:
        # Ironic reads all rings anew for a type that no conductor has
        if (f'{group}:{driver}' not in self._rings
                and driver not in self._rings):
            return False
        return bool(self._manager._mapped_to_this_conductor(
            uuid, driver, group))
