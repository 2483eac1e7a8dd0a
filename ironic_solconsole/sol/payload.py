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

"""The SOL payload on a BMC: who has it, activate it, deactivate it.

IPMI v2.0 chapter 24 (payload commands), 22.20 (Get Session Info) and 22.29
(Get User Name), over a session that somebody else owns. What a BMC does
not know (completion code C1h) is answered by saying less, not by guessing.

Deactivate Payload ends whoever has the console: nothing here sends it but
:func:`deactivate`, and its caller must have been told by
:func:`find_holder` whose it is.
"""

import dataclasses
import enum
import struct
import typing

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import messages
from ironic_solconsole.sol import sealing
from ironic_solconsole.sol import session as sol_session

CMD_GET_SESSION_INFO = 0x3d
CMD_GET_USER_NAME = 0x46
CMD_ACTIVATE = 0x48
CMD_DEACTIVATE = 0x49
CMD_ACTIVATION_STATUS = 0x4a
CMD_INSTANCE_INFO = 0x4b

_SOL = bytes([sealing.PAYLOAD_SOL])
_INSTANCE = _SOL + b'\x01'

# Auxiliary data of Activate Payload for SOL, table 24-2.
AUX_ENCRYPT = 0x80
AUX_AUTHENTICATE = 0x40
AUX_ALERTS_DEFERRED = 0x04
AUX_DEASSERT_HANDSHAKE = 0x02

ALREADY_ACTIVE = 0x80


class Workaround(enum.StrEnum):
    """What a BMC needs that it does not show in its answers.

    The value is what stands in driver_info["solconsole_workarounds"].
    """

    #: Serial alerts deferred, not failed, while SOL is active: Intel and
    #: Quanta server boards refuse the activation or stay mute otherwise.
    ALERTS_DEFERRED = 'alerts-deferred'
    #: CTS and DCD/DSR are deasserted until the first packet: BMCs whose
    #: UART drops what the host prints during the activation.
    DEASSERT_HANDSHAKE = 'deassert-handshake'
    #: The UDP port in the answer to Activate Payload is not true, and the
    #: session's is used: Supermicro and Dell boards of the X8/R610 age.
    IGNORE_SOL_PORT = 'ignore-sol-port'
    #: The BMC's count of our packets gets stuck; a packet that was not
    #: acknowledged goes out under the next number: Intel and Oracle boards.
    SKIP_SEQUENCE = 'skip-sequence'
    #: A copy of a packet that was taken is not answered, so that one lost
    #: answer would end the link: OpenBMC.
    SILENT_COPIES = 'silent-copies'
    #: SOL without encryption, for BMCs that answer Activate Payload with
    #: 83h. Who can read the management network can read the console then.
    UNENCRYPTED = 'unencrypted'


@dataclasses.dataclass(frozen=True)
class Holder:
    """A session that has the console, as far as the BMC tells.

    :param session: its id on the BMC, 0 if the BMC does not say.
    :param exists: whether Get Session Info knows the session; None where
        the BMC does not know that command.
    :param user: user id, 0 if unknown.
    :param user_name: name of the user, '' if unknown.
    :param privilege: IPMI privilege level, 0 if unknown.
    :param address: remote IPv4 address, '' if unknown.
    :param port: remote UDP port, 0 if unknown.
    """

    session: int
    exists: bool | None = None
    user: int = 0
    user_name: str = ''
    privilege: int = 0
    address: str = ''
    port: int = 0

    def __str__(self) -> str:
        if not self.session:
            return 'a session that the BMC does not name'
        words = [f'session {self.session:x}h']
        if self.user_name:
            words.append(f'of user {self.user_name!r}')
        elif self.user:
            words.append(f'of user number {self.user}')
        if self.privilege:
            level = {2: 'user', 3: 'operator', 4: 'administrator'}.get(
                self.privilege, str(self.privilege))
            words.append(f'with privilege {level}')
        if self.address:
            words.append(f'from {self.address}:{self.port}')
        if self.exists is False:
            words.append('(which the BMC no longer knows)')
        return ' '.join(words)


def parse_session_info(session: int, answer: messages.Answer) -> Holder:
    """What Get Session Info says of a session.

    Table 22-25: handle (0: no such session), slots, active, user id,
    privilege, channel, and for LAN IPv4(4), MAC(6), port(2).
    """
    data = answer.data
    if answer.code == 0xcb or (not answer.code and data[:1] == b'\0'):
        return Holder(session, exists=False)
    if answer.code or not data:
        return Holder(session)
    if len(data) < 5:
        return Holder(session)
    address, port = '', 0
    if len(data) >= 18 and any(data[6:10]):
        address = '.'.join(map(str, data[6:10]))
        port = int(struct.unpack('<H', data[16:18])[0])
    return Holder(session, True, data[3] & 0x3f, '', data[4] & 0x0f,
                  address, port)


async def ask(session: sol_session.Session, command: int,
              data: bytes) -> messages.Answer:
    """Ask something that a BMC need not know.

    One that leaves it unanswered, and is there, is taken for one that says
    "invalid command", and is not asked again.

    :raises: LinkError if the BMC answers nothing at all.
    """
    if command not in session.unanswered:
        try:
            return await session.command(
                messages.NETFN_APP, command, data)
        except LinkError:
            await session.command(
                messages.NETFN_APP, messages.CMD_GET_DEVICE_ID)
        session.unanswered |= {command}
    return messages.Answer(0xc1, b'')


async def keep_alive(session: sol_session.Session) -> None:
    """Let the BMC know that the session is in use.

    :raises: LinkError without an answer.
    """
    await session.command(
        messages.NETFN_APP, messages.CMD_GET_DEVICE_ID)


