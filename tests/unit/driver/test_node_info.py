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

"""driver_info as deployers write it, and what they are told about it."""

import typing

from hypothesis import given
from hypothesis import strategies as st
from ironic.common import exception as ironic_exception
import pytest

from ironic_solconsole import driver_info
from ironic_solconsole.driver import node_info
from tests.unit.driver import fakes

SECRET = 'hunter2-hunter2-hunter2'


def parse(**changes: typing.Any) -> driver_info.ConsoleInfo:
    info = {**fakes.IPMI, **changes}
    return node_info.parse(fakes.Node({
        key: value for key, value in info.items() if value is not ...}))


def complaint(**changes: typing.Any) -> str:
    with pytest.raises(ironic_exception.InvalidParameterValue) as caught:
        parse(**changes)
    return str(caught.value)


def test_defaults_are_those_of_ipmitool() -> None:
    info = parse()
    assert info.bmc == '192.0.2.7:623'
    assert info.privilege == 'ADMINISTRATOR'
    assert info.suites == (17, 3), 'unset means: 17, then 3'
    assert (info.kg, info.terminal_port) == ('', None)


@pytest.mark.parametrize(('field', 'value', 'attribute', 'expected'), [
    ('ipmi_address', '2001:db8::7', 'address', '2001:db8::7'),
    ('ipmi_address', '[2001:db8::7]', 'address', '2001:db8::7'),
    ('ipmi_address', 'bmc-7.example.org', 'address', 'bmc-7.example.org'),
    ('ipmi_port', '6230', 'port', 6230),
    ('ipmi_port', 6230, 'port', 6230),
    ('ipmi_port', None, 'port', 623),
    ('ipmi_username', 'a' * 16, 'username', 'a' * 16),
    ('ipmi_username', ..., 'username', ''),
    ('ipmi_password', 'p' * 20, 'password', 'p' * 20),
    ('ipmi_password', 12345678, 'password', '12345678'),
    ('ipmi_password', ..., 'password', ''),
    ('ipmi_hex_kg_key', 'A1' * 20, 'kg', 'A1' * 20),
    ('ipmi_hex_kg_key', '', 'kg', ''),
    ('ipmi_priv_level', 'USER', 'privilege', 'USER'),
    ('ipmi_priv_level', 'OPERATOR', 'privilege', 'OPERATOR'),
    ('ipmi_cipher_suite', 3, 'suites', (3,)),
    ('ipmi_cipher_suite', '17', 'suites', (17,)),
    ('ipmi_cipher_suite', None, 'suites', (17, 3)),
    ('ipmi_terminal_port', '7000', 'terminal_port', 7000),
    ('solconsole_steal', ..., 'steal', 'never'),
    ('solconsole_steal', 'once', 'steal', 'once'),
    ('solconsole_workarounds', ..., 'workarounds', ()),
    ('solconsole_workarounds', 'unencrypted, skip-sequence', 'workarounds',
     ('unencrypted', 'skip-sequence')),
    ('solconsole_workarounds', ['alerts-deferred'], 'workarounds',
     ('alerts-deferred',)),
    ('ipmi_protocol_version', '2.0', 'port', 623),
    ('ipmi_protocol_version', 2.0, 'port', 623),
    ('ipmi_bridging', 'no', 'port', 623),
    # without bridging its addresses say nothing
    ('ipmi_local_address', '0x20', 'port', 623),
    ('ipmi_target_channel', '7', 'port', 623),
])
def test_a_good_value_is_taken(field: str, value: object, attribute: str,
                               expected: object) -> None:
    assert getattr(parse(**{field: value}), attribute) == expected


