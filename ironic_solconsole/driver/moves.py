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

"""What has to move: from what the nodes say, and what is open here.

Plain data in, plain data out. Who has read the nodes is told what to open
and what to close; before either takes effect the nodes are read again.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum
import typing

from ironic_solconsole.driver import keeper
from ironic_solconsole.driver import node_info

#: The name of the console interface.
INTERFACE = 'solconsole'

#: A node in this state is about to lose its console, or has just lost it.
_DELETING = 'deleting'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What a node said when it was read; the names are Ironic's."""

    uuid: str
    driver: str
    conductor_group: str
    console_interface: str | None
    console_enabled: bool
    provision_state: str | None
    reservation: str | None
    name: str | None
    instance_uuid: str | None
    driver_info: dict[str, typing.Any] = dataclasses.field(repr=False)
    driver_internal_info: dict[str, typing.Any] = dataclasses.field(
        repr=False)

    @classmethod
    def of(cls, node: typing.Any) -> 'Row':
        """What an Ironic node says."""
        return cls(**{name: getattr(node, name) for name in FIELDS})

    @property
    def generation(self) -> str:
        """Of the console that should be open, or ''."""
        return node_info.generation(self)

    @property
    def ours(self) -> bool:
        """Whether it uses this console interface."""
        return self.console_interface == INTERFACE


#: What is read of a node.
FIELDS = tuple(field.name for field in dataclasses.fields(Row))

#: Tells whether a node belongs to this conductor.
Mapped = Callable[[Row], bool]


class Why(enum.StrEnum):
    """Why a console that is open here is closed."""

    GONE = 'the node is gone'
    INTERFACE = 'the node uses another console interface'
    STOPPED = 'it was stopped by another conductor'
    DISABLED = 'it is disabled'
    MOVED = 'the node belongs to another conductor now'
    TORN_DOWN = 'the node is being torn down'
    INSTANCE = 'the node has another instance now'


def should_be_open(row: Row) -> bool:
    """Whether a node should have a console, on whatever conductor."""
    return bool(row.ours and row.console_enabled and row.generation)


def to_open(rows: Iterable[Row], mapped: Mapped,
            ended: Callable[[str], bool]) -> list[Row]:
    """The nodes that should have a console here.

    :param ended: tells whether a stop of ours has ended a generation.
    """
    return [row for row in rows
            if should_be_open(row) and row.provision_state != _DELETING
            and not ended(row.generation) and mapped(row)]


def why_close(console: keeper.OpenConsole, row: Row | None,
              mapped: Mapped) -> Why | None:
    """Why a console that is open here should not be, or None."""
    if row is None:
        return Why.GONE
    if not row.ours:
        return Why.INTERFACE
    if row.generation != console.generation:
        return Why.STOPPED
    if not row.console_enabled:
        # it is being enabled, or Ironic has not noted yet that it is
        return None if row.reservation else Why.DISABLED
    return None if mapped(row) else Why.MOVED


def to_close(consoles: Iterable[keeper.OpenConsole],
             rows: Mapping[str, Row],
             mapped: Mapped) -> list[tuple[keeper.OpenConsole, Why]]:
    """The consoles that should not be open here, and why."""
    found = []
    for console in consoles:
        why = why_close(console, rows.get(console.node), mapped)
        if why is not None:
            found.append((console, why))
    return found


def to_unmark(row: Row) -> bool:
    """Whether a node keeps our marker, and has another interface now."""
    return not row.ours and bool(row.generation)


def adoptable(row: Row) -> bool:
    """Whether a node may have a console of ipmitool-socat to be replaced.

    Its interface was changed while the console was on: nobody called
    start_console of ours. The same is seen after a teardown, where the
    console has to stay closed.
    """
    return bool(row.ours and row.console_enabled and not row.generation
                and not row.driver_internal_info.get(
                    node_info.TORN_DOWN_KEY)
                and row.provision_state != _DELETING)
