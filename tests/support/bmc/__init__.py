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

"""A BMC of our own for tests: an RMCP+ server that can misbehave.

It knows what OpenIPMI's ``ipmi_sim`` does not: cipher suite 17, who holds
a session and from where, every way to refuse and to end a console, the
habits of real BMCs, and a network that loses, doubles, delays and spoils.

It is written from the specification (IPMI v2.0 revision 1.1, chapters 13,
15, 22, 24 and 26), shares no code with the client it tests, and is held
against ipmitool and FreeIPMI's ipmiconsole in
``tests/functional/test_model_bmc.py``.

In a coroutine::

    with ModelBmc(BmcOptions(kg=b'key')) as bmc:
        bmc.host.send(b'login: ')

In a test that is none, many at a time, in a thread of their own::

    with ModelBmcs(BmcOptions(), openbmc()) as (plain, odd):
        odd.host.send(b'login: ')

By hand: ``python -m tests.support.bmc --help``.
"""

from tests.support.bmc.fleet import ModelBmcs
from tests.support.bmc.model import ModelBmc
from tests.support.bmc.options import ADMIN
from tests.support.bmc.options import NO_SOL
from tests.support.bmc.options import OPERATOR
from tests.support.bmc.options import PLAIN
from tests.support.bmc.options import SECOND
from tests.support.bmc.options import USERS
from tests.support.bmc.options import BmcOptions
from tests.support.bmc.options import Encryption
from tests.support.bmc.options import Farewell
from tests.support.bmc.options import GiveUp
from tests.support.bmc.options import Locked
from tests.support.bmc.options import Oversize
from tests.support.bmc.options import Port
from tests.support.bmc.options import Refusal
from tests.support.bmc.options import Reply
from tests.support.bmc.options import RoleRefusal
from tests.support.bmc.options import SolOptions
from tests.support.bmc.options import Unknown
from tests.support.bmc.options import User
from tests.support.bmc.options import ipmi_sim
from tests.support.bmc.options import openbmc

__all__ = [
    'ADMIN', 'NO_SOL', 'OPERATOR', 'PLAIN', 'SECOND', 'USERS', 'BmcOptions',
    'Encryption', 'Farewell', 'GiveUp', 'Locked', 'ModelBmc', 'ModelBmcs',
    'Oversize', 'Port', 'Refusal', 'Reply', 'RoleRefusal', 'SolOptions',
    'Unknown', 'User', 'ipmi_sim', 'openbmc']
