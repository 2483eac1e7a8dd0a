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

"""What a user of Horizon sees: a login, in a browser."""

import os
import pathlib

import pytest

from tests.support import getty
from tests.support import horizon
from tests.support import ipmi_sim
from tests.support import nova_cloud
from tests.support import viewers

pytestmark = [pytest.mark.nova, pytest.mark.long]

#: Where the pictures go; by default they are thrown away.
PICTURES_VARIABLE = 'SOLCONSOLE_SCREENSHOTS'

TABLE = '''\
┌────────────┬───────────┐
│ Größe      │ 25 x 30 m │
│ Tür, Fuß   │ ä ö ü ß € │
├────────────┼───────────┤
│ ░▒▓█ ↑↓ ✓  │ Привет    │
└────────────┴───────────┘
'''

#: What a browser shows for bytes that are no character.
REPLACEMENT = '\ufffd'


@pytest.fixture
def pictures(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory for pictures."""
    path = pathlib.Path(os.environ.get(PICTURES_VARIABLE) or tmp_path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def test_a_login_in_a_browser(
        cloud: nova_cloud.NovaCloud, pictures: pathlib.Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    with getty.Getty('Größe XL on \\l\n\n', {'table': TABLE}) as host, (
            ipmi_sim.IpmiSim([ipmi_sim.BmcSetup(
                serial=str(host.serial))])) as sim, (
            cloud.deploy(sim.bmcs[0])) as machine, (
            viewers.Viewer(machine.url)) as other, (
            horizon.Page('bare metal', cloud.nova.get_url(machine.instance))
            ) as page, horizon.Browser() as browser:
        browser.open(page.url)
        browser.wait_for('login:')
        assert browser.status == 'Open'
        browser.save(pictures / 'login.png')
        browser.type('tenant\n')
        browser.wait_for('Password:')
        browser.type('secret\n')
        browser.wait_for('tenant@bare-metal:~$')
        browser.type('cat table; tty\n')
        screen = browser.wait_for('/dev/pts/')
        browser.save(pictures / 'session.png')
        for line in TABLE.splitlines():
            assert line in screen
        assert REPLACEMENT not in screen
        assert 'secret' not in screen
        # A table too long for the scrollback to have it from its start.
        browser.type('for i in $(seq 200); do cat table; done; echo D"ON"E\n')
        screen = browser.wait_for('DONE')
        assert REPLACEMENT not in screen

        browser.open(page.url)
        screen = browser.wait_for('DONE')
        assert REPLACEMENT not in screen
        assert TABLE.splitlines()[4] in screen, 'what was said before'
        browser.type('echo still h"er"e\n')
        browser.wait_for('still here')
        browser.save(pictures / 'again.png')
        other.wait_for(b'still here')
        assert not other.closed
        assert b'solconsole:' not in other.data
    with capsys.disabled():
        print(f'\n  pictures: {pictures}')
