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

"""Commands of payloads and of Serial over LAN.

IPMI v2.0 chapters 24 and 26.
"""

import struct
import time

from tests.support.bmc import codes
from tests.support.bmc import journal
from tests.support.bmc import options
from tests.support.bmc.codes import Code
from tests.support.bmc.codes import Level
from tests.support.bmc.codes import Payload
from tests.support.bmc.commands import check_channel
from tests.support.bmc.commands import find_user
from tests.support.bmc.dispatch import RefusedError
from tests.support.bmc.dispatch import Request
from tests.support.bmc.dispatch import command

_INSTANCE = 1


def _check_payload(request: Request) -> None:
    """Refuse everything but the first instance of SOL."""
    if (request.data[0] & 0x3f != Payload.SOL
            or request.data[1] & 0x0f != _INSTANCE):
        raise RefusedError(Code.INVALID_FIELD)


@command(codes.ACTIVATE_PAYLOAD, Level.USER, 6)
def activate_payload(request: Request) -> bytes:
    """Table 24-2."""
    code = Code.OK
    try:
        return _activate(request)
    except RefusedError as refusal:
        code = refusal.code
        raise
    finally:
        session = request.mine
        request.bmc.journal.activations.add(journal.Activation(
            time.monotonic(), session.id, session.user_name, session.remote,
            request.data[2], code))


def _activate(request: Request) -> bytes:
    bmc, session, aux = request.bmc, request.mine, request.data[2]
    sol = bmc.settings.sol
    _check_payload(request)
    if not sol.enabled:
        raise RefusedError(Code.PAYLOAD_DISABLED)
    if session.level < sol.level or not (session.user and session.user.sol):
        raise RefusedError(Code.INSUFFICIENT_PRIVILEGE)
    encrypt = bool(aux & codes.AUX_ENCRYPT)
    if encrypt and (sol.encryption is options.Encryption.REFUSED
                    or not session.suite.encrypts):
        raise RefusedError(Code.NO_ENCRYPTION)
    if not encrypt and sol.encryption is options.Encryption.REQUIRED:
        raise RefusedError(Code.ENCRYPTION_NEEDED)
    if bmc.holder is not None:
        raise RefusedError(Code.PAYLOAD_ACTIVE)
    sign = session.suite.authenticates and (
        encrypt or bool(aux & codes.AUX_AUTHENTICATE))
    start = bmc.activate(session, encrypt, sign)
    if sol.early:
        start()
    else:
        request.then.append(start)
    return bytes(4) + struct.pack(
        '<HHHH', sol.inbound_size, sol.outbound_size,
        bmc.reported_port(session), 0xffff)


@command(codes.DEACTIVATE_PAYLOAD, Level.USER, 6)
def deactivate_payload(request: Request) -> bytes:
    """Table 24-3. Any session may end any other's activation."""
    bmc = request.bmc
    _check_payload(request)
    if not bmc.settings.sol.enabled:
        raise RefusedError(Code.PAYLOAD_DISABLED)
    if request.mine.level < bmc.settings.sol.level:
        raise RefusedError(Code.INSUFFICIENT_PRIVILEGE)
    if bmc.holder is None:
        raise RefusedError(Code.PAYLOAD_INACTIVE)
    if bmc.holder == request.mine.id:
        bmc.end_payload('deactivated')
    else:
        bmc.end_payload('deactivated by another', tell=True)
    return b''


@command(codes.GET_PAYLOAD_STATUS, Level.USER, 1)
def get_payload_status(request: Request) -> bytes:
    """Table 24-4."""
    if request.data[0] & 0x3f != Payload.SOL:
        raise RefusedError(Code.INVALID_FIELD)
    return bytes((request.bmc.settings.sol.capacity & 0x0f,
                  request.bmc.holder is not None, 0))


@command(codes.GET_PAYLOAD_INSTANCE, Level.USER, 2)
def get_payload_instance(request: Request) -> bytes:
    """Table 24-5: whose it is, and which serial port."""
    _check_payload(request)
    return struct.pack('<IB7x', request.bmc.holder or 0, 1)


