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

"""Seal and open the packets of an RMCP+ session.

IPMI v2.0 table 13-8 (format), 13.28.4 (integrity), 13.29 (AES-CBC-128),
6.12.13 (sequence numbers). Pure: keys and bytes in, bytes out. It stands
where pyghmi's own sealing would: that makes a new cipher for each packet,
takes a packet twice, and checks no length.

Never gives out a payload whose integrity, session or sequence number does
not hold, and never raises for what a packet contains.
"""

import enum
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes

PAYLOAD_IPMI = 0
PAYLOAD_SOL = 1

_AUTHENTICATED = 0x40
_ENCRYPTED = 0x80
_TYPE = 0x3f

#: RMCP: version 6, no acknowledgment, class IPMI; then RMCP+ format.
_START = b'\x06\x00\xff\x07\x06'
_HEADER = struct.Struct('<5sBIIH')
_HEADER_SIZE = _HEADER.size         # 16
_pack = _HEADER.pack
_unpack = _HEADER.unpack_from
_equal = hmac.compare_digest
_BLOCK = 16
_WINDOW = 32            # sequence numbers behind the highest, 6.12.13
_WINDOW_MASK = (1 << _WINDOW) - 1

#: With it a session must end, as sequence numbers do not wrap: 49 days of
#: 1000 packets a second.
LAST_SEQUENCE = 0xfffffff0

#: Confidentiality pads (table 13-20): 1, 2, 3... and then their number.
_PADS = tuple(bytes(range(1, size + 1)) + bytes([size])
              for size in range(_BLOCK))
_ZEROS = bytes(_BLOCK)

#: HMAC, RFC 2104: what SHA-1 and SHA-256 hash at a time, in bytes, and the
#: two pads that the key is combined with.
_HASH_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5c for byte in range(256))

#: Integrity pads, their number, and "next header".
_TRAILERS = tuple(b'\xff' * size + bytes([size, 0x07]) for size in range(4))


class Dropped(enum.Enum):
    """Why a packet was dropped."""

    MALFORMED = 'malformed'
    FOREIGN = 'of another session'
    FORGED = 'integrity check failed'
    REPLAYED = 'sequence number seen before or too old'


class Sealing:
    """The keys and counters of one session.

    :param k1: integrity key, no longer than 64 bytes.
    :param aes_key: confidentiality key, 16 bytes.
    :param digest: 'sha1' (suite 3) or 'sha256' (suite 17).
    :param code_size: bytes of the integrity check value: 12 or 16.
    :param local_id: session id in packets to us.
    :param remote_id: session id in packets to the BMC.
    """

    __slots__ = (
        '_code_size', '_decryptor', '_encryptor', '_highest', '_inner',
        '_local_id', '_outer', '_remote_id', '_seen', '_sol',
        'dropped', 'encrypt_sol', 'sequence')

    def __init__(self, *, k1: bytes, aes_key: bytes, digest: str,
                 code_size: int, local_id: int, remote_id: int) -> None:
        self._code_size = code_size
        self._local_id = local_id
        self._remote_id = remote_id
        self._highest = 0
        self._seen = 0
        self._sol = 0
        #: Whether SOL was activated with encryption (table 24-2).
        self.encrypt_sol = True
        #: Sequence number of the last packet sealed.
        self.sequence = 0
        #: How many packets were dropped, by the reason.
        self.dropped = dict.fromkeys(Dropped, 0)
        # Contexts that live as long as the session: a new one for each
        # packet costs more than the encryption itself. The first block
        # that a chaining context is fed only sets what is chained on.
        # So it is with HMAC: RFC 2104, with the key hashed once and for all.
        block = k1.ljust(_HASH_BLOCK, b'\0')
        self._inner = hashlib.new(digest, block.translate(_INNER))
        self._outer = hashlib.new(digest, block.translate(_OUTER))
        cipher = Cipher(algorithms.AES(aes_key), modes.CBC(bytes(_BLOCK)))
        self._encryptor = cipher.encryptor()
        self._decryptor = cipher.decryptor()

    def _code(self, signed: bytes) -> bytes:
        """The integrity check value."""
        inner = self._inner.copy()
        inner.update(signed)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()[:self._code_size]

    def seal(self, payload_type: int, payload: bytes) -> bytes:
        """A packet that carries a payload to the BMC.

        The initialization vector is the encryption of the last block sent,
        which nobody without the key can predict.

        :param payload_type: PAYLOAD_IPMI or PAYLOAD_SOL.
        """
        self.sequence += 1
        kind = payload_type | _AUTHENTICATED
        body = payload
        if self.encrypt_sol or payload_type != PAYLOAD_SOL:
            kind |= _ENCRYPTED
            body = self._encryptor.update(
                _ZEROS + payload
                + _PADS[-(len(payload) + 1) % _BLOCK])
        packet = _pack(
            _START, kind, self._remote_id, self.sequence, len(body)) + body
        packet += _TRAILERS[-(len(packet) + 2) % 4]
        return packet + self._code(packet[4:])

    def open(self, packet: bytes) -> tuple[int, bytes] | None:
        """The payload in a packet from the BMC.

        :returns: payload type and payload, or None if it was dropped; then
            it is counted in ``dropped``.
        """
        end = len(packet) - self._code_size
        if end < _HEADER_SIZE + 2:
            return self._drop(Dropped.MALFORMED)
        start, kind, session, sequence, size = _unpack(packet)
        if session != self._local_id:
            return self._drop(Dropped.FOREIGN)
        plain_sol = kind == _AUTHENTICATED | PAYLOAD_SOL
        if (start != _START or _HEADER_SIZE + size > end - 2
                or (self.encrypt_sol if plain_sol else
                    kind < _AUTHENTICATED | _ENCRYPTED
                    or size % _BLOCK or size < 2 * _BLOCK)):
            return self._drop(Dropped.MALFORMED)
        if not _equal(packet[end:], self._code(packet[4:end])):
            return self._drop(Dropped.FORGED)
        kind &= _TYPE
        if kind == PAYLOAD_SOL and sequence == self._highest + 1:
            # The next packet, as nearly all are; see _is_new().
            self._sol = self._highest = sequence
            self._seen = (self._seen << 1 | 1) & _WINDOW_MASK
        elif not self._is_new(kind, sequence):
            return self._drop(Dropped.REPLAYED)
        if plain_sol:
            return kind, packet[_HEADER_SIZE:_HEADER_SIZE + size]
        # The vector goes in as a block before: it comes out as 16 bytes of
        # no use, and leaves the right block to be chained on.
        plain = self._decryptor.update(
            packet[_HEADER_SIZE:_HEADER_SIZE + size])
        pad = plain[-1]
        if pad >= _BLOCK:
            return self._drop(Dropped.MALFORMED)
        return kind, plain[_BLOCK:-1 - pad]

    def _is_new(self, kind: int, sequence: int) -> bool:
        if kind == PAYLOAD_SOL:
            # Stricter than the window: SOL numbers its packets from 1 to
            # 15 only, and one that was overtaken by fifteen others would
            # be taken for the present one. What is dropped here is sent
            # again by the SOL protocol.
            if sequence <= self._sol:
                return False
            self._sol = sequence
        if sequence > self._highest:
            shift = sequence - self._highest
            self._seen = (
                (self._seen << shift | 1) & _WINDOW_MASK
                if shift < _WINDOW else 1)
            self._highest = sequence
            return True
        behind = self._highest - sequence
        if behind >= _WINDOW or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True

    def _drop(self, reason: Dropped) -> tuple[int, bytes] | None:
        self.dropped[reason] += 1
        return None
