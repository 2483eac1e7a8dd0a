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

"""The Nova of a cloud, as far as a serial console goes.

::

    with Ironic() as ironic, Nova(ironic.api.endpoint) as nova:
        instance = nova.create_instance(node)
        with websocket.WebSocket(nova.get_url(instance)) as tab: ...

Nova's own programs, from the environment that SOLCONSOLE_NOVA_BIN names:
nova-compute with the Ironic driver, nova-conductor, nova-serialproxy, and
nova-manage for the database, which is SQLite. What nova-api does for a
console, and what the Ironic driver does by itself, is called in a process
of ours (``nova_side/ask.py``), as nova-api has no place in what is tested
and would need Keystone.

Not Nova's are the transport of its messages (``nova_side/redis_rpc.py``
instead of RabbitMQ), and Placement, of which there is only the version
document without which nova-compute does not start.

It takes about 12 s to start, because these programs are slow to load.
"""

import concurrent.futures
import contextlib
import http.server
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import typing
import uuid

from tests.support import ports
from tests.support import processes
from tests.support import servers
from tests.support import waiting

#: Directory with ``nova-compute`` and the others.
BIN_VARIABLE = 'SOLCONSOLE_NOVA_BIN'

#: Host in the URL of a dashboard, which is not that of nova-serialproxy.
DASHBOARD = 'dashboard.example.org'

#: Seconds for all of it; four programs load at the same time.
START_TIMEOUT = 180.0

#: Seconds for Nova to answer: a reset is two waits of up to 10 s, twice.
ANSWER_TIMEOUT = 60.0

SIDE = pathlib.Path(__file__).with_name('nova_side')

_VERSIONS = json.dumps({'versions': [{
    'id': 'v1.0', 'status': 'CURRENT', 'min_version': '1.0',
    'max_version': '1.39', 'links': [{'rel': 'self', 'href': ''}]}]}).encode()


def bin_dir() -> pathlib.Path:
    """Where Nova's programs are."""
    value = os.environ.get(BIN_VARIABLE)
    assert value, (
        f'the environment variable {BIN_VARIABLE} must name the bin '
        'directory of a virtual environment with Nova; tools/test.sh makes '
        'one (tools/requirements/nova.txt) and sets it')
    return pathlib.Path(value)


