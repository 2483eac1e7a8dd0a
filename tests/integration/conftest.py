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

"""Fixtures of the tests inside a real Ironic."""

import collections.abc

import pytest

from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import nova_cloud


@pytest.fixture(scope='module')
def sim() -> collections.abc.Iterator[ipmi_sim.IpmiSim]:
    """Four BMCs whose hosts echo; on the last one SOL is switched off."""
    setups = [ipmi_sim.BmcSetup(echo=True)] * 3
    with ipmi_sim.IpmiSim(
            [*setups, ipmi_sim.BmcSetup(sol_enabled=False)]) as simulator:
        yield simulator


@pytest.fixture(scope='module')
def ironic() -> collections.abc.Iterator[real_ironic.Ironic]:
    """An Ironic 39 that a module's tests share."""
    with real_ironic.Ironic(options={'DEFAULT': {'debug': True}}) as one:
        yield one


@pytest.fixture
def own_ironic() -> collections.abc.Iterator[real_ironic.Ironic]:
    """An Ironic 39 for one test, which may kill it."""
    with real_ironic.Ironic() as one:
        yield one


@pytest.fixture(scope='session')
def cloud() -> collections.abc.Iterator[nova_cloud.NovaCloud]:
    """An Ironic and a Nova that all tests share which need Nova."""
    with nova_cloud.NovaCloud() as one:
        yield one
