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

"""Peers of the control wire: hostile, slow, or gone."""

import asyncio
import contextlib
import json
import socket

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.bridge import wire


class Served:
    """A Connection on one end of a socketpair, and the other end."""

    def __init__(self, kind=wire.Connection, **changes):
        self.kind = kind
        self.under_way = 0
        self.most_under_way = 0
        self.answered = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.lost = asyncio.Event()
        self._changes = {
            'on_made': lambda connection: True,
            'on_lost': lambda connection: self.lost.set()} | changes
        if kind is wire.Connection:
            self._changes = {'line_limit': 4096, 'max_requests': 4,
                             **self._changes}

    async def __aenter__(self):
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, self.connection = await loop.create_unix_connection(
            lambda: self.kind(self.answer, **self._changes), sock=ours)
        self.reader, self.writer = await asyncio.open_unix_connection(
            sock=theirs, limit=1 << 24)
        return self

    async def __aexit__(self, *args):
        self.connection.close()
        self.writer.close()

    async def answer(self, request):
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            if request.verb == 'refuse':
                raise exception.RequestRefused('no', 'it may not be')
            if request.verb == 'spec':
                raise exception.SpecError('node', 'is not a UUID')
            if request.verb == 'upgrade':
                return wire.Upgrade({'up': True}, self)
            if request.verb == 'bug':
                raise ZeroDivisionError('by hand')
            return {'verb': request.verb, 'pad': 'x' * 1000}
        finally:
            self.under_way -= 1
            self.answered += 1

    def begin(self, transport, rest):
        self.rest = rest
        self.successor = asyncio.BufferedProtocol()
        transport.set_protocol(self.successor)
        transport.write(b'raw')
        transport.resume_reading()

    async def ask(self, *lines):
        self.writer.write(b''.join(lines))
        async with asyncio.timeout(10):
            return json.loads(await self.reader.readline())


def line(number, verb):
    return control.encode(control.Request(number, verb))


def run(coroutine):
    asyncio.run(coroutine())


def test_a_request_is_answered_with_its_id():
    async def body():
        async with Served() as served:
            assert (await served.ask(line(7, 'ping')))['id'] == 7
    run(body)


def test_every_kind_of_no_is_an_error_reply_and_the_peer_stays():
    async def body():
        async with Served() as served:
            kinds = [(await served.ask(line(n, verb)))['error']['kind']
                     for n, verb in enumerate(('refuse', 'spec', 'bug'))]
            assert kinds == ['no', 'bad-spec', 'internal']
            assert (await served.ask(line(9, 'ping')))['id'] == 9
    run(body)


def test_garbage_is_answered_and_the_connection_ends():
    async def body():
        for garbage in (b'\x00\xff\n', b'[]\n', b'{"v":1}\n', b'{' * 5000,
                        control.encode(control.Event('log', {}))):
            async with Served() as served:
                reply = await served.ask(garbage)
                assert reply['error']['kind'] == 'bad-request', garbage
                async with asyncio.timeout(10):
                    assert await served.reader.read() == b''
                    await served.lost.wait()
    run(body)


def test_no_more_requests_run_than_allowed_and_all_are_answered():
    async def body():
        async with Served(max_requests=4) as served:
            served.gate.clear()
            served.writer.write(
                b''.join(line(n, 'ping') for n in range(100)))
            async with asyncio.timeout(10):
                while served.under_way < 4:
                    await asyncio.sleep(0.01)
                served.gate.set()
                ids = [json.loads(await served.reader.readline())['id']
                       for _ in range(100)]
            assert sorted(ids) == list(range(100))
            assert served.most_under_way == 4
    run(body)


def test_a_peer_that_does_not_read_is_not_read_from():
    async def body():
        async with Served() as served:
            served.reader._transport.pause_reading()

            async def flood():
                for number in range(20000):
                    served.writer.write(line(number, 'ping'))
                    await served.writer.drain()

            task = asyncio.create_task(flood())
            held = -1
            while served.answered != held:      # until nothing moves
                held = served.answered
                await asyncio.sleep(0.3)
            assert not task.done(), 'all of the flood was read'
            waiting = served.connection.transport.get_write_buffer_size()
            assert waiting < 256 * 1024
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    run(body)


def test_events_to_a_peer_that_does_not_read_are_refused_not_hoarded():
    async def body():
        async with Served() as served:
            served.reader._transport.pause_reading()
            event = control.Event('log', {'message': 'x' * 10000})
            sent = 0
            while served.connection.send_event(event):
                sent += 1
                assert sent < 1000, 'events pile up'
                await asyncio.sleep(0)
            assert served.connection.transport.get_write_buffer_size() < (
                512 * 1024)
    run(body)


