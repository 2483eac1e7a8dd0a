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

"""ConsoleSpec: all that a bridge must know of one node's console.

The driver makes one from a node; it crosses the control channel as JSON;
the bridge opens a console from it. It holds the BMC's password: its
``repr`` does not show it, and it is never written to disk or to a log.
"""

import dataclasses
import ipaddress
import re
import typing
import uuid

from ironic_solconsole import exception

#: IPMI v2.0 section 13.28 (Open Session): privilege levels a console can
#: ask for. "callback" is left out, as SOL needs at least user.
PRIVILEGES: dict[str, int] = {'USER': 2, 'OPERATOR': 3, 'ADMINISTRATOR': 4}

#: Cipher suites (IPMI v2.0 table 22-20) that are supported, best first.
SUITES: tuple[int, ...] = (17, 3)

#: What to do with a console that a session of somebody else has.
STEAL: tuple[str, ...] = ('never', 'once')

#: What some BMCs need and do not show (doc/source/admin/quirks.rst).
WORKAROUNDS: tuple[str, ...] = (
    'alerts-deferred', 'deassert-handshake', 'ignore-sol-port',
    'silent-copies', 'skip-sequence', 'unencrypted')

#: When there is a session with the BMC.
CONNECTION: tuple[str, ...] = ('persistent', 'on-demand')

MAX_USERNAME = 16       # bytes, IPMI v2.0 table 13-11
MAX_PASSWORD = 20       # bytes, IPMI v2.0 section 22.30
MAX_KG = 20             # bytes, IPMI v2.0 section 22.25

_HOSTNAME = re.compile(
    r'(?=.{1,253}\.?$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*'
    r'[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?')


def check_host(field: str, value: object) -> str:
    """Accept an IPv4 or IPv6 address or a host name.

    :param field: name of the field, for the error.
    :param value: what was given; IPv6 may stand in brackets.
    :returns: the address without brackets, or the name.
    :raises: SpecError if it is neither.
    """
    if isinstance(value, str):
        bare = value.strip()
        if bare.startswith('[') and bare.endswith(']'):
            bare = bare[1:-1]
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            digits = bare.replace('.', '').isdigit()
            if not digits and _HOSTNAME.fullmatch(bare):
                return bare
        else:
            return bare
    raise exception.SpecError(
        field, f'{value!r} is not an IPv4 or IPv6 address or a host name')


def check_port(field: str, value: object) -> int:
    """Accept a port number from 1 to 65535, as int or in digits.

    :raises: SpecError otherwise.
    """
    if isinstance(value, str) and re.fullmatch(r'[0-9]{1,5}', value.strip()):
        value = int(value)
    if (isinstance(value, int) and not isinstance(value, bool)
            and 1 <= value <= 65535):
        return value
    raise exception.SpecError(
        field, f'{value!r} is not a port number from 1 to 65535')


