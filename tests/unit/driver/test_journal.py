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

"""The journal of ports: over restarts, crashes, and several conductors."""

import collections.abc
import json
import pathlib
import stat
import subprocess
import sys
import threading
import time
import typing
import uuid

from hypothesis import settings
from hypothesis import stateful
from hypothesis import strategies as st
import pytest

from ironic_solconsole import exception
from ironic_solconsole.driver import journal
from ironic_solconsole.driver import ports

NODE = '11111111-1111-4111-8111-111111111111'
OTHER = '22222222-2222-4222-8222-222222222222'
RANGES = [range(100, 104), range(200, 204)]
PORTS = st.integers(98, 106) | st.integers(199, 204)
NODES = st.sampled_from([str(uuid.UUID(int=n, version=4)) for n in range(9)])


class JournalMachine(stateful.RuleBasedStateMachine):
    """Conductors of a host that come and go, and ports that must rest."""

    QUARANTINE = 900.0

    def __init__(self) -> None:
        super().__init__()
        self.now = 1.8e9
        self.journal = journal.Journal(self.QUARANTINE)
        self.alive = {'a', 'b'}
        self.remembered: dict[str, int] = {}
        self.serving: dict[tuple[str, str], int] = {}
        #: Port -> node -> when it ceased to serve it.
        self.history: dict[int, dict[str, float]] = {}

    def stop_serving(self, owner: str, node: str) -> None:
        port = self.serving.pop((owner, node), None)
        if port is not None:
            self.history.setdefault(port, {})[node] = self.now

    @stateful.rule(node=NODES, owner=st.sampled_from('ab'),
                   avoid=st.frozensets(PORTS, max_size=3),
                   keep=st.booleans())
    def take(self, node: str, owner: str, avoid: frozenset[int],
             keep: bool) -> None:
        if owner not in self.alive:
            return
        self.journal.prune(self.now, self.alive.__contains__)
        try:
            port = ports.choose(
                node, fixed=None, ranges=RANGES, claims={},
                remembered=self.remembered.get(node) if keep else None,
                resting=self.journal.resting(node, self.now), avoid=avoid)
        except exception.PortError:
            return
        served = {other: port_ for (_, other), port_ in self.serving.items()
                  if other != node}
        assert port not in served.values(), 'two nodes share a port'
        for other, when in self.history.get(port, {}).items():
            assert other == node or self.now - when >= self.QUARANTINE, (
                f'port {port} passed on {self.now - when} s after it '
                'served another node')
        self.stop_serving(owner, node)
        self.journal.serve(port, node, owner, self.now)
        self.serving[owner, node] = port
        self.remembered[node] = port

    @stateful.rule(node=NODES, owner=st.sampled_from('ab'))
    def release(self, node: str, owner: str) -> None:
        self.stop_serving(owner, node)
        self.journal.release(node, owner, self.now)

    @stateful.rule(owner=st.sampled_from('ab'))
    def die(self, owner: str) -> None:
        self.alive.discard(owner)
        for key in [key for key in self.serving if key[0] == owner]:
            self.stop_serving(*key)

    @stateful.rule(owner=st.sampled_from('ab'))
    def end_in_order(self, owner: str) -> None:
        self.journal.release('', owner, self.now)
        self.die(owner)

    @stateful.rule()
    def start(self) -> None:
        # what is left of the dead is released before anything new
        self.journal.prune(self.now, self.alive.__contains__)
        self.alive = {'a', 'b'}

    @stateful.rule(seconds=st.floats(0, 1000))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @stateful.rule()
    def write_and_read(self) -> None:
        self.journal = journal.Journal.from_json(
            self.journal.to_json(), self.QUARANTINE)

    @stateful.invariant()
    def is_bounded(self) -> None:
        assert len(self.journal.entries) <= sum(map(len, RANGES)) + 9


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_clock_that_was_set_back_does_not_prolong_the_rest() -> None:
    plain = journal.Journal(900)
    plain.serve(100, NODE, 'a', 5000.0)
    plain.release(NODE, 'a', 5000.0)
    plain.prune(1000.0, lambda _: True)
    assert plain.resting(OTHER, 1000.0)[100].seconds == 900
    plain.prune(1900.0, lambda _: True)
    assert not plain.entries


