"""What a PATCH changes and what it leaves (OCPI 2.3.0 mod_sessions, mod_locations, mod_tokens: PATCH)."""

from __future__ import annotations

from typing import Any

import pytest

from chargeplane.ocpi.documents import DocumentError
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.merge import connector_of, evse_of, merge, with_calendar, with_connector, with_evse

OLD, NEW = "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"


def period(hour: int) -> dict[str, Any]:
    return {"start_date_time": f"2026-01-01T{hour:02}:00:00Z", "dimensions": [{"type": "ENERGY", "volume": hour}]}


def session() -> dict[str, Any]:
    return {
        "country_code": "NL",
        "party_id": "TNM",
        "id": "101",
        "kwh": 1,
        "meter_id": "M1",
        "charging_periods": [period(1)],
        "last_updated": OLD,
    }


def location() -> dict[str, Any]:
    connector = {"id": "1", "max_amperage": 16, "last_updated": OLD}
    return {
        "id": "L1",
        "evses": [
            {"uid": "E1", "status": "AVAILABLE", "connectors": [connector], "last_updated": OLD},
            {"uid": "E2", "status": "AVAILABLE", "connectors": [connector], "last_updated": OLD},
        ],
        "last_updated": OLD,
    }


def test_fields_that_are_not_named_stay() -> None:
    merged = merge(Kind.SESSION, session(), {"kwh": 2, "last_updated": NEW})
    assert merged == {**session(), "kwh": 2, "last_updated": NEW}


def test_charging_periods_of_a_session_are_added() -> None:
    merged = merge(Kind.SESSION, session(), {"charging_periods": [period(2), period(3)], "last_updated": NEW})
    assert merged["charging_periods"] == [period(1), period(2), period(3)]


def test_an_empty_list_of_charging_periods_changes_nothing() -> None:
    assert merge(Kind.SESSION, session(), {"charging_periods": [], "last_updated": NEW})["charging_periods"] == [
        period(1)
    ]


def test_a_repeated_patch_adds_its_periods_once() -> None:
    patch = {"charging_periods": [period(2)], "last_updated": NEW}
    once = merge(Kind.SESSION, session(), patch)
    assert merge(Kind.SESSION, once, patch) == once


def test_other_lists_are_replaced() -> None:
    merged = merge(Kind.CONNECTOR, {"id": "1", "tariff_ids": ["11"]}, {"tariff_ids": ["15"], "last_updated": NEW})
    assert merged["tariff_ids"] == ["15"]


def test_null_removes_an_optional_field_and_cannot_remove_a_required_one() -> None:
    assert "meter_id" not in merge(Kind.SESSION, session(), {"meter_id": None, "last_updated": NEW})
    with pytest.raises(DocumentError) as caught:
        merge(Kind.SESSION, session(), {"kwh": None, "last_updated": NEW})
    assert caught.value.fields[0][0] == "/kwh"


def test_last_updated_is_required_but_where_the_time_of_receipt_may_stand_in() -> None:
    with pytest.raises(DocumentError) as caught:
        merge(Kind.SESSION, session(), {"kwh": 2})
    assert caught.value.fields[0][0] == "/last_updated"
    assert merge(Kind.SESSION, session(), {"kwh": 2}, received=NEW)["last_updated"] == NEW


def test_an_id_may_be_repeated_in_any_case_and_not_changed() -> None:
    merged = merge(Kind.SESSION, session(), {"party_id": "tnm", "kwh": 2, "last_updated": NEW})
    assert merged["party_id"] == "TNM"
    with pytest.raises(DocumentError) as caught:
        merge(Kind.SESSION, session(), {"id": "102", "last_updated": NEW})
    assert caught.value.fields[0][0] == "/id"


def test_unknown_fields_are_merged_as_others() -> None:
    merged = merge(Kind.SESSION, {**session(), "nltnm_a": 1}, {"nltnm_b": 2, "last_updated": NEW})
    assert (merged["nltnm_a"], merged["nltnm_b"]) == (1, 2)


def test_nothing_is_changed_in_place() -> None:
    before = session()
    merge(Kind.SESSION, before, {"charging_periods": [period(2)], "meter_id": None, "last_updated": NEW})
    assert before == session()


def test_an_evse_that_changed_raises_its_location() -> None:
    changed = with_evse(location(), {"uid": "e1", "status": "CHARGING", "connectors": [], "last_updated": NEW})
    assert changed["last_updated"] == NEW
    assert [evse["status"] for evse in changed["evses"]] == ["CHARGING", "AVAILABLE"]
    assert with_evse(location(), {"uid": "E3", "last_updated": NEW})["evses"][2]["uid"] == "E3"


def test_a_connector_that_changed_raises_its_evse_and_location() -> None:
    changed = with_connector(location(), "E2", {"id": "1", "max_amperage": 32, "last_updated": NEW})
    first, second = changed["evses"]
    assert (changed["last_updated"], second["last_updated"], first["last_updated"]) == (NEW, NEW, OLD)
    evse = evse_of(changed, "e2")
    assert evse is not None
    connector = connector_of(evse, "1")
    assert connector is not None
    assert connector["max_amperage"] == 32
    with pytest.raises(KeyError):
        with_connector(location(), "E9", {"id": "1"})


def test_a_late_change_does_not_set_the_location_back() -> None:
    changed = with_evse({**location(), "last_updated": NEW}, {"uid": "E1", "last_updated": OLD})
    assert changed["last_updated"] == NEW


def test_a_calendar_raises_its_booking_location() -> None:
    changed = with_calendar({"id": "B", "last_updated": OLD}, {"id": "C", "last_updated": NEW})
    assert (changed["calendars"], changed["last_updated"]) == ([{"id": "C", "last_updated": NEW}], NEW)
