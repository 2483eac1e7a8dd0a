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

"""What a task waits for."""

import asyncio


class Flag:
    """asyncio.Event, less the 700 bytes of its queue.

    Each link has several, of which hardly any has somebody waiting.
    """

    __slots__ = ('_set', '_waiters')

    def __init__(self) -> None:
        self._set = False
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    def set(self) -> None:
        """Wake all who wait, and let nobody wait until :meth:`clear`."""
        self._set = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Let those wait who come from now on."""
        self._set = False

    async def wait(self) -> None:
        """Wait until it is set."""
        if self._set:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters += (waiter,)
        try:
            await waiter
        finally:
            self._waiters = tuple(
                other for other in self._waiters if other is not waiter)
