"""Authorisation, local lists, reservations and availability: virtual stations of three versions against the whole server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Fault, Plan, StopReason, VirtualStation
from chargeplane.simulator.meter import AC_22
from chargeplane.simulator.settings import (
    LOCAL_LIST_MOST,
    LOCAL_LIST_PER_MESSAGE,
    LOCAL_PRE_AUTHORIZE,
    MASTER_PASS_GROUP,
    OFFLINE_UNKNOWN,
)
from tests.support import postgres
from tests.support.charging_house import VERSIONS, VERSIONS_2X, ChargingHouse, Tenant, config

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOLD = replace(FAST, remote_plan=Plan(hold=True))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """One server for all of these tests."""
    with postgres_server.database() as url:
        server = Server(config(str(tmp_path_factory.mktemp("data")), url))
        await server.start()
        yield server
        await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(server: Server) -> AsyncIterator[ChargingHouse]:
    """The server; what a test began ends with it."""
    made = ChargingHouse(server)
    yield made
    await made.close()


def words(station: VirtualStation, action: str) -> list[dict[str, Any]]:
    """The calls of an action that the station got."""
    return [payload for name, payload in station.calls if name == action]


async def held(tenant: Tenant, station: VirtualStation, entries: int, state: str = "in_sync") -> Any:
    """The station's list in REST when it has so many entries."""
    return await tenant.until(
        lambda: tenant.get(f"/charging-stations/{station.station_id}/local-list"),
        lambda seen: (seen["state"], seen["entries"]) == (state, entries),
    )


# --- C: rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_token_of_another_place_is_refused_and_its_start_is_kept(house: ChargingHouse, version: str) -> None:
    """C01: NotAtThisLocation; 1.6, 7.2 has Blocked for it."""
    tenant = await house.tenant()
    tag = (await tenant.token(rules={"location_ids": ["Harbour"]}))["id_token"]
    here = await tenant.station(version, location_id="Harbour")
    away = await tenant.station(version, location_id="Depot")
    assert await here.authorize(tag) == "Accepted"
    assert await away.authorize(tag) == ("Blocked" if version == "1.6" else "NotAtThisLocation")


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_a_token_for_dc_is_told_its_evses(house: ChargingHouse, version: str) -> None:
    """IdTokenInfoType.evseId, NotAllowedTypeEVSE."""
    tenant = await house.tenant()
    tag = (await tenant.token(rules={"allowed_evse_types": ["DC"]}))["id_token"]
    station = await tenant.station(version, evses=2, settings={"evse_types": {"1": "AC", "2": "DC"}})
    assert await station.authorize(tag) == "Accepted"
    session = await station.charge(id_token=tag, energy_wh=500, evse_id=1)
    assert session.status == "NotAllowedTypeEVSE"
    flags = (await tenant.transaction(station))["flags"]
    assert "refused_token" in flags


async def test_wrong_rules_are_named_by_field(house: ChargingHouse) -> None:
    tenant = await house.tenant()
    for rules, field in (
        ({"time_zone": "Mars/Olympus"}, "/rules/time_zone"),
        ({"max_energy_wh": -1}, "/rules/max_energy_wh"),
        ({"weekly_times": [{"days": [8]}]}, "/rules/weekly_times/0/days/0"),
        ({"weekly_times": [{"days": [1], "start": "25:00"}]}, "/rules/weekly_times/0/start"),
        ({"unheard_of": 1}, "/rules/unheard_of"),
    ):
        answer = await tenant.client.post("/id-tokens", json={"id_token": "x", "rules": rules})
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"].removeprefix("#") == field, answer.text
    answer = await tenant.client.post("/id-tokens", json={"id_token": "x", "credit_wh": 1e30})
    assert answer.status_code == 422


