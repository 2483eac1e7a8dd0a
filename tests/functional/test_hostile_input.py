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

"""Any bytes on a control channel: answered, or the peer is dropped."""

import contextlib
import json
import random
import socket
import time
import typing

import pytest

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.cli import client as command_line
from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import processes
from tests.support import viewers
from tests.support import waiting

GARBAGE = {
    'no JSON': b'hello\n',
    'empty line': b'\n',
    'binary': bytes(range(256)) + b'\n',
    'not UTF-8': b'{"v":1,"id":1,"verb":"\xff\xfe"}\n',
    'array': b'[]\n',
    'number': b'42\n',
    'null': b'null\n',
    'no version': b'{"id":1,"verb":"ping"}\n',
    'other version': b'{"v":2,"id":1,"verb":"ping"}\n',
    'no id': b'{"v":1,"verb":"ping"}\n',
    'id of another type': b'{"v":1,"id":"1","verb":"ping"}\n',
    'verb of another type': b'{"v":1,"id":1,"verb":[]}\n',
    'args of another type': b'{"v":1,"id":1,"verb":"ping","args":3}\n',
    'a reply': b'{"v":1,"id":1,"result":{}}\n',
    'an event': b'{"v":1,"event":"log","data":{}}\n',
    'deep nesting': b'[' * 50_000 + b'\n',
    'a huge number': b'{"v":1,"id":' + b'9' * 20_000 + b'}\n',
}


class Client:
    """Somebody at the socket of the command line."""

    def __init__(self, bridge: bridge_support.Bridge) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20.0)
        # A full backlog fails at once on AF_UNIX.
        waiting.wait_until(
            lambda: not self.socket.connect_ex(str(bridge.socket_path)),
            'room in the backlog of the socket')
        self._lines = control.LineReader()
        self._replies: list[control.Reply] = []

    def __enter__(self) -> 'Client':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; a bridge that has hung up is no error."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def reply(self) -> control.Reply | None:
        """The next reply, or None at the end of the connection."""
        while not self._replies:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            for line in self._lines.feed(data):
                message = control.decode(line)
                assert isinstance(message, control.Reply), message
                self._replies.append(message)
        return self._replies.pop(0)

    def ask(self, verb: str, **args: typing.Any) -> control.Reply:
        """One request and its reply."""
        self.send(control.encode(control.Request(7, verb, args)))
        reply = self.reply()
        assert reply is not None, f'hung up instead of answering {verb}'
        assert reply.id == 7, reply
        return reply


@pytest.mark.parametrize('name', GARBAGE)
def test_garbage_from_a_client_is_answered_and_harms_nobody(
        bridge: bridge_support.Bridge, name: str) -> None:
    with Client(bridge) as other, Client(bridge) as client:
        client.send(GARBAGE[name])
        reply = client.reply()
        assert reply is not None, 'hung up without saying why'
        assert reply.error_kind == 'bad-request', reply
        assert reply.error_message, reply
        assert other.ask('ping').unwrap()['consoles'] == 0


