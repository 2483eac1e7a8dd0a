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

"""A browser's side of nova-serialproxy: a WebSocket, as Horizon opens it."""

import asyncio

from websockets.asyncio import client
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin
from websockets.typing import Subprotocol

from tests.support import background
from tests.support import waiting

#: Seconds for the proxy to let us in: it has the console reset first.
CONNECT_TIMEOUT = 60.0


class WebSocket:
    """A tab of a browser.

    :param url: with a token, as Nova gives it.
    :param origin: where the page came from; '' as programs that are no
        browsers.
    """

    def __init__(self, url: str, origin: str = '') -> None:
        self.url = url
        #: What came, as the frames that it came in.
        self.frames: list[bytes] = []
        self._data = bytearray()
        self._ended = False
        self._reader: asyncio.Task[None] | None = None

        async def connect() -> client.ClientConnection:
            connection = await client.connect(
                url, subprotocols=[Subprotocol('binary')],
                origin=Origin(origin) if origin else None,
                max_size=None, open_timeout=None)
            self._reader = asyncio.create_task(self._read(connection))
            return connection

        self._connection = background.run(
            connect(), f'connect to {url}', CONNECT_TIMEOUT)

    async def _read(self, connection: client.ClientConnection) -> None:
        try:
            async for frame in connection:
                assert isinstance(frame, bytes), f'a frame of text: {frame}'
                self.frames.append(frame)
                self._data += frame
        except ConnectionClosed:
            pass
        finally:
            self._ended = True

    def __enter__(self) -> 'WebSocket':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def data(self) -> bytes:
        """All that came since the start or clear()."""
        return bytes(self._data)

    @property
    def closed(self) -> bool:
        """Whether the proxy has closed the connection."""
        return self._ended

    def clear(self) -> None:
        """Forget what has come."""
        self._data.clear()
        self.frames.clear()

    def send(self, data: bytes) -> None:
        """Type or paste; a paste is one frame."""
        assert not self.closed, f'the proxy has closed {self.url}'
        background.run(self._connection.send(data), 'type')

    def close(self) -> None:
        """Leave, as a page that is left."""
        background.run(self._connection.close(), 'leave')

    def abort(self) -> None:
        """Leave without a word, as a browser that is killed."""
        async def drop() -> None:
            self._connection.transport.abort()

        background.run(drop(), 'abort')

    def wait_for(self, wanted: bytes,
                 timeout: float = waiting.PATIENCE) -> bytes:
        """Wait until some bytes have come anywhere in the output.

        :returns: all that has come.
        """
        waiting.wait_until(
            lambda: wanted in self._data, f'{wanted!r} in a browser',
            timeout, seen=lambda: self.data)
        return self.data

    def wait_exactly(self, expected: bytes,
                     timeout: float = waiting.PATIENCE) -> None:
        """Wait until exactly these bytes have come, and no others."""
        try:
            waiting.wait_until(lambda: len(self._data) >= len(expected),
                               'all bytes', timeout)
        except AssertionError:
            pass                # the comparison tells more
        waiting.assert_same_bytes(self.data, expected, 'output in a browser')

    def wait_closed(self, timeout: float = waiting.PATIENCE) -> None:
        """Wait until the proxy has closed the connection."""
        waiting.wait_until(lambda: self.closed, 'close of a WebSocket',
                           timeout, seen=lambda: self.data)
