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

"""The TCP side of a console: one listening socket, and its viewers.

A viewer is anything that connects: nova-serialproxy, ``nc``, a script. The
protocol is raw bytes both ways. Every viewer has a queue of its own with a
limit; one that does not read loses output alone and is told how much, and
nobody waits for it. Input is taken only as fast as the BMC takes it, by not
reading from the viewer.

Opening and closing is synchronous, so that a console can be opened or shut
in one step of the event loop.
"""

import asyncio
import errno
import logging
import os
import pathlib
import re
import socket
import typing

from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec

LOG = logging.getLogger(__name__)

_ACCEPTS_A_WAKEUP = 16
_ACCEPT_PAUSE = 1.0         # seconds, when descriptors are used up
_RECEIVE_SIZE = 16 * 1024   # bytes read from a viewer at a time
#: Bytes of kernel buffer each way; Linux takes it twice. Left to itself it
#: lets them grow to megabytes for a viewer that does not read.
_KERNEL_BUFFER = 64 * 1024

#: All viewers of a process receive into one buffer: what it holds is taken
#: before the event loop reads from the next one.
_receive_buffer = bytearray(_RECEIVE_SIZE)


class Host(typing.Protocol):
    """The console that a viewer is attached to."""

    def viewer_came(self, viewer: 'Viewer') -> bool:
        """A viewer connected; False if it cannot stay."""

    def viewer_left(self, viewer: 'Viewer') -> None:
        """A viewer that could stay is gone."""

    def viewer_typed(self, data: bytes) -> int:
        """Input; returns how many bytes were taken."""


