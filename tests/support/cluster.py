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

"""A real Ironic cluster: an API, conductors, JSON-RPC, MariaDB.

::

    with Cluster() as cluster:
        first, second = cluster.conductors
        node = cluster.create_node(bmc, on=first)
        cluster.api.enable(node)
        cluster.wait_connected(node, on=first)
        first.kill()
        cluster.wait_connected(node, on=second)

Each conductor has a loopback address of its own, which is its name, where
it listens for JSON-RPC and where its consoles are; ports are the same
everywhere. Fail-over takes seconds: see TIMES. It takes about 10 s to
start, and must be started from the main thread.
"""

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import pathlib
import random
import shutil
import signal
import socket
import tempfile
import time
import typing

from ironic_solconsole import exception
from ironic_solconsole.cli import client
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import ironic_process
from tests.support import mariadb
from tests.support import ports
from tests.support import processes
from tests.support import waiting

Json = dict[str, typing.Any]

Options = ironic_process.Options

#: Seconds after which a conductor that says nothing is dead.
HEARTBEAT_TIMEOUT = 5

#: Seconds for which Ironic keeps a hash ring.
RING_CACHE = 2

#: Seconds after the death of a conductor until every ring knows it.
RING_CHANGE = HEARTBEAT_TIMEOUT + RING_CACHE + 1.0

#: On any other port a conductor's name is "host:port" in Ironic, but not
#: in its node locks: those of one that was killed would stay.
JSON_RPC_PORT = 8089

#: What makes fail-over visible in seconds.
TIMES: Options = {
    'DEFAULT': {'hash_ring_reset_interval': RING_CACHE},
    'conductor': {
        'heartbeat_interval': 1, 'heartbeat_timeout': HEARTBEAT_TIMEOUT,
        'sync_local_state_interval': 3, 'graceful_shutdown_timeout': 5,
        # nothing of Ironic's own asks a BMC, or changes a node
        'sync_power_state_interval': 0, 'automated_clean': False},
    'solconsole': {
        'lock_ttl': 8, 'lock_margin': 2, 'lock_renew_interval': 1,
        'takeover_interval': 3, 'untakeover_interval': 3,
        'keepalive_interval': 2}}

_READY = 'Created RPC server with'

#: Seconds for a bridge to answer.
_ASK_TIMEOUT = 2.0


