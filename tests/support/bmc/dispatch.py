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

"""Commands: who may give them, how long they are, what is answered."""

import collections.abc
import dataclasses
import time
import typing

from tests.support.bmc import journal
from tests.support.bmc import options
from tests.support.bmc import sessions
from tests.support.bmc import wire
from tests.support.bmc.codes import Code

if typing.TYPE_CHECKING:
    from tests.support.bmc import engine


class RefusedError(Exception):
    """A command is not carried out.

    :param code: the completion code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f'completion code {code:02x}h')
        self.code = code


@dataclasses.dataclass
class Request:
    """A command as its function sees it.

    :param session: None outside a session.
    :param then: what is done when the answer is on its way.
    """

    bmc: 'engine.Engine'
    session: sessions.Session | None
    data: bytes
    then: list[collections.abc.Callable[[], None]] = dataclasses.field(
        default_factory=list)

    @property
    def mine(self) -> sessions.Session:
        """The session, where there must be one."""
        if self.session is None:
            raise RefusedError(Code.INSUFFICIENT_PRIVILEGE)
        return self.session


#: Gives the answer after the completion code, or raises RefusedError.
Function = collections.abc.Callable[[Request], bytes]


@dataclasses.dataclass(frozen=True)
class _Entry:
    level: int
    sizes: tuple[int, ...]
    function: Function


_COMMANDS: dict[tuple[int, int], _Entry] = {}

#: Level of commands that are answered outside a session too.
ANYBODY = 0


def command(key: tuple[int, int], level: int, *sizes: int
            ) -> collections.abc.Callable[[Function], Function]:
    """Register the function of a command.

    :param key: network function and command.
    :param level: least privilege (appendix G of the specification), or
        ANYBODY.
    :param sizes: lengths that its data may have.
    """
    def register(function: Function) -> Function:
        _COMMANDS[key] = _Entry(level, sizes, function)
        return function

    return register


def carry_out(bmc: 'engine.Engine', session: sessions.Session | None,
              message: wire.Message) -> tuple[bytes | None, Request]:
    """Answer a command and record it.

    :returns: completion code and data, or None for silence; and the
        request, whose ``then`` is to be done afterwards.
    """
    request = Request(bmc, session, message.data)
    key = (message.netfn, message.command)
    answer: bytes | None
    try:
        override = bmc.settings.overrides.get(key, _MISSING)
        if override is not _MISSING:
            assert override is None or isinstance(override, int | bytes)
            answer = (bytes([override]) if isinstance(override, int)
                      else override)
        else:
            answer = bytes([Code.OK]) + _function(key, request)(request)
    except RefusedError as refusal:
        answer = bytes([refusal.code])
    bmc.journal.commands.add(journal.Command(
        time.monotonic(), session.id if session else 0,
        session.user_name if session else '', message.netfn,
        message.command, message.data, answer[0] if answer else None))
    return answer, request


_MISSING: options.Override | object = object()


def _function(key: tuple[int, int], request: Request) -> Function:
    """The function of a command that may be carried out.

    :raises: RefusedError.
    """
    entry = _COMMANDS.get(key)
    if entry is None:
        raise RefusedError(Code.INVALID_COMMAND)
    level = request.session.level if request.session else ANYBODY
    if level < entry.level:
        raise RefusedError(Code.INSUFFICIENT_PRIVILEGE)
    if len(request.data) not in entry.sizes:
        raise RefusedError(Code.BAD_LENGTH)
    return entry.function
