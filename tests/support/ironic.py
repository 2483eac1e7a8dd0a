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

"""A real Ironic: the combined ``ironic`` command on SQLite, without auth.

::

    with Ironic() as ironic:
        node = ironic.api.create_node(bmc)
        ironic.api.enable(node)
        with viewers.Viewer(ironic.api.url(node)) as viewer: ...

It takes about 3 s to start. Each has a host name of its own, so that its
bridge processes can be told from those of others.
"""

import collections.abc
import contextlib
import hashlib
import json
import pathlib
import shutil
import tempfile
import typing
import urllib.error
import urllib.request
import uuid

from tests.support import ipmi_sim
from tests.support import ironic_process
from tests.support import ports
from tests.support import waiting

#: Micro-version that all releases we run on know.
API_VERSION = '1.78'

Json = dict[str, typing.Any]

Options = ironic_process.Options


class ApiError(AssertionError):
    """The API answered with an error.

    :param status: HTTP status.
    :param text: its faultstring.
    """

    def __init__(self, call: str, status: int, text: str) -> None:
        super().__init__(f'{call}: HTTP {status}: {text}')
        self.status = status
        self.text = text


class Api:
    """What a client can ask of Ironic.

    :param url: of the API; kept as ``endpoint``.
    """

    def __init__(self, url: str) -> None:
        self.endpoint = url

    def call(self, method: str, path: str, body: object = None,
             timeout: float = 60.0) -> typing.Any:
        """One request.

        :returns: the answer's JSON, or None.
        :raises: ApiError; OSError if nobody listens.
        """
        request = urllib.request.Request(
            self.endpoint + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={'Content-Type': 'application/json',
                     'Accept': 'application/json',
                     'X-OpenStack-Ironic-API-Version': API_VERSION})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                raw = answer.read()
        except urllib.error.HTTPError as error:
            raise ApiError(f'{method} {path}', error.code,
                           _fault(error.read())) from None
        return json.loads(raw) if raw else None

    def create_node(self, bmc: ipmi_sim.Bmc | None = None,
                    user: ipmi_sim.User = ipmi_sim.ADMIN,
                    driver: str = 'ipmi', name: str | None = None,
                    interface: str | None = 'solconsole',
                    **driver_info: object) -> str:
        """Enrol a node.

        :param driver_info: fields to set otherwise; None leaves one out.
        :returns: its UUID.
        """
        info: Json = {}
        if bmc is not None:
            info = {'ipmi_address': bmc.address, 'ipmi_port': bmc.port,
                    'ipmi_username': user.name,
                    'ipmi_password': user.password, 'ipmi_cipher_suite': 3}
        info.update(driver_info)
        body: Json = {
            'driver': driver,
            'driver_info': {key: value for key, value in info.items()
                            if value is not None}}
        if name:
            body['name'] = name
        if interface:
            body['console_interface'] = interface
        return str(self.call('POST', '/v1/nodes', body)['uuid'])

    def node(self, node: str) -> Json:
        """All fields of a node."""
        return typing.cast(Json, self.call('GET', f'/v1/nodes/{node}'))

    def patch(self, node: str, **fields: object) -> None:
        """Set fields; ``driver_info__x`` is a key in driver_info."""
        self.call('PATCH', f'/v1/nodes/{node}', [
            {'op': 'replace' if value is not None else 'remove',
             'path': '/' + path.replace('__', '/'), 'value': value}
            for path, value in fields.items()])

    def validate(self, node: str) -> Json:
        """What validation says of the console."""
        answer = self.call('GET', f'/v1/nodes/{node}/validate')
        return typing.cast(Json, answer['console'])

    def set_console(self, node: str, enabled: bool) -> None:
        """Ask for the console to be switched; does not wait."""
        self.call('PUT', f'/v1/nodes/{node}/states/console',
                  {'enabled': enabled})

    def enable(self, node: str) -> str:
        """Switch the console on and wait.

        :returns: its URL.
        """
        self._switch(node, True)
        return self.url(node)

    def disable(self, node: str) -> None:
        """Switch the console off and wait."""
        self._switch(node, False)

    def enable_fails(self, node: str) -> str:
        """Try to switch the console on, which must fail.

        :returns: last_error.
        """
        self.set_console(node, True)
        state = self._wait_idle(
            node, lambda state: state['last_error'],
            'to say in last_error why its console cannot be enabled')
        assert not state['console_enabled'], (
            f'the console of node {node} is on in spite of '
            f'{state["last_error"]!r}')
        return str(state['last_error'])

    def _switch(self, node: str, enabled: bool) -> None:
        word = 'on' if enabled else 'off'
        self.set_console(node, enabled)
        state = self._wait_idle(
            node, lambda state: (state['console_enabled'] == enabled
                                 or state['last_error']),
            f'to have its console {word}')
        assert state['console_enabled'] == enabled, (
            f'the console of node {node} cannot be switched {word}: '
            f'{state["last_error"]}')

    def _wait_idle(self, node: str,
                   wanted: collections.abc.Callable[[Json], object],
                   what: str) -> Json:
        """Wait until a node is unlocked and as wanted; gives the node."""
        last: Json = {}

        def reached() -> bool:
            last.clear()
            last.update(self.node(node))
            return last['reservation'] is None and bool(wanted(last))

        waiting.wait_until(reached, f'node {node} {what}', interval=0.05,
                           seen=lambda: last)
        return last

    def console(self, node: str) -> Json:
        """What GET console says, at once."""
        answer = self.call('GET', f'/v1/nodes/{node}/states/console')
        return typing.cast(Json, answer)

    def url(self, node: str) -> str:
        """Where the console is; waits until Ironic knows."""
        def ask() -> str:
            info = self.console(node)['console_info']
            assert info['type'] == 'socat', info
            return str(info['url'])

        return waiting.wait_until(ask, f'console URL of node {node}')

    def delete(self, node: str) -> None:
        """Delete a node; its console is stopped by Ironic."""
        self.call('DELETE', f'/v1/nodes/{node}')


