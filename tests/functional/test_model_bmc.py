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

"""Our BMC held against ipmitool and FreeIPMI's ipmiconsole.

They are the witnesses that it is no echo of our own misreading of the
specification: each goes through login, console in both directions, and
logout, with cipher suites 3 and 17.
"""

import collections.abc
import pathlib

import pytest

from tests.support import hosts
from tests.support import ipmitool
from tests.support import ports
from tests.support import waiting
from tests.support.bmc import PLAIN
from tests.support.bmc import SECOND
from tests.support.bmc import BmcOptions
from tests.support.bmc import Farewell
from tests.support.bmc import ModelBmc
from tests.support.bmc import ModelBmcs
from tests.support.bmc import Port
from tests.support.bmc import SolOptions
from tests.support.bmc import codes
from tests.support.bmc import openbmc
from tests.support.bmc import tools

SUITES = pytest.mark.parametrize('suite', [3, 17])

#: Enough for several packets, and no escape sequence of either tool.
OUTPUT = hosts.text(5000)
INPUT = b'a line of some length that somebody types at the console\r' * 20


def options(**changes: object) -> BmcOptions:
    """A BMC on a port that ipmiconsole takes."""
    return BmcOptions(
        port=ports.free_port(), **changes)  # type: ignore[arg-type]


@pytest.fixture
def bmc() -> collections.abc.Iterator[ModelBmc]:
    """A BMC with nothing odd about it."""
    with ModelBmcs(options()) as bmcs:
        yield bmcs[0]


def wait_logged_out(bmc: ModelBmc) -> None:
    """Wait until no session is left."""
    waiting.wait_until(
        lambda: not bmc.live_sessions, 'BMC without a session',
        seen=lambda: (bmc.live_sessions, bmc.journal.commands))


def check_data(bmc: ModelBmc, tool: ipmitool.SolByHand) -> None:
    """Bytes pass both ways, exact and in order."""
    bmc.host.send(OUTPUT + b'<end>')
    tool.wait_for(b'<end>')
    screen = tool.screen
    begin = screen.index(OUTPUT[:20])
    waiting.assert_same_bytes(
        screen[begin:begin + len(OUTPUT)], OUTPUT, 'output of the host')
    for at in range(0, len(INPUT), 100):
        tool.type(INPUT[at:at + 100])
    bmc.host.wait_received(INPUT)


def check_no_drops(bmc: ModelBmc) -> None:
    """The tool has sent nothing that the BMC did not accept."""
    assert not list(bmc.journal.drops), bmc.journal.drops


@SUITES
def test_ipmitool_asks_who_the_bmc_is(bmc: ModelBmc, suite: int) -> None:
    tool = tools.Ipmitool(bmc, suite)
    assert 'IPMI Version              : 2.0' in tool.run('mc', 'info')
    session = tool.run('session', 'info', 'active')
    assert 'slot count                    : 8' in session
    assert 'user id                       : 2' in session
    assert 'ADMINISTRATOR' in session
    assert 'IPMIv2/RMCP+' in session
    assert 'console ip                    : 127.0.0.1' in session
    port = bmc.journal.logins[-1].remote[1]
    assert f'console port                  : {port}\n' in session
    assert 'aes_cbc_128' in tool.run('channel', 'getciphers', 'sol', '1')
    assert 'admin' in tool.run('user', 'list', '1')
    assert [login.suite for login in bmc.journal.logins] == [suite] * 4
    assert {login.result for login in bmc.journal.logins} == {'ok'}
    wait_logged_out(bmc)
    assert bmc.journal.count(codes.CLOSE_SESSION) == 4
    check_no_drops(bmc)


@SUITES
def test_ipmitool_uses_the_console(bmc: ModelBmc, suite: int) -> None:
    tool = tools.Ipmitool(bmc, suite)
    with tool.activate() as console:
        console.wait_open()
        assert tool.payload_active()
        assert tool.holder() == bmc.holder
        check_data(bmc, console)
        console.type(b'\r~B')
        waiting.wait_until(lambda: bmc.host.breaks, 'a serial break',
                           seen=lambda: console.screen)
        console.leave()
    assert not bmc.holder
    assert bmc.journal.payload_ends[-1].why == 'deactivated'
    wait_logged_out(bmc)
    check_no_drops(bmc)


def test_ipmitool_takes_the_console_from_ipmitool(bmc: ModelBmc) -> None:
    first = tools.Ipmitool(bmc, 17)
    second = tools.Ipmitool(bmc, 17, SECOND)
    with first.activate() as victim:
        victim.wait_open()
        with pytest.raises(ipmitool.IpmitoolError):
            second.run('sol', 'activate')
        assert bmc.journal.activations[-1].code == 0x80
        second.deactivate()
        assert bmc.journal.payload_ends[-1].why == 'deactivated by another'
        # It does not look at the deactivated bit: what it misses is the
        # acknowledgment.
        victim.type(b'x')
        victim.wait_for(b'SOL session closed by BMC')
        waiting.wait_until(lambda: not victim.running, 'end of ipmitool',
                           seen=lambda: victim.screen)
    with second.activate() as thief:
        thief.wait_open()
        assert bmc.journal.activations[-1].user == 'second'
        check_data(bmc, thief)
        thief.leave()


