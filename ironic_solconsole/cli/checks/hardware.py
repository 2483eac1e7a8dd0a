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

"""Hardware types: whether Ironic will take the interface for them.

Asked of Ironic itself, in a process of its own.
"""

import typing

from ironic_solconsole.cli import checks
from ironic_solconsole.cli.checks import helper
from ironic_solconsole.cli.checks import processes

_MODULE = 'ironic_solconsole.driver.accepts'

#: Seconds; importing Ironic takes a few on a busy host.
TIMEOUT = 60.0

_NO_CONSOLE = ('keep no-console, or the interface that nodes use now, in '
               '[DEFAULT]enabled_console_interfaces')


def check(types: list[str] | None, interfaces: list[str] | None,
          default: str | None, who: processes.Account
          ) -> list[checks.Finding]:
    """Ask which enabled hardware types accept the interface.

    :param types: [DEFAULT]enabled_hardware_types, None if not valid.
    :param interfaces: [DEFAULT]enabled_console_interfaces, the same.
    :param default: [DEFAULT]default_console_interface.
    :param who: the conductor's user.
    """
    if types is None or interfaces is None:
        return [checks.skipped('hardware types',
                               'the options that name them are not valid')]
    try:
        answer = helper.run(_MODULE, {
            'types': types, 'interfaces': interfaces, 'default': default},
            timeout=TIMEOUT, account=who)
    except helper.HelperError as error:
        return [checks.error(
            'hardware types', f'Ironic cannot be asked: {error}',
            helper.ADVICE)]
    return judge(types, answer, 'solconsole' in interfaces)


def judge(types: list[str], answer: dict[str, typing.Any],
          enabled: bool) -> list[checks.Finding]:
    """What Ironic's answer means.

    :param types: the hardware types that were asked for.
    :param answer: ironic, its version; error; or types, by name.
    :param enabled: whether the interface is enabled.
    """
    if answer.get('error'):
        return [checks.error('hardware types', str(answer['error']),
                             'install ironic-solconsole where '
                             'ironic-conductor is')]
    findings = [checks.ok('ironic', str(answer['ironic']))]
    for name in types:
        findings.append(_judge_type(name, answer['types'][name], enabled))
    if not any(answer['types'][name].get('accepted') for name in types):
        findings.append(checks.error(
            'hardware types', 'none that is enabled accepts solconsole',
            'enable ipmi or redfish in [DEFAULT]enabled_hardware_types'))
    return findings


def _judge_type(name: str, found: dict[str, typing.Any],
                enabled: bool) -> checks.Finding:
    title = f'hardware type {name}'
    if found.get('error'):
        return checks.error(
            title, f'it cannot be loaded: {found["error"]}',
            'correct [DEFAULT]enabled_hardware_types: the conductor does '
            'not start with it')
    default = found.get('default')
    if default is None:
        return checks.error(
            title, 'it accepts none of the enabled console interfaces that '
            'could be its default, and the conductor does not start',
            _NO_CONSOLE)
    if default == 'solconsole':
        return checks.warning(
            title, 'solconsole is its default: every new node that names no '
            'console interface uses it', f'if that is not meant, '
            f'{_NO_CONSOLE}')
    if not found.get('accepted'):
        return checks.ok(
            title, f'does not accept solconsole; its default is {default}')
    how = 'accepts' if enabled else 'would accept'
    return checks.ok(title, f'{how} solconsole; its default is {default}')
