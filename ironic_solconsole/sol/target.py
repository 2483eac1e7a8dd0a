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

"""Which BMC, with which account, and where it is."""

import asyncio
import dataclasses
import socket
import typing

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A BMC and the account to use there.

    :param address: IP address or host name.
    :param port: UDP port.
    :param username: up to 16 bytes.
    :param password: up to 20 bytes.
    :param kg: the BMC's key Kg, or None where it has none.
    :param privilege: 2 user, 3 operator, 4 administrator.
    :param suites: cipher suites to propose, in this order (17, 3).
    """

    address: str
    port: int
    username: bytes = dataclasses.field(repr=False)
    password: bytes = dataclasses.field(repr=False)
    kg: bytes | None = dataclasses.field(repr=False)
    privilege: int
    suites: tuple[int, ...]

    def __str__(self) -> str:
        host = f'[{self.address}]' if ':' in self.address else self.address
        return f'{host}:{self.port}'


async def resolve(address: str, port: int, timeout: float) -> tuple[
        int, tuple[typing.Any, ...]]:
    """Address family and socket address of a BMC.

    An address literal costs nothing; a name is looked up in a thread.

    :param timeout: seconds to wait for the name service.
    :raises: LinkError (unreachable) if the name does not resolve.
    """
    loop = asyncio.get_running_loop()
    try:
        found = socket.getaddrinfo(
            address, port, type=socket.SOCK_DGRAM,
            flags=socket.AI_NUMERICHOST)
    except OSError:
        try:
            async with asyncio.timeout(timeout):
                found = await loop.getaddrinfo(
                    address, port, type=socket.SOCK_DGRAM)
        except TimeoutError:
            raise LinkError(
                Reason.UNREACHABLE,
                f'the name {address} did not resolve within '
                f'{timeout:g} s') from None
        except (OSError, UnicodeError) as error:
            raise LinkError(
                Reason.UNREACHABLE,
                f'the name {address} does not resolve: {error}') from None
    family, _, _, _, sockaddr = found[0]
    return int(family), sockaddr