@command(codes.SET_USER_PAYLOAD_ACCESS, Level.ADMIN, 6)
def set_user_payload_access(request: Request) -> bytes:
    """Table 24-6."""
    check_channel(request.data[0])
    user = find_user(request, request.data[1] & 0x3f)
    if request.data[2] & 1 << Payload.SOL:
        request.bmc.change_user(
            user.name, sol=not request.data[1] & 0x40)
    return b''


@command(codes.GET_USER_PAYLOAD_ACCESS, Level.OPERATOR, 2)
def get_user_payload_access(request: Request) -> bytes:
    """Table 24-7."""
    check_channel(request.data[0])
    user = find_user(request, request.data[1] & 0x3f)
    return bytes((user.sol << Payload.SOL, 0, 0, 0))


@command(codes.GET_PAYLOAD_SUPPORT, Level.USER, 1)
def get_payload_support(request: Request) -> bytes:
    """Table 24-8: IPMI and SOL, and the login."""
    check_channel(request.data[0])
    return bytes((0x03, 0, 0x3f, 0, 0, 0, 0, 0))


@command(codes.GET_PAYLOAD_VERSION, Level.USER, 2)
def get_payload_version(request: Request) -> bytes:
    """Table 24-9: 1.0."""
    check_channel(request.data[0])
    return b'\x10'


# SOL configuration parameters, table 26-5.
_IN_PROGRESS, _ENABLE, _AUTHENTICATION, _ACCUMULATE, _RETRY = range(5)
_NONVOLATILE_RATE, _VOLATILE_RATE, _CHANNEL, _PORT = range(5, 9)


@command(codes.GET_SOL_PARAMETER, Level.USER, 4)
def get_sol_parameter(request: Request) -> bytes:
    """Table 26-4; revision 1.1 before the value."""
    check_channel(request.data[0])
    sol, number = request.bmc.settings.sol, request.data[1]
    required = sol.encryption is options.Encryption.REQUIRED
    values = {
        _IN_PROGRESS: b'\0',
        _ENABLE: bytes([sol.enabled]),
        _AUTHENTICATION: bytes([required << 7 | required << 6 | sol.level]),
        _ACCUMULATE: bytes((max(1, round(sol.accumulate / 0.005)), 1)),
        _RETRY: bytes((sol.retry_count & 7,
                       min(255, round(sol.retry_interval / 0.01)))),
        _NONVOLATILE_RATE: b'\x0a',     # 115200 Bd
        _VOLATILE_RATE: b'\x0a',
        _CHANNEL: bytes([1]),
        _PORT: struct.pack('<H', request.bmc.port),
    }
    if number not in values:
        raise RefusedError(Code.NO_SUCH_PARAMETER)
    return b'\x11' + (b'' if request.data[0] & 0x80 else values[number])


@command(codes.SET_SOL_PARAMETER, Level.ADMIN, 3, 4)
def set_sol_parameter(request: Request) -> bytes:
    """Table 26-3. Rates and "set in progress" are taken and not used."""
    check_channel(request.data[0])
    sol, number = request.bmc.settings.sol, request.data[1]
    value = request.data[2:]
    if number == _ENABLE:
        sol.enabled = bool(value[0] & 1)
    elif number == _AUTHENTICATION:
        sol.level = Level(max(Level.USER, min(Level.ADMIN, value[0] & 0x0f)))
    elif number == _RETRY and len(value) == 2:
        sol.retry_count = value[0] & 7
        sol.retry_interval = max(1, value[1]) * 0.01
    elif number == _ACCUMULATE and len(value) == 2:
        sol.accumulate = value[0] * 0.005
    elif number not in (_IN_PROGRESS, _NONVOLATILE_RATE, _VOLATILE_RATE):
        raise RefusedError(Code.NO_SUCH_PARAMETER)
    return b''


#: Data of a SOL Activating command, table 26-2: not active, version 1.0 of
#: the payload.
SOL_NOT_ACTIVE = bytes((0x00, _INSTANCE, 0x01, 0x00))
