"""Bookings between partners: a provider books at our EVSEs over real HTTP, our drivers book at a partner's; virtual stations charge."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.app.roaming.ports import Failure, Outcome
from chargeplane.kernel.errors import ConflictError, UnavailableError
from chargeplane.main.config import BookingsConfig, RoamingConfig, RoamingOperatorConfig, SessionsConfig
from chargeplane.main.wiring import Server
from chargeplane.ocpi.documents import decode, problems
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version
from chargeplane.simulator import FAST, Options, Plan, VirtualStation
from tests.invoicing.making import ISSUER
from tests.payments.test_account_holders import signed_in
from tests.support import postgres
from tests.support.charging_house import ChargingHouse, Tenant, config
from tests.support.http_partner import HttpPartner

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)
_yards = itertools.count(1)
_PLACE = {
    "address": "Torstr. 1",
    "city": "Berlin",
    "country": "DEU",
    "time_zone": "Europe/Berlin",
    "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
    "opening_times": {"twentyfourseven": True},
}
_CONNECTOR = {
    "id": "1",
    "standard": "IEC_62196_T2",
    "format": "SOCKET",
    "power_type": "AC_3_PHASE",
    "max_voltage": 230,
    "max_amperage": 32,
}
_ENERGY = {"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 19.0, "step_size": 1}]}
_BOOKED = {"price_components": [{"type": "FLAT", "price": 2, "vat": 19.0}], "restrictions": {"booking": "BOOKING"}}
_NO_SHOW = {
    "price_components": [{"type": "FLAT", "price": 5, "vat": 19.0}],
    "restrictions": {"booking": "BOOKING_EXPIRES"},
}
_SOON = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """The operator's installation."""
    async with _running(postgres_server, str(tmp_path_factory.mktemp("data"))) as running:
        yield running


class _Running:
    def __init__(self, postgres_server: postgres.TestServer, folder: str) -> None:
        self._database = postgres_server.database()
        self._folder = folder

    async def __aenter__(self) -> Server:
        made = replace(
            config(self._folder, self._database.__enter__()),
            roaming=RoamingConfig(private_networks=True, timeout_s=10.0, first_pause_s=0.1),
            roaming_operator=RoamingOperatorConfig(
                session_push_s=0.2, status_look_every_s=0.5, command_timeout_s=10.0, authorize_timeout_s=5.0
            ),
            sessions=SessionsConfig(running_cost_s=0.2, settle_after_s=0.2, poll_s=0.05),
            bookings=BookingsConfig(look_every_s=0.1),
        )
        self._server = Server(made)
        await self._server.start()
        return self._server

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()
        self._database.__exit__(None, None, None)


def _running(postgres_server: postgres.TestServer, folder: str) -> _Running:
    return _Running(postgres_server, folder)


@pytest_asyncio.fixture(loop_scope="module")
async def yard(server: Server) -> AsyncIterator[Yard]:
    """A tenant that is an operator and lets partners book, with a partner that books."""
    house = ChargingHouse(server)
    made = Yard(server, house)
    await made.open()
    yield made
    await made.partner.close()
    await house.close()


def later(hours: float) -> datetime:
    """A whole minute so many hours from now."""
    return datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=hours)


