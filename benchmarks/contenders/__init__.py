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

"""What is compared: one module a console server, with one face."""

import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Target:
    """One node: its BMC, and where its console is to be served.

    :param port: UDP port of the BMC.
    :param tcp_port: a free TCP port for who serves each console on one.
    """

    number: int
    address: str
    port: int
    username: str
    password: str
    tcp_port: int

    @property
    def uuid(self) -> str:
        """The node's identity, the same in every run."""
        return f'00000000-0000-4000-8000-{self.number:012d}'


@dataclasses.dataclass(frozen=True)
class Line:
    """How a client comes to one console.

    :param port: TCP port on 127.0.0.1.
    :param hello: what the client says, and the answer that it waits for
        each time, before the console's bytes begin.
    :param banner: what the server says before the console is usable; it
        is no output of the host.
    """

    port: int
    hello: tuple[tuple[bytes, bytes], ...] = ()
    banner: bytes = b''


class NotConnected(Exception):
    """A peer of ours has not got all its consoles, for once.

    Under load conman's login may fail at a simulated BMC, and it does not
    try again for a minute. The round is worth another try.
    """


class Contender(typing.Protocol):
    """A console server that can be started, used and measured.

    ``start()`` and ``stop()`` belong into the main thread; whatever
    happens in between, ``stop()`` leaves no process behind.
    """

    #: As the table shows it.
    name: str

    #: Whether consoles are connected to their BMCs while nobody is there.
    always_on: bool

    def missing(self, consoles: int) -> str:
        """Why this cannot run here; '' when it can."""

    def start(self, targets: list[Target]) -> None:
        """Serve these; return when all that is always on is connected.

        :raises: NotConnected.
        """

    def line(self, number: int) -> Line:
        """The way to one console."""

    def pids(self) -> list[int]:
        """Processes of the console server, children included."""

    def free(self, number: int) -> None:
        """Make a console that all have left usable for the next one."""

    def stop(self) -> None:
        """End it, by process id."""
