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

"""A command of Ironic as a process: configuration, start, end, logs.

What :mod:`tests.support.ironic` (one combined command) and
:mod:`tests.support.cluster` (API and several conductors) share.
"""

import collections.abc
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

from tests.support import processes
from tests.support import waiting

#: Directory with ``ironic`` and ``ironic-dbsync`` of Ironic 39.
BIN_VARIABLE = 'SOLCONSOLE_IRONIC_BIN'

START_TIMEOUT = 90.0

#: Seconds for Ironic to end after SIGTERM: del_host, then a wait of a
#: second or more for reservations.
STOP_TIMEOUT = 40.0

#: After one of these in its log Ironic 39 hangs, or starts for ever.
FAILED = ('Failed to register hardware types', 'exited with status 1')

Options = collections.abc.Mapping[str, collections.abc.Mapping[str, object]]

Sections = dict[str, dict[str, object]]


def default_bin() -> pathlib.Path:
    """Where Ironic 39 is: as the environment says, or beside us."""
    return pathlib.Path(
        os.environ.get(BIN_VARIABLE) or pathlib.Path(sys.executable).parent)


def common_options(directory: pathlib.Path, port_range: range) -> Sections:
    """Options of every Ironic of ours, and the directories they name.

    :param directory: for state, temporary files and images; it exists.
    :param port_range: of the consoles.
    """
    for name in ('state', 'tmp', 'httpboot', 'tftpboot'):
        (directory / name).mkdir(exist_ok=True)
    return {
        'DEFAULT': {
            'auth_strategy': 'noauth', 'my_ip': '127.0.0.1',
            'state_path': directory / 'state',
            'tempdir': directory / 'tmp',
            'debug': False, 'use_stderr': True,
            'enabled_hardware_types': 'ipmi',
            'enabled_console_interfaces': 'solconsole,no-console',
            'enabled_network_interfaces': 'noop',
            'enabled_deploy_interfaces': 'direct',
            'enabled_inspect_interfaces': 'no-inspect',
            'default_network_interface': 'noop',
            'hash_ring_reset_interval': 2},
        'api': {'host_ip': '127.0.0.1', 'api_workers': 1},
        'conductor': {'graceful_shutdown_timeout': 15},
        # iPXE writes its script there when it is loaded
        'deploy': {'http_root': directory / 'httpboot'},
        'pxe': {'tftp_root': directory / 'tftpboot',
                'tftp_master_path': directory / 'tftpboot/master'},
        'oslo_concurrency': {'lock_path': directory / 'lock'},
        'console': {'port_range': f'{port_range.start}:{port_range.stop}'},
        'solconsole': {'run_dir': directory / 'run'},
    }


def merge(sections: Sections, *changes: Options) -> Sections:
    """Put options over others, in place; gives them."""
    for change in changes:
        for section, values in change.items():
            sections.setdefault(section, {}).update(values)
    return sections


