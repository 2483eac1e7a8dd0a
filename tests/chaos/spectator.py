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

"""A viewer that writes down when it is given bytes.

The time is the kernel's: when the bytes came into the buffer of the
socket, however late they are read.
"""

import asyncio
import re
import socket
import struct
import time

from tests.chaos import bmcs
from tests.chaos import checker
from tests.chaos import owners

_RETRY = 0.2            # seconds
_CONNECT = 2.0
_MOST = 65536

_SO_TIMESTAMPNS = 35    # asm-generic/socket.h; the module socket has none
_TIMESPEC = struct.Struct('qq')

_LINE = re.compile(rb'(\d{8})')


class Characters:
    """Tells the host's characters from the notices between them.

    The host writes no brackets, and line ends belong to both.
    """

    def __init__(self) -> None:
        self._in_notice = False
        self._digits = b''
        #: Number of the last whole line.
        self.line = 0

    def count(self, data: bytes) -> int:
        """How many characters of the host there are in what came."""
        count = 0
        for byte in data:
            if self._in_notice:
                self._in_notice = byte != ord(']')
            elif byte == ord('['):
                self._in_notice = True
            elif byte not in b'\r\n':
                count += 1
                self._digits = (self._digits + bytes([byte]))[-8:]
            elif _LINE.fullmatch(self._digits):
                self.line = int(self._digits)
                self._digits = b''
            else:
                self._digits = b''
        return count


class Spectator:
    """Somebody at the console of a node on one conductor, all the time.

    :param node: its name.
    :param host: where this conductor listens.
    :param port: TCP port; may be changed.
    :param record: takes what is written down.
    :param found: finds processes by their sockets.
    """

    def __init__(self, node: str, host: str, port: int,
                 record: bmcs.Recorder, found: owners.Owners) -> None:
        self.node = node
        self.host = host
        self.port = port
        self._record = record
        self._owners = found
        self._socket: socket.socket | None = None
        self._pid = 0
        self._sure = False
        self._characters = Characters()
        self._typed = 0
        #: When bytes came last, and from whom.
        self.last_shown = 0.0
        self.last_pid = 0

    @property
    def line(self) -> int:
        """Number of the last line of the host that came."""
        return self._characters.line

    async def run(self) -> None:
        """Attach again and again, until cancelled."""
        while True:
            sock = socket.socket()
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                async with asyncio.timeout(_CONNECT):
                    await asyncio.get_running_loop().sock_connect(
                        sock, (self.host, self.port))
                await self._attend(sock)
            except (OSError, TimeoutError):
                pass
            finally:
                self._socket = None
                sock.close()
            await asyncio.sleep(_RETRY)

    async def _attend(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        self._characters = Characters()
        self._socket = sock
        self._pid = self._owners.of_listener(self.host, self.port)
        self._sure = False

        def readable() -> None:
            try:
                data, extra, _, _ = sock.recvmsg(_MOST, 256)
            except BlockingIOError:
                return
            except OSError:
                data, extra = b'', []
            if data:
                self._take(data, _sent_at(extra))
            elif not ended.done():
                ended.set_result(None)

        loop.add_reader(sock.fileno(), readable)
        try:
            await ended
        finally:
            loop.remove_reader(sock.fileno())

    def _take(self, data: bytes, when: float) -> None:
        count = self._characters.count(data)
        if not count:
            return
        self._find_out()
        self.last_shown, self.last_pid = when, self._pid
        self._record('passed', when, node=self.node, pid=self._pid,
                     what=str(checker.What.SHOWN), host=self.host,
                     count=count, line=self.line)

    def _find_out(self) -> None:
        if self._sure or self._socket is None:
            return
        pid = self._owners.of_connection(
            (self.host, self.port), self._socket.getsockname()[:2])
        if pid:
            self._pid, self._sure = pid, True

    def type(self) -> None:
        """Type something that nobody else types, if attached."""
        if self._socket is None:
            return
        self._find_out()
        self._typed += 1
        last = self.host.rpartition('.')[2]
        token = f'{self.node}.{last}.{self._typed}'
        try:
            self._socket.send(f'<{token}>'.encode())
        except OSError:
            return
        self._record('typed', time.monotonic(), node=self.node,
                     pid=self._pid, host=self.host, token=token)


def _sent_at(extra: list[tuple[int, int, bytes]]) -> float:
    now = time.monotonic()
    for level, kind, value in extra:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            age = time.time_ns() - (seconds * 10**9 + nanoseconds)
            return now - max(0, age) / 1e9
    return now
