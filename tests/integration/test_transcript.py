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

"""Transcripts as a conductor has them written, and removed."""

import os
import pathlib
import subprocess
import sys
import time
import uuid

from tests.support import ipmi_sim
from tests.support import ironic as real_ironic
from tests.support import transcripts
from tests.support import viewers
from tests.support import waiting


def log(ironic: real_ironic.Ironic, *words: str) -> str:
    """What ``ironic-solconsole log`` prints with Ironic's configuration."""
    done = subprocess.run(
        [sys.executable, '-m', 'ironic_solconsole.cli.main', '--config-file',
         str(ironic.config), 'log', *words],
        capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, ''), done
    return done.stdout


def test_written_by_the_options_of_ironic_and_read_by_name(
        sim: ipmi_sim.IpmiSim, tmp_path: pathlib.Path) -> None:
    directory = tmp_path / 'consoles'
    with real_ironic.Ironic(options={'solconsole': {
            'transcript_dir': str(directory)}}) as ironic:
        node = ironic.api.create_node(sim.bmcs[0], name='web-1')
        with viewers.Viewer(ironic.api.enable(node)) as viewer:
            viewer.send(b'uname -a\r\n')
            viewer.wait_for(b'uname -a\r\n')
        waiting.wait_until(
            lambda: 'viewer' in log(ironic, 'web-1')
            and ' left' in log(ironic, 'web-1'),
            'the viewer in the transcript', interval=0.5)
        shown = log(ironic, 'web-1')
        assert '| uname -a\n' in shown, shown
        ironic.api.disable(node)
        waiting.wait_until(lambda: log(ironic, node).endswith('# closed\n'),
                           'the end of the console in the transcript')


def test_removed_when_the_node_has_been_gone_for_the_time(
        sim: ipmi_sim.IpmiSim, tmp_path: pathlib.Path) -> None:
    directory = tmp_path / 'consoles'
    directory.mkdir(0o750)
    gone, going, there = (str(uuid.uuid4()) for _ in range(3))
    for node in (gone, going):
        for name in (f'{node}.log', f'{node}.log.1'):
            (directory / name).write_bytes(b'words\n')
    (directory / 'other').write_bytes(b'')
    with real_ironic.Ironic(options={'solconsole': {
            'transcript_dir': str(directory), 'transcript_keep_days': 2,
            'untakeover_interval': 1}}) as ironic:
        there = ironic.api.create_node(sim.bmcs[1])
        (directory / f'{there}.log').write_bytes(b'words\n')
        for node, days in ((gone, 3), (there, 3)):
            mark = directory / f'{node}.gone'
            mark.write_bytes(b'')
            os.utime(mark, (time.time() - days * 86400,) * 2)
        ironic.api.enable(ironic.api.create_node(sim.bmcs[0]))

        def settled() -> bool:
            names = set(os.listdir(directory))
            return (not any(name.startswith(gone) for name in names)
                    and f'{going}.gone' in names
                    and f'{there}.gone' not in names)

        waiting.wait_until(
            settled, 'what is gone removed, what is going marked', 40,
            seen=lambda: sorted(os.listdir(directory)))
        names = os.listdir(directory)
        assert {f'{going}.log', f'{going}.log.1', f'{there}.log',
                'other'} <= set(names)
        assert len(transcripts.files(directory, going)) == 2
