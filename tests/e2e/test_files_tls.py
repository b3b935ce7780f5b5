"""The files' door with TLS, where the stations' door has it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx
from msgspec.structs import replace

from chargeplane.main.config import Config, TlsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, VirtualStation
from tests.e2e.test_files import FIRMWARE, KEY, PASSWORD, House, installed, log_of, received
from tests.support.authority import Authority


async def test_stations_with_tls_fetch_and_upload_by_https(database_url: str, tmp_path: Path) -> None:
    authority = Authority()
    chain, key = authority.issue("localhost", dns="localhost").write(tmp_path, "server")
    trusted = tmp_path / "authority.pem"
    trusted.write_bytes(authority.pem)
    server = Server(
        Config(
            bind="localhost",
            http_port=0,
            ocpp_port=0,
            ocpps_port=0,
            tls=TlsConfig(certificate_file=str(chain), key_file=str(key)),
            data_dir=str(tmp_path / "data"),
            database_url=database_url,
            admin_key=KEY,
        )
    )
    await server.start()
    house = House(server, tmp_path)
    context = ssl.create_default_context(cafile=str(trusted))
    try:
        assert server.ocpp is not None
        body = {"station_id": "TLS-1", "password": PASSWORD, "security_profile": 2}
        await house.ask("POST", "/v1/charging-stations", body)
        station = VirtualStation(
            f"wss://localhost:{server.ocpp.ports[1]}/ocpp",
            "TLS-1",
            "2.0.1",
            password=PASSWORD,
            seed=3,
            options=replace(FAST, ssl=context),
        )
        house.stations.append(station)
        await station.connect()
        await station.boot()
        firmware = await house.firmware()
        await house.ask("POST", "/v1/charging-stations/TLS-1/firmware-updates", {"firmware_id": firmware["id"]})
        assert (await installed(house, station))[-1] == "Installed"
        asked = next(payload for action, payload in station.calls if action == "UpdateFirmware")
        location = asked["firmware"]["location"]
        assert location.startswith(f"https://localhost:{server.addresses.https_port}/files/firmware/")
        async with httpx.AsyncClient(verify=context, trust_env=False, timeout=60) as anybody:
            assert (await anybody.get(location)).content == FIRMWARE
            assert (await anybody.get(location.split("/files/")[0] + "/v1/firmware")).status_code == 404
        upload = await log_of(house, station)
        assert (await received(house, upload))["state"] == "received"
        log = next(payload for action, payload in station.calls if action == "GetLog")
        assert log["log"]["remoteLocation"].startswith("https://")
        await asyncio.sleep(0)
    finally:
        for one in house.stations:
            await one.close()
        await house.client.aclose()
        await server.stop()
