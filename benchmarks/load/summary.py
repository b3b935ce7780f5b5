"""Percentiles of a run and medians over its repetitions."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Iterable
from typing import Any

Result = dict[str, Any]


def spread(values: array[int] | list[int]) -> dict[str, float] | None:
    """Count, mean and percentiles of nanoseconds, in ms; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[round(share * (len(ordered) - 1))] / 1e6, 3)

    return {
        "n": len(ordered),
        "min_ms": at(0),
        "mean_ms": round(sum(ordered) / len(ordered) / 1e6, 3),
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "p999_ms": at(0.999),
        "max_ms": at(1),
    }


_RATES = ("calls_per_s", "sequences_per_s", "connects_per_s", "boots_per_s", "commands_per_s")
_SPREADS = (
    "latency",
    "sequence_latency",
    "dispatch_lag",
    "handshake",
    "boot",
    "connect_and_boot",
    "round_trip",
    "http_response",
    "station_got_call",
)
_PATHS = [(name,) for name in _RATES] + [(name, level) for name in _SPREADS for level in ("p50_ms", "p99_ms")]


def _median(results: Iterable[Result], path: tuple[str, ...]) -> float | None:
    numbers = []
    for result in results:
        value: Any = result
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            numbers.append(value)
    return round(statistics.median(numbers), 3) if numbers else None


def medians(results: list[Result]) -> list[Result]:
    """Medians over repetitions, one per scenario and concurrency (per number of connections for `connect`)."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        connections = result.get("connections") if result["scenario"] == "connect" else None
        groups.setdefault((result["scenario"], result.get("concurrency"), connections), []).append(result)
    out = []
    for (scenario, concurrency, connections), same in groups.items():
        row: Result = {"scenario": scenario, "repeats": len(same)}
        if scenario == "command":
            row["concurrency"] = concurrency
        if connections is not None:
            row["connections"] = connections
        row |= {".".join(path): value for path in _PATHS if (value := _median(same, path)) is not None}
        groups_of_cpu = sorted({name for result in same for name in result.get("cpu_ms_per_call", {})})
        if groups_of_cpu:
            row["cpu_ms_per_call"] = {name: _median(same, ("cpu_ms_per_call", name)) for name in groups_of_cpu}
        row["problems"] = _problems(same)
        out.append(row)
    return out


def _problems(results: list[Result]) -> Result:
    found: Result = {}
    for name in ("timeouts", "lost_connections", "unfinished", "unanswered"):
        if total := sum(result.get(name, 0) for result in results):
            found[name] = total
    for name in ("callerrors", "errors", "failures"):
        for key, count in ((key, count) for result in results for key, count in (result.get(name) or {}).items()):
            kind = found.setdefault(name, {})
            kind[key] = kind.get(key, 0) + count
    return found