def test_requests_of_a_peer_that_is_gone_are_cancelled():
    async def body():
        async with Served() as served:
            served.gate.clear()
            served.writer.write(line(1, 'ping'))
            async with asyncio.timeout(10):
                while not served.under_way:
                    await asyncio.sleep(0.01)
                served.writer.close()
                await served.lost.wait()
                while served.under_way:
                    await asyncio.sleep(0.01)
    run(body)


def test_a_command_line_that_says_no_more_is_answered_and_then_left():
    async def body():
        async with Served(wire.ClientConnection) as served:
            served.gate.clear()
            served.writer.write(line(1, 'ping') + line(2, 'ping'))
            served.writer.write_eof()
            async with asyncio.timeout(10):
                while not served.under_way:
                    await asyncio.sleep(0.01)
                served.gate.set()
                ids = [json.loads(await served.reader.readline())['id']
                       for _ in range(2)]
                assert ids == [1, 2]
                assert await served.reader.read() == b''
                await served.lost.wait()
    run(body)


def test_a_command_line_that_leaves_in_the_middle_of_a_line_is_left():
    async def body():
        async with Served(wire.ClientConnection) as served:
            served.writer.write(b'{"v":1,')
            served.writer.write_eof()
            async with asyncio.timeout(10):
                assert await served.reader.read() == b''
                await served.lost.wait()
    run(body)


def test_one_answer_at_most_waits_for_a_command_line():
    async def body():
        async with Served(wire.ClientConnection) as served:
            served.writer.write(b''.join(
                line(n, 'ping') for n in range(50)))
            async with asyncio.timeout(10):
                ids = [json.loads(await served.reader.readline())['id']
                       for _ in range(50)]
            assert ids == list(range(50))
            assert served.most_under_way == 1
    run(body)


def test_a_command_line_that_does_not_read_is_left_in_the_end(monkeypatch):
    monkeypatch.setattr(wire, 'STALL_TIMEOUT', 0.2)

    async def body():
        async with Served(wire.ClientConnection) as served:
            served.reader._transport.pause_reading()
            served.writer.write(b''.join(
                line(n, 'ping') for n in range(2000)))
            async with asyncio.timeout(10):
                await served.lost.wait()
            assert served.answered < 2000
    run(body)


def test_what_is_said_at_the_end_holds_nobody_who_does_not_read(monkeypatch):
    monkeypatch.setattr(wire, 'STALL_TIMEOUT', 0.2)

    async def body():
        async with Served(wire.ClientConnection) as served:
            served.reader._transport.pause_reading()
            # less than stops the reading, more than the kernel takes
            while not served.connection.transport.get_write_buffer_size():
                served.connection.send_event(
                    control.Event('log', {'message': 'x' * 30000}))
            served.writer.write(b'garbage\n')
            async with asyncio.timeout(10):
                await served.lost.wait()
    run(body)


def test_a_command_line_that_reads_slowly_is_not_left(monkeypatch):
    monkeypatch.setattr(wire, 'STALL_TIMEOUT', 2.0)

    async def body():
        async with Served(wire.ClientConnection) as served:
            served.reader._transport.pause_reading()
            served.writer.write(b''.join(
                line(n, 'ping') for n in range(500)))
            async with asyncio.timeout(30):
                while not served.connection._congested:
                    await asyncio.sleep(0.01)
                served.reader._transport.resume_reading()
                ids = [json.loads(await served.reader.readline())['id']
                       for _ in range(500)]
            assert ids == list(range(500))
            assert served.connection._stalled is None
    run(body)


def test_after_an_upgrade_the_connection_carries_bytes():
    async def body():
        async with Served(upgrades=frozenset({'upgrade'})) as served:
            served.gate.clear()
            served.writer.write(
                line(5, 'upgrade') + b'{"no\nlines\n\nany\x00 more')
            async with asyncio.timeout(10):
                while not served.under_way:
                    await asyncio.sleep(0)
                served.gate.set()
                reply = json.loads(await served.reader.readline())
                assert (reply['id'], reply['result']) == (5, {'up': True})
                assert await served.reader.readexactly(3) == b'raw'
                # It counts as a client no more.
                await served.lost.wait()
            assert served.rest == b'{"no\nlines\n\nany\x00 more'
            assert served.answered == 1
    run(body)


def test_after_an_upgrade_that_was_refused_lines_go_on():
    async def body():
        async with Served(upgrades=frozenset({'refuse', 'bug'})) as served:
            for verb in ('refuse', 'bug'):
                served.writer.write(line(1, verb) + line(2, 'ping'))
                async with asyncio.timeout(10):
                    assert 'error' in json.loads(
                        await served.reader.readline())
                    assert json.loads(
                        await served.reader.readline())['id'] == 2
            assert (await served.ask(line(3, 'ping')))['id'] == 3
    run(body)
