"""A provider limits its driver's session at a partner's station, is told what came of it, and what else limits it; over the wire between two
installations, with a virtual station."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.charging_house import ChargingHouse
from tests.support.roaming_pair import HOLD, Pair, begun, shared, station_of

VERSIONS = ("2.2.1", "2.3.0")  # 2.1.1 has none


async def charging(pair: Pair) -> tuple[Any, str]:
    """A session of the provider's driver that goes on: the station, and the session's id at the provider."""
    station, uid = await station_of(pair, options=HOLD)
    return station, (await begun(pair, uid))["id"]


def limits(told: Any) -> list[float]:
    """What an ActiveChargingProfile allows, in order."""
    return [one["limit"] for one in (told or {}).get("charging_profile", {}).get("charging_profile_period", ())]


@pytest.mark.parametrize("version", VERSIONS)
async def test_profile_is_set_told_read_and_cleared(houses: tuple[ChargingHouse, ChargingHouse], version: str) -> None:
    pair = await shared(houses, version)
    station, session = await charging(pair)
    path = f"/roaming/sessions/{session}/charging-profile"
    profile = {
        "charging_rate_unit": "A",
        "charging_profile_period": [{"start_period": 0, "limit": 20.5}, {"start_period": 7200, "limit": 16}],
    }
    given = await pair.provider.send("PUT", f"{path}?wait_s=30", profile)
    assert (given["type"], given["state"], given["result"]) == ("SET_PROFILE", "done", "ACCEPTED"), given
    assert [action for action, _ in station.calls].count("SetChargingProfile") == 1

    async def active() -> Any:
        return (await pair.provider.get(f"/roaming/sessions/{session}"))["active_profile"]

    await pair.provider.until(active, lambda told: limits(told) == [20.5, 16])

    # What the operator allows changes: it says so by itself.
    await pair.operator.send(
        "PUT", f"/charging-stations/{station.station_id}/static-limit", {"evse_id": 0, "limit": 10, "unit": "A"}
    )
    told = await pair.provider.until(active, lambda told: limits(told) == [10])
    assert told["charging_profile"]["charging_rate_unit"] == "A"

    read = await pair.provider.send("POST", f"{path}/read?wait_s=30", {"duration_s": 3600})
    assert (read["type"], read["state"], read["result"]) == ("ACTIVE_PROFILE", "done", "ACCEPTED"), read
    result = (await pair.provider.get(f"/roaming/commands/{read['id']}"))["told"]
    assert limits(result["profile"])[0] == 10

    cleared = await pair.provider.send("DELETE", f"{path}?wait_s=30")
    assert (cleared["type"], cleared["state"], cleared["result"]) == ("CLEAR_PROFILE", "done", "ACCEPTED"), cleared
    assert [action for action, _ in station.calls].count("ClearChargingProfile") == 1
    # There is none any more: of what is cleared that is a word of its own (OCPI ClearProfileResult).
    again = await pair.provider.until(
        lambda: pair.provider.send("DELETE", f"{path}?wait_s=30"), lambda one: one["response"] != "TOO_OFTEN"
    )
    assert (again["type"], again["result"]) == ("CLEAR_PROFILE", "UNKNOWN"), again


async def test_profile_of_a_partner_stays_within_the_static_limit_of_its_evse(
    houses: tuple[ChargingHouse, ChargingHouse],
) -> None:
    pair = await shared(houses, "2.3.0")
    station, session = await charging(pair)
    await pair.operator.send(
        "PUT", f"/charging-stations/{station.station_id}/static-limit", {"evse_id": 1, "limit": 8, "unit": "A"}
    )
    profile = {"charging_rate_unit": "A", "charging_profile_period": [{"start_period": 0, "limit": 32}]}
    given = await pair.provider.send("PUT", f"/roaming/sessions/{session}/charging-profile?wait_s=30", profile)
    assert given["result"] == "ACCEPTED", given
    held = await pair.operator.get(f"/charging-stations/{station.station_id}/charging-profiles", origin="partner")
    (one,) = held["items"]
    assert one["state"] == "installed"
    assert float(one["sent"]["schedules"][0]["periods"][0]["limit"]) == 8


async def test_profile_that_cannot_be_is_refused_with_the_reason(houses: tuple[ChargingHouse, ChargingHouse]) -> None:
    pair = await shared(houses, "2.2.1")
    station, session = await charging(pair)
    path = f"/roaming/sessions/{session}/charging-profile"
    client = pair.provider.client
    profile = {"charging_rate_unit": "A", "charging_profile_period": [{"start_period": 0, "limit": 16}]}
    for wrong, pointer in (
        ({**profile, "charging_rate_unit": "V"}, "#/charging_rate_unit"),
        ({**profile, "charging_profile_period": []}, "#/charging_profile_period"),
        ({**profile, "duration": 0}, "#/duration"),
        ({**profile, "colour": "red"}, None),
    ):
        answer = await client.put(path, json=wrong)
        assert answer.status_code in (400, 422), answer.text
        if pointer is not None:
            assert pointer in answer.text
    # What our own checks let pass the operator refuses: periods must begin at 0.
    late = {**profile, "charging_profile_period": [{"start_period": 5, "limit": 16}]}
    refused = await pair.provider.send("PUT", f"{path}?wait_s=30", late)
    assert refused["state"] in ("refused", "failed")
    assert "0" in refused["message"]
    for method, body in (("PUT", profile), ("DELETE", None), ("POST", {})):
        elsewhere = "/roaming/sessions/999999999/charging-profile" + ("/read" if method == "POST" else "")
        assert (await client.request(method, elsewhere, json=body)).status_code == 404
    await pair.provider.send("POST", "/roaming/commands?wait_s=30", {"type": "stop_session", "session_id": session})

    async def status() -> Any:
        return (await pair.provider.get(f"/roaming/sessions/{session}"))["status"]

    await pair.provider.until(status, lambda word: word == "COMPLETED")
    assert (await client.put(path, json=profile)).status_code == 409
    station.unplug()


@pytest.mark.parametrize("version", VERSIONS)
async def test_preferences_are_answered_by_what_the_place_can_do(
    houses: tuple[ChargingHouse, ChargingHouse], version: str
) -> None:
    pair = await shared(houses, version)
    _, uid = await station_of(pair, options=HOLD, capabilities=("CHARGING_PREFERENCES_CAPABLE",))
    session = (await begun(pair, uid))["id"]
    path = f"/roaming/sessions/{session}/charging-preferences"
    wishes = {"departure_time": "2027-01-01T06:00:00Z", "energy_need": 20.5, "discharge_allowed": False}
    for profile, answer in (
        ("REGULAR", "ACCEPTED"),
        ("FAST", "ACCEPTED"),
        ("CHEAP", "PROFILE_TYPE_NOT_SUPPORTED"),
        ("GREEN", "PROFILE_TYPE_NOT_SUPPORTED"),
    ):
        told = await pair.provider.send("POST", path, {"profile_type": profile, **wishes})
        assert told == {"response": answer}, profile
    await pair.provider.send("POST", "/roaming/commands?wait_s=30", {"type": "stop_session", "session_id": session})


async def test_result_of_a_profile_is_found_where_the_process_died_that_waited_for_it(
    houses: tuple[ChargingHouse, ChargingHouse],
) -> None:
    pair = await shared(houses, "2.2.1")
    station, session = await charging(pair)
    path = f"/roaming/sessions/{session}/charging-profile"
    profile = {"charging_rate_unit": "A", "charging_profile_period": [{"start_period": 0, "limit": 16}]}
    given = await pair.provider.send("PUT", f"{path}?wait_s=30", profile)
    assert given["result"] == "ACCEPTED", given
    database = houses[0].server.database
    # As a process left it that died before it wrote the result, at the end of the time that the partner was told.
    forget = (
        "UPDATE roaming_request SET result = NULL, result_at = NULL, sent_at = NULL, due_at = now(), deadline = now()"
        " WHERE id = (SELECT max(id) FROM roaming_request WHERE kind = 'SET_PROFILE') RETURNING id"
    )

    async def result(ident: int) -> Any:
        async with database.read() as db:
            return await db.fetchval(
                "SELECT result::json ->> 'result' FROM roaming_request WHERE id = $1 AND sent_at IS NOT NULL", ident
            )

    async with database.change() as db:
        ident = await db.fetchval(forget)
    assert await pair.operator.until(lambda: result(ident), bool) == "ACCEPTED"

    # What has not reached the station by then must not reach it afterwards: the partner is told that it did not.
    station.go_offline()
    async with database.change() as db:
        await db.execute(
            "UPDATE charging_profile SET state = 'wanted', retry_at = now() + interval '1 day'"
            " WHERE station_key = (SELECT key FROM charging_station WHERE station_id = $1)",
            station.station_id,
        )
        await db.fetchval(forget)
    assert await pair.operator.until(lambda: result(ident), bool) in ("TIMEOUT", "REJECTED")
    async with database.read() as db:
        states = await db.fetch(
            "SELECT p.state FROM charging_profile p JOIN charging_station s ON s.key = p.station_key WHERE s.station_id = $1",
            station.station_id,
        )
    assert {row["state"] for row in states} <= {"removing", "removed", "refused"}
