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

"""One node's console: lease, link, listener, viewers, and their rules.

Output of the host goes to every viewer. Input of every viewer goes to the
host, as fast as the BMC takes it; while there is no link it is dropped, as
what was typed at a dead console must not reach the host later.

The link is fenced while this process has no lease on the node, and the lock
is given back when the link has left the BMC. The listener is up all the
while, and who attaches is told.

A console that was stopped may be parked: for a few seconds it is neither
open nor gone. It keeps its port, viewers, link and lease, lets no byte
pass, and is taken up again by a start with the same spec, or closed.
"""

import asyncio
import collections.abc
import dataclasses
import datetime
import logging
import time
import typing

from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec
from ironic_solconsole.bridge import audience as console_audience
from ironic_solconsole.bridge import backends
from ironic_solconsole.bridge import lease as console_lease
from ironic_solconsole.bridge import listener as console_listener
from ironic_solconsole.bridge import notices
from ironic_solconsole.bridge import transcript as console_transcript
from ironic_solconsole.bridge import transcript_events
from ironic_solconsole.bridge import transcript_writer
from ironic_solconsole.sol import channel as sol_channel
from ironic_solconsole.sol import connection as sol_connection
from ironic_solconsole.sol import link as sol_link
from ironic_solconsole.sol import payload as sol_payload
from ironic_solconsole.sol import target as sol_target

LOG = logging.getLogger(__name__)

#: Bytes of output that wait while a console is parked.
PARKED_OUTPUT = 64 * 1024


class Limits(typing.NamedTuple):
    """The options that every console of a bridge shares.

    :param audience: those about viewers.
    :param keepalive_interval: seconds between two keepalives to a BMC.
    :param linger: seconds for which a link on demand outlasts its viewers.
    :param transcripts: what writes transcripts, if there are any.
    """

    audience: console_audience.AudienceSettings
    keepalive_interval: int
    linger: float
    transcripts: transcript_writer.Writer | None = None


def target_of(spec: console_spec.ConsoleSpec) -> sol_target.Target:
    """The part of a spec that the link needs."""
    return sol_target.Target(**spec.target())


def workarounds_of(
        spec: console_spec.ConsoleSpec) -> frozenset[sol_payload.Workaround]:
    """The workarounds of a spec, as the link takes them."""
    return frozenset(map(sol_payload.Workaround, spec.workarounds))


@dataclasses.dataclass
class _Parking:
    """What goes with a console that is parked.

    :param until: when it ends, by the clock of leases.
    :param over: is called when it ends without a start.
    :param leased: whether there was a lease.
    :param output: what the host has written meanwhile.
    """

    until: float
    over: collections.abc.Callable[['Console'], None]
    timer: asyncio.TimerHandle
    leased: bool
    output: bytearray = dataclasses.field(default_factory=bytearray)


