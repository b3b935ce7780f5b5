"""FTP as stations speak it: a log comes, a firmware goes, and nothing else."""

from __future__ import annotations

import asyncio
import ftplib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.main.config import Config, FilesConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import Fault
from chargeplane.simulator.subjects.logs import LogState
from tests.e2e.test_files import FIRMWARE, KEY, House, installed, location_of, log_of, received
from tests.support import postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("data")
    with postgres_server.database() as url:
        server = Server(
            Config(
                bind="127.0.0.1",
                http_port=0,
                ocpp_port=0,
                data_dir=str(folder),
                database_url=url,
                admin_key=KEY,
                files=FilesConfig(ftp_port=0, max_upload_mib=1),
            )
        )
        await server.start()
        try:
            yield server, folder / "files"
        finally:
            await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(server: tuple[Server, Path]) -> AsyncIterator[House]:
    made = House(*server)
    yield made
    for station in made.stations:
        await station.close()
        await made.ask("DELETE", f"/v1/charging-stations/{station.station_id}")
    await made.client.aclose()


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
async def test_station_fetches_its_firmware_and_uploads_its_log_by_ftp(house: House, version: str) -> None:
    station = await house.station(version)
    firmware = await house.firmware()
    order = {"firmware_id": firmware["id"], "transfer": "ftp"}
    await house.ask("POST", f"/v1/charging-stations/{station.station_id}/firmware-updates", order)
    assert (await installed(house, station))[-1] == "Installed"
    upload = await received(house, await log_of(house, station, transfer="ftp"))
    (sent,) = station.state_of(LogState).uploaded.values()
    assert (await house.client.get(f"/v1/uploads/{upload['id']}/file")).content == sent
    assert upload["name"] in station.state_of(LogState).uploaded


def login(house: House, user: str, token: str) -> ftplib.FTP:
    client = ftplib.FTP()
    port = house.server.addresses.ftp_port
    assert port is not None
    client.connect("127.0.0.1", port, timeout=30)
    client.login(user, token)
    return client


async def in_thread(work: Any) -> Any:
    return await asyncio.to_thread(work)


async def test_login_is_good_for_one_upload(house: House) -> None:
    station = await house.station("2.0.1", Fault.UPLOAD_STUCK)
    token = (await location_of(house, station)).rstrip("/").rpartition("/")[2]

    def talk() -> list[str]:
        client = login(house, "upload", token)
        said = [client.pwd(), client.cwd("/logs/of/mine")]
        with pytest.raises(ftplib.error_perm, match="552"):
            client.storbinary("STOR big.log", io.BytesIO(b"x" * (2 << 20)))
        said.append(client.storbinary("STOR a/b/my.log", io.BytesIO(b"log")))
        with pytest.raises(ftplib.error_perm):
            client.storbinary("STOR again.log", io.BytesIO(b"log"))
        with pytest.raises(ftplib.error_perm):
            client.retrbinary("RETR my.log", lambda piece: None)
        client.quit()
        with pytest.raises(ftplib.error_perm, match="530"):
            login(house, "upload", token)
        return said

    assert (await in_thread(talk))[-1].startswith("226")
    page = await house.ask("GET", f"/v1/uploads?station_id={station.station_id}")
    assert [(one["name"], one["state"], one["size_bytes"]) for one in page["items"]] == [("my.log", "received", 3)]


async def test_firmware_is_fetched_from_where_it_broke_off(house: House) -> None:
    firmware = await house.firmware()
    token = firmware["url"].split("/")[-2]

    def talk() -> bytes:
        client = login(house, "firmware", token)
        client.voidcmd("TYPE I")
        assert client.size("fw.bin") == len(FIRMWARE)
        assert client.nlst() == ["fw.bin"]
        data = bytearray()
        client.retrbinary("RETR fw.bin", data.extend, rest=1000)
        with pytest.raises(ftplib.error_perm):
            client.storbinary("STOR x", io.BytesIO(b"x"))
        client.quit()
        return bytes(data)

    assert await in_thread(talk) == FIRMWARE[1000:]


async def test_who_is_nobody_gets_nowhere(house: House) -> None:
    port = house.server.addresses.ftp_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.readline()).startswith(b"220")
    for line, code in (
        (b"PASV", b"530"),
        (b"STOR x", b"530"),
        (b"\xff\xfe nonsense", b"530"),
        (b"USER upload", b"331"),
        (b"PASS " + b"x" * 200, b"530"),
        (b"USER anonymous", b"331"),
        (b"PASS me@", b"530"),
    ):
        writer.write(line + b"\r\n")
        assert (await reader.readline()).startswith(code), line
    writer.write(b"PASS third\r\n")
    assert (await reader.readline()).startswith(b"530")
    assert await reader.readline() == b""
    writer.close()


async def test_transfer_that_is_not_offered_is_refused(house: House) -> None:
    station = await house.station("2.0.1")
    path = f"/v1/charging-stations/{station.station_id}/logs"
    answer = await house.client.post(path, json={"transfer": "https"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/transfer"
