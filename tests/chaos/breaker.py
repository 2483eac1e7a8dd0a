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

"""How each fault is made and undone."""

import collections.abc
import contextlib
import os
import signal
import time

from tests.chaos import checker
from tests.chaos import cloud
from tests.chaos import schedule
from tests.support import black_hole
from tests.support import cluster as real_cluster
from tests.support import servers

#: Undoes a fault; False: not yet, call again.
Heal = collections.abc.Callable[[], bool]

#: Seconds after which a conductor that was told to end is killed.
_PATIENCE = 40.0

#: In the log of a conductor that takes requests.
_READY = 'Created RPC server with'


class Breaker:
    """Breaks things in a cloud.

    To be used in the main thread: what it starts dies with the thread.
    """

    def __init__(self, plant: cloud.Cloud) -> None:
        self._cloud = plant
        self._conductors = plant.cluster.conductors
        #: Conductors that are meant to be away.
        self._away: set[real_cluster.Conductor] = set()
        #: Processes, and when they were let go on.
        self.continued: list[tuple[int, float]] = []
        #: When processes must have passed nothing.
        self.silences: list[checker.Silence] = []
        #: Conductors that ended by themselves.
        self.deaths: list[str] = []
        self._begin = {
            schedule.CONDUCTOR_KILL: self._conductor_kill,
            schedule.CONDUCTOR_TERM: self._conductor_term,
            schedule.CONDUCTOR_HUP: self._conductor_hup,
            schedule.CONDUCTOR_PAUSE: self._conductor_pause,
            schedule.CONDUCTOR_NAP: self._conductor_pause,
            schedule.BRIDGE_KILL: self._bridge_kill,
            schedule.BRIDGE_PAUSE: self._bridge_pause,
            schedule.BRIDGE_NAP: self._bridge_pause,
            schedule.BOTH_PAUSE: self._both_pause,
            schedule.BOTH_NAP: self._both_pause,
            schedule.PATH_HOLE: self._path_hole,
            schedule.PATH_BLINK: self._path_hole,
            schedule.DATABASE_HOLE: self._database_hole,
            schedule.CUT_OFF: self._cut_off,
            schedule.BACKEND_RESTART: self._backend_restart,
            schedule.BACKEND_KILL: self._backend_kill,
            schedule.BACKEND_PAUSE: self._backend_pause,
            schedule.BACKEND_NAP: self._backend_pause,
            schedule.DATABASE_PAUSE: self._database_pause,
            schedule.DATABASE_STOP: self._database_stop,
            schedule.NODE_OFF: self._node_off,
            schedule.NODE_MOVE: self._node_move,
            schedule.BMC_RESET: self._bmc_reset,
        }

    def begin(self, fault: schedule.Planned) -> Heal:
        """Break something.

        :returns: what undoes it.
        """
        return self._begin[fault.kind](fault.target)

    def _silent(self, conductors: list[real_cluster.Conductor],
                after: float, why: str, heal: Heal) -> Heal:
        """Note that processes must be silent until something is undone."""
        begin = time.monotonic()

        def over() -> bool:
            end = time.monotonic()
            if not heal():
                return False
            self.silences += [
                checker.Silence(conductor.host, begin, after, end, why)
                for conductor in conductors]
            return True

        return over

    def revive(self) -> None:
        """Start conductors again that ended by themselves, as an init
        system does: one that starts without a database ends.
        """
        for conductor in self._conductors:
            if not conductor.running and conductor not in self._away:
                self.deaths.append(
                    f'{time.monotonic():.3f}: {conductor}: '
                    f'{conductor.new_log()[-300:]}')
                conductor.kill()
                conductor.start(wait=False)

    # Conductors and bridges.

    def _conductor_kill(self, target: int) -> Heal:
        conductor = self._conductors[target]
        self._away.add(conductor)
        conductor.kill()
        return self._silent(
            [conductor], cloud.END, 'the death of its conductor',
            lambda: self._start(conductor))

    def _start(self, conductor: real_cluster.Conductor) -> bool:
        conductor.kill()        # takes leave of one that has ended
        conductor.start(wait=False)
        self._away.discard(conductor)
        return True

    def _conductor_term(self, target: int) -> Heal:
        conductor = self._conductors[target]
        self._away.add(conductor)
        if conductor.running:
            conductor.terminate()
        deadline = time.monotonic() + _PATIENCE

        def heal() -> bool:
            if conductor.running and time.monotonic() < deadline:
                return False
            return self._start(conductor)

        return heal

    def _conductor_hup(self, target: int) -> Heal:
        conductor = self._conductors[target]
        # Earlier it would end of it, as every program does.
        if conductor.running and _READY in conductor.new_log():
            conductor.hup(wait=False)
        return _nothing

    def _conductor_pause(self, target: int) -> Heal:
        conductor = self._conductors[target]
        if not conductor.running:
            return _nothing
        conductor.pause()
        return self._silent(
            [conductor], cloud.CONDUCTOR_TIMEOUT,
            'the pause of its conductor',
            lambda: self._resume(conductor, []))

    def _resume(self, conductor: real_cluster.Conductor, bridges: list[int]
                ) -> bool:
        conductor.resume()
        for pid in bridges:
            self.continued.append((pid, time.monotonic()))
            _signal(pid, signal.SIGCONT)
        return True

    def _bridge_kill(self, target: int) -> Heal:
        for pid in self._conductors[target].bridges():
            _signal(pid, signal.SIGKILL)
        return _nothing

    def _bridge_pause(self, target: int) -> Heal:
        conductor = self._conductors[target]
        bridges = conductor.bridges()
        for pid in bridges:
            _signal(pid, signal.SIGSTOP)
        return lambda: self._resume(conductor, bridges)

    def _both_pause(self, target: int) -> Heal:
        conductor, bridges = (self._conductor_pause(target),
                              self._bridge_pause(target))
        # The conductor first: a bridge that it finds hung is killed.
        return lambda: conductor() and bridges()

    # The backend, and the ways to it and to the database.

    def _path_hole(self, target: int) -> Heal:
        return self._unlocked([target], _cut([self._cloud.paths[target]]))

    def _unlocked(self, targets: list[int], heal: Heal) -> Heal:
        return self._silent(
            [self._conductors[target] for target in targets], cloud.LEASE,
            'the loss of the backend', heal)

    def _database_hole(self, target: int) -> Heal:
        return _cut([self._cloud.database_paths[target]])

    def _cut_off(self, target: int) -> Heal:
        return self._unlocked([target], _cut([
            self._cloud.paths[target], self._cloud.database_paths[target]]))

    def _backend_restart(self, target: int) -> Heal:
        self._server.restart()
        return _nothing

    def _backend_kill(self, target: int) -> Heal:
        self._server.kill()
        return self._unlocked(
            self._all, lambda: _done(self._server.start))

    def _backend_pause(self, target: int) -> Heal:
        self._server.pause()
        return self._unlocked(
            self._all, lambda: _done(self._server.resume))

    @property
    def _all(self) -> list[int]:
        return list(range(len(self._conductors)))

    @property
    def _server(self) -> servers.Server:
        assert self._cloud.server is not None
        return self._cloud.server

    # The rest.

    def _database_pause(self, target: int) -> Heal:
        database = self._cloud.cluster.database
        database.pause()
        return lambda: _done(database.resume)

    def _database_stop(self, target: int) -> Heal:
        database = self._cloud.cluster.database
        database.stop()
        return lambda: _done(database.start)

    def _node_off(self, target: int) -> Heal:
        node = self._cloud.nodes[target]
        node.want(on=False)
        # It may not be off by then: calls take their time.
        return lambda: node.content and _done(lambda: node.want(on=True))

    def _node_move(self, target: int) -> Heal:
        node = self._cloud.nodes[target]
        node.want(group=cloud.GROUP)
        return lambda: _done(lambda: node.want(group=''))

    def _bmc_reset(self, target: int) -> Heal:
        self._cloud.witness.reset(self._cloud.nodes[target].name)
        return _nothing


def _nothing() -> bool:
    return True


def _cut(paths: list[black_hole.BlackHole]) -> Heal:
    for path in paths:
        path.cut()

    def heal() -> bool:
        for path in paths:
            path.heal()
        return True

    return heal


def _done(function: collections.abc.Callable[[], object]) -> bool:
    function()
    return True


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
