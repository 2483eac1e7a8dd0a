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

"""``ironic-solconsole``: what an operator types on the conductor's host."""

import argparse
import importlib.metadata
import math
import sys
import typing

from cliff import app
from cliff import commandmanager

from ironic_solconsole.cli import attach
from ironic_solconsole.cli import check
from ironic_solconsole.cli import command
from ironic_solconsole.cli import link
from ironic_solconsole.cli import list as list_command
from ironic_solconsole.cli import log
from ironic_solconsole.cli import show
from ironic_solconsole.cli import viewers

DESCRIPTION = """\
Look at and use the serial consoles that the conductors of this host have
open, and say what their links to the BMCs are to do. The sockets of their
console processes are in [solconsole]run_dir, which is read from Ironic's
configuration unless --run-dir gives it.
"""


class SolConsoleApp(app.App):
    """The command line with its global options."""

    NAME = 'ironic-solconsole'
    LOG = command.LOG

    def __init__(self) -> None:
        try:
            version = importlib.metadata.version(self.NAME)
        except importlib.metadata.PackageNotFoundError:
            version = 'of a source tree'
        # Commands are named here, not as entry points: there is one place
        # less to keep in step, and nothing to scan at each start.
        commands = commandmanager.CommandManager('')
        commands.add_command('attach', attach.Attach)
        commands.add_command('break', link.Break)
        commands.add_command('check', check.Check)
        commands.add_command('kick', viewers.Kick)
        commands.add_command('list', list_command.List)
        commands.add_command('log', log.Log)
        commands.add_command('release', link.Release)
        commands.add_command('resume', link.Resume)
        commands.add_command('retry', link.Retry)
        commands.add_command('say', viewers.Say)
        commands.add_command('show', show.Show)
        commands.add_command('steal', link.Steal)
        commands.add_command('who', viewers.Who)
        # Deferred: so that "list --help" is the help of list.
        super().__init__(DESCRIPTION, version, commands, deferred_help=True)

    def build_option_parser(
            self, description: str | None, version: str | None,
            argparse_kwargs: dict[str, typing.Any] | None = None,
            ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().build_option_parser(
            description, version, {
                'prog': self.NAME,
                'usage': '%(prog)s [OPTION...] COMMAND [ARGUMENT...]',
                'epilog': command.EXIT_CODES,
                'formatter_class': argparse.RawDescriptionHelpFormatter,
                **(argparse_kwargs or {})})
        parser.add_argument(
            '--config-file', metavar='PATH', action='append', default=[],
            help="Ironic's configuration file, as ironic-conductor was "
                 'given it; may be repeated. Unset: where ironic-conductor '
                 'looks.')
        parser.add_argument(
            '--config-dir', metavar='DIR', action='append', default=[],
            help="Ironic's configuration directory, in the same way.")
        parser.add_argument(
            '--run-dir', metavar='DIR',
            help='[solconsole]run_dir; no configuration is read then.')
        parser.add_argument(
            '--timeout', metavar='SECONDS', type=_seconds, default=5.0,
            help='How long to wait for the answer of a console process '
                 '(default 5).')
        return parser

    def interact(self) -> None:
        """Without a command there is nothing to do."""
        self.parser.error(
            'say what to do: list, check, or attach, break, kick, log, '
            'release, resume, retry, say, show, steal or who with a NODE')


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a number of seconds above 0')
    return value


def main(argv: list[str] | None = None) -> int:
    """Run; gives the exit code."""
    # A terminal that cannot show a node's name shows an escape instead.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(     # type: ignore[union-attr]
            errors='backslashreplace')
    return SolConsoleApp().run(sys.argv[1:] if argv is None else argv)


if __name__ == '__main__':
    sys.exit(main())
