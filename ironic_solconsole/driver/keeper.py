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

"""One place for a bridge process, and the consoles that should be in it.

What should be open is kept apart from what is: a process that cannot be
started, dies, or hangs is replaced, and the consoles are opened again from
the specs that are kept here.

Two rules keep "off means off". Whether a generation has ended is asked
under the lock under which an open is sent, and it is recorded as ended
before close() takes that lock; so no open leaves after the close. And
requests for a process leave in the order in which that lock was held.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import threading
import time

from oslo_log import log

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole import spec
from ironic_solconsole.driver import bridge_log
from ironic_solconsole.driver import memories as node_memories
from ironic_solconsole.driver import process

LOG = log.getLogger(__name__)


class GenerationEnded(exception.ControlError):
    """The console was stopped after this start of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds. Tests use shorter ones.

    :param tick: how often a bridge is looked after.
    :param ping_interval: between two pings.
    :param ping_timeout: without an answer after which a bridge is hung. Its
        loop never blocks for more than 50 ms, but the host may be busy.
    :param start_timeout: that a process may take to answer its first
        request.
    :param close_timeout: after which a bridge that does not confirm a close
        is killed.
    :param reply_margin: that an open may take more than its wait.
    :param idle: after the last console until a bridge ends.
    :param healthy: after which a crash is the first one again.
    :param backoff: from the first crash to the next start; doubled by each.
    :param max_backoff: limit of that.
    :param port_retry: between two tries to listen on a port in use.
    :param port_patience: after which a port in use is given up.
    :param open_retry: between two tries of an open that failed otherwise.
    """

    tick: float = 0.25
    ping_interval: float = 2.0
    ping_timeout: float = 10.0
    start_timeout: float = 20.0
    close_timeout: float = 2.0
    reply_margin: float = 1.0
    idle: float = 5.0
    healthy: float = 60.0
    backoff: float = 1.0
    max_backoff: float = 60.0
    port_retry: float = 0.5
    port_patience: float = 10.0
    open_retry: float = 10.0


DEFAULT_TIMING = Timing()


def restart_delay(crashes: int, timing: Timing) -> float:
    """Seconds to wait before a bridge is started again.

    :param crashes: how often it ended without having been healthy for long
        enough, the last time included; from 1.
    """
    return min(timing.max_backoff,
               timing.backoff * 2.0 ** min(crashes - 1, 30))


#: Called with node, generation and holder when a console's port stays in
#: use; must not block.
PortLost = Callable[[str, str, str], None]

#: Seconds since the conductor's last contact with the database, or None
#: where that tells nothing.
DatabaseAge = Callable[[], float | None]

#: Starts a process and gives it its options.
#: :raises: ControlError if it does not come up.
Starter = Callable[[int], process.BridgeProcess]


@dataclasses.dataclass(frozen=True)
class OpenConsole:
    """A console that should be open.

    :param spec: as it was wanted last.
    :param opened_at: when that was, of time.monotonic().
    :param admitted: whether viewers may come in.
    """

    spec: spec.ConsoleSpec
    opened_at: float
    admitted: bool

    @property
    def node(self) -> str:
        """UUID."""
        return self.spec.node

    @property
    def generation(self) -> str:
        """Which start of the node's console it is."""
        return self.spec.generation


class _Console:
    """A console that should be open."""

    def __init__(self, wanted: spec.ConsoleSpec, admitted: bool) -> None:
        self.spec = wanted
        self.admitted = admitted    # viewers may come in
        self.opened_at = time.monotonic()           # wanted last
        self.url = ''               # bound, confirmed by the process below
        self.sent_to: process.BridgeProcess | None = None
        self.sent: spec.ConsoleSpec | None = None   # what that was told
        self.sent_admit = False     # and whether people may come in
        self.held = False           # nobody may come in there yet
        self.call: process.Call | None = None       # an open on its way
        self.callers = 0            # threads that see to the open themselves
        self.retry_at = 0.0
        self.port_since: float | None = None        # in use since
        self.problem = ''

    def unconfirm(self) -> None:
        self.url, self.sent_to, self.call = '', None, None
        self.sent, self.held = None, False


