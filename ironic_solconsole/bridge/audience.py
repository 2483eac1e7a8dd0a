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
import dataclasses
import logging
import math
import typing

from ironic_solconsole.bridge import access
from ironic_solconsole.bridge import listener as console_listener
from ironic_solconsole.bridge import notices
from ironic_solconsole.bridge import scrollback
from ironic_solconsole.bridge import terminal

LOG = logging.getLogger(__name__)

PIECE = 1024            # bytes of output handled at a time, at most
CHARACTER_WAIT = 0.02   # seconds that an unfinished character is held back
CUT_WAIT = 0.2          # seconds that a notice waits for its place
NOTICE_PAUSE = 1.0      # seconds between two notices
LATE = 1.0              # seconds until a state is worth a word that passes
MAX_WISHES = 4          # notices that wait for their turn
IDLE = 60.0             # seconds after which a viewer may have to make room


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
        #: In the order in which they came; kept in exclusive mode only.
        self._order: list[console_listener.Viewer] = []
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
        """How many viewers there are."""
        return len(self._viewers)

    # -- what viewers do (listener.Host) ---------------------------------

    def came(self, viewer: console_listener.Viewer) -> bool:
        now = self._loop.time()
        refusal = self._refusal(viewer, now)
        if refusal is not None:
            self._end(viewer, refusal)
            return False
        self._viewers[viewer] = _Told()
        self._source.record_viewer(f'viewer {viewer.peer} came')
        if self._settings.exclusive:
            self._order.append(viewer)
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
        if self._settings.exclusive and self._order[0] is not viewer:
            told = self._viewers[viewer]
            if not told.read_only:
                told.read_only = True
                told.wishes.append(notices.EXCLUSIVE)
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
        if len(self._viewers) >= settings.max_clients:
            idle = min(self._viewers, key=lambda other: other.active)
            if now - idle.active <= IDLE:
                settings.gate.log_turned_away(
                    viewer.address, f'the console has {len(self._viewers)} '
                    'viewers ([solconsole]max_clients)', now, self._extra)
                return notices.FULL
            LOG.info('The viewer from %s made room for one from %s, after '
                     '%.0f idle seconds.', idle.peer, viewer.peer,
                     now - idle.active, extra=self._extra)
            self._dismiss_one(idle, notices.MADE_ROOM)
        return None

    def _end(self, viewer: console_listener.Viewer, notice: str) -> None:
        viewer.close(notice if self._settings.notices else '')

    def _forget(self, viewer: console_listener.Viewer) -> bool:
        if self._viewers.pop(viewer, None) is None:
            return False
        if self._settings.exclusive:
            wrote = self._order[0] is viewer
            self._order.remove(viewer)
            if wrote and self._order:
                told = self._viewers[self._order[0]]
                if told.read_only:
                    told.read_only = False
                    told.wishes.append(notices.WRITER)
                    self._announce()
        return True

    def _dismiss_one(self, viewer: console_listener.Viewer,
                     notice: str) -> None:
        self._forget(viewer)
        self._end(viewer, notice)
        self._source.record_viewer(
            f'viewer {viewer.peer} was disconnected: {notice}')
        self._source.viewers_changed(False)

    def _look_for_idle(self) -> None:
        self._idle_timer = None
        timeout = self._settings.idle_timeout
        if self._paused:
            return      # resume() looks again
        now = self._loop.time()
        for viewer in tuple(self._viewers):
            if now - viewer.active >= timeout:
                LOG.info('The viewer from %s was closed: it was idle for '
                         '%g s ([console]terminal_timeout).', viewer.peer,
                         timeout, extra=self._extra)
                self._dismiss_one(viewer, notices.idle(timeout))
        if self._viewers:
            due = min(viewer.active for viewer in self._viewers) + timeout
            self._idle_timer = self._loop.call_at(due, self._look_for_idle)

    # -- output ----------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """Give output of the host to every viewer, and keep it."""
        if (not self._unfinished and len(data) <= PIECE and data
                and data[-1] < 0x80):
            if self._character_timer is not None:
                self._cancel_character_timer()
            self._give(data)
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
        after = len(scanner.tail)
        if self._cut_due is not None and after <= len(data):
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

    def tell(self, notice: str) -> None:
        """Tell everybody who is there something, once."""
        for told in self._viewers.values():
            if len(told.wishes) < MAX_WISHES:
                told.wishes.append(notice)
        self._announce()

    def _announce(self) -> None:
        """Say what there is to say, as soon as it may be said."""
        now = self._loop.time()
        due = min((self._due(told) for told in self._viewers.values()),
                  default=math.inf)
        if (due == math.inf or self._paused or self._closed
                or not self._settings.notices):
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

    def _due(self, told: _Told) -> float:
        """When a viewer may be told what it does not know; inf for never.
        """
        news = told.state != self.standing.text
        if not told.wishes and not news:
            return math.inf
        if self.standing.late and not told.wishes:
            return max(told.at + NOTICE_PAUSE, self._standing_since + LATE)
        return told.at + NOTICE_PAUSE

    def _say(self, now: float) -> None:
        """Tell each viewer one thing, here and now."""
        self._cut_due = None
        for viewer, told in self._viewers.items():
            if self._due(told) > now:
                continue
            late = (self.standing.late
                    and now < self._standing_since + LATE)
            if told.state != self.standing.text and not late:
                if viewer.tell(self._sentence(now)):
                    told.state, told.at = self.standing.text, now
            elif told.wishes and viewer.tell(told.wishes[0]):
                del told.wishes[0]
                told.at = now
        # Who could not be told is behind, and says when it is not.
        due = min((due for told in self._viewers.values()
                   if (due := self._due(told)) > now), default=math.inf)
        if due < math.inf:
            self._announce_at(due)

    def _sentence(self, now: float) -> str:
        if not self.standing.text:
            return notices.CONNECTED
        return notices.sentence(self.standing, now, self._settings.full)

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
        self._order.clear()
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
