"""An operator and a provider that is nobody's code but the tests', over real sockets: virtual stations on one side, HTTP on the other."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.config import RoamingConfig, RoamingOperatorConfig, SessionsConfig
from chargeplane.main.wiring import Server
from chargeplane.ocpi.documents import decode
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version
from chargeplane.simulator import FAST, Fault, Plan, VirtualStation
from tests.support import postgres
from tests.support.charging_house import VERSIONS, ChargingHouse, Tenant, config
from tests.support.http_partner import HttpPartner, Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)
_PLACE = {
    "address": "Torstr. 1",
    "city": "Berlin",
    "country": "DEU",
    "time_zone": "Europe/Berlin",
    "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
}
_CONNECTOR = {
    "id": "1",
    "standard": "IEC_62196_T2",
    "format": "SOCKET",
    "power_type": "AC_3_PHASE",
    "max_voltage": 230,
    "max_amperage": 32,
}
HOLD = replace(FAST, remote_plan=Plan(hold=True))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    with postgres_server.database() as url:
        made = replace(
            config(str(tmp_path_factory.mktemp("data")), url),
            roaming=RoamingConfig(private_networks=True, timeout_s=5.0, first_pause_s=0.1),
            roaming_operator=RoamingOperatorConfig(
                session_push_s=0.2, status_look_every_s=1.0, command_timeout_s=5.0, authorize_timeout_s=3.0
            ),
            sessions=SessionsConfig(running_cost_s=0.2, settle_after_s=0.2, poll_s=0.05),
        )
        running = Server(made)
        await running.start()
        yield running
        await running.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(server: Server) -> AsyncIterator[ChargingHouse]:
    made = ChargingHouse(server)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def yard(server: Server, house: ChargingHouse) -> AsyncIterator[Yard]:
    made = Yard(server, house)
    yield made
    await made.close()


class Yard:
    """A tenant that is an operator, with one location and a provider as partner."""

    def __init__(self, server: Server, house: ChargingHouse) -> None:
        self.server = server
        self.house = house
        self.partner = HttpPartner()
        self.number = next(_numbers)
        self.location = f"LOC{self.number}"
        self.tariff = f"TARIFF{self.number}"
        self.tenant: Tenant = None  # type: ignore[assignment]

    async def open(self, version: str = "2.3.0") -> Yard:
        """The tenant with its party, its location, its tariff and its partner."""
        self.tenant = await self.house.tenant()
        self.partner.version = version
        await self.partner.start()
        await self.tenant.send(
            "PUT",
            f"/roaming/parties/DE/C{self.number:02d}",
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
                "elements": [{"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 19.0, "step_size": 1}]}],
            },
        )
        await self.tenant.send("POST", "/locations", {"id": self.location, **_PLACE})
        async with self.server.database.read() as db:
            tenant_id = await db.fetchval("SELECT id FROM tenant WHERE slug = $1", self.tenant.slug)
        await self.partner.join(self.server, tenant_id)
        return self

    async def station(self, version: str, **more: Any) -> tuple[VirtualStation, str]:
        """A station with one EVSE of the location, as partners know it."""
        station = await self.tenant.station(version, **more)
        uid = f"E{next(_numbers)}"
        await self.tenant.send(
            "POST",
            f"/locations/{self.location}/evses",
            {
                "uid": uid,
                "evse_id": f"DE*C{self.number:02d}*{uid}",
                "station_id": station.station_id,
                "ocpp_evse_id": 1,
                "connectors": [_CONNECTOR | {"tariff_ids": [self.tariff]}],
            },
        )
        await self.partner.until(lambda: self.status_of(uid) == "AVAILABLE")
        return station, uid

    def status_of(self, uid: str) -> str | None:
        """The status of an EVSE as the partner was told it last."""
        for seen in reversed(self.partner.of("locations")):
            if seen.path.endswith(f"/{uid}"):
                return str(seen.body["status"])
            for evse in seen.body.get("evses", ()):
                if evse["uid"] == uid:
                    return str(evse["status"])
        return None

    def token(self, uid: str, **more: Any) -> dict[str, Any]:
        """A token of the partner's."""
        country, party = self.partner.party
        return {
            "country_code": country,
            "party_id": party,
            "uid": uid,
            "type": "RFID",
            "contract_id": f"{country}-{party}-C1",
            "issuer": "Partner",
            "valid": True,
            "whitelist": "NEVER",
            "last_updated": "2026-01-01T00:00:00Z",
            **more,
        }

    def lets_in(self, uid: str, **more: Any) -> None:
        """The partner says yes to this token, and knows no other."""

        def answer(seen: Seen) -> Any:
            if f"/{uid}/" not in seen.path:
                return 404, {"status_code": 2004, "timestamp": "2026-01-01T00:00:00Z"}, {}
            return {"allowed": "ALLOWED", "token": self.token(uid), **more}

        self.partner.answering["tokens"] = answer

    def sessions(self) -> list[dict[str, Any]]:
        """What the partner was told of sessions."""
        return [seen.body for seen in self.partner.of("sessions", "PUT")]

    async def result(self, reference: str) -> Any:
        """The result that came to an address of the partner."""
        seen = await self.partner.until(lambda: self.partner.of(f"results/{reference}"))
        return seen[0].body

    async def command(self, what: str, **body: Any) -> tuple[dict[str, Any], str]:
        """A command of the partner's; the answer, and the reference of its result."""
        reference = f"R{next(_numbers)}"
        answer = await self.partner.ask(
            "POST",
            f"receiver/commands/{what}",
            {"response_url": f"{self.partner.url}/results/{reference}", **body},
        )
        assert answer.status_code in (200, 201), answer.text
        return answer.json(), reference

    async def close(self) -> None:
        await self.partner.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_status_is_at_the_partner_within_a_second_of_the_stations_message(yard: Yard, version: str) -> None:
    await yard.open()
    station, uid = await yard.station(version)
    took = []
    for _ in range(5):  # a machine may have other things to do for a moment
        before = time.monotonic()
        station.plug_in()
        await yard.partner.until(lambda: yard.status_of(uid) == "CHARGING")
        seen = yard.partner.of("locations")[-1]
        took.append(seen.at - before)
        station.unplug()
        await yard.partner.until(lambda: yard.status_of(uid) == "AVAILABLE")
        if took[-1] < 1.0:
            break
    assert took[-1] < 1.0, took
    assert seen.method == "PATCH", "the status alone is told"
    assert set(seen.body) == {"status", "last_updated"}
    assert seen.headers["ocpi-from-party-id"] == f"C{yard.number:02d}"


