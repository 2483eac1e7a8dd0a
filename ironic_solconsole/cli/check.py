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

"""``ironic-solconsole check [--node-info FILE]``"""

import argparse
import logging

from cliff import lister

from ironic_solconsole.cli import checks
from ironic_solconsole.cli import command

COLUMNS = ('check', 'verdict', 'detail', 'advice')


class Check(command.BridgeCommand, lister.Lister):
    """Look whether consoles can work on this host.

    Reads Ironic's configuration and looks at what it names; needs no
    conductor that runs, and changes nothing. The exit code is 1 if there is
    an error, else 0.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--node-info', metavar='FILE',
            help='also log in to the BMC of a node, whose driver_info is in '
                 'FILE, as "baremetal node show NODE -f json" prints it but '
                 'with the real password; - is stdin')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        # It tells, at the level of INFO, how it found an address.
        logging.getLogger('oslo_utils').setLevel(logging.WARNING)
        # Only now: what it loads would slow down every other command.
        from ironic_solconsole.cli.checks import everything
        findings = list(everything.run(self.options, parsed_args.node_info))
        if any(each.verdict is checks.Verdict.ERROR for each in findings):
            self.exit_code = command.EXIT_ERROR
        return COLUMNS, [tuple(
            command.printable(str(getattr(each, column)))
            for column in COLUMNS) for each in findings]
