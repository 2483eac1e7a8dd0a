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

"""The witness: BMCs, viewers and looks at processes, in a process of its own.

It is the same clock and the same loop for all, and no thread of a test gets
in its way. Commands come as JSON lines on standard input, answers go as JSON
lines to standard output, records to a file.
"""

import argparse
import asyncio
import collections.abc
import json
import os
import random
import sys
import time
import typing

from tests.chaos import bmcs
from tests.chaos import owners
from tests.chaos import spectator

_LINE_INTERVAL = 0.1        # seconds between two lines of a host
_TYPE_INTERVAL = 0.8        # seconds between two tokens at a listener
_LOOK_INTERVAL = 0.05       # seconds between two looks at a process
_UNSURE_AFTER = 0.5         # seconds without a look

Json = dict[str, typing.Any]


class Observer:
    """All that is watched.

    :param nodes: names.
    :param records: file to write to.
    """

    def __init__(self, nodes: list[str], records: typing.TextIO) -> None:
        self._records = records
        self._owners = owners.Owners()
        self._bmcs = {node: bmcs.WatchedBmc(node, self._record, self._owners)
                      for node in nodes}
        self._spectators: dict[tuple[str, str], spectator.Spectator] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._states: dict[int, str] = {}
        self._chance = random.Random(0)
        #: The longest time that this process had no turn.
        self._lag = 0.0

    def _record(self, kind: str, when: float, **fields: object) -> None:
        pid = fields.get('pid')
        if isinstance(pid, int) and pid and pid not in self._states:
            self._see(pid, 'runs', when)
            self._record('conductor', when, pid=pid,
                         host=owners.conductor(pid))
        self._records.write(json.dumps(
            {'kind': kind, 'time': when, **fields}) + '\n')

    def _see(self, pid: int, state: str, when: float) -> None:
        self._states[pid] = state
        self._record('process', when, pid=pid, state=state)

    def _start(self, work: collections.abc.Coroutine[
            typing.Any, typing.Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

    async def run(self, stopped: asyncio.Event) -> None:
        """Watch until told to stop."""
        for bmc in self._bmcs.values():
            bmc.start()
        self._start(self._write_lines())
        self._start(self._look())
        self._start(self._type())
        wait = asyncio.create_task(stopped.wait())
        await asyncio.wait({wait, *self._tasks},
                           return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()       # raises what must not happen
            task.cancel()
        for bmc in self._bmcs.values():
            bmc.stop()
        self._records.flush()

    async def _write_lines(self) -> None:
        while True:
            for bmc in self._bmcs.values():
                bmc.tick()
            self._records.flush()
            await asyncio.sleep(_LINE_INTERVAL)

    async def _type(self) -> None:
        while True:
            for one in self._spectators.values():
                if self._chance.random() < 0.2:
                    one.type()
            await asyncio.sleep(_TYPE_INTERVAL / 5)

    async def _look(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_INTERVAL)
            now = time.monotonic()
            self._lag = max(self._lag, now - last - _LOOK_INTERVAL)
            running = [pid for pid, state in self._states.items()
                       if state != 'gone']
            if now - last > _UNSURE_AFTER:
                for pid in running:
                    self._see(pid, 'unsure', last + _LOOK_INTERVAL)
            last = now
            for pid in running:
                state = owners.state(pid)
                if state != self._states[pid]:
                    self._see(pid, state, now)

    # Commands.

    def answer(self, command: Json) -> Json:
        """Carry out a command."""
        verb = command['do']
        if verb == 'watch':
            self._watch(command['node'], command['host'], command['port'])
        elif verb == 'reset':
            self._bmcs[command['node']].reboot()
        elif verb == 'ports':
            return {name: bmc.port for name, bmc in self._bmcs.items()}
        elif verb == 'status':
            return {'time': time.monotonic(), 'lag': self._lag, 'nodes': {
                name: self._status(name) for name in self._bmcs}}
        return {}

    def _watch(self, node: str, host: str, port: int) -> None:
        known = self._spectators.get((node, host))
        if known is not None:
            known.port = port
            return
        one = self._spectators[node, host] = spectator.Spectator(
            node, host, port, self._record, self._owners)
        self._start(one.run())

    def _status(self, name: str) -> Json:
        bmc = self._bmcs[name]
        return {
            'line': bmc.line, 'taken': bmc.last_taken, 'pid': bmc.last_pid,
            'arrived': bmc.arrived, 'sessions': len(bmc.live_sessions),
            'held': bmc.holder is not None,
            'shown': {one.host: {'time': one.last_shown, 'line': one.line,
                                 'pid': one.last_pid}
                      for one in self._spectators.values()
                      if one.node == name}}


async def _serve(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    buffer = bytearray()
    loop = asyncio.get_running_loop()
    errors: list[Json] = []

    def failed(_: asyncio.AbstractEventLoop, context: Json) -> None:
        loop.default_exception_handler(context)
        errors.append(context)
        stopped.set()

    loop.set_exception_handler(failed)
    with open(arguments.records, 'w', encoding='ascii') as records:
        observer = Observer(
            [str(number) for number in range(arguments.nodes)], records)

        def readable() -> None:
            data = os.read(sys.stdin.fileno(), 65536)
            if not data:
                stopped.set()
            buffer.extend(data)
            while (end := buffer.find(b'\n')) >= 0:
                command = json.loads(bytes(buffer[:end]))
                del buffer[:end + 1]
                print(json.dumps(observer.answer(command)), flush=True)

        loop.add_reader(sys.stdin.fileno(), readable)
        await observer.run(stopped)
    if errors:
        sys.exit(1)


def main() -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--nodes', type=int, required=True)
    parser.add_argument('--records', required=True)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == '__main__':
    main()
