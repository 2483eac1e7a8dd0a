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

"""Nodes as people name them: UUIDs, names, and shell patterns of both."""

import collections.abc
import fnmatch
import uuid

from ironic_solconsole import control


def canonical(node: str) -> str:
    """UUIDs are known in one form."""
    try:
        return str(uuid.UUID(node))
    except ValueError:
        return node


def matches(pattern: str, node: str, name: str) -> bool:
    """Whether somebody means a node.

    A name counts as it is written; in a UUID upper case counts as lower.

    :param pattern: a UUID, a name, or either with ``*``, ``?`` and
        ``[...]``.
    :param node: UUID of the node.
    :param name: its name, or ''.
    """
    return (canonical(pattern) in (node, name)
            or fnmatch.fnmatchcase(node, pattern.lower())
            or (bool(name) and fnmatch.fnmatchcase(name, pattern)))


def select(patterns: collections.abc.Sequence[str],
           consoles: collections.abc.Iterable[control.Json]
           ) -> tuple[list[control.Json], list[str]]:
    """What is meant, and what is meant in vain.

    :param patterns: as for matches(); none means everything.
    :param consoles: with node and name, as bridges tell of them.
    :returns: the consoles that any pattern matches, each once, and the
        patterns that match none.
    """
    everything = list(consoles)
    if not patterns:
        return everything, []
    chosen: list[control.Json] = []
    used: set[str] = set()
    for console in everything:
        means = [pattern for pattern in patterns if matches(
            pattern, str(console.get('node') or ''),
            str(console.get('name') or ''))]
        used.update(means)
        if means:
            chosen.append(console)
    return chosen, [pattern for pattern in dict.fromkeys(patterns)
                    if pattern not in used]
