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

"""The four lock backends against real servers."""

import abc
import collections.abc
import contextlib
import gc
import itertools
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import threading
import typing
import urllib.request

import pytest

from ironic_solconsole import coordination
from ironic_solconsole.bridge import backends
from ironic_solconsole.bridge.backends import base
from tests.support import black_hole
from tests.support import ports
from tests.support import processes
from tests.support import servers
from tests.support import waiting

ALICE = 'alice.example:11:aaaa'
BOB = 'bob.example:22:bbbb'

#: Seconds of a TTL that tests wait for, and of one that does not run out.
SHORT = 4.0
LONG = 8.0

#: Takes locks as another process, says so, and waits to be killed.
_HOLDER = """
import sys, time
from ironic_solconsole import coordination
from ironic_solconsole.bridge import backends
url, ttl, *names = sys.argv[1:]
backend = backends.make(coordination.Coordination(
    url, float(ttl), 1.0, 1.0), 'carol.example:33:cccc')
backend.start()
held = list(backend.acquire(
    names, time.clock_gettime(time.CLOCK_BOOTTIME) + 20))
assert not any(isinstance(each, str) for _, each in held), held
print('held', flush=True)
sys.stdin.read()
"""

_numbers = itertools.count()


def new_names(count: int = 1) -> list[str]:
    """Names of locks that no other test uses."""
    return [f'ironic-solconsole-{os.getpid():08x}-{next(_numbers):08x}'
            for _ in range(count)]


class Place(abc.ABC):
    """Where the locks of a test are, seen without the code under test."""

    kind = ''

    def __init__(self, server: servers.Server) -> None:
        self.server = server
        self.url = server.url

    @abc.abstractmethod
    def erase(self, name: str) -> None:
        """Remove a lock behind the back of who holds it."""

    @abc.abstractmethod
    def traces(self) -> set[str]:
        """Whatever there is for locks and those who want them."""


class FilePlace(Place):
    kind = 'file'

    def __init__(self, directory: str) -> None:
        self.directory = pathlib.Path(directory, 'state', 'locks')
        self.url = f'file://{self.directory}'

    def erase(self, name: str) -> None:
        (self.directory / name).unlink()

    def traces(self) -> set[str]:
        # The lock files themselves stay: unlinking them would be a race.
        return {path.name for path in self.directory.iterdir()
                if '.' in path.name}


class RedisPlace(Place):
    kind = 'redis'

    def __init__(self, server: servers.Server) -> None:
        import redis
        super().__init__(server)
        self.client: typing.Any = redis.Redis(port=server.port)

    def erase(self, name: str) -> None:
        assert self.client.delete(f'_tooz_{name}_lock')

    def traces(self) -> set[str]:
        return {key.decode() for key in self.client.keys('*')}


class EtcdPlace(Place):
    kind = 'etcd'

    def __init__(self, server: servers.Server) -> None:
        import etcd3gw
        super().__init__(server)
        self.client: typing.Any = etcd3gw.client(port=server.port)

    def erase(self, name: str) -> None:
        assert self.client.delete(f'/tooz/locks{name}')

    def traces(self) -> set[str]:
        request = urllib.request.Request(
            f'http://{self.server.host}:{self.server.port}'
            '/v3/lease/leases', b'{}')
        with urllib.request.urlopen(request, timeout=5) as answer:
            leases = json.load(answer).get('leases', ())
        return {lease['ID'] for lease in leases} | {
            meta['key'].decode()
            for _, meta in self.client.get_prefix('/')}


class ZooKeeperPlace(Place):
    kind = 'zookeeper'

    @contextlib.contextmanager
    def _client(self) -> collections.abc.Iterator[typing.Any]:
        from kazoo import client
        zookeeper = client.KazooClient(f'127.0.0.1:{self.server.port}')
        zookeeper.start(20)
        try:
            yield zookeeper
        finally:
            zookeeper.stop()
            zookeeper.close()

    def erase(self, name: str) -> None:
        with self._client() as client:
            [child] = client.get_children(f'/tooz/locks/{name}')
            client.delete(f'/tooz/locks/{name}/{child}')

    def traces(self) -> set[str]:
        # The parents stay, as kazoo's Lock leaves them.
        with self._client() as client:
            return {f'{parent}/{child}'
                    for parent in client.get_children('/tooz/locks')
                    for child in client.get_children(
                        f'/tooz/locks/{parent}')}


