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

"""One bridge process as its conductor sees it."""

import collections.abc
import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import threading
import typing

import pytest

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.driver import process
from tests.support import processes
from tests.support import waiting
from tests.unit.driver import conftest

Start = collections.abc.Callable[..., process.BridgeProcess]


def test_a_request_is_answered(running: Start) -> None:
    one = running()
    answer = one.request('configure', {'options': {}}, 5.0)
    assert answer == {'pid': one.pid, 'version': 'fake',
                      'member': f'cond:{one.pid}:fake'}


def test_many_threads_each_get_their_own_answer(running: Start) -> None:
    one = running()
    specs = [conftest.make_spec(tcp_port=7000 + n) for n in range(40)]
    urls: dict[str, str] = {}

    def ask(index: int) -> None:
        wanted = specs[index]
        status = one.request(
            'open', {'spec': wanted.to_json(), 'wait': 0}, 10.0)
        urls[wanted.node] = status['url']

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert urls == {wanted.node: wanted.url for wanted in specs}


def test_an_error_is_raised_as_what_it_is(
        running: Start, fake: conftest.FakeBridges) -> None:
    one = running()
    fake.order(open='port-in-use', ping='no-such-verb')
    with pytest.raises(exception.PortInUse, match='refuse open'):
        one.request('open', {}, 5.0)
    with pytest.raises(exception.RequestRefused) as caught:
        one.request('ping', {}, 5.0)
    assert caught.value.kind == 'no-such-verb'


def test_no_answer_ends_in_time(
        running: Start, fake: conftest.FakeBridges) -> None:
    one = running()
    fake.order(ping='hang')
    with pytest.raises(exception.BridgeUnavailable, match='within 0.2 s'):
        one.request('ping', {}, 0.2)
    fake.order()
    one.request('ping', {}, 5.0)


def test_who_waits_is_told_when_the_process_ends(
        running: Start, fake: conftest.FakeBridges) -> None:
    one = running()
    fake.order(ping='exit')
    with pytest.raises(exception.BridgeUnavailable, match='ended'):
        one.request('ping', {}, 20.0)
    waiting.wait_until(lambda: one.gone, 'the process to be noted as gone')
    with pytest.raises(exception.BridgeUnavailable):
        one.send('ping', {})
    assert one.wait(5.0) == 3


def test_an_answer_that_is_no_json_ends_the_process(
        running: Start, fake: conftest.FakeBridges) -> None:
    one = running()
    fake.order(ping='garbage')
    with pytest.raises(exception.BridgeUnavailable):
        one.request('ping', {}, 20.0)
    processes.wait_gone(one.pid, 'a bridge that talks nonsense')
    assert 'not JSON' in one.trouble


def test_a_bridge_that_does_not_read_is_killed_in_time(
        running: Start, fake: conftest.FakeBridges,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, 'SEND_TIMEOUT', 0.2)
    one = running()
    one.request('ping', {}, 5.0)
    os.kill(one.pid, signal.SIGSTOP)
    with pytest.raises(exception.BridgeUnavailable, match='takes no req'):
        for _ in range(1000):
            one.send('ping', {'padding': 'x' * 10000})
    processes.wait_gone(one.pid, 'a bridge that does not read')


def test_end_lets_it_finish(running: Start) -> None:
    one = running()
    one.request('ping', {}, 5.0)
    assert one.end() == 0


def test_a_bridge_that_does_not_end_is_killed(
        running: Start, fake: conftest.FakeBridges,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, 'END_TIMEOUT', 0.3)
    one = running()
    fake.order(eof='hang')
    one.request('ping', {}, 5.0)
    assert one.end() == -signal.SIGKILL
    assert not processes.alive(one.pid)


def test_events_arrive(running: Start, fake: conftest.FakeBridges) -> None:
    events: list[control.Event] = []
    one = running(on_event=events.append)
    fake.order(events=[{'message': 'hello'}])
    one.request('ping', {}, 5.0)
    assert events == [control.Event('log', {'message': 'hello'})]


def test_output_arrives_line_by_line(
        running: Start, fake: conftest.FakeBridges) -> None:
    lines: list[str] = []
    one = running(on_output=lines.append)
    fake.order(stderr=['Traceback', '', '  "grün"', 'x' * 10000])
    one.request('ping', {}, 5.0)
    one.end()
    waiting.wait_until(lambda: sum(map(len, lines)) >= 10000,
                       'all output', seen=lambda: lines)
    assert lines[:2] == ['Traceback', '  "grün"']
    assert all(len(line) <= 2 * process.MAX_OUTPUT for line in lines), (
        'a line without end must not be kept')


