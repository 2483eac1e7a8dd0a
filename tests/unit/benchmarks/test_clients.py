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

"""Benchmarks: what a client takes for the console's output, and when."""

import asyncio
import collections.abc
import time

import pytest

from benchmarks import clients
from benchmarks import contenders

HELLO = contenders.Line(1, ((b'HELLO\n', b'OK\n'),
                            (b'CONNECT\n', b'OK c1\n')))
BANNER = contenders.Line(1, banner=b'[open]\r\n')


class Transport(asyncio.Transport):
    """Keeps what the client says."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)


def viewer(line: contenders.Line) -> tuple[clients.Viewer, Transport]:
    """A client whose connection was made a second ago."""
    it, transport = clients.Viewer(line, time.perf_counter() - 1), Transport()
    it.connection_made(transport)
    return it, transport


def in_loop(work: collections.abc.Callable[
        [], collections.abc.Coroutine[None, None, None]]) -> None:
    asyncio.run(work())


def test_a_plain_port_is_usable_at_once_and_shows_its_first_byte() -> None:
    async def work() -> None:
        it, _ = viewer(contenders.Line(1))
        assert it.ready.done() and not it.shown.done()
        it.data_received(b'login: ')
        assert 1 <= it.shown.result() < 10
        assert it.data == b'login: '

    in_loop(work)


def test_a_handshake_is_no_output_and_its_end_is_what_is_shown() -> None:
    async def work() -> None:
        it, transport = viewer(HELLO)
        assert transport.written == b'HELLO\n'
        it.data_received(b'O')
        it.data_received(b'K\n')
        assert transport.written == b'HELLO\nCONNECT\n'
        assert not it.ready.done() and not it.shown.done()
        it.data_received(b'OK c1\nlogin: ')
        assert it.ready.done() and it.shown.done()
        assert it.data == b'login: '

    in_loop(work)


@pytest.mark.parametrize('cut', range(1, 8))
def test_a_banner_is_no_output_but_it_is_shown(cut: int) -> None:
    async def work() -> None:
        it, _ = viewer(BANNER)
        assert not it.ready.done()
        it.data_received(b'[open]\r\nlogin: '[:cut])
        assert it.shown.done() and not it.ready.done()
        it.data_received(b'[open]\r\nlogin: '[cut:])
        assert it.ready.done()
        assert it.data == b'login: '

    in_loop(work)


def test_a_key_takes_until_its_echo_and_no_other_one() -> None:
    async def work() -> None:
        it, transport = viewer(contenders.Line(1))
        typing = asyncio.ensure_future(it.type(b'a'))
        await asyncio.sleep(0)
        assert transport.written == b'a' and not typing.done()
        it.data_received(b'a')
        assert 0 <= await typing < 10
        typing = asyncio.ensure_future(it.type(b'b'))
        await asyncio.sleep(0)
        it.data_received(b'x')
        with pytest.raises(AssertionError, match="b'x' came"):
            await typing

    in_loop(work)


def test_a_console_that_closes_says_what_it_said() -> None:
    async def work() -> None:
        it, _ = viewer(BANNER)
        it.data_received(b'SOL payload already active')
        it.connection_lost(None)
        with pytest.raises(ConnectionError, match='already active'):
            await it.ready
        assert it.closed.done()

    in_loop(work)
