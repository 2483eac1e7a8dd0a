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

# Virtual environments in the clone. To be sourced after common.sh.

PYTHON=${PYTHON:-python3}

venv_bin() {
    echo "$CACHE/venv/$1/bin"
}

check_python() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "needs Python 3.11 or later; set PYTHON to one"
}

# make_venv NAME FILE...: an environment with the requirements of FILEs. It
# is made anew when they or the interpreter change, and else kept.
make_venv() {
    local name=$1 dir="$CACHE/venv/$1" key file args=()
    shift
    check_python
    key=$({ "$PYTHON" -VV && echo "$dir" && cat "$@"; } | sha256sum)
    if [ "$(cat "$dir/.key" 2>/dev/null)" = "$key" ]; then
        echo "environment $name: as it was"
        return 0
    fi
    echo "environment $name: making it"
    rm -rf "$dir"
    mkdir -p "$CACHE/venv"
    "$PYTHON" -m venv "$dir"
    for file in "$@"; do
        args+=(-r "$file")
    done
    "$dir/bin/pip" install -q "${args[@]}"
    echo "$key" >"$dir/.key"
}

# make_venvs "NAME FILE..."...: several environments, two at a time: pip
# waits for the network and for the disk in turn.
make_venvs() {
    local words=() one running=0 failed=0
    for one in "$@"; do
        if [ "$running" -eq 2 ]; then
            wait -n || failed=1
            running=$((running - 1))
        fi
        read -ra words <<<"$one"
        make_venv "${words[@]}" &
        running=$((running + 1))
    done
    while [ "$running" -gt 0 ]; do
        wait -n || failed=1
        running=$((running - 1))
    done
    return "$failed"
}

# build_package NAME: the wheel of this clone, in $CACHE/wheel, made with the
# pip of that environment unless the one that is there is up to date.
build_package() {
    local name=$1 key version=()
    key=$(sources | sha256sum)
    if [ "$(cat "$CACHE/wheel/.key" 2>/dev/null)" = "$key" ]; then
        echo "package: as it was"
        return 0
    fi
    echo "package: building it"
    # What an earlier build left would go into the wheel as well.
    rm -rf "$CACHE/wheel" "$REPO/build" "$REPO/ironic_solconsole.egg-info"
    # pbr asks git for the version; git asks who owns the clone.
    [ -e "$REPO/.git" ] || version=(PBR_VERSION=0.0.1)
    env GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory \
        GIT_CONFIG_VALUE_0="$REPO" "${version[@]}" \
        "$(venv_bin "$name")/pip" wheel -q --no-deps -w "$CACHE/wheel" \
        "$REPO"
    rm -rf "$REPO/build"
    echo "$key" >"$CACHE/wheel/.key"
}

# What the wheel is made of.
sources() {
    cat setup.cfg setup.py pyproject.toml requirements.txt README.rst
    git rev-parse -q --verify HEAD 2>/dev/null || echo "no commit yet"
    find ironic_solconsole -type f ! -name '*.pyc' -print0 | sort -z |
        xargs -0 sha256sum
}

# install_package NAME...: that wheel, with what it requires, into each.
install_package() {
    local name bin
    for name in "$@"; do
        bin=$(venv_bin "$name")
        if cmp -s "$bin/../.package" "$CACHE/wheel/.key"; then
            echo "package in $name: as it was"
            continue
        fi
        echo "package in $name: installing it"
        rm -f "$bin/../.package"
        "$bin/pip" uninstall -q -y ironic-solconsole 2>/dev/null
        "$bin/pip" install -q "$CACHE"/wheel/ironic_solconsole-*.whl
        "$bin/pip" check
        cp "$CACHE/wheel/.key" "$bin/../.package"
    done
}
