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

"""Which conductors share the nodes, and when to look at nodes again."""

from collections.abc import Mapping
import threading
import typing

#: The conductors of each hardware type, with its conductor group.
Rings = Mapping[str, frozenset[str]]


def read(manager: typing.Any) -> Rings | None:
    """The hash rings of a conductor; Ironic keeps them for some seconds.

    :param manager: the conductor manager.
    :returns: None where they are not known: the conductor is starting, the
        database is away, or has lost sight of this conductor (it is back
        after an outage, and heartbeats have not come yet). To believe such
        a ring would close every console.
    """
    # earlier the ring without us would stay in Ironic's cache
    if not manager._started or shutting_down(manager):
        return None
    try:
        rings = {str(key): frozenset(ring.nodes)
                 for key, ring in manager.ring_manager.ring.items()}
    except Exception:
        return None
    if not any(manager.host in hosts for hosts in rings.values()):
        return None
    return rings


def shutting_down(manager: typing.Any) -> bool:
    """Whether a conductor has begun to end."""
    # an Event since Ironic 32, None or bool before
    flag = manager._shutdown
    return flag.is_set() if isinstance(flag, threading.Event) else bool(flag)


class Due:
    """When something is to be done: now and then, and at each change.

    :param interval: seconds.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._done: tuple[float, Rings] | None = None

    def due(self, now: float, rings: Rings) -> bool:
        """Whether it is to be done.

        :param now: time.monotonic().
        """
        if self._done is None:
            return True
        at, seen = self._done
        return rings != seen or now - at >= self._interval

    def done(self, now: float, rings: Rings) -> None:
        """It was begun at this time and with these rings, and is done."""
        self._done = now, rings
