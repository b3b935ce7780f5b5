"""`chargeplane invoice | billing`: invoices and billing runs, over REST."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chargeplane.kernel.errors import RuleError
from chargeplane.main.cli.terminal import err, json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment

_LOOK_S: Final = 0.5


@click.group()
def invoice() -> None:
    """Invoices, receipts and credit notes."""


@invoice.command("list")
@click.option("--state", help="draft, issued, overdue, paid, credited or written_off.")
@click.option("-q", "wanted", help="Part of a number or of a customer's name.")
@server_options
@json_option
def invoice_list(state: str | None, wanted: str | None, rest: RestClient, as_json: bool) -> None:
    """Invoices, newest first."""
    rows = list(rest.pages("/v1/invoices", state=state, q=wanted))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NUMBER", "KIND", "STATE", "CUSTOMER", "ISSUED", "DUE", "GROSS", "OPEN", "CURRENCY"],
        [
            (
                one["id"],
                one["number"],
                one["kind"],
                one["state"],
                one["customer"],
                one["issued_on"],
                one["due_on"],
                one["gross"]["amount"],
                one["open"]["amount"],
                one["gross"]["currency"],
            )
            for one in rows
        ],
        empty="There are no invoices.",
        right=["GROSS", "OPEN"],
    )


@invoice.command("show")
@click.argument("invoice_id")
@server_options
@json_option
def invoice_show(invoice_id: str, rest: RestClient, as_json: bool) -> None:
    """An invoice with its lines."""
    found = rest.get(f"/v1/invoices/{segment(invoice_id)}")
    if as_json:
        print_json(found)
        return
    out.print(f"{found['kind']} {found['number'] or '(draft)'}, {found['state']}, {found['customer']}", markup=False)
    print_table(
        ["#", "TEXT", "TAX %", "NET"],
        [(one["number"], one["text"], one["tax"]["percent"], one["net"]["amount"]) for one in found["lines"]],
        empty="It has no lines.",
        right=["TAX %", "NET"],
    )
    for name in ("net", "tax", "gross", "open"):
        out.print(f"{name:>6} {found[name]['amount']:>12} {found[name]['currency']}")


@invoice.command("pdf")
@click.argument("invoice_id")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File; else its number.pdf.")
@server_options
def invoice_pdf(invoice_id: str, output: Path | None, rest: RestClient) -> None:
    """Fetch an invoice as PDF."""
    found = rest.get(f"/v1/invoices/{segment(invoice_id)}")
    name = "".join(char if char.isalnum() or char in "-._" else "_" for char in found["number"] or invoice_id)
    place = output or Path(f"{name}.pdf")
    rest.download(f"/v1/invoices/{segment(invoice_id)}/pdf", place)
    out.print(str(place), markup=False)


@click.group()
def billing() -> None:
    """Billing runs."""


@billing.command("run")
@click.option("--until", help="Bill what ended before, RFC 3339; else now.")
@click.option("--key", help="The same key is the same run.")
@click.option("--drafts", is_flag=True, help="Leave drafts; issue nothing.")
@click.option("--dry-run", is_flag=True, help="Only show what would be billed.")
@server_options
@json_option
def billing_run(
    until: str | None, key: str | None, drafts: bool, dry_run: bool, rest: RestClient, as_json: bool
) -> None:
    """Bill agreements, guests and drivers; wait until it is done."""
    order: dict[str, Any] = {"until": until, "key": key, "issue": not drafts}
    if dry_run:
        _show(rest.request("POST", "/v1/billing-runs/preview", order)["items"], as_json)
        return
    run = rest.request("POST", "/v1/billing-runs", order)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("Billing", total=run["items"], completed=run["done"])
        while run["finished_at"] is None:
            time.sleep(_LOOK_S)
            run = rest.get(f"/v1/billing-runs/{run['id']}")
            progress.update(task, total=run["items"], completed=run["done"])
    if as_json:
        print_json(run)
    else:
        out.print(f"Run {run['id']}: {run['done']} of {run['items']} done, {run['failed']} failed.")
        for item in rest.pages(f"/v1/billing-runs/{run['id']}/items"):
            if item["reason"] and item["state"] != "nothing":
                out.print(f"{item['subject']}: {item['reason']}", style="yellow", markup=False)
    if run["failed"]:
        raise RuleError(f"{run['failed']} items failed; see the reasons, and have them again by POST .../retry.")


def _show(found: list[Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_table(
        ["SUBJECT", "LINES", "NET", "TAX", "GROSS", "REASON"],
        [
            (
                one["subject"],
                len(one["lines"]),
                one["net"] and one["net"]["amount"],
                one["tax"] and one["tax"]["amount"],
                one["gross"] and one["gross"]["amount"],
                one["reason"],
            )
            for one in found
        ],
        empty="There is nothing to bill.",
        right=["LINES", "NET", "TAX", "GROSS"],
    )
