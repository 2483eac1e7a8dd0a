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

"""What the options say, and what is wrong with them.

oslo.config looks at a value when it is read. One that is wrong must not
raise while Ironic loads this interface: the conductor would start for ever
and never answer. So all are read once, before anything uses them.
"""

from collections.abc import Iterator
import pathlib
import typing

from ironic.common import exception as ironic_exception
from ironic.conf import CONF
from oslo_config import cfg

from ironic_solconsole import conf
from ironic_solconsole import coordination as settings
from ironic_solconsole import exception
from ironic_solconsole.driver import run_dir

#: Options of Ironic that a console needs.
OF_IRONIC = (('console', 'port_range'), ('console', 'socat_address'),
             ('console', 'terminal_timeout'))


def check() -> str:
    """What is wrong with the values in the configuration files, or ''.

    A value of ours that cannot be used is replaced by its default, so that
    nothing fails that reads it later. It is for the caller to see that no
    console is opened then.

    :returns: one sentence for each option that is wrong, in one line: which
        option, what is allowed, and what the value is instead.
    """
    return '; '.join(_complaints())


def _complaints() -> Iterator[str]:
    for option in conf.OPTIONS:
        problem = conf.problem(CONF, option)
        if problem:
            CONF.set_override(option.name, option.default, conf.GROUP)
            yield f'[{conf.GROUP}]{option.name}{problem}'
    for group, name in OF_IRONIC:
        try:
            getattr(CONF[group], name)
        except (cfg.Error, ValueError) as error:
            yield f'[{group}]{name}: {conf.reason(error)}'
    options = CONF[conf.GROUP]
    try:
        run_dir.socket_path(
            pathlib.Path(options.run_dir), '', options.bridges - 1)
    except exception.BridgeUnavailable as error:
        yield str(error)


def coordination() -> settings.Coordination:
    """Where the locks are, as the options say.

    :raises: InvalidParameterValue if that cannot be.
    """
    options = CONF[conf.GROUP]
    try:
        return settings.Coordination(
            url=options.coordination_url, ttl=options.lock_ttl,
            margin=options.lock_margin,
            renew_interval=options.lock_renew_interval)
    except exception.CoordinationError as error:
        raise unusable(str(error)) from None


def unusable(problem: str) -> typing.Any:
    """The error that says that this conductor is not configured well."""
    return ironic_exception.InvalidParameterValue(
        f'configuration of this conductor: {problem}')
