"""`chargeplane ledger`: balances and the check, over REST."""

from __future__ import annotations

import click

from chargeplane.kernel.errors import RuleError
from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient


@click.group()
def ledger() -> None:
    """What is booked: double entry."""


@ledger.command()
@server_options
@json_option
def check(rest: RestClient, as_json: bool) -> None:
    """Check the whole ledger; ends with 1 where anything is wrong."""
    report = rest.get("/v1/ledger/check")
    if as_json:
        print_json(report)
    else:
        out.print(f"{report['entries']} entries, {report['postings']} postings, closed until {report['closed_until']}.")
        for flaw in report["flaws"]:
            out.print(f"{flaw['what']}: entry {flaw['entry_id']}: {flaw['detail']}", style="red", markup=False)
    if not report["sound"]:
        raise RuleError("The ledger is not sound.")
    if not as_json:
        out.print("Sound.", style="green")


@ledger.command()
@click.option("-q", "wanted", help="Part of an account's code.")
@click.option("--until", help="What was booked before this day, as 2026-01-31.")
@server_options
@json_option
def balance(wanted: str | None, until: str | None, rest: RestClient, as_json: bool) -> None:
    """Accounts with their balances."""
    rows = list(rest.pages("/v1/ledger/accounts", q=wanted, until=until))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ACCOUNT", "TYPE", "DEBIT", "CREDIT", "BALANCE", "CURRENCY"],
        [
            (
                one["code"],
                one["type"],
                one["debit"]["amount"],
                one["credit"]["amount"],
                one["balance"]["amount"],
                one["balance"]["currency"],
            )
            for one in rows
        ],
        empty="Nothing is booked.",
        right=["DEBIT", "CREDIT", "BALANCE"],
    )