def soon() -> datetime:
    """The next second: what was made before holds then."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)


async def begun(start: datetime) -> None:
    """Once a second of a booking has passed: less would be an early start, which costs nothing for being kept."""
    async with asyncio.timeout(_SOON):
        while datetime.now(UTC) < start + timedelta(seconds=1):
            await asyncio.sleep(0.02)


def text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


class Yard:
    """The operator, its location, its partner."""

    def __init__(self, server: Server, house: ChargingHouse) -> None:
        self.server = server
        self.house = house
        self.partner = HttpPartner()
        self.number = next(_yards)
        self.location = f"LOC{self.number}"
        self.tariff = f"TARIFF{self.number}"
        self.tenant: Tenant = None  # type: ignore[assignment]

    async def open(self) -> None:
        self.tenant = await self.house.tenant()
        await self.partner.start()
        await self.tenant.send(
            "PUT",
            f"/roaming/parties/DE/B{self.number:02d}",
            {"roles": ["CPO"], "business_details": {"name": "We"}},
        )
        await self.tenant.send(
            "POST",
            "/tariffs",
            {
                "id": self.tariff,
                "type": "REGULAR",
                "currency": "EUR",
                "tax_included": "NO",
                "elements": [_BOOKED, _NO_SHOW, _ENERGY],
            },
        )
        await self.tenant.send("POST", "/locations", {"id": self.location, **_PLACE})
        await self.policy()
        async with self.server.database.read() as db:
            tenant_id = await db.fetchval("SELECT id FROM tenant WHERE slug = $1", self.tenant.slug)
        await self.partner.join(self.server, tenant_id)

    async def policy(self, **more: Any) -> None:
        """What the operator wants of bookings."""
        await self.tenant.send("PUT", "/bookings/policy", {"partners": True, "min_s": 60, **more})

    async def evse(self, station: VirtualStation | None = None) -> str:
        """An EVSE of the location that the partner can book."""
        uid = f"E{next(_numbers)}"
        body: dict[str, Any] = {"uid": uid, "connectors": [_CONNECTOR | {"tariff_ids": [self.tariff]}]}
        if station is not None:
            body |= {"station_id": station.station_id, "ocpp_evse_id": 1}
        await self.tenant.send("POST", f"/locations/{self.location}/evses", body)
        await self.tenant.until(lambda: self.read(f"booking_locations/{uid}"), bool)
        return uid

    async def station(self, version: str = "2.0.1", options: Options = FAST) -> tuple[VirtualStation, str]:
        """A station with one EVSE."""
        station = await self.tenant.station(version, options)
        return station, await self.evse(station)

    async def read(self, path: str, **query: Any) -> Any:
        """What the partner reads of ours; None where it is 404."""
        answer = await self.partner.ask("GET", f"sender/bookings/{path}", **query)
        if answer.status_code == 404:
            return None
        assert (answer.status_code, answer.json()["status_code"]) == (200, 1000), answer.text
        return answer.json()["data"]

    def request(self, uid: str, starts_at: datetime, ends_at: datetime, **more: Any) -> dict[str, Any]:
        """A BookingRequest of the partner's."""
        country, party = self.partner.party
        return {
            "country_code": country,
            "party_id": party,
            "request_id": f"RQ{next(_numbers)}",
            "location_id": self.location,
            "booking_location_id": uid,
            "tokens": [self.token(f"CARD{next(_numbers)}")],
            "period": {"start_date_time": text(starts_at), "end_date_time": text(ends_at)},
            "authorization_reference": f"REF{next(_numbers)}",
            **more,
        }

    def token(self, uid: str) -> dict[str, Any]:
        country, party = self.partner.party
        return {
            "country_code": country,
            "party_id": party,
            "uid": uid,
            "type": "RFID",
            "contract_id": f"{country}-{party}-C1",
        }

    async def post(self, request: Any) -> dict[str, Any]:
        """The envelope of the answer to a BookingRequest."""
        answer = await self.partner.ask("POST", "sender/bookings", request)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    async def book(self, request: dict[str, Any], status: str = "RESERVED") -> dict[str, Any]:
        """The Booking that a request became."""
        said = await self.post(request)
        assert said["status_code"] == 1000, said
        booking = dict(said["data"])
        assert booking["reservation_status"] == status, said
        assert problems(Kind.BOOKING, Version.V2_3_0, booking) == ()
        return booking

    async def pushed(self, booking_id: str, status: str) -> dict[str, Any]:
        """The Booking as it was pushed to the partner with a status."""

        def found() -> Any:
            for seen in reversed(self.partner.of("bookings", "PUT")):
                if seen.path == f"/bookings/DE/B{self.number:02d}/{booking_id}":
                    return seen.body if seen.body["reservation_status"] == status else None
            return None

        return dict(await self.partner.until(found, _SOON))

    async def slots(self, uid: str) -> list[tuple[datetime, datetime]]:
        """When an EVSE is free, as the partner reads it."""
        place = await self.read(f"booking_locations/{uid}")
        return slots_of(place)


def slots_of(place: Any) -> list[tuple[datetime, datetime]]:
    return [
        (datetime.fromisoformat(slot["start_date_time"]), datetime.fromisoformat(slot["end_date_time"]))
        for calendar in place.get("calendars", ())
        for slot in calendar["available_timeslots"]
    ]


def free(slots: list[tuple[datetime, datetime]], start: datetime, end: datetime) -> bool:
    return any(a <= start and end <= b for a, b in slots)


# Operator: what can be booked


async def test_partner_reads_what_it_can_book_with_calendar_and_terms(yard: Yard) -> None:
    await yard.policy(free_cancel_s=1800, access_methods=["TOKEN", "INTERCOM"], terms_url="https://example.com/terms")
    uid = await yard.evse()

    async def with_terms() -> Any:
        place = await yard.read(f"booking_locations/{uid}")
        return place if place["booking_terms"]["cancel_until_minutes"] == 30 else None

    place = await yard.tenant.until(with_terms, bool)
    assert problems(Kind.BOOKING_LOCATION, Version.V2_3_0, place) == ()
    assert (place["id"], place["location_id"], place["tariff_ids"]) == (uid, yard.location, [yard.tariff])
    assert place["booking_option"]["evse_uid"] == uid
    assert place["booking_option"]["connector_types"] == ["IEC_62196_T2"]
    terms = place["booking_terms"]
    assert terms["supported_access_methods"] == ["TOKEN", "INTERCOM"]
    assert (terms["noshow_fee"], terms["noshow_timeout"], terms["early_start_time"]) == (True, 15, 10)
    assert terms["booking_terms"] == "https://example.com/terms"
    (calendar,) = place["calendars"]
    assert await yard.read(f"booking_locations/{uid.lower()}/{calendar['id']}") == calendar
    assert await yard.read(f"booking_locations/{uid}/NONE") is None
    assert await yard.read("booking_locations/NONE") is None
    assert [one["id"] for one in await yard.read("booking_locations")] == [uid]


async def test_list_takes_timeslots_and_what_is_not_for_partners_is_not_there(yard: Yard) -> None:
    uid, other = await yard.evse(), await yard.evse()
    start, end = later(24), later(26)
    await yard.book(yard.request(uid, start, end))
    await yard.tenant.until(lambda: yard.slots(uid), lambda slots: not free(slots, start, end))
    inside = {"timeslot_from": text(start), "timeslot_to": text(end)}
    assert [one["id"] for one in await yard.read("booking_locations", **inside)] == [other]
    wider = {"timeslot_from": text(start), "timeslot_to": text(later(30))}
    assert [one["id"] for one in await yard.read("booking_locations", **wider)] == [uid, other]
    wrong = await yard.partner.ask("GET", "sender/bookings/booking_locations", timeslot_from="noon")
    assert wrong.json()["status_code"] == 2001
    assert "timeslot_from" in wrong.json()["status_message"]
    shown = f"/roaming/partners/{yard.partner.connection_id}/publication"
    await yard.tenant.send("PUT", shown, {"except_location_ids": [yard.location]})
    assert await yard.read("booking_locations") == []
    await yard.tenant.send("PUT", shown, {"modules": ["locations"]})
    assert await yard.read("booking_locations") == []
    await yard.tenant.send("PUT", shown, {})
    await yard.policy(partners=False)
    await yard.tenant.until(lambda: yard.read("booking_locations"), lambda found: found == [])
    gone = await yard.post(yard.request(other, later(48), later(49)))
    assert gone["status_code"] == 2003


