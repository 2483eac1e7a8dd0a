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

"""A console of ipmitool-socat is ended so that the BMC is free at once."""

import collections.abc
import contextlib
import os
import pathlib
import signal
import socket
import time

from ironic.conf import CONF
from ironic.drivers.modules import console_utils
import pytest

from ironic_solconsole.driver import orphans
from ironic_solconsole.driver import procs
from tests.support import ipmi_sim
from tests.support import ports
from tests.support import waiting

NODE = '11111111-1111-4111-8111-111111111111'


@pytest.fixture
def bmc(sim: ipmi_sim.IpmiSim) -> ipmi_sim.Bmc:
    """The one BMC of the simulator."""
    return sim.bmcs[0]


@pytest.fixture
def console_port(tmp_path: pathlib.Path, bmc: ipmi_sim.Bmc,
                 ) -> collections.abc.Iterator[int]:
    """The TCP port of a console that Ironic itself has started."""
    CONF.set_override('terminal_pid_dir', str(tmp_path), 'console')
    CONF.set_override('socat_address', '127.0.0.1', 'console')
    CONF.set_override('tempdir', str(tmp_path))
    password = tmp_path / f'{NODE}.pw'
    console_utils.make_persistent_password_file(
        str(password), ipmi_sim.ADMIN.password)
    port = ports.free_port()
    console_utils.start_socat_console(
        NODE, port, f'ipmitool -I lanplus -H {bmc.address} -p {bmc.port} '
        f'-L ADMINISTRATOR -U {ipmi_sim.ADMIN.name} -C 3 -v -f {password} '
        'sol activate')
    yield port
    for process in _running(tmp_path):
        with contextlib.suppress(OSError):
            os.kill(process.pid, signal.SIGKILL)
    CONF.clear_override('tempdir')
    CONF.clear_override('socat_address', 'console')
    CONF.clear_override('terminal_pid_dir', 'console')


def _running(directory: pathlib.Path) -> list[procs.Process]:
    return [one for one in procs.look_around()
            if any(str(directory) in word for word in one.argv)]


def _read_until(viewer: socket.socket, wanted: bytes) -> None:
    seen = b''
    while wanted not in seen:
        data = viewer.recv(1000)
        assert data, seen
        seen += data


def test_ipmitool_gives_the_console_back(
        bmc: ipmi_sim.Bmc, console_port: int,
        tmp_path: pathlib.Path) -> None:
    with socket.create_connection(('127.0.0.1', console_port), 5) as viewer:
        _read_until(viewer, b'SOL Session operational')
        bmc.host.send(b'login: ')
        _read_until(viewer, b'login: ')
        found = orphans.in_tree(NODE)
        assert found is not None
        assert [one.program for one in found.children] == ['ipmitool']
        began = time.monotonic()
        assert found.end().endswith('ended')
        assert time.monotonic() - began < 1.5
    assert not bmc.payload_active(), (
        'whoever comes next would have to wait for the session to expire')
    assert _running(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_bmc_that_is_away_keeps_nobody(
        sim: ipmi_sim.IpmiSim, bmc: ipmi_sim.Bmc, console_port: int,
        tmp_path: pathlib.Path) -> None:
    with socket.create_connection(('127.0.0.1', console_port), 5):
        waiting.wait_until(bmc.payload_active, 'a console that is open')
        found = orphans.in_tree(NODE)
        assert found is not None
        sim.freeze()
        try:
            began = time.monotonic()
            assert found.end().endswith('ended')
            assert time.monotonic() - began < 3.0
        finally:
            sim.thaw()
    assert _running(tmp_path) == []
