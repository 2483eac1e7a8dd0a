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

"""Who asks on the control socket, as the kernel tells it."""

import asyncio
import collections.abc
import concurrent.futures
import pathlib
import pwd
import socket
import struct
import typing

_CREDENTIALS = struct.Struct('3i')      # struct ucred, unix(7)
_NO_LOGIN = 0xffffffff                  # loginuid of who has not logged in
_LOOKUP_PATIENCE = 1.0                  # seconds for the name of a user
_MAX_NAMES = 64


class Asker(typing.NamedTuple):
    """A process at the other end of a UNIX socket.

    :param pid: 0 if it is in a PID namespace that cannot be seen from here.
    :param uid: effective user.
    :param login: the user that logged in, whatever sudo has made of him;
        None if the kernel does not know.
    """

    pid: int
    uid: int
    login: int | None = None


def of_socket(peer: socket.socket) -> Asker:
    """Ask the kernel who connected."""
    pid, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        login = int(pathlib.Path(f'/proc/{pid}/loginuid').read_text())
    except (OSError, ValueError):
        login = _NO_LOGIN
    return Asker(pid, uid, None if login == _NO_LOGIN else login)


class Names:
    """Names of users.

    They may come over a network, which the event loop must not wait for.

    :param lookup: gives the name of a uid, or raises KeyError.
    """

    def __init__(self, lookup: collections.abc.Callable[[int], str] = (
            lambda uid: pwd.getpwuid(uid).pw_name)) -> None:
        self._lookup = lookup
        self._names: dict[int, str] = {}
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._pending: asyncio.Future[str] | None = None

    async def describe(self, asker: Asker) -> str:
        """Somebody in words: user, process, and who logged in."""
        words = await self._user(asker.uid)
        if asker.login is not None and asker.login != asker.uid:
            words += f', logged in as {await self._user(asker.login)}'
        return f'{words}, process {asker.pid}' if asker.pid else words

    async def _user(self, uid: int) -> str:
        name = self._names.get(uid) or await self._find(uid)
        return f'{name} (uid {uid})' if name else f'uid {uid}'

    async def _find(self, uid: int) -> str:
        if self._pending is not None and not self._pending.done():
            return ''       # a lookup hangs
        if self._pool is None:
            self._pool = concurrent.futures.ThreadPoolExecutor(
                1, 'user-names')
        self._pending = asyncio.get_running_loop().run_in_executor(
            self._pool, self._look_up, uid)
        await asyncio.wait([self._pending], timeout=_LOOKUP_PATIENCE)
        if not self._pending.done():
            return ''
        name = self._pending.result()
        if name and len(self._names) < _MAX_NAMES:
            self._names[uid] = name
        return name

    def _look_up(self, uid: int) -> str:
        try:
            name = self._lookup(uid)
        except (KeyError, OSError):
            return ''
        # It comes from outside, and goes into a log.
        return ''.join(character if character.isprintable() else '?'
                       for character in name[:64])
