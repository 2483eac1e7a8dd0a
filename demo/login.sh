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

# What runs on the serial line of the simulated machine: a login shell, and
# when that ends another one. Called as "login.sh HOME [USER GROUP]"; the
# numbers say who the shell is to be.

set -o nounset

home=$1
shift

as=()
if [ "$#" -gt 0 ]; then
    as=(setpriv "--reuid=$1" "--regid=$2" --clear-groups --no-new-privs)
fi

# /etc/profile sets its own prompt; this comes after it.
prompt="PS1='demo-host:\\w\\$ '"

cd /
while true; do
    stty sane rows 24 cols 80
    printf '\r\ndemo-host on ttyS0: a login shell on a serial line\r\n\r\n'
    began=$SECONDS
    "${as[@]}" env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$home" \
        TERM=vt220 SHELL=/bin/bash LANG=C.UTF-8 \
        SOLCONSOLE_DEMO="${SOLCONSOLE_DEMO:-}.shell" PROMPT_COMMAND="$prompt" \
        /bin/bash --login
    # The line hung up: there is nobody to greet.
    [ -t 0 ] && stty -a >/dev/null 2>&1 || exit 0
    # As getty does, when a shell cannot even start.
    [ $((SECONDS - began)) -gt 0 ] || sleep 1
done
