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

# The picture in README.rst, from a real session of the demo:
#
#   bash tools/picture.sh [COMMAND...]
#
# COMMAND is what is run in the place of "bash demo/run.sh". It needs tmux.

set -o errexit -o nounset -o pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/lib/common.sh"

PICTURE="$REPO/doc/source/_static/console.svg"
SESSION="solconsole-picture-$$"
DEMO=${*:-bash $REPO/demo/run.sh}

tmux_() {
    tmux -L "$SESSION" "$@"
}

# wait_for TEXT: until it is on the screen.
wait_for() {
    local _
    for _ in $(seq 600); do
        ! tmux_ capture-pane -p | grep -q "$1" || return 0
        sleep 0.2
    done
    die "waited two minutes for $1 on the screen"
}

command -v tmux >/dev/null || die "needs tmux"
trap 'tmux_ kill-server 2>/dev/null || true' EXIT
tmux_ -f /dev/null new-session -d -x 92 -y 42 "$DEMO; read -r"
tmux_ set -g status off
wait_for 'Attached'
tmux_ send-keys Enter
wait_for 'demo-host:/'
# shellcheck disable=SC2016  # the shell on the console expands it
tmux_ send-keys 'uname -s; tty; echo $((6 * 7)) lines to go' Enter
wait_for '^42 lines to go'
tmux_ send-keys 'logout' Enter
wait_for 'demo-host on ttyS0'
sleep 1
tmux_ capture-pane -e -p |
    python3 "$HERE/lib/terminal_svg.py" 'bash demo/run.sh' >"$PICTURE"
tmux_ send-keys C-]
wait_for 'Stopping everything'
echo "$PICTURE is written"
