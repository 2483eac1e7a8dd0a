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

"""The plan of the house: who may import whom, and what each file carries.

import-linter checks the direction of imports as well. This test needs
nothing but Python, also sees imports inside functions and names in
strings, and says in its failure which line to look at.
"""

import ast
import collections.abc
import dataclasses
import pathlib
import subprocess
import sys

import pytest

NAME = 'ironic_solconsole'
ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / NAME

#: The only file that may name private parts of pyghmi.
PYGHMI_FILE = PACKAGE / 'sol' / 'login.py'

COORDINATION = ('tooz', 'redis', 'etcd3gw', 'kazoo')
CONFIGURATION = ('oslo_config', 'oslo_log', 'oslo_concurrency', 'oslo_utils',
                 'cliff', 'stevedore', 'eventlet')
IRONIC = ('ironic', 'ironic_lib')
DRIVER_INFO = f'{NAME}.driver_info'
SHARED = (f'{NAME}.control', f'{NAME}.coordination', f'{NAME}.spec',
          f'{NAME}.transcript', f'{NAME}.exception')


@dataclasses.dataclass(frozen=True)
class Import:
    """One module that a file imports."""

    path: pathlib.Path
    line: int
    module: str

    def is_of(self, *packages: str) -> bool:
        """Whether the module is one of these, or inside one."""
        return any(self.module == package
                   or self.module.startswith(package + '.')
                   for package in packages)

    def __str__(self) -> str:
        return f'{self.path.relative_to(ROOT)}:{self.line} {self.module}'


def sources(*parts: str) -> list[pathlib.Path]:
    """Python files of a part of the package, or of all of it."""
    base = PACKAGE.joinpath(*parts)
    return sorted(base.rglob('*.py')) if base.is_dir() else [base]


def imports(paths: collections.abc.Iterable[pathlib.Path]
            ) -> collections.abc.Iterator[Import]:
    """What files import, in functions and under TYPE_CHECKING too."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(path, node.lineno, alias.name)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, (
                    f'{path}:{node.lineno}: imports are absolute')
                for alias in node.names:
                    yield Import(path, node.lineno,
                                 f'{node.module}.{alias.name}')


def check_none(found: collections.abc.Iterable[Import], rule: str) -> None:
    """Fail with the lines that break a rule."""
    lines = [str(item) for item in found]
    assert not lines, '\n'.join([rule, *lines])


def test_only_the_driver_imports_ironic() -> None:
    check_none(
        (item for item in imports(sources()) if item.is_of(*IRONIC)
         and PACKAGE / 'driver' not in item.path.parents),
        'nothing outside driver/ imports ironic')


def test_bridge_and_sol_import_no_configuration_library() -> None:
    check_none(
        (item for item in imports([*sources('bridge'), *sources('sol')])
         if item.is_of(*CONFIGURATION, *IRONIC, f'{NAME}.conf',
                       f'{NAME}.driver', f'{NAME}.cli')),
        'a bridge is given plain values and stays small')


def test_sol_imports_nothing_of_ours_but_exception() -> None:
    check_none(
        (item for item in imports(sources('sol')) if item.is_of(NAME)
         and not item.is_of(f'{NAME}.sol', f'{NAME}.exception')),
        'sol/ knows nothing of consoles')


@pytest.mark.parametrize(('part', 'allowed'), [
    ('bridge', (f'{NAME}.bridge', f'{NAME}.sol', *SHARED)),
    ('cli', (f'{NAME}.cli', f'{NAME}.conf', DRIVER_INFO, f'{NAME}.sol',
             *SHARED)),
    ('driver', (f'{NAME}.driver', f'{NAME}.conf', DRIVER_INFO, *SHARED)),
    ('driver_info.py', (f'{NAME}.spec', f'{NAME}.exception')),
    ('control.py', (f'{NAME}.exception',)),
    ('coordination.py', (f'{NAME}.exception',)),
    ('spec.py', (f'{NAME}.exception',)),
    ('transcript.py', ()),
    ('conf.py', (f'{NAME}.exception',)),
    ('exception.py', ())])
def test_imports_run_downwards(part: str, allowed: tuple[str, ...]) -> None:
    # "from ironic_solconsole import control" reads as ...control here;
    # "import ironic_solconsole" alone is nobody's.
    check_none(
        (item for item in imports(sources(part))
         if item.is_of(NAME) and not item.is_of(*allowed)),
        f'{part} imports only {", ".join(allowed) or "nothing"} of ours')


def test_of_the_command_line_only_the_check_of_a_bmc_uses_sol() -> None:
    check_none(
        (item for item in imports(sources('cli'))
         if item.is_of(f'{NAME}.sol')
         and item.path != PACKAGE / 'cli' / 'checks' / 'bmc.py'),
        'all else on the command line asks bridges')


def test_shared_files_need_only_the_standard_library() -> None:
    paths = [PACKAGE / f'{name}.py'
             for name in ('exception', 'spec', 'control', 'coordination',
                          'driver_info', 'transcript')]
    check_none(
        (item for item in imports(paths) if not item.is_of(NAME)
         and item.module.partition('.')[0] not in sys.stdlib_module_names),
        'conductor, bridge and CLI share these: no library comes with them')


def test_only_login_py_imports_pyghmi() -> None:
    check_none(
        (item for item in imports(sources()) if item.is_of('pyghmi')
         and item.path != PYGHMI_FILE),
        'sol/login.py is the only file that touches pyghmi')
    assert any(item.is_of('pyghmi') for item in imports([PYGHMI_FILE])), (
        'this test looks at the wrong file')


def _pyghmi_private_names() -> set[str]:
    """Underscore attributes that pyghmi's Session and its module have."""
    from pyghmi.ipmi.private import session

    names = {*vars(session), *vars(session.Session)}
    tree = ast.parse(pathlib.Path(session.__file__ or '').read_text())
    names |= {node.attr for node in ast.walk(tree)
              if isinstance(node, ast.Attribute)}
    return {name for name in names
            if name.startswith('_') and not name.startswith('__')}


