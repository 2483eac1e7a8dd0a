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

"""What a console puts into its transcript: never waits, never fails.

A :class:`Transcript` is the loop's end of a bounded queue; the other end is
the thread of :mod:`~ironic_solconsole.bridge.transcript_writer`. Where the
disk does not keep up, what does not fit is counted, and a mark stands in the
file in its place.
"""

import collections
import collections.abc
import time
import typing

from ironic_solconsole import transcript
from ironic_solconsole.bridge import transcript_events

#: What an entry of the queue takes beyond its bytes, about.
OVERHEAD = 160

#: Bytes of output in one entry of the queue, at most.
PIECE = 4096

#: Bytes of the queue that are for events alone.
EVENT_ROOM = 16 * 1024

#: Events of viewers at a time, and more a second.
BURST, RATE = 60, 1.0


class Owner(typing.NamedTuple):
    """An entry of the queue: what follows belongs to this instance."""

    instance: str


#: When it was, in seconds since 1970, and output, an event or a new owner.
Entry = tuple[float, bytes | str | Owner]


class Transcript:
    """The transcript of one console.

    :param node: UUID.
    :param instance: UUID of the instance on the node, '' for none.
    :param limit: bytes of output that wait to be written.
    :param wake: called when something has come into the queue.
    :param hurry: called when it fills.
    """

    __slots__ = ('_hurry', '_limit', '_lost', '_lost_events', '_lost_since',
                 '_throttle', '_untold', '_urgent', '_wake', 'closed',
                 'dirty', 'instance', 'node', 'owner', 'queue', 'taken',
                 'written')

    def __init__(self, node: str, instance: str, limit: int,
                 wake: collections.abc.Callable[['Transcript'], None],
                 hurry: collections.abc.Callable[[], None]) -> None:
        self.node = node
        #: Of the last new owner that was put into the queue.
        self.instance = instance
        #: Of the last that the thread has taken from there.
        self.owner = instance
        self._limit = limit
        self._urgent = limit // 4
        self._wake = wake
        self._hurry = hurry
        self._throttle = transcript_events.Throttle(BURST, RATE)
        self._untold = 0
        self._lost = 0
        self._lost_events = 0
        self._lost_since = 0.0
        self.closed = False
        #: The thread takes from the left, and nobody else.
        self.queue: collections.deque[Entry] = collections.deque()
        #: Whether the thread knows that there is something.
        self.dirty = False
        #: Bytes put into the queue; written by the loop alone.
        self.taken = 0
        #: Bytes that reached the file; written by the thread alone.
        self.written = 0

    @property
    def losing(self) -> bool:
        """Whether something was lost that no mark tells yet."""
        return self._lost_since != 0.0

    def data(self, data: bytes) -> None:
        """Output of the host."""
        if len(data) > PIECE:
            # In the file it may be much more: an entry has a bound.
            for start in range(0, len(data), PIECE):
                self.data(data[start:start + PIECE])
            return
        size = len(data) + OVERHEAD
        waiting = self.taken - self.written + size
        if self._lost_since:
            self.caught_up()
        if self._lost_since or waiting > self._limit:
            self._lost_since = self._lost_since or time.time()
            self._lost += len(data)
            return
        self.taken += size
        self.queue.append((time.time(), data))
        if not self.dirty:
            self._wake(self)
        if waiting > self._urgent:
            self._hurry()

    def event(self, text: str) -> None:
        """Something that happened.

        :param text: a few words. Whatever is not printable is escaped.
        """
        if self._lost_since:
            self.caught_up()
        if self._lost_since or (self.taken - self.written
                                > self._limit + EVENT_ROOM):
            self._lost_since = self._lost_since or time.time()
            self._lost_events += 1
            return
        self._put(text)

    def viewer_event(self, text: str) -> None:
        """As :meth:`event`, of which anybody may cause any number: what
        are too many is left out, and counted.
        """
        if self._throttle.admits(time.monotonic()):
            self._tell_untold()
            self.event(text)
        else:
            self._untold += 1

    def _tell_untold(self) -> None:
        if self._untold:
            self.event(f'{self._untold} events of viewers are left out here')
            self._untold = 0

    def new_owner(self, instance: str) -> None:
        """From now on all belongs to another instance: a new file.

        :param instance: UUID, '' for none.
        """
        if instance == self.instance:
            return
        self.instance = instance
        if self._lost_since:
            self._mark()        # in the file of the one who has lost it
        self._put(Owner(instance))
        self._put('the node was given to '
                  + (f'instance {instance}' if instance else 'no instance'))

    def close(self) -> None:
        """The console is closed; what waits is still written."""
        self._tell_untold()
        if self._lost_since:
            self._mark()
        self._put('closed')
        self.closed = True

    def caught_up(self) -> None:
        """Say what is missing, once there is room to go on."""
        if (self._lost_since and not self.closed
                and self.taken - self.written <= self._urgent):
            self._mark()

    def _mark(self) -> None:
        since = transcript.stamp(self._lost_since).decode()
        text = f'{self._lost} bytes of output'
        if self._lost_events:
            text += f' and {self._lost_events} events'
        self._lost = self._lost_events = 0
        self._lost_since = 0.0
        self._put(f'{text} are lost here, since {since}')

    def _put(self, what: str | Owner) -> None:
        if isinstance(what, str):
            # Here, and in the thread when it is told.
            self.taken += len(what) + OVERHEAD
        self.queue.append((time.time(), what))
        if not self.dirty:
            self._wake(self)


def weight(what: bytes | str | Owner) -> int:
    """What an entry counts for in the queue."""
    return 0 if isinstance(what, Owner) else len(what) + OVERHEAD