async def test_bookings_of_our_own_narrow_the_calendar_and_partners_are_told(yard: Yard) -> None:
    uid = await yard.evse()
    await yard.partner.until(
        lambda: any(seen.path.endswith(f"/booking_locations/{uid}") for seen in yard.partner.of("bookings", "PUT"))
    )
    card = (await yard.tenant.token())["id_token"]
    start, end = later(5), later(6)
    made = await yard.tenant.send(
        "POST",
        "/bookings",
        {"id_token": card, "evse_uid": uid, "starts_at": text(start), "ends_at": text(end)},
    )

    def told(taken: bool) -> Any:
        found = [seen for seen in yard.partner.of("bookings", "PATCH") if seen.path.endswith(f"/{uid}/{uid}")]
        slots = slots_of({"calendars": [found[-1].body]}) if found else []
        return slots and free(slots, start, end) is not taken

    await yard.partner.until(lambda: told(taken=True), _SOON)
    slots = await yard.slots(uid)
    assert not free(slots, start, end)
    # The buffer between two bookings is taken, too.
    assert free(slots, end + timedelta(minutes=5), end + timedelta(hours=1))
    assert not free(slots, end + timedelta(minutes=4), end + timedelta(hours=1))
    assert free(slots, start - timedelta(hours=1), start - timedelta(minutes=5))
    await yard.tenant.send("POST", f"/bookings/{made['id']}/cancel", {})
    await yard.partner.until(lambda: told(taken=False), _SOON)


# Operator: requests


async def test_request_becomes_a_booking_and_its_repeat_the_same_one(yard: Yard) -> None:
    uid = await yard.evse()
    request = yard.request(
        uid, later(24), later(25), access_information=[{"method": "LICENSE_PLATE", "value": "B-X 1"}]
    )
    booking = await yard.book(request)
    assert booking["request_id"] == request["request_id"]
    assert booking["booking_option"]["evse_uid"] == uid
    assert booking["booking_tokens"] == request["tokens"]
    assert booking["access_information"] == request["access_information"]
    assert booking["authorization_reference"] == request["authorization_reference"]
    (kept,) = booking["booking_requests"]
    assert (kept["request_status"], kept["booking_request"]) == ("ACCEPTED", request)
    assert await yard.book(request) == booking
    assert await yard.book(dict(reversed(request.items()))) == booking, "the order of fields says nothing"
    both = await asyncio.gather(*(yard.book(request) for _ in range(5)))
    assert all(one == booking for one in both)
    assert await yard.read("") == [booking]
    (ours,) = (await yard.tenant.get("/bookings"))["items"]
    assert (ours["state"], ours["evse_uid"], ours["partner"]) == ("confirmed", uid, "*".join(yard.partner.party))
    assert ours["id_token"] == request["tokens"][0]["uid"]
    pushed = await yard.pushed(booking["id"], "RESERVED")
    assert pushed["booking_requests"] == booking["booking_requests"]


async def test_many_repeats_at_once_of_a_new_request_make_one_booking(yard: Yard) -> None:
    uid = await yard.evse()
    request = yard.request(uid, later(24), later(25))
    made = await asyncio.gather(*(yard.book(request) for _ in range(10)))
    assert {one["id"] for one in made} == {made[0]["id"]}
    assert len((await yard.tenant.get("/bookings"))["items"]) == 1


async def test_what_is_taken_or_against_the_terms_is_rejected(yard: Yard) -> None:
    uid = await yard.evse()
    await yard.book(yard.request(uid, later(24), later(25)))
    again = yard.request(uid, later(24.5), later(26))
    rejected = await yard.book(again, "REJECTED")
    assert [one["request_status"] for one in rejected["booking_requests"]] == ["DECLINED"]
    assert (
        "booked"
        in (await yard.partner.ask("POST", "sender/bookings", yard.request(uid, later(24.5), later(26)))).json()[
            "status_message"
        ]
    )
    assert await yard.book(again, "REJECTED") == rejected, "a repeat is answered as before"
    for start, end in ((later(-3), later(-2)), (later(24 * 60), later(24 * 60 + 1)), (later(30), later(60))):
        await yard.book(yard.request(uid, start, end), "REJECTED")
    assert len((await yard.tenant.get("/bookings"))["items"]) == 1


