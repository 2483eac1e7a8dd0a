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

"""The session with a BMC: what comes from the network is never trusted."""

import asyncio
import contextlib
import random
import socket
import struct
import tracemalloc

import hypothesis
from hypothesis import strategies
import pytest

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import login as sol_login
from ironic_solconsole.sol import messages
from ironic_solconsole.sol import receiver
from ironic_solconsole.sol import sealing
from ironic_solconsole.sol import session as sol_session
from ironic_solconsole.sol import target as sol_target


def target(**changes):
    values = {
        'address': '127.0.0.1', 'port': 623, 'username': b'admin',
        'password': b'secret', 'kg': None, 'privilege': 4, 'suites': (17, 3)}
    return sol_target.Target(**(values | changes))


def rmcp_plus(payload_type, payload):
    """A packet outside a session, IPMI v2.0 figure 13-4."""
    return (b'\x06\x00\xff\x07\x06' + bytes([payload_type]) + bytes(8)
            + struct.pack('<H', len(payload)) + payload)


class Peer:
    """A Login at one of its steps, and what it said."""

    def __init__(self, **changes):
        self.sent = []
        self.ended = []
        self.login = sol_login.Login(
            target(**changes), asyncio.get_running_loop(), self.sent.append,
            self.ended.append)
        self.login.begin()

    def answer_auth_cap(self, support=0x80, extended=0x02, code=0):
        """Get Channel Authentication Capabilities, table 22-15."""
        request = self.sent[-1][14:]
        data = bytes([code, 1, support, 0x04, extended, 0, 0, 0, 0])
        head = bytes([0x81, 0x1c])
        body = bytes([0x20, request[4], request[5]]) + data
        message = (head + bytes([-sum(head) & 0xff]) + body
                   + bytes([-sum(body) & 0xff]))
        self.login.feed(
            b'\x06\x00\xff\x07\x00' + bytes(8) + bytes([len(message)])
            + message)

    def answer_open(self, status=0):
        tag = self.login.rmcptag
        self.login.feed(rmcp_plus(0x11, (
            bytes([tag, status, 4, 0])
            + struct.pack('<II', self.login.localsid, 0x1234) + bytes(24))))

    async def reason(self):
        """Why the login failed; waits for what may still be forged."""
        async with asyncio.timeout(10):
            while not self.ended:
                await asyncio.sleep(0.01)
        assert len(self.ended) == 1, self.ended
        return self.ended[0].reason


def run(coroutine):
    return asyncio.run(coroutine())


def test_a_target_does_not_show_its_secrets():
    shown = repr(target(kg=b'\x77key'))
    assert 'secret' not in shown
    assert 'key' not in shown


def test_suite_17_is_proposed_first_and_3_when_the_bmc_refuses():
    async def body():
        peer = Peer()
        peer.answer_auth_cap()
        assert peer.login.suite == 17
        assert peer.sent[-1][16 + 12] == 3      # RAKP-HMAC-SHA256
        peer.answer_open(status=0x11)
        assert peer.login.suite == 3
        assert peer.sent[-1][16 + 12] == 1      # RAKP-HMAC-SHA1
        assert peer.ended == []
        peer.answer_open(status=0x11)
        assert await peer.reason() is Reason.ENCRYPTION_REFUSED
        assert 'cipher suite 3' in peer.ended[0].detail
    run(body)


def test_a_full_bmc_is_no_reason_for_a_weaker_suite():
    async def body():
        peer = Peer()
        peer.answer_auth_cap()
        peer.answer_open(status=0x01)
        assert peer.login.suite == 17
        assert await peer.reason() is Reason.SESSION_LIMIT
    run(body)


def test_a_bmc_of_ipmi_1_5_is_told_as_such():
    async def body():
        peer = Peer()
        peer.answer_auth_cap(support=0x00, extended=0x00)
        assert await peer.reason() is Reason.PROTOCOL_ERROR
        assert 'IPMI 1.5' in peer.ended[0].detail
    run(body)


@pytest.mark.parametrize(('status', 'reason'), [
    (0x01, Reason.SESSION_LIMIT), (0x09, Reason.PRIVILEGE),
    (0x0a, Reason.PRIVILEGE), (0x0b, Reason.SESSION_LIMIT),
    (0x0c, Reason.BAD_CREDENTIALS), (0x0d, Reason.BAD_CREDENTIALS),
    (0x0f, Reason.BAD_CREDENTIALS), (0x12, Reason.PROTOCOL_ERROR),
    (0xc7, Reason.PROTOCOL_ERROR)])
