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

"""ConsoleSpec: what it takes, what it refuses, and what it never shows."""

import dataclasses
import json

import hypothesis
from hypothesis import strategies
import pytest

from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec

GOOD = {
    'node': '0b5b1f0e-6d55-4f0c-8a6b-5a1b8c2d3e4f', 'name': 'n1',
    'instance_uuid': '', 'generation': 'abc', 'address': '192.0.2.1',
    'port': 623, 'username': 'admin', 'password': 'hunter2', 'kg': '0a0B',
    'privilege': 'OPERATOR', 'suites': (17, 3), 'steal': 'once',
    'workarounds': ('unencrypted',), 'tcp_host': '192.0.2.9',
    'tcp_port': 10000}


def make(**changes):
    return console_spec.ConsoleSpec(**(GOOD | changes))


def test_it_crosses_the_wire_unchanged():
    spec = make()
    wire = json.loads(json.dumps(spec.to_json()))
    assert console_spec.ConsoleSpec.from_json(wire) == spec


def test_it_never_shows_a_secret():
    shown = repr(make()) + str(make())
    assert 'hunter2' not in shown
    assert '0a0B' not in shown


@pytest.mark.parametrize(('field', 'value', 'words'), [
    ('node', 'n1', 'not a UUID'),
    ('node', GOOD['node'].upper(), 'not a UUID'),
    ('generation', '', '1 to 64'),
    ('address', '192.0.2.300', 'not an IPv4'),
    ('address', 'no host', 'not an IPv4'),
    ('address', '', 'not an IPv4'),
    ('address', '-x.example', 'not an IPv4'),
    ('port', 0, '1 to 65535'),
    ('port', 65536, '1 to 65535'),
    ('port', '623', 'is not a number'),
    ('port', True, 'is not a number'),
    ('tcp_port', -1, '1 to 65535'),
    ('username', 'x' * 17, '17 bytes, IPMI allows 16'),
    ('username', 'é' * 9, '18 bytes, IPMI allows 16'),
    ('password', 'x' * 21, '21 bytes, IPMI allows 20'),
    ('password', 5, 'is not a string'),
    ('password', 'a\ud800', 'UTF-8'),
    ('kg', 'abc', 'hexadecimal'),
    ('kg', 'zz', 'hexadecimal'),
    ('kg', 'ab' * 21, 'hexadecimal'),
    ('privilege', 'CALLBACK', 'USER, OPERATOR, ADMINISTRATOR'),
    ('suites', (), '17, 3'),
    ('suites', (0,), '17, 3'),
    ('steal', 'always', 'never, once'),
    ('connection', 'never', 'persistent, on-demand'),
    ('workarounds', ('unencrypted', 'luck'), 'alerts-deferred, '),
    ('name', 'x' * 256, 'too long'),
])
def test_a_bad_value_is_refused_with_its_field(field, value, words):
    with pytest.raises(exception.SpecError, match=words) as caught:
        make(**{field: value})
    assert caught.value.field == field


def test_a_refused_password_is_not_repeated():
    with pytest.raises(exception.SpecError) as caught:
        make(password='hunter2' * 3)
    assert 'hunter2' not in str(caught.value)


@pytest.mark.parametrize(('data', 'words'), [
    (None, 'spec: is not an object'),
    ([], 'spec: is not an object'),
    (GOOD | {'colour': 'red'}, 'colour: is not a known field'),
    ({k: v for k, v in GOOD.items() if k != 'address'},
     'address: is missing'),
    (GOOD | {'suites': 3}, 'suites: is not a list'),
    (GOOD | {'suites': [{}]}, 'suites'),
])
def test_a_bad_object_from_the_wire_is_refused(data, words):
    with pytest.raises(exception.SpecError, match=words):
        console_spec.ConsoleSpec.from_json(data)


@hypothesis.given(
    strategies.sampled_from(sorted(GOOD)),
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.text(max_size=50) | strategies.lists(
        strategies.integers(), max_size=3)
    | strategies.dictionaries(
        strategies.text(max_size=3), strategies.integers(), max_size=2))
def test_any_value_makes_a_spec_or_a_spec_error(field, value):
    try:
        console_spec.ConsoleSpec.from_json(GOOD | {field: value})
    except exception.SpecError:
        pass


@pytest.mark.parametrize(('given', 'bare'), [
    ('192.0.2.1', '192.0.2.1'), (' 192.0.2.1 ', '192.0.2.1'),
    ('[2001:db8::1]', '2001:db8::1'), ('2001:db8::1', '2001:db8::1'),
    ('bmc-1.example.org', 'bmc-1.example.org'), ('bmc_1', 'bmc_1'),
    ('bmc.example.org.', 'bmc.example.org.')])
def test_addresses_and_names_are_taken(given, bare):
    assert console_spec.check_host('ipmi_address', given) == bare


@pytest.mark.parametrize('given', [
    None, 5, '', '1.2.3', '1.2.3.4.5', '1:2', 'a..b', 'x' * 64, 'a/b',
    '[192.0.2.1', 'a b', 'x.' * 127 + 'toolong'])
def test_what_is_neither_is_refused(given):
    with pytest.raises(exception.SpecError, match='ipmi_address'):
        console_spec.check_host('ipmi_address', given)


@pytest.mark.parametrize('given', [623, '623', ' 623 '])
def test_a_port_may_be_a_number_or_digits(given):
    assert console_spec.check_port('ipmi_port', given) == 623


@pytest.mark.parametrize('given', [
    None, True, 0, 65536, '0', '99999', 'ssh', '6 23', 6.5, '٦٢٣'])
def test_what_is_no_port_is_refused(given):
    with pytest.raises(exception.SpecError, match='1 to 65535'):
        console_spec.check_port('ipmi_port', given)


def test_ipv6_stands_in_brackets_in_url_and_bmc():
    spec = make(address='2001:db8::1', tcp_host='::1')
    assert spec.bmc == '[2001:db8::1]:623'
    assert spec.url == 'tcp://[::1]:10000'


def test_every_field_that_holds_a_secret_is_left_out_of_repr():
    hidden = {field.name for field in dataclasses.fields(make())
              if not field.repr}
    assert hidden == {'username', 'password', 'kg'}
