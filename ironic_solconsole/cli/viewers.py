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

"""``ironic-solconsole who | kick | say``: the people at a console."""

import argparse
import sys

from cliff import lister

from ironic_solconsole.cli import command
from ironic_solconsole.cli import node

#: What ``who`` prints, in this order.
COLUMNS = ('viewer', 'kind', 'from', 'since', 'idle', 'writes',
           'bytes_sent', 'bytes_lost')


class Who(node.NodeCommand, lister.Lister):
    """List who is at a console."""

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        rows = self.ask_holder('who', parsed_args.node).get('viewers')
        return COLUMNS, [
            tuple(command.printable(row.get(column)) for column in COLUMNS)
            for row in rows or ()]


class Kick(node.NodeCommand):
    """Disconnect one viewer of a console, or all that came by TCP.

    They are told, and may come back.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'viewer', metavar='VIEWER', nargs='?', type=_number,
            help='number of the viewer, as "who" has it (default: all '
                 'viewers on TCP, and no operator)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        kicked = self.ask_holder('kick', parsed_args.node, {
            'viewer': parsed_args.viewer}).get('kicked') or ()
        sys.stdout.write(
            f'Disconnected: {", ".join(map(str, kicked))}.\n' if kicked
            else 'Nobody was there.\n')


class Say(node.NodeCommand):
    """Tell something to everybody who is at a console."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('text', metavar='TEXT', nargs='+',
                            help='what to tell, at most 200 characters')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        answer = self.ask_holder('say', parsed_args.node, {
            'text': ' '.join(parsed_args.text)})
        told, there = answer.get('told'), answer.get('viewers')
        sys.stdout.write(f'Told to {told} of {there} viewers.\n')
        if told != there:
            command.LOG.warning(
                'The others have notices switched off ([solconsole]'
                'notices), or are behind with what they were told before.')


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not the number of a viewer')
    return int(text)
