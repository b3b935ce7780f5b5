"""How many sessions one core rates a second: 100 periods each, by a simple tariff and by a complex one.

    .venv/bin/python -m benchmarks.rating [--seconds 3]

The complex tariff is like that of OCPI's specification: a fee, charging time by current, energy by power and by the time of day,
parking by weekday, least and most price, taxes of three rates. Its sessions charge for 80 minutes with a current that changes every
few minutes and park for 20; every period rests on two meter values.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from chargeplane.domain.rating import Charge, Period, PeriodState, rate
from chargeplane.domain.tariffs.model import Tariff

_ZONE = ZoneInfo("Europe/Berlin")
_WEEK = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]
_PERIODS = 100


def _price(kind: str, price: str, vat: int, step: int = 1) -> dict[str, Any]:
    return {"type": kind, "price": price, "vat": vat, "step_size": step}


def _tariff(*elements: dict[str, Any], **more: Any) -> Tariff:
    raw = {"id": "B", "currency": "EUR", "tax_included": "NO", "last_updated": "2026-01-01T00:00:00Z"}
    return msgspec.convert({**raw, "elements": list(elements), **more}, Tariff, strict=False)


def _tariffs() -> dict[str, Tariff]:
    day = {"start_time": "07:00", "end_time": "20:00"}
    return {
        "simple": _tariff({"price_components": [_price("FLAT", "0.5", 19), _price("ENERGY", "0.39", 19)]}),
        "complex": _tariff(
            {"price_components": [_price("FLAT", "2.5", 15)]},
            {"price_components": [_price("TIME", "1", 20, 900)], "restrictions": {"max_current": "32"}},
            {
                "price_components": [_price("TIME", "2", 20, 600)],
                "restrictions": {"min_current": "32", "day_of_week": _WEEK},
            },
            {"price_components": [_price("ENERGY", "0.49", 19, 100)], "restrictions": {**day, "min_power": "20"}},
            {"price_components": [_price("ENERGY", "0.39", 19, 100)], "restrictions": day},
            {"price_components": [_price("ENERGY", "0.29", 19, 100)]},
            {"price_components": [_price("PARKING_TIME", "5", 10, 300)], "restrictions": {"day_of_week": _WEEK}},
            min_price={"before_taxes": "1", "after_taxes": "1.2"},
            max_price={"before_taxes": "60", "after_taxes": "70"},
        ),
    }


def _sessions(count: int) -> list[Charge]:
    dice = random.Random(7)
    made = []
    for _ in range(count):
        at = datetime(2026, 3, 2, 18, tzinfo=UTC) + timedelta(minutes=dice.randrange(0, 60 * 24 * 30))
        periods, current = [], Decimal(16)
        for number in range(_PERIODS):
            charging = number < 80
            if number % 7 == 0:
                current = Decimal(dice.choice((10, 16, 24, 32, 48)))
            periods.append(
                Period(
                    start=at,
                    end=at + timedelta(seconds=60),
                    energy_wh=Decimal(dice.randrange(100_000, 500_000)) / 1000 if charging else Decimal(0),
                    state=PeriodState.CHARGING if charging else PeriodState.PARKING,
                    min_current=current if charging else None,
                    max_current=current if charging else None,
                    meter_values=(number, number + 1),
                )
            )
            at += timedelta(seconds=60)
        made.append(Charge(periods=tuple(periods)))
    return made


def main() -> None:
    """Prints a line for each tariff."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each of three runs")
    seconds = parser.parse_args().seconds
    sessions = _sessions(200)
    for name, tariff in _tariffs().items():
        runs, lines = [], 0
        for _ in range(3):
            done, until, began = 0, time.perf_counter() + seconds, time.perf_counter()
            while time.perf_counter() < until:
                lines = len(rate(sessions[done % len(sessions)], tariff, _ZONE).lines)
                done += 1
            runs.append(done / (time.perf_counter() - began))
        print(f"{name}: {statistics.median(runs):,.0f} sessions of {_PERIODS} periods a second, {lines} lines each")


if __name__ == "__main__":
    main()
