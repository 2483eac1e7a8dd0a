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

"""What a node's ``driver_info`` says about its serial console.

Names, types and defaults are those of Ironic's own ipmitool interfaces, so
that a node can change its console interface and nothing else. Every
complaint names the field and what is allowed, all complaints come at once,
and none repeats a secret. The conductor reads nodes with it, and the
command line what it is given in the place of a node.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import re
import typing
import urllib.parse

from ironic_solconsole import exception
from ironic_solconsole import spec

PROPERTIES: dict[str, str] = {
    'ipmi_address': 'IP address or host name of the BMC. Required, unless '
                    'redfish_address is set: then its host is the default.',
    'ipmi_port': 'UDP port of the BMC; default is 623. Optional.',
    'ipmi_username': 'Account on the BMC, at most 16 bytes; default is '
                     'redfish_username, else the null user. Optional.',
    'ipmi_password': 'Password of the account, at most 20 bytes; default is '
                     'redfish_password where the account is that of '
                     'redfish_username, else none. Optional.',
    'ipmi_hex_kg_key': 'Key Kg of the BMC, up to 40 hexadecimal digits. '
                       'Optional.',
    'ipmi_priv_level': 'Privilege to ask for: ADMINISTRATOR (the default), '
                       'OPERATOR or USER. Optional.',
    'ipmi_cipher_suite': 'Cipher suite: 17 or 3; by default 17 is tried, '
                         'then 3. Optional.',
    'ipmi_protocol_version': 'Must be 2.0, the default: IPMI 1.5 has no '
                             'Serial over LAN. Optional.',
    'ipmi_bridging': 'Must be "no", the default: a console is opened on the '
                     'BMC that ipmi_address names. Optional.',
    'ipmi_terminal_port': 'TCP port of the console on the conductor. '
                          'Optional: without it each node keeps one of '
                          '[solconsole]port_range.',
    'solconsole_steal': 'What enabling the console does when a session of '
                        'somebody else has it: "never" (the default) waits '
                        'for its end, "once" ends it, once for each time '
                        'the console is enabled. Optional.',
    'solconsole_workarounds': 'What the BMC needs and does not show: a list, '
                              'or words separated by commas, of '
                              f'{", ".join(spec.WORKAROUNDS)}. Optional.',
    'solconsole_connection': 'When there is a session with the BMC: '
                             '"persistent" or "on-demand", which is while '
                             'somebody is at the console; default is '
                             '[solconsole]connection. Optional.',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsoleInfo:
    """What driver_info says; the meaning is that of ConsoleSpec.

    :param connection: '' is as the option says.
    :param terminal_port: the TCP port that the deployer has fixed, or
        None.
    """

    address: str
    port: int
    username: str = dataclasses.field(repr=False)
    password: str = dataclasses.field(repr=False)
    kg: str = dataclasses.field(repr=False)
    privilege: str
    suites: tuple[int, ...]
    steal: str
    workarounds: tuple[str, ...]
    connection: str
    terminal_port: int | None

    @property
    def bmc(self) -> str:
        """``HOST:PORT`` of the BMC."""
        return spec.join_host_port(self.address, self.port)

    def to_spec(self, *, node: str, name: str, instance_uuid: str,
                generation: str, connection: str, tcp_host: str,
                tcp_port: int) -> spec.ConsoleSpec:
        """All that a bridge needs to open the console of a node.

        :param node: UUID of the node.
        :param name: its name, or ''.
        :param instance_uuid: of the instance on it, or ''.
        :param generation: the word that this start of the console has.
        :param connection: where the node does not say: of spec.CONNECTION.
        :param tcp_host: local address to listen on.
        :param tcp_port: TCP port to listen on.
        :raises: SpecError if the values do not make a console.
        """
        return spec.ConsoleSpec(
            node=node, name=name, instance_uuid=instance_uuid,
            generation=generation, address=self.address, port=self.port,
            username=self.username, password=self.password, kg=self.kg,
            privilege=self.privilege, suites=self.suites, steal=self.steal,
            workarounds=self.workarounds,
            connection=self.connection or connection, tcp_host=tcp_host,
            tcp_port=tcp_port)


def parse(driver_info: Mapping[str, typing.Any]) -> ConsoleInfo:
    """Read the driver_info of a node.

    :param driver_info: with its secrets.
    :raises: DriverInfoError that names every bad field.
    """
    fields = _Fields(driver_info)
    info = ConsoleInfo(
        address=_address(fields),
        port=fields.read('ipmi_port', spec.check_port, 623),
        **_account(fields),
        kg=fields.read('ipmi_hex_kg_key', _check_kg, ''),
        privilege=fields.read(
            'ipmi_priv_level', _check_privilege, 'ADMINISTRATOR'),
        suites=fields.read(
            'ipmi_cipher_suite', _check_suite, spec.SUITES),
        steal=fields.read('solconsole_steal', _check_steal, 'never'),
        workarounds=fields.read(
            'solconsole_workarounds', _check_workarounds, ()),
        connection=fields.read(
            'solconsole_connection', _check_connection, ''),
        terminal_port=fields.read(
            'ipmi_terminal_port', spec.check_port, None))
    fields.read('ipmi_protocol_version', _check_version, None)
    fields.read('ipmi_bridging', _check_bridging, None)
    fields.raise_complaints()
    return info


class _Fields:
    """driver_info, and the complaints about it so far."""

    def __init__(self, driver_info: Mapping[str, typing.Any]) -> None:
        self._info = {key: value for key, value in driver_info.items()
                      if value is not None}
        self._missing: list[str] = []
        self._invalid: list[str] = []

    def has(self, field: str) -> bool:
        return self._info.get(field) not in (None, '')

    def get(self, field: str) -> typing.Any:
        return self._info.get(field)

    def read(self, field: str, check: Callable[[str, typing.Any], typing.Any],
             default: typing.Any) -> typing.Any:
        """The checked value of a field, or default where it is not set."""
        if field not in self._info:
            return default
        try:
            return check(field, self._info[field])
        except exception.SpecError as error:
            self._invalid.append(str(error))
            return default

    def miss(self, complaint: str) -> None:
        self._missing.append(complaint)

    def raise_complaints(self) -> None:
        complaints = '; '.join([*self._missing, *self._invalid])
        if complaints:
            raise exception.DriverInfoError(
                complaints, missing=not self._invalid)


def _address(fields: _Fields) -> str:
    if fields.has('ipmi_address'):
        return str(fields.read('ipmi_address', _check_host, ''))
    if fields.has('redfish_address'):
        return str(fields.read('redfish_address', _check_redfish, ''))
    fields.miss('ipmi_address is missing: the address or host name of the '
                'BMC (on a redfish node redfish_address will do)')
    return ''


def _account(fields: _Fields) -> dict[str, str]:
    """Account and password, from Redfish's where IPMI's are not set.

    The Redfish password is for the Redfish account only: to send it for
    another user would be a failed login at best.
    """
    name = ('ipmi_username' if fields.has('ipmi_username')
            else 'redfish_username')
    username = fields.read(name, _check_text(spec.MAX_USERNAME), '')
    same = fields.get(name) == fields.get('redfish_username')
    name = ('redfish_password'
            if same and not fields.has('ipmi_password') else 'ipmi_password')
    password = fields.read(name, _check_text(spec.MAX_PASSWORD), '')
    return {'username': username, 'password': password}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:80]}...'


def _check_host(field: str, value: object) -> str:
    try:
        return spec.check_host(field, value)
    except exception.SpecError:
        raise exception.SpecError(
            field, f'{_short(value)} is not an IPv4 or IPv6 address or a '
            'host name') from None


def _check_redfish(field: str, value: object) -> str:
    """The host in the URL of a Redfish service; https:// may be left out."""
    text = value.strip() if isinstance(value, str) else ''
    try:
        url = urllib.parse.urlsplit(
            text if '://' in text else f'https://{text}')
        return spec.check_host(field, url.hostname or '')
    except (ValueError, exception.SpecError):
        # the URL is not repeated: it may hold user:password@
        raise exception.SpecError(
            field, 'is not a URL with an IPv4 or IPv6 address or a host '
            'name in it; set ipmi_address') from None


