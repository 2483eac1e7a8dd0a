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

"""The machines: simulated BMCs, and hosts that print and echo."""

import resource

from benchmarks import contenders
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import ports


class Fleet:
    """Simulated BMCs, each with a host on its serial line.

    :param consoles: how many.
    """

    def __init__(self, consoles: int) -> None:
        _raise_file_limit()
        self._sim = ipmi_sim.IpmiSim(
            [ipmi_sim.BmcSetup(echo=True)] * consoles)
        account = ipmi_sim.ADMIN
        self.targets = [
            contenders.Target(number, bmc.address, bmc.port, account.name,
                              account.password, tcp_port)
            for number, (bmc, tcp_port) in enumerate(
                zip(self._sim.bmcs, ports.free_ports(consoles)))]

    def __enter__(self) -> 'Fleet':
        self._sim.__enter__()           # ends what it began if it fails
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._sim.stop()

    def __len__(self) -> int:
        return len(self.targets)

    def host(self, number: int) -> hosts.Host:
        """What is on the serial line of a BMC."""
        return self._sim.bmcs[number].host

    def reset(self) -> None:
        """Begin anew: BMCs without sessions, whoever was here before."""
        self._sim.power_off()
        self._sim.power_on()


def _raise_file_limit() -> None:
    """A host, a viewer and their sockets for each console."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
