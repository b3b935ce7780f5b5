"""`chargeplane settlement` against a running server."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

from click.testing import CliRunner

from chargeplane.main.cli.root import cli
from tests.invoicing.making import Tenant, billing_tenant, cdr
from tests.invoicing.test_settlements import HOST, NOW, PER_KWH, SHARE, contract
from tests.support.rest import Rest


async def run(rest: Rest, one: Tenant, *arguments: str, fails: bool = False) -> str:
    key = one.client.headers["Authorization"].removeprefix("Bearer ")
    given = ["settlement", *arguments, "--url", rest.base_url, "--api-key", key]
    result = await asyncio.to_thread(lambda: CliRunner().invoke(cli, given))
    assert (result.exit_code != 0) is fails, result.output
    return result.output


async def test_a_statement_is_previewed_made_shown_and_paid(rest: Rest, tmp_path: Path) -> None:
    one = await billing_tenant(rest)
    agreement = await contract(rest, one, "site_host", SHARE, PER_KWH, party=HOST)
    await cdr(rest, one, driver_id=3)  # 10.00 before tax, 21.5 kWh
    until = ("--until", NOW.isoformat())
    assert json.loads(await run(rest, one, "list", "--json")) == []
    preview = await run(rest, one, "create", agreement, *until, "--dry-run")
    assert "Preview: Hof GmbH" in preview
    assert "Payable: 1.43 EUR" in preview
    assert json.loads(await run(rest, one, "list", "--json")) == []

    made = json.loads(await run(rest, one, "create", agreement, *until, "--json"))
    assert made["payable"] == {"amount": "1.43", "currency": "EUR"}
    await run(rest, one, "create", agreement, fails=True)  # that time is settled already

    listed = await run(rest, one, "list", "--agreement", agreement, "--open")
    assert made["number"] in listed
    target = tmp_path / "statement.pdf"
    shown = await run(rest, one, "show", made["id"], "--pdf", str(target))
    assert "revenue_share" in shown
    assert "energy_share" in shown
    assert target.read_bytes().startswith(b"%PDF-")

    assert "Payable: 1.43 EUR" in await run(rest, one, "pay", made["id"], "--reference", "SEPA 7")
    assert made["number"] not in await run(rest, one, "list", "--open")
    (paid,) = json.loads(await run(rest, one, "list", "--json"))
    assert (paid["paid_reference"], paid["paid_at"] is not None) == ("SEPA 7", True)
    await run(rest, one, "pay", made["id"], fails=True)  # once


async def test_nothing_to_settle_is_said(rest: Rest) -> None:
    one = await billing_tenant(rest)
    agreement = await contract(rest, one, "site_host", SHARE, party=HOST)
    late = (NOW - timedelta(days=1)).isoformat()
    await run(rest, one, "create", agreement, "--until", late, fails=True)
    assert json.loads(await run(rest, one, "list", "--json")) == []
    await run(rest, one, "show", "999999", fails=True)
