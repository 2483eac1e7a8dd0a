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

"""What was left behind is ended, and nothing else."""

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
import uuid

from ironic.conf import CONF
from ironic.drivers.modules import console_utils
import pytest

from ironic_solconsole.driver import orphans
from ironic_solconsole.driver import procs
from ironic_solconsole.driver import records
from tests.support import ports
from tests.support import processes
from tests.support import waiting
from tests.unit.driver import conftest

NODE = '11111111-1111-4111-8111-111111111111'

root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can change users')

#: What a bridge does that hangs; or one that is fine.
BRIDGES: typing.Final = {
    'hangs': 'signal.signal(signal.SIGTERM, signal.SIG_IGN)',
    'is fine': 'signal.signal(signal.SIGTERM, lambda *_: os._exit(0))',
    'is of another user': 'os.setuid(12345)',
}
STUB: typing.Final = '''
import os, signal, sys, time
{behaviour}
print('up', flush=True)
time.sleep(300)
'''


@dataclasses.dataclass
class Host:
    """A run_dir, with bridges in it that some conductor has left behind."""

    run_dir: pathlib.Path
    packages: pathlib.Path
    children: 'list[subprocess.Popen[bytes]]'

    def bridge(self, behaviour: str = 'hangs', host: str = 'cond-a',
               number: int = 0, module: str = 'ironic_solconsole.bridge',
               **options: typing.Any) -> 'subprocess.Popen[bytes]':
        """A process with the command line of a bridge."""
        package = self.packages / behaviour
        for part in ('ironic_solconsole/bridge', 'other/bridge'):
            path = package / part
            path.mkdir(parents=True, exist_ok=True)
            (path / '__main__.py').write_text(
                STUB.format(behaviour=BRIDGES[behaviour]))
        child = subprocess.Popen(
            [sys.executable, '-P', '-S', '-m', module, '--host', host,
             '--bridge', str(number), '--control-fd', '3'], cwd='/',
            env={**os.environ, 'PYTHONPATH': str(package)},
            stdout=subprocess.PIPE, **options)
        self.children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b'up\n'
        return child

    def record(self, pid: int, conductor: str, host: str = 'cond-a',
               number: int = 0, **changes: str) -> pathlib.Path:
        """Write a bridge down as its conductor would have."""
        path = records.write(
            {'host': host, 'socket': str(
                self.run_dir / f'{host}.d' / f'{number}.sock')}, number, pid)
        assert path is not None
        written = json.loads(path.read_text())
        path.write_text(json.dumps(
            {**written, 'conductor': conductor, **changes}))
        return path

    def left_behind(self, **options: typing.Any,
                    ) -> 'tuple[subprocess.Popen[bytes], pathlib.Path]':
        """A bridge of a dead conductor."""
        child = self.bridge(**options)
        return child, self.record(
            child.pid, dead_process(), options.get('host', 'cond-a'),
            options.get('number', 0))


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch,
         ) -> collections.abc.Iterator[Host]:
    monkeypatch.setattr(orphans, 'BRIDGE_TIMEOUT', 0.5)
    (tmp_path / 'run').mkdir()
    one = Host(tmp_path / 'run', tmp_path / 'packages', [])
    yield one
    for child in one.children:
        child.kill()
        child.wait(5)
        assert child.stdout is not None
        child.stdout.close()


def dead_process() -> str:
    """A word for a process that has ended."""
    child = subprocess.Popen(['sleep', '300'])
    token = procs.process_token(child.pid)
    processes.end(child)
    assert token
    assert not procs.is_alive(token)
    return token


def test_a_hanging_bridge_of_a_dead_conductor_is_killed(
        host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, 'BRIDGE_TIMEOUT', 2.5)
    child, path = host.left_behind()
    began = time.monotonic()
    (text,) = orphans.end_bridges(host.run_dir)
    took = time.monotonic() - began
    assert child.wait(5) == -signal.SIGKILL
    assert 2.0 < took < 4.0, 'it has its time to log out, and not more'
    assert f'pid {child.pid}' in text
    assert 'cond-a' in text
    assert 'killed' in text
    assert not path.exists()
    assert orphans.end_bridges(host.run_dir) == []


