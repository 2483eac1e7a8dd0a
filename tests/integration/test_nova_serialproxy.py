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

"""A tab of a browser: nova-serialproxy between a WebSocket and a console.

Each connection is made as Horizon makes it: a token from Nova, for which
the console is reset, and a WebSocket, for which nova-compute resets it once
more to check the port.
"""

import collections.abc
import contextlib
import uuid

import pytest

from tests.support import bmc as model
from tests.support import hosts
from tests.support import nova
from tests.support import nova_cloud
from tests.support import viewers
from tests.support import waiting
from tests.support import websocket

NovaCloud = nova_cloud.NovaCloud
Machine = nova_cloud.Machine
WebSocket = websocket.WebSocket

pytestmark = pytest.mark.nova

OFF = {'enabled': False}

#: As Horizon's page has them; the last one has four bytes.
TEXT = '┌──────┐ Größe: 25 € \U0001f600\r\n'.encode()


@pytest.fixture(scope='module')
def bmc() -> collections.abc.Iterator[model.ModelBmc]:
    """A BMC that counts, and keeps output for as long as a test takes."""
    with model.ModelBmcs(model.BmcOptions(
            sol=model.SolOptions(retry_count=10_000))) as (one,):
        yield one


@pytest.fixture(scope='module')
def machine(cloud: NovaCloud, bmc: model.ModelBmc
            ) -> collections.abc.Iterator[Machine]:
    """Somebody's server, with its console on."""
    with cloud.deploy(bmc) as one:
        waiting.wait_until(lambda: len(bmc.journal.activations) == 1,
                           'the first activation')
        yield one


@pytest.fixture(autouse=True)
def _undisturbed(machine: Machine, bmc: model.ModelBmc
                 ) -> collections.abc.Iterator[None]:
    """Whatever a test does, the BMC sees nothing of it."""
    bmc.host.clear()
    yield
    assert len(bmc.journal.activations) == 1
    assert not bmc.journal.payload_ends


def wait_people(cloud: NovaCloud, machine: Machine, count: int) -> None:
    """Wait until so many are at the console."""
    waiting.wait_until(lambda: cloud.viewers(machine) == count,
                       f'{count} at the console')


@contextlib.contextmanager
def at_console(cloud: NovaCloud, machine: Machine, url: str = ''
               ) -> collections.abc.Iterator[WebSocket]:
    """A tab that has seen what was there before.

    :param url: one that Nova gave before; by default a new one.
    """
    people = cloud.viewers(machine)
    with WebSocket(url or cloud.nova.get_url(machine.instance)) as tab:
        wait_people(cloud, machine, people + 1)
        # the scrollback comes first, and this after it
        tab.send(b'\r')
        yield tab


def say(bmc: model.ModelBmc, text: bytes, tab: WebSocket) -> None:
    """Let the host print, from where a tab has an empty screen."""
    mark = f'{uuid.uuid4()}\r\n'.encode()
    bmc.host.send(mark)
    tab.wait_for(mark)
    tab.clear()
    bmc.host.send(text)


def test_a_tab_types_and_reads(cloud: NovaCloud, machine: Machine,
                               bmc: model.ModelBmc) -> None:
    cloud.gate.calls.clear()
    with at_console(cloud, machine) as tab:
        resets = sum(call.body == OFF for call in cloud.gate.of_consoles())
        assert resets == 2, 'one for the token, one for the WebSocket'
        tab.send(b'root\r')
        bmc.host.wait_received(b'\rroot\r')
        say(bmc, b'login: root\r\n', tab)
        tab.wait_exactly(b'login: root\r\n')


def test_no_character_is_split(cloud: NovaCloud, machine: Machine,
                               bmc: model.ModelBmc) -> None:
    """Horizon decodes each frame alone.

    About 60 packets come from the BMC, and most end within a character. Its
    rest is waited for for 20 ms only, which a busy machine may exceed, but
    not each time.
    """
    with at_console(cloud, machine) as tab:
        for _ in range(5):
            say(bmc, TEXT * 300, tab)
            tab.wait_exactly(TEXT * 300)
            if not any(frame.decode(errors='replace').count('\ufffd')
                       for frame in tab.frames):
                return
    raise AssertionError('characters were split in each of five attempts')


def test_every_byte_passes_both_ways(cloud: NovaCloud, machine: Machine,
                                     bmc: model.ModelBmc) -> None:
    every = bytes(range(256))
    with at_console(cloud, machine) as tab:
        tab.send(every)
        bmc.host.wait_received(b'\r' + every)
        say(bmc, every * 4, tab)
        tab.wait_exactly(every * 4)


def test_a_megabyte_is_exact(cloud: NovaCloud, machine: Machine,
                             bmc: model.ModelBmc) -> None:
    text, paste = hosts.text(1_000_000), hosts.text(65_536, 'paste')
    with viewers.Viewer(machine.url) as other:
        with at_console(cloud, machine) as tab:
            say(bmc, text, tab)
            tab.send(paste)
            tab.wait_exactly(text, timeout=120.0)
            bmc.host.wait_received(b'\r' + paste, timeout=120.0)
            waiting.wait_until(lambda: other.data.endswith(text),
                               'the same for who is not in a browser')


def test_reconnects_do_not_disturb_others(
        cloud: NovaCloud, machine: Machine, bmc: model.ModelBmc) -> None:
    with viewers.Viewer(machine.url) as other:
        wait_people(cloud, machine, 1)
        bmc.host.send(b'begin')
        other.wait_for(b'begin')
        other.clear()
        url = cloud.nova.get_url(machine.instance)
        with nova_cloud.Printing(bmc) as printing:
            for number in range(3):
                with at_console(cloud, machine, url) as tab:
                    tab.send(b'%d' % number)
                    waiting.wait_until(
                        lambda: bmc.host.received.endswith(
                            b'%d' % number),    # noqa: B023
                        'what was typed at the host')
                    tab.wait_for(b'"line"')
                    if number == 1:
                        tab.abort()     # a browser that was killed
                wait_people(cloud, machine, 1)
        other.wait_exactly(printing.text, timeout=60.0)
        assert not other.closed
    wait_people(cloud, machine, 0)
    assert bmc.host.received == b'\r0\r1\r2'


@pytest.mark.parametrize(('host', 'welcome'), [
    (nova.DASHBOARD, True), ('elsewhere.example.org', False)])
def test_pages_of_the_dashboard_are_let_in(
        cloud: NovaCloud, machine: Machine, bmc: model.ModelBmc, host: str,
        welcome: bool) -> None:
    url = cloud.nova.get_url(machine.instance)
    with WebSocket(url, f'http://{host}') as tab:
        if welcome:
            wait_people(cloud, machine, 1)
            say(bmc, b'for the dashboard', tab)
            tab.wait_exactly(b'for the dashboard')
        else:
            tab.wait_closed()
            assert not tab.data
    wait_people(cloud, machine, 0)


def test_a_token_of_nobody_opens_nothing(
        cloud: NovaCloud, machine: Machine) -> None:
    url = cloud.nova.get_url(machine.instance)
    cloud.gate.calls.clear()
    with WebSocket(url.replace(url[-12:], '0' * 12)) as tab:
        tab.wait_closed()
        assert not tab.data
    assert not cloud.gate.calls, 'Ironic was asked'
    assert cloud.viewers(machine) == 0
