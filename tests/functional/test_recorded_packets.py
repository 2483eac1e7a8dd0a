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

"""Packets recorded from sessions, opened by us and by pyghmi alike."""

import asyncio
import collections.abc
import time
import typing

from pyghmi.ipmi.private import session as pyghmi_session
import pytest

from ironic_solconsole.exception import LinkError
from ironic_solconsole.sol import channel as sol_channel
from ironic_solconsole.sol import login as sol_login
from ironic_solconsole.sol import payload as sol_payload
from ironic_solconsole.sol import sealing
from ironic_solconsole.sol import session as sol_session
from ironic_solconsole.sol import target as sol_target
from tests.support import hosts
from tests.support import ipmi_sim
from tests.support import waiting
from tests.support.bmc import model
from tests.support.bmc import options

INPUT = hosts.text(300, 'typed')


class Recorder(sol_session.Session):
    """A session with a channel, that keeps each packet in a session."""

    def __init__(self, target: sol_target.Target) -> None:
        super().__init__(target, self._got_sol, lambda: None)
        self.channel = sol_channel.SolChannel()
        self.keys: sol_login.Login | None = None
        self.received: list[bytes] = []
        self.sent: list[bytes] = []

    def _login_ended(self, error: LinkError | None) -> None:
        self.keys = self._login
        super()._login_ended(error)

    def feed(self, datagram: bytes) -> None:
        if self._sealing is not None:
            self.received.append(datagram)
        super().feed(datagram)

    def _transmit(self, packet: bytes) -> None:
        if self._sealing is not None:
            self.sent.append(packet)
        super()._transmit(packet)

    def _got_sol(self, payload: bytes) -> None:
        self.channel.receive_data(payload, time.monotonic())
        self.pump()

    def pump(self) -> None:
        """Send what the channel has to send."""
        for payload in self.channel.data_to_send():
            self.send_sol(payload)

    async def until(self, done: collections.abc.Callable[[], object]) -> None:
        """Wait, with the channel's timers running."""
        async with asyncio.timeout(waiting.PATIENCE):
            while not done():
                self.channel.handle_timer(time.monotonic())
                self.pump()
                await asyncio.sleep(0.005)


class Pyghmi(pyghmi_session.Session):   # type: ignore[misc]
    """pyghmi's opening, with the keys of a session that was recorded."""

    def __new__(cls, *args: object) -> 'Pyghmi':
        return typing.cast('Pyghmi', object.__new__(cls))

    def __init__(self, keys: sol_login.Login, local_id: int) -> None:
        self.bmc = 'bmc'
        self.integrityalgo = self.confalgo = 1
        self.k1, self.aeskey = keys.k1, keys.aeskey
        self.currhashlib = keys.currhashlib
        self.currhashlen = keys.currhashlen
        self.localsid, self.remseqnumber = local_id, None
        self.last_payload_type = None
        self.sol_handler = lambda payload: self.opened.append(
            (sealing.PAYLOAD_SOL, bytes(payload)))
        self.opened: list[tuple[int, bytes]] = []

    def _parse_ipmi_payload(self, payload: bytes) -> None:
        self.opened.append((sealing.PAYLOAD_IPMI, bytes(payload)))

    def open_all(self, packets: list[bytes]) -> list[tuple[int, bytes]]:
        """What is in them."""
        for packet in packets:
            self._handle_ipmi2_packet(bytearray(packet))
        return self.opened


def compare(recorder: Recorder) -> None:
    """Hold our opening against pyghmi's, and spoil every packet."""
    keys = recorder.keys
    assert keys is not None
    remote = keys.session_id
    ours = keys._keys()
    theirs = Pyghmi(keys, keys.localsid).open_all(recorder.received)
    assert [ours.open(packet) for packet in recorder.received] == theirs
    assert len(theirs) == len(recorder.received) > 10
    # What we have sent, as a BMC with pyghmi's opening would read it.
    bmc = Pyghmi(keys, remote).open_all(recorder.sent)
    assert len(bmc) == len(recorder.sent) > 10
    typed = b''.join(payload[4:] for kind, payload in bmc
                     if kind == sealing.PAYLOAD_SOL)
    assert INPUT in typed

    replayed = dict(ours.dropped)
    for packet in recorder.received:
        assert ours.open(packet) is None
    replayed[sealing.Dropped.REPLAYED] += len(recorder.received)
    assert ours.dropped == replayed
    fresh = keys._keys()
    for number, packet in enumerate(recorder.received):
        spoiled = bytearray(packet)
        spoiled[4 + number % (len(packet) - 4)] ^= 1 << number % 8
        assert fresh.open(bytes(spoiled)) is None
        assert fresh.open(packet[:-1 - number % len(packet)]) is None
    assert sum(fresh.dropped.values()) == 2 * len(recorder.received)


async def record(target: sol_target.Target,
                 prints: collections.abc.Callable[[], object],
                 count: int) -> Recorder:
    """A session in which the host prints and somebody types."""
    recorder = Recorder(target)
    try:
        await recorder.login()
        activation = await sol_payload.activate(recorder)
        recorder.channel.activated(
            activation.inbound_size, time.monotonic())
        recorder.pump()
        await recorder.until(lambda: not recorder.channel.next_timer())
        prints()
        recorder.channel.send(INPUT, time.monotonic())
        await recorder.until(
            lambda: recorder.channel.bytes_received >= count
            and recorder.channel.bytes_accepted == len(INPUT))
        await sol_payload.deactivate(recorder)
    finally:
        await recorder.close()
    return recorder


def test_packets_of_ipmi_sim() -> None:
    text = hosts.text(20_000)
    with ipmi_sim.IpmiSim() as sim:
        [bmc] = sim.bmcs
        compare(asyncio.run(record(
            sol_target.Target(
                bmc.address, bmc.port, b'admin', b'secret', None, 4, (3,)),
            lambda: bmc.host.stream(text), len(text))))


@pytest.mark.parametrize('suite', [3, 17])
def test_packets_of_a_bmc_of_ours(suite: int) -> None:
    text = hosts.text(5_000)
    user = options.ADMIN

    async def body() -> None:
        with model.ModelBmc() as bmc:
            compare(await record(
                sol_target.Target(
                    bmc.address, bmc.port, user.name.encode(),
                    user.password.encode(), None, 4, (suite,)),
                lambda: bmc.host.send(text), len(text)))

    asyncio.run(body())
