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

"""Our bridge processes, as a conductor starts them."""

import asyncio
import collections.abc
import concurrent.futures
import contextlib
import logging
import typing

from benchmarks import contenders
from benchmarks import usage
from ironic_solconsole import conf
from ironic_solconsole import control
from tests.support import background
from tests.support import bridge as bridge_support
from tests.support import waiting

#: Seconds between two pings of a conductor.
_PING = 2.0

#: Seconds for which the bridge may wait for a console to be connected.
_WAIT = 30.0

#: [console]terminal_timeout of Ironic, in seconds.
_IDLE_TIMEOUT = 600


class Solconsole:
    """One or more bridges, which share the nodes.

    :param bridges: as ``[solconsole]bridges``.
    """

    always_on = True

    def __init__(self, bridges: int = 1) -> None:
        self.name = ('solconsole' if bridges == 1
                     else f'{bridges} bridges')
        self._count = bridges
        self._targets: list[contenders.Target] = []
        self._bridges: list[bridge_support.Bridge] = []
        self._pings: list[concurrent.futures.Future[None]] = []

    def missing(self, consoles: int) -> str:
        """It runs wherever this does."""
        return ''

    def start(self, targets: list[contenders.Target]) -> None:
        """Start the bridges and open all consoles in bulk."""
        self._targets = targets
        for number in range(self._count):
            bridge = bridge_support.Bridge(number=number, **_options())
            self._bridges.append(bridge)
            bridge.start()
        for bridge in self._bridges:
            bridge.configure()
            self._pings.append(background.start(_ping(bridge)))
        opening = [
            (self.bridge(target.number), bridge_support.make_spec(
                node=target.uuid, address=target.address, port=target.port,
                username=target.username, password=target.password,
                tcp_port=target.tcp_port))
            for target in targets]
        futures = [
            (bridge, bridge.submit(
                'open', {'spec': spec.to_json(), 'wait': _WAIT}))
            for bridge, spec in opening]
        for bridge, future in futures:
            bridge.collect(future, 'open', _WAIT + 10.0)
        waiting.wait_until(
            lambda: all(status['state'] == 'connected'
                        for status in self.consoles()),
            'state connected of all consoles', 60.0, interval=0.1)

    def bridge(self, number: int) -> bridge_support.Bridge:
        """The bridge that has a console."""
        return self._bridges[number % self._count]

    def consoles(self) -> list[control.Json]:
        """What ``ironic-solconsole list`` asks for."""
        return [status for bridge in self._bridges
                for status in bridge.consoles()]

    def close(self, number: int) -> None:
        """What a stop of the console asks for."""
        closed = self.bridge(number).close(self._targets[number].uuid)
        assert closed, f'console {number} was not open'

    def line(self, number: int) -> contenders.Line:
        """The way to one console."""
        return contenders.Line(self._targets[number].tcp_port)

    def pids(self) -> list[int]:
        """The bridges."""
        return usage.family(
            bridge.pid for bridge in self._bridges if bridge.running)

    def free(self, number: int) -> None:
        """It is."""

    def stop(self) -> None:
        """End the bridges as the end of their conductor does."""
        for ping in self._pings:
            ping.cancel()
        self._pings.clear()
        with contextlib.ExitStack() as stack:
            while self._bridges:
                stack.callback(self._bridges.pop().stop)


async def _ping(bridge: bridge_support.Bridge) -> None:
    while True:
        await asyncio.sleep(_PING)
        bridge.submit('ping', {'database_age': 0.0})


def _options() -> dict[str, typing.Any]:
    """What a conductor sends when nothing is set."""
    defaults: collections.abc.Mapping[str, typing.Any] = {
        option.name: option.default
        for _, options in conf.list_opts() for option in options}
    return {
        **{name: defaults[name] for name in bridge_support.OPTIONS
           if name in defaults},
        'idle_timeout': _IDLE_TIMEOUT, 'log_level': logging.INFO}
