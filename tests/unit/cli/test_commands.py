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

"""What ``list`` and ``show`` print, and how they fail."""

import os
import pathlib
import time
import typing

import pytest

from ironic_solconsole import control
from ironic_solconsole.cli import client
from ironic_solconsole.cli import command
from tests.unit.cli import conftest
from tests.unit.cli import fake_bridge

FIRST = fake_bridge.status()
SECOND = fake_bridge.status(
    node='22222222-2222-2222-2222-222222222222', name='node-2',
    state='waiting', reason='unreachable', detail='no answer', suite=None,
    session='')


def serve(run_dir: pathlib.Path, name: str, *rows: control.Json
          ) -> fake_bridge.FakeBridge:
    """A bridge with these consoles."""
    return fake_bridge.FakeBridge(
        run_dir / name, fake_bridge.consoles(*rows))


def test_list_prints_the_columns_in_their_order(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    with serve(run_dir, 'aa/0.sock', FIRST):
        output = run('list', '-f', 'csv', '--quote', 'minimal')
    assert output.code == 0
    head, row = output.stdout.splitlines()
    assert head == (
        'node,name,state,reason,since,bmc,url,viewers,bytes_in,bytes_out,'
        'suite')
    assert row == (
        '11111111-1111-1111-1111-111111111111,node-1,connected,,'
        '2026-11-20T20:15:01Z,192.0.2.7:623,tcp://192.0.2.1:10000,1,2,3,17')
    assert output.stderr == ''


def test_list_merges_bridges_and_sorts_by_name(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    nameless = fake_bridge.status(
        node='00000000-0000-0000-0000-000000000000', name='')
    with (serve(run_dir, 'aa/0.sock', SECOND),
          serve(run_dir, 'aa/1.sock'), serve(run_dir, 'bb/0.sock', FIRST,
                                             nameless)):
        output = run('list', '-f', 'value', '-c', 'node')
    assert output.stdout.split() == [
        nameless['node'], FIRST['node'], SECOND['node']]


def test_what_there_is_none_of_is_null_for_programs_and_empty_for_people(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    with serve(run_dir, 'aa/0.sock', SECOND):
        row, = run('list', '-f', 'json').json()
        table = run('list', '-c', 'suite')
    assert isinstance(row, dict)
    assert row['suite'] is None
    assert 'None' not in table.stdout


def test_no_console_at_all_is_an_empty_list(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    with serve(run_dir, 'aa/0.sock'):
        output = run('list', '-f', 'json')
    assert (output.code, output.json()) == (0, [])


@pytest.mark.parametrize('node', [
    'node-2', SECOND['node'], SECOND['node'].replace('-', '')])
def test_show_prints_one_console_with_all_details(
        run: conftest.Run, run_dir: pathlib.Path, node: str) -> None:
    with serve(run_dir, 'aa/0.sock', FIRST), serve(
            run_dir, 'aa/1.sock', SECOND) as bridge:
        output = run('show', node, '-f', 'json')
    assert output.code == 0, output
    assert output.json() == {**SECOND, 'socket': str(bridge.path)}


def test_show_prints_what_a_newer_bridge_tells_too(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    row = {**FIRST, 'novelty': {'deep': ['x\n']}}
    with serve(run_dir, 'aa/0.sock', row):
        shown = run('show', 'node-1', '-f', 'json').json()
    assert isinstance(shown, dict)
    assert shown['novelty'] == "{'deep': ['x\\n']}"


def test_an_older_bridge_may_tell_less(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    row = {'node': FIRST['node'], 'name': 'node-1'}
    with serve(run_dir, 'aa/0.sock', row):
        listed, = run('list', '-f', 'json').json()
        shown = run('show', 'node-1', '-f', 'json').json()
    assert isinstance(listed, dict) and isinstance(shown, dict)
    assert listed['state'] is None
    assert shown['detail'] is None


def test_show_prefers_the_bridge_that_is_at_work(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    leaving = {**FIRST, 'state': 'closed'}
    with serve(run_dir, 'aa/0.sock', leaving), serve(
            run_dir, 'bb/0.sock', FIRST) as works:
        output = run('show', 'node-1', '-f', 'json')
    shown = output.json()
    assert isinstance(shown, dict)
    assert shown['socket'] == str(works.path)
    assert str(run_dir / 'aa/0.sock') in output.stderr


def test_an_unknown_node_is_one_line(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    with serve(run_dir, 'aa/0.sock', FIRST):
        output = run('show', 'node-7')
    assert (output.code, output.stdout) == (1, '')
    assert output.stderr == (
        'No conductor of this host has a console of node node-7 open; '
        '"baremetal node show node-7 -f value -c conductor -c '
        'console_enabled" says which conductor has the node, and whether '
        'its console is on.\n')


def test_a_hung_bridge_does_not_hide_the_others(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    with serve(run_dir, 'aa/0.sock', FIRST), fake_bridge.FakeBridge(
            run_dir / 'bb/0.sock', None) as hangs:
        output = run('--timeout', '0.3', 'list', '-f', 'value', '-c', 'name')
        assert output.stdout == 'node-1\n'
        assert output.code == command.EXIT_INCOMPLETE
        assert output.stderr == (
            f'{hangs.path} did not answer: no answer within 0.3 s.\n')

        found = run('--timeout', '0.3', 'show', 'node-1')
        assert found.code == 0
        missing = run('--timeout', '0.3', 'show', 'node-7')
        assert missing.code == command.EXIT_INCOMPLETE
        assert 'No bridge that answered' in missing.stderr


def test_hung_bridges_are_waited_for_together(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    bridges = [fake_bridge.FakeBridge(run_dir / f'aa/{number}.sock', None)
               for number in range(8)]
    for bridge in bridges:
        bridge.__enter__()
    begin = time.monotonic()
    output = run('--timeout', '1', 'list')
    took = time.monotonic() - begin
    for bridge in bridges:
        bridge.__exit__()
    assert output.code == command.EXIT_INCOMPLETE
    assert output.stderr.count('did not answer') == 8
    assert took < 6, 'bridges were asked one after the other'


@pytest.mark.parametrize('answer', [
    b'nonsense\n', b'{"v":2,"id":1,"result":{}}\n',
    b'{"v":1,"id":1,"result":{}}\n',
    b'{"v":1,"id":1,"result":{"consoles":[7]}}\n',
    b'{"v":1,"id":1,"error":{"kind":"not-allowed","message":"no\\u001b"}}\n',
    b''])
def test_a_bridge_that_answers_nonsense_does_not_hide_the_others(
        run: conftest.Run, run_dir: pathlib.Path, answer: bytes) -> None:
    with serve(run_dir, 'aa/0.sock', FIRST), fake_bridge.FakeBridge(
            run_dir / 'bb/0.sock', lambda request: answer) as strange:
        output = run('list', '-f', 'value', '-c', 'name')
    assert output.stdout == 'node-1\n'
    assert output.code == command.EXIT_INCOMPLETE
    assert output.stderr.startswith(f'{strange.path} did not answer: ')
    assert '\x1b' not in output.stderr


def test_a_stale_socket_is_named_and_passed_over(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    fake_bridge.leave_stale(run_dir / 'bb/0.sock')
    with serve(run_dir, 'aa/0.sock', FIRST):
        output = run('list', '-f', 'value', '-c', 'name')
    assert (output.code, output.stdout) == (0, 'node-1\n')
    assert str(run_dir / 'bb/0.sock') in output.stderr


@pytest.mark.parametrize('words', [['list'], ['show', 'node-1']])
def test_nobody_at_all_is_a_plain_line_and_a_code(
        run: conftest.Run, run_dir: pathlib.Path, words: list[str]) -> None:
    output = run(*words)
    assert (output.code, output.stdout) == (command.EXIT_NO_CONDUCTOR, '')
    assert output.stderr == (
        'No conductor with solconsole runs on this host, or none of its '
        f'consoles is open: run_dir {run_dir} is empty.\n')

    fake_bridge.leave_stale(run_dir / 'bb/0.sock')
    output = run(*words)
    assert output.code == command.EXIT_NO_CONDUCTOR
    assert 'holds only sockets of processes that have ended' in output.stderr


def test_a_run_directory_that_is_missing_is_said_to_be(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    output = run('--run-dir', run_dir / 'none', 'list')
    assert output.code == command.EXIT_NO_CONDUCTOR
    assert 'does not exist' in output.stderr


def test_a_run_directory_that_is_a_file_is_an_error(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    (run_dir / 'file').touch()
    output = run('--run-dir', run_dir / 'file', 'list')
    assert output.code == command.EXIT_ERROR
    assert output.stderr.count('\n') == 1
    assert 'Not a directory' in output.stderr


def test_other_files_in_the_run_directory_are_passed_over(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    (run_dir / 'ports.lock').touch()
    (run_dir / 'aa').mkdir()
    (run_dir / 'aa' / 'journal').touch()
    (run_dir / 'aa' / 'file.sock').touch()
    (run_dir / 'cc').symlink_to(run_dir / 'aa')
    with serve(run_dir, 'aa/0.sock', FIRST):
        output = run('list', '-f', 'value', '-c', 'name')
    assert (output.code, output.stdout, output.stderr) == (
        0, 'node-1\n', '')


def _deny(monkeypatch: pytest.MonkeyPatch, denied: pathlib.Path) -> None:
    real = os.listdir

    def listdir(path: typing.Any) -> list[str]:
        if pathlib.Path(path) == denied:
            raise PermissionError(13, 'Permission denied', str(path))
        return real(path)

    monkeypatch.setattr(os, 'listdir', listdir)


def test_a_denied_run_directory_says_as_whom_to_run(
        run: conftest.Run, run_dir: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    _deny(monkeypatch, run_dir)
    output = run('list')
    assert (output.code, output.stdout) == (command.EXIT_ERROR, '')
    assert output.stderr == (
        f'Permission denied: {run_dir}; run this as root or as the user '
        'that ironic-conductor runs as.\n')


def test_one_denied_conductor_does_not_hide_the_others(
        run: conftest.Run, run_dir: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    (run_dir / 'bb').mkdir()
    _deny(monkeypatch, run_dir / 'bb')
    with serve(run_dir, 'aa/0.sock', FIRST):
        output = run('list', '-f', 'value', '-c', 'name')
    assert output.stdout == 'node-1\n'
    assert output.code == command.EXIT_INCOMPLETE
    assert f'{run_dir / "bb"} did not answer: permission denied' in (
        output.stderr)


def test_a_denied_socket_says_as_whom_to_run(
        run: conftest.Run, run_dir: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise client.AccessDenied('permission denied')

    monkeypatch.setattr(client, 'ask', refuse)
    with serve(run_dir, 'aa/0.sock', FIRST):
        output = run('list')
    assert output.code == command.EXIT_ERROR
    assert 'run this as root or as the user' in output.stderr


@pytest.mark.parametrize('words', [
    ['list'], ['list', '-f', 'value'], ['list', '-f', 'json'],
    ['show', 'evil'], ['show', 'evil', '-f', 'value'],
    ['show', 'evil', '-f', 'shell']])
def test_nothing_from_the_wire_reaches_the_terminal_unescaped(
        run: conftest.Run, run_dir: pathlib.Path, words: list[str]) -> None:
    row = fake_bridge.status(
        name='evil', detail='\x1b]0;x\x07\r\nfaked \u202e\u2028 \ud800',
        reason='\x9b2J', bmc='\x00', url='a\nb',
        **{'key\x1b[1m': 'x'})
    with serve(run_dir, 'aa/0.sock', row):
        output = run(*words)
    assert output.code == 0, output
    bad = {char for char in output.stdout
           if not char.isprintable() and char != '\n'}
    assert not bad, output.stdout


@pytest.mark.parametrize(('value', 'shown'), [
    ('plain', 'plain'), ('caf\u00e9 \u65e5', 'caf\u00e9 \u65e5'),
    ('\x1b[2J', r'\x1b[2J'), ('a\nb\tc', r'a\nb\tc'),
    ('\x7f\x80', r'\x7f\x80'), ('\u202e', r'\u202e'),
    ('\U000e0001', r'\U000e0001'), (17, 17), (True, True),
    (['\n'], "['\\n']")])
def test_printable_escapes_what_a_terminal_would_obey(
        value: object, shown: object) -> None:
    assert command.printable(value) == shown


@pytest.mark.parametrize(('words', 'names'), [
    ([], ['node-1', 'node-2']),
    (['node-2'], ['node-2']),
    (['node-2', 'node-1', 'node-2'], ['node-1', 'node-2']),
    ([SECOND['node'].replace('-', '').upper()], ['node-2']),
    (['node-*'], ['node-1', 'node-2']),
    (['node-[2-9]', '1111*'], ['node-1', 'node-2']),
    (['*-2222????????'], ['node-2'])])
def test_list_takes_names_uuids_and_patterns(
        run: conftest.Run, run_dir: pathlib.Path, words: list[str],
        names: list[str]) -> None:
    with serve(run_dir, 'aa/0.sock', SECOND), serve(
            run_dir, 'bb/0.sock', FIRST):
        output = run('list', *words, '-f', 'value', '-c', 'name')
    assert (output.code, output.stdout.split(), output.stderr) == (
        0, names, '')


def test_what_matches_nothing_is_named_and_the_rest_is_printed(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    with serve(run_dir, 'aa/0.sock', FIRST, SECOND):
        output = run('list', 'NODE-1', 'node-2', 'x\x1b*', 'NODE-1', '-f',
                     'value', '-c', 'name')
    assert (output.code, output.stdout) == (1, 'node-2\n')
    assert output.stderr == (
        'No conductor of this host has a console of node NODE-1 open.\n'
        'No conductor of this host has a console of node x\\x1b* open.\n')


def test_what_a_silent_bridge_may_have_is_not_said_to_be_missing_alone(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    with serve(run_dir, 'aa/0.sock', FIRST), fake_bridge.FakeBridge(
            run_dir / 'bb/0.sock', None):
        output = run('--timeout', 0.5, 'list', 'node-2')
    assert output.code == command.EXIT_INCOMPLETE


def test_an_older_bridge_that_tells_no_name_is_matched_by_uuid(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    with serve(run_dir, 'aa/0.sock', {'node': FIRST['node'], 'name': None}):
        output = run('list', '1111*', 'None', '-f', 'value', '-c', 'node')
    assert (output.code, output.stdout) == (1, f'{FIRST["node"]}\n')