def test_each_status_of_rakp_2_has_its_reason(status, reason):
    async def body():
        peer = Peer()
        peer.answer_auth_cap()
        peer.answer_open()
        peer.login.feed(rmcp_plus(0x13, bytes(
            [peer.login.rmcptag, status, 0, 0]) + bytes(4)))
        assert await peer.reason() is reason
        assert f'{status:02x}h' in peer.ended[0].detail
    run(body)


def test_a_forged_refusal_is_not_believed_when_the_true_answer_follows():
    async def body():
        peer = Peer()
        peer.answer_auth_cap()
        peer.answer_open(status=0x01)
        assert peer.ended == []
        peer.answer_open()
        peer.login.feed(rmcp_plus(0x13, bytes(
            [peer.login.rmcptag, 0, 0, 0])
            + struct.pack('<I', peer.login.localsid) + bytes(64)))
        assert peer.ended == []
        assert await peer.reason() is Reason.BAD_CREDENTIALS
        assert 'password' in peer.ended[0].detail
    run(body)


def test_an_answer_to_an_earlier_login_does_not_fit():
    async def body():
        ids = set()
        for _ in range(20):
            peer = Peer()
            ids.add(peer.login.localsid)
        assert len(ids) > 15, 'session ids repeat'
    run(body)


def sealed(ours=True):
    """A Sealing as a login would make it, or that of the BMC."""
    ids = (0x1111, 0x2222) if ours else (0x2222, 0x1111)
    return sealing.Sealing(
        k1=b'k' * 20, aes_key=b'a' * 16, digest='sha1', code_size=12,
        local_id=ids[0], remote_id=ids[1])


class Wire:
    """The BMC's end of a session's socket."""

    def __init__(self):
        self.sent = []
        self.closed = False

    def send(self, packet):
        self.sent.append(packet)

    def fileno(self):
        return -1

    def close(self):
        self.closed = True


class Established(sol_session.Session):
    """A session that is logged in, on a socket that is none."""

    def __init__(self):
        self.sol = []
        self.notices = []
        super().__init__(target(), self.sol.append,
                         lambda: self.notices.append(1))
        self.wire = self._socket = Wire()
        self._sealing = sealed()
        self.bmc = sealed(ours=False)

    def bmc_says(self, kind, payload):
        self.feed(self.bmc.seal(kind, payload))

    def requests(self):
        """What the BMC was asked since the last call."""
        opened = [self.bmc.open(packet) for packet in self.wire.sent]
        self.wire.sent.clear()
        return [payload for kind, payload in opened
                if kind == sealing.PAYLOAD_IPMI]


def answer_to(request, code=0, data=b''):
    """A BMC's answer, section 13.8; nobody looks at the checksums."""
    return (bytes([0x81, request[1] | 0x04, 0, 0x20, request[4], request[5],
                   code]) + data + b'\0')


def test_a_sol_packet_does_not_wait_for_a_command_under_way():
    async def body():
        session = Established()
        command = asyncio.ensure_future(session.command(6, 1))
        await asyncio.sleep(0)
        before = len(session.wire.sent)
        for _ in range(3):
            session.send_sol(b'\x01\x00\x00\x00x')
        assert len(session.wire.sent) == before + 3
        request, = session.requests()
        session.bmc_says(sealing.PAYLOAD_IPMI, answer_to(request, 0, b'yes'))
        assert await command == (0, b'yes')
        session.abort()
    run(body)


def test_a_command_is_sent_again_with_the_same_number():
    async def body():
        session = Established()
        command = asyncio.ensure_future(
            session.command(6, 0x4b, b'\1\1', hurry=True))
        async with asyncio.timeout(10):
            while len(session.wire.sent) < 3:
                await asyncio.sleep(0.01)
        requests = session.requests()
        assert len(set(requests)) == 1
        session.bmc_says(sealing.PAYLOAD_IPMI, answer_to(requests[0], 0xc1))
        assert await command == (0xc1, b'')
        await asyncio.sleep(0.3)
        assert session.requests() == [], 'asked after the answer'
        session.abort()
    run(body)


def test_a_late_answer_is_not_taken_for_that_to_the_next_request():
    async def body():
        session = Established()
        with pytest.raises(LinkError, match='no answer'):
            await session.command(6, 0x4b, timeout=0.05)
        late, = session.requests()
        command = asyncio.ensure_future(session.command(6, 0x4b))
        await asyncio.sleep(0)
        request, = session.requests()
        session.bmc_says(sealing.PAYLOAD_IPMI, answer_to(late, 0, b'old'))
        session.bmc_says(sealing.PAYLOAD_IPMI, answer_to(request, 0, b'new'))
        session.bmc_says(sealing.PAYLOAD_IPMI, answer_to(request, 0, b'twice'))
        assert await command == (0, b'new')
        session.abort()
    run(body)


