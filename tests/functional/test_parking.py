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

"""A console that is stopped and started again: nobody is disconnected."""

import collections.abc
import contextlib
import dataclasses
import signal
import socket
import time
import typing
import uuid

import pytest

from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec
from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ports
from tests.support import viewers
from tests.support import waiting

Spec = console_spec.ConsoleSpec

GRACE = 3.0             # seconds, as by default
LONG = 30.0             # seconds: it does not end in a test

#: IPMI commands.
ACTIVATE = (6, 0x48)


@pytest.fixture
def model_bmc() -> collections.abc.Iterator[model.ModelBmc]:
    """A BMC that tries to get output rid for as long as a test takes."""
    with model.ModelBmcs(model.BmcOptions(
            sol=model.SolOptions(retry_count=10_000))) as (one,):
        yield one


def stop(bridge: bridge_support.Bridge, spec: Spec,
         seconds: float = LONG) -> None:
    """What a conductor asks for at a stop through the API."""
    answer = bridge.request('close', {'node': spec.node, 'park': seconds})
    assert answer == {'closed': True}


def start(bridge: bridge_support.Bridge, spec: Spec, **changes: typing.Any
          ) -> tuple[Spec, dict[str, typing.Any]]:
    """A start after a stop: it has another generation at least."""
    spec = dataclasses.replace(
        spec, generation=uuid.uuid4().hex, **changes)
    return spec, bridge.open(spec)


def check_gone(bridge: bridge_support.Bridge, bmc: model.ModelBmc,
               spec: Spec) -> None:
    """Nothing is left of a console."""
    waiting.wait_until(lambda: not bmc.live_sessions, 'the BMC is free')
    assert bridge.consoles() == []
    with pytest.raises(exception.RequestRefused):
        bridge.show(spec.node)
    assert viewers.refused(spec.url), 'the port is still open'
    # The lock is free where another process can have it.
    with bridge_support.Bridge(
            host='cond-other', coordination=bridge.options['coordination'],
            ) as other:
        status = other.connect(spec)
        assert status['lock'] == 'held'
        other.close(spec.node)


def check_told(viewer: viewers.Viewer, before: bytes = b'') -> None:
    """The viewer was sent away in order, with a word."""
    viewer.wait_closed()
    assert not viewer.reset, 'RST, not FIN'
    assert viewer.data.startswith(before)
    rest = viewer.data[len(before):]
    assert rest.startswith(b'\r\n[solconsole: ') and rest.endswith(b']\r\n')


