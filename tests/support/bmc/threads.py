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

"""Call an object that lives in a loop from any thread."""

import asyncio
import collections.abc
import concurrent.futures
import functools
import threading
import typing

P = typing.ParamSpec('P')
T = typing.TypeVar('T')

_PATIENCE = 30.0        # seconds; a call only waits for the loop's turn


class Loop:
    """An asyncio loop and the thread that runs it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = threading.get_ident()

    @classmethod
    def here(cls) -> 'Loop':
        """The loop that runs now, in this thread."""
        return cls(asyncio.get_running_loop())

    def call(self, function: collections.abc.Callable[[], T]) -> T:
        """Run a function in the loop and give what it returns.

        :raises: what it raises; AssertionError if the loop has no turn for
            it.
        """
        if threading.get_ident() == self._thread:
            return function()
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        try:
            return future.result(_PATIENCE)
        except concurrent.futures.TimeoutError:
            raise AssertionError(
                f'the loop of the BMCs did not run {function!r} within '
                f'{_PATIENCE:g} s') from None


class Bound(typing.Protocol):
    """An object that lives in a loop."""

    @property
    def home(self) -> Loop:
        """Where it lives."""


B = typing.TypeVar('B', bound=Bound)


def in_loop(method: collections.abc.Callable[typing.Concatenate[B, P], T]
            ) -> collections.abc.Callable[typing.Concatenate[B, P], T]:
    """Make a method run in its object's loop, whatever thread calls it."""
    def call(self: B, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.home.call(lambda: method(self, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call
