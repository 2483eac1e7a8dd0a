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

"""A real bridge process, led by a test in place of a conductor."""

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import itertools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing
import uuid

import ironic_solconsole
from ironic_solconsole import control
from ironic_solconsole import coordination
from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec
from tests.support import bmc as model
from tests.support import ipmi_sim
from tests.support import ports
from tests.support import processes
from tests.support import waiting

#: What a conductor would send from its defaults, with a short keepalive.
OPTIONS: control.Json = {
    'max_clients': 8, 'max_clients_per_address': 0, 'client_mode': 'shared',
    'client_buffer': 256 * 1024, 'scrollback': 16 * 1024, 'notices': True,
    'notice_detail': 'brief', 'allowed_clients': [], 'idle_timeout': 0,
    'keepalive_interval': 1,
    'login_concurrency': 64, 'linger': 60, 'log_level': 10,
    # Tests that are about it send pings.
    'conductor_timeout': 3600}


def make_spec(bmc: ipmi_sim.Bmc | None = None,
              user: ipmi_sim.User = ipmi_sim.ADMIN,
              **changes: typing.Any) -> console_spec.ConsoleSpec:
    """A spec as the driver makes it for a node with this BMC.

    :param changes: fields to set otherwise.
    """
    values: dict[str, typing.Any] = {
        'node': str(uuid.uuid4()), 'generation': uuid.uuid4().hex,
        'username': user.name, 'password': user.password, 'suites': (3,),
        'tcp_host': '127.0.0.1'}
    if bmc is not None:
        values |= {'address': bmc.address, 'port': bmc.port}
    values |= changes
    if 'tcp_port' not in values:
        values['tcp_port'] = ports.free_port()
    return console_spec.ConsoleSpec(**values)


def model_spec(bmc: model.ModelBmc, **changes: typing.Any
               ) -> console_spec.ConsoleSpec:
    """A spec for a node with a BMC of ours.

    :param changes: fields to set otherwise.
    """
    return make_spec(**{
        'address': '127.0.0.1', 'port': bmc.port,
        'username': model.ADMIN.name, 'password': model.ADMIN.password,
        **changes})


@dataclasses.dataclass(frozen=True)
class LogRecord:
    """A log record that the bridge sent."""

    level: int
    logger: str
    message: str
    node: str
    dropped: int


