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

"""The operator's own terminal, on a pty."""

import collections.abc
import os
import pty
import signal
import termios
import threading
import time

import pytest

from ironic_solconsole.cli import relay
from ironic_solconsole.cli import terminal


class Pty:
    """A terminal and who looks at it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()

    def shown(self, timeout: float = 5.0) -> bytes:
        """What was written, up to the last of what resets a terminal."""
        data = b''
        deadline = time.monotonic() + timeout
        while terminal.RESET not in data and time.monotonic() < deadline:
            data += os.read(self.master, 65536)
        return data


@pytest.fixture
def tty() -> collections.abc.Iterator[Pty]:
    made = Pty()
    yield made
    for descriptor in (made.master, made.slave):
        try:
            os.close(descriptor)
        except OSError:
            pass


def test_it_is_restored_when_something_is_raised(tty: Pty) -> None:
    before = termios.tcgetattr(tty.slave)
    with terminal.Signals() as signals, pytest.raises(ZeroDivisionError):
        with terminal.Terminal(tty.slave, tty.slave, signals) as screen:
            assert not termios.tcgetattr(tty.slave)[3] & termios.ICANON
            screen.write(b'hello')
            raise ZeroDivisionError
    assert termios.tcgetattr(tty.slave) == before
    assert tty.shown().startswith(b'hello' + terminal.RESET)


def test_the_handlers_of_signals_are_restored() -> None:
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT,
               signal.SIGTSTP, signal.SIGCONT, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    with terminal.Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.fatal == signal.SIGTERM, 'the first one counts'
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_terminal_that_takes_nothing_holds_nobody_up(tty: Pty) -> None:
    before = termios.tcgetattr(tty.slave)

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Timer(0.3, kill)
    timer.start()
    with terminal.Signals() as signals:
        with pytest.raises(terminal.Interrupted):
            with terminal.Terminal(tty.slave, tty.slave, signals) as screen:
                screen.write(b'x' * 1_000_000)
        with pytest.raises(terminal.Interrupted):
            signals.write(tty.slave, b'never')
    timer.join()
    assert termios.tcgetattr(tty.slave) == before


def test_a_terminal_that_is_gone_is_no_error(tty: Pty) -> None:
    with terminal.Signals() as signals:
        with terminal.Terminal(tty.slave, tty.slave, signals) as screen:
            os.close(tty.master)
            assert screen.read() == b''


def test_what_a_signal_kept_from_the_screen_is_shown_later(
        tty: Pty) -> None:
    with terminal.Signals() as signals:
        with terminal.Terminal(tty.slave, tty.slave, signals) as screen:
            signals.suspend = True
            with pytest.raises(terminal.Interrupted):
                screen.write(b'first ')
            signals.suspend = False
            screen.write(b'second')
    assert tty.shown().startswith(b'first second')


def test_the_menu_names_every_key_that_it_has() -> None:
    for key in ('d', 'b', 'w', 't', 'g', 'z', 'Ctrl-]', '?'):
        assert f'{key} ' in relay.MENU
        assert any(line.startswith(f'  {key} ') for line in relay.HELP)
