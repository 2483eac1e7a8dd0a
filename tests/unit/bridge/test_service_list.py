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

"""``list`` for many at a time, and the event loop between them."""

import asyncio

from ironic_solconsole import control
from ironic_solconsole.bridge import askers
from ironic_solconsole.bridge import service


def test_one_list_is_made_at_each_turn_of_the_loop() -> None:
    """A console's packet that comes meanwhile waits for one list at most,
    however many ask."""
    async def body() -> None:
        bridge = service.Service(lambda event: None, 'cond-test')
        loop = asyncio.get_running_loop()
        turn = 0
        made: list[int] = []

        def count() -> None:
            nonlocal turn
            turn += 1
            handle[0] = loop.call_soon(count)

        async def ask(number: int) -> None:
            answer = await bridge.answer_client(
                control.Request(number, 'list'), askers.Asker(1, 0))
            assert answer == {'consoles': []}
            made.append(turn)

        handle = [loop.call_soon(count)]
        await asyncio.gather(*map(ask, range(40)))
        handle[0].cancel()
        assert len(made) == 40
        assert len(set(made)) == 40, f'several in one turn: {made}'

    asyncio.run(body())
