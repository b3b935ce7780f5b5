"""What a PUT or a PATCH makes of our copy of a partner's object."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from chargeplane.domain.roaming import replicas as rules
from chargeplane.domain.roaming.replicas import LocationCopy, Module, ObjectCopy, Outcome
from chargeplane.kernel.errors import InvalidInputError

OWNER = ("DE", "ABC")
T = "2026-01-01T00:00:{:02d}Z"


def at(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)


def evse(uid: str, second: int, status: str = "AVAILABLE", **more: Any) -> dict[str, Any]:
    return {
        "uid": uid,
        "status": status,
        "connectors": [
            {
                "id": "1",
                "standard": "IEC_62196_T2",
                "power_type": "AC_3_PHASE",
                "max_voltage": 230,
                "max_amperage": 32,
                "last_updated": T.format(second),
            }
        ],
        "last_updated": T.format(second),
        **more,
    }


def location(second: int, evses: list[dict[str, Any]], **more: Any) -> bytes:
    body = {
        "country_code": "DE",
        "party_id": "ABC",
        "id": "LOC1",
        "publish": True,
        "name": "Old",
        "evses": evses,
        "coordinates": {"latitude": "52.5", "longitude": "13.4"},
        "x_kept": {"a": [1.50]},
        "last_updated": T.format(second),
    }
    return json.dumps({**body, **more}).encode()


def stored(second: int = 10, *uids: str) -> LocationCopy:
    copy = LocationCopy("LOC1")
    assert (
        rules.put_location(copy, location(second, [evse(uid, second) for uid in uids or ("E1", "E2")]), OWNER)
        is Outcome.CREATED
    )
    for one in copy.evses.values():
        one.dirty = False
    copy.dirty = copy.touched = False
    return copy


def shown(copy: LocationCopy) -> dict[str, Any]:
    evses = [one.document for one in copy.evses.values() if one.there]
    found: dict[str, Any] = json.loads(rules.whole_location(copy.document, copy.last_updated, evses))
    return found


def test_unknown_fields_are_kept_as_sent() -> None:
    copy = stored()
    assert b"1.5" in copy.document
    assert shown(copy)["x_kept"] == {"a": [1.50]}


def test_connector_bumps_evse_and_location() -> None:
    copy = stored(10, "E1")
    patch = json.dumps({"tariff_ids": ["T1"], "last_updated": T.format(20)}).encode()
    assert rules.patch_connector(copy, "e1", "1", patch) is Outcome.UPDATED
    found = shown(copy)
    assert found["last_updated"] == "2026-01-01T00:00:20.000Z"
    assert found["evses"][0]["last_updated"] == "2026-01-01T00:00:20.000Z"
    assert found["evses"][0]["connectors"][0]["tariff_ids"] == ["T1"]
    assert found["evses"][0]["connectors"][0]["standard"] == "IEC_62196_T2"


def test_evse_bumps_location_only() -> None:
    copy = stored()
    patch = json.dumps({"status": "CHARGING", "last_updated": T.format(20)}).encode()
    assert rules.patch_evse(copy, "E2", patch) is Outcome.UPDATED
    found = shown(copy)
    assert [one["status"] for one in found["evses"]] == ["AVAILABLE", "CHARGING"]
    assert [one["last_updated"] for one in found["evses"]] == [T.format(10), T.format(20)]
    assert found["last_updated"] == "2026-01-01T00:00:20.000Z"
    assert copy.touched
    assert not copy.dirty


def test_late_write_changes_nothing() -> None:
    copy = stored(10)
    assert (
        rules.patch_evse(copy, "E1", json.dumps({"status": "CHARGING", "last_updated": T.format(9)}).encode())
        is Outcome.LATE
    )
    assert rules.put_location(copy, location(9, []), OWNER) is Outcome.LATE
    assert (
        rules.patch_location(copy, json.dumps({"name": "N", "last_updated": T.format(9)}).encode(), OWNER)
        is Outcome.LATE
    )
    assert not copy.dirty
    assert not copy.touched


def test_location_older_than_a_status_below_it_still_brings_its_name_and_leaves_the_status() -> None:
    copy = stored(10, "E1")
    rules.patch_evse(copy, "E1", json.dumps({"status": "CHARGING", "last_updated": T.format(30)}).encode())
    assert rules.put_location(copy, location(20, [evse("E1", 10)], name="New"), OWNER) is Outcome.UPDATED
    found = shown(copy)
    assert found["name"] == "New"
    assert found["evses"][0]["status"] == "CHARGING"
    assert found["last_updated"] == "2026-01-01T00:00:30.000Z"


def test_put_of_a_location_removes_evses_it_does_not_name() -> None:
    copy = stored(10, "E1", "E2")
    assert rules.put_location(copy, location(11, [evse("E2", 11)]), OWNER) is Outcome.UPDATED
    assert [one["uid"] for one in shown(copy)["evses"]] == ["E2"]
    assert copy.evses["e1"].gone


def test_patch_of_a_location_removes_nothing() -> None:
    copy = stored(10, "E1", "E2")
    patch = {
        "name": "New",
        "evses": [{"uid": "E1", "status": "BLOCKED", "last_updated": T.format(20)}, evse("E3", 20)],
        "last_updated": T.format(20),
    }
    assert rules.patch_location(copy, json.dumps(patch).encode(), OWNER) is Outcome.UPDATED
    assert [(one["uid"], one["status"]) for one in shown(copy)["evses"]] == [
        ("E1", "BLOCKED"), ("E2", "AVAILABLE"), ("E3", "AVAILABLE")]  # fmt: skip


def test_refused_patch_leaves_nothing_behind() -> None:
    copy = stored(10, "E1")
    patch = {"evses": [{"uid": "E1", "status": "BLOCKED"}, {"uid": "E9"}], "last_updated": T.format(20)}
    with pytest.raises(InvalidInputError):
        rules.patch_location(copy, json.dumps(patch).encode(), OWNER)
    assert shown(copy)["evses"][0]["status"] == "AVAILABLE"
    assert not copy.evses["e1"].dirty


def test_null_in_a_patch_takes_a_field_away() -> None:
    copy = stored()
    assert (
        rules.patch_location(copy, json.dumps({"name": None, "last_updated": T.format(20)}).encode(), OWNER)
        is Outcome.UPDATED
    )
    assert "name" not in shown(copy)


@pytest.mark.parametrize(
    "body", [{"status": "CHARGING"}, {"status": "CHARGING", "last_updated": None}, {"last_updated": "noon"}]
)
def test_patch_without_last_updated_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        rules.patch_evse(stored(), "E1", json.dumps(body).encode())
    assert caught.value.fields[0][0] == "/last_updated"


@pytest.mark.parametrize(("name", "value"), [("id", "LOC2"), ("party_id", "XYZ"), ("country_code", "NL")])
def test_ids_in_url_and_body_must_agree(name: str, value: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        rules.put_location(LocationCopy("LOC1"), location(1, [], **{name: value}), OWNER)
    assert caught.value.fields[0][0] == f"/{name}"


def test_ids_are_compared_without_case_and_kept_as_sent() -> None:
    copy = LocationCopy("loc1")
    assert rules.put_location(copy, location(1, [evse("Aa", 1)]), ("de", "abc")) is Outcome.CREATED
    assert shown(copy)["id"] == "LOC1"
    assert (
        rules.patch_evse(copy, "AA", json.dumps({"status": "CHARGING", "last_updated": T.format(2)}).encode())
        is Outcome.UPDATED
    )
    assert shown(copy)["evses"][0]["uid"] == "Aa"


def test_nothing_is_patched_that_is_not_there() -> None:
    patch = json.dumps({"status": "CHARGING", "last_updated": T.format(20)}).encode()
    assert rules.patch_evse(LocationCopy("L"), "E1", patch) is Outcome.UNKNOWN
    assert rules.patch_evse(stored(), "E9", patch) is Outcome.UNKNOWN
    assert rules.patch_connector(stored(), "E1", "9", patch) is Outcome.UNKNOWN
    assert rules.put_evse(LocationCopy("L"), "E1", json.dumps(evse("E1", 1)).encode()) is Outcome.UNKNOWN


def test_power_of_a_connector_follows_from_voltage_and_current_where_it_is_not_said() -> None:
    keys = rules.evse_keys(json.dumps(evse("E1", 1)).encode())
    assert keys.connectors[0].power_w == 22_080


def session(second: int, **more: Any) -> bytes:
    body = {
        "country_code": "DE",
        "party_id": "ABC",
        "id": "S1",
        "kwh": 1.0,
        "charging_periods": [period(1)],
        "last_updated": T.format(second),
    }
    return json.dumps({**body, **more}).encode()


def period(hour: int) -> dict[str, Any]:
    return {"start_date_time": f"2026-01-01T{hour:02d}:00:00Z", "dimensions": [{"type": "ENERGY", "volume": hour}]}


def test_patch_of_a_session_adds_charging_periods_once() -> None:
    copy = ObjectCopy("S1")
    assert rules.put_object(copy, Module.SESSIONS, session(1), OWNER) is Outcome.CREATED
    patch = json.dumps({"kwh": 2.5, "charging_periods": [period(2)], "last_updated": T.format(2)}).encode()
    assert rules.patch_object(copy, Module.SESSIONS, patch, OWNER) is Outcome.UPDATED
    assert rules.patch_object(copy, Module.SESSIONS, patch, OWNER) is Outcome.UNCHANGED
    found = json.loads(copy.document)
    assert found["kwh"] == 2.5
    assert found["charging_periods"] == [period(1), period(2)]


def test_put_of_a_session_replaces_its_charging_periods() -> None:
    copy = ObjectCopy("S1")
    rules.put_object(copy, Module.SESSIONS, session(1), OWNER)
    rules.put_object(copy, Module.SESSIONS, session(2, charging_periods=[]), OWNER)
    assert json.loads(copy.document)["charging_periods"] == []


def test_token_is_named_by_its_uid() -> None:
    body = json.dumps({"country_code": "DE", "party_id": "ABC", "uid": "T1", "last_updated": T.format(1)}).encode()
    assert rules.put_object(ObjectCopy("t1"), Module.TOKENS, body, OWNER) is Outcome.CREATED
    with pytest.raises(InvalidInputError):
        rules.put_object(ObjectCopy("T2"), Module.TOKENS, body, OWNER)


def test_calendar_bumps_its_booking_location() -> None:
    copy = ObjectCopy("B1")
    place = {"country_code": "DE", "party_id": "ABC", "id": "B1", "location_id": "L1", "last_updated": T.format(1)}
    rules.put_object(copy, Module.BOOKING_LOCATIONS, json.dumps(place).encode(), OWNER)
    calendar = {"id": "C1", "begin_from": T.format(0), "last_updated": T.format(5)}
    assert rules.set_calendar(copy, "c1", json.dumps(calendar).encode(), whole=True) is Outcome.CREATED
    patch = json.dumps({"timeslot_increment": 15, "last_updated": T.format(6)}).encode()
    assert rules.set_calendar(copy, "C1", patch, whole=False) is Outcome.UPDATED
    assert rules.set_calendar(copy, "C2", patch, whole=False) is Outcome.UNKNOWN
    found = json.loads(copy.document)
    assert found["last_updated"] == "2026-01-01T00:00:06.000Z"
    assert found["calendars"][0]["timeslot_increment"] == 15
    assert json.loads(rules.calendar_in(copy.document, "c1") or b"")["begin_from"] == T.format(0)
