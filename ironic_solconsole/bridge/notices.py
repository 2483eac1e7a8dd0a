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

"""What the people at a console are told about it.

Viewers on TCP are tenants: a notice names a state and nothing else, no
address, account, session or host, unless the deployer says that they may
know (``notice_detail``).
"""

import re
import typing

from ironic_solconsole.exception import Reason
from ironic_solconsole.sol.link import LinkState

CONNECTED = 'connected'
CONNECTING = 'connecting'

CLOSED = 'the console was closed'
EXCLUSIVE = 'somebody else writes at this console; what is typed here is ' \
    'not sent'
FULL = 'this console has as many viewers as it allows'
FULL_ADDRESS = 'this console has as many viewers from this address as it ' \
    'allows'
KICKED = 'disconnected by an operator'
MADE_ROOM = 'closed to make room for another viewer, as nothing passed here'
MOVING = 'this console is being moved here; try again'
NEW_OWNER = 'the node was given to another instance'
NOT_SENT = 'not connected; what is typed is not sent'
RESTARTING = 'this console is being restarted; try again'
WRITER = 'this viewer writes now'

_OF_REASON = {
    Reason.HELD: 'in use by another session; waiting for it to end',
    Reason.STOLEN: 'taken by another session; waiting for it to end',
    Reason.POWERED_OFF: 'the machine is powered off',
    Reason.LOCKED: 'this console is served elsewhere at the moment; waiting '
                   'for it',
}
_OF_RETRIED = {
    Reason.UNREACHABLE: 'the console does not answer',
    Reason.CLOSED_BY_BMC: 'the console was interrupted',
}
_UNAVAILABLE = 'the console is not available'
_MAX_DETAIL = 300       # characters
#: Longest text of an operator, in characters.
MAX_SAID = 200


class Standing(typing.NamedTuple):
    """What there is to tell as long as a state lasts.

    :param text: a sentence without its end, '' for nothing.
    :param retried: whether it is tried again by itself.
    :param next_try: when that is, by the clock of the event loop; None if
        there is no time yet.
    :param late: whether it is worth a word only when it lasts.
    :param detail: what only those may know whom the deployer trusts.
    """

    text: str = ''
    retried: bool = False
    next_try: float | None = None
    late: bool = False
    detail: str = ''


def of_state(state: LinkState, reason: Reason | None, before: Standing,
             next_try: float | None = None, detail: str = '') -> Standing:
    """What to tell who is or comes to a console.

    :param state: of the link.
    :param reason: of the link.
    :param before: what this gave last.
    :param next_try: see :class:`Standing`.
    :param detail: of the link.
    :returns: nothing to tell where it is connected.
    """
    if state is LinkState.RELEASED:
        return Standing('released for maintenance')
    if reason is Reason.HELD and before.text == _OF_REASON[Reason.STOLEN]:
        return before       # the same session, a few seconds later
    if reason is not None:
        text = _OF_REASON.get(reason)
        if text is not None:
            return Standing(text, detail=detail)
        return Standing(_OF_RETRIED.get(reason, _UNAVAILABLE), True,
                        next_try, detail=detail)
    if state is LinkState.CONNECTING and not before.text:
        return Standing(CONNECTING, late=True)
    if state in (LinkState.IDLE, LinkState.CONNECTING, LinkState.FENCED):
        # Nothing new until it succeeds or fails.
        return before._replace(next_try=None)
    return Standing()


def sentence(standing: Standing, now: float, full: bool) -> str:
    """What to tell in so many words, without the end of the sentence.

    :param standing: has a text.
    :param now: by the clock of the event loop.
    :param full: whether the detail is told too.
    """
    text = standing.text
    if standing.retried:
        wait = 0 if standing.next_try is None else round(
            standing.next_try - now)
        text += f'; next try in {wait} s' if wait > 0 else '; trying again'
    if full and standing.detail:
        # It may quote what a BMC has sent.
        text += f' ({re.sub("[^ -~]", "?", standing.detail[:_MAX_DETAIL])})'
    return text


def idle(seconds: float) -> str:
    """Why a viewer is closed that was idle for so many seconds."""
    return f'closed, as nothing passed here for {seconds:g} seconds'


def not_delivered(count: int) -> str:
    """What to tell when so many bytes of input were given up."""
    return f'{count} bytes of what was typed did not reach the machine'


def said(text: str) -> str:
    """What an operator says, as it may go to terminals.

    :param text: at most MAX_SAID characters.
    :raises: ValueError if it is too long, or if there is nothing to say.
    """
    if len(text) > MAX_SAID:
        raise ValueError(f'it has {len(text)} characters, and may have '
                         f'{MAX_SAID}')
    words = ' '.join(text.split())
    if not words:
        raise ValueError('it is empty')
    return 'operator: ' + ''.join(
        character if character.isprintable() else '?'
        for character in words)


def line(notice: str) -> bytes:
    """A notice on a line of its own."""
    return f'\r\n[solconsole: {notice}]\r\n'.encode()
