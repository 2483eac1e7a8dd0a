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

# Break things in a real Ironic cluster at random, and prove that each
# console has one holder, whatever dies.
#
#   bash tools/chaos.sh BACKEND [--faults N] [--seed S]
#
# BACKEND is what keeps the locks: file, redis, etcd or zookeeper. It prints
# the faults by kind, takeovers, the longest gap and overlaps, which must be
# 0, and its status is 1 if two processes passed bytes of one console at the
# same time, or if a console did not come back. The same seed gives the same
# schedule.
#
# It uses the environment of tools/test.sh and makes what is missing.

set -o errexit -o nounset -o pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/lib/common.sh"
source "$HERE/lib/packages.sh"
source "$HERE/lib/venv.sh"
cd "$REPO"

case ${1:-} in
    file|redis|etcd|zookeeper) ;;
    *) die "usage: chaos.sh file|redis|etcd|zookeeper [--faults N]" \
        "[--seed S]" ;;
esac

must 'Debian packages' install_packages test
must 'Environment: Ironic 39 and tests' make_venv ironic-39 \
    tools/requirements/ironic-39.txt test-requirements.txt
must 'Package: build' build_package ironic-39
must 'Package: install' install_package ironic-39

printf '\n==== Chaos ====\n'
SOLCONSOLE_IRONIC_BIN="$(venv_bin ironic-39)" PYTHONDONTWRITEBYTECODE=1 \
    exec "$(venv_bin ironic-39)/python" -m tests.chaos "$@"
