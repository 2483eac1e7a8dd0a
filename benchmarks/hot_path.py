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

"""What a SOL packet costs in the bridge, stage by stage.

::

    python benchmarks/hot_path.py [--packets N] [--size BYTES]

Packets of a BMC go through the real objects, from the session's seam to a
viewer's transport, without sockets: what is measured is CPU time of our own
code. What the kernel adds is measured apart, with real sockets on loopback,
and so is what pyghmi takes for the same packets. Each figure is the best of
several rounds, in turns, so that they can be compared on a busy machine.
"""

import argparse
import asyncio
import collections.abc
import math
import pathlib
import socket
import sys
import time
import types
import typing

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pyghmi.ipmi.private import session as pyghmi_session  # noqa: E402

from ironic_solconsole import spec as console_spec  # noqa: E402
from ironic_solconsole.bridge import audience  # noqa: E402
from ironic_solconsole.bridge import console  # noqa: E402
from ironic_solconsole.bridge import lease  # noqa: E402
from ironic_solconsole.bridge import listener  # noqa: E402
from ironic_solconsole.sol import channel  # noqa: E402
from ironic_solconsole.sol import link  # noqa: E402
from ironic_solconsole.sol import sealing  # noqa: E402
from ironic_solconsole.sol import session  # noqa: E402

ROUNDS = 7
KEYS: dict[str, typing.Any] = {
    'k1': bytes(20), 'aes_key': bytes(16), 'digest': 'sha1', 'code_size': 12}


def ends() -> tuple[sealing.Sealing, sealing.Sealing]:
    """Our end of a session and the BMC's."""
    return (sealing.Sealing(local_id=1, remote_id=2, **KEYS),
            sealing.Sealing(local_id=2, remote_id=1, **KEYS))


def payloads(count: int, size: int) -> list[bytes]:
    """SOL payloads as a BMC numbers them."""
    text = (b'the quick brown fox jumps over the lazy dog\r\n' * 6)[:size]
    return [bytes((number % 15 + 1, 0, 0, 0)) + text
            for number in range(count)]


