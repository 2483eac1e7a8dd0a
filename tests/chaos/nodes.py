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

"""What a cloud wants of its nodes, asked for again and again.

A call may fail, hang or get lost while things are broken; an operator would
try again, and so does this: one thread a node.
"""

import threading
import time

from tests.support import ironic as real_ironic

_INTERVAL = 0.3
_TIMEOUT = 5.0

#: Seconds for which a call may lie with a conductor that was paused, and be
#: carried out after all.
_LINGERS = 60.0


class Node:
    """A node of a cloud under test.

    :param name: what the observer calls it.
    :param uuid: what Ironic calls it.
    :param port: TCP port of its console.
    """

    def __init__(self, api: real_ironic.Api, name: str, uuid: str, port: int
                 ) -> None:
        self.name = name
        self.uuid = uuid
        self.port = port
        #: What is wanted.
        self.on = True
        self.group = ''
        #: Times from when to when it was not wanted on, or not yet on.
        self.off: list[tuple[float, float]] = []
        #: What Ironic did that nobody asked for.
        self.complaints: list[str] = []
        self._api = api
        self._off_since: float | None = None
        self._was_on = True
        self._last_off_call = 0.0
        self._as_wanted = False
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run, daemon=True, name=f'operator of node {name}')
        self._thread.start()

    def stop(self) -> None:
        """Want nothing any more."""
        self._ended.set()
        self._thread.join(30.0)
        if self._off_since is not None:
            self.off.append((self._off_since, time.monotonic()))

    def want(self, on: bool | None = None, group: str | None = None) -> None:
        """Want something else from now on."""
        self.on = self.on if on is None else on
        self.group = self.group if group is None else group
        self._as_wanted = False

    @property
    def content(self) -> bool:
        """Whether it is as wanted, as far as Ironic said last."""
        return self._as_wanted

    def _run(self) -> None:
        while not self._ended.wait(_INTERVAL):
            try:
                self._look()
            except (real_ironic.ApiError, OSError, ValueError, KeyError):
                self._as_wanted = False

    def _look(self) -> None:
        path = f'/v1/nodes/{self.uuid}'
        wanted_on, wanted_group = self.on, self.group
        state = self._api.call(
            'GET', f'{path}?fields=console_enabled,reservation,'
            'conductor_group,last_error', timeout=_TIMEOUT)
        is_on, group = state['console_enabled'], state['conductor_group']
        if is_on and wanted_on:
            self._was_on = True
            if self._off_since is not None:
                self.off.append((self._off_since, time.monotonic()))
                self._off_since = None
        elif self._was_on and wanted_on:
            self._was_on = False
            now = time.monotonic()
            if now > self._last_off_call + _LINGERS:
                self.complaints.append(
                    f'{now:.3f}: console_enabled of node {self.name} '
                    f'({self.uuid}) became False: {state["last_error"]}')
        # What is wanted may have changed meanwhile.
        self._as_wanted = (is_on, group) == (self.on, self.group)
        if self._as_wanted or state['reservation'] is not None:
            return
        if group != wanted_group:
            self._api.call('PATCH', path, [
                {'op': 'replace', 'path': '/conductor_group',
                 'value': wanted_group}], timeout=_TIMEOUT)
        else:
            if not wanted_on:
                self._was_on = False
                self._last_off_call = time.monotonic()
            if self._off_since is None:
                self._off_since = time.monotonic()
            self._api.call('PUT', f'{path}/states/console',
                           {'enabled': wanted_on}, timeout=_TIMEOUT)
