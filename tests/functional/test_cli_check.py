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

"""``ironic-solconsole check`` on a real host, at real servers and BMCs."""

import collections.abc
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import typing

import pytest

from ironic_solconsole.cli.checks import processes as check_processes
from tests.functional.test_cli import Output
from tests.functional.test_cli import run_cli
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import ports
from tests.support import servers
from tests.support import waiting

_ROOT_ONLY = pytest.mark.skipif(
    os.getuid() != 0, reason='only root can be other users')


@dataclasses.dataclass
class Place:
    """A host's configuration, and a directory for its state."""

    directory: pathlib.Path
    solconsole: dict[str, object] = dataclasses.field(default_factory=dict)
    console: dict[str, object] = dataclasses.field(default_factory=dict)
    default: dict[str, object] = dataclasses.field(default_factory=dict)

    @property
    def run_dir(self) -> pathlib.Path:
        """As the option says by default."""
        return self.directory / 'state' / 'solconsole' / 'run'

    def write(self) -> pathlib.Path:
        """Write ironic.conf."""
        first = ports.free_port()
        sections: dict[str, dict[str, object]] = {
            'DEFAULT': {
                'state_path': self.directory / 'state', 'host': 'cond-test',
                'my_ip': '127.0.0.1', 'tempdir': self.directory / 'tmp',
                'enabled_hardware_types': 'ipmi',
                'enabled_console_interfaces': 'solconsole,no-console',
                **self.default},
            'console': {'port_range': f'{first}:{first + 1}',
                        **self.console},
            'solconsole': self.solconsole}
        path = self.directory / 'ironic.conf'
        path.write_text('\n'.join(
            line for section, values in sections.items() for line in [
                f'[{section}]', *(f'{key} = {value}'
                                  for key, value in values.items())]) + '\n')
        return path

    def check(self, *words: object) -> tuple[int, 'Rows']:
        """Run it; gives the exit code and what it found."""
        output = run_cli('--config-file', self.write(), 'check', *words,
                         '-f', 'json')
        return output.code, Rows(rows_of(output))


def rows_of(output: Output) -> list[dict[str, str]]:
    """What ``-f json`` printed, if it is what is promised."""
    assert output.code in (0, 1), output
    rows = json.loads(output.stdout)
    for row in rows:
        assert list(row) == ['check', 'verdict', 'detail', 'advice']
        assert row['verdict'] in ('ok', 'warning', 'error', 'skipped'), row
        assert row['detail'], row
        assert (row['verdict'] in ('warning', 'error')) <= bool(
            row['advice']), row
    wrong = [row for row in rows if row['verdict'] == 'error']
    assert output.code == bool(wrong), (output.code, wrong)
    return typing.cast(list[dict[str, str]], rows)


class Rows(list[dict[str, str]]):
    """Rows by the name of the check."""

    def named(self, name: str) -> list[dict[str, str]]:
        """Those of one check."""
        return [row for row in self if row['check'] == name]

    def one(self, name: str) -> dict[str, str]:
        """The only one of a check."""
        found = self.named(name)
        assert len(found) == 1, (name, found, list(self))
        return found[0]

    def verdict(self, name: str) -> str:
        """What it says."""
        return self.one(name)['verdict']


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    """A host on which all is well."""
    (tmp_path / 'state' / 'solconsole' / 'locks').mkdir(
        mode=0o700, parents=True)
    (tmp_path / 'tmp').mkdir()
    return Place(tmp_path)


# -- the host ------------------------------------------------------------


def test_a_host_on_which_all_is_well(place: Place) -> None:
    code, rows = place.check()
    assert code == 0, rows
    for name in ('configuration', 'options', 'package pyghmi', 'packages',
                 'enabled_console_interfaces', 'ironic',
                 'hardware type ipmi', 'run_dir', 'socket path',
                 'terminal_pid_dir', 'coordination', 'ports'):
        assert rows.verdict(name) == 'ok', rows.named(name)
    assert 'accepts solconsole' in rows.one('hardware type ipmi')['detail']
    assert not place.run_dir.exists(), 'check has made run_dir'


