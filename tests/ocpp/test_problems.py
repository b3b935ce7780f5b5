"""msgspec's sentences become OCPP error codes, a JSON pointer and a description."""

from __future__ import annotations

import pytest

from chargeplane.ocpp import ErrorCode, OcppVersion, PayloadError, decode_request

V16, V201 = OcppVersion.V16, OcppVersion.V201

METER = b'{"connectorId":1,"meterValue":[{"timestamp":"x","sampledValue":[{"value":"1"},%b]}]}'


@pytest.mark.parametrize(
    ("version", "action", "payload", "code", "pointer"),
    [
        (V16, "Reset", b"{}", ErrorCode.PROTOCOL_ERROR, "/type"),
        (V201, "Reset", b"{}", ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, "/type"),
        (V16, "Reset", b'{"type":"hard"}', ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, "/type"),
        (V16, "Reset", b'{"type":5}', ErrorCode.TYPE_CONSTRAINT_VIOLATION, "/type"),
        (V16, "Reset", b"[]", ErrorCode.FORMAT_VIOLATION, ""),
        (V201, "Reset", b"[]", ErrorCode.PROTOCOL_ERROR, ""),
        (V16, "Reset", b"{", ErrorCode.FORMAT_VIOLATION, ""),
        (V16, "Reset", b'{"type":NaN}', ErrorCode.FORMAT_VIOLATION, ""),
        (V16, "Reset", b'{"type":"\xff"}', ErrorCode.FORMAT_VIOLATION, ""),
        (V16, "Reset", b'{"type":"\\ud800"}', ErrorCode.FORMAT_VIOLATION, ""),
        (V16, "Reset", b'{"x":' + b"[" * 100_000, ErrorCode.FORMAT_VIOLATION, ""),
        (V16, "Authorize", b'{"idTag":"%b"}' % (b"x" * 21), ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, "/idTag"),
        (V16, "UnlockConnector", b'{"connectorId":"1"}', ErrorCode.TYPE_CONSTRAINT_VIOLATION, "/connectorId"),
        (
            V16,
            "UnlockConnector",
            b'{"connectorId":2147483648}',
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "/connectorId",
        ),
        (V16, "UnlockConnector", b'{"connectorId":1e400000}', ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, "/connectorId"),
        (
            V16,
            "MeterValues",
            b'{"connectorId":1,"meterValue":[]}',
            ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
            "/meterValue",
        ),
        (V16, "MeterValues", METER % b"{}", ErrorCode.PROTOCOL_ERROR, "/meterValue/0/sampledValue/1/value"),
        (
            V16,
            "MeterValues",
            METER % b'{"value":5}',
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "/meterValue/0/sampledValue/1/value",
        ),
        (
            V16,
            "MeterValues",
            METER % b'{"value":"5","unit":"Foo"}',
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "/meterValue/0/sampledValue/1/unit",
        ),
        (
            V201,
            "CostUpdated",
            b'{"transactionId":"x","totalCost":"sNaN"}',
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "/totalCost",
        ),
        (
            V201,
            "CostUpdated",
            b'{"transactionId":"x","totalCost":"five"}',
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "/totalCost",
        ),
        (V201, "Frobnicate", b"{}", ErrorCode.NOT_IMPLEMENTED, ""),
    ],
)
def test_code_and_pointer(version: OcppVersion, action: str, payload: bytes, code: ErrorCode, pointer: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_request(version, action, payload)
    problem = caught.value.problem
    assert (problem.code, problem.pointer) == (code, pointer)
    assert pointer in problem.description
    assert 0 < len(problem.description) <= 255
    assert problem.description.isprintable()


def test_a_huge_value_does_not_make_a_huge_description() -> None:
    with pytest.raises(PayloadError) as caught:
        decode_request(V16, "Reset", b'{"type":"\\u0000\\n%b"}' % (b"x" * 100_000))
    assert len(caught.value.problem.description) <= 255
    assert "\x00" not in caught.value.problem.description
