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

"""``[solconsole]run_dir``: sockets, locks and the journal of ports."""

import hashlib
import os
import pathlib
import stat

from ironic_solconsole import exception

#: Bytes that the path of a UNIX socket may have (unix(7): sun_path holds
#: 108 with the final NUL).
MAX_SOCKET_PATH = 107


def prepare(run_dir: pathlib.Path) -> None:
    """Make sure that the directory is there, and is ours alone.

    :raises: BridgeUnavailable that says what is wrong with it.
    """
    try:
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        run_dir.mkdir(mode=0o700, exist_ok=True)
        found = run_dir.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(
                f'{str(run_dir)!r} is not a directory')
        if found.st_uid != os.geteuid():
            raise PermissionError(
                f'{str(run_dir)!r} belongs to uid {found.st_uid}, the '
                f'conductor runs as uid {os.geteuid()}')
        if found.st_mode & 0o077:
            run_dir.chmod(0o700)
    except OSError as error:
        raise exception.BridgeUnavailable(
            f'[solconsole]run_dir cannot be used: {error}') from error


def socket_path(run_dir: pathlib.Path, host: str,
                number: int) -> pathlib.Path:
    """Where the bridge of that number listens for the command line.

    :param run_dir: absolute path.
    :param host: name of the conductor.
    :param number: which of its bridges, from 0.
    :raises: BridgeUnavailable if the path is too long for a socket.
    """
    digest = hashlib.sha256(host.encode()).hexdigest()[:12]
    path = run_dir / digest / f'{number}.sock'
    size = len(os.fsencode(path))
    if not run_dir.is_absolute():
        raise exception.BridgeUnavailable(
            f'[solconsole]run_dir {str(run_dir)!r} is not an absolute path')
    if size > MAX_SOCKET_PATH:
        raise exception.BridgeUnavailable(
            f'{str(path)!r} has {size} bytes, a socket path may have '
            f'{MAX_SOCKET_PATH}: set [solconsole]run_dir to a path of at '
            f'most {MAX_SOCKET_PATH - (size - len(os.fsencode(run_dir)))} '
            'bytes')
    return path
