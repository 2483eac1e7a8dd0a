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

"""One asyncio loop in a thread, for the network peers of tests.

Hosts and viewers are many and must run at the same time, while a test is
read from top to bottom. So they live in this loop, and the test calls
them from outside.
"""

import asyncio
import collections.abc
import concurrent.futures
import threading
import typing

T = typing.TypeVar('T')

_mutex = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def loop() -> asyncio.AbstractEventLoop:
    """The loop; its thread is started when first needed."""
    global _loop
    with _mutex:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, daemon=True,
                             name='network peers of tests').start()
        return _loop


def start(work: collections.abc.Coroutine[typing.Any, typing.Any, T]
          ) -> 'concurrent.futures.Future[T]':
    """Let a coroutine run beside the test."""
    return asyncio.run_coroutine_threadsafe(work, loop())


def run(work: collections.abc.Coroutine[typing.Any, typing.Any, T],
        what: str, timeout: float = 20.0) -> T:
    """Run a coroutine to its end.

    :param what: what it does, for the failure message.
    :param timeout: seconds.
    :raises: AssertionError when time runs out.
    """
    future = start(work)
    try:
        return future.result(timeout)
    except concurrent.futures.TimeoutError:
        future.cancel()
        raise AssertionError(
            f'not done within {timeout:g} s: {what}') from None
