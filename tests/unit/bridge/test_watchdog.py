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

"""Stalls of the event loop are told, and a busy machine is not one."""

import asyncio
import logging
import time

import pytest

from ironic_solconsole.bridge import watchdog


@pytest.mark.parametrize(('wall', 'cpu', 'stall'), [
    (0.01, 0.01, False), (0.06, 0.06, True), (0.06, 0.01, False),
    (0.5, 0.04, False), (0.5, 0.06, True), (1.5, 0.0, True)])
def test_what_counts_as_a_stall(wall, cpu, stall):
    assert watchdog.is_stall(wall, cpu) is stall


def run(coroutine, caplog):
    selector = watchdog.WatchedSelector()
    with caplog.at_level(logging.WARNING):
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(
                selector)) as runner:
            runner.run(coroutine())
    return selector


def test_a_callback_that_computes_too_long_is_told_once(caplog):
    async def body():
        for _ in range(3):
            end = time.thread_time() + 0.12
            while time.thread_time() < end:
                pass
            await asyncio.sleep(0)
    selector = run(body, caplog)
    assert selector.stalls >= 3
    told = [r for r in caplog.records if 'held up' in r.message]
    assert len(told) == 1, caplog.text


def test_a_loop_that_waits_is_not_held_up(caplog):
    async def body():
        await asyncio.sleep(0.2)
    assert run(body, caplog).stalls == 0


def test_a_call_that_blocks_is_told(caplog):
    async def body():
        time.sleep(1.1)     # what must never be done
        await asyncio.sleep(0)
    assert run(body, caplog).stalls == 1