@pytest.mark.parametrize('text', [
    '', '[]', 'null', '{}', '{"version": 2, "ports": {}}',
    '{"version": 1, "ports": []}', '{"version": 1, "ports": {"x": {}}}',
    '{"version": 1, "ports": {"1": {"node": "n", "owner": "", '
    '"released": NaN}}}', '[' * 100000])
def test_a_damaged_journal_is_recognised(text: str) -> None:
    with pytest.raises(ValueError):
        journal.Journal.from_json(text, 900)


# The book

@pytest.fixture
def book(tmp_path: pathlib.Path) -> journal.PortBook:
    return journal.PortBook(tmp_path / 'run', 900)


def take(book: journal.PortBook, node: str = NODE, *,
         claims: dict[int, ports.Claim] | None = None,
         **given: typing.Any) -> int:
    values: dict[str, typing.Any] = {
        'fixed': None, 'remembered': None, 'ranges': RANGES, **given}
    return book.take(node, claims=lambda: claims or {}, **values)


def never() -> dict[int, ports.Claim]:
    raise AssertionError('the database was asked without need')


def test_a_port_that_is_known_needs_no_look_at_the_database(
        book: journal.PortBook) -> None:
    port = take(book)
    for fixed in (None, port):
        assert book.take(NODE, fixed=fixed, remembered=port, ranges=RANGES,
                         claims=never) == port


def test_what_does_not_change_is_not_written(
        book: journal.PortBook, tmp_path: pathlib.Path) -> None:
    port = take(book)
    path = tmp_path / 'run' / 'ports.json'
    before = path.stat().st_ino
    take(book, remembered=port)
    book.release(OTHER)
    assert path.stat().st_ino == before
    book.release(NODE)
    assert path.stat().st_ino != before


def test_a_released_port_goes_to_nobody_else(book: journal.PortBook) -> None:
    port = take(book)
    book.release(NODE)
    for number in range(7):
        assert take(book, str(uuid.UUID(int=number))) != port
    with pytest.raises(exception.PortError, match='a short while ago'):
        take(book, OTHER)
    assert take(book, remembered=port) == port, 'but its node has it again'


def test_many_recorded_ports_are_taken_at_once(
        book: journal.PortBook, tmp_path: pathlib.Path) -> None:
    taken = take(book, OTHER)
    recorded = {str(uuid.UUID(int=n)): 20000 + n for n in range(1000)}
    assert book.take_many({**recorded, NODE: taken}) == set(recorded)
    text = (tmp_path / 'run' / 'ports.json').read_text()
    assert all(f'"{port}"' in text for port in recorded.values())
    assert book.take_many(recorded) == set(recorded), 'ours already'
    book.release(*recorded)
    with pytest.raises(exception.PortError, match='short while ago'):
        take(book, fixed=20007)


def test_a_port_passes_on_after_its_quarantine(
        tmp_path: pathlib.Path) -> None:
    book = journal.PortBook(tmp_path / 'run', 0.2)
    one = [range(100, 101)]
    take(book, ranges=one)
    book.release(NODE)
    with pytest.raises(exception.PortError):
        take(book, OTHER, ranges=one)
    time.sleep(0.3)
    assert take(book, OTHER, ranges=one) == 100


def test_a_remembered_port_that_serves_another_node_is_replaced(
        book: journal.PortBook) -> None:
    port = take(book, OTHER)
    assert take(book, remembered=port) != port


def test_moving_to_another_port_lets_the_old_one_rest(
        book: journal.PortBook) -> None:
    first = take(book)
    second = take(book, remembered=first, avoid=[first])
    assert second != first
    taken = {take(book, str(uuid.UUID(int=n))) for n in range(6)}
    assert not taken & {first, second}


def journal_of(directory: pathlib.Path) -> dict[str, typing.Any]:
    text = (directory / 'run' / 'ports.json').read_text()
    return dict(json.loads(text)['ports'])


def test_the_journal_is_for_its_owner_only(
        book: journal.PortBook, tmp_path: pathlib.Path) -> None:
    take(book)
    directory = tmp_path / 'run'
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    mode = (directory / 'ports.json').stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert sorted(path.name for path in directory.iterdir()) == [
        'ports.json', 'ports.lock'], 'a temporary file was left behind'


def test_a_damaged_journal_is_begun_anew_with_an_error(
        book: journal.PortBook, tmp_path: pathlib.Path,
        caplog: pytest.LogCaptureFixture) -> None:
    take(book)
    (tmp_path / 'run' / 'ports.json').write_bytes(b'{"ports": \xff')
    port = take(book)
    assert 'ports.json is damaged' in caplog.text
    assert list(journal_of(tmp_path)) == [str(port)]