def test_three_resets_in_a_row_are_not_noticed(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(model_bmc)
    before = bridge.connect(spec)
    text, paste = hosts.text(120_000), hosts.text(3_000, 'paste')
    with viewers.Viewer(spec.url) as first, viewers.Viewer(
            spec.url) as second:
        wait_viewers(bridge, 2)
        model_bmc.host.send(text)
        first.send(paste)
        for _ in range(3):
            began = time.monotonic()
            stop(bridge, spec, GRACE)
            stopped = time.monotonic()
            spec, status = start(bridge, spec)
            started = time.monotonic()
            assert status['taken_up'] is True
            assert stopped - began < 0.1, 'a stop waited'
            assert started - stopped < 0.1, 'a start waited'
            assert bridge.show(spec.node)['generation'] == spec.generation
        for viewer in (first, second):
            viewer.wait_exactly(text, timeout=60)
        model_bmc.host.wait_received(paste)
        second.send(b'still here')
        model_bmc.host.wait_received(paste + b'still here')
        assert not first.closed and not second.closed
    after = bridge.show(spec.node)
    assert after['session'] == before['session']
    assert after['since'] == before['since']
    assert len(model_bmc.journal.activations) == 1
    assert len(model_bmc.journal.logins) == 1
    assert not model_bmc.journal.payload_ends


def test_no_byte_passes_while_it_is_parked(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    host = model_bmc.host
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as first, viewers.Viewer(
            spec.url) as second:
        wait_viewers(bridge, 2)
        stop(bridge, spec)
        status = bridge.show(spec.node)
        assert (status['state'], status['viewers']) == ('parked', 2)
        assert bridge.request('ping')['consoles'] == 0
        host.send(b'printed meanwhile')
        first.send(b'typed ')
        host.wait_sent()
        waiting.always(
            lambda: not (host.received or first.data or second.data),
            'nothing passes', 1.0)
        spec, _ = start(bridge, spec)
        for viewer in (first, second):
            viewer.wait_exactly(b'printed meanwhile')
        host.wait_received(b'typed ')
        second.send(b'and more')
        host.wait_received(b'typed and more')


def test_input_that_waits_for_the_bmc_waits_on(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    host = model_bmc.host
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    paste = hosts.text(200_000, 'paste')
    host.limit(100)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        viewer.send(paste)
        host.wait_received(paste[:100])
        stop(bridge, spec)
        host.limit(None)
        waiting.always(lambda: len(host.received) == 100,
                       'no more reaches the host', 1.0)
        start(bridge, spec)
        host.wait_received(paste, timeout=60)


def test_what_does_not_fit_stays_in_the_bmc(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    host = model_bmc.host
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    text = hosts.text(150_000)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        stop(bridge, spec)
        host.send(text)
        waiting.wait_until(lambda: host.waiting <= 150_000 - 65_000,
                           'a full buffer', 60, seen=lambda: host.waiting)
        waiting.always(lambda: host.waiting >= 150_000 - 65_536,
                       'no more is acknowledged', 1.0)
        assert viewer.data == b''
        start(bridge, spec)
        viewer.wait_exactly(text, timeout=60)
        assert not model_bmc.journal.characters_lost


def test_new_connections_are_closed_and_the_port_is_kept(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as stays:
        wait_viewers(bridge, 1)
        stop(bridge, spec)
        for _ in range(3):
            with viewers.Viewer(spec.url) as late:
                check_told(late)
        with socket.socket() as other, pytest.raises(OSError):
            other.bind(('127.0.0.1', spec.tcp_port))
        assert bridge.show(spec.node)['viewers'] == 1
        start(bridge, spec)
        model_bmc.host.send(b'hello')
        stays.wait_exactly(b'hello')
        with viewers.Viewer(spec.url):
            wait_viewers(bridge, 2)


def test_it_ends_with_its_time(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as silent, viewers.Viewer(
            spec.url) as types:
        wait_viewers(bridge, 2)
        began = time.monotonic()
        stop(bridge, spec, 1.0)
        # What is never read must not make the end a reset.
        types.send(b'x' * 5000)
        model_bmc.host.send(b'for nobody')
        for viewer in (silent, types):
            check_told(viewer)
            assert b'for nobody' not in viewer.data
        assert 0.9 <= time.monotonic() - began < 2.0
    check_gone(bridge, model_bmc, spec)
    assert model_bmc.host.received == b''


def test_a_stop_for_good_ends_it_at_once(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        stop(bridge, spec)
        assert bridge.close(spec.node)
        check_told(viewer)
    check_gone(bridge, model_bmc, spec)


@pytest.mark.parametrize('changes', [
    {'instance_uuid': str(uuid.uuid4())}, {'name': 'renamed'},
    {'tcp_port': 0}, {'address': '127.0.0.2'},
    {'connection': 'on-demand'}],
    ids=''.join)
def test_another_spec_does_not_take_it_up(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge,
        changes: dict[str, typing.Any]) -> None:
    if 'tcp_port' in changes:
        changes = {'tcp_port': ports.free_port()}
    old = bridge_support.model_spec(
        model_bmc, instance_uuid=str(uuid.uuid4()))
    bridge.connect(old)
    with viewers.Viewer(old.url) as viewer:
        wait_viewers(bridge, 1)
        model_bmc.host.send(b'before')
        viewer.wait_exactly(b'before')
        stop(bridge, old)
        model_bmc.host.send(b'of the old console')
        model_bmc.host.wait_sent()
        viewer.send(b'typed at the old console')
        new, status = start(bridge, old, **changes)
        assert 'taken_up' not in status
        check_told(viewer, b'before')
        with viewers.Viewer(new.url) as after:
            if 'address' not in changes:
                bridge.wait_state(new.node, 'connected')
                model_bmc.host.send(b'new')
                after.wait_for(b'new')
            assert b'old' not in after.data
    if 'tcp_port' in changes:
        assert viewers.refused(old.url)
    assert model_bmc.host.received == b''


def test_a_pass_does_not_take_it_up(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    """Who is let in is decided when the node has been read again."""
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        stop(bridge, spec)
        again = dataclasses.replace(spec, generation=uuid.uuid4().hex)
        bridge.request('open', {
            'spec': again.to_json(), 'wait': 0, 'admit': False})
        check_told(viewer)
        bridge.request('admit', {
            'consoles': [[again.node, again.generation]]})
        bridge.wait_state(spec.node, 'connected')


def test_it_is_not_taken_up_after_its_time(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    """A process that was stopped finds the start before the end."""
    spec = bridge_support.model_spec(model_bmc)
    session = bridge.connect(spec)['session']
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        stop(bridge, spec, 1.0)
        parked = time.monotonic()
        bridge.signal(signal.SIGSTOP)
        with contextlib.ExitStack() as stack:
            stack.callback(bridge.signal, signal.SIGCONT)
            model_bmc.host.send(b'late')
            spec = dataclasses.replace(spec, generation=uuid.uuid4().hex)
            opened = bridge.submit(
                'open', {'spec': spec.to_json(), 'wait': 5})
            waiting.wait_until(lambda: time.monotonic() - parked > 1.2,
                               'the end of its time')
        status = bridge.collect(opened, 'open')
        assert 'taken_up' not in status
        assert status['session'] != session
        check_told(viewer)


def test_without_a_lease_it_is_closed(
        model_bmc: model.ModelBmc) -> None:
    spec = bridge_support.model_spec(model_bmc)
    with bridge_support.Bridge(conductor_timeout=2.0) as bridge:
        bridge.connect(spec)
        with viewers.Viewer(spec.url) as viewer:
            wait_viewers(bridge, 1)
            bridge.request('ping')
            stop(bridge, spec)
            # The conductor falls silent.
            viewer.wait_closed(10.0)
            check_told(viewer)
        bridge.request('ping')
        waiting.wait_until(lambda: not model_bmc.live_sessions,
                           'the BMC is free')
        assert bridge.consoles() == []
        again, status = start(bridge, spec)
        assert 'taken_up' not in status
        bridge.wait_state(again.node, 'connected')
        check_unharmed(bridge)


def test_a_link_that_is_lost_meanwhile_comes_back_with_the_start(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        stop(bridge, spec)
        model_bmc.deactivate()
        waiting.wait_until(lambda: not model_bmc.live_sessions,
                           'the session to be left')
        waiting.always(
            lambda: len(model_bmc.journal.activations) == 1
            and not viewer.data, 'no attempt is made', 3.0)
        spec, status = start(bridge, spec)
        assert status['taken_up'] is True
        bridge.wait_state(spec.node, 'connected')
        viewer.wait_for(b'[solconsole: connected]')
        model_bmc.host.send(b'again')
        viewer.wait_for(b'again')


def test_a_console_that_is_held_may_be_parked_too(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    model_bmc.hold()
    spec = bridge_support.model_spec(model_bmc)
    assert bridge.open(spec)['state'] == 'held'
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        stop(bridge, spec)
        model_bmc.release()
        tried = len(model_bmc.journal.having(ACTIVATE))
        waiting.always(
            lambda: len(model_bmc.journal.having(ACTIVATE)) == tried,
            'no attempt is made', 7.0)
        began = time.monotonic()
        spec, status = start(bridge, spec)
        assert status['taken_up'] is True
        assert time.monotonic() - began < 0.1, 'a start waited'
        bridge.wait_state(spec.node, 'connected')
        assert not viewer.closed


def test_it_ends_with_its_process(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(model_bmc)
    with bridge_support.Bridge(host='cond-ends') as ends:
        ends.connect(spec)
        with viewers.Viewer(spec.url) as viewer:
            wait_viewers(ends, 1)
            stop(ends, spec)
            ends.hang_up()
            assert ends.wait_ended(2.5) == 0
            viewer.wait_closed()
    check_gone(bridge, model_bmc, spec)


def test_stops_and_starts_in_any_order_end_as_the_last_one_says(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        futures = []
        for _ in range(20):
            for park in (LONG, LONG):
                futures.append(bridge.submit(
                    'close', {'node': spec.node, 'park': park}))
            spec = dataclasses.replace(spec, generation=uuid.uuid4().hex)
            for wait in (0, 5):
                futures.append(bridge.submit(
                    'open', {'spec': spec.to_json(), 'wait': wait}))
        for future in futures:
            bridge.collect(future, 'open or close')
        assert bridge.show(spec.node)['state'] == 'connected'
        viewer.send(b'x')
        model_bmc.host.wait_received(b'x')
        assert len(model_bmc.journal.activations) == 1
        assert bridge.close(spec.node)
        check_told(viewer)
    check_gone(bridge, model_bmc, spec)


@pytest.mark.parametrize('park', [-1, 61, 'soon', True, None])
def test_a_bad_time_is_refused(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge,
        park: object) -> None:
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    with pytest.raises(exception.RequestRefused, match='park'):
        bridge.request('close', {'node': spec.node, 'park': park})
    assert bridge.show(spec.node)['state'] == 'connected'
