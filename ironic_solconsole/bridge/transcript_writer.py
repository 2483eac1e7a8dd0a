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

"""The thread that writes the transcripts of a bridge.

One for all consoles: the loop never waits for a disk. It writes what has
come in a fifth of a second at once, sooner where much comes. A disk that
hangs holds up this thread alone; a disk that is full, or a directory that
has gone, is tried again until it is there, and told once.
"""

import asyncio
import collections
import collections.abc
import contextlib
import errno
import logging
import os
import threading
import time
import typing

from ironic_solconsole.bridge import transcript
from ironic_solconsole.bridge import transcript_clean
from ironic_solconsole.bridge import transcript_file
from ironic_solconsole.bridge import transcript_records

LOG = logging.getLogger(__name__)

FLUSH = 0.2         # seconds that output waits for more
TICK = 0.5          # seconds; a line waits for its end one or two
LOOK = 2.0          # seconds between two looks whether a file has its name
RETRY = 2.0         # seconds between two tries of what failed
BUSY = 10.0         # seconds for which another process may have the lock
GIVE_UP = 60.0      # seconds that a closed console waits for a full disk
MAX_NODES = 4096    # that one answer names
CHUNK = 64 * 1024   # bytes of records that are written at a time
STOP_TIMEOUT = 1.0  # seconds for all to be written at the end


class Settings(typing.NamedTuple):
    """The options about transcripts.

    :param directory: absolute path.
    :param max_bytes: of a file; 0 for any number.
    :param backups: older files of a node that are kept.
    :param buffer: bytes that wait for the disk, for each console.
    :param host: name of the conductor.
    """

    directory: str
    max_bytes: int
    backups: int
    buffer: int
    host: str


