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

"""What passes between hosts and viewers, byte by byte."""

import collections.abc
import contextlib
import dataclasses
import re
import socket

import pytest

from tests.functional.test_console import wait_viewers
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import viewers
from tests.support import waiting

LINE = re.compile(rb'host ([0-9]{7}) ')


@pytest.fixture
def slow_bmc() -> collections.abc.Iterator[model.ModelBmc]:
    """A BMC that hands over a few characters at a time."""
    with model.ModelBmcs(model.BmcOptions(
            sol=model.SolOptions(outbound_size=11))) as (one,):
        yield one


@contextlib.contextmanager
def connected(url: str) -> collections.abc.Iterator[socket.socket]:
    """A plain socket, as nova-serialproxy has."""
    host, _, port = url.removeprefix('tcp://').rpartition(':')
    with socket.socket() as sock:
        sock.settimeout(waiting.PATIENCE)
        sock.connect((host, int(port)))
        yield sock


def test_each_piece_that_is_read_can_be_decoded_by_itself(
        slow_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    """As Horizon decodes each frame of the proxy by itself."""
    spec = bridge_support.model_spec(slow_bmc)
    bridge.connect(spec)
    text = ('Größe │ ┌───┐ 日本語 😀\r\n' * 400).encode()
    with connected(spec.url) as sock:
        wait_viewers(bridge, 1)
        slow_bmc.host.send(text)
        got, pieces = b'', 0
        while len(got) < len(text):
            piece = sock.recv(65536)
            piece.decode()          # raises where a character is split
            got += piece
            pieces += 1
        waiting.assert_same_bytes(got, text, 'output')
        assert pieces > 100, 'it was not delivered in pieces'


def test_every_byte_value_passes_either_way_in_every_place(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    bridge.connect(spec)
    everything = b''.join(
        bytes([first, second]) for first in range(0, 256, 5)
        for second in range(256))
    with viewers.Viewer(spec.url) as viewer:
        viewer.send(everything)
        viewer.wait_exactly(everything, 60)
        waiting.assert_same_bytes(
            echo_bmc.host.received, everything, 'input at the host')


def test_what_stays_unfinished_arrives_all_the_same(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        for piece in (b'\xe2\x94', b'\x1b', b'\x1b[', b'\x1b]0;t',
                      b'\xf0\x9f\x98', b'\x9b', b'\xc2'):
            viewer.clear()
            bmc.host.send(b'\x18a' + piece)
            viewer.wait_exactly(b'\x18a' + piece, 2.0)


def test_the_last_owner_sees_no_byte_of_the_next_though_all_is_full(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(client_buffer=8192) as bridge:
        spec = bridge_support.make_spec(bmc, instance_uuid='one')
        bridge.connect(spec)
        with (viewers.Viewer(spec.url) as reads,
              viewers.Viewer(spec.url, receive_buffer=4096) as slow):
            wait_viewers(bridge, 2)
            slow.stop_reading()
            sent = bmc.host.stream(hosts.text(1_500_000))
            waiting.wait_until(lambda: len(reads.data) > 400_000,
                               'output in full flow')
            bridge.open(dataclasses.replace(spec, instance_uuid='two'))
            with viewers.Viewer(spec.url) as after:
                sent.result(60)
                bmc.host.send(b'the end')
                after.wait_for(b'the end', 60)
                reads.wait_closed()
                slow.go_on_reading()
                slow.wait_closed()
                first = int(LINE.findall(after.data)[0])
                for viewer in (reads, slow):
                    assert not viewer.reset
                    assert b'the end' not in viewer.data
                    assert int(LINE.findall(viewer.data)[-1]) <= first
                assert reads.data.endswith(
                    b'[solconsole: the node was given to another '
                    b'instance]\r\n')


def test_what_the_last_owner_typed_does_not_reach_the_next(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    host = model_bmc.host
    spec = bridge_support.model_spec(model_bmc, instance_uuid='one')
    bridge.connect(spec)
    host.limit(100)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        viewer.send(b'x' * 100_000)
        host.wait_received(b'x' * 100)
        spec = dataclasses.replace(spec, instance_uuid='two')
        bridge.open(spec)
        viewer.wait_closed()
    host.limit(None)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        viewer.send(b'login')
        waiting.wait_until(lambda: host.received.endswith(b'login'),
                           'what the next one types')
        # one packet was on its way
        assert len(host.received) <= 100 + 255 + len(b'login')
        assert not viewer.closed


def test_ipv4_is_seen_as_such_through_an_ipv6_address(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(allowed_clients=['127.0.0.0/8']) as bridge:
        spec = bridge_support.make_spec(bmc, tcp_host='::')
        bridge.connect(spec)
        with viewers.Viewer(f'tcp://[::1]:{spec.tcp_port}') as refused:
            refused.wait_closed(1.0)
            assert not refused.reset
            assert refused.data == b''
        with viewers.Viewer(f'tcp://127.0.0.1:{spec.tcp_port}') as viewer:
            wait_viewers(bridge, 1)
            bmc.host.send(b'hello')
            viewer.wait_exactly(b'hello')


def test_a_control_string_that_goes_on_asks_no_terminal(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    live = b'boot\x9b6n\xc2\x9b5n\x90$qm\x9c\r\n\x1bP1;\x9b6n\xc2\x9b0c\x05'
    with viewers.Viewer(spec.url) as first:
        wait_viewers(bridge, 1)
        bmc.host.send(live)
        first.wait_exactly(live)
        with viewers.Viewer(spec.url) as second:
            wait_viewers(bridge, 2)
            bmc.host.send(b'\x1b\\!')
            second.wait_for(b'!')
            assert second.data == b'boot$qm\x9c\r\n\x1bP1;6n0c\x1b\\!'
