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

"""``check`` as a command, and what it says of options."""

import os
import pathlib
import re
import typing

from oslo_config import cfg
import pytest

from ironic_solconsole import conf as solconsole_conf
from ironic_solconsole.cli import checks
from ironic_solconsole.cli import config
from ironic_solconsole.cli.checks import everything
from ironic_solconsole.cli.checks import processes
from ironic_solconsole.cli.checks import settings
from tests.unit.cli import conftest

OK, WARNING, ERROR, SKIPPED = checks.Verdict
DOC = (pathlib.Path(__file__).parents[3] / 'doc' / 'source' / 'cli'
       / 'check.rst')


def read(tmp_path: pathlib.Path, text: str
         ) -> tuple[settings.Settings, dict[str, checks.Finding]]:
    path = tmp_path / 'ironic.conf'
    path.write_text(f'[DEFAULT]\nstate_path = {tmp_path}\n{text}')
    found, findings = settings.read(config.load(
        [str(path)], more=settings.IRONIC_OPTIONS))
    return found, {each.check: each for each in findings}


def test_defaults_are_valid(tmp_path: pathlib.Path) -> None:
    found, findings = read(tmp_path, 'my_ip = 192.0.2.1\n')
    assert list(findings) == ['options']
    assert findings['options'].verdict is OK
    assert found.port_ranges == [solconsole_conf.DEFAULT_PORT_RANGE]
    assert found.socat_address == '192.0.2.1'
    assert found.run_dir == tmp_path / 'solconsole' / 'run'
    assert found.coordination is not None
    assert found.coordination.backend == 'file'
    assert found.console_interfaces == ['no-console']


def test_every_option_with_a_wrong_value_has_a_line(
        tmp_path: pathlib.Path) -> None:
    wrong = {}
    for option in solconsole_conf.OPTIONS:
        # a string can hold anything
        if option.name not in ('run_dir', 'coordination_url',
                               'transcript_dir'):
            wrong[option.name] = 'nonsense value'
    text = '\n'.join(f'{name} = {value}' for name, value in wrong.items())
    _, findings = read(tmp_path, f'[solconsole]\n{text}\n')
    for name in wrong:
        assert findings[f'option [solconsole]{name}'].verdict is ERROR, name


@pytest.mark.parametrize('url', [
    'memcached://u:hunter2@h', 'redis://u:hunter2@h?timeout=5', 'hunter2',
    'file://', 'http://u:hunter2@h', 'redis://u:hunter2@[h'])
def test_a_wrong_coordination_url_is_told_without_its_secret(
        tmp_path: pathlib.Path, url: str) -> None:
    found, findings = read(
        tmp_path, f'[solconsole]\ncoordination_url = {url}\n')
    complaint = findings['option [solconsole]coordination_url']
    assert complaint.verdict is ERROR
    assert 'hunter2' not in complaint.detail
    assert found.coordination is None


def test_a_dollar_in_a_password_is_told_without_it(
        tmp_path: pathlib.Path) -> None:
    _, findings = read(
        tmp_path,
        '[solconsole]\ncoordination_url = redis://:hunter2$none_such@h\n')
    complaint = findings['option [solconsole]coordination_url']
    assert complaint.verdict is ERROR
    assert '$$' in complaint.detail
    assert 'hunter2' not in complaint.detail


