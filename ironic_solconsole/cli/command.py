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

"""What the commands share: whom they ask, how they fail and print."""

import argparse
import collections.abc
import logging
import pathlib
import typing

from cliff import columns
from cliff import command as cliff_command

from ironic_solconsole import control
from ironic_solconsole import exception
from ironic_solconsole.cli import bridges
from ironic_solconsole.cli import client

LOG = logging.getLogger('ironic-solconsole')

#: Exit codes; cliff and argparse have 1 for errors and 2 for usage.
EXIT_ERROR = 1
EXIT_NO_CONDUCTOR = 3
EXIT_INCOMPLETE = 4
EXIT_DISCONNECTED = 5

EXIT_CODES = f"""\
exit codes:
  0  done, and every bridge of this host answered; attach: detached by you
  {EXIT_ERROR}  an error, told in one line: no such console, viewer or
     transcript, access denied, a break that the BMC has not taken, a
     configuration that cannot be read; "list" and "log" print what
     they found all the same; "check" has found an error
  2  the command line is wrong
  {EXIT_NO_CONDUCTOR}  no conductor of this host has a console open
  {EXIT_INCOMPLETE}  a bridge did not answer: what is printed is not all
  {EXIT_DISCONNECTED}  attach: disconnected by the other side, and told why
attach that a signal ends, ends by that signal: 128 + its number in a shell
"""

#: What ``list`` prints, in this order; ``show`` prints more.
COLUMNS = ('node', 'name', 'state', 'reason', 'since', 'bmc', 'url',
           'viewers', 'bytes_in', 'bytes_out', 'suite')

#: What to do about a permission that is missing.
AS_WHOM = 'run this as root or as the user that ironic-conductor runs as'


class CommandError(exception.SolConsoleError):
    """A command ends without a result.

    :param message: one line for people.
    :param code: exit code.
    """

    def __init__(self, message: str, code: int = EXIT_ERROR) -> None:
        super().__init__(message)
        self.code = code


class Absent(columns.FormattableColumn):
    """A value that there is none of: empty for people, null in JSON."""

    def __init__(self) -> None:
        super().__init__(None)

    def human_readable(self) -> str:
        return ''


def printable(value: object) -> object:
    """A value from the wire as it may go to a terminal.

    Node names and what a BMC answered come from outside: whatever could
    move a cursor or forge a line is shown as an escape sequence.
    """
    if value is None:
        return Absent()
    if isinstance(value, (bool, int, float)):
        return value
    return ''.join(
        char if char.isprintable()
        else char.encode('unicode_escape').decode('ascii')
        for char in str(value))


class BridgeCommand(cliff_command.Command):
    """Stands before cliff's Lister or ShowOne: asks this host's bridges."""

    #: What run() returns when the command has printed its result.
    exit_code = 0

    @property
    def options(self) -> argparse.Namespace:
        """The global options."""
        assert self.app_args is not None
        return self.app_args

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run as cliff does; turn our errors into a line and a code."""
        try:
            super().run(parsed_args)
        except CommandError as error:
            LOG.error('%s', error)
            return error.code
        return self.exit_code

    def ask(self, verb: str, args: control.Json | None = None
            ) -> list[bridges.Answer]:
        """Ask every bridge of this host.

        What did not answer is reported on stderr and left out, and the
        exit code says so.

        :returns: the answers, of which RequestRefused may be one.
        :raises: CommandError if there is nobody to ask or nobody may be
            asked.
        """
        run_dir = self._run_dir()
        try:
            found = bridges.find_sockets(run_dir)
        except OSError as error:
            raise CommandError(f'{printable(str(run_dir))} cannot be read: '
                               f'{error.strerror}') from None
        answers = bridges.ask_all(
            found.paths, verb, args, timeout=self.options.timeout)
        denied = [*found.denied, *(
            answer.path for answer in answers
            if isinstance(answer.error, client.AccessDenied))]
        stale = [answer for answer in answers
                 if isinstance(answer.error, client.StaleSocket)]
        if denied and len(denied) + len(stale) == (
                len(found.denied) + len(answers)):
            raise CommandError(
                f'Permission denied: {printable(str(denied[0]))}; '
                f'{AS_WHOM}.')
        for answer in stale:
            LOG.warning('%s is left over: %s.',
                        printable(str(answer.path)), answer.error)
        if len(stale) == len(answers):
            raise CommandError(
                'No conductor with solconsole runs on this host, or none '
                'of its consoles is open: run_dir '
                f'{printable(str(run_dir))} {_emptiness(run_dir, stale)}.',
                EXIT_NO_CONDUCTOR)
        for path in denied:
            self._incomplete(path, f'permission denied; {AS_WHOM}')
        return list(self._usable(answers))

    def _usable(self, answers: list[bridges.Answer]
                ) -> collections.abc.Iterator[bridges.Answer]:
        for answer in answers:
            if (answer.error is None
                    or isinstance(answer.error, exception.RequestRefused)):
                yield answer
            elif not isinstance(answer.error, (client.StaleSocket,
                                               client.AccessDenied)):
                self._incomplete(answer.path, str(answer.error))

    def _incomplete(self, path: pathlib.Path, why: str) -> None:
        self.exit_code = EXIT_INCOMPLETE
        LOG.warning('%s did not answer: %s.', printable(str(path)),
                    printable(why))

    def _run_dir(self) -> pathlib.Path:
        options = self.options
        if options.run_dir is not None:
            return pathlib.Path(options.run_dir)
        text = str(self.configuration().solconsole.run_dir)
        run_dir = pathlib.Path(text)
        if not run_dir.is_absolute():
            raise CommandError(
                f'[solconsole]run_dir is {printable(text)!r}, which is not '
                'an absolute path: no configuration of Ironic was found, or '
                'it has no state_path; give --config-file or --run-dir.')
        return run_dir

    def configuration(self) -> typing.Any:
        """Ironic's configuration, with ``[solconsole]``.

        :raises: CommandError if it cannot be read.
        """
        # Imported only when needed: it takes half of the start-up time.
        from oslo_config import cfg

        from ironic_solconsole.cli import config
        options = self.options
        try:
            return config.load(options.config_file, options.config_dir)
        except cfg.Error as error:
            raise CommandError(
                "Ironic's configuration cannot be read: "
                f'{printable(" ".join(str(error).split()))}; {AS_WHOM}, or '
                'give --config-file or --run-dir.') from None


def _emptiness(run_dir: pathlib.Path, stale: list[bridges.Answer]) -> str:
    if stale:
        return 'holds only sockets of processes that have ended'
    return 'is empty' if run_dir.exists() else 'does not exist'
