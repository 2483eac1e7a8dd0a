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

"""What tasks of a link wait for."""

import asyncio

from ironic_solconsole.sol import flag


def test_all_who_wait_are_woken_and_who_comes_later_waits():
    async def body():
        raised = flag.Flag()
        waiting = [asyncio.ensure_future(raised.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        raised.set()
        raised.clear()
        late = asyncio.ensure_future(raised.wait())
        await asyncio.wait(waiting, timeout=10)
        assert all(task.done() for task in waiting)
        assert not late.done()
        raised.set()
        await asyncio.wait_for(late, 10)
        await asyncio.wait_for(raised.wait(), 10)
    asyncio.run(body())


def test_who_gives_up_waiting_is_forgotten():
    async def body():
        raised = flag.Flag()
        for _ in range(100):
            waiter = asyncio.ensure_future(raised.wait())
            await asyncio.sleep(0)
            waiter.cancel()
            await asyncio.wait([waiter])
        assert raised._waiters == ()
        patient = asyncio.ensure_future(raised.wait())
        quitter = asyncio.ensure_future(raised.wait())
        await asyncio.sleep(0)
        quitter.cancel()
        raised.set()
        await asyncio.wait_for(patient, 10)
    asyncio.run(body())
