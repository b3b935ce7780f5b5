"""OCPP 1.6: the cases of the reservation profile."""

from __future__ import annotations

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states16 import Session16
from tests.conformance.test_h_reservations import Reserved, reserve, statuses


async def used(csms: Operator, kept: Reserved, tag: str, connector: int = 1) -> None:
    """A driver comes and charges with the reservation."""
    driver = Session16(kept.station, tag, connector)
    assert await driver.authorize() == "Accepted"
    await driver.status("Preparing")
    assert await driver.start(reservationId=kept.number) == "Accepted"
    await driver.status("Charging")
    seen = await csms.transaction(kept.station)
    assert (seen["state"], seen["reservation_id"]) == ("open", kept.number)
    await kept.becomes("used")


@case("1.6")
async def test_TC_046_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    kept = await reserve(csms, station)
    await statuses(csms, station, "Reserved", 1)
    await used(csms, kept, kept.token.value)


@case("1.6")
async def test_TC_047_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await reserve(csms, station)
    await statuses(csms, station, "Reserved", 1)
    await statuses(csms, station, "Available", 1)


@case("1.6")
async def test_TC_048_1_CSMS(csms: Operator, version: str) -> None:
    await reserve(csms, await csms.booted(version), "Faulted")


@case("1.6")
async def test_TC_048_2_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await station.notify_status("Preparing", 1)
    await reserve(csms, station, "Occupied")


@case("1.6")
async def test_TC_048_3_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "change_availability", operative=False, evse_id=1)
    asked = await station.expect("ChangeAvailability", connectorId=1, type="Inoperative")
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    await statuses(csms, station, "Unavailable", 1)
    await reserve(csms, station, "Unavailable")


@case("1.6")
async def test_TC_048_4_CSMS(csms: Operator, version: str) -> None:
    await reserve(csms, await csms.booted(version), "Rejected")


@case("1.6")
async def test_TC_049_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    kept = await reserve(csms, station, evse=None)
    await statuses(csms, station, "Reserved", 1, 2)
    await used(csms, kept, kept.token.value)


async def cancelled(csms: Operator, kept: Reserved, answer: str) -> int:
    """The operator cancels, and the charge point answers; the HTTP status the operator gets."""
    doing = csms.ask_later("DELETE", f"/reservations/{kept.id}")
    await (await kept.station.expect("CancelReservation", reservationId=kept.number)).answer(status=answer)
    status: int = (await doing.done()).status_code
    return status


@case("1.6")
async def test_TC_051_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    kept = await reserve(csms, station)
    await statuses(csms, station, "Reserved", 1)
    assert await cancelled(csms, kept, "Accepted") == 200
    await statuses(csms, station, "Available", 1)
    await kept.becomes("cancelled")


@case("1.6")
async def test_TC_052_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    kept = await reserve(csms, station)
    await statuses(csms, station, "Reserved", 1)
    assert await cancelled(csms, kept, "Rejected") < 500


@case("1.6")
async def test_TC_053_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    first = await csms.id_token(group_id="FAMILY-16")
    second = await csms.id_token(group_id="FAMILY-16")
    kept = await reserve(csms, station, token=first, group_id="FAMILY-16")
    await statuses(csms, station, "Reserved", 1)
    await used(csms, kept, second.value)
