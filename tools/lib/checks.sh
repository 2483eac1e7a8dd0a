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

# The checks themselves. To be sourced after venv.sh.

SHELL_FILES=(.ci/run benchmarks/*.sh demo/*.sh tests/support/*.sh tools/*.sh
    tools/lib/*.sh devstack/plugin.sh devstack/settings
    devstack/lib/solconsole devstack/tools/chassis)

check_python_style() {
    "$(venv_bin lint)/ruff" check --no-cache .
}

check_types() {
    "$(venv_bin lint)/mypy" --no-incremental
    "$(venv_bin lint)/mypy" --no-incremental demo/*.py
    "$(venv_bin lint)/mypy" --no-incremental --strict -p benchmarks
}

check_imports() {
    "$(venv_bin lint)/lint-imports" --no-cache --no-logo
}

check_shell() {
    shellcheck -x -P SCRIPTDIR "${SHELL_FILES[@]}"
    # E006 is line length: shellcheck does not look at it, bashate does.
    "$(venv_bin lint)/bashate" --max-line-length 79 "${SHELL_FILES[@]}"
}

check_text() {
    "$(venv_bin lint)/doc8" README.rst CONTRIBUTING.rst \
        devstack/README.rst doc/source releasenotes
}

# The parser in packages.sh and bindep itself read the file alike.
check_packages() {
    "$(venv_bin lint)/bindep" test
    "$(venv_bin lint)/bindep" -l newline test | sort -u >"$CACHE/by-bindep"
    packages_of test | diff "$CACHE/by-bindep" - &&
        echo "bindep and tools/lib/packages.sh agree"
}

# The sdist, a wheel that is built from it, and what is in them.
check_package() {
    local dist="$CACHE/dist" bin
    bin=$(venv_bin lint)
    # What an earlier build left would go into these as well.
    rm -rf "$dist" "$REPO/build" "$REPO/ironic_solconsole.egg-info" \
        "$REPO/AUTHORS" "$REPO/ChangeLog"
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory \
        GIT_CONFIG_VALUE_0="$REPO" \
        "$bin/python" -m build -o "$dist" "$REPO" >"$CACHE/build.log" 2>&1 ||
        { tail -n 20 "$CACHE/build.log" && return 1; }
    rm -rf "$REPO/build"
    "$bin/twine" check --strict "$dist"/*
    "$bin/python" "$REPO/tools/lib/check_package.py" "$dist" "$REPO"
}

check_docs() {
    rm -rf doc/build
    "$(venv_bin lint)/sphinx-build" -q -W --keep-going -b html \
        -d doc/build/doctrees doc/source doc/build/html
    # Options that cannot be loaded are no error to the extension.
    grep -q port_quarantine doc/build/html/configuration/options.html
    grep -q port_quarantine doc/build/html/configuration/sample.html
    echo "doc/build/html/index.html is written"
}

check_release_notes() {
    "$(venv_bin lint)/reno" lint
    rm -rf releasenotes/build
    "$(venv_bin lint)/sphinx-build" -q -W --keep-going -b html \
        -d releasenotes/build/doctrees releasenotes/source \
        releasenotes/build/html
    echo "releasenotes/build/html/index.html is written"
}

# run_tests MARKS PATH [OPTION...]: with pytest, in the environment of
# Ironic 39; the tests find the others by these names.
run_tests() {
    local marks=$1 temp status=0
    shift
    # Tests put UNIX sockets there, whose paths have at most 107 bytes;
    # pytest's own choice is long. It stays when a test has failed.
    temp=$(mktemp -d /tmp/st.XXXXXX)
    SOLCONSOLE_IRONIC_BIN="$(venv_bin ironic-39)" \
        SOLCONSOLE_IRONIC_29_BIN="$(venv_bin ironic-29)" \
        SOLCONSOLE_IRONIC_26_BIN="$(venv_bin ironic-26)" \
        SOLCONSOLE_NOVA_BIN="$(venv_bin nova)" \
        SOLCONSOLE_HORIZON_BIN="$(venv_bin horizon)" \
        SOLCONSOLE_SCREENSHOTS="$CACHE/screenshots" \
        PYTHONDONTWRITEBYTECODE=1 \
        "$(venv_bin ironic-39)/python" -m pytest -p no:cacheprovider \
        --basetemp "$temp/t" -m "$marks" "$@" || status=$?
    [ "$status" -ne 0 ] || rm -rf "$temp"
    return "$status"
}

# The figures of such a run mean nothing; that every part works does.
smoke_benchmark() {
    bash benchmarks/run.sh --consoles 1 4 --seconds 0.2 --rounds 1
}

# generated_tests: the unit tests, with many more generated examples.
generated_tests() {
    PYTHONPATH="$REPO/tools/lib" run_tests 'not long' tests/unit \
        -p many_examples --timeout 3600 -o faulthandler_timeout=3600
}

# long_tests: those that are marked so.
long_tests() {
    local status=0
    run_tests long tests --timeout 3600 -o faulthandler_timeout=3600 ||
        status=$?
    # What pytest says when no test is marked.
    [ "$status" -eq 5 ] && status=0
    return "$status"
}
