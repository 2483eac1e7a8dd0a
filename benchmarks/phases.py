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

"""One round: a console server, from its start to its end."""

import asyncio
import collections.abc
import dataclasses
import itertools
import string
import time

from benchmarks import clients
from benchmarks import contenders
from benchmarks import fleet as fleets
from benchmarks import measure
from benchmarks import usage
from tests.support import background
from tests.support import hosts

#: What a line of 115200 bit/s carries, in bytes a second.
LINE_RATE = 11_520

#: Viewers that come at the same time when all attach.
_TOGETHER = 64

#: Consoles at which keys are typed while the others stream.
_TYPISTS = 4

#: Seconds from one key to the next at one console.
_KEY_INTERVAL = 0.025

#: Seconds for a stream to get going, and for what is in the pipe.
_WARM_UP = 0.5

#: Seconds within which a stream must be through.
_LIMIT = 180.0

_MB = 1e6


@dataclasses.dataclass(frozen=True)
class Plan:
    """What every console server is put through.

    :param seconds: of each timed part.
    :param rate: bytes a second that all hosts print together, at most.
    :param console_rate: bytes a second that one prints, at most.
    :param chunk: bytes that a host prints at a time. ipmi_sim makes one SOL
        packet of up to 128, and two of somewhat more.
    :param burst: bytes that all print together as fast as they can.
    :param idle: seconds for which nothing passes.
    :param attachments: how often a viewer comes and goes.
    """

    seconds: float = 3.0
    rate: float = 0.5e6
    console_rate: float = LINE_RATE
    chunk: int = 128
    burst: int = 5_000_000
    idle: float = 15.0
    attachments: int = 30

    def rate_of(self, consoles: int) -> float:
        """Bytes a second that each of so many hosts prints."""
        return min(self.console_rate, self.rate / consoles)

    def burst_of(self, consoles: int) -> int:
        """Bytes that each of so many hosts prints in the burst."""
        return min(1_000_000, max(1_000, int(self.burst / consoles)))


Extra = collections.abc.Callable[[measure.Round], None]


def run(contender: contenders.Contender, fleet: fleets.Fleet, plan: Plan,
        extra: Extra | None = None) -> measure.Round:
    """Measure a console server with a fleet that nobody else uses.

    :param extra: called at the end, while it still runs.
    """
    session = _Session(contender, fleet, plan)
    try:
        session.start()
        session.attach_all()
        session.stream()
        session.burst()
        session.idle()
        session.leave_all()
        session.attach_again()
        if extra is not None:
            extra(session.result)
        return session.result
    finally:
        contender.stop()