async def test_partner_reads_what_it_may_see_in_pages_and_one_by_one(yard: Yard) -> None:
    await yard.open()
    _, uid = await yard.station("2.0.1")
    answer = await yard.partner.ask("GET", "sender/locations")
    (place,) = answer.json()["data"]
    assert (
        decode(
            Kind.LOCATION, Version.V2_3_0, answer.text[answer.text.index("[") + 1 : answer.text.rindex("]")]
        ).unknown()
        == ()
    )
    assert place["id"] == yard.location
    assert answer.headers["x-total-count"] == "1"
    assert place["evses"][0]["capabilities"] == ["REMOTE_START_STOP_CAPABLE"]
    one = await yard.partner.ask("GET", f"sender/locations/{yard.location.lower()}/{uid}/1")
    assert one.json()["data"]["tariff_ids"] == [yard.tariff]
    lost = await yard.partner.ask("GET", "sender/locations/NOWHERE")
    assert (lost.status_code, lost.json()["status_code"]) == (404, 2003)
    (tariff,) = (await yard.partner.ask("GET", "sender/tariffs")).json()["data"]
    assert tariff["elements"][0]["price_components"][0]["price"] == 0.4
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert (await yard.partner.ask("GET", "sender/locations", date_from=later)).json()["data"] == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_partners_driver_is_asked_about_charges_and_is_billed_with_the_providers_reference(
    yard: Yard, version: str
) -> None:
    await yard.open()
    station, uid = await yard.station(version)
    card = f"CARD{yard.number}"
    yard.lets_in(card, authorization_reference="REF-9", location={"location_id": yard.location, "evse_uids": [uid]})
    assert await station.authorize("SOMEBODY") in ("Invalid", "Unknown")
    session = await station.charge(id_token=card, energy_wh=5000)
    assert session is not None
    asked = [seen for seen in yard.partner.of("tokens") if f"/{card}/authorize" in seen.path]
    assert len(asked) == 1, "a start by an answer needs no other question"
    assert asked[0].query == {"type": "RFID"}
    assert asked[0].body == {"location_id": yard.location, "evse_uids": [uid]}
    (cdr,) = await yard.partner.until(lambda: yard.partner.of("cdrs", "POST"))
    assert cdr.body["authorization_reference"] == "REF-9"
    assert cdr.body["auth_method"] == "AUTH_REQUEST"
    assert cdr.body["cdr_token"]["uid"] == card
    assert cdr.body["cdr_location"]["evse_uid"] == uid
    assert cdr.body["tariffs"][0]["id"] == yard.tariff
    assert cdr.body["total_energy"] == 5
    assert cdr.body["total_cost"]["before_taxes"] == 2
    assert cdr.headers["ocpi-to-party-id"] == yard.partner.party[1]
    await yard.partner.until(lambda: yard.sessions() and yard.sessions()[-1]["status"] == "COMPLETED")
    told = yard.sessions()
    assert {one["id"] for one in told} == {cdr.body["session_id"]}
    assert told[-1]["kwh"] == 5
    assert told[-1]["authorization_reference"] == "REF-9"
    listed = await yard.partner.ask("GET", "sender/cdrs")
    assert [one["id"] for one in listed.json()["data"]] == [cdr.body["id"]]
    sessions = await yard.partner.ask("GET", "sender/sessions", date_from="2026-01-01T00:00:00Z")
    assert [one["id"] for one in sessions.json()["data"]] == [cdr.body["session_id"]]


