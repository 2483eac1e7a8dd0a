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

import collections.abc
import ipaddress
import logging

from ironic_solconsole.bridge import quiet

LOG = logging.getLogger(__name__)

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _plain(network: _Network) -> _Network:
    """A network of IPv4 addresses that is written as one of IPv6."""
    mapped = (network.network_address.ipv4_mapped
              if isinstance(network, ipaddress.IPv6Network) else None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))


class Gate:
    """Lets networks in; one for all consoles of a bridge.

    It also keeps the log readable where a source comes again and again,
    and is turned away each time.

    :param networks: as CIDR; none means that all may come.
    :raises: ValueError for what is not a network.
    """

    def __init__(self, networks: collections.abc.Iterable[str] = ()) -> None:
        self._networks: list[_Network] = [
            _plain(ipaddress.ip_network(network)) for network in networks]
        self._refused = quiet.Quiet()
        self._turned_away = quiet.Quiet()

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

    def log_refused(self, address: str, now: float,
                    extra: dict[str, str]) -> None:
        """Log a refusal, if none of this source was in the last minute.

        :param address: of the source.
        :param now: seconds.
        :param extra: for the log record.
        """
        untold = self._refused.note(address, now)
        if untold is not None:
            LOG.warning('A connection from %s was refused: it is not in '
                        '[solconsole]allowed_clients. %d more of this source '
                        'were not told.', address, untold, extra=extra)

    def log_turned_away(self, address: str, why: str, now: float,
                        extra: dict[str, str]) -> None:
        """Log that a console has no room for a source, once a minute.

        :param address: of the source.
        :param why: a sentence without its end.
        :param now: seconds.
        :param extra: for the log record.
        """
        subject = f'{extra.get("node", "")} {address}'
        untold = self._turned_away.note(subject, now)
        if untold is not None:
            LOG.warning('A viewer from %s was turned away: %s. %d more of '
                        'this source were not told.', address, why, untold,
                        extra=extra)
