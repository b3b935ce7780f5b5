"""The tables, and what holds for every message that the official schemas allow."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargeplane.bridge import INCOMING, OUTGOING, undecodable
from chargeplane.domain.messages import (
    Acknowledged,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    Boot,
    BootAnswer,
    Heartbeat,
    HeartbeatAnswer,
    IdTokenInfo,
    Registration,
    StationAnswer,
    StationMessage,
    TransactionAnswer,
    TransactionReport,
    Unusable,
)
from chargeplane.kernel.text import storable
from chargeplane.ocpp.catalogue import CATALOGUE, decode_request
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import (
    ANSWERED,
    JSON,
    STATION_ACTIONS,
    V16,
    VERSIONS,
    drawn,
    request_name,
    schema,
    take,
    taken,
    validate,
)

NOW = datetime(2026, 1, 31, 12, 0, 0, 5000, tzinfo=UTC)
INFOS = st.builds(
    IdTokenInfo,
    status=st.sampled_from(AuthorizationStatus),
    valid_until=st.none() | st.datetimes(timezones=st.just(UTC)),
    group_id=st.none() | st.text(min_size=1, max_size=300),
    group_type=st.sampled_from([None, "Central", "ISO14443", "Something", "x" * 40]),
    language=st.sampled_from([None, "de", "a-language-too-long"]),
    personal_message=st.none() | st.text(min_size=1, max_size=1100),
)


def answer_to(message: StationMessage, info: IdTokenInfo | None, number: int) -> StationAnswer:
    """An answer as the app may give one."""
    match message:
        case Boot():
            return BootAnswer(status=Registration.PENDING, interval_s=300, now=NOW)
        case Heartbeat():
            return HeartbeatAnswer(now=NOW)
        case Authorize():
            return AuthorizeAnswer(id_token_info=info or IdTokenInfo(status=AuthorizationStatus.UNKNOWN))
        case TransactionReport():
            return TransactionAnswer(assigned_id=number, id_token_info=info)
        case _:
            return Acknowledged()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_tables_hold_exactly_what_a_station_may_send(version: OcppVersion) -> None:
    from_station = {action for action, spec in CATALOGUE[version].items() if spec.from_station}
    answered = {action for action in from_station if CATALOGUE[version][action].response is not None}
    assert set(INCOMING[version]) == from_station
    assert set(OUTGOING[version]) == answered


def test_versions_are_found_by_plain_text() -> None:
    assert {"1.6", "2.0.1", "2.1"} == set(INCOMING)
    assert INCOMING["1.6"] is INCOMING[V16]  # type: ignore[index]


@pytest.mark.parametrize(("version", "action"), STATION_ACTIONS, ids=lambda x: str(x))
def test_every_message_that_the_schema_allows_has_a_meaning(version: OcppVersion, action: str) -> None:
    name = request_name(version, action)

    @settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(payload=drawn(schema(version, name)), info=st.none() | INFOS, number=st.integers(1, 2**31 - 1))
    def check(payload: Any, info: IdTokenInfo | None, number: int) -> None:
        validate(version, name, payload)
        raw = json.dumps(payload).encode()
        message = take(version, action, raw)
        assert message is not None
        assert not isinstance(message, Unusable)
        stored = msgspec.json.encode(message)
        assert b"\\u0000" not in stored
        assert storable(stored.decode())
        if action in OUTGOING[version]:
            written = OUTGOING[version][action](decode_request(version, action, raw), answer_to(message, info, number))
            validate(version, f"{action}Response", json.loads(written))

    check()


@pytest.mark.parametrize(("version", "action"), STATION_ACTIONS, ids=lambda x: str(x))
def test_no_json_raises(version: OcppVersion, action: str) -> None:
    fields = sorted(schema(version, request_name(version, action)).get("properties", {})) or ["x"]

    @settings(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(payload=JSON | st.dictionaries(st.sampled_from(fields), JSON, max_size=8))
    def check(payload: Any) -> None:
        repaired, message = taken(version, action, json.dumps(payload).encode())
        if message is None:
            assert action not in {"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"}
            return
        assert b"\\u0000" not in msgspec.json.encode(message)
        if action in OUTGOING[version]:
            written = OUTGOING[version][action](repaired, answer_to(message, None, 7))
            validate(version, f"{action}Response", json.loads(written))

    check()


@pytest.mark.parametrize(("version", "action"), ANSWERED, ids=lambda x: str(x))
def test_the_answer_to_an_unusable_transaction_message_fits_the_schema(version: OcppVersion, action: str) -> None:
    unusable = undecodable(version, action, "JSON is malformed")
    if not CATALOGUE[version][action].transactional:
        assert unusable is None
        return
    assert unusable == Unusable(action=action, reason="JSON is malformed")
    invalid = IdTokenInfo(status=AuthorizationStatus.INVALID)
    for answer in (Acknowledged(), TransactionAnswer(assigned_id=77, id_token_info=invalid)):
        validate(version, f"{action}Response", json.loads(OUTGOING[version][action](None, answer)))


def test_an_unusable_start_is_answered_invalid_with_the_id_the_app_gave() -> None:
    answer = TransactionAnswer(assigned_id=77, id_token_info=None)
    assert json.loads(OUTGOING[V16]["StartTransaction"](None, answer)) == {
        "idTagInfo": {"status": "Invalid"},
        "transactionId": 77,
    }
    assert json.loads(OUTGOING[V16]["StartTransaction"](None, Acknowledged()))["transactionId"] == -1


def test_a_reason_is_one_line_of_bounded_length() -> None:
    unusable = undecodable(V16, "StopTransaction", ValueError("two\nlines " + "x" * 500))
    assert unusable is not None
    assert "\n" not in unusable.reason
    assert len(unusable.reason) <= 255


def test_actions_of_the_csms_and_unknown_ones_have_no_meaning_from_a_station() -> None:
    assert undecodable(V16, "Reset", "x") is None
    assert undecodable(V16, "Nonsense", "x") is None
