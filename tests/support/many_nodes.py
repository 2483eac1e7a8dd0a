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


"""Many nodes at once: written into the database, not enrolled one by one.
"""

import json
import typing
import uuid

from tests.support import cluster as real_cluster
from tests.support import cluster_case
from tests.support import ipmi_sim

#: How many rows go into one statement.
_ROWS = 500


def model(cluster: real_cluster.Cluster, bmc: ipmi_sim.Bmc
          ) -> dict[str, typing.Any]:
    """The database's row of a node that is enrolled and deleted again."""
    node = cluster.api.create_node(bmc)
    (row,) = cluster.database.query(
        'SELECT * FROM nodes WHERE uuid=%s', node)
    cluster.api.delete(node)
    del row['id']
    return row


def add_marked(cluster: real_cluster.Cluster, row: dict[str, typing.Any],
               bmcs: list[ipmi_sim.Bmc], first_port: int) -> list[str]:
    """One node for each BMC, whose console is marked as on.

    :param row: what :func:`model` gave.
    :param first_port: TCP port of the first console; the others follow.
    :returns: UUIDs.
    """
    rows = []
    for number, bmc in enumerate(bmcs):
        info = json.loads(row['driver_info']) | {'ipmi_port': bmc.port}
        rows.append(row | {
            'uuid': str(uuid.uuid4()), 'console_enabled': 1,
            'driver_info': json.dumps(info),
            'driver_internal_info': json.dumps({
                cluster_case.GENERATION: uuid.uuid4().hex,
                'solconsole_port': first_port + number})})
    names = ', '.join(f'`{name}`' for name in row)
    places = ', '.join(['%s'] * len(row))
    for begin in range(0, len(rows), _ROWS):
        some = rows[begin:begin + _ROWS]
        cluster.database.execute(
            f'INSERT INTO nodes ({names}) VALUES '
            + ', '.join([f'({places})'] * len(some)),
            *[value for one in some for value in one.values()])
    return [one['uuid'] for one in rows]
