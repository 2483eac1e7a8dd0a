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

"""The Python packages: there, and of releases that were tested."""

import collections.abc
import importlib.metadata
import platform

from packaging import requirements
from packaging import version as packaging_version

from ironic_solconsole.cli import checks

_OURS = 'ironic-solconsole'
_PIP = 'pip install {!r} where the conductor is'


def check(backend: str | None) -> list[checks.Finding]:
    """Compare what is installed with what this package asks for.

    :param backend: what keeps the locks; its library is among them.
    """
    try:
        wanted = importlib.metadata.requires(_OURS) or []
    except importlib.metadata.PackageNotFoundError:
        return [checks.error(
            'packages', f'{_OURS} is not installed for this Python',
            'install it where ironic-conductor is, and run this command '
            'from there')]
    return judge(wanted, backend or '', _version_of)


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def judge(wanted: collections.abc.Iterable[str], backend: str,
          version_of: collections.abc.Callable[[str], str | None]
          ) -> list[checks.Finding]:
    """What is missing or of another release.

    :param wanted: requirements, as in the metadata of a package.
    :param backend: an extra that is wanted, or ''.
    :param version_of: the version of a package, None if it is not there.
    """
    findings: list[checks.Finding] = []
    good = []
    for text in wanted:
        required = requirements.Requirement(text)
        if required.marker is not None and not required.marker.evaluate(
                {'extra': backend}):
            continue
        found = version_of(required.name)
        name = f'package {required.name}'
        tested = str(required.specifier) or 'any release'
        plain = f'{required.name}{required.specifier}'
        if found is None:
            findings.append(checks.error(
                name, f'it is not installed; {tested} is needed',
                _PIP.format(plain)))
        elif not required.specifier.contains(
                packaging_version.Version(found), prereleases=True):
            findings.append(checks.error(
                name, f'{found} is installed, and only {tested} is tested',
                _PIP.format(plain)))
        elif required.name == 'pyghmi':
            # its private names are used, so that its release matters most
            findings.append(checks.ok(
                name, f'{found}, of the tested {tested}'))
        else:
            good.append(f'{required.name} {found}')
    findings.append(checks.ok(
        'packages', f'Python {platform.python_version()}, '
        f'{", ".join(good) or "nothing else"}'))
    return findings