@pytest.mark.parametrize(('field', 'value', 'says'), [
    ('ipmi_address', '192.0.2.300', 'IPv4 or IPv6 address or a host name'),
    ('ipmi_address', 'bmc 7', 'IPv4 or IPv6 address or a host name'),
    ('ipmi_address', 7, 'IPv4 or IPv6 address or a host name'),
    ('ipmi_port', 0, '1 to 65535'),
    ('ipmi_port', 65536, '1 to 65535'),
    ('ipmi_port', 'rmcp', '1 to 65535'),
    ('ipmi_port', True, '1 to 65535'),
    ('ipmi_username', 'a' * 17, '17 bytes, IPMI allows 16'),
    ('ipmi_username', 'ä' * 9, '18 bytes, IPMI allows 16'),
    ('ipmi_username', ['admin'], 'is not a string'),
    ('ipmi_password', SECRET, '23 bytes, IPMI allows 20'),
    ('ipmi_password', 'a\0b', 'NUL'),
    ('ipmi_password', '\ud800', 'UTF-8'),
    ('ipmi_password', True, 'is not a string'),
    ('ipmi_hex_kg_key', 'ABC', 'up to 40 hexadecimal digits, two for each'),
    ('ipmi_hex_kg_key', 'xy', 'up to 40 hexadecimal digits'),
    ('ipmi_hex_kg_key', 'AB' * 21, 'up to 40 hexadecimal digits'),
    ('ipmi_hex_kg_key', 1234, 'is not a string'),
    ('ipmi_priv_level', 'CALLBACK', 'ADMINISTRATOR, OPERATOR, USER'),
    ('ipmi_priv_level', 'operator', 'ADMINISTRATOR, OPERATOR, USER'),
    ('ipmi_priv_level', ['USER'], 'ADMINISTRATOR, OPERATOR, USER'),
    ('ipmi_cipher_suite', 8, '17 or 3'),
    ('ipmi_cipher_suite', '', '17 or 3'),
    ('ipmi_cipher_suite', True, '17 or 3'),
    ('solconsole_steal', True, 'never, once'),
    ('solconsole_steal', 'always', 'never, once'),
    ('solconsole_workarounds', 'luck', 'alerts-deferred, '),
    ('solconsole_workarounds', '', 'alerts-deferred, '),
    ('solconsole_workarounds', [7], 'alerts-deferred, '),
    ('solconsole_workarounds', {'unencrypted': 1}, 'alerts-deferred, '),
    ('ipmi_protocol_version', '1.5', 'must be "2.0"'),
    ('ipmi_protocol_version', '3', 'must be "2.0"'),
    ('ipmi_bridging', 'single', 'must be "no"'),
    ('ipmi_bridging', 'dual', 'must be "no"'),
    ('ipmi_terminal_port', 70000, '1 to 65535'),
    ('ipmi_terminal_port', 'ttyS0', '1 to 65535'),
])
def test_a_bad_value_is_named_with_what_is_allowed(
        field: str, value: object, says: str) -> None:
    text = complaint(**{field: value})
    assert field in text, f'{text!r} does not name the field'
    assert says in text, f'{text!r} does not say what is allowed'


def test_a_missing_address_is_a_missing_parameter() -> None:
    with pytest.raises(ironic_exception.MissingParameterValue,
                       match='ipmi_address is missing'):
        parse(ipmi_address=...)


def test_all_complaints_come_at_once() -> None:
    text = complaint(ipmi_address=..., ipmi_port=0, ipmi_cipher_suite=1)
    for field in ('ipmi_address', 'ipmi_port', 'ipmi_cipher_suite'):
        assert field in text


@pytest.mark.parametrize('field', [
    'ipmi_password', 'ipmi_hex_kg_key', 'ipmi_username',
    'redfish_password'])
def test_secrets_are_in_no_complaint(field: str) -> None:
    assert SECRET not in complaint(**{'ipmi_password': ..., field: SECRET,
                                      'ipmi_port': 0})


def test_a_long_value_is_cut() -> None:
    assert len(complaint(ipmi_address='x y' * 10000)) < 400


def test_the_info_does_not_show_its_secrets() -> None:
    text = repr(parse(ipmi_hex_kg_key='AB12'))
    for secret in ('secret', 'AB12'):
        assert secret not in text


REDFISH = {'ipmi_address': ..., 'ipmi_username': ..., 'ipmi_password': ...,
           'redfish_address': 'https://bmc.example.org:8443/redfish',
           'redfish_username': 'root', 'redfish_password': 'calvin'}


