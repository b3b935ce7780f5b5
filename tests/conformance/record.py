"""What a run found, as the page about conformance needs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tests.conformance.not_built import NOT_BUILT
from tests.conformance.official import official

RESULTS_VARIABLE: Final = "CHARGEPLANE_CONFORMANCE_RESULTS"
VERSIONS: Final = ("1.6", "2.0.1", "2.1")


def written(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Every official case with its outcome: `passed`, `failed`, or `not run` with the reason.

    Args:
        found: `{id, version, outcome}` of tests that ran, in any order; the worst outcome of a case counts. `{census}` rows, and
            `{commands}`: version-free commands that were given, each with the action that came of it.
    """
    outcomes: dict[tuple[str, str], str] = {}
    census: list[dict[str, Any]] = []
    commands: dict[tuple[str, str], set[str]] = {}
    for one in found:
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
    return {"cases": cases, "census": sorted(census, key=lambda row: (row["version"], row["action"]))}
