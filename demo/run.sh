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

# A serial console through a real Ironic, on this machine alone:
#
#   bash demo/run.sh            attaches this terminal; Ctrl-] leaves
#   bash demo/run.sh --check    does without a person, says PASS or why not
#
# It installs what is missing (Debian 12, as root or with sudo), and stops
# all that it started when it ends.

set -o errexit -o nounset -o pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/../tools/lib/common.sh"
source "$HERE/../tools/lib/packages.sh"
source "$HERE/../tools/lib/venv.sh"

case "$*" in
    '' | --check) ;;
    -h | --help)
        echo "usage: bash demo/run.sh [--check]"
        exit 0
        ;;
    *) die "usage: bash demo/run.sh [--check]" ;;
esac
if [ "$*" != --check ] && ! { [ -t 0 ] && [ -t 1 ]; }; then
    die "no terminal here to attach to the console; try --check"
fi

cd "$REPO"
install_packages demo
# The environment of the tests, so that who tries both makes it once.
make_venv ironic-39 tools/requirements/ironic-39.txt test-requirements.txt
build_package ironic-39
install_package ironic-39

# Not from within the clone: what is installed is to run.
cd /
PATH="$(venv_bin ironic-39):$PATH" exec "$(venv_bin ironic-39)/python" \
    "$HERE/demo.py" "$@"
