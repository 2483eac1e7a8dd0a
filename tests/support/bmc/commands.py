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

"""Commands of sessions, users, channels and the chassis.

IPMI v2.0 chapters 20, 22 and 28.
"""

import ipaddress
import struct

from tests.support.bmc import codes
from tests.support.bmc import options
from tests.support.bmc import sessions
from tests.support.bmc import suites
from tests.support.bmc.codes import Code
from tests.support.bmc.codes import Level
from tests.support.bmc.dispatch import ANYBODY
from tests.support.bmc.dispatch import RefusedError
from tests.support.bmc.dispatch import Request
from tests.support.bmc.dispatch import command

#: Number of the LAN channel; 0Eh is "the one this comes through".
CHANNEL = 1
_THIS_CHANNEL = 0x0e


def check_channel(byte: int) -> None:
    """Refuse every channel but ours."""
    if byte & 0x0f not in (CHANNEL, _THIS_CHANNEL):
        raise RefusedError(Code.INVALID_FIELD)


def find_user(request: Request, number: int) -> options.User:
    """The user with a number."""
    for user in request.bmc.settings.users:
        if user.number == number:
            return user
    raise RefusedError(Code.INVALID_FIELD)


@command(codes.GET_DEVICE_ID, Level.USER, 0)
def get_device_id(request: Request) -> bytes:
    """Table 20-2. The manufacturer is the IPMI forum's number: no tool has
    quirks for it.
    """
    return (bytes((0x20, 0x01, 0x02, 0x10, 0x02, 0x8f))
            + (7154).to_bytes(3, 'little') + struct.pack('<H', 1))


@command(codes.GET_SYSTEM_GUID, ANYBODY, 0)
def get_system_guid(request: Request) -> bytes:
    """Table 22-14."""
    return request.bmc.guid


@command(codes.GET_AUTH_CAPABILITIES, ANYBODY, 2)
def get_auth_capabilities(request: Request) -> bytes:
    """Table 22-15."""
    check_channel(request.data[0])
    settings = request.bmc.settings
    extended = request.data[0] & 0x80 and settings.ipmi_2_0
    status = 0x04                       # there are users with names
    if settings.kg:
        status |= 0x20
    for user in settings.users:
        if not user.name:
            status |= 0x02 if user.password else 0x01
    return bytes((CHANNEL, 0x15 | (0x80 if extended else 0), status,
                  0x03 if extended else 0, 0, 0, 0, 0))


@command(codes.GET_CIPHER_SUITES, ANYBODY, 3)
def get_cipher_suites(request: Request) -> bytes:
    """Table 22-17: the records, 16 bytes an answer."""
    check_channel(request.data[0])
    records = b''.join(suites.SUITES[number].record()
                       for number in request.bmc.settings.suites)
    at = 16 * (request.data[2] & 0x3f)
    return bytes([CHANNEL]) + records[at:at + 16]


@command(codes.SET_SESSION_PRIVILEGE, Level.CALLBACK, 1)
def set_session_privilege(request: Request) -> bytes:
    """Table 22-23; 0 asks for the present level."""
    session, wanted = request.mine, request.data[0] & 0x0f
    if wanted == 1 or wanted > Level.ADMIN:
        raise RefusedError(Code.LEVEL_NOT_AVAILABLE)
    if wanted > session.role:
        raise RefusedError(Code.LEVEL_OVER_LIMIT)
    if wanted:
        session.level = wanted
    return bytes([session.level])


@command(codes.CLOSE_SESSION, Level.CALLBACK, 4, 5)
def close_session(request: Request) -> bytes:
    """Table 22-24. One's own at any level, others' as administrator."""
    bmc, mine = request.bmc, request.mine
    session_id = struct.unpack_from('<I', request.data)[0]
    if session_id:
        session = bmc.sessions.get(session_id)
        missing = Code.NO_SUCH_SESSION_ID
    elif len(request.data) == 5:
        session = bmc.sessions.by_handle(request.data[4])
        missing = Code.NO_SUCH_SESSION_HANDLE
    else:
        raise RefusedError(Code.BAD_LENGTH)
    if session is None or not session.active:
        raise RefusedError(missing)
    if session is mine:
        request.then.append(lambda: bmc.end_session(mine, 'closed'))
        return b''
    if mine.level < Level.ADMIN:
        raise RefusedError(Code.INSUFFICIENT_PRIVILEGE)
    bmc.end_session(session, 'closed by another')
    return b''


