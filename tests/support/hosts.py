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

"""The machine behind a simulated BMC's serial port."""

import asyncio
import concurrent.futures

from tests.support import background
from tests.support import ports
from tests.support import waiting


class Host:
    """A TCP server that ipmi_sim dials as the host's serial line.

    It records what the console sends, and sends what the test says.

    :param echo: send back what comes, as a terminal line does.
    """

    def __init__(self, echo: bool = False) -> None:
        self.port = ports.free_port()
        self.echo = echo
        self._received = bytearray()
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self.connections = 0

    def start(self) -> 'Host':
        """Listen. Do it before ipmi_sim starts: it redials after 10 s."""
        async def listen() -> asyncio.Server:
            return await asyncio.start_server(
                self._serve, '127.0.0.1', self.port)

        self._server = background.run(listen(), f'listen on {self.port}')
        return self

    def stop(self) -> None:
        """Close the serial line and the listener."""
        async def close() -> None:
            if self._server is not None:
                self._server.close()
            if self._writer is not None:
                self._writer.transport.abort()

        background.run(close(), f'close host port {self.port}')

    def __enter__(self) -> 'Host':
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    async def _serve(self, reader: asyncio.StreamReader,
                     writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.connections += 1
        try:
            while data := await reader.read(65536):
                self._received += data
                if self.echo:
                    writer.write(data)
        except ConnectionError:
            pass
        finally:
            if self._writer is writer:
                self._writer = None
            writer.transport.abort()

    @property
    def plugged(self) -> bool:
        """Whether the BMC has dialled in."""
        return self._writer is not None

    def wait_plugged(self, timeout: float = 15.0) -> None:
        """Wait for the BMC."""
        waiting.wait_until(lambda: self.plugged,
                           f'ipmi_sim dialling host port {self.port}',
                           timeout)

    @property
    def received(self) -> bytes:
        """All that the console has sent since start or clear()."""
        return bytes(self._received)

    def clear(self) -> None:
        """Forget what was received."""
        self._received.clear()

    def wait_received(self, expected: bytes,
                      timeout: float = waiting.PATIENCE) -> None:
        """Wait until exactly these bytes have come."""
        try:
            waiting.wait_until(
                lambda: len(self._received) >= len(expected),
                'all bytes at the host', timeout)
        except AssertionError:
            pass                # the comparison tells more
        waiting.assert_same_bytes(
            self.received, expected, 'input that reached the host')

    async def _send(self, data: bytes, rate: float, chunk: int = 0) -> None:
        if self._writer is None:
            raise AssertionError(
                f'no BMC is connected to host port {self.port}')
        writer = self._writer
        step = chunk or (len(data) if not rate else max(1, int(rate / 50)))
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for start in range(0, len(data), step):
            writer.write(data[start:start + step])
            await writer.drain()
            if rate:
                due = begin + (start + step) / rate
                await asyncio.sleep(max(0.0, due - loop.time()))

    def send(self, data: bytes, rate: float = 0.0) -> None:
        """Write to the serial line; return when all is on its way.

        :param rate: bytes a second; 0 is as fast as the BMC takes it.
        """
        background.run(self._send(data, rate), f'host sends {len(data)} '
                       'bytes', 60.0 + (len(data) / rate if rate else 0.0))

    def stream(self, data: bytes, rate: float = 0.0,
               chunk: int = 0) -> 'concurrent.futures.Future[None]':
        """Write as send() does, beside the test.

        :param chunk: bytes that are written at a time; 0 is what the rate
            gives in a fiftieth of a second.
        """
        return background.start(self._send(data, rate, chunk))

    def unplug(self) -> None:
        """Drop the serial line; ipmi_sim dials again in about 10 s."""
        async def drop() -> None:
            if self._writer is not None:
                self._writer.transport.abort()

        background.run(drop(), f'drop host port {self.port}')


def text(size: int, seed: str = 'host') -> bytes:
    """Console output that shows where something is missing.

    :param size: bytes.
    :param seed: word at the start of each line, to tell streams apart.
    """
    lines = []
    total = number = 0
    while total < size:
        line = f'{seed} {number:07d} the quick brown fox jumps over\r\n'
        lines.append(line)
        total += len(line)
        number += 1
    return ''.join(lines).encode()[:size]
