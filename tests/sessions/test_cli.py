"""`chargeplane session` and `chargeplane cdr` against a running server."""

from __future__ import annotations

import asyncio
from pathlib import Path

from click.testing import CliRunner

from chargeplane.main.cli.root import cli
from tests.sessions.making import ENERGY, Site, site
from tests.support.charging_house import ChargingHouse


async def run(made: Site, *arguments: str) -> str:
    client = made.tenant.client
    base = str(client.base_url).removesuffix("/").removesuffix("/v1")
    key = client.headers["Authorization"].removeprefix("Bearer ")
    given = [*arguments, "--url", base, "--api-key", key]
    result = await asyncio.to_thread(lambda: CliRunner().invoke(cli, given))
    assert result.exit_code == 0, result.output
    return result.output


async def test_sessions_and_cdrs_are_shown_and_exported(house: ChargingHouse, tmp_path: Path) -> None:
    made = await site(house, ENERGY)
    tag = (await made.tenant.token())["id_token"]
    station = await made.station("1.6")
    await station.charge(id_token=tag, energy_wh=10_000, meter_interval_s=600)
    (cdr,) = await made.settled()
    assert "settled" in await run(made, "session", "list", "--state", "settled")
    shown = await run(made, "session", "show", cdr["session_id"])
    assert "To be paid: 6.00 EUR (5.00 EUR before taxes)" in shown
    assert "original" in await run(made, "cdr", "list")
    assert cdr["session_id"] not in (await run(made, "cdr", "list", "--held")).split()
    assert "Total: 6.00 EUR" in await run(made, "cdr", "show", cdr["id"])
    assert cdr["id"] in await run(made, "cdr", "show", cdr["id"], "--json")
    file = tmp_path / "cdrs.jsonl"
    await run(made, "cdr", "export", str(file))
    assert file.read_text().count("\n") == 1