def _check_text(limit: int) -> Callable[[str, object], str]:
    """A check for an account or a password; complaints never repeat it."""
    def check(field: str, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise exception.SpecError(field, 'is not a string')
        try:
            size = len(str(value).encode())
        except UnicodeEncodeError:
            raise exception.SpecError(
                field, 'is not text that UTF-8 can hold') from None
        if size > limit:
            raise exception.SpecError(
                field, f'has {size} bytes, IPMI allows {limit}')
        if '\0' in str(value):
            raise exception.SpecError(field, 'contains a NUL character')
        return str(value)
    return check


def _check_kg(field: str, value: object) -> str:
    if (isinstance(value, str) and len(value) <= 2 * spec.MAX_KG
            and re.fullmatch(r'([0-9A-Fa-f]{2})*', value)):
        return value
    raise exception.SpecError(
        field, 'is not a string of up to '
        f'{2 * spec.MAX_KG} hexadecimal digits, two for each byte')


def _check_privilege(field: str, value: object) -> str:
    if isinstance(value, str) and value in spec.PRIVILEGES:
        return value
    allowed = ', '.join(sorted(spec.PRIVILEGES))
    because = (' (Serial over LAN needs at least USER)'
               if value == 'CALLBACK' else '')
    raise exception.SpecError(
        field, f'{_short(value)} is not one of {allowed}{because}')


def _check_suite(field: str, value: object) -> tuple[int, ...]:
    text = '' if isinstance(value, bool) else str(value).strip()
    if text in map(str, spec.SUITES):
        return (int(text),)
    allowed = ' or '.join(map(str, spec.SUITES))
    raise exception.SpecError(
        field, f'{_short(value)} is not supported; set {allowed}, or '
        'nothing to try both')


def _check_steal(field: str, value: object) -> str:
    if isinstance(value, str) and value in spec.STEAL:
        return value
    raise exception.SpecError(
        field, f'{_short(value)} is not one of {", ".join(spec.STEAL)}')


def _check_connection(field: str, value: object) -> str:
    if isinstance(value, str) and value in spec.CONNECTION:
        return value
    raise exception.SpecError(
        field, f'{_short(value)} is not one of '
        f'{", ".join(spec.CONNECTION)}')


def _check_workarounds(field: str, value: object) -> tuple[str, ...]:
    words = value.split(',') if isinstance(value, str) else value
    if isinstance(words, (list, tuple)):
        found = tuple(word.strip() if isinstance(word, str) else word
                      for word in words)
        if all(word in spec.WORKAROUNDS for word in found):
            return tuple(dict.fromkeys(found))
    raise exception.SpecError(
        field, f'{_short(value)} is not a list of '
        f'{", ".join(spec.WORKAROUNDS)}')


def _check_version(field: str, value: object) -> None:
    if str(value) != '2.0':
        raise exception.SpecError(
            field, f'{_short(value)} has no Serial over LAN; it must be '
            '"2.0"')


def _check_bridging(field: str, value: object) -> None:
    if value != 'no':
        raise exception.SpecError(
            field, f'{_short(value)} is not supported for consoles; it must '
            'be "no"')
