"""`chargeplane agreement ...`: service agreements over REST."""

from __future__ import annotations

from typing import Any

import click
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment

_PATH = "/v1/service-agreements"
_STYLES = {
    "active": "green",
    "accepted": "cyan",
    "proposed": "yellow",
    "suspended": "red",
    "ending": "yellow",
    "applies": "bold green",
    "lost": "yellow",
    "refused": "dim",
}


def _day(text: str | None) -> str:
    return "" if text is None else text[:16].replace("T", " ")


def _party(row: dict[str, Any], role: str) -> str:
    party = next((one for one in row["parties"] if one["role"] == role), None)
    if party is None:
        return ""
    named: str = party.get("name") or party.get("id") or party["kind"]
    return named


@click.group()
def agreement() -> None:
    """Service agreements: who charges on what terms."""


@agreement.command("list")
@click.option("--status", help="draft, proposed, accepted, active, suspended, ending, ended, closed, ...")
@click.option("--kind", help="driver_plan, site_host, fleet, roaming_bilateral, hub, maintenance_sla.")
@click.option("--party", help="Id of a party.")
@click.option(
    "--sort", type=click.Choice(["-id", "id", "number", "starts_at", "ends_at"]), default="-id", show_default=True
)
@server_options
@json_option
def list_(status: str | None, kind: str | None, party: str | None, sort: str, rest: RestClient, as_json: bool) -> None:
    """Agreements as of now."""
    rows = list(rest.pages(_PATH, status=status, kind=kind, party=party, sort=sort))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NUMBER", "NAME", "KIND", "STATUS", "VERSION", "CONSUMER", "FROM", "UNTIL"],
        [
            (
                row["id"],
                row["number"],
                row["name"],
                row["kind"],
                row["status"],
                row["version"],
                _party(row, "consumer"),
                _day(row["starts_at"]),
                _day(row["ends_at"]),
            )
            for row in rows
        ],
        empty="There are no agreements.",
        right=("ID", "VERSION"),
    )


@agreement.command("show")
@click.argument("agreement_id")
@server_options
@json_option
def show(agreement_id: str, rest: RestClient, as_json: bool) -> None:
    """One agreement with its terms, and what can be done to it."""
    row = rest.get(f"{_PATH}/{segment(agreement_id)}")
    usage = rest.get(f"{_PATH}/{segment(agreement_id)}/usage")
    if as_json:
        print_json({**row, "usage": usage})
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    status = Text(row["status"], style=_STYLES.get(row["status"], ""))
    if row["status_reason"]:
        status.append(f" ({row['status_reason']})", style="dim")
    grid.add_row("status", status)
    grid.add_row("kind", f"{row['kind']}, version {row['version']}, {row['currency']}, {row['time_zone']}")
    grid.add_row("period", f"{_day(row['starts_at']) or 'by hand'} to {_day(row['ends_at']) or 'open'}")
    for party in row["parties"]:
        grid.add_row(party["role"], " ".join(filter(None, (party["kind"], party.get("id"), party.get("name")))))
    for entry in row["scope"]:
        word = "not " if entry.get("exclude") else ""
        grid.add_row("covers", f"{word}{entry['kind']} {entry.get('value', '')}")
    for item in row["items"]:
        grid.add_row(item["type"], _words(item))
    for name, value in row["limits"].items():
        grid.add_row(f"limit: {name}", _value(value))
    month = f"{usage['month_energy_wh'] / 1000:.3f} kWh this month, {usage['open_at_a_time']} sessions open"
    grid.add_row("used", month)
    grid.add_row("allowed", ", ".join(row["allowed_actions"]) or "nothing more")
    title = f"{row['number']}{': ' + row['name'] if row['name'] else ''}"
    out.print(Panel(grid, title=title, title_align="left", expand=False))


def _value(value: Any) -> str:
    return f"{value['amount']} {value['currency']}" if isinstance(value, dict) and "amount" in value else str(value)


def _words(item: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in item.items() if name != "type")


@agreement.command("resolve")
@click.option("--id-token", help="Of the driver.")
@click.option("--driver", "driver_id")
@click.option("--evse", "evse_uid", help="Uid of the EVSE.")
@click.option("--station", "station_id")
@click.option("--location", "location_id")
@click.option("--at", help="RFC 3339; now unless given.")
@server_options
@json_option
def resolve(rest: RestClient, as_json: bool, **asked: str | None) -> None:
    """Which agreement applies to a token or a driver at a place, and why."""
    found = rest.get(f"{_PATH}/resolve", **asked)
    if as_json:
        print_json(found)
        return
    print_table(
        ["NUMBER", "VERSION", "VERDICT", "PLACE", "WHO", "PRIORITY", "REASON"],
        [
            (
                one["number"],
                one["version"],
                one["verdict"],
                one["place"],
                one["who"],
                one["priority"],
                one["reason"],
            )
            for one in found["candidates"]
        ],
        empty="No agreement was even considered.",
        right=("VERSION", "PRIORITY"),
    )
    applies = found["applies"]
    if applies is None:
        out.print("No agreement applies.", style="yellow")
        return
    out.print(
        Text.assemble(
            ("Applies: ", "bold green"),
            f"{applies['number']} version {applies['version']}, {len(applies['items'])} items",
        )
    )
