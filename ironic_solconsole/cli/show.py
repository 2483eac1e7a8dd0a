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
from ironic_solconsole.cli import command
from ironic_solconsole.cli import node

#: After those of ``list``; what a newer bridge tells beyond them follows.
DETAILS = ('detail', 'lock', 'holder', 'next_try', 'settled', 'session',
           'generation')


class Show(node.NodeCommand, show.ShowOne):
    """Show all about one console."""

    #: What the bridge that has the console is asked; its answer is the
    #: console's status.
    VERB = 'show'

    def arguments(self, parsed_args: argparse.Namespace) -> control.Json:
        """What the verb needs beyond the node."""
        return {}

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], tuple[object, ...]]:
        answer = self.ask_about(
            self.VERB, parsed_args.node, self.arguments(parsed_args))
        status = {**(answer.result or {}), 'socket': str(answer.path)}
        first = (*command.COLUMNS, *DETAILS)
        names = (*first, *(name for name in status if name not in first))
        return (tuple(str(command.printable(name)) for name in names),
                tuple(command.printable(status.get(name))
                      for name in names))
