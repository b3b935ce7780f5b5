"""Virtual stations fetch, verify and install firmware, upload logs, watch their variables: against a CSMS of a hundred lines."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from chargeplane.simulator import Fault, VirtualStation
from chargeplane.simulator.subjects.customers import CustomerState
from chargeplane.simulator.subjects.logs import LogState
from chargeplane.simulator.subjects.monitors import MonitorState, tell_event
from chargeplane.simulator.transfers import TransferError, fetch, serve_file
from tests.simulator.csms import Csms, running_csms
from tests.support.signing import Manufacturer

AT = "2026-01-01T00:00:00Z"
FIRMWARE = b"firmware 9.9.9\n" + bytes(range(256)) * 300


@pytest.fixture
async def csms() -> AsyncIterator[Csms]:
    async with running_csms() as running:
        yield running


@asynccontextmanager
async def station(csms: Csms, version: str, *faults: Fault, **arguments: Any) -> AsyncIterator[VirtualStation]:
    made = VirtualStation(csms.url, "CP-1", version, seed=7, faults=frozenset(faults), **arguments)
    await made.connect()
    await made.boot()
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def file_at(data: bytes, name: str = "fw.bin") -> AsyncIterator[str]:
    server, url = await serve_file(name, data, lambda begins: None)
    try:
        yield url
    finally:
        server.close()


class Upload:
    """A server that keeps the bytes of one request."""

    def __init__(self) -> None:
        self.request = b""
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        self.request = head + await reader.readexactly(length)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def upload_door() -> AsyncIterator[Upload]:
    door = Upload()
    server = await asyncio.start_server(door.answer, "127.0.0.1", 0)
    door.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/up/"
    try:
        yield door
    finally:
        server.close()


def words(csms: Csms, action: str = "FirmwareStatusNotification") -> list[str]:
    return [one["status"] for one in csms.of(action)]


def version_of(boot: dict[str, Any]) -> str:
    return str(boot.get("chargingStation", boot)["firmwareVersion"])


async def ask_unsigned(csms: Csms, version: str, location: str, **more: Any) -> Any:
    if version == "1.6":
        return await csms.call("CP-1", "UpdateFirmware", {"location": location, "retrieveDate": AT, **more})
    firmware = {"location": location, "retrieveDateTime": AT}
    return await csms.call("CP-1", "UpdateFirmware", {"requestId": 3, "firmware": firmware, **more})


async def ask_signed(csms: Csms, version: str, location: str, by: Manufacturer, signature: str, **more: Any) -> Any:
    firmware = {
        "location": location,
        "retrieveDateTime": AT,
        "signingCertificate": by.certificate,
        "signature": signature,
        **more,
    }
    action = "SignedUpdateFirmware" if version == "1.6" else "UpdateFirmware"
    return await csms.call("CP-1", action, {"requestId": 4, "firmware": firmware})


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
async def test_l02_unsigned_firmware_is_fetched_and_in_the_next_boot(csms: Csms, version: str) -> None:
    async with station(csms, version), file_at(FIRMWARE) as url:
        await ask_unsigned(csms, version, url)
        await csms.until(lambda: words(csms)[-1:] == ["Installed"])
        told = [word for word in words(csms) if word != "InstallRebooting"]
        assert told == ["Downloading", "Downloaded", "Installing", "Installed"]
        assert version_of(csms.of("BootNotification")[-1]) == "9.9.9"
        if version != "1.6":
            assert {one["requestId"] for one in csms.of("FirmwareStatusNotification")} == {3}  # L02.FR.06


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
async def test_l01_signed_firmware_is_verified(csms: Csms, version: str, kind: str) -> None:
    maker = Manufacturer(kind)
    action = "SignedFirmwareStatusNotification" if version == "1.6" else "FirmwareStatusNotification"
    async with station(csms, version), file_at(FIRMWARE) as url:
        assert (await ask_signed(csms, version, url, maker, maker.sign(FIRMWARE)))["status"] == "Accepted"
        await csms.until(lambda: words(csms, action)[-1:] == ["Installed"])
        assert words(csms, action) == [
            "Downloading",
            "Downloaded",
            "SignatureVerified",
            "Installing",
            "InstallRebooting",
            "Installed",
        ]
        await csms.until(lambda: csms.of("SecurityEventNotification"))
        assert csms.of("SecurityEventNotification")[0]["type"] == "FirmwareUpdated"  # L01.FR.31


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
async def test_l01_fr_03_wrong_signature_is_told_and_nothing_is_installed(csms: Csms, version: str) -> None:
    maker = Manufacturer()
    action = "SignedFirmwareStatusNotification" if version == "1.6" else "FirmwareStatusNotification"
    async with station(csms, version) as made, file_at(FIRMWARE) as url:
        await ask_signed(csms, version, url, maker, maker.sign(FIRMWARE + b"!"))
        await csms.until(lambda: csms.of("SecurityEventNotification"))
        assert words(csms, action) == ["Downloading", "Downloaded", "InvalidSignature"]
        assert csms.of("SecurityEventNotification")[0]["type"] == "InvalidFirmwareSignature"
        assert made.options.model.firmware == "1.0.0"


async def test_l01_fr_22_certificate_that_has_expired_is_refused(csms: Csms) -> None:
    maker = Manufacturer(until=datetime(2025, 1, 1, tzinfo=UTC))
    async with station(csms, "2.0.1"), file_at(FIRMWARE) as url:
        answer = await ask_signed(csms, "2.0.1", url, maker, maker.sign(FIRMWARE))
        assert answer["status"] == "InvalidCertificate"
        await csms.until(lambda: csms.of("SecurityEventNotification"))
        assert csms.of("SecurityEventNotification")[0]["type"] == "InvalidFirmwareSigningCertificate"
        assert words(csms) == []


async def test_l01_fr_30_download_is_tried_again_and_then_failed(csms: Csms) -> None:
    async with station(csms, "2.0.1", Fault.FIRMWARE_DOWNLOAD_FAILS), file_at(FIRMWARE) as url:
        await ask_unsigned(csms, "2.0.1", url, retries=2, retryInterval=0)
        await csms.until(lambda: words(csms)[-1:] == ["DownloadFailed"])
        assert words(csms) == ["Downloading"] * 3 + ["DownloadFailed"]


async def test_file_that_is_not_there_is_a_failed_download(csms: Csms) -> None:
    async with station(csms, "2.0.1"), file_at(FIRMWARE) as url:
        await ask_unsigned(csms, "2.0.1", f"{url}.not")
        await csms.until(lambda: words(csms)[-1:] == ["DownloadFailed"])


async def test_l01_fr_24_new_update_cancels_the_one_that_goes_on(csms: Csms) -> None:
    async with station(csms, "2.0.1", Fault.FIRMWARE_STUCK), file_at(FIRMWARE) as url:
        await ask_unsigned(csms, "2.0.1", url)
        await csms.until(lambda: words(csms) == ["Downloading"])
        assert (await ask_unsigned(csms, "2.0.1", url))["status"] == "AcceptedCanceled"


async def test_l01_fr_06_installation_waits_for_the_transaction(csms: Csms) -> None:
    async with station(csms, "2.0.1", evses=2) as made, file_at(FIRMWARE) as url:
        made.plug_in(1)
        session = await made.start_transaction("T", 1)
        await ask_unsigned(csms, "2.0.1", url)
        await csms.until(lambda: words(csms)[-1:] == ["InstallScheduled"])
        await csms.until(lambda: made.evse(2).status == "Unavailable")  # L01.FR.07
        await made.stop_transaction(session)
        await csms.until(lambda: words(csms)[-1:] == ["Installed"])
        await csms.until(lambda: made.evse(2).status == "Available")


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (Fault.FIRMWARE_INSTALL_FAILS, "InstallationFailed"),
        (Fault.FIRMWARE_VERIFICATION_FAILS, "InstallVerificationFailed"),
    ],
)
async def test_l01_fr_29_installation_that_fails_says_how(csms: Csms, fault: Fault, word: str) -> None:
    async with station(csms, "2.1", fault), file_at(FIRMWARE) as url:
        await ask_unsigned(csms, "2.1", url)
        await csms.until(lambda: words(csms)[-1:] == [word])


async def test_l01_fr_26_last_status_is_told_after_a_trigger(csms: Csms) -> None:
    trigger = {"requestedMessage": "FirmwareStatusNotification"}
    async with station(csms, "2.0.1", Fault.FIRMWARE_STUCK), file_at(FIRMWARE) as url:
        await csms.call("CP-1", "TriggerMessage", trigger)
        await csms.until(lambda: csms.of("FirmwareStatusNotification") == [{"status": "Idle"}])
        await ask_unsigned(csms, "2.0.1", url)
        await csms.until(lambda: words(csms) == ["Idle", "Downloading"])
        await csms.call("CP-1", "TriggerMessage", trigger)
        await csms.until(lambda: csms.of("FirmwareStatusNotification")[-1] == {"status": "Downloading", "requestId": 3})


async def test_l03_local_controller_publishes_what_it_fetched_and_l04_takes_it_back(csms: Csms) -> None:
    checksum = hashlib.md5(FIRMWARE, usedforsecurity=False).hexdigest()
    action = "PublishFirmwareStatusNotification"
    async with station(csms, "2.0.1"), file_at(FIRMWARE) as url:
        ask = {"location": url, "checksum": checksum, "requestId": 8}
        assert await csms.call("CP-1", "PublishFirmware", ask) == {"status": "Accepted"}
        await csms.until(lambda: words(csms, action)[-1:] == ["Published"])
        assert words(csms, action) == ["Downloading", "Downloaded", "ChecksumVerified", "Published"]
        (published,) = csms.of(action)[-1]["location"]
        assert (await fetch(published)).data == FIRMWARE
        assert await csms.call("CP-1", "UnpublishFirmware", {"checksum": checksum}) == {"status": "Unpublished"}
        assert await csms.call("CP-1", "UnpublishFirmware", {"checksum": checksum}) == {"status": "NoFirmware"}
        with pytest.raises(TransferError):
            await fetch(published)


async def test_l03_fr_07_wrong_checksum_is_not_published(csms: Csms) -> None:
    action = "PublishFirmwareStatusNotification"
    async with station(csms, "2.1"), file_at(FIRMWARE) as url:
        await csms.call("CP-1", "PublishFirmware", {"location": url, "checksum": "0" * 32, "requestId": 8})
        await csms.until(lambda: words(csms, action)[-1:] == ["InvalidChecksum"])


@pytest.mark.parametrize("method", ["multipart", "post", "put"])
async def test_n01_log_is_uploaded(csms: Csms, method: str) -> None:
    async with station(csms, "2.0.1") as made, upload_door() as door:
        made.state_of(LogState).method = method
        ask = {"log": {"remoteLocation": door.url}, "logType": "DiagnosticsLog", "requestId": 5}
        answer = await csms.call("CP-1", "GetLog", ask)
        assert answer["status"] == "Accepted"
        await csms.until(lambda: words(csms, "LogStatusNotification") == ["Uploading", "Uploaded"])
        assert door.request.startswith(b"PUT " if method == "put" else b"POST ")
        assert made.state_of(LogState).uploaded[answer["filename"]] in door.request
        assert f'filename="{answer["filename"]}"'.encode() in door.request  # N01.FR.19


async def test_diagnostics_are_uploaded_in_1_6(csms: Csms) -> None:
    async with station(csms, "1.6"), upload_door() as door:
        assert "fileName" in await csms.call("CP-1", "GetDiagnostics", {"location": door.url})
        await csms.until(lambda: words(csms, "DiagnosticsStatusNotification") == ["Uploading", "Uploaded"])


async def test_n01_fr_12_new_request_cancels_the_upload(csms: Csms) -> None:
    async with station(csms, "2.0.1", Fault.UPLOAD_STUCK) as made, upload_door() as door:
        ask = {"log": {"remoteLocation": door.url}, "logType": "SecurityLog", "requestId": 5}
        await csms.call("CP-1", "GetLog", ask)
        await csms.until(lambda: words(csms, "LogStatusNotification") == ["Uploading"])
        made.give_faults()
        assert (await csms.call("CP-1", "GetLog", {**ask, "requestId": 6}))["status"] == "AcceptedCanceled"
        await csms.until(lambda: words(csms, "LogStatusNotification")[-1:] == ["Uploaded"])
        told = [(one["requestId"], one["status"]) for one in csms.of("LogStatusNotification")]
        assert told[1:] == [(5, "AcceptedCanceled"), (6, "Uploading"), (6, "Uploaded")]  # N01.FR.20


POWER = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
WARMTH = {"component": {"name": "ChargingStation"}, "variable": {"name": "Temperature"}}


def monitor(where: dict[str, Any], kind: str, value: float, severity: int = 4, **more: Any) -> dict[str, Any]:
    return {**where, "type": kind, "value": value, "severity": severity, **more}


async def put(csms: Csms, *monitors: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await csms.call("CP-1", "SetVariableMonitoring", {"setMonitoringData": list(monitors)})
    return list(answer["setMonitoringResult"])


def events(csms: Csms) -> list[dict[str, Any]]:
    return [event for told in csms.of("NotifyEvent") for event in told["eventData"]]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_n07_threshold_is_told_when_passed_and_when_over(csms: Csms, version: str) -> None:
    async with station(csms, version) as made:
        (result,) = await put(csms, monitor(WARMTH, "UpperThreshold", 60))
        assert result["status"] == "Accepted"
        measured = made.state_of(MonitorState).measured
        measured["chargingstation", 0, "temperature"] = "60"  # on the threshold is within it (N07.FR.16)
        await asyncio.sleep(0.15)
        assert events(csms) == []
        measured["chargingstation", 0, "temperature"] = "61.5"
        await csms.until(lambda: len(events(csms)) == 1)
        measured["chargingstation", 0, "temperature"] = "40"
        await csms.until(lambda: len(events(csms)) == 2)
        first, second = events(csms)
        assert first["actualValue"] == "61.5"
        assert first["variableMonitoringId"] == result["id"]  # N07.FR.06
        assert "cleared" not in first
        assert second["cleared"] is True  # N07.FR.02
        assert first["trigger"] == second["trigger"] == "Alerting"
        assert ("severity" in first) == (version == "2.1")


async def test_n07_fr_18_delta_and_n08_periodic(csms: Csms) -> None:
    async with station(csms, "2.0.1") as made:
        measured = made.state_of(MonitorState).measured
        measured["evse", 1, "power"] = "1000"
        results = await put(csms, monitor(POWER, "Delta", 500), monitor(WARMTH, "Periodic", 0.1, 8))
        await csms.until(lambda: {one["id"] for one in results} >= made.state_of(MonitorState).last.keys() > set())
        measured["evse", 1, "power"] = "1600"
        kinds = lambda: {event["trigger"] for event in events(csms)}  # noqa: E731
        await csms.until(lambda: kinds() == {"Delta", "Periodic"})
        assert {one["variableMonitoringId"] for one in events(csms)} == {one["id"] for one in results}


async def test_n07_fr_04_events_wait_while_offline(csms: Csms) -> None:
    async with station(csms, "2.0.1") as made:
        await put(csms, monitor(WARMTH, "UpperThreshold", 60))
        made.go_offline()
        made.state_of(MonitorState).measured["chargingstation", 0, "temperature"] = "70"
        await asyncio.sleep(0.2)
        made.go_online()
        await csms.until(lambda: len(events(csms)) == 1)


async def test_n05_fr_03_what_is_less_grave_than_the_level_is_not_told(csms: Csms) -> None:
    async with station(csms, "2.0.1") as made:
        assert await csms.call("CP-1", "SetMonitoringLevel", {"severity": 3}) == {"status": "Accepted"}
        assert await csms.call("CP-1", "SetMonitoringLevel", {"severity": 10}) == {"status": "Rejected"}
        await put(csms, monitor(WARMTH, "UpperThreshold", 60, 4), monitor(WARMTH, "UpperThreshold", 65, 3))
        made.state_of(MonitorState).measured["chargingstation", 0, "temperature"] = "70"
        await csms.until(lambda: len(events(csms)) == 1)
        await asyncio.sleep(0.15)
        assert len(events(csms)) == 1


async def test_n04_what_cannot_be_watched_is_refused_one_by_one(csms: Csms) -> None:
    async with station(csms, "2.0.1"):
        nowhere = {"component": {"name": "Toaster"}, "variable": {"name": "Power"}}
        nothing = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Colour"}}
        text = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "AvailabilityState"}}
        results = await put(
            csms,
            monitor(nowhere, "Delta", 1),
            monitor(nothing, "Delta", 1),
            monitor(text, "UpperThreshold", 1),
            monitor(WARMTH, "UpperThreshold", 9_999),
            monitor(POWER, "Delta", -1),
            monitor(POWER, "Delta", 1, id=77),
            monitor(WARMTH, "UpperThreshold", 50),
            monitor(WARMTH, "UpperThreshold", 55),
            monitor(WARMTH, "UpperThreshold", 55, 1, id=1),
        )
        assert [one["status"] for one in results] == [
            "UnknownComponent",
            "UnknownVariable",
            "UnsupportedMonitorType",
            "Rejected",
            "Rejected",
            "Rejected",
            "Accepted",
            "Duplicate",
            "Rejected",  # the hard-wired one (N04.FR.18)
        ]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_n02_monitors_are_reported_and_n06_cleared(csms: Csms, version: str) -> None:
    async with station(csms, version, evses=2):
        (made,) = await put(csms, monitor(POWER, "Delta", 100, 6))
        ask = {"requestId": 9, "monitoringCriteria": ["DeltaMonitoring"]}
        assert await csms.call("CP-1", "GetMonitoringReport", ask) == {"status": "Accepted"}
        await csms.until(lambda: csms.of("NotifyMonitoringReport"))
        (part,) = csms.of("NotifyMonitoringReport")
        assert part["requestId"] == 9
        assert [one["id"] for item in part["monitor"] for one in item["variableMonitoring"]] == [made["id"]]
        answer = await csms.call("CP-1", "ClearVariableMonitoring", {"id": [made["id"], 1, 4711]})
        assert [one["status"] for one in answer["clearMonitoringResult"]] == ["Accepted", "Rejected", "NotFound"]
        assert await csms.call("CP-1", "GetMonitoringReport", ask) == {"status": "EmptyResultSet"}


async def test_n03_base_takes_the_custom_monitors_away(csms: Csms) -> None:
    async with station(csms, "2.0.1") as made:
        await put(csms, monitor(POWER, "Delta", 100, 6))
        state = made.state_of(MonitorState)
        for base, count in (("All", 3), ("FactoryDefault", 2), ("HardWiredOnly", 1)):
            assert await csms.call("CP-1", "SetMonitoringBase", {"monitoringBase": base}) == {"status": "Accepted"}
            assert len(state.monitors) == count


async def test_event_that_no_monitor_watches(csms: Csms) -> None:
    async with station(csms, "2.1") as made:
        tell_event(made, "Connector", "Problem", "true", evse_id=1, tech_code="E42", tech_info="fuse", severity=2)
        await csms.until(lambda: events(csms))
        assert events(csms)[0]["techCode"] == "E42"
        assert events(csms)[0]["eventNotificationType"] == "HardWiredNotification"


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_n09_what_is_known_of_a_customer_comes_in_parts_and_n10_is_forgotten(csms: Csms, version: str) -> None:
    async with station(csms, version) as made:
        made.state_of(CustomerState).known["tag1"] = ["x" * 700]
        ask = {"requestId": 7, "report": True, "clear": True, "idToken": {"idToken": "TAG1", "type": "ISO14443"}}
        assert await csms.call("CP-1", "CustomerInformation", ask) == {"status": "Accepted"}
        await csms.until(lambda: len(csms.of("NotifyCustomerInformation")) == 2)
        parts = csms.of("NotifyCustomerInformation")
        assert [(one["seqNo"], one.get("tbc", False)) for one in parts] == [(0, True), (1, False)]
        assert "".join(one["data"] for one in parts) == "x" * 700
        await csms.call("CP-1", "CustomerInformation", {**ask, "requestId": 8})
        await csms.until(lambda: len(csms.of("NotifyCustomerInformation")) == 3)
        assert csms.of("NotifyCustomerInformation")[-1]["data"] == "No data found."  # N09.FR.06
        nobody = {"requestId": 9, "report": True, "clear": False}
        assert await csms.call("CP-1", "CustomerInformation", nobody) == {"status": "Invalid"}  # N09.FR.09
