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

"""The values in a request, checked."""

from ironic_solconsole import control
from ironic_solconsole import exception


def number(args: control.Json, name: str, low: float,
           high: float) -> float:
    """A number within bounds.

    :raises: RequestRefused
    """
    value = args.get(name)
    if (isinstance(value, bool) or not isinstance(value, (int, float))
            or not low <= value <= high):
        raise exception.RequestRefused(
            'bad-request', f'{name} must be a number from {low:g} to '
            f'{high:g}')
    return value


def text(args: control.Json, name: str) -> str:
    """A string that is not empty.

    :raises: RequestRefused
    """
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise exception.RequestRefused(
            'bad-request', f'{name} must be a string')
    return value


def flag(args: control.Json, name: str) -> bool:
    """Yes or no.

    :raises: RequestRefused
    """
    value = args.get(name)
    if not isinstance(value, bool):
        raise exception.RequestRefused(
            'bad-request', f'{name} must be true or false')
    return value


def choice(args: control.Json, name: str, *choices: str) -> str:
    """One of some words.

    :raises: RequestRefused
    """
    value = args.get(name)
    if value not in choices:
        raise exception.RequestRefused(
            'bad-request', f'{name} must be {" or ".join(choices)}')
    return str(value)