def test_people_have_a_table_and_verdicts_decide_on_the_exit_code(
        place: Place) -> None:
    place.default['enabled_console_interfaces'] = 'no-console'
    output = run_cli('--config-file', place.write(), 'check')
    assert output.code == 1, output
    assert output.stderr == ''
    assert '| check ' in output.stdout
    assert ('add it: [DEFAULT]enabled_console_interfaces = '
            'solconsole,no-console') in output.stdout


def test_each_wrong_option_has_a_line(place: Place) -> None:
    place.solconsole |= {
        'lock_ttl': 'soon', 'bridges': 99, 'client_mode': 'both',
        'allowed_clients': '10.0.0.1/8', 'scrolback': 1,
        'port_quarantine': 10}
    place.console |= {'terminal_timeout': -1, 'socat_address': 'here',
                      'port_range': '20000:10000'}
    code, rows = place.check()
    assert code == 1
    for name in ('lock_ttl', 'bridges', 'client_mode', 'allowed_clients'):
        assert rows.verdict(f'option [solconsole]{name}') == 'error'
    for name in ('terminal_timeout', 'socat_address', 'port_range'):
        assert rows.verdict(f'option [console]{name}') == 'error'
    for name in ('scrolback', 'port_quarantine'):
        assert rows.verdict(f'option [solconsole]{name}') == 'warning'
    assert 'soon' in rows.one('option [solconsole]lock_ttl')['detail']
    # what needs a wrong one is not judged
    for name in ('coordination', 'ports', 'socat_address'):
        assert rows.verdict(name) == 'skipped'
    assert not rows.named('options')


def test_a_configuration_that_cannot_be_read_is_an_error(
        tmp_path: pathlib.Path) -> None:
    output = run_cli('--config-file', tmp_path / 'none.conf', 'check', '-f',
                     'json')
    rows = Rows(rows_of(output))
    assert rows.verdict('configuration') == 'error'
    assert rows.verdict('packages') == 'ok'


def test_a_hardware_type_that_is_not_there_and_one_that_does_not_fit(
        place: Place) -> None:
    place.default |= {
        'enabled_hardware_types':
            'ipmi,none-such,manual-management,redfish',
        'enabled_console_interfaces': 'solconsole'}
    code, rows = place.check()
    assert code == 1
    assert 'it is not installed' in rows.one(
        'hardware type none-such')['detail']
    row = rows.one('hardware type manual-management')
    assert row['verdict'] == 'error'
    assert 'accepts none of the enabled' in row['detail']
    for name in ('ipmi', 'redfish'):
        row = rows.one(f'hardware type {name}')
        assert row['verdict'] == 'warning'
        assert 'solconsole is its default' in row['detail']


def test_directories_with_wrong_owners_and_modes(place: Place) -> None:
    place.run_dir.mkdir(mode=0o755)
    locks = place.run_dir.parent / 'locks'
    locks.chmod(0o777)
    code, rows = place.check()
    assert code == 0
    assert rows.verdict('run_dir') == 'warning'
    warned = [row for row in rows.named('lock directory')
              if row['advice'] == f'chmod 0700 {locks}']
    assert len(warned) == 1, rows.named('lock directory')
    place.run_dir.rmdir()
    place.run_dir.write_text('')
    place.solconsole['coordination_url'] = f'file://{place.run_dir}/locks'
    code, rows = place.check()
    assert code == 1
    assert rows.verdict('run_dir') == 'error'
    assert rows.verdict('coordination') == 'skipped'


def test_a_run_dir_that_is_too_long_for_a_socket(place: Place) -> None:
    place.solconsole['run_dir'] = place.directory / ('x' * 90)
    code, rows = place.check()
    assert code == 1
    assert rows.verdict('socket path') == 'error'


