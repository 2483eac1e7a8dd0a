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

"""The socket of the command line under attack, and who is not disturbed.

While somebody misbehaves at it, a console streams exactly and the ``list``
of a good client is answered, each time.
"""

import collections.abc
import contextlib
import os
import random
import socket
import struct
import subprocess
import sys
import time

import pytest

from ironic_solconsole import control
from ironic_solconsole.bridge import wire
from ironic_solconsole.cli import client
from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.functional.test_hostile_input import GARBAGE
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import ports
from tests.support import processes
from tests.support import viewers
from tests.support import waiting

#: What a nuisance has done after each step.
Nuisance = collections.abc.Iterator[None]

_ROOT_ONLY = pytest.mark.skipif(
    os.getuid() != 0, reason='only root can be other users')


def _connect(bridge: bridge_support.Bridge) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20.0)
    # A full backlog fails at once on AF_UNIX.
    waiting.wait_until(
        lambda: not sock.connect_ex(str(bridge.socket_path)),
        'room in the backlog of the socket', interval=0.001)
    return sock


def _say(sock: socket.socket, data: bytes) -> None:
    """Send what is taken; one that was dropped is no error."""
    with contextlib.suppress(OSError):
        sock.sendall(data)


def _once(bridge: bridge_support.Bridge, data: bytes) -> None:
    with _connect(bridge) as sock:
        _say(sock, data)


def _request(verb: str, **args: object) -> bytes:
    return control.encode(control.Request(1, verb, args))


def garbage(bridge: bridge_support.Bridge) -> Nuisance:
    """Anything but a request."""
    chance = random.Random(6)
    while True:
        for data in GARBAGE.values():
            _once(bridge, data)
            yield
        _once(bridge, chance.randbytes(chance.randrange(1, 70_000)))
        yield


