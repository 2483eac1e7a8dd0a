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

"""The console interface ``solconsole``.

Everything that lives longer than a call is in the bridge processes; here
is what Ironic asks for. Ironic's ways that shape it: an exception from
start_console while ``console_enabled`` is True switches the console off for
good, so there is none for anything that may heal; start comes without a
stop before it, so it is idempotent; teardown stops a console and leaves
``console_enabled`` True, so that a marker of our own (the generation in
``driver_internal_info``) says whether a console should be open. Consoles
that belong here and that Ironic does not start, and those that belong
elsewhere now, are the matter of takeover.py.
"""

import dataclasses
import logging as stdlib_logging
import pathlib
import sys
import threading
import time
import typing

from ironic.common import context as ironic_context
from ironic.common import exception as ironic_exception
from ironic.common import states
from ironic.conductor import periodics
from ironic.conductor import task_manager
from ironic.conf import CONF
from ironic.drivers import base
from oslo_log import log

from ironic_solconsole import conf
from ironic_solconsole import control
from ironic_solconsole import driver_info
from ironic_solconsole import exception
from ironic_solconsole.driver import bounded
from ironic_solconsole.driver import bridge_log
from ironic_solconsole.driver import bridges
from ironic_solconsole.driver import complaints
from ironic_solconsole.driver import database
from ironic_solconsole.driver import hardware
from ironic_solconsole.driver import keeper
from ironic_solconsole.driver import memories as node_memories
from ironic_solconsole.driver import node_info
from ironic_solconsole.driver import node_ports
from ironic_solconsole.driver import opening
from ironic_solconsole.driver import options as solconsole_options
from ironic_solconsole.driver import parked as parked_consoles
from ironic_solconsole.driver import ring
from ironic_solconsole.driver import run_dir
from ironic_solconsole.driver import takeover
from ironic_solconsole.driver import transcripts
from ironic_solconsole.driver import verdict
from ironic_solconsole.driver.metrics import METRICS

LOG = log.getLogger(__name__)

#: Seconds within which start_console ends: Nova gives up after 10.
START_BUDGET = 8.5

#: Seconds of it for a bridge process to come up.
START_PATIENCE = 4.0

#: Seconds of it for a port in use to become free: our own bridge that is
#: ending takes 2.
PORT_PATIENCE = 4.0

#: Seconds after a stop in which a start does not fail for the BMC's sake.
RECENTLY_ON = 60.0

#: Why Ironic says that it holds a node whose console is switched through
#: the API (ironic.conductor.manager).
SWITCHING = 'setting console mode'

#: Nodes whose last stop, or memory, is remembered.
MAX_REMEMBERED = 8192

#: Tries to find a port that nothing else on the host listens on.
MAX_PORTS_TRIED = 20

#: Seconds that a bridge has to close its consoles when its conductor hangs,
#: before others count the conductor as gone.
CONDUCTOR_MARGIN = 2.0


