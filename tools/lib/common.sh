# shellcheck shell=bash
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

# What tools/test.sh, tools/long.sh and demo/run.sh share: where things are,
# how they speak, and how they run a step. To be sourced.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Everything they make, git ignores. Remove it to start from nothing.
# shellcheck disable=SC2034  # used by those that source this
CACHE="$REPO/.cache"

# Commands that have no terminal to ask on must not ask.
export DEBIAN_FRONTEND=noninteractive
export PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_NO_INPUT=1

STEPS=()
FAILED=()

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

took() {
    local seconds=$1
    printf '%d min %02d s' $((seconds / 60)) $((seconds % 60))
}

# step NAME COMMAND...: run it under a heading, remember how it ended, and
# go on.
step() {
    local name=$1 began=$SECONDS status
    shift
    printf '\n==== %s ====\n' "$name"
    # Not as a condition: that would switch errexit off within COMMAND.
    set +o errexit
    (set -o errexit; "$@") </dev/null
    status=$?
    set -o errexit
    if [ "$status" -eq 0 ]; then
        STEPS+=("ok      $(took $((SECONDS - began)))  $name")
        printf -- '---- %s: ok, %s\n' "$name" "$(took $((SECONDS - began)))"
    else
        STEPS+=("FAILED  $(took $((SECONDS - began)))  $name")
        FAILED+=("$name")
        printf -- '---- %s: FAILED (exit status %d), %s\n' "$name" \
            "$status" "$(took $((SECONDS - began)))"
    fi
    return 0
}

# must NAME COMMAND...: a step that the others stand on.
must() {
    step "$@"
    [ "${#FAILED[@]}" -eq 0 ] || summary
}

# summary: one line for each step and one for all, then the end.
summary() {
    printf '\n==== Summary ====\n'
    printf '%s\n' "${STEPS[@]}"
    if [ "${#FAILED[@]}" -ne 0 ]; then
        printf '%s: FAILED after %s: %s\n' "$(basename "$0")" \
            "$(took "$SECONDS")" "$(joined "${FAILED[@]}")"
        exit 1
    fi
    printf '%s: PASSED, %d steps in %s\n' "$(basename "$0")" \
        "${#STEPS[@]}" "$(took "$SECONDS")"
    exit 0
}

joined() {
    local text=$1 word
    shift
    for word in "$@"; do
        text+=", $word"
    done
    printf '%s' "$text"
}
