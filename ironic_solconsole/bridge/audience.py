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

"""The people at one console, and the rules between them.

Output of the host goes to every viewer, and the end of it to who comes
later. Input of every viewer goes to the console, as fast as that takes it.
Notices come between: on lines of their own, where a terminal is not within
a character or a control sequence, and not too often.
"""

import asyncio
import collections.abc
import dataclasses
import logging
import math
import typing

from ironic_solconsole.bridge import access
from ironic_solconsole.bridge import listener as console_listener
from ironic_solconsole.bridge import notices
from ironic_solconsole.bridge import scrollback
from ironic_solconsole.bridge import terminal
from ironic_solconsole.bridge import writers

LOG = logging.getLogger(__name__)

PIECE = 1024            # bytes of output handled at a time, at most
CHARACTER_WAIT = 0.02   # seconds that an unfinished character is held back
CUT_WAIT = 0.2          # seconds that a notice waits for its place
NOTICE_PAUSE = 1.0      # seconds between two notices
LATE = 1.0              # seconds until a state is worth a word that passes
MAX_WISHES = 4          # notices that wait for their turn
IDLE = 60.0             # seconds after which a viewer may have to make room
MAX_OPERATORS = 4       # at a time, beside the viewers that options allow


class AudienceSettings(typing.NamedTuple):
    """The options about viewers that every console of a bridge shares.

    :param max_clients: viewers at a time.
    :param client_buffer: bytes of output to hold for a viewer.
    :param max_clients_per_address: viewers from one address, 0 for any
        number.
    :param exclusive: whether only the viewer that came first may write.
    :param scrollback: bytes of output to show to who comes, at most.
    :param notices: whether anything is told but what was lost.
    :param full: whether notices may hold the details of a link.
    :param idle_timeout: seconds after which a viewer is closed through
        whose connection nothing passes, 0 for never.
    :param gate: who may come.
    """

    max_clients: int
    client_buffer: int
    max_clients_per_address: int = 0
    exclusive: bool = False
    scrollback: int = 0
    notices: bool = True
    full: bool = False
    idle_timeout: float = 0.0
    gate: access.Gate = access.Gate()


class Source(typing.Protocol):
    """The console, as the audience sees it."""

    def input_from_viewers(self, data: bytes) -> int:
        """Input; returns how many bytes were taken. While there is no link
        all are, and dropped.
        """

    def viewers_changed(self, came: bool) -> None:
        """A viewer came to stay, or one that did has left."""

    def record_viewer(self, event: str) -> None:
        """What a viewer did, for the transcript."""

    def replay_permitted(self) -> bool:
        """Whether what the host has said may be shown at this moment."""


@dataclasses.dataclass(slots=True)
class _Told:
    """What a viewer was told.

    :param state: of the console, '' for nothing.
    :param wishes: what else it is to be told.
    :param at: when it was told something last.
    :param read_only: whether it knows that it may not write.
    """

    state: str = ''
    wishes: list[str] = dataclasses.field(default_factory=list)
    at: float = -math.inf
    read_only: bool = False


