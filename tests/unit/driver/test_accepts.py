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

"""What Ironic says of hardware types, as ``check`` asks it."""

import json
import subprocess
import sys

import pytest

from ironic_solconsole.driver import accepts


def types(*names: str, interfaces: tuple[str, ...] = ('solconsole',
                                                      'no-console'),
          default: str | None = None) -> dict[str, dict[str, object]]:
    answer = accepts.judge(list(names), list(interfaces), default)
    found = answer['types']
    assert isinstance(found, dict) and set(found) == set(names)
    return found


def test_types_accept_it_and_keep_their_default() -> None:
    assert types('ipmi', 'redfish', 'manual-management', 'fake-hardware') == {
        'ipmi': {'accepted': True, 'default': 'no-console'},
        'redfish': {'accepted': True, 'default': 'no-console'},
        'manual-management': {'accepted': False, 'default': 'no-console'},
        'fake-hardware': {'accepted': True, 'default': 'no-console'}}


def test_alone_it_is_the_default_and_leaves_others_without_one() -> None:
    assert types('ipmi', 'manual-management', interfaces=('solconsole',)) == {
        'ipmi': {'accepted': True, 'default': 'solconsole'},
        'manual-management': {'accepted': False, 'default': None}}


@pytest.mark.parametrize(('default', 'ipmi', 'manual'), [
    ('solconsole', 'solconsole', None),
    ('no-console', 'no-console', 'no-console'),
    ('ipmitool-socat', None, None)])
def test_a_default_that_is_configured_must_fit(
        default: str, ipmi: str | None, manual: str | None) -> None:
    found = types('ipmi', 'manual-management', default=default)
    assert found['ipmi']['default'] == ipmi
    assert found['manual-management']['default'] == manual


def test_what_is_not_installed_is_said() -> None:
    found = types('none-such', 'ipmi', interfaces=('no-console', 'none-such'))
    assert 'it is not installed' in str(found['none-such']['error'])
    assert found['ipmi']['default'] == 'no-console'


def test_it_is_a_program_that_reads_and_writes_json() -> None:
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m',
         'ironic_solconsole.driver.accepts'], text=True, timeout=120,
        input=json.dumps({'types': ['ipmi'], 'interfaces': ['no-console'],
                          'default': None}), capture_output=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer['types']['ipmi'] == {
        'accepted': True, 'default': 'no-console'}
    assert answer['ironic']
