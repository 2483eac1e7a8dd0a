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

"""What operators do to a console, at real bridges."""

import collections.abc
import dataclasses
import os
import signal
import socket
import uuid

import pytest

from ironic_solconsole import control
from ironic_solconsole import exception
from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import operator
from tests.support import ports
from tests.support import viewers
from tests.support import waiting

ME = f'(uid {os.geteuid()})'


def nowhere(**changes: object) -> bridge_support.console_spec.ConsoleSpec:
    """A spec for a node whose BMC does not answer."""
    return bridge_support.make_spec(
        address='127.0.0.1', port=ports.free_port(), **changes)


# -- attach --------------------------------------------------------------

def test_bytes_pass_both_ways_and_none_is_lost_at_the_beginning(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc, name='node-1')
    bridge.connect(spec)
    text = hosts.text(3_000)
    with viewers.Viewer(spec.url) as viewer:
        viewer.send(text)
        viewer.wait_exactly(text)
    with operator.Operator(bridge, 'node-1') as me:
        assert me.answer['status']['node'] == spec.node
        assert me.answer['status']['state'] == 'connected'
        me.wait_for(text)
        assert me.data == text, 'what was said before'
        me.send(b'\x00\xff{"v":1}\n')
        me.wait_for(b'\x00\xff{"v":1}\n')
        assert bridge.show(spec.node)['viewers'] == 1
    wait_viewers(bridge, 0)


