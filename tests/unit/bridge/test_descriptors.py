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


import errno
import resource

import pytest

from ironic_solconsole.bridge import descriptors


@pytest.mark.parametrize(('consoles', 'limit'), [
    (0, 64), (1, 70), (240, 1024), (1008, 4096)])
def test_enough(consoles: int, limit: int) -> None:
    assert descriptors.shortage(consoles, limit) == ''


@pytest.mark.parametrize(('consoles', 'limit', 'room'), [
    (1, 60, 0), (2, 70, 1), (241, 1024, 240), (1009, 4096, 1008)])
def test_too_few(consoles: int, limit: int, room: int) -> None:
    text = descriptors.shortage(consoles, limit)
    assert f'{limit} files, enough for {room} console' in text
    assert f'has {consoles} now' in text
    assert 'four for each node' in text


def test_a_transcript_is_one_more() -> None:
    assert descriptors.shortage(192, 1024, transcripts=True) == ''
    text = descriptors.shortage(193, 1024, transcripts=True)
    assert 'enough for 192 console' in text and 'five for each' in text


def test_what_is_used_up() -> None:
    assert descriptors.used_up(OSError(errno.EMFILE, ''))
    assert descriptors.used_up(OSError(errno.ENFILE, ''))
    assert not descriptors.used_up(OSError(errno.EADDRINUSE, ''))


def test_the_limit_is_the_soft_one() -> None:
    assert descriptors.limit() == resource.getrlimit(
        resource.RLIMIT_NOFILE)[0]