class Conductor(ironic_process.IronicProcess):
    """One ``ironic-conductor``.

    :param address: its name and all its addresses.
    :param rpc_port: of JSON-RPC.
    :param options: of its own.
    """

    def __init__(self, address: str, rpc_port: int, directory: pathlib.Path,
                 run_dir: pathlib.Path, options: Options,
                 bin_dir: pathlib.Path | None) -> None:
        super().__init__(
            'ironic-conductor', directory,
            address if rpc_port == JSON_RPC_PORT
            else f'{address}:{rpc_port}', bin_dir)
        self.address = address
        self.run_dir = run_dir
        self.options = options
        self.paused = False
        self._frozen: set[int] = set()
        self._log_from = 0

    def __repr__(self) -> str:
        return f'<conductor {self.host}>'

    # Life

    def start(self, wait: bool = True) -> None:
        """Start it.

        :param wait: until it takes requests.
        """
        assert self.process is None, f'{self} runs'
        self._mark_log()
        self.paused = False
        self.launch()
        if wait:
            self.wait_ready()

    def wait_ready(self,
                   timeout: float = ironic_process.START_TIMEOUT) -> None:
        """Wait until it takes requests since its start, or SIGHUP."""
        process = self.process
        assert process is not None, f'{self} does not run'

        def failed() -> bool:
            return process.poll() is not None or any(
                sign in self.new_log() for sign in ironic_process.FAILED)

        waiting.wait_until(
            lambda: _READY in self.new_log() or failed(),
            f'{self} to take requests', timeout, interval=0.1,
            seen=self.log_tail)
        assert not failed(), f'{self} cannot start: {self.log_tail()}'

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        self.resume()
        super().stop()

    def terminate(self) -> None:
        """SIGTERM; does not wait."""
        self.bridges()
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill -9 of master and worker; bridges are left alone."""
        super().kill()
        self.paused = False

    def lose_power(self) -> None:
        """Kill -9 of conductor and bridges: nobody says good-bye."""
        bridges = self.bridges()
        # the end of its conductor is what a bridge goes by
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in bridges:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            self.kill()

    def freeze(self) -> None:
        """SIGSTOP of conductor and bridges, as a host that hangs."""
        self.pause()
        for pid in self.bridges():
            self._frozen.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def pause(self) -> None:
        """SIGSTOP of master and worker; bridges go on."""
        assert self.process is not None, f'{self} does not run'
        self.paused = True
        for pid in [self.process.pid, *self.workers()]:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT of what pause() or freeze() stopped."""
        for pid in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen.clear()
        if self.process is None or not self.paused:
            return
        self.paused = False
        for pid in [*self.workers(), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def hup(self, wait: bool = True) -> None:
        """SIGHUP: the master replaces its worker.

        :param wait: until the new one takes requests.
        """
        workers = self.workers()
        self.bridges()
        self._mark_log()
        self.signal(signal.SIGHUP)
        if wait:
            for pid in workers:
                processes.wait_gone(
                    pid, 'the worker that SIGHUP replaces', 60.0)
            self.wait_ready()

    # What it says

    def _mark_log(self) -> None:
        self._log_from = self.log.stat().st_size if self.log.exists() else 0

    def new_log(self) -> str:
        """What it has logged since its last start, or SIGHUP."""
        if not self.log.exists():
            return ''
        with self.log.open('rb') as file:
            file.seek(self._log_from)
            return file.read().decode(errors='replace')

    def sockets(self) -> list[pathlib.Path]:
        """Where its bridges can be asked; some may have ended."""
        directory = real_ironic.socket_directory(self.run_dir, self.host)
        return sorted(directory.glob('*.sock'))

    def ask(self, verb: str, **args: object) -> list[Json]:
        """Answers of all its bridges that answer."""
        answers = []
        for path in self.sockets():
            with contextlib.suppress(exception.ControlError):
                answers.append(
                    client.ask(path, verb, args, timeout=_ASK_TIMEOUT))
        return answers

    def consoles(self) -> list[Json]:
        """Status of every console of its bridges."""
        return [status for answer in self.ask('list')
                for status in answer['consoles']]

    def console(self, node: str) -> Json | None:
        """Status of one console as its bridge shows it, or None."""
        for answer in self.ask('show', node=node):
            return answer
        return None


@dataclasses.dataclass(frozen=True)
class Where:
    """Where a console is.

    :param mapped: the conductor that the API names, or None.
    :param consoles: status by conductor, wherever a bridge has one.
    """

    mapped: Conductor | None
    consoles: dict[Conductor, Json]

    @property
    def connected(self) -> list[Conductor]:
        """Those whose bridge says that it is connected."""
        return [conductor for conductor, status in self.consoles.items()
                if status['state'] == 'connected']

    def __str__(self) -> str:
        consoles = {
            conductor.host: {key: status.get(key) for key in (
                'state', 'reason', 'lock', 'holder')}
            for conductor, status in self.consoles.items()}
        return f'mapped to {self.mapped}, consoles {consoles}'


class Cluster:
    """API, database and conductors.

    :param conductors: how many; add() gives more.
    :param options: by section, of all conductors and the API.
    :param conductor_options: the same, one a conductor.
    :param groups: conductor_group, one a conductor.
    :param shared_run_dir: one run_dir for all, as on one host; else one a
        conductor.
    :param bin_dir: where Ironic is.
    """

    def __init__(self, conductors: int = 2, options: Options | None = None,
                 conductor_options: collections.abc.Sequence[Options] = (),
                 groups: collections.abc.Sequence[str] = (),
                 shared_run_dir: bool = False,
                 bin_dir: pathlib.Path | None = None) -> None:
        self.options = options or {}
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='cl.'))
        self.lock_dir = self.directory / 'locks'
        self.port_range = ports.free_port_range(60)
        self.database = mariadb.MariaDb(_schema_of(bin_dir))
        self.conductors: list[Conductor] = []
        self._bin_dir = bin_dir
        self._shared_run_dir = shared_run_dir
        self._network, self.rpc_port = _network()
        self._api_port = ports.free_port()
        self.api = real_ironic.Api(f'http://127.0.0.1:{self._api_port}')
        directory = self.directory / 'api'
        directory.mkdir()
        self.api_process = ironic_process.IronicProcess(
            'ironic-api', directory, bin_dir=bin_dir)
        for number in range(conductors):
            self.add(
                conductor_options[number]
                if number < len(conductor_options) else None,
                groups[number] if number < len(groups) else '')

    # Life

    def __enter__(self) -> 'Cluster':
        try:
            self.start()
        except BaseException:
            with contextlib.suppress(AssertionError):
                self.destroy()
            raise
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        try:
            self.destroy()
        except AssertionError:
            if kind is None:        # else it would hide why a test failed
                raise

    def add(self, options: Options | None = None, group: str = ''
            ) -> Conductor:
        """Configure one more conductor; does not start it.

        :param options: of its own.
        :param group: its conductor_group.
        """
        number = len(self.conductors) + 1
        directory = self.directory / f'c{number}'
        directory.mkdir()
        run_dir = self.directory / 'run' if self._shared_run_dir else (
            directory / 'run')
        own = ironic_process.merge({}, options or {})
        if group:
            ironic_process.merge(
                own, {'conductor': {'conductor_group': group}})
        conductor = Conductor(
            f'{self._network}.{number}', self.rpc_port, directory, run_dir,
            own, self._bin_dir)
        self.conductors.append(conductor)
        if self.database.running:
            self.configure(conductor)
        return conductor

    def configure(self, conductor: Conductor) -> None:
        """Write a conductor's ironic.conf, for its next start or SIGHUP."""
        self._write_config(conductor, {
            'DEFAULT': {'host': conductor.address,
                        'my_ip': conductor.address},
            'json_rpc': {'host_ip': conductor.address},
            'console': {'socat_address': conductor.address},
            'solconsole': {'run_dir': conductor.run_dir}},
            self.options, conductor.options)

    def _write_config(self, process: ironic_process.IronicProcess,
                      *options: Options) -> None:
        process.write_config(ironic_process.merge(
            ironic_process.common_options(
                process.directory, self.port_range),
            {'DEFAULT': {'rpc_transport': 'json-rpc',
                         'log_file': process.log, 'use_stderr': False},
             'api': {'port': self._api_port},
             'json_rpc': {'port': self.rpc_port},
             'database': {'connection': self.database.url},
             'solconsole': {'coordination_url': f'file://{self.lock_dir}'}},
            TIMES, *options))

    def start(self) -> None:
        """Start all of it, and wait until it works."""
        self.database.install()
        self.database.start()
        self._write_config(self.api_process, self.options)
        self.api_process.launch()
        for conductor in self.conductors:
            self.configure(conductor)
            conductor.start(wait=False)
        for conductor in self.conductors:
            conductor.wait_ready()
        self.wait_api()
        self.wait_settled()

    def wait_api(self) -> None:
        """Wait until the API answers."""
        waiting.wait_until(
            lambda: self.api.call('GET', '/v1/', timeout=5.0),
            'the API to answer', ironic_process.START_TIMEOUT, interval=0.1,
            seen=self.api_process.log_tail)

    def restart_api(self) -> None:
        """Kill the API and start it again."""
        self.api_process.kill()
        self.api_process.launch()
        self.wait_api()

    def heal(self, conductors: collections.abc.Sequence[Conductor] = ()
             ) -> None:
        """Whatever was stopped, paused or killed runs again.

        :param conductors: those that are to run, others are not; all when
            empty.
        """
        wanted = list(conductors or self.conductors)
        changed = not self.database.running
        if changed:
            self.database.kill()
            self.database.start()
        self.database.resume()
        for conductor in self.conductors:
            changed |= conductor.paused
            conductor.resume()
            if conductor.running == (conductor in wanted):
                continue
            changed = True
            conductor.kill()
            if conductor in wanted:
                conductor.start(wait=False)
        for conductor in wanted:
            conductor.wait_ready()
        # The API asks conductors that it takes for alive.
        if changed or not self._knows_who_runs():
            self.wait_settled()

    def destroy(self) -> None:
        """Kill all of it, see that no bridge is left, remove its files."""
        try:
            for conductor in self.conductors:
                conductor.resume()
                conductor.kill()
            with concurrent.futures.ThreadPoolExecutor() as threads:
                for _ in threads.map(
                        Conductor.check_bridges, self.conductors):
                    pass
        finally:
            self.api_process.kill()
            for conductor in self.conductors:
                conductor.kill_bridges()
            for pid in self.strays():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.database.destroy()
            shutil.rmtree(self.directory, ignore_errors=True)

    def strays(self) -> list[int]:
        """Processes with a file of this cluster in their command line.

        Beside those of Ironic that is each socat and ipmitool of
        ``ipmitool-socat``, which Ironic leaves behind.
        """
        sign = str(self.directory)
        return [
            int(name) for name in os.listdir('/proc') if name.isdigit()
            and sign in processes.command_line(int(name))]

    # Nodes and rings

    @property
    def running(self) -> list[Conductor]:
        """Conductors whose process runs and is not paused."""
        return [conductor for conductor in self.conductors
                if conductor.running and not conductor.paused]

    def wait_settled(self, timeout: float = waiting.PATIENCE) -> None:
        """Wait until all rings have the conductors that run, and no other.

        A ring is kept for RING_CACHE seconds after the database knows.
        """
        waiting.wait_until(
            self._knows_who_runs,
            f'the conductors {sorted(map(str, self.running))} and no other '
            'to be alive', timeout, interval=0.1)
        time.sleep(RING_CACHE + 0.2)

    def _knows_who_runs(self) -> bool:
        """Whether the database has the conductors that run, and no other.
        """
        answer = self.api.call('GET', '/v1/conductors')
        return {conductor.host for conductor in self.running} == {
            entry['hostname'] for entry in answer['conductors']
            if entry['alive']}

    def create_node(self, bmc: ipmi_sim.Bmc | None = None,
                    on: Conductor | None = None,
                    **fields: typing.Any) -> str:
        """Enrol a node.

        :param on: the conductor that the ring must give it to.
        :param fields: as of Api.create_node.
        :returns: its UUID.
        """
        for _ in range(60):
            node = self.api.create_node(bmc, **fields)
            if on is None or self.mapped(node) is on:
                return node
            self.api.delete(node)
        raise AssertionError(f'the ring gives no node to {on}')

    def mapped(self, node: str) -> Conductor | None:
        """The conductor that has a node, as the API says."""
        return self.named(self.api.node(node)['conductor'])

    def named(self, host: str | None) -> Conductor | None:
        """The conductor with a name."""
        for conductor in self.conductors:
            if conductor.host == host:
                return conductor
        return None

    def wait_mapped(self, node: str, on: Conductor,
                    timeout: float = 3 * RING_CHANGE) -> None:
        """Wait until the API's ring gives a node to a conductor."""
        waiting.wait_until(
            lambda: self.mapped(node) is on, f'node {node} mapped to {on}',
            timeout, interval=0.1, seen=lambda: self.mapped(node))

    def set_fields(self, node: str, **columns: object) -> None:
        """Set columns of a node in the database, as no API call would."""
        names = ', '.join(f'{name}=%s' for name in columns)
        self.database.execute(
            f'UPDATE nodes SET {names} WHERE uuid=%s',
            *columns.values(), node)

    # Consoles

    def consoles(self, node: str) -> dict[Conductor, Json]:
        """Status of a console by conductor, wherever a bridge has one."""
        found = {}
        for conductor in self.conductors:
            status = conductor.console(node)
            if status is not None:
                found[conductor] = status
        return found

    def where(self, node: str) -> Where:
        """What API and bridges say of a node."""
        mapped = None
        with contextlib.suppress(AssertionError, OSError):
            mapped = self.mapped(node)
        return Where(mapped, self.consoles(node))

    def owner(self, node: str) -> Conductor | None:
        """The conductor whose bridge is connected.

        :raises: AssertionError if there are two.
        """
        connected = Where(None, self.consoles(node)).connected
        assert len(connected) <= 1, (
            f'node {node} is connected twice: {connected}')
        return connected[0] if connected else None

    def wait_connected(self, node: str, on: Conductor | None = None,
                       timeout: float = 3 * RING_CHANGE) -> Conductor:
        """Wait until exactly one conductor is connected.

        :param on: the one it must be.
        :param timeout: seconds.
        :returns: that one.
        :raises: AssertionError also when two are connected at a time.
        """
        deadline = time.monotonic() + timeout
        while True:
            owner = self.owner(node)
            if owner is not None and (on is None or owner is on):
                return owner
            if time.monotonic() >= deadline:
                break
            time.sleep(0.05)
        logs = '\n'.join(
            f'{conductor}: {_console_lines(conductor.new_log())}'
            for conductor in self.conductors)
        raise AssertionError(
            f'waited {timeout:g} s, but node {node} is not connected on '
            f'{on or "any conductor"}: {self.where(node)}; {logs}')

    def wait_gone(self, node: str, conductor: Conductor,
                  timeout: float = waiting.PATIENCE) -> None:
        """Wait until no bridge of a conductor has a console."""
        waiting.wait_until(
            lambda: conductor.console(node) is None,
            f'{conductor} without a console of node {node}', timeout,
            interval=0.1, seen=lambda: str(self.where(node)))


def _console_lines(text: str) -> str:
    """The last lines of a log that are about consoles."""
    lines = [line for line in text.splitlines() if 'onsole' in line]
    return '\n'.join(lines[-8:])


@functools.cache
def _schema_of(bin_dir: pathlib.Path | None) -> mariadb.Prepare:
    """What makes the tables of an Ironic: the same one each time."""
    def create(database: mariadb.MariaDb) -> None:
        directory = database.directory / 'schema'
        directory.mkdir()
        process = ironic_process.IronicProcess(
            'ironic-dbsync', directory, bin_dir=bin_dir)
        process.write_config({'database': {'connection': database.url}})
        process.create_schema()

    return create


def _network() -> tuple[str, int]:
    """Loopback addresses that nobody uses.

    :returns: the first three numbers of them, and a port for JSON-RPC that
        is free on all.
    """
    draw = random.SystemRandom()
    for _ in range(100):
        network = f'127.{draw.randint(20, 250)}.{draw.randint(1, 250)}'
        if all(_binds(f'{network}.{number}', JSON_RPC_PORT)
               for number in range(1, 6)):
            return network, JSON_RPC_PORT
    return network, ports.free_port()


def _binds(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
