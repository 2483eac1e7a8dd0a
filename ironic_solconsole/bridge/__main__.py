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

"""The console process: ``python -m ironic_solconsole.bridge``.

Started by the conductor and by nothing else. It is given its options and
its credentials over the socketpair whose number is in ``--control-fd``,
writes its log there, and ends when that ends: on end of file it logs out of
its BMCs and exits within 2 s, whatever way the conductor died.
"""

import argparse
import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import threading
import typing

from ironic_solconsole import control
from ironic_solconsole.bridge import descriptors
from ironic_solconsole.bridge import service as bridge_service
from ironic_solconsole.bridge import watchdog
from ironic_solconsole.bridge import wire


class ConductorLog(logging.Handler):
    """Give log records to the conductor; never wait for it.

    :param connection: the conductor's.
    """

    def __init__(self, connection: wire.Connection) -> None:
        super().__init__()
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = control.Event('log', {
                'level': record.levelno,
                'logger': record.name,
                'message': self.format(record)[:16384],
                'node': str(getattr(record, 'node', '')),
            })
            if threading.get_ident() == self._thread:
                self._send(event)
            else:
                self._loop.call_soon_threadsafe(self._send, event)
        except Exception:
            self.handleError(record)

    def _send(self, event: control.Event) -> None:
        event.data['dropped'] = self._dropped
        if self._connection.send_event(event):
            self._dropped = 0
        else:
            self._dropped += 1


async def run(control_fd: int, host: str,
              selector: watchdog.WatchedSelector) -> None:
    """Serve until the conductor is gone or SIGTERM comes."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def tell(event: control.Event) -> None:
        conductor.send_event(event)

    service = bridge_service.Service(tell, host)
    selector.on_wake = service.watch

    def made(connection: wire.Connection) -> bool:
        return True

    def lost(connection: wire.Connection) -> None:
        ended.set()

    loop.add_signal_handler(signal.SIGTERM, ended.set)
    _, conductor = await loop.create_unix_connection(
        lambda: wire.Connection(
            service.answer_conductor, on_made=made, on_lost=lost,
            line_limit=control.MAX_LINE, max_requests=1024),
        sock=socket.socket(fileno=control_fd))
    logging.getLogger().handlers[:] = [ConductorLog(conductor)]
    await ended.wait()
    await service.shutdown()
    # asyncio.run() would wait for threads that wait for a name service.
    sys.stderr.flush()
    os._exit(0)


def main(argv: typing.Sequence[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog='ironic_solconsole.bridge',
        description='Console process of ironic-solconsole. The conductor '
                    'starts it; there is nothing to start by hand.')
    parser.add_argument('--host', required=True,
                        help='the conductor, as an operator sees it in ps')
    parser.add_argument('--bridge', required=True, type=int,
                        help='number of this bridge on its conductor')
    parser.add_argument('--control-fd', required=True, type=int,
                        help='inherited socket to the conductor')
    args = parser.parse_args(argv)
    # SIGHUP and SIGINT are meant for the conductor's terminal or group.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries under tooz load it where it is installed: megabytes, and a
    # warning on stderr, for something that is never used here.
    sys.modules.setdefault('eventlet', typing.cast(typing.Any, None))
    os.umask(0o077)
    os.chdir('/')
    # A core file would hold the passwords of BMCs.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    descriptors.use_all()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    selector = watchdog.WatchedSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(
            selector)) as runner:
        runner.run(run(args.control_fd, args.host, selector))


if __name__ == '__main__':
    main()
