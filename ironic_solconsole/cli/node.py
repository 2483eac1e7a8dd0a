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

"""What the commands about one node share: who has its console."""

import argparse
import pathlib

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.cli import bridges
from ironic_solconsole.cli import client
from ironic_solconsole.cli import command
from ironic_solconsole.cli import patterns


class NodeCommand(command.BridgeCommand):
    """A command about the console of one node."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('node', metavar='NODE',
                            help='UUID or name of the node')
        return parser

    def ask_about(self, verb: str, node: str,
                  args: control.Json | None = None) -> bridges.Answer:
        """Ask all bridges for the console of a node.

        :param verb: is answered with the status of the console.
        :returns: the answer of the bridge that has it.
        :raises: CommandError if there is none.
        """
        found: list[bridges.Answer] = []
        parked: bridges.Answer | None = None
        for answer in self.ask(verb, {'node': patterns.canonical(node),
                                      **(args or {})}):
            if answer.error is None:
                found.append(answer)
            elif getattr(answer.error, 'kind', '') == 'parked':
                parked = answer
            elif getattr(answer.error, 'kind', '') != 'no-such-console':
                self._incomplete(answer.path, str(answer.error))
        if not found and parked is not None and parked.error is not None:
            raise failure(parked.path, parked.error)
        if not found:
            self._give_up(node)
        # Where one bridge of this host closes a console, or waits for its
        # lock, while another has it, that one is meant.
        found.sort(key=_idleness)
        for other in found[1:]:
            command.LOG.warning(
                '%s knows a console of this name as well.',
                command.printable(str(other.path)))
        # An answer was found: who did not give one does not matter.
        self.exit_code = 0
        return found[0]

    def ask_holder(self, verb: str, node: str,
                   args: control.Json | None = None,
                   patience: float = 0.0) -> control.Json:
        """Ask only the bridge that has the console of a node.

        :param verb: may change something.
        :param patience: seconds to wait beyond the global option.
        :returns: its answer.
        :raises: CommandError
        """
        path, status = self.find(node)
        return self.ask_bridge(
            path, verb, {'node': status['node'], **(args or {})}, patience)

    def find(self, node: str) -> tuple[pathlib.Path, control.Json]:
        """Which bridge has the console of a node, and its status.

        :raises: CommandError if there is none.
        """
        answer = self.ask_about('show', node)
        return answer.path, {'node': patterns.canonical(node),
                             **(answer.result or {})}

    def ask_bridge(self, path: pathlib.Path, verb: str, args: control.Json,
                   patience: float = 0.0) -> control.Json:
        """Ask one bridge.

        :raises: CommandError
        """
        try:
            return client.ask(path, verb, args,
                              timeout=self.options.timeout + patience)
        except exception.ControlError as error:
            raise failure(path, error) from None

    def _give_up(self, node: str) -> None:
        name = command.printable(node)
        if self.exit_code:
            raise command.CommandError(
                f'No bridge that answered has a console of node {name}.',
                self.exit_code)
        raise command.CommandError(
            f'No conductor of this host has a console of node {name} open; '
            f'"baremetal node show {name} -f value -c conductor -c '
            'console_enabled" says which conductor has the node, and '
            'whether its console is on.')


def failure(path: pathlib.Path,
            error: exception.ControlError) -> command.CommandError:
    """A request that failed, as the end of a command."""
    if isinstance(error, exception.RequestRefused):
        return command.CommandError(
            f'{command.printable(_sentence(str(error)))}')
    return command.CommandError(
        f'{command.printable(str(path))} did not answer: '
        f'{command.printable(str(error))}.', command.EXIT_INCOMPLETE)


def _sentence(text: str) -> str:
    return f'{text[:1].upper()}{text[1:]}.'


def _idleness(answer: bridges.Answer) -> int:
    state = (answer.result or {}).get('state')
    return {'closed': 2, 'fenced': 1}.get(str(state), 0)
