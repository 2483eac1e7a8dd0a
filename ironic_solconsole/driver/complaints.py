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

"""Complaints that come again and again, and are logged once."""

from ironic_solconsole.driver import bounded

#: Nodes whose last complaint is remembered.
MAX_NODES = 8192


class Complaints:
    """The last complaint about each node."""

    def __init__(self) -> None:
        self._last: bounded.BoundedDict[str, str] = (
            bounded.BoundedDict(MAX_NODES))

    def new(self, node: str, complaint: str) -> bool:
        """Whether this is not what was said last of the node."""
        if self._last.get(node) == complaint:
            return False
        self._last[node] = complaint
        return True

    def settle(self, node: str) -> None:
        """There is nothing to complain about any more."""
        self._last.pop(node, None)
