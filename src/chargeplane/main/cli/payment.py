"""`chargeplane payment` and `simulate-payments`: payments over REST, and a provider to try them with."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment


def _money(value: dict[str, str] | None) -> str:
    return "" if value is None else f"{value['amount']} {value['currency']}"


@click.group()
def payment() -> None:
    """Payments of sessions."""


@payment.command("list")
@click.option("--state", help="created, requires_action, authorized, capturing, captured, ...")
@click.option("--session", "session_id", help="Of one session.")
@click.option("--provider", help="By one provider.")
@server_options
@json_option
def payment_list(
    state: str | None, session_id: str | None, provider: str | None, rest: RestClient, as_json: bool
) -> None:
    """Payments, newest first."""
    query = {"state": state, "session_id": session_id, "provider": provider}
    rows = list(rest.pages("/v1/payments", **{name: value for name, value in query.items() if value}))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "STATE", "PROVIDER", "HELD", "CAPTURED", "REFUNDED", "SESSION", "WITH"],
        [
            (
                one["id"],
                one["state"],
                one["provider"],
                _money(one["authorized"]),
                _money(one["captured"]),
                _money(one["refunded"]),
                one["session_id"],
                one["method"],
            )
            for one in rows
        ],
        empty="There are no payments.",
        right=["HELD", "CAPTURED", "REFUNDED"],
    )


@payment.command("show")
@click.argument("payment_id")
@server_options
@json_option
def payment_show(payment_id: str, rest: RestClient, as_json: bool) -> None:
    """A payment with what its provider was asked for."""
    found = rest.get(f"/v1/payments/{segment(payment_id)}")
    if as_json:
        print_json(found)
        return
    _show(found)


@payment.command("refund")
@click.argument("payment_id")
@click.option("--amount", help="In major units; all that is left unless given.")
@click.option("--reason", required=True)
@server_options
@json_option
def payment_refund(payment_id: str, amount: str | None, reason: str, rest: RestClient, as_json: bool) -> None:
    """Give back what was captured, or a part of it."""
    path = f"/v1/payments/{segment(payment_id)}"
    body: dict[str, Any] = {"reason": reason}
    if amount is not None:
        try:
            value = Decimal(amount)
        except InvalidOperation:
            raise click.BadParameter(f"'{amount}' is no amount.", param_hint="--amount") from None
        currency = rest.get(path)["payment"]["hold"]["currency"]
        body["amount"] = {"amount": str(value), "currency": currency}
    found = rest.request("POST", f"{path}/refund", body)
    if as_json:
        print_json(found)
        return
    _show(found)


def _show(found: dict[str, Any]) -> None:
    one = found["payment"]
    out.print(f"Payment {one['id']}: {one['state']} by {one['provider']}")
    for name in ("hold", "authorized", "captured", "refunded", "uncollected"):
        out.print(f"  {name:<12} {_money(one[name])}")
    print_table(
        ["OPERATION", "AMOUNT", "STATE", "ASKED", "ERROR"],
        [
            (step["kind"], _money(step["amount"]), step["state"], step["attempts"], step["error"])
            for step in found["operations"]
        ],
        empty="Its provider was asked for nothing.",
        right=["AMOUNT", "ASKED"],
    )


@click.command("simulate-payments", short_help="Run a payment provider to try payments with.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True)
@click.option(
    "--hold-days", type=click.FloatRange(0.001, 365), default=7.0, show_default=True, help="How long it holds."
)
@click.option("--public-url", help="Where payers reach it; its own address unless given.")
def simulate_payments(host: str, port: int, hold_days: float, public_url: str | None) -> None:
    """Run a payment provider with a pay page, a second factor and signed webhooks. No money moves. See docs/payments.md."""
    asyncio.run(_simulate(host, port, hold_days, public_url))


async def _simulate(host: str, port: int, hold_days: float, public_url: str | None) -> None:
    from chargeplane.simulator.payments import PaymentSimulator

    simulator = PaymentSimulator(host=host, port=port, holds_for=timedelta(days=hold_days), public_url=public_url)
    await simulator.start()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    out.print(f"Simulated payments at {simulator.url} (no money moves; Ctrl-C ends)")
    with contextlib.suppress(asyncio.CancelledError):
        await told.wait()
    await simulator.stop()
