"""What we are asked to send is checked harder than what we receive."""

from __future__ import annotations

import pytest

from chargeplane.ocpp import OcppVersion, validate_payload

V16, V201 = OcppVersion.V16, OcppVersion.V201

PROFILE = (
    b'{"connectorId":1,"csChargingProfiles":{"chargingProfileId":1,"stackLevel":0,"chargingProfilePurpose":"TxProfile",'
    b'"chargingProfileKind":"Relative","chargingSchedule":{"chargingRateUnit":"A",'
    b'"chargingSchedulePeriod":[{"startPeriod":0,"limit":%b}]}}}'
)
LIMIT = "/csChargingProfiles/chargingSchedule/chargingSchedulePeriod/0/limit"
RESERVE = b'{"connectorId":1,"expiryDate":"%b","idTag":"A","reservationId":1}'
VARIABLES = (
    b'{"setVariableData":[{"attributeValue":"1","component":{"name":"C"},"variable":{"name":"V"},"customData":%b}]}'
)


@pytest.mark.parametrize("limit", [b"16", b"16.1", b"0.1", b"16.30", b"-1", b"123456789.9", b"1.61e1"])
def test_limits_with_one_decimal_are_right(limit: bytes) -> None:
    assert validate_payload(V16, "SetChargingProfile", PROFILE % limit) == []


@pytest.mark.parametrize("limit", [b"16.35", b'"16"', b"null", b"true", b"1e400", b"1e30", b'"NaN"'])
def test_other_limits_are_named(limit: bytes) -> None:
    assert [pointer for pointer, _ in validate_payload(V16, "SetChargingProfile", PROFILE % limit)] == [LIMIT]


@pytest.mark.parametrize("time", [b"2026-01-31T12:00:00Z", b"2026-01-31T12:00:00.123Z", b"2026-01-31T12:00:00+01:00"])
def test_timestamps_are_rfc_3339(time: bytes) -> None:
    assert validate_payload(V16, "ReserveNow", RESERVE % time) == []


@pytest.mark.parametrize("time", [b"", b"tomorrow", b"2026-01-31", b"2026-01-31T12:00:00", b"2026-02-30T12:00:00Z"])
def test_other_timestamps_are_named(time: bytes) -> None:
    assert [pointer for pointer, _ in validate_payload(V16, "ReserveNow", RESERVE % time)] == ["/expiryDate"]


def test_custom_data_is_free_but_for_its_vendor() -> None:
    assert validate_payload(V201, "SetVariables", VARIABLES % b'{"vendorId":"v","x":{"y":[1]}}') == []
    for wrong in (b"{}", b'{"vendorId":5}', b'{"vendorId":"%b"}' % (b"x" * 256)):
        problems = validate_payload(V201, "SetVariables", VARIABLES % wrong)
        assert [pointer for pointer, _ in problems] == ["/setVariableData/0/customData/vendorId"]


def test_a_misspelt_field_is_named() -> None:
    problems = validate_payload(V16, "Reset", b'{"type":"Hard","Type":"Hard"}')
    assert problems == [("/Type", "/Type: Object contains unknown field `Type`")]


def test_responses_can_be_checked_too() -> None:
    assert validate_payload(V16, "Reset", b'{"status":"Accepted"}', response=True) == []
    assert validate_payload(V16, "Reset", b'{"status":"Yes"}', response=True)[0][0] == "/status"


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b'{"type":"\xff"}'])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    assert [pointer for pointer, _ in validate_payload(V16, "Reset", payload)] == [""]


def test_deep_json_is_refused() -> None:
    deep = b'{"vendorId":"v","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert validate_payload(V201, "SetVariables", VARIABLES % deep) == [("", "The JSON is nested too deep")]


def test_an_action_of_another_version_is_refused() -> None:
    assert validate_payload(V201, "RemoteStartTransaction", b"{}") == [
        ("", "OCPP 2.0.1 has no action 'RemoteStartTransaction'")
    ]
