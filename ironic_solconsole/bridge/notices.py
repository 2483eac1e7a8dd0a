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
address, account, session or host.
"""

from ironic_solconsole.exception import Reason
from ironic_solconsole.sol.link import LinkState

CONNECTED = 'connected'

_OF_REASON = {
    Reason.HELD: 'in use by another session; waiting for it to end',
    Reason.STOLEN: 'taken by another session; waiting for it to end',
    Reason.POWERED_OFF: 'the machine is powered off',
    Reason.UNREACHABLE: 'the console does not answer; trying again',
    Reason.CLOSED_BY_BMC: 'the console was interrupted; trying again',
    Reason.LOCKED: 'this console is served elsewhere at the moment; waiting '
                   'for it',
}
_UNAVAILABLE = 'the console is not available; trying again'


def of_state(state: LinkState, reason: Reason | None, before: str) -> str:
    """What to tell who is or comes to a console.

    :param state: of the link.
    :param reason: of the link.
    :param before: what was told last, '' for nothing.
    :returns: a sentence without its end, or '' where there is nothing to
        tell: connected, or on the way there for the first time.
    """
    if state is LinkState.RELEASED:
        return 'released for maintenance'
    if reason is Reason.HELD and before == _OF_REASON[Reason.STOLEN]:
        return before       # the same session, a few seconds later
    if reason is not None:
        return _OF_REASON.get(reason, _UNAVAILABLE)
    if state in (LinkState.IDLE, LinkState.CONNECTING, LinkState.FENCED):
        return before       # nothing new until it succeeds or fails
    return ''