PLACES: dict[str, tuple[type[servers.Server], type[Place]]] = {
    'redis': (servers.Redis, RedisPlace),
    'etcd': (servers.Etcd, EtcdPlace),
    'zookeeper': (servers.ZooKeeper, ZooKeeperPlace),
}
REMOTE = sorted(PLACES)


@pytest.fixture(scope='module')
def running() -> collections.abc.Iterator[
        collections.abc.Callable[[str], Place]]:
    """Gives a place by its kind; servers start when first needed."""
    found: dict[str, Place] = {}
    with contextlib.ExitStack() as stack:
        def get(kind: str) -> Place:
            if kind not in found:
                if kind == 'file':
                    found[kind] = FilePlace(stack.enter_context(
                        tempfile.TemporaryDirectory(prefix='solc.')))
                else:
                    server, place = PLACES[kind]
                    found[kind] = place(stack.enter_context(server()))
            return found[kind]
        yield get


@pytest.fixture(params=['file', *REMOTE])
def place(request, running) -> Place:
    return running(request.param)


@pytest.fixture
def remote(request, running) -> Place:
    """One that is a server; to be parametrized."""
    return running(request.param)


@pytest.fixture
def make() -> collections.abc.Iterator[
        collections.abc.Callable[..., typing.Any]]:
    """Gives a started backend; all are stopped at the end."""
    with contextlib.ExitStack() as stack:
        def started(url: str, member: str = ALICE, ttl: float = LONG
                    ) -> typing.Any:
            backend = backends.make(
                coordination.Coordination(url, ttl, 1.0, 1.0), member)
            stack.callback(backend.stop)
            # The last test may have left it busy, or just started.
            waiting.wait_until(backend.start, f'start of {url}')
            return backend
        yield started


@pytest.fixture
def proxy(remote) -> collections.abc.Iterator[black_hole.BlackHole]:
    server = remote.server
    with black_hole.BlackHole(server.host, server.port) as hole:
        yield hole


def acquire(backend: typing.Any, names: list[str]
            ) -> list[backends.Held | str]:
    """Try for locks; gives what came of each."""
    found = list(backend.acquire(names, base.now() + 30))
    assert [name for name, _ in found] == names
    return [outcome for _, outcome in found]


def hold(backend: typing.Any, names: list[str]) -> list[backends.Held]:
    """Locks that are free."""
    found = acquire(backend, names)
    assert all(isinstance(each, backends.Held) for each in found), found
    return typing.cast(list[backends.Held], found)


def renew(backend: typing.Any, held: list[backends.Held]
          ) -> list[float | None]:
    """What is known of locks, each of them."""
    found = dict(backend.renew(held, base.now() + 30))
    assert set(found) == set(held)
    return [found[each] for each in held]


def lost(backend: typing.Any, held: list[backends.Held]) -> bool:
    """Whether all of these are known to be lost."""
    return renew(backend, held) == [None] * len(held)


@contextlib.contextmanager
def another_process(url: str, ttl: float, *names: str
                    ) -> collections.abc.Iterator[
                        'subprocess.Popen[bytes]']:
    """A process that holds locks and renews none."""
    process = subprocess.Popen(
        processes.die_with_us(
            [sys.executable, '-W', 'ignore', '-c', _HOLDER, url, str(ttl),
             *names]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], 30)
        assert ready and process.stdout.readline() == b'held\n'
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_lock_has_one_holder(place, make):
    alice, bob = make(place.url), make(place.url, BOB)
    mine, his = new_names(2)
    [held] = hold(alice, [mine])
    assert held.name == mine
    [refused, got] = acquire(bob, [mine, his])
    assert refused == ALICE
    assert isinstance(got, backends.Held)
    assert alice.taken([mine, his, *new_names()]) == {mine, his}
    alice.release([held])
    assert bob.taken([mine, his]) == {his}
    hold(bob, [mine])
    assert acquire(alice, [mine]) == [BOB]


def test_the_holder_may_be_another_process_and_be_killed(place, make):
    name, other = new_names(2)
    alice = make(place.url, ttl=SHORT)
    with another_process(place.url, SHORT, name, other) as process:
        assert acquire(alice, [name]) == ['carol.example:33:cccc']
        assert alice.taken([name, other]) == {name, other}
        process.kill()
        process.wait()
        waiting.wait_until(
            lambda: isinstance(acquire(alice, [name])[0], backends.Held),
            'the lock of a process that was killed')


