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

"""Numbers of the IPMI v2.0 specification, revision 1.1."""

import enum


class Payload(enum.IntEnum):
    """Payload types, table 13-16."""

    IPMI = 0x00
    SOL = 0x01
    OPEN_SESSION_REQUEST = 0x10
    OPEN_SESSION_RESPONSE = 0x11
    RAKP_1 = 0x12
    RAKP_2 = 0x13
    RAKP_3 = 0x14
    RAKP_4 = 0x15


class Status(enum.IntEnum):
    """RMCP+ and RAKP status codes, table 13-15."""

    OK = 0x00
    NO_RESOURCES = 0x01
    INVALID_SESSION_ID = 0x02
    INVALID_PAYLOAD_TYPE = 0x03
    INVALID_AUTHENTICATION = 0x04
    INVALID_INTEGRITY = 0x05
    NO_AUTHENTICATION_PAYLOAD = 0x06
    NO_INTEGRITY_PAYLOAD = 0x07
    INACTIVE_SESSION_ID = 0x08
    INVALID_ROLE = 0x09
    UNAUTHORIZED_ROLE = 0x0a
    NO_RESOURCES_FOR_ROLE = 0x0b
    INVALID_NAME_LENGTH = 0x0c
    UNAUTHORIZED_NAME = 0x0d
    UNAUTHORIZED_GUID = 0x0e
    BAD_INTEGRITY_CHECK = 0x0f
    INVALID_CONFIDENTIALITY = 0x10
    NO_CIPHER_SUITE = 0x11
    ILLEGAL_PARAMETER = 0x12


class Code:
    """Completion codes, table 5-2; what 80h to BEh say differs by command."""

    OK = 0x00
    PAYLOAD_ACTIVE = 0x80           # Activate Payload
    PAYLOAD_DISABLED = 0x81
    PAYLOAD_LIMIT = 0x82
    NO_ENCRYPTION = 0x83            # cannot activate with encryption
    ENCRYPTION_NEEDED = 0x84        # cannot activate without encryption
    PAYLOAD_INACTIVE = 0x80         # Deactivate Payload
    LEVEL_NOT_AVAILABLE = 0x80      # Set Session Privilege Level
    LEVEL_OVER_LIMIT = 0x81
    NO_SUCH_SESSION_ID = 0x87       # Close Session
    NO_SUCH_SESSION_HANDLE = 0x88
    NO_SUCH_PARAMETER = 0x80        # Get SOL Configuration Parameters
    INVALID_COMMAND = 0xc1
    BAD_LENGTH = 0xc7
    NOT_PRESENT = 0xcb
    INVALID_FIELD = 0xcc
    INSUFFICIENT_PRIVILEGE = 0xd4


class NetFn(enum.IntEnum):
    """Network function codes of requests, table 5-1."""

    CHASSIS = 0x00
    APP = 0x06
    TRANSPORT = 0x0c


class Level(enum.IntEnum):
    """Privilege levels, section 6.8."""

    CALLBACK = 1
    USER = 2
    OPERATOR = 3
    ADMIN = 4


# Commands, table G-1.
GET_CHASSIS_STATUS = (NetFn.CHASSIS, 0x01)
CHASSIS_CONTROL = (NetFn.CHASSIS, 0x02)
GET_DEVICE_ID = (NetFn.APP, 0x01)
GET_SYSTEM_GUID = (NetFn.APP, 0x37)
GET_AUTH_CAPABILITIES = (NetFn.APP, 0x38)
SET_SESSION_PRIVILEGE = (NetFn.APP, 0x3b)
CLOSE_SESSION = (NetFn.APP, 0x3c)
GET_SESSION_INFO = (NetFn.APP, 0x3d)
GET_CHANNEL_ACCESS = (NetFn.APP, 0x41)
GET_CHANNEL_INFO = (NetFn.APP, 0x42)
GET_USER_ACCESS = (NetFn.APP, 0x44)
GET_USER_NAME = (NetFn.APP, 0x46)
ACTIVATE_PAYLOAD = (NetFn.APP, 0x48)
DEACTIVATE_PAYLOAD = (NetFn.APP, 0x49)
GET_PAYLOAD_STATUS = (NetFn.APP, 0x4a)
GET_PAYLOAD_INSTANCE = (NetFn.APP, 0x4b)
SET_USER_PAYLOAD_ACCESS = (NetFn.APP, 0x4c)
GET_USER_PAYLOAD_ACCESS = (NetFn.APP, 0x4d)
GET_PAYLOAD_SUPPORT = (NetFn.APP, 0x4e)
GET_PAYLOAD_VERSION = (NetFn.APP, 0x4f)
GET_CIPHER_SUITES = (NetFn.APP, 0x54)
SOL_ACTIVATING = (NetFn.TRANSPORT, 0x20)
SET_SOL_PARAMETER = (NetFn.TRANSPORT, 0x21)
GET_SOL_PARAMETER = (NetFn.TRANSPORT, 0x22)

# Operation byte of a SOL packet to the BMC, table 15-2.
TO_BMC_NACK = 0x40
TO_BMC_BREAK = 0x10
TO_BMC_PAUSE = 0x08
TO_BMC_FLUSH_INBOUND = 0x02
TO_BMC_FLUSH_OUTBOUND = 0x01

# Status byte of a SOL packet from the BMC, table 15-2.
NACK = 0x40
UNAVAILABLE = 0x20
DEACTIVATED = 0x10
OVERRUN = 0x08
BREAK = 0x04

#: Characters a SOL packet can carry: the accepted count is one byte.
MAX_CHARACTERS = 255
SOL_HEADER = 4

# Aux byte of Activate Payload for SOL, table 24-2.
AUX_ENCRYPT = 0x80
AUX_AUTHENTICATE = 0x40
AUX_HANDSHAKE = 0x02
