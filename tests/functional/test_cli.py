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

"""``ironic-solconsole`` as an operator runs it, at real bridges."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import ports
from tests.support import viewers


@dataclasses.dataclass
class Output:
    """What a command printed, and its exit code."""

    code: int
    stdout: str
    stderr: str

    def rows(self) -> list[dict[str, object]]:
        """The rows of ``list -f json``."""
        assert self.code in (0, 4), self
        rows = json.loads(self.stdout)
        assert isinstance(rows, list), rows
        return rows


def run_cli(*words: object, **environment: str) -> Output:
    """Run the command to its end."""
    done = subprocess.run(
        [sys.executable, '-m', 'ironic_solconsole.cli.main',
         *map(str, words)], capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    assert 'Traceback' not in done.stderr, done.stderr
    return Output(done.returncode, done.stdout, done.stderr)


def test_list_tells_what_an_operator_wants_to_know(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc, name='node-1')
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        bmc.host.send(b'login: ')
        viewer.wait_exactly(b'login: ')
        viewer.send(b'me')
        bmc.host.wait_received(b'me')

        row, = run_cli('--run-dir', bridge.run_dir, 'list', '-f',
                       'json').rows()

    since = row.pop('since')
    assert isinstance(since, str) and since.endswith('Z'), since
    assert row == {
        'node': spec.node, 'name': 'node-1', 'state': 'connected',
        'reason': '', 'bmc': f'127.0.0.1:{bmc.port}', 'url': spec.url,
        'viewers': 1, 'bytes_in': 2, 'bytes_out': 7, 'suite': 3}


def test_show_tells_why_there_is_no_console(
        bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(
        address='127.0.0.1', port=ports.free_port(), name='node-1')
    bridge.open(spec)
    for name in ('node-1', spec.node, spec.node.upper()):
        shown = run_cli('--run-dir', bridge.run_dir, 'show', name, '-f',
                        'json')
        assert shown.code == 0, shown
        status = json.loads(shown.stdout)
        assert status['node'] == spec.node
        assert status['reason'] == 'unreachable'
        assert status['detail']
        assert status['suite'] is None
        assert status['generation'] == spec.generation
        assert status['socket'] == str(bridge.socket_path)


def test_tables_and_plain_values_are_printed_too(
        bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(
        address='127.0.0.1', port=ports.free_port(), name='node-1')
    bridge.open(spec)
    where = ('--run-dir', bridge.run_dir)
    table = run_cli(*where, 'list')
    assert table.code == 0
    assert table.stderr == ''
    for text in ('| node ', 'node-1', 'unreachable', 'bytes_out'):
        assert text in table.stdout, table.stdout
    assert 'None' not in table.stdout, table.stdout
    value = run_cli(*where, 'list', '-f', 'value', '-c', 'node', '-c',
                    'reason')
    assert value.stdout == f'{spec.node} unreachable\n'
    shown = run_cli(*where, 'show', 'node-1', '-f', 'value', '-c', 'url')
    assert shown.stdout == f'{spec.url}\n'


def test_the_conductors_of_a_host_are_merged(tmp_path: pathlib.Path) -> None:
    with (bridge_support.Bridge('cond-a', 0, tmp_path) as first,
          bridge_support.Bridge('cond-a', 1, tmp_path) as second,
          bridge_support.Bridge('cond-b', 0, tmp_path) as third):
        for number, bridge in enumerate((first, second, third)):
            bridge.open(bridge_support.make_spec(
                address='127.0.0.1', port=ports.free_port(),
                name=f'node-{number}'))
        rows = run_cli('--run-dir', tmp_path, 'list', '-f', 'json').rows()
        assert [row['name'] for row in rows] == ['node-0', 'node-1',
                                                 'node-2']
        shown = run_cli('--run-dir', tmp_path, 'show', 'node-2', '-f',
                        'value', '-c', 'socket')
        assert shown.stdout.strip() == str(third.socket_path)


def test_a_hung_bridge_does_not_hide_the_others(
        tmp_path: pathlib.Path) -> None:
    with (bridge_support.Bridge('cond-a', 0, tmp_path) as works,
          bridge_support.Bridge('cond-b', 0, tmp_path) as hangs):
        works.open(bridge_support.make_spec(
            address='127.0.0.1', port=ports.free_port(), name='node-1'))
        hangs.signal(signal.SIGSTOP)
        try:
            listed = run_cli('--run-dir', tmp_path, '--timeout', 1, 'list',
                             '-f', 'json')
            assert [row['name'] for row in listed.rows()] == ['node-1']
            assert listed.code == 4
            assert str(hangs.socket_path) in listed.stderr
            assert str(works.socket_path) not in listed.stderr
            found = run_cli('--run-dir', tmp_path, '--timeout', 1, 'show',
                            'node-1')
            assert found.code == 0, found
            missing = run_cli('--run-dir', tmp_path, '--timeout', 1, 'show',
                              'node-2')
            assert missing.code == 4, missing
        finally:
            hangs.signal(signal.SIGCONT)
        check_unharmed(hangs)


def test_what_a_killed_bridge_left_behind_is_named_and_passed_over(
        tmp_path: pathlib.Path) -> None:
    with (bridge_support.Bridge('cond-a', 0, tmp_path) as works,
          bridge_support.Bridge('cond-b', 0, tmp_path) as dies):
        works.open(bridge_support.make_spec(
            address='127.0.0.1', port=ports.free_port(), name='node-1'))
        dies.kill()
        listed = run_cli('--run-dir', tmp_path, 'list', '-f', 'json')
        assert [row['name'] for row in listed.rows()] == ['node-1']
        assert listed.code == 0
        assert str(dies.socket_path) in listed.stderr
        works.hang_up()
        works.wait_ended()
        listed = run_cli('--run-dir', tmp_path, 'list')
        assert listed.code == 3
        assert 'No conductor with solconsole' in listed.stderr


def test_no_conductor_is_one_plain_line(tmp_path: pathlib.Path) -> None:
    for run_dir in (tmp_path, tmp_path / 'none'):
        for words in (['list'], ['show', 'node-1']):
            output = run_cli('--run-dir', run_dir, *words)
            assert output.code == 3, output
            assert output.stdout == ''
            assert output.stderr.count('\n') == 1, output
            assert output.stderr.startswith('No conductor with solconsole')
            assert str(run_dir) in output.stderr


def test_an_unknown_node_is_one_plain_line(
        bridge: bridge_support.Bridge) -> None:
    output = run_cli('--run-dir', bridge.run_dir, 'show', 'no\x1b[2J\nsuch')
    assert (output.code, output.stdout) == (1, '')
    assert output.stderr.count('\n') == 1, output
    assert '\x1b' not in output.stderr
    assert r'no\x1b[2J\nsuch' in output.stderr


def test_a_node_name_cannot_forge_the_output(
        bridge: bridge_support.Bridge) -> None:
    bridge.open(bridge_support.make_spec(
        address='127.0.0.1', port=ports.free_port(),
        name='x\x1b[2J\nfaked\u202e\u00e9'))
    for words in (['list'], ['list', '-f', 'value'], ['list', '-f', 'csv']):
        output = run_cli('--run-dir', bridge.run_dir, *words,
                         PYTHONIOENCODING='ascii', COLUMNS='400')
        assert output.code == 0, output
        assert '\x1b' not in output.stdout
        # The csv writer doubles its own escape character.
        text = output.stdout.replace('\\\\', '\\')
        assert r'x\x1b[2J\nfaked\u202e\xe9' in text, output


def test_the_run_directory_comes_from_the_configuration_of_ironic(
        tmp_path: pathlib.Path) -> None:
    state = tmp_path / 'state'
    named = tmp_path / 'named'
    plain = tmp_path / 'plain.conf'
    plain.write_text(f'[DEFAULT]\nstate_path = {state}\n')
    other = tmp_path / 'other.conf'
    other.write_text(f'[solconsole]\nrun_dir = {named}\n')
    with (bridge_support.Bridge(
            run_dir=state / 'solconsole' / 'run') as by_default,
          bridge_support.Bridge(run_dir=named) as by_name):
        for bridge, words in (
                (by_default, ['--config-file', plain]),
                (by_name, ['--config-file', plain, '--config-file', other])):
            bridge.open(bridge_support.make_spec(
                address='127.0.0.1', port=ports.free_port(),
                name=str(bridge.pid)))
            row, = run_cli(*words, 'list', '-f', 'json').rows()
            assert row['name'] == str(bridge.pid)
        row, = run_cli('list', '-f', 'json',
                       IRONIC_CONFIG_FILE=str(plain)).rows()
        assert row['name'] == str(by_default.pid)


@pytest.mark.skipif(os.getuid() != 0, reason='only root can be other users')
def test_other_users_are_turned_away_whatever_the_modes_say(
        bridge: bridge_support.Bridge) -> None:
    path = bridge.socket_path
    for directory in (path.parent, bridge.run_dir):
        directory.chmod(0o711)
    path.chmod(0o666)

    def ask(uid: int) -> bytes:
        return subprocess.run(
            ['setpriv', f'--reuid={uid}', '--clear-groups', 'socat', '-t5',
             '-', f'UNIX-CONNECT:{path}'], timeout=20, capture_output=True,
            input=b'{"v":1,"id":1,"verb":"ping"}\n').stdout

    assert b'"consoles":0' in ask(0)
    assert b'consoles' not in ask(65534)
    assert bridge.logged('user 65534'), bridge.logs
