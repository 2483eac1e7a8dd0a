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

"""Wait for things with a deadline, and say what did not happen."""

import collections.abc
import time
import typing

#: Seconds that a test waits for what has no stated bound of its own.
#: Generous, because test machines are small and shared.
PATIENCE = 20.0

T = typing.TypeVar('T')


def wait_until(predicate: collections.abc.Callable[[], T], what: str,
               timeout: float = PATIENCE, interval: float = 0.02,
               seen: collections.abc.Callable[[], object] | None = None) -> T:
    """Poll until a predicate is true.

    :param predicate: called until it gives something true. An exception
        in it counts as "not yet" and is quoted if time runs out.
    :param what: ends the sentence "waited N s, but not seen: ...".
    :param timeout: seconds.
    :param interval: seconds between two calls.
    :param seen: gives what there is instead, for the failure message; by
        default what the predicate gave last.
    :returns: what the predicate gave.
    :raises: AssertionError when time runs out.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            value = predicate()
            if value:
                return value
            last = value
        except Exception as error:
            last = error
        if time.monotonic() >= deadline:
            break
        time.sleep(interval)
    state = last if seen is None else seen()
    raise AssertionError(
        f'waited {timeout:g} s, but not seen: {what}; at the end there was '
        f'{excerpt(state)}')


def always(predicate: collections.abc.Callable[[], object], what: str,
           seconds: float, interval: float = 0.05) -> None:
    """Check that something holds all the time.

    :param predicate: must give something true at each call.
    :param what: ends the sentence "not true any more after N s: ...".
    :param seconds: for how long.
    :raises: AssertionError at the first call that gives something false.
    """
    start = time.monotonic()
    while (age := time.monotonic() - start) < seconds:
        if not predicate():
            raise AssertionError(
                f'not true any more after {age:.2f} s: {what}')
        time.sleep(interval)


def excerpt(value: object, limit: int = 600) -> str:
    """``repr`` of a value, with its middle left out when it is long."""
    text = repr(value)
    if len(text) <= limit:
        return text
    half = limit // 2
    return f'{text[:half]} ...{len(text) - limit} more... {text[-half:]}'


def assert_same_bytes(got: bytes, expected: bytes, what: str) -> None:
    """Compare long byte strings, and show only where they part."""
    if got == expected:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b),
              min(len(got), len(expected)))
    raise AssertionError(
        f'{what}: {len(got)} bytes came where {len(expected)} were '
        f'expected; they part at byte {at}: got '
        f'{got[at:at + 40]!r}, expected {expected[at:at + 40]!r}')
