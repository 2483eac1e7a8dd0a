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

import threading
import types
import typing
import uuid

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