class SolConsole(base.ConsoleInterface):
    """A shared, self-healing serial console over IPMI Serial over LAN."""

    def __init__(self) -> None:
        super().__init__()
        conf.register_opts(CONF)
        self._wrong = solconsole_options.check()
        hardware.accept(type(self))
        self._manager: typing.Any = None
        self._manager_known = threading.Event()
        self._guarded = False
        self._complaints = complaints.Complaints()
        self._contact: database.Contact | None = None
        self._stopped: bounded.BoundedDict[str, float] = (
            bounded.BoundedDict(MAX_REMEMBERED))
        #: Where consoles were that have been stopped.
        self._left: bounded.BoundedDict[str, str] = (
            bounded.BoundedDict(MAX_REMEMBERED))
        options = CONF[conf.GROUP]
        self._run_dir = pathlib.Path(options.run_dir)
        self._ports = node_ports.NodePorts(self._run_dir)
        self._memories = node_memories.Memories(MAX_REMEMBERED)
        interval = min(keeper.DEFAULT_TIMING.ping_interval,
                       CONF.conductor.heartbeat_timeout / 10)
        timing = dataclasses.replace(
            keeper.DEFAULT_TIMING, ping_interval=interval,
            tick=min(keeper.DEFAULT_TIMING.tick, interval / 2),
            # a process with a parked console is needed for as long
            idle=max(keeper.DEFAULT_TIMING.idle,
                     options.reset_grace + 2.0))
        self._pool = bridges.BridgePool(
            bridges.starter(self._command, self._bridge_options,
                            self._memories, timing),
            options.bridges, self._port_lost, self._memories, timing,
            self._database_age)
        self._passes = takeover.Takeover(
            self._pool, self._ports, self._memories, self._run_dir)

    # What Ironic calls

    def get_properties(self) -> dict[str, str]:
        """Fields of driver_info, with what they mean."""
        return dict(driver_info.PROPERTIES)

    @METRICS.timer('SolConsole.validate')
    def validate(self, task: typing.Any) -> None:
        """Complain about driver_info, but only while the console is off.

        Ironic validates before it disables a console as well: a bad edit
        must not make that impossible.

        :raises: InvalidParameterValue, MissingParameterValue
        """
        node = task.node
        try:
            self._check_options()
            node_info.parse(node)
            node_ports.ranges()
            solconsole_options.coordination()
        except ironic_exception.InvalidParameterValue as error:
            if not (node.console_enabled or node_info.generation(node)):
                raise
            self._complain_once(node.uuid, str(error))
        else:
            self._complaints.settle(node.uuid)

    @METRICS.timer('SolConsole.start_console')
    def start_console(self, task: typing.Any) -> None:
        """Open the console of the task's node.

        A console that is on already (the conductor starts, the node is
        taken over or deployed) is accepted whatever the BMC says, and
        heals. One that is off is enabled only if that makes sense now.

        :raises: InvalidParameterValue, MissingParameterValue for a bad
            driver_info or configuration, if the console is off.
        :raises: ConsoleError if it is off and cannot be opened.
        """
        if task.node.console_enabled:
            self._resume(task)
        else:
            self._check_options()
            self._enable(task)

    @METRICS.timer('SolConsole.stop_console')
    def stop_console(self, task: typing.Any) -> None:
        """Close the console; when this returns no byte of it passes.

        Reads no driver_info: a node with a broken one can be stopped.
        Stopped through the API it is parked for a while: Nova stops and
        starts a console each time that somebody opens it.
        """
        node = task.node
        marker = node_info.generation(node)
        grace = _grace(task)
        # '' as well: the port of an earlier start may be another node's
        self._left[node.uuid] = self._pool.url(node.uuid, marker)
        if marker:
            self._stopped[node.uuid] = time.monotonic()
        self._pool.close(node.uuid, marker, park=grace)
        self._passes.stopped(node, marker, grace)
        self._complaints.settle(node.uuid)
        self._ports.release(node.uuid)
        opening.unmark(node, self._memories)
        if node.provision_state == states.DELETING:
            node.set_driver_internal_info(node_info.TORN_DOWN_KEY, True)
        else:
            node.del_driver_internal_info(node_info.TORN_DOWN_KEY)
        opening.save(node)

    @METRICS.timer('SolConsole.get_console')
    def get_console(self, task: typing.Any) -> dict[str, str]:
        """Where the console can be reached; asks nobody.

        :raises: ConsoleError if no bridge of this conductor listens for
            this start of this node's console.
        """
        if self._wrong:
            raise ironic_exception.ConsoleError(
                str(solconsole_options.unusable(self._wrong)))
        node = task.node
        marker = node_info.generation(node)
        if left := self._being_stopped(node, marker):
            return {'type': 'socat', 'url': left}
        if not marker:
            # teardown stops a console and leaves console_enabled True
            raise ironic_exception.ConsoleError(
                f'The console of node {node.uuid} is closed. The next '
                'deployment opens it again, and so does disabling and '
                'enabling it.')
        url = self._pool.url(node.uuid, marker)
        if not url:
            raise ironic_exception.ConsoleError(
                f'The console of node {node.uuid} is being moved here, or '
                'its console process is starting; try again in a few '
                'seconds.')
        return {'type': 'socat', 'url': url}

    @periodics.periodic(spacing=30, run_immediately=True)
    def watch_conductor(self, manager: typing.Any,
                        context: typing.Any) -> None:
        """Learn who the conductor is, and end with it.

        There is no hook for the end of a conductor, but it waits for its
        workers; one of them waits for the end.
        """
        self._manager = manager
        if not self._manager_known.is_set():
            self._manager_known.set()
            problem = self._hindrance(manager)
            if problem:
                LOG.error('No console can be opened: %s', problem)
            self._contact = database.contact(manager)
            if self._contact is not None:
                self._contact.start()
        if not self._guarded:
            try:
                manager._spawn_worker(self._guard, manager)
                self._guarded = True
            except ironic_exception.NoFreeConductorWorker:
                LOG.debug('No free worker to watch for the end of this '
                          'conductor; trying again.')

    @periodics.periodic(spacing=1, run_immediately=True)
    @METRICS.timer('SolConsole.takeover')
    def takeover(self, manager: typing.Any, context: typing.Any) -> None:
        """Open what should be open here, when it is time to look."""
        if not self._wrong:
            self._passes.takeover(manager, context)

    @periodics.periodic(spacing=1, run_immediately=True)
    @METRICS.timer('SolConsole.untakeover')
    def untakeover(self, manager: typing.Any, context: typing.Any) -> None:
        """Close what should not be open here, when it is time to look."""
        if not self._wrong:
            self._passes.untakeover(manager, context)

    @periodics.periodic(spacing=1)
    @METRICS.timer('SolConsole.record_activations')
    def record_activations(self, manager: typing.Any,
                           context: typing.Any) -> None:
        """Keep in the nodes which sessions their consoles have."""
        self._passes.record_activations(manager, context)

    def _check_options(self) -> None:
        """Complain about options that cannot be used.

        :raises: InvalidParameterValue
        """
        if self._wrong:
            raise solconsole_options.unusable(self._wrong)

    def _hindrance(self, manager: typing.Any) -> str:
        """What keeps every console of this conductor closed, or ''."""
        try:
            self._check_options()
            run_dir.prepare(self._run_dir)
            run_dir.socket_path(self._run_dir, manager.host, 0)
            node_ports.ranges()
            solconsole_options.coordination()
        except (exception.BridgeUnavailable,
                ironic_exception.InvalidParameterValue) as error:
            return str(error)
        return ''

    # Starting

    def _resume(self, task: typing.Any) -> None:
        """Start a console that is on: never fails, never waits."""
        try:
            self._resume_console(task)
        except Exception:
            # a database that is away, or a defect: to raise would switch
            # the console off for good
            LOG.exception('The console of node %s could not be started; it '
                          'stays as it is.', task.node.uuid)

    def _resume_console(self, task: typing.Any) -> None:
        node = task.node
        if self._wrong:
            LOG.warning('The console of node %s stays closed until the '
                        'configuration of this conductor is corrected.',
                        node.uuid)
            return
        if (node.driver_internal_info.get(node_info.TORN_DOWN_KEY)
                and node.provision_state not in parked_consoles.OCCUPIED):
            LOG.debug('The console of node %s was closed by a teardown and '
                      'stays closed until the next deployment.', node.uuid)
            return
        opening.mark(node, self._pool)
        wanted = self._passes.wanted(task)
        if wanted is None:
            return
        try:
            self._pool.open(wanted)
        except exception.ControlError as error:
            LOG.info('The console of node %(node)s will be opened as soon '
                     'as it can be: %(error)s',
                     {'node': node.uuid, 'error': error})

    def _enable(self, task: typing.Any) -> None:
        """Start a console that is off, and see whether it works."""
        node = task.node
        began = time.monotonic()
        healing = self._was_on(node.uuid)
        info = node_info.parse(node)
        opening.mark(node, self._pool)
        opening.recall(node, self._memories)
        try:
            status, waited = self._open_settled(task, info, began)
            self._record(node)
            if status.get('taken_up') or not CONF[conf.GROUP].start_wait:
                return
            failure = verdict.failure(
                status, waited,
                f'RMCP+ on UDP {info.bmc} with cipher suite '
                f'{" or ".join(map(str, info.suites))}')
            if failure is None:
                return
            problem = verdict.sentence(failure, node.uuid, info.bmc)
        except exception.PortError as error:
            # without a port there is nothing that could heal
            self._give_up(node)
            raise ironic_exception.ConsoleError(
                f'node {node.uuid}: {error}') from error
        except (exception.ControlError,
                ironic_exception.InvalidParameterValue) as error:
            problem = f'node {node.uuid}, BMC {info.bmc}: {error}'
            if not isinstance(error, exception.BridgeUnavailable):
                healing = False     # nothing that passes by itself
        except BaseException:
            self._give_up(node)
            raise
        if healing:
            LOG.warning('The console was on a moment ago and is expected '
                        'to come back: %s', bridge_log.printable(problem))
            return
        self._give_up(node)
        raise ironic_exception.ConsoleError(
            f'no serial console: {bridge_log.printable(problem)}')

    def _open_settled(self, task: typing.Any, info: driver_info.ConsoleInfo,
                      began: float) -> tuple[control.Json, float]:
        """Open a console and wait for the link's first verdict.

        :returns: the status, and how long the link was given.
        :raises: PortError, ControlError
        """
        node = task.node
        avoid: set[int] = set()
        while True:
            remembered = node_ports.remembered(node)
            port = self._ports.take(task, info.terminal_port, avoid)
            opening.save(node)
            now = time.monotonic()
            try:
                status = self._pool.open(
                    opening.make_spec(node, info, port),
                    wait=CONF[conf.GROUP].start_wait,
                    patience=START_PATIENCE,
                    budget=began + START_BUDGET - now)
                return status, time.monotonic() - now
            except exception.PortInUse as error:
                # new ports are tried at once, one that is known for a while
                if port == remembered or info.terminal_port is not None:
                    if time.monotonic() - began < PORT_PATIENCE:
                        time.sleep(0.2)
                        continue
                    if info.terminal_port is not None:
                        raise
                    self._log_moved(node.uuid, str(error))
                elif (len(avoid) >= MAX_PORTS_TRIED
                        or time.monotonic() - began > PORT_PATIENCE):
                    raise
                avoid.add(port)

    def _record(self, node: typing.Any) -> None:
        """Note the session that the console has, if it has one already.

        Ironic saves the node when it has been told that the start succeeded,
        and a database takes longer than all the rest.
        """
        activation = self._memories.pending(node.uuid)
        if activation is not None:
            takeover.store(node, activation)
            self._memories.recorded(node.uuid, activation)

    def _give_up(self, node: typing.Any) -> None:
        """Undo a start: the console is off again; its port stays."""
        self._pool.close(node.uuid, node_info.generation(node))
        self._ports.release(node.uuid)
        opening.unmark(node, self._memories)
        opening.save(node)

    def _was_on(self, node: str) -> bool:
        stopped = self._stopped.get(node)
        return (stopped is not None
                and time.monotonic() - stopped < RECENTLY_ON)

    def _being_stopped(self, node: typing.Any, marker: str) -> str:
        """Where a console was that is on only because Ironic has not
        written down yet that it was stopped; else ''.

        Nova asks within milliseconds. An error, or that the console is off,
        would make it enable the console at once, which Ironic ignores as
        long as it takes it for enabled; Nova would wait for 10 seconds. A
        node that has not been written to later than that had no stop that
        ended well, and its port may become another node's.
        """
        if self._was_on(node.uuid) and (
                self._pool.ended(marker) if marker else
                node_info.TORN_DOWN_KEY not in node.driver_internal_info):
            return self._left.get(node.uuid, '')
        return ''

    def _complain_once(self, node: str, complaint: str) -> None:
        if self._complaints.new(node, complaint):
            LOG.warning('The console of node %(node)s is on, and could not '
                        'be enabled again if it were off: %(complaint)s',
                        {'node': node, 'complaint': complaint})

    # Ports in use

    def _port_lost(self, node: str, generation: str, holder: str) -> None:
        """A console that is on cannot have its port: see to another one."""
        if self._manager is None:
            return
        try:
            self._manager._spawn_worker(
                self._move_port, node, generation, holder)
        except ironic_exception.NoFreeConductorWorker:
            LOG.debug('No worker to move the console of node %s to another '
                      'TCP port; trying again.', node)

    def _move_port(self, node_uuid: str, generation: str,
                   holder: str) -> None:
        """Worker: give a node a new port and open its console there."""
        context = ironic_context.get_admin_context()
        try:
            with task_manager.acquire(
                    context, node_uuid, shared=False,
                    purpose='moving a console to a free TCP port') as task:
                node = task.node
                info = node_info.parse(node)
                port = node_ports.remembered(node)
                if (node_info.generation(node) != generation
                        or port is None
                        or info.terminal_port is not None
                        or self._pool.url(node_uuid, generation)):
                    return
                self._log_moved(node_uuid, holder)
                new_port = self._ports.take(task, None, [port])
                opening.save(node)
                self._pool.open(opening.make_spec(node, info, new_port))
        except (exception.SolConsoleError,
                ironic_exception.IronicException) as error:
            LOG.warning('The console of node %(node)s is not moved to '
                        'another TCP port yet: %(error)s',
                        {'node': node_uuid, 'error': error})

    def _log_moved(self, node: str, holder: str) -> None:
        LOG.warning('The console of node %(node)s moves to a new TCP port, '
                    'as its own is in use: %(holder)s',
                    {'node': node, 'holder': bridge_log.printable(holder)})

    # Bridges

    def _bridge_options(self, number: int) -> control.Json:
        """The arguments of configure: plain values of our options.

        :raises: BridgeUnavailable if run_dir or coordination_url cannot be
            used.
        """
        if not self._manager_known.wait(START_PATIENCE):
            raise exception.BridgeUnavailable(
                'this conductor is still starting')
        run_dir.prepare(self._run_dir)
        host = self._manager.host
        path = run_dir.socket_path(self._run_dir, host, number)
        options = CONF[conf.GROUP]
        try:
            settings = solconsole_options.coordination()
        except ironic_exception.InvalidParameterValue as error:
            raise exception.BridgeUnavailable(str(error)) from None
        return {
            'host': host, 'socket': str(path),
            'coordination': settings.to_json(),
            'conductor_timeout': max(
                1.0, CONF.conductor.heartbeat_timeout - CONDUCTOR_MARGIN),
            'max_clients': options.max_clients,
            'max_clients_per_address': options.max_clients_per_address,
            'client_mode': options.client_mode,
            'client_buffer': options.client_buffer,
            'scrollback': options.scrollback,
            'notices': options.notices,
            'notice_detail': options.notice_detail,
            'allowed_clients': list(options.allowed_clients),
            'idle_timeout': CONF.console.terminal_timeout,
            'keepalive_interval': options.keepalive_interval,
            'login_concurrency': options.login_concurrency,
            'linger': options.linger,
            'transcript': transcripts.bridge_options(),
            'log_level': stdlib_logging.getLogger(
                'ironic_solconsole').getEffectiveLevel()}

    def _command(self, number: int, descriptor: int) -> list[str]:
        # -P: nothing is imported from the current directory
        return [sys.executable, '-P', '-m', 'ironic_solconsole.bridge',
                '--host', self._manager.host, '--bridge', str(number),
                '--control-fd', str(descriptor)]

    def _guard(self, manager: typing.Any) -> None:
        """Worker: wait for the end of the conductor, then end with it."""
        while not ring.shutting_down(manager):
            flag = manager._shutdown
            if isinstance(flag, threading.Event):
                flag.wait(60)
            else:
                time.sleep(0.2)
        if self._contact is not None:
            self._contact.stop()
        self._pool.shut_down()
        self._ports.release('')

    def _database_age(self) -> float | None:
        """Seconds since the last contact with the database, if known."""
        return None if self._contact is None else self._contact.age()


def _grace(task: typing.Any) -> float:
    """Seconds for which a console that is stopped may be taken up again.

    Teardown and deletion are for good. A release of Ironic that tells its
    purpose otherwise has no parked consoles, and closes them as well.
    """
    if (getattr(task, '_purpose', '') != SWITCHING
            or task.node.provision_state == states.DELETING):
        return 0.0
    return float(CONF[conf.GROUP].reset_grace)
