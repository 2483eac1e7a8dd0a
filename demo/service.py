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

"""Ironic with the plugin, and its command line client."""

import importlib.metadata
import json
import os
import pathlib
import shlex
import socket
import subprocess
import typing
import urllib.error
import urllib.request

import family
import machine
import output

NODE = 'demo'

_CONF = """\
[DEFAULT]
auth_strategy = noauth
rpc_transport = none
host = demo
my_ip = 127.0.0.1
state_path = {directory}/state
tempdir = {directory}/tmp
log_file = {directory}/ironic.log
enabled_hardware_types = ipmi
enabled_boot_interfaces = pxe
enabled_console_interfaces = {consoles}
enabled_network_interfaces = noop
enabled_deploy_interfaces = direct
enabled_inspect_interfaces = no-inspect

[api]
host_ip = 127.0.0.1
port = {port}

[database]
connection = sqlite:///{directory}/ironic.sqlite

[deploy]
http_root = {directory}/http

[pxe]
tftp_root = {directory}/tftp
tftp_master_path = {directory}/tftp/master

[console]
socat_address = 127.0.0.1
port_range = {first}:{end}
"""

_CONSOLE_PORTS = 4


class Service:
    """API and conductor in one process, with a database of their own.

    :param relatives: starts its processes.
    :param directory: for its files.
    """

    consoles = 'solconsole,no-console'

    def __init__(self, relatives: family.Family,
                 directory: pathlib.Path) -> None:
        self._family = relatives
        self._directory = directory
        self.conf = directory / 'ironic.conf'
        self.port = family.free_ports(socket.SOCK_STREAM)
        self.version = importlib.metadata.version('ironic')

    @property
    def url(self) -> str:
        """Where its API is."""
        return f'http://127.0.0.1:{self.port}'

    def start(self) -> None:
        """Make the database, start it, and wait for the API.

        :raises: DemoError if it does not come up.
        """
        first = family.free_ports(socket.SOCK_STREAM, _CONSOLE_PORTS)
        if first == self.port:
            first += 1
        self.conf.write_text(_CONF.format(
            directory=self._directory, consoles=self.consoles,
            port=self.port, first=first, end=first + _CONSOLE_PORTS))
        for name in ('state', 'tmp', 'tftp', 'http'):
            (self._directory / name).mkdir()
        self.run(['ironic-dbsync', '--config-file', str(self.conf),
                  'create_schema'], 60.0)
        ironic = self._family.start(
            'ironic-output', ['ironic', '--config-file', str(self.conf)])

        def is_up() -> bool:
            if ironic.poll() is not None:
                raise family.DemoError('Ironic ended at once')
            if trouble := self._trouble():
                raise family.DemoError(f'Ironic does not start: {trouble}')
            try:
                # The conductor is there when it has told its drivers.
                with urllib.request.urlopen(
                        f'{self.url}/v1/drivers', timeout=5.0) as answer:
                    return bool(json.load(answer)['drivers'])
            except (OSError, ValueError):
                return False

        # With no console interface that works, Ironic logs an error and
        # hangs with no API.
        family.wait_for(is_up, 'the API of Ironic', 90.0)

    def _trouble(self) -> str:
        """The exception for which Ironic's worker ended, or ''.

        Ironic starts another worker, again and again.
        """
        path = self._directory / 'ironic-output.log'
        lines = path.read_text(errors='replace').splitlines() or ['']
        prefix, _, text = lines[-1].partition(': ')
        return text if prefix.startswith('ironic.common.exception') else ''

    def enrol(self, target: machine.Machine) -> None:
        """Make the node, from a file: its password is no argument."""
        node = {
            'name': NODE,
            'driver': 'ipmi',
            'console_interface': self.consoles.partition(',')[0],
            'driver_info': {
                'ipmi_address': target.address,
                'ipmi_port': target.port,
                'ipmi_username': target.username,
                'ipmi_password': target.password,
                # The simulator knows no suite 17.
                'ipmi_cipher_suite': 3}}
        path = self._directory / 'node.json'
        path.write_text(json.dumps({'nodes': [node]}, indent=4) + '\n')
        self.client(['create', str(path)])

    def enable(self) -> str:
        """Switch the console on.

        :returns: its URL.
        :raises: DemoError with the node's last_error.
        """
        self.client(['node', 'console', 'enable', NODE])
        node: dict[str, typing.Any] = {}

        def is_decided() -> bool:
            node.update(self._node())
            return bool(node['console_enabled'] or node['last_error'])

        family.wait_for(is_decided, 'an end of enabling the console', 30.0)
        if not node['console_enabled']:
            raise family.DemoError(f'last_error: {node["last_error"]}')
        shown = json.loads(self.client(
            ['node', 'console', 'show', NODE, '-f', 'json']))
        info = shown['console_info']
        if not info or info.get('type') != 'socat':
            raise family.DemoError(f'console_info is {info!r}')
        return str(info['url'])

    def disable(self) -> None:
        """Switch the console off.

        :raises: DemoError if it stays on.
        """
        self.client(['node', 'console', 'disable', NODE])
        family.wait_for(lambda: not self._node()['console_enabled'],
                        'an end of disabling the console', 30.0)

    def _node(self) -> dict[str, typing.Any]:
        request = urllib.request.Request(
            f'{self.url}/v1/nodes/{NODE}',
            headers={'X-OpenStack-Ironic-API-Version': '1.31'})
        try:
            with urllib.request.urlopen(request, timeout=10.0) as answer:
                node: dict[str, typing.Any] = json.load(answer)
        except urllib.error.URLError as error:
            raise family.DemoError(f'the API of Ironic: {error}') from None
        return node

    def client(self, words: list[str]) -> str:
        """Run ``baremetal WORDS`` and show that it is run."""
        return self.run(['baremetal', *words], 60.0, say=True)

    def run(self, command: list[str], seconds: float, *,
            say: bool = False) -> str:
        """Run one command to its end.

        :returns: what it printed.
        :raises: DemoError with what it said, if it fails.
        """
        if say:
            output.say(f'  $ {shlex.join(command)}')
        env = {**os.environ, 'OS_AUTH_TYPE': 'none', 'OS_ENDPOINT': self.url,
               'IRONIC_CONFIG_FILE': str(self.conf)}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds,
                stdin=subprocess.DEVNULL, env=env, check=False)
        except subprocess.TimeoutExpired:
            raise family.DemoError(
                f'{shlex.join(command)}: no end within {seconds:.0f} s'
            ) from None
        if done.returncode:
            raise family.DemoError(
                f'{shlex.join(command)}: {(done.stderr or done.stdout)}')
        return done.stdout