class _Placement(http.server.BaseHTTPRequestHandler):
    """Says that it is there, and has nothing to say otherwise."""

    def do_GET(self) -> None:  # noqa: N802
        known = self.path == '/'
        body = _VERSIONS if known else b'{}'
        self.send_response(200 if known else 503)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Nova:
    """Nova, for nodes of one Ironic.

    :param ironic_url: of the API that it uses, without authentication.
    """

    def __init__(self, ironic_url: str) -> None:
        self._ironic_url = ironic_url
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='nova.'))
        self.host = f'compute-{uuid.uuid4().hex[:8]}'
        self.proxy_port = ports.free_port()
        self._redis = servers.Redis(aof=False)
        self._placement = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), _Placement)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._asked: dict[int, concurrent.futures.Future[typing.Any]] = {}
        self._numbers = itertools.count(1)

    def __enter__(self) -> 'Nova':
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # Configuration

    @property
    def config(self) -> pathlib.Path:
        """Path of nova.conf."""
        return self.directory / 'nova.conf'

    def write_config(self) -> None:
        """Write nova.conf; doc/source/admin/nova.rst names what matters."""
        directory = self.directory
        sections: dict[str, dict[str, object]] = {
            'DEFAULT': {
                'transport_url':
                    f'solconsole://{self._redis.host}:{self._redis.port}',
                'host': self.host, 'my_ip': '127.0.0.1',
                'compute_driver': 'ironic.IronicDriver',
                'state_path': directory / 'state',
                # SQLite refuses one of two transactions that write
                'periodic_enable': False, 'report_interval': 3600},
            'database': {
                'connection':
                    f'sqlite:///{directory}/nova.sqlite?timeout=30',
                'sqlite_synchronous': False},
            'oslo_concurrency': {'lock_path': directory / 'lock'},
            'conductor': {'workers': 1},
            'ironic': {'auth_type': 'none',
                       'endpoint_override': self._ironic_url},
            'placement': {
                'auth_type': 'none', 'endpoint_override':
                    f'http://127.0.0.1:{self._placement.server_port}'},
            'serial_console': {
                'enabled': True,
                'base_url': f'ws://127.0.0.1:{self.proxy_port}/',
                'serialproxy_host': '127.0.0.1',
                'serialproxy_port': self.proxy_port},
            'console': {'allowed_origins': DASHBOARD}}
        self.config.write_text(''.join(
            f'[{name}]\n' + ''.join(
                f'{key} = {value}\n' for key, value in values.items())
            for name, values in sections.items()))
        (directory / 'state').mkdir()

    def write_entry_point(self) -> None:
        """What makes oslo.messaging find the driver in redis_rpc.py."""
        info = self.directory / 'path' / 'solconsole_rpc-1.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text(
            'Metadata-Version: 2.1\nName: solconsole-rpc\nVersion: 1\n')
        (info / 'entry_points.txt').write_text(
            '[oslo.messaging.drivers]\n'
            'solconsole = redis_rpc:RedisDriver\n')

    def _environment(self) -> dict[str, str]:
        environment = {key: value for key, value in os.environ.items()
                       if key not in ('PYTHONHOME', 'VIRTUAL_ENV')}
        environment['PATH'] = f'{bin_dir()}:{os.environ["PATH"]}'
        environment['PYTHONPATH'] = f'{SIDE}:{self.directory / "path"}'
        return environment

    def _path_of(self, name: str) -> str:
        path = bin_dir() / name
        assert path.exists(), f'there is no {name} in {bin_dir()}'
        return str(path)

    # Life

    def start(self) -> None:
        """Start everything, and wait until it works."""
        self._redis.start()
        threading.Thread(target=self._placement.serve_forever, daemon=True,
                         name='version of Placement').start()
        self.write_config()
        self.write_entry_point()
        # It touches the database at the first connection.
        self._launch('nova-serialproxy')
        self._launch('ask.py', stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE)
        self._create_schema()
        self._launch('nova-conductor')
        self._launch('nova-compute')
        self._wait_ready()

    def _create_schema(self) -> None:
        done = subprocess.run(
            [self._path_of('nova-manage'), '--config-file', str(self.config),
             'db', 'sync', '--local_cell'],
            env=self._environment(), stdin=subprocess.DEVNULL,
            capture_output=True, timeout=START_TIMEOUT, check=False)
        assert done.returncode == 0, (
            f'nova-manage failed: {done.stderr.decode()[-2000:]}')

    def _launch(self, name: str, **pipes: int) -> None:
        words = ([self._path_of('python'), str(SIDE / name)]
                 if name.endswith('.py') else [self._path_of(name)])
        with (self.directory / f'{name}.log').open('ab') as log:
            self._processes[name] = subprocess.Popen(
                processes.die_with_us(
                    [*words, '--config-file', str(self.config)]),
                env=self._environment(), cwd=self.directory,
                **{'stdin': subprocess.DEVNULL, 'stdout': log,
                   'stderr': log, **pipes})

    def _wait_ready(self) -> None:
        ready = self._asked[0] = concurrent.futures.Future()
        threading.Thread(target=self._read_answers, daemon=True,
                         name='answers of Nova').start()

        def runs() -> bool:
            for name, process in self._processes.items():
                assert process.poll() is None, f'{name} has ended'
            return (ready.done()
                    and waiting_for_calls() and self._proxy_listens())

        def waiting_for_calls() -> bool:
            return self.host.encode() in self._redis.ask(
                b'SMEMBERS rpc:servers:compute-alt\r\n')

        waiting.wait_until(runs, 'Nova at work', START_TIMEOUT, 0.1,
                           seen=self.log_tails)

    def _proxy_listens(self) -> bool:
        # /proc/net/tcp, because each connection makes the proxy fork
        wanted = f'0100007F:{self.proxy_port:04X} 00000000:0000 0A'
        return wanted in pathlib.Path('/proc/net/tcp').read_text()

    def stop(self) -> None:
        """End everything, and remove its files."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self._processes.values():
            processes.end(process, 20.0)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self._processes.clear()
        self._placement.shutdown()
        self._placement.server_close()
        self._redis.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_text(self, name: str) -> str:
        """What a program has logged."""
        path = self.directory / f'{name}.log'
        return path.read_text(errors='replace') if path.exists() else ''

    def log_tails(self) -> dict[str, str]:
        """The end of each log."""
        return {name: self.log_text(name)[-1500:]
                for name in self._processes}

    # Questions

    def _read_answers(self) -> None:
        stream = self._processes['ask.py'].stdout
        assert stream is not None
        for line in stream:
            said = json.loads(line)
            future = self._asked.pop(said['id'])
            if 'error' in said:
                future.set_exception(AssertionError(said['error']))
            else:
                future.set_result(said['value'])

    def _ask(self, question: str, **fields: object
             ) -> 'concurrent.futures.Future[typing.Any]':
        number = next(self._numbers)
        future = self._asked[number] = concurrent.futures.Future()
        stream = self._processes['ask.py'].stdin
        assert stream is not None
        stream.write(json.dumps(
            {'id': number, 'do': question, **fields}).encode() + b'\n')
        stream.flush()
        return future

    def create_instance(self, node: str, instance: str) -> None:
        """Tell Nova of an instance that is on a node."""
        self._ask('create_instance', uuid=instance,
                  node=node).result(ANSWER_TIMEOUT)

    def get_url(self, instance: str) -> str:
        """What a user asks Nova for, or Horizon for a user.

        :returns: the WebSocket's URL, with a token.
        """
        return str(self._ask('get_url', uuid=instance).result(
            ANSWER_TIMEOUT))

    def reset(self, instance: str
              ) -> 'concurrent.futures.Future[dict[str, typing.Any]]':
        """Let the Ironic driver give the console, beside the test.

        :returns: of its host, port and the seconds that it took.
        """
        return self._ask('reset', uuid=instance)
