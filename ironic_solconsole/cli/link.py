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

"""``ironic-solconsole release | resume | retry | steal | break``.

Each but ``break`` prints what ``show`` prints, as it is just after.
"""

import argparse
import re
import sys

from ironic_solconsole import control
from ironic_solconsole.cli import command
from ironic_solconsole.cli import node
from ironic_solconsole.cli import patterns
from ironic_solconsole.cli import show

MAX_BREAK_WAIT = 60.0   # seconds that a bridge may be asked to wait
BREAK_GRACE = 2.0       # seconds for its answer beyond that

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}


def duration(text: str) -> int:
    """Seconds from ``90``, ``90s``, ``15m``, ``1h`` or ``2d``.

    :raises: ArgumentTypeError otherwise.
    """
    match = re.fullmatch(r'([0-9]{1,7})([smhd]?)', text.strip())
    seconds = (int(match[1]) * _UNITS[match[2] or 's']
               if match is not None else 0)
    if not 1 <= seconds <= 31 * 86400:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a time such as 90s, 15m, 1h or 2d, of at most '
            '31 days')
    return seconds


class Release(show.Show):
    """Give a console up for work by hand, and keep it enabled.

    The BMC's serial console is free for ipmitool and the like; viewers stay
    and are told. Ends with "resume", or by itself after --for.
    """

    VERB = 'release'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--for', dest='seconds', metavar='TIME', type=duration,
            default=0, help='take it up again after this time: 90s, 15m, '
                            '1h, 2d (default: not before "resume")')
        return parser

    def arguments(self, parsed_args: argparse.Namespace) -> control.Json:
        return {'seconds': parsed_args.seconds}


class Resume(show.Show):
    """Take a console up again that was released."""

    VERB = 'resume'


class Retry(show.Show):
    """Try to connect now, even after bad credentials."""

    VERB = 'retry'


class Break(node.NodeCommand):
    """Send the host of a node a serial break.

    Waits until the BMC has taken it, for --timeout.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        self.ask_holder(
            'break', parsed_args.node,
            {'seconds': min(self.options.timeout, MAX_BREAK_WAIT)},
            BREAK_GRACE)
        sys.stdout.write('The BMC has taken the break.\n')


class Steal(show.Show):
    """Take the console from the session that has it, once.

    That session loses the console in the middle of what it does. Asks
    before, unless --yes is given.
    """

    VERB = 'steal'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('--yes', action='store_true',
                            help='do not ask')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], tuple[object, ...]]:
        if not parsed_args.yes:
            self._ask_person(parsed_args)
        return super().take_action(parsed_args)

    def _ask_person(self, parsed_args: argparse.Namespace) -> None:
        if not sys.stdin.isatty():
            raise command.CommandError(
                'This would take the console from whoever has it; say '
                '--yes, as there is nobody to ask.')
        for answer in self.ask('show', {'node': patterns.canonical(
                parsed_args.node)}):
            detail = (answer.result or {}).get('detail')
            if detail:
                sys.stderr.write(f'{command.printable(detail)}\n')
        sys.stderr.write(
            f'Take the console of node {command.printable(parsed_args.node)} '
            'away from it? [y/N] ')
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ('y', 'yes'):
            raise command.CommandError('Nothing was done.')
