"""A foreign station fetches firmware of the server's and uploads logs to it; the operator has both."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.foreign.house import Address, Operator, operator
from tests.foreign.stations import STATIONS
from tests.foreign.stations.files import LOG, image_of

every_version = pytest.mark.parametrize("version", STATIONS)


async def uploaded(who: Operator, image: bytes, version: str, **fields: str) -> Any:
    """A firmware of the house."""
    answer = await who.client.post(
        "/v1/firmware", files={"file": ("fw.bin", image)}, data={"version": version, "vendor": "Foreign", **fields}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def statuses(request: Any) -> list[str]:
    return [part["status"] for part in request["parts"]]


@every_version
@pytest.mark.parametrize("signed", [True, False])
async def test_firmware_is_fetched_checked_and_installed(address: Address, version: str, signed: bool) -> None:
    image = image_of(f"2.0.{int(signed)}")
    async with operator(address, f"FW-{version}-{signed}") as who, STATIONS[version].online(who, address) as station:
        firmware = await uploaded(who, image, f"2.0.{int(signed)}", **({"sign": "true"} if signed else {}))
        order = {"firmware_id": firmware["id"]}
        sent = await who.post(f"{who.station}/firmware-updates?wait_s=20", order, 202)
        action = "SignedUpdateFirmware" if signed and version == "1.6" else "UpdateFirmware"
        assert (sent["state"], sent["action"]) == ("accepted", action)
        done = await who.request("firmware")
        await station.settled()
        assert station.image == image
        checked = ["SignatureVerified"] if signed else []
        assert statuses(done) == ["Downloading", "Downloaded", *checked, "Installing", "Installed"]
        assert (await who.get(who.station))["firmware"] == f"2.0.{int(signed)}"


@every_version
async def test_firmware_that_the_station_refuses_or_finds_wrong(address: Address, version: str) -> None:
    async with operator(address, f"FW-NOT-{version}") as who, STATIONS[version].online(who, address) as station:
        good = await uploaded(who, image_of("3.0.0"), "3.0.0", sign="true")
        station.busy = True
        sent = await who.post(f"{who.station}/firmware-updates?wait_s=20", {"firmware_id": good["id"]}, 202)
        assert (sent["state"], sent["status"]) == ("rejected", "Rejected")
        assert (await who.request("firmware", "failed"))["status"] == "Rejected"
        station.busy = False

        # another file with that signature: nobody can keep it as signed, yet it can be ordered by hand
        other = await uploaded(who, image_of("3.0.1"), "3.0.1")
        payload = station.asked("SignedUpdateFirmware" if version == "1.6" else "UpdateFirmware")[-1]["firmware"]
        by_hand = await who.command(
            type="update_firmware",
            location=other["url"],
            signature=payload["signature"],
            signing_certificate=payload["signingCertificate"],
        )
        assert by_hand["state"] == "accepted", by_hand
        failed = await who.request("firmware", "failed")
        assert statuses(failed) == ["Downloading", "Downloaded", "InvalidSignature"]

        broken = await uploaded(who, image_of("3.0.2")[:-1] + b"?", "3.0.2")
        await who.post(f"{who.station}/firmware-updates?wait_s=20", {"firmware_id": broken["id"]}, 202)
        await who.until(
            f"{who.station}/requests",
            lambda found: [one["state"] for one in found["items"]] == ["failed"] * 3,
            kind="firmware",
        )
        assert statuses(await who.request("firmware", "failed"))[-1] == "InstallationFailed"
        assert (await who.get(who.station))["firmware"] == "1.0.0"


@every_version
async def test_a_campaign_brings_firmware_by_https_to_a_station_with_tls(address: Address, version: str) -> None:
    async with operator(address, f"CAMPAIGN-{version}") as who, STATIONS[version].online(who, address) as station:
        body = {"security_profile": 2, "url": station.address.secure}
        change = await who.post(f"{who.station}/security-profile-changes", body, 201)
        await who.until(f"/security-profile-changes/{change['id']}", lambda found: found["state"] == "done")
        await station.settled()
        firmware = await uploaded(who, image_of("4.0.0"), "4.0.0", sign="true")
        wanted = {"name": who.name, "firmware_id": firmware["id"], "stations": {"station_ids": [who.name]}}
        campaign = await who.post("/firmware-campaigns", wanted, 201)
        path = f"/firmware-campaigns/{campaign['id']}"
        await who.until(f"{path}/stations", lambda found: [one["state"] for one in found["items"]] == ["succeeded"])
        payload = station.asked("SignedUpdateFirmware" if version == "1.6" else "UpdateFirmware")[-1]
        assert payload["firmware"]["location"].startswith("https://localhost:")
        await station.settled()
        assert station.image == image_of("4.0.0")


async def log_of(who: Operator, **order: Any) -> Any:
    """Orders a log; the upload once it is there."""
    upload = await who.post(f"{who.station}/logs?wait_s=20", order, 202)
    return await who.until(f"/uploads/{upload['id']}", lambda found: found["state"] in ("received", "canceled"))


async def is_there(who: Operator, upload: Any) -> None:
    """The operator has the file as the station sent it."""
    assert (upload["state"], upload["sha256"]) == ("received", hashlib.sha256(LOG).hexdigest())
    file = await who.client.get(f"/v1/uploads/{upload['id']}/file")
    assert (file.status_code, file.content) == (200, LOG)
    done = await who.request("log")
    assert done["request_id"] == upload["request_id"]
    assert statuses(done) == ["Uploading", "Uploaded"]


@every_version
@pytest.mark.parametrize("kind", ["diagnostics", "security"])
async def test_log_is_uploaded_to_an_address_of_the_server(address: Address, version: str, kind: str) -> None:
    async with operator(address, f"LOG-{kind}-{version}") as who, STATIONS[version].online(who, address) as station:
        await is_there(who, await log_of(who, kind=kind))
        word = "SecurityLog" if kind == "security" else "DiagnosticsLog"
        assert [payload["logType"] for payload in station.asked("GetLog")] == [word]


async def test_16_station_without_the_extension_uploads_its_diagnostics(address: Address) -> None:
    async with operator(address, "LOG-OLD") as who, STATIONS["1.6"].online(who, address) as station:
        del station.route_map["GetLog"]
        await is_there(who, await log_of(who, kind="diagnostics"))
        assert [(action, code) for action, code, _ in station.line.errors] == [("GetLog", "NotImplemented")]
        station.line.errors.clear()
        assert len(station.asked("GetDiagnostics")) == 1


@every_version
async def test_log_that_the_station_does_not_give(address: Address, version: str) -> None:
    async with operator(address, f"LOG-NOT-{version}") as who, STATIONS[version].online(who, address) as station:
        station.busy = True
        upload = await log_of(who, kind="security")
        assert upload["state"] == "canceled"
        assert (await who.request("log", "failed"))["status"] == "Rejected"
