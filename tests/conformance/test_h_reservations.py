"""Block H: reservations, and how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import IdToken, Operator
from tests.conformance.station import Station


def until(minutes: float = 5) -> str:
    """A time in the future."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).replace(microsecond=0).isoformat()


class Reserved:
    """A reservation as the operator asked for it."""

    def __init__(self, csms: Operator, station: Station, token: IdToken, view: dict[str, Any]) -> None:
        self.csms = csms
        self.station = station
        self.token = token
        self.id: str = view["id"]
        self.number: int = view["ocpp_reservation_id"]

    async def becomes(self, state: str) -> None:
        """The operator sees what became of it."""
        await self.csms.eventually(
            lambda: self.csms.get(f"/reservations/{self.id}"), lambda view: view["state"] == state
        )

    async def told(self, status: str) -> None:
        """A ReservationStatusUpdate."""
        told = {"reservationId": self.number, "reservationUpdateStatus": status}
        assert await self.station.send("ReservationStatusUpdate", told) == {}


async def reserve(
    csms: Operator,
    station: Station,
    answer: str = "Accepted",
    *,
    evse: int | None = 1,
    token: IdToken | None = None,
    ends: str | None = None,
    **more: Any,
) -> Reserved:
    """The operator reserves, and the station answers; `more` are fields of the reservation."""
    token = token or await csms.id_token()
    ends = ends or until()
    body: dict[str, Any] = {
        "station_id": station.id,
        "id_token": token.value,
        "id_token_type": token.type,
        "valid_until": ends,
        **more,
    }
    if evse is not None:
        body["evse_id"] = evse
    doing = csms.begin("POST", "/reservations", body)
    called = await station.expect("ReserveNow")
    if station.version == "1.6":
        assert (called["connectorId"], called["idTag"]) == (evse or 0, token.value)
        assert called.payload.get("parentIdTag") == more.get("group_id")
        number, expiry = called["reservationId"], called["expiryDate"]
    else:
        assert (called.payload.get("evseId"), called["idToken"]) == (evse, token.wire)
        assert called.payload.get("connectorType") == more.get("connector_type")
        assert called.payload.get("groupIdToken", {}).get("idToken") == more.get("group_id")
        number, expiry = called["id"], called["expiryDateTime"]
    assert datetime.fromisoformat(expiry) == datetime.fromisoformat(ends)
    await called.answer(status=answer)
    view = await doing.done()
    assert (view["state"], view["ocpp_reservation_id"]) == (answer.lower(), number)
    return Reserved(csms, station, token, view)


async def statuses(csms: Operator, station: Station, status: str, *evses: int) -> None:
    """The station tells its connectors' states, and the operator sees them."""
    for evse in evses:
        await station.notify_status(status, evse)
        assert await csms.status_of(station, evse) == status


@case()
async def test_TC_H_01_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await reserve(csms, station)
    await statuses(csms, station, "Reserved", 1)


@case()
async def test_TC_H_07_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    kept = await reserve(csms, station)
    await statuses(csms, station, "Reserved", 1)
    await statuses(csms, station, "Available", 1)
    await kept.told("Expired")
    await kept.becomes("expired")


@case()
async def test_TC_H_08_CSMS(csms: Operator, version: str) -> None:
    await reserve(csms, await csms.booted(version), evse=None)


@case()
async def test_TC_H_14_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    numbers = {(await reserve(csms, station, evse=None)).number for _ in range(2)}
    assert len(numbers) == 2
    await statuses(csms, station, "Reserved", 1, 2)


@case()
async def test_TC_H_15_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await reserve(csms, station, evse=None, connector_type="cCCS2")
    await statuses(csms, station, "Reserved", 1)


@case()
async def test_TC_H_17_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    kept = await reserve(csms, station)
    await statuses(csms, station, "Reserved", 1)
    doing = csms.begin("DELETE", f"/reservations/{kept.id}")
    await (await station.expect("CancelReservation", reservationId=kept.number)).answer(status="Accepted")
    assert (await doing.done())["state"] == "cancelled"
    await statuses(csms, station, "Available", 1)


@case()
async def test_TC_H_19_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    token = await csms.id_token(group_id="FAMILY")
    await reserve(csms, station, token=token, group_id="FAMILY")
    await statuses(csms, station, "Reserved", 1)


@case()
async def test_TC_H_20_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    kept = await reserve(csms, station)
    await statuses(csms, station, "Reserved", 1)
    await statuses(csms, station, "Faulted", 1)
    await kept.told("Removed")
    await kept.becomes("removed")


@case()
async def test_TC_H_22_CSMS(csms: Operator, version: str) -> None:
    await reserve(csms, await csms.booted(version), "Rejected")
