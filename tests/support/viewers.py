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

"""Somebody who looks at a console through its TCP port."""

import asyncio
import socket
import typing
import urllib.parse

from tests.support import background
from tests.support import waiting


class _Collector(asyncio.Protocol):
    """Keep what arrives."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False              # end of file, in order
        self.error: Exception | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = typing.cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self.ended = True


class Viewer:
    """A raw TCP client of a console.

    :param url: ``tcp://HOST:PORT`` as Ironic reports it.
    :param receive_buffer: SO_RCVBUF in bytes, or 0 for the system's.
    """

    def __init__(self, url: str, receive_buffer: int = 0) -> None:
        parts = urllib.parse.urlsplit(url)
        assert parts.scheme == 'tcp' and parts.hostname and parts.port, url
        self.url = url
        self._collector = _Collector()
        sock = socket.socket(
            socket.AF_INET6 if ':' in parts.hostname else socket.AF_INET)
        if receive_buffer:
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(5.0)
        try:
            sock.connect((parts.hostname, parts.port))
        except OSError as error:
            sock.close()
            raise AssertionError(
                f'cannot connect to the console at {url}: {error}') from None
        sock.setblocking(False)
        #: Our side of the connection, as the bridge sees the peer.
        self.address = sock.getsockname()

        async def attach() -> None:
            await asyncio.get_running_loop().create_connection(
                lambda: self._collector, sock=sock)

        background.run(attach(), f'attach to {url}')

    def __enter__(self) -> 'Viewer':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def data(self) -> bytes:
        """All that came since the start or clear()."""
        return bytes(self._collector.data)

    @property
    def closed(self) -> bool:
        """Whether the bridge has closed the connection."""
        return self._collector.ended

    @property
    def reset(self) -> bool:
        """Whether the connection ended by RST, not by FIN."""
        return isinstance(self._collector.error, ConnectionResetError)

    def clear(self) -> None:
        """Forget what has come."""
        self._collector.data.clear()

    def _call(self, function: typing.Callable[[asyncio.Transport], object],
              what: str) -> None:
        async def call() -> None:
            assert self._collector.transport is not None
            function(self._collector.transport)

        background.run(call(), what)

    def send(self, data: bytes) -> None:
        """Type or paste."""
        assert not self.closed, f'the bridge has closed {self.url}'
        self._call(lambda transport: transport.write(data), 'type')

    def stop_reading(self) -> None:
        """Be a viewer that hangs."""
        self._call(lambda transport: transport.pause_reading(), 'pause')

    def go_on_reading(self) -> None:
        """Hang no longer."""
        self._call(lambda transport: transport.resume_reading(), 'resume')

    def close(self) -> None:
        """Leave, as a browser tab that is closed."""
        self._call(lambda transport: transport.close(), 'leave')

    def abort(self) -> None:
        """Leave with RST, as a client that crashed."""
        self._call(lambda transport: transport.abort(), 'abort')

    def wait_for(self, wanted: bytes,
                 timeout: float = waiting.PATIENCE) -> bytes:
        """Wait until some bytes have come anywhere in the output.

        :returns: all that has come.
        """
        waiting.wait_until(
            lambda: wanted in self._collector.data,
            f'{wanted!r} at a viewer of {self.url}', timeout,
            seen=lambda: self.data)
        return self.data

    def wait_exactly(self, expected: bytes,
                     timeout: float = waiting.PATIENCE) -> None:
        """Wait until exactly these bytes have come, and no others."""
        try:
            waiting.wait_until(
                lambda: len(self._collector.data) >= len(expected),
                'all bytes', timeout)
        except AssertionError:
            pass                # the comparison tells more
        waiting.assert_same_bytes(
            self.data, expected, f'output at a viewer of {self.url}')

    def wait_closed(self, timeout: float = waiting.PATIENCE) -> None:
        """Wait until the bridge has closed the connection."""
        waiting.wait_until(
            lambda: self.closed, f'close of a viewer of {self.url}', timeout,
            seen=lambda: self.data)


def refused(url: str) -> bool:
    """Whether nobody listens at a console's URL."""
    parts = urllib.parse.urlsplit(url)
    try:
        with socket.create_connection(
                (parts.hostname or '', parts.port or 0), timeout=5.0):
            return False
    except ConnectionRefusedError:
        return True