async def test_same_request_id_changes_and_cancels(yard: Yard) -> None:
    uid, other = await yard.evse(), await yard.evse()
    request = yard.request(uid, later(24), later(25))
    await yard.book(request)
    await yard.book(yard.request(uid, later(27), later(28)))
    longer = request | {"period": {"start_date_time": text(later(24)), "end_date_time": text(later(26))}}
    changed = await yard.book(longer)
    assert datetime.fromisoformat(changed["period"]["end_date_time"]) == later(26)
    assert [one["request_status"] for one in changed["booking_requests"]] == ["ACCEPTED", "ACCEPTED"]
    into = request | {"period": {"start_date_time": text(later(24)), "end_date_time": text(later(27.5))}}
    declined = await yard.book(into)
    assert declined["period"] == changed["period"], "what cannot be had changes nothing"
    assert [one["request_status"] for one in declined["booking_requests"]][-1] == "DECLINED"
    moved = await yard.book(longer | {"booking_location_id": other, "tokens": [yard.token("OTHER-CARD")]})
    assert moved["booking_option"]["evse_uid"] == other
    assert [one["uid"] for one in moved["booking_tokens"]] == ["OTHER-CARD"]
    await yard.tenant.until(lambda: yard.slots(uid), lambda slots: free(slots, later(24), later(25)))
    canceled = longer | {"canceled": {"cancellation_reason": "TRAFFIC", "who_canceled": "EMSP"}}
    over = await yard.book(canceled, "CANCELED")
    assert over["canceled"] == canceled["canceled"]
    assert await yard.book(canceled, "CANCELED") == over
    assert (await yard.book(longer, "CANCELED"))["booking_requests"][-1]["request_status"] == "DECLINED"
    await yard.pushed(over["id"], "CANCELED")
    await yard.tenant.until(lambda: yard.slots(other), lambda slots: free(slots, later(24), later(26)))
    assert (await yard.tenant.get("/bookings", id_token="OTHER-CARD"))["items"][0]["state"] == "canceled"


async def test_changes_and_cancellations_that_come_too_late_are_declined(yard: Yard) -> None:
    await yard.policy(free_cancel_s=7200)
    uid = await yard.evse()

    async def told() -> Any:
        return (await yard.read(f"booking_locations/{uid}"))["booking_terms"]["cancel_until_minutes"]

    await yard.tenant.until(told, lambda minutes: minutes == 120)
    request = yard.request(uid, later(1), later(2))
    await yard.book(request)
    for more in (
        {"canceled": {"cancellation_reason": "NO_CANCELED", "who_canceled": "EMSP"}},
        {"period": {"start_date_time": text(later(3)), "end_date_time": text(later(4))}},
    ):
        said = await yard.post(request | more)
        assert said["data"]["reservation_status"] == "RESERVED"
        assert said["data"]["booking_requests"][-1]["request_status"] == "DECLINED"
        assert "too late" in said["status_message"]


async def test_operators_cancellation_reaches_a_partner_that_was_away(yard: Yard) -> None:
    uid = await yard.evse()
    booking = await yard.book(yard.request(uid, later(24), later(25)))
    await yard.pushed(booking["id"], "RESERVED")
    yard.partner.answering["bookings"] = lambda _: (503, None, {})
    (ours,) = (await yard.tenant.get("/bookings"))["items"]
    await yard.tenant.send("POST", f"/bookings/{ours['id']}/cancel", {"reason": "Works"})
    await yard.partner.until(
        lambda: any(
            seen.path.endswith(f"/{booking['id']}") and seen.body["reservation_status"] == "CANCELED"
            for seen in yard.partner.of("bookings", "PUT")
        ),
        _SOON,
    )
    before = len(yard.partner.requests)
    del yard.partner.answering["bookings"]

    def came() -> Any:
        for seen in yard.partner.requests[before:]:
            if seen.path.endswith(f"/{booking['id']}"):
                return seen.body
        return None

    told = await yard.partner.until(came, _SOON)
    assert (told["reservation_status"], told["canceled"]["who_canceled"]) == ("CANCELED", "CPO")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"period": None}, "period"),
        ({"period": {"start_date_time": "noon", "end_date_time": "2030-01-01T00:00:00Z"}}, "start_date_time"),
        (
            {"period": {"start_date_time": "2030-01-01T01:00:00Z", "end_date_time": "2030-01-01T00:00:00Z"}},
            "end_date_time",
        ),
        ({"tokens": []}, "tokens"),
        ({"request_id": None}, "request_id"),
        ({"location_id": "ELSEWHERE"}, "location_id"),
        ({"booking_option": {"evse_uid": "ANOTHER"}}, "evse_uid"),
        ({"party_id": "XXX"}, "party_id"),
        ({"canceled": {"cancellation_reason": "TRAFFIC", "who_canceled": "EMSP"}}, "request_id"),
    ],
)
async def test_wrong_request_gets_the_envelope_that_names_the_field(yard: Yard, change: Any, field: str) -> None:
    uid = await yard.evse()
    request = yard.request(uid, later(24), later(25)) | change
    said = await yard.post({name: value for name, value in request.items() if value is not None})
    assert said["status_code"] == 2001, said
    assert field in said["status_message"]
    assert (await yard.tenant.get("/bookings"))["items"] == []


async def test_tokens_of_others_are_refused(yard: Yard) -> None:
    uid = await yard.evse()
    foreign = yard.token("CARD") | {"party_id": "XXX"}
    said = await yard.post(yard.request(uid, later(24), later(25), tokens=[yard.token("MINE"), foreign]))
    assert said["status_code"] == 2001
    assert "tokens/1/party_id" in said["status_message"]


async def test_partners_do_not_see_each_others_bookings(yard: Yard, server: Server) -> None:
    uid = await yard.evse()
    request = yard.request(uid, later(24), later(25))
    await yard.book(request)
    other = HttpPartner()
    await other.start()
    try:
        async with server.database.read() as db:
            tenant_id = await db.fetchval("SELECT id FROM tenant WHERE slug = $1", yard.tenant.slug)
        await other.join(server, tenant_id)
        assert (await other.ask("GET", "sender/bookings/")).json()["data"] == []
        said = (await other.ask("POST", "sender/bookings", request)).json()
        assert said["status_code"] == 2001
    finally:
        await other.close()


