"""What a run found, as the page about conformance needs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tests.conformance.not_built import NOT_BUILT
from tests.conformance.official import official
from tests.conformance.use_cases import PARTLY, UNTRIED, USE_CASES

RESULTS_VARIABLE: Final = "CHARGEPLANE_CONFORMANCE_RESULTS"
VERSIONS: Final = ("1.6", "2.0.1", "2.1")


def written(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Every official case with its outcome: `passed`, `failed`, or `not run` with the reason.

    Args:
        found: `{id, version, outcome}` of tests that ran, in any order; the worst outcome of a case counts. `{census}` rows, and
            `{commands}`: version-free commands that were given, each with the action that came of it. `{own, use_case, requirements,
            outcome}`: of our own cases.
    """
    outcomes: dict[tuple[str, str], str] = {}
    census: list[dict[str, Any]] = []
    commands: dict[tuple[str, str], set[str]] = {}
    own: list[dict[str, Any]] = []
    for one in found:
        if "own" in one:
            own.append(one)
            continue
        if "census" in one:
            census += one["census"]
            continue
        if "commands" in one:
            for version, command, action in one["commands"]:
                commands.setdefault((version, action), set()).add(command)
            continue
        key = (one["version"], one["id"])
        if outcomes.get(key) != "failed":
            outcomes[key] = one["outcome"]
    cases = []
    for version in VERSIONS:
        for ident, about in official(version).items():
            outcome = outcomes.get((version, ident), "not run")
            reason = NOT_BUILT[version].get(ident, "the test was left out") if outcome == "not run" else None
            cases.append(
                {
                    "version": version,
                    "id": ident,
                    "title": about.title,
                    "kind": about.kind,
                    "profiles": about.profiles,
                    "condition": about.condition,
                    "outcome": outcome,
                    "reason": reason,
                }
            )
    for row in census:
        row["commands"] = sorted(commands.get((row["version"], row["action"]), ()))
    return {
        "cases": cases,
        "use_cases": _use_cases(own),
        "census": sorted(census, key=lambda row: (row["version"], row["action"])),
    }


def _use_cases(own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The use cases that only 2.1 has: the requirements that were tried, how many tests, and the worst outcome."""
    rows = []
    for ident, title in USE_CASES.items():
        ran = [one for one in own if one["use_case"] == ident]
        outcomes = {one["outcome"] for one in ran}
        rows.append(
            {
                "id": ident,
                "title": title,
                "requirements": sorted({name for one in ran for name in one["requirements"]}),
                "tests": len({one["own"] for one in ran}),
                "outcome": "failed" if outcomes - {"passed"} else "passed" if ran else "not run",
                "missing": UNTRIED.get(ident) or PARTLY.get(ident) or (None if ran else "the test was left out"),
            }
        )
    return rows
