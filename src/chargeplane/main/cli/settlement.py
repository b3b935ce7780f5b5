"""`chargeplane settlement`: statements of site hosts and roaming partners, over REST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment


@click.group()
def settlement() -> None:
    """What site hosts get, and how we stand with roaming partners."""


@settlement.command("list")
@click.option("--agreement", help="Id of an agreement.")
@click.option("--open", "is_open", is_flag=True, help="Only those that are not paid.")
@server_options
@json_option
def settlement_list(agreement: str | None, is_open: bool, rest: RestClient, as_json: bool) -> None:
    """Statements, newest first."""
    rows = list(rest.pages("/v1/partner-statements", agreement_id=agreement, paid=False if is_open else None))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NUMBER", "KIND", "PARTNER", "UNTIL", "SESSIONS", "KWH", "PAYABLE", "CURRENCY", "PAID"],
        [
            (
                one["id"],
                one["number"],
                one["kind"],
                one["name"],
                one["period_end"][:10],
                one["sessions"],
                one["energy_kwh"],
                one["payable"]["amount"],
                one["payable"]["currency"],
                (one["paid_at"] or "")[:10],
            )
            for one in rows
        ],
        empty="There are no statements.",
        right=["SESSIONS", "KWH", "PAYABLE"],
    )


@settlement.command()
@click.argument("agreement_id")
@click.option(
    "--until", help="What ended before this moment, as 2026-02-01T00:00:00+01:00; else the last whole billing cycle."
)
@click.option("--dry-run", is_flag=True, help="Show what it would say, write nothing.")
@server_options
@json_option
def create(agreement_id: str, until: str | None, dry_run: bool, rest: RestClient, as_json: bool) -> None:
    """Settle an agreement for what ended since its last statement."""
    body = {"agreement_id": agreement_id} | ({} if until is None else {"until": until})
    _show(rest.request("POST", "/v1/partner-statements" + ("/preview" if dry_run else ""), body), as_json)


@settlement.command()
@click.argument("statement_id")
@click.option(
    "--pdf", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the document to this file."
)
@server_options
@json_option
def show(statement_id: str, target: Path | None, rest: RestClient, as_json: bool) -> None:
    """A statement, line by line."""
    path = f"/v1/partner-statements/{segment(statement_id)}"
    if target is not None:
        rest.download(f"{path}/pdf", target)
    _show(rest.get(path), as_json)


@settlement.command()
@click.argument("statement_id")
@click.option("--reference", help="Of the bank transfer.")
@server_options
@json_option
def pay(statement_id: str, reference: str | None, rest: RestClient, as_json: bool) -> None:
    """Note that a statement was paid."""
    _show(
        rest.request("POST", f"/v1/partner-statements/{segment(statement_id)}/pay", {"reference": reference}), as_json
    )


def _show(said: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(said)
        return
    out.print(f"{said['number'] or 'Preview'}: {said['name']}, up to {said['period_end']}", markup=False)
    print_table(
        ["LINE", "NAME", "SESSIONS", "KWH", "OF", "PERCENT", "PER KWH", "AMOUNT"],
        [
            (
                line["kind"],
                line["name"],
                line["sessions"],
                line["energy_kwh"],
                "" if line["base"] is None else line["base"]["amount"],
                line["percent"] or "",
                "" if line["per_kwh"] is None else line["per_kwh"]["amount"],
                line["amount"]["amount"],
            )
            for line in said["lines"]
        ],
        empty="Nothing.",
        right=["SESSIONS", "KWH", "OF", "PERCENT", "PER KWH", "AMOUNT"],
    )
    out.print(f"Payable: {said['payable']['amount']} {said['payable']['currency']}", markup=False)
