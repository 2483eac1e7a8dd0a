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

"""Processes are known by more than their number."""

import collections.abc
import os
import signal
import subprocess
import sys
import time

import pytest

from ironic_solconsole.driver import procs
from tests.support import processes
from tests.support import waiting


@pytest.fixture
def sleeper() -> collections.abc.Iterator['subprocess.Popen[bytes]']:
    child = subprocess.Popen(processes.die_with_us(['sleep', '300']))
    waiting.wait_until(
        lambda: processes.command_line(child.pid) == 'sleep 300',
        'a child that sleeps')
    yield child
    processes.end(child)


def anything(process: procs.Process) -> bool:
    return True


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    token = procs.process_token(os.getpid())
    assert procs.is_alive(token)
    boot, pid, _ = token.split(':')
    assert not procs.is_alive(f'{boot}:{pid}:1')
    for word in ('', 'x', 'a:b:c', f'{boot}:{2**40}:1', f'::{pid}',
                 f'{boot}:-1:1', f'{boot}:{"9" * 5000}:1', f'{boot}:²:1'):
        assert not procs.is_alive(word)


def test_a_process_that_is_dead_but_not_reaped_is_gone() -> None:
    child = subprocess.Popen(['true'])
    waiting.wait_until(lambda: not procs.process_token(child.pid),
                       'end of the child')
    assert procs.look_at(child.pid) is None
    child.wait(5)


def test_a_process_is_seen_as_it_is(
        sleeper: 'subprocess.Popen[bytes]') -> None:
    seen = procs.look_at(sleeper.pid)
    assert seen is not None
    assert seen == procs.Process(
        procs.process_token(sleeper.pid), os.getpid(), ('sleep', '300'))
    assert (seen.pid, seen.program) == (sleeper.pid, 'sleep')
    assert seen in procs.look_around()


def test_the_start_is_told_in_the_time_of_files(
        sleeper: 'subprocess.Popen[bytes]') -> None:
    began = procs.started_at(sleeper.pid)
    assert began is not None
    assert abs(began - time.time()) < 60
    assert procs.started_at(2**31) is None


@pytest.mark.parametrize('pidfd', [True, False])
def test_a_signal_arrives(sleeper: 'subprocess.Popen[bytes]', pidfd: bool,
                          monkeypatch: pytest.MonkeyPatch) -> None:
    if not pidfd:
        def refuse(pid: int) -> int:
            raise PermissionError('not in this sandbox')
        monkeypatch.setattr(os, 'pidfd_open', refuse)
    token = procs.process_token(sleeper.pid)
    assert procs.send_signal(token, signal.SIGTERM, anything)
    assert procs.wait_gone([token], 5.0) == []
    assert sleeper.wait(5) == -signal.SIGTERM
    assert not procs.send_signal(token, signal.SIGTERM, anything)


def test_no_signal_goes_to_a_later_process(
        sleeper: 'subprocess.Popen[bytes]') -> None:
    boot, pid, start = procs.process_token(sleeper.pid).split(':')
    for token in (f'{boot}:{pid}:{int(start) - 1}', f'0000:{pid}:{start}',
                  '', f'{boot}:1:1', f'{boot}:0:{start}'):
        assert not procs.send_signal(token, signal.SIGKILL, anything)
    assert processes.alive(sleeper.pid)


def test_no_signal_goes_to_what_has_become_another_program(
        sleeper: 'subprocess.Popen[bytes]') -> None:
    token = procs.process_token(sleeper.pid)
    assert not procs.send_signal(
        token, signal.SIGKILL, lambda now: now.program == 'socat')
    assert processes.alive(sleeper.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can change users')
@pytest.mark.parametrize('change', [
    {'user': 12345},
    {'preexec_fn': lambda: os.setresuid(0, 12345, 0)},
    {'preexec_fn': lambda: os.setresuid(12345, 0, 0)},
], ids=['another', 'effective', 'real'])
def test_a_process_of_another_user_is_not_seen(
        change: dict[str, object]) -> None:
    # pytest may live where the other user may not look
    child = subprocess.Popen(['sleep', '300'], cwd='/',
                             **change)    # type: ignore
    try:
        token = procs.process_token(child.pid)
        assert token
        assert procs.look_at(child.pid) is None
        assert child.pid not in {one.pid for one in procs.look_around()}
        assert not procs.send_signal(token, signal.SIGKILL, anything)
        assert processes.alive(child.pid)
    finally:
        processes.end(child)


def test_waiting_ends_and_tells_who_is_left(
        sleeper: 'subprocess.Popen[bytes]') -> None:
    token = procs.process_token(sleeper.pid)
    began = time.monotonic()
    assert procs.wait_gone(['', token], 0.2) == [token]
    assert time.monotonic() - began < 2.0


def test_a_name_with_blanks_and_parentheses_does_no_harm() -> None:
    # field 2 of stat is what comes before the last parenthesis
    program = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'a) Z 1 (')"
    child = subprocess.Popen(
        [sys.executable, '-c', f'{program}; print(flush=True); '
         'time.sleep(300)'], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        child.stdout.readline()
        seen = procs.look_at(child.pid)
        assert seen is not None
        assert seen.parent == os.getpid()
        assert procs.is_alive(seen.token)
    finally:
        processes.end(child)
        child.stdout.close()
