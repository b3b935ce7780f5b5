"""Runs the conformance cases and writes docs/conformance.md.

    python tools/conformance.py [-n WORKERS]            runs, then writes
    python tools/conformance.py --results FILE          writes from the results of an earlier run
    python tools/conformance.py --results FILE --out -  prints the page

Exits 1 where a case failed; the page is written all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "conformance.md"
RESULTS_VARIABLE = "CHARGEPLANE_CONFORMANCE_RESULTS"
_VERSIONS = ("1.6", "2.0.1", "2.1")
_ABOUT = {
    "1.6": "The Compliance Testing Tool's cases for a central system, those of the security whitepaper among them.",
    "2.0.1": "Edition 3, Part 6. Conditional cases name the feature of Part 5 that makes them apply; *other* ones are described "
    "in Part 6 and asked for by no certification profile.",
    "2.1": "The edition at hand has no test cases of its own: these are 2.0.1's, run with a 2.1 station.",
}
_HEAD = """# Conformance

Made by `make conformance` from a run; do not edit.

Each official case whose role is CSMS is a function of `tests/conformance/` with the case's name. It follows the case's steps with
a scripted station that shares no code with the server, over real sockets, against the real server with a real PostgreSQL;
every message that the server sends is checked against the official JSON schema, and what the case says an operator does is
done by REST. *Passed* means that: it is no certificate. What is not run says what is missing.

Beside the cases, a station that nobody here wrote goes through every subject in each version: `tests/foreign/` has stations made of the
package `ocpp` of the package index over `websockets`, the server as `chargeplane serve` starts it, and an operator at REST who sees what
came of it. Sessions; a password changed, TLS with Basic, then a certificate that the house signed for the station's own request, renewed
and revoked; roots; security events; resets, triggers, unlocking, availability; firmware fetched, checked, refused, and by a campaign over
HTTPS; logs uploaded; monitors, events and customer information (2.x); local lists; reservations; charging profiles with the station's own
composite schedule; variables and reports. The package checks what the server sends by its own copy of the official schemas: a test in
which it found fault with a message, or left one unanswered, fails.
"""


def page(results: dict[str, Any]) -> str:
    """The page of a run's results."""
    cases = results["cases"]
    parts = [_HEAD, _summary(cases)]
    parts += [f"## OCPP {version}\n\n{_ABOUT[version]}\n\n{_cases(cases, version)}" for version in _VERSIONS]
    parts.append(_use_cases(results.get("use_cases", [])))
    if results["census"]:
        parts.append(_census(results["census"]))
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _summary(cases: list[dict[str, Any]]) -> str:
    lines = ["| OCPP | cases | passed | failed | not run |", "|---|---|---|---|---|"]
    for version in _VERSIONS:
        outcomes = [one["outcome"] for one in cases if one["version"] == version]
        counts = [len(outcomes), *(outcomes.count(word) for word in ("passed", "failed", "not run"))]
        lines.append(f"| {version} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


def _cases(cases: list[dict[str, Any]], version: str) -> str:
    lines = ["| case | title | asked for | result |", "|---|---|---|---|"]
    for one in cases:
        if one["version"] != version:
            continue
        asked = one["kind"] + (f" ({one['condition']})" if one["condition"] else "")
        result = one["outcome"] + (f": {one['reason']}" if one["reason"] else "")
        lines.append(f"| {one['id']}_CSMS | {one['title']} | {asked} | {result} |")
    return "\n".join(lines)


def _use_cases(rows: list[dict[str, Any]]) -> str:
    lines = [
        "## 2.1 use cases without an official case",
        "",
        "What 2.1 has beyond 2.0.1, by the use cases of its Part 2. The tests are our own, `tests/conformance/test_21_*.py`, named by the use "
        "case, with the same scripted station; each checks the requirements on a CSMS named here, or, where there are none, the "
        "steps of the use case. What is not tried says why.",
        "",
        "| use case | title | requirements | tests | result | not tried |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['id']} | {row['title']} | {', '.join(row['requirements'])} | {row['tests'] or ''} | {row['outcome']} |"
        f" {row['missing'] or ''} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _census(rows: list[dict[str, Any]]) -> str:
    lines = [
        "## Census of messages",
        "",
        "Every action of every version. From a station: sent with the fewest and with all fields of its schema; *taken* means "
        "that both were answered with a valid result, stored, and visible by REST. To a station: *sent* means that it went out as "
        "a raw call with a payload of its schema and that the answer came back; the command is the version-free one that "
        "stands for it, in bold where giving it in one of the cases above made this call.",
        "",
        "| OCPP | action | from a station | to a station | command |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['version']} | {row['action']} | {row['from_station'] or ''} | {row['to_station'] or ''} | {_commands(row)} |"
        for row in rows
    ]
    return "\n".join(lines)


def _commands(row: dict[str, Any]) -> str:
    seen = list(row["commands"])
    own = [row["command"]] if row.get("command") and row["command"] not in seen else []
    return ", ".join([f"**{one}**" for one in seen] + own)


def run(workers: str) -> dict[str, Any]:
    """Runs the cases."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.json"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-n", workers, "-q", "-p", "no:cacheprovider", "tests/conformance"],
            cwd=ROOT,
            env={**os.environ, RESULTS_VARIABLE: str(file)},
            check=False,
        )
        results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return results


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Runs the conformance cases and writes their page.")
    parser.add_argument("-n", default="2", metavar="WORKERS")
    parser.add_argument("--results", type=Path, metavar="FILE")
    parser.add_argument("--out", default=str(PAGE), metavar="FILE")
    given = parser.parse_args()
    results = json.loads(given.results.read_text(encoding="utf-8")) if given.results else run(given.n)
    text = page(results)
    if given.out == "-":
        print(text, end="")
    else:
        Path(given.out).write_text(text, encoding="utf-8")
    every = [*results["cases"], *results["use_cases"]]
    return 1 if any(one["outcome"] == "failed" for one in every) else 0


if __name__ == "__main__":
    sys.exit(main())