def join_host_port(host: str, port: int) -> str:
    """``HOST:PORT``, with brackets round an IPv6 address."""
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsoleSpec:
    """One node's console: the BMC, the account, and the TCP endpoint.

    :param node: UUID of the node.
    :param name: the node's name, or ''.
    :param instance_uuid: UUID of the instance on the node, or ''.
    :param generation: the random word that this start of the console has;
        a stop ends the generation.
    :param address: address or host name of the BMC.
    :param port: UDP port of the BMC.
    :param username: account on the BMC; '' is the null user.
    :param password: its password.
    :param kg: the BMC's key Kg as hexadecimal digits, or '' for none.
    :param privilege: one of PRIVILEGES.
    :param suites: cipher suites to try, in this order; of SUITES.
    :param steal: 'once' to end, at a start, the session of somebody else
        that has the console; 'never' to wait for its end.
    :param workarounds: what the BMC needs; of WORKAROUNDS.
    :param connection: of CONNECTION: always, or while somebody is there.
    :param tcp_host: local address to listen on.
    :param tcp_port: TCP port to listen on.
    """

    node: str
    name: str = ''
    instance_uuid: str = ''
    generation: str
    address: str
    port: int = 623
    username: str = dataclasses.field(default='', repr=False)
    password: str = dataclasses.field(default='', repr=False)
    kg: str = dataclasses.field(default='', repr=False)
    privilege: str = 'ADMINISTRATOR'
    suites: tuple[int, ...] = SUITES
    steal: str = 'never'
    workarounds: tuple[str, ...] = ()
    connection: str = 'persistent'
    tcp_host: str
    tcp_port: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is str and not isinstance(value, str):
                raise exception.SpecError(field.name, 'is not a string')
            if field.type is int and (
                    not isinstance(value, int) or isinstance(value, bool)):
                raise exception.SpecError(field.name, 'is not a number')
        try:
            canonical = str(uuid.UUID(self.node))
        except ValueError:
            canonical = ''
        if canonical != self.node:
            raise exception.SpecError(
                'node', f'{self.node[:64]!r} is not a UUID')
        if not 1 <= len(self.generation) <= 64:
            raise exception.SpecError(
                'generation', 'must have 1 to 64 characters')
        if len(self.name) > 255 or len(self.instance_uuid) > 36:
            raise exception.SpecError(
                'name', 'name or instance_uuid is too long')
        check_host('address', self.address)
        check_host('tcp_host', self.tcp_host)
        check_port('port', self.port)
        check_port('tcp_port', self.tcp_port)
        for name, limit in (('username', MAX_USERNAME),
                            ('password', MAX_PASSWORD)):
            try:
                size = len(getattr(self, name).encode())
            except UnicodeEncodeError:
                raise exception.SpecError(
                    name, 'has a character that UTF-8 cannot encode'
                ) from None
            if size > limit:
                raise exception.SpecError(
                    name, f'has {size} bytes, IPMI allows {limit}')
        if (not re.fullmatch(r'([0-9A-Fa-f]{2})*', self.kg)
                or len(self.kg) > 2 * MAX_KG):
            raise exception.SpecError(
                'kg', f'must be up to {2 * MAX_KG} hexadecimal digits, two '
                'for each byte')
        if self.privilege not in PRIVILEGES:
            raise exception.SpecError(
                'privilege', f'must be one of {", ".join(PRIVILEGES)}')
        if not self.suites or any(s not in SUITES for s in self.suites):
            raise exception.SpecError(
                'suites', f'must be of {", ".join(map(str, SUITES))}')

        if self.steal not in STEAL:
            raise exception.SpecError(
                'steal', f'must be one of {", ".join(STEAL)}')
        if self.connection not in CONNECTION:
            raise exception.SpecError(
                'connection', f'must be one of {", ".join(CONNECTION)}')
        if any(word not in WORKAROUNDS for word in self.workarounds):
            raise exception.SpecError(
                'workarounds', f'must be of {", ".join(WORKAROUNDS)}')

    @property
    def bmc(self) -> str:
        """``HOST:PORT`` of the BMC."""
        return join_host_port(self.address, self.port)

    @property
    def url(self) -> str:
        """What Ironic reports as the console's URL."""
        return f'tcp://{join_host_port(self.tcp_host, self.tcp_port)}'

    def target(self) -> dict[str, typing.Any]:
        """The BMC and the account, as ``sol.target.Target`` has them.

        Holds the password.
        """
        return {
            'address': self.address, 'port': self.port,
            'username': self.username.encode(),
            'password': self.password.encode(),
            'kg': bytes.fromhex(self.kg) or None,
            'privilege': PRIVILEGES[self.privilege], 'suites': self.suites}

    def to_json(self) -> dict[str, typing.Any]:
        """A plain dict that ``json`` can write. Contains the password."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: object) -> 'ConsoleSpec':
        """The ConsoleSpec that to_json() gave.

        :raises: SpecError for an unknown or missing field or a bad value.
        """
        if not isinstance(data, dict):
            raise exception.SpecError('spec', 'is not an object')
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(str(key) for key in set(data) - known)
        if unknown:
            raise exception.SpecError(unknown[0][:64], 'is not a known field')
        values = dict(data)
        for name, default in (('suites', SUITES), ('workarounds', ())):
            value = values.get(name, default)
            if not isinstance(value, (list, tuple)):
                raise exception.SpecError(name, 'is not a list')
            values[name] = tuple(value)
        try:
            return cls(**values)
        except TypeError:
            missing = sorted(
                field.name for field in dataclasses.fields(cls)
                if field.default is dataclasses.MISSING
                and field.name not in values)
            raise exception.SpecError(
                missing[0] if missing else 'spec', 'is missing') from None
