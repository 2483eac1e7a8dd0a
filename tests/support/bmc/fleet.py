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

"""Many BMCs in one thread, for tests that are no coroutines."""

import asyncio
import collections.abc
import threading
import types
import typing

from tests.support.bmc import model
from tests.support.bmc import options
from tests.support.bmc import threads


class ModelBmcs:
    """BMCs of ours, in one loop in a thread of its own.

    ::

        with ModelBmcs(BmcOptions(kg=b'key'), openbmc()) as (first, second):
            second.host.send(b'login: ')

    :param settings: one for each BMC; a number stands for so many default
        ones.
    """

    def __init__(self, *settings: options.BmcOptions | int) -> None:
        self._settings: list[options.BmcOptions] = []
        for entry in settings or (1,):
            self._settings += (
                [options.BmcOptions(name=f'bmc {number}')
                 for number in range(entry)]
                if isinstance(entry, int) else [entry])
        self.bmcs: list[model.ModelBmc] = []
        #: Errors of this package itself; stop() raises the first.
        self.errors: list[BaseException] = []
        self._thread: threading.Thread | None = None
        self._home: threads.Loop | None = None

    def start(self) -> 'ModelBmcs':
        """Start the thread and all BMCs."""
        loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def serve() -> None:
            self._home = threads.Loop.here()
            loop.set_exception_handler(self._failed)
            ready.set()

        def run() -> None:
            loop.run_until_complete(serve())
            loop.run_forever()
            loop.close()

        self._thread = threading.Thread(
            target=run, daemon=True, name='BMCs of ours')
        self._thread.start()
        assert ready.wait(10.0), 'the thread of the BMCs does not start'
        assert self._home is not None
        try:
            for settings in self._settings:
                self.bmcs.append(self._home.call(
                    lambda settings=settings:   # type: ignore[misc]
                    model.ModelBmc(settings).start()))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all BMCs and the thread."""
        if self._thread is None or self._home is None:
            return
        home = self._home
        for bmc in self.bmcs:
            bmc.stop()
        home.loop.call_soon_threadsafe(home.loop.stop)
        self._thread.join(10.0)
        self._thread = None
        if self.errors:
            raise AssertionError('a BMC of ours failed') from self.errors[0]

    def _failed(self, loop: asyncio.AbstractEventLoop,
                context: dict[str, typing.Any]) -> None:
        loop.default_exception_handler(context)
        self.errors.append(context.get('exception') or AssertionError(
            context.get('message')))

    def __enter__(self) -> 'ModelBmcs':
        return self.start()

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None) -> None:
        self.stop()

    def __iter__(self) -> collections.abc.Iterator[model.ModelBmc]:
        return iter(self.bmcs)

    def __len__(self) -> int:
        return len(self.bmcs)

    def __getitem__(self, at: int) -> model.ModelBmc:
        return self.bmcs[at]
