"""Local lists and reservations as calls of the three versions, and what stations answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from chargeplane.bridge import INCOMING, OUTGOING
from chargeplane.bridge.commands import outcome, to_call
from chargeplane.domain.commands import (
    CallOutcome,
    CallOutcomeKind,
    CancelReservation,
    Command,
    CommandState,
    GetLocalListLimits,
    GetLocalListVersion,
    LocalListVersion,
    ReserveNow,
    SendLocalList,
    Start,
    Trigger,
)
from chargeplane.domain.local_lists import ListEntry, ListLimits, ListUpdate
from chargeplane.domain.messages import (
    AdditionalIdToken,
    AuthorizationStatus,
    Authorize,
    IdToken,
    IdTokenInfo,
    LimitKind,
    TransactionAnswer,
    TransactionLimits,
)
from chargeplane.kernel.errors import InvalidInputError, RuleError
from chargeplane.ocpp.catalogue import decode_request, encode
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V16, V21, V201, VERSIONS, validate

UNTIL = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
RFID = IdToken(value="04A1", type="ISO14443")


def sent(version: OcppVersion, command: Command) -> tuple[str, Any]:
    action, request = to_call(version, command)
    payload = json.loads(encode(request))
    validate(version, f"{action}Request", payload)
    return action, payload


def answered(version: OcppVersion, command: Command, action: str, payload: object) -> Any:
    call = CallOutcome(
        outcome=CallOutcomeKind.CALLRESULT, message_id="m", payload=msgspec.json.encode(payload), latency_ms=1
    )
    return outcome(version, command, action, call)


LIST = SendLocalList(
    version=7,
    put=(
        ListEntry(id_token=RFID, group_id="FAM", valid_until=UNTIL),
        ListEntry(id_token=IdToken(value="04A2", type="ISO14443"), status=AuthorizationStatus.BLOCKED),
    ),
    remove=(IdToken(value="04A3", type="ISO14443"),),
)


def test_d01_fr_16_17_a_difference_in_1_6() -> None:
    assert sent(V16, LIST) == (
        "SendLocalList",
        {
            "listVersion": 7,
            "updateType": "Differential",
            "localAuthorizationList": [
                {"idTag": "04A3"},
                {
                    "idTag": "04A1",
                    "idTagInfo": {
                        "status": "Accepted",
                        "expiryDate": "2026-05-01T12:00:00.000Z",
                        "parentIdTag": "FAM",
                    },
                },
                {"idTag": "04A2", "idTagInfo": {"status": "Blocked"}},
            ],
        },
    )


@pytest.mark.parametrize("version", [V201, V21])
def test_d01_fr_16_17_a_difference_in_2x(version: OcppVersion) -> None:
    assert sent(version, LIST) == (
        "SendLocalList",
        {
            "versionNumber": 7,
            "updateType": "Differential",
            "localAuthorizationList": [
                {"idToken": {"idToken": "04A3", "type": "ISO14443"}},
                {
                    "idToken": {"idToken": "04A1", "type": "ISO14443"},
                    "idTokenInfo": {
                        "status": "Accepted",
                        "cacheExpiryDateTime": "2026-05-01T12:00:00.000Z",
                        "groupIdToken": {"idToken": "FAM", "type": "Central"},
                    },
                },
                {"idToken": {"idToken": "04A2", "type": "ISO14443"}, "idTokenInfo": {"status": "Blocked"}},
            ],
        },
    )


def test_d01_fr_04_an_empty_full_list_clears() -> None:
    clear = SendLocalList(version=2, kind=ListUpdate.FULL)
    assert sent(V201, clear)[1] == {"versionNumber": 2, "updateType": "Full"}
    assert sent(V16, clear)[1] == {"listVersion": 2, "updateType": "Full", "localAuthorizationList": []}


@pytest.mark.parametrize(
    ("version", "command", "pointer"),
    [
        (V16, SendLocalList(version=1, put=(ListEntry(id_token=IdToken(value="x" * 21)),)), "/put/0/id_token/value"),
        (V201, SendLocalList(version=1, remove=(IdToken(value="x", type="VIN"),)), "/remove/0/type"),
        (V21, SendLocalList(version=1, kind=ListUpdate.FULL, remove=(RFID,)), "/remove"),
        (V201, ReserveNow(reservation_id=1, id_token=RFID, expires_at=UNTIL, connector_type="x"), "/connector_type"),
        (
            V21,
            ReserveNow(reservation_id=1, id_token=RFID, expires_at=UNTIL, evse_id=1, connector_type="x"),
            "/connector_type",
        ),
        (
            V16,
            ReserveNow(reservation_id=1, id_token=RFID, expires_at=UNTIL, group_id_token=IdToken(value="g" * 21)),
            "/group_id_token/value",
        ),
    ],
)
def test_what_a_version_cannot_say_is_named_by_field(version: OcppVersion, command: Command, pointer: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        to_call(version, command)
    assert refused.value.fields[0][0] == pointer


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("field", ["listVersion", "versionNumber"])
def test_the_version_of_a_list_is_read_from_either_field(version: OcppVersion, field: str) -> None:
    """stations.md: GetLocalListVersion answered with the 1.6 field."""
    told = answered(version, GetLocalListVersion(), "GetLocalListVersion", {field: 5})
    assert told.state is CommandState.ACCEPTED
    assert msgspec.json.decode(told.reply, type=LocalListVersion) == LocalListVersion(version=5)


def test_a_station_without_a_list_says_minus_one() -> None:
    """OCPP 1.6, 5.10."""
    told = answered(V16, GetLocalListVersion(), "GetLocalListVersion", {"listVersion": -1})
    assert (told.state, told.status) == (CommandState.REJECTED, "NotSupported")


@pytest.mark.parametrize("payload", [{}, {"listVersion": "x"}, [], {"versionNumber": None}])
def test_a_version_that_is_none_is_a_failure(payload: object) -> None:
    assert answered(V201, GetLocalListVersion(), "GetLocalListVersion", payload).state is CommandState.FAILED


def test_limits_of_a_list_in_1_6() -> None:
    action, payload = sent(V16, GetLocalListLimits())
    assert (action, len(payload["key"])) == ("GetConfiguration", 3)
    keys = [
        {"key": "LocalAuthListEnabled", "readonly": False, "value": "True"},
        {"key": "localauthlistmaxlength", "readonly": True, "value": " 500 "},
        {"key": "SendLocalListMaxLength", "readonly": True, "value": "many"},
        {"key": "Unasked", "readonly": True, "value": "1"},
    ]
    told = answered(V16, GetLocalListLimits(), action, {"configurationKey": keys})
    assert msgspec.json.decode(told.reply, type=ListLimits) == ListLimits(enabled=True, max_entries=500)


@pytest.mark.parametrize("version", [V201, V21])
def test_limits_of_a_list_in_2x(version: OcppVersion) -> None:
    action, payload = sent(version, GetLocalListLimits())
    results = [
        {**one, "attributeStatus": "Accepted", "attributeValue": value}
        for one, value in zip(payload["getVariableData"], ("false", "20", "300"), strict=True)
    ]
    told = answered(version, GetLocalListLimits(), action, {"getVariableResult": results})
    assert msgspec.json.decode(told.reply, type=ListLimits) == ListLimits(
        enabled=False, max_entries=300, items_per_message=20
    )
    results[2] = {**results[2], "attributeStatus": "NotSupportedAttributeType"}
    told = answered(version, GetLocalListLimits(), action, {"getVariableResult": results})
    assert msgspec.json.decode(told.reply, type=ListLimits).max_entries is None


RESERVE = ReserveNow(
    reservation_id=3, id_token=RFID, expires_at=UNTIL, group_id_token=IdToken(value="FAM", type="Central"), evse_id=2
)


def test_h01_a_reservation_in_1_6() -> None:
    assert sent(V16, RESERVE) == (
        "ReserveNow",
        {
            "reservationId": 3,
            "connectorId": 2,
            "idTag": "04A1",
            "parentIdTag": "FAM",
            "expiryDate": "2026-05-01T12:00:00.000Z",
        },
    )
    anywhere = ReserveNow(reservation_id=3, id_token=RFID, expires_at=UNTIL)
    assert sent(V16, anywhere)[1]["connectorId"] == 0  # 1.6, 5.13
    with pytest.raises(RuleError, match="connector_type"):
        to_call(V16, ReserveNow(reservation_id=3, id_token=RFID, expires_at=UNTIL, connector_type="cCCS2"))


@pytest.mark.parametrize("version", [V201, V21])
def test_h01_a_reservation_in_2x(version: OcppVersion) -> None:
    assert sent(version, RESERVE)[1] == {
        "id": 3,
        "evseId": 2,
        "idToken": {"idToken": "04A1", "type": "ISO14443"},
        "groupIdToken": {"idToken": "FAM", "type": "Central"},
        "expiryDateTime": "2026-05-01T12:00:00.000Z",
    }
    by_type = ReserveNow(reservation_id=3, id_token=RFID, expires_at=UNTIL, connector_type="cCCS2")
    payload = sent(version, by_type)[1]
    assert (payload["connectorType"], "evseId" in payload) == ("cCCS2", False)


@pytest.mark.parametrize("version", VERSIONS)
def test_h02_a_reservation_is_cancelled(version: OcppVersion) -> None:
    assert sent(version, CancelReservation(reservation_id=3)) == ("CancelReservation", {"reservationId": 3})
    refused = answered(version, CancelReservation(reservation_id=3), "CancelReservation", {"status": "Rejected"})
    assert (refused.state, refused.reason) == (
        CommandState.REJECTED,
        "The station has no reservation of that number.",
    )


@pytest.mark.parametrize("version", [V201, V21])
def test_f01_a_start_names_the_group_and_what_goes_with_the_token(version: OcppVersion) -> None:
    token = IdToken(value="04A1", type="ISO14443", additional=(AdditionalIdToken(value="1234", type="PIN"),))
    start = Start(id_token=token, group_id_token=IdToken(value="FAM", type="Central"), remote_start_id=1)
    payload = sent(version, start)[1]
    assert payload["idToken"]["additionalInfo"] == [{"additionalIdToken": "1234", "type": "PIN"}]
    assert payload["groupIdToken"] == {"idToken": "FAM", "type": "Central"}


def test_a_mac_address_starts_in_1_6_as_stations_write_it() -> None:
    start = Start(id_token=IdToken(value="AABBCC001122", type="MacAddress"))
    assert sent(V16, start)[1] == {"idTag": "VID:AABBCC001122"}


def test_f06_a_trigger_of_the_vendors_own_is_of_2_1() -> None:
    wanted = Trigger(message="CustomTrigger", custom="Wipe", evse_id=1)
    assert sent(V21, wanted)[1] == {
        "requestedMessage": "CustomTrigger",
        "customTrigger": "Wipe",
        "evse": {"id": 1},
    }
    with pytest.raises(RuleError):
        to_call(V201, wanted)


def test_e16_fr_02_limits_go_with_the_answer_in_2_1_alone() -> None:
    limits = TransactionLimits(
        max_energy_wh=Decimal(1500), max_soc=80, kept=frozenset({LimitKind.ENERGY, LimitKind.TIME})
    )
    info = IdTokenInfo(status=AuthorizationStatus.ACCEPTED, limits=limits, charging_priority=3, evse_ids=(2,))
    for version in (V201, V21):
        payload = json.loads(OUTGOING[version]["TransactionEvent"](None, TransactionAnswer(id_token_info=info)))
        validate(version, "TransactionEventResponse", payload)
        assert payload["idTokenInfo"] == {"status": "Accepted", "chargingPriority": 3, "evseId": [2]}
        assert payload.get("transactionLimit") == (None if version is V201 else {"maxEnergy": 1500})


@pytest.mark.parametrize("kept", [frozenset(), frozenset({LimitKind.COST})])
def test_e16_fr_12_a_limit_that_the_station_does_not_keep_is_not_sent(kept: frozenset[LimitKind]) -> None:
    limits = TransactionLimits(max_energy_wh=Decimal(1500), kept=kept)
    info = IdTokenInfo(status=AuthorizationStatus.ACCEPTED, limits=limits)
    payload = json.loads(OUTGOING[V21]["TransactionEvent"](None, TransactionAnswer(id_token_info=info)))
    assert payload == {"idTokenInfo": {"status": "Accepted"}}


@pytest.mark.parametrize(
    ("version", "payload", "token"),
    [
        (V16, {"idTag": "VID:AABBCC001122"}, IdToken(value="AABBCC001122", type="MacAddress")),
        (V16, {"idTag": "VID:"}, IdToken(value="VID:", type="MacAddress")),
        (
            V201,
            {"idToken": {"idToken": "aa:bb:cc:00:11:22", "type": "MacAddress"}},
            IdToken(value="aabbcc001122", type="MacAddress"),
        ),
        (
            V201,
            {"idToken": {"idToken": "DE-ABC-C12345678-X", "type": "eMAID"}},
            IdToken(value="DEABCC12345678X", type="eMAID"),
        ),
        (
            V21,
            {
                "idToken": {
                    "idToken": "1",
                    "type": "ISO14443",
                    "additionalInfo": [{"additionalIdToken": "4711", "type": "PIN"}],
                }
            },
            IdToken(value="1", type="ISO14443", additional=(AdditionalIdToken(value="4711", type="PIN"),)),
        ),
    ],
)
def test_a_presented_token_is_read_in_its_one_form(version: OcppVersion, payload: Any, token: IdToken) -> None:
    request = decode_request(version, "Authorize", msgspec.json.encode(payload))
    takes = version is OcppVersion.V21
    assert INCOMING[version]["Authorize"](request) == Authorize(id_token=token, takes_tariff=takes)
