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

"""Whether an sdist and its wheel hold what belongs in them, and no more.

::

    python check_package.py DIRECTORY CLONE

The sdist must have each file that git has, but for those that only the
repository needs. The wheel, which was built from it, must have each file of
the package, and beside them only what wheels have.
"""

import pathlib
import subprocess
import sys
import tarfile
import zipfile

NAME = 'ironic_solconsole'

#: Of the repository, and not of the package.
REPOSITORY = ('.ci', '.gitignore', '.pre-commit-config.yaml', 'playbooks',
              'zuul.d')

#: Made when an sdist is.
MADE = ('PKG-INFO', f'{NAME}.egg-info')

#: In the dist-info directory of a wheel.
ABOUT = {'METADATA', 'RECORD', 'WHEEL', 'entry_points.txt',
         'licenses/LICENSE', 'pbr.json', 'top_level.txt'}


def complain(what: str, found: set[str], wanted: set[str]) -> bool:
    """Say how two sets of files differ."""
    for text, names in (('lacks', wanted - found),
                        ('should not have', found - wanted)):
        for name in sorted(names):
            sys.stdout.write(f'the {what} {text} {name}\n')
    return found != wanted


def main(directory: pathlib.Path, clone: pathlib.Path) -> int:
    """Check; gives the exit status."""
    (sdist,) = directory.glob('*.tar.gz')
    (wheel,) = directory.glob('*.whl')
    in_git = subprocess.run(
        ['git', '-c', f'safe.directory={clone}', '-C', clone, 'ls-files'],
        check=True, capture_output=True, text=True).stdout.splitlines()
    with tarfile.open(sdist) as archive:
        names = {member.name.partition('/')[2]
                 for member in archive if member.isfile()}
    bad = complain(
        'sdist',
        {name for name in names if name.partition('/')[0] not in MADE},
        {name for name in in_git
         if name.partition('/')[0] not in REPOSITORY})
    with zipfile.ZipFile(wheel) as zipped:
        names = set(zipped.namelist())
    about = {name for name in names if '.dist-info/' in name}
    bad |= complain('wheel', names - about, {
        name for name in in_git if name.startswith(f'{NAME}/')})
    bad |= complain('dist-info of the wheel', {
        name.partition('/')[2] for name in about}, ABOUT)
    if not bad:
        sys.stdout.write(f'{sdist.name}, {wheel.name}: what belongs in '
                         'them, and no more\n')
    return int(bad)


if __name__ == '__main__':
    sys.exit(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