@command(codes.GET_SESSION_INFO, Level.USER, 1, 2, 5)
def get_session_info(request: Request) -> bytes:
    """Table 22-25."""
    bmc, index = request.bmc, request.data[0]
    size = {0xfe: 2, 0xff: 5}.get(index, 1)
    if len(request.data) != size:
        raise RefusedError(Code.BAD_LENGTH)
    session: sessions.Session | None
    active = bmc.sessions.active
    if index == 0:
        session = request.mine
    elif index == 0xfe:
        session = bmc.sessions.by_handle(request.data[1])
    elif index == 0xff:
        session = bmc.sessions.get(
            struct.unpack_from('<I', request.data, 1)[0])
    else:
        session = active[index - 1] if index <= len(active) else None
    slots = bytes((bmc.settings.slots & 0x3f, len(active) & 0x3f))
    if session is None or not session.active:
        how = bmc.settings.unknown_session
        if how is options.Unknown.NOT_PRESENT:
            raise RefusedError(Code.NOT_PRESENT)
        if how is options.Unknown.INVALID:
            raise RefusedError(Code.INVALID_FIELD)
        return b'\x00' + slots
    user = session.user.number if session.user is not None else 0
    answer = bytes([session.handle]) + slots + bytes(
        (user, session.level, 0x10 | CHANNEL))
    if bmc.settings.tells_address:
        address, port = session.remote
        # There is no room for an IPv6 address.
        packed = (bytes(4) if ':' in address
                  else ipaddress.IPv4Address(address).packed)
        answer += packed + bmc.settings.mac + struct.pack('<H', port)
    return answer


@command(codes.GET_CHANNEL_ACCESS, Level.USER, 2)
def get_channel_access(request: Request) -> bytes:
    """Table 22-28: always available, up to administrator."""
    check_channel(request.data[0])
    return bytes((0x02, Level.ADMIN))


@command(codes.GET_CHANNEL_INFO, Level.USER, 1)
def get_channel_info(request: Request) -> bytes:
    """Table 22-29: 802.3 LAN, IPMB-1.0, multi-session."""
    check_channel(request.data[0])
    return bytes((CHANNEL, 0x04, 0x01,
                  0x80 | len(request.bmc.sessions.active) & 0x3f)) + (
        (7154).to_bytes(3, 'little') + bytes(2))


@command(codes.GET_USER_ACCESS, Level.OPERATOR, 2)
def get_user_access(request: Request) -> bytes:
    """Table 22-32."""
    check_channel(request.data[0])
    users = request.bmc.settings.users
    highest = max(user.number for user in users)
    try:
        level = 0x30 | find_user(request, request.data[1] & 0x3f).level
        status = 0x40                   # enabled
    except RefusedError:
        level, status = 0x0f, 0x80      # no access, disabled
    return bytes((highest, status | len(users), 1, level))


@command(codes.GET_USER_NAME, Level.OPERATOR, 1)
def get_user_name(request: Request) -> bytes:
    """Table 22-34."""
    user = find_user(request, request.data[0] & 0x3f)
    return user.name_bytes.ljust(16, b'\0')


@command(codes.GET_CHASSIS_STATUS, Level.USER, 0)
def get_chassis_status(request: Request) -> bytes:
    """Table 28-3."""
    return bytes((0x60 | request.bmc.powered, 0, 0))


@command(codes.CHASSIS_CONTROL, Level.OPERATOR, 1)
def chassis_control(request: Request) -> bytes:
    """Table 28-4: 0 off, 1 on, 2 cycle, 3 reset, 5 soft off."""
    bmc, action = request.bmc, request.data[0] & 0x0f
    if action in (0, 5):
        request.then.append(lambda: bmc.power(False))
    elif action == 1:
        request.then.append(lambda: bmc.power(True))
    elif action in (2, 3):
        request.then.append(lambda: bmc.power(False))
        request.then.append(lambda: bmc.power(True))
    else:
        raise RefusedError(Code.INVALID_FIELD)
    return b''
