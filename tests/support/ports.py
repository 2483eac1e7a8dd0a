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

"""Loopback ports that no other test of this machine is given.

A port that was free a moment ago is not reserved. So each test process
claims its ports by a lock on one byte of a shared file: the byte's offset
is the port. The kernel drops the locks when the process ends, however it
ends.
"""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
import threading

#: Below net.ipv4.ip_local_port_range, so that no outgoing connection gets
#: one of them by chance.
RANGE = range(20000, 32000)

_mutex = threading.Lock()
_claims: int | None = None
_given: set[int] = set()
_next = random.SystemRandom().choice(RANGE)


def _claims_file() -> int:
    global _claims
    if _claims is None:
        # One for all users would need a mode that lets users block each
        # other; the bind test below keeps users apart well enough.
        path = os.path.join(tempfile.gettempdir(),
                            f'ironic-solconsole-test-ports.{os.getuid()}')
        _claims = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600)
    return _claims


def _claim(port: int) -> bool:
    """Take one port, if nobody has it."""
    if port in _given:
        return False
    try:
        fcntl.lockf(_claims_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _given.add(port)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                # All addresses, so that a listener on any of them shows.
                probe.bind(('', port))
            except OSError:
                # Stays claimed: somebody who is no test uses it.
                return False
    return True


def free_port() -> int:
    """A port that is free for TCP and UDP on all IPv4 addresses."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Ports as free_port() gives them, not necessarily adjacent.

    A port is given once: a late datagram or a connection in TIME_WAIT of
    one test never meets another.
    """
    global _next
    ports: list[int] = []
    with _mutex:
        for _ in RANGE:
            if len(ports) == count:
                return ports
            if _claim(_next):
                ports.append(_next)
            _next = RANGE[(_next + 1 - RANGE.start) % len(RANGE)]
    raise AssertionError(f'no {count} free ports in {RANGE}')


def free_port_range(count: int) -> range:
    """Adjacent free ports, for options such as port_range."""
    run: list[int] = []
    with contextlib.suppress(AssertionError):
        while len(run) < count:
            port = free_port()
            if run and port != run[-1] + 1:
                run = []
            run.append(port)
    if len(run) < count:
        raise AssertionError(f'no {count} adjacent free ports in {RANGE}')
    return range(run[0], run[-1] + 1)
