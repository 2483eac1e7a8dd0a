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

"""One holder at a time: real bridges, BMCs and lock servers."""

import collections.abc
import contextlib
import dataclasses
import pathlib
import signal
import time
import typing

import pytest

from ironic_solconsole import coordination
from tests.functional import conftest
from tests.support import black_hole
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import ports
from tests.support import servers
from tests.support import viewers
from tests.support import waiting

#: Seconds. Short, so that tests see what takes half a minute otherwise.
TTL = 4.0
MARGIN = 1.0

SERVERS: dict[str, type[servers.Server]] = {
    'redis': servers.Redis, 'etcd': servers.Etcd,
    'zookeeper': servers.ZooKeeper}


def short(url: str) -> coordination.Coordination:
    return coordination.Coordination(
        url, ttl=TTL, margin=MARGIN, renew_interval=0.5)


class Pair:
    """Two bridges, as two conductors have them, and a node for both.

    :param urls: the coordination_url of each.
    """

    def __init__(self, urls: tuple[str, str], bmc: ipmi_sim.Bmc,
                 **options: typing.Any) -> None:
        self.bridges = [
            bridge_support.Bridge(
                host=f'cond-{name}', coordination=short(url).to_json(),
                **options)
            for name, url in zip('ab', urls)]
        spec = bridge_support.make_spec(bmc)
        self.specs = [
            spec, dataclasses.replace(spec, tcp_port=ports.free_port())]
        self.node = spec.node

    def __enter__(self) -> 'Pair':
        with contextlib.ExitStack() as stack:
            for bridge in self.bridges:
                stack.enter_context(bridge)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def status(self, which: int) -> dict[str, typing.Any]:
        return self.bridges[which].show(self.node)

    def take(self, which: int) -> None:
        """Open the node's console, knowing what the other's bridge told."""
        self.bridges[which].open(
            self.specs[which], memory=self.bridges[1 - which].memories.get(
                self.node))

    def wait(self, which: int, state: str, lock: str,
             timeout: float = 20.0) -> dict[str, typing.Any]:
        return waiting.wait_until(
            lambda: ((status := self.status(which))['state'] == state
                     and status['lock'] == lock and status),
            f'{state} and lock {lock} on {self.bridges[which].host}',
            timeout, seen=lambda: self.status(which))


@pytest.fixture
def pair(tmp_path: pathlib.Path, echo_bmc: ipmi_sim.Bmc
         ) -> collections.abc.Iterator[Pair]:
    """Two conductors of one host."""
    url = f'file://{tmp_path}/locks'
    with Pair((url, url), echo_bmc) as made:
        yield made


class Cluster(typing.NamedTuple):
    """Two conductors, their lock server, and what cuts off the first."""

    pair: Pair
    server: servers.Server
    proxy: black_hole.BlackHole


@pytest.fixture(params=list(SERVERS))
def cluster(request: pytest.FixtureRequest, echo_bmc: ipmi_sim.Bmc
            ) -> collections.abc.Iterator[Cluster]:
    with SERVERS[request.param]() as server, black_hole.BlackHole(
            server.host, server.port) as proxy, Pair(
            (server.url_at(proxy.port), server.url), echo_bmc) as pair:
        yield Cluster(pair, server, proxy)


def echoes(viewer: viewers.Viewer, text: bytes) -> None:
    viewer.send(text)
    viewer.wait_for(text)


def test_the_second_waits_says_so_and_takes_over(pair: Pair) -> None:
    pair.take(0)
    pair.wait(0, 'connected', 'held')
    pair.take(1)
    status = pair.wait(1, 'fenced', 'elsewhere')
    assert status['settled'], 'a start would wait for nothing'
    assert status['holder'].startswith('cond-a (process ')
    assert str(pair.bridges[0].pid) in status['holder']
    with viewers.Viewer(pair.specs[1].url) as late:
        late.wait_for(b'[solconsole: this console is served elsewhere at '
                      b'the moment; waiting for it]')
        with viewers.Viewer(pair.specs[0].url) as first:
            echoes(first, b'first')
        assert b'first' not in late.data
        late.send(b'lost')
        pair.bridges[0].close(pair.node)
        late.wait_for(b'[solconsole: connected]')
        echoes(late, b'second')
        assert b'lost' not in late.data
    assert pair.wait(1, 'connected', 'held')['holder'] == ''


