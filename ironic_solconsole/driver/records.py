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

"""What is written down of each bridge process, for who comes after.

A bridge ends with its conductor. One that hangs does not, and then only
this file tells its conductor's successors that it is there.
"""

from collections.abc import Iterator
import dataclasses
import json
import os
import pathlib

from oslo_log import log

from ironic_solconsole import control
from ironic_solconsole.driver import procs

LOG = log.getLogger(__name__)

#: Bytes of a record; those that we write are far smaller.
MAX_SIZE = 4096


@dataclasses.dataclass(frozen=True)
class Record:
    """One bridge process.

    :param host: name of its conductor.
    :param bridge: its number.
    :param token: word for the process.
    :param conductor: word for the process of the conductor.
    """

    host: str
    bridge: int
    token: str
    conductor: str

    def to_json(self) -> str:
        """The record as text."""
        return json.dumps({**dataclasses.asdict(self),
                           'pid': procs.pid_of(self.token)})

    @classmethod
    def from_json(cls, text: str) -> 'Record':
        """The record that to_json() gave.

        :raises: ValueError if it did not.
        """
        try:
            data = json.loads(text)
            values = {field.name: data[field.name]
                      for field in dataclasses.fields(cls)}
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f'is damaged ({error!r})') from None
        if type(values.pop('bridge')) is not int or not all(
                isinstance(value, str) for value in values.values()):
            raise ValueError('is damaged')
        return cls(bridge=data['bridge'], **values)


def write(options: control.Json, number: int,
          pid: int) -> pathlib.Path | None:
    """Write down that a process of ours is a bridge.

    The name of the file is the process's own: a bridge that hangs is not
    forgotten because its place was given to the next one.

    :param options: those that the bridge is given: its socket, beside which
        the record lies, and the host.
    :param number: of the bridge.
    :returns: the file, to be removed when the process has ended; None if
        there is none. That is logged, and no reason to have no consoles.
    """
    if 'socket' not in options:
        return None
    path = pathlib.Path(options['socket']).with_name(f'{number}-{pid}.json')
    temporary = path.with_suffix('.new')
    record = Record(options['host'], number, procs.process_token(pid),
                    procs.process_token(os.getpid()))
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary.unlink(missing_ok=True)
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, 'w', encoding='ascii') as file:
            file.write(record.to_json())
        temporary.replace(path)
    except OSError as error:
        LOG.warning('Bridge %(number)d (pid %(pid)d) cannot be written down, '
                    'so that nobody ends it if it hangs when this conductor '
                    'is killed: %(error)s',
                    {'number': number, 'pid': pid, 'error': error})
        return None
    return path


def read_all(run_dir: pathlib.Path,
             ) -> Iterator[tuple[pathlib.Path, Record | None]]:
    """All records of this host; None for one that is damaged.

    :param run_dir: [solconsole]run_dir.
    """
    for path in sorted(run_dir.glob('*/*-*.json')):
        try:
            with path.open('rb') as file:
                text = file.read(MAX_SIZE).decode('utf-8', 'replace')
            yield path, Record.from_json(text)
        except OSError:
            continue
        except ValueError:
            yield path, None
