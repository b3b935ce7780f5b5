"""Bookings at virtual stations of three versions, over real sockets, against the whole server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.config import BookingsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Plan, VirtualStation
from tests.bookings.yard import connector, ident, location
from tests.support import postgres
from tests.support.charging_house import VERSIONS, ChargingHouse, Tenant, config

HOLD = replace(FAST, remote_plan=Plan(hold=True))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """One server for all of these tests."""
    with postgres_server.database() as url:
        made = config(str(tmp_path_factory.mktemp("data")), url)
        server = Server(replace(made, bookings=BookingsConfig(look_every_s=0.1)))
        await server.start()
        yield server
        await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def house(server: Server) -> AsyncIterator[ChargingHouse]:
    """The server; what a test began ends with it."""
    made = ChargingHouse(server)
    yield made
    await made.close()


class Place:
    """A station with a booked EVSE, and its driver."""

    def __init__(self, tenant: Tenant, station: VirtualStation, uid: str, token: str) -> None:
        self.tenant = tenant
        self.station = station
        self.uid = uid
        self.token = token

    def asked(self, action: str) -> list[dict[str, Any]]:
        """Calls of an action that the station got."""
        return [payload for name, payload in self.station.calls if name == action]

    async def book(self, **more: Any) -> dict[str, Any]:
        """A booking that begins in a minute; the station is asked at once."""
        start = datetime.now(UTC) + timedelta(minutes=1)
        end = start + timedelta(hours=1)
        body = {
            "evse_uid": self.uid,
            "id_token": self.token,
            "starts_at": start.isoformat(),
            "ends_at": end.isoformat(),
        }
        return dict(await self.tenant.send("POST", "/bookings", body | more))

    async def until(self, booking: dict[str, Any], **fields: Any) -> Any:
        """The booking when it has these values."""
        return await self.tenant.until(
            lambda: self.tenant.get(f"/bookings/{booking['id']}"),
            lambda seen: all(seen[name] == value for name, value in fields.items()),
        )


async def new_place(house: ChargingHouse, version: str) -> Place:
    """A station of a version at a location."""
    tenant = await house.tenant()
    token = (await tenant.token())["id_token"]
    station = await tenant.station(version, HOLD)
    place, uid = ident("L"), ident("E")
    await tenant.send("POST", "/locations", location(id=place))
    body = {"uid": uid, "station_id": station.station_id, "ocpp_evse_id": 1, "connectors": [connector()]}
    await tenant.send("POST", f"/locations/{place}/evses", body)
    return Place(tenant, station, uid, token)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_booking_is_kept_by_the_station_used_and_completed(house: ChargingHouse, version: str) -> None:
    here = await new_place(house, version)
    booking = await here.book()
    await here.until(booking, state="active", kept_by="station")
    assert len(here.asked("ReserveNow")) == 1
    other = (await here.tenant.token())["id_token"]
    assert not (await here.station.charge(id_token=other, energy_wh=100)).started
    session = await here.station.charge(id_token=here.token, energy_wh=600)
    assert session.started
    seen = await here.until(booking, state="completed")
    assert seen["transaction_id"] == (await here.tenant.transaction(here.station))["id"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_station_that_has_booted_is_asked_again_and_lets_go_when_it_is_canceled(
    house: ChargingHouse, version: str
) -> None:
    here = await new_place(house, version)
    booking = await here.book()
    await here.until(booking, kept_by="station")
    first = here.asked("ReserveNow")
    await here.tenant.command(here.station, type="reset", kind="immediate")
    await here.tenant.until(lambda: asked_again(here), bool)
    again = here.asked("ReserveNow")
    assert again[1] == first[0]
    await here.tenant.send("POST", f"/bookings/{booking['id']}/cancel", {}, 200)
    await here.tenant.until(lambda: let_go(here), bool)
    assert here.station.evse(1).reservation_id is None
    other = (await here.tenant.token())["id_token"]
    assert (await here.station.charge(id_token=other, energy_wh=100)).started


async def asked_again(here: Place) -> bool:
    return len(here.asked("ReserveNow")) > 1


async def let_go(here: Place) -> bool:
    return bool(here.asked("CancelReservation")) and here.station.evse(1).reservation_id is None


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_remote_start_for_somebody_else_is_refused(house: ChargingHouse, version: str) -> None:
    here = await new_place(house, version)
    booking = await here.book()
    await here.until(booking, kept_by="station")
    other = (await here.tenant.token())["id_token"]
    start = {"type": "start", "evse_id": 1}
    refused = await here.tenant.command(here.station, "rejected", **start, id_token=other)
    assert "kept for a booking" in refused["reason"]
    await here.tenant.command(here.station, **start, id_token=here.token)
    await here.until(booking, state="used")


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_a_display_tells_walk_in_drivers_until_when_the_evse_is_free(house: ChargingHouse, version: str) -> None:
    here = await new_place(house, version)
    await here.tenant.command(
        here.station,
        type="get_variables",
        variables=[{"component": "DisplayMessageCtrlr", "variable": "Available"}],
    )
    await here.book()
    await here.tenant.until(lambda: shown(here), bool)
    ((message),) = here.asked("SetDisplayMessage")
    told = message["message"]
    assert (told["message"]["language"], told["message"]["content"][: len(here.uid) + 13]) == (
        "de",  # the place is in Germany
        f"{here.uid} ist frei bis",
    )
    more = told.get("messageExtra", [])
    assert [one["language"] for one in more] == (["en", "sv"] if version == "2.1" else [])


@pytest.mark.parametrize("language", ["en", "de", "sv"])
async def test_who_charges_into_a_booking_is_told_in_their_language(house: ChargingHouse, language: str) -> None:
    here = await new_place(house, "2.0.1")
    await here.tenant.command(
        here.station,
        type="get_variables",
        variables=[{"component": "DisplayMessageCtrlr", "variable": "Available"}],
    )
    driver = await here.tenant.send("POST", "/drivers", {"email": f"{ident('d')}@example.com", "language": language})
    walk_in = ident("WALK")
    body = {"id_token": walk_in, "type": "ISO14443"}
    await here.tenant.send("POST", f"/drivers/{driver['id']}/id-tokens", body)
    here.station.plug_in()
    running = await here.station.start_transaction(walk_in)
    await here.book()
    await here.tenant.until(lambda: shown(here, "IN_FRONT", "InFront"), bool)
    (told,) = [one["message"] for one in here.asked("SetDisplayMessage") if one["message"]["priority"] == "InFront"]
    said = {"en": "is booked from", "de": "gebucht", "sv": "är bokad från"}[language]
    assert told["message"]["language"] == language
    assert said in told["message"]["content"]
    await here.station.stop_transaction(running)


async def shown(here: Place, *priorities: str) -> bool:
    told = [one["message"]["priority"] for one in here.asked("SetDisplayMessage")]
    return bool(told) and (not priorities or not set(priorities).isdisjoint(told))
