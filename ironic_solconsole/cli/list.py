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

"""``ironic-solconsole list [NODE...]``"""

import argparse

from cliff import lister

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.cli import command
from ironic_solconsole.cli import patterns


class List(command.BridgeCommand, lister.Lister):
    """List the consoles that the conductors of this host have open.

    Without NODE all of them.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'nodes', metavar='NODE', nargs='*',
            help="UUID or name of a node, or a pattern such as 'rack7-*'")
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        consoles: list[control.Json] = []
        for answer in self.ask('list'):
            rows = (answer.result or {}).get('consoles')
            if isinstance(answer.error, exception.RequestRefused):
                self._incomplete(answer.path, str(answer.error))
            elif not (isinstance(rows, list)
                      and all(isinstance(row, dict) for row in rows)):
                self._incomplete(answer.path, 'its answer is not a list of '
                                              'consoles')
            else:
                consoles.extend(rows)
        consoles, unmatched = patterns.select(parsed_args.nodes, consoles)
        for pattern in unmatched:
            # Where a bridge did not answer, it may have that one.
            self.exit_code = self.exit_code or command.EXIT_ERROR
            command.LOG.error(
                'No conductor of this host has a console of node %s open.',
                command.printable(pattern))
        consoles.sort(key=lambda status: (
            str(status.get('name') or status.get('node')),
            str(status.get('node'))))
        return command.COLUMNS, [
            tuple(command.printable(status.get(column))
                  for column in command.COLUMNS)
            for status in consoles]
