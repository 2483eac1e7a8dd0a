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

"""``ironic-solconsole attach NODE``"""

import argparse
import collections.abc
import os
import pathlib
import signal
import sys

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.cli import client
from ironic_solconsole.cli import command
from ironic_solconsole.cli import link
from ironic_solconsole.cli import node
from ironic_solconsole.cli import relay
from ironic_solconsole.cli import terminal

_LOOK_PATIENCE = 2.0    # seconds to find out why it has ended


class Attach(node.NodeCommand):
    """Be at a console with this terminal.

    Ctrl-] opens a menu, with d to detach. Other keys go to the host.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        how = parser.add_mutually_exclusive_group()
        how.add_argument('--read-only', action='store_true',
                         help='type nothing to the host; the menu works')
        how.add_argument(
            '--force', action='store_true',
            help='take the write right: while this terminal is attached, '
                 'what all others type is not sent')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise command.CommandError(
                'attach needs a terminal; a program reads a console at the '
                'address that "list" has as url.')
        path, status = self.find(parsed_args.node)
        name = str(status['node'])
        try:
            answer, sock, rest = client.attach(path, {
                'node': name, 'read_only': parsed_args.read_only,
                'force': parsed_args.force}, timeout=self.options.timeout)
        except exception.ControlError as error:
            raise node.failure(path, error) from None
        with sock:
            sys.stdout.write(_greeting(answer))
            sys.stdout.flush()
            with terminal.Signals() as signals:
                with terminal.Terminal(sys.stdin.fileno(),
                                       sys.stdout.fileno(),
                                       signals) as screen:
                    end = relay.Relay(
                        sock, screen, signals,
                        _Actions(path, name, answer,
                                 self.options.timeout).by_key(),
                        parsed_args.read_only).run(rest)
                number = (signals.fatal if end is relay.End.SIGNAL
                          else signal.SIGHUP if end is relay.End.HUNG_UP
                          else 0)
        if number:
            # So that the shell knows.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if end is relay.End.DETACHED:
            sys.stdout.write('Detached.\n')
            return
        self.exit_code = command.EXIT_DISCONNECTED
        command.LOG.error('Disconnected: %s.', _why(path, name))


def _greeting(answer: control.Json) -> str:
    status = answer.get('status') or {}
    words = [str(command.printable(status.get(key) or ''))
             for key in ('name', 'node', 'bmc', 'state', 'reason')]
    name, uuid, bmc, state, reason = words
    return (f'Console of node {f"{name} ({uuid})" if name else uuid}, BMC '
            f'{bmc}: {state}{f" ({reason})" if reason else ""}. You are '
            f'viewer {answer.get("viewer")}; Ctrl-] opens the menu.\n')


def _why(path: pathlib.Path, name: str) -> str:
    """What has happened, as far as the bridge can still tell."""
    try:
        client.ask(path, 'show', {'node': name}, timeout=_LOOK_PATIENCE)
    except exception.RequestRefused:
        return ('the console was closed; "baremetal node show '
                f'{command.printable(name)} -f value -c conductor -c '
                'console_enabled" says where it is now, if anywhere')
    except exception.ControlError as error:
        return f'the console process is gone ({error})'
    return 'the console process has ended the connection, as told above'


class _Actions:
    """What keys of the menu ask the bridge.

    :param path: its socket.
    :param name: UUID of the node.
    :param answer: the one to ``attach``.
    :param timeout: seconds.
    """

    def __init__(self, path: pathlib.Path, name: str, answer: control.Json,
                 timeout: float) -> None:
        self._path = path
        self._name = name
        self._viewer = answer.get('viewer')
        self._timeout = timeout

    def by_key(self) -> dict[bytes, relay.Action]:
        """For :class:`relay.Relay`."""
        return {b'b': self._break, b'w': self._who,
                b't': lambda: self._write(True),
                b'g': lambda: self._write(False)}

    def _ask(self, verb: str, show: collections.abc.Callable[
            [control.Json], list[str]], patience: float = 0.0,
            **args: object) -> list[str]:
        try:
            return show(client.ask(
                self._path, verb, {'node': self._name, **args},
                timeout=self._timeout + patience))
        except exception.ControlError as error:
            return [str(command.printable(str(error)))]

    def _break(self) -> list[str]:
        return self._ask(
            'break', lambda answer: ['the BMC has taken the break'],
            link.BREAK_GRACE,
            seconds=min(self._timeout, link.MAX_BREAK_WAIT))

    def _write(self, alone: bool) -> list[str]:
        def show(answer: control.Json) -> list[str]:
            if alone:
                return ['only what is typed here is sent']
            return ['what is typed here is sent, as others may write again'
                    if answer.get('writes') else 'another one writes now']

        return self._ask('write', show, viewer=self._viewer, alone=alone)

    def _who(self) -> list[str]:
        return self._ask('who', lambda answer: [
            'here are', *map(self._row, answer.get('viewers') or ())])

    def _row(self, row: control.Json) -> str:
        words = {key: command.printable(value)
                 for key, value in row.items()}
        return (f'  {words.get("viewer"):>3} {words.get("kind"):8} '
                f'{words.get("from")}, since {words.get("since")}, '
                f'{"writes" if row.get("writes") else "reads"}, '
                f'idle {words.get("idle")} s'
                + (' (you)' if row.get('viewer') == self._viewer else ''))
