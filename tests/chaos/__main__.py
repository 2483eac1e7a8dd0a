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

"""A run by hand: ``python -m tests.chaos --help``."""

import argparse
import functools
import pathlib
import random
import shutil
import sys
import tempfile

from tests.chaos import cloud
from tests.chaos import runner


def main() -> int:
    """Run; gives 1 when a promise was broken."""
    parser = argparse.ArgumentParser(
        prog='tools/chaos.sh', description='Break things in a real Ironic '
        'cluster at random, and prove that each console has one holder.')
    parser.add_argument('backend', choices=cloud.BACKENDS,
                        help='what keeps the locks')
    parser.add_argument('--faults', type=int, default=10, metavar='N',
                        help='how many (default: 10)')
    parser.add_argument('--seed', type=int, default=None, metavar='S',
                        help='of the schedule (default: any)')
    parser.add_argument('--only', default='', metavar='WORD',
                        help='only faults with this in their name')
    parser.add_argument('--directory', type=pathlib.Path, default=None,
                        help='where records and logs stay (default: a new '
                        'one, kept when something was wrong)')
    arguments = parser.parse_args()
    seed = (random.randrange(10**6) if arguments.seed is None
            else arguments.seed)
    directory = arguments.directory or pathlib.Path(
        tempfile.mkdtemp(prefix='chaos.'))
    directory.mkdir(parents=True, exist_ok=True)
    say = functools.partial(print, flush=True)
    say(f'backend {arguments.backend}, {arguments.faults} faults, seed '
        f'{seed}')
    verdict = runner.run(
        arguments.backend, arguments.faults, seed, directory, say,
        only=arguments.only)
    say(str(verdict))
    if arguments.directory or not verdict.passed:
        say(f'records and logs are in {directory}')
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return 0 if verdict.passed else 1


if __name__ == '__main__':
    sys.exit(main())
