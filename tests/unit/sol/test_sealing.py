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

"""Sealing and opening, against pyghmi's own and against attackers."""

import hmac
import struct

import hypothesis
from hypothesis import strategies
from pyghmi.ipmi.private import session as pyghmi_session
import pytest

from ironic_solconsole.sol import sealing
from ironic_solconsole.sol.sealing import Dropped

K1 = bytes(range(20))
AES = bytes(range(100, 116))
OUR_ID, BMC_ID = 0x11223344, 0x55667788

#: Cipher suites 3 and 17: digest, bytes of it that are sent.
SUITES = {3: ('sha1', 12), 17: ('sha256', 16)}


def pair(suite=3):
    """Our side and the BMC's side of a session."""
    digest, code_size = SUITES[suite]
    keys = {'k1': K1, 'aes_key': AES, 'digest': digest,
            'code_size': code_size}
    return (sealing.Sealing(local_id=OUR_ID, remote_id=BMC_ID, **keys),
            sealing.Sealing(local_id=BMC_ID, remote_id=OUR_ID, **keys))


class Pyghmi(pyghmi_session.Session):
    """pyghmi's own sealing and opening as the BMC's side."""

    def __new__(cls, suite):
        return object.__new__(cls)

    def __init__(self, suite):
        digest, code_size = SUITES[suite]
        self.bmc = 'bmc'
        self.lastpayload = self.last_payload_type = None
        self.authtype, self.ipmiversion = 6, 2.0
        self.integrityalgo = self.confalgo = 1
        self.k1, self.aeskey = K1, AES
        self.currhashlib = getattr(pyghmi_session.hashlib, digest)
        self.currhashlen = code_size
        self.localsid, self.sessionid = BMC_ID, OUR_ID
        self.sequencenumber, self.remseqnumber = 1, None
        self.sol_handler = self.take
        self.taken = []
        self._customkeepalives = None

    def take(self, payload):
        self.taken.append(bytes(payload))

    def _xmit_packet(self, *args, **kwargs):
        self.sequencenumber += 1

    def packet(self, payload):
        self.send_payload(payload, sealing.PAYLOAD_SOL, retry=False)
        return bytes(self.netpacket)


@pytest.mark.parametrize('suite', SUITES)
def test_pyghmi_opens_what_we_seal_at_every_length(suite):
    ours, _ = pair(suite)
    theirs = Pyghmi(suite)
    for length in range(4, 260):
        payload = bytes([1, 0, 0, 0]) + bytes(range(256))[:length - 4]
        packet = ours.seal(sealing.PAYLOAD_SOL, payload)
        theirs._handle_ipmi2_packet(bytearray(packet))
        assert theirs.taken == [payload], f'{length} bytes'
        theirs.taken.clear()


@pytest.mark.parametrize('suite', SUITES)
def test_we_open_what_pyghmi_seals_at_every_length(suite):
    ours, _ = pair(suite)
    theirs = Pyghmi(suite)
    for length in range(1, 260):
        payload = (bytes([1, 0, 0, 0]) + bytes(range(256)))[:length]
        opened = ours.open(theirs.packet(payload))
        assert opened == (sealing.PAYLOAD_SOL, payload), f'{length} bytes'
    assert not any(ours.dropped.values())


@pytest.mark.parametrize('suite', SUITES)
@hypothesis.given(
    payloads=strategies.lists(strategies.tuples(
        strategies.sampled_from(
            [sealing.PAYLOAD_IPMI, sealing.PAYLOAD_SOL]),
        strategies.binary(max_size=300)), max_size=10))
def test_what_is_sealed_opens_to_the_same(suite, payloads):
    ours, theirs = pair(suite)
    for kind, payload in payloads:
        assert theirs.open(ours.seal(kind, payload)) == (kind, payload)


def test_no_two_packets_share_a_vector():
    ours, _ = pair()
    vectors = {ours.seal(sealing.PAYLOAD_SOL, b'same')[16:32]
               for _ in range(1000)}
    assert len(vectors) == 1000


@hypothesis.given(strategies.data())
def test_a_packet_with_any_bit_turned_is_dropped(data):
    ours, theirs = pair()
    packet = bytearray(ours.seal(sealing.PAYLOAD_SOL, b'\1\0\0\0data'))
    place = data.draw(strategies.integers(4, len(packet) - 1))
    packet[place] ^= 1 << data.draw(strategies.integers(0, 7))
    assert theirs.open(bytes(packet)) is None
    assert sum(theirs.dropped.values()) == 1


def test_a_packet_cut_anywhere_is_dropped():
    ours, theirs = pair()
    packet = ours.seal(sealing.PAYLOAD_SOL, b'\1\0\0\0data')
    for length in range(len(packet)):
        assert theirs.open(packet[:length]) is None
    assert theirs.open(packet + b'\0') is None
    assert theirs.open(packet) is not None


@hypothesis.given(strategies.binary(max_size=400))
def test_any_bytes_are_dropped(noise):
    _, theirs = pair()
    assert theirs.open(noise) is None
    assert theirs.open(
        struct.pack('<5sBIIH', b'\6\0\xff\7\6', 0xc1, BMC_ID, 1, 32)
        + noise) is None


