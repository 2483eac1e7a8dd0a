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

"""Conductors that end, in every way, and what becomes of their consoles."""

import os
import signal

import pytest

from tests.integration import steps
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import processes
from tests.support import viewers

Ironic = real_ironic.Ironic
IpmiSim = ipmi_sim.IpmiSim

#: Seconds within which a bridge is gone; what is promised is 2.
BRIDGE_END = 10.0


def kill_all(ironic: Ironic) -> None:
    ironic.kill()


def kill_master(ironic: Ironic) -> None:
    """Its worker notices and ends by os._exit, without any clean-up."""
    workers = ironic.workers()
    ironic.signal(signal.SIGKILL)
    for pid in workers:
        processes.wait_gone(pid, 'worker of a master that was killed', 30.0)


def terminate(ironic: Ironic) -> None:
    ironic.stop()


def interrupt(ironic: Ironic) -> None:
    """Ctrl-C: cotyledon's fast exit, os._exit in master and worker."""
    assert ironic.process is not None
    ironic.signal(signal.SIGINT)
    ironic.process.wait(60)


@pytest.mark.parametrize('end', [
    kill_all, kill_master, terminate, interrupt])
def test_no_bridge_and_no_session_outlives_a_conductor(
        end: real_ironic.Ending, own_ironic: Ironic, sim: IpmiSim) -> None:
    ironic, bmcs = own_ironic, sim.bmcs[:2]
    nodes = [ironic.api.create_node(bmc) for bmc in bmcs]
    urls = [ironic.api.enable(node) for node in nodes]
    (bridge,) = ironic.bridges()
    with viewers.Viewer(urls[0]) as viewer:
        end(ironic)
        processes.wait_gone(bridge, 'the bridge of a conductor that ended',
                            BRIDGE_END)
        viewer.wait_closed()
    for url in urls:
        assert viewers.refused(url)
    for bmc in bmcs:
        # as an operator does by hand: it works at once
        bmc.wait_free(15.0)
        with bmc.ipmitool().activate() as by_hand:
            by_hand.wait_open()
            by_hand.leave()
        bmc.wait_free()


def test_a_restart_keeps_ports_and_brings_consoles_back(
        own_ironic: Ironic, sim: IpmiSim) -> None:
    ironic, bmc = own_ironic, sim.bmcs[0]
    on = ironic.api.create_node(bmc)
    off = ironic.api.create_node(sim.bmcs[1])
    url, off_url = ironic.api.enable(on), ironic.api.enable(off)
    ironic.api.disable(off)
    (bridge,) = ironic.bridges()
    for end in (ironic.stop, ironic.kill):
        end()
        processes.wait_gone(bridge, 'the old bridge', BRIDGE_END)
        ironic.start()
        assert ironic.api.url(on) == url, 'a node keeps its port'
        steps.wait_echo(url, b'back again')
        assert ironic.api.node(on)['last_error'] is None
        (bridge,) = ironic.wait_bridges(1)
    assert viewers.refused(off_url), 'what was off stays off'
    assert ironic.api.enable(off) == off_url, 'and keeps its port as well'
    port = steps.port_of(url)
    intruder = ironic.api.create_node(
        sim.bmcs[2], ipmi_terminal_port=port)
    assert on in ironic.api.enable_fails(intruder)


def test_sighup_keeps_ports_and_brings_consoles_back(
        own_ironic: Ironic, sim: IpmiSim) -> None:
    ironic, bmc = own_ironic, sim.bmcs[0]
    node = ironic.api.create_node(bmc)
    url = ironic.api.enable(node)
    (old,), worker = ironic.bridges(), ironic.conductor()
    ironic.signal(signal.SIGHUP)
    processes.wait_gone(worker, 'the worker that SIGHUP replaces', 60.0)
    processes.wait_gone(old, 'the bridge of that worker', BRIDGE_END)
    ironic.wait_ready()
    assert ironic.api.url(node) == url
    steps.wait_echo(url, b'after SIGHUP')
    state = ironic.api.node(node)
    assert state['console_enabled'], state['last_error']
    ironic.wait_bridges(1)


def test_a_worker_that_is_killed_is_replaced_with_its_consoles(
        own_ironic: Ironic, sim: IpmiSim) -> None:
    ironic, bmc = own_ironic, sim.bmcs[0]
    node = ironic.api.create_node(bmc)
    url = ironic.api.enable(node)
    (old,), worker = ironic.bridges(), ironic.conductor()
    os.kill(worker, signal.SIGKILL)
    processes.wait_gone(old, 'the bridge of a killed worker', BRIDGE_END)
    ironic.wait_ready()
    assert ironic.api.url(node) == url
    steps.wait_echo(url, b'after kill -9')


def test_a_bmc_that_is_away_at_the_start_leaves_the_console_on(
        own_ironic: Ironic) -> None:
    ironic = own_ironic
    with ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(echo=True)]) as sim:
        node = ironic.api.create_node(sim.bmcs[0])
        url = ironic.api.enable(node)
        ironic.stop()
        sim.power_off()
        ironic.start()
        assert ironic.api.url(node) == url, 'on, and a port to wait at'
        state = ironic.api.node(node)
        assert state['console_enabled']
        assert state['last_error'] is None
        sim.power_on()
        # a viewer that attaches is a reason to try again
        steps.wait_echo(url, b'the BMC is back', 150.0)


def test_a_bridge_that_does_not_start_is_told_and_heals(
        own_ironic: Ironic, sim: IpmiSim) -> None:
    ironic, bmc = own_ironic, sim.bmcs[0]
    node = ironic.api.create_node(bmc)
    url = ironic.api.enable(node)
    ironic.stop()
    # something is where the bridges put their sockets
    ironic.set_options({'solconsole': {'run_dir': ironic.directory / 'r2'}})
    blocked = real_ironic.socket_directory(
        ironic.directory / 'r2', ironic.host)
    blocked.parent.mkdir(mode=0o700)
    blocked.write_text('in the way')
    ironic.start()
    ironic.wait_log('does not run')
    with pytest.raises(real_ironic.ApiError, match='is being moved here'):
        ironic.api.console(node)
    other = ironic.api.create_node(sim.bmcs[1])
    assert str(blocked) in ironic.api.enable_fails(other)
    state = ironic.api.node(node)
    assert state['console_enabled'], 'on, until a bridge is up'
    blocked.unlink()
    assert ironic.api.url(node) == url
    steps.wait_echo(url, b'healed')
