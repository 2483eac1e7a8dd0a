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

"""Conductors and console processes of this host, and whose they are."""

import collections.abc
import dataclasses
import grp
import itertools
import os
import pathlib
import pwd
import re
import resource

from ironic_solconsole.cli import checks

#: Consoles that one process should have room for.
WANTED_CONSOLES = 1000

#: File descriptors that a bridge needs whatever it serves.
_BASE = 64

_RAISE = ('raise the limit of ironic-conductor (LimitNOFILE=65536 in its '
          'systemd unit) and start it again')


@dataclasses.dataclass(frozen=True)
class Account:
    """A user of this host.

    :param uid: number.
    :param gid: its first group.
    :param groups: all of its groups.
    :param name: for people.
    :param why: how it was found that the conductor runs as this one.
    """

    uid: int
    gid: int
    groups: frozenset[int]
    name: str
    why: str = ''

    def __str__(self) -> str:
        return f'user {self.name} (uid {self.uid})'


@dataclasses.dataclass(frozen=True)
class Process:
    """A process that is of interest.

    :param role: 'conductor' or 'bridge'.
    :param host: name of the conductor, as far as the command line tells.
    :param limit: of open files: the most that it can have.
    :param used: how many it has open, None if this user may not know.
    """

    pid: int
    uid: int
    role: str
    host: str
    limit: int | None
    used: int | None


def role(argv: collections.abc.Sequence[str]) -> str:
    """'conductor', 'bridge' or '' by a command line."""
    if 'ironic_solconsole.bridge' in argv[1:6]:
        return 'bridge'
    # Where setproctitle is installed, the title is one word and goes on with
    # "worker" and the like.
    names = [os.path.basename(re.split(r'[\s:]', word, maxsplit=1)[0])
             for word in argv[:5]]
    if names and not names[0].startswith('python'):
        del names[1:]       # words of some other program
    return ('conductor' if {'ironic-conductor', 'ironic'} & set(names)
            else '')


def host_of(argv: collections.abc.Sequence[str]) -> str:
    """The conductor that a bridge names on its command line."""
    for flag, value in itertools.pairwise(argv):
        if flag == '--host':
            return value
    return ''


def hard_limit(text: str) -> int | None:
    """The hard limit of open files in proc_pid_limits(5); -1 is none."""
    match = re.search(r'^Max open files +\S+ +(\d+|unlimited) ', text,
                      re.MULTILINE)
    if match is None:
        return None
    return -1 if match[1] == 'unlimited' else int(match[1])


def find() -> list[Process]:
    """The conductors and bridges that run on this host."""
    found = []
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        place = pathlib.Path('/proc', name)
        try:
            argv = [os.fsdecode(word) for word in (
                place / 'cmdline').read_bytes().rstrip(b'\0').split(b'\0')]
            kind = role(argv)
            if not kind:
                continue
            found.append(Process(
                int(name), place.stat().st_uid, kind, host_of(argv),
                _limit(place), _used(place)))
        except OSError:
            continue        # it has just ended
    return found


def _limit(place: pathlib.Path) -> int | None:
    try:
        return hard_limit((place / 'limits').read_text())
    except OSError:
        return None


def _used(place: pathlib.Path) -> int | None:
    try:
        return len(os.listdir(place / 'fd'))
    except OSError:
        return None


def account(uid: int, why: str = '') -> Account:
    """What this host knows of a user."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(uid, uid, frozenset([uid]), str(uid), why)
    groups = {entry.pw_gid, *(
        group.gr_gid for group in grp.getgrall()
        if entry.pw_name in group.gr_mem)}
    return Account(uid, entry.pw_gid, frozenset(groups), entry.pw_name, why)


def conductor_account(
        found: collections.abc.Iterable[Process], host: str, own_uid: int,
        state_owner: int | None) -> tuple[int, str]:
    """Which user the conductor runs as, and how that is known.

    :param found: processes that run.
    :param host: name of the conductor: its own bridges are asked first, and
        those of others never.
    :param own_uid: of this process.
    :param state_owner: owner of [DEFAULT]state_path, None if it is
        missing.
    """
    found = list(found)
    for those in ([each for each in found if each.role == 'bridge'
                   and each.host == host],
                  [each for each in found if each.role == 'conductor']):
        if len({each.uid for each in those}) == 1:
            process = those[0]
            return (process.uid,
                    f'as process {process.pid} ({process.role}) does')
    if own_uid:
        return own_uid, 'as this command does'
    if state_owner is not None:
        return state_owner, 'to whom state_path belongs'
    return own_uid, 'as this command does'


def judge_account(conductor: Account, own_uid: int) -> checks.Finding:
    """Whether what follows can be seen as the conductor sees it."""
    name = 'user'
    detail = f'the conductor runs as {conductor}, {conductor.why}'
    if own_uid in (0, conductor.uid):
        return checks.ok(name, detail)
    return checks.warning(
        name, f'{detail}; this command runs as uid {own_uid}',
        f'run it as root or as {conductor.name}: it cannot see all')


def room(limit: int, file_locks: bool) -> int:
    """How many consoles fit into a limit of open files.

    Each has a socket to its BMC, one for viewers, a viewer, and with locks
    in files a file.
    """
    return max(0, (limit - _BASE) // (4 if file_locks else 3))


def judge_limits(found: collections.abc.Iterable[Process],
                 file_locks: bool,
                 own: tuple[int, int]) -> list[checks.Finding]:
    """Whether open files suffice.

    :param found: processes that run.
    :param file_locks: whether locks are kept in files.
    :param own: soft and hard limit of this process.
    """
    findings = []
    for process in found:
        name = f'open files of {process.role} {process.pid}'
        if process.limit is None:
            findings.append(checks.skipped(
                name, 'this user may not know them', 'run this as root'))
        else:
            findings.append(_judge_limit(
                name, process.limit, process.used, file_locks))
    if not findings:
        _, hard = own
        findings.append(_judge_limit(
            'open files', hard, None, file_locks,
            'no conductor runs here; of this shell: '))
    return findings


def _judge_limit(name: str, limit: int, used: int | None, file_locks: bool,
                 intro: str = '') -> checks.Finding:
    if limit < 0 or limit == resource.RLIM_INFINITY:
        return checks.ok(name, f'{intro}no limit')
    consoles = room(limit, file_locks)
    now = '' if used is None else f', of which {used} are open'
    detail = (f'{intro}at most {limit}{now}: enough for {consoles} consoles '
              'with a viewer each')
    if consoles < WANTED_CONSOLES:
        return checks.warning(name, detail, _RAISE)
    if used is not None and used > 0.8 * limit:
        return checks.warning(name, detail, _RAISE)
    return checks.ok(name, detail)
