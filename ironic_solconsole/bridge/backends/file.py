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

"""Locks in files of one directory, for the conductors of one host.

These are POSIX locks: they belong to the process, end with it however it
ends, and never expire otherwise. They are also lost as soon as the process
closes *any* descriptor of the file, so that nothing but this module may
open a lock file.

Paths and locks are those of tooz's file driver; it is not used, as that and
what comes with it take more memory than all else in a bridge.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import errno
import fcntl
import os
import struct
import threading

from ironic_solconsole import coordination
from ironic_solconsole.bridge.backends import base

#: struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK = struct.Struct('hhqqi')

# Paths of the locks that this process holds, and for whom. No lock file is
# opened or closed but under the mutex, and none that is in here.
_mutex = threading.Lock()
_here: dict[str, str] = {}


class _Held(base.Held):
    """
    :param path: of the file.
    :param descriptor: by which it is locked; -1 when it was given back.
    """

    __slots__ = ('descriptor', 'path')

    def __init__(self, name: str, since: float, path: str,
                 descriptor: int) -> None:
        super().__init__(name, since)
        self.path = path
        self.descriptor = descriptor

    def in_force(self) -> bool:
        """Whether others who want the lock meet ours."""
        if self.descriptor < 0:
            return False
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self.descriptor))


class File(base.Common[_Held]):
    """See :class:`base.Backend`."""

    kind = 'file'

    def __init__(self, settings: coordination.Coordination,
                 member_id: str) -> None:
        super().__init__(settings, member_id)
        self._dir = base.url_options(settings)[0].path

    def start(self) -> float:
        """See :class:`base.Backend`."""
        with base.translated():
            os.makedirs(self._dir, mode=0o700, exist_ok=True)
            if not os.access(self._dir, os.W_OK | os.X_OK):
                raise base.BackendError(
                    f'{self._dir} is not writable for this user')
        return self._settings.ttl

    def _stop(self) -> None:
        self._release(list(self._held))

    def _renew(self, held: list[_Held], deadline: float
               ) -> Iterator[tuple[_Held, float | None]]:
        for each in held:
            since = base.now()
            if since >= deadline:
                return
            in_force = each.in_force()
            if not in_force:
                self._release([each])
            yield each, since if in_force else None

    def taken(self, names: Sequence[str]) -> set[str]:
        """See :class:`base.Backend`."""
        with base.translated():
            return {name for name in names
                    if self._is_taken(self._path(name))}

    def _path(self, name: str) -> str:
        """Where tooz has the lock as well."""
        return os.path.abspath(os.path.join(self._dir, name))

    def _acquire(self, names: list[str]) -> dict[str, _Held | str]:
        return {name: self._acquire_one(name) for name in names}

    def _acquire_one(self, name: str) -> _Held | str:
        path = self._path(name)
        since = base.now()
        with _mutex:
            if path in _here:
                return _here[path]
            held = _Held(name, since, path, self._open(path))
            got = False
            try:
                got = self._lock(held.descriptor) and held.in_force()
            finally:
                if not got:     # also when it was replaced meanwhile
                    os.close(held.descriptor)
            if not got:
                return self._read_holder(path)
            _here[path] = self._member_id
        self._write_holder(path)
        return held

    def _open(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self._dir, mode=0o700, exist_ok=True)
            return os.open(path, flags, 0o600)

    def _lock(self, descriptor: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return False
        return True

    def _release(self, held: list[_Held]) -> None:
        for each in held:
            with _mutex:
                if each.descriptor < 0:
                    continue
                if each.in_force():
                    with contextlib.suppress(OSError):
                        os.unlink(each.path + '.holder')
                _here.pop(each.path, None)
                os.close(each.descriptor)       # and with it the lock
                each.descriptor = -1

    def _bury(self, names: list[str], member: str) -> None:
        pass        # the locks of a process end with it

    def _is_taken(self, path: str) -> bool:
        with _mutex:
            if path in _here:
                return True
            try:
                opened = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                answer = fcntl.fcntl(opened, fcntl.F_GETLK, _FLOCK.pack(
                    fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            finally:
                os.close(opened)
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)

    def _write_holder(self, path: str) -> None:
        """Say who holds a lock. A courtesy: it may fail."""
        temporary = f'{path}.{os.getpid()}.tmp'
        with contextlib.suppress(OSError):
            with open(temporary, 'w', encoding='utf-8') as holder:
                holder.write(self._member_id)
            os.replace(temporary, path + '.holder')

    def _read_holder(self, path: str) -> str:
        try:
            with open(path + '.holder', encoding='utf-8',
                      errors='replace') as holder:
                return base.readable(holder.read(400))
        except OSError:
            return ''
