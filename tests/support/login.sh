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

# What getty starts when it has a name, instead of login(1): it knows
# everybody, with any password, and the shell is nobody's. So no account of
# this machine is needed. Called as "login.sh HOME -- NAME".

set -o nounset

home=$1 name=${*: -1}
as=()
if [ "$(id -u)" -eq 0 ]; then
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs)
fi

printf 'Password: '
stty -echo
read -r _
stty echo
printf '\nWelcome, %s.\n' "$name"
cd "$home" || exit 1
exec "${as[@]}" env -i PATH=/usr/bin:/bin HOME="$home" TERM=xterm \
    LANG=C.UTF-8 PS1="$name@bare-metal:~\\$ " /bin/bash --noprofile --norc -i
