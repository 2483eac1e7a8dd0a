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

"""``ironic-solconsole show NODE``"""

import argparse

from cliff import show

from ironic_solconsole import control
from ironic_solconsole.cli import bridges
from ironic_solconsole.cli import command
from ironic_solconsole.cli import patterns

#: After those of ``list``; what a newer bridge tells beyond them follows.
DETAILS = ('detail', 'lock', 'holder', 'next_try', 'settled', 'session',
           'generation')


class Show(command.BridgeCommand, show.ShowOne):
    """Show all about one console."""

    #: What the bridge that has the console is asked; its answer is the
    #: console's status.
    VERB = 'show'

    def arguments(self, parsed_args: argparse.Namespace) -> control.Json:
        """What the verb needs beyond the node."""
        return {}

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('node', metavar='NODE',
                            help='UUID or name of the node')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], tuple[object, ...]]:
        found: list[bridges.Answer] = []
        for answer in self.ask(self.VERB, {
                'node': patterns.canonical(parsed_args.node),
                **self.arguments(parsed_args)}):
            if answer.error is None:
                found.append(answer)
            elif getattr(answer.error, 'kind', '') != 'no-such-console':
                self._incomplete(answer.path, str(answer.error))
        if not found:
            self._give_up(parsed_args.node)
        # Where one bridge of this host closes a console, or waits for its
        # lock, while another has it, that one is shown.
        found.sort(key=_idleness)
        for other in found[1:]:
            command.LOG.warning(
                '%s knows a console of this name as well.',
                command.printable(str(other.path)))
        # An answer was found: who did not give one does not matter.
        self.exit_code = 0
        status = {**(found[0].result or {}), 'socket': str(found[0].path)}
        first = (*command.COLUMNS, *DETAILS)
        names = (*first, *(name for name in status if name not in first))
        return (tuple(str(command.printable(name)) for name in names),
                tuple(command.printable(status.get(name))
                      for name in names))

    def _give_up(self, node: str) -> None:
        name = command.printable(node)
        if self.exit_code:
            raise command.CommandError(
                f'No bridge that answered has a console of node {name}.',
                self.exit_code)
        raise command.CommandError(
            f'No conductor of this host has a console of node {name} open.')


def _idleness(answer: bridges.Answer) -> int:
    state = (answer.result or {}).get('state')
    return {'closed': 2, 'fenced': 1}.get(str(state), 0)