def test_a_command_ends_where_nobody_waits_for_it_any_more():
    async def body():
        session = Established()
        command = asyncio.ensure_future(session.command(6, 1, hurry=True))
        await asyncio.sleep(0)
        command.cancel()
        await asyncio.wait([command])
        session.requests()
        await asyncio.sleep(0.3)
        assert session.requests() == []
        session.abort()
    run(body)


def test_a_session_whose_sequence_numbers_are_used_up_ends():
    async def body():
        session = Established()
        session._suite = 3
        session._sealing.sequence = 0xfffffff0 - 2
        session.send_sol(b'\x01\x00\x00\x00x')
        assert session.suite == 3
        session.send_sol(b'\x01\x00\x00\x00x')
        assert session.suite is None
        session.abort()
    run(body)


def test_a_bmc_that_tells_of_another_activation_is_heard():
    """OpenBMC's word to the session that loses the console."""
    async def body():
        session = Established()
        session.bmc_says(sealing.PAYLOAD_IPMI, bytes(
            [0x81, 0x0c << 2, 0, 0x20, 0, 0x20, 1, 0, 0, 0, 0]))
        assert session.notices == [1]
        session.abort()
    run(body)


def test_an_error_of_who_takes_the_data_is_not_hidden():
    async def body():
        session = Established()
        session._on_sol = lambda payload: 1 / 0
        with pytest.raises(ZeroDivisionError):
            session.bmc_says(sealing.PAYLOAD_SOL, bytes(4))
        session.abort()
    run(body)


PACKETS = strategies.lists(strategies.one_of(
    strategies.binary(max_size=80),
    strategies.builds(
        rmcp_plus,
        strategies.integers(0, 255), strategies.binary(max_size=80)),
    strategies.builds(
        lambda data: b'\x06\x00\xff\x07' + data,
        strategies.binary(max_size=80))), max_size=20)


@hypothesis.given(strategies.integers(0, 2), PACKETS)
def test_no_packet_raises_at_any_step_of_the_login(step, packets):
    async def body():
        peer = Peer()
        if step > 0:
            peer.answer_auth_cap()
        if step > 1:
            peer.answer_open()
        for packet in packets:
            peer.login.feed(packet)
        assert len(peer.login.pendingpayloads) == 0
        peer.login.end()
    run(body)


@hypothesis.given(PACKETS, strategies.lists(
    strategies.tuples(strategies.integers(0, 63),
                      strategies.binary(max_size=40)), max_size=20))
def test_no_packet_raises_in_a_session(packets, sealed_ones):
    async def body():
        session = Established()
        command = asyncio.ensure_future(session.command(6, 1))
        await asyncio.sleep(0)
        for packet in packets:
            session.feed(packet)
        for kind, payload in sealed_ones:
            session.bmc_says(kind, payload)
        command.cancel()
        await asyncio.wait([command])
        session.abort()
    run(body)


def test_packets_that_are_not_authenticated_change_nothing_in_a_session():
    async def body():
        session = Established()
        session.feed(b'\x06\x00\xff\x07\x00' + b'\xff' * 4 + bytes(40))
        session.feed(rmcp_plus(1, b'\x01\x00\x00\x00rm -rf /'))
        session.feed(rmcp_plus(0x11, bytes(40)))
        assert session.sol == []
        assert sum(session._sealing.dropped.values()) == 3
        session.bmc_says(sealing.PAYLOAD_SOL, bytes(4))
        assert session.sol == [bytes(4)]
        session.abort()
    run(body)


@hypothesis.given(
    strategies.integers(0, 0x3f), strategies.integers(0, 0xff),
    strategies.binary(max_size=60), strategies.integers(0, 63))
def test_requests_are_what_pyghmi_makes_of_them(netfn, command, data, number):
    async def body():
        login = Peer().login
        login.seqlun = number
        assert messages.request(netfn, command, data, number) == bytes(
            login._make_ipmi_payload(netfn, command, data=bytearray(data)))
        login.end()
    run(body)


@hypothesis.given(strategies.binary(max_size=60))
def test_any_message_is_parsed_or_is_no_answer(message):
    parsed = messages.parse(message)
    if parsed is not None:
        (netfn, number, command), answer = parsed
        assert netfn % 2 == 1
        assert number in range(messages.NUMBERS)
        assert bytes([command, answer.code]) + answer.data == message[5:-1]


