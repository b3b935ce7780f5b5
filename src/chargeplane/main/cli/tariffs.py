"""`chargeplane tariff ... | location ...`: what charging costs and where it is, over REST, drawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import click

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.cli.terminal import amount, json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment

_BARS: Final = " ▁▂▃▄▅▆▇█"
_HEIGHT: Final = 5
_UNITS: Final = {"ENERGY": "kWh", "TIME": "h charging", "PARKING_TIME": "h parking", "FLAT": "session"}


@click.group()
def tariff() -> None:
    """Tariffs: what charging costs."""


@tariff.command("list")
@click.option("--query", "q", help="Looked for in id, name and texts.")
@server_options
@json_option
def list_tariffs(q: str | None, rest: RestClient, as_json: bool) -> None:
    """Tariffs in their newest versions."""
    rows = list(rest.pages("/v1/tariffs", **({"q": q} if q else {})))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NAME", "VERSION", "CURRENCY", "FOR", "PRICES", "VALID FROM", "STATE"],
        [
            (
                row["id"],
                row["name"],
                row["version"],
                row["currency"],
                row["type"],
                _in_short(row),
                row["valid_from"][:16].replace("T", " "),
                "retired" if row["retired_at"] else "in use",
            )
            for row in rows
        ],
        empty="There are no tariffs.",
        right=("VERSION",),
    )


@tariff.command("show")
@click.argument("tariff_id")
@click.option("--version", type=int, help="The newest unless given.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Whose prices are drawn; today unless given.")
@server_options
@json_option
def show(tariff_id: str, version: int | None, day: datetime | None, rest: RestClient, as_json: bool) -> None:
    """A tariff: its prices, when they hold, and energy over a day."""
    path = f"/v1/tariffs/{segment(tariff_id)}"
    found = rest.get(path if version is None else f"{path}/versions/{version}")
    if as_json:
        print_json(found)
        return
    taxes = {"YES": "taxes included", "NO": "before taxes", "N/A": "no taxes apply"}[found["tax_included"]]
    newest = "" if found["version"] == found["latest_version"] else f" of {found['latest_version']}"
    title = f"[bold]{found['name'] or found['id']}[/]  version {found['version']}{newest}, {found['currency']}, {taxes}"
    out.print(title, soft_wrap=True)
    print_table(
        ["#", "PRICE", "PER", "VAT", "STEP", "WHEN"],
        [
            (
                number + 1,
                component["price"],
                _UNITS[component["type"]],
                f"{component['vat']} %" if component.get("vat") is not None else None,
                _step(component),
                conditions(element.get("restrictions") or {}),
            )
            for number, element in enumerate(found["elements"])
            for component in element["price_components"]
        ],
        empty="",
        right=("#", "PRICE", "VAT"),
    )
    for name, words in (("min_price", "at least"), ("max_price", "at most")):
        if found[name]:
            after = found[name].get("after_taxes")
            shown = f" ({after} after taxes)" if after is not None else ""
            out.print(f"A session costs {words} {found[name]['before_taxes']}{shown}.")
    hours = over_the_day(found, day or datetime.now(UTC))
    if len(set(hours)) > 1 and out.is_terminal:
        out.print()
        for line in drawn(hours):
            out.print(line, style="cyan")
        out.print("      " + "".join(f"{hour:<6}" for hour in range(0, 24, 3)) + " o'clock, price per kWh", style="dim")


@tariff.command("estimate")
@click.argument("tariff_id")
@click.option("--kwh", type=float, help="Energy.")
@click.option("--minutes", type=float, help="How long it charges.")
@click.option("--kw", type=float, help="Power.")
@click.option("--parking", type=float, default=0.0, help="Minutes connected after charging.")
@click.option("--at", type=click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]), help="UTC; now unless given.")
@click.option("--evse", help="Where; tells the time zone and the power.")
@click.option("--time-zone", help="Where no EVSE is named.")
@click.option("--language", default="en", show_default=True)
@server_options
@json_option
def estimate(
    tariff_id: str,
    kwh: float | None,
    minutes: float | None,
    kw: float | None,
    parking: float,
    at: datetime | None,
    evse: str | None,
    time_zone: str | None,
    language: str,
    rest: RestClient,
    as_json: bool,
) -> None:
    """What a session would cost, line by line."""
    if kwh is None and minutes is None:
        raise InvalidInputError("Say how much with --kwh, or how long with --minutes.")
    body: dict[str, Any] = {"parking_s": round(parking * 60), "language": language}
    given = {
        "energy_wh": None if kwh is None else kwh * 1000,
        "duration_s": None if minutes is None else round(minutes * 60),
        "power_w": None if kw is None else kw * 1000,
        "at": None if at is None else at.replace(tzinfo=UTC).isoformat(),
        "evse_uid": evse,
        "time_zone": time_zone,
    }
    body |= {name: value for name, value in given.items() if value is not None}
    rated = rest.request("POST", f"/v1/tariffs/{segment(tariff_id)}/estimate", body)
    if as_json:
        print_json(rated)
        return
    print_table(
        ["FROM", "UNTIL", "WHAT", "BEFORE TAXES", "TAXES", "AMOUNT"],
        [
            (
                line["start"][11:16],
                line["end"][11:16],
                line["text"],
                _cents(line["cost"]["excl"]["amount"]),
                _cents(str(Decimal(line["cost"]["incl"]["amount"]) - Decimal(line["cost"]["excl"]["amount"]))),
                _cents(line["cost"]["incl"]["amount"]),
            )
            for line in rated["lines"]
        ],
        empty="It costs nothing.",
        right=("BEFORE TAXES", "TAXES", "AMOUNT"),
    )
    due, lasted = rated["due"], timedelta(seconds=round(rated["charging_s"] + rated["parking_s"]))
    out.print(
        f"[bold]{due['incl']['amount']} {rated['currency']}[/] ({due['excl']['amount']} before taxes) for "
        f"{amount(rated['energy_wh'], 'Wh')} in {lasted}, by version {rated['tariff_version']} of '{rated['tariff_id']}'.",
        soft_wrap=True,
    )


@click.group()
def location() -> None:
    """Locations: where charging happens."""


@location.command("list")
@click.option("--query", "q", help="Looked for in id, name, address, city and postal code.")
@click.option("--near", help="LATITUDE,LONGITUDE: the nearest first.")
@click.option("--km", type=float, default=10.0, show_default=True, help="Around it.")
@click.option("--available", is_flag=True, help="Only with an EVSE that is free now.")
@server_options
@json_option
def list_locations(
    q: str | None, near: str | None, km: float, available: bool, rest: RestClient, as_json: bool
) -> None:
    """Locations with their EVSEs."""
    query: dict[str, Any] = {"q": q, "available": "true" if available else None}
    if near is not None:
        latitude, comma, longitude = near.partition(",")
        if not comma:
            raise InvalidInputError(f"'{near}' must be written as LATITUDE,LONGITUDE.")
        query |= {"latitude": latitude.strip(), "longitude": longitude.strip(), "radius_m": km * 1000}
    rows = list(rest.pages("/v1/locations", **{name: value for name, value in query.items() if value is not None}))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NAME", "PLACE", "AWAY", "EVSE", "STATUS", "CONNECTORS", "TARIFFS", "STATION"],
        [line for row in rows for line in _lines(row)],
        empty="There are no locations.",
        right=("AWAY",),
    )


def _lines(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    away = None if row["distance_m"] is None else amount(row["distance_m"], "m")
    head = (row["id"], row["name"], f"{row['address']}, {row['city']}", away)
    if not row["evses"]:
        return [(*head, None, None, None, None, None)]
    return [
        (
            *(head if number == 0 else ("", "", "", "")),
            evse["uid"],
            evse["status"],
            ", ".join(f"{one['standard']} {amount(one['max_power_w'], 'W')}" for one in evse["connectors"]),
            ", ".join(dict.fromkeys(ident for one in evse["connectors"] for ident in one["tariff_ids"])),
            f"{evse['station_id']}/{evse['ocpp_evse_id']}" if evse["station_id"] else None,
        )
        for number, evse in enumerate(row["evses"])
    ]


def conditions(restrictions: dict[str, Any]) -> str:
    """When a price holds, in short."""
    told = []
    if restrictions.get("reservation"):
        told.append("reserved" if restrictions["reservation"] == "RESERVATION" else "reservation expired")
    if restrictions.get("start_time") or restrictions.get("end_time"):
        told.append(f"{restrictions.get('start_time') or '00:00'} to {restrictions.get('end_time') or '24:00'}")
    if restrictions.get("day_of_week"):
        told.append(" ".join(day[:3].title() for day in restrictions["day_of_week"]))
    if restrictions.get("start_date") or restrictions.get("end_date"):
        told.append(f"{restrictions.get('start_date') or '…'} until {restrictions.get('end_date') or '…'}")
    for name, unit in (("kwh", "kWh"), ("current", "A"), ("power", "kW"), ("duration", "s")):
        least, most = restrictions.get(f"min_{name}"), restrictions.get(f"max_{name}")
        if least is not None and most is not None:
            told.append(f"{least} to {most} {unit}")
        elif least is not None:
            told.append(f"from {least} {unit}")
        elif most is not None:
            told.append(f"below {most} {unit}")
    return ", ".join(told) or "always"


def over_the_day(found: dict[str, Any], day: datetime) -> list[Decimal]:
    """The price of energy at each half hour of a day, by the local clock; 0 where there is none."""
    from zoneinfo import ZoneInfo

    import msgspec

    from chargeplane.domain.rating.engine import holding_at
    from chargeplane.domain.tariffs.model import Tariff

    fields = {name: found[name] for name in Tariff.__struct_fields__ if found.get(name) is not None}
    made = msgspec.convert(fields, Tariff, strict=False)
    start = day.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    prices = []
    for half in range(48):
        held = holding_at(made, ZoneInfo("UTC"), start + timedelta(minutes=30 * half))
        prices.append(held.energy.price.price if held.energy is not None else Decimal(0))
    return prices


def drawn(prices: list[Decimal], height: int = _HEIGHT) -> list[str]:
    """Bars, one a price, as high as it; the highest price stands at the left of its row."""
    most = max(prices) or Decimal(1)
    rows = []
    for row in range(height, 0, -1):
        cells = ""
        for price in prices:
            eighths = int(price / most * height * 8) - (row - 1) * 8
            cells += _BARS[min(8, max(0, eighths))]
        label = f"{most:>5.2f}" if row == height else "     "
        rows.append(f"{label} {cells}")
    return rows


def _in_short(row: dict[str, Any]) -> str:
    parts: dict[str, list[float]] = {}
    for element in row["elements"]:
        if not (element.get("restrictions") or {}).get("reservation"):
            for component in element["price_components"]:
                parts.setdefault(_UNITS[component["type"]], []).append(component["price"])
    shown = []
    for unit, prices in parts.items():
        low, high = min(prices), max(prices)
        shown.append(f"{low if low == high else f'{low}-{high}'}/{unit}")
    return ", ".join(shown)


def _step(component: dict[str, Any]) -> str | None:
    size = component.get("step_size", 1)
    if component["type"] == "FLAT" or size <= 1:
        return None
    return f"{size} Wh" if component["type"] == "ENERGY" else f"{size} s"


def _cents(text: str) -> str:
    return f"{Decimal(text):,.4f}"
