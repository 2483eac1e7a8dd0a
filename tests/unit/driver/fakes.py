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

"""Nodes and a conductor, as far as the driver looks at them."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import threading
import types
import typing
import uuid

from ironic import objects
from ironic.common import exception as ironic_exception
from ironic.conductor import task_manager
import pytest

IPMI: dict[str, typing.Any] = {
    'ipmi_address': '192.0.2.7', 'ipmi_username': 'admin',
    'ipmi_password': 'secret'}


class Node:
    """An Ironic node: what is asked of it, and what was saved.

    :param driver_info: IPMI by default.
    """

    def __init__(self, driver_info: dict[str, typing.Any] | None = None,
                 **fields: typing.Any) -> None:
        self.uuid = fields.get('uuid', str(uuid.uuid4()))
        self.name = fields.get('name')
        self.instance_uuid = fields.get('instance_uuid')
        self.console_enabled = fields.get('console_enabled', False)
        self.console_interface = fields.get(
            'console_interface', 'solconsole')
        self.driver = fields.get('driver', 'ipmi')
        self.conductor_group = fields.get('conductor_group', '')
        self.provision_state = fields.get('provision_state', 'available')
        self.reservation = fields.get('reservation')
        self.driver_info = dict(IPMI if driver_info is None else driver_info)
        self.driver_internal_info = dict(
            fields.get('driver_internal_info', {}))
        self._changed = False
        #: driver_internal_info at each save.
        self.saved: list[dict[str, typing.Any]] = []

    def set_driver_internal_info(self, key: str, value: object) -> None:
        self.driver_internal_info[key] = value
        self._changed = True

    def del_driver_internal_info(self, key: str) -> object:
        self._changed |= key in self.driver_internal_info
        return self.driver_internal_info.pop(key, None)

    def obj_what_changed(self) -> set[str]:
        return {'driver_internal_info'} if self._changed else set()

    def save(self) -> None:
        self.saved.append(dict(self.driver_internal_info))
        self._changed = False


def task(node: Node) -> types.SimpleNamespace:
    """A task that holds a node."""
    return types.SimpleNamespace(node=node, context=None)


class Manager:
    """A conductor manager: a name, workers, and an end."""

    def __init__(self, host: str = 'cond-a') -> None:
        self.host = host
        self._started = True
        self._shutdown = threading.Event()
        self.workers: list[threading.Thread] = []

    def _spawn_worker(self, function: typing.Any, *args: object) -> None:
        worker = threading.Thread(target=function, args=args, daemon=True)
        self.workers.append(worker)
        worker.start()

    def shut_down(self) -> None:
        """What del_host does."""
        self._shutdown.set()
        for worker in self.workers:
            worker.join(10)
            assert not worker.is_alive(), 'a worker outlives the conductor'


class Cloud:
    """A database of nodes, and the conductor that has some of them.

    It stands for Ironic's database, hash rings and node locks.

    :ivar here: UUIDs of the nodes that belong to the conductor.
    :ivar asked: the filters of each query.
    :ivar locked: the nodes that were locked, in order.
    :ivar between: called after each query with its number, from 1.
    """

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.nodes: dict[str, Node] = {}
        self.here: set[str] = set()
        self.asked: list[dict[str, typing.Any]] = []
        self.locked: list[str] = []
        self.between: Callable[[int], None] = lambda number: None
        self.down: Exception | None = None
        self.hosts = {'cond-a', 'cond-b'}
        made: typing.Any = manager
        made.dbapi = self
        made.ring_manager = self
        made._mapped_to_this_conductor = (
            lambda node, driver, group: node in self.here)

    def add(self, *args: typing.Any, here: bool = True,
            **fields: typing.Any) -> Node:
        """A new node."""
        node = Node(*args, **fields)
        self.nodes[node.uuid] = node
        if here:
            self.here.add(node.uuid)
        return node

    @property
    def ring(self) -> dict[str, types.SimpleNamespace]:
        if self.down is not None:
            raise self.down
        return {':ipmi': types.SimpleNamespace(
            nodes=dict.fromkeys(self.hosts, 1))}

    def get_nodeinfo_list(self, columns: list[str],
                          filters: dict[str, typing.Any],
                          ) -> list[tuple[typing.Any, ...]]:
        if self.down is not None:
            raise self.down
        assert filters.pop('include_children'), 'children have consoles too'
        self.asked.append(filters)
        if 'uuid_in' in filters:
            nodes = [self.nodes[uuid] for uuid in filters['uuid_in']
                     if uuid in self.nodes]
        else:
            assert filters == {'console_enabled': True}
            nodes = [node for node in self.nodes.values()
                     if node.console_enabled]
        rows = []
        for node in nodes:
            values = [getattr(node, name) for name in columns]
            rows.append(tuple(dict(value) if isinstance(value, dict)
                              else value for value in values))
        self.between(len(self.asked))
        return rows

    def get_active_hardware_type_dict(self) -> dict[str, typing.Any]:
        return {}

    def get_conductor_list(self) -> list[typing.Any]:
        return []

    def list_nodes(self, context: object, fields: list[str],
                   filters: dict[str, object]) -> list[Node]:
        return list(self.nodes.values())

    @contextlib.contextmanager
    def acquire(self, context: object, node_uuid: str, *, shared: bool,
                purpose: str, retry: bool = True, load_driver: bool = True,
                ) -> Iterator[types.SimpleNamespace]:
        """An exclusive lock; nobody waits for it."""
        assert not (shared or retry or load_driver)
        node = self.nodes.get(node_uuid)
        if node is None:
            raise ironic_exception.NodeNotFound(node=node_uuid)
        if node.reservation:
            raise ironic_exception.NodeLocked(
                node=node_uuid, host=node.reservation)
        self.locked.append(node_uuid)
        node.reservation = self.manager.host
        try:
            yield task(node)
        finally:
            node.reservation = None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of Ironic's."""
        monkeypatch.setattr(task_manager, 'acquire', self.acquire)
        monkeypatch.setattr(objects.Node, 'list', self.list_nodes)
