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

"""Find the run directory as the conductor does, without importing Ironic."""

import collections.abc
import importlib.util
import os
import pathlib

from oslo_config import cfg

from ironic_solconsole import conf as solconsole_conf


def find_run_dir(config_files: collections.abc.Sequence[str] = (),
                 config_dirs: collections.abc.Sequence[str] = ()) -> str:
    """Read ``[solconsole]run_dir`` from Ironic's configuration.

    :param config_files: as the conductor's ``--config-file``; none for
        the files that the conductor finds by itself.
    :param config_dirs: as its ``--config-dir``.
    :raises: oslo_config.cfg.Error if the configuration cannot be read.
    """
    return str(load(config_files, config_dirs).solconsole.run_dir)


def load(config_files: collections.abc.Sequence[str] = (),
         config_dirs: collections.abc.Sequence[str] = (),
         more: collections.abc.Mapping[
             str, collections.abc.Sequence[cfg.Opt]] | None = None,
         ) -> cfg.ConfigOpts:
    """Ironic's configuration, with ``[solconsole]``.

    :param config_files: as for find_run_dir().
    :param config_dirs: the same.
    :param more: further options of Ironic to register, by their group.
    :raises: oslo_config.cfg.Error if the configuration cannot be read.
    """
    conf = cfg.ConfigOpts()
    # Ironic's own registration (ironic/conf/default.py): without a
    # state_path it keeps its state where its package is. Where that is not
    # known either, run_dir is left relative, which is never right.
    conf.register_opts([
        cfg.StrOpt('pybasedir', default=_package_directory('ironic')),
        cfg.StrOpt('state_path', default='$pybasedir')])
    solconsole_conf.register_opts(conf)
    for group, options in (more or {}).items():
        conf.register_opts(
            options, group=None if group == 'DEFAULT' else group)
    arguments: list[str] = []
    for option, values in (('--config-file', config_files),
                           ('--config-dir', config_dirs)):
        for value in values:
            arguments += [option, value]
    conf(arguments, project='ironic', prog='ironic-conductor',
         default_config_files=_from_environment('IRONIC_CONFIG_FILE'),
         default_config_dirs=_from_environment('IRONIC_CONFIG_DIR'))
    return conf


def _from_environment(variable: str) -> list[str] | None:
    """What Ironic takes from the environment since release 30."""
    value = os.environ.get(variable)
    return [value] if value else None


def _package_directory(name: str) -> str:
    found = importlib.util.find_spec(name)
    if found is None or not found.origin:
        return name
    return str(pathlib.Path(found.origin).parent)