def test_asking_for_a_lock_leaves_it_with_its_holder(place, make):
    # POSIX locks end when any descriptor of the file is closed.
    [name] = new_names()
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            another_process(place.url, LONG, name))
        alice = make(place.url)
        for _ in range(3):
            assert acquire(alice, [name]) == ['carol.example:33:cccc']
            assert alice.taken([name]) == {name}
        process.kill()
        process.wait()
        if place.kind != 'file':
            place.erase(name)
        [held] = hold(alice, [name])
        for _ in range(3):
            assert alice.taken([name]) == {name}
            assert not isinstance(acquire(alice, [name])[0], backends.Held)
            assert renew(alice, [held]) != [None]
        gc.collect()
        with pytest.raises(AssertionError):
            stack.enter_context(another_process(place.url, LONG, name))


def test_renewal_proves_ownership_from_a_moment_before_it(place, make):
    alice = make(place.url)
    before = base.now()
    held = hold(alice, new_names(3))
    after = base.now()
    assert all(before <= each.since <= after for each in held)
    for _ in range(3):
        before = base.now()
        proven = renew(alice, held)
        after = base.now()
        assert all(since is not None and before <= since <= after
                   for since in proven)


def test_a_lock_that_is_renewed_outlives_its_ttl(place, make):
    alice, bob = make(place.url, ttl=3.0), make(place.url, BOB, ttl=3.0)
    [name] = new_names()
    held = hold(alice, [name])
    waiting.always(
        lambda: None not in renew(alice, held)
        and acquire(bob, [name]) == [ALICE],
        'alice renews, bob is refused', 6.0, interval=0.5)


def test_a_lock_removed_behind_our_back_is_lost(place, make):
    alice, bob = make(place.url), make(place.url, BOB)
    kept, gone = hold(alice, new_names(2))
    place.erase(gone.name)
    proven = renew(alice, [kept, gone])
    assert proven[0] is not None and proven[1] is None
    [taken] = hold(bob, [gone.name])
    assert renew(alice, [kept, gone])[1] is None
    # Giving back what is somebody else's by now takes nothing from him.
    alice.release([gone])
    assert acquire(alice, [gone.name]) == [BOB]
    assert renew(bob, [taken]) != [None]


@pytest.mark.parametrize('remote', REMOTE, indirect=True)
def test_a_holder_cut_off_has_lost_its_lock_and_not_before_its_ttl(
        remote, proxy, make):
    alice = make(remote.server.url_at(proxy.port), ttl=SHORT)
    bob = make(remote.url, BOB, ttl=SHORT)
    names = new_names(2)
    held = hold(alice, names)
    proven = [since for since in renew(alice, held) if since is not None]
    assert len(proven) == len(held)
    proxy.cut()
    waiting.wait_until(
        lambda: isinstance(acquire(bob, names[:1])[0], backends.Held),
        'the lock of a holder that is cut off')
    assert base.now() >= proven[0] + SHORT
    with pytest.raises(backends.BackendError):
        renew(alice, held)
    # The second may have its last moment as well.
    waiting.wait_until(lambda: not bob.taken(names[1:]), 'both are free')
    proxy.heal()
    waiting.wait_until(lambda: lost(alice, held), 'alice knows')
    assert acquire(alice, names[:1]) == [BOB]
    hold(alice, names[1:])


@pytest.mark.parametrize('remote', REMOTE, indirect=True)
def test_no_call_outlasts_a_partition(remote, proxy, make):
    url = remote.server.url_at(proxy.port)
    alice, other = make(url), make(url, BOB)
    names = new_names(4)
    held = hold(alice, names)
    # As the lease does it: each call while it is unknown whether the last
    # one that failed has closed the connection.
    calls: list[collections.abc.Callable[[], object]] = [
        lambda: renew(alice, held),
        lambda: renew(alice, held),
        lambda: acquire(alice, new_names(200)),
        lambda: alice.release(held[:1]),
        lambda: alice.taken(names),
        lambda: backends.make(coordination.Coordination(
            url, LONG, 1.0, 1.0), BOB).start()]
    bound = coordination.Coordination(url, LONG, 1.0, 1.0).call_timeout + 1
    proxy.cut()
    for call in calls:
        begin = base.now()
        with pytest.raises(backends.BackendError) as caught:
            call()
        assert base.now() - begin < bound
        assert str(caught.value)
    begin = base.now()
    other.stop()
    assert base.now() - begin < bound
    proxy.refuse()
    waiting.wait_until(lambda: _fails_at_once(alice, held), 'is refused')
    proxy.heal()
    waiting.wait_until(lambda: len(renew(alice, held)) == len(held),
                       'alice knows')


