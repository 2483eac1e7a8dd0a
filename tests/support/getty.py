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

"""A host with a getty on its serial line.

::

    with Getty(files) as getty, IpmiSim([
            BmcSetup(serial=str(getty.serial))]) as sim: ...
"""

import collections.abc
import os
import pathlib
import subprocess
import tempfile

from tests.support import processes
from tests.support import waiting

#: What getty starts; see there.
LOGIN = pathlib.Path(__file__).with_name('login.sh')


class Getty:
    """agetty on a pty that is like a serial port.

    :param issue: what it greets with.
    :param files: what is in the home directory, by name.
    :ivar serial: path of the serial port, for the BMC.
    """

    def __init__(self, issue: str,
                 files: collections.abc.Mapping[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix='getty.')
        self._path = pathlib.Path(self._directory.name)
        self._issue, self._files = issue, files
        # unique, because ipmi_sim locks the line by its name
        self.serial = self._path / f'ttyS-{self._path.name}'
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> 'Getty':
        # the shell is nobody's
        self._path.chmod(0o755)
        home = self._path / 'home'
        home.mkdir()
        for name, text in self._files.items():
            (home / name).write_text(text)
        (self._path / 'issue').write_text(self._issue)
        # getty gives one word to the login program, and ours needs two
        login = self._path / 'login'
        login.write_text(f'#!/bin/sh\nexec bash {LOGIN} {home} "$@"\n')
        login.chmod(0o755)
        getty = (f'agetty -8 --noclear --issue-file {self._path / "issue"} '
                 f'--login-program {login} - xterm')
        with (self._path / 'log').open('wb') as log:
            self._process = subprocess.Popen(
                processes.die_with_us([
                    'socat', f'PTY,link={self.serial},rawer,wait-slave',
                    f'EXEC:{getty},pty,setsid,ctty,sane']),
                env={**os.environ, 'LANG': 'C.UTF-8'},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        waiting.wait_until(self.serial.exists, f'socat to make {self.serial}')
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None:
            processes.end(self._process)
        self._directory.cleanup()
