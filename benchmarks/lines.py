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


"""What measures Ironic or the locks, and prints a line for each run."""

import argparse
import collections.abc
import contextlib
import json
import pathlib

from tests.support import servers

BACKENDS: dict[str, type[servers.Server] | None] = {
    'file': None, 'redis': servers.Redis, 'etcd': servers.Etcd,
    'zookeeper': servers.ZooKeeper}

Json = dict[str, object]


@contextlib.contextmanager
def backend(name: str, file_url: str) -> collections.abc.Iterator[str]:
    """A coordination_url, with a server of our own behind it.

    :param name: of BACKENDS.
    :param file_url: where no server is needed.
    """
    kind = BACKENDS[name]
    if kind is None:
        yield file_url
        return
    with kind() as server:
        yield server.url


def run(parser: argparse.ArgumentParser, backends: list[str],
        measure: collections.abc.Callable[[str, int], Json]) -> int:
    """Measure for each backend and number of nodes.

    :param backends: where the command line says nothing.
    :returns: the exit code.
    """
    parser.add_argument('--nodes', type=int, nargs='+', default=[1000],
                        metavar='N', help='how many (default: 1000)')
    parser.add_argument('--backend', nargs='+', choices=BACKENDS,
                        default=backends,
                        help=f'(default: {", ".join(backends)})')
    parser.add_argument('--json', type=pathlib.Path, metavar='PATH',
                        help='write all figures there')
    arguments = parser.parse_args()
    results: list[Json] = []
    for name in arguments.backend:
        for nodes in arguments.nodes:
            results.append({'nodes': nodes, 'backend': name,
                            **measure(name, nodes)})
            print('  '.join(f'{key} {value}' for key, value
                            in results[-1].items()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + '\n')
    return 0
