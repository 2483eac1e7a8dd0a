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

# Debian packages, as bindep.txt names them. To be sourced after common.sh.

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -E "$@"
    else
        die "needs root or sudo for: $*"
    fi
}

# packages_of PROFILE...: the packages of bindep.txt without a profile, and
# those with one of these. The bindep program itself needs a virtual
# environment, which needs a package of this list; what is read here is the
# plain "name [profile ...]" that our file keeps to.
packages_of() {
    local line name words word wanted
    while read -r line; do
        line=${line%%#*}
        [ -n "${line// /}" ] || continue
        name=${line%% *}
        words=${line#"$name"}
        words=${words//[\[\]]/}
        if [ -z "${words// /}" ]; then
            echo "$name"
            continue
        fi
        for word in $words; do
            for wanted in "$@"; do
                [ "$word" != "$wanted" ] || echo "$name"
            done
        done
    done <"$REPO/bindep.txt" | sort -u
}

is_installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null |
        grep -q 'ok installed'
}

# install_packages PROFILE...: apt is not asked where nothing is missing.
install_packages() {
    local name missing=()
    command -v apt-get >/dev/null || die "needs Debian 12 (no apt-get here)"
    for name in $(packages_of "$@"); do
        is_installed "$name" || missing+=("$name")
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        echo "Debian packages: all there"
        return 0
    fi
    echo "Debian packages: installing ${missing[*]}"
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update
    as_root apt-get -q -y -o DPkg::Lock::Timeout=300 install \
        --no-install-recommends "${missing[@]}"
}
