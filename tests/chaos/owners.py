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

"""Which bridge process has a socket, as /proc tells."""

import os
import pathlib
import socket
import struct
import sys

#: A word in the command line of every bridge.
BRIDGE = b'ironic_solconsole.bridge'

_LISTEN = '0A'

Address = tuple[str, int]


def bridges() -> list[int]:
    """Process ids of all bridges of this machine."""
    found = []
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                line = pathlib.Path(f'/proc/{name}/cmdline').read_bytes()
            except OSError:
                continue
            if BRIDGE in line.split(b'\0'):
                found.append(int(name))
    return found


def conductor(pid: int) -> str:
    """Name of the conductor that a bridge belongs to, '' if it is gone."""
    try:
        words = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(
            b'\0')
        return words[words.index(b'--host') + 1].decode()
    except (OSError, ValueError):
        return ''


def state(pid: int) -> str:
    """What a process does: 'runs', 'stopped' or 'gone'."""
    try:
        line = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return 'gone'
    letter = line.rpartition(')')[2].split()[0]
    return {'T': 'stopped', 't': 'stopped', 'Z': 'gone', 'X': 'gone'}.get(
        letter, 'runs')


class Owners:
    """Finds the owners of sockets, and remembers them."""

    def __init__(self) -> None:
        self._by_inode: dict[str, int] = {}

    def of_udp(self, port: int) -> int:
        """Who has a UDP port; 0 if no bridge has."""
        return self._owner([
            fields[9] for fields in _table('udp')
            if _port(fields[1]) == port])

    def of_listener(self, host: str, port: int) -> int:
        """Who listens on an IPv4 address; 0 if no bridge does."""
        return self._owner([
            fields[9] for fields in _table('tcp')
            if fields[3] == _LISTEN and _port(fields[1]) == port
            and _host(fields[1]) in (_number(host), 0)])

    def of_connection(self, peer: Address, own: Address) -> int:
        """Who is at the other end of a connection, once it is accepted;
        0 if it is not, or by no bridge.
        """
        wanted = (_number(peer[0]), peer[1]), (_number(own[0]), own[1])
        return self._owner([
            fields[9] for fields in _table('tcp')
            if ((_host(fields[1]), _port(fields[1])),
                (_host(fields[2]), _port(fields[2]))) == wanted
            and fields[9] != '0'])

    def _owner(self, inodes: list[str]) -> int:
        if any(inode not in self._by_inode for inode in inodes):
            self._look()
        return next((self._by_inode[inode] for inode in inodes
                     if inode in self._by_inode), 0)

    def _look(self) -> None:
        for pid in bridges():
            try:
                names = [os.readlink(entry.path)
                         for entry in os.scandir(f'/proc/{pid}/fd')]
            except OSError:
                continue
            for name in names:
                if name.startswith('socket:['):
                    self._by_inode[name[8:-1]] = pid


def _table(kind: str) -> list[list[str]]:
    lines: list[str] = []
    for name in (kind, f'{kind}6'):
        path = pathlib.Path(f'/proc/net/{name}')
        if path.exists():
            lines += path.read_text().splitlines()[1:]
    return [line.split() for line in lines]


def _port(field: str) -> int:
    return int(field.rpartition(':')[2], 16)


def _host(field: str) -> int:
    """The last four bytes: those of IPv4, in IPv6 as well."""
    return int(field.rpartition(':')[0][-8:], 16)


def _number(host: str) -> int:
    packed: int = struct.unpack(
        '<I' if sys.byteorder == 'little' else '>I',
        socket.inet_aton(host))[0]
    return packed
