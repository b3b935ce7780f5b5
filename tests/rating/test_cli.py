"""`chargeplane tariff` and `location`, against the running server."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from chargeplane.main.cli.root import run_command
from chargeplane.main.cli.tariffs import conditions, drawn
from tests.rating.test_rest_tariffs import evse_with, make
from tests.support.rest import ADMIN_KEY, Rest


async def run(rest: Rest, *arguments: str) -> int:
    """The exit code."""
    given = [*arguments, "--url", rest.base_url, "--api-key", ADMIN_KEY]
    return await asyncio.to_thread(run_command, given)


async def test_tariffs_are_shown_with_their_conditions_and_estimated(
    rest: Rest, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await make(rest)
    uid = await evse_with(rest, made["id"])
    assert await run(rest, "tariff", "show", made["id"]) == 0
    shown = capsys.readouterr().out
    assert "1\t0.29\tkWh\t19 %\t\t22:00 to 06:00" in shown
    assert "3\t6\th parking\t19 %\t60 s\talways" in shown
    arguments = ("tariff", "estimate", made["id"], "--kwh", "22", "--evse", uid, "--at", "2026-03-02T20:00")
    assert await run(rest, *arguments) == 0
    told = capsys.readouterr().out
    assert "11 kWh at 0.29 EUR per kWh" in told
    assert "7.48 EUR (6.29 before taxes) for 22.0 kWh in 2:00:00" in told
    assert await run(rest, "tariff", "estimate", made["id"]) == 1
    assert await run(rest, "tariff", "list", "--query", made["id"]) == 0
    assert "0.29-0.39/kWh, 6/h parking" in capsys.readouterr().out


async def test_locations_are_listed_with_their_evses(rest: Rest, capsys: pytest.CaptureFixture[str]) -> None:
    made = await make(rest)
    uid = await evse_with(rest, made["id"])
    assert await run(rest, "location", "list", "--near", "52.529,13.402") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if uid in line)
    assert "Torstr. 1, Berlin\t68 m\t" in line
    assert f"UNKNOWN\tIEC_62196_T2 11.0 kW\t{made['id']}" in line
    assert await run(rest, "location", "list", "--near", "here") == 1


def test_conditions_are_told_in_short() -> None:
    told = conditions({"end_time": "06:00", "day_of_week": ["MONDAY"], "min_kwh": 5, "max_power": 11})
    assert told == "00:00 to 06:00, Mon, from 5 kWh, below 11 kW"
    assert conditions({}) == "always"


def test_bars_are_as_high_as_their_prices() -> None:
    assert drawn([Decimal("0.5"), Decimal("0.25"), Decimal(0)], 2) == [" 0.50 █  ", "      ██ "]