class Audience:
    """The viewers of one console.

    :param source: the console.
    :param settings: options of the bridge.
    :param extra: for log records.
    """

    def __init__(self, source: Source, settings: AudienceSettings,
                 extra: dict[str, str]) -> None:
        self._source = source
        self._settings = settings
        self._extra = extra
        self._loop = asyncio.get_running_loop()
        #: In the order in which they may give input.
        self._viewers: dict[console_listener.Viewer, _Told] = {}
        self._writers: writers.Writers[console_listener.Viewer] = (
            writers.Writers(settings.exclusive))
        self._last_number = 0
        self._scanner = terminal.Scanner()
        self._scrollback = scrollback.Scrollback(settings.scrollback)
        self._unfinished = b''      # a character, held back
        self._character_timer: asyncio.TimerHandle | None = None
        self._standing_since = 0.0
        self._notice_timer: asyncio.TimerHandle | None = None
        self._cut_due: float | None = None  # a notice waits for its place
        self._idle_timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._closed = False
        #: What there is to tell as long as it lasts.
        self.standing = notices.Standing()
        #: Why newcomers are turned away; '' if they are not.
        self.shut = ''

    @property
    def count(self) -> int:
        """How many viewers there are, operators among them."""
        return len(self._viewers)

    @property
    def viewers(self) -> collections.abc.Collection[console_listener.Viewer]:
        """All of them."""
        return self._viewers.keys()

    @property
    def buffer_limit(self) -> int:
        """Bytes of output to hold for each of them."""
        return self._settings.client_buffer

    def find(self, number: int) -> console_listener.Viewer | None:
        """The viewer with a number."""
        return next((viewer for viewer in self._viewers
                     if viewer.number == number), None)

    # -- what viewers do (listener.Host) ---------------------------------

    def came(self, viewer: console_listener.Viewer) -> bool:
        now = self._loop.time()
        refusal = self._refusal(viewer, now)
        if refusal is not None:
            self._end(viewer, refusal)
            return False
        viewer.number = viewer.number or self.next_number()
        self._viewers[viewer] = _Told()
        self._source.record_viewer(f'viewer {viewer.peer} came')
        if not viewer.read_only:
            self._writers.came(viewer)
        if self._paused:
            viewer.hold()
        if self._source.replay_permitted():
            self._replay(viewer, now)
        if self._settings.idle_timeout and self._idle_timer is None:
            self._idle_timer = self._loop.call_at(
                now + self._settings.idle_timeout, self._look_for_idle)
        self._announce()
        self._source.viewers_changed(True)
        return True

    def left(self, viewer: console_listener.Viewer) -> None:
        if self._forget(viewer):
            self._source.record_viewer(f'viewer {viewer.peer} left')
            self._source.viewers_changed(False)

    def typed(self, viewer: console_listener.Viewer, data: bytes) -> int:
        if self._paused:
            return 0
        if not self._writers.may_write(viewer):
            told = self._viewers[viewer]
            if not told.read_only and not viewer.read_only:
                self._tell_right(told, False)
                self._announce()
            return len(data)
        return self._source.input_from_viewers(data)

    def caught_up(self, viewer: console_listener.Viewer) -> bytes:
        # Not from within: the viewer is about to go on.
        self._announce_at(self._loop.time())
        return self._scanner.tail

    # -- who may stay ----------------------------------------------------

    def _refusal(self, viewer: console_listener.Viewer,
                 now: float) -> str | None:
        """Why a viewer cannot stay; None if it can."""
        settings = self._settings
        if self._closed:
            return ''
        if viewer.operator:
            return self.refusal_of_operators()
        if not settings.gate.admits(viewer.address):
            settings.gate.log_refused(viewer.address, now, self._extra)
            return ''
        if self._paused or self.shut:
            return self.shut or notices.RESTARTING
        most = settings.max_clients_per_address
        if most and sum(other.address == viewer.address
                        for other in self._viewers) >= most:
            settings.gate.log_turned_away(
                viewer.address, f'the console has {most} viewers from there '
                '([solconsole]max_clients_per_address)', now, self._extra)
            return notices.FULL_ADDRESS
        others = [other for other in self._viewers if not other.operator]
        if len(others) >= settings.max_clients:
            idle = min(others, key=lambda other: other.active)
            if now - idle.active <= IDLE:
                settings.gate.log_turned_away(
                    viewer.address, f'the console has {len(others)} '
                    'viewers ([solconsole]max_clients)', now, self._extra)
                return notices.FULL
            LOG.info('The viewer from %s made room for one from %s, after '
                     '%.0f idle seconds.', idle.peer, viewer.peer,
                     now - idle.active, extra=self._extra)
            self._dismiss_one(idle, notices.MADE_ROOM)
        return None

    def refusal_of_operators(self) -> str | None:
        """Why one more operator cannot stay; None if he can."""
        if self._closed:
            return notices.CLOSED
        if self.shut:
            return self.shut
        if sum(viewer.operator for viewer in self._viewers) >= MAX_OPERATORS:
            return f'{MAX_OPERATORS} operators are here already'
        return None

    def next_number(self) -> int:
        """A number for a viewer that is about to come."""
        self._last_number += 1
        return self._last_number

    def _end(self, viewer: console_listener.Viewer, notice: str) -> None:
        viewer.close('' if self._muted(viewer) else notice)

    def _muted(self, viewer: console_listener.Viewer) -> bool:
        return not self._settings.notices and not viewer.operator

    def _forget(self, viewer: console_listener.Viewer) -> bool:
        if self._viewers.pop(viewer, None) is None:
            return False
        self._writers.left(viewer)
        self._tell_writers()
        return True

    def kick(self, number: int | None) -> list[int]:
        """End connections, with a notice.

        :param number: of a viewer; None is everybody but operators.
        :returns: whose they were.
        """
        kicked = [viewer for viewer in self._viewers
                  if (not viewer.operator if number is None
                      else viewer.number == number)]
        for viewer in kicked:
            self._dismiss_one(viewer, notices.KICKED)
        return [viewer.number for viewer in kicked]

    def _dismiss_one(self, viewer: console_listener.Viewer,
                     notice: str) -> None:
        self._forget(viewer)
        self._end(viewer, notice)
        self._source.record_viewer(
            f'viewer {viewer.peer} was disconnected: {notice}')
        self._source.viewers_changed(False)

    def _look_for_idle(self) -> None:
        if self._idle_timer is not None:
            # resume() does not wait for it.
            self._idle_timer.cancel()
            self._idle_timer = None
        timeout = self._settings.idle_timeout
        if self._paused:
            return      # resume() looks again
        now = self._loop.time()
        for viewer in tuple(self._viewers):
            if not viewer.operator and now - viewer.active >= timeout:
                LOG.info('The viewer from %s was closed: it was idle for '
                         '%g s ([console]terminal_timeout).', viewer.peer,
                         timeout, extra=self._extra)
                self._dismiss_one(viewer, notices.idle(timeout))
        due = timeout + min(
            (viewer.active for viewer in self._viewers
             if not viewer.operator), default=math.inf)
        if due < math.inf:
            self._idle_timer = self._loop.call_at(due, self._look_for_idle)

    # -- who may write ---------------------------------------------------

    def may_write(self, viewer: console_listener.Viewer) -> bool:
        """Whether what this viewer types is sent."""
        return self._writers.may_write(viewer)

    def give_right(self, viewer: console_listener.Viewer,
                   alone: bool) -> None:
        """Let this viewer alone write, or end that."""
        before = [other for other in self._viewers
                  if self._writers.may_write(other)]
        if alone:
            self._writers.take(viewer)
        else:
            self._writers.give_back(viewer)
        for other in before:
            if not self._writers.may_write(other):
                self._tell_right(self._viewers[other], False)
        self._tell_writers()
        self._announce()

    def _tell_writers(self) -> None:
        """Tell those who may write again."""
        for viewer, told in self._viewers.items():
            if told.read_only and self._writers.may_write(viewer):
                self._tell_right(told, True)
                self._announce()

    def _tell_right(self, told: _Told, writes: bool) -> None:
        told.read_only = not writes
        # What was not told yet is out of date.
        told.wishes[:] = [wish for wish in told.wishes if wish not in (
            notices.EXCLUSIVE, notices.WRITER)]
        told.wishes.append(notices.WRITER if writes else notices.EXCLUSIVE)

    # -- output ----------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """Give output of the host to every viewer, and keep it."""
        if (len(data) <= PIECE and data.isascii() and b'\x1b' not in data
                and not self._unfinished and not self._scanner.tail
                and self._cut_due is None):
            # Plain text, which nothing waits in: as _give() has it.
            self._scrollback.add(data)
            now = self._loop.time()
            for viewer in self._viewers:
                viewer.deliver(data, 0, now)
            return
        if self._unfinished:
            data = self._unfinished + data
            self._unfinished = b''
        count = terminal.unfinished_character(data)
        if count:
            # Who decodes each piece by itself must not see half of it.
            self._unfinished = data[len(data) - count:]
            data = data[:len(data) - count]
            # What was held back before is finished by what came now.
            if data or self._character_timer is None:
                self._cancel_character_timer()
                if not self._paused:
                    self._character_timer = self._loop.call_later(
                        CHARACTER_WAIT, self._give_unfinished)
        elif self._character_timer is not None:
            self._cancel_character_timer()
        for start in range(0, len(data), PIECE):
            self._give(data[start:start + PIECE])

    def _give_unfinished(self) -> None:
        self._character_timer = None
        data, self._unfinished = self._unfinished, b''
        if data:
            self._give(data)

    def _cancel_character_timer(self) -> None:
        if self._character_timer is not None:
            self._character_timer.cancel()
            self._character_timer = None

    def _give(self, data: bytes) -> None:
        scanner, now = self._scanner, self._loop.time()
        before = len(scanner.tail)
        scanner.feed(data)
        self._scrollback.add(data)
        if (self._cut_due is not None
                and (after := len(scanner.tail)) <= len(data)):
            cut = len(data) - after
            if cut:
                for viewer in self._viewers:
                    viewer.deliver(data[:cut], before, now)
            self._say(now)
            data, before = data[cut:], 0
            if not data:
                return
        for viewer in self._viewers:
            viewer.deliver(data, before, now)

    def _replay(self, viewer: console_listener.Viewer, now: float) -> None:
        tail = self._scanner.tail
        viewer.show(self._scrollback.replay(
            len(tail), self._settings.client_buffer // 2), now)
        # The beginning of what comes next.
        viewer.show(terminal.harmless_beginning(tail), now)

    def erase(self) -> None:
        """Forget all output: the console has a new owner."""
        self._cancel_character_timer()
        self._unfinished = b''
        self._scanner = terminal.Scanner()
        self._scrollback.erase()

    # -- notices ---------------------------------------------------------

    def state(self, standing: notices.Standing) -> None:
        """What there is to tell from now on, as long as it lasts.

        Who was told of trouble is told when it is over.
        """
        if standing.text != self.standing.text:
            self._standing_since = self._loop.time()
        self.standing = standing
        self._announce()

    def tell(self, notice: str) -> int:
        """Tell everybody who is there something, once.

        :returns: how many will be told.
        """
        count = 0
        for viewer, told in self._viewers.items():
            if len(told.wishes) < MAX_WISHES and not self._muted(viewer):
                told.wishes.append(notice)
                count += 1
        self._announce()
        return count

    def _announce(self) -> None:
        """Say what there is to say, as soon as it may be said."""
        now = self._loop.time()
        due = min((self._due(*item) for item in self._viewers.items()),
                  default=math.inf)
        if due == math.inf or self._paused or self._closed:
            return
        if due > now:
            self._announce_at(due)
        elif not self._scanner.tail or (
                self._cut_due is not None and now >= self._cut_due):
            self._say(now)
        else:
            if self._cut_due is None:
                self._cut_due = now + CUT_WAIT
            self._announce_at(self._cut_due)

    def _announce_at(self, due: float) -> None:
        if self._notice_timer is not None:
            self._notice_timer.cancel()
        self._notice_timer = self._loop.call_at(due, self._announce)

    def _due(self, viewer: console_listener.Viewer, told: _Told) -> float:
        """When a viewer may be told what it does not know; inf for never.
        """
        news = told.state != self.standing.text
        if (not told.wishes and not news) or self._muted(viewer):
            return math.inf
        if self.standing.late and not told.wishes:
            return max(told.at + NOTICE_PAUSE, self._standing_since + LATE)
        return told.at + NOTICE_PAUSE

    def _say(self, now: float) -> None:
        """Tell each viewer one thing, here and now."""
        self._cut_due = None
        for viewer, told in self._viewers.items():
            if self._due(viewer, told) > now:
                continue
            late = (self.standing.late
                    and now < self._standing_since + LATE)
            # What happened meanwhile comes before the good end of it.
            ended = not self.standing.text and bool(told.wishes)
            if told.state != self.standing.text and not (late or ended):
                if viewer.tell(self._sentence(viewer, now)):
                    told.state, told.at = self.standing.text, now
            elif told.wishes and viewer.tell(told.wishes[0]):
                del told.wishes[0]
                told.at = now
        # Who could not be told is behind, and says when it is not.
        due = min((due for item in self._viewers.items()
                   if (due := self._due(*item)) > now), default=math.inf)
        if due < math.inf:
            self._announce_at(due)

    def _sentence(self, viewer: console_listener.Viewer,
                  now: float) -> str:
        if not self.standing.text:
            return notices.CONNECTED
        return notices.sentence(
            self.standing, now, self._settings.full or viewer.operator)

    # -- what the console does -------------------------------------------

    def offer_room(self) -> None:
        """The console can take more input."""
        if self._paused:
            return
        for viewer in tuple(self._viewers):
            if viewer.waits and not viewer.offer_room():
                # It had its share: the next room is for the others.
                self._viewers[viewer] = self._viewers.pop(viewer)
                return

    def dismiss(self, notice: str) -> None:
        """End all connections, with a last notice."""
        viewers, self._viewers = self._viewers, {}
        self._writers.clear()
        for viewer in viewers:
            self._end(viewer, notice)
            self._source.record_viewer(
                f'viewer {viewer.peer} was disconnected: {notice}')
        if viewers:
            self._source.viewers_changed(False)

    def pause(self) -> None:
        """Read from no viewer, write to none, and turn newcomers away."""
        self._paused = True
        self._cancel_character_timer()
        for viewer in self._viewers:
            viewer.hold()

    def resume(self) -> None:
        """Go on after :meth:`pause`. Input that waits is not offered yet:
        see :meth:`offer_room`."""
        self._paused = False
        for viewer in self._viewers:
            viewer.release()
        if self._unfinished:
            self._character_timer = self._loop.call_later(
                CHARACTER_WAIT, self._give_unfinished)
        if self._settings.idle_timeout:
            self._look_for_idle()
        self._announce()

    def close(self) -> None:
        """The console is closed: no viewer is taken any more."""
        self._closed = True
        self.dismiss(notices.CLOSED)
        self.erase()
        for timer in (self._notice_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
