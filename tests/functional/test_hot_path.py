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

"""The benchmark of the hot path runs, and measures the code that is here."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_it_gives_a_figure_for_each_stage() -> None:
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', str(ROOT / 'benchmarks/hot_path.py'),
         '--packets', '50'],
        capture_output=True, text=True, timeout=120, cwd='/')
    assert not done.returncode, done.stderr
    figures = [float(line.split()[-2]) for line in done.stdout.splitlines()]
    assert len(figures) == 9
    assert all(figure > 0 for figure in figures), done.stdout
