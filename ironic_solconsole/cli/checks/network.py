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

"""TCP ports for consoles, and the address that they are on."""

import collections
import collections.abc
import dataclasses
import ipaddress
import os
import pathlib
import re
import socket

from ironic_solconsole.cli import checks

_PORTS = 'ports'
_EPHEMERAL = 'ephemeral ports'
_ADDRESS = 'socat_address'


@dataclasses.dataclass(frozen=True)
class Listener:
    """Who listens on a port.

    :param pid: 0 if this user may not know.
    :param program: its name.
    :param bridge: whether it is a console process of ours.
    """

    port: int
    pid: int = 0
    program: str = ''
    bridge: bool = False

    def __str__(self) -> str:
        if not self.pid:
            return 'a process of another user'
        return f'process {self.pid} ({self.program})'


def listening(table: str) -> dict[int, set[str]]:
    """Ports on which anybody listens, with the inodes of the sockets.

    :param table: text of /proc/net/tcp or tcp6, proc_pid_net(5).
    """
    found: dict[int, set[str]] = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == '0A':       # LISTEN
            port = int(fields[1].rpartition(':')[2], 16)
            found.setdefault(port, set()).add(fields[9])
    return found


def listeners(bridges: collections.abc.Collection[int],
              wanted: collections.abc.Sequence[range]) -> list[Listener]:
    """Who listens on ports of this host.

    :param bridges: process ids of console processes.
    :param wanted: the ports that are of interest.
    """
    inodes: dict[str, int] = {}
    for name in ('tcp', 'tcp6'):
        try:
            table = pathlib.Path('/proc/net', name).read_text()
        except OSError:
            continue
        for port, sockets in listening(table).items():
            if any(port in ports for ports in wanted):
                inodes.update(dict.fromkeys(sockets, port))
    found = {port: Listener(port) for port in inodes.values()}
    for pid in filter(str.isdigit, os.listdir('/proc') if inodes else ()):
        try:
            links = [os.readlink(entry.path)
                     for entry in os.scandir(f'/proc/{pid}/fd')]
            held = [inodes[link[8:-1]] for link in links
                    if link.startswith('socket:[') and link[8:-1] in inodes]
            if not held:
                continue
            raw = pathlib.Path(f'/proc/{pid}/comm').read_text()
        except OSError:
            continue
        for port in held:
            found[port] = Listener(
                port, int(pid), re.sub(r'[^ -~]', '?', raw.strip()),
                int(pid) in bridges)
    return sorted(found.values(), key=lambda each: each.port)


def _ranges_text(ranges: collections.abc.Sequence[range]) -> str:
    return ', '.join(f'{ports.start}-{ports.stop - 1}'
                     for ports in ranges if ports)


def judge_ports(ranges: collections.abc.Sequence[range],
                found: collections.abc.Sequence[Listener]
                ) -> checks.Finding:
    """Whether there are free ports, and who has the others."""
    total = len({port for ports in ranges for port in ports})
    ours = [each for each in found if each.bridge]
    others = [each for each in found if not each.bridge]
    detail = (f'{total} ports ({_ranges_text(ranges)}), '
              f'{total - len(found)} of them free')
    if ours:
        detail += f'; {len(ours)} are consoles'
    if others:
        by = collections.Counter(map(str, others))
        named = [f'{count} of {who}' for who, count in by.most_common(5)]
        if len(by) > 5:
            named.append(f'of {len(by) - 5} more')
        detail += f'; in use by others: {", ".join(named)}'
    if total == len(found):
        return checks.error(_PORTS, detail,
                            'extend [solconsole]port_range')
    if others:
        return checks.warning(
            _PORTS, detail, 'keep other programs out of port_range: a '
            'console whose port they take has to move')
    return checks.ok(_PORTS, detail)


def parse_reserved(text: str) -> list[range]:
    """net.ipv4.ip_local_reserved_ports: ``8080,9000-9100``."""
    ranges = []
    for part in filter(None, text.strip().split(',')):
        low, _, high = part.partition('-')
        ranges.append(range(int(low), int(high or low) + 1))
    return ranges


def judge_ephemeral(ranges: collections.abc.Sequence[range], low: int,
                    high: int, reserved: collections.abc.Sequence[range]
                    ) -> checks.Finding:
    """Whether the kernel gives ports of consoles to outgoing connections.

    :param low: first of net.ipv4.ip_local_port_range.
    :param high: last of it.
    :param reserved: net.ipv4.ip_local_reserved_ports.
    """
    both = [port for ports in ranges
            for port in range(max(low, ports.start),
                              min(high + 1, ports.stop))
            if not any(port in kept for kept in reserved)]
    if both:
        return checks.warning(
            _EPHEMERAL, f'{len(both)} ports ({both[0]} to {both[-1]}) of '
            'port_range may be taken by any outgoing connection '
            f'(net.ipv4.ip_local_port_range is {low} to {high})',
            'choose another port_range, or reserve it: sysctl -w '
            f'net.ipv4.ip_local_reserved_ports={_reservation(ranges)}')
    return checks.ok(
        _EPHEMERAL, f'{low} to {high}, and no port of port_range that is '
        'not reserved')


def _reservation(ranges: collections.abc.Sequence[range]) -> str:
    return ','.join(f'{ports.start}-{ports.stop - 1}'
                    for ports in ranges if ports)


def check_ephemeral(ranges: collections.abc.Sequence[range]
                    ) -> checks.Finding:
    """Ask the kernel, and judge."""
    place = pathlib.Path('/proc/sys/net/ipv4')
    try:
        low, high = map(int, (
            place / 'ip_local_port_range').read_text().split())
        reserved = parse_reserved(
            (place / 'ip_local_reserved_ports').read_text())
    except (OSError, ValueError) as error:
        return checks.skipped(_EPHEMERAL, f'the kernel does not tell: {error}')
    return judge_ephemeral(ranges, low, high, reserved)


def check_address(address: str) -> checks.Finding:
    """Whether consoles can listen on an address of this host, and others
    can reach them there."""
    try:
        kind = ipaddress.ip_address(address)
    except ValueError:
        return checks.error(_ADDRESS, f'{address!r} is not an IP address',
                            'set [console]socat_address to one')
    family = socket.AF_INET6 if kind.version == 6 else socket.AF_INET
    try:
        with socket.socket(family) as sock:
            sock.bind((address, 0))
    except OSError as error:
        return checks.error(
            _ADDRESS, f'consoles cannot listen on {address}: '
            f'{error.strerror}',
            'set [console]socat_address, or my_ip, to an address of this '
            'host')
    if kind.is_unspecified:
        return checks.warning(
            _ADDRESS, f'{address} is every address of this host, and the '
            'URL that Nova is given names no host',
            'set [console]socat_address to one that nova-serialproxy '
            'reaches')
    if kind.is_loopback:
        return checks.warning(
            _ADDRESS, f'{address}: only programs of this host reach the '
            'consoles', 'set [console]socat_address to an address that '
            'nova-serialproxy reaches, if that is on another host')
    return checks.ok(_ADDRESS, f'{address} is an address of this host')
