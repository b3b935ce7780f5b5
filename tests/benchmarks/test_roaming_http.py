"""The benchmark of roaming runs from beginning to end, with few of everything; how fast anything was is not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def _measured(result: Path, parts: list[str]) -> tuple[dict[str, Any], str]:
    """The benchmark's result and what it printed."""
    few = {
        "locations": 60, "page": 25, "tokens": 20, "peer-locations": 50, "peer-pages": 1, "connections": 4, "partners": 2,
        "stations": 2, "rate": 50, "status-rate": 20, "repeat": 1, "duration": 0.5, "warmup": 0.1,
    }  # fmt: skip
    options = [word for name, value in few.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "roaming_http.py"),
            *options,
            "--json",
            str(result),
            "--parts",
            *parts,
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(result.read_text()), done.stdout


def test_benchmark_of_roaming_measures_lists_pushes_and_questions(tmp_path: Path) -> None:
    found, text = _measured(tmp_path / "result.json", ["pages", "peer", "pull", "push", "authorize"])
    assert {one["locations"] for one in found["pages"].values()} == {60}
    assert found["pull"]["first"]["kept"] == 60
    assert set(found["in_turn"]) == {"pages of Locations, 2.2.1", "PATCH of EVSEs", "PUT of EVSEs"}
    assert all(not row["server"].get("bad") for row in found["in_turn"].values())
    assert set(found["authorize"]["verdicts"]) == {"ALLOWED"}
    for title in ("### Pages", "### In turn", "### Our client", "### Real-time"):
        assert title in text


@pytest.mark.soak
def test_benchmark_of_roaming_measures_what_fan_out_costs_stations(tmp_path: Path) -> None:
    found, text = _measured(tmp_path / "result.json", ["fan_out"])
    assert found["fan_out"]["open"]["many"]["pushes"] > 0
    assert "### Status to many" in text