@_ROOT_ONLY
def test_root_looks_with_the_eyes_of_the_conductors_user(
        place: Place) -> None:
    nobody = 65534
    place.default['host'] = 'cond-own'
    state = place.directory / 'state'
    for path in (place.directory, state, state / 'solconsole'):
        os.chown(path, nobody, nobody)
    code, rows = place.check()
    if any(process.role == 'conductor'
           for process in check_processes.find()):
        pytest.skip('a conductor of another test tells who the user is')
    assert f'uid {nobody}' in rows.one('user')['detail']
    # the directory of the locks is still root's
    locks = state / 'solconsole' / 'locks'
    assert code == 1
    row = next(row for row in rows.named('lock directory')
               if row['verdict'] == 'error')
    assert row['advice'] == f'chown {nobody}:{nobody} {locks}'
    os.chown(locks, nobody, nobody)
    code, rows = place.check()
    if rows.verdict('coordination') == 'ok':
        # what is left there is the user's, and no lock
        assert {path.stat().st_uid for path in locks.iterdir()} == {nobody}


def test_who_has_a_port_and_what_the_kernel_may_take(place: Place) -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
        place.console['port_range'] = f'{port}:{port + 1}'
        code, rows = place.check()
        row = rows.one('ports')
        assert (code, row['verdict']) == (1, 'error')
        assert f'1 of process {os.getpid()} (' in row['detail']
        place.solconsole['port_range'] = '10000:65536'
        _, rows = place.check()
    assert rows.verdict('ephemeral ports') == 'warning'


def test_an_address_that_is_not_of_this_host(place: Place) -> None:
    place.console['socat_address'] = '192.0.2.77'
    code, rows = place.check()
    assert code == 1
    assert rows.verdict('socat_address') == 'error'


def test_the_ports_and_limits_of_a_console_process_are_told(
        place: Place) -> None:
    with bridge_support.Bridge(
            run_dir=place.run_dir, soft_files=256) as bridge:
        spec = bridge_support.make_spec(
            address='127.0.0.1', port=ports.free_port())
        bridge.open(spec, wait=0)
        place.console['port_range'] = f'{spec.tcp_port}:{spec.tcp_port + 1}'
        _, rows = place.check()
        assert '; 1 are consoles' in rows.one('ports')['detail']
        row = rows.one(f'open files of bridge {bridge.pid}')
        assert 'of which' in row['detail']


# -- what keeps the locks ------------------------------------------------


@pytest.fixture(params=[servers.Redis, servers.Etcd, servers.ZooKeeper],
                ids=['redis', 'etcd', 'zookeeper'])
def server(request: pytest.FixtureRequest
           ) -> collections.abc.Iterator[servers.Server]:
    """A lock server that runs."""
    with request.param() as running:
        yield running


def test_a_lock_is_taken_and_freed_and_a_dead_server_noticed(
        place: Place, server: servers.Server) -> None:
    place.solconsole |= {'coordination_url': server.url, 'lock_ttl': 5,
                         'lock_margin': 1}
    for _ in range(2):      # the first one leaves nothing behind
        code, rows = place.check()
        assert code == 0
        assert rows.verdict('coordination') == 'ok'
        assert 'another check' not in rows.one('coordination')['detail']
    server.pause()
    began = time.monotonic()
    code, rows = place.check()
    assert (code, rows.verdict('coordination')) == (1, 'error')
    assert time.monotonic() - began < 60
    server.resume()
    server.stop()
    code, rows = place.check()
    assert (code, rows.verdict('coordination')) == (1, 'error')


def test_redis_warnings_and_secrets(place: Place) -> None:
    with servers.Redis(aof=False, settings=(
            'requirepass hunter2', 'maxmemory-policy allkeys-lru')
            ) as server:
        url = server.url.replace('://', '://:{}@')
        for word, verdict in (('hunter2', 'ok'), ('hunter3', 'error')):
            place.solconsole['coordination_url'] = url.format(word)
            output = run_cli('--config-file', place.write(), 'check', '-f',
                             'json')
            rows = Rows(rows_of(output))
            assert 'hunter' not in output.stdout + output.stderr
            first, *others = rows.named('coordination')
            assert first['verdict'] == verdict, first
            assert f'redis://127.0.0.1:{server.port}' in first['detail']
            assert [row['verdict'] for row in others] == (
                ['warning'] * 2 if verdict == 'ok' else []), others


