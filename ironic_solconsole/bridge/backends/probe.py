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

"""Try a coordination_url out: ``python -m ...bridge.backends.probe``.

Reads a Coordination as JSON from stdin, takes and frees one lock, and
writes what came of it, as JSON, to stdout. The command line starts it
(``ironic-solconsole check``), with a deadline.
"""

import json
import os
import secrets
import sys
import time
import typing

from ironic_solconsole import coordination
from ironic_solconsole import exception
from ironic_solconsole.bridge import backends

#: The lock: no node's, and the same one each time, as backends that keep
#: files keep them for ever.
LOCK = 'ironic-solconsole-check'


def probe(settings: coordination.Coordination) -> dict[str, typing.Any]:
    """Connect, take a lock, renew it, give it back, and leave.

    :returns: ttl in force, warnings, seconds for all of it, and holder,
        which is None unless another probe has the lock now.
    :raises: BackendError
    """
    backend = backends.make(
        settings, f'check:{os.getpid()}:{secrets.token_hex(8)}')
    began = time.monotonic()
    try:
        ttl = backend.start()
        found = dict(backend.acquire(
            [LOCK], backends.now() + settings.call_timeout))
        lock = found.get(LOCK)
        if lock is None:
            raise backends.BackendError('it did not answer in time')
        holder = lock if isinstance(lock, str) else None
        if not isinstance(lock, str):
            renewed = list(backend.renew(
                [lock], backends.now() + settings.call_timeout))
            backend.release([lock])
            if not any(since is not None for _, since in renewed):
                raise backends.BackendError(
                    'a lock that was just taken was not ours any more')
    finally:
        backend.stop()
    return {'ttl': ttl, 'warnings': backend.warnings, 'holder': holder,
            'seconds': time.monotonic() - began}


def main() -> None:
    """Read, try, write."""
    # As in a bridge: libraries under tooz would load it.
    sys.modules.setdefault('eventlet', typing.cast(typing.Any, None))
    os.umask(0o077)
    try:
        answer = probe(coordination.Coordination.from_json(
            json.load(sys.stdin)))
    except (backends.BackendError, exception.CoordinationError) as error:
        answer = {'error': str(error),
                  'missing': isinstance(error.__cause__, ImportError)}
    sys.stdout.write(json.dumps(answer) + '\n')
    sys.stdout.flush()
    # Threads of libraries that hang must not keep it.
    os._exit(0)


if __name__ == '__main__':
    main()