async def test_session_is_told_while_energy_moves(yard: Yard) -> None:
    await yard.open()
    station, _ = await yard.station("2.0.1")
    card = f"CARD{yard.number}"
    yard.lets_in(card)
    station.plug_in()
    assert await station.authorize(card) == "Accepted"
    session = await station.start_transaction(card)
    await yard.partner.until(lambda: [one["status"] for one in yard.sessions()][:1] == ["ACTIVE"])
    await station.deliver(session, 3000, meter_interval_s=60)
    await yard.partner.until(lambda: yard.sessions()[-1]["kwh"] > 0)
    assert yard.sessions()[-1]["status"] == "ACTIVE"
    await station.stop_transaction(session)
    station.unplug()
    await yard.partner.until(lambda: yard.sessions()[-1]["status"] == "COMPLETED")


async def test_other_partners_hear_nothing_of_a_drivers_session(yard: Yard, server: Server) -> None:
    await yard.open()
    other = await HttpPartner().start()
    try:
        async with server.database.read() as db:
            tenant_id = await db.fetchval("SELECT id FROM tenant WHERE slug = $1", yard.tenant.slug)
        await other.join(server, tenant_id)
        station, _ = await yard.station("2.0.1")
        card = f"CARD{yard.number}"
        yard.lets_in(card)
        other.answering["tokens"] = lambda _: (404, {"status_code": 2004, "timestamp": "2026-01-01T00:00:00Z"}, {})
        await station.charge(id_token=card, energy_wh=1000)
        await yard.partner.until(lambda: yard.partner.of("cdrs", "POST"))
        await yard.partner.until(lambda: yard.sessions()[-1]["status"] == "COMPLETED")
        assert other.of("sessions") == other.of("cdrs") == []
        for module in ("sessions", "cdrs"):
            answer = await other.ask("GET", f"sender/{module}", date_from="2026-01-01T00:00:00Z")
            assert answer.json()["data"] == []
        number = yard.sessions()[-1]["id"]
        stopped = await other.ask(
            "POST",
            "receiver/commands/STOP_SESSION",
            {"response_url": f"{other.url}/results/1", "session_id": number},
        )
        assert stopped.json()["data"]["result"] == "UNKNOWN_SESSION"
    finally:
        await other.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_partner_starts_and_stops_with_a_token_that_nobody_is_asked_about(yard: Yard, version: str) -> None:
    await yard.open()
    _, uid = await yard.station(version, options=HOLD)
    token = yard.token(f"1f2d7c50-8a7d-4b6e-9e5a-{yard.number:012d}", type="APP_USER")
    said, reference = await yard.command(
        "START_SESSION",
        token=token,
        location_id=yard.location,
        evse_uid=uid,
        authorization_reference="CMD-3",
    )
    assert said["data"]["result"] == "ACCEPTED"
    assert 0 < said["data"]["timeout"] < 60
    assert await yard.result(reference) == {"result": "ACCEPTED"}
    await yard.partner.until(lambda: yard.sessions())
    session = yard.sessions()[-1]
    assert session["cdr_token"]["uid"] == token["uid"], "whatever name the station knows it by"
    assert (session["auth_method"], session["authorization_reference"]) == ("COMMAND", "CMD-3")
    assert yard.partner.of("tokens", "POST") == []
    said, reference = await yard.command("STOP_SESSION", session_id=session["id"])
    assert said["data"]["result"] == "ACCEPTED"
    assert await yard.result(reference) == {"result": "ACCEPTED"}
    (cdr,) = await yard.partner.until(lambda: yard.partner.of("cdrs", "POST"))
    assert (cdr.body["auth_method"], cdr.body["authorization_reference"]) == ("COMMAND", "CMD-3")


