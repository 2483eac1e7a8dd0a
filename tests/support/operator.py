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

"""An operator at a console, through the control socket of a bridge."""

import typing

from ironic_solconsole import control
from ironic_solconsole.cli import client
from tests.support import bridge as bridge_support
from tests.support import waiting


def ask(bridge: bridge_support.Bridge, verb: str, node: str,
        **args: typing.Any) -> control.Json:
    """Ask as the command line does.

    :raises: RequestRefused if the bridge says no.
    """
    return client.ask(bridge.socket_path, verb, {'node': node, **args},
                      timeout=waiting.PATIENCE)


class Operator:
    """Attached, until the end of a ``with`` block.

    :param bridge: which has the console.
    :param node: UUID or name.
    :param args: of the verb, beyond the node.
    :raises: RequestRefused
    """

    def __init__(self, bridge: bridge_support.Bridge, node: str,
                 **args: typing.Any) -> None:
        self._bridge, self._node = bridge, node
        self.answer, self._sock, self.data = client.attach(
            bridge.socket_path, {'node': node, **args},
            timeout=waiting.PATIENCE)
        self._sock.setblocking(False)
        self.closed = False

    def __enter__(self) -> 'Operator':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def number(self) -> int:
        """As which viewer the console knows us."""
        number = self.answer['viewer']
        assert isinstance(number, int), self.answer
        return number

    def close(self) -> None:
        """Leave."""
        self._sock.close()

    def send(self, data: bytes) -> None:
        """Type."""
        self._sock.setblocking(True)
        self._sock.settimeout(waiting.PATIENCE)
        self._sock.sendall(data)
        self._sock.setblocking(False)

    def ask(self, verb: str, **args: typing.Any) -> control.Json:
        """What the menu does."""
        return ask(self._bridge, verb, self._node, **args)

    def read(self) -> bytes:
        """All that has come until now."""
        while not self.closed:
            try:
                data = self._sock.recv(1 << 16)
            except BlockingIOError:
                break
            except ConnectionError:
                data = b''
            self.data += data
            self.closed = not data
        return self.data

    def wait_for(self, wanted: bytes,
                 timeout: float = waiting.PATIENCE) -> bytes:
        """Wait until some bytes have come; gives all that has."""
        waiting.wait_until(
            lambda: wanted in self.read(), f'{wanted!r} at an operator',
            timeout, seen=lambda: self.data)
        return self.data

    def wait_closed(self, timeout: float = waiting.PATIENCE) -> bytes:
        """Wait until the bridge has ended it; gives all that has come."""
        def closed() -> bool:
            self.read()
            return self.closed

        waiting.wait_until(closed, 'end of an attached operator', timeout,
                           seen=lambda: self.data)
        return self.data