async def session_info(session: sol_session.Session, wanted: int) -> Holder:
    """Ask who a session id is.

    :raises: LinkError without an answer.
    """
    answer = await ask(
        session, CMD_GET_SESSION_INFO, b'\xff' + struct.pack('<I', wanted))
    return parse_session_info(wanted, answer)


async def owner(session: sol_session.Session) -> int | None:
    """Session id of who has the console: 0 nobody, None not to be known.

    Does for a keepalive, as something is asked whatever the BMC knows.

    :raises: LinkError without an answer.
    """
    answer = await ask(
        session, CMD_INSTANCE_INFO, _INSTANCE)
    if CMD_INSTANCE_INFO in session.unanswered:
        await keep_alive(session)
    if answer.code or len(answer.data) < 4:
        return None
    return int(struct.unpack('<I', answer.data[:4])[0])


async def find_holder(session: sol_session.Session) -> Holder | None:
    """Who has the console.

    :returns: None if it is free, or if the BMC knows neither 4Ah nor 4Bh:
        then Activate Payload's own 80h is the only truth.
    :raises: LinkError without an answer.
    """
    status = await ask(
        session, CMD_ACTIVATION_STATUS, _SOL)
    active: bool | None = None
    if not status.code and len(status.data) >= 2:
        # Capacity 0 means 1 on Dell M605 and M610; the map of instances
        # counts whatever the capacity says.
        active = bool(status.data[1] & 0x01)
        if not active:
            return None
    holder = await owner(session)
    if holder == 0 or (holder is None and active is None):
        return None
    return await name_holder(session, holder or 0)


async def name_holder(session: sol_session.Session, holder: int) -> Holder:
    """All that the BMC tells of a session that has the console.

    :param holder: its id, or 0 if it is not known.
    :raises: LinkError without an answer.
    """
    if not holder:
        return Holder(0)
    found = await session_info(session, holder)
    if not found.user:
        return found
    answer = await ask(
        session, CMD_GET_USER_NAME, bytes([found.user]))
    if answer.code:
        return found
    name = answer.data[:16].split(b'\0')[0].decode(
        'utf-8', 'backslashreplace')
    return dataclasses.replace(found, user_name=name)


class Activation(typing.NamedTuple):
    """The BMC's answer to an activation.

    :param inbound_size: payload size it takes, bytes, as it reports it.
    :param port: UDP port for SOL; 0 for that of the session.
    """

    inbound_size: int
    port: int


def check_activation(answer: messages.Answer) -> None:
    """Raise what a completion code of Activate Payload means.

    Table 24-2, and the generic codes of table 5-2.

    :raises: LinkError.
    """
    known = {
        0x80: (Reason.HELD, 'payload already active on another session'),
        0x81: (Reason.SOL_DISABLED, 'SOL is disabled'),
        0x82: (Reason.SESSION_LIMIT, 'payload activation limit reached'),
        0x83: (Reason.ENCRYPTION_REFUSED, 'cannot activate with encryption'),
        0x84: (Reason.ENCRYPTION_REFUSED,
               'cannot activate without encryption'),
        0xc1: (Reason.SOL_DISABLED, 'the BMC does not know the command'),
        0xd4: (Reason.PRIVILEGE, 'insufficient privilege level'),
    }
    if answer.code:
        reason, text = known.get(answer.code, (
            Reason.PROTOCOL_ERROR, 'unexpected completion code'))
        raise LinkError(
            reason, 'the BMC answered Activate Payload with '
            f'{answer.code:02x}h ({text})')


def parse_activation(data: bytes, session_port: int,
                     ignore_port: bool) -> Activation:
    """Sizes and port in the answer: aux(4), inbound, outbound, port, VLAN.

    A port that is the session's when its bytes are swapped (Supermicro X8),
    0 or FFFFh is the session's.
    """
    inbound, _, port = struct.unpack('<HHH', data[4:10].ljust(6, b'\0'))
    swapped = port >> 8 | (port & 0xff) << 8
    if (ignore_port or port in (0, 0xffff)
            or session_port in (port, swapped)):
        port = 0
    return Activation(inbound, port)


async def activate(
        session: sol_session.Session,
        workarounds: frozenset[Workaround] = frozenset()) -> Activation:
    """Take the console.

    :raises: LinkError; with Reason.HELD if somebody has it.
    """
    aux = AUX_AUTHENTICATE
    if Workaround.UNENCRYPTED not in workarounds:
        aux |= AUX_ENCRYPT
    if Workaround.ALERTS_DEFERRED in workarounds:
        aux |= AUX_ALERTS_DEFERRED
    if Workaround.DEASSERT_HANDSHAKE in workarounds:
        aux |= AUX_DEASSERT_HANDSHAKE
    answer = await session.command(
        messages.NETFN_APP, CMD_ACTIVATE,
        _INSTANCE + bytes([aux, 0, 0, 0]))
    check_activation(answer)
    return parse_activation(
        answer.data, session.target.port,
        Workaround.IGNORE_SOL_PORT in workarounds)


async def deactivate(session: sol_session.Session,
                     timeout: float = 0.0) -> None:
    """End whoever has the console.

    The caller must have been told by the BMC, just now, whose it is.

    :raises: LinkError without an answer.
    """
    await session.command(
        messages.NETFN_APP, CMD_DEACTIVATE, _INSTANCE + bytes(4), timeout,
        hurry=bool(timeout))


async def close_other(session: sol_session.Session, other: int) -> None:
    """Give the slot of a session back that is dead and was ours.

    :raises: LinkError without an answer.
    """
    await session.command(
        messages.NETFN_APP, messages.CMD_CLOSE_SESSION,
        struct.pack('<I', other))
