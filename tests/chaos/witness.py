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

"""Talk to the observer, and judge what it wrote down."""

import json
import pathlib
import subprocess
import sys
import threading
import typing

from tests.chaos import checker
from tests.support import processes

Json = dict[str, typing.Any]

_PATIENCE = 30.0
_BY_ANOTHER = ('deactivated by another', 'closed by another', 'stolen')


class Witness:
    """A running observer.

    :param nodes: how many nodes to have; they are named '0', '1' and so on.
    :param records: file that it writes.
    """

    def __init__(self, nodes: int, records: pathlib.Path) -> None:
        self.records = records
        self._mutex = threading.Lock()
        self._process = subprocess.Popen(
            processes.die_with_us([
                sys.executable, '-m', 'tests.chaos.observer',
                '--nodes', str(nodes), '--records', str(records)]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            cwd=pathlib.Path(__file__).parents[2])
        #: UDP port of each node's BMC.
        self.ports: dict[str, int] = self._ask(do='ports')

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def _ask(self, **command: object) -> Json:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with self._mutex:
            process.stdin.write(json.dumps(command).encode() + b'\n')
            process.stdin.flush()
            line = process.stdout.readline()
        assert line, 'the observer has ended'
        answer = json.loads(line)
        assert isinstance(answer, dict), answer
        return answer

    def watch(self, node: str, host: str, port: int) -> None:
        """Have a viewer at a listener from now on."""
        self._ask(do='watch', node=node, host=host, port=port)

    def reset(self, node: str) -> None:
        """Let a BMC forget all its sessions."""
        self._ask(do='reset', node=node)

    def status(self) -> Json:
        """What the observer sees now."""
        return self._ask(do='status')

    def stop(self) -> None:
        """End it; all records are in the file then."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            code = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            code = processes.end(process)
        process.stdout.close()
        assert code == 0, f'the observer ended with {code}'


class Testimony:
    """The records of an observer, sorted out.

    :param lines: of its file.
    """

    def __init__(self, lines: typing.Iterable[str]) -> None:
        self.passed: list[checker.Passed] = []
        self.taken: list[checker.Taken] = []
        self.lives = checker.Lives()
        self.typed: dict[str, tuple[str, int]] = {}
        self.arrived: list[tuple[float, str, str, int]] = []
        self.stale = 0
        #: Conductor of each process.
        self.conductors: dict[int, str] = {}
        #: Bytes passed by a process that nobody could name.
        self.unknown = 0
        self._last_end: dict[int, str] = {}     # of a session's activation
        for line in lines:
            self._take(json.loads(line))

    def _take(self, entry: Json) -> None:
        kind, when = entry['kind'], entry['time']
        if kind == 'passed':
            stale = bool(entry.get('stale'))
            self.stale += stale
            self.unknown += not entry['pid']
            self.passed.append(checker.Passed(
                when, entry['node'], entry['pid'],
                checker.What(entry['what']), stale))
        elif kind in ('payload end', 'session end'):
            self._take_end(entry)
        elif kind == 'process':
            self.lives.add(entry['pid'], when, entry['state'])
        elif kind == 'conductor':
            self.conductors[entry['pid']] = entry['host']
        elif kind == 'typed':
            self.typed[entry['token']] = entry['node'], entry['pid']
        elif kind == 'arrived':
            self.arrived.append(
                (when, entry['node'], entry['token'], entry['pid']))

    def _take_end(self, entry: Json) -> None:
        session, why = entry['session'], entry['why']
        before = self._last_end.get(session, '')
        if entry['kind'] == 'payload end':
            self._last_end[session] = why
        elif before != 'session ended':
            return                      # it had left SOL before
        if entry['pid'] and why in _BY_ANOTHER:
            self.taken.append(checker.Taken(
                entry['time'], entry['node'], entry['pid']))

    def takeovers(self) -> tuple[int, int]:
        """How often a console went from one conductor to another, and how
        often while the process that had it before was still there.
        """
        count = contests = 0
        last: dict[str, int] = {}
        for one in sorted(checker.intervals(self.passed),
                          key=lambda one: one.begin):
            before = last.get(one.node, one.holder)
            last[one.node] = one.holder
            if self.conductors.get(before) != self.conductors.get(
                    one.holder):
                count += 1
                contests += self.lives.there(before, one.begin)
        return count, contests

    def shown(self, node: str) -> list[float]:
        """When viewers of a node were given bytes."""
        return [entry.time for entry in self.passed if entry.node == node
                and entry.what is checker.What.SHOWN]

    def faults(self, continued: typing.Iterable[tuple[int, float]],
               silences: typing.Iterable[checker.Silence] = ()
               ) -> tuple[list[checker.Fault], int]:
        """What is wrong, and how many slips there were.

        :param continued: processes that were stopped, and when they were
            let go on.
        :param silences: when processes must pass nothing.
        """
        everything = checker.overlaps(checker.intervals(self.passed))
        kept = checker.without_slips(self.passed, continued)
        found = checker.overlaps(checker.intervals(kept))
        found += checker.taken_alive(self.passed, self.taken, self.lives)
        found += checker.unfenced(kept, silences, self.conductors)
        found += checker.strays(self.typed, self.arrived)
        return (sorted(found, key=lambda fault: fault.time),
                len(everything) - len(checker.overlaps(
                    checker.intervals(kept))))