async def test_of_fifty_attempts_by_drivers_and_partners_one_has_the_evse(yard: Yard) -> None:
    uid = await yard.evse()
    start, end = later(24), later(25)
    cards = [(await yard.tenant.token())["id_token"] for _ in range(25)]

    async def driver(card: str) -> bool:
        body = {"id_token": card, "evse_uid": uid, "starts_at": text(start), "ends_at": text(end)}
        answer: httpx.Response = await yard.tenant.client.post("/bookings", json=body)
        assert answer.status_code in (201, 409), answer.text
        return answer.status_code == 201

    async def partner(_: int) -> bool:
        shift = timedelta(minutes=next(_numbers) % 30)
        said = await yard.post(yard.request(uid, start + shift, end + shift))
        assert said["data"]["reservation_status"] in ("RESERVED", "REJECTED"), said
        return bool(said["data"]["reservation_status"] == "RESERVED")

    attempts = [attempt for pair in zip(map(driver, cards), map(partner, range(25)), strict=True) for attempt in pair]
    assert sum(await asyncio.gather(*attempts)) == 1
    held = [one for one in (await yard.tenant.get("/bookings"))["items"] if one["state"] == "confirmed"]
    assert len(held) == 1


# Operator: at the station


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
async def test_booked_token_charges_and_its_cdr_names_the_booking(yard: Yard, version: str) -> None:
    station, uid = await yard.station(version)
    start = soon()
    # A card that OCPP 1.6 can carry, and one that it could not: the first is at the station.
    request = yard.request(
        uid, start, start + timedelta(hours=1), tokens=[yard.token("BOOKEDCARD"), yard.token("SECOND")]
    )
    booking = await yard.book(request)

    async def kept() -> Any:
        (found,) = (await yard.tenant.get("/bookings"))["items"]
        return found["kept_by"]

    assert await yard.tenant.until(kept, bool) == "station"
    station.plug_in()
    assert await yard.tenant.until(lambda: station.authorize("BOOKEDCARD"), lambda word: word == "Accepted")
    assert not yard.partner.of("tokens", "POST"), "who books has vouched for the token"
    await begun(start)
    session = await station.start_transaction("BOOKEDCARD")
    await yard.pushed(booking["id"], "FULFILLED")
    await station.deliver(session, 5000, meter_interval_s=60)
    await station.stop_transaction(session)
    station.unplug()
    told = await yard.partner.until(lambda: yard.partner.of("sessions", "PUT"), _SOON)
    assert told[-1].body["authorization_reference"] == request["authorization_reference"]
    (seen,) = await yard.partner.until(lambda: yard.partner.of("cdrs", "POST"), _SOON)
    cdr = seen.body
    assert decode(Kind.CDR, Version.V2_3_0, msgspec.json.encode(cdr)).unknown() == ()
    assert cdr["booking_id"] == booking["id"]
    assert cdr["authorization_reference"] == request["authorization_reference"]
    assert cdr["cdr_token"]["uid"] == "BOOKEDCARD"
    assert (cdr["total_reservation_cost"]["before_taxes"], cdr["total_cost"]["before_taxes"]) == (2, 4)


async def test_second_token_of_a_booking_and_another_name_for_a_long_one(yard: Yard) -> None:
    station, uid = await yard.station("1.6")
    long = "A-TOKEN-LONGER-THAN-OCPP-1.6-TAKES"
    start = soon()
    tokens = [yard.token(long), yard.token("SECOND")]
    booking = await yard.book(yard.request(uid, start, start + timedelta(hours=1), tokens=tokens))

    async def ours() -> Any:
        (found,) = (await yard.tenant.get("/bookings"))["items"]
        return found

    known = await yard.tenant.until(ours, lambda one: one["kept_by"] is not None)
    assert (known["kept_by"], len(known["id_token"])) == ("station", 20)
    station.plug_in()
    assert await yard.tenant.until(lambda: station.authorize("SECOND"), lambda word: word == "Accepted")
    session = await station.start_transaction(known["id_token"])
    await yard.pushed(booking["id"], "FULFILLED")
    await station.deliver(session, 1000, meter_interval_s=60)
    await station.stop_transaction(session)
    (seen,) = await yard.partner.until(lambda: yard.partner.of("cdrs", "POST"), _SOON)
    assert (seen.body["booking_id"], seen.body["cdr_token"]["uid"]) == (booking["id"], long)


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
async def test_tokens_that_a_booking_does_not_hold_for_any_more_let_nobody_in(yard: Yard, version: str) -> None:
    station, uid = await yard.station(version)
    first, second, third = (f"CARD{next(_numbers)}" for _ in range(3))
    start = soon()
    request = yard.request(uid, start, start + timedelta(hours=1), tokens=[yard.token(one) for one in (first, second)])
    booking = await yard.book(request)

    async def kept() -> Any:
        (found,) = (await yard.tenant.get("/bookings"))["items"]
        return found["kept_by"]

    async def let_in() -> list[str]:
        return [one for one in (first, second, third) if await station.authorize(one) == "Accepted"]

    await yard.tenant.until(kept, bool)
    station.plug_in()
    await yard.tenant.until(let_in, lambda found: found == [first, second])
    other = request | {"tokens": [yard.token(one) for one in (first, third)]}
    assert (await yard.book(other))["booking_requests"][-1]["request_status"] == "ACCEPTED"
    await yard.tenant.until(let_in, lambda found: found == [first, third])
    shorter = other | {"period": {"start_date_time": text(start), "end_date_time": text(start + timedelta(minutes=30))}}
    await yard.book(shorter)
    async with yard.server.database.read() as db:
        until = await db.fetch("SELECT DISTINCT until FROM roaming_authorization WHERE presented = $1 AND until > now()",
            first.lower())  # fmt: skip
    assert [row["until"] for row in until] == [start + timedelta(minutes=30)]
    canceled = shorter | {"canceled": {"cancellation_reason": "TRAFFIC", "who_canceled": "EMSP"}}
    assert (await yard.book(canceled, "CANCELED"))["id"] == booking["id"]
    await yard.tenant.until(let_in, lambda found: found == [])


