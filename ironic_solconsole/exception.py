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

"""Every error of this project, and why a console link can be down.

::

    SolConsoleError
    +-- SpecError               a value in a ConsoleSpec is not usable
    +-- DriverInfoError         driver_info of a node does not make a console
    +-- ControlError            the wire between conductor, bridge and CLI
    |   +-- MessageError        a line is malformed, too long or of another
    |   |                       version
    |   +-- BridgeUnavailable   no bridge process answers
    |   +-- RequestRefused      a bridge answered, and the answer is no
    |       +-- PortInUse       somebody else listens on the node's TCP port
    +-- PortError               no TCP port can be given to a node
    +-- CoordinationError       coordination_url or its times are not usable
    +-- LinkError               no serial data flows, for one of Reason

This module imports nothing of ours, so that ``sol`` may use it.
"""

import enum


class Reason(enum.StrEnum):
    """Why the link to a BMC is not connected.

    The value is what ``list`` and ``show`` print.
    """

    UNREACHABLE = 'unreachable'
    BAD_CREDENTIALS = 'bad credentials'
    PRIVILEGE = 'privilege too low'
    SOL_DISABLED = 'SOL disabled'
    SESSION_LIMIT = 'session limit'
    ENCRYPTION_REFUSED = 'encryption refused'
    HELD = 'held'
    STOLEN = 'stolen'
    CLOSED_BY_BMC = 'BMC closed it'
    POWERED_OFF = 'powered off'
    PROTOCOL_ERROR = 'protocol error'
    LOCKED = 'locked by another conductor'
    NO_LOCK = 'no lock'
    CONDUCTOR_AWAY = 'conductor away'


#: What a deployer can do about each reason, as the end of a sentence.
ADVICE: dict[Reason, str] = {
    Reason.UNREACHABLE:
        'check ipmi_address and ipmi_port, the management network, and '
        'that IPMI over LAN is enabled on the BMC',
    Reason.BAD_CREDENTIALS:
        'check ipmi_username, ipmi_password and ipmi_hex_kg_key',
    Reason.PRIVILEGE:
        'give the account the privilege that ipmi_priv_level asks for, or '
        'lower ipmi_priv_level',
    Reason.SOL_DISABLED:
        'enable Serial over LAN on the BMC, for its LAN channel and for '
        'this user ("ipmitool sol set enabled true" and "ipmitool sol '
        'payload enable")',
    Reason.SESSION_LIMIT:
        'the BMC has no free session; close sessions that are not needed',
    Reason.ENCRYPTION_REFUSED:
        'allow encrypted SOL on the BMC, or set ipmi_cipher_suite to one '
        'that the BMC supports (3 or 17)',
    Reason.HELD:
        'another session uses the console; it is taken up when that ends',
    Reason.STOLEN:
        'another session took the console; it is taken up when that ends',
    Reason.CLOSED_BY_BMC:
        'the BMC ended the console; it is tried again',
    Reason.POWERED_OFF:
        'the BMC offers no serial data while the host is powered off',
    Reason.PROTOCOL_ERROR:
        'the BMC does not keep to IPMI 2.0; look for newer firmware',
    Reason.LOCKED:
        'another conductor holds the lock of the node; it is taken up when '
        'that gives it up',
    Reason.NO_LOCK:
        'check coordination_url and what it names; the console opens when '
        'the lock can be had',
    Reason.CONDUCTOR_AWAY:
        'the conductor does not answer; the console opens when it does',
}


class SolConsoleError(Exception):
    """Anything this project reports as an error."""


class SpecError(SolConsoleError):
    """A value of a ConsoleSpec is missing or out of range.

    :param field: name of the field.
    :param problem: what is wrong and what is allowed; never a secret.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f'{field}: {problem}')
        self.field = field
        self.problem = problem


class DriverInfoError(SolConsoleError):
    """The driver_info of a node is not usable for a console.

    :param complaints: all of them, each with its field; never a secret.
    :param missing: whether nothing but missing fields is wrong.
    """

    def __init__(self, complaints: str, *, missing: bool) -> None:
        super().__init__(f'driver_info: {complaints}')
        self.missing = missing


class ControlError(SolConsoleError):
    """The wire between conductor, bridge and command line failed."""


class MessageError(ControlError):
    """A control line is malformed, too long, or of another version."""


class BridgeUnavailable(ControlError):
    """No bridge process answered in time."""


class RequestRefused(ControlError):
    """A bridge answered a request with an error.

    :param kind: a word that programs may compare, for example
        ``no-such-console``.
    :param message: one sentence for people.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class PortInUse(RequestRefused):
    """Somebody else listens on the TCP port that a console was to have."""

    KIND = 'port-in-use'

    def __init__(self, message: str) -> None:
        super().__init__(self.KIND, message)


class PortError(SolConsoleError):
    """No TCP port can be given to a node, with the reason."""


class CoordinationError(SolConsoleError):
    """coordination_url, or a time that goes with it, is not usable."""


class LinkError(SolConsoleError):
    """An attempt to reach a BMC's serial console failed, or a link ended.

    :param reason: which of the reasons.
    :param detail: what was tried and what came back, for people; never a
        secret.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f'{reason}: {detail}')
        self.reason = reason
        self.detail = detail
