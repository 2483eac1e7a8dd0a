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

"""The conductor's part in transcripts: options, and which nodes are gone.

It never touches the directory itself, which may be on a disk that hangs:
bridges do.
"""

from collections.abc import Callable
from collections.abc import Iterable
import os
import typing

from ironic.conf import CONF
from oslo_log import log

from ironic_solconsole import conf
from ironic_solconsole import control
from ironic_solconsole.driver import bridges

LOG = log.getLogger(__name__)

#: Seconds between two looks for nodes that are gone.
INTERVAL = 600.0

_DAY = 86400.0


def bridge_options() -> control.Json | None:
    """What a bridge is told about transcripts; None for none."""
    options = CONF[conf.GROUP]
    directory = options.transcript_dir
    if not directory:
        return None
    if not os.path.isabs(directory):
        LOG.error('There are no transcripts: [solconsole]transcript_dir '
                  '%r is not an absolute path.', directory)
        return None
    return {'directory': directory,
            'max_bytes': options.transcript_max_bytes,
            'backups': options.transcript_backups,
            'buffer': options.transcript_buffer}


class Cleaner:
    """Has the transcripts of nodes removed that are gone.

    :param pool: the bridges.
    :param days: for which they are kept; 0 for ever.
    """

    def __init__(self, pool: bridges.BridgePool, days: int) -> None:
        self._pool = pool
        self._days = days
        self._looked: float | None = None

    def look(self, existing: Callable[[Iterable[str]], set[str]],
             now: float) -> None:
        """If it is time to, see which nodes are gone.

        :param existing: tells which of some nodes there are.
        :param now: time.monotonic().
        """
        if (not self._days or not CONF[conf.GROUP].transcript_dir
                or (self._looked is not None
                    and now - self._looked < INTERVAL)):
            return
        nodes = self._tell(set(), set())
        if nodes is None:
            return      # no bridge runs, or it has not looked yet
        there = existing(nodes)
        self._tell(there, set(nodes) - there)
        self._looked = now

    def _tell(self, there: set[str], gone: set[str]) -> list[str] | None:
        nodes: typing.Any = self._pool.clean_transcripts({
            'there': sorted(there), 'gone': sorted(gone),
            'age': self._days * _DAY}).get('nodes')
        return nodes if isinstance(nodes, list) else None
