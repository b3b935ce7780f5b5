#!/bin/sh
# Makes .venv and installs the locked packages and Chargeplane itself (editable) into it.
#
#   tools/setup.sh runtime    what `chargeplane serve` needs
#   tools/setup.sh dev        that, and what tests, checks and benchmarks need (peers of others in .venv/peers)
#
# Does nothing where .venv is up to date: a stamp in it holds the digest of everything it was made from. PYTHON names the
# interpreter for a new .venv; else the newest of 3.13, 3.12 and 3.11 that is found and works. Needs no privileges, but as
# root on Debian it installs python3-venv where that is what is missing.
set -eu
cd "$(dirname "$0")/.."
kind=${1:-dev}
venv=.venv
lock=requirements/$kind.txt
[ -f "$lock" ] || { echo "setup: there is no lock '$lock'; say runtime or dev." >&2; exit 2; }

say() { echo "setup: $*" >&2; }
suits() { "$1" -c 'import sys; sys.exit(not sys.version_info[:2] >= (3, 11))' >/dev/null 2>&1; }
digest() { # of a lock, the project file, the place and the interpreter
    { cat "requirements/$1.txt" pyproject.toml tools/setup.sh; [ "$1" != dev ] || cat requirements/peers.txt; pwd; "$venv/bin/python" -VV; } | sha256sum | cut -c1-64
}
stamped() { [ -f "$venv/.installed-$1" ] && [ "$(cat "$venv/.installed-$1")" = "$(digest "$1")" ]; }

works() { suits "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        suits "$PYTHON" && { echo "$PYTHON"; return; }
        say "PYTHON=$PYTHON is no Python 3.11 or newer."
        return 1
    fi
    for candidate in python3.13 python3.12 python3.11 python3 /usr/bin/python3 /usr/local/bin/python3; do
        suits "$candidate" && { echo "$candidate"; return; }
    done
    say "needs Python 3.11 or newer: install it, or name one with PYTHON=/path/to/python3."
    return 1
}

try() { rm -rf "$venv"; "$@" >/dev/null 2>&1 && works; }

make_venv() {
    python=$(find_python)
    say "making $venv with $("$python" -V)"
    try "$python" -m venv "$venv" && return
    # Debian leaves ensurepip out of python3; these do without it.
    try "$python" -m virtualenv -q "$venv" && return
    try virtualenv -q -p "$python" "$venv" && return
    if "$python" -m pip --version >/dev/null 2>&1 && try_pip_beside "$python"; then return; fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing python$version-venv with apt-get"
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "python$version-venv"; } >&2
        try "$python" -m venv "$venv" && return
    fi
    rm -rf "$venv"
    say "$python cannot make virtual environments: install python$version-venv (Debian, Ubuntu) or virtualenv, then run this again."
    return 1
}

try_pip_beside() { # an outside pip (22.3 or newer) can fill an environment that has none
    rm -rf "$venv"
    "$1" -m venv --without-pip "$venv" >/dev/null 2>&1 && "$1" -m pip --python "$venv/bin/python" install -q pip >&2 && works
}

[ -x "$venv/bin/python" ] && works || make_venv
if [ "$kind" = runtime ] && stamped dev; then exit 0; fi
if stamped "$kind"; then exit 0; fi
say "installing $(grep -c == "$lock") packages from $lock"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
pip install -q --no-deps --require-hashes --only-binary :all: -r "$lock"
pip install -q --no-deps --no-build-isolation -e .
if [ "$kind" = dev ]; then
    # Peers of others, for tests against them: their pins do not go with ours, so their packages lie beside the environment.
    rm -rf "$venv/peers"
    pip install -q --no-deps --require-hashes --only-binary :all: --target "$venv/peers" -r requirements/peers.txt
fi
rm -f "$venv"/.installed-*
digest "$kind" >"$venv/.installed-$kind"
