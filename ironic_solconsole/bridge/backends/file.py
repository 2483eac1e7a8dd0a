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
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import fcntl
import os
import struct
import threading
import typing

from tooz.drivers import file as tooz_file

from ironic_solconsole import coordination
from ironic_solconsole.bridge.backends import base

#: struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK = struct.Struct('hhqqi')

# Paths of the locks that this process holds, and for whom. No lock file is
# opened or closed but under the mutex, and none that is in here.
_mutex = threading.Lock()
_here: dict[str, str] = {}


class _Held(base.Held):
    def __init__(self, name: str, since: float, lock: typing.Any) -> None:
        super().__init__(name, since)
        self.lock = lock

    @property
    def path(self) -> str:
        return os.fsdecode(self.lock._lock.path)

    def in_force(self) -> bool:
        """Whether others who want the lock meet ours."""
        opened = self.lock._lock.lockfile
        if not self.lock.acquired or opened is None:
            return False
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(opened.fileno()))


class File(base.Common[_Held]):
    """See :class:`base.Backend`."""

    kind = 'file'

    def __init__(self, settings: coordination.Coordination,
                 member_id: str) -> None:
        super().__init__(settings, member_id)
        parts, options = base.url_options(settings)
        self._dir = parts.path
        with base.translated():
            self._driver: typing.Any = tooz_file.FileDriver(
                member_id.encode(), parts, options)

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
            return {name for name in names if self._is_taken(
                os.fsdecode(self._driver.get_lock(
                    name.encode())._lock.path))}

    def _acquire(self, names: list[str]) -> dict[str, _Held | str]:
        return {name: self._acquire_one(name) for name in names}

    def _acquire_one(self, name: str) -> _Held | str:
        held = _Held(name, base.now(), self._driver.get_lock(name.encode()))
        with _mutex:
            if held.path in _here:
                return _here[held.path]
            try:
                got = held.lock.acquire(blocking=False)
                if got and not held.in_force():
                    # Replaced between open and lock.
                    held.lock.release()
                    got = False
            finally:
                # Left to the garbage collector, it would be closed when
                # the next try may have had success.
                opened = held.lock._lock.lockfile
                if not held.lock.acquired and opened is not None:
                    opened.close()
            if not got:
                return self._read_holder(held.path)
            _here[held.path] = self._member_id
        self._write_holder(held.path)
        return held

    def _release(self, held: list[_Held]) -> None:
        for each in held:
            with _mutex:
                if not each.lock.acquired:
                    continue
                if each.in_force():
                    with contextlib.suppress(OSError):
                        os.unlink(each.path + '.holder')
                _here.pop(each.path, None)
                each.lock.release()

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
