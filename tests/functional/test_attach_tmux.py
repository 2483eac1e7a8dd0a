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

"""``attach`` in a real terminal, with a real shell and vim on the host."""

import collections.abc
import dataclasses
import re
import shlex
import signal
import sys

import pytest

from tests.functional.conftest import check_unharmed
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import processes
from tests.support import shell_host
from tests.support import tmux
from tests.support import waiting


@dataclasses.dataclass
class Desk:
    """An operator's terminal, and the host that it looks at."""

    terminal: tmux.Tmux
    host: shell_host.ShellHost
    bridge: bridge_support.Bridge

    def attach(self) -> None:
        """Attach, and have the host's prompt."""
        self.terminal.enter(shlex.join([
            sys.executable, '-m', 'ironic_solconsole.cli.main', '--run-dir',
            str(self.bridge.run_dir), 'attach', 'node-1']))
        self.wait_until(lambda: not self.cooked, 'a raw terminal')
        self.terminal.press('Enter')
        self.terminal.wait_for(shell_host.PROMPT)

    def wait_until(self, predicate: collections.abc.Callable[[], object],
                   what: str) -> None:
        """Wait, and show the screen if it was in vain."""
        waiting.wait_until(predicate, what, interval=0.05,
                           seen=self.terminal.text)

    @property
    def cooked(self) -> bool:
        """Whether the shell has its terminal as it likes it."""
        return ' icanon' in self.stty()

    def stty(self) -> str:
        """All modes of the terminal."""
        return processes.run_text('stty', '-a', '-F',
                                  self.terminal.ask('pane_tty'))

    def pid(self) -> int:
        """The command that is attached."""
        return int(processes.run_text(
            'pgrep', '-f', f'[r]un-dir {self.bridge.run_dir} attach'))

    def check_sane(self) -> None:
        """Nothing of what a host does to a terminal is left."""
        for variable in ('alternate_on', 'mouse_any_flag', 'insert_flag',
                         'keypad_flag', 'keypad_cursor_flag',
                         'mouse_sgr_flag', 'origin_flag'):
            assert self.terminal.ask(variable) == '0', variable
        for variable in ('cursor_flag', 'wrap_flag'):
            assert self.terminal.ask(variable) == '1', variable
        assert (self.terminal.ask('scroll_region_upper'),
                self.terminal.ask('scroll_region_lower')) == (
            '0', str(int(self.terminal.ask('pane_height')) - 1))


@pytest.fixture
def desk() -> collections.abc.Iterator[Desk]:
    """A desk with a terminal of 100 by 30."""
    with (shell_host.ShellHost() as host,
          ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(serial=host.serial)]) as sim,
          bridge_support.Bridge() as bridge,
          tmux.Tmux(100, 30, PYTHONPATH=':'.join(sys.path)) as terminal):
        host.resize(30, 100)
        bridge.connect(bridge_support.make_spec(sim.bmcs[0], name='node-1'))
        yield Desk(terminal, host, bridge)
        check_unharmed(bridge)


def vim_screen(text: str, rows: int) -> list[str]:
    """How vim looks in insert mode, with one line of text."""
    return [text, *['~'] * (rows - 2), '-- INSERT --']


def test_vim_is_drawn_and_follows_a_resize(desk: Desk) -> None:
    terminal = desk.terminal
    before = desk.stty()
    desk.attach()
    terminal.enter('vim -u NONE -N -c "set nomore"')
    desk.wait_until(lambda: terminal.ask('alternate_on') == '1', 'vim')
    terminal.type('ihello')
    desk.wait_until(
        lambda: terminal.screen()[:30] == vim_screen('hello', 30),
        'vim in 30 lines')
    # The terminal is made another size, and so is the host's.
    terminal.resize(60, 20)
    desk.host.resize(20, 60)
    desk.wait_until(
        lambda: terminal.screen()[:20] == vim_screen('hello', 20),
        'vim in 20 lines')
    assert terminal.ask('pane_width') == '60'
    # A line that is wrapped where the host's terminal ends now.
    terminal.type(' ' + 'x' * 60)
    desk.wait_until(
        lambda: terminal.screen()[:3] == ['hello ' + 'x' * 54, 'x' * 6,
                                          '~'], 'a line of 66 in 60 columns')
    terminal.press('C-]', 'd')
    terminal.wait_for('Detached.')
    desk.wait_until(lambda: desk.cooked, 'the modes of the shell')
    desk.check_sane()
    assert re.sub('rows.*?;.*?;', '', desk.stty()) == re.sub(
        'rows.*?;.*?;', '', before)
    terminal.enter('echo "still"" here"')
    terminal.wait_for('still here')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_killed_within_vim_it_leaves_a_sane_terminal(
        desk: Desk, number: int) -> None:
    terminal = desk.terminal
    before = desk.stty()
    terminal.enter('seq 100 150')
    desk.attach()
    terminal.enter('printf "\\033[?1002h\\033[?1006h\\033[?2004h'
                   '\\0337\\033[5;10r\\0338\\033[31m"; vim -u NONE -N')
    desk.wait_until(lambda: terminal.ask('alternate_on') == '1', 'vim')
    desk.wait_until(lambda: terminal.ask('mouse_any_flag') == '1', 'a mouse')
    processes.run_text('kill', f'-{int(number)}', str(desk.pid()))
    terminal.wait_for({signal.SIGTERM: 'Terminated',
                       signal.SIGHUP: 'Hangup'}[signal.Signals(number)])
    desk.wait_until(lambda: desk.cooked, 'the modes of the shell')
    desk.check_sane()
    assert desk.stty() == before
    # What was there before is there still: seen, or scrolled away.
    history = terminal.history()
    assert [line for line in history if re.fullmatch('1[0-9][0-9]', line)
            ] == [str(number) for number in range(100, 151)], history
    terminal.enter('echo "code $?"')
    terminal.wait_for(f'code {128 + number}')


def test_suspended_the_shell_has_its_terminal_and_fg_goes_on(
        desk: Desk) -> None:
    terminal = desk.terminal
    before = desk.stty()
    desk.attach()
    for stop in (lambda: terminal.press('C-]', 'z'),
                 lambda: processes.run_text('kill', '-TSTP',
                                            str(desk.pid())),
                 lambda: processes.run_text('kill', '-STOP',
                                            str(desk.pid()))):
        stop()
        terminal.wait_for('Stopped')
        terminal.enter('clear')
        desk.wait_until(lambda: 'Stopped' not in terminal.text(),
                        'an empty screen')
        assert desk.cooked
        assert desk.stty() == before
        terminal.enter('fg')
        desk.wait_until(lambda: not desk.cooked, 'a raw terminal')
        terminal.enter('clear; echo "host is"" back"')
        terminal.wait_for('host is back')
    terminal.press('C-]', 'd')
    terminal.wait_for('Detached.')
    assert desk.stty() == before
    # In the background it has no terminal to restore.
    desk.attach()
    terminal.press('C-]', 'z')
    terminal.wait_for('Stopped')
    processes.run_text('kill', '-TERM', str(desk.pid()))
    terminal.enter('fg')
    terminal.wait_for('Terminated')
    desk.wait_until(lambda: desk.stty() == before, 'the modes of the shell')