class _Session:
    """The parts of a round, in their order.

    They are called in the main thread; what talks to consoles runs in the
    loop of tests.support.background.
    """

    def __init__(self, contender: contenders.Contender,
                 fleet: fleets.Fleet, plan: Plan) -> None:
        self.contender = contender
        self.fleet = fleet
        self.plan = plan
        self.result = measure.Round()
        self.figures = self.result.figures
        self.viewers: list[clients.Viewer] = []

    def start(self) -> None:
        """All consoles connected, or waiting for a client to connect."""
        began = time.monotonic()
        self.contender.start(self.fleet.targets)
        self.figures['start'] = time.monotonic() - began
        self.figures['pss_idle'] = self._memory()

    def attach_all(self) -> None:
        """A viewer at every console."""
        async def attach(number: int, gate: asyncio.Semaphore
                         ) -> clients.Viewer:
            async with gate:
                return await clients.attach(self.contender.line(number))

        async def attach_all() -> list[clients.Viewer]:
            gate = asyncio.Semaphore(_TOGETHER)
            return list(await asyncio.gather(*(
                attach(number, gate) for number in range(len(self.fleet)))))

        began = time.monotonic()
        self.viewers = background.run(
            attach_all(), 'a viewer at every console', _LIMIT)
        took = time.monotonic() - began
        if not self.contender.always_on:
            # They are connected only now.
            self.figures['start'] += took
        # ipmitool makes its terminal raw after it has said that all is
        # well.
        time.sleep(_WARM_UP)

    # -- streams ------------------------------------------------------

    def stream(self) -> None:
        """All print at a steady rate; then, at some, keys are typed."""
        background.run(self._stream(), 'steady streams', _LIMIT)

    async def _stream(self) -> None:
        count, plan = len(self.fleet), self.plan
        typists = range(min(_TYPISTS, count // 2))
        printers = range(len(typists), count)
        rate = plan.rate_of(count)
        pids = self.contender.pids()
        texts = self._texts(
            printers, 'steady', int(rate * (2 * plan.seconds + _WARM_UP)))
        loop = asyncio.get_running_loop()
        running: list[asyncio.Future[None]] = []
        for index, number in enumerate(printers):
            # Not all in the same instant.
            loop.call_later(
                plan.chunk / rate * index / count, self._print, running,
                number, texts[number], rate)
        await asyncio.sleep(_WARM_UP)
        cpu, arrived, began = usage.cpu(pids), self._arrived(), loop.time()
        own = time.process_time()
        await asyncio.sleep(plan.seconds)
        used = usage.spent(cpu, usage.cpu(pids))
        passed = (self._arrived() - arrived) / _MB
        took = loop.time() - began
        self.figures['steady_rate'] = passed / took
        # Near 1 it is hosts and viewers that are slow.
        self.figures['harness'] = (time.process_time() - own) / took
        if passed:
            self.figures['cpu_steady'] = used / passed
        if typists:
            await self._type(typists)
        await self._finish(running, texts)
        for number in printers:
            self.result.check(f'steady stream {number}', bytes(
                self.viewers[number].data), texts[number])
        if not typists:
            await self._type(range(1))

    def _print(self, running: list['asyncio.Future[None]'], number: int,
               text: bytes, rate: float = 0.0) -> None:
        running.append(asyncio.wrap_future(self.fleet.host(number).stream(
            text, rate, self.plan.chunk if rate else 0)))

    def _texts(self, numbers: collections.abc.Iterable[int], what: str,
               size: int) -> dict[int, bytes]:
        """What hosts will print; viewers forget what they have seen."""
        for viewer in self.viewers:
            viewer.data.clear()
        return {number: hosts.text(size, f'{what}-{number}')
                for number in numbers}

    def _arrived(self) -> int:
        return sum(len(viewer.data) for viewer in self.viewers)

    async def _finish(self, running: list['asyncio.Future[None]'],
                      texts: dict[int, bytes]) -> None:
        """Wait until all has come, or nothing more comes."""
        while len(running) < len(texts):
            await asyncio.sleep(0.005)
        await asyncio.gather(*running)
        wanted = sum(map(len, texts.values()))
        loop = asyncio.get_running_loop()
        arrived, since = -1, loop.time()
        while arrived < wanted and loop.time() < since + 10 * _WARM_UP:
            if self._arrived() > arrived:
                arrived, since = self._arrived(), loop.time()
            await asyncio.sleep(0.005)

    async def _type(self, numbers: range) -> None:
        """Type at these consoles; the hosts echo."""
        loop = asyncio.get_running_loop()

        async def type_at(number: int) -> list[float]:
            viewer, took = self.viewers[number], []
            viewer.data.clear()
            end = loop.time() + self.plan.seconds
            sent = bytearray()
            for letter in itertools.cycle(string.ascii_lowercase.encode()):
                if loop.time() >= end:
                    break
                sent.append(letter)
                took.append(await viewer.type(bytes([letter])))
                await asyncio.sleep(_KEY_INTERVAL)
            self.result.check(
                f'echo {number}', bytes(viewer.data), bytes(sent))
            return took

        self.result.samples['echo'] = [
            value for values in await asyncio.gather(*map(type_at, numbers))
            for value in values]

    def burst(self) -> None:
        """All print as fast as their lines take it."""
        background.run(self._burst(), 'streams at full speed', _LIMIT)

    async def _burst(self) -> None:
        numbers = range(len(self.fleet))
        texts = self._texts(
            numbers, 'burst', self.plan.burst_of(len(self.fleet)))
        pids = self.contender.pids()
        loop = asyncio.get_running_loop()
        running: list[asyncio.Future[None]] = []
        cpu, began = usage.cpu(pids), loop.time()
        for number in numbers:
            self._print(running, number, texts[number])
        await self._finish(running, texts)
        took = loop.time() - began
        used = usage.spent(cpu, usage.cpu(pids))
        passed = self._arrived() / _MB
        self.figures['throughput'] = passed / took
        if passed:
            self.figures['cpu_burst'] = used / passed
        for number in numbers:
            self.result.check(f'burst {number}', bytes(
                self.viewers[number].data), texts[number])

    # -- what it costs while nothing passes -----------------------------

    def idle(self) -> None:
        """Viewers everywhere, all scrollback full, and nothing passes."""
        self.figures['pss_attached'] = self._memory()
        if not self.plan.idle:
            return
        pids = self.contender.pids()
        cpu, began = usage.cpu(pids), time.monotonic()
        time.sleep(self.plan.idle)
        used = usage.spent(cpu, usage.cpu(pids))
        self.figures['cpu_idle'] = (
            used / (time.monotonic() - began) / len(self.fleet) * 3600)

    def _memory(self) -> float:
        """Kilobytes a console."""
        return usage.pss(self.contender.pids()) / 1000 / len(self.fleet)

    # -- come and go ----------------------------------------------------

    def leave_all(self) -> None:
        """Everybody leaves."""
        async def leave_all() -> None:
            await asyncio.gather(*(
                viewer.leave() for viewer in self.viewers))

        background.run(leave_all(), 'end of all viewers', _LIMIT)
        self.viewers.clear()

    def attach_again(self) -> None:
        """One after the other comes to a console that has printed."""
        async def visit(number: int) -> float:
            viewer = await clients.attach(self.contender.line(number))
            try:
                return await asyncio.wait_for(
                    asyncio.shield(viewer.shown), clients.PATIENCE)
            finally:
                await viewer.leave()

        took = []
        for index in range(self.plan.attachments):
            number = index % len(self.fleet)
            self.contender.free(number)
            took.append(background.run(
                visit(number), f'attach to console {number}', _LIMIT))
        self.result.samples['attach'] = took
