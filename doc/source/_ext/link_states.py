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

"""Draw the states of a link from the table in ``sol/link.py``.

``.. link-states::`` becomes the diagram and the table, so that neither can
say anything else than the code.
"""

import typing

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.ext.graphviz import graphviz

from ironic_solconsole.sol.link import TRANSITIONS
from ironic_solconsole.sol.link import LinkState


def dot() -> str:
    """The table as a Graphviz graph.

    What is possible in every state is drawn once, from a point of its own.
    """
    live = [state for state in LinkState if TRANSITIONS[state]]
    always = {
        event: target for event, target in TRANSITIONS[live[0]].items()
        if all(TRANSITIONS[state].get(event) is target for state in live)}
    lines = ['digraph link {', 'rankdir=LR;',
             'node [shape=box, style=rounded, fontname="sans-serif"];',
             'edge [fontname="sans-serif", fontsize=10];',
             'any [shape=plaintext, label="any state"];']
    arrows: dict[tuple[str, str], list[str]] = {}
    for event, target in always.items():
        arrows.setdefault(('any', target), []).append(event.value)
    for state in live:
        for event, target in TRANSITIONS[state].items():
            if event not in always:
                arrows.setdefault((state, target), []).append(event.value)
    for (source, target), labels in arrows.items():
        label = '\\n'.join(labels)
        lines.append(f'{source} -> {target} [label="{label}"];')
    return '\n'.join([*lines, '}'])


def rows() -> list[tuple[str, str, str]]:
    """The table as it stands: state, event, next state."""
    return [(state, event.value, target)
            for state, row in TRANSITIONS.items()
            for event, target in row.items()]


def _row(cells: tuple[str, ...]) -> nodes.row:
    return nodes.row('', *(
        nodes.entry('', nodes.paragraph(text=text)) for text in cells))


class LinkStates(Directive):
    """The directive."""

    def run(self) -> list[nodes.Node]:
        picture = graphviz()
        picture['code'] = dot()
        picture['options'] = {}
        picture['alt'] = 'States of a link and the events between them'
        return [picture, self._table()]

    @staticmethod
    def _table() -> nodes.table:
        heads = ('State', 'Event', 'Next state')
        group = nodes.tgroup(cols=len(heads))
        group += [nodes.colspec(colwidth=1) for _ in heads]
        head, body = nodes.thead(), nodes.tbody()
        head += [_row(heads)]
        body += [_row(cells) for cells in rows()]
        group += [head, body]
        return nodes.table('', group)


def setup(app: Sphinx) -> dict[str, typing.Any]:
    """Register with Sphinx."""
    app.setup_extension('sphinx.ext.graphviz')
    app.add_directive('link-states', LinkStates)
    return {'parallel_read_safe': True}
