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

"""What all lock backends share, with a backend that lives in memory."""

import collections.abc
import subprocess
import sys
import threading

import pytest

from ironic_solconsole import coordination
from ironic_solconsole.bridge import backends
from ironic_solconsole.bridge.backends import base


class Memory(base.Common[base.Held]):
    """Locks in a dict; ``broken`` makes calls fail after their work."""

    def __init__(self, ttl: float = 20.0) -> None:
        super().__init__(coordination.Coordination(
            'redis://nowhere', ttl, ttl / 4, ttl / 8), 'me:1:x')
        self.locks: dict[str, object] = {}
        self.calls: list[list[str]] = []
        self.broken = False
        self.hang = threading.Event()

    def _acquire(self, names: list[str]
                 ) -> dict[str, base.Held | str]:
        self.calls.append(names)
        tries = [base.Held(name, base.now()) for name in names]
        with self._doubting(tries):
            for each in tries:
                self.locks.setdefault(each.name, each)
            if self.broken:
                raise OSError('no\nanswer \x1b[2J' + 'x' * 999)
        return {each.name: each if self.locks[each.name] is each
                else 'you:2:y' for each in tries}

    def _release(self, held: list[base.Held]) -> None:
        if self.broken:
            raise OSError
        for each in held:
            if self.locks.get(each.name) is each:
                del self.locks[each.name]

    def _bury(self, names: list[str], member: str) -> None:
        raise NotImplementedError

    def _renew(self, held: list[base.Held], deadline: float
               ) -> collections.abc.Iterator[
                   tuple[base.Held, float | None]]:
        for each in held:
            if self.broken:
                raise OSError
            ours = self.locks.get(each.name) is each
            yield each, base.now() if ours else None

    def _stop(self) -> None:
        self.hang.wait(10)


def later() -> float:
    return base.now() + 10


def names(count: int) -> list[str]:
    return [f'lock-{number}' for number in range(count)]


def test_locks_are_tried_in_batches_and_in_order():
    backend = Memory()
    found = list(backend.acquire(names(120), later()))
    assert [name for name, _ in found] == names(120)
    assert [len(call) for call in backend.calls] == [50, 50, 20]


def test_a_name_that_is_given_twice_is_tried_once():
    backend = Memory()
    assert len(list(backend.acquire(['a', 'b', 'a'], later()))) == 2


def test_a_caller_that_stops_early_keeps_what_it_was_given():
    backend = Memory()
    outcomes = backend.acquire(names(120), later())
    next(outcomes)
    name, _ = next(outcomes)
    outcomes.close()
    assert set(backend.locks) == {'lock-0', name}
    assert len(backend.calls) == 1


def test_no_try_begins_after_the_deadline():
    backend = Memory()
    assert list(backend.acquire(names(3), base.now())) == []
    assert backend.calls == []


def test_a_caller_that_comes_too_late_gets_no_old_lock(monkeypatch):
    # As after SIGSTOP: what was got with others may have expired.
    backend = Memory()
    outcomes = backend.acquire(names(10), later())
    next(outcomes)
    at = base.now() + base.STALE
    monkeypatch.setattr(base, 'now', lambda: at)
    assert list(outcomes) == []
    assert set(backend.locks) == {'lock-0'}


def test_a_library_s_error_is_one_short_line_without_control_characters():
    backend = Memory()
    backend.broken = True
    with pytest.raises(backends.BackendError) as caught:
        list(backend.acquire(names(1), later()))
    text = str(caught.value)
    assert text.startswith('OSError: no answer ?[2Jxxx')
    assert len(text) < 250


@pytest.mark.parametrize('call', [
    lambda backend, other: list(backend.acquire(['other'], later())),
    lambda backend, other: list(backend.renew([other], later())),
    lambda backend, other: backend.release([other])])
def test_what_may_be_ours_is_removed_before_the_next_call(call):
    backend = Memory()
    [(_, other)] = backend.acquire(['mine'], later())
    backend.broken = True
    with pytest.raises(backends.BackendError):
        list(backend.acquire(['a', 'b'], later()))
    assert {'a', 'b'} <= set(backend.locks)
    with pytest.raises(backends.BackendError):
        call(backend, other)
    backend.broken = False
    call(backend, other)
    assert not {'a', 'b'} & set(backend.locks)


