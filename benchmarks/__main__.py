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

"""What benchmarks/run.sh runs when everything is installed."""

import argparse
import functools
import json
import pathlib
import signal
import sys
import time
import types
import typing

from benchmarks import contenders
from benchmarks import growth
from benchmarks import machine
from benchmarks import phases
from benchmarks import report
from benchmarks import runner
from benchmarks.contenders import bridge
from benchmarks.contenders import conman
from benchmarks.contenders import socat

#: Consoles in a run of everything.
SIZES = (1, 100, 500, 1000)


def main() -> int:
    """Measure; gives 1 when a stream was not exact or something broke."""
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    began = time.monotonic()
    say = functools.partial(print, flush=True)
    plan = phases.Plan(
        seconds=arguments.seconds, idle=5 * arguments.seconds,
        attachments=max(5, int(10 * arguments.seconds)))
    conmand = conman.Conman(arguments.conmand)
    document: dict[str, typing.Any] = {
        'machine': machine.describe(),
        'versions': machine.versions(conmand.version()),
        'plan': vars(plan) | {'rounds': arguments.rounds}}
    for name in ('machine', 'versions'):
        say(', '.join(f'{key} {value}'
                      for key, value in document[name].items()))
    try:
        if arguments.growth:
            tables = growth.by_consoles(
                arguments.consoles or growth.SIZES, plan,
                arguments.rounds, say)
            text, document['exponents'] = report.growth(tables)
            say(f'\n{text}\n')
        elif arguments.bridges:
            tables = [
                growth.by_bridges(size, plan, arguments.rounds, say)
                for size in arguments.consoles or growth.SIZES[1:2]]
            for table in tables:
                say(f'\n{table.text()}\n')
        else:
            servers: list[contenders.Contender] = [
                bridge.Solconsole(), socat.SocatIpmitool(), conmand]
            tables = []
            for size in arguments.consoles or SIZES:
                tables.append(runner.compare(
                    size, servers, plan, arguments.rounds, say))
                say(f'\n{tables[-1].text()}\n')
    except KeyboardInterrupt:
        say('interrupted; everything that was started has ended')
        return 130
    document['tables'] = [table.to_json() for table in tables]
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(document, indent=2) + '\n')
        say(f'{arguments.json} is written')
    passed = all(table.passed for table in tables)
    say(f'{"all streams exact" if passed else "FAILED"} after '
        f'{time.monotonic() - began:.0f} s')
    return 0 if passed else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='benchmarks/run.sh', description='Our bridge beside socat with '
        'ipmitool and beside conman. How many times what ours costs stands '
        'in parentheses; for throughput, how many times less.')
    parser.add_argument(
        '--consoles', type=int, nargs='+', metavar='N', default=None,
        help=f'how many (default: {", ".join(map(str, SIZES))})')
    parser.add_argument(
        '--rounds', type=int, default=3, metavar='R',
        help='how often each is measured, in turn (default: 3)')
    parser.add_argument(
        '--seconds', type=float, default=3.0, metavar='S',
        help='of each timed part (default: 3; five times that while '
        'nothing passes)')
    parser.add_argument(
        '--json', type=pathlib.Path, default=None, metavar='PATH',
        help='write all figures there')
    parser.add_argument(
        '--conmand', default='conmand', metavar='PATH',
        help='the conmand to use (default: the one in PATH)')
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--growth', action='store_true',
        help='ours alone: how it grows with the number of consoles '
        f'(default: {", ".join(map(str, growth.SIZES))})')
    what.add_argument(
        '--bridges', action='store_true',
        help='ours alone: the consoles shared by '
        f'{", ".join(map(str, growth.BRIDGES))} bridges')
    return parser.parse_args()


def _interrupted(number: int, frame: types.FrameType | None) -> None:
    """Once: what is being ended must not be interrupted."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == '__main__':
    sys.exit(main())
