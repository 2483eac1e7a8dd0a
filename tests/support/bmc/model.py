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

"""A BMC on UDP, with all that tests look at and do to it."""

import types

from tests.support.bmc import codes
from tests.support.bmc import engine
from tests.support.bmc import options
from tests.support.bmc import sessions
from tests.support.bmc import sol
from tests.support.bmc import suites
from tests.support.bmc.threads import in_loop


class ModelBmc(engine.Engine):
    """A BMC. To be made inside a running loop; all that tests call works
    in any thread.

    :param settings: what it is like; may be changed at any time.
    """

    # Life.

    @in_loop
    def start(self) -> 'ModelBmc':
        """Bind the UDP ports."""
        self._bind(self.settings.port)
        return self

    @in_loop
    def stop(self) -> None:
        """Leave the UDP ports, and do nothing any more."""
        for socket in (self._socket, self._second):
            if socket is not None:
                socket.close()
        self._socket = self._second = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> 'ModelBmc':
        return self.start()

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None) -> None:
        self.stop()

    # What tests see.

    @property
    @in_loop
    def live_sessions(self) -> list[sessions.Session]:
        """Sessions that are logged in."""
        return self.sessions.active

    @property
    @in_loop
    def pending_logins(self) -> int:
        """Sessions that are not logged in yet."""
        return len(self.sessions) - len(self.sessions.active)

    # What tests do to it.

    @in_loop
    def reboot(self) -> None:
        """Forget all sessions, and tell nobody."""
        self._activation = None
        self._ended.clear()
        self.host.detach()
        self._login.unlock()
        for session in self.sessions.clear():
            self._record_end(session, 'forgotten')

    @in_loop
    def move(self, port: int = 0) -> int:
        """Go to another UDP port. Sessions stay as they are.

        :param port: 0 is any.
        :returns: the new port.
        """
        held = self._socket, self._second
        self._bind(port)
        for session in self.sessions.all:
            if session.socket is not None:
                session.socket = self._socket
        for socket in held:
            if socket is not None:
                socket.close()
        return self.port

    @in_loop
    def deactivate(self, farewell: options.Farewell | None = None) -> None:
        """End the activation, as the BMC's own decision.

        :param farewell: how the holder is told; None is as the settings
            say.
        """
        self.end_payload('by the BMC', tell=True, farewell=farewell)

    @in_loop
    def set_sol_enabled(self, enabled: bool) -> None:
        """Switch SOL; switching it off ends the activation."""
        self.settings.sol.enabled = enabled
        if not enabled and self.holder is not None:
            self.end_payload('by the BMC', tell=True)

    @in_loop
    def hold(self, user: str = 'second', address: str = '192.0.2.7',
             port: int = 40000, *, level: int = codes.Level.ADMIN,
             steal: bool = False, ghost: bool = False) -> int:
        """Have SOL held by a session that no client is behind.

        :param user: name of its account.
        :param address: what Get Session Info says of it.
        :param port: the same.
        :param level: its privilege.
        :param steal: take it from who has it, who is told as the settings
            say.
        :param ghost: the session does not exist; Get Payload Instance Info
            names it all the same.
        :returns: its id.
        """
        if self.holder is not None:
            assert steal, 'SOL is held already'
            self.end_payload('stolen', tell=True)
        if ghost:
            session_id = self.sessions.new_id()
            self._activation = engine.Activation(session_id, None)
            return session_id
        session = self.sessions.open(
            0, suites.SUITES[3], codes.Level.ADMIN, (address, port), None,
            self._now())
        assert self.sessions.activate(session, self._now()), 'no free slot'
        session.user = next(
            entry for entry in self.settings.users if entry.name == user)
        session.level = level
        self._activation = engine.Activation(session.id, session)
        return session.id

    def steal(self, user: str = 'second', address: str = '192.0.2.7',
              port: int = 40000) -> int:
        """Take SOL from who has it, and hold it; see hold()."""
        return self.hold(user, address, port, steal=True)

    @in_loop
    def release(self) -> None:
        """End what hold() began."""
        activation = self._activation
        assert activation is not None and (
            activation.session is None or activation.session.socket is None
        ), 'no session of a test holds SOL'
        if activation.session is None:
            self._activation = None
        else:
            self.end_session(activation.session, 'released')

    @in_loop
    def unlock(self) -> None:
        """Unlock all accounts."""
        self._login.unlock()

    @in_loop
    def stick(self) -> None:
        """Make the number that the console uses next one that is never
        answered, until the console leaves it out.
        """
        self._end().stick()

    @in_loop
    def skip(self) -> None:
        """Leave out a number in the BMC's own packets."""
        self._end().skip()

    @in_loop
    def say_sol(self, payload: bytes) -> None:
        """Send any SOL payload to who has SOL, well sealed."""
        self._end().say(payload)
        self._run()

    @in_loop
    def send_raw(self, datagram: bytes) -> None:
        """Send any datagram to each live session's console."""
        for session in self.sessions.active:
            if session.socket is not None:
                session.socket.send(datagram, session.remote)

    def _end(self) -> sol.SolEnd:
        assert self._activation is not None and (
            self._activation.end is not None), 'nobody has SOL'
        return self._activation.end