async def test_driver_who_does_not_come_is_charged_by_a_cdr_without_a_session(yard: Yard) -> None:
    await yard.policy(no_show_s=1)
    _, uid = await yard.station()
    start = soon()
    request = yard.request(uid, start, start + timedelta(hours=1))
    booking = await yard.book(request)
    await yard.pushed(booking["id"], "NO_SHOW")
    (seen,) = await yard.partner.until(lambda: yard.partner.of("cdrs", "POST"), _SOON)
    cdr = seen.body
    assert decode(Kind.CDR, Version.V2_3_0, msgspec.json.encode(cdr)).unknown() == ()
    assert (cdr["booking_id"], "session_id" in cdr) == (booking["id"], False)
    assert cdr["cdr_token"]["uid"] == request["tokens"][0]["uid"]
    assert cdr["cdr_location"]["evse_uid"] == uid
    assert (cdr["total_cost"]["before_taxes"], cdr["total_energy"]) == (7, 0), (
        "the booking's fee, and that of not coming"
    )
    assert {one["type"] for period in cdr["charging_periods"] for one in period["dimensions"]} == {"RESERVATION_TIME"}
    assert (await yard.tenant.get("/cdrs"))["items"][0]["total_excl"]["amount"] == "7.00"


@pytest.mark.parametrize("what", ["evse", "location"])
async def test_driver_who_does_not_come_is_charged_also_where_the_evse_was_removed_meanwhile(
    yard: Yard, what: str
) -> None:
    await yard.policy(no_show_s=3)
    _, uid = await yard.station()
    start = soon()
    await yard.book(yard.request(uid, start, start + timedelta(hours=1)))

    async def kept() -> Any:
        (found,) = (await yard.tenant.get("/bookings"))["items"]
        return found["kept_by"]

    await yard.tenant.until(kept, bool)
    path = f"/evses/{uid}" if what == "evse" else f"/locations/{yard.location}"
    assert (await yard.tenant.client.delete(path)).status_code == 204
    (seen,) = await yard.partner.until(lambda: yard.partner.of("cdrs", "POST"), _SOON)
    place = seen.body["cdr_location"]
    assert (place["id"], place["evse_uid"], place["address"]) == (yard.location, uid, "Torstr. 1")
    assert seen.body["total_cost"]["before_taxes"] == 7


# Provider: our drivers at a partner's EVSEs


