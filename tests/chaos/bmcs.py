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

"""BMCs that write down who passes bytes.

They are the model BMCs of the project, with eyes: each SOL packet is opened
here first, those of sessions that are gone as well.
"""

import collections.abc
import re
import typing

from tests.chaos import checker
from tests.chaos import owners
from tests.support.bmc import journal
from tests.support.bmc import model
from tests.support.bmc import options
from tests.support.bmc import sessions
from tests.support.bmc import sockets
from tests.support.bmc import suites
from tests.support.bmc import wire
from tests.support.bmc.codes import SOL_HEADER
from tests.support.bmc.codes import Payload

#: What is typed; cut ones are not recognized.
TOKEN = re.compile(rb'<([0-9.]+)>')

#: Takes a record.
Recorder = collections.abc.Callable[..., None]

T = typing.TypeVar('T')


class _Told(journal.Kept[T]):
    """Entries that are also reported."""

    def __init__(self, report: collections.abc.Callable[[T], None]) -> None:
        super().__init__()
        self._report = report

    def add(self, entry: T) -> T:
        self._report(entry)
        return super().add(entry)


class WatchedBmc(model.ModelBmc):
    """A BMC that writes down what processes do.

    :param name: of the node.
    :param record: takes what is written down.
    :param found: finds processes by their sockets.
    """

    def __init__(self, name: str, record: Recorder,
                 found: owners.Owners) -> None:
        super().__init__(options.BmcOptions(name=name))
        self._name = name
        self._record = record
        self._owners = found
        self._pids: dict[int, int] = {}             # by session
        self._ports: dict[int, int] = {}
        self._keys: dict[int, suites.Keys] = {}
        self._input = bytearray()
        self._line = 0
        #: Tokens that came.
        self.arrived = 0
        #: When bytes of the host were last acknowledged, and to whom.
        self.last_taken = 0.0
        self.last_pid = 0
        self.journal.activations = _Told(self._on_activation)
        self.journal.payload_ends = _Told(self._on_payload_end)
        self.journal.session_ends = _Told(self._on_session_end)
        self.host.on_input = self._typed

    # The host.

    @property
    def line(self) -> int:
        """Number of the last line that the host wrote."""
        return self._line

    def tick(self) -> None:
        """The host writes its next line."""
        self._line += 1
        self.host.send(b'%08d\r\n' % self._line)

    def _typed(self, data: bytes) -> None:
        self._input += data
        done = 0
        for match in TOKEN.finditer(self._input):
            done = match.end()
            self.arrived += 1
            self._record('arrived', self._now(), node=self._name,
                         pid=self._pids.get(self.holder or 0, 0),
                         token=match[1].decode())
        del self._input[:done]
        del self._input[:-64]

    # What happens.

    def activate(self, session: sessions.Session, encrypt: bool, sign: bool
                 ) -> collections.abc.Callable[[], None]:
        if session.keys is not None:
            self._keys[session.id] = session.keys
        self._pids[session.id] = self._owner(session.remote[1])
        self._record('passed', self._now(), node=self._name,
                     pid=self._pids[session.id], session=session.id,
                     what=str(checker.What.ACTIVATED))
        return super().activate(session, encrypt, sign)

    def _owner(self, port: int) -> int:
        # One that has just been killed has no sockets any more.
        pid = self._owners.of_udp(port) or self._ports.get(port, 0)
        self._ports[port] = pid
        return pid

    def _on_activation(self, entry: journal.Activation) -> None:
        self._record('activation', entry.time, node=self._name,
                     session=entry.session, code=entry.code,
                     pid=self._owner(entry.remote[1]))

    def _on_payload_end(self, entry: journal.PayloadEnd) -> None:
        self._record('payload end', entry.time, node=self._name,
                     session=entry.session, why=entry.why,
                     pid=self._pids.get(entry.session, 0))

    def _on_session_end(self, entry: journal.SessionEnd) -> None:
        self._record('session end', entry.time, node=self._name,
                     session=entry.session, why=entry.why,
                     pid=self._pids.get(entry.session, 0))

    def _receive_inside(self, socket: sockets.Socket, packet: wire.Packet,
                        remote: tuple[str, int]) -> None:
        if packet.payload_type == Payload.SOL:
            self._look(packet)
        super()._receive_inside(socket, packet, remote)

    def _look(self, packet: wire.Packet) -> None:
        keys = self._keys.get(packet.session_id)
        if keys is None:
            return
        try:
            payload = keys.open(packet)
        except suites.NotOpenedError:
            return
        what = passed_by(payload)
        if what is None:
            return
        pid, now = self._pids[packet.session_id], self._now()
        stale = self.holder != packet.session_id
        if not stale and what is checker.What.TAKEN:
            self.last_taken, self.last_pid = now, pid
        self._record('passed', now, node=self._name, pid=pid,
                     session=packet.session_id, what=str(what), stale=stale)


def passed_by(payload: bytes) -> checker.What | None:
    """What a SOL payload of a console passes; None is nothing."""
    if len(payload) < SOL_HEADER:
        return None
    if payload[0] & 0x0f and len(payload) > SOL_HEADER:
        return checker.What.GIVEN
    if payload[1] & 0x0f and payload[2]:
        return checker.What.TAKEN
    return None


