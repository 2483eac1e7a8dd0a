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

"""What the figures were measured on, and with what."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
import typing

#: Libraries that the bridge's figures depend on, and who has the commands
#: of socat and ipmitool.
_LIBRARIES = ('pyghmi', 'cryptography', 'tooz', 'ironic')

#: Programs, with what makes them tell their version.
_PROGRAMS = {'socat': ['socat', '-V'], 'ipmitool': ['ipmitool', '-V'],
             'openipmi': ['dpkg-query', '-W', 'openipmi'],
             'solconsole': ['git', 'describe', '--always', '--dirty']}


def describe() -> dict[str, typing.Any]:
    """The machine, the date and the load that was there before."""
    return {
        'date': datetime.datetime.now(datetime.UTC).isoformat(
            timespec='seconds'),
        'cores': len(os.sched_getaffinity(0)),
        'cpu': _first('/proc/cpuinfo', r'model name\s*: (.+)'),
        'memory': _first('/proc/meminfo', r'MemTotal:\s*(.+)'),
        'kernel': f'{platform.system()} {platform.release()}',
        'python': platform.python_version(),
        'load': os.getloadavg()[0]}


def versions(conman: str) -> dict[str, str]:
    """What was run.

    :param conman: what conmand says of itself.
    """
    found = {'conman': conman or 'none'}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = 'none'
    for name, command in _PROGRAMS.items():
        found[name] = _version(command)
    return found


def _first(path: str, pattern: str) -> str:
    found = re.search(pattern, pathlib.Path(path).read_text())
    return found.group(1) if found else 'unknown'


def _version(command: list[str]) -> str:
    """The first word of a program's output with a digit and a dot."""
    try:
        text = subprocess.run(
            command, capture_output=True, text=True, timeout=10.0,
            check=True, stdin=subprocess.DEVNULL).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return 'unknown'
    if command[0] == 'git':
        return text
    found = re.search(r'\d+\.[\w.+~-]+', text)
    return found.group() if found else text
