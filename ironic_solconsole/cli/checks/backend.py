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

"""What keeps the locks: reached for real, as the conductor's user."""

import pathlib
import typing

from ironic_solconsole import coordination
from ironic_solconsole.cli import checks
from ironic_solconsole.cli.checks import helper
from ironic_solconsole.cli.checks import processes

_NAME = 'coordination'
_MODULE = 'ironic_solconsole.bridge.backends.probe'

#: Seconds for the whole of it; a call to a backend takes 2 at most.
TIMEOUT = 20.0


def check(settings: coordination.Coordination | None,
          who: processes.Account) -> list[checks.Finding]:
    """Take and free a lock of our own.

    :param settings: None if the options are not valid.
    :param who: the conductor's user.
    """
    if settings is None:
        return [checks.skipped(_NAME, 'its options are not valid')]
    where = coordination.redacted(settings.url)
    if settings.backend == 'file' and not pathlib.Path(
            where.removeprefix('file://')).is_dir():
        # It would be made, and perhaps not as the conductor would.
        return [checks.skipped(
            _NAME, f'{where}: the directory is not there before a conductor '
            'has started')]
    try:
        answer = helper.run(_MODULE, settings.to_json(), timeout=TIMEOUT,
                            account=who)
    except helper.HelperHangs as error:
        return [checks.error(_NAME, f'{where}: {error}',
                             _ADVICE[settings.backend])]
    except helper.HelperError as error:
        return [checks.error(_NAME, f'{where} cannot be tried: {error}',
                             helper.ADVICE)]
    return judge(settings, answer)


_ADVICE = {
    'file': 'see the lock directory above',
    'redis': 'check coordination_url, its password, and that redis runs and '
             'is reached from this host',
    'etcd': 'check coordination_url, its certificates, and that etcd runs '
            'and is reached from this host',
    'zookeeper': 'check coordination_url, its password, and that ZooKeeper '
                 'runs and is reached from this host',
}


def judge(settings: coordination.Coordination,
          answer: dict[str, typing.Any]) -> list[checks.Finding]:
    """What the probe's answer means.

    :param answer: error; or ttl, warnings, seconds, and who holds the lock
        of the probe already.
    """
    where = coordination.redacted(settings.url)
    if answer.get('error'):
        advice = (_ADVICE[settings.backend] if not answer.get('missing')
                  else f"pip install 'ironic-solconsole[{settings.backend}]'"
                       " where the conductor is")
        return [checks.error(
            _NAME, f'{where}: {answer["error"]}', advice)]
    ttl = float(answer['ttl'])
    findings = []
    held = ('' if answer.get('holder') is None else
            '; another check had the lock at this moment')
    detail = (f'{where}: a lock was taken and freed in '
              f'{float(answer["seconds"]) * 1000:.0f} ms{held}')
    if ttl < settings.ttl:
        findings.append(checks.warning(
            _NAME, f'{detail}; it grants {ttl:g} s of the '
            f'{settings.ttl:g} s of lock_ttl',
            f'that counts then; set [solconsole]lock_ttl to {ttl:g}, or '
            'raise what it grants'))
    else:
        findings.append(checks.ok(_NAME, detail))
    findings += [checks.warning(
        _NAME, str(text), 'see "Locks" in the documentation')
        for text in answer.get('warnings', [])]
    return findings
