#!/bin/bash
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

# Our bridge beside socat with ipmitool, and beside conman:
#
#   bash benchmarks/run.sh [--consoles N...] [--rounds R] [--json PATH]
#   bash benchmarks/run.sh --growth       how ours grows with consoles
#   bash benchmarks/run.sh --bridges      ours, in 1, 2 and 4 processes
#   bash benchmarks/run.sh conductor      how a real conductor comes up
#   bash benchmarks/run.sh locks          how long the locks of its nodes take
#
# Without a number of consoles it takes 1, 100, 500 and 1000 in turn. It
# installs what is missing (Debian 12, as root or with sudo), and stops all
# that it started when it ends. Its status is 1 when a stream was not exact
# or something broke; no figure makes it fail.

set -o errexit -o nounset -o pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/../tools/lib/common.sh"
source "$HERE/../tools/lib/packages.sh"
source "$HERE/../tools/lib/venv.sh"
source "$HERE/conman.sh"
cd "$REPO"

part=benchmarks
case "${1:-}" in
    conductor | locks)
        part=benchmarks.$1
        shift
        ;;
esac

install_packages benchmark
# The environment of the tests: their simulated machines are used.
make_venv ironic-39 tools/requirements/ironic-39.txt test-requirements.txt
if [ "$part" != benchmarks ]; then
    install_packages test
    # Ironic loads the package that is installed.
    build_package ironic-39
    install_package ironic-39
    PYTHONDONTWRITEBYTECODE=1 \
        exec "$(venv_bin ironic-39)/python" -W ignore -m "$part" "$@"
fi
# Without it the table says so.
build_conman || echo "conman: cannot be built; see $CONMAN.log"

# The bridge of this clone runs, not the package that is installed.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$REPO" \
    exec "$(venv_bin ironic-39)/python" -W ignore -m benchmarks \
    --conmand "$CONMAN/conmand" "$@"
