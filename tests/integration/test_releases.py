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

"""Older releases of Ironic, which run on eventlet: a smoke test.

26.1 has its metrics in ironic-lib as well. The releases are found by the
environment variables below; one that is not set is a failure.
"""

import collections.abc
import os
import pathlib

import pytest

from tests.integration import steps
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import processes
from tests.support import viewers

RELEASES = {'29': 'SOLCONSOLE_IRONIC_29_BIN',
            '26.1': 'SOLCONSOLE_IRONIC_26_BIN'}

pytestmark = [
    pytest.mark.releases,
    pytest.mark.parametrize('bin_dir', RELEASES, indirect=True)]


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


def stop(ironic: real_ironic.Ironic) -> None:
    ironic.stop()


def kill(ironic: real_ironic.Ironic) -> None:
    ironic.kill()


@pytest.mark.parametrize('end', [stop, kill])
def test_enable_type_disable_and_the_end_of_the_conductor(
        bin_dir: pathlib.Path, end: collections.abc.Callable[
            [real_ironic.Ironic], None],
        sim: ipmi_sim.IpmiSim) -> None:
    bmc, without = sim.bmcs[0], sim.bmcs[3]
    with real_ironic.Ironic(bin_dir) as ironic:
        api = ironic.api
        node = api.create_node(bmc)
        assert api.validate(node)['result'] is True
        url = api.enable(node)
        steps.wait_echo(url, b'typed')
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
        end(ironic)
        processes.wait_gone(bridge, 'the bridge of a conductor that ended',
                            10.0)
        assert viewers.refused(url)
        bmc.wait_free(15.0)

        ironic.start()
        assert api.url(node) == url, 'and keeps it over a restart'
        steps.wait_echo(url, b'back')