class _Place:
    """The thread's end of a transcript."""

    __slots__ = ('busy_since', 'closed_at', 'file', 'owed', 'recorder',
                 'retry_at', 'transcript', 'trouble')

    def __init__(self, one: transcript.Transcript,
                 file: transcript_file.NodeFile) -> None:
        self.transcript = one
        self.file = file
        self.recorder = transcript_records.Recorder()
        #: What was taken from the queue and is not written.
        self.owed = 0
        self.trouble = ''
        self.retry_at = 0.0
        self.busy_since: float | None = None
        self.closed_at: float | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is left to write."""
        return not self.transcript.queue and not self.file.unwritten

    def write(self, directory: int, records: bytes) -> None:
        """Write these records after all that is there already.

        :raises: OSError, Refused. What was not written is kept.
        """
        self.file.write(directory, records)
        self.transcript.written += self.owed
        self.owed = 0

    def serve(self, directory: int) -> None:
        """Write what has come.

        :raises: OSError, Refused. What was not written is kept.
        """
        self.write(directory, b'')
        queue, recorder = self.transcript.queue, self.recorder
        records: list[bytes] = []
        size = 0
        # What comes meanwhile has to wait for the others.
        for _ in range(len(queue)):
            at, what = queue[0]
            if isinstance(what, bytes):
                made = recorder.data(at, what)
            elif isinstance(what, str):
                made = recorder.event(at, what)
            else:
                records.append(recorder.part())
                done, records, size = b''.join(records), [], 0
                self.write(directory, done)
                self.file.give(what.instance)
                self.transcript.owner = what.instance
                made = b''
            self.owed += transcript.weight(what)
            queue.popleft()
            records.append(made)
            size += len(made)
            if size >= CHUNK:
                done, records, size = b''.join(records), [], 0
                self.write(directory, done)
        self.write(directory, b''.join(records))


class Writer:
    """Writes transcripts.

    :param settings: where to, and how much.
    :param write: :func:`os.write`, or what a test puts in its place.
    """

    def __init__(self, settings: Settings,
                 write: transcript_file.Write = os.write) -> None:
        self._settings = settings
        self._os_write = write
        self._loop = asyncio.get_running_loop()
        # The loop's
        self._open: dict[str, transcript.Transcript] = {}
        self._stopped = asyncio.Event()
        self._told = 0      # which of the nodes
        # Between the two
        self._dirty: collections.deque[
            transcript.Transcript] = collections.deque()
        self._jobs: collections.deque[
            transcript_clean.Job] = collections.deque(maxlen=1)
        self._work = threading.Event()
        self._hurry = threading.Event()
        self._stopping = False
        self._nodes: list[str] | None = None
        # The thread's
        self._places: dict[transcript.Transcript, _Place] = {}
        self._failing: set[_Place] = set()
        self._parts: set[_Place] = set()
        self._troubles: dict[str, set[_Place]] = {}
        self._ticked = self._looked = 0.0
        self._directory_made = False

    # -- the loop --------------------------------------------------------

    @property
    def host(self) -> str:
        """Name of the conductor."""
        return self._settings.host

    def start(self) -> None:
        """Start the thread."""
        self._work.set()    # it makes the directory
        threading.Thread(target=self._run, name='transcripts',
                         daemon=True).start()

    def open(self, node: str, instance: str) -> transcript.Transcript:
        """The transcript of a console that is opened.

        :param node: UUID.
        :param instance: UUID of the instance on it, '' for none.
        """
        one = self._open.get(node)
        if one is None:
            one = self._open[node] = transcript.Transcript(
                node, instance, self._settings.buffer, self._wake,
                self._hurry.set)
        else:
            # It has not been written to its end yet.
            one.closed = False
            one.new_owner(instance)
        return one

    def clean(self, job: transcript_clean.Job) -> list[str] | None:
        """Mark and remove the transcripts of nodes that are gone.

        :returns: asked with no node, some that had a transcript when this
            was asked last, and others each time; None if it was not.
        """
        self._jobs.append(job._replace(keep=job.keep | {
            one.node for one in self._open.values()}))
        self._work.set()
        if job.there or job.gone:
            return []
        if not self._nodes:
            return self._nodes
        if self._told >= len(self._nodes):
            self._told = 0
        self._told += MAX_NODES
        return self._nodes[self._told - MAX_NODES:self._told]

    async def stop(self) -> None:
        """Write all there is, in bounded time."""
        self._stopping = True
        self._hurry.set()
        self._work.set()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._stopped.wait()
        except TimeoutError:
            LOG.warning('Transcripts in %s could not be written to their '
                        'end: the disk does not answer.',
                        self._settings.directory)

    def _wake(self, one: transcript.Transcript) -> None:
        one.dirty = True
        self._dirty.append(one)
        self._work.set()

    def _forget(self, one: transcript.Transcript) -> None:
        # Opened again meanwhile, it is not done before all is written.
        if one.closed and one.written == one.taken:
            self._open.pop(one.node, None)

    # -- the thread ------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._work.wait(self._patience())
            if self._work.is_set():
                self._hurry.wait(FLUSH)
            self._work.clear()
            self._hurry.clear()
            self.turn(time.monotonic())
        with contextlib.suppress(Exception):
            self.turn(time.monotonic(), last=True)
        self._tell(self._stopped.set)

    def _patience(self) -> float | None:
        if self._failing or self._parts:
            return TICK
        return LOOK if self._places else None

    def _tell(self, function: collections.abc.Callable[..., object],
              *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):     # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def turn(self, now: float, last: bool = False) -> None:
        """Write what there is to write.

        :param now: seconds, by :func:`time.monotonic`.
        :param last: whether nothing more comes.
        """
        due = self._due(now, last)
        self._make_directory()
        if not due and not self._jobs:
            return
        try:
            with transcript_file.directory(
                    self._settings.directory) as directory:
                self._clean(directory)
                for place in due:
                    self._serve(place, directory, now)
        except (OSError, transcript_file.Refused) as error:
            for place in due:
                self._failed(place, error, now, everywhere=True)

    def _due(self, now: float, last: bool) -> list[_Place]:
        """The places to be looked at."""
        due = dict.fromkeys(self._came())
        if now - self._ticked >= TICK or last:
            self._ticked = now
            for place in self._parts:
                place.file.add(place.recorder.part() if last
                               else place.recorder.pause())
            due |= dict.fromkeys(self._parts)
            self._parts = {place for place in self._parts
                           if place.recorder.holds}
        if now - self._looked >= LOOK:
            self._looked = now
            due |= dict.fromkeys(self._places.values())
        due |= dict.fromkeys(self._failing)
        return [place for place in due
                if place not in self._failing or last
                or now >= place.retry_at]

    def _came(self) -> collections.abc.Iterator[_Place]:
        with contextlib.suppress(IndexError):
            while True:
                one = self._dirty.popleft()
                one.dirty = False
                place = self._places.get(one)
                if place is None:
                    place = self._places[one] = _Place(
                        one, transcript_file.NodeFile(
                            one.node, one.owner,
                            self._settings.max_bytes,
                            self._settings.backups, self._os_write))
                yield place

    def _serve(self, place: _Place, directory: int, now: float) -> None:
        try:
            place.file.look(directory)
            place.serve(directory)
        except (OSError, transcript_file.Refused) as error:
            self._failed(place, error, now)
            return
        except Exception as error:      # the others are still to be served
            LOG.exception('The transcript of this node fails.',
                          extra={'node': place.transcript.node})
            self._failed(place, error, now)
            return
        self._succeeded(place)
        if place.recorder.holds:
            self._parts.add(place)
        one = place.transcript
        if one.losing:
            self._tell(one.caught_up)
        if one.closed and place.idle:
            self._leave(place)

    def _leave(self, place: _Place) -> None:
        place.file.close()
        self._parts.discard(place)
        self._places.pop(place.transcript, None)
        self._tell(self._forget, place.transcript)

    def _clean(self, directory: int) -> None:
        if self._jobs:
            self._nodes = transcript_clean.clean(
                directory, self._jobs.popleft(), time.time())

    def _make_directory(self) -> None:
        """Once: one that vanishes may be a disk that is not mounted."""
        if self._directory_made:
            return
        self._directory_made = True
        try:
            transcript_file.make_directory(self._settings.directory)
        except OSError as error:
            LOG.error('[solconsole]transcript_dir %s cannot be made: %s.',
                      self._settings.directory, error.strerror)

    # -- what went wrong -------------------------------------------------

    def _failed(self, place: _Place, error: Exception, now: float,
                everywhere: bool = False) -> None:
        place.retry_at = now + RETRY
        self._failing.add(place)
        if not place.transcript.closed:
            place.closed_at = None      # opened again, perhaps
        else:
            place.closed_at = place.closed_at or now
            if now - place.closed_at >= GIVE_UP:
                self._give_up(place)
                return
        if isinstance(error, OSError) and error.errno == errno.EAGAIN:
            place.busy_since = (now if place.busy_since is None
                                else place.busy_since)
            if now - place.busy_since < BUSY:
                return
        text = (error.strerror or str(error) if isinstance(error, OSError)
                else str(error))
        one_only = (isinstance(error, transcript_file.Refused)
                    and not everywhere)
        self._complain(place, text, one_only)

    def _complain(self, place: _Place, text: str, one_only: bool) -> None:
        """Say once what is the trouble, of whatever many consoles."""
        node = place.transcript.node
        key = f'{node} {text}' if one_only else text
        if place.trouble == key:
            return
        self._settle(place)
        place.trouble = key
        known = key in self._troubles
        self._troubles.setdefault(key, set()).add(place)
        if one_only:
            LOG.error('The transcript of this node in %s is not written: '
                      '%s. Remove what is there.',
                      self._settings.directory, text, extra={'node': node})
        elif not known:
            LOG.error('Transcripts in %s cannot be written: %s. Consoles go '
                      'on without, and a mark in each transcript will tell '
                      'what is missing.', self._settings.directory, text)

    def _succeeded(self, place: _Place) -> None:
        if place in self._failing:
            self._failing.discard(place)
            place.busy_since = place.closed_at = None
            if self._settle(place):
                LOG.info('Transcripts in %s are written again.',
                         self._settings.directory)

    def _settle(self, place: _Place) -> bool:
        """Forget the trouble of a place; whether nobody has it now."""
        trouble, place.trouble = place.trouble, ''
        if not trouble:
            return False
        self._troubles[trouble].discard(place)
        if self._troubles[trouble]:
            return False
        del self._troubles[trouble]
        return True

    def _give_up(self, place: _Place) -> None:
        """The console is closed, and its node may never come back."""
        one, lost = place.transcript, place.file.unwritten
        with contextlib.suppress(IndexError):
            while True:
                what = one.queue.popleft()[1]
                if isinstance(what, transcript.Owner):
                    # Whoever opens it again this moment is this one.
                    one.owner = what.instance
                weight = transcript.weight(what)
                lost += weight
                one.written += weight
        LOG.warning('The end of the transcript of this node, about %d '
                    'bytes, could not be written and is lost.', lost,
                    extra={'node': one.node})
        self._settle(place)
        self._failing.discard(place)
        one.written += place.owed
        self._leave(place)
