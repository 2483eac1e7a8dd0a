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

"""A cloud in which users open consoles: a real Ironic and a real Nova.

::

    with NovaCloud() as cloud, ModelBmcs() as (bmc,):
        machine = cloud.deploy(bmc)
        with websocket.WebSocket(cloud.nova.get_url(machine.instance)): ...

Between them is a gate, which knows what Nova has asked Ironic for and can
make it wait. Ironic tells its metrics, as to statsd: how long each start
and each stop of a console took inside the conductor.
"""

import collections.abc
import contextlib
import dataclasses
import json
import socket
import threading
import time
import typing
import uuid

from ironic_solconsole import control
from ironic_solconsole.cli import client
from tests.support import api_gate
from tests.support import bmc as model
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import nova as real_nova

#: Seconds. Long, so that a slow machine does not decide what is parked.
GRACE = 30

STOP, START = 'SolConsole.stop_console', 'SolConsole.start_console'


@dataclasses.dataclass(frozen=True)
class Machine:
    """A bare metal server of a user.

    :param node: its UUID in Ironic.
    :param instance: its UUID in Nova.
    :param url: of the console, for who may come to it directly.
    """

    node: str
    instance: str
    url: str


class Timings:
    """Ironic's timers, sent to us as to a statsd server.

    :ivar port: where they go, on 127.0.0.1.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(('127.0.0.1', 0))
        self.port = self._socket.getsockname()[1]
        self._seen: dict[str, list[float]] = {}
        self._ended = False
        self._thread = threading.Thread(
            target=self._read, daemon=True, name='statsd')
        self._thread.start()

    def _read(self) -> None:
        while True:
            line = self._socket.recv(65536).decode()
            if self._ended:
                return
            name, _, value = line.partition(':')
            figure, _, kind = value.partition('|')
            if kind.startswith('ms'):
                self._seen.setdefault(
                    '.'.join(name.split('.')[-2:]), []).append(float(figure))

    def of(self, name: str) -> list[float]:
        """What a timer has said so far, in milliseconds."""
        return list(self._seen.get(name, []))

    def close(self) -> None:
        """End."""
        self._ended = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b'', ('127.0.0.1', self.port))
        self._thread.join(5.0)
        self._socket.close()


class NovaCloud:
    """Ironic, Nova and the gate between them."""

    def __init__(self) -> None:
        self.timings = Timings()
        self.ironic = real_ironic.Ironic(options={
            'console': {'socat_address': '127.0.0.1'},
            'solconsole': {'reset_grace': GRACE,
                           'allowed_clients': '127.0.0.0/8'},
            'metrics': {'backend': 'statsd'},
            'metrics_statsd': {'statsd_host': '127.0.0.1',
                               'statsd_port': self.timings.port}})
        self._stack = contextlib.ExitStack()
        self.gate: api_gate.ApiGate
        self.nova: real_nova.Nova

    def __enter__(self) -> 'NovaCloud':
        with contextlib.ExitStack() as stack:
            stack.callback(self.timings.close)
            stack.enter_context(self.ironic)
            self.gate = stack.enter_context(
                api_gate.ApiGate(self.ironic.api.endpoint))
            self.nova = stack.enter_context(real_nova.Nova(self.gate.url))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def deploy(self, bmc: ipmi_sim.Bmc | model.ModelBmc
               ) -> collections.abc.Iterator[Machine]:
        """A node with an instance and a console; deleted at the end.

        What the two services do for a deployment is left out: a console
        needs the node to name its instance, and Nova to know it.
        """
        api = self.ironic.api
        node = api.create_node(
            ipmi_address='127.0.0.1', ipmi_port=bmc.port,
            ipmi_username=ipmi_sim.ADMIN.name,
            ipmi_password=ipmi_sim.ADMIN.password, ipmi_cipher_suite=3)
        instance = str(uuid.uuid4())
        api.patch(node, instance_uuid=instance)
        self.nova.create_instance(node, instance)
        yield Machine(node, instance, api.enable(node))
        api.patch(node, instance_uuid=None)
        api.delete(node)

    def viewers(self, machine: Machine) -> int:
        """How many are at a console, as the operator is told."""
        path = real_ironic.socket_directory(
            self.ironic.run_dir, self.ironic.host) / '0.sock'
        answer: control.Json = client.ask(
            path, 'show', {'node': machine.node}, timeout=10.0)
        return int(typing.cast(int, answer['viewers']))


class Printing:
    """A host that prints all the time.

    :ivar text: what it has printed.
    """

    def __init__(self, bmc: model.ModelBmc) -> None:
        self._bmc = bmc
        self.text = b''
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._print, daemon=True, name='a host that prints')

    def __enter__(self) -> 'Printing':
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join(10.0)

    def _print(self) -> None:
        number = 0
        while not self._ended.is_set():
            line = json.dumps({'line': number, 'at': time.monotonic()})
            data = f'{line}\r\n'.encode()
            self._bmc.host.send(data)
            self.text += data
            number += 1
            time.sleep(0.005)
