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

"""A node's driver_info from a file, in the place of Ironic's database."""

import dataclasses
import json
import os
import pathlib
import stat
import sys
import typing
import uuid

import yaml

from ironic_solconsole import driver_info
from ironic_solconsole import exception
from ironic_solconsole import spec
from ironic_solconsole.cli import checks

_NAME = 'node-info'
_MAX_SIZE = 1 << 20     # bytes
_NO_NODE = str(uuid.UUID(int=0))

#: Fields that the API of Ironic masks, and that are of use here.
_SECRETS = ('ipmi_password', 'ipmi_hex_kg_key', 'redfish_password')

_HOW = ("give JSON as 'baremetal node show NODE -f json' prints it, or YAML, "
        'with driver_info in it')


class NodeFileError(exception.SolConsoleError):
    """The file does not make a console.

    :param advice: what to do.
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem)
        self.advice = advice


@dataclasses.dataclass(frozen=True)
class NodeFile:
    """What a file says of a node.

    :param info: driver_info.
    :param node: UUID, zeros if it does not say.
    :param name: '' if it does not say.
    :param open_to: the mode of the file, if others may read it; else None.
    """

    info: dict[str, typing.Any]
    node: str = _NO_NODE
    name: str = ''
    open_to: int | None = None

    @property
    def has_secret(self) -> bool:
        """Whether there is something in it that is not for others."""
        return any(self.info.get(field) for field in _SECRETS)

    def to_spec(self, connection: str) -> spec.ConsoleSpec:
        """What the driver would make of such a node.

        :param connection: [solconsole]connection.
        :raises: NodeFileError with all complaints.
        """
        masked = [field for field, value in sorted(self.info.items())
                  if isinstance(value, str) and len(value) > 2
                  and not value.strip('*')]
        if masked:
            raise NodeFileError(
                f'{", ".join(masked)}: the API of Ironic shows stars in the '
                'place of secrets',
                'write the real ones into the file, or ask the database')
        try:
            info = driver_info.parse(self.info)
            # The port is not of interest: nothing listens here.
            return info.to_spec(
                node=self.node, name=self.name, instance_uuid='',
                generation='check', connection=connection,
                tcp_host='127.0.0.1', tcp_port=info.terminal_port or 1)
        except (exception.DriverInfoError, exception.SpecError) as error:
            raise NodeFileError(
                str(error), 'correct driver_info of the node; the conductor '
                'says the same') from None


def read(path: str) -> NodeFile:
    """Read a file, or stdin for ``-``.

    :raises: NodeFileError
    """
    try:
        if path == '-':
            data = sys.stdin.buffer.read(_MAX_SIZE + 1)
            mode = 0
        else:
            with pathlib.Path(path).open('rb') as file:
                found = os.fstat(file.fileno())
                # a pipe of a shell is nobody else's
                mode = (stat.S_IMODE(found.st_mode) & 0o077
                        if stat.S_ISREG(found.st_mode) else 0)
                data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise NodeFileError(f'{path} cannot be read: {error.strerror}',
                            _HOW) from None
    if len(data) > _MAX_SIZE:
        raise NodeFileError(f'{path} has more than {_MAX_SIZE} bytes', _HOW)
    return dataclasses.replace(parse(data), open_to=mode or None)


def parse(data: bytes) -> NodeFile:
    """What JSON or YAML says of a node.

    :raises: NodeFileError
    """
    content = _load(data)
    if not isinstance(content, dict):
        raise NodeFileError('it is not an object', _HOW)
    info = content.get('driver_info')
    if info is None and any(
            str(key).startswith(('ipmi_', 'redfish_')) for key in content):
        info, content = content, {}     # driver_info alone
    if not isinstance(info, dict):
        raise NodeFileError('it has no driver_info', _HOW)
    try:
        node = str(uuid.UUID(str(content.get('uuid') or _NO_NODE)))
    except ValueError:
        raise NodeFileError('its uuid is none', _HOW) from None
    return NodeFile({str(key): value for key, value in info.items()}, node,
                    str(content.get('name') or '')[:255])


def _load(data: bytes) -> object:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise NodeFileError('it is not UTF-8', _HOW) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        # Every value stays text: as YAML has it, a password of 0123 would
        # be the number 83, and one of "no" would be false.
        return yaml.load(text, yaml.BaseLoader)     # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, 'problem_mark', None)
        at = f' (line {where.line + 1})' if where is not None else ''
        # not what stands there: it may be a password
        raise NodeFileError(f'it is neither JSON nor YAML{at}',
                            _HOW) from None


def judge_mode(found: NodeFile, path: str) -> checks.Finding:
    """Whether others may read a password in it."""
    if found.open_to and found.has_secret:
        return checks.warning(
            _NAME, f'{path} holds a password, and others may read it',
            f'chmod 600 {path}, and remove it when done')
    return checks.ok(_NAME, f'{path} makes a console')
