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

"""The set of consoles of one bridge process, and the verbs it answers.

The conductor's connection may send every verb. The UNIX socket for the
command line offers those that open nothing and tell no secret, to root and
to the conductor's own user only.
"""

import asyncio
import collections
import collections.abc
import contextlib
import logging
import os
import pathlib
import secrets
import typing

from ironic_solconsole import control
from ironic_solconsole import coordination
from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec
from ironic_solconsole.bridge import access
from ironic_solconsole.bridge import arguments
from ironic_solconsole.bridge import askers
from ironic_solconsole.bridge import audience as bridge_audience
from ironic_solconsole.bridge import backends
from ironic_solconsole.bridge import console as bridge_console
from ironic_solconsole.bridge import descriptors
from ironic_solconsole.bridge import lease as console_lease
from ironic_solconsole.bridge import listener as bridge_listener
from ironic_solconsole.bridge import operators
from ironic_solconsole.bridge import quiet
from ironic_solconsole.bridge import transcript_service
from ironic_solconsole.bridge import wire
from ironic_solconsole.sol import link as sol_link

LOG = logging.getLogger(__name__)

#: Seconds a bridge may take to log out of its BMCs before it exits; the
#: promise is that it is gone within 2 s of its conductor, with its locks.
SHUTDOWN_TIMEOUT = 1.25

MAX_WAIT = 30.0             # seconds an open may be asked to wait
MAX_PARK = 60.0             # seconds
MAX_MEMORIES = 16384        # nodes, open or closed
MAX_CLIENTS = 64            # command-line clients at a time
_SUN_PATH = 107             # bytes, unix(7), less the end mark

_Verb = typing.Callable[
    [control.Json], typing.Coroutine[None, None, control.Json]]


def _audience_settings(
        options: control.Json) -> bridge_audience.AudienceSettings:
    """The options about viewers.

    :raises: RequestRefused
    """
    networks = options.get('allowed_clients')
    try:
        if not isinstance(networks, list) or not all(
                isinstance(network, str) for network in networks):
            raise ValueError('it is not a list')
        gate = access.Gate(networks)
    except ValueError as error:
        raise exception.RequestRefused(
            'bad-request', 'allowed_clients must be a list of networks: '
            f'{error}') from None
    return bridge_audience.AudienceSettings(
        max_clients=int(arguments.number(options, 'max_clients', 1, 256)),
        max_clients_per_address=int(
            arguments.number(options, 'max_clients_per_address', 0, 256)),
        exclusive=arguments.choice(
            options, 'client_mode', 'shared', 'exclusive') == 'exclusive',
        client_buffer=int(arguments.number(
            options, 'client_buffer', 4096, 64 * 1024 * 1024)),
        scrollback=int(
            arguments.number(options, 'scrollback', 0, 1024 * 1024)),
        notices=arguments.flag(options, 'notices'),
        full=arguments.choice(
            options, 'notice_detail', 'brief', 'full') == 'full',
        idle_timeout=arguments.number(options, 'idle_timeout', 0, 1e9),
        gate=gate)


def _of_name(consoles: dict[str, bridge_console.Console],
             wanted: str) -> bridge_console.Console | None:
    """The console of a node, by UUID or name."""
    return consoles.get(wanted) or next(
        (console for console in consoles.values()
         if console.spec.name == wanted), None)


