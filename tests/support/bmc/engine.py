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

"""What a BMC does with packets, sessions and its one SOL instance.

What tests do to it is in :mod:`tests.support.bmc.model`.
"""

import asyncio
import collections.abc
import dataclasses
import random

from tests.support.bmc import codes
from tests.support.bmc import commands  # noqa: F401 (registers)
from tests.support.bmc import dispatch
from tests.support.bmc import faults
from tests.support.bmc import host
from tests.support.bmc import journal
from tests.support.bmc import login
from tests.support.bmc import openbmc
from tests.support.bmc import options
from tests.support.bmc import payloads
from tests.support.bmc import sessions
from tests.support.bmc import sockets
from tests.support.bmc import sol
from tests.support.bmc import suites
from tests.support.bmc import threads
from tests.support.bmc import wire
from tests.support.bmc.codes import Payload
from tests.support.bmc.threads import in_loop


@dataclasses.dataclass
class Activation:
    """SOL, held by a session.

    :param session: None for a holder that does not exist.
    :param end: None where no packets are exchanged.
    """

    session_id: int
    session: sessions.Session | None
    end: sol.SolEnd | None = None
    encrypt: bool = True
    sign: bool = True


class Engine:
    """A BMC in a running loop.

    :param settings: what it is like; may be changed at any time.
    """

    def __init__(self, settings: options.BmcOptions | None = None) -> None:
        self.settings = settings or options.BmcOptions()
        self.home = threads.Loop.here()
        self.guid = suites.random_guid(self.settings.name)
        self.journal = journal.Journal()
        self.faults = faults.Faults(self.settings.name)
        chance = random.SystemRandom()
        self.sessions = sessions.Table(self.settings, chance)
        #: The machine on the serial port.
        self.host = host.Host(self.settings.sol, self.home, self._run)
        self._login = login.LoginDesk(
            self.settings, self.sessions, chance, self.guid, self.journal,
            self.home.loop.time)
        self._powered = True
        self._activation: Activation | None = None
        # The last one of each session, in case packets still come.
        self._ended: dict[int, Activation] = {}
        self._socket: sockets.Socket | None = None
        self._second: sockets.Socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0

    def _bind(self, port: int) -> None:
        address = self.settings.address
        self._socket = sockets.Socket(
            self.home.loop, address, port, self._arrived)
        if self._second is not None:
            self._second = sockets.Socket(
                self.home.loop, address, 0, self._arrived)

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.settings.address

    @property
    def port(self) -> int:
        """Its UDP port."""
        assert self._socket is not None, 'this BMC is not started'
        return self._socket.port

    @property
    @in_loop
    def second_port(self) -> int:
        """Its second UDP port, which serves everything as well; bound
        when first asked for.
        """
        if self._second is None:
            assert self._socket is not None, 'this BMC is not started'
            self._second = sockets.Socket(
                self.home.loop, self.address, self.settings.second_port,
                self._arrived)
        return self._second.port

    # What it is.

    @property
    def powered(self) -> bool:
        """Whether the host is on."""
        return self._powered

    @property
    def holder(self) -> int | None:
        """Session id of who has SOL; None is nobody."""
        activation = self._activation
        return activation.session_id if activation is not None else None

    # What commands do to it as well; in its loop.

    @in_loop
    def power(self, on: bool) -> None:
        """Switch the host on or off."""
        if on == self._powered:
            return
        self._powered = on
        self.host.power(on)
        if self._activation is not None and self._activation.end is not None:
            self._activation.end.power_changed()
        self._run()

    @in_loop
    def change_user(self, name: str, /, **changes: object) -> None:
        """Change an account; sessions that are open stay.

        :param changes: fields of User: ``password='new'``.
        """
        self.settings.users = [
            dataclasses.replace(user, **changes)    # type: ignore[arg-type]
            if user.name == name else user for user in self.settings.users]

    def reported_port(self, session: sessions.Session) -> int:
        """UDP port in the answer to Activate Payload."""
        port = self.settings.sol.port
        if isinstance(port, int):
            return port
        if port is options.Port.SECOND:
            return self.second_port
        own = session.socket.port if session.socket is not None else 0
        if port is options.Port.SWAPPED:
            return (own & 0xff) << 8 | own >> 8
        return own

    def activate(self, session: sessions.Session, encrypt: bool, sign: bool
                 ) -> collections.abc.Callable[[], None]:
        """Give SOL to a session.

        :returns: what lets the first packets out.
        """
        activation = self._activation = Activation(
            session.id, session, None, encrypt, sign)
        if (self.settings.sol.port is options.Port.SECOND
                and session.socket is not self._second):
            # It is to come again, on the other port.
            return lambda: None
        kind = (openbmc.OpenBmcEnd if self.settings.sol.openbmc
                else sol.SolEnd)
        end = activation.end = kind(
            self.settings.sol, self.host, self.journal, lambda: self._powered)

        def start() -> None:
            if self._activation is activation:
                end.start(self._now())
                self._run()

        return start

    def end_payload(self, why: str, *, tell: bool = False,
                    farewell: options.Farewell | None = None) -> None:
        """End the activation.

        :param tell: let the holder know, as ``farewell`` or else the
            settings say.
        """
        activation, self._activation = self._activation, None
        if activation is None:
            return
        self.journal.payload_ends.add(journal.PayloadEnd(
            self._now(), activation.session_id, why))
        self.host.detach()
        session, end = activation.session, activation.end
        if session is None or end is None:
            return
        end.close()
        self._ended[session.id] = activation
        if not tell:
            return
        how = farewell or self.settings.sol.farewell
        if how is options.Farewell.ACTIVATING:
            self._requests += 1
            self._send(session, Payload.IPMI, wire.request(
                *codes.SOL_ACTIVATING, self._requests,
                payloads.SOL_NOT_ACTIVE), ('request', *codes.SOL_ACTIVATING),
                session.suite.encrypts, session.suite.authenticates)
            return
        end.farewell(how, self._now())
        self._run()

    def end_session(self, session: sessions.Session, why: str) -> None:
        """End a session, and its activation with it."""
        if self.holder == session.id:
            self.end_payload('session ended')
        self._ended.pop(session.id, None)
        self.sessions.remove(session)
        self._record_end(session, why)

    def _record_end(self, session: sessions.Session, why: str) -> None:
        if session.handle:
            self.journal.session_ends.add(journal.SessionEnd(
                self._now(), session.id, session.user_name, why))

    # Time.

    def _now(self) -> float:
        return self.home.loop.time()

    def _run(self) -> None:
        """Do what is due, send what is to be sent, plan the next turn."""
        now, due = self._now(), float('inf')
        for activation in (self._activation, *self._ended.values()):
            if activation is None or activation.end is None:
                continue
            end = activation.end
            end.run(now)
            self._send_sol(activation)
            if end.given_up and activation is self._activation:
                self.end_payload('given up', tell=True)
                self._run()
                return
            due = min(due, end.due(now))
        due = min(due, self.sessions.next_deadline(),
                  self._login.next_sweep())
        if self._timer is not None and self._timer.when() > due:
            self._timer.cancel()
            self._timer = None
        # A timer that is early finds nothing to do, and plans again.
        if (self._timer is None and due != float('inf')
                and self._socket is not None):
            self._timer = self.home.loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._login.sweep()
        for session in self.sessions.overdue(self._now()):
            self.end_session(session, 'timeout')
        self._run()

    # Packets.

    def _arrived(self, socket: sockets.Socket, data: bytes,
                 remote: tuple[str, int]) -> None:
        self.journal.datagrams_in += 1
        self.journal.bytes_in += len(data)
        for delay, copy in self.faults.incoming(data):
            if delay:
                self.home.loop.call_later(
                    delay, self._receive, socket, copy, remote)
            else:
                self._receive(socket, copy, remote)

    def _transmit(self, socket: sockets.Socket, data: bytes,
                  remote: tuple[str, int], label: faults.Label) -> None:
        for delay, copy in self.faults.outgoing(data, label):
            self.journal.datagrams_out += 1
            self.journal.bytes_out += len(copy)
            if delay:
                self.home.loop.call_later(delay, socket.send, copy, remote)
            else:
                socket.send(copy, remote)

    def _receive(self, socket: sockets.Socket, data: bytes,
                 remote: tuple[str, int]) -> None:
        if self._socket is None:
            return
        try:
            packet = wire.parse(data)
            if isinstance(packet, wire.Ping):
                self._transmit(socket, wire.pong(packet), remote,
                               ('payload', 0))
            elif isinstance(packet, wire.Packet15):
                self._receive_15(socket, packet, remote)
            elif packet.session_id == 0:
                self._receive_outside(socket, packet, remote)
            else:
                self._receive_inside(socket, packet, remote)
        except wire.MalformedError as error:
            self.journal.drop(str(error), len(data))
        except suites.NotOpenedError as error:
            self.journal.drop(str(error), len(data))

    def _receive_15(self, socket: sockets.Socket, packet: wire.Packet15,
                    remote: tuple[str, int]) -> None:
        if packet.auth_type or packet.session_id:
            raise wire.MalformedError('IPMI 1.5 session')
        message = wire.parse_message(packet.payload)
        answer, request = dispatch.carry_out(self, None, message)
        if answer is not None:
            self._transmit(
                socket, wire.plain_15(
                    wire.answer(message, answer[0], answer[1:])), remote,
                ('answer', message.netfn, message.command))
        for action in request.then:
            action()

    def _receive_outside(self, socket: sockets.Socket, packet: wire.Packet,
                         remote: tuple[str, int]) -> None:
        """A packet outside a session: login, or a command for anybody."""
        if packet.authenticated or packet.encrypted or packet.trailer:
            raise wire.MalformedError('sealed outside a session')
        kind, payload = packet.payload_type, packet.payload
        if kind == Payload.OPEN_SESSION_REQUEST:
            answer = self._login.open_session(payload, remote, socket)
        elif kind == Payload.RAKP_1:
            answer = self._login.rakp_1(payload, remote)
        elif kind == Payload.RAKP_3:
            answer = self._login.rakp_3(payload, remote)
        elif kind == Payload.IPMI:
            message = wire.parse_message(payload)
            done, _request = dispatch.carry_out(self, None, message)
            if done is not None:
                self._transmit(socket, wire.plain(
                    kind, wire.answer(message, done[0], done[1:])), remote,
                    ('answer', message.netfn, message.command))
            return
        else:
            raise wire.MalformedError(f'payload type {kind:02x}h outside '
                                      'a session')
        if answer is not None:
            self._transmit(socket, wire.plain(*answer), remote,
                           ('payload', int(answer[0])))
        self._run()

    def _receive_inside(self, socket: sockets.Socket, packet: wire.Packet,
                        remote: tuple[str, int]) -> None:
        session = self.sessions.get(packet.session_id)
        if session is None or session.keys is None:
            raise wire.MalformedError('no such session')
        kind = packet.payload_type
        activation = self._activation_of(session)
        if kind == Payload.SOL:
            if activation is None:
                raise wire.MalformedError('SOL without an activation')
            encrypt, sign = activation.encrypt, activation.sign
        elif kind == Payload.IPMI:
            encrypt = session.suite.encrypts
            sign = session.suite.authenticates
        else:
            raise wire.MalformedError(f'payload type {kind:02x}h')
        if sign and not packet.authenticated:
            raise wire.MalformedError('not signed')
        if encrypt and not packet.encrypted:
            raise wire.MalformedError('not encrypted')
        payload = session.keys.open(packet)
        if not session.accepts(
                packet.authenticated, packet.sequence,
                self.settings.window_ahead, self.settings.window_behind):
            raise wire.MalformedError('session sequence number')
        session.remote, session.socket = remote, socket
        if kind == Payload.IPMI:
            session.heard = self._now()
            self._command(session, payload)
        else:
            if self.settings.sol_keeps_alive:
                session.heard = self._now()
            assert activation is not None
            if activation.end is not None:
                activation.end.receive(payload, self._now())
            self._run()

    def _activation_of(self, session: sessions.Session
                       ) -> Activation | None:
        """The session's activation, or the last one that it had."""
        if (self._activation is not None
                and self._activation.session is session):
            return self._activation
        return self._ended.get(session.id)

    def _command(self, session: sessions.Session, payload: bytes) -> None:
        message = wire.parse_message(payload)
        if message.netfn & 1:
            return                      # an answer, to SOL Activating
        answer, request = dispatch.carry_out(self, session, message)
        if answer is not None:
            self._send(session, Payload.IPMI,
                       wire.answer(message, answer[0], answer[1:]),
                       ('answer', message.netfn, message.command),
                       session.suite.encrypts, session.suite.authenticates)
        for action in request.then:
            action()
        self._run()

    def _send_sol(self, activation: Activation) -> None:
        session, end = activation.session, activation.end
        if session is None or end is None:
            return
        for payload in end.take():
            self._send(session, Payload.SOL, payload,
                       ('sol', 'data' if payload[:1] and payload[0] & 0x0f
                        else 'ack'),
                       activation.encrypt, activation.sign)

    def _send(self, session: sessions.Session, kind: Payload, payload: bytes,
              label: faults.Label, encrypt: bool, sign: bool) -> None:
        if session.keys is None or session.socket is None:
            return
        self._transmit(session.socket, session.keys.seal(
            kind, encrypt, sign, session.console_id,
            session.next_sequence(sign), payload), session.remote, label)
