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

"""Who asks on the control socket, in words."""

import asyncio
import os
import socket
import threading

from ironic_solconsole.bridge import askers


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        asker = askers.of_socket(ours)
    assert (asker.pid, asker.uid) == (os.getpid(), os.geteuid())


def test_users_have_names_where_they_resolve() -> None:
    known = {0: 'root', 1000: 'al\x1bice'}
    names = askers.Names(lambda uid: known[uid])

    async def body() -> None:
        for asker, words in (
                (askers.Asker(7, 0), 'root (uid 0), process 7'),
                (askers.Asker(0, 0), 'root (uid 0)'),
                (askers.Asker(7, 0, 0), 'root (uid 0), process 7'),
                (askers.Asker(7, 0, 1000), 'root (uid 0), logged in as '
                 'al?ice (uid 1000), process 7'),
                (askers.Asker(7, 5), 'uid 5, process 7')):
            assert await names.describe(asker) == words

    asyncio.run(body())


def test_a_directory_that_hangs_costs_the_name_and_not_the_answer() -> None:
    gate, calls = threading.Event(), []

    def lookup(uid: int) -> str:
        calls.append(uid)
        gate.wait(30)
        return 'late'

    names = askers.Names(lookup)

    async def body() -> None:
        for _ in range(3):
            async with asyncio.timeout(10):
                assert await names.describe(
                    askers.Asker(7, 5)) == 'uid 5, process 7'
        assert calls == [5], 'one lookup at a time'
        gate.set()
        async with asyncio.timeout(10):
            while 'late' not in await names.describe(askers.Asker(7, 5)):
                await asyncio.sleep(0.01)

    try:
        asyncio.run(body())
    finally:
        gate.set()