def test_a_bridge_that_ends_when_asked_is_not_killed(host: Host) -> None:
    child, path = host.left_behind(behaviour='is fine')
    began = time.monotonic()
    (text,) = orphans.end_bridges(host.run_dir)
    assert time.monotonic() - began < 2.0
    assert child.wait(5) == 0
    assert 'has ended' in text
    assert not path.exists()


def test_a_stopped_bridge_is_killed(host: Host) -> None:
    child, _ = host.left_behind(behaviour='is fine')
    child.send_signal(signal.SIGSTOP)
    orphans.end_bridges(host.run_dir)
    assert child.wait(5) == -signal.SIGKILL


def test_many_take_no_longer_than_one(host: Host) -> None:
    found = [host.left_behind(host=f'cond-{n % 2}', number=n)
             for n in range(4)]
    began = time.monotonic()
    assert len(orphans.end_bridges(host.run_dir)) == 4
    assert time.monotonic() - began < 1.5
    assert {child.wait(5) for child, _ in found} == {-signal.SIGKILL}


def test_the_bridge_of_a_conductor_that_lives_is_left_alone(
        host: Host) -> None:
    child = host.bridge()
    path = host.record(child.pid, procs.process_token(os.getpid()))
    assert orphans.end_bridges(host.run_dir) == []
    assert processes.alive(child.pid)
    assert path.exists()


def test_that_of_a_stopped_conductor_is_left_alone(host: Host) -> None:
    conductor = host.bridge('is fine')
    conductor.send_signal(signal.SIGSTOP)
    child = host.bridge()
    host.record(child.pid, procs.process_token(conductor.pid))
    assert orphans.end_bridges(host.run_dir) == []
    assert processes.alive(child.pid)


def test_the_record_of_a_bridge_that_is_gone_is_removed(host: Host) -> None:
    child, path = host.left_behind()
    child.kill()
    child.wait(5)
    assert orphans.end_bridges(host.run_dir) == []
    assert not path.exists()


def test_a_later_process_with_its_number_is_left_alone(host: Host) -> None:
    child, path = host.left_behind()
    boot, pid, start = procs.process_token(child.pid).split(':')
    earlier = f'{boot}:{pid}:{int(start) - 1}'
    path.write_text(path.read_text().replace(
        procs.process_token(child.pid), earlier))
    assert orphans.end_bridges(host.run_dir) == []
    assert processes.alive(child.pid)
    assert not path.exists()


@pytest.mark.parametrize('differs', [
    {'host': 'cond-b'}, {'number': 1}, {'module': 'other.bridge'}],
    ids=['host', 'number', 'module'])
def test_another_command_line_is_left_alone(
        host: Host, differs: dict[str, typing.Any]) -> None:
    child = host.bridge(**differs)
    path = host.record(child.pid, dead_process())
    assert orphans.end_bridges(host.run_dir) == []
    assert processes.alive(child.pid)
    assert not path.exists(), 'it would be looked at for ever'


@root_only
def test_a_bridge_of_another_user_is_left_alone(host: Host) -> None:
    child, path = host.left_behind(behaviour='is of another user')
    assert orphans.end_bridges(host.run_dir) == []
    assert processes.alive(child.pid)
    assert not path.exists()


@pytest.mark.parametrize('text', [
    '', '{', '[]', '{}', 'null', '[' * 4000, '\0' * 10000,
    '{"host": 1, "bridge": 0, "token": "", "conductor": ""}',
    '{"host": "", "bridge": true, "token": "", "conductor": ""}',
    '{"host": "", "bridge": "0", "token": "", "conductor": ""}'])
def test_a_damaged_record_is_removed(host: Host, text: str) -> None:
    directory = host.run_dir / '012345678901'
    directory.mkdir()
    path = directory / '0-7.json'
    path.write_text(text)
    (said,) = orphans.end_bridges(host.run_dir)
    assert 'damaged' in said
    assert not path.exists()


