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

"""What viewers of a console get, and what they may do."""

import collections.abc
import contextlib
import re
import socket
import threading
import time

import pytest

from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.functional.test_viewers import check_loss
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import processes
from tests.support import viewers
from tests.support import waiting

NOTICE = re.compile(rb'\r\n\[solconsole: ([^\]]*)\]\r\n')


def wait_output(bridge: bridge_support.Bridge, node: str,
                count: int) -> None:
    """Wait until the bridge has so many bytes of output."""
    waiting.wait_until(
        lambda: bridge.show(node)['bytes_out'] == count,
        f'{count} bytes taken from the BMC', 100, seen=bridge.consoles)


# -- what was there before -----------------------------------------------

def test_who_attaches_sees_the_last_lines(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    text = b''.join(b'line %d of the boot\r\n' % number
                    for number in range(2000))
    bmc.host.send(text)
    wait_output(bridge, spec.node, len(text))
    with viewers.Viewer(spec.url) as viewer:
        bmc.host.send(b'login: ')
        shown = viewer.wait_for(b'login: ')
        assert text.endswith(shown.removesuffix(b'login: '))
        assert shown.startswith(b'line ')
        assert 16_000 < len(shown) <= 16_384 + len(b'login: ')


def test_what_is_shown_again_asks_no_terminal(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    live = (b'\x1b[c\x05\x1b[6nlogin: \x1b]10;?\x07\x1b[14t\x1bP$qm\x1b\\'
            b'\x1b[31mred')
    with viewers.Viewer(spec.url) as first:
        wait_viewers(bridge, 1)
        bmc.host.send(live)
        first.wait_exactly(live)
        with viewers.Viewer(spec.url) as second:
            bmc.host.send(b'!')
            second.wait_for(b'!')
            assert second.data == b'login: \x1b[31mred!'


def test_a_new_instance_sees_nothing_of_the_one_before(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(
        bmc, instance_uuid='6e4c1d5e-9f2a-4f60-8f7b-0d8c4f0f6a11')
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as tenant:
        wait_viewers(bridge, 1)
        bmc.host.send(b'secret\r\n\x1b]secret')
        tenant.wait_for(b'\x1b]secret')
        bridge.open(bridge_support.make_spec(
            bmc, **{**spec.to_json(), 'suites': spec.suites,
                    'instance_uuid':
                    'b1f6f2a2-58c1-4df3-9a51-3f1f9a7f0c22'}))
        with viewers.Viewer(spec.url) as other:
            bmc.host.send(b'welcome')
            other.wait_for(b'welcome')
            assert other.data == b'welcome'
        tenant.wait_closed()
        assert not tenant.reset
        assert tenant.data.endswith(
            b'[solconsole: the node was given to another instance]\r\n')
        assert b'welcome' not in tenant.data


def test_nothing_is_shown_where_nothing_is_kept(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(scrollback=0) as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        bmc.host.send(b'before')
        wait_output(bridge, spec.node, 6)
        with viewers.Viewer(spec.url) as viewer:
            wait_viewers(bridge, 1)
            bmc.host.send(b'after')
            viewer.wait_exactly(b'after')


# -- ends ----------------------------------------------------------------

def test_the_end_is_fin_though_input_is_unread(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    model_bmc.host.limit(0)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        viewer.send(b'x' * 500_000)
        waiting.always(lambda: not viewer.closed, 'it is attached', 0.5)
        bridge.close(spec.node)
        viewer.wait_closed(1.5)
        assert not viewer.reset
        assert viewer.data == b'\r\n[solconsole: the console was closed]\r\n'


def test_a_viewer_that_does_not_read_is_gone_soon_after_the_end(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url, receive_buffer=4096) as viewer:
        wait_viewers(bridge, 1)
        viewer.stop_reading()
        bmc.host.send(hosts.text(600_000))
        wait_output(bridge, spec.node, 600_000)
        before = processes.open_files(bridge.pid)
        bridge.close(spec.node)
        waiting.wait_until(
            lambda: processes.open_files(bridge.pid) <= before - 2,
            'its socket is closed', 5)


def test_nothing_for_a_while_ends_a_connection(
        echo_bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(idle_timeout=2) as bridge:
        spec = bridge_support.make_spec(echo_bmc)
        bridge.connect(spec)
        begun = time.monotonic()
        with viewers.Viewer(spec.url) as viewer:
            viewer.send(b'x')
            viewer.wait_closed(10)
            assert 1.9 < time.monotonic() - begun < 4
            assert not viewer.reset
            assert viewer.data == (
                b'x\r\n[solconsole: closed, as nothing passed here for 2 '
                b'seconds]\r\n')
        check_unharmed(bridge)


# -- who may come, and who may type --------------------------------------

def test_who_is_not_of_an_allowed_network_gets_fin_and_one_line(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(
            allowed_clients=['192.0.2.0/24', '2001:db8::/64']) as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        for _ in range(20):
            with viewers.Viewer(spec.url) as viewer:
                with contextlib.suppress(AssertionError):
                    viewer.send(b'\r')      # as Horizon does on open
                viewer.wait_closed(1.0)
                assert not viewer.reset
                assert viewer.data == b''
        assert bridge.show(spec.node)['viewers'] == 0
        assert len(bridge.logged('127.0.0.1 was refused')) == 1
        check_unharmed(bridge)


def test_who_is_of_an_allowed_network_may_come(
        echo_bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(allowed_clients=['127.0.0.0/8']) as bridge:
        spec = bridge_support.make_spec(echo_bmc)
        bridge.connect(spec)
        with viewers.Viewer(spec.url) as viewer:
            viewer.send(b'hello')
            viewer.wait_for(b'hello')


def test_the_viewers_of_one_address_are_limited(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(max_clients_per_address=2) as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        with viewers.Viewer(spec.url), viewers.Viewer(spec.url):
            wait_viewers(bridge, 2)
            with viewers.Viewer(spec.url) as third:
                third.wait_closed()
                assert b'from this address' in third.data
                assert not third.reset


def test_in_exclusive_mode_one_writes_and_all_read(
        echo_bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(client_mode='exclusive') as bridge:
        spec = bridge_support.make_spec(echo_bmc)
        bridge.connect(spec)
        with viewers.Viewer(spec.url) as first:
            wait_viewers(bridge, 1)
            with viewers.Viewer(spec.url) as second:
                wait_viewers(bridge, 2)
                second.send(b'second')
                second.wait_for(b'somebody else writes')
                first.send(b'first')
                second.wait_for(b'first')
                first.close()
                second.wait_for(b'this viewer writes now')
                second.send(b'now')
                echo_bmc.host.wait_received(b'firstnow')


def test_what_is_typed_while_down_is_dropped_and_said_once(
        sim: ipmi_sim.IpmiSim, bridge: bridge_support.Bridge) -> None:
    sim.power_off()
    spec = bridge_support.make_spec(sim.bmcs[0])
    bridge.open(spec)
    with viewers.Viewer(spec.url) as viewer:
        for _ in range(20):
            viewer.send(b'reboot\r')
        viewer.wait_for(b'[solconsole: not connected; what is typed is not '
                        b'sent]')
        sim.power_on()
        viewer.wait_for(b'[solconsole: connected]', 30)
        viewer.send(b'hello')
        sim.bmcs[0].host.wait_received(b'hello')
        told = NOTICE.findall(viewer.data)
        assert told[0].startswith(b'the console does not answer; '), told
        assert told[1:] == [b'not connected; what is typed is not sent',
                            b'connected']
        assert NOTICE.sub(b'', viewer.data) == b''


@pytest.mark.parametrize('detail', ['brief', 'full'])
def test_only_a_closed_shop_is_told_who_has_the_console(
        model_bmc: model.ModelBmc, detail: str) -> None:
    model_bmc.hold('second', '192.0.2.7', 40000)
    with bridge_support.Bridge(notice_detail=detail) as bridge:
        spec = bridge_support.model_spec(model_bmc)
        bridge.open(spec)
        with viewers.Viewer(spec.url) as viewer:
            viewer.wait_for(b'in use by another session')
            viewer.wait_for(b']\r\n')
            for word in (b'second', b'192.0.2.7'):
                assert (word in viewer.data) is (detail == 'full')


def test_without_notices_nothing_is_said(model_bmc: model.ModelBmc) -> None:
    model_bmc.hold('second', '192.0.2.7', 40000)
    with bridge_support.Bridge(notices=False) as bridge:
        spec = bridge_support.model_spec(model_bmc)
        bridge.open(spec)
        with viewers.Viewer(spec.url) as viewer:
            wait_viewers(bridge, 1)
            viewer.send(b'x')
            bridge.close(spec.node)
            viewer.wait_closed()
            assert viewer.data == b''


# -- exactness -----------------------------------------------------------

@contextlib.contextmanager
def slow_reader(url: str, rate: int, got: bytearray
                ) -> collections.abc.Iterator[threading.Event]:
    """Read so many bytes a second, until the event is set; then all.

    :param got: is given what came, until the bridge says that it ends.
    """
    hurry = threading.Event()
    host, _, port = url.removeprefix('tcp://').rpartition(':')
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((host, int(port)))

    def read() -> None:
        while data := sock.recv(65536 if hurry.is_set() else rate // 10):
            got.extend(data)
            hurry.wait(0.1)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield hurry
    finally:
        hurry.set()
        sock.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        sock.close()


def test_ten_viewers_of_whom_one_hangs_and_one_is_slow(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(max_clients=10) as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        text = hosts.text(5_000_000)
        slowly = bytearray()
        with contextlib.ExitStack() as stack:
            good = [stack.enter_context(viewers.Viewer(spec.url))
                    for _ in range(8)]
            hangs = stack.enter_context(
                viewers.Viewer(spec.url, receive_buffer=4096))
            hurry = stack.enter_context(
                slow_reader(spec.url, 1000, slowly))
            wait_viewers(bridge, 10)
            hangs.stop_reading()
            sent = bmc.host.stream(text)
            for viewer in good:
                viewer.wait_exactly(text, timeout=200)
            sent.result(1)
            hangs.go_on_reading()
            hurry.set()
            hangs.wait_for(b' bytes lost]\r\n')
            waiting.wait_until(lambda: b' bytes lost]\r\n' in slowly,
                               'the loss of the slow one')
            bmc.host.send(b'the end')
            for viewer in (*good, hangs):
                viewer.wait_for(b'the end')
            waiting.wait_until(lambda: slowly.endswith(b'the end'),
                               'the end at the slow one')
            text += b'the end'
            assert check_loss(hangs.data, text) > 4_000_000
            assert check_loss(bytes(slowly), text) > 4_000_000
        check_unharmed(bridge)


def test_what_confuses_terminals_confuses_no_viewer(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    data = (b'\xe2\x94' * 500 + b'\x1b' + b'\x1b[' * 300 + b'\x1b]0;' * 100
            + b'\x1bP' + b'x' * 1_000_000 + bytes(range(256)) * 20
            + b'\xf0\x9f\x98')
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        sent = bmc.host.stream(data)
        viewer.wait_exactly(data, timeout=100)
        sent.result(1)
        with viewers.Viewer(spec.url) as late:
            bmc.host.send(b'on')
            viewer.wait_exactly(data + b'on')
            late.wait_for(b'on')