def test_a_transcript_directory_is_looked_at_where_there_is_the_option(
        tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if 'transcript_dir' not in {each.name
                                for each in solconsole_conf.OPTIONS}:
        monkeypatch.setattr(solconsole_conf, 'OPTIONS', [
            *solconsole_conf.OPTIONS, cfg.StrOpt('transcript_dir')])
    (tmp_path / 't').mkdir(mode=0o755)
    found, _ = read(
        tmp_path, f'[solconsole]\ntranscript_dir = {tmp_path / "t"}\n')
    assert found.transcript_dir == tmp_path / 't'
    looked = [each for each in everything._directories(
        found, None, processes.account(os.getuid()))
        if each.check == 'transcript_dir']
    assert [each.verdict for each in looked] == [WARNING], looked
    assert read(tmp_path, '')[0].transcript_dir is None


@pytest.mark.parametrize(('text', 'expected'), [
    ('[console]\nport_range = 100:200\n', [range(100, 200)]),
    ('[console]\nport_range = 100:200,300:400\n',
     [range(100, 200), range(300, 400)]),
    ('[console]\nport_range = 0:200\n', [range(1, 200)]),
    ('[console]\nport_range = 1:2\n[solconsole]\nport_range = 5:7\n',
     [range(5, 7)]),
    ('[console]\nport_range = 100\n', None),
    ('[console]\nport_range = 200:100\n', None),
    ('[console]\nport_range = 100:100\n', None),
    ('[console]\nport_range = 1:70000\n', None),
    ('[console]\nport_range = a:b\n', None)])
def test_port_ranges_are_read_as_the_conductor_does(
        tmp_path: pathlib.Path, text: str,
        expected: list[range] | None) -> None:
    found, findings = read(tmp_path, text)
    assert found.port_ranges == expected
    assert ('option [console]port_range' in findings) == (expected is None)


def test_what_is_allowed_and_hardly_meant_is_a_warning(
        tmp_path: pathlib.Path) -> None:
    _, findings = read(
        tmp_path, '[solconsole]\nlock_ttl = 10\nlock_margin = 6\n'
        'port_quarantine = 599\nscrolback = 1\n')
    assert {name: each.verdict for name, each in findings.items()} == {
        f'option [solconsole]{name}': WARNING
        for name in ('lock_margin', 'port_quarantine', 'scrolback')}


def test_options_in_a_directory_count_too(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / 'conf.d'
    directory.mkdir()
    (directory / 'a.conf').write_text('[solconsole]\nlockttl = 5\n')
    conf = config.load([], [str(directory)], settings.IRONIC_OPTIONS)
    _, findings = settings.read(conf)
    assert 'option [solconsole]lockttl' in {each.check for each in findings}
    assert str(directory / 'a.conf') in settings.files_read(conf).detail


def test_no_configuration_at_all_is_a_warning(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, '_files', lambda conf: [])
    assert settings.files_read(config.load()).verdict is WARNING


@pytest.mark.parametrize(('enabled', 'verdict'), [
    (['solconsole', 'no-console'], OK), (['no-console'], ERROR),
    ([], ERROR), (None, SKIPPED)])
def test_the_interface_must_be_enabled(
        enabled: list[str] | None, verdict: checks.Verdict) -> None:
    assert settings.judge_interfaces(enabled).verdict is verdict


# -- the command ---------------------------------------------------------


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[checks.Finding]:
    """What is found, to be filled by a test."""
    findings: list[checks.Finding] = []
    monkeypatch.setattr(everything, 'run',
                        lambda options, node_info: iter(findings))
    return findings


def test_errors_decide_on_the_exit_code(
        run: conftest.Run, found: list[checks.Finding]) -> None:
    found += [checks.ok('a', 'good'), checks.skipped('b', 'why'),
              checks.warning('c', 'hm', 'do')]
    assert run('check').code == 0
    found.append(checks.error('d', 'bad', 'do this'))
    output = run('check', '-f', 'json')
    assert output.code == 1
    assert output.json() == [
        {'check': check, 'verdict': verdict, 'detail': detail,
         'advice': advice} for check, verdict, detail, advice in (
             ('a', 'ok', 'good', ''), ('b', 'skipped', 'why', ''),
             ('c', 'warning', 'hm', 'do'), ('d', 'error', 'bad', 'do this'))]


def test_what_cannot_be_looked_at_does_not_hide_the_rest(
        run: conftest.Run, tmp_path: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything.hardware, 'check', lambda *args: [])
    monkeypatch.setattr(everything.backend, 'check', lambda *args: [])
    path = tmp_path / 'ironic.conf'
    path.write_text(f'[DEFAULT]\nstate_path = {tmp_path}\n'
                    '[solconsole]\nrun_dir = /a\0b\n')
    output = run('--config-file', path, 'check', '-f', 'json',
                 with_run_dir=False)
    verdicts = {row['check']: row['verdict'] for row in output.json()
                if isinstance(row, dict)}
    assert output.code == 1
    assert verdicts['directories'] == 'error'
    assert 'ports' in verdicts


def test_nothing_that_was_found_can_forge_a_line(
        run: conftest.Run, found: list[checks.Finding]) -> None:
    found.append(checks.ok('a', 'x\x1b[2J\ny'))
    output = run('check', '-f', 'value', '-c', 'detail')
    assert output.stdout == 'x\\x1b[2J\\ny\n'


def test_every_check_is_documented() -> None:
    names: set[str] = set()
    sources = pathlib.Path(typing.cast(str, checks.__file__)).parent
    for path in sources.glob('*.py'):
        text = path.read_text()
        names |= set(re.findall(
            r"(?:checks\.)?(?:ok|warning|error|skipped)\(\s*'([^']+)'", text))
        names |= set(re.findall(r"^ *_?(?:NAME|PORTS|EPHEMERAL|ADDRESS)"
                                r" = '([^']+)'", text, re.MULTILINE))
        names |= set(re.findall(r"^    name = '([^']+)'$", text,
                                re.MULTILINE))
    assert {'run_dir', 'ports', 'SOL holder', 'coordination'} <= names
    page = DOC.read_text()
    missing = {name for name in names if f'``{name}``' not in page}
    assert not missing, missing
