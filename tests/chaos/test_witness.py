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

"""The witness sees what bridges do, and what bridges without locks do
wrong: else a chaos run that finds nothing would say nothing.
"""

import collections.abc
import pathlib
import signal
import time
import typing

import pytest

from ironic_solconsole import spec as console_spec
from tests.chaos import checker
from tests.chaos import witness
from tests.support import bridge as real_bridge
from tests.support import waiting

NODE = '0'
FIRST, SECOND = '127.0.0.1', '127.0.0.2'


@pytest.fixture
def seen(tmp_path: pathlib.Path
         ) -> collections.abc.Iterator[witness.Witness]:
    one = witness.Witness(1, tmp_path / 'records')
    yield one
    if one.running:
        one.stop()


def spec(seen: witness.Witness, host: str, **changes: object
         ) -> console_spec.ConsoleSpec:
    """What a conductor on this address says of the node."""
    values: dict[str, typing.Any] = {
        'address': '127.0.0.1', 'port': seen.ports[NODE], 'tcp_host': host}
    return real_bridge.make_spec(**{**values, **changes})


def shown(seen: witness.Witness, host: str) -> typing.Any:
    """What a viewer at an address saw last."""
    return seen.status()['nodes'][NODE]['shown'][host]


def wait_shown(seen: witness.Witness, host: str, pid: int) -> None:
    """Wait until a process shows new output there."""
    line = seen.status()['nodes'][NODE]['line']
    waiting.wait_until(
        lambda: shown(seen, host)['line'] > line
        and shown(seen, host)['pid'] == pid,
        f'new output of process {pid} at {host}', seen=seen.status)


def judge(seen: witness.Witness,
          continued: collections.abc.Sequence[tuple[int, float]] = ()
          ) -> tuple[witness.Testimony, list[checker.Fault]]:
    """End it; gives what it says."""
    seen.stop()
    testimony = witness.Testimony(seen.records.open())
    return testimony, testimony.faults(continued)[0]


def test_one_bridge_is_seen(seen: witness.Witness) -> None:
    with real_bridge.Bridge() as bridge:
        node = spec(seen, FIRST)
        seen.watch(NODE, FIRST, node.tcp_port)
        bridge.connect(node)
        wait_shown(seen, FIRST, bridge.pid)
        waiting.wait_until(
            lambda: seen.status()['nodes'][NODE]['arrived'],
            'what the viewer types at the host', seen=seen.status)
        pid = bridge.pid
    testimony, faults = judge(seen)
    assert not faults
    assert {entry.holder for entry in testimony.passed} == {pid}
    assert {entry.what for entry in testimony.passed} == set(checker.What)
    assert testimony.arrived and not testimony.taken
    assert not testimony.stale and not testimony.unknown


def test_a_robbery_is_seen(seen: witness.Witness) -> None:
    with real_bridge.Bridge() as one, real_bridge.Bridge() as other:
        node = spec(seen, FIRST)
        seen.watch(NODE, FIRST, node.tcp_port)
        seen.watch(NODE, SECOND, node.tcp_port)
        one.connect(node)
        wait_shown(seen, FIRST, one.pid)
        other.open(spec(seen, SECOND, node=node.node,
                        tcp_port=node.tcp_port),
                   memory=one.memories[node.node])
        wait_shown(seen, SECOND, other.pid)
    _, faults = judge(seen)
    assert [fault.kind for fault in faults] == ['taken alive'], faults


def test_bytes_after_a_pause_are_seen(seen: witness.Witness) -> None:
    with real_bridge.Bridge() as one, real_bridge.Bridge() as other:
        node = spec(seen, FIRST)
        seen.watch(NODE, FIRST, node.tcp_port)
        seen.watch(NODE, SECOND, node.tcp_port)
        one.connect(node)
        wait_shown(seen, FIRST, one.pid)
        one.signal(signal.SIGSTOP)
        # so that a packet waits in its socket
        line = seen.status()['nodes'][NODE]['line']
        waiting.wait_until(
            lambda: seen.status()['nodes'][NODE]['line'] > line + 1,
            'two more lines of the host')
        other.open(spec(seen, SECOND, node=node.node,
                        tcp_port=node.tcp_port),
                   memory=one.memories[node.node])
        wait_shown(seen, SECOND, other.pid)
        continued = time.monotonic()
        one.signal(signal.SIGCONT)
        wait_shown(seen, SECOND, other.pid)
    testimony, faults = judge(seen, [(one.pid, continued)])
    assert {fault.kind for fault in faults} == {'overlap'}, faults
    assert testimony.stale

