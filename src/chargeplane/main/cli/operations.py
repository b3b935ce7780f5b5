"""`chargeplane performance` and `chargeplane work`."""

from __future__ import annotations

from typing import Any

import click

from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient

_BAR = 20


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.1f} %"


def _bar(value: float | None) -> str:
    return "" if value is None else ("█" * round(value * _BAR)).ljust(_BAR, "·")


@click.command()
@click.option(
    "--by",
    type=click.Choice(["day", "station", "evse", "location", "model", "firmware"]),
    default="day",
    show_default=True,
)
@click.option("--from", "since", help="First UTC day, as 2026-01-31; 28 days ago unless given.")
@click.option("--to", "until", help="The day behind the last one.")
@click.option("--station", "station_id", help="Of this station only.")
@click.option("--location", "location_id", help="Of this location only.")
@server_options
@json_option
def performance(
    by: str,
    since: str | None,
    until: str | None,
    station_id: str | None,
    location_id: str | None,
    rest: RestClient,
    as_json: bool,
) -> None:
    """How stations do: uptime, success, utilisation, energy, revenue, repair."""
    asked = {"by": by, "from": since, "to": until, "station_id": station_id, "location_id": location_id}
    found = rest.get("/v1/performance", **asked)
    if as_json:
        print_json(found)
        return
    print_table(
        [by.upper(), "UPTIME", "", "SUCCESS", "USE", "SESSIONS", "KWH", "REVENUE", "REPAIR"],
        [
            (
                one["group"] or "?",
                _percent(one["uptime"]),
                _bar(one["uptime"]),
                _percent(one["success_rate"]),
                _percent(one["utilisation"]),
                one["sessions"],
                f"{float(one['energy_wh']) / 1000:.1f}",
                " ".join(f"{money['amount']} {money['currency']}" for money in one["revenue"]),
                "" if one["mean_time_to_repair_s"] is None else f"{one['mean_time_to_repair_s'] / 3600:.1f} h",
            )
            for one in found["items"]
        ],
        empty="Nothing was computed for these days.",
    )


@click.group()
def work() -> None:
    """What needs a person, most revenue at risk first."""


@work.command("list")
@click.option("--kind", help="Of this kind only.")
@click.option("--station", "station_id", help="Of this station only.")
@click.option("--resolved", is_flag=True, help="What is over.")
@server_options
@json_option
def work_list(kind: str | None, station_id: str | None, resolved: bool, rest: RestClient, as_json: bool) -> None:
    """What needs a person."""
    rows = list(rest.pages("/v1/work-items", kind=kind, station_id=station_id, resolved="true" if resolved else None))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "AT RISK A DAY", "KIND", "STATION", "EVSE", "STATE", "SINCE", "WHAT"],
        [
            (
                one["id"],
                "" if one["risk"]["amount"] is None else f"{one['risk']['amount']} {one['risk']['currency']}",
                one["kind"],
                one["station_id"],
                one["evse_id"],
                one["assignee"] or one["state"],
                one["seen_at"][:16].replace("T", " "),
                one["title"] if one["words"] is None else one["words"]["text"],
            )
            for one in rows
        ],
        empty="Nothing needs a person.",
    )


@work.command("show")
@click.argument("item_id")
@server_options
@json_option
def work_show(item_id: str, rest: RestClient, as_json: bool) -> None:
    """One of them, with its history."""
    found: dict[str, Any] = rest.get(f"/v1/work-items/{item_id}")
    if as_json:
        print_json(found)
        return
    item = found["item"]
    out.print(f"{item['kind']}  {item['station_id'] or ''}  {item['title']}", soft_wrap=True, markup=False)
    if item["words"] is not None:
        out.print(f"{item['words']['text']} {item['words']['todo']}", soft_wrap=True, markup=False)
    for line in found["history"]:
        told = f"{line['at'][:19].replace('T', ' ')}  {line['what']}  {line['actor']}  {line['note'] or ''}"
        out.print(told, soft_wrap=True, markup=False)
    if item["actions"]:
        out.print(f"May be done: {', '.join(item['actions'])}", soft_wrap=True, markup=False)


@work.command("do")
@click.argument("item_id")
@click.argument("action", type=click.Choice(["acknowledge", "reset", "trigger_status", "unlock", "stop", "retry"]))
@server_options
@json_option
def work_do(item_id: str, action: str, rest: RestClient, as_json: bool) -> None:
    """Do something about one of them."""
    if action == "acknowledge":
        item = rest.request("POST", f"/v1/work-items/{item_id}/acknowledge", {})
    else:
        item = rest.request("POST", f"/v1/work-items/{item_id}/actions", {"action": action})
    if as_json:
        print_json(item)
        return
    out.print(f"Done; the item is {item['state']}.", soft_wrap=True)
