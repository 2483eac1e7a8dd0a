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

"""The same console in each release of Ironic that is supported.

29 and 26.1 run on eventlet, and 26.1 has its metrics in ironic-lib. The
releases are found by the environment variables below; one that is not set
is a failure. SOLCONSOLE_RELEASES may name those to be tested, as "29,26.1".
"""

import collections.abc
import os
import pathlib

import pytest

from tests.integration import steps
from tests.support import cluster as real_cluster
from tests.support import cluster_case
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import processes
from tests.support import viewers

OLDER = {'29': 'SOLCONSOLE_IRONIC_29_BIN',
         '26.1': 'SOLCONSOLE_IRONIC_26_BIN'}

RELEASES = {'39': 'SOLCONSOLE_IRONIC_BIN', **OLDER}

CHOSEN = os.environ.get('SOLCONSOLE_RELEASES', ','.join(RELEASES)).split(',')

pytestmark = pytest.mark.releases


def each_of(releases: collections.abc.Iterable[str]) -> pytest.MarkDecorator:
    """Run a test with each of these releases that is chosen."""
    return pytest.mark.parametrize(
        'bin_dir', [name for name in releases if name in CHOSEN],
        indirect=True)


@pytest.fixture
def bin_dir(request: pytest.FixtureRequest) -> pathlib.Path:
    """Where the commands of a release are."""
    variable = RELEASES[request.param]
    value = os.environ.get(variable)
    assert value, (
        f'the environment variable {variable} must name the bin directory '
        f'of a virtual environment with Ironic {request.param} and '
        'ironic-solconsole; tools/test.sh makes one and sets it')
    return pathlib.Path(value)


# What 39 does with it is in test_hardware.py.
@each_of(OLDER)
@pytest.mark.parametrize(('consoles', 'redfish', 'others'), [
    (steps.IN_TREE, 'no-console', 'ipmitool-socat'),
    ('solconsole', 'solconsole', 'solconsole')])
def test_types_accept_it_and_keep_their_defaults(
        bin_dir: pathlib.Path, consoles: str, redfish: str,
        others: str) -> None:
    defaults = {'redfish': redfish, 'ipmi': others, 'intel-ipmi': others,
                'irmc': others}
    options = steps.hardware_options(','.join(defaults), consoles)
    with real_ironic.Ironic(bin_dir, options) as ironic:
        steps.assert_accepted(ironic, defaults)


@each_of(RELEASES)
def test_enable_type_reset_disable_and_a_killed_conductor(
        bin_dir: pathlib.Path, sim: ipmi_sim.IpmiSim) -> None:
    bmc, without = sim.bmcs[0], sim.bmcs[3]
    with real_ironic.Ironic(bin_dir) as ironic:
        api = ironic.api
        node = api.create_node(bmc)
        assert api.validate(node)['result'] is True
        url = api.enable(node)
        steps.wait_echo(url, b'typed')

        with viewers.Viewer(url) as viewer:
            # as Nova does when somebody else opens the console
            api.disable(node)
            assert api.enable(node) == url
            viewer.send(b'undisturbed')
            viewer.wait_for(b'undisturbed')

        api.disable(node)
        steps.wait_refused(url)
        bmc.wait_free()

        assert 'SOL disabled' in api.enable_fails(api.create_node(without))
        with ipmi_sim.silent_bmc() as silent:
            # nobody else waits for it: the API has answered meanwhile
            assert 'unreachable' in api.enable_fails(
                api.create_node(bmc, ipmi_port=silent))

        assert api.enable(node) == url, 'a node keeps its port'
        steps.wait_echo(url, b'typed again')
        (bridge,) = ironic.bridges()
        ironic.kill()
        processes.wait_gone(bridge, 'the bridge of a killed conductor',
                            10.0)
        assert viewers.refused(url)
        bmc.wait_free(15.0)

        ironic.start()
        assert api.url(node) == url, 'and keeps it over a restart'
        steps.wait_echo(url, b'back')


@each_of(RELEASES)
def test_a_console_moves_with_its_node(bin_dir: pathlib.Path) -> None:
    with ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(echo=True)] * 2) as sim:
        with real_cluster.Cluster(2, bin_dir=bin_dir) as cluster:
            case = cluster_case.Case(cluster, iter(sim.bmcs))
            first, second = cluster.conductors
            moving, staying = case.node(first), case.node(second)
            session = case.session(staying)

            bridges = first.bridges()
            first.kill()
            for pid in bridges:
                processes.wait_gone(
                    pid, 'the bridge of a killed conductor', 10.0)
            cluster.wait_mapped(moving.uuid, second)
            case.wait_works([moving], second, 3 * cluster_case.TAKEN_OVER)

            first.start()
            cluster.wait_mapped(moving.uuid, first)
            case.wait_works([moving], first, 3 * cluster_case.CLOSED)
            cluster.wait_gone(moving.uuid, second)

            first.terminate()
            cluster.wait_mapped(moving.uuid, second)
            case.wait_works([moving], second, 3 * cluster_case.HANDED_OVER)
            first.stop()
            assert case.session(staying) == session, (
                'a console that did not move was disturbed')
            case.check_on()
