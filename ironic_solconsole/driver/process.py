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

"""One bridge process, as its conductor sees it.

The conductor's end of the control channel, with replies matched to
requests, and the process behind it. Everything blocks, every wait has a
deadline, and only sockets, threads and subprocess are used, in ways that
are right under native threads and under eventlet: no pipe is read (eventlet
would block), output comes over a socketpair as well.
"""

from collections.abc import Callable
import contextlib
import itertools
import os
import pathlib
import socket
import subprocess
import threading
import time

from ironic_solconsole import control
from ironic_solconsole import exception

#: Seconds for which a bridge may not read before it counts as hung.
SEND_TIMEOUT = 2.0

#: Seconds that a bridge may take to log out of its BMCs and end.
END_TIMEOUT = 2.5

#: Longest piece of output that is passed on at once, in bytes.
MAX_OUTPUT = 4096

_CHUNK = 64 * 1024


class Call:
    """A request that is on its way."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._reply: control.Reply | None = None
        self.sent_at = time.monotonic()

    def resolve(self, reply: control.Reply | None) -> None:
        """Take the reply, or None: there will be none."""
        self._reply = reply
        self._done.set()

    @property
    def done(self) -> bool:
        """Whether result() will not wait."""
        return self._done.is_set()

    def result(self, timeout: float) -> control.Json:
        """Wait for the reply.

        :param timeout: seconds.
        :raises: BridgeUnavailable if none comes.
        :raises: RequestRefused, PortInUse if it is an error.
        """
        if not self._done.wait(timeout):
            raise exception.BridgeUnavailable(
                f'the console process did not answer within {timeout:.1f} s')
        if self._reply is None:
            raise exception.BridgeUnavailable('the console process ended')
        return self._reply.unwrap()


class BridgeProcess:
    """A running bridge.

    :param command: makes the command line, given the number of the file
        descriptor that is the bridge's end of the control channel.
    :param on_event: called with each event of the bridge, in a thread of
        this object.
    :param on_output: called with what the bridge writes to stdout and
        stderr, line by line, in a thread of this object.
    :param record: writes down that the process with this id is a bridge,
        and tells the file, which is removed when the process has ended.
    :raises: BridgeUnavailable if the process cannot be started.
    """

    def __init__(self, command: Callable[[int], list[str]],
                 on_event: Callable[[control.Event], None],
                 on_output: Callable[[str], None],
                 record: Callable[[int], pathlib.Path | None] = (
                     lambda pid: None)) -> None:
        self._on_event = on_event
        self._on_output = on_output
        self._ids = itertools.count(1)
        # replies are taken while a request waits to be sent: a bridge that
        # cannot get rid of its replies may read no requests
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._calls: dict[int, Call] = {}
        self._gone = threading.Event()
        self.trouble = ''
        try:
            self._control, theirs = _socketpair()
            self._output, their_output = _socketpair()
        except OSError as error:
            raise exception.BridgeUnavailable(
                f'no socket for a console process: {error}') from error
        try:
            # a session of its own: SIGHUP to the conductor's process group
            # must not reach it. No preexec_fn: it may deadlock in threads.
            self._process = subprocess.Popen(
                command(theirs.fileno()), pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL, stdout=their_output.fileno(),
                stderr=their_output.fileno(), start_new_session=True)
        except (OSError, subprocess.SubprocessError) as error:
            self._control.close()
            self._output.close()
            raise exception.BridgeUnavailable(
                f'no console process could be started: {error}') from error
        finally:
            theirs.close()
            their_output.close()
        self._record = record(self.pid)
        self._control.settimeout(SEND_TIMEOUT)
        for name, target in (('control', self._read_control),
                             ('output', self._read_output)):
            threading.Thread(target=target, daemon=True,
                             name=f'solconsole-{name}-{self.pid}').start()

    @property
    def pid(self) -> int:
        """Process id."""
        return int(self._process.pid)

    @property
    def gone(self) -> bool:
        """Whether it cannot be asked any more."""
        return self._gone.is_set() or self._process.poll() is not None

    @property
    def reaped(self) -> bool:
        """Whether it is certain that the process is no more."""
        return self._process.poll() is not None

    def send(self, verb: str, args: control.Json) -> Call:
        """Send a request; requests arrive in the order of these calls.

        :raises: BridgeUnavailable if it cannot be sent; then the process
            is being killed.
        """
        call = Call()
        with self._sending:
            with self._lock:
                if self._gone.is_set():
                    raise exception.BridgeUnavailable(
                        'the console process ended')
                number = next(self._ids)
                self._calls[number] = call
            try:
                line = control.encode(control.Request(number, verb, args))
                self._control.sendall(line)
            except exception.MessageError:
                self._forget(number)
                raise
            except OSError as error:
                # part of a line may be out: nothing can follow it
                self._forget(number)
                self._fail(f'it does not take requests ({error})')
                raise exception.BridgeUnavailable(
                    f'the console process takes no request: {error}'
                ) from error
        return call

    def request(self, verb: str, args: control.Json,
                timeout: float) -> control.Json:
        """Send a request and wait for its reply.

        :param timeout: seconds.
        :raises: BridgeUnavailable, RequestRefused, PortInUse.
        """
        return self.send(verb, args).result(timeout)

    def end(self) -> int | None:
        """Let it log out of its BMCs, and see that it is gone.

        :returns: its exit code; negative is a signal.
        """
        self._shutdown(socket.SHUT_WR)
        return self.wait(END_TIMEOUT)

    def kill(self) -> int | None:
        """End it at once."""
        try:
            self._process.kill()
        except OSError:
            pass
        return self.wait(END_TIMEOUT)

    def wait(self, timeout: float) -> int | None:
        """Wait for its end, and kill it if that does not come.

        :param timeout: seconds.
        """
        try:
            code: int | None = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            try:
                code = self._process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                # in an uninterruptible system call; it ends after that
                code = None
        if code is not None and self._record is not None:
            with contextlib.suppress(OSError):
                self._record.unlink()
        self._gone.set()
        self._shutdown(socket.SHUT_RDWR)
        return code

    def _forget(self, number: int) -> Call | None:
        with self._lock:
            return self._calls.pop(number, None)

    def _fail(self, trouble: str) -> None:
        self.trouble = self.trouble or trouble
        self._gone.set()
        try:
            self._process.kill()
        except OSError:
            pass

    def _shutdown(self, how: int) -> None:
        try:
            self._control.shutdown(how)
        except OSError:
            pass

    def _read_control(self) -> None:
        """Thread: replies and events, until the bridge ends."""
        reader = control.LineReader()
        try:
            while True:
                try:
                    data = self._control.recv(_CHUNK)
                except TimeoutError:
                    if self._gone.is_set():
                        return
                    continue
                if not data:
                    return
                for line in reader.feed(data):
                    self._dispatch(control.decode(line))
        except exception.MessageError as error:
            self._fail(f'its answer is not usable: {error}')
        except OSError as error:
            self.trouble = self.trouble or f'its socket failed ({error})'
        finally:
            with self._lock:
                self._gone.set()
                calls, self._calls = self._calls, {}
            for call in calls.values():
                call.resolve(None)
            with self._sending:
                self._control.close()

    def _dispatch(self, message: control.Message) -> None:
        if isinstance(message, control.Reply):
            call = self._forget(message.id)
            if call is not None:
                call.resolve(message)
        elif isinstance(message, control.Event):
            self._on_event(message)

    def _read_output(self) -> None:
        """Thread: stdout and stderr, until the bridge ends."""
        rest = b''
        try:
            while data := self._output.recv(MAX_OUTPUT):
                *lines, rest = (rest + data).split(b'\n')
                if len(rest) >= MAX_OUTPUT:
                    lines, rest = [*lines, rest], b''
                for line in lines:
                    if line.strip():
                        self._on_output(line.decode('utf-8', 'replace'))
        except OSError:
            pass
        finally:
            self._output.close()
        if rest.strip():
            self._on_output(rest.decode('utf-8', 'replace'))


def _socketpair() -> tuple[socket.socket, socket.socket]:
    """Two ends, both close-on-exec; the second one is for a child.

    Under eventlet both are non-blocking underneath, and a child that
    writes to its stderr must not be told to try again.
    """
    ours, theirs = socket.socketpair()
    os.set_blocking(theirs.fileno(), True)
    return ours, theirs
