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

"""The blocking client of a bridge's socket."""

import pathlib
import socket
import threading
import time

import pytest

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.cli import client
from tests.unit.cli import fake_bridge


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the bridge of the test listens."""
    return tmp_path / '0.sock'


def test_a_result_is_returned(path: pathlib.Path) -> None:
    row = fake_bridge.status()
    with fake_bridge.FakeBridge(path, fake_bridge.consoles(row)) as bridge:
        assert client.ask(path, 'list', timeout=10) == {'consoles': [row]}
        assert client.ask(path, 'show', {'node': 'node-1'},
                          timeout=10) == row
    assert [request.verb for request in bridge.requests] == ['list', 'show']


def test_an_answer_in_single_bytes_is_understood(path: pathlib.Path) -> None:
    script = fake_bridge.consoles(fake_bridge.status())
    with fake_bridge.FakeBridge(path, script, piece=1):
        assert client.ask(path, 'list', timeout=10)['consoles']


def test_a_large_answer_is_read_to_its_end(path: pathlib.Path) -> None:
    rows = [fake_bridge.status(name=f'node-{number}')
            for number in range(3000)]
    with fake_bridge.FakeBridge(path, fake_bridge.consoles(*rows)):
        answer = client.ask(path, 'list', timeout=10)
    assert answer == {'consoles': rows}


def test_a_refusal_keeps_its_kind(path: pathlib.Path) -> None:
    with fake_bridge.FakeBridge(path, fake_bridge.consoles()):
        with pytest.raises(exception.RequestRefused) as refusal:
            client.ask(path, 'show', {'node': 'x'}, timeout=10)
    assert refusal.value.kind == 'no-such-console'


def test_events_and_answers_to_others_are_passed_over(
        path: pathlib.Path) -> None:
    def script(request: control.Request) -> bytes:
        return (control.encode(control.Event('log', {}))
                + control.encode(control.Reply(request.id + 1, {'no': 1}))
                + control.encode(control.Reply(request.id, {'yes': 1})))

    with fake_bridge.FakeBridge(path, script):
        assert client.ask(path, 'list', timeout=10) == {'yes': 1}


def test_no_answer_ends_in_time(path: pathlib.Path) -> None:
    with fake_bridge.FakeBridge(path, None):
        with pytest.raises(exception.BridgeUnavailable,
                           match=r'no answer within 0\.2 s'):
            client.ask(path, 'list', timeout=0.2)


def test_an_answer_that_trickles_for_ever_ends_in_time(
        path: pathlib.Path) -> None:
    ended = threading.Event()

    def trickle() -> None:
        sock, _ = server.accept()
        with sock:
            while not ended.wait(0.02):
                try:
                    sock.sendall(b' ')
                except OSError:
                    return

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        begin = time.monotonic()
        with pytest.raises(exception.BridgeUnavailable, match='no answer'):
            client.ask(path, 'list', timeout=0.3)
        assert time.monotonic() - begin < 5
        ended.set()
        thread.join(10)


def test_a_full_backlog_is_waited_for_and_ends_in_time(
        path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            with pytest.raises(exception.BridgeUnavailable,
                               match='no answer'):
                client.ask(path, 'list', timeout=0.3)


def test_a_bridge_that_hangs_up_is_told(path: pathlib.Path) -> None:
    with fake_bridge.FakeBridge(path, lambda request: b''):
        with pytest.raises(exception.BridgeUnavailable,
                           match='closed the connection'):
            client.ask(path, 'list', timeout=10)


@pytest.mark.parametrize('line', [
    b'hello\n', b'{"v":9,"id":1,"result":{}}\n',
    b'x' * (control.MAX_LINE + 10)], ids=['garbage', 'version', 'endless'])
def test_an_answer_that_is_no_answer_is_told(
        path: pathlib.Path, line: bytes) -> None:
    with fake_bridge.FakeBridge(path, lambda request: line):
        with pytest.raises(exception.MessageError):
            client.ask(path, 'list', timeout=10)


def test_a_socket_without_a_process_is_stale(path: pathlib.Path) -> None:
    fake_bridge.leave_stale(path)
    with pytest.raises(client.StaleSocket):
        client.ask(path, 'list', timeout=10)


def test_a_socket_that_has_just_gone_is_stale(path: pathlib.Path) -> None:
    with pytest.raises(client.StaleSocket):
        client.ask(path, 'list', timeout=10)


def test_a_path_that_is_too_long_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(exception.BridgeUnavailable, match='too long'):
        client.ask(tmp_path / ('x' * 150), 'list', timeout=10)


def test_permissions_are_told_apart(
        path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(client, '_connect', refuse)
    with pytest.raises(client.AccessDenied):
        client.ask(path, 'list', timeout=10)
