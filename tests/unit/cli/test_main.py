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

"""Global options, help and the configuration of Ironic."""

import os
import pathlib
import subprocess
import sys

import pytest

import ironic_solconsole
from ironic_solconsole.cli import config
from tests.unit.cli import conftest
from tests.unit.cli import fake_bridge


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('IRONIC_CONFIG_FILE', raising=False)
    monkeypatch.delenv('IRONIC_CONFIG_DIR', raising=False)


def test_without_a_command_the_usage_is_said(run: conftest.Run) -> None:
    output = run()
    assert output.code == 2
    assert 'list, check, or attach, break' in output.stderr


def test_help_names_commands_options_and_exit_codes(
        run: conftest.Run) -> None:
    output = run('--help')
    assert output.code == 0
    for text in ('list', 'show', '--run-dir', '--config-file', '--timeout',
                 'exit codes:', '  3  no conductor'):
        assert text in output.stdout, output.stdout


def test_help_of_a_command_is_its_own(run: conftest.Run) -> None:
    output = run('show', '--help')
    assert output.code == 0
    assert 'UUID or name of the node' in output.stdout


def test_the_version_is_said(run: conftest.Run) -> None:
    output = run('--version')
    assert output.code == 0
    assert output.stdout.strip()


def test_an_unknown_command_is_an_error_of_usage(run: conftest.Run) -> None:
    assert run('destroy').code == 2


@pytest.mark.parametrize('value', ['0', '-1', 'nan', 'inf', 'soon'])
def test_a_timeout_must_be_a_number_above_zero(
        run: conftest.Run, value: str) -> None:
    output = run(f'--timeout={value}', 'list')
    assert output.code == 2
    assert 'number of seconds above 0' in output.stderr


def test_global_options_may_follow_the_command(
        run: conftest.Run, run_dir: pathlib.Path) -> None:
    with fake_bridge.FakeBridge(
            run_dir / 'aa/0.sock',
            fake_bridge.consoles(fake_bridge.status())):
        output = run('list', '--run-dir', run_dir, '-f', 'value', '-c',
                     'name', with_run_dir=False)
    assert (output.code, output.stdout) == (0, 'node-1\n')


def test_the_run_directory_follows_the_state_path(
        tmp_path: pathlib.Path) -> None:
    file = tmp_path / 'ironic.conf'
    file.write_text('[DEFAULT]\nstate_path = /var/lib/ironic\n')
    assert config.find_run_dir([str(file)]) == (
        '/var/lib/ironic/solconsole/run')


def test_a_later_file_and_a_directory_override(
        tmp_path: pathlib.Path) -> None:
    first, second = tmp_path / 'first.conf', tmp_path / 'second.conf'
    first.write_text('[DEFAULT]\nstate_path = /a\n')
    second.write_text('[DEFAULT]\nstate_path = /b\n')
    directory = tmp_path / 'ironic.conf.d'
    directory.mkdir()
    files = [str(first), str(second)]
    assert config.find_run_dir(files) == '/b/solconsole/run'
    (directory / 'x.conf').write_text('[solconsole]\nrun_dir = /c\n')
    assert config.find_run_dir(files, [str(directory)]) == '/c'


def test_the_environment_of_ironic_is_read(
        tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / 'ironic.conf'
    file.write_text('[solconsole]\nrun_dir = /from/environment\n')
    monkeypatch.setenv('IRONIC_CONFIG_FILE', str(file))
    assert config.find_run_dir() == '/from/environment'


def test_the_default_is_where_ironic_is_installed(
        tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / 'ironic.conf'
    file.touch()
    monkeypatch.setattr(config, '_package_directory',
                        lambda name: f'/usr/lib/{name}')
    assert config.find_run_dir([str(file)]) == (
        '/usr/lib/ironic/solconsole/run')


def test_without_ironic_and_configuration_the_way_out_is_said(
        run: conftest.Run, tmp_path: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / 'ironic.conf'
    file.touch()
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    output = run('--config-file', file, 'list', with_run_dir=False)
    assert output.code == 1
    assert output.stderr.count('\n') == 1
    assert '--run-dir' in output.stderr


def test_a_configuration_that_is_missing_or_broken_is_one_line(
        run: conftest.Run, tmp_path: pathlib.Path) -> None:
    broken = tmp_path / 'broken.conf'
    broken.write_text('no section = 1\n')
    for file in (tmp_path / 'missing.conf', broken):
        output = run('--config-file', file, 'list', with_run_dir=False)
        assert output.code == 1, output
        assert output.stdout == ''
        assert output.stderr.count('\n') == 1, output
        assert str(file) in output.stderr
        assert "Ironic's configuration cannot be read" in output.stderr


def test_finding_the_run_directory_imports_no_ironic() -> None:
    code = ('import sys; from ironic_solconsole.cli import config, main; '
            'config.find_run_dir(); '
            'print([m for m in sys.modules if m.split(".")[0] in '
            '("ironic", "ironic_lib", "pyghmi")])')
    root = pathlib.Path(ironic_solconsole.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, '-c', code], timeout=60, capture_output=True,
        text=True, env={**os.environ, 'PYTHONPATH': str(root)})
    assert done.stdout.strip() == '[]', done.stderr
