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

"""Chaos in a real cluster, short and long; see tools/chaos.sh."""

import pathlib
import random

import pytest

from tests.chaos import cloud
from tests.chaos import runner

#: Faults of a long run, which takes a quarter of an hour.
_LONG = 200


def passes(backend: str, faults: int, seed: int, directory: pathlib.Path,
           group: bool = True) -> None:
    """Run, and see that every promise was kept."""
    verdict = runner.run(backend, faults, seed, directory, group=group)
    print(verdict)
    assert verdict.passed, f'{verdict}\nrecords and logs: {directory}'


def test_a_few_faults(tmp_path: pathlib.Path) -> None:
    passes('redis', 6, 1275, tmp_path, group=False)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('backend', cloud.BACKENDS)
def test_many_faults(backend: str, tmp_path: pathlib.Path) -> None:
    passes(backend, _LONG, random.randrange(10**6), tmp_path)
