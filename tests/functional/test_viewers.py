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

"""Viewers come and go, hang and crowd; the link does not notice."""

import re

import pytest

from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import processes
from tests.support import viewers
from tests.support import waiting

_MARK = re.compile(rb'\r\n\[solconsole: ([0-9]+) bytes lost\]\r\n')


def check_loss(got: bytes, sent: bytes) -> int:
    """Every byte sent is there, or counted by a mark in its place.

    :returns: bytes that the marks say are lost.
    """
    position = lost = 0
    for index, part in enumerate(_MARK.split(got)):
        if index % 2:
            lost += int(part)
            position += int(part)
        else:
            waiting.assert_same_bytes(
                part, sent[position:position + len(part)],
                f'output between loss marks, from byte {position}')
            position += len(part)
    assert position == len(sent), (
        f'{position} bytes are delivered or counted as lost, of '
        f'{len(sent)} sent')
    return lost


def test_viewers_come_and_go_with_no_effect_on_the_link(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    before = bridge.connect(spec)
    with viewers.Viewer(before['url']) as stays:
        for number in range(20):
            viewer = viewers.Viewer(before['url'])
            word = f'<{number}>'.encode()
            viewer.send(word)
            viewer.wait_for(word)
            if number % 2:
                viewer.abort()
            else:
                viewer.close()
        wait_viewers(bridge, 1)
        stays.wait_exactly(b''.join(
            f'<{number}>'.encode() for number in range(20)))
    wait_viewers(bridge, 0)
    after = bridge.show(spec.node)
    assert (after['session'], after['since'], after['state']) == (
        before['session'], before['since'], 'connected')
    assert echo_bmc.ipmitool().holder() == int(after['session'], 16)


def test_the_link_reads_on_while_nobody_looks(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    bmc.host.send(hosts.text(50_000))
    waiting.wait_until(
        lambda: bridge.show(spec.node)['bytes_out'] == 50_000,
        'all output taken from the BMC', seen=bridge.consoles)


def test_one_viewer_too_many_is_told_so_and_closed(
        echo_bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(max_clients=2) as bridge:
        url = bridge.connect(bridge_support.make_spec(echo_bmc))['url']
        with viewers.Viewer(url) as first, viewers.Viewer(url) as second:
            wait_viewers(bridge, 2)
            with viewers.Viewer(url) as third:
                third.wait_closed()
                assert re.fullmatch(
                    rb'\r\n\[solconsole: [^\x00-\x1f\]]+\]\r\n',
                    third.data), third.data
                assert b'viewers' in third.data
                assert not third.reset
            first.send(b'still here')
            second.wait_exactly(b'still here')
            first.close()
            wait_viewers(bridge, 1)
            with viewers.Viewer(url) as fourth:
                fourth.send(b'!')
                fourth.wait_for(b'!')
        check_unharmed(bridge)


def test_a_viewer_that_never_reads_delays_nobody_and_is_told_its_loss(
        bmc: ipmi_sim.Bmc) -> None:
    size = 2 * 1024 * 1024
    with bridge_support.Bridge(client_buffer=64 * 1024) as bridge:
        url = bridge.connect(bridge_support.make_spec(bmc))['url']
        with (viewers.Viewer(url) as reads,
              viewers.Viewer(url, receive_buffer=8192) as hangs):
            wait_viewers(bridge, 2)
            hangs.stop_reading()
            text = hosts.text(size)
            before = processes.memory_kib(bridge.pid)
            sent = bmc.host.stream(text)
            reads.wait_exactly(text, timeout=100)
            sent.result(1)
            grown = processes.memory_kib(bridge.pid) - before
            assert grown < 1024, (
                f'the bridge grew by {grown} KiB while a viewer with a '
                'queue of 64 KiB did not read')

            hangs.go_on_reading()
            hangs.wait_for(b' bytes lost]\r\n')
            bmc.host.send(b'the end')
            hangs.wait_for(b'the end')
            lost = check_loss(hangs.data, text + b'the end')
            assert lost > size // 2
            reads.wait_exactly(text + b'the end')
        check_unharmed(bridge)


def test_a_loss_is_told_though_the_host_says_nothing_more(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(client_buffer=4096) as bridge:
        spec = bridge_support.make_spec(bmc)
        url = bridge.connect(spec)['url']
        with viewers.Viewer(url, receive_buffer=4096) as hangs:
            wait_viewers(bridge, 1)
            hangs.stop_reading()
            text = hosts.text(4 * 1024 * 1024)[:3_000_000]
            bmc.host.send(text)
            waiting.wait_until(
                lambda: bridge.show(spec.node)['bytes_out'] == len(text),
                'all output taken from the BMC', 100,
                seen=bridge.consoles)
            hangs.go_on_reading()
            hangs.wait_for(b' bytes lost]\r\n')
            check_loss(hangs.data, text)


def test_a_paste_into_a_slow_host_waits_and_blocks_nobody_else(
        two_bmcs: list[ipmi_sim.Bmc], bridge: bridge_support.Bridge) -> None:
    slow, other = two_bmcs
    slow_url = bridge.connect(bridge_support.make_spec(slow))['url']
    other_url = bridge.connect(bridge_support.make_spec(other))['url']
    paste = hosts.text(500_000, 'paste')
    with viewers.Viewer(slow_url) as first, viewers.Viewer(
            other_url) as second:
        waiting.wait_until(
            lambda: [console['viewers'] for console in bridge.consoles()]
            == [1, 1], 'a viewer at each console', seen=bridge.consoles)
        before = processes.memory_kib(bridge.pid)
        first.send(paste)
        text = hosts.text(100_000)
        sent = other.host.stream(text)
        second.wait_exactly(text)
        sent.result(1)
        grown = processes.memory_kib(bridge.pid) - before
        assert grown < 1024, (
            f'the bridge grew by {grown} KiB for a paste that the BMC has '
            'not taken')
        slow.host.wait_received(paste, timeout=100)


@pytest.mark.parametrize('leave', ['close', 'abort'])
def test_a_viewer_that_leaves_in_mid_stream_harms_nobody(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge, leave: str
        ) -> None:
    url = bridge.connect(bridge_support.make_spec(bmc))['url']
    text = hosts.text(300_000)
    with viewers.Viewer(url) as stays:
        goes = viewers.Viewer(url)
        wait_viewers(bridge, 2)
        sent = bmc.host.stream(text)
        goes.wait_for(text[50_000:50_050])
        getattr(goes, leave)()
        stays.wait_exactly(text, timeout=60)
        sent.result(1)
        wait_viewers(bridge, 1)
