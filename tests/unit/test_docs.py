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

"""What the documentation says of the code is so."""

import ast
import collections.abc
import functools
import pathlib
import re

from oslo_config import cfg
import pytest

from ironic_solconsole import conf
from ironic_solconsole.exception import Reason

ROOT = pathlib.Path(__file__).parents[2]
SOURCE = ROOT / 'doc' / 'source'
PAGE = SOURCE / 'admin' / 'troubleshooting.rst'

#: Stands where a message of the code, or of the page, differs each time.
_HOLE = '\0'


def _strings(path: pathlib.Path) -> collections.abc.Iterator[str]:
    """The texts in a file, with holes in those that have values in them."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            yield node.value.decode('latin-1')
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r'%(\([a-z]+\))?(\.\d)?[sdfr]', _HOLE, node.value)
        elif isinstance(node, ast.JoinedStr):
            yield ''.join(
                str(part.value) if isinstance(part, ast.Constant) else _HOLE
                for part in node.values)


@functools.cache
def messages() -> list[str]:
    """All texts in the code."""
    return [text for path in sorted((ROOT / 'ironic_solconsole').rglob(
        '*.py')) for text in _strings(path)]


def quoted() -> list[str]:
    """The messages that the page quotes, each in one line."""
    found = []
    for _, block in re.findall(
            r'^( *)\.\. code-block:: text\n\n((?:\1   .*\n|\n)+)',
            PAGE.read_text(), re.MULTILINE):
        found += [' '.join(part.split())
                  for part in re.split(r'\n *\n', block) if part.strip()]
    return found


def pieces(message: str) -> list[str]:
    """Parts of a message that stand in one text of the code.

    A message is put together: advice after a semicolon, what came back in
    parentheses.
    """
    parts = re.split(r'<[^<>]*>|[;()]|: |\. (?=[A-Z])', message)
    return [part.strip(' .:') for part in parts if len(part.strip()) > 3]


def test_the_page_quotes_messages() -> None:
    assert len(quoted()) > 30


@pytest.mark.parametrize('message', quoted())
def test_a_quoted_message_is_in_the_code(message: str) -> None:
    for piece in pieces(message):
        assert any(piece in text for text in messages()), (
            f'{PAGE.name} quotes {piece!r}, which the code does not say')


@pytest.mark.parametrize('reason', list(Reason))
def test_every_reason_is_on_the_page(reason: Reason) -> None:
    if reason in (Reason.STOLEN, Reason.CLOSED_BY_BMC,
                  Reason.PROTOCOL_ERROR):
        page = SOURCE / 'admin' / 'index.rst'
    else:
        page = PAGE
    assert str(reason) in page.read_text() + (
        SOURCE / 'cli' / 'index.rst').read_text()


@pytest.mark.parametrize('option', conf.OPTIONS, ids=lambda one: one.name)
def test_the_help_of_an_option_says_its_unit_and_when_to_change_it(
        option: cfg.Opt) -> None:
    text = ' '.join(option.help.split())
    assert text.endswith('.')
    if isinstance(option.type, (cfg.types.Integer, cfg.types.Float)):
        assert re.search(
            r'\b(seconds|bytes|days|connections|logins|processes|files)\b',
            text, re.IGNORECASE), f'the unit of {option.name}? {text}'
    assert re.search(
        r'\b(lower|raise|choose|set|switch|give|keep|need|for tenants|'
        r'cannot be|more let|do not)\b', text, re.IGNORECASE), (
        f'when is {option.name} to be changed? {text}')


def test_what_the_readme_links_to_is_there() -> None:
    for name in ('README.rst', 'CONTRIBUTING.rst'):
        text = (ROOT / name).read_text()
        links = re.findall(r'<([^<>\s]+)>`_|\.\. image:: (\S+)', text)
        for link in filter(None, (each for pair in links for each in pair)):
            assert (ROOT / link).exists(), f'{name} links to {link}'
