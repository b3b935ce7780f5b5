"""Firmware and logs between virtual stations and the server, in three versions, over real sockets and disks."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chargeplane.main.config import Config, FilesConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Fault, VirtualStation
from chargeplane.simulator.subjects.logs import LogState
from tests.support import postgres
from tests.support.signing import Manufacturer

KEY = "test-key-0123456789"
PASSWORD = "a-password-of-20-chars"
VERSIONS = ("1.6", "2.0.1", "2.1")
FIRMWARE = b"firmware 2.0.0\n" + bytes(range(256)) * 3000

_numbers = itertools.count(1)

pytestmark = pytest.mark.asyncio(loop_scope="module")


class House:
    """A running server and its stations."""

    def __init__(self, server: Server, files: Path) -> None:
        assert server.http is not None and server.ocpp is not None  # noqa: PT018
        self.server = server
        self.files = files
        self.url = f"ws://127.0.0.1:{server.ocpp.ports[0]}/ocpp"
        self.base = f"http://127.0.0.1:{server.http.port}"
        self.client = httpx.AsyncClient(
            base_url=self.base, headers={"Authorization": f"Bearer {KEY}"}, timeout=60, trust_env=False
        )
        self.stations: list[VirtualStation] = []

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.content else None

    async def station(self, version: str, *faults: Fault) -> VirtualStation:
        station_id = f"CP-{next(_numbers)}"
        await self.ask("POST", "/v1/charging-stations", {"station_id": station_id, "password": PASSWORD})
        made = VirtualStation(
            self.url, station_id, version, password=PASSWORD, seed=3, options=FAST, faults=frozenset(faults)
        )
        self.stations.append(made)
        await made.connect()
        await made.boot()
        return made

    async def firmware(self, data: bytes = FIRMWARE, **fields: str) -> dict[str, Any]:
        answer = await self.client.post(
            "/v1/firmware", files={"file": ("fw.bin", data)}, data={"version": "2.0.0", **fields}
        )
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def until(self, look: Any, timeout_s: float = 30.0) -> Any:
        async with asyncio.timeout(timeout_s):
            while not (found := await look()):
                await asyncio.sleep(0.03)
        return found

    async def request(self, station: VirtualStation, kind: str, state: str) -> dict[str, Any]:
        """The station's newest request of a kind once it is in a state, with its parts."""

        async def look() -> Any:
            page = await self.ask("GET", f"/v1/charging-stations/{station.station_id}/requests?kind={kind}&limit=1")
            found = [one for one in page["items"] if one["state"] == state]
            return found and await self.ask("GET", f"/v1/requests/{found[0]['id']}")

        return dict(await self.until(look))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("data")
    with postgres_server.database() as url:
        server = Server(
            Config(
                bind="127.0.0.1",
                http_port=0,
                ocpp_port=0,
                ocpps_port=0,
                data_dir=str(folder),
                database_url=url,
                admin_key=KEY,
                files=FilesConfig(max_upload_mib=1, max_firmware_mib=4),
            )
        )
        await server.start()
        try:
            yield server, folder / "files"
        finally:
            await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(running: tuple[Server, Path]) -> AsyncIterator[House]:
    made = House(*running)
    await made.ask("GET", "/v1/firmware")
    yield made
    for station in made.stations:
        await station.close()
        await made.ask("DELETE", f"/v1/charging-stations/{station.station_id}")
    await made.client.aclose()


async def installed(house: House, station: VirtualStation) -> list[str]:
    done = await house.request(station, "firmware", "complete")
    return [part["status"] for part in done["parts"]]


@pytest.mark.parametrize("version", VERSIONS)
async def test_tc_l_01_unsigned_firmware_of_the_house_is_installed(house: House, version: str) -> None:
    station = await house.station(version)
    firmware = await house.firmware()
    assert firmware["sha256"] == hashlib.sha256(FIRMWARE).hexdigest()
    assert firmware["md5"] == hashlib.md5(FIRMWARE, usedforsecurity=False).hexdigest()
    path = f"/v1/charging-stations/{station.station_id}"
    order = {"firmware_id": firmware["id"]}
    command = await house.ask("POST", f"{path}/firmware-updates?wait_s=30", order)
    assert command["state"] == "accepted", command
    words = await installed(house, station)
    assert words[0] == "Downloading" and words[-1] == "Installed"  # noqa: PT018
    view = await house.ask("GET", path)
    assert view["firmware"] == "2.0.0"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("by", ["house", "maker"])
async def test_l01_signed_firmware_is_verified_by_the_station(house: House, version: str, by: str) -> None:
    station = await house.station(version)
    maker = Manufacturer("rsa")
    fields = (
        {"sign": "true"}
        if by == "house"
        else {"signature": maker.sign(FIRMWARE), "signing_certificate": maker.certificate}
    )
    firmware = await house.firmware(**fields)
    assert firmware["signed_by"] == by
    await house.ask(
        "POST", f"/v1/charging-stations/{station.station_id}/firmware-updates", {"firmware_id": firmware["id"]}
    )
    assert "SignatureVerified" in await installed(house, station)


