"""OCPP 1.6: the cases of the firmware management profile, and the signed updates of the security whitepaper."""

from __future__ import annotations

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import Station, moment
from tests.conformance.test_l_firmware import LOCATION, SIGNED
from tests.conformance.test_n_diagnostics import UPLOAD


async def update_asked(csms: Operator, station: Station) -> None:
    """The operator has a firmware installed; 1.6 has nothing to say in the answer."""
    doing = csms.command(station, "update_firmware", location=LOCATION)
    called = await station.expect("UpdateFirmware", location=LOCATION)
    assert called["retrieveDate"] <= moment(60)
    await called.answer()
    await doing.ends("accepted")


async def tells(station: Station, *statuses: str) -> None:
    """FirmwareStatusNotifications one after another."""
    for status in statuses:
        assert await station.send("FirmwareStatusNotification", status=status) == {}


async def reboots(station: Station) -> None:
    """The charge point is back after the installation."""
    await station.connect()
    assert (await station.boot())["status"] == "Accepted"
    await station.notify_all("Available")


@case("1.6")
async def test_TC_044_1_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await update_asked(csms, station)
    await tells(station, "Downloading", "Downloaded")
    await station.notify_all("Unavailable")
    await tells(station, "Installing")
    await reboots(station)
    await tells(station, "Installed")


@case("1.6")
async def test_TC_044_2_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await update_asked(csms, station)
    await tells(station, "Downloading", "DownloadFailed")


@case("1.6")
async def test_TC_044_3_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await update_asked(csms, station)
    await tells(station, "Downloading", "Downloaded")
    await station.notify_all("Unavailable")
    await tells(station, "Installing")
    await reboots(station)
    await tells(station, "InstallationFailed")


async def diagnostics(csms: Operator, *statuses: str) -> None:
    """The operator asks for the diagnostics, and the charge point tells how it goes."""
    station = await csms.booted("1.6")
    doing = csms.command(station, "get_diagnostics", location=UPLOAD)
    called = await station.expect("GetDiagnostics", location=UPLOAD)
    await called.answer(fileName="diagnostics.zip")
    await doing.ends("accepted")
    for status in statuses:
        assert await station.send("DiagnosticsStatusNotification", status=status) == {}


@case("1.6")
async def test_TC_045_1_CSMS(csms: Operator, version: str) -> None:
    await diagnostics(csms, "Uploading", "Uploaded")


@case("1.6")
async def test_TC_045_2_CSMS(csms: Operator, version: str) -> None:
    await diagnostics(csms, "Uploading", "UploadFailed")


@case("1.6")
async def test_TC_079_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "get_log", kind="security", location=UPLOAD)
    called = await station.expect("GetLog", logType="SecurityLog")
    assert called["log"]["remoteLocation"] == UPLOAD
    await called.answer(status="Accepted", filename="security.log")
    await doing.ends("accepted", "Accepted")
    for status in ("Uploading", "Uploaded"):
        told = {"status": status, "requestId": called["requestId"]}
        assert await station.send("LogStatusNotification", told) == {}


async def signed_asked(csms: Operator, station: Station) -> int:
    """The operator has a signed firmware installed; the number it goes by."""
    doing = csms.command(station, "update_firmware", location=LOCATION, **SIGNED)
    called = await station.expect("SignedUpdateFirmware")
    firmware = called["firmware"]
    assert (firmware["location"], firmware["signature"]) == (LOCATION, SIGNED["signature"])
    assert firmware["signingCertificate"] == SIGNED["signing_certificate"]
    await called.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    number: int = called["requestId"]
    return number


async def signed_tells(station: Station, number: int, *statuses: str) -> None:
    """SignedFirmwareStatusNotifications one after another."""
    for status in statuses:
        assert await station.send("SignedFirmwareStatusNotification", status=status, requestId=number) == {}


@case("1.6")
async def test_TC_080_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    number = await signed_asked(csms, station)
    await signed_tells(station, number, "Downloading", "Downloaded", "SignatureVerified", "Installing")
    await signed_tells(station, number, "InstallRebooting")
    await reboots(station)
    assert await station.send("SecurityEventNotification", type="FirmwareUpdated", timestamp=moment()) == {}
    await signed_tells(station, number, "Installed")


@case("1.6")
async def test_TC_081_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    number = await signed_asked(csms, station)
    await signed_tells(station, number, "Downloading", "Downloaded", "InvalidSignature")
    assert await station.send("SecurityEventNotification", type="InvalidFirmwareSignature", timestamp=moment()) == {}
