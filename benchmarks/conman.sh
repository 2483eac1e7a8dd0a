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

# conman with FreeIPMI, for benchmarks/run.sh. Debian 12 has 0.2.7, which
# kills ipmi_sim by a question that only 0.3 can leave out; the source of
# 0.3.1 is in Debian 13. To be sourced after common.sh.

CONMAN="$CACHE/conman"

# Where apt gets the packages of this machine from.
debian_mirror() {
    # shellcheck disable=SC2016  # apt puts them in
    apt-get indextargets --format \
        '$(CREATED_BY) $(ORIGIN) $(SUITE) $(REPO_URI)' |
        awk '$1 == "Packages" && $2 == "Debian" && $3 !~ /-/ {
            print $4; exit }'
}

# apt_13 COMMAND...: apt-get with the sources of Debian 13, and none of this
# machine's own lists.
apt_13() {
    apt-get -q -o "Dir::Etc::sourcelist=$CONMAN/apt/sources.list" \
        -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$CONMAN/apt/lists" \
        -o "Dir::Cache=$CONMAN/apt/cache" -o Acquire::http::Timeout=30 "$@"
}

fetch_conman() {
    local mirror
    mirror=$(debian_mirror)
    if [ -z "$mirror" ]; then
        as_root apt-get -q -o DPkg::Lock::Timeout=300 update
        mirror=$(debian_mirror)
    fi
    mkdir -p "$CONMAN/apt/lists/partial" "$CONMAN/apt/cache"
    echo "deb-src $mirror trixie main" >"$CONMAN/apt/sources.list"
    # What Debian has added to it is of no use here, and may have gone.
    apt_13 update && { apt_13 source --download-only conman || true; } &&
        tar --strip-components 1 -xf conman_0.3.*.orig.tar.*z
}

# build_conman: $CONMAN/conmand, unless it is there.
build_conman() {
    [ ! -x "$CONMAN/conmand" ] || return 0
    echo "conman: building it"
    rm -rf "$CONMAN"
    mkdir -p "$CONMAN"
    (cd "$CONMAN" && fetch_conman && ./configure --with-freeipmi &&
        make) >"$CONMAN.log" 2>&1
}
