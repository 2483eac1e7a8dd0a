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

"""Cipher suites: what is proposed, derived, sealed and opened.

IPMI v2.0 sections 13.28 to 13.33 and table 22-20.
"""

import dataclasses
import hashlib
import hmac
import os
import struct

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes

from tests.support.bmc import wire

_BLOCK = 16
_NEXT_HEADER = 0x07


class NotOpenedError(Exception):
    """A packet does not hold what it must; the text says what."""


@dataclasses.dataclass(frozen=True)
class Suite:
    """One row of table 22-20.

    :param authentication: number of the RAKP algorithm, table 13-17.
    :param integrity: number of the integrity algorithm, table 13-18.
    :param confidentiality: number of the cipher, table 13-19.
    :param digest: name of the hash for :mod:`hmac`.
    :param login_check_size: bytes of the check value in RAKP 4.
    :param check_size: bytes of the check value in packets.
    """

    number: int
    authentication: int
    integrity: int
    confidentiality: int
    digest: str
    login_check_size: int
    check_size: int

    @property
    def encrypts(self) -> bool:
        """Whether there is a cipher."""
        return self.confidentiality != 0

    @property
    def authenticates(self) -> bool:
        """Whether there is an integrity algorithm."""
        return self.integrity != 0

    def mac(self, key: bytes, *parts: bytes) -> bytes:
        """The keyed hash, in full length."""
        return hmac.digest(key, b''.join(parts), self.digest)

    def record(self) -> bytes:
        """The record of Get Channel Cipher Suites, table 22-18."""
        return bytes((0xc0, self.number, self.authentication,
                      0x40 | self.integrity, 0x80 | self.confidentiality))


#: 1 and 15 do not sign, 2 and 16 do not encrypt.
SUITES = {suite.number: suite for suite in (
    Suite(1, 1, 0, 0, 'sha1', 12, 0),
    Suite(2, 1, 1, 0, 'sha1', 12, 12),
    Suite(3, 1, 1, 1, 'sha1', 12, 12),
    Suite(15, 3, 0, 0, 'sha256', 16, 0),
    Suite(16, 3, 4, 0, 'sha256', 16, 16),
    Suite(17, 3, 4, 1, 'sha256', 16, 16))}


@dataclasses.dataclass(frozen=True)
class Handshake:
    """What both ends know after RAKP 1, with the symbols of section 13.31.

    :param console_id: SIDM, the console's session id.
    :param bmc_id: SIDC, the BMC's session id.
    :param console_random: RM.
    :param bmc_random: RC.
    :param guid: GUIDC.
    :param role: RoleM, the whole byte of RAKP 1.
    :param name: UNameM.
    """

    suite: Suite
    console_id: int
    bmc_id: int
    console_random: bytes
    bmc_random: bytes
    guid: bytes
    role: int
    name: bytes

    @property
    def _who(self) -> bytes:
        return bytes((self.role, len(self.name))) + self.name

    def rakp_2(self, user_key: bytes) -> bytes:
        """Key exchange authentication code of RAKP 2."""
        return self.suite.mac(
            user_key, struct.pack('<II', self.console_id, self.bmc_id),
            self.console_random, self.bmc_random, self.guid, self._who)

    def rakp_3(self, user_key: bytes) -> bytes:
        """Key exchange authentication code of RAKP 3."""
        return self.suite.mac(
            user_key, self.bmc_random, struct.pack('<I', self.console_id),
            self._who)

    def session_key(self, bmc_key: bytes) -> bytes:
        """SIK; the key is Kg or, without one, the user's."""
        return self.suite.mac(bmc_key, self.console_random, self.bmc_random,
                              self._who)

    def rakp_4(self, session_key: bytes) -> bytes:
        """Integrity check value of RAKP 4."""
        return self.suite.mac(
            session_key, self.console_random,
            struct.pack('<I', self.bmc_id),
            self.guid)[:self.suite.login_check_size]


class Keys:
    """K1 and K2 of a session, and what is done with them."""

    def __init__(self, suite: Suite, session_key: bytes) -> None:
        self._suite = suite
        self._k1 = suite.mac(session_key, b'\x01' * 20)
        self._aes = algorithms.AES(
            suite.mac(session_key, b'\x02' * 20)[:_BLOCK])

    def seal(self, payload_type: int, encrypted: bool, authenticated: bool,
             session_id: int, sequence: int, payload: bytes) -> bytes:
        """A packet of the session, RMCP header and all."""
        if encrypted:
            payload = self._encrypt(payload)
        packet = wire.header(payload_type, encrypted, authenticated,
                             session_id, sequence, len(payload)) + payload
        if authenticated:
            # Covered are the pad, its length and the next header too, and
            # the whole is to be a multiple of four.
            pad = -(len(packet) + 2) % 4
            packet += b'\xff' * pad + bytes((pad, _NEXT_HEADER))
            packet += self._check_value(packet)
        return wire.rmcp(packet)

    def open(self, packet: wire.Packet) -> bytes:
        """The payload of a packet, checked and decrypted.

        :raises: NotOpenedError.
        """
        if packet.authenticated:
            self._verify(packet)
        elif packet.trailer:
            raise NotOpenedError('bytes behind an unsigned payload')
        if packet.encrypted:
            return self._decrypt(packet.payload)
        return packet.payload

    def _verify(self, packet: wire.Packet) -> None:
        size = self._suite.check_size
        if not size:
            raise NotOpenedError('signed without an integrity algorithm')
        covered, value = packet.covered[:-size], packet.covered[-size:]
        if not hmac.compare_digest(self._check_value(covered), value):
            raise NotOpenedError('integrity check value')
        rest = packet.trailer[:-size]
        if (len(rest) < 2 or rest[-1] != _NEXT_HEADER
                or rest[:-2] != b'\xff' * rest[-2] or len(covered) % 4):
            raise NotOpenedError('integrity trailer')

    def _check_value(self, covered: bytes) -> bytes:
        return self._suite.mac(self._k1, covered)[:self._suite.check_size]

    def _encrypt(self, payload: bytes) -> bytes:
        pad = -(len(payload) + 1) % _BLOCK
        vector = os.urandom(_BLOCK)
        encryptor = Cipher(self._aes, modes.CBC(vector)).encryptor()
        return (vector + encryptor.update(
            payload + bytes(range(1, pad + 1)) + bytes([pad]))
            + encryptor.finalize())

    def _decrypt(self, data: bytes) -> bytes:
        if not self._suite.encrypts:
            raise NotOpenedError('encrypted without a cipher')
        if len(data) < 2 * _BLOCK or len(data) % _BLOCK:
            raise NotOpenedError('size of the encrypted payload')
        decryptor = Cipher(self._aes, modes.CBC(data[:_BLOCK])).decryptor()
        text = decryptor.update(data[_BLOCK:]) + decryptor.finalize()
        pad = text[-1]
        if pad >= _BLOCK or text[-1 - pad:-1] != bytes(range(1, pad + 1)):
            raise NotOpenedError('confidentiality pad')
        return text[:-1 - pad]


def random_guid(seed: str) -> bytes:
    """A GUID that is the same for the same word."""
    return hashlib.sha256(seed.encode()).digest()[:16]