def socket_directory(run_dir: pathlib.Path, host: str) -> pathlib.Path:
    """Where the bridges of a conductor put their sockets."""
    return run_dir / hashlib.sha256(host.encode()).hexdigest()[:12]


def _fault(raw: bytes) -> str:
    """The faultstring in an error of the API; it may be nested JSON."""
    text = raw.decode(errors='replace')
    with contextlib.suppress(ValueError, TypeError, KeyError):
        message = json.loads(text)['error_message']
        if isinstance(message, str):
            message = json.loads(message)
        return str(message['faultstring'])
    return text


class Ironic(ironic_process.IronicProcess):
    """API and conductor in one command.

    :param bin_dir: where the command is; the virtual environment around it
        has our package installed.
    :param options: by section, to differ from the usual configuration.
    :param directory: of an Ironic that was stopped, to start it again.
    """

    def __init__(self, bin_dir: pathlib.Path | None = None,
                 options: Options | None = None,
                 directory: pathlib.Path | None = None) -> None:
        self._options = options or {}
        self._own = directory is None
        super().__init__(
            'ironic',
            # a short path: UNIX sockets live below it
            directory or pathlib.Path(tempfile.mkdtemp(prefix='ironic.')),
            f'cond-{uuid.uuid4().hex[:8]}', bin_dir)
        self.run_dir = self.directory / 'run'
        self.port_range = ports.free_port_range(40)
        self._api_port = ports.free_port()
        self.api = Api(f'http://127.0.0.1:{self._api_port}')

    def __enter__(self) -> 'Ironic':
        try:
            self.configure()
            self.start()
        except BaseException:
            # one that did not start may not stop either
            self.kill()
            self.destroy()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.destroy()

    def configure(self) -> None:
        """Write the configuration and make the database."""
        directory = self.directory
        self.write_config(ironic_process.merge(
            ironic_process.common_options(directory, self.port_range),
            {'DEFAULT': {'rpc_transport': 'none', 'host': self.host,
                         'log_file': self.log},
             'api': {'port': self._api_port},
             'database': {
                 'connection': f'sqlite:///{directory}/ironic.sqlite'}},
            self._options))
        if not (directory / 'ironic.sqlite').exists():
            self.create_schema()

    def set_options(self, options: Options) -> None:
        """Change the configuration for the next start."""
        self._options = options
        self.configure()

    def start(self) -> None:
        """Start it, and wait until the conductor takes requests."""
        self.launch()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the API answers and the conductor has its drivers."""
        process = self.process
        assert process is not None

        def ready() -> bool:
            if process.poll() is not None or any(
                    sign in self.log_text()
                    for sign in ironic_process.FAILED):
                return True
            drivers = self.api.call('GET', '/v1/drivers', timeout=5.0)
            return bool(drivers['drivers'])

        waiting.wait_until(
            ready, f'API of Ironic with a driver; its log ends with '
            f'{self.log_tail()}', ironic_process.START_TIMEOUT,
            interval=0.1, seen=self.log_tail)
        assert process.poll() is None, (
            f'ironic ended with {process.returncode}: {self.log_tail()}')
        for sign in ironic_process.FAILED:
            assert sign not in self.log_text(), (
                f'the conductor cannot start: {self.log_tail()}')

    def destroy(self) -> None:
        """Stop it, see that no bridge is left, and remove its files."""
        try:
            self.stop()
            self.check_bridges()
        finally:
            self.kill()
            self.kill_bridges()
            if self._own:
                shutil.rmtree(self.directory, ignore_errors=True)


#: A way to end a conductor.
Ending = collections.abc.Callable[[Ironic], None]
