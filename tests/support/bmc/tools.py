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

"""The tools that our BMC is held against: ipmitool and FreeIPMI."""

import os
import pathlib

from tests.support import ipmitool
from tests.support import waiting
from tests.support.bmc import model
from tests.support.bmc import options

#: ipmiconsole 1.6 takes no port above it: "hostname invalid".
LAST_FREEIPMI_PORT = 32767


class Ipmitool(ipmitool.Ipmitool):
    """ipmitool with any cipher suite.

    :param suite: 3 or 17.
    :param port: another one than the BMC's own.
    """

    def __init__(self, bmc: model.ModelBmc, suite: int,
                 user: options.User = options.ADMIN, *,
                 password: str | None = None, kg: str = '',
                 port: int = 0) -> None:
        super().__init__(
            bmc.address, port or bmc.port, user.name,
            user.password if password is None else password, kg)
        self._command[self._command.index('-C') + 1] = str(suite)


class Ipmiconsole(ipmitool.SolByHand):
    """FreeIPMI's ipmiconsole on a pty of its own.

    :param bmc: where to; its port at most LAST_FREEIPMI_PORT.
    :param suite: 3 or 17.
    :param directory: for the file with the password.
    :param kg: the key Kg as text.
    """

    def __init__(self, bmc: model.ModelBmc, suite: int,
                 directory: pathlib.Path,
                 user: options.User = options.ADMIN, *,
                 password: str | None = None, kg: str = '') -> None:
        assert bmc.port <= LAST_FREEIPMI_PORT, bmc.port
        configuration = directory / f'ipmiconsole-{bmc.port}-{suite}.conf'
        configuration.touch(0o600)
        configuration.write_text('\n'.join((
            f'username {user.name}',
            f'password {user.password if password is None else password}',
            f'cipher-suite-id {suite}',
            f'privilege-level {user.privilege.upper()}',
            *([f'k_g {kg}'] if kg else []))) + '\n')
        super().__init__(
            ['ipmiconsole', '--config-file', str(configuration),
             '--hostname', f'{bmc.address}:{bmc.port}'],
            {**os.environ, 'LC_ALL': 'C'})

    def wait_open(self) -> None:
        """Wait until it says that the console is open."""
        self.wait_for(b'[SOL established]')

    def leave(self, timeout: float = 10.0) -> None:
        """End in order with ``&.`` and log out."""
        self.type(b'&.')
        waiting.wait_until(lambda: not self.running,
                           'end of ipmiconsole after &.', timeout,
                           seen=lambda: self.screen)
        self.kill()
