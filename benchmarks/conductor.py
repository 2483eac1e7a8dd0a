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


"""How a conductor with many marked nodes comes up.

::

    bash benchmarks/run.sh conductor --nodes 1000 --backend redis

A real ironic-conductor is started with nodes in its database whose consoles
are on. Its own metrics (statsd) tell how long the calls take that Ironic
makes, its bridge tells when every console is connected. There are no hosts
behind the BMCs: nobody types.
"""

import argparse
import collections
import collections.abc
import contextlib
import re
import socket
import statistics
import sys
import threading
import time

from benchmarks import lines
from tests.support import cluster as real_cluster
from tests.support import ipmi_sim
from tests.support import many_nodes
from tests.support import ports
from tests.support import waiting

#: Seconds for all consoles to be connected, and for Ironic's own loop over
#: them.
PATIENCE = 300.0

#: Seconds for which passes with nothing to do are watched.
IDLE = 60.0
Json = lines.Json


class Statsd:
    """Receives the timers of a conductor on a port of its own."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.settimeout(0.2)
        self._socket.bind(('127.0.0.1', 0))
        self.port = self._socket.getsockname()[1]
        self._timers: dict[str, list[tuple[float, float]]] = (
            collections.defaultdict(list))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._receive)

    def __enter__(self) -> 'Statsd':
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        pattern = re.compile(rb'([\w.-]+):([0-9.e-]+)\|ms')
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                data = self._socket.recv(65536)
                now = time.monotonic()
                for match in pattern.finditer(data):
                    self._timers[match[1].decode().rpartition('.')[2]
                                 ].append((now, float(match[2]) / 1000))

    def calls(self, method: str, since: float = 0.0
              ) -> list[tuple[float, float]]:
        """When each call of a method ended, and how long it took.

        :returns: pairs, of time.monotonic() and in seconds.
        """
        return [call for call in list(self._timers[method])
                if call[0] >= since]


def _options(first_port: int, nodes: int, statsd: int,
             url: str) -> real_cluster.Options:
    """The defaults, where tests have shorter times."""
    return {
        'console': {'port_range': f'{first_port}:{first_port + nodes}'},
        'metrics': {'backend': 'statsd'},
        'metrics_statsd': {'statsd_host': '127.0.0.1',
                           'statsd_port': statsd},
        'solconsole': {
            **dict.fromkeys(real_cluster.TIMES['solconsole']),
            **({'coordination_url': url} if url else {})}}


def measure(backend: str, nodes: int) -> Json:
    """Start a conductor that has so many nodes with consoles.

    :returns: figures; those in milliseconds have names in _ms.
    """
    first_port = ports.free_port_range(nodes).start
    bmcs = [ipmi_sim.BmcSetup(serial='tcp:127.0.0.1:1')] * nodes
    with (ipmi_sim.IpmiSim(bmcs) as sim, Statsd() as statsd,
          lines.backend(backend, '') as url,
          real_cluster.Cluster(1, _options(
              first_port, nodes, statsd.port, url)) as cluster):
        conductor = cluster.conductors[0]
        row = many_nodes.model(cluster, sim.bmcs[0])
        conductor.stop()
        many_nodes.add_marked(cluster, row, sim.bmcs, first_port)
        began = time.monotonic()
        conductor.start(wait=False)
        return _observe(conductor, statsd, nodes, began)


def _observe(conductor: real_cluster.Conductor, statsd: Statsd, nodes: int,
             began: float) -> Json:
    def connected() -> int:
        return sum(status['state'] == 'connected'
                   for status in conductor.consoles())

    waiting.wait_until(
        lambda: connected() == nodes, f'{nodes} consoles', PATIENCE, 0.1,
        seen=connected)
    done = time.monotonic()
    waiting.wait_until(
        lambda: len(statsd.calls('start_console', began)) >= nodes,
        'Ironic to have started them all', PATIENCE, 0.5,
        seen=lambda: len(statsd.calls('start_console', began)))
    starts = statsd.calls('start_console', began)
    # Most calls of the periodic find that it is not time for a pass.
    pass_end, pass_took = max(
        (call for call in statsd.calls('takeover', began)
         if call[0] <= done), key=lambda call: call[1])
    # What is stored of activations afterwards is not the idle state.
    waiting.wait_until(
        lambda: statsd.calls('record_activations')[-1][1] < 0.01,
        'all activations to be stored', PATIENCE, 1.0)
    idle_since = time.monotonic()
    time.sleep(IDLE)
    took = sorted(call[1] for call in starts)
    return {
        'connected_s': round(done - (pass_end - pass_took), 2),
        'first_pass_ms': _ms(pass_took),
        'ironic_loop_s': round(
            starts[-1][0] - starts[0][0] + starts[0][1], 2),
        'start_console_p50_ms': _ms(statistics.median(took)),
        'start_console_p99_ms': _ms(took[int(len(took) * 0.99)]),
        'start_console_max_ms': _ms(took[-1]),
        **{f'idle_{name}_pass_ms': _ms(max(
            call[1] for call in statsd.calls(name, idle_since)))
           for name in ('takeover', 'untakeover')}}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def main() -> int:
    """Measure, print a line for each run, and write JSON if wanted."""
    return lines.run(argparse.ArgumentParser(
        prog='benchmarks/run.sh conductor',
        description='How a conductor with many marked nodes comes up.'),
        ['file'], measure)


if __name__ == '__main__':
    sys.exit(main())