def test_no_other_file_reaches_for_a_private_name_of_somebody_else() -> None:
    private = _pyghmi_private_names()
    assert '_handle_ipmi_packet' in private, 'pyghmi has changed its shape'
    found = []
    for path in sources():
        if path == PYGHMI_FILE:
            continue
        tree = ast.parse(path.read_text(), str(path))
        ours = {node.name for node in ast.walk(tree) if isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
        for node in ast.walk(tree):
            # Names of pyghmi in code, as attributes or in getattr().
            name = (node.attr if isinstance(node, ast.Attribute)
                    else node.value if isinstance(node, ast.Constant)
                    else None)
            own = (isinstance(node, ast.Attribute)
                   and isinstance(node.value, ast.Name)
                   and node.value.id in ('self', 'cls'))
            if name in private and name not in ours and not own:
                found.append(f'{path.relative_to(ROOT)}:{node.lineno} '
                             f'{name}')
    assert not found, '\n'.join(
        ['private names of pyghmi are for sol/login.py alone', *found])


def test_a_bridge_loads_nothing_it_does_not_need() -> None:
    code = ('import sys; import ironic_solconsole.bridge.__main__; '
            f'print(sorted({{m.partition(".")[0] for m in sys.modules}} & '
            f'set({[*CONFIGURATION, *COORDINATION, *IRONIC]!r})))')
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        timeout=60, cwd=ROOT, stdin=subprocess.DEVNULL)
    assert done.stdout.strip() == '[]', done.stdout + done.stderr


def test_a_bridge_with_file_locks_loads_these_libraries_only() -> None:
    """Each would be megabytes for each conductor's bridge."""
    code = ('import sys; before = set(sys.modules)\n'
            'import ironic_solconsole.bridge.__main__\n'
            'from ironic_solconsole import coordination\n'
            'from ironic_solconsole.bridge import backends\n'
            'backends.make(coordination.Coordination("file:///x"), "a:1:b")\n'
            'print(*sorted({m.partition(".")[0] for m in sys.modules\n'
            '    if m not in before} - set(sys.stdlib_module_names)))\n'
            'print(*sorted(m for m in sys.modules\n'
            '    if m.startswith("pyghmi.")))')
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-c', code], capture_output=True,
        text=True, timeout=60, cwd=ROOT, stdin=subprocess.DEVNULL)
    assert not done.returncode, done.stderr
    libraries, of_pyghmi = done.stdout.splitlines()
    assert {name for name in libraries.split() if name[0] != '_'} == {
        'cryptography', NAME, 'pyghmi'}
    assert of_pyghmi.split() == [
        'pyghmi.constants', 'pyghmi.exceptions', 'pyghmi.ipmi',
        'pyghmi.ipmi.private', 'pyghmi.ipmi.private.constants',
        'pyghmi.ipmi.private.session', 'pyghmi.ipmi.private.util']


def _project_files() -> list[pathlib.Path]:
    found = [ROOT / 'setup.py']
    for name in (NAME, 'tests', 'benchmarks', 'demo', 'devstack', 'doc',
                 'tools', 'releasenotes'):
        found += (ROOT / name).rglob('*.py')
    return sorted(path for path in found if path.exists()
                  and 'build' not in path.relative_to(ROOT).parts)


def test_every_python_file_carries_the_licence() -> None:
    lines = (PACKAGE / 'spec.py').read_text().splitlines()
    header = '\n'.join(lines[:11]) + '\n'
    assert header.startswith('# Licensed under the Apache License')
    bare = [str(path.relative_to(ROOT)) for path in _project_files()
            if header not in path.read_text()]
    assert not bare, '\n'.join(['without the licence header:', *bare])


def test_every_module_says_what_it_is_for() -> None:
    mute = [str(path.relative_to(ROOT)) for path in sources()
            if ast.parse(text := path.read_text()).body
            and not ast.get_docstring(ast.parse(text))]
    assert not mute, '\n'.join(['without a docstring:', *mute])


def test_slots_name_all_that_a_class_sets() -> None:
    """A merge may add an attribute, and leave the slots as they were."""
    missing = {}
    for path in PACKAGE.rglob('*.py'):
        for found in ast.walk(ast.parse(path.read_text())):
            if not isinstance(found, ast.ClassDef):
                continue
            slots = [ast.literal_eval(line.value) for line in found.body
                     if isinstance(line, ast.Assign)
                     and ast.unparse(line.targets[0]) == '__slots__']
            names = {line.name for line in found.body
                     if isinstance(line, ast.FunctionDef)}
            stored = {node.attr for node in ast.walk(found)
                      if isinstance(node, ast.Attribute)
                      and isinstance(node.ctx, ast.Store)
                      and ast.unparse(node.value) == 'self'}
            if slots and stored - set(slots[0]) - names:
                missing[found.name] = stored - set(slots[0]) - names
    assert not missing