class Bridge:
    """A place for one bridge process, and its consoles.

    :param number: which bridge of the conductor this is, from 0.
    :param start: starts a process for it.
    :param ended: tells whether a generation has ended.
    :param port_lost: called when a console's port stays in use.
    :param memories: what bridges want to be told again, by node.
    :param database_age: is told to it with each ping.
    """

    def __init__(self, number: int, start: Starter,
                 ended: Callable[[str], bool], port_lost: PortLost,
                 memories: node_memories.Memories, timing: Timing,
                 database_age: DatabaseAge) -> None:
        self.number = number
        self._database_age = database_age
        self._memories = memories
        self._start = start
        self._ended = ended
        self._port_lost = port_lost
        self._timing = timing
        self._changed = threading.Condition()
        self._consoles: dict[str, _Console] = {}
        self._process: process.BridgeProcess | None = None
        #: Where consoles are parked, and until when, of time.monotonic().
        self._parked: dict[str, tuple[process.BridgeProcess, float]] = {}
        self._keeper: threading.Thread | None = None
        self._closing = False
        self._trouble = ''
        self._empty_since = 0.0

    # What the driver asks for

    def open(self, wanted: spec.ConsoleSpec, wait: float, patience: float,
             budget: float) -> control.Json:
        """Open a console, or bring an open one up to date.

        Unless it raises GenerationEnded the console is to be open from now
        on: where it cannot be opened it is tried again until close().

        :param wait: seconds to wait for the link's first verdict.
        :param patience: seconds to wait for a process to come up.
        :param budget: seconds for all of it; wait is cut to fit.
        :returns: the status of the console.
        :raises: GenerationEnded, BridgeUnavailable, RequestRefused.
        """
        began = time.monotonic()
        until = began + patience
        with self._changed:
            console = self._want(wanted, admit=True)
            console.callers += 1
        try:
            while True:
                try:
                    return self._ask_open(
                        console, until, wait, began + budget)
                except exception.BridgeUnavailable:
                    at = console.sent_to
                    if (time.monotonic() >= until
                            or (at is not None and not at.gone)):
                        raise
                    # it died over it; the next one comes up
        finally:
            with self._changed:
                console.callers -= 1

    def _ask_open(self, console: _Console, until: float, wait: float,
                  deadline: float) -> control.Json:
        """Send an open when there is a process, and take its answer."""
        with self._changed:
            # in one hold of the lock: close() asks whom this has asked
            running = self._wait_process(console, until)
            left = deadline - time.monotonic() - self._timing.reply_margin
            wait = max(0.0, min(wait, left))
            call = self._send_open(console, running, wait)
        try:
            return call.result(wait + self._timing.reply_margin)
        finally:
            with self._changed:
                self._settle(console, call)

    def open_many(self, specs: Iterable[spec.ConsoleSpec], admit: bool,
                  before: float) -> list[spec.ConsoleSpec]:
        """Open consoles, or bring open ones up to date; does not wait.

        :param admit: whether viewers may come in; else they have to wait
            for admit(), unless they may already.
        :param before: a console that was opened after this time is left as
            it is: whoever opened it knew better.
        :returns: those that are to be open from now on.
        :raises: BridgeUnavailable while the conductor shuts down.
        """
        wanted = []
        with self._changed:
            for one in specs:
                console = self._consoles.get(one.node)
                if console is not None and console.opened_at > before:
                    continue
                try:
                    self._want(one, admit)
                except GenerationEnded:
                    continue
                wanted.append(one)
            self._changed.notify_all()
        return wanted

    def admit(self, specs: Iterable[spec.ConsoleSpec]) -> None:
        """Let viewers into consoles that are still of these generations."""
        with self._changed:
            held = []
            asked = self._process
            for one in specs:
                console = self._consoles.get(one.node)
                if (console is None or self._ended(one.generation)
                        or console.spec.generation != one.generation):
                    continue
                console.admitted = True
                if console.held and console.sent_to is asked:
                    held.append(console)
            if not held or asked is None:
                return
            try:
                call = asked.send('admit', {'consoles': [
                    [console.spec.node, console.spec.generation]
                    for console in held]})
            except exception.ControlError:
                return      # it is gone, and the next one is told at once
        self._settle_admit(asked, held, call)

    def _settle_admit(self, asked: process.BridgeProcess,
                      held: Sequence[_Console], call: process.Call) -> None:
        try:
            admitted = call.result(self._timing.close_timeout)['admitted']
        except (exception.ControlError, KeyError):
            admitted = []
        with self._changed:
            for console in held:
                if console.sent_to is not asked:
                    continue
                if console.spec.node in admitted:
                    console.held = False
                else:
                    # it is opened once more, and not held that time
                    console.sent = None
            self._changed.notify_all()

    def consoles(self) -> list[OpenConsole]:
        """Those that should be open, at this moment."""
        with self._changed:
            return [OpenConsole(console.spec, console.opened_at,
                                console.admitted)
                    for console in self._consoles.values()]

    def close(self, node: str, park: float) -> None:
        """Close a console. When this returns no byte of it passes.

        :param park: seconds for which the bridge may keep it parked, with
            its viewers and its session: an open of the same spec takes it
            up again.
        """
        with self._changed:
            console = self._consoles.pop(node, None)
            asked, call = self._send_close(console, node, park)
        self._confirm_close(node, asked, call)

    def close_if(self, node: str, generation: str, before: float) -> bool:
        """Close a console, if it is still the one that is meant.

        :param generation: that it has to have.
        :param before: it must not have been opened after this time.
        :returns: whether it was closed.
        """
        with self._changed:
            console = self._consoles.get(node)
            if (console is None or console.spec.generation != generation
                    or console.opened_at > before):
                return False
            del self._consoles[node]
            asked, call = self._send_close(console, node)
        self._confirm_close(node, asked, call)
        return True

    def close_parked(self, node: str, generation: str) -> bool:
        """Close a console that is parked, before its time.

        :param generation: that it has to have.
        :returns: False if it was taken up or closed.
        """
        with self._changed:
            if node in self._consoles:
                return False
            asked, until = self._parked.get(node, (None, 0.0))
            if asked is None or asked.gone or until <= time.monotonic():
                return False
            try:
                call = asked.send(
                    'close', {'node': node, 'generation': generation})
            except exception.ControlError:
                call = None
        self._confirm_close(node, asked, call)
        return True

    def _send_close(self, console: _Console | None, node: str,
                    park: float = 0.0) -> tuple[
                        process.BridgeProcess | None, process.Call | None]:
        """Under the lock: ask for a close whoever was asked to open it."""
        self._note_empty()
        self._changed.notify_all()
        asked = None
        if console is not None:
            asked = console.sent_to
            console.unconfirm()
        asked = asked or self._parked_at(node)
        if asked is None:
            return None, None
        if asked.gone:
            # what is on its way out may still move bytes
            return asked, None
        try:
            # whatever it has open: an update may not have reached it
            call = asked.send('close', {
                'node': node, **({'park': park} if park else {})})
        except exception.ControlError:
            return asked, None
        if park:
            self._forget_parked()
            self._parked[node] = asked, time.monotonic() + park
        return asked, call

    def _parked_at(self, node: str) -> process.BridgeProcess | None:
        """Under the lock: where a console may be parked; asked once."""
        self._forget_parked()
        at, _ = self._parked.pop(node, (None, 0.0))
        return None if at is None or at.gone else at

    def _forget_parked(self) -> None:
        now = time.monotonic()
        self._parked = {node: (at, until) for node, (at, until)
                        in self._parked.items() if until > now}

    def _confirm_close(self, node: str, asked: process.BridgeProcess | None,
                       call: process.Call | None) -> None:
        """See that a close has taken place, or end the process."""
        if asked is None:
            return
        try:
            if call is not None:
                call.result(self._timing.close_timeout)
                return
            problem = 'the process ended'
        except exception.ControlError as error:
            problem = str(error)
        if not asked.gone:
            LOG.error('Bridge %(number)d (pid %(pid)d) did not confirm that '
                      'the console of node %(node)s is closed (%(problem)s). '
                      'It is killed; its other consoles come back in a new '
                      'one.', {'number': self.number, 'pid': asked.pid,
                               'node': node, 'problem': problem})
        asked.kill()

    def ask(self, verb: str, args: control.Json) -> control.Json | None:
        """Ask the process something, if it runs; None without an answer."""
        with self._changed:
            running = self._process
        if running is None or running.gone:
            return None
        try:
            return running.request(verb, args, self._timing.reply_margin)
        except exception.ControlError as error:
            LOG.debug('Bridge %(number)d did not answer %(verb)s: %(error)s',
                      {'number': self.number, 'verb': verb, 'error': error})
            return None

    def url(self, node: str, generation: str) -> str:
        """Where a console listens, or ''. Never waits.

        :param node: UUID.
        :param generation: which start of it.
        """
        console = self._consoles.get(node)
        if console is None or console.spec.generation != generation:
            return ''
        url, at = console.url, console.sent_to
        return '' if at is None or at.gone or console.held else url

    def generation(self, node: str) -> str:
        """The generation that should be open for a node, or ''."""
        console = self._consoles.get(node)
        return '' if console is None else console.spec.generation

    def shut_down(self) -> None:
        """Begin to end the process for good; does not wait."""
        with self._changed:
            self._closing = True
            self._consoles.clear()
            self._changed.notify_all()

    def join(self, timeout: float) -> None:
        """Wait until shut_down() is done."""
        keeper = self._keeper
        if keeper is not None:
            keeper.join(timeout)

    # Under the lock

    def _want(self, wanted: spec.ConsoleSpec, admit: bool) -> _Console:
        """Note that a console should be open, and see to a process."""
        if self._closing:
            raise exception.BridgeUnavailable(
                'the conductor is shutting down')
        if self._ended(wanted.generation):
            raise GenerationEnded(
                'the console was stopped after this start of it')
        console = self._consoles.get(wanted.node)
        if console is None:
            console = self._consoles[wanted.node] = _Console(wanted, admit)
        else:
            console.opened_at = time.monotonic()
            console.admitted = admit or (
                console.admitted
                and console.spec.generation == wanted.generation)
            if wanted != console.spec:
                if wanted.url != console.spec.url:
                    console.url, console.port_since = '', None
                console.spec = wanted
        if self._keeper is None:
            self._keeper = threading.Thread(
                target=self._keep, daemon=True,
                name=f'solconsole-bridge-{self.number}')
            self._keeper.start()
        return console

    def _wait_process(self, console: _Console,
                      deadline: float) -> process.BridgeProcess:
        """The process, when there is one, for a console still wanted."""
        while self._consoles.get(console.spec.node) is console:
            if self._process is not None and not self._process.gone:
                return self._process
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise exception.BridgeUnavailable(
                    self._trouble or 'the console process is starting')
            self._changed.wait(remaining)
        raise GenerationEnded('the console was stopped meanwhile')

    def _send_open(self, console: _Console, to: process.BridgeProcess,
                   wait: float) -> process.Call:
        console.sent_to, console.call = to, None
        console.sent, console.sent_admit = console.spec, console.admitted
        args: control.Json = {'spec': console.spec.to_json(), 'wait': wait}
        if not console.admitted:
            console.held = True
            args['admit'] = False
        memory = self._memories.get(console.spec.node)
        if memory is not None:
            args['memory'] = memory
        console.call = to.send('open', args)
        return console.call

    def _settle(self, console: _Console, call: process.Call) -> None:
        """Take the answer to an open, if it is still of interest."""
        if (console.call is not call
                or self._consoles.get(console.spec.node) is not console):
            return
        now = time.monotonic()
        console.call = None
        if console.sent is not console.spec:
            return      # the answer is about what was wanted before
        console.retry_at = now + self._timing.open_retry
        try:
            status = call.result(0)
        except exception.PortInUse as error:
            if console.port_since is None:
                console.port_since = now
            if now - console.port_since < self._timing.port_patience:
                console.retry_at = now + self._timing.port_retry
            else:
                self._port_lost(console.spec.node, console.spec.generation,
                                str(error))
            self._complain(console, str(error))
        except exception.ControlError as error:
            self._complain(console, str(error))
        else:
            url = status.get('url')
            if url == console.spec.url:
                console.url, console.port_since = url, None
                if console.sent_admit:
                    console.held = False
                if console.problem:
                    console.problem = ''
                    LOG.info('The console of node %(node)s is open now, at '
                             '%(url)s.', {'node': console.spec.node,
                                          'url': url})
            else:
                self._complain(console, f'it listens on {url!r}, not on '
                               f'{console.spec.url}')

    def _complain(self, console: _Console, problem: str) -> None:
        if problem != console.problem:
            console.problem = problem
            LOG.warning('The console of node %(node)s is not open yet, and '
                        'is tried again: %(problem)s',
                        {'node': console.spec.node,
                         'problem': bridge_log.printable(problem)})

    def _note_empty(self) -> None:
        if not self._consoles:
            self._empty_since = time.monotonic()

    # The keeper: a thread that lives as long as there is a process to keep

    def _keep(self) -> None:
        crashes = 0
        while True:
            began = time.monotonic()
            running: process.BridgeProcess | None = None
            try:
                running = self._start(self.number)
                trouble = self._serve(running)
            except exception.ControlError as error:
                trouble = str(error)
            except Exception as error:
                # a defect of ours must not leave consoles unattended
                LOG.exception('Bridge %d could not be kept.', self.number)
                trouble = f'internal error ({type(error).__name__})'
            if running is not None:
                self._end(running, at_once=bool(trouble))
            if time.monotonic() - began >= self._timing.healthy:
                crashes = 0
            crashes = crashes + 1 if trouble else 0
            if not self._rest(trouble, restart_delay(crashes, self._timing)):
                return

    def _serve(self, running: process.BridgeProcess) -> str:
        """Look after a process until it is done, or is not right.

        :returns: what is wrong with it, or ''.
        """
        with self._changed:
            self._process, self._trouble = running, ''
            self._note_empty()
            self._changed.notify_all()
        ping: process.Call | None = None
        next_ping = time.monotonic() + self._timing.ping_interval
        while True:
            with self._changed:
                now = time.monotonic()
                if running.gone:
                    return running.trouble or 'it ended by itself'
                if self._closing or (
                        not self._consoles
                        and now - self._empty_since >= self._timing.idle):
                    # from here on an open waits for the next process
                    self._process = None
                    return ''
                self._open_missing(running, now)
            try:
                if ping is None and now >= next_ping:
                    ping = running.send(
                        'ping', {'database_age': self._database_age()})
                    next_ping = now + self._timing.ping_interval
                elif ping is not None and ping.done:
                    ping.result(0)
                    ping = None
                elif (ping is not None
                      and now - ping.sent_at > self._timing.ping_timeout):
                    # a stopped conductor finds the answer waiting
                    ping.result(self._timing.ping_interval)
            except exception.ControlError as error:
                return running.trouble or f'no answer to a ping: {error}'
            with self._changed:
                if not self._closing:
                    self._changed.wait(self._timing.tick)

    def _open_missing(self, running: process.BridgeProcess,
                      now: float) -> None:
        """Open what should be open and is not; take answers."""
        for console in list(self._consoles.values()):
            if console.callers:
                continue
            call = console.call
            if call is not None and console.sent_to is running:
                overdue = now - call.sent_at > self._timing.ping_timeout
                if call.done or overdue:
                    self._settle(console, call)
            elif (console.sent_to is not running
                    or console.sent is not console.spec
                    or (not console.url and now >= console.retry_at)):
                try:
                    self._send_open(console, running, wait=0.0)
                except exception.ControlError:
                    return

    def _end(self, running: process.BridgeProcess, at_once: bool) -> None:
        with self._changed:
            self._process = None
            for console in self._consoles.values():
                console.unconfirm()
        code = running.kill() if at_once else running.end()
        if not at_once:
            LOG.info('Bridge %(number)d (pid %(pid)d) has ended with code '
                     '%(code)s.', {'number': self.number,
                                   'pid': running.pid, 'code': code})

    def _rest(self, trouble: str, delay: float) -> bool:
        """Wait before the next process.

        :returns: False if there is to be none.
        """
        with self._changed:
            if trouble and not self._closing:
                self._trouble = (
                    f'console process {self.number} does not run: {trouble}')
                LOG.error('Bridge %(number)d does not run: %(trouble)s. It '
                          'is started again in %(delay).0f s, and its '
                          '%(count)d consoles are reopened.',
                          {'number': self.number, 'delay': delay,
                           'trouble': bridge_log.printable(trouble),
                           'count': len(self._consoles)})
                deadline = time.monotonic() + delay
                while self._consoles and not self._closing:
                    remaining = deadline - time.monotonic()
                    if remaining <= 0:
                        break
                    self._changed.wait(remaining)
            if self._consoles and not self._closing:
                return True
            # the next open finds no keeper, and makes one
            self._keeper = None
            return False