def test_a_packet_of_another_session_is_dropped():
    ours, theirs = pair()
    assert ours.open(ours.seal(sealing.PAYLOAD_SOL, b'x')) is None
    assert ours.dropped[Dropped.FOREIGN] == 1
    assert theirs.dropped[Dropped.FOREIGN] == 0


@pytest.mark.parametrize('suite', SUITES)
@hypothesis.given(payload=strategies.binary(min_size=4, max_size=259))
def test_what_is_dropped_is_counted_by_its_reason(suite, payload):
    ours, theirs = pair(suite)
    old = [ours.seal(sealing.PAYLOAD_IPMI, payload) for _ in range(40)]
    packet = ours.seal(sealing.PAYLOAD_SOL, payload)
    wrong_code = packet[:-1] + bytes([packet[-1] ^ 1])
    foreign = packet[:6] + struct.pack('<I', OUR_ID) + packet[10:]
    for spoiled, reason in (
            (wrong_code, Dropped.FORGED), (foreign, Dropped.FOREIGN),
            (packet[:12], Dropped.MALFORMED),
            (packet[:-16], Dropped.MALFORMED)):
        before = theirs.dropped[reason]
        assert theirs.open(spoiled) is None
        assert theirs.dropped[reason] == before + 1
    # None of them has moved the window.
    assert theirs.open(old[0]) == (sealing.PAYLOAD_IPMI, payload)
    assert theirs.open(packet) == (sealing.PAYLOAD_SOL, payload)
    for late in (packet, old[0], old[1], old[7]):
        assert theirs.open(late) is None
    assert theirs.open(old[9]), 'within the window'
    assert theirs.dropped == {
        Dropped.FORGED: 1, Dropped.FOREIGN: 1, Dropped.MALFORMED: 2,
        Dropped.REPLAYED: 4}


@pytest.mark.parametrize('suite', SUITES)
def test_the_codes_are_those_of_hmac(suite):
    digest, code_size = SUITES[suite]
    for length in range(300):
        packet = pair(suite)[0].seal(sealing.PAYLOAD_SOL, bytes(length))
        assert packet[-code_size:] == hmac.digest(
            K1, packet[4:-code_size], digest)[:code_size]


def test_a_packet_without_encryption_is_dropped():
    """Else whoever can strip it could inject nothing, but read all."""
    ours, theirs = pair()
    packet = bytearray(ours.seal(sealing.PAYLOAD_SOL, b'x'))
    packet[5] &= 0x7f
    assert theirs.open(bytes(packet)) is None


@pytest.mark.parametrize(
    'kind', [sealing.PAYLOAD_IPMI, sealing.PAYLOAD_SOL])
def test_a_packet_is_taken_once(kind):
    ours, theirs = pair()
    packet = ours.seal(kind, b'x')
    assert theirs.open(packet) == (kind, b'x')
    assert theirs.open(packet) is None
    assert theirs.dropped[Dropped.REPLAYED] == 1


def test_an_answer_that_was_overtaken_counts_within_the_window():
    ours, theirs = pair()
    packets = [ours.seal(sealing.PAYLOAD_IPMI, bytes([n]))
               for n in range(40)]
    assert theirs.open(packets[39])
    assert theirs.open(packets[8]) == (sealing.PAYLOAD_IPMI, b'\x08')
    assert theirs.open(packets[7]) is None, 'older than 32'
    assert theirs.open(packets[8]) is None, 'taken before'


def test_sol_that_was_overtaken_by_sol_is_left_to_the_retry():
    ours, theirs = pair()
    packets = [ours.seal(sealing.PAYLOAD_SOL, bytes([n]))
               for n in range(3)]
    command = ours.seal(sealing.PAYLOAD_IPMI, b'c')
    assert theirs.open(packets[1])
    assert theirs.open(packets[0]) is None
    assert theirs.open(command)
    assert theirs.open(packets[2]), 'only SOL counts for SOL'


@hypothesis.given(strategies.lists(strategies.integers(0, 80), max_size=60))
def test_no_order_of_packets_makes_one_count_twice(order):
    ours, theirs = pair()
    packets = [ours.seal(sealing.PAYLOAD_IPMI, bytes([n]))
               for n in range(81)]
    taken = [n for n in order if theirs.open(packets[n])]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize('suite', SUITES)
def test_sol_activated_without_encryption_is_plain_but_authenticated(suite):
    ours, theirs = pair(suite)
    ours.encrypt_sol = theirs.encrypt_sol = False
    packet = ours.seal(sealing.PAYLOAD_SOL, b'\1\0\0\0in the clear')
    assert b'in the clear' in packet
    assert theirs.open(packet) == (
        sealing.PAYLOAD_SOL, b'\1\0\0\0in the clear')
    turned = bytearray(ours.seal(sealing.PAYLOAD_SOL, b'\1\0\0\0x'))
    turned[20] ^= 1
    assert theirs.open(bytes(turned)) is None
    assert b'hush' not in ours.seal(sealing.PAYLOAD_IPMI, b'hush')


def test_plain_sol_is_dropped_where_encryption_was_agreed():
    ours, theirs = pair()
    ours.encrypt_sol = False
    assert theirs.open(ours.seal(sealing.PAYLOAD_SOL, b'x')) is None
