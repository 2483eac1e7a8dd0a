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

"""What passes a link, and when it may."""

import asyncio
import typing

from ironic_solconsole.sol import channel as sol_channel
from ironic_solconsole.sol import connection
from ironic_solconsole.sol import link as sol_link
from ironic_solconsole.sol import target


class Owner:
    """Permits what it was told to, and all after that."""

    def __init__(self) -> None:
        self.answers: list[bool] = []
        self.data: list[bytes] = []

    def link_permitted(self) -> bool:
        return self.answers.pop(0) if self.answers else True

    def link_data(self, data: bytes) -> None:
        self.data.append(data)


class Session:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send_sol(self, payload: bytes) -> None:
        self.sent.append(payload)


def test_nothing_passes_once_it_may_not() -> None:
    """The lease may end between two looks at it."""
    async def body() -> None:
        owner, session = Owner(), Session()
        link = connection.Link(
            target.Target('192.0.2.7', 623, b'admin', b'secret', None, 4,
                          (17, 3)),
            typing.cast(connection.Owner, owner),
            login_slots=asyncio.Semaphore(1), keepalive_interval=10.0,
            node='', memory=sol_link.LinkMemory())
        link._session = typing.cast(typing.Any, session)
        link._channel = sol_channel.SolChannel()
        link._on_sol(b'\x01\0\0\0one')
        link._on_sol(b'\x02\0\0\0two')
        assert owner.data == [b'one', b'two']
        sent = list(session.sent)
        owner.answers = [True, False]
        link._on_sol(b'\x03\0\0\0three')
        assert (owner.data, session.sent) == ([b'one', b'two'], sent)
        # It was renewed in time after all: no byte is lost or doubled.
        link._on_sol(b'\x03\0\0\0three')
        link._on_sol(b'\x04\0\0\0four')
        assert owner.data == [b'one', b'two', b'three', b'four']
        assert session.sent[-1] == b'\0\x04\x04\0'

    asyncio.run(body())
