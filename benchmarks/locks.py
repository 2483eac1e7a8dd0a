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


"""How long the locks of a conductor's nodes take, by backend.

::

    bash benchmarks/run.sh locks --nodes 1000

Against real servers on this host: acquire all, renew all, find them taken
from another member, release all. The rule (doc/source/admin/locks.rst) is
that a renewal must take less than a third of lock_ttl less twice
lock_margin; the last column says how much of that is used.
"""

import argparse
import collections.abc
import contextlib
import statistics
import sys
import tempfile
import time
import uuid

from benchmarks import lines
from ironic_solconsole import coordination
from ironic_solconsole.bridge import backends

#: Seconds that one of the four may take.
PATIENCE = 120.0

#: Renewals that are measured.
ROUNDS = 5


def measure(backend: str, nodes: int) -> lines.Json:
    """Times of a backend, in milliseconds; of a renewal the median."""
    names = [f'ironic-solconsole-{uuid.uuid4()}' for _ in range(nodes)]
    took: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def timed(what: str) -> collections.abc.Iterator[None]:
        began = time.monotonic()
        yield
        took.setdefault(what, []).append(time.monotonic() - began)

    with (tempfile.TemporaryDirectory(prefix='locks.') as directory,
          lines.backend(backend, f'file://{directory}') as url):
        settings = coordination.Coordination(url)
        one, other = (backends.make(settings, f'{host}:1:{uuid.uuid4().hex}')
                      for host in ('first', 'second'))
        ttl = one.start()
        other.start()
        try:
            deadline = backends.now() + PATIENCE
            with timed('acquire'):
                held = [lock for _, lock in one.acquire(names, deadline)
                        if isinstance(lock, backends.Held)]
            if len(held) != nodes:
                raise RuntimeError(f'{len(held)} of {nodes} were acquired')
            for _ in range(ROUNDS):
                with timed('renew'):
                    proven = list(one.renew(held, deadline))
                if None in {since for _, since in proven}:
                    raise RuntimeError('a lock was lost')
            with timed('taken'):
                if other.taken(names) != set(names):
                    raise RuntimeError('a lock is not seen by another')
            with timed('release'):
                one.release(held)
        finally:
            one.stop()
            other.stop()
    # A ZooKeeper of the tests grants less than the default asks for.
    allowed = (settings.ttl - 2 * settings.margin) / 3
    figures: lines.Json = {'granted_ttl': ttl}
    figures.update({f'{what}_ms': round(statistics.median(times) * 1000, 1)
                    for what, times in took.items()})
    figures['renew_share'] = round(
        statistics.median(took['renew']) / allowed, 4)
    return figures


def main() -> int:
    """Measure, print a line for each run, and write JSON if wanted."""
    return lines.run(argparse.ArgumentParser(
        prog='benchmarks/run.sh locks',
        description="How long the locks of a conductor's nodes take."),
        list(lines.BACKENDS), measure)


if __name__ == '__main__':
    sys.exit(main())
