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

"""What operators make a link do."""

import argparse
import io
import pathlib

import pytest

from ironic_solconsole.cli import link
from tests.unit.cli import conftest
from tests.unit.cli import fake_bridge

NODE = fake_bridge.status()['node']


def serve(run_dir: pathlib.Path) -> fake_bridge.FakeBridge:
    """A bridge that has the console."""
    return fake_bridge.FakeBridge(
        run_dir / 'aa' / '0.sock',
        fake_bridge.consoles(fake_bridge.status()))


@pytest.mark.parametrize(('text', 'seconds'), [
    ('90', 90), ('90s', 90), ('15m', 900), ('1h', 3600), ('2d', 172800)])
def test_a_time_may_be_given_in_units(text: str, seconds: int) -> None:
    assert link.duration(text) == seconds


@pytest.mark.parametrize('text', ['', '0', '-1', '1w', 'h', '1h30m', '32d',
                                  '99999999'])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match='31 days'):
        link.duration(text)


@pytest.mark.parametrize(('words', 'verb', 'args'), [
    (['release', NODE], 'release', {'node': NODE, 'seconds': 0}),
    (['release', NODE, '--for', '1h'], 'release',
     {'node': NODE, 'seconds': 3600}),
    (['resume', NODE], 'resume', {'node': NODE}),
    (['retry', NODE], 'retry', {'node': NODE}),
    (['steal', NODE, '--yes'], 'steal', {'node': NODE})])
def test_the_bridge_is_asked_and_the_console_shown(
        run_dir: pathlib.Path, run: conftest.Run, words: list[str],
        verb: str, args: dict[str, object]) -> None:
    with serve(run_dir) as bridge:
        output = run(*words, '-f', 'json')
    assert output.code == 0, output.stderr
    assert NODE in output.stdout
    assert [(request.verb, request.args) for request in bridge.requests] == [
        (verb, args)]


def test_nothing_is_stolen_without_a_yes(
        run_dir: pathlib.Path, run: conftest.Run,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('sys.stdin', io.StringIO('y\n'))
    with serve(run_dir) as bridge:
        output = run('steal', NODE)
    assert output.code == 1
    assert '--yes' in output.stderr
    assert not bridge.requests


@pytest.mark.parametrize(('answer', 'stolen'), [
    ('y\n', True), ('yes\n', True), ('\n', False), ('n\n', False),
    ('', False)])
def test_a_person_is_asked_before_a_console_is_stolen(
        run_dir: pathlib.Path, run: conftest.Run,
        monkeypatch: pytest.MonkeyPatch, answer: str, stolen: bool) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr('sys.stdin', Terminal(answer))
    with serve(run_dir) as bridge:
        output = run('steal', NODE)
    assert '[y/N]' in output.stderr
    assert (output.code == 0) is stolen
    assert ('steal' in [r.verb for r in bridge.requests]) is stolen
