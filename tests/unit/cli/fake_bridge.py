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

"""A UNIX socket server that answers as a bridge would, or does not."""

import collections.abc
import pathlib
import socket
import threading

from ironic_solconsole import control

#: What to send for a request; b'' hangs up.
Script = collections.abc.Callable[[control.Request], bytes]


def status(**changes: object) -> control.Json:
    """The status of a console as a bridge tells it."""
    return {
        'node': '11111111-1111-1111-1111-111111111111', 'name': 'node-1',
        'state': 'connected', 'reason': '', 'detail': '',
        'since': '2026-11-20T20:15:01Z', 'next_try': None,
        'bmc': '192.0.2.7:623',
        'url': 'tcp://192.0.2.1:10000', 'viewers': 1, 'bytes_in': 2,
        'bytes_out': 3, 'suite': 17, 'session': '0x12345678',
        'generation': 'g1', 'settled': True, 'lock': 'held', 'holder': '',
        **changes}


def consoles(*rows: control.Json) -> Script:
    """Answer ``list`` and ``show`` from these statuses."""
    def answer(request: control.Request) -> bytes:
        if request.verb == 'list':
            reply = control.Reply(request.id, {'consoles': list(rows)})
        else:
            wanted = request.args['node']
            found = [row for row in rows
                     if wanted in (row['node'], row['name'])]
            reply = (control.Reply(request.id, found[0]) if found else
                     control.Reply(request.id, None, 'no-such-console',
                                   f'{wanted!r} has no console'))
        return control.encode(reply)

    return answer


class FakeBridge:
    """Listen at a path until the end of a ``with`` block.

    :param path: of the socket.
    :param script: makes an answer of a request; None never answers.
    :param piece: send the answer in pieces of so many bytes.
    """

    def __init__(self, path: pathlib.Path, script: Script | None,
                 piece: int = 1 << 20) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.requests: list[control.Request] = []
        self._script = script
        self._piece = piece
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> 'FakeBridge':
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._server.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client:
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        client.settimeout(10)
        lines = control.LineReader(control.MAX_CLIENT_LINE)
        try:
            while data := client.recv(65536):
                for line in lines.feed(data):
                    request = control.decode(line)
                    assert isinstance(request, control.Request)
                    self.requests.append(request)
                    if self._script is None:
                        self._ended.wait(10)
                        return
                    answer = self._script(request)
                    for start in range(0, len(answer), self._piece):
                        client.sendall(answer[start:start + self._piece])
                    if not answer:
                        return
        except OSError:
            pass            # the client gave up: that is for it to report


def leave_stale(path: pathlib.Path) -> None:
    """A socket as a bridge leaves it that was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
