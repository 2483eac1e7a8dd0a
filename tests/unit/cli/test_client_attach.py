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

"""Attaching through a bridge's socket, whatever that answers."""

import pathlib

import pytest

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.cli import client
from tests.unit.cli import fake_bridge

RAW = b'{"v":1}\n\x00raw\n'


def reply(request: control.Request) -> bytes:
    return control.encode(control.Reply(request.id, {'viewer': 3})) + RAW


@pytest.mark.parametrize('piece', [1, 7, 1 << 20])
def test_bytes_behind_the_answer_belong_to_the_console(
        run_dir: pathlib.Path, piece: int) -> None:
    with fake_bridge.FakeBridge(run_dir / '0.sock', reply, piece) as bridge:
        result, sock, data = client.attach(
            bridge.path, {'node': 'n'}, timeout=10)
        with sock:
            sock.settimeout(10)
            while len(data) < len(RAW):
                data += sock.recv(100)
    assert (result, data) == ({'viewer': 3}, RAW)
    assert [(request.verb, request.args) for request in bridge.requests
            ] == [('attach', {'node': 'n'})]


@pytest.mark.parametrize(('answer', 'error'), [
    (control.encode(control.Reply(1, None, 'no-room', 'full')),
     exception.RequestRefused),
    (b'', exception.BridgeUnavailable),
    (b'not json\n', exception.MessageError),
    (control.encode(control.Request(1, 'attach')), exception.MessageError),
    (b'x' * 3 * control.MAX_CLIENT_LINE, exception.MessageError)])
def test_an_answer_that_is_none_is_an_error(
        run_dir: pathlib.Path, answer: bytes,
        error: type[exception.ControlError]) -> None:
    with fake_bridge.FakeBridge(run_dir / '0.sock',
                                lambda request: answer) as bridge:
        with pytest.raises(error):
            client.attach(bridge.path, {'node': 'n'}, timeout=10)


def test_no_answer_has_a_deadline(run_dir: pathlib.Path) -> None:
    with fake_bridge.FakeBridge(run_dir / '0.sock', None) as bridge:
        with pytest.raises(exception.BridgeUnavailable, match='0.2 s'):
            client.attach(bridge.path, {'node': 'n'}, timeout=0.2)


def test_a_bridge_that_has_ended_is_told_from_one_that_is_silent(
        run_dir: pathlib.Path) -> None:
    fake_bridge.leave_stale(run_dir / '0.sock')
    for name in ('0.sock', '1.sock'):
        with pytest.raises(client.StaleSocket):
            client.attach(run_dir / name, {}, timeout=5)