@SUITES
def test_ipmitool_is_told_what_is_wrong(bmc: ModelBmc, suite: int) -> None:
    with pytest.raises(ipmitool.IpmitoolError):
        tools.Ipmitool(bmc, suite, password='wrong').run('mc', 'info')
    # It does not say so in RAKP 3, but goes away.
    waiting.wait_until(
        lambda: bmc.journal.logins[-1].result == 'abandoned',
        'login given up', seen=lambda: bmc.journal.logins)
    with pytest.raises(ipmitool.IpmitoolError):
        tools.Ipmitool(bmc, suite, PLAIN).run('mc', 'info')
    assert bmc.journal.logins[-1].result == 'role refused'
    bmc.set_sol_enabled(False)
    with pytest.raises(ipmitool.IpmitoolError):
        tools.Ipmitool(bmc, suite).run('sol', 'activate')
    assert bmc.journal.activations[-1].code == 0x81
    wait_logged_out(bmc)


def test_ipmitool_takes_suite_17_where_it_may_choose() -> None:
    with ModelBmcs(options(suites=(17,))) as (bmc,):
        with pytest.raises(ipmitool.IpmitoolError):
            tools.Ipmitool(bmc, 3).run('mc', 'info')
        assert not len(bmc.journal.logins)
        tools.Ipmitool(bmc, 17).run('mc', 'info')


@SUITES
def test_ipmitool_needs_the_key_kg(suite: int) -> None:
    with ModelBmcs(options(kg=b'a key of the BMC')) as (bmc,):
        tools.Ipmitool(bmc, suite, kg='a key of the BMC').run('mc', 'info')
        with pytest.raises(ipmitool.IpmitoolError):
            tools.Ipmitool(bmc, suite, kg='another key').run('mc', 'info')


@SUITES
def test_ipmitool_survives_a_bad_network(suite: int) -> None:
    # The standard's time for a retry is shorter than what ipmitool has for
    # an acknowledgment.
    with ModelBmcs(options(name=f'lossy {suite}')) as (bmc,):
        with tools.Ipmitool(bmc, suite).activate() as console:
            console.wait_open()
            bmc.faults.outbound.drop = 0.1
            bmc.faults.inbound.drop = 0.1
            bmc.host.send(OUTPUT + b'<end>')
            console.wait_for(b'<end>')
            bmc.faults.clear()
            assert OUTPUT in console.screen
        assert bmc.journal.sol_retries_out


@SUITES
def test_ipmiconsole_uses_the_console(
        bmc: ModelBmc, suite: int, tmp_path: pathlib.Path) -> None:
    with tools.Ipmiconsole(bmc, suite, tmp_path) as console:
        console.wait_open()
        assert bmc.journal.logins[-1].suite == suite
        check_data(bmc, console)
        console.type(b'&B')
        waiting.wait_until(lambda: bmc.host.breaks, 'a serial break',
                           seen=lambda: console.screen)
        console.leave()
    assert bmc.journal.payload_ends[-1].why == 'deactivated'
    wait_logged_out(bmc)
    check_no_drops(bmc)


@SUITES
def test_ipmiconsole_is_told_what_is_wrong(
        bmc: ModelBmc, suite: int, tmp_path: pathlib.Path) -> None:
    with tools.Ipmiconsole(bmc, suite, tmp_path,
                           password='wrong') as console:
        console.wait_for(b'password invalid')
    bmc.set_sol_enabled(False)
    with tools.Ipmiconsole(bmc, suite, tmp_path) as console:
        console.wait_for(b'SOL unavailable')
    bmc.set_sol_enabled(True)
    bmc.settings.sol.inbound_size = 0x8000
    with tools.Ipmiconsole(bmc, suite, tmp_path) as console:
        console.wait_for(b'BMC Implementation')


def test_ipmiconsole_needs_the_key_kg(tmp_path: pathlib.Path) -> None:
    with ModelBmcs(options(kg=b'a-key')) as (bmc,):
        with tools.Ipmiconsole(bmc, 17, tmp_path,
                               kg='a-key') as console:
            console.wait_open()
            console.leave()
        with tools.Ipmiconsole(bmc, 17, tmp_path,
                               kg='another-key') as console:
            console.wait_for(b'k_g invalid')


def test_ipmiconsole_takes_the_console_by_itself(
        bmc: ModelBmc, tmp_path: pathlib.Path) -> None:
    holder = bmc.hold()
    with tools.Ipmiconsole(bmc, 17, tmp_path) as console:
        console.wait_open()
        assert bmc.holder != holder
        assert bmc.journal.payload_ends[-1].session == holder
        check_data(bmc, console)
        bmc.deactivate(Farewell.FLAG)
        console.wait_for(b'SOL session stolen')


def test_a_second_port_serves_sessions_as_well() -> None:
    # Where a BMC names another port than the session's, the console is to
    # log in there.
    sol = SolOptions(port=Port.SECOND)
    with ModelBmcs(options(sol=sol)) as (bmc,):
        with tools.Ipmitool(bmc, 17).activate() as console:
            console.wait_for(b'BMC requests SOL session on different port')
        wait_logged_out(bmc)
        with tools.Ipmitool(bmc, 17, port=bmc.second_port).activate(
                ) as console:
            console.wait_open()
            check_data(bmc, console)
            console.leave()


@pytest.mark.parametrize('suite', [3, 17])
def test_both_tools_work_with_the_rules_of_openbmc(
        suite: int, tmp_path: pathlib.Path) -> None:
    with ModelBmcs(openbmc(port=ports.free_port())) as (bmc,):
        with tools.Ipmitool(bmc, suite).activate() as console:
            console.wait_open()
            check_data(bmc, console)
            console.leave()
        bmc.host.clear()
        with tools.Ipmiconsole(bmc, suite, tmp_path) as console:
            console.wait_open()
            check_data(bmc, console)
            console.leave()
        check_no_drops(bmc)
