"""`chargeplane firmware | campaign | log` against a server with a virtual station."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chargeplane.main.cli.root import run_command
from chargeplane.main.config import Config
from chargeplane.main.wiring import Server
from tests.e2e.test_files import FIRMWARE, KEY, House


@pytest.fixture
async def house(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    server = Server(
        Config(
            bind="127.0.0.1",
            http_port=0,
            ocpp_port=0,
            data_dir=str(tmp_path / "data"),
            database_url=database_url,
            admin_key=KEY,
        )
    )
    await server.start()
    made = House(server, tmp_path)
    monkeypatch.setenv("CHARGEPLANE_URL", made.base)
    monkeypatch.setenv("CHARGEPLANE_API_KEY", KEY)
    yield made
    for station in made.stations:
        await station.close()
    await made.client.aclose()
    await server.stop()


async def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = await asyncio.to_thread(run_command, list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


async def test_firmware_goes_by_campaign_to_a_station_and_its_log_comes(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[Any]
) -> None:
    station = await house.station("2.0.1")
    file = tmp_path / "fw.bin"
    file.write_bytes(FIRMWARE)
    code, said, _ = await run(capsys, "firmware", "add", str(file), "--version", "2.0.0", "--sign")
    assert code == 0, said
    assert "version 2.0.0" in said
    code, said, _ = await run(capsys, "firmware", "list")
    assert "house" in said
    ident = said.splitlines()[1].split("\t")[0]
    create = ["campaign", "create", ident, "--name", "c", "--station", station.station_id, "--wave", "50%", "--watch"]
    code, said, wrong = await run(capsys, *create)
    assert (code, "finished: 1 succeeded" in said) == (0, True), said + wrong
    code, said, _ = await run(capsys, "campaign", "list")
    campaign = said.splitlines()[1].split("\t")[0]
    code, said, _ = await run(capsys, "campaign", "show", campaign)
    row = said.splitlines()[1].split("\t")
    assert (row[:3], row[4:6]) == ([station.station_id, "1", "succeeded"], ["1.0.0", "2.0.0"])
    code, _, wrong = await run(capsys, "campaign", "pause", campaign)
    assert (code, "finished" in wrong) == (1, True)
    target = tmp_path / "my.log"
    code, said, wrong = await run(capsys, "log", station.station_id, "--to", str(target))
    assert code == 0, wrong
    assert station.station_id in target.read_text()
    assert (await run(capsys, "firmware", "delete", ident))[0] == 0
    code, _, wrong = await run(capsys, "firmware", "add", str(file), "--version", "1", "--signature", "abcd")
    assert (code, "belong together" in wrong) == (1, True)