class Viewer(asyncio.BufferedProtocol):
    """One TCP connection to a console.

    :param host: the console.
    :param limit: bytes of output to hold while the peer does not read.
    """

    def __init__(self, host: Host, limit: int) -> None:
        self._host = host
        self._limit = limit
        self._transport: asyncio.Transport | None = None
        self._attached = False
        self._untaken = b''
        self._missed = 0
        self.peer = ''

    # -- asyncio calls these ---------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = typing.cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(
            high=self._limit // 2, low=self._limit // 4)
        address = transport.get_extra_info('peername')
        if isinstance(address, tuple) and len(address) >= 2:
            self.peer = console_spec.join_host_port(*address[:2])
        self._attached = self._host.viewer_came(self)

    def get_buffer(self, sizehint: int) -> bytearray:
        return _receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(memoryview(_receive_buffer)[:nbytes])
        if self._attached:
            self._untaken = data[self._host.viewer_typed(data):]
            if self._untaken and self._transport is not None:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False        # a viewer that stops typing has left

    def resume_writing(self) -> None:
        if self._missed and self._transport is not None:
            mark = f'\r\n[solconsole: {self._missed} bytes lost]\r\n'
            self._missed = 0
            self._transport.write(mark.encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._untaken = b''
        if self._attached:
            self._attached = False
            self._host.viewer_left(self)

    # -- the console calls these -----------------------------------------

    def deliver(self, data: bytes) -> None:
        """Give the viewer output, or count it as lost."""
        if self._transport is None:
            return
        if self._missed or (self._transport.get_write_buffer_size()
                            + len(data) > self._limit):
            # Nothing is written until the queue has drained to a quarter,
            # so the mark stands exactly where the bytes are missing.
            self._missed += len(data)
        else:
            self._transport.write(data)

    def tell(self, notice: str) -> None:
        """A notice on a line of its own, unless the viewer is behind.

        :param notice: a sentence without its end, with no control
            characters and nothing that a tenant may not know.
        """
        if self._transport is not None and not self._missed:
            self._transport.write(f'\r\n[solconsole: {notice}]\r\n'.encode())

    def offer_room(self) -> bool:
        """Give the console what it could not take before.

        :returns: whether this viewer has nothing left.
        """
        if self._untaken:
            taken = self._host.viewer_typed(self._untaken)
            self._untaken = self._untaken[taken:]
            if not self._untaken and self._transport is not None:
                self._transport.resume_reading()
        return not self._untaken

    @property
    def waits(self) -> bool:
        """Whether the viewer holds input that was not taken yet."""
        return bool(self._untaken)

    def close(self, notice: str = '') -> None:
        """End the connection now.

        :param notice: a last line for the person, without its end.
        """
        transport, self._transport = self._transport, None
        if transport is None:
            return
        self._attached = False
        self._untaken = b''
        if transport.get_write_buffer_size():
            # Output of a console that is closed must not pass any more.
            transport.abort()
        else:
            if notice:
                transport.write(f'\r\n[solconsole: {notice}]\r\n'.encode())
            transport.close()


class Listener:
    """A bound and listening TCP socket.

    :param host: local address.
    :param port: TCP port.
    :param console: whose viewers connect here.
    :param limit: bytes of output to hold for a viewer.
    :raises: PortInUse if somebody else listens there; RequestRefused if the
        address cannot be bound for another reason.
    """

    def __init__(self, host: str, port: int, console: Host,
                 limit: int) -> None:
        self._console = console
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._joining: set[asyncio.Task[typing.Any]] = set()
        self._pause: asyncio.TimerHandle | None = None
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM,
                flags=socket.AI_NUMERICHOST)[0]
            self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise exception.RequestRefused(
                'cannot-listen', f'cannot listen on {host}: {error}'
            ) from None
        try:
            self._socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is accepted inherits these.
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                self._socket.setsockopt(
                    socket.SOL_SOCKET, option, _KERNEL_BUFFER)
            self._socket.bind(address)
            self._socket.listen(16)
        except OSError as error:
            self._socket.close()
            where = console_spec.join_host_port(host, port)
            if error.errno == errno.EADDRINUSE:
                raise exception.PortInUse(
                    f'TCP port {where} is in use') from None
            raise exception.RequestRefused(
                'cannot-listen',
                f'cannot listen on TCP port {where}: {error.strerror}; is '
                '[console]socat_address an address of this host?') from None
        self._loop.add_reader(self._socket.fileno(), self._acceptable)

    def _acceptable(self) -> None:
        for _ in range(_ACCEPTS_A_WAKEUP):
            try:
                peer, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                LOG.error('Cannot accept a console connection: %s. Raise '
                          'the number of open files of the conductor '
                          '(LimitNOFILE).', error.strerror)
                self._loop.remove_reader(self._socket.fileno())
                self._pause = self._loop.call_later(
                    _ACCEPT_PAUSE, self._resume)
                return
            peer.setblocking(False)
            _watch_peer(peer)
            task = self._loop.create_task(self._loop.connect_accepted_socket(
                lambda: Viewer(self._console, self._limit), peer))
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket.fileno(), self._acceptable)

    def close(self) -> None:
        """Stop to listen. Viewers that are attached are not touched."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for task in self._joining:
            task.cancel()


def _watch_peer(peer: socket.socket) -> None:
    """Let the kernel find out about peers that vanish without a FIN."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def describe_holder(port: int) -> str:
    """Which local process listens on a TCP port, as far as /proc tells.

    It reads all of /proc: not to be called in the event loop.
    """
    inodes = set()
    for table in ('/proc/net/tcp', '/proc/net/tcp6'):
        try:
            lines = pathlib.Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            # Fields of proc_pid_net(5); state 0A is LISTEN.
            if (fields[3] == '0A'
                    and int(fields[1].rpartition(':')[2], 16) == port):
                inodes.add(f'socket:[{fields[9]}]')
    for pid in filter(str.isdigit, os.listdir('/proc') if inodes else ()):
        try:
            for fd in os.scandir(f'/proc/{pid}/fd'):
                if os.readlink(fd.path) in inodes:
                    raw = pathlib.Path(f'/proc/{pid}/comm').read_text()
                    name = re.sub(r'[^ -~]', '?', raw.strip())
                    return f'process {pid} ({name})'
        except OSError:
            continue
    return 'another process'
