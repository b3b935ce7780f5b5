"""Certificates on stations, passwords and security profiles, as CALLs and their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from chargeplane.bridge.commands.checks import invalid
from chargeplane.bridge.commands.subject import Subject, ToCall, Understood
from chargeplane.domain.certificates import (
    CertificateError,
    CertificateHashData,
    CertificateUse,
    HashAlgorithm,
    InstalledCertificate,
    InstalledCertificates,
    hash_data_of,
    read_certificates,
)
from chargeplane.domain.commands import CommandState
from chargeplane.domain.commands.security import (
    DeleteCertificate,
    GetInstalledCertificateIds,
    InstallCertificate,
    SetPassword,
)
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion

_MOST: Final = 1_000
"""Certificates of one answer that are read."""

_REASONS: Final[Mapping[tuple[type, str], str]] = {
    (InstallCertificate, "Rejected"): "The station does not take the certificate: it finds it invalid, or has no room.",
    (InstallCertificate, "Failed"): "The station could not install the certificate.",
    (
        DeleteCertificate,
        "Failed",
    ): "The station did not delete the certificate: it may be the last of its use, or its own.",
    (DeleteCertificate, "NotFound"): "The station has no such certificate.",
    (SetPassword, "Rejected"): "The station does not take the password and keeps the one it has.",
    (SetPassword, "NotSupported"): "The station has no password that could be set.",
}

# --- shared -----------------------------------------------------------------------------------------------------------


def _fitting(command: InstallCertificate, longest: int) -> str:
    try:
        found = read_certificates(command.certificate)
    except CertificateError as error:
        raise invalid(str(error), "/certificate", "one certificate in PEM") from error
    if len(found) != 1:
        raise invalid(f"There are {len(found)} certificates.", "/certificate", "one certificate in PEM")
    if len(command.certificate) > longest:
        raise invalid(
            f"The station's OCPP version takes certificates of at most {longest} characters.",
            "/certificate",
            f"at most {longest} characters",
        )
    return command.certificate


def _named(command: DeleteCertificate) -> CertificateHashData:
    if (command.hash_data is None) == (command.certificate is None):
        raise invalid("Give either hash_data or certificate.", "/hash_data", "one of hash_data and certificate")
    if command.hash_data is not None:
        return command.hash_data
    assert command.certificate is not None
    try:
        return hash_data_of(command.certificate, command.hash_algorithm)
    except CertificateError as error:
        raise invalid(str(error), "/certificate", "a certificate in PEM, and its issuer's") from error


def authorization_key(password: str) -> str:
    """A password as an OCPP 1.6 station takes it: hexadecimal, 16 to 20 bytes (security whitepaper, AuthorizationKey).

    Raises:
        InvalidInputError: it is too short or too long.
    """
    if 32 <= len(password) <= 40 and len(password) % 2 == 0 and not set(password) - set("0123456789abcdefABCDEF"):
        return password
    raw = password.encode()
    if not 16 <= len(raw) <= 20:
        raise invalid(
            "An OCPP 1.6 station takes passwords of 16 to 20 bytes.",
            "/password",
            "16 to 20 bytes, or as many in hexadecimal",
        )
    return raw.hex()


# --- OCPP 1.6 ---------------------------------------------------------------------------------------------------------

_USES16: Final = {
    CertificateUse.CSMS_ROOT: v16.CertificateUse.CENTRAL_SYSTEM_ROOT_CERTIFICATE,
    CertificateUse.MANUFACTURER_ROOT: v16.CertificateUse.MANUFACTURER_ROOT_CERTIFICATE,
}


def _use16(use: CertificateUse, pointer: str) -> v16.CertificateUse:
    found = _USES16.get(use)
    if found is None:
        raise invalid(f"OCPP 1.6 has no {use.value}.", pointer, "one of " + ", ".join(known.value for known in _USES16))
    return found


def _install16(command: InstallCertificate) -> tuple[str, Struct]:
    return "InstallCertificate", v16.InstallCertificateRequest(
        certificate_type=_use16(command.use, "/use"), certificate=_fitting(command, 5500)
    )


def _list16(command: GetInstalledCertificateIds) -> tuple[str, Struct]:
    if len(command.uses) != 1:
        raise invalid("OCPP 1.6 lists the certificates of one use at a time.", "/uses", "exactly one use")
    return "GetInstalledCertificateIds", v16.GetInstalledCertificateIdsRequest(
        certificate_type=_use16(command.uses[0], "/uses/0")
    )


def _delete16(command: DeleteCertificate) -> tuple[str, Struct]:
    named = _named(command)
    return "DeleteCertificate", v16.DeleteCertificateRequest(
        certificate_hash_data=v16.CertificateHashData(
            hash_algorithm=v16.HashAlgorithm(named.hash_algorithm.value),
            issuer_name_hash=named.issuer_name_hash,
            issuer_key_hash=named.issuer_key_hash,
            serial_number=named.serial_number,
        )
    )


def _password16(command: SetPassword) -> tuple[str, Struct]:
    return "ChangeConfiguration", v16.ChangeConfigurationRequest(
        key="AuthorizationKey", value=authorization_key(command.password)
    )


# --- OCPP 2.0.1 and 2.1 -----------------------------------------------------------------------------------------------


def _calls2x(v: Any) -> Mapping[type, ToCall]:
    installable = {CertificateUse(word.value): word for word in v.InstallCertificateUseEnumType}
    listed = {CertificateUse(word.value): word for word in v.GetCertificateIdUseEnumType}
    longest = 5500 if v is v201 else 10_000

    def use_of(words: Mapping[CertificateUse, Any], use: CertificateUse, pointer: str) -> Any:
        word = words.get(use)
        if word is None:
            raise invalid(
                f"The station's OCPP version has no {use.value} here.",
                pointer,
                "one of " + ", ".join(known.value for known in words),
            )
        return word

    def install(command: InstallCertificate) -> tuple[str, Struct]:
        return "InstallCertificate", v.InstallCertificateRequest(
            certificate_type=use_of(installable, command.use, "/use"), certificate=_fitting(command, longest)
        )

    def list_ids(command: GetInstalledCertificateIds) -> tuple[str, Struct]:
        uses = tuple(use_of(listed, use, f"/uses/{place}") for place, use in enumerate(command.uses))
        return "GetInstalledCertificateIds", v.GetInstalledCertificateIdsRequest(certificate_type=uses or None)

    def delete(command: DeleteCertificate) -> tuple[str, Struct]:
        named = _named(command)
        return "DeleteCertificate", v.DeleteCertificateRequest(
            certificate_hash_data=v.CertificateHashDataType(
                hash_algorithm=v.HashAlgorithmEnumType(named.hash_algorithm.value),
                issuer_name_hash=named.issuer_name_hash,
                issuer_key_hash=named.issuer_key_hash,
                serial_number=named.serial_number,
            )
        )

    def password(command: SetPassword) -> tuple[str, Struct]:
        # A01.FR.02
        return "SetVariables", v.SetVariablesRequest(
            set_variable_data=(
                v.SetVariableDataType(
                    component=v.ComponentType(name="SecurityCtrlr"),
                    variable=v.VariableType(name="BasicAuthPassword"),
                    attribute_value=command.password,
                ),
            )
        )

    return {
        InstallCertificate: install,
        GetInstalledCertificateIds: list_ids,
        DeleteCertificate: delete,
        SetPassword: password,
    }


# --- answers ----------------------------------------------------------------------------------------------------------


class _Hash(Struct, rename="camel"):
    hash_algorithm: HashAlgorithm
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str


class _Listed16(Struct, rename="camel"):
    certificate_hash_data: list[Any] = []


class _Chain(Struct, rename="camel"):
    certificate_hash_data: _Hash
    certificate_type: CertificateUse
    child_certificate_hash_data: list[Any] = []


class _Listed2x(Struct, rename="camel"):
    certificate_hash_data_chain: list[Any] = []


class _Result(Struct, rename="camel"):
    attribute_status: str


class _Set(Struct, rename="camel"):
    set_variable_result: Annotated[list[_Result], Meta(min_length=1)]


class _Status(Struct):
    status: str


def _hash_data(told: Any) -> CertificateHashData | None:
    """What a station said of a certificate; None where it is none that could be named again."""
    try:
        found = msgspec.convert(told, _Hash)
        return msgspec.convert(
            {
                "hash_algorithm": found.hash_algorithm.value,
                "issuer_name_hash": found.issuer_name_hash.strip(),
                "issuer_key_hash": found.issuer_key_hash.strip(),
                "serial_number": found.serial_number.strip().lstrip("0") or "0",
            },
            CertificateHashData,
        ).folded()
    except msgspec.ValidationError:
        return None


def _listed(read: Callable[[bytes], list[InstalledCertificate]]) -> Callable[[bytes], Understood]:
    def understand(payload: bytes) -> Understood:
        status = msgspec.json.decode(payload, type=_Status).status
        word = made_storable(status, 64)
        if status == "NotFound":  # M03.FR.02: it has none
            return Understood(state=CommandState.ACCEPTED, status=word, reply=InstalledCertificates())
        if status != "Accepted":
            return Understood(state=CommandState.REJECTED, status=word, reason=f"The station answered {word}.")
        return Understood(
            state=CommandState.ACCEPTED, status=word, reply=InstalledCertificates(certificates=tuple(read(payload)))
        )

    return understand


def _listed16(command: GetInstalledCertificateIds, payload: bytes) -> Understood:
    def read(payload: bytes) -> list[InstalledCertificate]:
        # the answer does not say of which use; the question did
        told = msgspec.json.decode(payload, type=_Listed16).certificate_hash_data[:_MOST]
        return [InstalledCertificate(use=command.uses[0], hash_data=one) for one in map(_hash_data, told) if one]

    return _listed(read)(payload)


def _read2x(payload: bytes) -> list[InstalledCertificate]:
    found = []
    for told in msgspec.json.decode(payload, type=_Listed2x).certificate_hash_data_chain[:_MOST]:
        try:
            chain = msgspec.convert(told, _Chain)
            named = _hash_data(told["certificateHashData"])
        except msgspec.ValidationError:
            continue
        if named is not None:
            children = tuple(filter(None, map(_hash_data, chain.child_certificate_hash_data[:16])))
            found.append(InstalledCertificate(use=chain.certificate_type, hash_data=named, children=children))
    return found


_SET_REASONS: Final = {
    "Rejected": "The station refused the change and keeps what it has.",
    "UnknownComponent": "The station has nothing of that kind.",
    "UnknownVariable": "The station has nothing of that kind.",
    "NotSupportedAttributeType": "The station has nothing of that kind.",
}


def _set_answer(payload: bytes) -> Understood:
    word = made_storable(msgspec.json.decode(payload, type=_Set).set_variable_result[0].attribute_status, 64)
    if word in ("Accepted", "RebootRequired"):
        return Understood(state=CommandState.ACCEPTED, status=word)
    reason = _SET_REASONS.get(word, f"The station answered {word}.")
    return Understood(state=CommandState.REJECTED, status=word, reason=reason)


_ANSWERS2X: Final[Mapping[type, Callable[[bytes], Understood]]] = {
    GetInstalledCertificateIds: _listed(_read2x),
    SetPassword: _set_answer,
}

SUBJECT: Final = Subject(
    calls={
        OcppVersion.V16: {
            InstallCertificate: _install16,
            GetInstalledCertificateIds: _list16,
            DeleteCertificate: _delete16,
            SetPassword: _password16,
        },
        OcppVersion.V201: _calls2x(v201),
        OcppVersion.V21: _calls2x(v21),
    },
    reasons=_REASONS,
    answers={
        OcppVersion.V201: _ANSWERS2X,
        OcppVersion.V21: _ANSWERS2X,
    },
    told={OcppVersion.V16: {GetInstalledCertificateIds: _listed16}},
)
"""Security on the wire."""
