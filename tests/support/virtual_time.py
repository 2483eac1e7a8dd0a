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

"""An event loop whose clock goes only when nothing else is to be done."""

import asyncio
import collections.abc
import selectors
import typing

T = typing.TypeVar('T')


class _Selector(selectors.SelectSelector):
    """Passes the time instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[
            tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, 'the test waits for what never comes'
        self.now += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    """The loop over it."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(work: collections.abc.Coroutine[typing.Any, typing.Any, T]) -> T:
    """Run a coroutine; its waits are over at once."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)
