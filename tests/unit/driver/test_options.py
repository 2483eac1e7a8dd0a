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

"""Wrong values in ironic.conf: one clear line, and nothing that raises."""

import collections.abc
import pathlib

from ironic.conf import console as ironic_console
from oslo_config import cfg
import pytest

from ironic_solconsole import conf
from ironic_solconsole.driver import options

Check = collections.abc.Callable[..., str]


@pytest.fixture
def check(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Checks a configuration file of its own."""
    def checked(group: str = conf.GROUP, **values: str) -> str:
        path = tmp_path / 'ironic.conf'
        path.write_text(f'[{group}]\n' + ''.join(
            f'{name} = {value}\n' for name, value in values.items()))
        loaded = cfg.ConfigOpts()
        loaded.register_opts([
            # short: a path of a socket has at most 107 bytes
            cfg.StrOpt('state_path', default='/var/lib/ironic'),
            cfg.StrOpt('my_ip', default='127.0.0.1')])
        loaded.register_opts(ironic_console.opts, group='console')
        conf.register_opts(loaded)
        loaded([], default_config_files=[str(path)])
        monkeypatch.setattr(options, 'CONF', loaded)
        problem = options.check()
        for option in conf.OPTIONS:
            # whatever is wrong, nothing that reads it later raises
            getattr(loaded.solconsole, option.dest)
        return problem

    return checked


def test_nothing_is_wrong_with_the_defaults(check: Check) -> None:
    assert check() == ''


@pytest.mark.parametrize(('name', 'value', 'allowed'), [
    ('bridges', '0', 'a whole number from 1 to 8'),
    ('bridges', '9', 'a whole number from 1 to 8'),
    ('max_clients', 'many', 'a whole number from 1 to 256'),
    ('port_quarantine', '-1', 'a whole number of 0 or more'),
    ('start_wait', '9', 'a number from 0 to 8'),
    ('lock_ttl', 'long', 'a number from 3 to 3600'),
    ('notices', 'perhaps', 'true or false'),
    ('client_mode', 'mine', 'one of shared, exclusive'),
    ('connection', 'never', 'one of persistent, on-demand'),
    ('port_range', '20000:10000', 'START:END'),
    ('port_range', '10000', 'START:END'),
    ('allowed_clients', '192.0.2.0/24,nova', 'networks'),
    ('allowed_clients', '192.0.2.7/24', 'networks')])
def test_a_wrong_value_is_one_line_with_what_is_allowed(
        name: str, value: str, allowed: str, check: Check) -> None:
    problem = check(**{name: value})
    assert problem.startswith(f'[solconsole]{name} must be ')
    assert allowed in problem
    assert '\n' not in problem
    assert 'LocationInfo' not in problem


@pytest.mark.parametrize('option', conf.OPTIONS, ids=lambda one: one.name)
def test_every_option_says_what_is_allowed(option: cfg.Opt) -> None:
    assert conf.allowed(option)
    if option.type.__class__ is not cfg.types.String:
        assert conf.allowed(option) != 'text', (
            f'conf.allowed() does not know the type of {option.name}')


def test_all_that_is_wrong_is_named_at_once(check: Check) -> None:
    problem = check(bridges='0', lock_ttl='1', run_dir='run')
    for name in ('bridges', 'lock_ttl', 'run_dir'):
        assert f'[solconsole]{name}' in problem


def test_a_dollar_in_a_password_does_not_show_it(check: Check) -> None:
    problem = check(coordination_url='redis://:hunter$two@192.0.2.1')
    assert problem == (
        '[solconsole]coordination_url: a $ stands in front of the name of '
        'an option; elsewhere it is written $$')


@pytest.mark.parametrize('path', ['run', '/' + 'x' * 100])
def test_a_run_dir_without_room_for_sockets_is_refused(
        path: str, check: Check) -> None:
    assert '[solconsole]run_dir' in check(run_dir=path)


@pytest.mark.parametrize(('name', 'value'), [
    ('port_range', '10'), ('terminal_timeout', 'soon'),
    ('socat_address', 'somewhere')])
def test_options_of_ironic_are_looked_at_as_well(
        name: str, value: str, check: Check) -> None:
    assert check('console', **{name: value}).startswith(f'[console]{name}: ')