def test_a_journal_that_cannot_be_written_is_a_clear_error(
        tmp_path: pathlib.Path) -> None:
    (tmp_path / 'run').write_text('a file')
    with pytest.raises(exception.PortError, match='run_dir'):
        take(journal.PortBook(tmp_path / 'run', 900))


def test_a_journal_that_is_a_directory_is_a_clear_error(
        tmp_path: pathlib.Path) -> None:
    (tmp_path / 'run' / 'ports.json').mkdir(parents=True)
    with pytest.raises(exception.PortError, match='journal'):
        take(journal.PortBook(tmp_path / 'run', 900))


def test_a_lock_that_is_held_is_a_clear_error(
        book: journal.PortBook, tmp_path: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, 'LOCK_TIMEOUT', 0.1)
    take(book)
    holder = subprocess.Popen(
        [sys.executable, '-c',
         'import fcntl, sys\n'
         'file = open(sys.argv[1], "a")\n'
         'fcntl.lockf(file, fcntl.LOCK_EX)\n'
         'print("held", flush=True)\n'
         'sys.stdin.read()', str(tmp_path / 'run' / 'ports.lock')],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == b'held\n'
        with pytest.raises(exception.PortError, match='locked by another'):
            take(book)
    finally:
        holder.stdin.close()
        holder.wait(10)
        holder.stdout.close()
    take(book)


def test_threads_get_different_ports(tmp_path: pathlib.Path) -> None:
    book = journal.PortBook(tmp_path / 'run', 900)
    ranges = [range(100, 132)]
    got: list[int] = []

    def run(number: int) -> None:
        got.append(take(book, str(uuid.UUID(int=number)), ranges=ranges))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(got) == list(range(100, 132))


TAKER: typing.Final = '''
import pathlib, sys
from ironic_solconsole.driver import journal
book = journal.PortBook(pathlib.Path(sys.argv[1]), 900)
for node in sys.argv[2:]:
    print(book.take(node, fixed=None, remembered=None,
                    ranges=[range(100, 110)], claims=dict), flush=True)
sys.stdin.read()
'''


class Conductor:
    """Another process that takes ports, and lives until it is killed."""

    def __init__(self, directory: pathlib.Path, *nodes: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, '-c', TAKER, str(directory), *nodes],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._count = len(nodes)

    def ports(self) -> list[int]:
        assert self.process.stdout is not None
        return [int(self.process.stdout.readline())
                for _ in range(self._count)]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def conductor(tmp_path: pathlib.Path) -> collections.abc.Iterator[
        collections.abc.Callable[..., Conductor]]:
    started: list[Conductor] = []

    def start(*nodes: str) -> Conductor:
        started.append(Conductor(tmp_path / 'run', *nodes))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def test_conductors_of_a_host_get_different_ports(
        conductor: collections.abc.Callable[..., Conductor]) -> None:
    nodes = [str(uuid.UUID(int=number)) for number in range(10)]
    both = [conductor(*nodes[:5]), conductor(*nodes[5:])]
    got = [port for one in both for port in one.ports()]
    assert sorted(got) == list(range(100, 110))


def test_what_a_dead_conductor_served_rests_from_then_on(
        tmp_path: pathlib.Path,
        conductor: collections.abc.Callable[..., Conductor]) -> None:
    dead = conductor(NODE)
    (port,) = dead.ports()
    book = journal.PortBook(tmp_path / 'run', 900)
    with pytest.raises(exception.PortError, match='serves'):
        take(book, OTHER, fixed=port)
    before = time.time()
    dead.kill()
    with pytest.raises(exception.PortError, match='served .*in 900 s'):
        take(book, OTHER, fixed=port)
    take(book, OTHER)
    entry = journal_of(tmp_path)[str(port)]
    assert entry['owner'] == ''
    assert before <= entry['released'] <= time.time()
    assert take(book, remembered=port) == port, 'its node has it again'


def test_releasing_all_releases_what_this_process_serves_only(
        tmp_path: pathlib.Path, book: journal.PortBook,
        conductor: collections.abc.Callable[..., Conductor]) -> None:
    other = conductor(OTHER)
    (port,) = other.ports()
    mine = take(book)
    book.release('')
    written = journal_of(tmp_path)
    assert written[str(port)]['owner']
    assert not written[str(mine)]['owner']
