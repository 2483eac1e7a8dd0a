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

"""The passes that bring consoles to where they belong.

*takeover* opens what should be open on this conductor and is not, and
brings up to date what has changed. *untakeover* closes what should not be
open here, and ends console processes that were left behind. Both look at
all nodes in a few queries and lock a node only to write to it.

Starts and stops go on meanwhile. What guards against an old view of a node:
a generation that a stop has ended is refused by the pool; a console that
was opened after the nodes were read is neither replaced nor closed; nobody
is let into a console that a pass has opened, and none is closed, before the
node has been read again.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import pathlib
import threading
import time
import typing
import uuid

from ironic.common import exception as ironic_exception
from ironic.conductor import task_manager
from ironic.conf import CONF
from oslo_db import exception as db_exception
from oslo_log import log

from ironic_solconsole import conf
from ironic_solconsole import exception
from ironic_solconsole import spec
from ironic_solconsole.driver import bridge_log
from ironic_solconsole.driver import bridges
from ironic_solconsole.driver import complaints as node_complaints
from ironic_solconsole.driver import keeper
from ironic_solconsole.driver import memories as node_memories
from ironic_solconsole.driver import moves
from ironic_solconsole.driver import neighbours
from ironic_solconsole.driver import node_info
from ironic_solconsole.driver import node_ports
from ironic_solconsole.driver import opening
from ironic_solconsole.driver import orphans
from ironic_solconsole.driver import parked
from ironic_solconsole.driver import ring
from ironic_solconsole.driver import snapshot
from ironic_solconsole.driver import transcripts

LOG = log.getLogger(__name__)

#: Seconds of a pass in which nodes are locked one by one.
LOCKING_BUDGET = 5.0

#: Seconds after which the activation of a node that was locked is stored.
RECORD_RETRY = 5.0

#: Seconds after the heartbeat timeout for which a conductor of this host
#: that has ended may still be one of the ring.
NEIGHBOUR_GRACE = 60.0

#: Nodes that cannot be locked now: another pass will do it.
_LATER = (ironic_exception.NodeLocked, ironic_exception.NodeNotFound)


class Takeover:
    """The passes of one conductor.

    :param pool: the bridges.
    :param ports: gives ports to nodes.
    :param memories: what bridges have told of nodes.
    :param run_dir: [solconsole]run_dir.
    """

    def __init__(self, pool: bridges.BridgePool,
                 ports: node_ports.NodePorts,
                 memories: node_memories.Memories,
                 run_dir: pathlib.Path) -> None:
        self._pool = pool
        self._ports = ports
        self._memories = memories
        self._complaints = node_complaints.Complaints()
        self._run_dir = run_dir
        options = CONF[conf.GROUP]
        self._takeover_due = ring.Due(options.takeover_interval)
        self._untakeover_due = ring.Due(options.untakeover_interval)
        self._passing = threading.Lock()
        self._failing: dict[str, str] = {}
        self._neighbours: neighbours.Watch | None = None
        self._parked = parked.ParkedConsoles()
        self._cleaner = transcripts.Cleaner(
            pool, options.transcript_keep_days)
        # nodes that keep our marker and have another interface now
        self._to_unmark: set[str] = set()

    # The periodics: when there is something to do

    def takeover(self, manager: typing.Any, context: typing.Any) -> None:
        """Run a takeover pass, if it is time for one; never fails."""
        self._run_due(self._takeover_due, self.run_takeover, manager,
                      context)

    def untakeover(self, manager: typing.Any, context: typing.Any) -> None:
        """Run an untakeover pass, if it is time for one; never fails.

        What is parked is looked at each time.
        """
        self._end_parked(manager)
        self._run_due(self._untakeover_due, self.run_untakeover, manager,
                      context)

    def record_activations(self, manager: typing.Any,
                           context: typing.Any) -> None:
        """Store activations in nodes that have none or others; never fails.
        """
        if ring.shutting_down(manager):
            return
        with self._caring('activations'):
            for node in self._within_budget(self._memories.unrecorded()):
                try:
                    self._record(context, node)
                except ironic_exception.NodeLocked:
                    self._memories.postpone(
                        node, time.monotonic() + RECORD_RETRY)
                except ironic_exception.NodeNotFound:
                    self._memories.forget(node)

    def _run_due(self, due: ring.Due, run: typing.Any,
                 manager: typing.Any, context: typing.Any) -> None:
        rings = ring.read(manager)
        began = time.monotonic()
        if rings is None or not due.due(began, rings):
            return
        if not self._passing.acquire(blocking=False):
            return      # in a second it is still due
        try:
            with self._caring(run.__name__):
                run(snapshot.Snapshot(manager, rings), context)
                due.done(began, rings)
                if due is self._untakeover_due:
                    self._look_at_neighbours(manager)
                    self._cleaner.look(snapshot.Snapshot(
                        manager, rings).existing, began)
        finally:
            self._passing.release()

    def _look_at_neighbours(self, manager: typing.Any) -> None:
        """Say that the locks do not reach all conductors, if it is so."""
        if self._neighbours is None:
            try:
                self._neighbours = neighbours.Watch(
                    CONF[conf.GROUP].coordination_url, manager.host,
                    grace=NEIGHBOUR_GRACE + CONF.conductor.heartbeat_timeout)
            except exception.CoordinationError:
                return      # no console is opened, and that says why
        text = self._neighbours.look(manager.dbapi, time.monotonic())
        if text:
            LOG.error('%s', text)

    @contextlib.contextmanager
    def _caring(self, what: str) -> Iterator[None]:
        """Log a failure, and the same one only once until it is over."""
        try:
            yield
        except Exception as error:
            kind = type(error).__name__
            if self._failing.get(what) == kind:
                return
            self._failing[what] = kind
            if isinstance(error, db_exception.DBError):
                LOG.warning('The database does not answer; consoles stay as '
                            'they are until it does (%(what)s): %(error)s',
                            {'what': what, 'error': bridge_log.printable(
                                error, 512)})
            else:
                LOG.exception('Consoles could not be looked after (%s); it '
                              'is tried again.', what)
        else:
            if self._failing.pop(what, ''):
                LOG.info('Consoles are looked after again (%s).', what)

    # takeover

    def run_takeover(self, nodes: snapshot.Snapshot,
                     context: typing.Any) -> None:
        """Open and update what should be open here."""
        before = time.monotonic()
        opened = {console.node: console for console in self._pool.consoles()}
        rows = nodes.rows(nodes.enabled())
        wanted = moves.to_open(rows.values(), nodes.mapped, self._pool.ended)
        specs, unported = self._changes(wanted, opened, before)
        self._open(nodes, specs, opened, before)
        adopted = self._to_adopt(row for row in rows.values() if (
            moves.adoptable(row) and nodes.mapped(row)))
        for node in self._within_budget([*unported, *adopted]):
            with contextlib.suppress(*_LATER):
                if node in adopted:
                    self._adopt(nodes, context, node)
                else:
                    self._open_locked(context, node)

    def _to_adopt(self, rows: Iterable[moves.Row]) -> set[str]:
        """The nodes that had a console of ipmitool-socat up to now."""
        free = [row for row in rows if not row.reservation]
        running = orphans.in_tree_of([row.uuid for row in free])
        return {row.uuid for row in free if row.uuid in running
                or node_info.IN_TREE_PORT_KEY in row.driver_internal_info}

    def _changes(self, wanted: Iterable[moves.Row],
                 opened: dict[str, keeper.OpenConsole], before: float,
                 ) -> tuple[list[spec.ConsoleSpec], list[str]]:
        """The specs to open, and the nodes that have no port yet."""
        specs: dict[str, spec.ConsoleSpec] = {}
        unported: list[str] = []
        for row in wanted:
            try:
                info = node_info.parse(row)
                port = node_ports.recorded(row, info.terminal_port)
                if port is None:
                    unported.append(row.uuid)
                    continue
                one = opening.make_spec(row, info, port)
            except ironic_exception.InvalidParameterValue as error:
                self.complain(row.uuid, str(error))
                continue
            self._complaints.settle(row.uuid)
            console = opened.get(row.uuid)
            if console is None or console.spec != one:
                specs[row.uuid] = one
                opening.recall(row, self._memories)
            if console is not None and console.generation != one.generation:
                # it was stopped and started again by another conductor
                self._pool.close_if(row.uuid, console.generation, before)
        new = {node: one.tcp_port for node, one in specs.items()
               if node not in opened
               or opened[node].spec.tcp_port != one.tcp_port}
        given = self._ports.take_many(new)
        for node in new:
            if node not in given:
                del specs[node]
                unported.append(node)
        return list(specs.values()), unported

    def _open(self, nodes: snapshot.Snapshot,
              specs: Collection[spec.ConsoleSpec],
              opened: dict[str, keeper.OpenConsole],
              before: float) -> None:
        """Open consoles, and let people in where that is still right."""
        pending = {one.node: one for one in self._pool.open_many(
            specs, admit=False, before=before)}
        after = time.monotonic()
        for console in opened.values():
            # an earlier pass did not come to this
            if not console.admitted:
                pending.setdefault(console.node, console.spec)
        if not pending:
            return
        again = moves.to_open(nodes.rows(pending).values(), nodes.mapped,
                              self._pool.ended)
        still = {row.uuid: row.generation for row in again}
        self._pool.admit_many([
            one for node, one in pending.items()
            if still.get(node) == one.generation])
        closed = [
            node for node, one in pending.items()
            if still.get(node) != one.generation
            and self._pool.close_if(node, one.generation, after)]
        self._ports.release(*closed)
        count = len(pending) - len(closed)
        if count:
            LOG.info('%(count)d consoles were opened here or brought up to '
                     'date.', {'count': count})

    def _open_locked(self, context: typing.Any, node_uuid: str) -> None:
        """Choose the port of a node and open its console."""
        with self._lock(context, node_uuid,
                        'choosing the TCP port of a console') as task:
            if moves.should_be_open(moves.Row.of(task.node)):
                self._open_task(task)

    def _open_task(self, task: typing.Any) -> None:
        """Open the console of a marked node that is locked."""
        wanted = self.wanted(task)
        if wanted is not None:
            self._complaints.settle(wanted.node)
            self._pool.open_many([wanted], admit=True)

    def wanted(self, task: typing.Any) -> spec.ConsoleSpec | None:
        """What the console of a marked node that is locked should be.

        Chooses its port, tells the bridges what they knew of the node, and
        saves the node.

        :returns: None if it cannot be opened; why has been said.
        """
        node = task.node
        try:
            info = node_info.parse(node)
            port = self._ports.take(task, info.terminal_port)
            wanted = opening.make_spec(node, info, port)
        except (ironic_exception.InvalidParameterValue,
                exception.PortError) as error:
            self.complain(node.uuid, str(error))
            return None
        finally:
            opening.save(node)
        opening.recall(node, self._memories)
        return wanted

    def _adopt(self, nodes: snapshot.Snapshot, context: typing.Any,
               node_uuid: str) -> None:
        """Replace a console of ipmitool-socat by one of ours."""
        with self._lock(context, node_uuid,
                        'taking over a console of ipmitool-socat') as task:
            node = task.node
            row = moves.Row.of(node)
            if not moves.adoptable(row):
                return
            self._end_in_tree(orphans.in_tree(node_uuid))
            node.del_driver_internal_info(node_info.IN_TREE_PORT_KEY)
            opening.mark(node, self._pool)
            LOG.info('The console of node %s was one of ipmitool-socat and '
                     'is one of solconsole from now on.', node_uuid)
            if nodes.mapped(row):
                self._open_task(task)
            else:
                opening.save(node)

    def stopped(self, node: typing.Any, generation: str,
                grace: float) -> None:
        """The console of a node, which is locked, was stopped.

        :param grace: seconds for which it is parked, 0 if it is not.
        """
        # what was said of it does not count any more
        self._complaints.settle(node.uuid)
        if grace:
            self._parked.note(node, generation, time.monotonic() + grace)
        else:
            self._parked.forget(node.uuid)

    def complain(self, node: str, problem: str) -> None:
        """Say once why a console that is on cannot be opened."""
        if self._complaints.new(node, problem):
            LOG.error('The console of node %(node)s cannot be opened or '
                      'brought up to date, and stays as it is until this '
                      'is corrected: %(problem)s',
                      {'node': node,
                       'problem': bridge_log.printable(problem)})

    # untakeover

    def run_untakeover(self, nodes: snapshot.Snapshot,
                       context: typing.Any) -> None:
        """Close what should not be open here, end what was left behind."""
        before = time.monotonic()
        opened = self._pool.consoles()
        rows = nodes.rows([*(console.node for console in opened),
                           *recorded_in_tree(), *self._to_unmark])
        self._close(nodes, moves.to_close(opened, rows, nodes.mapped),
                    before)
        for text in orphans.end_bridges(self._run_dir):
            LOG.warning('%s', text)
        for node, found in orphans.in_tree_of(
                [row.uuid for row in rows.values() if row.ours]).items():
            self._end_left_behind(nodes, context, rows[node], found)
        self._to_unmark = {row.uuid for row in rows.values()
                           if moves.to_unmark(row)}
        for node in self._within_budget(list(self._to_unmark)):
            with contextlib.suppress(ironic_exception.NodeLocked):
                self._unmark(context, node)
                self._to_unmark.discard(node)

    def _close(self, nodes: snapshot.Snapshot,
               found: Collection[tuple[keeper.OpenConsole, moves.Why]],
               before: float) -> None:
        """Close consoles, where that is still right."""
        if not found:
            return
        consoles = [console for console, _ in found]
        rows = nodes.rows(console.node for console in consoles)
        closed = []
        for console, why in moves.to_close(consoles, rows, nodes.mapped):
            if self._pool.close_if(console.node, console.generation, before):
                closed.append(console.node)
                LOG.info('The console of node %(node)s is closed here: '
                         '%(why)s.', {'node': console.node, 'why': why})
        self._ports.release(*closed)

    def _end_parked(self, manager: typing.Any) -> None:
        """Close consoles whose nodes were taken from under their parking.
        """
        waiting = self._parked.now(time.monotonic())
        rings = ring.read(manager) if waiting else None
        if rings is None:
            return
        with self._caring('parked consoles'):
            nodes = snapshot.Snapshot(manager, rings)
            rows = nodes.rows(one.node for one in waiting)
            for one, why in parked.to_end(waiting, rows, nodes.mapped):
                self._parked.forget(one.node, one.generation)
                if self._pool.close_parked(one.node, one.generation):
                    LOG.info('The console of node %(node)s, which was '
                             'parked, is closed here: %(why)s.',
                             {'node': one.node, 'why': why})

    def _end_left_behind(self, nodes: snapshot.Snapshot,
                         context: typing.Any, row: moves.Row,
                         found: orphans.InTree) -> None:
        """End the ipmitool-socat of a node that uses solconsole now."""
        if moves.adoptable(row):
            # it tells the conductor that has the node what there was
            if not row.reservation:
                with contextlib.suppress(*_LATER):
                    self._adopt(nodes, context, row.uuid)
        else:
            self._end_in_tree(found)

    def _end_in_tree(self, found: orphans.InTree | None) -> None:
        if found is not None:
            LOG.warning('Node %(node)s uses solconsole now, but the console '
                        'processes of ipmitool-socat were still there. '
                        '%(done)s', {'node': found.node,
                                     'done': found.end()})

    def _unmark(self, context: typing.Any, node_uuid: str) -> None:
        """The node has another interface: take our marker from it."""
        try:
            with self._lock(context, node_uuid,
                            'removing the marker of a console') as task:
                if moves.to_unmark(moves.Row.of(task.node)):
                    opening.unmark(task.node, self._memories)
                    opening.save(task.node)
        except ironic_exception.NodeNotFound:
            pass

    # Activations

    def _record(self, context: typing.Any, node_uuid: str) -> None:
        """Store the activation of a node whose console is open here."""
        activation = self._memories.pending(node_uuid)
        if activation is None:
            self._memories.forget(node_uuid)
            return
        with self._lock(context, node_uuid,
                        'storing the session of a console') as task:
            node = task.node
            generation = node_info.generation(node)
            if (not generation
                    or generation != self._pool.generation(node_uuid)):
                self._memories.forget(node_uuid)
                return
            store(node, activation)
            opening.save(node)
            self._memories.recorded(node_uuid, activation)

    # Helpers

    def _lock(self, context: typing.Any, node_uuid: str,
              purpose: str) -> typing.Any:
        """Lock a node, or do without: nobody is to wait for a pass.

        :raises: NodeLocked, NodeNotFound
        """
        return task_manager.acquire(
            context, node_uuid, shared=False, retry=False,
            load_driver=False, purpose=purpose)

    def _within_budget(self, nodes: Iterable[str]) -> Iterator[str]:
        """Nodes, until they have taken long enough."""
        until = time.monotonic() + LOCKING_BUDGET
        for node in nodes:
            yield node
            if time.monotonic() >= until:
                LOG.debug('The other nodes are left to the next pass.')
                return


def store(node: typing.Any, activation: typing.Any) -> None:
    """Note an activation in a node, unless it is there already."""
    key = node_info.ACTIVATION_KEY
    if node.driver_internal_info.get(key) != activation:
        node.set_driver_internal_info(key, activation)


def recorded_in_tree() -> set[str]:
    """UUIDs of the nodes for which ipmitool-socat has noted a process."""
    directory = pathlib.Path(CONF.console.terminal_pid_dir or CONF.tempdir)
    found = set()
    with contextlib.suppress(OSError):
        for path in directory.glob('*.pid'):
            with contextlib.suppress(ValueError):
                found.add(str(uuid.UUID(path.stem)))
    return found