def test_off_and_on_keeps_the_lock(pair: Pair) -> None:
    pair.take(0)
    pair.wait(0, 'connected', 'held')
    pair.take(1)
    pair.wait(1, 'fenced', 'elsewhere')
    for _ in range(3):
        pair.bridges[0].close(pair.node)
        pair.take(0)
        assert pair.status(0)['lock'] == 'held'
    pair.wait(0, 'connected', 'held')
    assert pair.status(1)['state'] == 'fenced'


@pytest.mark.parametrize('end', ['hang_up', 'kill'])
def test_the_end_of_a_holder_frees_its_nodes(pair: Pair, end: str) -> None:
    pair.take(0)
    pair.wait(0, 'connected', 'held')
    pair.take(1)
    pair.wait(1, 'fenced', 'elsewhere')
    getattr(pair.bridges[0], end)()
    pair.bridges[0].wait_ended()
    # Open again, with what the dead one has told: its session is known.
    pair.bridges[1].close(pair.node)
    pair.take(1)
    pair.wait(1, 'connected', 'held')


def test_nothing_is_contacted_or_let_in_before_it_is_admitted(
        pair: Pair, echo_bmc: ipmi_sim.Bmc) -> None:
    bridge, spec = pair.bridges[0], pair.specs[0]
    status = bridge.request('open', {
        'spec': spec.to_json(), 'wait': 0, 'admit': False})
    assert (status['state'], status['lock']) == ('idle', 'waiting')
    with viewers.Viewer(spec.url) as early:
        early.wait_for(b'[solconsole: this console is being moved here; '
                       b'try again]')
        early.wait_closed()
    assert not echo_bmc.payload_active()
    answer = bridge.request('admit', {'consoles': [
        [spec.node, 'another'], ['unknown', spec.generation]]})
    assert answer == {'admitted': []}
    assert bridge.show(spec.node)['lock'] == 'waiting'
    bridge.request('admit', {'consoles': [[spec.node, spec.generation]]})
    pair.wait(0, 'connected', 'held')


def test_a_close_for_another_generation_closes_nothing(pair: Pair) -> None:
    bridge, spec = pair.bridges[0], pair.specs[0]
    pair.take(0)
    answer = bridge.request('close', {
        'node': spec.node, 'generation': 'another'})
    assert answer == {'closed': False}
    pair.wait(0, 'connected', 'held')
    answer = bridge.request('close', {
        'node': spec.node, 'generation': spec.generation})
    assert answer == {'closed': True}


def test_without_pings_consoles_close_and_the_next_one_opens_them(
        tmp_path: pathlib.Path, echo_bmc: ipmi_sim.Bmc) -> None:
    url = f'file://{tmp_path}/locks'
    with Pair((url, url), echo_bmc, conductor_timeout=2) as pair:
        holder = pair.bridges[0]

        def ping() -> bool:
            holder.request('ping', {'database_age': None})
            return bool(pair.status(0)['state'] == 'connected')

        pair.take(0)
        waiting.wait_until(ping, 'connected while pings come', 20)
        pair.wait(0, 'fenced', 'conductor away')
        assert holder.logged('The conductor has been silent')
        # It has given the lock away, too.
        pair.bridges[1].request('ping')
        pair.take(1)

        def taken() -> bool:
            pair.bridges[1].request('ping', {'database_age': None})
            return bool(pair.status(1)['lock'] == 'held')

        waiting.wait_until(taken, 'the lock at the other one', 20)
        pair.bridges[1].close(pair.node)
        waiting.wait_until(ping, 'connected after the next ping', 20)


