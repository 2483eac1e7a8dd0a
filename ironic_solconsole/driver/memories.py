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

"""What bridges want their successors to know of a node.

A bridge tells its conductor the session that it has on a BMC, refused
credentials, a release. All of it is kept here, in memory, for the next
bridge of this conductor; the activation alone is kept in the node as well,
for the next conductor.
"""

import threading
import time
import typing

from ironic_solconsole import control
from ironic_solconsole.driver import bounded

#: What an activation consists of; nothing else is stored.
_FIELDS: dict[str, tuple[type, ...]] = {
    'session': (int,), 'user': (int,), 'address': (str,), 'port': (int,),
    'at': (int, float)}


class Memories:
    """The memory of each node, for all threads.

    :param limit: nodes that are remembered.
    """

    def __init__(self, limit: int) -> None:
        self._lock = threading.Lock()
        self._memories: bounded.BoundedDict[str, control.Json] = (
            bounded.BoundedDict(limit))
        # when the newest activation began that a bridge of ours has told
        self._newest: bounded.BoundedDict[str, float] = (
            bounded.BoundedDict(limit))
        # what the node has, as far as it is known
        self._recorded: bounded.BoundedDict[str, control.Json] = (
            bounded.BoundedDict(limit))
        # when to store the activations that no node has yet
        self._due: bounded.BoundedDict[str, float] = (
            bounded.BoundedDict(limit))

    def get(self, node: str) -> control.Json | None:
        """What the next bridge is to be told of a node."""
        with self._lock:
            return self._memories.get(node)

    def put(self, node: str, memory: control.Json) -> None:
        """Take what a bridge has told."""
        with self._lock:
            self._memories[node] = memory
            activation = _activation(memory.get('activation'))
            if activation is None:
                self._due.pop(node, None)
                return
            self._newest[node] = max(
                activation['at'], self._newest.get(node, 0.0))
            if activation == self._recorded.get(node):
                self._due.pop(node, None)
            elif node not in self._due:
                self._due[node] = 0.0

    def recall(self, node: str, stored: object) -> None:
        """Take what a node has, unless a bridge has told of it or later.

        :param stored: the activation in the node, or anything.
        """
        activation = _activation(stored)
        with self._lock:
            if activation is None:
                self._recorded.pop(node, None)
                return
            self._recorded[node] = activation
            if activation['at'] > self._newest.get(node, -1.0):
                self._newest[node] = activation['at']
                self._memories[node] = {
                    **self._memories.get(node, {}), 'activation': activation}
                self._due.pop(node, None)

    def forget(self, node: str) -> None:
        """The node has no activation any more."""
        with self._lock:
            self._recorded.pop(node, None)
            self._due.pop(node, None)

    # Those that are to be stored

    def unrecorded(self, now: float | None = None) -> list[str]:
        """Nodes whose activation is to be stored now."""
        now = time.monotonic() if now is None else now
        with self._lock:
            return [node for node, due in self._due.items() if due <= now]

    def pending(self, node: str) -> control.Json | None:
        """The activation of a node that is not stored in it yet."""
        with self._lock:
            activation = _activation(
                self._memories.get(node, {}).get('activation'))
            return (None if activation == self._recorded.get(node)
                    else activation)

    def recorded(self, node: str, activation: control.Json) -> None:
        """The node has this one now."""
        with self._lock:
            self._recorded[node] = activation
            told = self._memories.get(node, {}).get('activation')
            if _activation(told) in (activation, None):
                self._due.pop(node, None)

    def postpone(self, node: str, until: float) -> None:
        """Store it later.

        :param until: time.monotonic().
        """
        with self._lock:
            if node in self._due:
                self._due[node] = until


def _activation(data: object) -> control.Json | None:
    """An activation as it is stored, or None for anything else."""
    if not isinstance(data, dict):
        return None
    found: dict[str, typing.Any] = {'at': 0.0}
    for name, kinds in _FIELDS.items():
        value = data.get(name, found.get(name))
        if isinstance(value, bool) or not isinstance(value, kinds):
            return None
        found[name] = value
    return found
