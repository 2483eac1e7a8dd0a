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

"""Which files go, and which never do."""

import os
import pathlib
import time

import pytest

from ironic_solconsole.bridge import transcript_clean

A = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'
B = 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'
DAY = 86400.0


def run(path: pathlib.Path, *, there: str = '', gone: str = '',
        keep: str = '', age: float = DAY, later: float = 0.0) -> list[str]:
    def nodes(node: str) -> frozenset[str]:
        return frozenset(filter(None, [node]))

    directory = os.open(path, os.O_RDONLY)
    try:
        return transcript_clean.clean(
            directory, transcript_clean.Job(
                nodes(there), nodes(gone), age, nodes(keep)),
            time.time() + later)
    finally:
        os.close(directory)


def names(path: pathlib.Path) -> set[str]:
    return set(os.listdir(path))


def test_all_files_of_a_node_go_when_it_has_been_gone_for_the_time(
        tmp_path: pathlib.Path) -> None:
    files = {f'{A}.log', f'{A}.log.1', f'{A}.log.12', f'{B}.log'}
    for name in files:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))   # written long ago
    assert run(tmp_path, gone=A, there=B) == [A, B]
    assert names(tmp_path) == files | {f'{A}.gone'}
    run(tmp_path, gone=A, there=B, later=DAY - 60)
    assert names(tmp_path) == files | {f'{A}.gone'}
    assert run(tmp_path, gone=A, there=B, later=DAY + 60) == [B]
    assert names(tmp_path) == {f'{B}.log'}


def test_a_node_that_comes_back_begins_anew(tmp_path: pathlib.Path) -> None:
    (tmp_path / f'{A}.log').touch()
    run(tmp_path, gone=A)
    run(tmp_path, there=A, later=DAY + 60)
    assert names(tmp_path) == {f'{A}.log'}
    run(tmp_path, gone=A, later=2 * DAY)
    assert names(tmp_path) == {f'{A}.log', f'{A}.gone'}


def test_nothing_else_is_touched(tmp_path: pathlib.Path) -> None:
    others = {f'{A}.log.gz', f'{A}.log.01', f'{A}.txt', 'ironic.log',
              f'{A.upper()}.log', f'x{A}.log', f'{A}.log-20261121'}
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / f'{A}.log').touch()
    run(tmp_path, gone=A)
    run(tmp_path, gone=A, later=2 * DAY)
    assert names(tmp_path) == others


def test_two_conductors_do_not_fight(
        tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f'{A}.log').touch()
    listdir = os.listdir

    def slow(directory: int) -> list[str]:
        found = listdir(directory)
        monkeypatch.setattr(os, 'listdir', listdir)
        # Another one does it all after this one has looked.
        run(tmp_path, gone=A, later=later)
        return found

    for later in (0.0, 2 * DAY):
        monkeypatch.setattr(os, 'listdir', slow)
        run(tmp_path, gone=A, later=later)
    assert names(tmp_path) == set()


def test_a_mark_that_is_a_link_or_a_directory_removes_nothing(
        tmp_path: pathlib.Path) -> None:
    (tmp_path / f'{A}.log').touch()
    (tmp_path / f'{B}.log').touch()
    (tmp_path / 'old').touch()
    os.utime(tmp_path / 'old', (0, 0))
    (tmp_path / f'{A}.gone').symlink_to('old')
    (tmp_path / f'{B}.gone').mkdir()
    for node in (A, B):
        run(tmp_path, gone=node, later=2 * DAY)
    assert {f'{A}.log', f'{B}.log'} <= names(tmp_path)
