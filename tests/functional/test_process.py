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

"""The life of the bridge process, and what it must not show."""

import os
import pathlib
import resource
import signal
import socket
import stat
import subprocess
import sys

import pytest

from tests.functional.conftest import check_unharmed
from tests.functional.test_console import wait_viewers
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim
from tests.support import processes
from tests.support import viewers
from tests.support import waiting


@pytest.fixture
def loose_bridge(tmp_path: pathlib.Path) -> bridge_support.Bridge:
    """A bridge that the test starts, and may end."""
    return bridge_support.Bridge(run_dir=tmp_path / 'run')


@pytest.mark.parametrize('how', ['end of file', 'SIGTERM'])
def test_it_logs_out_of_its_bmcs_and_ends(
        how: str, loose_bridge: bridge_support.Bridge) -> None:
    with ipmi_sim.IpmiSim(20) as sim, loose_bridge as bridge:
        specs = [bridge_support.make_spec(bmc) for bmc in sim.bmcs]
        for status in bridge.open_all(specs):
            assert status['state'] == 'connected', status
        with viewers.Viewer(specs[0].url) as viewer:
            if how == 'SIGTERM':
                bridge.signal(signal.SIGTERM)
            else:
                bridge.hang_up()
            bridge.wait_ended()
            viewer.wait_closed()
        active = [bmc.port for bmc in sim.bmcs if bmc.payload_active()]
        assert not active, f'SOL is still active on {active}'
        assert all(viewers.refused(spec.url) for spec in specs)
        assert not bridge.socket_path.exists()
        assert not bridge.output(), bridge.report()


def test_a_silent_bmc_does_not_delay_the_end(
        sim: ipmi_sim.IpmiSim, bmc: ipmi_sim.Bmc,
        loose_bridge: bridge_support.Bridge) -> None:
    with loose_bridge as bridge:
        bridge.connect(bridge_support.make_spec(sim.bmcs[0]))
        bridge.connect(bridge_support.make_spec(bmc))
        sim.freeze()
        try:
            bridge.hang_up()
            bridge.wait_ended()
        finally:
            sim.thaw()
        assert not bmc.payload_active()


def test_a_console_that_is_still_connecting_does_not_delay_the_end(
        loose_bridge: bridge_support.Bridge) -> None:
    with ipmi_sim.silent_bmc() as port, loose_bridge as bridge:
        for address in ('127.0.0.1', 'bmc.invalid'):
            bridge.open(bridge_support.make_spec(
                address=address, port=port), wait=0)
        bridge.hang_up()
        bridge.wait_ended()


def test_it_ends_though_it_was_never_configured(
        loose_bridge: bridge_support.Bridge) -> None:
    loose_bridge.start()
    try:
        loose_bridge.hang_up()
        loose_bridge.wait_ended()
        assert not loose_bridge.output(), loose_bridge.report()
    finally:
        loose_bridge.stop()


