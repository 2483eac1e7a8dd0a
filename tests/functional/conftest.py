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

"""Real bridge processes and simulated BMCs for the functional tests."""

import collections.abc
import logging
import pathlib
import tempfile

import pytest

from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import ipmi_sim


@pytest.fixture
def tmp_path() -> collections.abc.Iterator[pathlib.Path]:
    """A directory whose path leaves room for that of a socket.

    pytest's own is too long for the 107 bytes of unix(7) when tests run in
    parallel.
    """
    with tempfile.TemporaryDirectory(prefix='solconsole.') as name:
        yield pathlib.Path(name)


@pytest.fixture
def bridge() -> collections.abc.Iterator[bridge_support.Bridge]:
    """A configured bridge that must come through the test unharmed.

    Name it after the BMCs in a test: it ends first then, and can log out.
    """
    with bridge_support.Bridge() as process:
        yield process
        check_unharmed(process)


def check_unharmed(process: bridge_support.Bridge) -> None:
    """Nothing broke inside a bridge, whatever the test did to it."""
    assert process.running, process.report()
    process.request('ping')
    assert not process.faults, process.faults
    assert not process.output(), process.report()
    errors = [record.message for record in process.logs
              if record.level >= logging.ERROR]
    assert not errors, errors


@pytest.fixture
def bmc() -> collections.abc.Iterator[ipmi_sim.Bmc]:
    """One BMC with a silent host behind it."""
    with ipmi_sim.IpmiSim() as sim:
        yield sim.bmcs[0]


@pytest.fixture
def echo_bmc() -> collections.abc.Iterator[ipmi_sim.Bmc]:
    """One BMC whose host sends back what it gets."""
    with ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(echo=True)]) as sim:
        yield sim.bmcs[0]


@pytest.fixture
def sim() -> collections.abc.Iterator[ipmi_sim.IpmiSim]:
    """One BMC whose simulator the test stops and starts."""
    with ipmi_sim.IpmiSim() as simulator:
        yield simulator


@pytest.fixture
def two_bmcs() -> collections.abc.Iterator[list[ipmi_sim.Bmc]]:
    """Two BMCs, each with a host of its own."""
    with ipmi_sim.IpmiSim(2) as simulator:
        yield simulator.bmcs


@pytest.fixture
def model_bmc() -> collections.abc.Iterator[model.ModelBmc]:
    """A BMC of ours, which can do what ipmi_sim cannot."""
    with model.ModelBmcs() as (one,):
        yield one
