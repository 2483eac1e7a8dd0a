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

"""What operators ask about the people at a console."""

import pathlib
import re

import pytest

from ironic_solconsole import control
from ironic_solconsole.cli import link
from ironic_solconsole.cli import viewers
from tests.unit.cli import conftest
from tests.unit.cli import fake_bridge

STATUS = fake_bridge.status()
NODE = STATUS['node']
ROOT = pathlib.Path(__file__).parents[3]


def serve(run_dir: pathlib.Path, **answers: control.Json | None
          ) -> fake_bridge.FakeBridge:
    """A bridge that has the console, and answers verbs; None is no answer.
    """
    def answer(request: control.Request) -> bytes:
        if request.verb == 'show':
            return fake_bridge.consoles(STATUS)(request)
        result = answers[request.verb]
        return b'' if result is None else control.encode(
            control.Reply(request.id, result))

    return fake_bridge.FakeBridge(run_dir / 'aa' / '0.sock', answer)


@pytest.mark.parametrize(('words', 'verb', 'args', 'answer', 'printed'), [
    (['kick', 'node-1'], 'kick', {'viewer': None}, {'kicked': [3, 4]},
     'Disconnected: 3, 4.\n'),
    (['kick', 'node-1', '3'], 'kick', {'viewer': 3}, {'kicked': []},
     'Nobody was there.\n'),
    (['say', NODE, 'a', 'b'], 'say', {'text': 'a b'},
     {'told': 2, 'viewers': 2}, 'Told to 2 of 2 viewers.\n'),
    (['break', 'node-1'], 'break', {'seconds': 5.0}, {},
     'The BMC has taken the break.\n')])
def test_only_the_bridge_with_the_console_is_asked(
        run_dir: pathlib.Path, run: conftest.Run, words: list[str],
        verb: str, args: control.Json, answer: control.Json,
        printed: str) -> None:
    with (serve(run_dir, **{verb: answer}) as bridge,
          fake_bridge.FakeBridge(run_dir / 'bb' / '0.sock',
                                 fake_bridge.consoles()) as other):
        output = run(*words)
    assert (output.code, output.stdout) == (0, printed), output
    assert (bridge.requests[1].verb, bridge.requests[1].args) == (
        verb, {'node': NODE, **args})
    assert [request.verb for request in other.requests] == ['show']


def test_who_was_not_told_is_said(run_dir: pathlib.Path,
                                  run: conftest.Run) -> None:
    with serve(run_dir, say={'told': 1, 'viewers': 3}):
        output = run('say', 'node-1', 'hello')
    assert output.code == 0
    assert 'switched off' in output.stderr


@pytest.mark.parametrize('number', ['-1', 'x', '1.5', '1' * 10, '\u0663'])
def test_what_is_no_number_of_a_viewer_is_refused(
        run: conftest.Run, number: str) -> None:
    assert run('kick', 'node-1', '--', number).code == 2


@pytest.mark.parametrize('words', [
    ['kick', 'node-1'], ['who', 'node-1'], ['say', 'node-1', 'x'],
    ['break', 'node-1']])
def test_no_answer_has_a_code_of_its_own(
        run_dir: pathlib.Path, run: conftest.Run,
        words: list[str]) -> None:
    with serve(run_dir, **{words[0]: None}):
        output = run(*words)
    assert (output.code, output.stdout) == (4, '')
    assert output.stderr.count('\n') == 1
    assert 'did not answer' in output.stderr


def test_who_comes_from_outside_cannot_forge_a_line(
        run_dir: pathlib.Path, run: conftest.Run) -> None:
    with serve(run_dir, who={'viewers': [{
            'viewer': 1, 'kind': 'tcp', 'from': 'a\x1b[2J\nb'}]}):
        output = run('who', 'node-1', '-f', 'value')
    assert output.stdout.startswith(r'1 tcp a\x1b[2J\nb')
    assert output.stdout.count('\n') == 1


def test_a_break_is_asked_for_no_longer_than_a_bridge_allows(
        run_dir: pathlib.Path, run: conftest.Run) -> None:
    from ironic_solconsole.bridge import operators

    assert link.MAX_BREAK_WAIT == operators.MAX_BREAK_WAIT
    with serve(run_dir, **{'break': {}}) as bridge:
        assert run('--timeout', '1000', 'break', 'node-1').code == 0
    assert bridge.requests[1].args['seconds'] == link.MAX_BREAK_WAIT


def test_every_field_and_exit_code_is_documented() -> None:
    text = (ROOT / 'doc' / 'source' / 'cli' / 'index.rst').read_text()
    section = text[text.index('who, say, kick\n'):
                   text.index('release, resume, retry, steal\n===')]
    assert tuple(re.findall(r'^   \* - ``([a-z_]+)``$', section,
                            re.MULTILINE)) == viewers.COLUMNS
    codes = text[text.index('Exit codes\n'):]
    assert re.findall(r'^   \* - ([0-9]+)$', codes, re.MULTILINE) == [
        *'012345']
