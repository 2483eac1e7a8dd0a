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

"""Which addresses may connect to a console's TCP port."""

import collections
import collections.abc
import ipaddress
import logging

LOG = logging.getLogger(__name__)

QUIET = 60.0            # seconds between two log lines about one source
MAX_SOURCES = 1024      # remembered; the one told longest ago is forgotten

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Gate:
    """Lets networks in; one for all consoles of a bridge.

    :param networks: as CIDR; none means that all may come.
    :raises: ValueError for what is not a network.
    """

    def __init__(self, networks: collections.abc.Iterable[str] = ()) -> None:
        self._networks: list[_Network] = [
            ipaddress.ip_network(network) for network in networks]
        # By source: when it was told, and refusals that were not.
        self._told: collections.OrderedDict[
            str, tuple[float, int]] = collections.OrderedDict()

    def admits(self, address: str) -> bool:
        """Whether an address may connect."""
        if not self._networks:
            return True
        try:
            source = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(source, ipaddress.IPv6Address):
            source = source.ipv4_mapped or source
        return any(source in network for network in self._networks)

    def log(self, address: str, now: float, extra: dict[str, str]) -> None:
        """Log a refusal, if none of this source was in the last minute.

        :param address: of the source.
        :param now: seconds.
        :param extra: for the log record.
        """
        told = self._told.get(address)
        if told is not None and now - told[0] < QUIET:
            self._told[address] = (told[0], told[1] + 1)
            return
        LOG.warning('A connection from %s was refused: it is not in '
                    '[solconsole]allowed_clients. %d more of this source '
                    'were not told.', address, told[1] if told else 0,
                    extra=extra)
        self._told[address] = (now, 0)
        self._told.move_to_end(address)
        if len(self._told) > MAX_SOURCES:
            self._told.popitem(last=False)
