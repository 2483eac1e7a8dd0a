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

"""Real lock servers for tests: redis, etcd and ZooKeeper.

::

    with Redis() as server:
        use(server.url)
        server.kill()
        server.start()      # the same port, the same data

Each listens on a loopback port of its own, keeps its data in a short
temporary directory, and ends by its pid, with the test process at the
latest.
"""

import abc
import contextlib
import pathlib
import signal
import socket
import subprocess
import tempfile

from tests.support import ports
from tests.support import processes
from tests.support import waiting

#: Java on a busy machine takes its time.
_START = 60.0


class Server(abc.ABC):
    """One server. Starts as a context manager or by start().

    :ivar host: its address.
    :ivar port: its TCP port, the same over restarts.
    """

    scheme = ''
    host = '127.0.0.1'

    def __init__(self) -> None:
        self.port = ports.free_port()
        self._directory = tempfile.TemporaryDirectory(prefix='solc.')
        self.data = pathlib.Path(self._directory.name)
        self._process: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def command(self) -> list[str]:
        """The command line; writes the configuration before."""

    @abc.abstractmethod
    def answers(self) -> bool:
        """Whether it is ready. May raise OSError."""

    @property
    def url(self) -> str:
        """For coordination_url."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """For coordination_url, by way of a proxy."""
        return f'{self.scheme}://{self.host}:{port}'

    @property
    def pid(self) -> int:
        """Of the server, while it runs."""
        assert self._process is not None, 'the server does not run'
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert self._process is None, 'the server runs already'
        with (self.data / 'log').open('ab') as log:
            self._process = subprocess.Popen(
                processes.die_with_us(self.command()), cwd=self.data,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        process = self._process

        def ready() -> bool:
            assert process.poll() is None, 'it has ended'
            return self.answers()

        try:
            waiting.wait_until(ready, f'{type(self).__name__} on port '
                               f'{self.port}', _START, interval=0.05)
        except AssertionError as error:
            self.stop()
            raise AssertionError(f'{error}; its log: {self.log()}') from None

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            processes.end(self._process, 10.0)
            self._process = None

    def kill(self) -> None:
        """End it by SIGKILL, as a loss of power would but for the disk."""
        assert self._process is not None, 'the server does not run'
        self._process.kill()
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop and start, on the same port with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay, and nothing is answered."""
        assert self._process is not None, 'the server does not run'
        self._process.send_signal(signal.SIGSTOP)
        tasks = pathlib.Path(f'/proc/{self.pid}/task')
        # Each thread stops when it next runs.
        waiting.wait_until(
            lambda: all(
                (task / 'stat').read_text().rpartition(')')[2].split()[0]
                == 'T' for task in tasks.iterdir()),
            'all threads of the server stopped')

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None, 'the server does not run'
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """The end of what it has written."""
        with contextlib.suppress(OSError):
            return (self.data / 'log').read_text(errors='replace')[-4000:]
        return ''

    def ask(self, request: bytes) -> bytes:
        """Send a few bytes, and give what comes back at first."""
        with socket.create_connection((self.host, self.port), 2.0) as sock:
            sock.sendall(request)
            return sock.recv(4096)

    def __enter__(self) -> 'Server':
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self._directory.cleanup()


class Redis(Server):
    """A redis server.

    :param aof: whether it keeps an append-only file, written through at
        each change.
    :param settings: lines of redis.conf.
    """

    scheme = 'redis'

    def __init__(self, aof: bool = True, settings: tuple[str, ...] = ()
                 ) -> None:
        super().__init__()
        self._aof = aof
        self._settings = settings

    def command(self) -> list[str]:
        (self.data / 'redis.conf').write_text('\n'.join([
            f'bind {self.host}', f'port {self.port}', f'dir {self.data}',
            'save ""', f'appendonly {"yes" if self._aof else "no"}',
            'appendfsync always', *self._settings, '']))
        return ['redis-server', str(self.data / 'redis.conf')]

    def answers(self) -> bool:
        # One that asks for a password answers as well.
        return self.ask(b'PING\r\n').startswith((b'+PONG', b'-NOAUTH'))


class Etcd(Server):
    """An etcd of one member."""

    scheme = 'etcd3+http'

    def __init__(self) -> None:
        super().__init__()
        self._peer_port = ports.free_port()

    def command(self) -> list[str]:
        client = f'http://{self.host}:{self.port}'
        peer = f'http://{self.host}:{self._peer_port}'
        return ['etcd', '--name', 'test', '--data-dir',
                str(self.data / 'etcd'), '--log-level', 'warn',
                '--logger', 'zap',
                '--listen-client-urls', client,
                '--advertise-client-urls', client,
                '--listen-peer-urls', peer,
                '--initial-advertise-peer-urls', peer,
                '--initial-cluster', f'test={peer}']

    def answers(self) -> bool:
        return b'"true"' in self.ask(
            b'GET /health HTTP/1.0\r\n\r\n')


class ZooKeeper(Server):
    """A ZooKeeper server of its own.

    :param tick_time: milliseconds. Sessions of 2 to 20 ticks are granted,
        and those that have ended are noticed once a tick.
    """

    scheme = 'zookeeper'

    def __init__(self, tick_time: int = 500) -> None:
        super().__init__()
        self._tick_time = tick_time

    def command(self) -> list[str]:
        config = self.data / 'zoo.cfg'
        config.write_text('\n'.join([
            f'tickTime={self._tick_time}', f'dataDir={self.data}',
            f'clientPort={self.port}', f'clientPortAddress={self.host}',
            'admin.enableServer=false', 'maxClientCnxns=0',
            '4lw.commands.whitelist=ruok,srvr', '']))
        return ['/usr/bin/java', '-Xmx128m', '-XX:+UseSerialGC',
                '-XX:TieredStopAtLevel=1', '-cp',
                '/usr/share/java/zookeeper.jar',
                'org.apache.zookeeper.server.quorum.QuorumPeerMain',
                str(config)]

    def answers(self) -> bool:
        # Unlike ruok, srvr is refused while sessions are not served yet.
        return self.ask(b'srvr').startswith(b'Zookeeper version')
