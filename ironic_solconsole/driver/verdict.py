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

"""What the answer of a bridge means for a console that is being enabled."""

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.exception import Reason

#: Reasons that the deployer has to act on. With the others the console is
#: as good as it can be now, and connects by itself when that changes.
FAILURES = frozenset({
    Reason.UNREACHABLE, Reason.BAD_CREDENTIALS, Reason.PRIVILEGE,
    Reason.SOL_DISABLED, Reason.ENCRYPTION_REFUSED, Reason.CLOSED_BY_BMC,
    Reason.PROTOCOL_ERROR})


def failure(status: control.Json, waited: float,
            tried: str) -> exception.LinkError | None:
    """Why a console should not count as enabled, or None if it should.

    :param status: what a bridge says of the console.
    :param waited: seconds for which it was given time.
    :param tried: what was asked of the BMC, for people.
    """
    if status.get('state') in ('connected', 'held', 'idle', 'fenced'):
        return None
    if not status.get('settled'):
        return exception.LinkError(
            Reason.UNREACHABLE,
            f'no clear answer within {waited:.1f} s to {tried}')
    try:
        reason = Reason(status.get('reason', ''))
    except ValueError:
        return None
    if reason not in FAILURES:
        return None
    return exception.LinkError(reason, str(status.get('detail', '')))


def sentence(error: exception.LinkError, node: str, bmc: str) -> str:
    """What last_error says: the node, the BMC, the reason, what to do."""
    detail = f' ({error.detail})' if error.detail else ''
    return (f'node {node}, BMC {bmc}: {error.reason}{detail}; '
            f'{exception.ADVICE[error.reason]}')
