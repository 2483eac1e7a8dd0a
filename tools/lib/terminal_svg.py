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

"""A screen of a terminal as an SVG picture.

::

    tmux capture-pane -e -p | python terminal_svg.py TITLE >console.svg

What is known of escape sequences is colour and bold, as ``capture-pane -e``
writes them.
"""

import html
import re
import sys

WIDTH, HEIGHT, SIZE = 8.0, 17, 13     # of a character, of a line, of the font
MARGIN, BAR = 14, 26

COLOURS = ('#32363d', '#e06c75', '#98c379', '#e5c07b', '#61afef', '#c678dd',
           '#56b6c2', '#d7dae0')
TEXT, BACK = '#d7dae0', '#1e2127'


class Style:
    """How the next characters look."""

    def __init__(self) -> None:
        self.colour = TEXT
        self.bold = False

    def change(self, codes: str) -> None:
        """Take the parameters of SGR."""
        for code in map(int, filter(None, (codes or '0').split(';'))):
            if code == 0:
                self.colour, self.bold = TEXT, False
            elif code == 1:
                self.bold = True
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self.colour = COLOURS[code % 10]
            elif code == 39:
                self.colour = TEXT

    def attributes(self) -> str:
        """As attributes of a tspan."""
        return f'fill="{self.colour}"' + (
            ' font-weight="bold"' if self.bold else '')


def line_spans(line: str, style: Style) -> str:
    """One line as tspans."""
    spans = []
    for codes, text in re.findall(r'(?:\x1b\[([\d;]*)m)?([^\x1b]*)', line):
        if codes:
            style.change(codes)
        if text:
            spans.append(f'<tspan {style.attributes()}>'
                         f'{html.escape(text)}</tspan>')
    return ''.join(spans)


def picture(screen: str, title: str) -> str:
    """The picture of a screen."""
    lines = screen.rstrip().splitlines()
    plain = [re.sub(r'\x1b\[[\d;]*m', '', line) for line in lines]
    width = round(max(map(len, plain)) * WIDTH + 2 * MARGIN)
    height = len(lines) * HEIGHT + 2 * MARGIN + BAR
    style = Style()
    rows = ''.join(
        f'<text x="{MARGIN}" y="{BAR + MARGIN + HEIGHT * (row + 1) - 5}" '
        f'textLength="{len(plain[row].rstrip()) * WIDTH:g}" '
        f'xml:space="preserve">{line_spans(line.rstrip(), style)}</text>\n'
        for row, line in enumerate(lines) if plain[row].strip())
    dots = ''.join(f'<circle cx="{18 + 16 * number}" cy="14" r="5" '
                   f'fill="{colour}"/>' for number, colour in enumerate(
                       (COLOURS[1], COLOURS[3], COLOURS[2])))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" role="img">\n'
        f'<title>{html.escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" rx="6" fill="{BACK}"/>\n'
        f'{dots}\n<text x="{width / 2:g}" y="18" text-anchor="middle" '
        f'fill="#9da5b4" font-family="sans-serif" font-size="12">'
        f'{html.escape(title)}</text>\n'
        f'<g font-family="monospace" font-size="{SIZE}">\n{rows}</g>\n'
        '</svg>\n')


if __name__ == '__main__':
    sys.stdout.write(picture(sys.stdin.read(), sys.argv[1]))
