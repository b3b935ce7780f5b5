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
        found: `{id, version, outcome}` of tests that ran, in any order, and `{census}` rows; the worst outcome of a case counts.
    """
    outcomes: dict[tuple[str, str], str] = {}
    census: list[Any] = []
    for one in found:
        if "census" in one:
            census += one["census"]
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
    return {"cases": cases, "census": sorted(census, key=lambda row: (row["version"], row["action"]))}
