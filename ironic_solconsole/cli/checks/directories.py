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

"""Directories: whether they are there, whose they are, who may look."""

import dataclasses
import hashlib
import os
import pathlib
import stat

from ironic_solconsole.cli import checks
from ironic_solconsole.cli.checks import processes

#: Bytes in the path of a UNIX socket, unix(7), less the end mark.
MAX_SOCKET_PATH = 107

_NETWORK = frozenset({'nfs', 'nfs4', 'cifs', 'smb3', 'ceph', 'glusterfs',
                      'fuse.glusterfs', 'fuse.sshfs', '9p', 'afs'})
_CLEANED = ('/tmp', '/var/tmp')     # noqa: S108  named, not used
_READ, _WRITE = 4, 2


@dataclasses.dataclass(frozen=True)
class Look:
    """What is at a path.

    :param exists: whether anything is.
    :param directory: whether it is a directory itself, and no link to one.
    :param denied: whether this user may not even look.
    :param parent: the nearest directory above that is there, where nothing
        is at the path.
    """

    exists: bool = True
    directory: bool = True
    uid: int = 0
    gid: int = 0
    mode: int = 0o700
    denied: bool = False
    parent: 'tuple[pathlib.Path, Look] | None' = None

    def lets(self, who: processes.Account, wanted: int) -> bool:
        """Whether a user may read, or write, and enter."""
        if who.uid == 0:
            return True
        shift = (6 if who.uid == self.uid
                 else 3 if self.gid in who.groups else 0)
        bits = self.mode >> shift & 0o7
        return bits & (wanted | 1) == wanted | 1

    @property
    def terms(self) -> str:
        """Owner and mode, for people."""
        return f'it belongs to uid {self.uid} and has mode {self.mode:04o}'


def look(path: pathlib.Path, follow: bool = False) -> Look:
    """Look at a path.

    :param follow: take a link to a directory for one; so it is for those
        above in any case.
    """
    try:
        found = path.stat() if follow else path.lstat()
    except PermissionError:
        return Look(exists=False, denied=True)
    except (FileNotFoundError, NotADirectoryError):
        if path == path.parent:
            return Look(exists=False)
        above = look(path.parent, follow=True)
        return Look(exists=False, denied=above.denied, parent=(
            (path.parent, above) if above.exists else above.parent))
    return Look(True, stat.S_ISDIR(found.st_mode), found.st_uid,
                found.st_gid, stat.S_IMODE(found.st_mode))


def judge(name: str, path: pathlib.Path, found: Look,
          who: processes.Account, *, private: int,
          option: str) -> checks.Finding:
    """Whether the conductor can keep something in a directory of its own.

    :param name: of the check.
    :param who: the conductor's user.
    :param private: mode bits that others must not have.
    :param option: that names the directory.
    """
    if not path.is_absolute():
        return checks.error(name, f'{path} is not an absolute path',
                            f'set {option} to one')
    if found.denied:
        return checks.skipped(name, f'{path}: this user may not look there',
                              f'run this as root or as {who.name}')
    if not found.exists:
        return _judge_missing(name, path, found, who, option)
    if not found.directory:
        return checks.error(
            name, f'{path} is not a directory', f'set {option} to one')
    if found.uid != who.uid:
        return checks.error(
            name, f'{path} is not of {who}: {found.terms}',
            f'chown {who.uid}:{who.gid} {path}')
    if not found.lets(who, _READ | _WRITE):
        return checks.error(
            name, f'{path} cannot be written to: {found.terms}',
            f'chmod u+rwx {path}')
    if found.mode & private:
        return checks.warning(
            name, f'{path} is open to others: {found.terms}',
            f'chmod {found.mode & ~private & 0o7777:04o} {path}')
    return checks.ok(name, f'{path}, mode {found.mode:04o}')


def _judge_missing(name: str, path: pathlib.Path, found: Look,
                   who: processes.Account, option: str) -> checks.Finding:
    if found.parent is None:
        return checks.error(name, f'{path} does not exist',
                            f'set {option} to a path that can exist')
    above, state = found.parent
    if state.directory and state.lets(who, _WRITE):
        return checks.ok(name, f'{path} does not exist yet; the conductor '
                               'makes it')
    return checks.error(
        name, f'{path} does not exist, and {who} cannot make it in {above}: '
        f'{state.terms}',
        f'install -d -o {who.uid} -g {who.gid} -m 0700 {path}')


def judge_lock_place(path: pathlib.Path,
                     filesystem: str) -> checks.Finding | None:
    """A complaint about where a directory for locks is, if there is one.

    :param filesystem: its type, '' if unknown.
    """
    if filesystem in _NETWORK:
        return checks.warning(
            'lock directory', f'{path} is on a network file system '
            f'({filesystem})', 'use a local disk; conductors of several '
            'hosts need redis, etcd or ZooKeeper in coordination_url')
    if any(path.is_relative_to(place) for place in _CLEANED):
        return checks.warning(
            'lock directory', f'{path} is where files are removed after a '
            'while, and with a file the lock is gone',
            'set [solconsole]coordination_url to a directory that nobody '
            'cleans up')
    return None


def filesystem(path: pathlib.Path, mounts: str) -> str:
    """Type of the file system that a path is on.

    :param mounts: text of /proc/self/mounts, proc(5).
    """
    best, kind = '', ''
    for line in mounts.splitlines():
        fields = line.split(' ')
        if len(fields) < 3:
            continue
        place = fields[1].replace('\\040', ' ')
        # a later mount on the same place hides the earlier one
        if path.is_relative_to(place) and len(place) >= len(best):
            best, kind = place, fields[2]
    return kind


def judge_socket_path(run_dir: pathlib.Path, host: str,
                      bridges: int) -> checks.Finding:
    """Whether the sockets of bridges fit into a socket address."""
    digest = hashlib.sha256(host.encode()).hexdigest()[:12]
    path = run_dir / digest / f'{bridges - 1}.sock'
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH:
        most = MAX_SOCKET_PATH - (size - len(os.fsencode(run_dir)))
        return checks.error(
            'socket path', f'{path} has {size} bytes, and a socket path may '
            f'have {MAX_SOCKET_PATH}',
            f'set [solconsole]run_dir to a path of at most {most} bytes')
    return checks.ok('socket path',
                     f'{size} of {MAX_SOCKET_PATH} bytes for {path}')


def judge_pid_dir(path: pathlib.Path, found: Look,
                  who: processes.Account) -> checks.Finding:
    """Whether what ipmitool-socat has left behind can be found."""
    name = 'terminal_pid_dir'
    if found.denied:
        return checks.skipped(name, f'{path}: this user may not look there',
                              f'run this as root or as {who.name}')
    if not found.exists:
        return checks.ok(name, f'{path} does not exist: ipmitool-socat has '
                               'left nothing behind')
    # a link is followed here, as nothing is written
    if not found.lets(who, _READ) and found.directory:
        return checks.warning(
            name, f'{who} cannot read {path}: {found.terms}; processes that '
            'ipmitool-socat left behind are not found',
            f'let {who.name} read it')
    return checks.ok(name, f'{path}, mode {found.mode:04o}')
