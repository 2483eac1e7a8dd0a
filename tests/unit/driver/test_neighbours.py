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

"""Conductors that locks in files do not reach are told about."""

import json
import os
import pathlib
import subprocess
import sys
import time
import types
import typing

import pytest

from ironic_solconsole.driver import neighbours
from tests.support import processes


class Dbapi:
    """The part of Ironic's that is used: conductors, and what they offer.

    :param offers: console interfaces by conductor.
    """

    def __init__(self, **offers: list[str]) -> None:
        self.offers = {
            name.replace('_', '-'): names for name, names in offers.items()}

    def get_active_hardware_type_dict(self) -> dict[str, set[str]]:
        return {'ipmi': set(self.offers)} if self.offers else {}

    def list_hardware_type_interfaces(
            self, types_: list[str]) -> list[typing.Any]:
        assert types_ == ['ipmi']
        rows = [(number, 'console', name)
                for number, names in enumerate(self.offers.values())
                for name in names]
        rows += [(number, 'power', 'solconsole')
                 for number in range(len(self.offers))]
        return [types.SimpleNamespace(
            conductor_id=number, hardware_type='ipmi', interface_type=kind,
            interface_name=name) for number, kind, name in rows]

    def get_conductor_list(self) -> list[typing.Any]:
        # those that are offline are in it as well
        return [*(types.SimpleNamespace(id=number, hostname=name)
                  for number, name in enumerate(self.offers)),
                types.SimpleNamespace(id=99, hostname='cond-gone')]


def age(lock_dir: pathlib.Path, seconds: float) -> None:
    """Make every word that was left older."""
    for path in (lock_dir / 'conductors').iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def test_those_that_offer_it_are_found() -> None:
    dbapi = Dbapi(cond_a=['solconsole'], cond_b=['ipmitool-socat'],
                  cond_c=['no-console', 'solconsole'])
    assert neighbours.online(dbapi) == {'cond-a', 'cond-c'}
    assert neighbours.online(Dbapi()) == set()


def test_a_process_that_lives_is_local(tmp_path: pathlib.Path) -> None:
    lock_dir = tmp_path / 'solconsole' / 'locks'
    assert neighbours.local(lock_dir, 90.0) == set()
    for _ in range(2):
        neighbours.register(lock_dir, 'cond-a')
    neighbours.register(lock_dir, 'rack/1 \u00e4')
    age(lock_dir, 3600)
    assert neighbours.local(lock_dir, 90.0) == {'cond-a', 'rack/1 \u00e4'}
    assert (lock_dir / 'conductors').stat().st_mode & 0o077 == 0
    assert len(list((lock_dir / 'conductors').iterdir())) == 2


def test_one_that_is_dead_is_local_as_long_as_ironic_thinks_so(
        tmp_path: pathlib.Path) -> None:
    neighbours.register(tmp_path, 'cond-a')
    (path,) = (tmp_path / 'conductors').iterdir()
    child = subprocess.Popen(['true'])
    child.wait(5)
    path.write_text(json.dumps(
        {'host': 'cond-a', 'token': f'0000:{child.pid}:1'}))
    assert neighbours.local(tmp_path, 90.0) == {'cond-a'}
    age(tmp_path, 91)
    assert neighbours.local(tmp_path, 90.0) == set()
    age(tmp_path, -7200)
    assert neighbours.local(tmp_path, 90.0) == {'cond-a'}, (
        'the clock was set back')


@pytest.mark.parametrize('text', [
    '', '{', '[]', 'null', '[' * 4000, '{"host": "x"}',
    '{"host": 1, "token": ""}', '{"host": "x", "token": null}'])
def test_a_damaged_word_counts_for_nothing(
        tmp_path: pathlib.Path, text: str) -> None:
    neighbours.register(tmp_path, 'cond-a')
    (tmp_path / 'conductors' / '012345678901.json').write_text(text)
    (tmp_path / 'conductors' / 'directory.json').mkdir()
    assert neighbours.local(tmp_path, 90.0) == {'cond-a'}


