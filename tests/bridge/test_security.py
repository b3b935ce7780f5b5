"""Certificates, passwords and security events on the wire, in all versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from chargeplane.bridge import INCOMING
from chargeplane.bridge.commands import outcome, to_call
from chargeplane.domain.certificates import (
    CertificateHashData,
    CertificateUse,
    HashAlgorithm,
    InstalledCertificate,
    InstalledCertificates,
    hash_data_of,
)
from chargeplane.domain.commands import (
    CallOutcome,
    CallOutcomeKind,
    Command,
    CommandOutcome,
    CommandState,
    DeleteCertificate,
    GetInstalledCertificateIds,
    InstallCertificate,
    SetPassword,
)
from chargeplane.domain.messages import Notice
from chargeplane.domain.security_events import SecurityEventReport
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.ocpp.catalogue import decode_request, encode
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V16, V21, V201, VERSIONS, validate
from tests.support.authority import Authority

AUTHORITY = Authority()
ROOT = AUTHORITY.pem.decode()
NAME = hash_data_of(ROOT)
WIRE_NAME = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": NAME.issuer_name_hash,
    "issuerKeyHash": NAME.issuer_key_hash,
    "serialNumber": NAME.serial_number,
}


def sent(version: OcppVersion, command: Command) -> tuple[str, Any]:
    """Action and payload of a command; the payload fits the official schema."""
    action, request = to_call(version, command)
    payload = json.loads(encode(request))
    validate(version, f"{action}Request", payload)
    return action, payload


def answered(version: OcppVersion, command: Command, answer: object) -> CommandOutcome:
    action, _ = to_call(version, command)
    call = CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="1", payload=msgspec.json.encode(answer))
    return outcome(version, command, action, call)


@pytest.mark.parametrize(
    ("version", "use", "word"),
    [
        (V16, CertificateUse.CSMS_ROOT, "CentralSystemRootCertificate"),
        (V16, CertificateUse.MANUFACTURER_ROOT, "ManufacturerRootCertificate"),
        *[
            (version, use, use.value)
            for version in (V201, V21)
            for use in CertificateUse
            if use is not CertificateUse.V2G_CHAIN and (version is V21 or use is not CertificateUse.OEM_ROOT)
        ],
    ],
)
def test_m05_roots_of_every_use_are_installed(version: OcppVersion, use: CertificateUse, word: str) -> None:
    action, payload = sent(version, InstallCertificate(use=use, certificate=ROOT))
    assert action == "InstallCertificate"
    assert payload == {"certificateType": word, "certificate": ROOT}


@pytest.mark.parametrize(
    ("version", "use"),
    [(V16, CertificateUse.V2G_ROOT), (V201, CertificateUse.OEM_ROOT), (V21, CertificateUse.V2G_CHAIN)],
)
def test_a_use_that_a_version_lacks_is_refused_with_those_it_has(version: OcppVersion, use: CertificateUse) -> None:
    with pytest.raises(InvalidInputError) as refused:
        to_call(version, InstallCertificate(use=use, certificate=ROOT))
    assert refused.value.fields[0][0] == "/use"


@pytest.mark.parametrize("certificate", ["nothing", ROOT + ROOT, "x" * 6000])
@pytest.mark.parametrize("version", VERSIONS)
def test_only_one_certificate_in_pem_is_installed(version: OcppVersion, certificate: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        to_call(version, InstallCertificate(use=CertificateUse.CSMS_ROOT, certificate=certificate))
    assert refused.value.fields[0][0] == "/certificate"


@pytest.mark.parametrize("version", VERSIONS)
def test_m04_a_certificate_is_deleted_by_its_hashes_or_its_pem(version: OcppVersion) -> None:
    for command in (DeleteCertificate(hash_data=NAME), DeleteCertificate(certificate=ROOT)):
        assert sent(version, command) == ("DeleteCertificate", {"certificateHashData": WIRE_NAME})
    longer = sent(version, DeleteCertificate(certificate=ROOT, hash_algorithm=HashAlgorithm.SHA512))[1]
    assert longer["certificateHashData"]["hashAlgorithm"] == "SHA512"
    assert len(longer["certificateHashData"]["issuerKeyHash"]) == 128
    for wrong in (DeleteCertificate(), DeleteCertificate(hash_data=NAME, certificate=ROOT)):
        with pytest.raises(InvalidInputError):
            to_call(version, wrong)


@pytest.mark.parametrize("version", [V201, V21])
def test_m03_what_a_station_lists_is_understood_as_far_as_it_can_be(version: OcppVersion) -> None:
    command = GetInstalledCertificateIds(uses=(CertificateUse.CSMS_ROOT, CertificateUse.V2G_CHAIN))
    assert sent(version, command)[1] == {"certificateType": ["CSMSRootCertificate", "V2GCertificateChain"]}
    assert sent(version, GetInstalledCertificateIds()) == ("GetInstalledCertificateIds", {})
    spelled = {**WIRE_NAME, "serialNumber": "00" + NAME.serial_number.upper()}
    told = answered(
        version,
        command,
        {
            "status": "Accepted",
            "certificateHashDataChain": [
                {"certificateType": "CSMSRootCertificate", "certificateHashData": spelled},
                {
                    "certificateType": "V2GCertificateChain",
                    "certificateHashData": WIRE_NAME,
                    "childCertificateHashData": [{**WIRE_NAME, "serialNumber": "a1"}, "nonsense"],
                },
                {"certificateType": "Unheard", "certificateHashData": WIRE_NAME},
                {"certificateType": "CSMSRootCertificate", "certificateHashData": {"hashAlgorithm": "MD5"}},
                17,
            ],
        },
    )
    assert told.state is CommandState.ACCEPTED
    assert told.reply is not None
    child = CertificateHashData(**{**msgspec.structs.asdict(NAME), "serial_number": "a1"})
    assert msgspec.json.decode(told.reply, type=InstalledCertificates).certificates == (
        InstalledCertificate(use=CertificateUse.CSMS_ROOT, hash_data=NAME),
        InstalledCertificate(use=CertificateUse.V2G_CHAIN, hash_data=NAME, children=(child,)),
    )


def test_m03_in_1_6_the_question_says_of_which_use_the_answer_is() -> None:
    command = GetInstalledCertificateIds(uses=(CertificateUse.MANUFACTURER_ROOT,))
    assert sent(V16, command)[1] == {"certificateType": "ManufacturerRootCertificate"}
    told = answered(V16, command, {"status": "Accepted", "certificateHashData": [WIRE_NAME]})
    assert told.reply is not None
    assert msgspec.json.decode(told.reply, type=InstalledCertificates).certificates == (
        InstalledCertificate(use=CertificateUse.MANUFACTURER_ROOT, hash_data=NAME),
    )
    for uses in ((), (CertificateUse.CSMS_ROOT, CertificateUse.MANUFACTURER_ROOT)):
        with pytest.raises(InvalidInputError):
            to_call(V16, GetInstalledCertificateIds(uses=uses))


@pytest.mark.parametrize("version", VERSIONS)
def test_m03_a_station_without_certificates_has_told_so(version: OcppVersion) -> None:
    command = GetInstalledCertificateIds(uses=(CertificateUse.CSMS_ROOT,))
    told = answered(version, command, {"status": "NotFound"})
    assert told.state is CommandState.ACCEPTED
    assert told.reply == msgspec.json.encode(InstalledCertificates())
    assert answered(version, command, {"certificates": []}).state is CommandState.FAILED


@pytest.mark.parametrize("version", [V201, V21])
def test_a01_the_password_is_a_variable(version: OcppVersion) -> None:
    action, payload = sent(version, SetPassword(password="a-password-of-20-chr"))
    assert action == "SetVariables"
    assert payload == {
        "setVariableData": [
            {
                "attributeValue": "a-password-of-20-chr",
                "component": {"name": "SecurityCtrlr"},
                "variable": {"name": "BasicAuthPassword"},
            }
        ]
    }
    place = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    for word, state in (
        ("Accepted", CommandState.ACCEPTED),
        ("RebootRequired", CommandState.ACCEPTED),
        ("Rejected", CommandState.REJECTED),
        ("UnknownVariable", CommandState.REJECTED),
    ):
        told = answered(
            version, SetPassword(password="x" * 20), {"setVariableResult": [{"attributeStatus": word, **place}]}
        )
        assert (told.state, told.status) == (state, word)
    assert answered(version, SetPassword(password="x" * 20), {"setVariableResult": []}).state is CommandState.FAILED


def test_a01_in_1_6_the_password_is_hexadecimal() -> None:
    action, payload = sent(V16, SetPassword(password="Abcdefghij0123456789"))
    assert (action, payload["key"]) == ("ChangeConfiguration", "AuthorizationKey")
    assert bytes.fromhex(payload["value"]) == b"Abcdefghij0123456789"
    as_hex = "00112233445566778899aabbccddeeff00112233"
    assert sent(V16, SetPassword(password=as_hex))[1]["value"] == as_hex
    for unfit in ("x" * 15, "x" * 21, "é" * 11):
        with pytest.raises(InvalidInputError):
            to_call(V16, SetPassword(password=unfit))


@pytest.mark.parametrize("version", VERSIONS)
def test_a04_a_security_event_is_told_with_the_newest_name(version: OcppVersion) -> None:
    payload = {
        "type": "InvalidChargePointCertificate",
        "timestamp": "2026-01-31T12:00:00Z",
        "techInfo": " the chain ends nowhere ",
    }
    request = decode_request(version, "SecurityEventNotification", json.dumps(payload).encode())
    told = INCOMING[version]["SecurityEventNotification"](request)
    assert isinstance(told, Notice)
    assert told.tells == "InvalidChargePointCertificate"
    assert told.report == SecurityEventReport(
        name="InvalidChargingStationCertificate",
        at=datetime(2026, 1, 31, 12, tzinfo=UTC),
        info="the chain ends nowhere",
    )