def test_what_is_no_record_stays(host: Host) -> None:
    directory = host.run_dir / '012345678901'
    (directory / '0-7.json').mkdir(parents=True)
    others = [host.run_dir / 'ports.json', directory / '0.sock',
              directory / '0.json']
    for path in others:
        path.write_text('{')
    assert orphans.end_bridges(host.run_dir) == []
    assert all(path.exists() for path in others)
    assert orphans.end_bridges(host.run_dir / 'none') == []


CONDUCTOR: typing.Final = '''
import pathlib, sys
from ironic_solconsole import exception
from ironic_solconsole.driver import process
from ironic_solconsole.driver import records
run_dir = pathlib.Path(sys.argv[1])
options = {'host': 'cond-a', 'socket': str(run_dir / 'x' / '0.sock')}
one = process.BridgeProcess(
    lambda descriptor: [
        sys.executable, '-P', '-m', 'ironic_solconsole.bridge',
        '--host', 'cond-a', '--bridge', '0', '--control-fd',
        str(descriptor)],
    print, print, lambda pid: records.write(options, 0, pid))
try:
    one.request('list', {}, 20.0)
except exception.RequestRefused:
    pass            # not configured, but up
print(one.pid, flush=True)
sys.stdin.read()
'''


def test_a_real_bridge_that_outlives_its_conductor(host: Host) -> None:
    conductor = subprocess.Popen(
        [sys.executable, '-c', CONDUCTOR, str(host.run_dir)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    host.children.append(conductor)
    assert conductor.stdout is not None
    assert conductor.stdin is not None
    pid = int(conductor.stdout.readline())
    try:
        os.kill(pid, signal.SIGSTOP)
        assert orphans.end_bridges(host.run_dir) == []
        assert processes.alive(pid), 'its conductor lives'
        conductor.kill()
        conductor.wait(5)
        (text,) = orphans.end_bridges(host.run_dir)
        assert 'killed' in text
        assert not processes.alive(pid)
    finally:
        conductor.stdin.close()
        if processes.alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_bridge_is_written_down_while_it_runs(
        fake: conftest.FakeBridges, tmp_path: pathlib.Path) -> None:
    directory = tmp_path / 'run' / 'f43bb6cbc270'
    directory.parent.mkdir()
    pool = fake.pool(host='cond-a', socket=str(directory / '0.sock'))
    pool.open(conftest.make_spec(), patience=10.0, budget=10.0)
    (pid,) = fake.alive()
    (path,) = directory.iterdir()
    assert json.loads(path.read_text()) == {
        'host': 'cond-a', 'bridge': 0, 'pid': pid,
        'token': procs.process_token(pid),
        'conductor': procs.process_token(os.getpid())}
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    fake.kill(pid)
    waiting.wait_until(
        lambda: not path.exists() and len(list(directory.iterdir())) == 1,
        'the record of the next bridge alone',
        seen=lambda: list(directory.iterdir()))
    pool.shut_down()
    waiting.wait_until(lambda: not list(directory.iterdir()),
                       'no record after the end')


def test_a_bridge_runs_when_it_cannot_be_written_down(
        fake: conftest.FakeBridges, tmp_path: pathlib.Path) -> None:
    pool = fake.pool(host='cond-a', socket=str(tmp_path / 'no' / 'no' / 's'))
    pool.open(conftest.make_spec(), patience=10.0, budget=10.0)


# ipmitool-socat

#: In place of ipmitool: says how it ends, or does not end.
TOOLS: typing.Final = {
    'ends': '''#!/bin/sh
trap 'echo TERM >> "$0.log"; exit 1' TERM
echo hello
while read -r line; do echo "$line"; done
echo EOF >> "$0.log"
''',
    'hangs': '''#!/bin/sh
trap '' TERM HUP
echo hello
while :; do read -r line || sleep 1; done
''',
    'a wrapper': '''#!/bin/sh
echo hello
cat
''',
}


class Ironic:
    """The console functions of Ironic that ipmitool-socat uses."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.tools = directory / 'tools'
        self.tools.mkdir()
        self.viewers: list[socket.socket] = []

    def pid_file(self, node: str = NODE) -> pathlib.Path:
        return self.directory / f'{node}.pid'

    def start(self, tool: str = 'ends', node: str = NODE) -> int:
        """Start a console; gives its port."""
        path = self.tools / 'ipmitool'
        path.write_text(TOOLS[tool])
        path.chmod(0o755)
        port = ports.free_port()
        console_utils.start_socat_console(
            node, port, f'{path} -I lanplus -H 192.0.2.7 sol activate')
        return port

    def attach(self, port: int) -> socket.socket:
        viewer = socket.create_connection(('127.0.0.1', port), 5)
        self.viewers.append(viewer)
        assert viewer.recv(100).startswith(b'hello')
        return viewer

    def running(self) -> list[procs.Process]:
        return [one for one in procs.look_around() if any(
            str(self.directory) in word for word in one.argv)]

    def listener(self, node: str = NODE) -> int:
        return int(self.pid_file(node).read_text())


@pytest.fixture
def ironic(tmp_path: pathlib.Path) -> collections.abc.Iterator[Ironic]:
    values: dict[str, typing.Any] = {
        'terminal_pid_dir': str(tmp_path), 'socat_address': '127.0.0.1',
        'subprocess_checking_interval': 0}
    for name, value in values.items():
        CONF.set_override(name, value, 'console')
    CONF.set_override('tempdir', str(tmp_path))
    one = Ironic(tmp_path)
    yield one
    for viewer in one.viewers:
        viewer.close()
    for process in one.running():
        with contextlib.suppress(OSError):
            os.kill(process.pid, signal.SIGKILL)
    waiting.wait_until(lambda: not one.running(), 'end of all socats',
                       seen=one.running)
    CONF.clear_override('tempdir')
    for name in values:
        CONF.clear_override(name, 'console')


def find(node: str = NODE) -> orphans.InTree:
    found = orphans.in_tree(node)
    assert found is not None
    return found


def test_an_idle_console_of_ipmitool_socat_is_ended(ironic: Ironic) -> None:
    ironic.start()
    pid = ironic.listener()
    found = find()
    assert [one.pid for one in found.socats] == [pid]
    assert found.children == ()
    assert found.end() == f'socat (pid {pid}): ended'
    assert ironic.running() == []
    assert not ironic.pid_file().exists()
    assert orphans.in_tree(NODE) is None


def test_one_with_a_viewer_ends_in_order(ironic: Ironic) -> None:
    viewer = ironic.attach(ironic.start())
    found = find()
    assert len(found.socats) == 2
    assert found.socats[0].pid == ironic.listener()
    assert [one.program for one in found.children] == ['sh']
    assert found.end().count('pid') == 3
    assert ironic.running() == []
    assert viewer.recv(100) == b''
    assert (ironic.tools / 'ipmitool.log').read_text() == 'EOF\n', (
        'ipmitool logs out at the end of its terminal, and not on SIGTERM')


@pytest.mark.parametrize('tool', ['hangs', 'a wrapper'])
def test_whatever_ipmitool_does(ironic: Ironic, tool: str) -> None:
    ironic.attach(ironic.start(tool))
    began = time.monotonic()
    assert find().end().endswith('ended')
    assert time.monotonic() - began < 4.0
    assert ironic.running() == []


def test_stopped_ones_are_ended(ironic: Ironic) -> None:
    ironic.attach(ironic.start())
    for process in ironic.running():
        os.kill(process.pid, signal.SIGSTOP)
    assert find().end().endswith('ended')
    assert ironic.running() == []


def test_what_the_killed_listener_has_forked_is_ended(
        ironic: Ironic) -> None:
    ironic.attach(ironic.start())
    os.kill(ironic.listener(), signal.SIGKILL)
    processes.wait_gone(ironic.listener(), 'the listener')
    found = find()
    assert (len(found.socats), len(found.children)) == (1, 1)
    found.end()
    assert ironic.running() == []
    assert not ironic.pid_file().exists()


def test_a_viewer_that_comes_meanwhile_is_ended(ironic: Ironic) -> None:
    port = ironic.start()
    found = find()
    assert len(found.socats) == 1
    ironic.attach(port)
    found.end()
    assert ironic.running() == []


def test_the_password_is_removed(ironic: Ironic) -> None:
    password = ironic.directory / f'{NODE}.pw'
    other = ironic.directory / f'{uuid.uuid4()}.pw'
    for path in (password, other):
        path.write_text('secret')
    ironic.start()
    find().end()
    assert not password.exists()
    assert other.exists()


def test_other_consoles_are_left_alone(ironic: Ironic) -> None:
    other = str(uuid.uuid4())
    port = ironic.start(node=other)
    ironic.start()
    viewer = ironic.attach(port)
    find().end()
    assert ironic.pid_file(other).exists()
    viewer.sendall(b'still there\n')
    seen = b''
    while b'still there' not in seen:
        seen += viewer.recv(100)
    assert orphans.in_tree_of([NODE, other]).keys() == {other}


def test_a_number_of_something_else_is_left_alone(ironic: Ironic) -> None:
    other = str(uuid.uuid4())
    ironic.start(node=other)
    child = subprocess.Popen(processes.die_with_us(['sleep', '300']))
    try:
        for pid in (child.pid, ironic.listener(other), os.getpid(), 1, 0,
                    2**40):
            ironic.pid_file().write_text(str(pid))
            assert orphans.in_tree(NODE) is None, pid
        for text in ('', 'x', '-1', '1' * 5000, '1.5'):
            ironic.pid_file().write_text(text)
            assert orphans.in_tree(NODE) is None, text
    finally:
        processes.end(child)


def test_a_socat_that_began_after_the_file_is_left_alone(
        ironic: Ironic) -> None:
    ironic.start()
    before = time.time() - 2 * orphans.CLOCK_SLACK
    os.utime(ironic.pid_file(), (before, before))
    assert orphans.in_tree(NODE) is None


@root_only
@pytest.mark.parametrize('user', [0, 12345])
def test_a_socat_of_another_user_is_left_alone(
        ironic: Ironic, user: int) -> None:
    path = ironic.pid_file()
    child = subprocess.Popen(
        ['socat', '-c', f'import os, time; os.setuid({user}); '
         'print(flush=True); time.sleep(300)', f'-L{path}'],
        executable=sys.executable, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        child.stdout.readline()
        path.write_text(str(child.pid))
        found = orphans.in_tree(NODE)
        assert (found is None) == (user != 0)
        assert processes.alive(child.pid)
    finally:
        processes.end(child)
        child.stdout.close()


def test_only_a_directory_is_read_where_there_is_nothing(
        ironic: Ironic, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_around() -> list[procs.Process]:
        raise AssertionError('/proc is read for nothing')
    monkeypatch.setattr(procs, 'look_around', look_around)
    nodes = [str(uuid.uuid4()) for _ in range(1000)]
    began = time.monotonic()
    assert orphans.in_tree_of(nodes) == {}
    assert time.monotonic() - began < 0.2
    CONF.set_override('terminal_pid_dir', '/no/such/directory', 'console')
    assert orphans.in_tree(NODE) is None


def test_the_directory_is_that_of_ironic(ironic: Ironic) -> None:
    CONF.set_override('terminal_pid_dir', None, 'console')
    ironic.start()
    assert ironic.pid_file().exists()
    find().end()
    assert ironic.running() == []


def test_a_file_that_is_another_one_by_now_stays(ironic: Ironic) -> None:
    ironic.start()
    found = find()
    found.pid_file.unlink()
    found.pid_file.write_text(str(os.getpid()))
    found.end()
    assert ironic.running() == []
    assert found.pid_file.exists()