def partial_lines(bridge: bridge_support.Bridge) -> Nuisance:
    """Beginnings of requests, in small pieces, with no end."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(_connect(bridge)) for _ in range(60)]
        while True:
            for sock in held:
                _say(sock, b'{"v":1,"x":"' if sock is held[0] else b'ab')
                yield


def oversized_lines(bridge: bridge_support.Bridge) -> Nuisance:
    """Lines that are too long by a byte, and by a lot."""
    while True:
        for size in (control.MAX_CLIENT_LINE, 4 * control.MAX_CLIENT_LINE):
            _once(bridge, b'x' * size)
            yield
            _once(bridge, b'x' * size + b'\n')
            yield


def deep_nesting(bridge: bridge_support.Bridge) -> Nuisance:
    """JSON as deep as fits, in valid requests too."""
    while True:
        for depth in (500, 900, 5_000, 30_000):
            _once(bridge, b'{"v":1,"id":1,"verb":"show","args":{"node":'
                  + b'[' * depth + b']' * depth + b'}}\n')
            yield
            _once(bridge, b'{"a":' * (depth // 4) + b'\n')
            yield


def nul_bytes(bridge: bridge_support.Bridge) -> Nuisance:
    """NULs, as bytes and escaped."""
    while True:
        _once(bridge, bytes(10_000) + b'\n')
        yield
        _once(bridge, _request('show', node='\0' * 1000)
              + _request('\0' * 1000) + _request('release', node='\0'))
        yield


def huge_numbers(bridge: bridge_support.Bridge) -> Nuisance:
    """Numbers that are no good for anything."""
    numbers = [b'9' * 4000, b'-' + b'9' * 4000, b'9' * 60_000, b'1e999',
               b'-1e999', b'NaN', b'1e-999', b'0.' + b'1' * 50_000]
    while True:
        for number in numbers:
            _once(bridge, b'{"v":1,"id":' + number + b',"verb":"ping"}\n'
                  b'{"v":1,"id":1,"verb":"release","args":{"node":"x",'
                  b'"seconds":' + number + b'}}\n')
            yield
            _once(bridge, b'{"v":' + number + b'}\n')
            yield


def never_reads(bridge: bridge_support.Bridge) -> Nuisance:
    """Clients that ask and ask, and read no answer."""
    block = _request('list') * 200
    with contextlib.ExitStack() as stack:
        held: list[socket.socket] = []
        while True:
            if len(held) < 200:
                sock = stack.enter_context(_connect(bridge))
                sock.setblocking(False)
                held.append(sock)
            for sock in held[-20:]:
                with contextlib.suppress(OSError):
                    sock.send(block)
            yield


def greedy(bridge: bridge_support.Bridge) -> Nuisance:
    """Clients that read, and ask for more than they need."""
    block = _request('list') * 100
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(_connect(bridge)) for _ in range(40)]
        for sock in held:
            sock.setblocking(False)
        while True:
            for sock in held:
                with contextlib.suppress(OSError):
                    sock.recv(1 << 20)
                with contextlib.suppress(OSError):
                    sock.send(block)
            yield


def resets(bridge: bridge_support.Bridge) -> Nuisance:
    """Clients that ask and vanish with what they have not read."""
    while True:
        with _connect(bridge) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack('ii', 1, 0))
            _say(sock, _request('list') * 50)
        yield


NUISANCES = {nuisance.__name__: nuisance for nuisance in (
    garbage, partial_lines, oversized_lines, deep_nesting, nul_bytes,
    huge_numbers, never_reads, greedy, resets)}


def _list(bridge: bridge_support.Bridge) -> control.Json:
    return client.ask(bridge.socket_path, 'list', timeout=10.0)


@contextlib.contextmanager
def _streaming(bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge
               ) -> collections.abc.Iterator[
                   collections.abc.Callable[[], bool]]:
    """A console that streams; at the end every byte must have come.

    :returns: what tells whether it still streams.
    """
    spec = bridge_support.make_spec(bmc)
    session = bridge.connect(spec)['session']
    data = hosts.text(150_000)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        sent = bmc.host.stream(data, 50_000)
        yield lambda: not sent.done()
        sent.result(60)
        viewer.wait_exactly(data, 60)
    status = bridge.show(spec.node)
    assert (status['state'], status['session']) == ('connected', session)


@pytest.mark.parametrize('name', NUISANCES)
def test_nobody_is_disturbed_by(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge, name: str) -> None:
    answered = 0
    with contextlib.closing(NUISANCES[name](bridge)) as steps:
        before = processes.memory_kib(bridge.pid)
        with _streaming(bmc, bridge) as streams:
            for count, _ in enumerate(steps):
                if count % 10 == 0:
                    rows = _list(bridge)['consoles']
                    assert [row['state'] for row in rows] == ['connected']
                    answered += 1
                if count > 200 and not streams():
                    break
        grown = processes.memory_kib(bridge.pid) - before
    assert answered > 20
    # 64 clients, each with 256 KiB read, in pieces
    assert grown < 40 * 1024, f'the bridge grew by {grown} KiB'
    check_unharmed(bridge)


def test_a_thousand_idle_connections_disturb_nobody(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    with contextlib.ExitStack() as stack, _streaming(bmc, bridge):
        for number in range(1000):
            stack.enter_context(_connect(bridge))
            if number % 50 == 0:
                assert len(_list(bridge)['consoles']) == 1
        assert len(_list(bridge)['consoles']) == 1
        waiting.wait_until(
            lambda: processes.open_files(bridge.pid) < 100,
            'fewer than 100 open files in the bridge', 5,
            seen=lambda: processes.open_files(bridge.pid))
    check_unharmed(bridge)


def test_ten_thousand_that_come_and_go_disturb_nobody(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    _list(bridge)
    before = processes.open_files(bridge.pid)
    with _streaming(bmc, bridge):
        for number in range(10_000):
            _connect(bridge).close()
            if number % 500 == 0:
                assert len(_list(bridge)['consoles']) == 1
        assert len(_list(bridge)['consoles']) == 1
    waiting.wait_until(
        # its port, its lock, its UDP socket, and the set that that is in
        lambda: processes.open_files(bridge.pid) <= before + 4,
        f'no more open files than {before} and those of the console',
        seen=lambda: processes.open_files(bridge.pid))
    check_unharmed(bridge)


def test_who_does_not_read_is_left_and_its_slot_is_free(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    bridge.connect(bridge_support.make_spec(bmc))
    before = processes.open_files(bridge.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(_connect(bridge))
            sock.settimeout(0.2)
            with contextlib.suppress(OSError):
                for _ in range(40):
                    sock.sendall(_request('list') * 100)
        waiting.wait_until(
            lambda: processes.open_files(bridge.pid) <= before,
            'the end of connections whose other side never reads',
            wire.STALL_TIMEOUT * 3,
            seen=lambda: processes.open_files(bridge.pid))
    check_unharmed(bridge)


def test_who_says_all_at_once_and_closes_that_side_is_answered(
        bridge: bridge_support.Bridge) -> None:
    with _connect(bridge) as sock:
        sock.sendall(_request('list') * 30)
        sock.shutdown(socket.SHUT_WR)
        lines = control.LineReader()
        got: list[bytes] = []
        while data := sock.recv(65536):
            got += lines.feed(data)
    assert len(got) == 30


@_ROOT_ONLY
def test_another_user_is_refused_and_logged_once_a_minute(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    path = bridge.socket_path
    for directory in (path.parent, bridge.run_dir):
        directory.chmod(0o711)
    path.chmod(0o666)
    knock = (
        'import os, socket, sys\n'
        'os.setgroups([]); os.setgid(65534); os.setuid(int(sys.argv[2]))\n'
        'for _ in range(200):\n'
        '    with socket.socket(socket.AF_UNIX) as sock:\n'
        '        sock.settimeout(20)\n'
        '        while sock.connect_ex(sys.argv[1]): pass\n'
        '        try:\n'
        '            sock.sendall(b\'{"v":1,"id":1,"verb":"list"}\\n\')\n'
        '            assert not sock.recv(1000)\n'
        '        except OSError: pass\n')
    with _streaming(bmc, bridge):
        for uid in (65534, 65533):
            subprocess.run([sys.executable, '-c', knock, str(path), str(uid)],
                           check=True, timeout=60)
        assert len(_list(bridge)['consoles']) == 1
    for uid in (65534, 65533):
        told = bridge.logged(f'of user {uid} was refused')
        # a minute may have begun meanwhile
        assert 1 <= len(told) <= 2, told
    assert not bridge.logged('of user 0 ')
    check_unharmed(bridge)


def test_many_who_list_a_full_bridge_hold_up_no_console(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    """What is asked of a full bridge at once costs one list at a time."""
    specs = [bridge_support.make_spec(
        address='127.0.0.1', port=9, connection='on-demand', tcp_port=port)
        for port in ports.free_ports(300)]
    bridge.open_all(specs, wait=0)
    with contextlib.closing(greedy(bridge)) as steps, _streaming(
            bmc, bridge) as streams:
        began = time.monotonic()
        for count, _ in enumerate(steps):
            if count % 10 == 0:
                assert len(_list(bridge)['consoles']) == 301
            if not streams() or time.monotonic() - began > 60:
                break
    check_unharmed(bridge)
