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

# What takes longer than tools/test.sh may, or needs more: the tests that
# are marked "long", one of them in a browser, and the generated ones with
# many more examples.
#
#   bash tools/long.sh
#
# It uses the environments of tools/test.sh and makes those that are
# missing.

set -o errexit -o nounset -o pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/lib/common.sh"
source "$HERE/lib/packages.sh"
source "$HERE/lib/venv.sh"
source "$HERE/lib/checks.sh"
cd "$REPO"

must 'Debian packages' install_packages test long
must 'Environment: Ironic 39 and tests' make_venv ironic-39 \
    tools/requirements/ironic-39.txt test-requirements.txt
must 'Environment: Nova' make_venv nova tools/requirements/nova.txt
must 'Environment: Horizon' make_venv horizon \
    tools/requirements/horizon.txt
must 'Package: build' build_package ironic-39
must 'Package: install' install_package ironic-39

step 'Generated tests, many examples' generated_tests
step 'Long tests' long_tests

summary