def _fails_at_once(backend: typing.Any, held: list[backends.Held]) -> bool:
    begin = base.now()
    with pytest.raises(backends.BackendError):
        renew(backend, held)
    return base.now() - begin < 0.3


@pytest.mark.parametrize('remote', REMOTE, indirect=True)
def test_a_lock_survives_a_restart_of_the_server(remote, make):
    alice, bob = make(remote.url), make(remote.url, BOB)
    [name] = new_names()
    held = hold(alice, [name])
    remote.server.kill()
    with pytest.raises(backends.BackendError):
        renew(alice, held)
    remote.server.start()
    waiting.wait_until(lambda: renew(alice, held) != [None],
                       'alice has it still', timeout=LONG)
    waiting.wait_until(lambda: acquire(bob, [name]) == [ALICE],
                       'bob is refused')


@pytest.mark.parametrize('remote', REMOTE, indirect=True)
def test_a_server_that_hangs_is_away_until_it_goes_on(remote, make):
    alice = make(remote.url)
    held = hold(alice, new_names())
    remote.server.pause()
    try:
        with pytest.raises(backends.BackendError):
            renew(alice, held)
    finally:
        remote.server.resume()
    waiting.wait_until(lambda: renew(alice, held) != [None],
                       'alice has it still')


def test_the_first_start_may_come_before_the_server():
    port = ports.free_port()
    for scheme in ('redis', 'etcd3+http', 'zookeeper'):
        backend = backends.make(coordination.Coordination(
            f'{scheme}://127.0.0.1:{port}', LONG, 1.0, 1.0), ALICE)
        with pytest.raises(backends.BackendError):
            backend.start()
        with pytest.raises(backends.BackendError):
            backend.taken(['ironic-solconsole-x'])
        backend.stop()


def test_stop_releases_everything(place, make):
    alice, bob = make(place.url), make(place.url, BOB)
    names = new_names(60)
    hold(alice, names)
    alice.stop()
    assert bob.taken(names) == set()
    hold(bob, names)


def test_attempts_that_fail_leave_nothing_behind(place, make):
    alice, bob = make(place.url), make(place.url, BOB)
    names = new_names(3)
    # A process that was killed leaves the file with its name.
    old = place.traces() if place.kind == 'file' else set()
    held = hold(alice, names)
    assert acquire(bob, names) == [ALICE] * 3
    before = place.traces()
    for _ in range(20):
        assert acquire(bob, names) == [ALICE] * 3
    assert place.traces() == before
    bob.stop()
    alice.release(held)
    alice.stop()
    waiting.wait_until(lambda: place.traces() <= old, 'no trace of anyone',
                       seen=place.traces)


def test_what_nobody_asks_for_any_more_is_given_back(place, make):
    alice, bob = make(place.url), make(place.url, BOB)
    names = new_names(120)
    outcomes = alice.acquire(names, base.now() + 30)
    first = [next(outcomes)[0] for _ in range(3)]
    outcomes.close()
    assert bob.taken(names) == set(first)
    assert list(alice.acquire(names, base.now() - 1)) == []


@pytest.mark.parametrize('remote', REMOTE, indirect=True)
def test_an_attempt_whose_answer_is_lost_is_undone(remote, make):
    alice, bob = make(remote.url), make(remote.url, BOB)
    names = new_names(3)
    with _answers_lost(alice, remote.kind), pytest.raises(
            backends.BackendError):
        acquire(alice, names)
    assert bob.taken(names) == set(names)
    # Whatever it does next.
    assert renew(alice, hold(alice, new_names())) != [None]
    assert bob.taken(names) == set()
    hold(alice, names)


@contextlib.contextmanager
def _answers_lost(backend: typing.Any, kind: str
                  ) -> collections.abc.Iterator[None]:
    """Requests that change something are carried out, with no answer."""
    where, name = {
        'redis': (backend, '_run'),
        'etcd': (getattr(backend, '_client', None), 'transaction'),
        'zookeeper': (backend, '_wait')}[kind]
    real = getattr(where, name)

    def change(*args: typing.Any) -> object:
        answer = real(*args)
        # Paths of what was created, and not lists of children.
        created = kind == 'zookeeper' and any(
            isinstance(each, str) for each in answer)
        if created or kind == 'redis' or (
                kind == 'etcd' and 'request_txn' in str(args)):
            raise TimeoutError
        return answer

    setattr(where, name, change)
    try:
        yield
    finally:
        setattr(where, name, real)