async def test_commands_for_what_is_not_there_are_refused_at_once(yard: Yard) -> None:
    await yard.open()
    _, uid = await yard.station("2.0.1")
    token = yard.token("APP", type="APP_USER")
    said, _ = await yard.command("START_SESSION", token=token, location_id="NOWHERE")
    assert (said["status_code"], said["data"]["result"]) == (2003, "REJECTED")
    said, _ = await yard.command("START_SESSION", token=token, location_id=yard.location, evse_uid="NONE")
    assert (said["status_code"], said["data"]["result"]) == (2003, "REJECTED")
    stolen = token | {"party_id": "XYZ"}
    said, _ = await yard.command("START_SESSION", token=stolen, location_id=yard.location, evse_uid=uid)
    assert (said["status_code"], said["data"]["result"]) == (1000, "REJECTED")
    said, _ = await yard.command("STOP_SESSION", session_id="4711")
    assert said["data"]["result"] == "UNKNOWN_SESSION"
    said, _ = await yard.command("CANCEL_RESERVATION", reservation_id="none")
    assert said["data"]["result"] == "REJECTED"


async def test_station_that_does_not_answer_ends_in_a_timeout(yard: Yard) -> None:
    await yard.open()
    _, uid = await yard.station("2.0.1", faults=frozenset({Fault.LATE_ANSWERS}))
    said, reference = await yard.command("UNLOCK_CONNECTOR", location_id=yard.location, evse_uid=uid, connector_id="1")
    assert said["data"]["result"] == "ACCEPTED"
    assert await yard.result(reference) == {"result": "TIMEOUT"}


@pytest.mark.parametrize("version", VERSIONS)
async def test_partner_unlocks_reserves_replaces_and_cancels(yard: Yard, version: str) -> None:
    await yard.open()
    station, uid = await yard.station(version)
    said, reference = await yard.command("UNLOCK_CONNECTOR", location_id=yard.location, evse_uid=uid, connector_id="1")
    assert said["data"]["result"] == "ACCEPTED"
    assert await yard.result(reference) == {"result": "ACCEPTED"}
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    booking: dict[str, Any] = {
        "token": yard.token("APP", type="APP_USER"),
        "expiry_date": until,
        "reservation_id": "b4d8-a-text-of-the-provider",
        "location_id": yard.location,
        "evse_uid": uid,
    }
    numbers = []
    for _ in range(2):  # the same id again replaces it
        said, reference = await yard.command("RESERVE_NOW", **booking)
        assert said["data"]["result"] == "ACCEPTED"
        assert await yard.result(reference) == {"result": "ACCEPTED"}
        calls = [payload for action, payload in station.calls if action == "ReserveNow"]
        numbers.append(calls[-1].get("reservationId", calls[-1].get("id")))
    assert all(isinstance(number, int) for number in numbers)
    assert len(set(numbers)) == 2
    await yard.partner.until(lambda: yard.status_of(uid) == "RESERVED")
    said, reference = await yard.command("CANCEL_RESERVATION", reservation_id=booking["reservation_id"].upper())
    assert await yard.result(reference) == {"result": "ACCEPTED"}
    said, reference = await yard.command("CANCEL_RESERVATION", reservation_id=booking["reservation_id"])
    assert await yard.result(reference) == {"result": "UNKNOWN_RESERVATION"}


