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


"""The sockets of all BMCs of an event loop, read in one go.

asyncio makes a callback with a context of its own for each descriptor and
each wakeup, which costs more than opening the packet does. Here the
descriptors are in an epoll set that is itself one descriptor of the loop:
each time that it is readable, each socket with something to read is given
one turn.

In a batch nobody is served twice and at most BATCH sockets are, so that a
BMC that floods its own socket, or a thousand that speak at once, hold up
neither each other nor the rest of the loop. The set lives as long as there
is a socket in it.
"""

import asyncio
import collections.abc
import select

#: Sockets that are read before the loop looks at everything else again, such
#: as what viewers type: a millisecond of work or less.
BATCH = 32


class _Receiver:
    """The set of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._set = select.epoll()
        self._readers: dict[int, collections.abc.Callable[[], None]] = {}
        loop.add_reader(self._set.fileno(), self._readable)

    def add(self, descriptor: int,
            reader: collections.abc.Callable[[], None]) -> None:
        self._set.register(descriptor, select.EPOLLIN)
        self._readers[descriptor] = reader

    def remove(self, descriptor: int) -> bool:
        """Gives whether it was the last one, and the set is closed."""
        if self._readers.pop(descriptor, None) is not None:
            self._set.unregister(descriptor)
        if self._readers:
            return False
        self._loop.remove_reader(self._set.fileno())
        self._set.close()
        return True

    def _readable(self) -> None:
        readers = self._readers
        for descriptor, _ in self._set.poll(0, BATCH):
            # One may have been closed by what came to another.
            reader = readers.get(descriptor)
            if reader is None:
                continue
            try:
                reader()
            except Exception as error:      # as asyncio does for its own
                self._loop.call_exception_handler({
                    'message': 'A packet from a BMC could not be handled',
                    'exception': error})


_receivers: dict[asyncio.AbstractEventLoop, _Receiver] = {}


def add(loop: asyncio.AbstractEventLoop, descriptor: int,
        reader: collections.abc.Callable[[], None]) -> None:
    """Have a function called whenever a descriptor is readable.

    :param reader: reads once; what it leaves, it is called again for.
    """
    receiver = _receivers.get(loop)
    if receiver is None:
        receiver = _receivers[loop] = _Receiver(loop)
    receiver.add(descriptor, reader)


def remove(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    """Call it no more. Must come before the descriptor is closed."""
    receiver = _receivers.get(loop)
    if receiver is not None and receiver.remove(descriptor):
        del _receivers[loop]
