"""`chargeplane booking search | create | list | cancel | timeline`: EVSEs for an interval, over REST."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import click
from rich.text import Text

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment

_WIDTH: Final = 72


@click.group()
def booking() -> None:
    """EVSEs booked for an interval."""


def _instant(text: str | None, name: str) -> str | None:
    """`14:30` today or tomorrow, `+30m`, `+2h`, or RFC 3339; as RFC 3339."""
    if text is None:
        return None
    now = datetime.now(UTC)
    try:
        if text.startswith("+") and text[-1] in "mh":
            length = timedelta(**{"minutes" if text[-1] == "m" else "hours": float(text[1:-1])})
            at = now + length
        elif len(text) == 5 and text[2] == ":":
            local = datetime.now().astimezone()
            at = local.replace(hour=int(text[:2]), minute=int(text[3:]), second=0, microsecond=0)
            at = (at if at > local else at + timedelta(days=1)).astimezone(UTC)
        else:
            at = datetime.fromisoformat(text)
            at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{name} '{text}' is no time: write 14:30, +30m, +2h or 2026-01-31T14:30:00Z."
        ) from None
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _local(text: str | None) -> str:
    return "" if text is None else f"{datetime.fromisoformat(text).astimezone():%d.%m. %H:%M}"


@booking.command("search")
@click.option("--near", help="LATITUDE,LONGITUDE")
@click.option("--radius", type=float, default=10_000, show_default=True, help="Metres.")
@click.option("--location", "location_id")
@click.option("--from", "starts_at", default=None, help="14:30, +30m, or RFC 3339; now where it is left out.")
@click.option("--to", "ends_at", default=None)
@click.option("--standard", help="Of the connector, such as IEC_62196_T2_COMBO.")
@click.option("--min-power", type=int, help="W")
@click.option("--max-price", type=float, help="Of the session, with taxes.")
@click.option("--energy", type=float, help="Wh that the car will take.")
@click.option("--id-token", help="Whose agreement prices it.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@server_options
@json_option
def search(
    near: str | None,
    radius: float,
    location_id: str | None,
    starts_at: str | None,
    ends_at: str | None,
    standard: str | None,
    min_power: int | None,
    max_price: float | None,
    energy: float | None,
    id_token: str | None,
    limit: int,
    rest: RestClient,
    as_json: bool,
) -> None:
    """EVSEs that are free for an interval, the nearest first, with prices."""
    wanted: dict[str, Any] = {
        "location_id": location_id,
        "starts_at": _instant(starts_at, "--from"),
        "ends_at": _instant(ends_at, "--to"),
        "standard": standard,
        "min_power_w": min_power,
        "max_price": max_price,
        "energy_wh": energy,
        "id_token": id_token,
        "limit": limit,
    }
    if near is not None:
        latitude, comma, longitude = near.partition(",")
        if not comma:
            raise InvalidInputError("Write --near as LATITUDE,LONGITUDE, such as 52.529,13.401.")
        wanted |= {"latitude": latitude.strip(), "longitude": longitude.strip(), "radius_m": radius}
    query = {name: str(value) for name, value in wanted.items() if value is not None}
    found = rest.request("GET", f"/v1/bookings/offers?{urlencode(query)}")["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["EVSE", "LOCATION", "M", "CONNECTOR", "KW", "PRICE", "FREE UNTIL"],
        [
            (
                one["evse_uid"],
                one["location_name"] or one["location_id"],
                one["distance_m"],
                one["standard"],
                f"{one['max_power_w'] / 1000:g}",
                _price(one["price"] and one["price"]["incl"]),
                _local(one["free_until"]) or "open end",
            )
            for one in found
        ],
        empty="Nothing is free then that fits.",
        right=("M", "KW", "PRICE"),
    )


def _price(money: dict[str, str] | None) -> str:
    return "" if money is None else f"{money['amount']} {money['currency']}"


@booking.command("create")
@click.argument("id_token")
@click.option("--evse", "evse_uid")
@click.option("--location", "location_id", help="The first EVSE there that fits.")
@click.option("--from", "starts_at", help="14:30, +30m, or RFC 3339; now where it is left out.")
@click.option("--to", "ends_at", required=True)
@click.option("--standard")
@click.option("--hold", is_flag=True, help="Only held, until it is confirmed.")
@server_options
@json_option
def create(
    id_token: str,
    evse_uid: str | None,
    location_id: str | None,
    starts_at: str | None,
    ends_at: str,
    standard: str | None,
    hold: bool,
    rest: RestClient,
    as_json: bool,
) -> None:
    """Book an EVSE for an id token."""
    body: dict[str, Any] = {
        "id_token": id_token,
        "evse_uid": evse_uid,
        "location_id": location_id,
        "starts_at": _instant(starts_at, "--from"),
        "ends_at": _instant(ends_at, "--to"),
        "standard": standard,
        "confirm": not hold,
    }
    made = rest.request("POST", "/v1/bookings", {name: value for name, value in body.items() if value is not None})
    if as_json:
        print_json(made)
        return
    price = f", about {_price(made['price'])}" if made["price"] else ""
    out.print(
        f"Booking {made['id']}: '{made['evse_uid']}' from {_local(made['starts_at'])} to {_local(made['ends_at'])}, "
        f"{made['state']}{price}."
    )


@booking.command("list")
@click.option("--state")
@click.option("--location", "location_id")
@click.option("--id-token")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@server_options
@json_option
def list_(
    state: str | None, location_id: str | None, id_token: str | None, limit: int, rest: RestClient, as_json: bool
) -> None:
    """Bookings, newest first."""
    query = {"state": state, "location_id": location_id, "id_token": id_token, "limit": str(limit)}
    wanted = {name: value for name, value in query.items() if value is not None}
    found = rest.request("GET", f"/v1/bookings?{urlencode(wanted)}")["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["ID", "STATE", "EVSE", "FROM", "TO", "ID TOKEN", "KEPT BY", "REMARK"],
        [
            (
                one["id"],
                one["state"],
                one["evse_uid"],
                _local(one["starts_at"]),
                _local(one["ends_at"]),
                one["id_token"],
                one["kept_by"],
                one["reason"],
            )
            for one in found
        ],
        empty="There are no bookings.",
        right=("ID",),
    )


@booking.command("cancel")
@click.argument("booking_id")
@click.option("--reason")
@click.option("--waive-fee", is_flag=True)
@server_options
def cancel(booking_id: str, reason: str | None, waive_fee: bool, rest: RestClient) -> None:
    """Give a booked EVSE free."""
    body = {"reason": reason, "waive_fee": waive_fee}
    made = rest.request("POST", f"/v1/bookings/{segment(booking_id)}/cancel", body)
    fees = ", ".join(_price(one["due_incl"]) for one in made["charges"])
    out.print(f"Booking {made['id']} is canceled{f'; it costs {fees}' if fees else ''}.")


@booking.command("timeline")
@click.argument("location_id")
@click.option("--from", "since", help="14:30, +30m, or RFC 3339; now where it is left out.")
@click.option("--hours", type=click.IntRange(1, 744), default=12, show_default=True)
@server_options
@json_option
def timeline(location_id: str, since: str | None, hours: int, rest: RestClient, as_json: bool) -> None:
    """When the EVSEs of a location are booked, drawn."""
    start = datetime.fromisoformat(_instant(since, "--from") or datetime.now(UTC).isoformat())
    end = start + timedelta(hours=hours)
    query = {"location_id": location_id, "from": start.isoformat(), "to": end.isoformat()}
    found = rest.request("GET", f"/v1/bookings/timeline?{urlencode(query)}")["items"]
    if as_json:
        print_json(found)
        return
    widest = max((len(one["evse_uid"]) for one in found), default=0)
    width = max(24, min(_WIDTH, out.width - widest - 4)) if out.is_terminal else _WIDTH
    for one in found:
        name = one["evse_uid"].ljust(widest + 1)
        cells = drawn(one["taken"], start, end, width)
        out.print(Text.assemble((name, "bold"), "│", *cells, "│"), soft_wrap=True)
    left, right = f"{start.astimezone():%d.%m. %H:%M}", f"{end.astimezone():%d.%m. %H:%M}"
    out.print(" " * (widest + 2) + left + right.rjust(width - len(left)), style="dim", soft_wrap=True)
    if not found:
        out.print(f"'{location_id}' has no EVSEs.", style="dim")


def drawn(taken: list[dict[str, Any]], start: datetime, end: datetime, width: int = _WIDTH) -> list[tuple[str, str]]:
    """A line of time: what is booked as blocks, one at least for each booking; `▓` where it is in use, `█` where it is to come.

    Args:
        taken: `starts_at`, `until`, `state`, as REST gives them.
        width: columns.
    """
    cells = [("·", "green")] * width
    second = (end - start).total_seconds() / width
    for one in taken:
        first = int((datetime.fromisoformat(one["starts_at"]) - start).total_seconds() // second)
        last = int(-(-(datetime.fromisoformat(one["until"]) - start).total_seconds() // second))
        mark = ("▓", "cyan") if one["state"] == "used" else ("█", "magenta")
        for place in range(max(first, 0), min(max(last, first + 1), width)):
            cells[place] = mark
    return cells