def test_thousand_locks_take_few_requests(place, make):
    alice, bob = make(place.url, ttl=30.0), make(place.url, BOB, ttl=30.0)
    names = new_names(1000)
    with _counted(alice, place.kind) as acquiring:
        held = hold(alice, names)
    with _counted(alice, place.kind) as renewing:
        assert None not in renew(alice, held)
    with _counted(bob, place.kind) as refused:
        assert acquire(bob, names) == [ALICE] * 1000
    with _counted(alice, place.kind) as releasing:
        alice.release(held)
    if place.kind != 'file':
        assert 0 < acquiring[0] <= 100
        assert 0 < renewing[0] <= 25
        assert 0 < refused[0] <= 60
        assert 0 < releasing[0] <= 25
    assert bob.taken(names) == set()


@contextlib.contextmanager
def _counted(backend: typing.Any, kind: str
             ) -> collections.abc.Iterator[list[int]]:
    """Count the times that a backend waits for its server."""
    count = [0]
    where, name = {
        'file': (backend, '_acquire'),
        'redis': (backend, '_run'),
        'etcd': (getattr(backend, '_client', None), 'post'),
        'zookeeper': (backend, '_wait')}[kind]
    real = getattr(where, name)

    def counting(*args: typing.Any, **kwargs: typing.Any) -> object:
        count[0] += 1
        return real(*args, **kwargs)

    setattr(where, name, counting)
    try:
        yield count
    finally:
        setattr(where, name, real)


def test_threads_may_use_one_backend_at_once(place, make):
    alice = make(place.url)
    names = new_names(90)
    kept = hold(alice, new_names(10))
    failures: list[BaseException] = []

    def guarded(work: collections.abc.Callable[[], None]) -> None:
        try:
            for _ in range(5):
                work()
        except BaseException as error:
            failures.append(error)

    def come_and_go(some: list[str]) -> None:
        held = hold(alice, some)
        assert alice.taken(some) == set(some)
        alice.release(held)

    def prove() -> None:
        assert None not in renew(alice, kept)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (
        lambda: come_and_go(names[:45]), lambda: come_and_go(names[45:]),
        prove)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert alice.taken(names) == set()


