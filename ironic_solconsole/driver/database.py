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

"""When this conductor last had contact with the database.

Others take over the nodes of a conductor that they do not see there any
more; so it has to know how long it may have been out of sight.
"""

from collections.abc import Callable
import threading
import time
import typing

from ironic.common import exception as ironic_exception
from ironic.conf import CONF
from oslo_log import log

LOG = log.getLogger(__name__)

#: Seconds between two tries while it does not answer.
RETRY = 1.0


class Contact:
    """Asks all the time.

    :param ask: asks the database for something small; may block.
    :param interval: seconds between two questions.
    """

    def __init__(self, ask: Callable[[], object], interval: float) -> None:
        self._ask = ask
        self._interval = interval
        self._end = threading.Event()
        self._last = time.monotonic()

    def start(self) -> None:
        """Ask from now on, in a thread."""
        threading.Thread(target=self._run, daemon=True,
                         name='solconsole-database').start()

    def stop(self) -> None:
        """Ask no more; does not wait."""
        self._end.set()

    def age(self) -> float:
        """Seconds since the last question that was answered."""
        return time.monotonic() - self._last

    def _run(self) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            delay = self._interval
            try:
                self._ask()
                self._last = began
            except Exception as error:
                # Ironic says so aloud
                LOG.debug('No contact with the database: %r', error)
                delay = min(RETRY, self._interval)
            self._end.wait(delay)


def contact(manager: typing.Any) -> Contact | None:
    """The contact of a conductor, or None with SQLite: it has no other."""
    if 'sqlite' in CONF.database.connection.lower():
        return None

    def ask() -> None:
        try:
            manager.dbapi.get_conductor(manager.host)
        except ironic_exception.ConductorNotFound:
            pass    # an answer as well

    return Contact(ask, max(RETRY, CONF.conductor.heartbeat_interval))
