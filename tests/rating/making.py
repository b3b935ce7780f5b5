"""Tariffs and sessions in few words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from chargeplane.domain.rating import Charge, Period, PeriodState, Rating, rate
from chargeplane.domain.tariffs.model import Tariff

BERLIN = ZoneInfo("Europe/Berlin")


def price(kind: str, amount: str, vat: str | None = None, step: int = 1) -> dict[str, Any]:
    """A price component."""
    made: dict[str, Any] = {"type": kind, "price": amount, "step_size": step}
    return made if vat is None else made | {"vat": vat}


def element(*components: dict[str, Any], **restrictions: Any) -> dict[str, Any]:
    """An element; restrictions by name."""
    made: dict[str, Any] = {"price_components": list(components)}
    return made | {"restrictions": restrictions} if restrictions else made


def tariff(*elements: dict[str, Any], **more: Any) -> Tariff:
    """A tariff without taxes in its prices, in euros."""
    raw = {"id": "T", "currency": "EUR", "tax_included": "NO", "last_updated": "2026-01-01T00:00:00Z"}
    return msgspec.convert({**raw, "elements": list(elements), **more}, Tariff, strict=False)


def local(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    """A local time, such as `2026-03-02 09:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def session(start: str | datetime, *parts: tuple[float, str, str] | tuple[float, str, str, dict[str, Any]]) -> Charge:
    """Periods one after the other: (minutes, state, kWh, more fields)."""
    at = local(start) if isinstance(start, str) else start
    periods = []
    for part in parts:
        minutes, state, kwh = part[:3]
        more = part[3] if len(part) > 3 else {}
        end = at + timedelta(minutes=minutes)
        periods.append(Period(start=at, end=end, energy_wh=Decimal(kwh) * 1000, state=PeriodState(state), **more))
        at = end
    return Charge(periods=tuple(periods))


def charging(minutes: float, kwh: str = "0", **more: Any) -> tuple[float, str, str, dict[str, Any]]:
    """A part of a session that charges."""
    return minutes, "charging", kwh, more


def parking(minutes: float) -> tuple[float, str, str, dict[str, Any]]:
    """A part of a session that only parks."""
    return minutes, "parking", "0", {}


def reserved(minutes: float) -> tuple[float, str, str, dict[str, Any]]:
    """A reservation."""
    return minutes, "reserved", "0", {}


def cost(rated: Rating) -> tuple[str, str]:
    """What a session costs before and after taxes, unrounded, without zeros at the end."""
    return plain(rated.total.excl), plain(rated.total.incl)


def plain(value: Decimal) -> str:
    """A number without zeros at the end."""
    return f"{value.normalize():f}" if value else "0"


def volumes(rated: Rating) -> list[tuple[str, str, str]]:
    """(dimension, billed minutes, kWh or fees; amount before taxes) of each line."""
    shown = []
    for line in rated.lines:
        assert line.dimension is not None
        per = {"ENERGY": 1000, "FLAT": 1}.get(line.dimension.value, 60)
        shown.append((line.dimension.value, plain(line.billed / per), plain(line.cost.excl)))
    return shown


def rated(charge: Charge, what: Tariff, zone: ZoneInfo = BERLIN, **more: Any) -> Rating:
    """The rating; its sums balance."""
    made = rate(charge, what, zone, **more)
    balanced(made)
    return made


def balanced(made: Rating) -> None:
    """What holds for every rating: sums balance, nothing is negative in the end."""
    assert made.total.excl == sum((line.cost.excl for line in made.lines), Decimal(0))
    assert made.total.incl == sum((line.cost.incl for line in made.lines), Decimal(0))
    for cost_ in (made.total, made.due, *(line.cost for line in made.lines), *made.groups.values()):
        assert cost_.incl == cost_.excl + sum((tax.amount for tax in cost_.taxes), Decimal(0))
    assert made.total.excl == sum((group.excl for group in made.groups.values()), Decimal(0))
    assert made.total.excl >= 0
    assert made.total.incl >= made.total.excl
    cent = Decimal("0.01")
    assert abs(made.due.incl - made.total.incl) <= cent / 2
    assert abs(made.due.excl - made.total.excl) <= cent / 2
    for exact, shown in zip(made.total.taxes, made.due.taxes, strict=bool(made.due.taxes)):
        assert abs(exact.amount - shown.amount) < cent