def test_a_request_that_arrives_late_is_undone_as_well(monkeypatch):
    backend = Memory(ttl=20.0)
    backend.broken = True
    with pytest.raises(backends.BackendError):
        list(backend.acquire(['a'], later()))
    backend.broken = False
    [late] = backend.locks.values()
    list(backend.renew([], later()))
    assert not backend.locks
    backend.locks['a'] = late
    list(backend.renew([], later()))
    assert not backend.locks
    # Not for ever.
    at = base.now() + 2 * 20.0
    monkeypatch.setattr(base, 'now', lambda: at)
    list(backend.renew([], later()))
    backend.locks['a'] = late
    list(backend.renew([], later()))
    assert backend.locks


def test_renewal_that_fails_says_nothing_of_the_others():
    backend = Memory()
    held = [each for _, each in backend.acquire(names(3), later())]
    del backend.locks['lock-0']
    renewal = backend.renew(held, later())
    assert next(renewal) == (held[0], None)
    assert next(renewal)[1] is not None
    backend.broken = True
    with pytest.raises(backends.BackendError):
        next(renewal)


def test_stop_has_an_end():
    backend = Memory(ttl=1.0)
    begin = base.now()
    backend.stop()
    assert base.now() - begin < 5
    backend.hang.set()


def test_bounded_gives_what_the_call_gives_or_raises():
    assert base.bounded(lambda: 7, 5) == 7

    def fail() -> None:
        raise ValueError('bad')

    with pytest.raises(backends.BackendError, match='ValueError: bad'):
        base.bounded(fail, 5)
    gate = threading.Event()
    with pytest.raises(backends.BackendError, match='no answer within'):
        base.bounded(lambda: gate.wait(10), 0.05)
    gate.set()


@pytest.mark.parametrize('member', [
    'host:1:abc', 'h\u00f6st.example:1:abc'])
def test_a_member_id_is_read_back_from_a_token(member):
    backend = Memory()
    backend._member_id = member
    assert backend._holder(backend._token()) == member
    assert backend._holder(backend._token().encode()) == member
    assert backend._token() != backend._token()


@pytest.mark.parametrize('token', [
    b'', b'0123456789abcdef', b'\x1b[2J:1:x:y', b'a\nb:c', b'x' * 999 + b':1',
    b'\xff:\x00:1'])
def test_a_token_of_somebody_else_is_never_shown_raw(token):
    holder = Memory()._holder(token)
    assert holder.isprintable() and len(holder) <= 300


@pytest.mark.parametrize(('url', 'library'), [
    ('file:///nonexistent/locks', None),
    ('redis://localhost', 'redis'), ('rediss://localhost', 'redis'),
    ('redis://localhost:26379?sentinel=m&sentinel_fallback=b:26379',
     'redis'),
    ('etcd3+http://localhost', 'etcd3gw'),
    ('etcd3+https://localhost?ca_cert=/x', 'etcd3gw'),
    ('zookeeper://a:2181?hosts=b:2181', 'kazoo'),
    ('kazoo://user:secret@a', 'kazoo')])
def test_only_the_library_that_is_needed_is_imported(url, library):
    libraries = {'redis', 'etcd3gw', 'kazoo', 'fasteners'}
    if library is None:
        libraries |= {'tooz', 'oslo_utils', 'stevedore'}
    code = ('import sys\n'
            'from ironic_solconsole import coordination\n'
            'from ironic_solconsole.bridge import backends\n'
            f'backends.make(coordination.Coordination({url!r}), "a:1:b")\n'
            f'print(*(set(sys.modules) & {libraries!r}))')
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True,
        text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.stdout.split() == ([library] if library else []), (
        done.stderr)


def test_a_library_that_is_missing_is_named():
    code = ('import sys\n'
            'sys.modules["etcd3gw"] = None\n'
            'from ironic_solconsole import coordination\n'
            'from ironic_solconsole.bridge import backends\n'
            'try:\n'
            '    backends.make(coordination.Coordination('
            '"etcd3+http://x"), "a:1:b")\n'
            'except backends.BackendError as error:\n'
            '    print(error)')
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True,
        text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.stdout == (
        'etcd needs a Python library that is not installed: etcd3gw\n'), (
        done.stderr)
