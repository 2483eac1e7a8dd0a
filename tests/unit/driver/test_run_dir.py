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

"""The run directory: ours alone, and short enough for sockets."""

import os
import pathlib
import stat

import pytest

from ironic_solconsole import exception
from ironic_solconsole.driver import run_dir


def test_it_is_made_for_its_owner_only(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'state' / 'solconsole' / 'run'
    run_dir.prepare(path)
    run_dir.prepare(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_mode_that_lets_others_in_is_corrected(
        tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'run'
    path.mkdir()
    path.chmod(0o755)
    run_dir.prepare(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_file_in_its_place_is_a_clear_error(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'run'
    path.write_text('')
    with pytest.raises(exception.BridgeUnavailable, match='run_dir'):
        run_dir.prepare(path)


def test_a_link_in_its_place_is_a_clear_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'elsewhere').mkdir()
    path = tmp_path / 'run'
    path.symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(exception.BridgeUnavailable, match='not a directory'):
        run_dir.prepare(path)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can chown')
def test_a_directory_of_somebody_else_is_a_clear_error(
        tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'run'
    path.mkdir()
    os.chown(path, 12345, 12345)
    with pytest.raises(exception.BridgeUnavailable, match='uid 12345'):
        run_dir.prepare(path)


def test_each_bridge_of_each_conductor_has_a_socket_of_its_own() -> None:
    base = pathlib.Path('/var/lib/ironic/solconsole/run')
    paths = {run_dir.socket_path(base, host, number)
             for host in ('cond-a', 'cond-b') for number in range(8)}
    assert len(paths) == 16
    # the first 12 digits of sha256(b'cond-a')
    assert run_dir.socket_path(base, 'cond-a', 3) == (
        base / 'f43bb6cbc270' / '3.sock')


def test_a_path_too_long_says_how_long_it_may_be() -> None:
    allowed = 107 - len('/123456789012/0.sock')
    run_dir.socket_path(pathlib.Path('/' + 'x' * (allowed - 1)), 'h', 0)
    with pytest.raises(exception.BridgeUnavailable,
                       match=f'at most {allowed} bytes'):
        run_dir.socket_path(pathlib.Path('/' + 'x' * allowed), 'h', 0)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(exception.BridgeUnavailable, match='absolute'):
        run_dir.socket_path(pathlib.Path('run'), 'h', 0)
