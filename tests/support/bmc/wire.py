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

"""RMCP and RMCP+ packets and IPMI messages: bytes to fields and back.

No keys here: what is encrypted or signed is given out as it came, with
the range that the integrity check covers.
"""

import dataclasses
import struct

RMCP_VERSION = 6
CLASS_ASF = 6
CLASS_IPMI = 7
FORMAT_RMCP_PLUS = 6            # "authentication type" of table 13-8

BMC_ADDRESS = 0x20
CONSOLE_ADDRESS = 0x81          # software id of a remote console

_ASF_IANA = b'\x00\x00\x11\xbe'
_ASF_PING = 0x80
_ASF_PONG = 0x40


class MalformedError(Exception):
    """The bytes are no packet or message."""


@dataclasses.dataclass(frozen=True)
class Ping:
    """ASF Presence Ping, section 13.2.3."""

    sequence: int
    tag: int


@dataclasses.dataclass(frozen=True)
class Packet15:
    """A packet of the IPMI 1.5 format, table 13-8."""

    auth_type: int
    sequence: int
    session_id: int
    payload: bytes


@dataclasses.dataclass(frozen=True)
class Packet:
    """A packet of the RMCP+ format, table 13-8.

    :param payload: still encrypted if ``encrypted``.
    :param covered: what the integrity check covers if it takes no bytes
        at the end: from the format byte on, all that follows.
    :param trailer: what stands behind the payload.
    """

    payload_type: int
    encrypted: bool
    authenticated: bool
    session_id: int
    sequence: int
    payload: bytes
    covered: bytes
    trailer: bytes


@dataclasses.dataclass(frozen=True)
class Message:
    """An IPMI message over LAN, figure 13-4; a request's fields."""

    target: int
    netfn: int
    lun: int
    source: int
    sequence: int
    source_lun: int
    command: int
    data: bytes


def parse(datagram: bytes) -> 'Ping | Packet15 | Packet':
    """Take a datagram apart.

    :raises: MalformedError.
    """
    if len(datagram) < 4 or datagram[0] != RMCP_VERSION:
        raise MalformedError('no RMCP header')
    kind = datagram[3]
    if kind == CLASS_ASF:
        return _parse_asf(datagram)
    if kind != CLASS_IPMI:
        raise MalformedError(f'RMCP class {kind:02x}h')
    if len(datagram) < 5:
        raise MalformedError('no session header')
    if datagram[4] == FORMAT_RMCP_PLUS:
        return _parse_plus(datagram)
    return _parse_15(datagram)


def _parse_asf(datagram: bytes) -> Ping:
    if (len(datagram) < 12 or datagram[4:8] != _ASF_IANA
            or datagram[8] != _ASF_PING):
        raise MalformedError('ASF, but no Presence Ping')
    return Ping(datagram[2], datagram[9])


def _parse_15(datagram: bytes) -> Packet15:
    start = 14 if datagram[4] == 0 else 30
    if len(datagram) < start:
        raise MalformedError('IPMI 1.5 header cut')
    sequence, session_id = struct.unpack_from('<II', datagram, 5)
    size = datagram[start - 1]
    # One byte more is the "legacy pad" of table 13-8.
    if len(datagram) - start not in (size, size + 1):
        raise MalformedError('IPMI 1.5 payload length')
    return Packet15(datagram[4], sequence, session_id,
                    datagram[start:start + size])


def _parse_plus(datagram: bytes) -> Packet:
    if len(datagram) < 16:
        raise MalformedError('RMCP+ header cut')
    kind, session_id, sequence, size = struct.unpack_from(
        '<BIIH', datagram, 5)
    if kind & 0x3f == 0x02:
        raise MalformedError('OEM payload')
    if len(datagram) < 16 + size:
        raise MalformedError('RMCP+ payload cut')
    return Packet(
        kind & 0x3f, bool(kind & 0x80), bool(kind & 0x40), session_id,
        sequence, datagram[16:16 + size], datagram[4:], datagram[16 + size:])


def header(payload_type: int, encrypted: bool, authenticated: bool,
           session_id: int, sequence: int, size: int) -> bytes:
    """The RMCP+ session header, from the format byte to the length."""
    kind = payload_type | encrypted << 7 | authenticated << 6
    return struct.pack('<BBIIH', FORMAT_RMCP_PLUS, kind, session_id,
                       sequence, size)


def rmcp(rest: bytes) -> bytes:
    """Put the RMCP header before what follows it."""
    return bytes((RMCP_VERSION, 0, 0xff, CLASS_IPMI)) + rest


def plain(payload_type: int, payload: bytes) -> bytes:
    """An RMCP+ packet outside a session."""
    return rmcp(header(payload_type, False, False, 0, 0, len(payload))
                + payload)


def plain_15(payload: bytes) -> bytes:
    """An IPMI 1.5 packet outside a session."""
    return rmcp(bytes(9) + bytes([len(payload)]) + payload)


def pong(ping: Ping) -> bytes:
    """ASF Presence Pong: IPMI is supported."""
    return (bytes((RMCP_VERSION, 0, ping.sequence, CLASS_ASF)) + _ASF_IANA
            + bytes((_ASF_PONG, ping.tag, 0, 16)) + _ASF_IANA + bytes(4)
            + b'\x81\x00' + bytes(6))


def checksum(data: bytes) -> int:
    """Two's complement checksum, section 13.8."""
    return -sum(data) & 0xff


def parse_message(payload: bytes) -> Message:
    """Take a request apart.

    :raises: MalformedError.
    """
    if len(payload) < 7:
        raise MalformedError('IPMI message cut')
    if sum(payload[:3]) & 0xff or sum(payload[3:]) & 0xff:
        raise MalformedError('IPMI message checksum')
    return Message(
        payload[0], payload[1] >> 2, payload[1] & 3, payload[3],
        payload[4] >> 2, payload[4] & 3, payload[5], payload[6:-1])


def answer(request: Message, code: int, data: bytes = b'') -> bytes:
    """The response to a request."""
    head = bytes((request.source,
                  (request.netfn | 1) << 2 | request.source_lun))
    body = bytes((request.target, request.sequence << 2 | request.lun,
                  request.command, code)) + data
    return (head + bytes([checksum(head)]) + body
            + bytes([checksum(body)]))


def request(netfn: int, command: int, sequence: int, data: bytes) -> bytes:
    """A request from the BMC to a remote console."""
    head = bytes((CONSOLE_ADDRESS, netfn << 2))
    body = bytes((BMC_ADDRESS, (sequence & 0x3f) << 2, command)) + data
    return (head + bytes([checksum(head)]) + body
            + bytes([checksum(body)]))
