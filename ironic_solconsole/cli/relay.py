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

"""Bytes between a terminal and a console, and the menu at the escape key."""

import collections.abc
import enum
import queue
import selectors
import signal
import socket
import threading

from ironic_solconsole.cli import keys
from ironic_solconsole.cli import terminal

#: Does something and gives lines to show. It runs beside the relay.
Action = collections.abc.Callable[[], list[str]]

_RECEIVE_SIZE = 16 * 1024   # bytes
_MAX_UNSENT = 64 * 1024     # bytes typed that the bridge has not taken

MENU = ('d detach, b break, w who, t take the write right, g give it back, '
        'z suspend, Ctrl-] send Ctrl-] itself, ? help')
HELP = (
    'Ctrl-] and then:',
    '  d       detach: leave the console',
    '  b       send the host a serial break',
    '  w       who is at this console',
    '  t       take the write right: only what is typed here is sent',
    '  g       give it back: all write again who may',
    '  z       suspend; "fg" in the shell goes on',
    '  Ctrl-]  send Ctrl-] to the host',
    '  ?       this',
    'Any other key goes back to the console.',
)


class End(enum.Enum):
    """How a relay ended."""

    DETACHED = enum.auto()      #: by the menu
    DISCONNECTED = enum.auto()  #: by the bridge
    HUNG_UP = enum.auto()       #: the terminal is gone
    SIGNAL = enum.auto()        #: the one in Signals.fatal


class Relay:
    """One attached terminal.

    :param sock: carries the console's bytes; is closed by who made it.
    :param screen: is raw.
    :param signals: are in force.
    :param actions: what keys of the menu do, beyond what is done here.
    :param read_only: whether what is typed is dropped.
    """

    def __init__(self, sock: socket.socket, screen: terminal.Terminal,
                 signals: terminal.Signals,
                 actions: collections.abc.Mapping[bytes, Action],
                 read_only: bool) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._screen = screen
        self._signals = signals
        self._read_only = read_only
        self._keyboard = keys.Keyboard()
        self._unsent = b''
        self._listens = False       # to the keyboard
        self._end: End | None = None
        self._work = _Worker(actions)
        self._suspend = False

    def run(self, shown_first: bytes) -> End:
        """Relay until there is an end.

        :param shown_first: what has come of the console already.
        """
        with self._work, selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ)
            selector.register(self._work, selectors.EVENT_READ)
            selector.register(self._sock, selectors.EVENT_READ)
            self._show(shown_first)
            while True:
                if self._signals.fatal:
                    return End.SIGNAL
                if self._end is not None:
                    return self._end
                if self._suspend or self._signals.suspend:
                    self._stop()
                    continue
                if self._signals.continued:
                    self._signals.continued = False
                    self._screen.make_raw()     # the shell's modes are on
                self._turn(selector)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        selector.modify(self._sock, selectors.EVENT_READ | (
            selectors.EVENT_WRITE if self._unsent else 0))
        listens = len(self._unsent) < _MAX_UNSENT
        if listens and not self._listens:
            selector.register(self._screen.keyboard, selectors.EVENT_READ)
        elif self._listens and not listens:
            selector.unregister(self._screen.keyboard)
        self._listens = listens
        for key, events in selector.select():
            if self._end is not None:
                return
            if key.fileobj is self._signals:
                self._signals.seen()
            elif key.fileobj is self._work:
                self._say(self._work.result())
            elif key.fileobj is self._sock:
                if events & selectors.EVENT_WRITE:
                    self._send(b'')
                if events & selectors.EVENT_READ:
                    self._receive()
            else:
                self._typed()

    # -- the console -----------------------------------------------------

    def _receive(self) -> None:
        try:
            data = self._sock.recv(_RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b''
        if data:
            self._show(data)
        else:
            self._end = self._end or End.DISCONNECTED

    def _send(self, data: bytes) -> None:
        self._unsent += data
        try:
            count = self._sock.send(self._unsent) if self._unsent else 0
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = len(self._unsent)   # reading tells that it has ended
        self._unsent = self._unsent[count:]

    # -- the terminal ----------------------------------------------------

    def _show(self, data: bytes) -> None:
        try:
            self._screen.write(data)
        except terminal.Interrupted:
            pass                        # run() sees to it
        except OSError:
            self._end = End.HUNG_UP

    def _say(self, lines: collections.abc.Sequence[str]) -> None:
        text = '\r\n'.join(lines)
        self._show(f'\r\n[solconsole: {text}]\r\n'.encode(
            errors='backslashreplace'))

    def _stop(self) -> None:
        self._suspend = False
        self._screen.restore()
        self._signals.stop_process_group()
        self._screen.make_raw()
        self._signals.continued = False
        self._say(['attached again; Ctrl-L redraws most programs'])

    def _typed(self) -> None:
        data = self._screen.read()
        if not data:
            self._end = End.HUNG_UP
            return
        for is_key, piece in self._keyboard.feed(data):
            if is_key:
                self._menu(piece)
            elif not self._read_only:
                self._send(piece)
            if self._end is not None:
                return

    def _menu(self, key: bytes) -> None:
        if not key:
            self._say([MENU])
        elif key in b'dD.':
            self._end = End.DETACHED
        elif key in b'zZ\x1a':
            self._suspend = True
        elif key in b'?hH':
            self._say(HELP)
        elif key == bytes((keys.ESCAPE,)):
            if self._read_only:
                self._say(['not sent: attached to read only'])
            else:
                self._send(key)
        elif not self._work.start(key.lower()):
            self._say(['back' if not self._work.busy else
                       'what was asked before is still under way'])


class _Worker:
    """Runs actions beside the relay, one at a time.

    One that hangs is left behind: it has its own deadline.
    """

    def __init__(self, actions: collections.abc.Mapping[bytes, Action]
                 ) -> None:
        self._actions = actions
        self._done: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        self.busy = False

    def __enter__(self) -> '_Worker':
        self._woken, self._wake = socket.socketpair()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._woken.close()
        # The other end is closed by the thread that may still write to it,
        # or with this object.

    def fileno(self) -> int:
        """Is readable when there is a result."""
        return self._woken.fileno()

    def start(self, key: bytes) -> bool:
        """Begin what a key stands for.

        :returns: whether there is such a thing, and nothing else runs.
        """
        action = self._actions.get(key)
        if action is None or self.busy:
            return False
        self.busy = True

        def run() -> None:
            self._done.put(action())
            try:
                self._wake.send(b'.')
            except OSError:
                pass            # the relay has ended

        # Signals are for the main thread, whose system calls they end.
        mask = signal.pthread_sigmask(
            signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=run, daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return True

    def result(self) -> list[str]:
        """What it came to; only when it is there."""
        self._woken.recv(1)
        self.busy = False
        return self._done.get()
