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

"""The conductor's hold on its bridge processes.

A BridgePool shares the nodes among its bridges and remembers which
generations have ended; each bridge is kept by a keeper.Bridge.
"""

from collections.abc import Callable
from collections.abc import Iterable
import math
import threading
import time
import typing
import uuid

from oslo_log import log

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole import spec
from ironic_solconsole.driver import bounded
from ironic_solconsole.driver import bridge_log
from ironic_solconsole.driver import keeper
from ironic_solconsole.driver import memories as node_memories
from ironic_solconsole.driver import process
from ironic_solconsole.driver import records

LOG = log.getLogger(__name__)

#: Generations that are remembered as ended: stops of the last hours, where
#: a snapshot of a node that somebody still holds is seconds old.
MAX_ENDED = 16 * 1024

#: Bridges that died one after the other, and whose locks are not waited for.
MAX_DEAD = 16


class BridgePool:
    """All bridges of a conductor.

    :param start: starts a bridge process.
    :param bridges: how many share the nodes.
    :param port_lost: called with node, generation and what is known of the
        holder, when a console's port stays in use. Must not block.
    :param memories: those that ``start`` fills.
    :param database_age: tells how old the conductor's last contact with the
        database is.
    """

    def __init__(self, start: keeper.Starter, bridges: int,
                 port_lost: keeper.PortLost,
                 memories: node_memories.Memories,
                 timing: keeper.Timing = keeper.DEFAULT_TIMING,
                 database_age: keeper.DatabaseAge = lambda: None) -> None:
        self._lock = threading.Lock()
        self._generations: bounded.BoundedDict[str, None] = (
            bounded.BoundedDict(MAX_ENDED))
        self._bridges = [
            keeper.Bridge(number, start, self.ended, port_lost, memories,
                          timing, database_age)
            for number in range(bridges)]

    def ended(self, generation: str) -> bool:
        """Whether a stop has ended this start of a console."""
        with self._lock:
            return generation in self._generations

    def open(self, wanted: spec.ConsoleSpec, *, wait: float = 0.0,
             patience: float = 0.0, budget: float = 0.0) -> control.Json:
        """Open a console, as keeper.Bridge.open() does."""
        return self._bridge(wanted.node).open(
            wanted, wait, patience, budget)

    def open_many(self, specs: Iterable[spec.ConsoleSpec], *, admit: bool,
                  before: float = math.inf) -> list[spec.ConsoleSpec]:
        """Open consoles, as keeper.Bridge.open_many() does."""
        opened = []
        for bridge, some in self._shared(specs):
            opened += bridge.open_many(some, admit, before)
        return opened

    def admit_many(self, specs: Iterable[spec.ConsoleSpec]) -> None:
        """Let viewers into consoles, as keeper.Bridge.admit() does."""
        for bridge, some in self._shared(specs):
            bridge.admit(some)

    def consoles(self) -> list[keeper.OpenConsole]:
        """The consoles that should be open, at this moment."""
        return [console for bridge in self._bridges
                for console in bridge.consoles()]

    def generation(self, node: str) -> str:
        """The generation that should be open for a node, or ''."""
        return self._bridge(node).generation(node)

    def close_if(self, node: str, generation: str,
                 before: float = math.inf) -> bool:
        """Close a console that may come back, as keeper.Bridge.close_if().

        Unlike close() this does not end the generation.
        """
        return self._bridge(node).close_if(node, generation, before)

    def close(self, node: str, generation: str, *,
              park: float = 0.0) -> None:
        """Close a node's console, as keeper.Bridge.close() does.

        :param node: UUID.
        :param generation: the start that ends, where it is known; the one
            that is open ends as well.
        :param park: seconds for which the bridge may keep it parked.
        """
        bridge = self._bridge(node)
        with self._lock:
            for word in (generation, bridge.generation(node)):
                if word:
                    self._generations[word] = None
        bridge.close(node, park)

    def close_parked(self, node: str, generation: str) -> bool:
        """Close a parked console, as keeper.Bridge.close_parked() does."""
        return self._bridge(node).close_parked(node, generation)

    def clean_transcripts(self, args: control.Json) -> control.Json:
        """Ask the first bridge that runs about transcripts.

        :param args: see bridge/transcript_service.py.
        :returns: its answer; nothing if there is none.
        """
        for bridge in self._bridges:
            answer = bridge.ask('transcripts', args)
            if answer is not None:
                return answer
        return {}

    def url(self, node: str, generation: str) -> str:
        """Where a console listens, as keeper.Bridge.url() tells."""
        return self._bridge(node).url(node, generation)

    def shut_down(self) -> None:
        """End all bridges for good, within a few seconds."""
        for bridge in self._bridges:
            bridge.shut_down()
        for bridge in self._bridges:
            bridge.join(2 * process.END_TIMEOUT)

    def _shared(self, specs: Iterable[spec.ConsoleSpec],
                ) -> list[tuple[keeper.Bridge, list[spec.ConsoleSpec]]]:
        """Specs by the bridges that they belong to."""
        shares: dict[int, list[spec.ConsoleSpec]] = {}
        for one in specs:
            shares.setdefault(self._bridge(one.node).number, []).append(one)
        return [(self._bridges[number], some)
                for number, some in shares.items()]

    def _bridge(self, node: str) -> keeper.Bridge:
        """The bridge of a node: the same one in every conductor."""
        return self._bridges[uuid.UUID(node).int % len(self._bridges)]


def starter(command: Callable[[int, int], list[str]],
            options: Callable[[int], control.Json],
            memories: node_memories.Memories,
            timing: keeper.Timing = keeper.DEFAULT_TIMING) -> keeper.Starter:
    """What starts bridge processes.

    :param command: makes a command line from the number of a bridge and
        that of its file descriptor.
    :param options: makes the arguments of configure for a bridge.
    :param memories: takes what bridges want to be told again.
    """
    def take(event: control.Event, number: int) -> None:
        node, memory = event.data.get('node'), event.data.get('memory')
        if event.name != 'memory':
            bridge_log.emit(event, number)
        elif isinstance(node, str) and isinstance(memory, dict):
            memories.put(node, memory)

    # what locks may have been left with, by the number of the bridge
    members: dict[int, list[tuple[process.BridgeProcess, str]]] = {}

    def start(number: int) -> process.BridgeProcess:
        values = options(number)
        before = members.setdefault(number, [])
        del before[:-MAX_DEAD]
        dead = [member for one, member in before if one.reaped]
        if dead:
            values = {**values, 'dead': dead}
        began = time.monotonic()
        running = process.BridgeProcess(
            lambda descriptor: command(number, descriptor),
            lambda event: take(event, number),
            lambda line: bridge_log.output(line, number),
            lambda pid: records.write(values, number, pid))
        try:
            answer: dict[str, typing.Any] = running.request(
                'configure', {'options': values}, timing.start_timeout)
        except exception.ControlError:
            running.kill()
            raise
        member = answer.get('member')
        if isinstance(member, str):
            before.append((running, member))
        LOG.info('Bridge %(number)d (pid %(pid)d, version %(version)s) runs; '
                 'it took %(took).2f s to start.',
                 {'number': number, 'pid': running.pid,
                  'version': bridge_log.printable(
                      answer.get('version'), 64),
                  'took': time.monotonic() - began})
        return running
    return start
