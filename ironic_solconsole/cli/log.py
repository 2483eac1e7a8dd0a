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

"""``ironic-solconsole log NODE...``"""

import argparse
import contextlib
import io
import os
import pathlib
import resource
import select
import sys
import time
import typing
import uuid

from ironic_solconsole import control
from ironic_solconsole import transcript
from ironic_solconsole.cli import command
from ironic_solconsole.cli import link
from ironic_solconsole.cli import patterns
from ironic_solconsole.cli import transcripts

_POLL = 0.25            # seconds between two looks for more


class Log(command.BridgeCommand):
    """Print the transcripts of nodes: what their hosts have printed here.

    Control characters are escaped. Several nodes are merged in the order of
    time. A node is named by its UUID; a name, or a pattern of names, is
    known only while a conductor has its console open.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'nodes', metavar='NODE', nargs='+',
            help="UUID or name of a node, or a pattern such as 'rack7-*'")
        parser.add_argument(
            '--follow', '-f', action='store_true',
            help='go on with what comes, until Ctrl-C')
        parser.add_argument(
            '--since', metavar='TIME', type=link.duration,
            help='only what came within this time: 90s, 10m, 1h, 2d')
        parser.add_argument(
            '--raw', action='store_true',
            help="the host's output alone, byte for byte, of one node; it "
                 'may do to the terminal what it likes')
        parser.add_argument(
            '--transcript-dir', metavar='DIR',
            help='[solconsole]transcript_dir; it is not read from the '
                 'configuration then')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        directory = self._directory(parsed_args.transcript_dir)
        try:
            labels = self._resolve(parsed_args, directory)
            if parsed_args.raw and len(labels) > 1:
                raise command.CommandError(
                    f'--raw is for one node, and these are {len(labels)}.')
            self._print(parsed_args, directory, labels)
        except BrokenPipeError:
            # What reads our output has had enough. Nothing is to be said
            # when the interpreter flushes its streams, either.
            null = os.open(os.devnull, os.O_WRONLY)
            with contextlib.suppress(io.UnsupportedOperation):
                os.dup2(null, sys.stdout.fileno())
            os.close(null)
        except PermissionError as error:
            raise command.CommandError(
                'Permission denied: '
                f'{command.printable(str(error.filename or directory))}; '
                f'{command.AS_WHOM}.') from None
        except OSError as error:
            raise command.CommandError(
                'Transcripts cannot be read: '
                f'{command.printable(str(error))}.') from None
        except KeyboardInterrupt:
            pass        # how --follow is ended

    # -- where, and whose ------------------------------------------------

    def _directory(self, given: str | None) -> pathlib.Path:
        text = given
        if text is None:
            text = self.configuration().solconsole.transcript_dir
        if not text:
            raise command.CommandError(
                'There are no transcripts: [solconsole]transcript_dir is '
                'not set in the configuration of Ironic that was found.')
        return pathlib.Path(text)

    def _resolve(self, parsed_args: argparse.Namespace,
                 directory: pathlib.Path) -> dict[str, str]:
        """UUIDs of the nodes that are meant, and what to call them."""
        try:
            there = transcripts.nodes_of(directory)
        except FileNotFoundError:
            raise command.CommandError(
                f'{command.printable(str(directory))} does not exist: no '
                'console was opened on this host since transcripts were '
                'switched on.') from None
        exact = {word: patterns.canonical(word) for word in
                 parsed_args.nodes if _is_uuid(word)}
        labels = {node: node for node in exact.values()
                  if node in there or parsed_args.follow}
        unknown = [word for word, node in exact.items()
                   if node not in labels]
        others = [word for word in parsed_args.nodes if word not in exact]
        if others:
            found, missing = self._named(others, there)
            labels |= found
            unknown += missing
        for word in unknown:
            self.exit_code = self.exit_code or command.EXIT_ERROR
            command.LOG.error(
                'There is no transcript of node %s in %s.',
                command.printable(word), command.printable(str(directory)))
        if not labels:
            raise command.CommandError('There is nothing to print.',
                                       self.exit_code)
        return labels

    def _named(self, words: list[str], there: set[str]
               ) -> tuple[dict[str, str], list[str]]:
        """Nodes by names and patterns, and those that match nothing."""
        consoles = dict.fromkeys(there, '')
        trouble: command.CommandError | None = None
        try:
            for status in self._list():
                node, name = str(status.get('node')), status.get('name')
                if node in consoles and name:
                    consoles[node] = str(name)
        except command.CommandError as error:
            trouble = error
        rows: list[control.Json] = [
            {'node': node, 'name': name}
            for node, name in sorted(consoles.items())]
        chosen, unmatched = patterns.select(words, rows)
        if trouble is not None and unmatched:
            raise command.CommandError(
                f'{command.printable(unmatched[0])} is not a UUID, and names '
                f'are known only to a conductor of this host: {trouble}',
                trouble.code)
        return {row['node']: row['name'] or row['node']
                for row in chosen}, unmatched

    def _list(self) -> list[control.Json]:
        found: list[control.Json] = []
        for answer in self.ask('list'):
            rows = (answer.result or {}).get('consoles')
            if isinstance(rows, list):
                found += [row for row in rows if isinstance(row, dict)]
        return found

    # -- printing --------------------------------------------------------

    def _print(self, parsed_args: argparse.Namespace,
               directory: pathlib.Path, labels: dict[str, str]) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        since = (time.time() - parsed_args.since
                 if parsed_args.since is not None else 0.0)
        names = {node: f'{command.printable(label)}: '
                 if len(labels) > 1 else '' for node, label
                 in labels.items()}
        earliest = transcript.stamp(since) if since else b''
        with contextlib.ExitStack() as stack:
            readers = [transcripts.NodeReader(directory, node, since)
                       for node in labels]
            for reader in readers:
                stack.callback(reader.close)
            while True:
                for line in transcripts.merged(readers):
                    if line.order < earliest:
                        continue
                    if parsed_args.raw:
                        _print_raw(line)
                    else:
                        sys.stdout.write(names[line.node] + _shown(line))
                sys.stdout.flush()
                if not parsed_args.follow or _ended():
                    return


def _print_raw(line: transcripts.Line) -> None:
    if line.record is not None:
        typing.cast(typing.BinaryIO, sys.stdout.buffer).write(
            transcript.stream_of(line.record))


def _shown(line: transcripts.Line) -> str:
    """A line for a terminal, which it cannot do anything to."""
    if line.record is None:
        return f'not a record: {_escaped(line.text)}\n'
    when, kind, body = line.record
    if kind is transcript.Kind.LINE:
        # All lines of most hosts end like this.
        body = body.removesuffix(b'\r')
    return f'{when.decode()} {kind.value.decode()} {_escaped(body)}\n'


def _escaped(data: bytes) -> str:
    return transcript.printable(data.decode(errors='backslashreplace'))


def _ended() -> bool:
    """Wait a moment; whether nobody reads any more what is printed."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except io.UnsupportedOperation:
        time.sleep(_POLL)
        return False
    return bool(poll.poll(_POLL * 1000))


def _is_uuid(word: str) -> bool:
    try:
        uuid.UUID(word)
    except ValueError:
        return False
    return True