@pytest.mark.parametrize(('url', 'host'), [
    ('https://bmc.example.org', 'bmc.example.org'),
    ('https://bmc.example.org:8443/redfish/v1', 'bmc.example.org'),
    ('http://192.0.2.9', '192.0.2.9'),
    ('https://[2001:db8::9]:443', '2001:db8::9'),
    ('192.0.2.9', '192.0.2.9'),
    ('192.0.2.9:8000', '192.0.2.9'),
    ('bmc.example.org/redfish', 'bmc.example.org'),
    ('[2001:db8::9]', '2001:db8::9'),
])
def test_the_address_falls_back_to_the_host_of_the_redfish_url(
        url: str, host: str) -> None:
    assert parse(**{**REDFISH, 'redfish_address': url}).address == host


@pytest.mark.parametrize('url', [
    'https://', 'https://a b', 'https://[::1', 8, 'https://u:pw@/x'])
def test_a_redfish_url_without_a_host_is_refused(url: object) -> None:
    text = complaint(**{**REDFISH, 'redfish_address': url})
    assert 'redfish_address' in text
    assert 'u:pw' not in text


@pytest.mark.parametrize(('ipmi', 'account'), [
    ({}, ('root', 'calvin')),
    ({'ipmi_username': 'root'}, ('root', 'calvin')),
    ({'ipmi_password': 'other'}, ('root', 'other')),
    ({'ipmi_username': 'sol', 'ipmi_password': 'other'}, ('sol', 'other')),
    # the password of one account is never sent for another
    ({'ipmi_username': 'sol'}, ('sol', '')),
    ({'ipmi_username': '', 'ipmi_password': ''}, ('root', 'calvin')),
])
def test_the_account_falls_back_to_that_of_redfish(
        ipmi: dict[str, str], account: tuple[str, str]) -> None:
    info = parse(**{**REDFISH, **ipmi})
    assert (info.username, info.password) == account


def test_ipmi_address_goes_before_redfish_address() -> None:
    info = parse(**{**REDFISH, 'ipmi_address': '192.0.2.1'})
    assert info.address == '192.0.2.1'


def test_a_spec_carries_the_node() -> None:
    node = fakes.Node(name='n1', instance_uuid='i-1')
    wanted = node_info.console_spec(
        node, node_info.parse(node), generation='g',
        connection='on-demand', tcp_host='::1', tcp_port=7000)
    assert (wanted.node, wanted.name, wanted.instance_uuid) == (
        node.uuid, 'n1', 'i-1')
    assert wanted.connection == 'on-demand'
    assert wanted.url == 'tcp://[::1]:7000'
    assert wanted.bmc == '192.0.2.7:623'


def test_a_node_that_makes_no_spec_is_an_invalid_parameter() -> None:
    node = fakes.Node(instance_uuid='i' * 99)
    with pytest.raises(ironic_exception.InvalidParameterValue):
        node_info.console_spec(node, node_info.parse(node), generation='g',
                               connection='persistent', tcp_host='::1',
                               tcp_port=7000)


def test_a_node_says_whether_its_console_is_on_demand() -> None:
    node = fakes.Node({**fakes.IPMI, 'solconsole_connection': 'on-demand'})
    wanted = node_info.console_spec(
        node, node_info.parse(node), generation='g',
        connection='persistent', tcp_host='::1', tcp_port=7000)
    assert wanted.connection == 'on-demand'
    node.driver_info['solconsole_connection'] = 'sometimes'
    with pytest.raises(ironic_exception.InvalidParameterValue,
                       match='solconsole_connection.*persistent'):
        node_info.parse(node)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6)


@given(st.dictionaries(
    st.sampled_from([*driver_info.PROPERTIES, 'redfish_address',
                     'redfish_username', 'redfish_password']), JSON))
def test_whatever_json_a_deployer_writes_is_answered(
        driver_info: dict[str, typing.Any]) -> None:
    node = fakes.Node(driver_info)
    try:
        info = node_info.parse(node)
    except ironic_exception.InvalidParameterValue:
        return
    node_info.console_spec(node, info, generation='g', tcp_host='::1',
                           tcp_port=7000)