def test_the_sockets_of_many_sessions_are_read_in_turns():
    """One that is flooded waits like all others, and so does its flood."""
    async def body():
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair(type=socket.SOCK_DGRAM)
                 for _ in range(receiver.BATCH + 10)]
        order = []

        def reader(number):
            order.append(number)
            pairs[number][0].recv(1)

        for number, (ours, theirs) in enumerate(pairs):
            receiver.add(loop, ours.fileno(),
                         lambda number=number: reader(number))
            for _ in range(5 if number == 0 else 1):
                theirs.send(b'x')
        async with asyncio.timeout(10):
            while len(order) < len(pairs) + 4:
                await asyncio.sleep(0)
        assert set(order[:len(pairs)]) == set(range(len(pairs)))
        for ours, theirs in pairs:
            receiver.remove(loop, ours.fileno())
            ours.close()
            theirs.close()
        assert loop not in receiver._receivers, 'the set outlives its sockets'
    run(body)


def test_a_reader_that_fails_or_closes_others_harms_nobody(caplog):
    async def body():
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair(type=socket.SOCK_DGRAM) for _ in range(3)]
        heard = []

        def first():
            heard.append(0)
            pairs[0][0].recv(1)
            receiver.remove(loop, pairs[1][0].fileno())
            raise ValueError('a mistake')

        readers = [first, lambda: heard.append('removed'),
                   lambda: heard.append(pairs[2][0].recv(1))]
        for (ours, theirs), reader in zip(pairs, readers):
            receiver.add(loop, ours.fileno(), reader)
            theirs.send(b'x')
        async with asyncio.timeout(10):
            while len(heard) < 2:
                await asyncio.sleep(0)
        assert heard == [0, b'x']
        for number, (ours, theirs) in enumerate(pairs):
            if number != 1:
                receiver.remove(loop, ours.fileno())
            ours.close()
            theirs.close()
    run(body)
    assert 'a mistake' in caplog.text


def test_a_silent_bmc_is_unreachable_and_leaves_no_socket():
    async def body():
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent.bind(('127.0.0.1', 0))
        with contextlib.closing(silent):
            session = sol_session.Session(
                target(port=silent.getsockname()[1]), print, print)
            with pytest.raises(LinkError) as caught:
                await session.login(silence=0.2)
            await session.close()
        assert caught.value.reason is Reason.UNREACHABLE
        assert 'no answer' in caught.value.detail
        assert session._socket is None
        assert session.suite is None
    run(body)


def test_a_closed_port_is_unreachable_with_its_own_words():
    async def body():
        free = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
        free.close()
        session = sol_session.Session(target(port=port), print, print)
        with pytest.raises(LinkError, match='port unreachable') as caught:
            await session.login(silence=30.0)
        await session.close()
        assert caught.value.reason is Reason.UNREACHABLE
    run(body)


def test_a_name_that_does_not_resolve_is_told():
    async def body():
        with pytest.raises(LinkError, match=r'not resolve'):
            await sol_target.resolve('no-such-bmc.invalid', 623, 10.0)
    run(body)


def test_an_address_is_not_looked_up():
    async def body():
        family, address = await sol_target.resolve('::1', 623, 0.0)
        assert (family, address[:2]) == (socket.AF_INET6, ('::1', 623))
    run(body)


def test_a_command_without_a_session_says_so():
    async def body():
        session = sol_session.Session(target(), print, print)
        with pytest.raises(LinkError, match='has ended'):
            await session.command(6, 1)
        session.send_sol(b'\x00\x00\x00\x00')
        await session.close()
    run(body)


def mutated(packet, chance):
    """A packet with its end cut off, bits flipped, or bytes for bytes."""
    kind = chance.randrange(4)
    if kind == 0:
        return packet[:chance.randrange(len(packet))]
    if kind == 1:
        return chance.randbytes(chance.randrange(400))
    changed = bytearray(packet)
    for _ in range(chance.randrange(1, 4)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def feed_mutations(count):
    """Feed spoiled packets to a session; gives how much memory it grew."""
    chance = random.Random(count)

    async def body():
        session = Established()
        good = 0
        sizes = []
        for number in range(count):
            packet = session.bmc.seal(number % 2, chance.randbytes(
                chance.randrange(8, 80)))
            # Some changes are outside of what is signed: still the same.
            session.feed(mutated(packet, chance))
            if number % 10 == 0:
                session.bmc_says(sealing.PAYLOAD_SOL, b'\x01\0\0\0good')
                good += 1
            if number in (count // 10, count - 1):
                sizes.append(tracemalloc.get_traced_memory()[0])
            if number % 1000 == 0:
                assert session.sol.count(b'\x01\0\0\0good') == good
                session.sol.clear()
                good = 0
        session.abort()
        return sizes[1] - sizes[0]

    tracemalloc.start()
    try:
        return asyncio.run(body())
    finally:
        tracemalloc.stop()


def test_spoiled_packets_crash_nothing_and_leak_nothing():
    assert feed_mutations(3000) < 64 * 1024


@pytest.mark.long
def test_200000_spoiled_packets_crash_nothing_and_leak_nothing():
    assert feed_mutations(200_000) < 64 * 1024