def test_a_holder_that_misses_the_database_stays_until_somebody_claims(
        tmp_path: pathlib.Path, echo_bmc: ipmi_sim.Bmc) -> None:
    url = f'file://{tmp_path}/locks'
    with Pair((url, url), echo_bmc, conductor_timeout=3600) as pair:
        pair.take(0)
        pair.wait(0, 'connected', 'held')
        pair.bridges[0].request('ping', {'database_age': 3700.0})
        assert pair.bridges[0].logged('has not reached the database')
        waiting.always(
            lambda: pair.status(0)['state'] == 'connected',
            'connected while nobody claims it', 3.0)
        pair.take(1)
        pair.wait(0, 'fenced', 'yielded')
        pair.wait(1, 'connected', 'held')
        # Once it knows again, it asks for the lock again, as told.
        pair.bridges[0].request('ping', {'database_age': 0.5})
        pair.wait(0, 'fenced', 'elsewhere')
        assert pair.status(1)['state'] == 'connected'


def test_a_holder_that_knows_the_database_does_not_yield(
        pair: Pair) -> None:
    pair.take(0)
    pair.wait(0, 'connected', 'held')
    pair.bridges[0].request('ping', {'database_age': 1.0})
    pair.take(1)
    pair.wait(1, 'fenced', 'elsewhere')
    waiting.always(lambda: pair.status(0)['state'] == 'connected',
                   'the holder stays connected', 5.0)


def test_a_short_outage_is_not_noticed_and_a_long_one_is_healed(
        cluster: Cluster) -> None:
    pair, server, _ = cluster
    pair.take(1)
    pair.wait(1, 'connected', 'held')
    with viewers.Viewer(pair.specs[1].url) as viewer:
        server.restart()
        echoes(viewer, b'over the restart')
        assert b'solconsole' not in viewer.data
        server.stop()
        pair.wait(1, 'fenced', 'backend away')
        viewer.wait_for(b'[solconsole: the console is not available; '
                        b'trying again]')
        # None is opened meanwhile, and a start need not wait for it.
        pair.take(0)
        pair.wait(0, 'fenced', 'backend away')
        assert pair.status(0)['settled']
        pair.bridges[0].close(pair.node)
        server.start()
        pair.wait(1, 'connected', 'held')
        viewer.wait_for(b'[solconsole: connected]')
        echoes(viewer, b'after the outage')
    assert pair.bridges[1].logged('cannot be reached')
    assert pair.bridges[1].logged('can be reached.')


def test_who_is_cut_off_is_fenced_before_the_other_can_have_it(
        cluster: Cluster) -> None:
    check_cut(cluster)


def check_cut(cluster: Cluster) -> None:
    pair, _, proxy = cluster
    pair.take(0)
    pair.wait(0, 'connected', 'held')
    pair.take(1)
    pair.wait(1, 'fenced', 'elsewhere')
    fenced = acquired = 0.0
    with viewers.Viewer(pair.specs[0].url) as viewer:
        echoes(viewer, b'before the cut')
        proxy.cut()
        deadline = time.monotonic() + 10 * TTL
        while not acquired and time.monotonic() < deadline:
            # The margin is a second: the fence is seen some turns earlier.
            if pair.status(1)['lock'] == 'held':
                acquired = time.monotonic()
                assert fenced, 'the holder was not fenced before'
            if not fenced and pair.status(0)['lock'] != 'held':
                fenced = time.monotonic()
        assert acquired, pair.status(1)
        viewer.send(b'typed at the fenced one')
    status = pair.wait(1, 'connected', 'held')
    with viewers.Viewer(pair.specs[1].url) as viewer:
        echoes(viewer, b'at the new one')
        assert b'fenced one' not in viewer.data
    proxy.heal()
    pair.wait(0, 'fenced', 'elsewhere')
    assert pair.status(1)['session'] == status['session'], 'it was disturbed'


