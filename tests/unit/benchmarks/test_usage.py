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

"""Benchmarks: what processes cost, asked of the kernel."""

import os
import socket
import subprocess
import sys

import pytest

from benchmarks import usage

#: A child that computes, says so, and waits to be ended.
_BUSY = ('import time\n'
         'while time.process_time() < 0.3: pass\n'
         'print("done", flush=True); input()')


def test_cpu_memory_and_family_of_a_child() -> None:
    with subprocess.Popen([sys.executable, '-c', _BUSY],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE
                          ) as child:
        assert child.stdout is not None and child.stdin is not None
        assert child.stdout.readline() == b'done\n'
        assert child.pid in usage.family([os.getpid()])
        assert usage.family([child.pid]) == [child.pid]
        used = usage.cpu([child.pid])
        assert 0.3 <= used[child.pid] < 30
        assert 1_000_000 < usage.pss([child.pid]) < 1_000_000_000
        child.stdin.close()
        child.wait(10)
    assert usage.cpu([child.pid]) == {}
    assert usage.pss([child.pid]) == 0
    assert usage.family([child.pid]) == []


def test_what_began_in_between_counts_and_what_ended_does_not() -> None:
    before = {1: 10.0, 2: 5.0}
    assert usage.spent(before, {1: 12.0, 3: 0.5}) == pytest.approx(2.5)


def test_a_listener_is_seen() -> None:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = sock.getsockname()[1]
        assert port not in usage.listening()
        sock.listen()
        assert port in usage.listening()
    assert port not in usage.listening()