def test_zookeeper_that_grants_less_says_so(place: Place) -> None:
    with servers.ZooKeeper(tick_time=500) as server:
        place.solconsole |= {'coordination_url': server.url, 'lock_ttl': 30}
        code, rows = place.check()
    row = rows.one('coordination')
    assert (code, row['verdict']) == (0, 'warning')
    assert 'it grants 10 s of the 30 s' in row['detail']


# -- a BMC ---------------------------------------------------------------


def node_info(place: Place, port: int, **changes: object) -> pathlib.Path:
    """A file as an operator would make it."""
    path = place.directory / 'node.json'
    path.touch(mode=0o600)
    path.write_text(json.dumps({'uuid': 'a' * 32, 'name': 'n', 'driver_info': {
        'ipmi_address': '127.0.0.1', 'ipmi_port': port,
        'ipmi_username': model.ADMIN.name,
        'ipmi_password': model.ADMIN.password, **changes}}))
    return path


def login(place: Place, path: pathlib.Path) -> Rows:
    """What ``check --node-info`` says; no secret is in it."""
    output = run_cli('--config-file', place.write(), 'check', '--node-info',
                     path, '-f', 'json')
    secret = json.loads(path.read_text())['driver_info']['ipmi_password']
    assert secret not in output.stdout + output.stderr
    return Rows(rows_of(output))


def test_a_bmc_of_ipmi_sim_is_logged_in_to_and_out_of(
        place: Place, bmc: ipmi_sim.Bmc) -> None:
    rows = login(place, node_info(place, bmc.port, ipmi_cipher_suite=3))
    for name in ('node-info', 'reachability', 'login', 'cipher suite'):
        assert rows.verdict(name) == 'ok', rows.one(name)
    assert rows.one('SOL holder')['detail'] == 'nobody has the console'
    assert rows.verdict('payload sizes') == 'skipped'
    assert not bmc.payload_active()


def test_who_has_the_console_is_told_and_keeps_it(
        place: Place, model_bmc: model.ModelBmc) -> None:
    path = node_info(place, model_bmc.port)
    held = model_bmc.hold('second', '192.0.2.7', 40000)
    rows = login(place, path)
    row = rows.one('SOL holder')
    assert row['verdict'] == 'warning'
    assert row['detail'] == (
        f"session {held:x}h of user 'second' with privilege administrator "
        'from 192.0.2.7:40000 has the console')
    assert rows.one('sessions')['detail'].startswith('2 of ')
    assert [session.id for session in model_bmc.live_sessions] == [held]
    assert not model_bmc.journal.activations
    assert model_bmc.holder == held


def test_the_console_process_of_this_host_is_told_from_others(
        place: Place, model_bmc: model.ModelBmc) -> None:
    with bridge_support.Bridge(run_dir=place.run_dir) as bridge:
        spec = bridge_support.model_spec(model_bmc)
        session = bridge.connect(spec)['session']
        rows = login(place, node_info(place, model_bmc.port))
        row = rows.one('SOL holder')
        assert row['verdict'] == 'ok', row
        assert str(bridge.socket_path) in row['detail']
        assert bridge.show(spec.node)['session'] == session


