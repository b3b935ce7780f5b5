#!/bin/sh
# Writes requirements/*.txt from pyproject.toml: every package pinned, with the digests of all its files, for Python 3.11 to
# 3.13 on Linux. Keeps the versions that stand there unless --upgrade or --upgrade-package NAME is given.
set -eu
cd "$(dirname "$0")/.."
compile() {
    .venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-annotate --no-header -q "$@"
}
compile --group build -o requirements/runtime.txt "$@"
compile --group build --group dev --group bench -c requirements/runtime.txt -o requirements/dev.txt "$@"
.venv/bin/uv pip compile tools/peers.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --no-header -q -o requirements/peers.txt "$@"