class Bridge:
    """A bridge process and our end of its socketpair.

    :param host: name of the conductor that it takes us for.
    :param number: its number among the conductor's bridges.
    :param run_dir: for the socket of the command line; a new temporary
        directory when None.
    :param soft_files: soft limit of open files that it is started with.
    :param options: to differ from OPTIONS.
    """

    def __init__(self, host: str = 'cond-test', number: int = 0,
                 run_dir: pathlib.Path | None = None,
                 soft_files: int | None = None,
                 **options: typing.Any) -> None:
        self._own_dir: pathlib.Path | None = None
        if run_dir is None:
            run_dir = self._own_dir = pathlib.Path(
                tempfile.mkdtemp(prefix='solconsole.'))
        self.run_dir = run_dir
        self.host = host
        self.number = number
        digest = hashlib.sha256(host.encode()).hexdigest()[:12]
        self.socket_path = run_dir / digest / f'{number}.sock'
        self.options = {**OPTIONS, 'host': host,
                        'socket': str(self.socket_path),
                        'coordination': coordination.Coordination(
                            f'file://{run_dir}/locks').to_json(), **options}
        self._soft_files = soft_files
        self.configured: control.Json = {}
        self.logs: list[LogRecord] = []
        #: What the bridge wants to be told again by a conductor, by node.
        self.memories: dict[str, control.Json] = {}
        #: Lines that broke the protocol.
        self.faults: list[str] = []
        #: Refusals of lines that the bridge could not read.
        self.rejections: list[control.Reply] = []
        self._ids = itertools.count(1)
        self._waiting: dict[
            int, concurrent.futures.Future[control.Reply]] = {}
        self._mutex = threading.Lock()
        self._listens = threading.Event()
        self._listens.set()
        self._output = os.memfd_create('bridge output')
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._reader: threading.Thread | None = None

    # -- life ---------------------------------------------------------

    def __enter__(self) -> 'Bridge':
        try:
            self.start()
            self.configure()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        try:
            self.stop()
        except AssertionError:
            if kind is None:        # else it would hide why a test failed
                raise

    def start(self) -> None:
        """Spawn it as the driver does; it waits for its options."""
        ours, theirs = socket.socketpair()
        # -P leaves the working directory out of sys.path, so that the
        # package must be installed or named here.
        root = pathlib.Path(ironic_solconsole.__file__).parent.parent
        path = os.pathsep.join(
            [str(root), *filter(None, [os.environ.get('PYTHONPATH')])])
        prefix = ([] if self._soft_files is None else
                  ['prlimit', f'--nofile={self._soft_files}:'])
        with theirs:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, '-P', '-m',
                 'ironic_solconsole.bridge', '--host', self.host,
                 '--bridge', str(self.number), '--control-fd',
                 str(theirs.fileno())],
                pass_fds=(theirs.fileno(),), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=self._output,
                stderr=self._output, env={**os.environ, 'PYTHONPATH': path})
        self._socket = ours
        self._reader = threading.Thread(
            target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def configure(self) -> control.Json:
        """Give it its options; gives and keeps its answer."""
        self.configured = self.request(
            'configure', {'options': self.options})
        return self.configured

    def stop(self) -> None:
        """End it and remove what is left; it must end by itself."""
        self.hang_up()
        code = None
        if self._process is not None:
            try:
                self._process.wait(6.0)
            except subprocess.TimeoutExpired:
                processes.end(self._process, 1.0)
                code = 'killed'
        os.close(self._output)
        self._output = -1
        if self._own_dir is not None:
            shutil.rmtree(self._own_dir, ignore_errors=True)
        assert code is None, (
            'the bridge did not end within 6 s of the end of its control '
            'channel and was killed')

    def hang_up(self) -> None:
        """End the control channel, as the death of a conductor does."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            if self._reader is not None:
                self._reader.join(5.0)
            self._socket.close()
            self._socket = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, 'the bridge is not started'
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None and self.running, self.report()
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill -9: it can log out of nothing."""
        self.signal(signal.SIGKILL)
        self.wait_ended()

    def wait_ended(self, timeout: float = 6.0) -> int:
        """Wait until it has ended by itself; gives its exit status."""
        assert self._process is not None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f'the bridge has not ended after {timeout:g} s; '
                + self.report()) from None

    def output(self) -> str:
        """What it printed; a bridge prints only when something is wrong."""
        if self._output < 0:
            return ''
        return os.pread(self._output, 65536, 0).decode(errors='replace')

    def report(self) -> str:
        """The state of the process, for failure messages."""
        state = ('not started' if self._process is None else 'running'
                 if self.running else f'ended {self._process.returncode}')
        lines = [f'{record.logger}: {record.message}'
                 for record in self.logs[-20:]]
        head = (f'bridge {state}; printed: {self.output()!r}; last log '
                'records:')
        return '\n'.join([head, *lines])

    # -- wire ---------------------------------------------------------

    @contextlib.contextmanager
    def deaf(self) -> collections.abc.Iterator[None]:
        """Read nothing from the bridge for a while."""
        self._listens.clear()
        try:
            yield
        finally:
            self._listens.set()

    def _read(self, sock: socket.socket) -> None:
        lines = control.LineReader()
        while True:
            self._listens.wait()
            try:
                data = sock.recv(1 << 20)
            except OSError:
                data = b''
            if not data:
                break
            for line in lines.feed(data):
                try:
                    self._dispatch(control.decode(line))
                except (exception.MessageError, KeyError, TypeError
                        ) as error:
                    self.faults.append(f'{error!r} in {line[:200]!r}')
        with self._mutex:
            waiting_now, self._waiting = self._waiting, {}
        for future in waiting_now.values():
            future.set_exception(exception.BridgeUnavailable(
                'the bridge closed its control channel'))

    def _dispatch(self, message: control.Message) -> None:
        if isinstance(message, control.Event) and message.name == 'log':
            self.logs.append(LogRecord(**message.data))
            return
        if isinstance(message, control.Event) and message.name == 'memory':
            self.memories[message.data['node']] = message.data['memory']
            return
        if isinstance(message, control.Reply):
            with self._mutex:
                future = self._waiting.pop(message.id, None)
            if future is not None:
                future.set_result(message)
                return
            if message.error_kind and message.id == 0:
                self.rejections.append(message)
                return
        self.faults.append(f'unexpected: {message!r}')

    def send_raw(self, data: bytes) -> None:
        """Send any bytes."""
        assert self._socket is not None
        self._socket.sendall(data)

    def submit(self, verb: str, args: control.Json
               ) -> 'concurrent.futures.Future[control.Reply]':
        """Send a request; do not wait for its reply."""
        request = control.Request(next(self._ids), verb, args)
        future: concurrent.futures.Future[control.Reply]
        future = concurrent.futures.Future()
        with self._mutex:
            self._waiting[request.id] = future
        try:
            self.send_raw(control.encode(request))
        except OSError as error:
            raise AssertionError(
                f'{verb} cannot be sent: {error}; {self.report()}'
            ) from None
        return future

    def collect(self, future: 'concurrent.futures.Future[control.Reply]',
                what: str, timeout: float = waiting.PATIENCE
                ) -> control.Json:
        """Wait for a reply.

        :raises: RequestRefused, PortInUse when the bridge says no.
        """
        try:
            return future.result(timeout).unwrap()
        except (concurrent.futures.TimeoutError,
                exception.BridgeUnavailable) as error:
            raise AssertionError(
                f'no reply to {what} within {timeout:g} s ({error!r}); '
                + self.report()) from None

    def request(self, verb: str, args: control.Json | None = None,
                timeout: float = waiting.PATIENCE) -> control.Json:
        """Send a request and wait for its reply."""
        return self.collect(self.submit(verb, args or {}), verb, timeout)

    # -- verbs --------------------------------------------------------

    def open(self, spec: console_spec.ConsoleSpec, wait: float = 15.0,
             memory: control.Json | None = None) -> control.Json:
        """Open or update a console; gives its status.

        :param memory: what a bridge before this one knew of the node.
        """
        args: control.Json = {'spec': spec.to_json(), 'wait': wait}
        if memory is not None:
            args['memory'] = memory
        return self.request('open', args, wait + 10.0)

    def open_all(self, specs: collections.abc.Iterable[
            console_spec.ConsoleSpec], wait: float = 30.0
            ) -> list[control.Json]:
        """Open many at once; gives their statuses."""
        futures = [
            self.submit('open', {'spec': spec.to_json(), 'wait': wait})
            for spec in specs]
        deadline = time.monotonic() + wait + 10.0
        return [self.collect(future, 'open',
                             max(0.1, deadline - time.monotonic()))
                for future in futures]

    def close(self, node: str) -> bool:
        """Close a console; False when it was not open."""
        closed = self.request('close', {'node': node})['closed']
        assert isinstance(closed, bool), closed
        return closed

    def show(self, node: str) -> control.Json:
        """Status of one console."""
        return self.request('show', {'node': node})

    def consoles(self) -> list[control.Json]:
        """Status of all consoles."""
        consoles = self.request('list')['consoles']
        assert isinstance(consoles, list), consoles
        return consoles

    def wait_state(self, node: str, state: str,
                   timeout: float = waiting.PATIENCE) -> control.Json:
        """Wait until a console is in a state; gives its status."""
        found: control.Json = {}

        def look() -> bool:
            found.clear()
            found.update(self.show(node))
            return bool(found['state'] == state)

        waiting.wait_until(look, f'state {state} of console {node}', timeout,
                           interval=0.05, seen=lambda: found)
        return found

    def connect(self, spec: console_spec.ConsoleSpec,
                timeout: float = waiting.PATIENCE) -> control.Json:
        """Open a console and wait until it is connected."""
        status = self.open(spec)
        if status['state'] == 'connected':
            return status
        return self.wait_state(spec.node, 'connected', timeout)

    def logged(self, text: str) -> list[LogRecord]:
        """Log records whose message contains a text."""
        return [record for record in list(self.logs)
                if text in record.message]