def test_input_may_follow_the_request_at_once(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    bridge.connect(spec)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(waiting.PATIENCE)
        sock.connect(str(bridge.socket_path))
        sock.sendall(control.encode(control.Request(
            1, 'attach', {'node': spec.node})) + b'{"typed\nat once')
        data = b''
        while not data.endswith(b'at once'):
            data += sock.recv(65536)
    reply, _, rest = data.partition(b'\n')
    message = control.decode(reply)
    assert isinstance(message, control.Reply)
    assert message.unwrap()['viewer'] == 1
    assert rest == b'{"typed\nat once'


def test_an_operator_is_told_why_a_console_is_not_connected(
        bridge: bridge_support.Bridge) -> None:
    spec = nowhere()
    bridge.open(spec)
    with (operator.Operator(bridge, spec.node) as me,
          viewers.Viewer(spec.url) as tenant):
        me.wait_for(b'UDP port closed')
        tenant.wait_for(b'does not answer')
        assert b'UDP' not in tenant.wait_for(b']')
        me.send(b'x')
        me.wait_for(b'what is typed is not sent')


def test_an_operator_attaches_to_a_console_that_is_released(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    operator.ask(bridge, 'release', spec.node, seconds=0)
    with operator.Operator(bridge, spec.node) as me:
        me.wait_for(b'released for maintenance')
        me.ask('resume')
        me.wait_for(b'[solconsole: connected]')
        bmc.host.send(b'here')
        me.wait_for(b'here')


def test_an_operator_waits_at_a_console_that_another_process_has(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with bridge_support.Bridge(
            host='cond-other',
            coordination=bridge.options['coordination']) as other:
        fenced = dataclasses.replace(spec, tcp_port=ports.free_port())
        other.open(fenced, wait=0)
        other.wait_state(spec.node, 'fenced')
        with operator.Operator(other, spec.node) as me:
            # To an operator the conductor that has it is named.
            me.wait_for(b'cond-test')
            bridge.close(spec.node)
            me.wait_for(b'[solconsole: connected]')
            bmc.host.send(b'here')
            me.wait_for(b'here')
        check_unharmed(other)


def test_parking_is_survived_and_the_end_is_told(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with operator.Operator(bridge, spec.node) as first:
        bridge.request('close', {'node': spec.node, 'park': 30})
        with operator.Operator(bridge, spec.node) as late:
            assert late.answer['status']['state'] == 'parked'
            spec = dataclasses.replace(spec, generation=uuid.uuid4().hex)
            assert bridge.open(spec)['taken_up']
            bmc.host.send(b'again')
            for one in (first, late):
                one.wait_for(b'again')
            bridge.request('close', {'node': spec.node, 'park': 0.1})
            for one in (first, late):
                assert one.wait_closed().endswith(
                    b'[solconsole: the console was closed]\r\n')


def test_a_new_owner_ends_the_visit_of_an_operator(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc, instance_uuid=str(uuid.uuid4()))
    bridge.connect(spec)
    with operator.Operator(bridge, spec.node) as me:
        bmc.host.send(b'of the old owner')
        me.wait_for(b'of the old owner')
        bridge.open(dataclasses.replace(
            spec, instance_uuid=str(uuid.uuid4())))
        assert b'given to another instance' in me.wait_closed()
    with operator.Operator(bridge, spec.node) as me:
        bmc.host.send(b'new')
        me.wait_for(b'new')
        assert b'old' not in me.data


def test_an_operator_has_a_place_where_tenants_have_none(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(max_clients=1, allowed_clients=['::1'],
                               idle_timeout=1) as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        there = [operator.Operator(bridge, spec.node) for _ in range(4)]
        with pytest.raises(exception.RequestRefused, match='4 operators'):
            operator.Operator(bridge, spec.node)
        there[0].close()
        wait_viewers(bridge, 3)
        bmc.host.send(b'still here')
        for one in there[1:]:
            one.wait_for(b'still here')
        waiting.always(
            lambda: bridge.show(spec.node)['viewers'] == 3,
            'operators stay, though nothing passes', 2.5)
        for one in there:
            one.close()
        check_unharmed(bridge)


def test_an_operator_who_does_not_read_loses_what_he_is_told(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(client_buffer=16384) as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        text = hosts.text(700_000)
        with (operator.Operator(bridge, spec.node) as slow,
              viewers.Viewer(spec.url) as quick):
            wait_viewers(bridge, 2)
            bmc.host.send(text)
            quick.wait_exactly(text, 60)
            row = slow.ask('who')['viewers'][0]
            assert row['bytes_lost'] > 0, row
            slow.wait_for(b'bytes lost]')
            assert b'%d bytes lost' % row['bytes_lost'] in slow.data
            assert slow.data.startswith(text[:10_000])
            bmc.host.send(b'the end')
            slow.wait_for(b'the end')
        check_unharmed(bridge)


def test_a_session_on_demand_is_there_for_an_operator(
        bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(linger=0.2) as bridge:
        spec = bridge_support.make_spec(bmc, connection='on-demand')
        bridge.open(spec)
        bridge.wait_state(spec.node, 'idle')
        with operator.Operator(bridge, spec.node):
            bridge.wait_state(spec.node, 'connected')
        bridge.wait_state(spec.node, 'idle')


def test_attached_operators_are_not_among_the_clients_of_the_socket(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with operator.Operator(bridge, spec.node) as me:
        idle = []
        for _ in range(200):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(bridge.socket_path))
            idle.append(sock)
        assert len(me.ask('who')['viewers']) == 1
        bmc.host.send(b'still here')
        me.wait_for(b'still here')
        for sock in idle:
            sock.close()


def test_what_is_refused_leaves_nothing_behind(
        bridge: bridge_support.Bridge) -> None:
    spec = nowhere()
    bridge.open(spec)
    for node, args in (('no-such', {}), (spec.node, {'read_only': 1}),
                       (spec.node, {'force': 'yes'}),
                       (spec.node, {'force': True, 'read_only': True})):
        with pytest.raises(exception.RequestRefused):
            operator.Operator(bridge, node, **args)
    with pytest.raises(exception.RequestRefused, match='not a verb'):
        bridge.request('attach', {'node': spec.node})
    assert bridge.show(spec.node)['viewers'] == 0


# -- the write right -----------------------------------------------------

@pytest.mark.parametrize('mode', ['shared', 'exclusive'])
def test_force_takes_the_write_right_from_everybody(
        echo_bmc: ipmi_sim.Bmc, mode: str) -> None:
    with bridge_support.Bridge(client_mode=mode) as bridge:
        spec = bridge_support.make_spec(echo_bmc)
        bridge.connect(spec)
        with viewers.Viewer(spec.url) as tenant:
            wait_viewers(bridge, 1)
            with operator.Operator(bridge, spec.node, force=True) as me:
                tenant.wait_for(b'somebody else writes')
                tenant.send(b'tenant')
                me.send(b'operator')
                me.wait_for(b'operator')
                assert [row['writes'] for row in me.ask('who')['viewers']
                        ] == [False, True]
                with pytest.raises(exception.RequestRefused,
                                   match='only an operator'):
                    me.ask('write', viewer=1, alone=True)
            tenant.wait_for(b'this viewer writes now')
            tenant.send(b'again')
            tenant.wait_for(b'again')
            assert echo_bmc.host.received == b'operatoragain'
        check_unharmed(bridge)


def test_who_attaches_to_read_only_types_nothing(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    bridge.connect(spec)
    with (operator.Operator(bridge, spec.node, read_only=True) as reads,
          operator.Operator(bridge, spec.node) as writes):
        reads.send(b'no')
        with pytest.raises(exception.RequestRefused, match='read only'):
            reads.ask('write', viewer=reads.number, alone=True)
        writes.send(b'yes')
        reads.wait_for(b'yes')
        assert echo_bmc.host.received == b'yes'


# -- break ---------------------------------------------------------------

def test_a_break_reaches_the_host_behind_what_was_typed(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with operator.Operator(bridge, spec.node) as me:
        me.send(b'before')
        bmc.host.wait_received(b'before')
        assert me.ask('break', seconds=10) == {}
        me.send(b'after')
        # ipmi_sim tells a TCP host of it with telnet's IAC BREAK.
        bmc.host.wait_received(b'before\xff\xf3after')
    assert bridge.logged('break (the BMC has taken it)')


@pytest.fixture
def stubborn() -> collections.abc.Iterator[model.ModelBmc]:
    """A BMC that refuses breaks."""
    with model.ModelBmcs() as (one,):
        yield one


def test_a_break_that_the_bmc_refuses_is_told_and_not_repeated_for_ever(
        stubborn: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(stubborn)
    bridge.connect(spec)
    with operator.Operator(bridge, spec.node) as me:
        # Behind the packet with which the console begins.
        me.send(b'x')
        stubborn.host.wait_received(b'x')
    stubborn.settings.sol.replies.extend(
        [model.Reply(nack=True)] * 5)
    with pytest.raises(exception.RequestRefused, match='refuses serial'):
        operator.ask(bridge, 'break', spec.node, seconds=15)
    assert operator.ask(bridge, 'break', spec.node, seconds=15) == {}
    assert bridge.logged('break (the BMC refuses serial breaks)')


def test_a_break_is_not_waited_for_for_ever(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    model_bmc.faults.black_hole = True
    with pytest.raises(exception.RequestRefused, match='within 0.2 s'):
        operator.ask(bridge, 'break', spec.node, seconds=0.2)
    with pytest.raises(exception.RequestRefused, match='another break'):
        operator.ask(bridge, 'break', spec.node, seconds=0.2)
    bridge.wait_state(spec.node, 'waiting', 60)
    with pytest.raises(exception.RequestRefused, match='not connected'):
        operator.ask(bridge, 'break', spec.node, seconds=0.2)


# -- kick, say, who ------------------------------------------------------

def test_who_is_there_can_be_seen_told_and_sent_away(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc, name='node-1')
    bridge.connect(spec)
    with (viewers.Viewer(spec.url) as first, viewers.Viewer(spec.url) as
          second, operator.Operator(bridge, 'node-1') as me):
        wait_viewers(bridge, 3)
        bmc.host.send(b'12345')
        for one in (first, second):
            one.wait_for(b'12345')
        rows = me.ask('who')['viewers']
        assert [(row['viewer'], row['kind'], row['writes'],
                 row['bytes_sent'], row['bytes_lost']) for row in rows] == [
            (1, 'tcp', True, 5, 0), (2, 'tcp', True, 5, 0),
            (3, 'operator', True, 5, 0)]
        by_address = {row['from']: row['viewer'] for row in rows}
        address, port = second.address
        assert ME in rows[2]['from'], rows
        assert str(os.getpid()) in rows[2]['from'], rows

        assert me.ask('say', text='reboot\x1b[2J\nat five') == {
            'viewers': 3, 'told': 3}
        for one in (first, second):
            one.wait_for(b'[solconsole: operator: reboot?[2J at five]\r\n')
        number = by_address[f'{address}:{port}']
        assert me.ask('kick', viewer=number) == {'kicked': [number]}
        second.wait_closed()
        assert not second.reset
        assert second.data.endswith(
            b'[solconsole: disconnected by an operator]\r\n')
        with pytest.raises(exception.RequestRefused, match='no viewer 9'):
            me.ask('kick', viewer=9)
        assert me.ask('kick') == {'kicked': [3 - number]}
        first.wait_closed()
        assert me.ask('kick') == {'kicked': []}
        assert me.ask('kick', viewer=3) == {'kicked': [3]}
        me.wait_closed()


# -- the log -------------------------------------------------------------

def test_the_log_says_who_asked_for_what(
        bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(bmc)
    bridge.connect(spec)
    with operator.Operator(bridge, spec.node, read_only=True):
        for verb, args in (('release', {'seconds': 60}), ('resume', {}),
                           ('retry', {}), ('steal', {}), ('kick', {}),
                           ('say', {'text': 'a\nb'})):
            operator.ask(bridge, verb, spec.node, **args)
    for text in ('attach as viewer 1, to read only', 'release for 60 s',
                 'resume', 'retry', 'steal', 'kick of all viewers on TCP',
                 "say, 'operator: a b'"):
        record, = bridge.logged(f': {text}')
        assert record.message.startswith('Asked by '), record
        assert ME in record.message
        assert f'process {os.getpid()}' in record.message
        assert record.node == spec.node
        assert '\n' not in record.message


# -- the end of a bridge -------------------------------------------------

@pytest.mark.parametrize('end', ['conductor', 'kill'])
def test_an_operator_is_free_when_the_console_process_ends(
        bmc: ipmi_sim.Bmc, end: str) -> None:
    with bridge_support.Bridge() as bridge:
        spec = bridge_support.make_spec(bmc)
        bridge.connect(spec)
        with operator.Operator(bridge, spec.node) as me:
            if end == 'kill':
                bridge.signal(signal.SIGKILL)
                me.wait_closed()
            else:
                bridge.hang_up()
                assert b'the console was closed' in me.wait_closed()
            bridge.wait_ended()
