"""Actions, directions, error codes and version names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chargeplane.ocpp import CATALOGUE, ErrorCode, OcppVersion, PayloadError, decode_request, decode_response, v16

ROOT = Path(__file__).resolve().parents[2]


def test_numbers_of_actions() -> None:
    assert {version: len(actions) for version, actions in CATALOGUE.items()} == {
        OcppVersion.V16: 39,
        OcppVersion.V201: 64,
        OcppVersion.V21: 91,
    }


def test_directions() -> None:
    for actions in CATALOGUE.values():
        assert {a for a, spec in actions.items() if spec.from_station and spec.from_csms} == {"DataTransfer"}
        assert all(spec.from_station or spec.from_csms for spec in actions.values())
    assert CATALOGUE[OcppVersion.V16]["StartTransaction"].from_station
    assert not CATALOGUE[OcppVersion.V16]["Reset"].from_station
    assert CATALOGUE[OcppVersion.V21]["NotifyPeriodicEventStream"].response is None
    assert {a for a, spec in CATALOGUE[OcppVersion.V16].items() if spec.transactional} == {
        "StartTransaction",
        "StopTransaction",
        "MeterValues",
    }


def test_subprotocols() -> None:
    assert [v.subprotocol for v in OcppVersion] == ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]
    assert OcppVersion.from_subprotocol(" OCPP2.0.1") is OcppVersion.V201
    assert OcppVersion.from_subprotocol("ocpp1.5") is None


def test_error_codes_are_spelled_as_the_version_has_them() -> None:
    assert ErrorCode.FORMAT_VIOLATION.spelled(OcppVersion.V16) == "FormationViolation"
    assert ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION.spelled(OcppVersion.V16) == "OccurenceConstraintViolation"
    assert ErrorCode.FORMAT_VIOLATION.spelled(OcppVersion.V201) == "FormatViolation"
    assert ErrorCode.RPC_FRAMEWORK_ERROR.spelled(OcppVersion.V21) == "RpcFrameworkError"
    # OCPP-J 1.6, 4.2.3, table 7 as published
    known = {
        "NotImplemented", "NotSupported", "InternalError", "ProtocolError", "SecurityError", "FormationViolation",
        "PropertyConstraintViolation", "OccurenceConstraintViolation", "TypeConstraintViolation", "GenericError",
    }  # fmt: skip
    assert {code.spelled(OcppVersion.V16) for code in ErrorCode} == known


def test_decode_request_and_response() -> None:
    assert decode_request(OcppVersion.V16, "Reset", b'{"type":"Hard"}') == v16.ResetRequest(type=v16.ResetType.HARD)
    answer = decode_response(OcppVersion.V16, "Reset", b'{"status":"Accepted"}')
    assert answer == v16.ResetResponse(status=v16.ResetStatus.ACCEPTED)
    with pytest.raises(PayloadError, match=r"OCPP 1\.6 Reset: /type"):
        decode_request(OcppVersion.V16, "Reset", b"{}")
    with pytest.raises(PayloadError, match="no action 'Rest'"):
        decode_request(OcppVersion.V16, "Rest", b"{}")
    with pytest.raises(PayloadError):
        decode_response(OcppVersion.V21, "NotifyPeriodicEventStream", b"{}")


def test_content_hash_tells_action_and_payload_apart() -> None:
    actions = CATALOGUE[OcppVersion.V16]
    one = actions["Reset"].content_hash(b"{}")
    assert len(one) == 16
    assert one == actions["Reset"].content_hash(b"{}")
    assert one != actions["ClearCache"].content_hash(b"{}")
    assert one != actions["Reset"].content_hash(b"{} ")


def test_generated_types_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "generate_ocpp.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
