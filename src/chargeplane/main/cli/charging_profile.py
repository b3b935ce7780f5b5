"""`chargeplane charging-profile ...`: charging profiles over REST, and what they add up to, drawn."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 72
_HEIGHT = 6


def _of(station_id: str, path: str) -> str:
    return f"/v1/charging-stations/{segment(station_id)}/{path}"


@click.group("charging-profile")
def charging_profile() -> None:
    """Charging profiles: what stations may draw, and when."""


@charging_profile.command("list")
@click.argument("station_id")
@click.option("--state", help="wanted, installed, refused, removing, removed.")
@server_options
@json_option
def list_(station_id: str, state: str | None, rest: RestClient, as_json: bool) -> None:
    """A station's profiles, and whether it has them."""
    rows = list(rest.pages(_of(station_id, "charging-profiles") + (f"?state={state}" if state else "")))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "PURPOSE", "EVSE", "LEVEL", "LIMITS", "STATE", "BY", "REMARK"],
        [
            (
                row["id"],
                row["profile"]["purpose"],
                row["profile"]["evse_id"],
                row["profile"]["stack_level"],
                _limits(row["profile"]),
                row["state"],
                row["origin"],
                row["reason"] or "; ".join(row["changes"]),
            )
            for row in rows
        ],
        empty=f"'{station_id}' has no charging profiles.",
        right=("ID", "EVSE", "LEVEL"),
    )


def _limits(profile: dict[str, Any]) -> str:
    schedule = profile["schedules"][0]
    told = [period["limit"] for period in schedule["periods"]]
    shown = " ".join("-" if limit is None else f"{limit:g}" for limit in told[:4])
    return f"{shown}{' …' if len(told) > 4 else ''} {schedule['unit']}"


@charging_profile.command()
@click.argument("station_id")
@click.argument("profile_id", type=int)
@server_options
def show(station_id: str, profile_id: int, rest: RestClient) -> None:
    """A profile as JSON."""
    print_json(rest.request("GET", _of(station_id, f"charging-profiles/{profile_id}")))


@charging_profile.command("set")
@click.argument("station_id")
@click.argument("profile_id", type=int)
@click.option("--file", "path", type=click.Path(exists=True, path_type=Path), help="The profile as JSON.")
@click.option("--limit", type=float, help="One limit, from now on.")
@click.option("--unit", type=click.Choice(["W", "A"]), default="W", show_default=True)
@click.option("--purpose", default="ChargingStationMaxProfile", show_default=True)
@click.option("--evse", "evse_id", type=int, default=0, show_default=True, help="0: the whole station.")
@click.option("--level", "stack_level", type=int, default=0, show_default=True)
@click.option("--transaction", "transaction_id", help="The station's id of it, for a TxProfile.")
@server_options
@json_option
def set_(
    station_id: str,
    profile_id: int,
    path: Path | None,
    limit: float | None,
    unit: str,
    purpose: str,
    evse_id: int,
    stack_level: int,
    transaction_id: str | None,
    rest: RestClient,
    as_json: bool,
) -> None:
    """Set a profile: a whole one from a file, or one limit."""
    if (path is None) == (limit is None):
        raise click.UsageError("Give either --file or --limit.")
    if path is not None:
        try:
            body = json.loads(path.read_text())
        except ValueError as error:
            raise click.UsageError(f"{path} is no JSON: {error}") from None
    else:
        now = datetime.now(UTC).replace(microsecond=0).isoformat()
        body = {
            "purpose": purpose,
            "kind": "Absolute",
            "evse_id": evse_id,
            "stack_level": stack_level,
            "transaction_id": transaction_id,
            "schedules": [{"id": 1, "unit": unit, "start": now, "periods": [{"limit": limit}]}],
        }
    made = rest.request("PUT", _of(station_id, f"charging-profiles/{profile_id}"), body)
    if as_json:
        print_json(made)
        return
    out.print(f"Charging profile {profile_id} is {made['state']} at '{station_id}'.")


@charging_profile.command()
@click.argument("station_id")
@click.argument("profile_id", type=int)
@server_options
def remove(station_id: str, profile_id: int, rest: RestClient) -> None:
    """Have a profile cleared from its station."""
    gone = rest.request("DELETE", _of(station_id, f"charging-profiles/{profile_id}"))
    out.print(f"Charging profile {profile_id} is {gone['state']} at '{station_id}'.")


