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

"""What each backend takes for the locks of a thousand nodes.

::

    python -m tests.support.measure_locks [LOCKS]

prints the table of doc/source/admin/coordination.rst, from servers on this
machine.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from ironic_solconsole import coordination
from ironic_solconsole.bridge import backends
from ironic_solconsole.bridge.backends import base
from tests.support import servers

TTL = 10.0
PATIENCE = 120.0

_HOLDER = """
import sys
from ironic_solconsole import coordination
from ironic_solconsole.bridge import backends
from ironic_solconsole.bridge.backends import base
backend = backends.make(coordination.Coordination(
    sys.argv[1], float(sys.argv[2]), 1.0, 1.0), 'b.example:1:b')
backend.start()
((_, held),) = backend.acquire(['ironic-solconsole-x'], base.now() + 20)
assert isinstance(held, base.Held), held
print('held', flush=True)
sys.stdin.read()
"""


def _started(url: str) -> backends.Backend:
    backend = backends.make(
        coordination.Coordination(url, TTL, 1.0, 1.0), 'a.example:1:a')
    backend.start()
    return backend


def _timed(begin: float) -> float:
    return time.monotonic() - begin


def rounds(url: str, count: int) -> tuple[float, float, float]:
    """Seconds to acquire, renew and release all locks."""
    names = [f'ironic-solconsole-{number:032x}' for number in range(count)]
    backend = _started(url)
    try:
        begin = time.monotonic()
        held = [lock for _, lock in backend.acquire(
            names, base.now() + PATIENCE) if isinstance(lock, base.Held)]
        acquired = _timed(begin)
        assert len(held) == count, f'{len(held)} of {count} locks'
        begin = time.monotonic()
        kept = [moment for _, moment in backend.renew(
            held, base.now() + PATIENCE)]
        renewed = _timed(begin)
        assert len(kept) == count
        assert None not in kept
        begin = time.monotonic()
        backend.release(held)
        return acquired, renewed, _timed(begin)
    finally:
        backend.stop()


def freed(url: str) -> float:
    """Seconds until another gets the lock of a process that is killed."""
    holder = subprocess.Popen(
        [sys.executable, '-c', _HOLDER, url, str(TTL)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b'held\n'
    backend = _started(url)
    try:
        os.kill(holder.pid, signal.SIGKILL)
        begin = time.monotonic()
        while _timed(begin) < PATIENCE:
            ((_, held),) = backend.acquire(
                ['ironic-solconsole-x'], base.now() + 20)
            if isinstance(held, base.Held):
                return _timed(begin)
            time.sleep(0.05)
        raise AssertionError(f'not free after {PATIENCE:.0f} s')
    finally:
        backend.stop()
        holder.wait()


def main(count: int) -> None:
    """Measure all backends."""
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(
            tempfile.TemporaryDirectory()))
        urls = {'file': f'file://{directory}/locks'}
        for name, server in (('redis', servers.Redis()),
                             ('etcd', servers.Etcd()),
                             ('ZooKeeper', servers.ZooKeeper(2000))):
            urls[name] = stack.enter_context(server).url
        print(f'{count} locks, TTL {TTL:.0f} s: seconds')
        print(f'{"":10}{"acquire":>9}{"renew":>9}{"release":>9}'
              f'{"free after kill -9":>20}')
        for name, url in urls.items():
            acquired, renewed, released = rounds(url, count)
            print(f'{name:10}{acquired:9.2f}{renewed:9.2f}{released:9.2f}'
                  f'{freed(url):20.1f}', flush=True)


if __name__ == '__main__':
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
