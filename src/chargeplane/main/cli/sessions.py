"""`chargeplane session | cdr`: charging sessions and what they came to, over REST."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment


def _money(amount: dict[str, str] | None) -> str:
    return "-" if amount is None else f"{amount['amount']} {amount['currency']}"


def _kwh(wh: float) -> str:
    return f"{wh / 1000:.3f}"


def _when(text: str | None) -> str:
    return "-" if text is None else text[:16].replace("T", " ")


def _up_to(rest: RestClient, path: str, most: int, query: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for one in rest.pages(path, **{name: value for name, value in query.items() if value is not None}):
        found.append(one)
        if len(found) == most:
            break
    return found


@click.group()
def session() -> None:
    """Charging sessions."""


@session.command("list")
@click.option("--state", type=click.Choice(["active", "ended", "settled", "credited"]))
@click.option("--location", "location_id")
@click.option("--station", "station_id")
@click.option("--driver", "driver_id")
@click.option("--most", type=click.IntRange(1, 100_000), default=50, show_default=True)
@server_options
@json_option
def session_list(most: int, rest: RestClient, as_json: bool, **query: Any) -> None:
    """The sessions that started last."""
    rows = _up_to(rest, "/v1/sessions", most, query)
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "STATE", "STARTED (UTC)", "STATION", "EVSE", "TOKEN", "KWH", "COST"],
        [
            (
                one["id"],
                one["state"],
                _when(one["started_at"]),
                one["station_id"],
                one["location"]["evse_uid"],
                one["id_token"],
                _kwh(one["energy_wh"]),
                _money(one["cost_incl"]),
            )
            for one in rows
        ],
        empty="There are no such sessions.",
        right=["KWH", "COST"],
    )


@session.command("show")
@click.argument("ident", metavar="ID")
@click.option("--language", default="en", show_default=True)
@server_options
@json_option
def session_show(ident: str, language: str, rest: RestClient, as_json: bool) -> None:
    """A session, and every line of what it costs."""
    one = rest.get(f"/v1/sessions/{segment(ident)}")
    why = rest.get(f"/v1/sessions/{segment(ident)}/explanation", language=language)
    if as_json:
        print_json({**one, "explanation": why})
        return
    place = one["location"]
    out.print(f"Session {one['id']} ({one['state']}) at {place['name'] or place['id']}, EVSE {place['evse_uid']}")
    out.print(f"{_when(one['started_at'])} to {_when(one['stopped_at'])} UTC, {_kwh(one['energy_wh'])} kWh")
    _lines(why)
    signed = one["signed"]
    if signed is not None:
        proven = "proven" if signed["proven"] and signed["agrees"] else "not proven"
        out.print(f"Signed meter values: {signed['valid']} of {signed['values']} valid, {proven}")
        for sentence in signed["because"]:
            out.print(f"  {sentence}")


def _lines(why: dict[str, Any]) -> None:
    if why["because"] is not None:
        out.print(why["because"])
        return
    print_table(
        ["WHAT", "AMOUNT", "RESTS ON"],
        [
            (
                line["words"],
                _money(line["cost"]["incl"]),
                " to ".join(
                    dict.fromkeys(
                        str(value["ordinal"]) for value in (*line["meter_values"][:1], *line["meter_values"][-1:])
                    )
                )
                or "-",
            )
            for line in why["lines"]
        ],
        empty="Nothing is to be paid.",
        right=["AMOUNT"],
    )
    out.print(f"To be paid: {_money(why['due']['incl'])} ({_money(why['due']['excl'])} before taxes)")


@click.group()
def cdr() -> None:
    """What sessions came to."""


@cdr.command("list")
@click.option("--location", "location_id")
@click.option("--agreement", "agreement_id")
@click.option("--driver", "driver_id")
@click.option("--held", is_flag=True, help="Only those that wait for a person.")
@click.option("--most", type=click.IntRange(1, 100_000), default=50, show_default=True)
@server_options
@json_option
def cdr_list(most: int, held: bool, rest: RestClient, as_json: bool, **query: Any) -> None:
    """The CDRs whose sessions ended last."""
    rows = _up_to(rest, "/v1/cdrs", most, {**query, "held": "true" if held else None})
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "SESSION", "KIND", "ENDED (UTC)", "EVSE", "KWH", "TOTAL", "HELD"],
        [
            (
                one["id"],
                one["session_id"],
                one["kind"],
                _when(one["ended_at"]),
                one["evse_uid"],
                _kwh(one["energy_wh"]),
                _money(one["total_incl"]),
                " ".join(hold["hold"] for hold in one["holds"]) if one["held"] else "",
            )
            for one in rows
        ],
        empty="There are no such CDRs.",
        right=["KWH", "TOTAL"],
    )


@cdr.command("show")
@click.argument("ident", metavar="ID")
@server_options
@json_option
def cdr_show(ident: str, rest: RestClient, as_json: bool) -> None:
    """A CDR."""
    one = rest.get(f"/v1/cdrs/{segment(ident)}")
    if as_json:
        print_json(one)
        return
    place = one["cdr_location"]
    out.print(f"CDR {one['id']} ({one['kind']}) of session {one['session_id']}")
    out.print(f"{place['name'] or place['id']}, {place['address']}, {place['city']}; EVSE {one['evse_uid']}")
    out.print(f"{_when(one['started_at'])} to {_when(one['ended_at'])} UTC, {_kwh(one['energy_wh'])} kWh")
    for line in (one["rating"] or {"lines": []})["lines"]:
        out.print(f"  {line['text']}: {_money(line['cost']['incl'])}")
    out.print(f"Total: {_money(one['total_incl'])} ({_money(one['total_excl'])} before taxes)")
    for hold in one["holds"] if one["held"] else []:
        out.print(f"Held: {hold['because']}")
    if one["reason"]:
        out.print(f"Reason: {one['reason']}")


@cdr.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--format", "wanted", type=click.Choice(["csv", "jsonl"]), help="By the file's name unless given.")
@click.option("--from", "ended_from", help="RFC 3339; sessions that ended from then on.")
@click.option("--to", "ended_to", help="RFC 3339; and before then.")
@server_options
def cdr_export(file: Path, wanted: str | None, ended_from: str | None, ended_to: str | None, rest: RestClient) -> None:
    """Write CDRs to a file."""
    kind = wanted or ("jsonl" if file.suffix in (".jsonl", ".json") else "csv")
    query = {"format": kind, "ended_from": ended_from, "ended_to": ended_to}
    given = urlencode({name: value for name, value in query.items() if value is not None})
    rest.download(f"/v1/cdrs/export?{given}", file)
    out.print(f"Written to {file}")