class Pair:
    """Two installations: the yard's operator and a provider with a driver who uses its own door."""

    def __init__(self, yard: Yard, house: ChargingHouse) -> None:
        self.yard = yard
        self.house = house
        self.operator = f"DE*B{yard.number:02d}"
        self.provider: Tenant = None  # type: ignore[assignment]
        self.app: httpx.AsyncClient = None  # type: ignore[assignment]
        self.connection = ""
        self.driver_id = ""

    async def open(self) -> None:
        self.provider = await self.house.tenant()
        await self.provider.send(
            "PUT",
            f"/roaming/parties/FR/V{self.yard.number:02d}",
            {"roles": ["EMSP"], "business_details": {"name": "They"}},
        )
        await self.provider.send("PUT", "/invoicing-settings", {"issuer": ISSUER})
        invited = await self.yard.tenant.send("POST", "/roaming/partners", {"name": "provider"})
        registered = await self.provider.send(
            "POST",
            "/roaming/partners/register",
            {
                "name": "operator",
                "versions_url": invited["versions_url"],
                "token": invited["token"],
                "version": "2.3.0",
            },
        )
        self.connection = registered["id"]
        self.app = await signed_in(self.house.server, self.provider)
        self.driver_id = (await self.app.get("/v1/me")).json()["id"]

    async def close(self) -> None:
        await self.app.aclose()

    async def offers(self, start: datetime, end: datetime, **more: Any) -> list[dict[str, Any]]:
        """What the driver finds for an interval."""
        query = {"starts_at": text(start), "ends_at": text(end), "partner": self.operator, **more}
        answer = await self.app.get("/v1/me/roaming/bookings/offers", params=query)
        assert answer.status_code == 200, answer.text
        return [
            bookable | {"location": item["location"]}
            for item in answer.json()["items"]
            for bookable in item["bookable"]
        ]

    async def offered(self, uid: str, start: datetime, end: datetime) -> dict[str, Any]:
        """That EVSE, once the driver can book it."""

        async def found() -> Any:
            return next((one for one in await self.offers(start, end) if one["booking_location_id"] == uid), None)

        return dict(await self.provider.until(found, bool))

    async def book(self, uid: str, start: datetime, end: datetime, status: int = 201) -> dict[str, Any]:
        """The driver books."""
        body = {
            "partner": self.operator,
            "booking_location_id": uid,
            "starts_at": text(start),
            "ends_at": text(end),
        }
        answer = await self.app.post("/v1/me/roaming/bookings", json=body)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def own(self, ident: str) -> dict[str, Any]:
        answer = await self.app.get(f"/v1/me/roaming/bookings/{ident}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider_server(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """The provider's installation."""
    async with _running(postgres_server, str(tmp_path_factory.mktemp("provider"))) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def pair(yard: Yard, provider_server: Server) -> AsyncIterator[Pair]:
    house = ChargingHouse(provider_server)
    made = Pair(yard, house)
    await made.open()
    yield made
    await made.close()
    await house.close()


async def test_driver_finds_books_changes_and_cancels_at_a_partner(pair: Pair) -> None:
    uid = await pair.yard.evse()
    start, end = later(24), later(25)
    offer = await pair.offered(uid, start, end)
    assert (offer["evse_uid"], offer["tariff_ids"]) == (uid, [pair.yard.tariff])
    assert offer["terms"]["noshow_fee"] is True
    assert offer["location"]["id"] == pair.yard.location
    assert datetime.fromisoformat(offer["free_until"]) > end
    near = {"latitude": 52.53, "longitude": 13.40, "radius_m": 2000, "standard": "IEC_62196_T2"}
    assert [one["booking_location_id"] for one in await pair.offers(start, end, **near)] == [uid]
    assert await pair.offers(start, end, **near | {"latitude": 48.0}) == []
    booking = await pair.book(uid, start, end)
    assert (booking["state"], booking["last_request"], booking["partner"]) == ("reserved", "ACCEPTED", pair.operator)
    assert booking["evse_uid"] == uid

    async def gone() -> bool:
        return all(one["booking_location_id"] != uid for one in await pair.offers(start, end))

    await pair.provider.until(gone, bool)
    changed = await pair.app.patch(f"/v1/me/roaming/bookings/{booking['id']}", json={"ends_at": text(later(26))})
    assert changed.status_code == 200, changed.text
    assert datetime.fromisoformat(changed.json()["ends_at"]) == later(26)
    refused = await pair.book(uid, later(25.5), later(27), 409)
    assert "booked" in refused["detail"]
    (ours,) = (await pair.yard.tenant.get("/bookings", state="confirmed"))["items"]
    assert ours["partner"] == f"FR*V{pair.yard.number:02d}"
    canceled = await pair.app.post(f"/v1/me/roaming/bookings/{booking['id']}/cancel", json={"reason": "TRAFFIC"})
    assert (canceled.status_code, canceled.json()["state"]) == (200, "canceled"), canceled.text
    assert (await pair.yard.tenant.get(f"/bookings/{ours['id']}"))["state"] == "canceled"
    again = await pair.app.post(f"/v1/me/roaming/bookings/{booking['id']}/cancel", json={})
    assert again.status_code == 409
    listed = (await pair.app.get("/v1/me/roaming/bookings")).json()["items"]
    assert [one["state"] for one in listed] == ["rejected", "canceled"]
    found = (await pair.provider.get("/roaming/bookings", driver_id=pair.driver_id))["items"]
    assert [one["id"] for one in found] == [one["id"] for one in listed]


async def test_driver_sees_what_the_operator_does_to_the_booking(pair: Pair) -> None:
    uid = await pair.yard.evse()
    start, end = later(24), later(25)
    await pair.offered(uid, start, end)
    booking = await pair.book(uid, start, end)
    (ours,) = (await pair.yard.tenant.get("/bookings", state="confirmed"))["items"]
    await pair.yard.tenant.send("POST", f"/bookings/{ours['id']}/cancel", {"reason": "Works"})
    await pair.provider.until(lambda: pair.own(booking["id"]), lambda one: one["state"] == "canceled")


async def test_what_cannot_be_booked_names_the_field_and_is_nobody_elses(pair: Pair) -> None:
    uid = await pair.yard.evse()
    await pair.offered(uid, later(24), later(25))
    for body, field in (
        ({"booking_location_id": "NONE"}, "/booking_location_id"),
        ({"partner": "XX*XXX"}, "/partner"),
        ({"ends_at": text(later(23))}, "/ends_at"),
    ):
        wish = {
            "partner": pair.operator,
            "booking_location_id": uid,
            "starts_at": text(later(24)),
            "ends_at": text(later(25)),
        } | body
        answer = await pair.app.post("/v1/me/roaming/bookings", json=wish)
        assert answer.status_code == 422, answer.text
        assert field in str(answer.json()["errors"]), answer.text
    booking = await pair.book(uid, later(24), later(25))
    other = (await pair.provider.send("POST", "/roaming/bookings", {
        "partner": pair.operator, "booking_location_id": uid, "starts_at": text(later(30)), "ends_at": text(later(31)),
        "id_token": (await pair.provider.token())["id_token"],
    }))  # fmt: skip
    assert other["state"] == "reserved"
    assert (await pair.app.get(f"/v1/me/roaming/bookings/{other['id']}")).status_code == 404
    assert (await pair.app.post(f"/v1/me/roaming/bookings/{other['id']}/cancel", json={})).status_code == 404
    await pair.provider.send("POST", f"/roaming/bookings/{other['id']}/cancel", {})
    assert (await pair.own(booking["id"]))["state"] == "reserved"


async def test_request_without_an_answer_is_sent_again_and_books_once(
    pair: Pair, server: Server, provider_server: Server
) -> None:
    uid = await pair.yard.evse()
    start, end = later(24), later(25)
    await pair.offered(uid, start, end)
    assert server.business is not None
    door: Any = server.business.roaming.door
    answer, lost = door.handlers[73], []

    async def loses(call: Any) -> Any:
        lost.append(await answer(call))  # done, and the answer is lost on its way
        raise UnavailableError("The line is cut.")

    door.handlers[73] = loses
    try:
        booking = await pair.book(uid, start, end)
    finally:
        door.handlers[73] = answer
    assert booking["state"] in ("sent", "reserved"), "the push may have been faster"
    assert lost
    await pair.provider.until(lambda: pair.own(booking["id"]), lambda one: one["state"] == "reserved")
    assert len((await pair.yard.tenant.get("/bookings", state="confirmed"))["items"]) == 1

    async def settled() -> Any:
        async with provider_server.database.read() as db:
            return await db.fetchval("SELECT due_at IS NULL FROM asked_booking WHERE id = $1", int(booking["id"]))

    await pair.provider.until(settled, bool)


@pytest.mark.parametrize("fault", ["not understood", "another's", "not kept"])
async def test_request_whose_answer_is_of_no_use_is_sent_again_and_books_once(
    pair: Pair, provider_server: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    uid = await pair.yard.evse()
    start, end = later(24), later(25)
    await pair.offered(uid, start, end)
    assert provider_server.business is not None
    bookings: Any = provider_server.business.roaming_provider.bookings
    spoilt: list[Any] = []
    call, put = bookings._partners.call, bookings._replicas.put

    async def answers(peer: Any, row: Any, **more: Any) -> Any:
        outcome = await call(peer, row, **more)
        if row != 73 or spoilt or not outcome.ok or fault == "not kept":
            return outcome
        spoilt.append(outcome)
        if fault == "not understood":
            return Outcome(failure=Failure.NOT_UNDERSTOOD, sentence="It is no JSON.", http_status=200)
        return replace(outcome, data=b"{}")

    async def keeps(*args: Any) -> Any:
        if fault == "not kept" and not spoilt:
            spoilt.append(args)
            raise ConflictError("It cannot be kept.")
        return await put(*args)

    monkeypatch.setattr(bookings, "_partners", SimpleNamespace(call=answers))
    monkeypatch.setattr(bookings, "_replicas", SimpleNamespace(put=keeps))
    booking = await pair.book(uid, start, end)
    assert spoilt
    assert booking["state"] in ("sent", "reserved"), "the push may have been faster"
    await pair.provider.until(lambda: pair.own(booking["id"]), lambda one: one["state"] == "reserved")
    assert len((await pair.yard.tenant.get("/bookings", state="confirmed"))["items"]) == 1


async def test_driver_charges_as_booked_and_both_sides_agree_on_the_cost(pair: Pair) -> None:
    station, uid = await pair.yard.station(options=replace(FAST, remote_plan=Plan(hold=True)))
    start = soon()
    await pair.offered(uid, start, start + timedelta(hours=1))
    start = soon()
    booking = await pair.book(uid, start, start + timedelta(hours=1))

    async def kept() -> Any:
        (found,) = (await pair.yard.tenant.get("/bookings"))["items"]
        return found["kept_by"]

    await pair.yard.tenant.until(kept, bool)
    station.plug_in()
    await begun(start)
    where = {"partner": pair.operator, "location_id": pair.yard.location, "evse_uid": uid}
    started = await pair.app.post("/v1/me/roaming/charges", params={"wait_s": 30}, json=where)
    assert started.json()["state"] == "done", started.text
    done = await pair.provider.until(
        lambda: pair.own(booking["id"]), lambda one: one["state"] == "fulfilled" and one["session_id"]
    )
    stopped = await pair.app.post(f"/v1/me/roaming/sessions/{done['session_id']}/stop", params={"wait_s": 30})
    assert stopped.json()["state"] == "done", stopped.text
    done = await pair.provider.until(lambda: pair.own(booking["id"]), lambda one: one["cdr_ids"])
    cdr = await pair.provider.until(
        lambda: pair.provider.get(f"/roaming/cdrs/{done['cdr_ids'][0]}"), lambda one: one["cdr"]["billed_by"]
    )
    assert cdr["cdr"]["verdict"] == "agrees", cdr["cdr"]["check"]
    assert cdr["document"]["total_reservation_cost"]["before_taxes"] == 2, "the booking's fee"
    (theirs,) = (await pair.yard.tenant.get("/cdrs"))["items"]
    billed = await pair.provider.get(f"/cdrs/{cdr['cdr']['billed_by']}")
    assert billed["driver_id"] == pair.driver_id
    assert billed["total_excl"] == theirs["total_excl"] == cdr["cdr"]["total_excl"]


async def test_driver_who_does_not_come_is_billed_and_the_partner_is_owed(pair: Pair) -> None:
    await pair.yard.policy(no_show_s=1)
    _, uid = await pair.yard.station()
    start = soon()
    await pair.offered(uid, start, start + timedelta(hours=1))
    start = soon()
    booking = await pair.book(uid, start, start + timedelta(hours=1))
    await pair.provider.until(lambda: pair.own(booking["id"]), lambda one: one["state"] == "no_show")
    done = await pair.provider.until(lambda: pair.own(booking["id"]), lambda one: one["cdr_ids"])
    cdr = await pair.provider.until(
        lambda: pair.provider.get(f"/roaming/cdrs/{done['cdr_ids'][0]}"), lambda one: one["cdr"]["billed_by"]
    )
    assert cdr["cdr"]["verdict"] == "agrees", cdr["cdr"]["check"]
    assert (cdr["cdr"]["total_excl"]["amount"], cdr["cdr"]["session_id"]) == ("7.00", None)
    assert cdr["document"]["booking_id"] == done["booking_id"]
    assert cdr["cdr"]["booked_at"] is not None
    billed = await pair.provider.get(f"/cdrs/{cdr['cdr']['billed_by']}")
    assert billed["total_excl"]["amount"] == "7.00"
