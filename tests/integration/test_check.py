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

"""``ironic-solconsole check`` beside a conductor that runs."""

import json
import os

from tests.functional.test_cli import run_cli
from tests.integration import steps
from tests.support import ipmi_sim
from tests.support import ironic as real_ironic


def test_a_conductor_that_works_has_no_error(
        ironic: real_ironic.Ironic, sim: ipmi_sim.IpmiSim) -> None:
    bmc = sim.bmcs[0]
    node = ironic.api.create_node(bmc)
    url = ironic.api.enable(node)
    file = ironic.config.parent / 'node.json'
    # as the API gives it, which hides the password
    file.touch(mode=0o600)
    file.write_text(json.dumps(ironic.api.node(node)))
    try:
        code, rows = _check(ironic, file)
        assert [row['check'] for row in rows
                if row['verdict'] == 'error'] == ['node-info'], rows
        assert code == 1
        shown = ironic.api.node(node)
        shown['driver_info']['ipmi_password'] = (
            bmc.setup.users[1].password)
        file.write_text(json.dumps(shown))
        code, rows = _check(ironic, file)
    finally:
        file.unlink()
    found = {row['check']: row for row in rows}
    assert code == 0, rows
    bridge, = ironic.bridges()
    assert f'(uid {os.geteuid()}), as process {bridge} (bridge)' in (
        found['user']['detail'])
    for name in ('options', 'run_dir', 'coordination', 'login',
                 'hardware type ipmi', f'open files of bridge {bridge}'):
        assert found[name]['verdict'] == 'ok', found[name]
    assert '; 1 are consoles' in found['ports']['detail']
    assert 'that is the console process' in found['SOL holder']['detail']
    steps.wait_echo(url, b'undisturbed')
    ironic.api.delete(node)


def _check(ironic: real_ironic.Ironic, file: object
           ) -> tuple[int, list[dict[str, str]]]:
    output = run_cli('--config-file', ironic.config, 'check', '--node-info',
                     file, '-f', 'json')
    assert output.code in (0, 1), output
    return output.code, json.loads(output.stdout)
