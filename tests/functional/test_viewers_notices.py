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

"""What viewers are told while a console has its troubles."""

import itertools
import re
import time

from tests.functional.test_console import wait_viewers
from tests.support import bmc as model
from tests.support import bridge as bridge_support
from tests.support import viewers
from tests.support import waiting

#: On a line of its own: at its beginning, and followed by the next one's.
NOTICE = re.compile(rb'\r\n\[solconsole: ([^\]\r\n]*)\]\r\n')


def test_a_life_in_notices(model_bmc: model.ModelBmc,
                           bridge: bridge_support.Bridge) -> None:
    bmc = model_bmc
    spec = bridge_support.model_spec(bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        bmc.steal('second', '192.0.2.7', 40000)
        viewer.wait_for(b'taken by another session')
        viewer.send(b'reboot\r')
        viewer.wait_for(b'what is typed is not sent')
        viewer.send(b'reboot\r')
        waiting.always(
            lambda: viewer.data.count(b'what is typed is not sent') == 1,
            'it is said once', 1.5)
        bmc.release()
        viewer.wait_for(b'[solconsole: connected]', 30)
        bmc.deactivate()
        bridge.close(spec.node)
        viewer.wait_closed()
        assert not viewer.reset
        assert NOTICE.sub(b'', viewer.data) == b'', 'not lines of their own'
        told = [text.decode() for text in NOTICE.findall(viewer.data)]
        assert told == [
            'taken by another session; waiting for it to end',
            'not connected; what is typed is not sent', 'connected',
            'the console was closed']
        assert bmc.host.received == b''


def test_connecting_is_told_when_it_takes_its_time(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    model_bmc.faults.answer_delay = 30.0
    spec = bridge_support.model_spec(model_bmc)
    bridge.open(spec, wait=0)
    with viewers.Viewer(spec.url) as viewer:
        viewer.wait_exactly(b'\r\n[solconsole: connecting]\r\n')


def test_there_is_a_notice_a_second_at_most(
        model_bmc: model.ModelBmc, bridge: bridge_support.Bridge) -> None:
    """Though the state changes seven times in that time."""
    spec = bridge_support.model_spec(model_bmc)
    bridge.connect(spec)
    with viewers.Viewer(spec.url) as viewer:
        wait_viewers(bridge, 1)
        began, times = time.monotonic(), []
        for verb, args in itertools.cycle([
                ('release', {'seconds': 0}), ('resume', {})]):
            bridge.request(verb, {'node': spec.node, **args})
            changed = time.monotonic()
            while time.monotonic() < changed + 0.15:
                if len(NOTICE.findall(viewer.data)) > len(times):
                    times.append(time.monotonic())
                time.sleep(0.005)
            if time.monotonic() > began + 3.5:
                break
        assert len(times) >= 3, viewer.data
        # as many as came can have come no faster, whenever they were seen
        assert len(times) <= 1 + (time.monotonic() - began)
        waiting.always(
            lambda: len(NOTICE.findall(viewer.data)) <= 2 + (
                time.monotonic() - began), 'one a second', 1.0)
