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

"""Where the locks are kept, and for how long: shared by all processes.

Checked by the conductor, so that a deployer is told at once, and again by
the bridge, which takes nothing on trust. Knows no library of any backend.
"""

import dataclasses
import typing
import urllib.parse

from ironic_solconsole import exception

#: Schemes of coordination_url, and what keeps the locks behind them.
BACKENDS = {
    'file': 'file',
    'redis': 'redis',
    'rediss': 'redis',
    'etcd3+http': 'etcd',
    'etcd3+https': 'etcd',
    'zookeeper': 'zookeeper',
    'kazoo': 'zookeeper',
}

#: Backends of tooz that are not supported, and why.
_REFUSED = {
    'memcached': 'it cannot tell whether a lock is still held',
    'mysql': 'it loses locks without a word, and needs a connection each',
    'postgresql': 'it loses locks without a word, and its keys collide',
    'ipc': 'it cannot tell whether a lock is still held',
    'kubernetes': 'nobody has tested it',
}

#: TTLs in a URL: lock_ttl is the one that counts.
_TTL_OPTIONS = ('timeout', 'lock_timeout', 'membership_timeout')

#: Part of the TTL that the margin may be, and part of what is left that
#: the renew interval may be: two renewals may fail before consoles close.
MAX_MARGIN = 1 / 2
MAX_RENEW = 1 / 3


@dataclasses.dataclass(frozen=True)
class Coordination:
    """How one bridge takes part in the coordination.

    :param url: of the backend, with its secrets.
    :param ttl: seconds after which a lock that nobody renews is free.
    :param margin: seconds before that in which consoles are closed.
    :param renew_interval: seconds between two renewals.
    :raises: CoordinationError if a value is out of range.
    """

    url: str = dataclasses.field(repr=False)
    ttl: float = 30.0
    margin: float = 5.0
    renew_interval: float = 5.0

    def __post_init__(self) -> None:
        check_url(self.url)
        for name in ('ttl', 'margin', 'renew_interval'):
            value = getattr(self, name)
            if (isinstance(value, bool)
                    or not isinstance(value, (int, float))
                    or not 0 < value <= 3600):
                raise exception.CoordinationError(
                    f'{name} must be a number of seconds from 0 to 3600')

    @property
    def backend(self) -> str:
        """What keeps the locks: file, redis, etcd or zookeeper."""
        return check_url(self.url)

    def limited_to(self, granted: float) -> 'Coordination':
        """The same, with margin and interval that fit the TTL in force.

        :param granted: seconds after which the backend really gives a lock
            to others.
        """
        ttl = min(self.ttl, granted)
        margin = min(self.margin, ttl * MAX_MARGIN)
        return dataclasses.replace(
            self, ttl=ttl, margin=margin, renew_interval=min(
                self.renew_interval, (ttl - margin) * MAX_RENEW))

    @property
    def call_timeout(self) -> float:
        """Seconds after which a call to the backend is given up."""
        return min(2.0, (self.ttl - self.margin) / 4)

    def to_json(self) -> dict[str, typing.Any]:
        """A plain dict that ``json`` can write; it holds the secret."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: object) -> 'Coordination':
        """The value that to_json() gave.

        :raises: CoordinationError if it is not usable.
        """
        if not isinstance(data, dict) or not isinstance(
                data.get('url'), str):
            raise exception.CoordinationError(
                'coordination needs a url, ttl, margin and renew_interval')
        return cls(**{field.name: data[field.name]
                      for field in dataclasses.fields(cls)
                      if field.name in data})


def check_url(url: str) -> str:
    """What a coordination_url stands for.

    :returns: file, redis, etcd or zookeeper.
    :raises: CoordinationError that says what is wrong, without the URL's
        secrets.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        options = urllib.parse.parse_qs(parts.query, strict_parsing=bool(
            parts.query))
    except ValueError:
        raise exception.CoordinationError(
            'coordination_url is not a URL') from None
    allowed = ', '.join(sorted(BACKENDS))
    if parts.scheme not in BACKENDS:
        why = next((reason for name, reason in _REFUSED.items()
                    if parts.scheme.startswith(name)), '')
        raise exception.CoordinationError(
            f'coordination_url: {parts.scheme[:32]!r} is not supported'
            f'{f", as {why}" if why else ""}; use one of {allowed}')
    for name in _TTL_OPTIONS:
        if name in options:
            raise exception.CoordinationError(
                f'coordination_url: {name} is not allowed in the URL; set '
                '[solconsole]lock_ttl')
    if parts.scheme == 'file' and (
            parts.netloc or not parts.path.strip('/')
            or not parts.path.startswith('/')):
        raise exception.CoordinationError(
            'coordination_url: file needs the absolute path of a directory '
            'of its own, as in file:///var/lib/ironic/solconsole/locks')
    return BACKENDS[parts.scheme]


def redacted(url: str) -> str:
    """A URL without its user, password and options, for people to read."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return 'a coordination_url that is not a URL'
    where = parts.netloc.rpartition('@')[2]
    return f'{parts.scheme}://{where}{parts.path}'
