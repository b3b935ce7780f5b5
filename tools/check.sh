#!/bin/sh
# Runs every check and says at the end which of them failed; exits 1 if any did.
set -u
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=
check() {
    name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}
check format $bin/ruff format --check .
check lint $bin/ruff check .
check mypy $bin/mypy
check pyright $bin/basedpyright --warnings
check rings $bin/lint-imports --no-logo
check configuration-page $bin/python tools/generate_config_docs.py --check
check requirement-lines $bin/python tools/requirement_lines.py --check
check message-types $bin/python tools/generate_ocpp.py --check
check ocpi-models $bin/python tools/check_ocpi_models.py
check addresses $bin/python tools/check_addresses.py
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
echo "all checks passed"
