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
nobody waits for it. What it loses begins and ends where a terminal may be
interrupted: not within a character or a control sequence. Input is taken
only as fast as the BMC takes it, by not reading from the viewer.

Opening and closing is synchronous, so that a console can be opened or shut
in one step of the event loop.
"""

import asyncio
import contextlib
import errno
import logging
import os
import pathlib
import re
import socket
import time
import typing

from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec
from ironic_solconsole.bridge import backlog
from ironic_solconsole.bridge import descriptors
from ironic_solconsole.bridge import notices

LOG = logging.getLogger(__name__)

_ACCEPTS_A_WAKEUP = 16
_ACCEPT_PAUSE = 1.0         # seconds, when descriptors are used up
_RECEIVE_SIZE = 4 * 1024    # bytes read from a viewer at a time
_END_PATIENCE = 1.0         # seconds for a peer to answer FIN with its own
_MAX_ENDING = 256           # connections that are given this time
#: Bytes of kernel buffer each way; Linux takes it twice. Left to itself it
#: lets them grow to megabytes for a viewer that does not read.
KERNEL_BUFFER = 64 * 1024

#: All viewers of a process receive into one buffer: what it holds is taken
#: before the event loop reads from the next one.
_receive_buffer = bytearray(_RECEIVE_SIZE)


class Host(typing.Protocol):
    """The audience that a viewer belongs to."""

    def came(self, viewer: 'Viewer') -> bool:
        """A viewer connected; False if it cannot stay."""

    def left(self, viewer: 'Viewer') -> None:
        """A viewer that could stay is gone."""

    def typed(self, viewer: 'Viewer', data: bytes) -> int:
        """Input; returns how many bytes were taken."""

    def caught_up(self, viewer: 'Viewer') -> bytes:
        """A viewer that was behind can be given output again.

        :returns: with what it goes on: the last bytes that it missed, from
            a place where output may be cut.
        """


class Viewer(asyncio.BufferedProtocol):
    """One TCP connection to a console.

    :param host: who it belongs to.
    :param limit: bytes of output to hold while the peer does not read.
    """

    #: Whether it came through the control socket and not through TCP.
    operator = False
    #: Whether what it types is not wanted, whoever may write.
    read_only = False

    def __init__(self, host: Host, limit: int) -> None:
        self._host = host
        self._limit = limit
        # What the transport is given at a time; it cannot be taken back.
        self._step = min(backlog.BLOCK, limit // 4)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._attached = False
        self._untaken = b''
        self._queue = backlog.Backlog()
        self._blocked = False       # the transport has not sent all
        self._held: float | None = None     # by hold(), since then
        self._given = 0             # bytes, sent or in the queue
        self._missed = 0
        self._lost = 0              # bytes, told in marks
        self._untold = False        # a notice found no room
        self._ending: asyncio.TimerHandle | None = None
        self.address = ''
        self.peer = ''
        #: By which an operator names it; 0 before it was let in.
        self.number = 0
        #: When it came, in seconds of the epoch.
        self.since = time.time()
        #: When a byte passed last, either way, by the loop's clock.
        self.active = 0.0

    # -- asyncio calls these ---------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = typing.cast(asyncio.Transport, transport)
        # It is to say at once when the kernel takes no more: the queue is
        # here.
        self._transport.set_write_buffer_limits(high=0)
        address = transport.get_extra_info('peername')
        if isinstance(address, tuple) and len(address) >= 2:
            self.address = address[0]
            self.peer = console_spec.join_host_port(*address[:2])
        self.active = self._loop.time()
        self._attached = self._host.came(self)

    def get_buffer(self, sizehint: int) -> bytearray:
        return _receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._attached:
            return
        self.take(bytes(memoryview(_receive_buffer)[:nbytes]))

    def take(self, data: bytes) -> None:
        """Input has come."""
        self.active = self._loop.time()
        # It may be more than the rest of what came before, if that was
        # read before the pause.
        data = self._untaken + data
        self._untaken = data[self._host.typed(self, data):]
        if self._untaken and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False        # a viewer that stops typing has left

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        if self._transport is not None:
            self.active = self._loop.time()
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._untaken = b''
        self._queue.clear()
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
            _ending.pop(self, None)
        if self._attached:
            self._attached = False
            self._host.left(self)

    # -- output ----------------------------------------------------------

    def deliver(self, data: bytes, before: int, now: float) -> None:
        """Give the viewer output, or count it as lost.

        :param data: bytes, far fewer than the limit.
        :param before: how many bytes ago output could be cut last. What is
            lost begins there.
        :param now: seconds, by the loop's clock.
        """
        transport = self._transport
        if transport is None:
            return
        if not (self._blocked or self._held is not None or self._missed
                or len(data) > self._step):
            # What nobody waits behind; the queue is empty then.
            self.active = now
            self._given += len(data)
            transport.write(data)
        elif self._missed:
            # Nothing more until the queue has drained to a quarter, so the
            # mark stands exactly where the bytes are missing.
            self._missed += len(data)
        elif not self._fits(len(data)):
            taken = self._queue.take_back(before)
            self._given -= taken
            self._missed = taken + len(data)
        else:
            self._put(data, now)

    def show(self, data: bytes, now: float) -> None:
        """Give a viewer that has just come what was there before it.

        :param data: at most half of the limit is shown.
        :param now: seconds, by the loop's clock.
        """
        if self._transport is not None and data:
            self._put(data, now)

    def tell(self, notice: str) -> bool:
        """A notice on a line of its own.

        :param notice: a sentence without its end, with no control
            characters and nothing that a tenant may not know.
        :returns: whether the viewer gets it: not while it is behind, but
            it tells :meth:`Host.caught_up` when it is not any more.
        """
        if self._transport is None:
            return False
        line = notices.line(notice)
        if self._missed or not self._fits(len(line)):
            self._untold = True
            return False
        self._put(line, self.active)
        return True

    @property
    def _waits_to_send(self) -> bool:
        return self._blocked or self._held is not None

    def _fits(self, count: int) -> bool:
        if self._transport is None or not self._waits_to_send:
            return True
        return (len(self._queue) + self._transport.get_write_buffer_size()
                + count <= self._limit)

    def _put(self, data: bytes, now: float) -> None:
        assert self._transport is not None
        self._given += len(data)
        if self._queue or self._waits_to_send:
            self._queue.add(data)
        elif len(data) <= self._step:
            self.active = now
            self._transport.write(data)
        else:
            self.active = now
            self._queue.add(data)
            self._flush()

    def _flush(self) -> None:
        transport = self._transport
        if transport is None:
            return
        while self._queue and not self._waits_to_send:
            transport.write(self._queue.take(self._step))
        if (self._held is None and (self._missed or self._untold)
                and len(self._queue) + transport.get_write_buffer_size()
                <= self._limit // 4):
            self._go_on()

    def _go_on(self) -> None:
        missed, self._missed = self._missed, 0
        self._untold = False
        tail = self._host.caught_up(self)
        if missed:
            # All of the tail was missed: what is lost begins at a cut.
            if missed > len(tail):
                self._lost += missed - len(tail)
                self._put(notices.line(f'{missed - len(tail)} bytes lost'),
                          self.active)
            self._put(tail, self.active)

    @property
    def sent(self) -> int:
        """Bytes that the kernel was given for it, notices among them."""
        return self._given - len(self._queue)

    @property
    def lost(self) -> int:
        """Bytes of output that it did not get, for being slow."""
        return self._lost + self._missed

    # -- input -----------------------------------------------------------

    def offer_room(self) -> bool:
        """Give the console what it could not take before.

        :returns: whether this viewer has nothing left.
        """
        if self._untaken:
            taken = self._host.typed(self, self._untaken)
            self._untaken = self._untaken[taken:]
            self._read_again()
        return not self._untaken

    @property
    def waits(self) -> bool:
        """Whether the viewer holds input that was not taken yet."""
        return bool(self._untaken)

    def hold(self) -> None:
        """Read and write nothing from now on, until :meth:`release`."""
        self._held = self._loop.time()
        if self._transport is not None:
            self._transport.pause_reading()

    def release(self) -> None:
        """Go on after :meth:`hold`."""
        now = self._loop.time()
        if self._held is not None:
            # Nothing could pass: that time does not count, in either way.
            self.active = min(now, self.active + now - self._held)
        self._held = None
        self._read_again()
        self._flush()

    def _read_again(self) -> None:
        if (self._transport is not None and not self._untaken
                and self._held is None):
            self._transport.resume_reading()

    # -- the end ---------------------------------------------------------

    def close(self, notice: str = '') -> None:
        """End the connection now, in order.

        What waits in the queue is dropped. The peer gets FIN, and what it
        still sends is read and dropped for a moment: a socket that is
        closed with unread input sends RST, and the peer would not see the
        notice.

        :param notice: a last line for the person, without its end.
        """
        transport, self._transport = self._transport, None
        if transport is None:
            return
        self._attached = False
        self._untaken = b''
        self._queue.clear()
        if notice:
            transport.write(notices.line(notice))
        with contextlib.suppress(OSError):      # it has gone just now
            transport.write_eof()
        transport.resume_reading()
        self._ending = self._loop.call_later(_END_PATIENCE, transport.abort)
        _ending[self] = transport
        if len(_ending) > _MAX_ENDING:
            _ending.pop(next(iter(_ending))).abort()


#: Connections that are being ended, the oldest first.
_ending: dict[Viewer, asyncio.Transport] = {}


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
                + ('; raise LimitNOFILE of the conductor'
                   if descriptors.used_up(error) else '')) from None
        try:
            self._socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is accepted inherits these.
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                self._socket.setsockopt(
                    socket.SOL_SOCKET, option, KERNEL_BUFFER)
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
