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

"""Which hardware types accept solconsole: ``python -m ...driver.accepts``.

The command line asks Ironic with it (``ironic-solconsole check``), so that
it needs no Ironic itself. Reads the names from stdin, as JSON, and writes
JSON to stdout.
"""

import importlib.metadata
import json
import os
import sys
import typing

from ironic.drivers import fake_hardware
import stevedore

from ironic_solconsole.driver import hardware
from ironic_solconsole.driver import interface

_TYPES = 'ironic.hardware.types'
_INTERFACES = 'ironic.hardware.interfaces.console'
_NAME = 'solconsole'


def load(group: str, names: list[str]) -> dict[str, typing.Any]:
    """The classes of entry points; an exception in the place of one that
    is missing or cannot be loaded.
    """
    found: dict[str, typing.Any] = {}

    def failed(manager: typing.Any, point: typing.Any,
               error: BaseException) -> None:
        found[point.name] = error

    manager: typing.Any = stevedore.NamedExtensionManager(
        group, names, on_load_failure_callback=failed,
        warn_on_missing_entrypoint=False)
    for extension in manager:
        found[extension.name] = extension.plugin
    for name in names:
        found.setdefault(name, LookupError('it is not installed'))
    return found


def judge(types: list[str], interfaces: list[str], default: str | None
          ) -> dict[str, typing.Any]:
    """Whether each type accepts the interface, and what its default is.

    :param types: names of hardware types.
    :param interfaces: the console interfaces that are enabled.
    :param default: that of all types, if it is configured.
    """
    consoles = load(_INTERFACES, [*interfaces, _NAME])
    ours = consoles[_NAME]
    if ours is not interface.SolConsole:
        return {'error': f'Ironic does not find solconsole: {ours}'}
    hardware.accept(ours)
    answers = {}
    for name, kind in load(_TYPES, types).items():
        if isinstance(kind, BaseException):
            answers[name] = {'error': _explain(kind)}
            continue
        try:
            answers[name] = _judge_one(kind(), ours, default, {
                consoles[each]: each for each in interfaces
                if not isinstance(consoles[each], BaseException)})
        except Exception as error:
            answers[name] = {'error': _explain(error)}
    return {'ironic': importlib.metadata.version('ironic'),
            'types': answers}


def _judge_one(kind: typing.Any, ours: type, default: str | None,
               enabled: dict[type, str]) -> dict[str, typing.Any]:
    listed = list(kind.supported_console_interfaces)
    # As in ironic.common.driver_factory: it takes any.
    fake = isinstance(kind, fake_hardware.FakeHardware)
    if default is not None:
        fits = fake or any(enabled.get(each) == default for each in listed)
        return {'accepted': fake or ours in listed,
                'default': default if fits else None}
    return {'accepted': fake or ours in listed, 'default': next(
        (enabled[each] for each in listed if each in enabled), None)}


def _explain(error: BaseException) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())}'[:300]


def main() -> None:
    """Read, ask, write."""
    asked = json.load(sys.stdin)
    answer = judge(asked['types'], asked['interfaces'], asked['default'])
    sys.stdout.write('\n' + json.dumps(answer) + '\n')
    sys.stdout.flush()
    os._exit(0)


if __name__ == '__main__':
    main()