def test_signals_meant_for_the_conductors_group_are_ignored(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    session = bridge.connect(spec)['session']
    for number in (signal.SIGHUP, signal.SIGINT) * 3:
        bridge.signal(number)
    with viewers.Viewer(spec.url) as viewer:
        viewer.send(b'alive')
        viewer.wait_for(b'alive')
    assert bridge.show(spec.node)['session'] == session


def test_it_goes_on_after_it_was_stopped(
        echo_bmc: ipmi_sim.Bmc, bridge: bridge_support.Bridge) -> None:
    spec = bridge_support.make_spec(echo_bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        bridge.signal(signal.SIGSTOP)
        viewer.send(b'while stopped')
        bridge.signal(signal.SIGCONT)
        viewer.wait_for(b'while stopped')
        bridge.wait_state(spec.node, 'connected')


def test_it_is_a_session_of_its_own(bridge: bridge_support.Bridge) -> None:
    assert os.getsid(bridge.pid) == bridge.pid


def test_a_successor_gets_the_console_of_a_bridge_that_was_killed(
        echo_bmc: ipmi_sim.Bmc, tmp_path: pathlib.Path) -> None:
    first = bridge_support.Bridge(run_dir=tmp_path)
    spec = bridge_support.make_spec(echo_bmc)
    with first:
        first.connect(spec)
        with viewers.Viewer(spec.url) as viewer:
            first.kill()
            viewer.wait_closed()
        assert first.socket_path.exists(), (
            'the test wants a socket that was left behind')
        with bridge_support.Bridge(run_dir=tmp_path) as second:
            # The port is free at once, the BMC when it has forgotten the
            # killed session: ipmi_sim does after 30 s.
            status = second.open(spec)
            assert status['state'] in ('held', 'connected'), status
            second.wait_state(spec.node, 'connected', 120)
            with viewers.Viewer(spec.url) as viewer:
                viewer.send(b'hello')
                viewer.wait_for(b'hello')
            assert second.request('ping')['consoles'] == 1
            check_unharmed(second)


def test_the_socket_of_the_command_line_is_for_its_user_alone(
        tmp_path: pathlib.Path) -> None:
    old = os.umask(0)       # the bridge must not lean on the conductor's
    try:
        with bridge_support.Bridge(run_dir=tmp_path / 'run') as bridge:
            path = bridge.socket_path
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_ISSOCK(path.stat().st_mode)
            for directory in (path.parent, path.parent.parent):
                assert stat.S_IMODE(directory.stat().st_mode) == 0o700, (
                    directory)
            bridge.hang_up()
            bridge.wait_ended()
            assert not path.exists()
    finally:
        os.umask(old)


def test_a_socket_path_that_is_too_long_is_told(
        tmp_path: pathlib.Path) -> None:
    bridge = bridge_support.Bridge(run_dir=tmp_path / ('x' * 100))
    bridge.start()
    try:
        with pytest.raises(Exception, match='run_dir') as refusal:
            bridge.configure()
        assert '107' in str(refusal.value)
    finally:
        bridge.stop()


def test_no_secret_shows_outside_of_the_process(
        bridge: bridge_support.Bridge) -> None:
    password, kg = 'pAsSw0rd+9', 'kEyKg0123'
    user = ipmi_sim.User(2, 'admin', password)
    wrong = ipmi_sim.User(2, 'admin', 'wR0ngPass+1')
    setup = ipmi_sim.BmcSetup(users=(user,), kg=kg)
    with ipmi_sim.IpmiSim([setup]) as sim:
        bmc = sim.bmcs[0]
        good = bridge_support.make_spec(bmc, user, kg=kg.encode().hex())
        assert bridge.open(good)['state'] == 'connected'
        bad = bridge_support.make_spec(bmc, wrong, kg=kg.encode().hex())
        bridge.open(bad)
        with pytest.raises(Exception) as refusal:
            bridge.request('open', {'wait': 0, 'spec': {
                **good.to_json(), 'password': wrong.password + 'x' * 20}})
        shown = {
            'command line': processes.command_line(bridge.pid),
            'environment': pathlib.Path(
                f'/proc/{bridge.pid}/environ').read_bytes(),
            'log': bridge.logs, 'printed': bridge.output(),
            'status': bridge.consoles(), 'refusal': str(refusal.value)}
        bridge.close(good.node)
    secrets = [password, kg, wrong.password, kg.encode().hex()]
    for where, what in shown.items():
        text = (what.decode(errors='replace') if isinstance(what, bytes)
                else repr(what))
        for secret in secrets:
            assert secret not in text, f'a secret is in the {where}: {text}'


def test_a_crash_would_leave_no_core_file_with_passwords(
        bridge: bridge_support.Bridge) -> None:
    assert resource.prlimit(bridge.pid, resource.RLIMIT_CORE)[0] == 0


def test_it_inherits_nothing_but_its_socket(
        bridge: bridge_support.Bridge) -> None:
    with socket.socket() as ours:
        ours.bind(('127.0.0.1', 0))
        inode = os.fstat(ours.fileno()).st_ino
        files = pathlib.Path(f'/proc/{bridge.pid}/fd')
        links = [os.readlink(link) for link in files.iterdir()]
    assert f'socket:[{inode}]' not in links
    assert '/dev/null' in links


def test_it_is_started_by_hand_with_a_word_of_help() -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'ironic_solconsole.bridge'],
        capture_output=True, text=True, timeout=30,
        stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert '--control-fd' in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_low_soft_limit_of_open_files_does_not_matter(
        echo_bmc: ipmi_sim.Bmc) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= 4096 or hard < 0, 'this test needs 4096 open files'
    with bridge_support.Bridge(max_clients=256, soft_files=64) as bridge:
        spec = bridge_support.make_spec(echo_bmc)
        bridge.connect(spec)
        attached = [viewers.Viewer(spec.url) for _ in range(120)]
        wait_viewers(bridge, 120)
        attached[0].send(b'hello')
        for viewer in attached:
            viewer.wait_exactly(b'hello')
            viewer.close()
        wait_viewers(bridge, 0)
        check_unharmed(bridge)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_too_few_open_files_are_said_before_anybody_is_refused() -> None:
    with (ipmi_sim.IpmiSim(3) as sim,
          bridge_support.Bridge() as bridge):
        # 64 are set aside: enough for one console, and four are used.
        resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE, (70, 70))
        for count, bmc in enumerate(sim.bmcs):
            assert len(bridge.logged('LimitNOFILE')) == (count > 1)
            bridge.connect(bridge_support.make_spec(bmc))
        (said,) = bridge.logged('LimitNOFILE')
        assert 'may open 70 files, enough for 1 console' in said.message


def test_used_up_descriptors_stop_new_viewers_alone(
        echo_bmc: ipmi_sim.Bmc) -> None:
    with bridge_support.Bridge(max_clients=256) as bridge:
        spec = bridge_support.make_spec(echo_bmc)
        bridge.connect(spec)
        room = processes.open_files(bridge.pid) + 10
        _, hard = resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE, (room, hard))
        attached = [viewers.Viewer(spec.url) for _ in range(20)]
        waiting.wait_until(
            lambda: bridge.logged('LimitNOFILE'),
            'a log record about the number of open files',
            seen=lambda: bridge.logs)
        attached[0].send(b'hello')
        attached[0].wait_exactly(b'hello')
        count = bridge.show(spec.node)['viewers']
        assert 0 < count < 20
        for viewer in attached[:count]:
            viewer.close()
        # Those that waited in the backlog get in when there is room.
        attached[-1].send(b'!')
        attached[-1].wait_for(b'!')
        assert len(bridge.logged('LimitNOFILE')) < 20, 'the log is flooded'
        for viewer in attached:
            viewer.close()