@pytest.mark.parametrize(('settings', 'changes', 'name', 'word'), [
    ({}, {'ipmi_password': 'wrong-one'}, 'login', 'bad credentials'),
    ({}, {'ipmi_username': 'operator', 'ipmi_password': 'secret6'},
     'privilege', 'privilege too low'),
    ({'suites': (3,)}, {'ipmi_cipher_suite': '17'}, 'cipher suite',
     'encryption refused'),
    ({'slots': 0}, {}, 'sessions', 'session limit'),
    ({}, {'ipmi_username': 'nosol', 'ipmi_password': 'secret8'},
     'SOL for the user', 'may not use'),
    ({'sol': model.SolOptions(enabled=False)}, {}, 'SOL', 'disabled'),
    ({'sol': model.SolOptions(level=4)},
     {'ipmi_priv_level': 'OPERATOR'}, 'SOL privilege', 'ADMINISTRATOR')])
def test_what_is_wrong_has_a_line_of_its_own(
        place: Place, settings: dict[str, typing.Any],
        changes: dict[str, object], name: str, word: str) -> None:
    with model.ModelBmcs(model.BmcOptions(**settings)) as (bmc,):
        rows = login(place, node_info(place, bmc.port, **changes))
        wrong = [row for row in rows if row['verdict'] == 'error']
        assert [row['check'] for row in wrong] == [name], wrong
        assert word in wrong[0]['detail']
        waiting.wait_until(lambda: not bmc.live_sessions, 'no session left')


def test_a_bmc_that_is_not_there(place: Place) -> None:
    with ipmi_sim.silent_bmc() as port:
        rows = login(place, node_info(place, port))
    assert rows.verdict('reachability') == 'error'
    assert 'no answer' in rows.one('reachability')['detail']


def test_quirks_that_show(place: Place) -> None:
    with model.ModelBmcs(model.BmcOptions(
            tells_address=False, suites=(3,), overrides={
                (0x06, 0x4a): 0xc1,
                (0x06, 0x4b): 0xc1})) as (bmc,):
        rows = login(place, node_info(place, bmc.port))
        shown = ' '.join(row['detail'] for row in rows.named('quirks'))
        for text in ('4Ah', '4Bh', "sessions' addresses"):
            assert text in shown, shown
        assert rows.verdict('SOL holder') == 'skipped'
        assert rows.one('cipher suite')['detail'] == (
            '3; the BMC does not take 17')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_check_logs_out(
        place: Place, number: int) -> None:
    # slow, so that there is time
    with model.ModelBmcs(model.BmcOptions()) as (bmc,):
        bmc.faults.both(delay=(0.4, 0.4))
        process = subprocess.Popen(
            [sys.executable, '-m', 'ironic_solconsole.cli.main',
             '--config-file', str(place.write()), 'check', '--node-info',
             str(node_info(place, bmc.port))], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            waiting.wait_until(lambda: bmc.live_sessions, 'a login', 60)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        assert process.returncode not in (0, 1), said
        assert b'Traceback' not in said
        waiting.wait_until(lambda: not bmc.live_sessions, 'a logout',
                           seen=lambda: bmc.live_sessions)


def test_a_file_that_others_may_read_and_one_from_stdin(
        place: Place, model_bmc: model.ModelBmc) -> None:
    path = node_info(place, model_bmc.port)
    path.chmod(0o644)
    rows = login(place, path)
    assert rows.verdict('node-info') == 'warning'
    with path.open('rb') as stdin:
        done = subprocess.run(
            [sys.executable, '-m', 'ironic_solconsole.cli.main',
             '--config-file', str(place.write()), 'check', '--node-info',
             '-', '-f', 'json'], stdin=stdin, capture_output=True,
            timeout=60, text=True)
    rows = Rows(rows_of(Output(done.returncode, done.stdout, done.stderr)))
    assert rows.verdict('node-info') == 'ok'
    assert rows.verdict('login') == 'ok'


def test_the_stars_of_the_api_are_recognised(
        place: Place, model_bmc: model.ModelBmc) -> None:
    path = node_info(place, model_bmc.port, ipmi_password='******')
    output = run_cli('--config-file', place.write(), 'check', '--node-info',
                     path, '-f', 'json')
    row = Rows(rows_of(output)).one('node-info')
    assert row['verdict'] == 'error'
    assert 'ipmi_password' in row['detail']
    assert not model_bmc.journal.logins
