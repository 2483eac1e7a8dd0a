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

"""People at consoles: TCP clients that note when bytes come."""

import asyncio
import contextlib
import time
import typing

from benchmarks import contenders

#: Seconds that one attachment or one key may take.
PATIENCE = 60.0


class Viewer(asyncio.Protocol):
    """One client of one console. Make it with attach().

    :param line: the way to the console.
    :param began: time.perf_counter() at the dialling.
    """

    def __init__(self, line: contenders.Line, began: float) -> None:
        loop = asyncio.get_running_loop()
        self._hello = list(line.hello)
        self._banner = line.banner
        self._began = began
        self._key: asyncio.Future[float] | None = None
        self._transport: asyncio.Transport | None = None
        #: What has come of the console's output.
        self.data = bytearray()
        #: Done when bytes pass between host and client.
        self.ready: asyncio.Future[None] = loop.create_future()
        #: Seconds from the dialling to what a user sees first: the end of
        #: the server's handshake if it has one, else the first byte.
        self.shown: asyncio.Future[float] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = typing.cast(asyncio.Transport, transport)
        if self._hello:
            self._transport.write(self._hello[0][0])
        elif not self._banner:
            self.ready.set_result(None)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.data += data
        if self._hello and not self._greeted():
            return
        if not self.shown.done():
            self.shown.set_result(now - self._began)
        if not self.ready.done():
            _, found, rest = self.data.partition(self._banner)
            if found:
                self.data = rest
                self.ready.set_result(None)
        elif self._key is not None and not self._key.done():
            self._key.set_result(now)

    def _greeted(self) -> bool:
        """Take one more answer of the handshake; whether it was the last."""
        _, found, rest = self.data.partition(self._hello[0][1])
        if not found:
            return False
        self.data = rest
        del self._hello[0]
        assert self._transport is not None
        if self._hello:
            self._transport.write(self._hello[0][0])
            return False
        if not self._banner:
            self.ready.set_result(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.ready, self.shown, self._key):
            if future is not None and not future.done():
                future.set_exception(ConnectionError(
                    f'the console was closed after {bytes(self.data)!r}'))
                future.exception()      # it may be that nobody waits
        if not self.closed.done():
            self.closed.set_result(None)

    async def type(self, key: bytes) -> float:
        """Send one key; gives the seconds until its echo.

        :raises: TimeoutError, ConnectionError; AssertionError if something
            else came.
        """
        assert self._transport is not None
        before = len(self.data)
        self._key = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(key)
        ended = await asyncio.wait_for(self._key, PATIENCE)
        echo = bytes(self.data[before:])
        assert echo == key, f'{echo!r} came as the echo of {key!r}'
        return ended - began

    async def leave(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()
        await asyncio.wait_for(self.closed, PATIENCE)


async def attach(line: contenders.Line) -> Viewer:
    """Come to a console; return when it is usable.

    :raises: OSError, TimeoutError.
    """
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    _, viewer = await loop.create_connection(
        lambda: Viewer(line, began), '127.0.0.1', line.port)
    try:
        await asyncio.wait_for(asyncio.shield(viewer.ready), PATIENCE)
    except TimeoutError:
        with contextlib.suppress(TimeoutError):
            await viewer.leave()
        raise TimeoutError(
            f'the console on port {line.port} is not usable after '
            f'{PATIENCE:g} s: {bytes(viewer.data)!r}') from None
    return viewer
