"""Block L: secure firmware updates, and firmware by way of a local controller."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Doing, Operator
from tests.conformance.states import Session
from tests.conformance.station import Asked, Station, moment
from tests.support.authority import Authority

LOCATION = "https://files.example.org/firmware-2.bin"
SIGNED: dict[str, str] = {
    "signing_certificate": Authority("Manufacturer").pem.decode(),
    "signature": "MEUCIQDl3vVQ0sI4q1p0F2mV0Q==",
}
"""In form: the stations of these cases say what the case has them say."""


class Update:
    """A firmware update as the operator asked for it and the station tells of it."""

    def __init__(self, csms: Operator, station: Station, doing: Doing, asked: Asked) -> None:
        self.csms = csms
        self.station = station
        self.doing = doing
        self.asked = asked
        self.request_id: int = asked["requestId"]

    async def tells(self, *statuses: str) -> None:
        """FirmwareStatusNotifications one after another."""
        for status in statuses:
            told = {"status": status, "requestId": self.request_id}
            assert await self.station.send("FirmwareStatusNotification", told) == {}

    async def becomes(self, state: str) -> None:
        """The operator sees how it ended."""
        await self.csms.request_becomes(self.station, "firmware", self.request_id, state)

    async def reboots(self) -> None:
        """The station is back with its new firmware."""
        await self.station.connect()
        assert (await self.station.boot("FirmwareUpdate"))["status"] == "Accepted"
        await self.station.notify_all("Available")


async def asked(csms: Operator, station: Station, answer: str, state: str, **more: Any) -> Update:
    """The operator has a signed firmware installed, and the station says what it thinks of that."""
    doing = csms.command(station, "update_firmware", location=LOCATION, **SIGNED, **more)
    called = await station.expect("UpdateFirmware")
    firmware = called["firmware"]
    assert firmware["location"] == LOCATION
    assert firmware["signingCertificate"] == SIGNED["signing_certificate"]
    assert firmware["signature"] == SIGNED["signature"]
    await called.answer(status=answer)
    view = await doing.ends(state, answer)
    assert state == "accepted" or view["reason"]
    return Update(csms, station, doing, called)


async def happened(station: Station, kind: str) -> None:
    """A security event."""
    assert await station.send("SecurityEventNotification", type=kind, timestamp=moment()) == {}


def later() -> str:
    """A time in the future."""
    return (datetime.now(UTC) + timedelta(minutes=5)).isoformat()


def is_later(text: str) -> bool:
    """Whether a time lies in the future."""
    return datetime.fromisoformat(text) > datetime.now(UTC)


@case()
async def test_TC_L_01_CSMS(csms: Operator, version: str) -> None:
    update = await asked(csms, await csms.booted(version), "Accepted", "accepted")
    await update.tells("Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting")
    await update.reboots()
    await update.tells("Installed")
    await update.becomes("complete")


@case()
async def test_TC_L_02_CSMS(csms: Operator, version: str) -> None:
    update = await asked(csms, await csms.booted(version), "Accepted", "accepted", install_at=later())
    assert is_later(update.asked["firmware"]["installDateTime"])
    await update.tells("Downloading", "Downloaded", "SignatureVerified", "InstallScheduled")
    await update.tells("Installing", "InstallRebooting")
    await update.reboots()
    await update.tells("Installed")
    await update.becomes("complete")


@case()
async def test_TC_L_03_CSMS(csms: Operator, version: str) -> None:
    update = await asked(csms, await csms.booted(version), "Accepted", "accepted", retrieve_at=later())
    assert is_later(update.asked["firmware"]["retrieveDateTime"])
    await update.tells("DownloadScheduled", "Downloading", "Downloaded", "SignatureVerified", "Installing")
    await update.tells("InstallRebooting")
    await update.reboots()
    await update.tells("Installed")
    await update.becomes("complete")


@case()
async def test_TC_L_04_CSMS(csms: Operator, version: str) -> None:
    await asked(csms, await csms.booted(version), "RevokedCertificate", "rejected")


@case()
async def test_TC_L_05_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await asked(csms, station, "InvalidCertificate", "rejected")
    await happened(station, "InvalidFirmwareSigningCertificate")


@case()
async def test_TC_L_06_CSMS(csms: Operator, version: str) -> None:
    update = await asked(csms, await csms.booted(version), "Accepted", "accepted")
    await update.tells("Downloading", "Downloaded", "InvalidSignature")
    await update.becomes("failed")
    await happened(update.station, "InvalidFirmwareSignature")


@case()
async def test_TC_L_07_CSMS(csms: Operator, version: str) -> None:
    update = await asked(csms, await csms.booted(version), "Accepted", "accepted")
    await update.tells("Downloading", "DownloadFailed")
    await update.becomes("failed")


@case()
async def test_TC_L_08_CSMS(csms: Operator, version: str) -> None:
    update = await asked(csms, await csms.booted(version), "Accepted", "accepted")
    await update.tells("Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallVerificationFailed")
    await update.becomes("failed")


@case()
async def test_TC_L_09_CSMS(csms: Operator, version: str) -> None:
    update = await asked(csms, await csms.booted(version), "Accepted", "accepted")
    await update.tells("Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting")
    await update.reboots()
    await update.tells("InstallationFailed")
    await update.becomes("failed")


@case()
async def test_TC_L_10_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    first = await asked(csms, station, "Accepted", "accepted")
    await first.tells("Downloading")
    second = await asked(csms, station, "AcceptedCanceled", "accepted")
    assert second.request_id != first.request_id
    await second.tells("Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting")
    await second.reboots()
    await second.tells("Installed")
    await second.becomes("complete")


@case()
async def test_TC_L_11_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    first = await asked(csms, station, "Accepted", "accepted")
    await first.tells("Downloading")
    await asked(csms, station, "Rejected", "rejected")
    await first.tells("Downloaded", "SignatureVerified", "Installing", "InstallRebooting")
    await first.reboots()
    await first.tells("Installed")
    await first.becomes("complete")


@case()
async def test_TC_L_13_CSMS(csms: Operator, version: str) -> None:
    driver = Session(await csms.booted(version), await csms.id_token())
    await driver.energy_transfer_started()
    update = await asked(csms, driver.station, "Accepted", "accepted")
    await update.tells("DownloadScheduled")
    await driver.station.notify_status("Unavailable", 2)
    await driver.stop_authorized()
    await driver.ev_connected_post_session()
    await driver.ev_disconnected()
    await update.tells("Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting")
    await update.reboots()
    await update.tells("Installed")
    await update.becomes("complete")
    assert (await csms.transaction(driver.station))["state"] == "closed"


CHECKSUM = "9e107d9d372bb6826bd81d3542a419d6"


async def published(csms: Operator, version: str, *statuses: str) -> None:
    """A local controller fetches a firmware for the stations behind it, and tells how it goes (L03)."""
    station = await csms.booted(version)
    doing = csms.command(station, "publish_firmware", location=LOCATION, checksum=CHECKSUM)
    called = await station.expect("PublishFirmware", location=LOCATION, checksum=CHECKSUM)
    await called.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    for status in statuses:
        told: dict[str, Any] = {"status": status, "requestId": called["requestId"]}
        if status == "Published":
            told["location"] = ["https://controller.example.org/firmware-2.bin"]
        assert await station.send("PublishFirmwareStatusNotification", told) == {}


@case()
async def test_TC_L_17_CSMS(csms: Operator, version: str) -> None:
    await published(csms, version, "Downloading", "Downloaded", "ChecksumVerified", "Published")


@case()
async def test_TC_L_19_CSMS(csms: Operator, version: str) -> None:
    await published(csms, version, "Downloading", "Downloaded", "InvalidChecksum")


@case()
async def test_TC_L_20_CSMS(csms: Operator, version: str) -> None:
    await published(csms, version, "Downloading", "Downloaded", "ChecksumVerified", "PublishFailed")


@case()
async def test_TC_L_24_CSMS(csms: Operator, version: str) -> None:
    await published(csms, version, "Downloading", "DownloadFailed")


async def unpublished(csms: Operator, version: str, answer: str, state: str) -> None:
    """A local controller is to offer a firmware no more (L04)."""
    station = await csms.booted(version)
    doing = csms.command(station, "unpublish_firmware", checksum=CHECKSUM)
    await (await station.expect("UnpublishFirmware", checksum=CHECKSUM)).answer(status=answer)
    await doing.ends(state, answer)


@case()
async def test_TC_L_21_CSMS(csms: Operator, version: str) -> None:
    await unpublished(csms, version, "Unpublished", "accepted")


@case()
async def test_TC_L_22_CSMS(csms: Operator, version: str) -> None:
    await unpublished(csms, version, "NoFirmware", "rejected")


@case()
async def test_TC_L_23_CSMS(csms: Operator, version: str) -> None:
    await unpublished(csms, version, "DownloadOngoing", "rejected")
