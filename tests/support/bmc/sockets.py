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

"""A UDP socket of a BMC."""

import asyncio
import collections.abc
import contextlib
import socket

_MOST = 65536
_A_WAKEUP = 64          # so that one busy BMC does not hold up the others
_RECEIVE_BUFFER = 1 << 20

#: Gets the socket, a datagram and where it came from.
Receiver = collections.abc.Callable[
    ['Socket', bytes, tuple[str, int]], None]


class Socket:
    """A bound UDP socket in an asyncio loop.

    :param loop: where ``receive`` is called.
    :param address: IPv4 or IPv6 address to bind.
    :param port: UDP port to bind; 0 is any.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str,
                 port: int, receive: Receiver) -> None:
        self._loop = loop
        self._receive = receive
        self._socket = socket.socket(
            socket.AF_INET6 if ':' in address else socket.AF_INET,
            socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind((address, port))
        except OSError:
            self._socket.close()
            raise
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.port: int = self._socket.getsockname()[1]
        self._open = True
        loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(_A_WAKEUP):
            if not self._open:
                return
            try:
                data, remote = self._socket.recvfrom(_MOST)
            except OSError:
                # Nothing left, or an ICMP error of an earlier datagram.
                return
            self._receive(self, data, remote[:2])

    def send(self, data: bytes, remote: tuple[str, int]) -> None:
        """Send a datagram; one that cannot go is lost, as on a network."""
        if self._open:
            with contextlib.suppress(OSError):
                self._socket.sendto(data, remote)

    def close(self) -> None:
        """Leave the port: what comes then is answered by ICMP."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
