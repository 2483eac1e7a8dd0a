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

"""Fixtures for tests of the conductor's side of bridges."""

import collections.abc
import json
import os
import pathlib
import signal
import sys
import threading
import typing
import uuid

import pytest

from ironic_solconsole import spec
from ironic_solconsole.driver import bridges
from ironic_solconsole.driver import keeper
from ironic_solconsole.driver import memories
from ironic_solconsole.driver import process
from tests.support import processes
from tests.support import waiting

FAKE = pathlib.Path(__file__).with_name('fake_bridge.py')

#: Short, and far apart where a test tells one from the other.
TIMING = keeper.Timing(
    tick=0.02, ping_interval=0.05, ping_timeout=0.5, start_timeout=5.0,
    close_timeout=0.5, reply_margin=0.5, idle=0.3, healthy=60.0,
    backoff=0.05, max_backoff=0.4, port_retry=0.05, port_patience=0.5,
    open_retry=0.2)


def make_spec(node: str | None = None, **changes: typing.Any,
              ) -> spec.ConsoleSpec:
    """The spec of some console."""
    values: dict[str, typing.Any] = {
        'node': node or str(uuid.uuid4()), 'generation': uuid.uuid4().hex,
        'address': '192.0.2.7', 'username': 'admin', 'password': 'secret',
        'tcp_host': '127.0.0.1', 'tcp_port': 7000, **changes}
    return spec.ConsoleSpec(**values)


class FakeBridges:
    """Bridges of fake_bridge.py, and what they were asked."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.lost: list[tuple[str, str, str]] = []
        self.pools: list[bridges.BridgePool] = []

    def command(self, descriptor: int) -> list[str]:
        return [sys.executable, '-I', '-S', str(FAKE), str(self.directory),
                str(descriptor)]

    def order(self, **orders: object) -> None:
        """What they do from now on."""
        new = self.directory / 'orders.new'
        new.write_text(json.dumps(orders))
        new.replace(self.directory / 'orders')

    def pool(self, count: int = 1, timing: keeper.Timing = TIMING,
             database_age: keeper.DatabaseAge = lambda: None,
             **options: typing.Any) -> bridges.BridgePool:
        def made(number: int) -> dict[str, typing.Any]:
            return {'number': number, **options}

        remembered = memories.Memories(100)
        start = bridges.starter(
            lambda number, descriptor: self.command(descriptor), made,
            remembered, timing)
        self.pools.append(bridges.BridgePool(
            start, count,
            lambda node, generation, holder: self.lost.append(
                (node, generation, holder)), remembered, timing,
            database_age))
        return self.pools[-1]

    def requests(self, verb: str = '') -> list[dict[str, typing.Any]]:
        """What was asked of all of them, in order."""
        path = self.directory / 'requests'
        lines = path.read_text().splitlines() if path.exists() else []
        parsed = [json.loads(line) for line in lines
                  if line.endswith('}')]
        return [request for request in parsed
                if verb in ('', request['verb'])]

    def pids(self) -> list[int]:
        """All that ever ran, in order."""
        return list(dict.fromkeys(
            request['pid'] for request in self.requests()))

    def alive(self) -> list[int]:
        return [pid for pid in self.pids() if processes.alive(pid)]

    def wait_requests(self, verb: str, count: int) -> None:
        waiting.wait_until(
            lambda: len(self.requests(verb)) >= count,
            f'{count} requests {verb!r}', seen=lambda: [
                request['verb'] for request in self.requests()])

    def wait_alive(self, count: int) -> list[int]:
        waiting.wait_until(lambda: len(self.alive()) == count,
                           f'{count} bridges', seen=self.alive)
        return self.alive()

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        assert pid in self.pids(), 'not one of ours'
        os.kill(pid, number)


@pytest.fixture
def fake(tmp_path: pathlib.Path) -> collections.abc.Iterator[FakeBridges]:
    """Fake bridges, all gone at the end, and no thread left."""
    before = set(threading.enumerate())
    fakes = FakeBridges(tmp_path)
    yield fakes
    for pool in fakes.pools:
        pool.shut_down()
    waiting.wait_until(lambda: not fakes.alive(),
                       'end of all bridges after shut_down()',
                       seen=fakes.alive)

    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate()
                if thread not in before and 'solconsole' in thread.name}

    waiting.wait_until(lambda: not threads(), 'end of all threads',
                       seen=threads)


@pytest.fixture
def running(fake: FakeBridges) -> collections.abc.Iterator[
        collections.abc.Callable[..., process.BridgeProcess]]:
    """Starts single fake bridges."""
    started: list[process.BridgeProcess] = []

    def start(**callbacks: typing.Any) -> process.BridgeProcess:
        started.append(process.BridgeProcess(
            fake.command, callbacks.get('on_event', lambda event: None),
            callbacks.get('on_output', lambda line: None)))
        return started[-1]

    yield start
    for one in started:
        one.kill()
