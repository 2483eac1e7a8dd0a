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

"""A gate in front of Ironic's API: what passes is written down, and can wait.

::

    with ApiGate(ironic.api.url) as gate:
        use(gate.url)
        gate.hold(lambda call: call.body == {'enabled': True})
        ...
        gate.let_go()
"""

import collections.abc
import dataclasses
import http.client
import http.server
import json
import threading
import time
import typing
import urllib.parse

#: Seconds for a request to be answered; Nova's own patience is less.
_TIMEOUT = 60.0

#: Of the answer, what is for this hop only.
_HOP = {'connection', 'transfer-encoding', 'content-length', 'server', 'date'}


@dataclasses.dataclass
class Call:
    """A request and its answer.

    :param body: the request's JSON, or None.
    :param came: seconds of time.monotonic(), as in what follows.
    :param passed: when it was sent on.
    :param answered: when the answer was there.
    :param status: of the answer; 0 until then.
    :param answer: the answer's JSON, or None.
    """

    method: str
    path: str
    body: typing.Any
    came: float
    passed: float = 0.0
    answered: float = 0.0
    status: int = 0
    answer: typing.Any = None

    def __str__(self) -> str:
        said = '' if self.body is None else f' {json.dumps(self.body)}'
        return f'{self.method} {self.path}{said}: {self.status}'


Choice = collections.abc.Callable[[Call], bool]


class ApiGate:
    """The gate, in threads of its own.

    :param url: of the API behind it.
    :ivar url: of the gate.
    :ivar calls: what has come, in that order.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        assert parts.hostname and parts.port, url
        self._target = (parts.hostname, parts.port)
        self.calls: list[Call] = []
        self._choice: Choice | None = None
        self._open = threading.Event()
        self._open.set()
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    # the client was ended
                    self.close_connection = True

            def _pass(self) -> None:
                gate._pass(self)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _pass  # noqa: N815

            def log_message(self, *args: object) -> None:
                """Say nothing; gate.calls has it."""

        self._server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self._server.server_port}'

    def __enter__(self) -> 'ApiGate':
        threading.Thread(target=self._server.serve_forever, daemon=True,
                         name='gate in front of the API').start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()

    def hold(self, choice: Choice) -> None:
        """Let the requests wait that are chosen."""
        self._choice = choice
        self._open.clear()

    def let_go(self) -> None:
        """Let what waits pass, and all that comes."""
        self._choice = None
        self._open.set()

    def of_consoles(self) -> list[Call]:
        """The requests for consoles."""
        return [call for call in self.calls
                if call.path.endswith('/states/console')]

    def _pass(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get('Content-Length') or 0)
        raw = handler.rfile.read(size)
        call = Call(handler.command, handler.path,
                    json.loads(raw) if raw else None, time.monotonic())
        self.calls.append(call)
        choice = self._choice
        if choice is not None and choice(call):
            assert self._open.wait(_TIMEOUT), f'nobody lets {call} go'
        call.passed = time.monotonic()
        connection = http.client.HTTPConnection(
            *self._target, timeout=_TIMEOUT)
        try:
            # with its Host: links in answers lead through the gate
            connection.request(handler.command, handler.path, raw,
                               dict(handler.headers))
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        call.answered = time.monotonic()
        call.status = answer.status
        if data and 'json' in (answer.getheader('Content-Type') or ''):
            call.answer = json.loads(data)
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP:
                handler.send_header(name, value)
        handler.send_header('Content-Length', str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
