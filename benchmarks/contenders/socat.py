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

"""socat and ipmitool, as the in-tree ``ipmitool-socat`` starts them."""

import contextlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import tempfile
import types
import typing
import unittest.mock

from benchmarks import contenders
from benchmarks import usage
from tests.support import ipmitool
from tests.support import processes
from tests.support import waiting

#: One attached console: socat twice and ipmitool, as measured.
_MEMORY = 8 * 1024 * 1024

#: Of the machine's memory, what else it needs.
_RESERVE = 1024 * 1024 * 1024


class _Started(Exception):
    """Ironic has come to the point where it starts socat."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(command)
        self.command = command


class SocatIpmitool:
    """One socat a console, and ipmitool while somebody is attached."""

    name = 'socat+ipmitool'
    always_on = False

    def __init__(self) -> None:
        self._directory = pathlib.Path()
        self._targets: list[contenders.Target] = []
        self._listeners: list[subprocess.Popen[bytes]] = []

    def missing(self, consoles: int) -> str:
        """Why this cannot run here; '' when it can."""
        for program in ('socat', 'ipmitool'):
            if shutil.which(program) is None:
                return f'{program} is not installed'
        if importlib.util.find_spec('ironic') is None:
            return 'Ironic, which knows how to start it, is not installed'
        needed = consoles * _MEMORY + _RESERVE
        if usage.available_memory() < needed:
            return (f'{3 * consoles} processes need about '
                    f'{needed / 2**30:.0f} GiB of memory')
        return ''

    def start(self, targets: list[contenders.Target]) -> None:
        """Start the listeners; ipmitool comes with a client."""
        self._targets = targets
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix='socat.'))
        for command in _commands(targets, self._directory):
            self._listeners.append(subprocess.Popen(
                processes.die_with_us(command), stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL))
        wanted = {target.tcp_port for target in targets}
        waiting.wait_until(lambda: wanted <= usage.listening(),
                           f'{len(wanted)} socats that listen', 60.0)

    def line(self, number: int) -> contenders.Line:
        """The way to one console."""
        return contenders.Line(
            self._targets[number].tcp_port,
            banner=b'[SOL Session operational.  Use ~? for help]\r\n')

    def pids(self) -> list[int]:
        """All socats and ipmitools."""
        return usage.family(process.pid for process in self._listeners)

    def free(self, number: int) -> None:
        """Wait for the end of all ipmitools; deactivate what one left.

        Ironic does so when it is asked for the console, because ipmitool
        ends with its client and without a word to the BMC.
        """
        waiting.wait_until(
            lambda: len(self.pids()) <= len(self._listeners),
            'end of all ipmitools', 60.0)
        target = self._targets[number]
        with contextlib.suppress(ipmitool.IpmitoolError):
            ipmitool.Ipmitool(
                target.address, target.port, target.username,
                target.password).deactivate()

    def stop(self) -> None:
        """End the listeners, then what is left of their children."""
        pids = self.pids()
        for process in self._listeners:
            process.terminate()
        for process in self._listeners:
            processes.end(process)
        with contextlib.suppress(AssertionError):
            waiting.wait_until(
                lambda: not any(map(processes.alive, pids)),
                'end of the consoles', 10.0, interval=0.1)
        for pid in filter(processes.alive, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self._listeners.clear()
        shutil.rmtree(self._directory, ignore_errors=True)


def _commands(targets: list[contenders.Target], directory: pathlib.Path
              ) -> list[list[str]]:
    """What the installed Ironic runs for each node.

    Its own code makes the command, up to the call that would start it.

    :param directory: for the files of passwords and process ids.
    """
    from ironic.conf import CONF
    from ironic.drivers.modules import console_utils
    from ironic.drivers.modules import ipmitool as ironic_ipmitool

    def popen(command: list[str], **_: typing.Any) -> typing.NoReturn:
        raise _Started(command)

    def command(target: contenders.Target) -> list[str]:
        node = types.SimpleNamespace(
            uuid=target.uuid, driver_internal_info={}, driver_info={
                'ipmi_address': target.address, 'ipmi_port': target.port,
                'ipmi_username': target.username,
                'ipmi_password': target.password,
                'ipmi_cipher_suite': '3',
                'ipmi_terminal_port': target.tcp_port})
        try:
            console._start_console(
                ironic_ipmitool._parse_driver_info(node),
                console_utils.start_socat_console)
        except _Started as started:
            return started.command
        raise AssertionError('this Ironic starts no process for a console')

    CONF([], project='ironic', default_config_files=[])
    CONF.set_override('tempdir', str(directory))
    CONF.set_override('socat_address', '127.0.0.1', group='console')
    console = ironic_ipmitool.IPMISocatConsole()
    fake = types.SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE)
    with unittest.mock.patch.object(console_utils, 'subprocess', fake):
        return [command(target) for target in targets]
