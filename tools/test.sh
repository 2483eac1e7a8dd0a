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

# The one test command. On Debian 12 with Python 3.11, as root or with sudo:
#
#   bash tools/test.sh
#
# It installs the Debian packages of bindep.txt, makes its environments
# under .cache (and keeps them for the next run), and runs every check that
# a change must pass. The last line says PASSED or FAILED.

set -o errexit -o nounset -o pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/lib/common.sh"
source "$HERE/lib/packages.sh"
source "$HERE/lib/venv.sh"
source "$HERE/lib/checks.sh"
cd "$REPO"

must 'Debian packages' install_packages test
must 'Environments' make_venvs \
    'ironic-39 tools/requirements/ironic-39.txt test-requirements.txt' \
    'nova tools/requirements/nova.txt' \
    'lint requirements.txt tools/requirements/lint.txt doc/requirements.txt' \
    'ironic-29 tools/requirements/ironic-29.txt' \
    'ironic-26 tools/requirements/ironic-26.txt'
must 'Package: build' build_package lint
must 'Package: install' install_package lint ironic-39 ironic-29 ironic-26

step 'Lint: Python (ruff)' check_python_style
step 'Lint: types (mypy)' check_types
step 'Lint: direction of imports (import-linter)' check_imports
step 'Lint: shell (shellcheck, bashate)' check_shell
step 'Lint: text (doc8)' check_text
step 'Lint: packages (bindep)' check_packages
step 'Package: sdist and wheel' check_package
step 'Documentation' check_docs
step 'Release notes' check_release_notes

step 'Tests: unit' run_tests 'not long' tests/unit
# These wait for BMCs more than they compute.
step 'Tests: functional' run_tests 'not long' tests/functional -n 5
# A file has a cluster or an Ironic of its own.
step 'Tests: integration, Ironic 39' \
    run_tests 'not long and not releases and not nova' tests/integration \
    -n 3 --dist loadfile
step 'Tests: integration, Ironic 39, 29 and 26.1 alike' \
    run_tests 'not long and releases' tests/integration -n 2
step 'Tests: integration, Nova' \
    run_tests 'not long and nova' tests/integration
step 'Tests: chaos' run_tests 'not long' tests/chaos
step 'Benchmark: every part runs' smoke_benchmark

summary
