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

"""Our own session and SOL channel at a BMC of ours, without a link."""

import asyncio
import collections.abc
import struct
import time

import pytest

from ironic_solconsole.exception import LinkError
from ironic_solconsole.sol import channel as sol_channel
from ironic_solconsole.sol import session as sol_session
from ironic_solconsole.sol import target as sol_target
from tests.support import waiting
from tests.support.bmc import codes
from tests.support.bmc import model
from tests.support.bmc import options

#: First instance of SOL.
SOL = bytes((1, 1))
#: Data of Activate Payload: encrypted and authenticated.
ACTIVATE = SOL + b'\xc0\0\0\0'


class Client(sol_session.Session):
    """Our session at a BMC of ours, with a SOL channel of its own."""

    def __init__(self, bmc: model.ModelBmc,
                 user: options.User = options.ADMIN, *,
                 suite: int = 17, level: int | None = None, kg: bytes = b'',
                 port: int = 0) -> None:
        super().__init__(sol_target.Target(
            address=bmc.address, port=port or bmc.port,
            username=user.name.encode(), password=user.password.encode(),
            kg=kg or None, privilege=level or user.level, suites=(suite,)),
            self._got_sol, lambda: self.notices.append(None))
        self.bmc = bmc
        self.channel = sol_channel.SolChannel()
        self.output = bytearray()
        self.events: list[object] = []
        #: One for each time that the BMC told of another activation.
        self.notices: list[None] = []

    async def __aenter__(self) -> 'Client':
        try:
            await self.login()
        except BaseException:
            self.abort()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _got_sol(self, payload: bytes) -> None:
        self.channel.receive_data(payload, time.monotonic())
        self.pump()

    def pump(self) -> None:
        """Send and note what the channel has."""
        for payload in self.channel.data_to_send():
            self.send_sol(payload)
        for event in self.channel.events_received():
            if isinstance(event, sol_channel.DataReceived):
                self.output += event.data
            else:
                self.events.append(event)

    def saw(self, kind: type) -> bool:
        """Whether the channel has told of such an event."""
        return any(isinstance(event, kind) for event in self.events)

    async def ask(self, command: tuple[int, int], data: bytes = b''
                  ) -> tuple[int, bytes]:
        """Completion code and data of a command."""
        return await self.command(*command, data)

    async def activate(self, data: bytes = ACTIVATE) -> int:
        """Completion code of Activate Payload; opens the channel."""
        code, answer = await self.ask(codes.ACTIVATE_PAYLOAD, data)
        if not code:
            self.channel.activated(
                struct.unpack_from('<H', answer, 4)[0], time.monotonic())
            self.pump()
        return code

    def type(self, data: bytes) -> None:
        """Send input."""
        assert self.channel.send(data, time.monotonic()) == len(data)
        self.pump()

    async def until(self, predicate: collections.abc.Callable[[], object],
                    what: str, timeout: float = waiting.PATIENCE) -> None:
        """Wait in the loop, with the channel's timers running."""
        deadline = time.monotonic() + timeout
        while not predicate():
            assert time.monotonic() < deadline, (
                f'waited {timeout:g} s, but not seen: {what}; '
                f'{self.channel.state!r}, output '
                f'{waiting.excerpt(bytes(self.output))}')
            self.channel.handle_timer(time.monotonic())
            self.pump()
            await asyncio.sleep(0.005)


def with_bmc(body: collections.abc.Callable[
        [model.ModelBmc], collections.abc.Coroutine[object, object, None]],
        settings: options.BmcOptions | None = None) -> None:
    """Run a coroutine beside a BMC in one loop, as most tests will."""
    async def main() -> None:
        with model.ModelBmc(settings) as bmc:
            await body(bmc)

    asyncio.run(main())


async def refused(client: Client) -> LinkError:
    """The error that a login ends with."""
    with pytest.raises(LinkError) as error:
        async with client:
            pass
    return error.value
