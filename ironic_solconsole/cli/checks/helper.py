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

"""Run a part of this package in a process of its own, for a while.

It may hang, may load what this process shall not, and may have to be
another user; it is given JSON and gives JSON.
"""

import json
import os
import subprocess
import sys
import typing

from ironic_solconsole import exception
from ironic_solconsole.cli.checks import processes


class HelperError(exception.SolConsoleError):
    """A helper did not answer; says why, in one line."""


class HelperHangs(HelperError):
    """It had no answer in time."""


#: What to do about a HelperError that is none of its subject.
ADVICE = ('run this command with the Python that ironic-conductor runs with; '
          "the conductor's user must be able to run it")


def run(module: str, data: object, *, timeout: float,
        account: processes.Account | None = None) -> dict[str, typing.Any]:
    """Give a module its input, and take its output.

    :param module: reads JSON from stdin, writes a JSON object to the last
        line of stdout.
    :param data: its input; may hold secrets, which go through a pipe.
    :param timeout: seconds after which it is killed.
    :param account: whom to run it as, if this is root; None for oneself.
    :raises: HelperError
    """
    as_whom: dict[str, typing.Any] = {}
    if account is not None and os.geteuid() == 0 and account.uid:
        as_whom = {'user': account.uid, 'group': account.gid,
                   'extra_groups': sorted(account.groups)}
    try:
        # -P: nothing is imported from the current directory
        done = subprocess.run(
            [sys.executable, '-P', '-W', 'ignore', '-m', module],
            input=json.dumps(data).encode(), capture_output=True,
            timeout=timeout, cwd='/', check=False, **as_whom)
    except subprocess.TimeoutExpired:
        raise HelperHangs(f'no answer within {timeout:g} s') from None
    except OSError as error:
        raise HelperError(
            f'{sys.executable} cannot be started'
            f'{f" as {account}" if as_whom else ""}: {error.strerror}'
        ) from None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = done.stderr.decode(errors='replace').strip().splitlines()
        raise HelperError(
            f'it ended with {done.returncode}: '
            f'{said[-1][:300] if said else "no output"}') from None
    if not isinstance(answer, dict):
        raise HelperError('its answer is not an object')
    return answer
