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

"""A TCP proxy that can turn into a black hole.

::

    with BlackHole(server.host, server.port) as proxy:
        use(proxy.port)
        proxy.cut()     # as a firewall that drops every packet
        proxy.heal()

While it is cut, connections stay open and new ones are accepted, but no
byte passes and no end of file. At heal() connections from before are reset:
what was sent meanwhile never arrives.
"""

import contextlib
import selectors
import socket
import struct
import threading

_CHUNK = 65536
#: SO_LINGER with no time: close() sends RST.
_RESET = struct.pack('ii', 1, 0)


class BlackHole:
    """The proxy, in threads of its own.

    :param host: where it forwards to.
    :param port: where it forwards to.
    :ivar port: where it listens, on 127.0.0.1.
    """

    host = '127.0.0.1'

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._mutex = threading.Lock()
        self._listener: socket.socket | None = None
        self._flowing = True
        self._pairs: set[tuple[socket.socket, socket.socket | None]] = set()
        self._listen(0)

    def cut(self) -> None:
        """Let nothing pass any more, in either direction."""
        with self._mutex:
            self._flowing = False

    def heal(self) -> None:
        """Let everything pass; connections from before are reset."""
        self._reset_all()
        with self._mutex:
            self._flowing = True
            if self._listener is None:
                self._listen(self.port)

    def refuse(self) -> None:
        """Reset what is open, and refuse new connections."""
        with self._mutex:
            listener, self._listener = self._listener, None
        if listener is not None:
            # Wakes its thread, which close() would not.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._reset_all()

    def close(self) -> None:
        """End it all."""
        self.refuse()

    def __enter__(self) -> 'BlackHole':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _listen(self, port: int) -> None:
        self._listener = listener = socket.create_server(
            (self.host, port), backlog=128)
        self.port: int = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True,
                         name='black hole').start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._mutex:
                flowing = self._flowing
            server = None
            if flowing:
                try:
                    server = socket.create_connection(self._target, 5.0)
                except OSError:
                    _reset(client)
                    continue
            pair = (client, server)
            with self._mutex:
                self._pairs.add(pair)
            if server is not None:
                server.settimeout(None)
                threading.Thread(target=self._forward, daemon=True,
                                 args=(client, server),
                                 name='black hole').start()

    def _forward(self, client: socket.socket, server: socket.socket
                 ) -> None:
        with selectors.DefaultSelector() as ready, contextlib.suppress(
                OSError, ValueError, KeyError):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(_CHUNK)     # type: ignore
                    with self._mutex:
                        flowing = self._flowing
                    if not flowing:
                        # Dropped; and the end of one side is kept from the
                        # other.
                        if not data:
                            ready.unregister(key.fileobj)
                    elif data:
                        key.data.sendall(data)
                    else:
                        self._drop((client, server))
                        return
        self._drop((client, server))

    def _drop(self, pair: tuple[socket.socket, socket.socket | None]
              ) -> None:
        with self._mutex:
            if pair not in self._pairs:
                return
            if not self._flowing:
                # Reset with the others, when they are.
                return
            self._pairs.discard(pair)
        for sock in pair:
            if sock is not None:
                sock.close()

    def _reset_all(self) -> None:
        with self._mutex:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for sock in pair:
                if sock is not None:
                    _reset(sock)


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # close() alone leaves the thread that waits for this socket, and
        # with it the connection.
        sock.shutdown(socket.SHUT_RD)
    sock.close()