@pytest.mark.long
@pytest.mark.parametrize('run', range(20))
def test_who_is_cut_off_is_fenced_in_20_of_20_runs(
        cluster: Cluster, run: int) -> None:
    check_cut(cluster)


def test_a_process_that_was_stopped_passes_nothing_when_it_goes_on(
        cluster: Cluster) -> None:
    pair = cluster.pair
    pair.take(0)
    pair.wait(0, 'connected', 'held')
    pair.take(1)
    pair.wait(1, 'fenced', 'elsewhere')
    with viewers.Viewer(pair.specs[0].url) as old:
        echoes(old, b'before')
        pair.bridges[0].signal(signal.SIGSTOP)
        try:
            old.send(b'typed while it was stopped')
            pair.wait(1, 'connected', 'held')
        finally:
            pair.bridges[0].signal(signal.SIGCONT)
        with viewers.Viewer(pair.specs[1].url) as new:
            pair.wait(0, 'fenced', 'elsewhere')
            echoes(new, b'at the new one')
            assert b'stopped' not in new.data
            assert b'new one' not in old.data
    assert pair.status(1)['state'] == 'connected'


def test_a_graceful_end_frees_the_lock_at_once(cluster: Cluster) -> None:
    pair = cluster.pair
    pair.take(0)
    pair.wait(0, 'connected', 'held')
    pair.take(1)
    pair.wait(1, 'fenced', 'elsewhere')
    pair.bridges[0].hang_up()
    pair.bridges[0].wait_ended()
    pair.wait(1, 'connected', 'held')


def test_a_bridge_need_not_wait_for_one_that_is_known_to_be_dead(
        cluster: Cluster) -> None:
    # Far longer than the test waits for the console.
    slow = dataclasses.replace(
        short(cluster.server.url), ttl=300.0, margin=5.0).to_json()
    spec = cluster.pair.specs[0]
    with bridge_support.Bridge(coordination=slow) as first:
        member = first.configured['member']
        first.connect(spec)
        first.kill()
        with bridge_support.Bridge(
                coordination=slow, dead=[member]) as second:
            second.open(spec, memory=first.memories[spec.node])
            second.wait_state(spec.node, 'connected')
            assert second.logged('1 locks are taken from cond-test')


@pytest.mark.parametrize(('settings', 'words'), [
    ({}, 'needs a url'),
    ({'url': 'memcached://cache'}, 'is not supported'),
    ({'url': 'redis://cache?timeout=3'}, 'lock_ttl'),
])
def test_what_cannot_be_a_backend_is_refused_at_once(
        settings: dict[str, object], words: str) -> None:
    bridge = bridge_support.Bridge(coordination=settings)
    with pytest.raises(bridge_support.exception.RequestRefused,
                       match=words), bridge:
        pass


def test_redis_without_a_file_is_warned_of(
        tmp_path: pathlib.Path) -> None:
    with servers.Redis(aof=False) as server, bridge_support.Bridge(
            coordination=short(server.url).to_json()) as bridge:
        waiting.wait_until(lambda: bridge.logged('append-only'),
                           'a warning', 20)
        conftest.check_unharmed(bridge)


def test_a_password_in_the_url_does_not_show(
        tmp_path: pathlib.Path) -> None:
    url = f'redis://ironic:hunter2@127.0.0.1:{ports.free_port()}'
    with bridge_support.Bridge(
            coordination=short(url).to_json()) as bridge:
        waiting.wait_until(lambda: bridge.logged('cannot be reached'),
                           'a complaint', 20)
        assert 'hunter2' not in bridge.report() + bridge.output()
        for name in ('cmdline', 'environ'):
            raw = pathlib.Path(f'/proc/{bridge.pid}/{name}').read_bytes()
            assert b'hunter2' not in raw