def test_it_is_said_at_each_change_and_hourly() -> None:
    decision = neighbours.Decision()
    said = [(at, decision.due(strangers, at)) for at, strangers in [
        (0.0, set()), (15.0, {'b'}), (30.0, {'b'}), (45.0, {'b', 'c'}),
        (60.0, {'b', 'c'}), (3644.0, {'b', 'c'}), (3645.0, {'b', 'c'}),
        (3660.0, {'b', 'c'}), (3675.0, {'c'}), (3690.0, set()),
        (9000.0, set()), (9015.0, {'c'}), (9030.0, {'c'})]]
    assert [at for at, due in said if due] == [
        30.0, 60.0, 3660.0, 3675.0, 9030.0]


def test_one_that_is_starting_is_not_named() -> None:
    decision = neighbours.Decision()
    assert not decision.due({'b'}, 0.0)
    assert not decision.due({'b', 'c'}, 4.9)
    assert decision.due({'b', 'c'}, 5.0)
    assert decision.known == {'b'}
    assert not decision.due(set(), 6.0)
    assert not decision.due({'b'}, 20.0), 'it was away in between'


def test_the_error_says_what_to_set(tmp_path: pathlib.Path) -> None:
    watch = neighbours.Watch(f'file://{tmp_path}', 'cond-a', 90.0)
    dbapi = Dbapi(cond_a=['solconsole'])
    assert watch.look(dbapi, 0.0) == ''
    dbapi = Dbapi(cond_a=['solconsole'], cond_b=['solconsole'])
    assert watch.look(dbapi, 15.0) == ''
    text = watch.look(dbapi, 30.0)
    for part in ('(cond-b)', str(tmp_path), '[solconsole]coordination_url',
                 'redis://', 'etcd3+http://', 'zookeeper://'):
        assert part in text
    assert watch.look(dbapi, 45.0) == ''
    assert watch.look(dbapi, 3630.0) == text


def test_conductors_of_one_host_are_no_error(tmp_path: pathlib.Path) -> None:
    dbapi = Dbapi(cond_a=['solconsole'], cond_b=['solconsole'])
    one, other = (neighbours.Watch(f'file://{tmp_path}', name, 90.0)
                  for name in ('cond-a', 'cond-b'))
    assert one.look(dbapi, 0.0) == ''
    assert 'cond-b' in one.look(dbapi, 15.0), 'it has left no word'
    assert other.look(dbapi, 15.0) == ''
    assert one.look(dbapi, 30.0) == ''
    assert other.look(dbapi, 30.0) == ''


def test_two_real_processes_see_each_other(tmp_path: pathlib.Path) -> None:
    script = ('import pathlib, sys, time\n'
              'from ironic_solconsole.driver import neighbours\n'
              'neighbours.register(pathlib.Path(sys.argv[1]), "cond-b")\n'
              'print(flush=True)\ntime.sleep(300)\n')
    child = subprocess.Popen(
        processes.die_with_us([sys.executable, '-c', script, str(tmp_path)]),
        stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        child.stdout.readline()
        age(tmp_path, 3600)
        assert neighbours.local(tmp_path, 90.0) == {'cond-b'}
    finally:
        child.kill()
        child.wait(5)
        child.stdout.close()
    assert neighbours.local(tmp_path, 90.0) == set()


@pytest.mark.parametrize('url', [
    'redis://127.0.0.1:6379', 'etcd3+http://127.0.0.1:2379',
    'zookeeper://127.0.0.1:2181'])
def test_locks_that_reach_everybody_need_no_look(url: str) -> None:
    dbapi = Dbapi(cond_a=['solconsole'], cond_b=['solconsole'])
    assert neighbours.Watch(url, 'cond-a', 90.0).look(dbapi, 0.0) == ''


def test_names_are_escaped(tmp_path: pathlib.Path) -> None:
    dbapi = Dbapi(**{'evil\n2026 ERROR': ['solconsole']})
    watch = neighbours.Watch(f'file://{tmp_path}', 'cond-a', 90.0)
    watch.look(dbapi, 0.0)
    text = watch.look(dbapi, 15.0)
    assert 'evil' in text
    assert text.isprintable()


def test_a_directory_that_cannot_be_written_is_no_failure(
        tmp_path: pathlib.Path) -> None:
    (tmp_path / 'file').write_text('')
    watch = neighbours.Watch(f'file://{tmp_path}/file', 'cond-a', 90.0)
    assert watch.look(Dbapi(cond_a=['solconsole']), time.monotonic()) == ''
