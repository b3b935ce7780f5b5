"""`chargeplane station rotate-password | profile`, `certificates` and `security-events` against a server with a virtual station."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chargeplane.main.cli.root import run_command
from chargeplane.main.wiring import Server
from tests.support.security import KEY, PASSWORD, House, config_of


@pytest.fixture
async def house(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    server = Server(config_of(database_url, str(tmp_path / "data")))
    await server.start()
    assert server.http is not None
    base = f"http://127.0.0.1:{server.http.port}"
    monkeypatch.setenv("CHARGEPLANE_URL", base)
    monkeypatch.setenv("CHARGEPLANE_API_KEY", KEY)
    async with httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
        made = House(server, client, (await client.get("/v1/certificate-authority")).json()["root"])
        yield made
        await made.close()
    await server.stop()


async def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = await asyncio.to_thread(run_command, list(arguments))
    captured = capsys.readouterr()
    return code, captured.out + captured.err


async def test_password_and_profile_of_a_station_and_what_it_trusts(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[Any]
) -> None:
    station = await house.station("2.0.1")
    name = station.station_id
    code, said = await run(capsys, "station", "rotate-password", name)
    assert code == 0, said
    assert station.password != PASSWORD
    code, said = await run(capsys, "station", "profile", name, "2", "--address", house.secure)
    assert code == 0, said
    assert (await house.view(station))["security_profile"] == 2
    code, said = await run(capsys, "station", "profile", name, "1")
    assert code == 1, said
    code, said = await run(capsys, "certificates", "installed", name, "--refresh")
    assert (code, "CSMSRootCertificate" in said) == (0, True), said
    root = tmp_path / "root.pem"
    root.write_text(house.root)
    code, said = await run(capsys, "certificates", "install", name, str(root), "--use", "ManufacturerRootCertificate")
    assert code == 0, said
    code, said = await run(capsys, "certificates", "authority")
    assert code == 0, said
    code, said = await run(capsys, "certificates", "list", "--station", name)
    assert code == 0, said
    assert not await house.let_in(station, "not-the-password-of-it")
    async with asyncio.timeout(30):
        while True:
            code, said = await run(capsys, "security-events", "--station", name)
            assert code == 0, said
            if name in said:
                break
            await asyncio.sleep(0.1)
