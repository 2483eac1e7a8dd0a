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

"""What bridges say, in the conductor's log.

The text comes from BMCs, tenants and a process of our own that may be
broken: no character of it may start a line or move a cursor.
"""

import re
import typing

from oslo_log import log

from ironic_solconsole import control

LOG = log.getLogger(__name__)

#: Characters of one message; the rest is cut off.
MAX_MESSAGE = 4096

_PACKAGE = 'ironic_solconsole'
_LOGGER = re.compile(rf'{_PACKAGE}(\.[a-z_]{{1,32}}){{0,4}}')
_LEVELS = range(1, 51)


def printable(text: object, limit: int = MAX_MESSAGE) -> str:
    """Text in which everything that is not printable is escaped.

    :param text: anything; str() of it is taken.
    :param limit: characters after which it is cut.
    """
    raw = str(text)
    cut = raw[:limit]
    if not cut.isprintable():
        cut = ''.join(
            char if char.isprintable()
            else char.encode('unicode_escape', 'replace').decode('ascii')
            for char in cut)
    return cut if len(raw) <= limit else f'{cut}... ({len(raw)} characters)'


def emit(event: control.Event, number: int) -> None:
    """Log what a bridge has sent to be logged.

    :param event: an event; those that are not for the log are ignored.
    :param number: of the bridge that sent it.
    """
    if event.name != 'log':
        return
    data = event.data
    level = data.get('level')
    if not isinstance(level, int) or level not in _LEVELS:
        level = log.WARNING
    name = data.get('logger')
    if not isinstance(name, str) or not _LOGGER.fullmatch(name):
        name = f'{_PACKAGE}.bridge'
    logger = log.getLogger(name)
    dropped = data.get('dropped')
    if isinstance(dropped, int) and dropped > 0:
        logger.warning('Bridge %(number)d lost %(dropped)d log records '
                       'before the next one.',
                       {'number': number, 'dropped': dropped})
    message = printable(data.get('message', ''))
    node = data.get('node')
    if isinstance(node, str) and node:
        node = printable(node, 64)
        context: dict[str, typing.Any] = {'type': 'node', 'id': node}
        logger.log(level, 'Node %(node)s: %(message)s',
                   {'node': node, 'message': message}, resource=context)
    else:
        logger.log(level, 'Bridge %(number)d: %(message)s',
                   {'number': number, 'message': message})


def output(line: str, number: int) -> None:
    """Log a line that a bridge wrote to stdout or stderr; it should not."""
    LOG.warning('Bridge %(number)d wrote: %(line)s',
                {'number': number, 'line': printable(line)})