async def test_mac_addresses_and_autocharge_tags_are_one_token(house: ChargingHouse) -> None:
    """C05 (autocharge): 2.x sends type MacAddress, 1.6 a tag with VID: in front."""
    tenant = await house.tenant()
    made = await tenant.token("AA:BB:CC:00:11:22", type="MacAddress")
    assert made["id_token"] == "AABBCC001122"
    old, new = await tenant.station("1.6"), await tenant.station("2.0.1")
    assert await old.authorize("VID:AABBCC001122") == "Accepted"
    assert await new.authorize("MacAddress:aa-bb-cc-00-11-22") == "Accepted"
    await old.charge(id_token="VID:aabbcc001122", energy_wh=500)
    one = await tenant.transaction(old)
    assert (one["id_token_type"], one["authorization_status"]) == ("MacAddress", "Accepted")


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_an_unknown_key_code_is_invalid(house: ChargingHouse, version: str) -> None:
    """C04.FR.01, C04.FR.02."""
    tenant = await house.tenant()
    await tenant.token("4711", type="KeyCode")
    station = await tenant.station(version)
    assert await station.authorize("KeyCode:4711") == "Accepted"
    assert await station.authorize("KeyCode:0815") == "Invalid"


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_c16_a_master_pass_stops_what_others_began_and_begins_nothing(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant(master_pass_group_id="MASTER")
    driver, master = (await tenant.token())["id_token"], (await tenant.token(group_id="MASTER"))["id_token"]
    station = await tenant.station(version, evses=2)
    station.settings.put(MASTER_PASS_GROUP, "MASTER")
    station.plug_in(1)
    session = await station.start_transaction(driver, 1)
    charging = asyncio.create_task(station.deliver(session, energy_wh=2_000_000))
    assert await station.present_token(master, 1)
    await charging
    await station.stop_transaction(session, session.stop_request or StopReason.LOCAL)
    one = await tenant.transaction(station)
    assert (one["state"], one["stop_reason"], one["flags"]) == ("closed", "MasterPass", [])
    refused = await station.charge(id_token=master, energy_wh=500, evse_id=2)
    assert not refused.started


@pytest.mark.parametrize("version", VERSIONS)
async def test_c09_a_token_of_the_group_stops_and_another_does_not(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant()
    driver = (await tenant.token(group_id="FAMILY"))["id_token"]
    kin = (await tenant.token(group_id="family"))["id_token"]
    stranger = (await tenant.token(group_id="OTHERS"))["id_token"]
    station = await tenant.station(version)
    station.plug_in()
    session = await station.start_transaction(driver)
    charging = asyncio.create_task(station.deliver(session, energy_wh=2_000_000))
    assert not await station.present_token(stranger)
    assert await station.present_token(kin)
    await charging
    await station.stop_transaction(session)
    one = await tenant.transaction(station)
    assert (one["state"], one["flags"], one["id_token"]) == ("closed", [], driver)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("strict", [True, False])
async def test_a_transaction_ends_when_its_token_is_blocked_where_the_tenant_wants_that(
    house: ChargingHouse, version: str, strict: bool
) -> None:
    tenant = await house.tenant(stop_deauthorized=strict)
    token = await tenant.token()
    station = await tenant.station(version, HOLD)
    await tenant.command(station, type="start", id_token=token["id_token"])
    await tenant.until(lambda: tenant.transactions(station), lambda seen: len(seen) == 1)
    await tenant.send("PATCH", f"/id-tokens/{token['id']}", {"status": "Blocked"})
    if strict:
        one = await tenant.until(lambda: tenant.transaction(station), lambda seen: seen["state"] == "closed")
        assert one["stop_reason"] == "Remote"
    else:
        # what follows from the change has been handed over when what was written after it has
        await tenant.until(lambda: tenant.get("/outbox"), lambda seen: not seen["items"])
        assert (await tenant.transaction(station))["state"] == "open"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_transaction_ends_when_its_tokens_limit_is_reached(house: ChargingHouse, version: str) -> None:
    """2.1 E16: the station keeps the limit where it says that it does; 1.6 and 2.0.1: it is asked to stop."""
    tenant = await house.tenant()
    token = await tenant.token(credit_wh=1_500)
    options = replace(FAST, speed=3600.0, remote_plan=Plan(hold=True, meter_interval_s=60))
    station = await tenant.station(version, options)
    if version == "2.1":
        supported = {"component": "TxCtrlr", "variable": "SupportedLimits"}
        await tenant.command(station, type="get_variables", variables=[supported])
    await tenant.command(station, type="start", id_token=token["id_token"])
    if version == "2.1":
        await tenant.until(
            lambda: tenant.transaction(station),
            lambda seen: (seen["energy_wh"], seen["charging_state"]) == (1500, "SuspendedEVSE"),
            timeout_s=30,
        )
        session = station.evse(1).session
        assert session is not None
        session.request_stop(StopReason.LOCAL)
    one = await tenant.until(
        lambda: tenant.transactions(station), lambda seen: [one["state"] for one in seen] == ["closed"], 20
    )
    used = one[0]["energy_wh"]
    assert used >= 1_500
    left = await tenant.until(lambda: tenant.get(f"/id-tokens/{token['id']}"), lambda seen: seen["credit_wh"] != 1_500)
    assert left["credit_wh"] == 1_500 - used
    assert await station.authorize(token["id_token"]) == ("Blocked" if version == "1.6" else "NoCredit")


async def test_a_start_brings_the_type_and_the_group_of_its_token(house: ChargingHouse) -> None:
    """F01: idToken, groupIdToken."""
    tenant = await house.tenant()
    tag = (await tenant.token(group_id="FAMILY"))["id_token"]
    station = await tenant.station("2.0.1", HOLD)
    await tenant.command(station, type="start", id_token=tag)
    (asked,) = words(station, "RequestStartTransaction")
    assert asked["idToken"] == {"idToken": tag, "type": "ISO14443"}
    assert asked["groupIdToken"] == {"idToken": "FAMILY", "type": "Central"}


# --- D: local lists ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_d01_a_list_is_brought_to_a_station_in_parts_and_follows_changes(
    house: ChargingHouse, version: str
) -> None:
    tenant = await house.tenant(local_list={"tokens": "all"})
    tokens = [await tenant.token(group_id="G") for _ in range(7)]
    station = VirtualStation
    station = await tenant.station(version)
    station.settings.put(LOCAL_LIST_PER_MESSAGE, "3")
    await held(tenant, station, 7)
    assert set(station.local_list or {}) == {token["id_token"].casefold() for token in tokens}
    before = len(words(station, "SendLocalList"))
    version_before = station.local_list_version
    await tenant.send("DELETE", f"/id-tokens/{tokens[0]['id']}", status=204)
    await tenant.send("PATCH", f"/id-tokens/{tokens[1]['id']}", {"status": "Blocked"})
    await tenant.token("NEW-ONE")
    seen = await tenant.until(
        lambda: tenant.get(f"/charging-stations/{station.station_id}/local-list"),
        lambda seen: (
            seen["in_sync"]
            and seen["version"] == station.local_list_version > version_before
            and "new-one" in (station.local_list or {})
        ),
    )
    assert seen["entries"] == 6
    later = words(station, "SendLocalList")[before:]
    assert {one["updateType"] for one in later} == {"Differential"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", [None, Fault.OTHER_LIST_VERSION_FIELD])
async def test_d02_a_station_that_lost_its_list_gets_it_again(
    house: ChargingHouse, version: str, fault: Fault | None
) -> None:
    """stations.md: GetLocalListVersion answered with the other version's field."""
    tenant = await house.tenant(local_list={"tokens": "all"})
    await tenant.token("KEPT")
    faults = frozenset({Fault.FORGETS_LOCAL_LIST, *([fault] if fault else [])})
    station = await tenant.station(version, faults=faults)
    await held(tenant, station, 1)
    station.reboot(stop=None)
    await tenant.until(_list_of(station), lambda seen: seen is None)
    await tenant.until(_list_of(station), lambda seen: seen == {"kept": "Accepted"})
    seen = await held(tenant, station, 1)
    assert seen["version"] == station.local_list_version


def _list_of(station: VirtualStation) -> Any:
    async def read() -> Any:
        return station.local_list

    return read


@pytest.mark.parametrize("version", VERSIONS)
async def test_d01_fr_03_a_refused_difference_is_followed_by_the_whole_list(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant(local_list={"tokens": "all"})
    await tenant.token("FIRST")
    station = await tenant.station(version)
    await held(tenant, station, 1)
    station.local_list, station.local_list_version = {"foreign": "Accepted"}, station.local_list_version + 40
    await tenant.token("SECOND")
    await held(tenant, station, 2)
    assert set(station.local_list or {}) == {"first", "second"}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_list_has_the_groups_of_its_station_and_no_more_than_fit(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant(local_list={"tokens": "none"})
    for number in range(4):
        await tenant.token(f"IN{number}", group_id="Fleet")
    await tenant.token("OUT", group_id="Other")
    station = await tenant.station(
        version, settings={"local_list": {"tokens": "groups", "group_ids": ["fleet"], "max_entries": 3}}
    )
    seen = await held(tenant, station, 3)
    assert (seen["left_out"], seen["tokens"]) == (1, "groups")
    assert "out" not in (station.local_list or {})
    plain = await tenant.station(version)
    view = await tenant.get(f"/charging-stations/{plain.station_id}/local-list")
    assert (view["state"], view["entries"]) == ("unmanaged", 0)
    await tenant.send("POST", f"/charging-stations/{plain.station_id}/local-list/send", status=409)


async def test_a_station_without_a_list_is_left_alone(house: ChargingHouse) -> None:
    tenant = await house.tenant(local_list={"tokens": "all"})
    await tenant.token("A")
    station = await tenant.station("1.6")
    await held(tenant, station, 1)
    station.settings.put(LOCAL_LIST_MOST, "0")
    await tenant.token("B")
    seen = await tenant.until(
        lambda: tenant.get(f"/charging-stations/{station.station_id}/local-list"),
        lambda seen: seen["state"] == "failed",
    )
    assert seen["reason"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_c13_offline_the_list_the_cache_and_the_policy_decide(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant(local_list={"tokens": "all", "include_refused": True})
    await tenant.token("LISTED")
    await tenant.token("REFUSED", status="Blocked")
    station = await tenant.station(version)
    await held(tenant, station, 2)
    station.settings.put(OFFLINE_UNKNOWN, "false")
    station.settings.put(LOCAL_PRE_AUTHORIZE, "true")
    station.go_offline()
    refused = await station.charge(id_token="REFUSED", energy_wh=100)
    unknown = await station.charge(id_token="NOBODY", energy_wh=100)
    listed = await station.charge(id_token="LISTED", energy_wh=700)
    assert (refused.started, unknown.started, listed.started) == (False, False, True)
    station.go_online()
    await station.wait_online()
    await station.drain()
    one = await tenant.transaction(station)
    assert (one["energy_wh"], one["state"], one["authorization_status"]) == (700, "closed", "Accepted")
    # online, a listed token needs no Authorize
    before = len((await tenant.get("/transactions", station_id=station.station_id))["items"])
    assert (await station.charge(id_token="LISTED", energy_wh=300)).accepted
    assert len(await tenant.transactions(station)) == before + 1


# --- H: reservations --------------------------------------------------------------------------------------------------


def in_(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize("version", VERSIONS)
async def test_h03_a_reserved_place_is_used_by_its_token_and_nobody_else(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant()
    mine, other = (await tenant.token())["id_token"], (await tenant.token())["id_token"]
    station = await tenant.station(version)
    body = {"station_id": station.station_id, "id_token": mine, "evse_id": 1, "valid_until": in_(600)}
    if version != "1.6":
        body["id_token_type"] = "ISO14443"
    made = await tenant.send("POST", "/reservations", body, 201)
    assert made["state"] == "accepted"
    assert not (await station.charge(id_token=other, energy_wh=100)).started
    session = await station.charge(id_token=mine, energy_wh=600)
    assert session.reservation_id == made["ocpp_reservation_id"]
    seen = await tenant.until(lambda: tenant.get(f"/reservations/{made['id']}"), lambda seen: seen["state"] == "used")
    one = await tenant.transaction(station)
    assert (seen["transaction_id"], one["reservation_id"]) == (one["id"], made["ocpp_reservation_id"])
    await tenant.send("DELETE", f"/reservations/{made['id']}", status=409)


@pytest.mark.parametrize("version", VERSIONS)
async def test_h01_h02_an_occupied_place_is_refused_and_a_reservation_cancelled(
    house: ChargingHouse, version: str
) -> None:
    tenant = await house.tenant()
    station = await tenant.station(version)
    body = {"station_id": station.station_id, "id_token": "ANY", "valid_until": in_(600)}
    first = await tenant.send("POST", "/reservations", body, 201)
    second = await tenant.send("POST", "/reservations", body, 201)
    assert (first["state"], second["state"]) == ("accepted", "occupied")
    assert second["reason"]
    cancelled = await tenant.send("DELETE", f"/reservations/{first['id']}", status=200)
    assert cancelled["state"] == "cancelled"
    assert (await tenant.send("POST", "/reservations", body, 201))["state"] == "accepted"
    listed = (await tenant.get("/reservations", station_id=station.station_id))["items"]
    assert [one["state"] for one in listed] == ["accepted", "occupied", "cancelled"]


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_h04_h01_fr_16_the_station_tells_how_a_reservation_ended(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant()
    station = await tenant.station(version, evses=2)
    body = {"station_id": station.station_id, "id_token": "ANY", "id_token_type": "Central"}
    short = await tenant.send("POST", "/reservations", {**body, "evse_id": 1, "valid_until": in_(1)}, 201)
    broken = await tenant.send("POST", "/reservations", {**body, "evse_id": 2, "valid_until": in_(600)}, 201)
    assert (short["state"], broken["state"]) == ("accepted", "accepted")
    station.fault(2)
    for made, state in ((short, "expired"), (broken, "removed")):
        await tenant.until(
            lambda made=made: tenant.get(f"/reservations/{made['id']}"),
            lambda seen, state=state: seen["state"] == state,
        )  # type: ignore[misc]


async def test_h03_fr_04_a_token_of_the_group_uses_a_reservation(house: ChargingHouse) -> None:
    tenant = await house.tenant()
    mine, kin = (await tenant.token(group_id="FAM"))["id_token"], (await tenant.token(group_id="FAM"))["id_token"]
    for version in VERSIONS:
        station = await tenant.station(version)
        body = {"station_id": station.station_id, "id_token": mine, "group_id": "FAM", "valid_until": in_(600)}
        made = await tenant.send("POST", "/reservations", body, 201)
        assert (await station.charge(id_token=kin, energy_wh=100)).started, version
        await tenant.until(
            lambda made=made: tenant.get(f"/reservations/{made['id']}"), lambda seen: seen["state"] == "used"
        )  # type: ignore[misc]


async def test_h01_fr_06_a_type_of_connector_is_reserved(house: ChargingHouse) -> None:
    tenant = await house.tenant()
    station = await tenant.station("2.0.1")
    body = {"station_id": station.station_id, "id_token": "ANY", "valid_until": in_(600)}
    fits = await tenant.send("POST", "/reservations", {**body, "connector_type": AC_22.connector}, 201)
    assert fits["state"] == "accepted"
    none = await tenant.send("POST", "/reservations", {**body, "connector_type": "cG105"}, 201)
    assert none["state"] == "rejected"
    old = await tenant.station("1.6")
    cannot = await tenant.send(
        "POST", "/reservations", {**body, "station_id": old.station_id, "connector_type": "sType2"}, 201
    )
    assert cannot["state"] == "rejected"
    assert "1.6" in cannot["reason"]
    past = await tenant.client.post("/reservations", json={**body, "valid_until": in_(-5)})
    assert past.status_code == 422


# --- G: availability --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_g03_fr_08_a_station_that_forgot_its_availability_is_told_again(
    house: ChargingHouse, version: str
) -> None:
    tenant = await house.tenant()
    station = await tenant.station(version, evses=2, faults=frozenset({Fault.FORGETS_AVAILABILITY}))
    await tenant.command(station, type="change_availability", operative=False, evse_id=2)
    station.reboot(stop=None)
    await tenant.until(_operative(station), lambda seen: seen == [True, True])
    await tenant.until(_operative(station), lambda seen: seen == [True, False])
    (wanted,) = (await tenant.get(f"/charging-stations/{station.station_id}/availability"))["items"]
    assert (wanted["evse_id"], wanted["operative"], wanted["sent_again"]) == (2, False, 1)


def _operative(station: VirtualStation) -> Any:
    async def read() -> list[bool]:
        return [evse.operative for evse in station.evses]

    return read


# --- G: opening hours -------------------------------------------------------------------------------------------------


def week(*, is_open: bool) -> dict[str, Any]:
    """Hours of a place that is open, or closed, today and for days to come."""
    today = datetime.now(UTC).isoweekday()
    near = {(today + days - 1) % 7 + 1 for days in (-1, 0, 1)}
    return {"time_zone": "UTC", "weekly_times": [{"days": sorted(near if is_open else {1, 2, 3, 4, 5, 6, 7} - near)}]}


@pytest.mark.parametrize("version", VERSIONS)
async def test_opening_hours_take_a_station_out_of_service_and_in_again(house: ChargingHouse, version: str) -> None:
    """Block G: pushed to the station when they change, told again after a reboot that forgot them, in every version."""
    tenant = await house.tenant()
    faults = frozenset({Fault.FORGETS_AVAILABILITY})
    station = await tenant.station(version, evses=2, settings={"opening_hours": week(is_open=False)}, faults=faults)
    path = f"/charging-stations/{station.station_id}"
    await tenant.until(_operative(station), lambda seen: seen == [False, False])
    (wanted,) = (await tenant.until(lambda: tenant.get(f"{path}/availability"), lambda seen: bool(seen["items"])))[
        "items"
    ]
    assert (wanted["evse_id"], wanted["operative"]) == (0, False)
    station.reboot(stop=None)
    await tenant.until(_operative(station), lambda seen: seen == [True, True])
    await tenant.until(_operative(station), lambda seen: seen == [False, False])
    # other hours, by which it is open
    await tenant.send("PATCH", path, {"settings": {"opening_hours": week(is_open=True)}})
    await tenant.until(_operative(station), lambda seen: seen == [True, True])
    # an operator's own word holds until they change
    await tenant.command(station, type="change_availability", operative=False)
    sent = len(words(station, "ChangeAvailability"))
    other = await tenant.station(version, settings={"opening_hours": week(is_open=False)})
    await tenant.until(_operative(other), lambda seen: seen == [False])
    assert len(words(station, "ChangeAvailability")) == sent
    assert [evse.operative for evse in station.evses] == [False, False]


async def test_a_transaction_outlasts_closing_time(house: ChargingHouse) -> None:
    tenant = await house.tenant()
    tag = (await tenant.token())["id_token"]
    station = await tenant.station("2.0.1", settings={"opening_hours": week(is_open=True)})
    station.plug_in()
    session = await station.start_transaction(tag)
    path = f"/charging-stations/{station.station_id}"
    await tenant.send("PATCH", path, {"settings": {"opening_hours": week(is_open=False)}})

    async def asked() -> Any:
        return words(station, "ChangeAvailability")

    await tenant.until(asked, bool)
    await station.deliver(session, energy_wh=700)
    await station.stop_transaction(session)
    one = await tenant.transaction(station)
    assert (one["state"], one["energy_wh"]) == ("closed", 700)
    station.unplug()
    await tenant.until(_operative(station), lambda seen: seen == [False])


async def test_hours_of_no_time_zone_are_named_by_field(house: ChargingHouse) -> None:
    tenant = await house.tenant()
    for hours, field in (
        ({"time_zone": "Mars/Olympus"}, "/settings/opening_hours/time_zone"),
        ({"weekly_times": [{"days": [8]}]}, "/settings/opening_hours/weekly_times/0/days/0"),
    ):
        body = {"station_id": "NO-HOURS", "settings": {"opening_hours": hours}}
        answer = await tenant.client.post("/charging-stations", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"].removeprefix("#") == field, answer.text
