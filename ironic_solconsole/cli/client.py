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

"""Ask a bridge through its UNIX socket; plain and blocking."""

import collections.abc
import contextlib
import os
import pathlib
import socket
import time

from ironic_solconsole import control
from ironic_solconsole import exception

_RETRY_PAUSE = 0.05     # seconds, while the bridge's backlog is full


class StaleSocket(exception.BridgeUnavailable):
    """The socket's bridge has ended without removing it."""


class AccessDenied(exception.BridgeUnavailable):
    """This user may not talk to the bridge."""


def ask(path: pathlib.Path, verb: str, args: control.Json | None = None, *,
        timeout: float) -> control.Json:
    """Send one request and return its result.

    :param path: the bridge's socket.
    :param verb: what to ask; see :mod:`ironic_solconsole.control`.
    :param args: the values it needs.
    :param timeout: seconds for all of it, however the answer trickles.
    :raises: StaleSocket, AccessDenied, BridgeUnavailable if there is no
        answer; MessageError if it is not a valid line; RequestRefused if
        it is no.
    """
    with _explained(timeout):
        return _ask(path, verb, args or {}, time.monotonic() + timeout)


def attach(path: pathlib.Path, args: control.Json, *, timeout: float
           ) -> tuple[control.Json, socket.socket, bytes]:
    """Be a viewer of a console.

    :param path: the bridge's socket.
    :param args: as the verb ``attach`` needs them.
    :param timeout: seconds until the answer.
    :returns: the answer; the connection, which carries the console's bytes
        from now on; and what has come of them already.
    :raises: as :func:`ask`.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _explained(timeout):
            deadline = time.monotonic() + timeout
            request = control.Request(1, 'attach', args)
            data = _send(sock, path, request, deadline)
            while b'\n' not in data:
                if len(data) > control.MAX_CLIENT_LINE:
                    raise exception.MessageError(
                        'the answer has no end')
                data += _receive(sock, deadline)
            line, _, rest = data.partition(b'\n')
            message = control.decode(line)
            if not isinstance(message, control.Reply):
                raise exception.MessageError('the answer is none')
            return message.unwrap(), sock, rest
    except BaseException:
        sock.close()
        raise


@contextlib.contextmanager
def _explained(timeout: float) -> collections.abc.Iterator[None]:
    """What can go wrong, as errors of ours."""
    try:
        yield
    except TimeoutError:
        raise exception.BridgeUnavailable(
            f'no answer within {timeout:g} s') from None
    except (ConnectionRefusedError, FileNotFoundError):
        raise StaleSocket('its process has ended') from None
    except PermissionError:
        raise AccessDenied('permission denied') from None
    except OSError as error:
        raise exception.BridgeUnavailable(
            error.strerror or str(error)) from None


def _ask(path: pathlib.Path, verb: str, args: control.Json,
         deadline: float) -> control.Json:
    request = control.Request(1, verb, args)
    lines = control.LineReader()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        data = _send(sock, path, request, deadline)
        while True:
            for line in lines.feed(data):
                message = control.decode(line)
                if (isinstance(message, control.Reply)
                        and message.id == request.id):
                    return message.unwrap()
            data = _receive(sock, deadline)


def _send(sock: socket.socket, path: pathlib.Path, request: control.Request,
          deadline: float) -> bytes:
    """Connect and ask; gives the first bytes of what comes back."""
    _connect(sock, path, deadline)
    # A bridge that turns us away may close before it has read.
    with contextlib.suppress(BrokenPipeError):
        sock.sendall(control.encode(request))
    return _receive(sock, deadline)


def _receive(sock: socket.socket, deadline: float) -> bytes:
    sock.settimeout(_left(deadline))
    data = sock.recv(1 << 16)
    if not data:
        raise exception.BridgeUnavailable(
            'it closed the connection without an answer')
    return data


def _connect(sock: socket.socket, path: pathlib.Path,
             deadline: float) -> None:
    while True:
        sock.settimeout(_left(deadline))
        try:
            return sock.connect(os.fspath(path))
        except BlockingIOError:
            # A full backlog fails at once on AF_UNIX, timeout or not.
            time.sleep(min(_RETRY_PAUSE, _left(deadline)))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
