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


"""How many consoles the open files of this process are enough for.

The soft limit is raised to the hard one at the start: the usual 1024 is
there for select(), which nothing here uses. The hard one is the deployer's
to raise, and is said to be too low before anybody is refused.
"""

import errno
import resource

#: Files of a console: its TCP socket, its part of the UDP sockets, and with
#: the backend "file" its lock; and one viewer, as an idle Horizon tab is.
PER_CONSOLE = 4

_WORDS = {4: 'four', 5: 'five'}

#: Files of the process itself: control socket, log, backend, command line.
RESERVE = 64


def use_all() -> None:
    """Take as many as the system allows this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """How many files this process may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def shortage(consoles: int, limit: int, transcripts: bool = False) -> str:
    """Why so many consoles are too many, or ''.

    :param limit: how many files the process may open.
    :param transcripts: whether each console has one, which is a file more.
    """
    each = PER_CONSOLE + transcripts
    if RESERVE + consoles * each <= limit:
        return ''
    return (f'This console process may open {limit} files, enough for '
            f'{max(0, (limit - RESERVE) // each)} console(s) with a '
            f'viewer each, and has {consoles} now: viewers, or further '
            'consoles, will be refused. Give the conductor more '
            '(LimitNOFILE= of its systemd unit, --ulimit nofile= of its '
            f'container): {_WORDS[each]} for each node, and as many as there '
            'are viewers.')


def used_up(error: OSError) -> bool:
    """Whether an error says that no more files can be opened."""
    return error.errno in (errno.EMFILE, errno.ENFILE)