async def test_signature_of_another_file_is_refused_and_nothing_is_kept(house: House) -> None:
    maker = Manufacturer()
    before = sum(1 for one in house.files.rglob("*") if one.is_file()) if house.files.exists() else 0
    answer = await house.client.post(
        "/v1/firmware",
        files={"file": ("fw.bin", FIRMWARE)},
        data={"version": "1", "signature": maker.sign(b"other"), "signing_certificate": maker.certificate},
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/signature"
    assert sum(1 for one in house.files.rglob("*") if one.is_file()) == before


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "#/version"),
        ({"version": "1", "sign": "perhaps"}, "#/sign"),
        ({"version": "1", "signature": "abcd"}, "#/signing_certificate"),
        ({"version": "1", "colour": "red"}, None),
    ],
)
async def test_what_is_told_of_a_firmware_is_checked(house: House, fields: dict[str, str], pointer: str | None) -> None:
    answer = await house.client.post("/v1/firmware", files={"file": ("fw.bin", b"x")}, data=fields)
    assert answer.status_code == 422, answer.text
    if pointer is not None:
        assert answer.json()["errors"][0]["pointer"] == pointer


async def test_firmware_that_is_too_large_or_no_form_is_refused(house: House) -> None:
    answer = await house.client.post(
        "/v1/firmware", files={"file": ("fw.bin", b"x" * (5 << 20))}, data={"version": "1"}
    )
    assert answer.status_code == 413
    answer = await house.client.post("/v1/firmware", content=b"x", headers={"Content-Type": "application/octet-stream"})
    assert answer.status_code == 415
    answer = await house.client.post(
        "/v1/firmware", content=b"--b\r\nnonsense", headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("wanted", "status", "span"),
    [
        (None, 200, (0, None)),
        ("bytes=0-99", 206, (0, 100)),
        ("bytes=1000-", 206, (1000, None)),
        ("bytes=-10", 206, (-10, None)),
        ("bytes=999999999-", 416, None),
        ("bytes=9-3", 200, (0, None)),
        ("lines=1-2", 200, (0, None)),
        ("bytes=0-1,4-5", 200, (0, None)),
    ],
)
async def test_firmware_is_fetched_in_parts(
    house: House, wanted: str | None, status: int, span: tuple[int, int | None] | None
) -> None:
    firmware = await house.firmware()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as anybody:
        answer = await anybody.get(firmware["url"], headers={} if wanted is None else {"Range": wanted})
        assert answer.status_code == status
        if span is not None:
            assert answer.content == FIRMWARE[span[0] : span[1]]
        head = await anybody.head(firmware["url"])
        assert head.headers["content-length"] == str(len(FIRMWARE))
        assert (await anybody.post(firmware["url"], content=b"x")).status_code == 405


async def test_deleted_firmware_is_gone(house: House) -> None:
    firmware = await house.firmware()
    await house.ask("DELETE", f"/v1/firmware/{firmware['id']}")
    async with httpx.AsyncClient(trust_env=False, timeout=60) as anybody:
        assert (await anybody.get(firmware["url"])).status_code == 404
        wrong = firmware["url"].replace("/firmware/", "/firmware/../firmware/%2e%2e/")
        assert (await anybody.get(wrong)).status_code == 404


async def log_of(house: House, station: VirtualStation, **order: Any) -> dict[str, Any]:
    path = f"/v1/charging-stations/{station.station_id}/logs?wait_s=30"
    return dict(await house.ask("POST", path, order))


async def received(house: House, upload: dict[str, Any], state: str = "received") -> dict[str, Any]:
    async def look() -> Any:
        view = await house.ask("GET", f"/v1/uploads/{upload['id']}")
        return view if view["state"] == state else None

    return dict(await house.until(look))


