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

"""What Nova does to a console each time that somebody opens it."""

import collections.abc
import contextlib
import sqlite3
import time
import uuid

import pytest

from tests.integration import steps
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import viewers
from tests.support import waiting

Ironic = real_ironic.Ironic
IpmiSim = ipmi_sim.IpmiSim

#: Seconds. Long, so that what ends sooner was not parked.
GRACE = 40


@pytest.fixture(scope='module')
def ironic() -> collections.abc.Iterator[Ironic]:
    """An Ironic where parked consoles do not end by themselves."""
    with Ironic(options={
            'solconsole': {'reset_grace': GRACE},
            'conductor': {'graceful_shutdown_timeout': 15,
                          'automated_clean': False}}) as one:
        yield one


def attach(stack: contextlib.ExitStack, url: str) -> viewers.Viewer:
    """A viewer that is let in, and has seen nothing yet."""
    viewer = stack.enter_context(viewers.Viewer(url))
    viewer.send(b'hello')
    viewer.wait_for(b'hello')
    return viewer


def set_columns(ironic: Ironic, node: str, **columns: str | None) -> None:
    """Change a node behind the back of the API, as deployments do."""
    names = ', '.join(f'{name} = ?' for name in columns)
    with contextlib.closing(sqlite3.connect(
            ironic.directory / 'ironic.sqlite', timeout=30)) as database:
        with database:
            database.execute(f'UPDATE nodes SET {names} WHERE uuid = ?',
                             (*columns.values(), node))


def wait_available(api: real_ironic.Api, node: str) -> None:
    """Wait for the end of a teardown."""
    waiting.wait_until(
        lambda: api.node(node)['provision_state'] == 'available',
        'the end of the teardown', 60.0, interval=0.2)


def test_three_resets_disconnect_nobody(ironic: Ironic,
                                        sim: IpmiSim) -> None:
    api, bmc = ironic.api, sim.bmcs[0]
    node = api.create_node(bmc)
    url = api.enable(node)
    with contextlib.ExitStack() as stack:
        first, second = attach(stack, url), attach(stack, url)
        holder = bmc.ipmitool().holder()
        first.clear()
        second.clear()
        expected = b''
        for number in range(3):
            api.disable(node)
            assert api.console(node) == {
                'console_enabled': False, 'console_info': None}
            bmc.host.send(b'<%d>' % number)
            expected += b'<%d>' % number
            with viewers.Viewer(url) as late:
                late.wait_closed()
            assert bmc.ipmitool().holder() == holder
            for viewer in (first, second):
                assert viewer.data == expected[:-3], 'a byte has passed'
            assert api.enable(node) == url
            for viewer in (first, second):
                viewer.wait_exactly(expected)
        second.send(b'still here')
        for viewer in (first, second):
            viewer.wait_exactly(expected + b'still here')
        assert bmc.ipmitool().holder() == holder
        activation = api.node(node)['driver_internal_info'][
            'solconsole_activation']
        assert activation['session'] == holder, 'a successor must know it'
    api.delete(node)
    bmc.wait_free()


def test_deletion_ends_a_console_at_once(ironic: Ironic,
                                         sim: IpmiSim) -> None:
    node = ironic.api.create_node(sim.bmcs[0])
    url = ironic.api.enable(node)
    with contextlib.ExitStack() as stack:
        viewer = attach(stack, url)
        ironic.api.delete(node)
        viewer.wait_closed(GRACE / 4)
    assert viewers.refused(url)
    sim.bmcs[0].wait_free()


def test_a_teardown_ends_a_console_at_once(ironic: Ironic,
                                           sim: IpmiSim) -> None:
    api = ironic.api
    node = api.create_node(sim.bmcs[0])
    set_columns(ironic, node, provision_state='active',
                instance_uuid=str(uuid.uuid4()))
    url = api.enable(node)
    with contextlib.ExitStack() as stack:
        viewer = attach(stack, url)
        api.call('PUT', f'/v1/nodes/{node}/states/provision',
                 {'target': 'deleted'})
        viewer.wait_closed(GRACE / 4)
    assert viewers.refused(url)
    sim.bmcs[0].wait_free()
    wait_available(api, node)
    assert viewers.refused(url), 'closed until the next deployment'


@pytest.mark.parametrize('change', ['deletion', 'teardown', 'interface'])
def test_what_takes_the_node_ends_a_parked_console_at_once(
        ironic: Ironic, change: str) -> None:
    """Ironic does not call stop_console then: the console is off."""
    api = ironic.api
    # ipmi_sim does not survive two teardowns
    with IpmiSim([ipmi_sim.BmcSetup(echo=True)]) as own_sim:
        (bmc,) = own_sim.bmcs
        node = api.create_node(bmc)
        if change == 'teardown':
            set_columns(ironic, node, provision_state='active',
                        instance_uuid=str(uuid.uuid4()))
        url = api.enable(node)
        with contextlib.ExitStack() as stack:
            viewer = attach(stack, url)
            api.disable(node)
            if change == 'deletion':
                api.delete(node)
            elif change == 'teardown':
                api.call('PUT', f'/v1/nodes/{node}/states/provision',
                         {'target': 'deleted'})
            else:
                api.patch(node, console_interface='no-console')
            viewer.wait_closed(GRACE / 4)
            assert not viewer.reset
        steps.wait_refused(url)
        if change == 'teardown':
            wait_available(api, node)
        bmc.wait_free()
        if change != 'deletion':
            api.delete(node)


@pytest.mark.parametrize('change', ['instance', 'account'])
def test_a_changed_node_begins_anew(ironic: Ironic, sim: IpmiSim,
                                    change: str) -> None:
    api, bmc = ironic.api, sim.bmcs[1]
    node = api.create_node(bmc)
    set_columns(ironic, node, instance_uuid=str(uuid.uuid4()))
    url = api.enable(node)
    with contextlib.ExitStack() as stack:
        viewer = attach(stack, url)
        api.disable(node)
        bmc.host.send(b'of the last owner')
        if change == 'instance':
            set_columns(ironic, node, instance_uuid=str(uuid.uuid4()))
        else:
            api.patch(
                node, driver_info__ipmi_username=ipmi_sim.SECOND.name,
                driver_info__ipmi_password=ipmi_sim.SECOND.password)
        assert api.enable(node) == url
        viewer.wait_closed(GRACE / 4)
        assert b'of the last owner' not in viewer.data
        steps.wait_echo(url, b'of the next')
        with viewers.Viewer(url) as other:
            other.send(b'x')
            other.wait_for(b'x')
            assert b'of the last owner' not in other.data
    set_columns(ironic, node, instance_uuid=None)
    api.delete(node)


def test_a_console_that_stays_off_is_closed(own_ironic: Ironic,
                                            sim: IpmiSim) -> None:
    api, bmc = own_ironic.api, sim.bmcs[2]
    node = api.create_node(bmc)
    url = api.enable(node)
    with contextlib.ExitStack() as stack:
        viewer = attach(stack, url)
        viewer.clear()
        api.set_console(node, False)
        began = time.monotonic()
        viewer.wait_closed(20.0)
        # within reset_grace + 1 s of the stop, on a machine with time
        assert time.monotonic() - began < 8.0
        assert not viewer.reset
        assert viewer.data.startswith(b'\r\n[solconsole: '), viewer.data
    steps.wait_refused(url)
    bmc.wait_free()
    assert api.enable(node) == url
    steps.wait_echo(url, b'again')
