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

"""A real login to a BMC, which says what a console would meet there.

It asks, and changes nothing: it never activates the console, as that is
for who holds the lock of the node, and it ends nobody's session but its
own, on every way out.
"""

import asyncio
import collections.abc
import dataclasses
import signal
import struct
import time

from ironic_solconsole import exception
from ironic_solconsole import spec as console_spec
from ironic_solconsole.cli import checks
from ironic_solconsole.sol import messages
from ironic_solconsole.sol import payload as sol_payload
from ironic_solconsole.sol import sealing
from ironic_solconsole.sol import session as sol_session
from ironic_solconsole.sol import target as sol_target

#: Seconds for everything that is asked of a BMC.
TIMEOUT = 60.0

_NETFN_TRANSPORT = 0x0c
_CMD_SOL_PARAMETER = 0x22           # table 26-4
_CMD_USER_PAYLOAD_ACCESS = 0x4d     # table 24-7
_THIS_CHANNEL = 0x0e
_ENABLED, _AUTHENTICATION, _PORT = 1, 2, 8      # table 26-5
_PARAMETERS = (_ENABLED, _AUTHENTICATION, _PORT)

_SLOW = 1.0     # seconds for an answer

_REASON_CHECK = {
    exception.Reason.UNREACHABLE: 'reachability',
    exception.Reason.ENCRYPTION_REFUSED: 'cipher suite',
    exception.Reason.PRIVILEGE: 'privilege',
    exception.Reason.SESSION_LIMIT: 'sessions',
}

#: IANA enterprise numbers of makers, and workarounds that boards of theirs
#: are known to need.
_MAKERS: dict[int, tuple[str, tuple[str, ...]]] = {
    42: ('Sun', ('skip-sequence',)),
    111: ('Oracle', ('skip-sequence',)),
    343: ('Intel', ('alerts-deferred', 'skip-sequence')),
    674: ('Dell', ('ignore-sol-port',)),
    7244: ('Quanta', ('alerts-deferred',)),
    10876: ('Supermicro', ('ignore-sol-port',)),
}


@dataclasses.dataclass
class Readings:
    """What a BMC has answered.

    :param suite: cipher suite in use.
    :param session: the BMC's id of our session.
    :param seconds: that the login took.
    :param slowest: seconds that the slowest answer took.
    :param device: Get Device ID.
    :param own: Get Session Info of our session.
    :param status: Get Payload Activation Status.
    :param instance: Get Payload Instance Info.
    :param access: Get User Payload Access of our user.
    :param parameters: SOL configuration parameters, by number.
    :param holder: who has the console.
    """

    suite: int
    session: int
    seconds: float
    slowest: float
    device: messages.Answer
    own: messages.Answer
    status: messages.Answer
    instance: messages.Answer
    access: messages.Answer
    parameters: dict[int, messages.Answer]
    holder: sol_payload.Holder | None


class _Asker:
    """Asks over one session, and takes the time."""

    def __init__(self, session: sol_session.Session) -> None:
        self._session = session
        self.slowest = 0.0

    async def ask(self, command: int, data: bytes = b'',
                  netfn: int = messages.NETFN_APP) -> messages.Answer:
        """Ask; who does not answer does not know it, if he is there.

        :raises: LinkError
        """
        began = time.monotonic()
        try:
            answer = await self._session.command(netfn, command, data)
        except exception.LinkError:
            await sol_payload.keep_alive(self._session)
            answer = messages.Answer(0xc1, b'')
        else:
            self.slowest = max(self.slowest, time.monotonic() - began)
        return answer


async def read(target: sol_target.Target) -> Readings:
    """Log in, ask, log out.

    :raises: LinkError
    """
    session = sol_session.Session(target, lambda data: None, lambda: None)
    try:
        async with asyncio.timeout(TIMEOUT):
            began = time.monotonic()
            await session.login()
            return await _read(session, time.monotonic() - began)
    except TimeoutError:
        raise exception.LinkError(
            exception.Reason.UNREACHABLE,
            f'the BMC took more than {TIMEOUT:g} s to answer') from None
    finally:
        await session.close()