@charging_profile.command()
@click.argument("station_id")
@click.option("--evse", type=int, default=0, show_default=True, help="0: the whole station.")
@click.option("--hours", type=click.FloatRange(0.01, 8784), default=24.0, show_default=True)
@click.option("--unit", type=click.Choice(["W", "A"]), default="W", show_default=True)
@click.option("--ask", is_flag=True, help="Ask the station for its own, too.")
@server_options
@json_option
def composite(station_id: str, evse: int, hours: float, unit: str, ask: bool, rest: RestClient, as_json: bool) -> None:
    """What all profiles and limits add up to, as a curve."""
    duration_s = int(hours * 3600)
    asked = {"evse": evse, "duration": duration_s, "unit": unit, "ask": "true" if ask else "false"}
    found = rest.request("GET", _of(station_id, f"composite-schedule?{urlencode(asked)}"))
    if as_json:
        print_json(found)
        return
    ours, theirs = found["ours"], found["station"]
    start = datetime.fromisoformat(ours["start"])
    for name, schedule in (("computed here", ours), ("told by the station", theirs)):
        if schedule is not None:
            out.print(f"[bold]{name}[/bold], limits in {schedule['unit']}")
            for line in curve(schedule["periods"], duration_s):
                out.print(line, highlight=False)
            out.print(_axis(start, duration_s), highlight=False)
    if ask and theirs is None:
        out.print(f"The station tells none: {found['station_says']}")
    for one in found["differences"]:
        begin, end = (start + timedelta(seconds=one[name]) for name in ("start_s", "end_s"))
        out.print(
            f"{begin:%H:%M:%S} to {end:%H:%M:%S}: here {_told(one['ours'])}, the station {_told(one['theirs'])}",
            highlight=False,
        )


def _told(limit: float | None) -> str:
    return "no limit" if limit is None else f"{limit:g}"


def curve(periods: list[dict[str, Any]], duration_s: int, width: int = _WIDTH, height: int = _HEIGHT) -> list[str]:
    """Limits over time as rows of bars, the highest row first, with the scale at the left; `∞` on top where there is none."""
    values: list[float | None] = []
    for column in range(width):
        second = column * duration_s / width
        held = [period for period in periods if period["start_s"] <= second]
        values.append(held[-1]["limit"] if held else None)
    top = max((value for value in values if value is not None), default=0) or 1
    rows = []
    for row in range(height, 0, -1):
        cells = []
        for value in values:
            if value is None:
                cells.append("∞" if row == height else " ")
                continue
            eighths = round(value / top * height * 8) - (row - 1) * 8
            cells.append(_BARS[min(max(eighths, 0), 8)])
        scale = f"{top * row / height:>9.5g}" if row in (height, 1, (height + 1) // 2) else " " * 9
        rows.append(f"{scale} ┤{''.join(cells)}")
    return rows


def _axis(start: datetime, duration_s: int) -> str:
    end = start + timedelta(seconds=duration_s)
    left, right = f"{start:%m-%d %H:%M}", f"{end:%m-%d %H:%M} UTC"
    return " " * 11 + left + right.rjust(_WIDTH - len(left))


@click.group("static-limit")
def static_limit() -> None:
    """Limits that stations keep for when they are alone."""


@static_limit.command("show")
@click.argument("station_id")
@server_options
@json_option
def static_show(station_id: str, rest: RestClient, as_json: bool) -> None:
    """The limits a station keeps, and whether it has them."""
    found = rest.request("GET", _of(station_id, "static-limit"))["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["EVSE", "LIMIT", "UNIT", "HOLDS", "STATE", "AS", "REMARK"],
        [
            (
                one["evse_id"],
                f"{one['limit']:g}",
                one["unit"],
                "yes" if one["holds"] else "no",
                one["state"],
                one["purpose"],
                one["reason"] or "; ".join(one["changes"]),
            )
            for one in found
        ],
        empty=f"'{station_id}' keeps no limit.",
        right=("EVSE", "LIMIT"),
    )


@static_limit.command("set")
@click.argument("station_id")
@click.argument("limit", type=float)
@click.argument("unit", type=click.Choice(["W", "A"]))
@click.option("--evse", "evse_id", type=int, default=0, show_default=True, help="0: the whole station.")
@server_options
def static_set(station_id: str, limit: float, unit: str, evse_id: int, rest: RestClient) -> None:
    """Have a station keep a limit, also without a connection."""
    body = {"limit": limit, "unit": unit, "evse_id": evse_id}
    found = rest.request("PUT", _of(station_id, "static-limit"), body)["items"]
    state = next(one["state"] for one in found if one["evse_id"] == evse_id)
    out.print(f"The limit of {limit:g} {unit} is {state} at '{station_id}'.")


@static_limit.command("remove")
@click.argument("station_id")
@click.option("--evse", type=int, default=0, show_default=True)
@server_options
def static_remove(station_id: str, evse: int, rest: RestClient) -> None:
    """End a limit."""
    rest.request("DELETE", _of(station_id, f"static-limit?evse={evse}"))
    out.print(f"'{station_id}' keeps that limit no more.")