def test_a_program_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(exception.BridgeUnavailable, match='no-such-program'):
        process.BridgeProcess(
            lambda descriptor: ['/no-such-program'],
            lambda event: None, lambda line: None)


def test_the_bridge_inherits_its_own_end_and_nothing_else(
        running: Start, tmp_path: pathlib.Path) -> None:
    secret = (tmp_path / 'secret').open('w')
    with secret:
        os.set_inheritable(secret.fileno(), True)
        one = running()
        one.request('ping', {}, 5.0)
        targets = [os.readlink(f'/proc/{one.pid}/fd/{number}')
                   for number in os.listdir(f'/proc/{one.pid}/fd')]
    assert not any('secret' in target for target in targets), targets
    sockets = [target for target in targets if target.startswith('socket')]
    assert len(sockets) == 3, (       # control, stdout and stderr
        f'control channel, stdout and stderr, and not {targets}')
    assert '/dev/null' in targets, 'stdin'


def test_our_end_is_not_inherited_by_other_children(running: Start) -> None:
    one = running()
    one.request('ping', {}, 5.0)
    ours = [int(number) for number in os.listdir('/proc/self/fd')
            if _is_socket(number)]
    assert ours
    for descriptor in ours:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFD)
        assert flags & fcntl.FD_CLOEXEC, f'descriptor {descriptor}'


def _is_socket(number: str) -> bool:
    try:
        return os.readlink(f'/proc/self/fd/{number}').startswith('socket')
    except OSError:
        return False


def test_it_leads_a_session_of_its_own(running: Start) -> None:
    one = running()
    one.request('ping', {}, 5.0)
    assert os.getsid(one.pid) == one.pid


PARENT: typing.Final = '''
import sys, time
from ironic_solconsole.driver import process
from tests.unit.driver import conftest
import pathlib
fakes = conftest.FakeBridges(pathlib.Path(sys.argv[1]))
one = process.BridgeProcess(fakes.command, print, print)
one.request('ping', {}, 5.0)
print(one.pid, flush=True)
sys.stdin.read()
'''


def test_it_ends_when_its_conductor_is_killed(
        fake: conftest.FakeBridges) -> None:
    root = pathlib.Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, '-c', PARENT, str(fake.directory)], cwd=root,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdin is not None
    try:
        pid = int(parent.stdout.readline())
        assert processes.alive(pid)
    finally:
        parent.kill()
        parent.wait(10)
        parent.stdin.close()
        parent.stdout.close()
    processes.wait_gone(pid, 'a bridge whose conductor was killed')


EVENTLET: typing.Final = '''
import eventlet
eventlet.monkey_patch()
import pathlib, sys, time
from ironic_solconsole.driver import process
from tests.unit.driver import conftest
fakes = conftest.FakeBridges(pathlib.Path(sys.argv[1]))
ticks = []

def tick():
    while True:
        ticks.append(time.monotonic())
        eventlet.sleep(0.01)

eventlet.spawn(tick)
lines = []
one = process.BridgeProcess(fakes.command, print, lines.append)
fakes.order(ping='slow', stderr=['out'])
one.request('ping', {}, 5.0)
fakes.order(ping='hang')
try:
    one.request('ping', {}, 0.3)
except Exception as error:
    assert 'within 0.3 s' in str(error), error
else:
    raise AssertionError('an answer came')
assert one.end() == 0
deadline = time.monotonic() + 10
while not lines and time.monotonic() < deadline:
    eventlet.sleep(0.01)
assert lines[0] == 'out', lines
count = len([t for t in ticks])
assert count > 20, f'the hub was blocked: {count} ticks in 0.6 s'
print('fine')
'''


def test_it_does_not_block_the_hub_of_eventlet(
        fake: conftest.FakeBridges) -> None:
    pytest.importorskip('eventlet')
    root = pathlib.Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', EVENTLET,
         str(fake.directory)], cwd=root, capture_output=True, text=True,
        timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'fine\n'


def test_small_stacks_are_enough(
        running: Start, fake: conftest.FakeBridges) -> None:
    """Ironic 39 gives its threads, and so ours, 128 KiB."""
    before = threading.stack_size(128 * 1024)
    try:
        lines: list[str] = []
        one = running(on_output=lines.append)
        fake.order(stderr=['out'], events=[
            {'message': 'x' * 100000}] * 20)
        for _ in range(20):
            one.request('ping', {}, 10.0)
        one.end()
    finally:
        threading.stack_size(before)
    waiting.wait_until(lambda: len(lines) == 20, '20 lines',
                       seen=lambda: lines)
