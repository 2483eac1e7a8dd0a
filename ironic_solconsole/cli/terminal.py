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

"""The operator's own terminal: raw while attached, sane after it."""

import contextlib
import errno
import os
import select
import signal
import termios
import tty
import types

#: Seconds for a terminal that is stuck to take the last bytes.
_RESET_PATIENCE = 1.0
_STEP = 4096        # bytes for the terminal at a time

#: Undoes what a host may have done to a terminal, and clears nothing.
RESET = b''.join((
    b'\x18',                # CAN: no sequence is unfinished,
    b'\x1b\\',              # ST: and no string
    # Off the alternate screen. Who is on it gets the cursor of the main
    # one, and who is not the one that is saved here.
    b'\x1b7\x1b[?1049l',
    # Margins, and keys as xterm and kitty encode them. Setting margins
    # moves the cursor.
    b'\x1b7\x1b[?69l\x1b[r\x1b[>4m\x1b[<9u\x1b8',
    b'\x0f\x1b(B',         # the character set
    b'\x1b[?9l\x1b[?1000l\x1b[?1001l\x1b[?1002l\x1b[?1003l',    # the mouse
    b'\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l',
    b'\x1b[?2004l',         # bracketed paste
    b'\x1b[?2026l',         # output that waits for the rest of a frame
    b'\x1b[?1l\x1b>',       # cursor and keypad keys
    b'\x1b[?5l\x1b[?7h',    # reverse video; lines that wrap
    b'\x1b[4l\x1b[20l',     # insertion; LF that returns
    b'\x1b[0m\x1b[0 q\x1b[?25h',    # colours, shape and sight of the cursor
))

_FATAL = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal came while the terminal took no output."""


class _Stuck(Exception):
    """The terminal does not even take the last bytes."""


class Signals:
    """Signals as things to look at, and not as exceptions anywhere.

    In force within a ``with`` block, in the main thread.
    """

    def __init__(self) -> None:
        #: One that is to end the program.
        self.fatal = 0
        #: Whether the program is to be suspended.
        self.suspend = False
        #: Whether it goes on after it was stopped.
        self.continued = False
        self._in_write = False
        self._before: dict[int, object] = {}
        self._wake = -1
        self._woken = -1
        self._old_wakeup = -1

    def __enter__(self) -> 'Signals':
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signal.set_wakeup_fd(
            self._wake, warn_on_full_buffer=False)
        for number in (*_FATAL, signal.SIGTSTP, signal.SIGCONT):
            self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)      # type: ignore[arg-type]
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._woken)
        os.close(self._wake)

    def fileno(self) -> int:
        """Is readable when a signal has come, until :meth:`seen`."""
        return self._woken

    def seen(self) -> None:
        """Wait for the next one."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 512)

    def _came(self, number: int, frame: types.FrameType | None) -> None:
        if number == signal.SIGTSTP:
            self.suspend = True
        elif number == signal.SIGCONT:
            self.continued = True
        else:
            self.fatal = self.fatal or number
        if self._in_write and number != signal.SIGCONT:
            self._in_write = False      # once: not while that is handled
            raise Interrupted

    def write(self, descriptor: int, data: bytes) -> int:
        """Write, and wait no longer than until a signal comes.

        :returns: how many bytes were written.
        :raises: Interrupted, OSError
        """
        self._in_write = True
        try:
            if self.fatal or self.suspend:
                raise Interrupted
            return os.write(descriptor, data)
        finally:
            self._in_write = False

    def stop_process_group(self) -> None:
        """Be stopped as by Ctrl-Z; returns when continued."""
        self.suspend = False
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        try:
            os.kill(0, signal.SIGTSTP)
        finally:
            signal.signal(signal.SIGTSTP, handler)


class Terminal:
    """A terminal that is raw within a ``with`` block.

    :param keyboard: descriptor that is read from.
    :param screen: descriptor that is written to.
    :param signals: are in force.
    """

    def __init__(self, keyboard: int, screen: int,
                 signals: Signals) -> None:
        self.keyboard = keyboard
        self._screen = screen
        self._signals = signals
        self._saved = termios.tcgetattr(keyboard)
        self._unwritten = b''

    def __enter__(self) -> 'Terminal':
        try:
            self.make_raw()
        except BaseException:
            self.restore()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.restore()

    def make_raw(self) -> None:
        """Every key goes to the host from now on."""
        # Not what waits until all output is out: that may be for ever.
        tty.setraw(self.keyboard, termios.TCSANOW)

    def read(self) -> bytes:
        """What was typed; b'' when the terminal is gone."""
        try:
            return os.read(self.keyboard, _STEP)
        except OSError as error:
            if error.errno == errno.EIO:
                return b''
            raise

    def write(self, data: bytes) -> None:
        """Show something, as fast as the terminal takes it.

        :raises: Interrupted if a signal comes meanwhile, and the rest is
            shown next time; OSError.
        """
        self._unwritten += data
        while self._unwritten:
            count = self._signals.write(
                self._screen, self._unwritten[:_STEP])
            self._unwritten = self._unwritten[count:]

    def restore(self) -> None:
        """Make it what it was, whatever the host has done to it.

        Takes a second at most, and raises nothing.
        """
        if not self._ours():
            return
        with contextlib.suppress(termios.error):
            # Answers to what the host has asked are not for the shell.
            termios.tcflush(self.keyboard, termios.TCIFLUSH)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self.keyboard, termios.TCSANOW, self._saved)
        handler = signal.signal(signal.SIGALRM, _give_up)
        try:
            signal.setitimer(signal.ITIMER_REAL, _RESET_PATIENCE)
            select.select([], [self._screen], [], _RESET_PATIENCE)
            view = memoryview(RESET + b'\r\n')
            while view:
                view = view[os.write(self._screen, view):]
        except (OSError, _Stuck):
            pass        # it is gone, or nobody looks at it
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)

    def _ours(self) -> bool:
        """Whether the terminal is not another job's at the moment."""
        try:
            return os.tcgetpgrp(self.keyboard) == os.getpgrp()
        except OSError:
            return True     # it is not our controlling terminal, or gone


def _give_up(number: int, frame: types.FrameType | None) -> None:
    raise _Stuck
