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

"""The bridges of this host: where their sockets are, and asking them all."""

import concurrent.futures
import dataclasses
import os
import pathlib
import stat

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.cli import client

_MAX_THREADS = 32


@dataclasses.dataclass(frozen=True)
class Sockets:
    """What a run directory holds.

    :param paths: sockets of bridges, those of one conductor together.
    :param denied: directories that this user may not read.
    """

    paths: tuple[pathlib.Path, ...]
    denied: tuple[pathlib.Path, ...]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one bridge said: a result, or the error instead."""

    path: pathlib.Path
    result: control.Json | None = None
    error: exception.ControlError | None = None


def find_sockets(run_dir: pathlib.Path) -> Sockets:
    """Look for ``run_dir/CONDUCTOR/NUMBER.sock``.

    :param run_dir: may be missing: then there are none.
    :raises: OSError if it cannot be read for another reason than its
        permissions.
    """
    paths: list[pathlib.Path] = []
    denied: list[pathlib.Path] = []
    for directory in _entries(run_dir, denied):
        if directory.is_symlink() or not directory.is_dir():
            continue
        paths.extend(path for path in _entries(directory, denied)
                     if path.suffix == '.sock' and _is_socket(path))
    return Sockets(tuple(paths), tuple(denied))


def _entries(directory: pathlib.Path, denied: list[pathlib.Path]
             ) -> list[pathlib.Path]:
    try:
        return sorted(directory / name for name in os.listdir(directory))
    except FileNotFoundError:
        return []
    except PermissionError:
        denied.append(directory)
        return []


def _is_socket(path: pathlib.Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:           # its bridge has just ended
        return False


def ask_all(paths: tuple[pathlib.Path, ...], verb: str,
            args: control.Json | None = None, *, timeout: float
            ) -> list[Answer]:
    """Ask bridges at the same time, so that none waits for a hung one.

    :param timeout: seconds for each.
    :returns: one answer a path, in their order.
    """
    def ask(path: pathlib.Path) -> Answer:
        try:
            return Answer(path, client.ask(path, verb, args,
                                           timeout=timeout))
        except exception.ControlError as error:
            return Answer(path, error=error)

    if not paths:
        return []
    workers = min(_MAX_THREADS, len(paths))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(ask, paths))