class Nowhere:
    """A socket, and a viewer's transport, that costs nothing."""

    def send(self, packet: bytes) -> int:
        return len(packet)

    def write(self, data: bytes) -> None:
        pass

    def write_eof(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return '192.0.2.1', 1

    def close(self) -> None:
        pass

    def fileno(self) -> int:
        return -1


def console_with_a_viewer() -> tuple[
        console.Console, session.Session, sealing.Sealing]:
    """A console that is connected, its session, and the BMC's keys."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    spec = console_spec.ConsoleSpec(
        node='1be26c0b-03f2-4d2e-ae87-c02d7f33c123', generation='1',
        address='127.0.0.1', port=9, username='a', password='b', suites=(3,),
        tcp_host='127.0.0.1', tcp_port=port)
    limits = console.Limits(audience.AudienceSettings(
        max_clients=8, client_buffer=256 * 1024, scrollback=16 * 1024),
        10, 60.0)
    made = console.Console(
        spec, limits, asyncio.Semaphore(1), link.LinkMemory(),
        lambda console: None, typing.cast(typing.Any, None), admitted=False)
    made._audience.shut = ''
    made._lease = lease.Lease(spec.node)
    made._lease.valid_until = math.inf
    ours, bmc = ends()
    talk = session.Session(
        made.link.target, made.link._on_sol, lambda: None)
    talk._socket = typing.cast(typing.Any, Nowhere())
    talk._sealing = ours
    made.link._session = talk
    made.link._channel = channel.SolChannel()
    made.link._channel.activated(259, 0.0)
    made.link._channel.data_to_send()
    viewer = listener.Viewer(made._audience, 256 * 1024)
    viewer.connection_made(typing.cast(typing.Any, Nowhere()))
    return made, talk, bmc


class Pyghmi(pyghmi_session.Session):   # type: ignore[misc]
    """pyghmi's own sealing and opening, as its Console uses it."""

    def __new__(cls) -> 'Pyghmi':
        return object.__new__(cls)

    def __init__(self) -> None:
        self.bmc = 'bmc'
        self.lastpayload = self.last_payload_type = None
        self.authtype, self.ipmiversion = 6, 2.0
        self.integrityalgo = self.confalgo = 1
        self.k1, self.aeskey = KEYS['k1'], KEYS['aes_key']
        self.currhashlib, self.currhashlen = pyghmi_session.hashlib.sha1, 12
        self.localsid, self.sessionid = 1, 2
        self.sequencenumber, self.remseqnumber = 1, None
        self.sol_handler = self.acknowledge
        self._customkeepalives = None

    def acknowledge(self, payload: bytes) -> None:
        self.send_payload(bytes((0, payload[0], len(payload) - 4, 0)), 1,
                          retry=False)

    def _xmit_packet(self, *args: object, **kwargs: object) -> None:
        self.sequencenumber += 1


Stage = collections.abc.Callable[[list[bytes]], float]


def timed(function: collections.abc.Callable[[bytes], object],
          items: list[bytes]) -> float:
    """Microseconds of CPU a call."""
    begin = time.thread_time()
    for item in items:
        function(item)
    return (time.thread_time() - begin) / len(items) * 1e6


def with_pyghmi(wanted: list[bytes]) -> float:
    _, bmc = ends()
    packets = [bytearray(bmc.seal(sealing.PAYLOAD_SOL, payload))
               for payload in wanted]
    return timed(Pyghmi()._handle_ipmi2_packet, typing.cast(
        list[bytes], packets))


def opening(wanted: list[bytes]) -> float:
    ours, bmc = ends()
    return timed(ours.open, [bmc.seal(sealing.PAYLOAD_SOL, payload)
                             for payload in wanted])


def sealing_of_acks(wanted: list[bytes]) -> float:
    ours, _ = ends()
    return timed(lambda payload: ours.seal(sealing.PAYLOAD_SOL, payload),
                 [bytes((0, 1, 2, 0))] * len(wanted))


def protocol(wanted: list[bytes]) -> float:
    sol = channel.SolChannel()
    sol.receive_data(wanted[0], 0.0)
    sol.data_to_send(), sol.events_received()
    return timed(sol.take_next, wanted[1:])


def in_and_acknowledged(wanted: list[bytes]) -> float:
    made, talk, bmc = console_with_a_viewer()
    owner = types.SimpleNamespace(
        link_permitted=made.link_permitted, link_data=lambda data: None)
    made.link._owner, whole = typing.cast(typing.Any, owner), made
    spent = feed(made, talk, bmc, wanted)
    made.link._owner = whole
    made.close()
    return spent


def to_the_viewer(wanted: list[bytes]) -> float:
    made, talk, bmc = console_with_a_viewer()
    spent = feed(made, talk, bmc, wanted)
    made.close()
    return spent


def feed(made: console.Console, talk: session.Session,
         bmc: sealing.Sealing, wanted: list[bytes]) -> float:
    packets = [bmc.seal(sealing.PAYLOAD_SOL, payload) for payload in wanted]
    talk.feed(packets[0])
    spent = timed(talk.feed, packets[1:])
    sol = made.link._channel
    assert sol is not None
    assert sol.bytes_received == sum(map(len, wanted)) - 4 * len(wanted)
    return spent


def datagrams(wanted: list[bytes]) -> float:
    """A datagram in and one out: the kernel's part."""
    _, bmc = ends()
    packets = [bmc.seal(sealing.PAYLOAD_SOL, payload) for payload in wanted]
    with (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
          socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs):
        for sock in (ours, theirs):
            sock.bind(('127.0.0.1', 0))
        ours.connect(theirs.getsockname())
        theirs.connect(ours.getsockname())
        spent = 0.0
        for packet in packets:
            theirs.send(packet)
            begin = time.thread_time()
            ours.send(ours.recv(2048)[:64])
            spent += time.thread_time() - begin
            theirs.recv(2048)
    return spent / len(packets) * 1e6 - clock()


def stream(wanted: list[bytes]) -> float:
    """One write to a viewer's TCP connection: the kernel's part."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        with socket.create_connection(server.getsockname()) as theirs:
            ours, _ = server.accept()
            with ours:
                spent = 0.0
                for payload in wanted:
                    begin = time.thread_time()
                    ours.send(payload)
                    spent += time.thread_time() - begin
                    theirs.recv(2048)
    return spent / len(wanted) * 1e6 - clock()


def clock() -> float:
    """Microseconds that reading the clock adds to a measurement."""
    begin = time.thread_time()
    for _ in range(1000):
        time.thread_time()
    return (time.thread_time() - begin) / 1000 * 1e6


STAGES: dict[str, Stage] = {
    'pyghmi: verify, decrypt, seal the ack': with_pyghmi,
    'verify and decrypt': opening,
    'seal the ack': sealing_of_acks,
    'SOL protocol': protocol,
    'packet in, ack out': in_and_acknowledged,
    '... and to one viewer': to_the_viewer,
    'kernel: datagram in, datagram out': datagrams,
    'kernel: write to the viewer': stream,
}


async def measure(count: int, size: int) -> dict[str, float]:
    """Microseconds of CPU a packet, by stage."""
    wanted = payloads(count, size)
    best = dict.fromkeys(STAGES, math.inf)
    for _ in range(ROUNDS):
        for name, stage in STAGES.items():
            best[name] = min(best[name], stage(wanted))
    return best


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--packets', type=int, default=5000)
    parser.add_argument('--size', type=int, default=200,
                        help='characters a packet, up to 255')
    args = parser.parse_args()
    found = asyncio.run(measure(args.packets, args.size))
    for name, spent in found.items():
        print(f'{name:40} {spent:7.2f} us')   # noqa: T201
    whole = (found['packet in, ack out']
             + found['kernel: datagram in, datagram out'])
    print(f'{"a packet in and its ack out, in all":40} '   # noqa: T201
          f'{whole:7.2f} us')


if __name__ == '__main__':
    main()
