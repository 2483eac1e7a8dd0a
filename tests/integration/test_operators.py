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

"""Operators on the host of a real conductor."""

import os
import re
import shlex
import subprocess
import sys

from tests.integration import steps
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import terminal
from tests.support import viewers


def run(ironic: real_ironic.Ironic, *words: object
        ) -> 'subprocess.CompletedProcess[str]':
    """Run ironic-solconsole as on the host of the conductor."""
    return subprocess.run(
        [sys.executable, '-m', 'ironic_solconsole.cli.main', '--config-file',
         str(ironic.config), *map(str, words)], capture_output=True,
        text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_attach_and_what_is_asked_is_in_the_log_of_the_conductor(
        ironic: real_ironic.Ironic, sim: ipmi_sim.IpmiSim) -> None:
    api, bmc = ironic.api, sim.bmcs[0]
    node = api.create_node(bmc, name='attached')
    url = api.enable(node)
    with (viewers.Viewer(url) as viewer, terminal.TerminalRun(
            '--config-file', ironic.config, 'attach', 'attached') as mine):
        mine.wait_attached()
        mine.type(b'whoami\r')
        mine.wait_for(b'whoami\r')
        viewer.wait_for(b'whoami\r')
        assert run(ironic, 'say', 'attached', 'hello').returncode == 0
        viewer.wait_for(b'[solconsole: operator: hello]')
        # Nova's reset throws nobody out.
        api.disable(node)
        api.enable(node)
        mine.type(b'still here')
        mine.wait_for(b'still here')
        api.disable(node)
        assert mine.wait_ended(30) == 5
        assert mine.modes() == mine.before
    for what in ('attach as viewer ', "say, 'operator: hello'"):
        ironic.wait_log(what)
        line = next(line for line in ironic.log_text().splitlines()
                    if what in line)
        assert 'Asked by ' in line and f'(uid {os.geteuid()})' in line, line
        assert node in line, line
    api.delete(node)


def test_who_is_on_the_wrong_host_is_told_how_to_find_the_right_one(
        ironic: real_ironic.Ironic, sim: ipmi_sim.IpmiSim) -> None:
    api = ironic.api
    on, off = (api.create_node(sim.bmcs[number], name=f'wrong-{number}')
               for number in (1, 2))
    api.enable(on)      # or there is no bridge to ask
    steps.wait_listening(api.url(on))
    for name in ('wrong-2', off):
        done = run(ironic, 'who', name)
        assert done.returncode == 1, done
        assert done.stderr.count('\n') == 1, done.stderr
        command = re.search('"(baremetal .*)"', done.stderr)
        assert command is not None, done.stderr
        words = shlex.split(command[1])
        answer = subprocess.run(
            [ironic.path_of(words[0]), *words[1:]], capture_output=True,
            text=True, timeout=60, env={
                **os.environ, 'OS_AUTH_TYPE': 'none',
                'OS_ENDPOINT': api.endpoint})
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.split() == ['False', api.node(off)['conductor']]
    for node in (on, off):
        api.delete(node)