async def test_result_that_the_partner_does_not_take_is_sent_again(yard: Yard) -> None:
    await yard.open()
    _, uid = await yard.station("2.0.1")
    tries = itertools.count()
    yard.partner.answering["results"] = lambda _: (500, {}, {}) if next(tries) == 0 else None
    _, reference = await yard.command("UNLOCK_CONNECTOR", location_id=yard.location, evse_uid=uid, connector_id="1")
    await yard.partner.until(lambda: len(yard.partner.of(f"results/{reference}")) == 2)


@pytest.mark.parametrize("version", VERSIONS)
async def test_partner_sets_reads_and_clears_a_charging_profile(yard: Yard, version: str) -> None:
    await yard.open()
    station, uid = await yard.station(version, options=HOLD)
    token = yard.token(f"APP{yard.number}", type="APP_USER")
    _, reference = await yard.command("START_SESSION", token=token, location_id=yard.location, evse_uid=uid)
    await yard.result(reference)
    await yard.partner.until(lambda: yard.sessions())
    number = yard.sessions()[-1]["id"]

    async def profile(method: str, body: Any = None, **query: Any) -> Any:
        answer = await yard.partner.ask(method, f"receiver/chargingprofiles/{number}", body, **query)
        assert answer.status_code in (200, 201), answer.text
        assert answer.json()["data"]["result"] == "ACCEPTED", answer.text
        return answer

    url = f"{yard.partner.url}/results"
    wanted = {
        "charging_rate_unit": "A",
        "charging_profile_period": [{"start_period": 0, "limit": 11.5}, {"start_period": 600, "limit": 6}],
    }
    await profile("PUT", {"charging_profile": wanted, "response_url": f"{url}/put{number}"})
    assert await yard.result(f"put{number}") == {"result": "ACCEPTED"}
    assert any(action == "SetChargingProfile" for action, _ in station.calls)
    await profile("GET", duration=900, response_url=f"{url}/get{number}")
    told = await yard.result(f"get{number}")
    assert told["result"] == "ACCEPTED"
    periods = told["profile"]["charging_profile"]["charging_profile_period"]
    assert periods[0]["start_period"] == 0
    await profile("DELETE", response_url=f"{url}/clear{number}")
    assert await yard.result(f"clear{number}") == {"result": "ACCEPTED"}
    unknown = await yard.partner.ask("DELETE", "receiver/chargingprofiles/4711", response_url=f"{url}/x")
    assert unknown.json()["data"]["result"] == "UNKNOWN_SESSION"


async def test_burst_at_one_location_is_told_as_one(yard: Yard) -> None:
    await yard.open()
    stations = [await yard.station("2.0.1") for _ in range(5)]
    before = len(yard.partner.of("locations"))
    await asyncio.gather(*(_occupy(station) for station, _ in stations))
    await yard.partner.until(lambda: all(yard.status_of(uid) == "CHARGING" for _, uid in stations))
    assert len(yard.partner.of("locations")) - before < 5


async def _occupy(station: VirtualStation) -> None:
    station.plug_in()
    await station.start_transaction("NOBODYS")


async def test_partner_is_shown_what_its_rule_says(yard: Yard, server: Server) -> None:
    await yard.open()
    await yard.tenant.send("POST", "/locations", {"id": f"{yard.location}-B", **_PLACE, "tags": ["fleet"]})
    path = f"/roaming/partners/{yard.partner.connection_id}/publication"
    assert await yard.tenant.get(path) == {}
    await yard.tenant.send("PUT", path, {"tags": ["fleet"]})
    assert await yard.tenant.get(path) == {"tags": ["fleet"]}

    async def listed() -> list[str]:
        answer = await yard.partner.ask("GET", "sender/locations")
        return [one["id"] for one in answer.json()["data"]]

    await yard.tenant.until(listed, lambda found: found == [f"{yard.location}-B"])
    answer = await yard.tenant.client.put(path, json={"tags": ["fleet"], "colour": "red"})
    assert answer.status_code == 422