async def _read(session: sol_session.Session, seconds: float) -> Readings:
    asker = _Asker(session)
    sol = bytes([sealing.PAYLOAD_SOL])
    own = await asker.ask(
        sol_payload.CMD_GET_SESSION_INFO,
        b'\xff' + struct.pack('<I', session.session_id))
    user = sol_payload.parse_session_info(session.session_id, own).user
    return Readings(
        suite=session.suite or 0, session=session.session_id,
        seconds=seconds, own=own,
        device=await asker.ask(messages.CMD_GET_DEVICE_ID),
        status=await asker.ask(sol_payload.CMD_ACTIVATION_STATUS, sol),
        instance=await asker.ask(
            sol_payload.CMD_INSTANCE_INFO, sol + b'\x01'),
        access=await asker.ask(_CMD_USER_PAYLOAD_ACCESS, bytes(
            [_THIS_CHANNEL, user])) if user else messages.Answer(
                0xc1, b''),
        parameters={number: await asker.ask(
            _CMD_SOL_PARAMETER, bytes([_THIS_CHANNEL, number, 0, 0]),
            _NETFN_TRANSPORT) for number in _PARAMETERS},
        holder=await sol_payload.find_holder(session),
        slowest=asker.slowest)


def check(spec: console_spec.ConsoleSpec,
          ours: collections.abc.Mapping[int, str]) -> list[checks.Finding]:
    """Log in to the BMC of a node, and say what was found.

    :param ours: console processes of this host by the session that they
        have with this BMC.
    """
    async def run() -> Readings:
        task = asyncio.current_task()
        assert task is not None
        # SIGTERM ends it as Ctrl-C does: with a logout.
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGTERM, task.cancel)
        return await read(sol_target.Target(**spec.target()))

    try:
        readings = asyncio.run(run())
    except exception.LinkError as error:
        return judge_failure(spec, error)
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
    return judge(spec, readings, ours)


def judge_failure(spec: console_spec.ConsoleSpec,
                  error: exception.LinkError) -> list[checks.Finding]:
    """What a login that failed means."""
    name = _REASON_CHECK.get(error.reason, 'login')
    findings = []
    if name != 'reachability':
        findings.append(checks.ok('reachability', f'{spec.bmc} answers'))
    findings.append(checks.error(
        name, f'{spec.bmc}, user {spec.username!r}: {error}',
        exception.ADVICE[error.reason]))
    findings.append(checks.skipped(
        'SOL', 'the BMC tells nothing more without a login'))
    return findings


def judge(spec: console_spec.ConsoleSpec, got: Readings,
          ours: collections.abc.Mapping[int, str]) -> list[checks.Finding]:
    """What a BMC's answers mean."""
    refused = spec.suites[:spec.suites.index(got.suite)] if (
        got.suite in spec.suites) else ()
    return [
        checks.ok('reachability', f'{spec.bmc} answers; a login takes '
                  f'{got.seconds * 1000:.0f} ms'),
        checks.ok('login', f'as user {spec.username!r} with privilege '
                  f'{spec.privilege}'),
        checks.ok('cipher suite', f'{got.suite}' + ''.join(
            f'; the BMC does not take {suite}' for suite in refused)),
        _judge_slots(got), _judge_enabled(got), _judge_access(got),
        _judge_authentication(spec, got), _judge_holder(got, ours),
        checks.skipped(
            'payload sizes', 'BMCs tell them only when the console is '
            'activated, and check leaves that to who holds the lock'),
        *judge_quirks(spec, got)]


def _judge_slots(got: Readings) -> checks.Finding:
    if got.own.code or len(got.own.data) < 3:
        return checks.skipped('sessions', 'the BMC does not tell')
    slots, used = got.own.data[1] & 0x3f, got.own.data[2] & 0x3f
    detail = f'{used} of {slots} in use, with this one'
    if slots and used >= slots:
        return checks.warning(
            'sessions', detail, "Ironic's own calls need one as well; close "
            'sessions that are not needed ("ipmitool session info all")')
    return checks.ok('sessions', detail)


def _judge_enabled(got: Readings) -> checks.Finding:
    value = _parameter(got, _ENABLED)
    if not value:
        return checks.skipped('SOL', 'the BMC does not tell whether it is '
                                     'enabled')
    if value[0] & 1:
        return checks.ok('SOL', 'enabled')
    return checks.error('SOL', 'disabled on this channel',
                        exception.ADVICE[exception.Reason.SOL_DISABLED])


def _judge_access(got: Readings) -> checks.Finding:
    name = 'SOL for the user'
    if got.access.code or not got.access.data:
        return checks.skipped(name, 'the BMC does not tell whether the user '
                                    'may use it')
    if got.access.data[0] & 1 << sealing.PAYLOAD_SOL:
        return checks.ok(name, 'allowed')
    return checks.error(
        name, 'the user may not use it',
        '"ipmitool sol payload enable CHANNEL USER-ID" on the BMC')