def test_rivals_never_both_get_a_lock(place, make):
    rivals = [make(place.url, member) for member in (ALICE, BOB)]
    names = new_names(30)
    found: list[list[backends.Held | str]] = [[], []]
    barrier = threading.Barrier(2)

    def fight(number: int) -> None:
        barrier.wait(20)
        # From both ends, so that they meet.
        mine = names[::-1] if number else names
        for name in mine:
            found[number] += acquire(rivals[number], [name])

    threads = [threading.Thread(target=fight, args=(number,))
               for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    held = [[each.name for each in side
             if isinstance(each, backends.Held)] for side in found]
    assert not set(held[0]) & set(held[1])
    assert rivals[0].taken(names) == set(held[0]) | set(held[1])


#: tooz in a process of its own: it tells whether it gets a lock, gives it
#: back at the end of a line, and ends.
TOOZ = '''
import sys
from tooz import coordination
coordinator = coordination.get_coordinator(sys.argv[1], b'tooz')
coordinator.start()
lock = coordinator.get_lock(sys.argv[2].encode())
print(lock.acquire(blocking=False), flush=True)
sys.stdin.readline()
lock.release()
'''


@contextlib.contextmanager
def tooz_elsewhere(url, name):
    """Whether tooz gets a lock; keeps it meanwhile."""
    with subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-c', TOOZ, url, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True) as process:
        try:
            yield process.stdout.readline().strip() == 'True'
        finally:
            process.stdin.close()


def test_tooz_sees_our_files_and_we_see_those_of_tooz(make, tmp_path):
    """POSIX locks are those of a process: tooz must be in another one."""
    url = f'file://{tmp_path}'
    alice = make(url)
    ours, theirs = new_names(2)
    [held] = hold(alice, [ours])
    with tooz_elsewhere(url, ours) as got:
        assert not got
    alice.release([held])
    with tooz_elsewhere(url, ours) as got:
        assert got
    with tooz_elsewhere(url, theirs) as got:
        assert got
        [holder] = acquire(alice, [theirs])
        assert isinstance(holder, str)
        assert alice.taken([theirs]) == {theirs}
    hold(alice, [theirs])


def test_tooz_sees_our_locks_and_we_see_those_of_tooz(place, make):
    if place.kind == 'file':
        pytest.skip('in one process all of its locks are its own; see above')
    from tooz import coordination as tooz_coordination

    alice = make(place.url)
    ours, theirs = new_names(2)
    coordinator = tooz_coordination.get_coordinator(place.url, b'tooz')
    coordinator.start()
    try:
        [held] = hold(alice, [ours])
        assert not coordinator.get_lock(ours.encode()).acquire(
            blocking=False)
        alice.release([held])
        lock = coordinator.get_lock(ours.encode())
        assert lock.acquire(blocking=False)
        lock.release()
        lock = coordinator.get_lock(theirs.encode())
        assert lock.acquire(blocking=False)
        [holder] = acquire(alice, [theirs])
        assert isinstance(holder, str)
        assert alice.taken([theirs]) == {theirs}
        lock.release()
        hold(alice, [theirs])
    finally:
        coordinator.stop()


def test_redis_without_a_file_of_its_changes_is_warned_of(make):
    with servers.Redis(aof=False, settings=(
            'maxmemory-policy allkeys-lru',)) as server:
        alice = make(server.url)
        assert len(alice.warnings) == 2
        assert 'appendonly' in alice.warnings[0]
        assert 'allkeys-lru' in alice.warnings[1]
        held = hold(alice, new_names())
        server.kill()
        server.start()
        waiting.wait_until(lambda: lost(alice, held), 'alice knows')


@pytest.mark.parametrize('remote', ['redis'], indirect=True)
def test_redis_with_a_file_of_its_changes_is_not(remote, make):
    assert make(remote.url).warnings == []


def test_a_password_of_redis_is_not_told():
    with servers.Redis(settings=('requirepass right-secret',)) as server:
        def backend(password: str) -> backends.Backend:
            return backends.make(coordination.Coordination(
                f'redis://:{password}@{server.host}:{server.port}',
                LONG, 1.0, 1.0), ALICE)

        good = backend('right-secret')
        good.start()
        hold(good, new_names())
        good.stop()
        with pytest.raises(backends.BackendError) as caught:
            backend('wrong-secret').start()
        assert 'secret' not in str(caught.value)


@pytest.mark.parametrize('remote', ['zookeeper'], indirect=True)
def test_zookeeper_grants_less_than_was_asked_for(remote):
    backend = backends.make(coordination.Coordination(
        remote.url, 30.0, 5.0, 5.0), ALICE)
    try:
        assert backend.start() == 10.0      # 20 ticks of 0.5 s
    finally:
        backend.stop()


@pytest.mark.parametrize('remote', ['zookeeper'], indirect=True)
def test_zookeeper_server_that_grants_less_than_before_counts(
        remote, make):
    alice = make(remote.url)
    held = hold(alice, new_names())
    alice._client.granted -= 2.0
    before = base.now()
    [since] = renew(alice, held)
    assert since is not None and since <= before - 1.9
    assert hold(alice, new_names())[0].since <= before - 1.9


def test_the_directory_of_locks_is_ours_alone(tmp_path):
    directory = tmp_path / 'a' / 'locks'
    backend = backends.make(coordination.Coordination(
        f'file://{directory}'), ALICE)
    assert backend.start() == 30.0
    assert directory.stat().st_mode & 0o777 == 0o700
    [name] = new_names()
    hold(backend, [name])
    assert (directory / f'{name}.holder').read_text() == ALICE
    backend.stop()
    assert not (directory / f'{name}.holder').exists()
    assert (directory / name).exists()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / 'file').write_text('')
    backend = backends.make(coordination.Coordination(
        f'file://{tmp_path}/file/locks'), ALICE)
    with pytest.raises(backends.BackendError):
        backend.start()


def test_the_locks_of_a_dead_process_can_be_taken_from_it_alone(
        place, make) -> None:
    dead, living = make(place.url, ALICE), make(place.url, BOB)
    names = new_names(3)
    acquire(dead, names[:2])
    acquire(living, names[2:])
    # Not by the beginning of another name, and not what others hold.
    living.bury(names, ALICE[:-1])
    living.bury(names, 'carol.example:33:cccc')
    assert living.taken(names) == set(names)
    if place.kind == 'file':
        return      # it ends with the process; there is nothing to do
    living.bury(names, ALICE)
    assert living.taken(names) == {names[2]}
    assert all(isinstance(each, backends.Held)
               for each in acquire(living, names[:2]))