class Service:
    """The consoles of this process.

    :param tell: gives an event to the conductor.
    :param host: name of the conductor.
    """

    def __init__(
            self, tell: collections.abc.Callable[[control.Event], object],
            host: str) -> None:
        self._tell = tell
        self._host = host
        self._leases: console_lease.LeaseKeeper | None = None
        self._consoles: dict[str, bridge_console.Console] = {}
        self._parked: dict[str, bridge_console.Console] = {}
        self._leaving: dict[str, bridge_console.Console] = {}
        self._memories: collections.OrderedDict[
            str, sol_link.LinkMemory] = collections.OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._limits: bridge_console.Limits | None = None
        self._login_slots = asyncio.Semaphore(1)
        self._clients: list[wire.Connection] = []
        self._refusals = quiet.Quiet()
        self._listing = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._socket_path: pathlib.Path | None = None
        self._socket_inode = 0
        self._short_of_files = False
        self._verbs: dict[str, _Verb] = {
            'configure': self._configure,
            'open': self._open,
            'admit': self._admit,
            'close': self._close,
            'list': self._list,
            'show': self._show,
            'ping': self._ping,
            'transcripts': self._transcripts,
        }
        self._client_verbs = {'list', 'show', 'ping'}
        self._operators = operators.Operators(self._find)

    # -- answering -------------------------------------------------------

    async def answer_conductor(
            self, request: control.Request) -> control.Json:
        """Answer a request of the conductor.

        :raises: RequestRefused, SpecError.
        """
        verb = (self._heartbeat if request.verb == 'ping'
                else self._verbs.get(request.verb))
        offered = (self._operators.offers(request.verb)
                   and request.verb not in operators.UPGRADES)
        if verb is None and not offered:
            raise exception.RequestRefused(
                'unknown-verb', f'{request.verb[:64]!r} is not a verb')
        if self._limits is None and request.verb != 'configure':
            raise exception.RequestRefused(
                'not-configured', 'the first request must be configure')
        if verb is None:
            answer = await self._operators.answer(request, None)
            assert not isinstance(answer, wire.Upgrade)
            return answer
        return await verb(request.args)

    async def answer_client(self, request: control.Request,
                            asker: askers.Asker
                            ) -> control.Json | wire.Upgrade:
        """Answer a request of the command line.

        :param asker: who asks.
        :raises: RequestRefused.
        """
        if self._operators.offers(request.verb):
            return await self._operators.answer(request, asker)
        if request.verb not in self._client_verbs:
            raise exception.RequestRefused(
                'not-allowed',
                f'{request.verb[:64]!r} is not offered on this socket')
        return await self._verbs[request.verb](request.args)

    async def _configure(self, args: control.Json) -> control.Json:
        if self._limits is not None:
            raise exception.RequestRefused(
                'bad-request', 'this bridge is configured already')
        options = args.get('options')
        if not isinstance(options, dict):
            raise exception.RequestRefused(
                'bad-request', 'configure needs options')
        limits = bridge_console.Limits(
            audience=_audience_settings(options),
            keepalive_interval=int(
                arguments.number(options, 'keepalive_interval', 1, 20)),
            linger=arguments.number(options, 'linger', 0, 86400),
            transcripts=transcript_service.make(
                options.get('transcript'), self._host))
        slots = int(arguments.number(options, 'login_concurrency', 1, 1024))
        timeout = arguments.number(options, 'conductor_timeout', 1, 3600)
        dead = options.get('dead', [])
        if not isinstance(dead, list) or not all(
                isinstance(word, str) for word in dead):
            raise exception.RequestRefused(
                'bad-request', 'dead must be a list of member ids')
        try:
            settings = coordination.Coordination.from_json(
                options.get('coordination'))
            # Loading a library takes longer than the loop may wait.
            member = f'{self._host}:{os.getpid()}:{secrets.token_hex(8)}'
            backend = await asyncio.get_running_loop().run_in_executor(
                None, backends.make, settings, member)
        except (exception.CoordinationError, backends.BackendError) as error:
            raise exception.RequestRefused(
                'bad-coordination', str(error)) from None
        level = int(arguments.number(options, 'log_level', 0, 100))
        await self._listen(arguments.text(options, 'socket'))
        logging.getLogger().setLevel(level)
        self._login_slots = asyncio.Semaphore(slots)
        self._leases = console_lease.LeaseKeeper(
            settings, backend, timeout, dead)
        self._leases.start()
        if limits.transcripts is not None:
            limits.transcripts.start()
        self._limits = limits
        return {'pid': os.getpid(), 'version': str(control.VERSION),
                'member': member}

    async def _open(self, args: control.Json) -> control.Json:
        wait = arguments.number(args, 'wait', 0, MAX_WAIT)
        spec = console_spec.ConsoleSpec.from_json(args.get('spec'))
        admit = args.get('admit', True)
        if not isinstance(admit, bool):
            raise exception.RequestRefused(
                'bad-request', 'admit must be true or false')
        if 'memory' in args:
            memory = sol_link.LinkMemory.from_json(args['memory'])
            # A bridge that has been there longer knows better; only where
            # the node had its console meanwhile it does not know.
            self._memories.setdefault(spec.node, memory)
            if (spec.node not in self._consoles
                    and spec.node not in self._parked):
                self._memories[spec.node].learn(memory)
        parked = self._parked.pop(spec.node, None)
        if parked is not None:
            # A pass of the conductor must look at the node once more before
            # anybody is let in: that is no way back for those who are.
            if admit and parked.take_up(spec):
                self._consoles[spec.node] = parked
                return {**parked.status(), 'taken_up': True}
            self._leave(parked)
        try:
            console = self._opened(spec, admit)
        except exception.PortInUse as error:
            holder = await asyncio.get_running_loop().run_in_executor(
                None, bridge_listener.describe_holder, spec.tcp_port)
            raise exception.PortInUse(f'{error} by {holder}') from None
        if wait and admit:
            await console.wait_settled(wait)
        return console.status()

    def _opened(self, spec: console_spec.ConsoleSpec, admit: bool,
                ) -> bridge_console.Console:
        assert self._limits is not None and self._leases is not None
        console = self._consoles.get(spec.node)
        if console is not None:
            console.update(spec)
            if admit:
                console.admit()
        else:
            memory = self._memories.setdefault(
                spec.node, sol_link.LinkMemory())
            self._memories.move_to_end(spec.node)
            if len(self._memories) > MAX_MEMORIES:
                self._memories.popitem(last=False)
            console = bridge_console.Console(
                spec, self._limits, self._login_slots, memory,
                self._memory_changed, self._leases, admit,
                self._leaving.get(spec.node))
            self._consoles[spec.node] = console
            self._count_files()
        return console

    def _count_files(self) -> None:
        """Say once that the limit of open files is too low."""
        if self._short_of_files:
            return
        text = descriptors.shortage(
            len(self._consoles), descriptors.limit(),
            self._limits is not None
            and self._limits.transcripts is not None)
        if text:
            self._short_of_files = True
            LOG.warning('%s', text)

    def _memory_changed(self, console: bridge_console.Console) -> None:
        self._tell(control.Event('memory', {
            'node': console.spec.node, 'memory': console.memory.to_json()}))

    async def _admit(self, args: control.Json) -> control.Json:
        wanted = args.get('consoles')
        if not isinstance(wanted, list) or not all(
                isinstance(pair, list) and len(pair) == 2
                and all(isinstance(word, str) for word in pair)
                for pair in wanted):
            raise exception.RequestRefused(
                'bad-request', 'consoles must be a list of node and '
                'generation')
        admitted = []
        for node, generation in wanted:
            console = self._consoles.get(node)
            if console is not None and console.spec.generation == generation:
                console.admit()
                admitted.append(node)
        return {'admitted': admitted}

    async def _close(self, args: control.Json) -> control.Json:
        node = arguments.text(args, 'node')
        seconds = arguments.number({'park': 0, **args}, 'park', 0, MAX_PARK)
        # One that is parked already stays so.
        consoles = (self._parked if node in self._parked and not seconds
                    else self._consoles)
        console = consoles.get(node)
        generation = args.get('generation')
        if console is None or generation not in (
                None, console.spec.generation):
            return {'closed': False}
        del consoles[node]
        if seconds and console.park(seconds, self._parking_over):
            self._parked[node] = console
        else:
            self._leave(console)
        return {'closed': True}

    def _parking_over(self, console: bridge_console.Console) -> None:
        if self._parked.get(console.spec.node) is console:
            del self._parked[console.spec.node]
            self._leave(console)

    def _leave(self, console: bridge_console.Console) -> None:
        console.close()
        node = console.spec.node
        self._leaving[node] = console

        async def left() -> None:
            await console.wait_closed()
            if self._leaving.get(node) is console:
                del self._leaving[node]

        task = asyncio.get_running_loop().create_task(left())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _list(self, args: control.Json) -> control.Json:
        # One at each turn of the loop, however many ask: with a thousand
        # consoles it takes some milliseconds.
        async with self._listing:
            await asyncio.sleep(0)
            return {'consoles': [
                console.status() for console in (
                    *self._consoles.values(), *self._parked.values())]}

    def _find(self, args: control.Json,
              parked: bool = False) -> bridge_console.Console:
        wanted = arguments.text(args, 'node')
        found = _of_name(self._consoles, wanted)
        if found is None:
            found = _of_name(self._parked, wanted)
            if found is not None and not parked:
                raise exception.RequestRefused(
                    'parked', f'the console of {wanted[:255]!r} is parked: '
                    'it was switched off a moment ago, and is closed or on '
                    'again in a few seconds; try again then')
        if found is None:
            raise exception.RequestRefused(
                'no-such-console', f'{wanted[:255]!r} has no console in this '
                'process')
        return found

    async def _show(self, args: control.Json) -> control.Json:
        return self._find(args, parked=True).status()

    async def _ping(self, args: control.Json) -> control.Json:
        return {'consoles': len(self._consoles),
                'tasks': len(asyncio.all_tasks())}

    async def _transcripts(self, args: control.Json) -> control.Json:
        assert self._limits is not None
        return transcript_service.clean(self._limits.transcripts, args)

    async def _heartbeat(self, args: control.Json) -> control.Json:
        """The conductor's ping."""
        age = args.get('database_age')
        if age is not None:
            age = arguments.number(args, 'database_age', 0, float('inf'))
        assert self._leases is not None
        self._leases.heard(age)
        return await self._ping(args)

    def watch(self) -> None:
        """Fence what has no lease any more; at each turn of the loop."""
        if self._leases is not None:
            self._leases.watch()

    # -- the UNIX socket -------------------------------------------------

    async def _listen(self, path: str) -> None:
        if len(path.encode()) > _SUN_PATH or not path.startswith('/'):
            raise exception.RequestRefused(
                'cannot-listen',
                f'{path!r} cannot be the path of a socket: it must be '
                f'absolute and have at most {_SUN_PATH} bytes; set a '
                'shorter [solconsole]run_dir')
        self._socket_path = pathlib.Path(path)
        try:
            self._socket_path.parent.mkdir(
                mode=0o700, parents=True, exist_ok=True)
            # A predecessor that was killed leaves its socket behind.
            self._socket_path.unlink(missing_ok=True)
            self._server = await asyncio.get_running_loop(
                ).create_unix_server(self._client, path)
            self._socket_path.chmod(0o600)
            self._socket_inode = self._socket_path.stat().st_ino
        except OSError as error:
            raise exception.RequestRefused(
                'cannot-listen',
                f'cannot make the socket {path}: {error.strerror}; check '
                '[solconsole]run_dir and who owns it') from None

    def _client(self) -> wire.Connection:
        asker: list[askers.Asker] = []

        def came(client: wire.Connection) -> bool:
            assert client.transport is not None
            asker.append(askers.of_socket(
                client.transport.get_extra_info('socket')))
            return self._client_came(client, asker[0])

        return wire.ClientConnection(
            lambda request: self.answer_client(request, asker[0]),
            on_made=came, on_lost=self._client_left,
            upgrades=operators.UPGRADES)

    def _client_came(self, client: wire.Connection,
                     asker: askers.Asker) -> bool:
        if asker.uid not in (0, os.geteuid()):
            self._log_refusal(asker.pid, asker.uid)
            return False
        self._clients.append(client)
        if len(self._clients) > MAX_CLIENTS:
            idle = min(self._clients, key=lambda c: c.last_heard)
            self._clients.remove(idle)
            # One that does not read what was sent to it never closes.
            idle.abort()
        return True

    def _log_refusal(self, pid: int, uid: int) -> None:
        untold = self._refusals.note(
            str(uid), asyncio.get_running_loop().time())
        if untold is not None:
            LOG.warning('Process %d of user %d was refused at the control '
                        'socket: it is for root and user %d. %d more of '
                        'this user were not told.', pid, uid, os.geteuid(),
                        untold)

    def _client_left(self, client: wire.Connection) -> None:
        with contextlib.suppress(ValueError):
            self._clients.remove(client)

    # -- the end ---------------------------------------------------------

    async def shutdown(self) -> None:
        """Close every console and log out of every BMC, in bounded time."""
        if self._server is not None and self._socket_path is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                # A successor may have made its own by now.
                if self._socket_path.stat().st_ino == self._socket_inode:
                    self._socket_path.unlink()
        for consoles in (self._consoles, self._parked):
            while consoles:
                self._leave(consoles.popitem()[1])
        transcripts = self._limits.transcripts if self._limits else None
        if transcripts is None:
            await self._leave_bmcs()
        else:
            # Side by side: no lock waits for a disk.
            await asyncio.gather(self._leave_bmcs(), transcripts.stop())

    async def _leave_bmcs(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SHUTDOWN_TIMEOUT)
        if self._leases is not None:
            await self._leases.stop()
