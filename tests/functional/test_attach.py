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

"""``ironic-solconsole attach`` at a terminal, and every way out of it."""

import collections.abc
import os
import re
import signal
import subprocess

import pytest

from ironic_solconsole.cli import terminal
from tests.functional.test_cli import run_cli
from tests.functional.test_console import wait_viewers
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import operator
from tests.support import terminal as terminal_support
from tests.support import viewers
from tests.support import waiting

Spec = bridge_support.console_spec.ConsoleSpec


@pytest.fixture
def spec(echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> Spec:
    """A console that echoes, with a name."""
    made = bridge_support.make_spec(echo_bmc, name='node-1')
    bridge.connect(made)
    return made


@pytest.fixture
def attached(bridge: bridge_support.Bridge, spec: Spec
             ) -> collections.abc.Iterator[terminal_support.TerminalRun]:
    """A terminal at that console."""
    with terminal_support.TerminalRun(
            '--run-dir', bridge.run_dir, 'attach', 'node-1') as run:
        run.wait_attached()
        wait_viewers(bridge, 1)
        yield run


def check_sane(run: terminal_support.TerminalRun) -> None:
    """The terminal is as it was, and what a host may have set is undone."""
    assert run.modes() == run.before
    assert terminal.RESET in run.output
    assert b'Traceback' not in run.output, run.output


def test_keys_go_to_the_host_and_the_menu_leaves(
        attached: terminal_support.TerminalRun, spec: Spec,
        bridge: bridge_support.Bridge, echo_bmc: ipmi_sim.Bmc) -> None:
    assert b'node-1 (' + spec.node.encode() in attached.output
    assert b'connected' in attached.output
    # What a terminal would act on otherwise, and bytes that are no text.
    attached.type(b'ab\x03\x1a\x11\x13\x04\r\x7f\xff\x00')
    echo_bmc.host.wait_received(b'ab\x03\x1a\x11\x13\x04\r\x7f\xff\x00')
    attached.wait_for(b'ab\x03\x1a\x11\x13\x04\r\x7f\xff\x00')
    attached.menu(b'd')
    assert attached.wait_ended() == 0
    check_sane(attached)
    assert attached.output.endswith(b'Detached.\r\n')
    wait_viewers(bridge, 0)


def test_the_menu(attached: terminal_support.TerminalRun, spec: Spec,
                  bridge: bridge_support.Bridge,
                  echo_bmc: ipmi_sim.Bmc) -> None:
    attached.menu(b'?')
    attached.wait_for(b'send the host a serial break')
    attached.menu(b'\x1d')
    echo_bmc.host.wait_received(b'\x1d')
    attached.menu(b'b')
    attached.wait_for(b'[solconsole: the BMC has taken the break]')
    attached.menu(b'w')
    attached.wait_for(b'(you)]')
    assert f'process {attached.pid}'.encode() in attached.output
    with viewers.Viewer(spec.url) as tenant:
        wait_viewers(bridge, 2)
        attached.menu(b't')
        attached.wait_for(b'only what is typed here is sent')
        tenant.wait_for(b'somebody else writes')
        attached.menu(b'g')
        attached.wait_for(b'others may write again')
        tenant.wait_for(b'this viewer writes now')
    attached.menu(b'x')
    attached.wait_for(b'[solconsole: back]')
    attached.type(b'on')
    echo_bmc.host.wait_received(b'\x1d\xff\xf3on')
    bridge.wait_state(spec.node, 'connected')
    operator.ask(bridge, 'release', spec.node, seconds=0)
    attached.wait_for(b'released for maintenance')
    attached.menu(b'b')
    attached.wait_for(b'[solconsole: the console is not connected]')


def test_read_only_types_nothing_and_has_a_menu(
        bridge: bridge_support.Bridge, spec: Spec,
        echo_bmc: ipmi_sim.Bmc) -> None:
    with terminal_support.TerminalRun(
            '--run-dir', bridge.run_dir, 'attach', '--read-only',
            spec.node.upper()) as run:
        run.wait_attached()
        run.type(b'no')
        run.menu(b'\x1d')
        run.wait_for(b'attached to read only')
        run.menu(b't')
        run.wait_for(b'this viewer came to read only')
        echo_bmc.host.send(b'output')
        run.wait_for(b'output')
        run.menu(b'.')
        assert run.wait_ended() == 0
        check_sane(run)
    assert echo_bmc.host.received == b''


def test_force_writes_alone(bridge: bridge_support.Bridge, spec: Spec,
                            echo_bmc: ipmi_sim.Bmc) -> None:
    with viewers.Viewer(spec.url) as tenant:
        wait_viewers(bridge, 1)
        with terminal_support.TerminalRun(
                '--run-dir', bridge.run_dir, 'attach', '--force',
                'node-1') as run:
            run.wait_attached()
            tenant.wait_for(b'somebody else writes')
            tenant.send(b'tenant')
            run.type(b'mine')
            echo_bmc.host.wait_received(b'mine')
            run.menu(b'd')
            assert run.wait_ended() == 0


# -- every way out -------------------------------------------------------

@pytest.mark.parametrize('number', [
    signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_leaves_a_sane_terminal(
        attached: terminal_support.TerminalRun, number: int,
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    echo_bmc.host.send(b'\x1b[?1049h\x1b[?1003h\x1b[?25l\x1b[31m\x1b]2;no end')
    attached.wait_for(b'no end')
    os.kill(attached.pid, number)
    assert attached.wait_ended() == -number
    check_sane(attached)
    wait_viewers(bridge, 0)


def test_a_signal_in_the_midst_of_a_flood_leaves_a_sane_terminal(
        attached: terminal_support.TerminalRun, echo_bmc: ipmi_sim.Bmc,
        spec: Spec, bridge: bridge_support.Bridge) -> None:
    flood = echo_bmc.host.stream(hosts.text(400_000))
    attached.wait_for(b'host 0000100')

    # Nobody looks at the terminal any more, which takes no more then.
    def stuck() -> bool:
        row, = operator.ask(bridge, 'who', spec.node)['viewers']
        return (bridge.show(spec.node)['bytes_out'] - row['bytes_sent']
                > 100_000)

    waiting.wait_until(stuck, 'output that waits for the terminal', 60)
    os.kill(attached.pid, signal.SIGTERM)
    # It cannot be reset, but it is no reason to stay.
    assert attached.process.wait(waiting.PATIENCE) == -signal.SIGTERM
    assert attached.modes() == attached.before
    flood.cancel()


def test_a_window_that_is_closed_ends_it(
        attached: terminal_support.TerminalRun,
        bridge: bridge_support.Bridge) -> None:
    attached.hang_up()
    attached.process.wait(waiting.PATIENCE)
    wait_viewers(bridge, 0)


def test_suspended_and_continued(
        attached: terminal_support.TerminalRun,
        echo_bmc: ipmi_sim.Bmc) -> None:
    def state() -> str:
        with open(f'/proc/{attached.pid}/stat') as stat:
            return stat.read().rpartition(')')[2].split()[0]

    # Stopped by force: whoever was at the terminal meanwhile has set it.
    os.kill(attached.pid, signal.SIGSTOP)
    waiting.wait_until(lambda: state() == 'T', 'a stopped process', seen=state)
    subprocess.run(['stty', 'sane'], stdin=attached.slave, check=True)
    os.kill(attached.pid, signal.SIGCONT)
    waiting.wait_until(lambda: attached.raw, 'a raw terminal')
    attached.type(b'a')
    echo_bmc.host.wait_received(b'a')
    # Asked to stop. The group is orphaned, so that the kernel does not
    # stop it; with a shell see test_attach_tmux.
    for ask in (lambda: os.kill(attached.pid, signal.SIGTSTP),
                lambda: attached.menu(b'z')):
        attached.output = b''
        ask()
        attached.wait_for(b'attached again')
        assert terminal.RESET in attached.output
        assert attached.raw
    attached.type(b'b')
    echo_bmc.host.wait_received(b'ab')
    attached.menu(b'd')
    assert attached.wait_ended() == 0
    check_sane(attached)


def test_a_console_that_is_closed_ends_it_with_a_code_and_a_reason(
        attached: terminal_support.TerminalRun, spec: Spec,
        bridge: bridge_support.Bridge) -> None:
    bridge.close(spec.node)
    assert attached.wait_ended() == 5
    check_sane(attached)
    assert b'[solconsole: the console was closed]' in attached.output
    assert b'Disconnected: the console was closed' in attached.output


def test_who_is_kicked_is_told(
        attached: terminal_support.TerminalRun, spec: Spec,
        bridge: bridge_support.Bridge) -> None:
    kicked = run_cli('--run-dir', bridge.run_dir, 'kick', 'node-1', 1)
    assert (kicked.code, kicked.stdout) == (0, 'Disconnected: 1.\n'), kicked
    assert attached.wait_ended() == 5
    check_sane(attached)
    assert b'disconnected by an operator' in attached.output
    assert b'as told above' in attached.output


@pytest.mark.parametrize('end', ['conductor', 'kill'])
def test_the_end_of_the_console_process_ends_it(
        echo_bmc: ipmi_sim.Bmc, end: str) -> None:
    with bridge_support.Bridge() as bridge:
        spec = bridge_support.make_spec(echo_bmc)
        bridge.connect(spec)
        with terminal_support.TerminalRun(
                '--run-dir', bridge.run_dir, 'attach', spec.node) as run:
            run.wait_attached()
            if end == 'kill':
                bridge.kill()
            else:
                bridge.hang_up()
            assert run.wait_ended() == 5
            check_sane(run)
            assert b'Disconnected: the console process is gone' in run.output


def test_a_menu_that_cannot_do_its_work_says_so_and_goes_on(
        attached: terminal_support.TerminalRun) -> None:
    # No file can be opened any more.
    subprocess.run(['prlimit', f'--pid={attached.pid}', '--nofile=3:3'],
                   check=True)
    attached.menu(b'w')
    attached.wait_for(b'[solconsole: Too many open files]')
    attached.menu(b'd')
    assert attached.wait_ended() == 0
    check_sane(attached)


def test_a_console_process_that_hangs_holds_nobody(
        attached: terminal_support.TerminalRun,
        bridge: bridge_support.Bridge) -> None:
    bridge.signal(signal.SIGSTOP)
    try:
        attached.menu(b'w')             # is not answered, and not waited for
        attached.menu(b'b')
        attached.wait_for(b'what was asked before is still under way')
        attached.type(b'typed meanwhile')
        attached.menu(b'd')
        assert attached.wait_ended() == 0
        check_sane(attached)
    finally:
        bridge.signal(signal.SIGCONT)
    wait_viewers(bridge, 0)


# -- what is no way in ---------------------------------------------------

def test_it_needs_a_terminal_and_a_console(
        bridge: bridge_support.Bridge, spec: Spec) -> None:
    where = ('--run-dir', bridge.run_dir)
    output = run_cli(*where, 'attach', 'node-1')
    assert output.code == 1
    assert 'needs a terminal' in output.stderr
    assert run_cli(*where, 'attach', '--force', '--read-only',
                   'node-1').code == 2
    with terminal_support.TerminalRun(*where, 'attach', 'no-such') as run:
        assert run.wait_ended() == 1
        assert b'baremetal node show no-such' in run.output
        assert run.modes() == run.before
    with terminal_support.TerminalRun(
            '--run-dir', bridge.run_dir / 'none', 'attach', 'n') as run:
        assert run.wait_ended() == 3
        assert b'No conductor with solconsole' in run.output


# -- the other commands --------------------------------------------------

def test_break_say_kick_and_who_say_what_came_of_it(
        bridge: bridge_support.Bridge, spec: Spec,
        echo_bmc: ipmi_sim.Bmc) -> None:
    where = ('--run-dir', bridge.run_dir)
    sent = run_cli(*where, 'break', 'node-1')
    assert (sent.code, sent.stdout) == (0, 'The BMC has taken the break.\n')
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        said = run_cli(*where, 'say', spec.node, 'back', 'at five')
        assert (said.code, said.stdout) == (0, 'Told to 1 of 1 viewers.\n')
        viewer.wait_for(b'[solconsole: operator: back at five]')
        # ipmi_sim tells a TCP host of a break with what comes behind it.
        viewer.send(b'x')
        echo_bmc.host.wait_received(b'\xff\xf3x')
        viewer.wait_for(b'x')
        row, = run_cli(*where, 'who', 'node-1', '-f', 'json').rows()
        host, port = viewer.address
        assert row.pop('since')
        assert row.pop('idle') is not None
        assert row.pop('bytes_sent') == len(viewer.data)
        assert row == {'viewer': 1, 'kind': 'tcp', 'from': f'{host}:{port}',
                       'writes': True, 'bytes_lost': 0}
        missing = run_cli(*where, 'kick', 'node-1', 7)
        assert (missing.code, missing.stderr) == (
            1, 'The console has no viewer 7.\n')
        kicked = run_cli(*where, 'kick', 'node-1')
        assert (kicked.code, kicked.stdout) == (0, 'Disconnected: 1.\n')
        viewer.wait_closed()
    assert run_cli(*where, 'kick', 'node-1').stdout == 'Nobody was there.\n'
    long = run_cli(*where, 'say', 'node-1', 'x' * 201)
    assert (long.code, long.stdout) == (1, '')
    assert '200' in long.stderr
    operator.ask(bridge, 'release', spec.node, seconds=0)
    sent = run_cli(*where, 'break', 'node-1')
    assert (sent.code, sent.stderr) == (
        1, 'The console is not connected.\n')
    for verb in ('break', 'kick', 'who'):
        assert run_cli(*where, verb, 'no-such').code == 1
        assert run_cli('--run-dir', bridge.run_dir / 'none', verb,
                       'node-1').code == 3


def test_what_a_parked_console_cannot_do_says_that_it_is_parked(
        bridge: bridge_support.Bridge, spec: Spec) -> None:
    where = ('--run-dir', bridge.run_dir)
    bridge.request('close', {'node': spec.node, 'park': 30})
    assert '"parked"' in run_cli(
        *where, 'list', '-f', 'json').stdout, 'nothing is parked'
    for words in (('break', 'node-1'), ('release', 'node-1'),
                  ('resume', spec.node), ('retry', 'node-1'),
                  ('steal', '--yes', 'node-1')):
        done = run_cli(*where, *words)
        assert (done.code, done.stdout) == (1, ''), words
        assert re.fullmatch(r'The console of .* is parked: .*; try again '
                            'then\\.\n', done.stderr), words
    for words in (('who', 'node-1'), ('say', 'node-1', 'wait'),
                  ('kick', 'node-1')):
        assert run_cli(*where, *words).code == 0, words
