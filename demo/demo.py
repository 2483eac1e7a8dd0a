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

"""The demo: what demo/run.sh runs when everything is installed."""

import argparse
import collections.abc
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import types
import typing
import urllib.parse

import family
import machine
import output
import service

#: No run of --check takes longer than this, in seconds.
_LIMIT = 240

#: For socat: this terminal, with every key to the host but Ctrl-].
_TERMINAL = '-,rawer,escape=0x1d'


class Interrupted(BaseException):
    """A signal asks the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def _on_signal(number: int, frame: types.FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


def _on_alarm(number: int, frame: types.FrameType | None) -> None:
    raise family.DemoError(f'the whole check took longer than {_LIMIT} s')


class Demo:
    """One run, from nothing to nothing.

    :param directory: for all its files.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.family = family.Family(directory)
        self.machine = machine.Machine(self.family, directory)
        self.ironic = service.Service(self.family, directory)

    def up(self) -> int:
        """Start everything and switch the console on.

        :returns: the TCP port of the console.
        """
        output.say('Starting a simulated machine and Ironic ...')
        self.machine.start()
        output.say(
            f'  BMC: {self.machine.address}, UDP port {self.machine.port} '
            '(ipmi_sim); its serial port has a login shell')
        self.ironic.start()
        output.say(f'  Ironic {self.ironic.version}: {self.ironic.url}, '
            f'enabled_console_interfaces = {self.ironic.consoles}')
        self.ironic.enrol(self.machine)
        url = self.ironic.enable()
        output.say(f'  the console of node {service.NODE!r} is {url}')
        port = urllib.parse.urlsplit(url).port
        if port is None:
            raise family.DemoError(f'{url} has no port')
        return port

    def consoles(self) -> str:
        """What ``ironic-solconsole list`` says."""
        return self.ironic.run(
            ['ironic-solconsole', 'list', '-c', 'name', '-c', 'state',
             '-c', 'reason', '-c', 'bmc', '-c', 'url', '-c', 'suite'],
            30.0, say=True)

    def attach(self, port: int) -> None:
        """Give this terminal to the console until Ctrl-] or its end."""
        output.say(self.consoles().rstrip())
        output.say()
        output.say('Attached. Others may come too, from other terminals:')
        output.say(f'  socat {_TERMINAL} TCP:127.0.0.1:{port}')
        output.say('Ctrl-] leaves and stops everything; Enter gives a prompt.')
        output.say()
        before = termios.tcgetattr(sys.stdin)
        socat = subprocess.Popen(
            ['socat', _TERMINAL, f'TCP:127.0.0.1:{port}'])
        try:
            socat.wait()
        finally:
            socat.terminate()
            socat.wait()
            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            output.say()

    def check(self, port: int) -> None:
        """Type a command, read its output, switch off, look for leftovers.

        :raises: DemoError that says what failed.
        """
        output.say(self.consoles().rstrip())
        with Typist(port) as typist:
            typist.expect_prompt()
            # The echo of the command does not contain what is expected.
            typist.type('echo $((6*7))-solconsole')
            typist.expect(b'42-solconsole')
            output.say(
                '  typed "echo $((6*7))-solconsole", read "42-solconsole"')
            running = self.family.members()
            self.ironic.disable()
            typist.expect_end()
        family.wait_for(lambda: not family.is_open(port),
                        f'the end of TCP port {port} after disable', 10.0)
        output.say(f'  switched off: TCP port {port} is closed')
        bridges = [seen for seen in running
                   if 'ironic_solconsole.bridge' in seen.command]
        if self.ironic.consoles.startswith('solconsole') and not bridges:
            raise family.DemoError('no bridge process was seen')
        family.wait_for(
            lambda: not any(seen.alive for seen in bridges),
            'the end of the bridge process after its last console', 20.0)

    def down(self, *, strict: bool) -> None:
        """Stop everything.

        :param strict: accept no process that was left in the shell.
        :raises: DemoError if something did not end when asked.
        """
        slow = self.family.stop(strict=strict)
        with contextlib.suppress(OSError):
            # What ipmi_sim leaves of its lock of the serial line.
            pathlib.Path(
                f'/var/lock/LCK..{self.machine.serial.name}').unlink()
        if slow:
            raise family.DemoError(
                f'had to be killed, as it did not end: {"; ".join(slow)}')


class Typist:
    """A person at the console, through its TCP port."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(('127.0.0.1', port), 10.0)
        self._seen = b''

    def __enter__(self) -> 'Typist':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        self._socket.sendall(line.encode() + b'\r')

    def expect_prompt(self) -> None:
        """Press Enter until the shell answers."""
        for _ in range(10):
            self.type('')
            with contextlib.suppress(family.DemoError):
                self.expect(b'demo-host:', 3.0)
                return
        raise family.DemoError(
            f'no prompt of the shell came; seen: {self._seen!r}')

    def expect(self, text: bytes, seconds: float = 20.0) -> None:
        """Read until a text has come."""
        for _ in self._read(f'{text!r} on the console', seconds):
            if text in self._seen:
                self._seen = self._seen.partition(text)[2]
                return
        raise family.DemoError(
            f'the console ended before {text!r} came; seen: {self._seen!r}')

    def expect_end(self, seconds: float = 20.0) -> None:
        """Read until the console closes the connection."""
        for _ in self._read('the end of the connection', seconds):
            pass

    def _read(self, what: str, seconds: float
              ) -> collections.abc.Iterator[None]:
        deadline = time.monotonic() + seconds
        yield
        while True:
            left = deadline - time.monotonic()
            try:
                self._socket.settimeout(max(left, 0.001))
                data = self._socket.recv(4096)
            except TimeoutError:
                raise family.DemoError(
                    f'{what}: not within {seconds:.0f} s; seen: '
                    f'{self._seen!r}') from None
            except ConnectionError:
                return
            if not data:
                return
            self._seen = (self._seen + data)[-4096:]
            yield


def run(action: typing.Literal['attach', 'check']) -> int:
    """Run the demo.

    :returns: the exit code.
    """
    os.umask(0o077)
    # Short, because the path of a UNIX socket has at most 107 bytes.
    directory = pathlib.Path(tempfile.mkdtemp(prefix='solconsole-demo.',
                                              dir='/tmp'))
    # The shell, which may be nobody, has its home in there.
    directory.chmod(0o711)
    demo = Demo(directory)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    if action == 'check':
        signal.signal(signal.SIGALRM, _on_alarm)
        signal.alarm(_LIMIT)
    failures: list[str] = []
    code = 0
    try:
        port = demo.up()
        (demo.check if action == 'check' else demo.attach)(port)
    except family.DemoError as error:
        failures.append(str(error))
    except Interrupted as interrupted:
        output.say(f'Ended by {interrupted}.')
        code = 128 + interrupted.number
    finally:
        signal.alarm(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        output.say('Stopping everything ...')
        try:
            demo.down(strict=action == 'check')
        except family.DemoError as error:
            failures.append(str(error))
    if failures:
        for failure in failures:
            output.say(f'FAILED: {failure}', sys.stderr)
        output.say(f'The logs are in {directory}', sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    if action == 'check' and not code:
        output.say('  no process is left')
        output.say('PASS')
    return code


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description='A serial console through a real Ironic.')
    parser.add_argument(
        '--check', action='store_true',
        help='do it without a person; exit with 0 if all is well')
    options = parser.parse_args()
    return run('check' if options.check else 'attach')


if __name__ == '__main__':
    sys.exit(main())
