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

"""Taking the console at a BMC, from whom that is right.

An activation that a live session of somebody else holds is ended only if
somebody has said so. Deactivate Payload is not sent unless the BMC has just
named a session that is ours, was our predecessor's, is dead, or that is to
be stolen from.
"""

import asyncio
import collections.abc
import logging

from ironic_solconsole.exception import LinkError
from ironic_solconsole.exception import Reason
from ironic_solconsole.sol import payload as sol_payload
from ironic_solconsole.sol import session as sol_session
from ironic_solconsole.sol.link import Activation
from ironic_solconsole.sol.link import LinkMemory

LOG = logging.getLogger(__name__)

GHOST_PAUSE = 2.0       # seconds between two looks at a session that is dead


def is_predecessor(holder: sol_payload.Holder,
                   ours: Activation | None) -> bool:
    """Whether a session on a BMC is the one we left behind.

    Session ids repeat after a reboot of the BMC, so the user must match as
    well, and address and port where the BMC tells them.
    """
    if (ours is None or not holder.exists or not ours.user
            or (holder.session, holder.user) != (ours.session, ours.user)):
        return False
    if holder.address or ours.address:
        return (holder.address, holder.port) == (ours.address, ours.port)
    return True


class Taking:
    """One try to have the console.

    :param session: that is logged in.
    :param ours: what the BMC tells of this session.
    :param memory: knows the last activation of ours.
    :param permitted: whether we may go on at this moment; asked before each
        step.
    :param steal: asked, once, whether to take it from somebody else.
    :param bmc: for the log.
    :param extra: for the log.
    """

    def __init__(self, session: sol_session.Session,
                 ours: sol_payload.Holder, *,
                 memory: LinkMemory,
                 permitted: collections.abc.Callable[[], bool],
                 steal: collections.abc.Callable[[], bool], bmc: str,
                 extra: dict[str, str]) -> None:
        self._session = session
        self._ours = ours
        self._memory = memory
        self._permitted = permitted
        self._steal = steal
        self._bmc = bmc
        self._extra = extra

    async def activate(
            self, workarounds: frozenset[sol_payload.Workaround],
            ) -> sol_payload.Activation:
        """Take the console.

        :raises: LinkError; with Reason.HELD if somebody else has it.
        """
        session = self._session
        holder = await sol_payload.find_holder(session)
        if holder is not None:
            await self._take_from(holder)
        self._check_permitted()
        try:
            return await sol_payload.activate(session, workarounds)
        except LinkError as error:
            if error.reason is not Reason.HELD:
                raise
        holder = await sol_payload.find_holder(session)
        await self._take_from(holder or sol_payload.Holder(0))
        self._check_permitted()
        return await sol_payload.activate(session, workarounds)

    async def _take_from(self, holder: sol_payload.Holder) -> None:
        """End the activation of a session, if that is right.

        :param holder: the session that has the console.
        :raises: LinkError (held) if it is not.
        """
        self._check_permitted()
        session = self._session
        if holder.session and holder.session == session.session_id:
            # The answer to our own Activate was lost on the way.
            await sol_payload.deactivate(session)
        elif is_predecessor(holder, self._memory.activation):
            LOG.info('BMC %s: %s was our predecessor\'s; it is closed.',
                     self._bmc, holder, extra=self._extra)
            await sol_payload.deactivate(session)
            await sol_payload.close_other(session, holder.session)
        elif self._ours.exists and await self._is_ghost(holder):
            LOG.info('BMC %s: %s is dead, and its activation is ended.',
                     self._bmc, holder, extra=self._extra)
            await sol_payload.deactivate(session)
        elif self._steal():
            LOG.warning('BMC %s: the console is taken from %s, as '
                        'solconsole_steal or an operator said.', self._bmc,
                        holder, extra=self._extra)
            await sol_payload.deactivate(session)
        else:
            raise LinkError(Reason.HELD, f'{holder} uses the console')

    def _check_permitted(self) -> None:
        # A process that was stopped meanwhile may have lost its lock.
        if not self._permitted():
            raise LinkError(Reason.NO_LOCK, 'the lease ended meanwhile')

    async def _is_ghost(self, holder: sol_payload.Holder) -> bool:
        """Whether a BMC that knows its sessions says twice that it does not
        know the one that has the console."""
        if not holder.session or holder.exists is not False:
            return False
        await asyncio.sleep(GHOST_PAUSE)
        again = await sol_payload.find_holder(self._session)
        return (again is not None and again.session == holder.session
                and again.exists is False)