@pytest.mark.parametrize("method", ["multipart", "post", "put"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_tc_n_25_log_is_uploaded_to_an_address_of_the_house(house: House, version: str, method: str) -> None:
    station = await house.station(version)
    station.state_of(LogState).method = method
    upload = await received(house, await log_of(house, station, kind="security"))
    done = await house.request(station, "log", "complete")
    assert [part["status"] for part in done["parts"]] == ["Uploading", "Uploaded"]
    assert done["request_id"] == upload["request_id"]
    (sent,) = station.state_of(LogState).uploaded.values()
    assert upload["name"] in station.state_of(LogState).uploaded
    assert upload["sha256"] == hashlib.sha256(sent).hexdigest()
    secret = (await location_of(house, station)).split("/uploads/")[-1].strip("/")
    path = f"/v1/charging-stations/{station.station_id}/commands"

    async def kept() -> Any:
        shown = await house.ask("GET", path)
        assert secret not in str(shown)
        async with house.server.database.read() as db:
            return not await db.fetchval("SELECT count(*) FROM command WHERE request LIKE '%' || $1 || '%'", secret)

    assert await house.until(kept)
    file = await house.client.get(f"/v1/uploads/{upload['id']}/file")
    assert file.content == sent
    assert file.headers["content-disposition"].startswith("attachment")
    await house.ask("DELETE", f"/v1/uploads/{upload['id']}/file")
    assert (await house.client.get(f"/v1/uploads/{upload['id']}/file")).status_code == 404


async def test_1_6_without_the_security_extension_is_asked_for_diagnostics(house: House) -> None:
    station = await house.station("1.6", Fault.NO_SECURITY_EXTENSION)
    upload = await received(house, await log_of(house, station))
    assert [action for action, _ in station.calls][-1] == "GetDiagnostics"
    done = await house.request(station, "log", "complete")
    assert done["request_id"] == upload["request_id"]
    assert [part["status"] for part in done["parts"]] == ["Uploading", "Uploaded"]


async def test_n01_fr_12_new_request_takes_the_place_of_the_old(house: House) -> None:
    station = await house.station("2.0.1", Fault.UPLOAD_STUCK)
    first = await log_of(house, station)
    await house.request(station, "log", "receiving")
    station.give_faults()
    second = await log_of(house, station)
    await received(house, second)
    assert (await received(house, first, "canceled"))["state"] == "canceled"


async def test_n01_fr_05_refusal_and_failure_close_the_address(house: House) -> None:
    station = await house.station("2.0.1", Fault.NO_LOGS)
    assert (await log_of(house, station))["state"] == "canceled"
    assert (await house.request(station, "log", "failed"))["status"] == "Rejected"
    station.give_faults(Fault.UPLOAD_FAILS)
    upload = await received(house, await log_of(house, station), "canceled")
    assert "UploadFailure" in upload["last_error"]


async def location_of(house: House, station: VirtualStation) -> str:
    upload = await log_of(house, station)
    assert upload["state"] != "canceled", upload  # the station may be at it by now
    _, payload = station.calls[-1]
    return str(payload["log"]["remoteLocation"])


async def test_address_takes_one_file_and_no_more(house: House) -> None:
    station = await house.station("2.0.1", Fault.UPLOAD_STUCK)
    url = await location_of(house, station)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as anybody:
        assert (await anybody.head(url)).status_code == 200
        assert (await anybody.get(url)).status_code == 405
        assert (await anybody.post(url, content=b"x" * (2 << 20))).status_code == 413  # leaves it open
        broken = {"Content-Type": "multipart/form-data; boundary=b"}
        assert (await anybody.post(url, content=b"--b\r\n", headers=broken)).status_code == 400
        assert (await anybody.put(url + "my.log", content=b"log")).status_code == 201
        assert (await anybody.post(url, content=b"again")).status_code == 410
        assert (await anybody.post(url[:-4] + "aaa/", content=b"x")).status_code == 404
    page = await house.ask("GET", f"/v1/uploads?station_id={station.station_id}")
    assert [(one["name"], one["attempts"]) for one in page["items"]] == [("my.log", 3)]


async def test_upload_that_breaks_off_may_be_tried_again(house: House) -> None:
    station = await house.station("2.0.1", Fault.UPLOAD_STUCK)
    url = httpx.URL(await location_of(house, station))
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf" % url.raw_path)
    await writer.drain()

    async def state() -> Any:
        page = await house.ask("GET", f"/v1/uploads?station_id={station.station_id}")
        return page["items"][0]

    await house.until(lambda: _is(state, "receiving"))
    writer.close()
    await house.until(lambda: _is(state, "open"))
    async with httpx.AsyncClient(trust_env=False, timeout=60) as anybody:
        assert (await anybody.post(url, content=b"whole")).status_code == 201
    assert not list(house.files.rglob("*.part"))


async def _is(look: Any, state: str) -> bool:
    return bool((await look())["state"] == state)


async def test_l03_local_controller_publishes_a_firmware_of_the_house(house: House) -> None:
    station = await house.station("2.0.1")
    firmware = await house.firmware()
    body = {"type": "publish_firmware", "location": firmware["url"], "checksum": firmware["md5"]}
    path = f"/v1/charging-stations/{station.station_id}/commands?wait_s=30"
    assert (await house.ask("POST", path, body))["state"] == "accepted"
    done = await house.request(station, "publish_firmware", "complete")
    assert done["parts"][-1]["status"] == "Published"
    (published,) = done["parts"][-1]["items"]["locations"]
    async with httpx.AsyncClient(trust_env=False, timeout=60) as anybody:
        assert (await anybody.get(published)).content == FIRMWARE
    gone = {"type": "unpublish_firmware", "checksum": firmware["md5"]}
    assert (await house.ask("POST", path, gone))["status"] == "Unpublished"
    assert (await house.ask("POST", path, gone))["state"] == "rejected"