def test_random_bytes_from_many_clients_harm_nobody(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    session = bridge.connect(spec)['session']
    chance = random.Random(20)
    for _ in range(200):
        with Client(bridge) as client:
            client.send(chance.randbytes(chance.randrange(1, 3000)))
    assert bridge.show(spec.node)['session'] == session


def test_a_request_in_pieces_is_understood(
        bridge: bridge_support.Bridge) -> None:
    line = control.encode(control.Request(7, 'ping'))
    with Client(bridge) as client:
        for byte in line:
            client.send(bytes([byte]))
        reply = client.reply()
        assert reply is not None
        assert reply.unwrap()['consoles'] == 0


def test_many_requests_at_once_are_each_answered_once(
        bridge: bridge_support.Bridge) -> None:
    with Client(bridge) as client:
        client.send(b''.join(
            control.encode(control.Request(number, 'ping'))
            for number in range(1, 301)))
        numbers = set()
        for _ in range(300):
            reply = client.reply()
            assert reply is not None
            numbers.add(reply.id)
        assert numbers == set(range(1, 301))


@pytest.mark.parametrize('end', [b'', b'\n'], ids=['without end', 'with end'])
def test_a_line_that_is_too_long_is_refused(
        bridge: bridge_support.Bridge, end: bytes) -> None:
    with Client(bridge) as client:
        client.send(b'x' * (2 * control.MAX_CLIENT_LINE) + end)
        reply = client.reply()
        # When the bridge hung up before all was sent, the kernel drops
        # the answer with the connection.
        assert reply is None or reply.error_kind == 'bad-request', reply
        assert client.reply() is None, 'the connection was not closed'


@pytest.mark.parametrize(
    'verb', ['configure', 'open', 'close', 'shutdown', '', 'x' * 5000,
             '__class__', '\x1b[2J\nforged'])
def test_the_command_line_may_look_and_nothing_else(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge, verb: str) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with Client(bridge) as client:
        reply = client.ask(verb, node=spec.node, spec=spec.to_json(), wait=0)
        assert reply.error_kind == 'not-allowed', reply
        assert len(reply.error_message) < 500
        assert '\n' not in reply.error_message
        assert '\x1b' not in reply.error_message
        shown = client.ask('show', node=spec.node).unwrap()
        assert shown['state'] == 'connected'
        assert bmc.setup.users[1].password not in json.dumps(shown)


@pytest.mark.parametrize('args', [
    {}, {'node': None}, {'node': 7}, {'node': ''}, {'node': ['x']},
    {'node': 'x' * 60_000}, {'node': '\x1b]0;forged\x07\n'}, {'other': 1}])
def test_show_answers_any_argument(
        bridge: bridge_support.Bridge, args: control.Json) -> None:
    with Client(bridge) as client:
        reply = client.ask('show', **args)
        assert reply.error_kind in ('bad-request', 'no-such-console'), reply
        assert len(reply.error_message) < 2000


def test_200_idle_clients_do_not_keep_the_next_one_out(
        bridge: bridge_support.Bridge) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(Client(bridge))
        with Client(bridge) as client:
            assert client.ask('ping').unwrap()['consoles'] == 0
        assert bridge.request('ping')['consoles'] == 0
        waiting.wait_until(
            lambda: processes.open_files(bridge.pid) < 100,
            'fewer than 100 open files in the bridge: a bounded number of '
            'clients is kept', 5,
            seen=lambda: processes.open_files(bridge.pid))


def test_a_client_that_reads_no_answers_costs_no_memory(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    bridge.connect(bridge_support.make_spec(bmc))
    with Client(bridge) as client:
        before = processes.memory_kib(bridge.pid)
        client.socket.settimeout(1.0)
        block = b''.join(control.encode(control.Request(number, 'list'))
                         for number in range(500))
        deadline = time.monotonic() + 20
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < deadline:
                client.send(block)
            raise AssertionError('the bridge reads requests without end')
        bridge.request('ping')
        grown = processes.memory_kib(bridge.pid) - before
        assert grown < 4096, f'the bridge grew by {grown} KiB'


def test_clients_that_vanish_in_mid_request_leave_nothing(
        bridge: bridge_support.Bridge) -> None:
    bridge.request('ping')
    with Client(bridge) as client:
        client.ask('ping')
    before = processes.open_files(bridge.pid)
    for _ in range(50):
        with Client(bridge) as client:
            client.send(control.encode(control.Request(1, 'list')) * 20
                        + b'{"v":1')
    waiting.wait_until(
        lambda: processes.open_files(bridge.pid) <= before,
        f'no more than {before} open files after clients vanished',
        seen=lambda: processes.open_files(bridge.pid))


# -- the conductor's channel --------------------------------------------


@pytest.mark.parametrize('name', GARBAGE)
def test_garbage_from_the_conductor_is_answered_or_ends_the_bridge(
        bmc: ipmi_sim.Bmc, name: str) -> None:
    with bridge_support.Bridge() as bridge:
        bridge.connect(bridge_support.make_spec(bmc))
        bridge.send_raw(GARBAGE[name])
        waiting.wait_until(
            lambda: bridge.rejections or not bridge.running,
            'an answer to garbage, or the end of the bridge')
        # Its last words may still be on the way when it has ended.
        waiting.wait_until(lambda: bridge.rejections,
                           'why the bridge has ended')
        assert bridge.rejections[0].error_kind == 'bad-request'
        # A conductor that talks nonsense is not to be trusted with
        # consoles: where the bridge gives up, it does so in order.
        if bridge.running:
            try:
                bridge.request('ping', timeout=3)
            except AssertionError:
                bridge.wait_ended()
        assert not bridge.output(), bridge.report()
    bmc.wait_free()


def test_an_endless_line_from_the_conductor_costs_bounded_memory() -> None:
    with bridge_support.Bridge() as bridge:
        block = b'x' * (1 << 20)
        with contextlib.suppress(OSError):
            for _ in range(16):
                bridge.send_raw(block)
        waiting.wait_until(
            lambda: bridge.rejections or not bridge.running,
            'an answer to a line that is too long')
        assert not bridge.output(), bridge.report()


@pytest.mark.parametrize('verb', ['', 'shutdown', 'Open', '\x1b[2J'])
def test_an_unknown_verb_of_the_conductor_is_refused(
        bridge: bridge_support.Bridge, verb: str) -> None:
    with pytest.raises(exception.RequestRefused) as refusal:
        bridge.request(verb)
    assert refusal.value.kind == 'unknown-verb'
    assert '\x1b' not in str(refusal.value)


def test_nothing_is_answered_before_the_options_came() -> None:
    bridge = bridge_support.Bridge()
    bridge.start()
    try:
        for verb in ('open', 'close', 'list', 'show', 'ping'):
            with pytest.raises(exception.RequestRefused) as refusal:
                bridge.request(verb)
            assert refusal.value.kind == 'not-configured'
        result = bridge.configure()
        assert result['pid'] == bridge.pid
        assert isinstance(result['version'], str)
        with pytest.raises(exception.RequestRefused):
            bridge.configure()
        check_unharmed(bridge)
    finally:
        bridge.stop()


@pytest.mark.parametrize('change', [
    {'max_clients': 0}, {'max_clients': '8'}, {'max_clients': None},
    {'client_buffer': -1}, {'keepalive_interval': 1e9}, {'linger': -1},
    {'login_concurrency': True}, {'log_level': 'INFO'}, {'socket': ''},
    {'socket': 7}, {'socket': 'relative.sock'},
    {'socket': '/proc/none/0.sock'}, {'max_clients': float('nan')},
    {'max_clients_per_address': -1}, {'client_mode': 'all'},
    {'client_mode': []}, {'scrollback': None}, {'scrollback': 1 << 30},
    {'notices': 1}, {'notice_detail': 'secret'}, {'idle_timeout': -1},
    {'allowed_clients': '10.0.0.0/8'}, {'allowed_clients': [7]},
    {'allowed_clients': ['10.0.0.1/8']}])
def test_bad_options_are_refused_and_good_ones_taken_after(
        change: control.Json) -> None:
    bridge = bridge_support.Bridge()
    bridge.start()
    try:
        with pytest.raises(exception.RequestRefused) as refusal:
            bridge.request('configure', {
                'options': {**bridge.options, **change}})
        assert refusal.value.kind != 'internal', refusal.value
        bridge.configure()
        check_unharmed(bridge)
    finally:
        bridge.stop()


@pytest.mark.parametrize('args', [
    {}, {'wait': 0}, {'wait': 0, 'spec': None}, {'wait': 0, 'spec': []},
    {'wait': -1}, {'wait': 'long'}, {'wait': None}])
def test_open_without_a_usable_spec_is_refused(
        bridge: bridge_support.Bridge, args: control.Json) -> None:
    with pytest.raises(exception.RequestRefused) as refusal:
        bridge.request('open', args)
    assert refusal.value.kind in ('bad-spec', 'bad-request'), refusal.value


@pytest.mark.parametrize('change', [
    {'node': 'not-a-uuid'}, {'node': 7}, {'address': ''},
    {'address': 'a b'}, {'port': 0}, {'port': '623'}, {'port': 70000},
    {'username': 'x' * 17}, {'password': 'secret' * 4}, {'kg': 'secret'},
    {'suites': []}, {'suites': [0]}, {'suites': 3},
    {'privilege': 'CALLBACK'}, {'tcp_host': 'a/b'}, {'tcp_port': -1},
    {'generation': ''}, {'extra': 'secret'}, {'tcp_host': None},
    {'tcp_host': 'localhost'}, {'address': 'x' * 300},
    {'username': '\ud800'}, {'password': 'secret\ud800'}],
    ids=lambda change: ','.join(f'{k}={str(v)[:12]!r}'
                                for k, v in change.items()))
def test_a_bad_value_in_a_spec_is_refused_with_its_name(
        bridge: bridge_support.Bridge, change: control.Json) -> None:
    spec = {**bridge_support.make_spec(address='127.0.0.1').to_json(),
            **change}
    with pytest.raises(exception.RequestRefused) as refusal:
        bridge.request('open', {'spec': spec, 'wait': 0})
    assert refusal.value.kind in ('bad-spec', 'cannot-listen'), refusal.value
    assert 'secret' not in str(refusal.value), refusal.value
    assert bridge.consoles() == []


def test_a_request_that_fails_leaves_the_others_alone(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    bridge.connect(spec)
    futures = [bridge.submit('open', {'spec': {}, 'wait': 1}),
               bridge.submit('nonsense', {}),
               bridge.submit('show', {'node': 'none'})]
    for future in futures:
        assert future.result(10).error_kind
    with viewers.Viewer(spec.url) as viewer:
        viewer.send(b'alive')
        viewer.wait_for(b'alive')


def test_a_conductor_that_does_not_read_its_log_stops_no_console(
        echo_bmc: ipmi_sim.Bmc) -> None:
    asked = 4000
    with bridge_support.Bridge() as bridge:
        spec = bridge_support.make_spec(echo_bmc)
        bridge.connect(spec)

        def ask() -> None:
            # Each is a log record.
            command_line.ask(bridge.socket_path, 'retry',
                             {'node': spec.node}, timeout=10.0)

        with viewers.Viewer(spec.url) as viewer:
            wait_viewers(bridge, 1)
            with bridge.deaf():
                for number in range(asked):
                    ask()
                    if number % 200 == 0:
                        word = f'<{number}>'.encode()
                        viewer.send(word)
                        viewer.wait_for(word)
        bridge.request('ping')
        # The next record tells how many are missing.
        ask()
        waiting.wait_until(
            lambda: len(bridge.logged(': retry.')) + sum(
                record.dropped for record in bridge.logs) == asked + 1,
            'every record sent or counted as dropped',
            seen=lambda: [(len(bridge.logged(': retry.')), record.dropped)
                          for record in bridge.logs if record.dropped])
        assert any(record.dropped for record in bridge.logs), (
            'the test wants more records than fit')
        check_unharmed(bridge)
