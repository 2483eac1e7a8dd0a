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
"""A thousand consoles move when their conductor is killed."""

import collections.abc
import os
import time

import pytest

from tests.support import cluster as real_cluster
from tests.support import cluster_case
from tests.support import ipmi_sim
from tests.support import many_nodes
from tests.support import ports
from tests.support import waiting

Cluster = real_cluster.Cluster
Conductor = real_cluster.Conductor

COUNT = 1000

#: Seconds from the ring's change until all are connected, without TTLs:
#: the bridge of a killed conductor releases its locks.
ALL_MOVED = 20.0


@pytest.fixture
def sim() -> collections.abc.Iterator[ipmi_sim.IpmiSim]:
    """As many BMCs, without hosts: nobody types."""
    with ipmi_sim.IpmiSim(
            [ipmi_sim.BmcSetup(serial='tcp:127.0.0.1:1')] * COUNT) as many:
        yield many


@pytest.fixture
def cluster() -> collections.abc.Iterator[Cluster]:
    """Two conductors that have room for all."""
    first = ports.free_port_range(COUNT)
    options = {'console': {'port_range': f'{first.start}:{first.stop}'}}
    with Cluster(2, options) as one:
        yield one


def connected(*conductors: Conductor) -> dict[str, int]:
    """How often each node is connected."""
    found: dict[str, int] = {}
    for conductor in conductors:
        for status in conductor.consoles():
            if status['state'] == 'connected':
                found[status['node']] = found.get(status['node'], 0) + 1
    return found


def stored(cluster: Cluster) -> int:
    """How many nodes have their activation in the database."""
    (row,) = cluster.database.query(
        'SELECT COUNT(*) AS number FROM nodes WHERE driver_internal_info '
        'LIKE %s', f'%{cluster_case.ACTIVATION}%')
    return int(row['number'])


def idle(note: collections.abc.Callable[[str], None],
         conductor: Conductor) -> None:
    """Measure what a conductor takes when it has nothing to do."""
    seconds = 4 * cluster_case.TAKEOVER
    cpu = _cpu(conductor)
    time.sleep(seconds)
    used = (_cpu(conductor) - cpu) / seconds * cluster_case.TAKEOVER
    note(f'nothing to do: {used:.2f} CPU s for a takeover and an '
         'untakeover pass, and all else in that time')
    assert used < 3 * 1.0


@pytest.mark.long
def test_a_thousand_consoles_move(cluster: Cluster,
                                  sim: ipmi_sim.IpmiSim) -> None:
    first, second = cluster.conductors
    began = time.monotonic()

    def note(what: str) -> None:
        print(f'{time.monotonic() - began:6.1f} s  {what}')

    def all_on(*conductors: Conductor) -> None:
        waiting.wait_until(
            lambda: connected(*conductors) == dict.fromkeys(nodes, 1),
            f'{COUNT} consoles on {conductors}, each once', 3 * ALL_MOVED,
            0.5, seen=lambda: len(connected(*conductors)))

    nodes = many_nodes.add_marked(
        cluster, many_nodes.model(cluster, sim.bmcs[0]), sim.bmcs,
        int(str(cluster.options['console']['port_range']).split(':')[0]))
    note('enrolled')
    all_on(first, second)
    note(f'connected; {len(first.consoles())} on the first')
    waiting.wait_until(
        lambda: stored(cluster) == COUNT, 'all activations to be stored',
        120.0, 0.5, seen=lambda: stored(cluster))
    note('activations are stored')
    idle(note, first)
    first.kill()
    cluster.wait_mapped(next(
        node for node in nodes if cluster.mapped(node) is first), second)
    note('mapped')
    all_on(second)
    note('connected')
    first.start()
    cluster.wait_settled()
    note('it is back')
    all_on(first, second)
    note('connected')
    (row,) = cluster.database.query(
        'SELECT COUNT(*) AS number FROM nodes WHERE console_enabled=0')
    assert row['number'] == 0


def _cpu(conductor: Conductor) -> float:
    """CPU time of a conductor's worker, in seconds."""
    with open(f'/proc/{conductor.conductor()}/stat') as file:
        fields = file.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf(
        'SC_CLK_TCK')