class IronicProcess:
    """One command of Ironic with a configuration file of its own.

    :param command: its name.
    :param directory: for its configuration and logs; kept short, as UNIX
        sockets live below it.
    :param host: name of the conductor that is in it, or ''.
    :param bin_dir: where the command is; the virtual environment around it
        has our package installed.
    """

    def __init__(self, command: str, directory: pathlib.Path, host: str = '',
                 bin_dir: pathlib.Path | None = None) -> None:
        self.command = command
        self.bin_dir = bin_dir or default_bin()
        self.directory = directory
        self.host = host
        self.log = directory / 'ironic.log'
        self.process: subprocess.Popen[bytes] | None = None
        # for the final check
        self._bridges: set[int] = set()

    # Configuration

    @property
    def config(self) -> pathlib.Path:
        """Path of ironic.conf."""
        return self.directory / 'ironic.conf'

    def write_config(self, sections: Options) -> None:
        """Write ironic.conf; an option that is None is left out."""
        self.config.write_text(''.join(
            f'[{section}]\n' + ''.join(
                f'{key} = {value}\n' for key, value in values.items()
                if value is not None)
            for section, values in sections.items()))

    def create_schema(self) -> None:
        """Make the tables in the database that ironic.conf names."""
        done = subprocess.run(
            [self.path_of('ironic-dbsync'),
             '--config-file', str(self.config), 'create_schema'],
            env=self._environment(), stdin=subprocess.DEVNULL,
            capture_output=True, timeout=START_TIMEOUT, check=False)
        assert done.returncode == 0, (
            f'ironic-dbsync failed: {done.stderr.decode()[-2000:]}')

    def path_of(self, name: str) -> str:
        """Path of a command of this Ironic."""
        path = self.bin_dir / name
        assert path.exists(), (
            f'there is no {name} in {self.bin_dir}; set the environment '
            f'variable {BIN_VARIABLE} (for older releases '
            'SOLCONSOLE_IRONIC_29_BIN, SOLCONSOLE_IRONIC_26_BIN) to the '
            'bin directory of a virtual environment with Ironic and '
            'ironic-solconsole')
        return str(path)

    def _environment(self) -> dict[str, str]:
        """Ours, without what would lead into our own virtualenv."""
        environment = {key: value for key, value in os.environ.items()
                       if key not in ('PYTHONPATH', 'PYTHONHOME',
                                      'VIRTUAL_ENV')}
        environment['PATH'] = f'{self.bin_dir}:{os.environ["PATH"]}'
        return environment

    # Life

    def launch(self) -> None:
        """Start it; does not wait. Only from the main thread."""
        with (self.directory / 'stderr.log').open('ab') as output:
            self.process = subprocess.Popen(
                processes.die_with_us([
                    self.path_of(self.command),
                    '--config-file', str(self.config)]),
                env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, cwd=self.directory)

    @property
    def running(self) -> bool:
        """Whether its main process has not ended."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the main process, as an operator does."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        if self.process is None:
            return
        self.bridges()
        workers = self.workers()
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f'{self.command} did not end within {STOP_TIMEOUT} s of '
                f'SIGTERM: {self.log_tail()}') from None
        for pid in workers:
            processes.wait_gone(pid, 'a worker of Ironic')
        self.process = None

    def kill(self) -> None:
        """Kill -9 of all its processes, as the kernel does when memory is
        short; bridges are left alone.
        """
        if self.process is None:
            return
        self.bridges()
        # A master that can start no other worker meanwhile.
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGSTOP)
        for pid in [*self.workers(), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def check_bridges(self) -> None:
        """See that no bridge outlives its conductor, and end those that do.

        :raises: AssertionError if one did.
        """
        try:
            for pid in self._bridges:
                processes.wait_gone(
                    pid, 'a bridge whose conductor has ended', 15.0)
        finally:
            self.kill_bridges()

    def kill_bridges(self) -> None:
        """Kill -9 of all bridges that this conductor had."""
        for pid in self._bridges:
            if processes.alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    # Processes

    def workers(self) -> list[int]:
        """Process ids of its forked workers; Ironic 39 has one."""
        assert self.process is not None
        parent = self.process.pid
        return [pid for pid in _pids() if _parent(pid) == parent
                and 'ironic_solconsole' not in processes.command_line(pid)]

    def conductor(self) -> int:
        """Process id of what the conductor runs in."""
        assert self.process is not None
        workers = self.workers()
        return workers[0] if workers else self.process.pid

    def bridges(self) -> list[int]:
        """Process ids of this conductor's bridges."""
        found = []
        for pid in _pids():
            words = processes.command_line(pid).split()
            if (self.host and 'ironic_solconsole.bridge' in words
                    and self.host in words):
                if processes.alive(pid):
                    found.append(pid)
        self._bridges.update(found)
        return found

    def wait_bridges(self, count: int,
                     besides: collections.abc.Collection[int] = (),
                     timeout: float = waiting.PATIENCE) -> list[int]:
        """Wait until so many bridges run.

        :param besides: those that do not count.
        """
        def right() -> bool:
            return len(set(self.bridges()) - set(besides)) == count

        waiting.wait_until(right, f'{count} bridge processes of {self.host}',
                           timeout, seen=self.bridges)
        return [pid for pid in self.bridges() if pid not in besides]

    # Logs

    def log_text(self) -> str:
        """What it has logged."""
        return ''.join(
            path.read_text(errors='replace')
            for path in (self.log, self.directory / 'stderr.log')
            if path.exists())

    def log_tail(self) -> str:
        """The end of that."""
        return self.log_text()[-3000:]

    def wait_log(self, text: str,
                 timeout: float = waiting.PATIENCE) -> None:
        """Wait until something is logged."""
        waiting.wait_until(lambda: text in self.log_text(),
                           f'{text!r} in the log', timeout,
                           seen=self.log_tail)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def _parent(pid: int) -> int:
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return 0
    return int(stat.rpartition(')')[2].split()[1])
