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

"""The jobs of zuul.d name what is there."""

import pathlib
import re
import typing

import yaml

ROOT = pathlib.Path(__file__).parents[2]


def entries(kind: str) -> list[dict[str, typing.Any]]:
    """All jobs, or the project."""
    return [entry[kind] for path in sorted((ROOT / 'zuul.d').glob('*.yaml'))
            for entry in yaml.safe_load(path.read_text()) if kind in entry]


def test_playbooks_are_there_and_can_be_read() -> None:
    named = {job['run'] for job in entries('job') if 'run' in job}
    assert named
    for name in named:
        plays = yaml.safe_load((ROOT / name).read_text())
        named_within = {play['import_playbook'] for play in plays
                        if 'import_playbook' in play}
        assert all((ROOT / name).with_name(other).exists()
                   for other in named_within)


def test_the_project_runs_jobs_that_are_there() -> None:
    own = {job['name'] for job in entries('job')}
    (project,) = entries('project')
    wanted = {name for name in project['check']['jobs']
              if name.startswith('ironic-solconsole')}
    assert wanted
    assert wanted <= own
    assert project['gate']['jobs'] == project['check']['jobs']


def test_jobs_set_variables_that_the_devstack_plugin_knows() -> None:
    settings = (ROOT / 'devstack' / 'settings').read_text()
    names = {name for job in entries('job')
             for name in job.get('vars', {}).get('devstack_localrc', {})
             if 'SOLCONSOLE' in name}
    assert names
    for name in names:
        assert re.search(rf'^{name}=', settings, re.MULTILINE), name


def test_tox_has_what_jobs_ask_of_it() -> None:
    tox = (ROOT / 'tox.ini').read_text()
    (project,) = entries('project')
    for name in project['check']['jobs']:
        if name.startswith('openstack-tox-'):
            assert f'[testenv:{name.removeprefix("openstack-tox-")}]' in tox