def _judge_authentication(spec: console_spec.ConsoleSpec,
                          got: Readings) -> checks.Finding:
    name = 'SOL privilege'
    value = _parameter(got, _AUTHENTICATION)
    if not value:
        return checks.skipped(name, 'the BMC does not tell what it needs')
    level = value[0] & 0x0f
    names = {number: word
             for word, number in console_spec.PRIVILEGES.items()}
    needed = names.get(level, f'level {level}')
    if 2 <= level <= 4 and level > console_spec.PRIVILEGES[spec.privilege]:
        return checks.error(
            name, f'the BMC asks for {needed}, and ipmi_priv_level is '
            f'{spec.privilege}', f'set ipmi_priv_level to {needed}, or '
            'lower what the BMC asks for')
    encrypted = bool(value[0] & 0x80)
    if encrypted and 'unencrypted' in spec.workarounds:
        return checks.error(
            name, 'the BMC wants encryption, and solconsole_workarounds '
            'says unencrypted', 'remove that word')
    return checks.ok(name, f'the BMC asks for {needed}' + (
        ', and for encryption' if encrypted else ''))


def _judge_holder(got: Readings, ours: collections.abc.Mapping[int, str]
                  ) -> checks.Finding:
    name = 'SOL holder'
    if got.holder is None:
        if got.status.code and got.instance.code:
            return checks.skipped(name, 'the BMC does not tell who has the '
                                        'console')
        return checks.ok(name, 'nobody has the console')
    process = ours.get(got.holder.session)
    if got.holder.session and process:
        return checks.ok(name, f'{got.holder}: that is the console process '
                               f'{process}')
    return checks.warning(
        name, f'{got.holder} has the console',
        'if that is no console of a conductor, solconsole waits until it '
        'ends, or takes it with "ironic-solconsole steal NODE"')


def _parameter(got: Readings, number: int) -> bytes:
    answer = got.parameters[number]
    return b'' if answer.code else answer.data[1:]      # after the revision


def judge_quirks(spec: console_spec.ConsoleSpec,
                 got: Readings) -> list[checks.Finding]:
    """Habits that show, and workarounds that may be needed."""
    shown = list(_habits(spec, got))
    findings = [checks.ok('quirks', f'{text}; no setting is needed')
                for text in shown]
    maker, words = _maker(got.device)
    missing = [word for word in words if word not in spec.workarounds]
    if missing:
        findings.append(checks.ok(
            'quirks', f'boards of {maker} may need solconsole_workarounds = '
            f'{",".join(missing)} if the console stays mute or stops; '
            'nothing that was asked shows it'))
    port = _sol_port(got)
    if (port not in (0, 0xffff, spec.port, _swapped(spec.port))
            and 'ignore-sol-port' not in spec.workarounds):
        findings.append(checks.warning(
            'quirks', f'the BMC names UDP port {port} for SOL, and its '
            f'sessions are on {spec.port}',
            'if the console does not connect, set solconsole_workarounds = '
            'ignore-sol-port'))
    if not findings:
        findings.append(checks.ok('quirks', 'none that shows'))
    if spec.workarounds:
        findings.append(checks.ok(
            'workarounds', f'set: {", ".join(spec.workarounds)}'))
    return findings


def _habits(spec: console_spec.ConsoleSpec, got: Readings
            ) -> collections.abc.Iterator[str]:
    """What the link deals with by itself."""
    if got.status.code:
        yield 'it does not know 4Ah (activation status)'
    elif got.status.data and not got.status.data[0] & 0x0f:
        yield 'it reports a capacity of 0 consoles, and has one'
    if got.instance.code:
        yield ('it does not know 4Bh (instance info): a theft is noticed '
               'only when the console is silent or ends')
    own = sol_payload.parse_session_info(got.session, got.own)
    if not own.exists:
        yield ('it does not tell of sessions (3Dh): a dead session that '
               'has the console is not recognised')
    elif not own.address:
        yield "it does not tell sessions' addresses (3Dh)"
    if _sol_port(got) == _swapped(spec.port) != spec.port:
        yield 'it names the UDP port for SOL with its bytes swapped'
    if got.slowest > _SLOW:
        yield f'it takes up to {got.slowest:.1f} s for an answer'


def _sol_port(got: Readings) -> int:
    value = _parameter(got, _PORT)
    return struct.unpack('<H', value[:2])[0] if len(value) >= 2 else 0


def _swapped(port: int) -> int:
    return port >> 8 | (port & 0xff) << 8


def _maker(device: messages.Answer) -> tuple[str, tuple[str, ...]]:
    if device.code or len(device.data) < 9:
        return '', ()
    number = int.from_bytes(device.data[6:9], 'little') & 0xfffff
    return _MAKERS.get(number, ('', ()))
