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

"""A bridge that does what a test says, and writes down what it was asked.

``python fake_bridge.py DIRECTORY FD``: the file ``orders`` in the directory
is read before each request is answered: a JSON object whose keys are verbs
(and ``eof``) and whose values are

- ``ok``: as a bridge should, which is also what is not named;
- ``hang``: no answer, now or later;
- ``exit``: the process ends;
- ``garbage``: a line that is not JSON;
- ``slow``: the answer comes after 0.3 s;
- anything else: an error of this kind.

``events`` are sent, ``memory`` is sent as the memory of each console, and
``stderr`` is written before each answer; ``url`` is told in place of the
right one.

Requests are appended to the file ``requests``. It imports nothing of ours,
so that it starts fast and shares no defect.
"""

import json
import os
import pathlib
import socket
import sys
import time
import typing


def main() -> None:
    directory, descriptor = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    control = socket.socket(fileno=descriptor)
    consoles: dict[str, typing.Any] = {}
    with control.makefile('rb') as lines:
        for line in lines:
            request = json.loads(line)
            with (directory / 'requests').open('a') as file:
                file.write(json.dumps({'pid': os.getpid(), **request}) + '\n')
            orders = read_orders(directory)
            answer(control, request, consoles, orders)
    if read_orders(directory).get('eof') == 'hang':
        time.sleep(60)


def read_orders(directory: pathlib.Path) -> dict[str, typing.Any]:
    try:
        return dict(json.loads((directory / 'orders').read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def answer(control: socket.socket, request: dict[str, typing.Any],
           consoles: dict[str, typing.Any],
           orders: dict[str, typing.Any]) -> None:
    verb, args = request['verb'], request['args']
    order = orders.get(verb, 'ok')
    for event in orders.get('events', []):
        send(control, {'event': 'log', 'data': event})
    if 'memory' in orders:
        for node in consoles:
            send(control, {'event': 'memory', 'data': {
                'node': node, 'memory': orders['memory']}})
    for line in orders.get('stderr', []):
        print(line, file=sys.stderr, flush=True)
    if order == 'hang':
        return
    if order == 'exit':
        os._exit(3)
    if order == 'garbage':
        control.sendall(b'this is not JSON\n')
        return
    if order == 'slow':
        time.sleep(0.3)
    elif order != 'ok':
        send(control, {'id': request['id'], 'error': {
            'kind': order, 'message': f'ordered to refuse {verb}'}})
        return
    send(control, {'id': request['id'],
                   'result': result(verb, args, consoles, orders)})


def result(verb: str, args: dict[str, typing.Any],
           consoles: dict[str, typing.Any],
           orders: dict[str, typing.Any]) -> dict[str, typing.Any]:
    if verb == 'configure':
        return {'pid': os.getpid(), 'version': 'fake',
                'member': f'cond:{os.getpid()}:fake'}
    if verb == 'open':
        spec = args['spec']
        consoles[spec['node']] = spec
        url = f'tcp://{spec["tcp_host"]}:{spec["tcp_port"]}'
        return {'node': spec['node'], 'state': 'connected', 'reason': '',
                'settled': True, 'generation': spec['generation'],
                'url': orders.get('url', url)}
    if verb == 'admit':
        return {'admitted': [
            node for node, generation in args['consoles']
            if consoles.get(node, {}).get('generation') == generation]}
    if verb == 'close':
        return {'closed': consoles.pop(args['node'], None) is not None}
    return {'consoles': len(consoles)}


def send(control: socket.socket, message: dict[str, typing.Any]) -> None:
    control.sendall(json.dumps({'v': 1, **message}).encode() + b'\n')


if __name__ == '__main__':
    main()