class Console:
    """A console that is open.

    :param spec: the node, its BMC and its TCP endpoint.
    :param limits: the options of this bridge.
    :param login_slots: bounds the logins that run at a time.
    :param memory: what an earlier console of the node left.
    :param on_memory: called when that changed.
    :param leases: gives the lease on the node.
    :param admitted: whether to begin; else :meth:`admit` does.
    :param predecessor: an earlier console of the node that may still be
        logging out; the link waits for it, or it would find itself locked
        out by its own session.
    :raises: PortInUse, RequestRefused if the TCP port cannot be bound.
    """

    def __init__(self, spec: console_spec.ConsoleSpec, limits: Limits,
                 login_slots: asyncio.Semaphore,
                 memory: sol_link.LinkMemory,
                 on_memory: collections.abc.Callable[['Console'], None],
                 leases: console_lease.LeaseKeeper, admitted: bool = True,
                 predecessor: 'Console | None' = None) -> None:
        self.spec = spec
        self._limits = limits
        self._on_memory = on_memory
        #: Whether who types was told that it is dropped.
        self._drop_told = False
        self._closed = False
        self._leases = leases
        self._lease: console_lease.Lease | None = None
        self._predecessor = predecessor
        self._freeing: asyncio.Task[None] | None = None
        self._parking: _Parking | None = None
        self._extra = {'node': spec.node}
        self.bytes_in = 0
        self.bytes_out = 0
        self._transcript: console_transcript.Transcript | None = None
        self._link_event: transcript_events.LinkEvent | None = None
        self._audience = console_audience.Audience(
            self, limits.audience, self._extra)
        if not admitted:
            self._audience.shut = notices.MOVING
        self._listener = self._listen(spec)
        self._link = sol_connection.Link(
            target_of(spec), self, login_slots=login_slots,
            keepalive_interval=limits.keepalive_interval, node=spec.node,
            memory=memory, workarounds=workarounds_of(spec),
            steal=spec.steal == 'once', linger=self._linger_of(spec))
        if admitted:
            self.admit()

    @property
    def admitted(self) -> bool:
        """Whether viewers are let in, and the BMC may be contacted."""
        return self._lease is not None

    def admit(self) -> None:
        """Begin, if that has not been done."""
        if self._lease is not None or self._closed:
            return
        self._audience.shut = ''
        transcripts = self._limits.transcripts
        if transcripts is not None:
            self._transcript = transcripts.open(
                self.spec.node, self.spec.instance_uuid)
            self.record(f'opened by {transcripts.host}, node name '
                        f'{self.spec.name or "none"}')
        self._lease = self._leases.want(self.spec.node, self)
        self.lease_changed()
        predecessor, self._predecessor = self._predecessor, None
        self._link.start(predecessor._link if predecessor else None)

    def _linger_of(self, spec: console_spec.ConsoleSpec) -> float | None:
        return (self._limits.linger if spec.connection == 'on-demand'
                else None)

    def _listen(self, spec: console_spec.ConsoleSpec,
                ) -> console_listener.Listener:
        return console_listener.Listener(
            spec.tcp_host, spec.tcp_port, self._audience,
            self._limits.audience.client_buffer)

    def update(self, spec: console_spec.ConsoleSpec) -> None:
        """Follow a spec of the same node; what is equal is not disturbed.

        :raises: PortInUse, RequestRefused if the TCP port changed and
            cannot be bound; nothing has changed then.
        """
        old = self.spec
        if (old.tcp_host, old.tcp_port) != (spec.tcp_host, spec.tcp_port):
            # First the old one: its address may include the new one's.
            self._listener.close()
            try:
                self._listener = self._listen(spec)
            except exception.RequestRefused:
                self._listener = self._listen(old)
                raise
        self.spec = spec
        if old.instance_uuid != spec.instance_uuid:
            self._audience.dismiss(notices.NEW_OWNER)
            self._audience.erase()
            self._link.drop_input()
            if self._transcript is not None:
                self._transcript.new_owner(spec.instance_uuid)
        target, workarounds = target_of(spec), workarounds_of(spec)
        if (target, workarounds) != (
                self._link.target, self._link.workarounds):
            self._link.update(target, workarounds)
        if old.connection != spec.connection:
            self._link.set_linger(self._linger_of(spec))

    @property
    def link(self) -> sol_connection.Link:
        """The link to the BMC."""
        return self._link

    @property
    def audience(self) -> console_audience.Audience:
        """The people at the console."""
        return self._audience

    @property
    def memory(self) -> sol_link.LinkMemory:
        """What a successor must know."""
        return self._link.memory

    async def wait_settled(self, timeout: float) -> None:
        """Wait for the link's first verdict, at most so many seconds."""
        await self._link.wait_settled(timeout)

    def close(self) -> None:
        """Close at once; the BMC is logged out in the background."""
        self._closed = True
        if self._parking is not None:
            self._parking.timer.cancel()
            self._parking = None
        self._listener.close()
        self._audience.close()
        self._link.close()
        if self._transcript is not None:
            self._transcript.close()
            self._transcript = None

    async def wait_closed(self) -> None:
        """Wait until the BMC's session is logged out or given up, and give
        the lock back."""
        await self._link.wait_closed()
        if self._lease is not None:
            self._leases.forget(self._lease, self)

    # -- parking ---------------------------------------------------------

    @property
    def parked(self) -> bool:
        """Whether it is stopped, and may be taken up again."""
        return self._parking is not None

    def park(self, seconds: float,
             over: collections.abc.Callable[['Console'], None]) -> bool:
        """Let no byte pass, and keep all that a start would need.

        :param seconds: for how long.
        :param over: called when it has to be closed: the time is over, or
            the lease is lost.
        :returns: False if there is nothing to keep.
        """
        if self._lease is None or self._closed:
            return False
        self._parking = _Parking(
            backends.now() + seconds, over,
            asyncio.get_running_loop().call_later(seconds, over, self),
            self._lease.valid)
        self._link.park()
        self._audience.pause()
        self.record('parked')
        return True

    def take_up(self, spec: console_spec.ConsoleSpec) -> bool:
        """Go on where :meth:`park` stopped, if that is what is wanted.

        :param spec: of the start; all but the generation must be the same.
        :returns: False if the console has to be closed.
        """
        parking, lease = self._parking, self._lease
        if (parking is None or lease is None
                or backends.now() >= parking.until
                or (parking.leased and not lease.valid)
                or dataclasses.replace(
                    self.spec, generation=spec.generation) != spec):
            return False
        parking.timer.cancel()
        self._parking = None
        self.spec = spec
        self.record('taken up')
        self._audience.resume()
        if parking.output:
            self._deliver(bytes(parking.output))
        self._link.unpark(spec.steal == 'once')
        self.link_changed()
        return True

    # -- the lease (lease.Owner) -----------------------------------------

    def lease_changed(self) -> None:
        lease = self._lease
        if self._closed or lease is None:
            return
        parking = self._parking
        if parking is not None:
            if parking.leased and not lease.valid:
                parking.over(self)
                return
            parking.leased = lease.valid
        if lease.valid:
            self._link.admit()
            return
        self._link.fence(lease.explain())
        if lease.held is not None and self._freeing is None:
            self._freeing = asyncio.get_running_loop().create_task(
                self._free(lease))

    async def _free(self, lease: console_lease.Lease) -> None:
        """Give the lock of a fenced console back when it is out."""
        await self._link.wait_left()
        self._freeing = None
        self._leases.free(lease)

    def status(self) -> dict[str, typing.Any]:
        """What ``list`` and ``show`` tell. Holds no secret."""
        link = self._link
        since = datetime.datetime.fromtimestamp(link.since, datetime.UTC)
        session_id = link.session_id
        return {
            'node': self.spec.node,
            'name': self.spec.name,
            'state': 'parked' if self.parked else str(link.state),
            'reason': str(link.reason) if link.reason else '',
            'detail': link.detail,
            'since': since.strftime('%Y-%m-%dT%H:%M:%SZ'),
            'next_try': (None if link.next_try is None or self.parked
                         else round(link.next_try, 1)),
            'bmc': self.spec.bmc,
            'url': self.spec.url,
            'viewers': self._audience.count,
            'bytes_in': self.bytes_in,
            'bytes_out': self.bytes_out,
            'suite': link.suite,
            'session': f'{session_id:#x}' if session_id else '',
            'generation': self.spec.generation,
            'settled': link.settled,
            'lock': str(self._lease.standing if self._lease
                        else console_lease.Standing.WAITING),
            'holder': (console_lease.describe(self._lease.holder)
                       if self._lease and self._lease.standing
                       is console_lease.Standing.ELSEWHERE else ''),
        }

    def record(self, event: str) -> None:
        """Write down what happened, if there is a transcript.

        :param event: a few words.
        """
        if self._transcript is not None:
            self._transcript.event(event)

    # -- viewers (audience.Source) ---------------------------------------

    def input_from_viewers(self, data: bytes) -> int:
        if self._link.state is not sol_link.LinkState.CONNECTED:
            if not self._drop_told:
                self._drop_told = True
                self._audience.tell(notices.NOT_SENT)
            return len(data)
        return self._link.send(data)

    def viewers_changed(self, came: bool) -> None:
        if came:
            self._link.nudge()
        elif not self._audience.count and not self._closed:
            self._link.deserted()

    def record_viewer(self, event: str) -> None:
        if self._transcript is not None:
            self._transcript.viewer_event(event)

    def replay_permitted(self) -> bool:
        # While another process has the console, ours is out of date.
        return self.link_permitted()

    # -- the link (link.Owner) -------------------------------------------

    def link_data(self, data: bytes) -> None:
        self.bytes_out += len(data)
        if self._parking is None:
            self._deliver(data)
            return
        output = self._parking.output
        output += data
        if len(output) + sol_channel.MAX_CHARACTERS > PARKED_OUTPUT:
            self._link.take_no_output()

    def _deliver(self, data: bytes) -> None:
        if self._transcript is not None:
            self._transcript.data(data)
        self._audience.deliver(data)

    def link_changed(self) -> None:
        if self.parked:
            return      # take_up() comes back to it
        self._audience.offer_room()
        if self._closed:
            return
        self._record_link()
        link = self._link
        if link.state is sol_link.LinkState.CONNECTED:
            self._drop_told = False
        # Whoever comes next was not told of what is long over.
        before = (notices.Standing() if link.dormant
                  else self._audience.standing)
        due = (None if link.next_try is None else
               asyncio.get_running_loop().time() + link.next_try)
        self._audience.state(notices.of_state(
            link.state, link.reason, before, due, link.detail))

    def _record_link(self) -> None:
        link = self._link
        event = transcript_events.of_link(
            link.state, link.reason, link.detail, self.spec.bmc, link.suite)
        if event is None or (self._link_event is not None
                             and self._link_event.key == event.key):
            return
        self._link_event = event
        self.record(event.text)

    def link_memory_changed(self) -> None:
        self._on_memory(self)

    def link_wanted(self) -> bool:
        return self._audience.count > 0

    def link_permitted(self) -> bool:
        # As Lease.valid, without a call: asked twice for each packet.
        lease = self._lease
        return lease is not None and (
            time.clock_gettime(time.CLOCK_BOOTTIME) < lease.valid_until)

    def link_input_accepted(self, count: int) -> None:
        self.bytes_in += count
        self._audience.offer_room()

    def link_input_dropped(self, count: int) -> None:
        LOG.info('%d bytes of input did not reach the host.', count,
                 extra=self._extra)
        self._audience.tell(notices.not_delivered(count))
        self._audience.offer_room()
