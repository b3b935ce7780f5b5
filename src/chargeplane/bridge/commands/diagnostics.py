"""Logs and customer information as CALLs (OCPP 2.x N01, N09, N10; 1.6, 5.9; security whitepaper N01)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.bridge.commands.checks import id_token2x, invalid
from chargeplane.bridge.commands.firmware import NO_REQUEST_ID, fitting_url, when
from chargeplane.bridge.commands.subject import Subject, ToCall, Understood
from chargeplane.domain.commands.diagnostics import (
    CustomerInformation,
    GetDiagnostics,
    GetLog,
    LogAnswer,
    LogKind,
)
from chargeplane.domain.commands.outcomes import CommandState
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion


def _no_data_collector(version: str) -> Exception:
    return invalid(
        f"OCPP {version} has no log of the data collector; it exists since OCPP 2.1.",
        "/kind",
        "diagnostics or security",
    )


def _log16(command: GetLog) -> tuple[str, Struct]:
    if command.kind is LogKind.DATA_COLLECTOR:
        raise _no_data_collector("1.6")
    return "GetLog", v16.GetLogRequest(
        log=v16.LogParameters(
            remote_location=fitting_url(command.location, 512),
            oldest_timestamp=when(command.oldest_at),
            latest_timestamp=when(command.latest_at),
        ),
        log_type=v16.LogType.SECURITY_LOG if command.kind is LogKind.SECURITY else v16.LogType.DIAGNOSTICS_LOG,
        request_id=command.request_id or NO_REQUEST_ID,
        retries=command.retries,
        retry_interval=command.retry_interval_s,
    )


def _diagnostics16(command: GetDiagnostics) -> tuple[str, Struct]:
    return "GetDiagnostics", v16.GetDiagnosticsRequest(
        location=command.location,
        start_time=when(command.oldest_at),
        stop_time=when(command.latest_at),
        retries=command.retries,
        retry_interval=command.retry_interval_s,
    )


_KINDS: Final = {
    LogKind.DIAGNOSTICS: "DiagnosticsLog",
    LogKind.SECURITY: "SecurityLog",
    LogKind.DATA_COLLECTOR: "DataCollectorLog",
}


def _calls2x(v: Any) -> dict[type, ToCall]:
    longest = 512 if v is v201 else 2000

    def log(command: GetLog) -> tuple[str, Struct]:
        if command.kind is LogKind.DATA_COLLECTOR and v is v201:
            raise _no_data_collector("2.0.1")
        return "GetLog", v.GetLogRequest(
            log=v.LogParametersType(
                remote_location=fitting_url(command.location, longest),
                oldest_timestamp=when(command.oldest_at),
                latest_timestamp=when(command.latest_at),
            ),
            log_type=v.LogEnumType(_KINDS[command.kind]),
            request_id=command.request_id or NO_REQUEST_ID,
            retries=command.retries,
            retry_interval=command.retry_interval_s,
        )

    def diagnostics(command: GetDiagnostics) -> tuple[str, Struct]:
        return log(
            GetLog(
                location=command.location,
                oldest_at=command.oldest_at,
                latest_at=command.latest_at,
                retries=command.retries,
                retry_interval_s=command.retry_interval_s,
                request_id=command.request_id,
            )
        )

    def customer(command: CustomerInformation) -> tuple[str, Struct]:
        # N09.FR.04, FR.09: exactly one reference to a customer
        given = [name for name in ("id_token", "certificate", "identifier") if getattr(command, name) is not None]
        if len(given) != 1:
            raise invalid(
                "Name the customer by exactly one of id_token, certificate and identifier.",
                f"/{given[1] if given else 'id_token'}",
                "one of id_token, certificate, identifier",
            )
        if not command.report and not command.clear:
            raise invalid("Neither report nor clear is asked for.", "/report", "report, clear, or both")  # N09.FR.07
        hashes = command.certificate
        return "CustomerInformation", v.CustomerInformationRequest(
            request_id=command.request_id or NO_REQUEST_ID,
            report=command.report,
            clear=command.clear,
            id_token=None if command.id_token is None else id_token2x(v, command.id_token),
            customer_identifier=command.identifier,
            customer_certificate=None
            if hashes is None
            else v.CertificateHashDataType(
                hash_algorithm=v.HashAlgorithmEnumType(hashes.hash_algorithm),
                issuer_name_hash=hashes.issuer_name_hash,
                issuer_key_hash=hashes.issuer_key_hash,
                serial_number=hashes.serial_number,
            ),
        )

    return {GetLog: log, GetDiagnostics: diagnostics, CustomerInformation: customer}


class _LogAnswer(Struct):
    filename: str | None = None


class _Diagnostics(Struct, rename="camel"):
    file_name: str | None = None


_log_answer: Final = msgspec.json.Decoder(_LogAnswer).decode
_diagnostics_answer: Final = msgspec.json.Decoder(_Diagnostics).decode


def _filename(payload: bytes) -> LogAnswer | None:
    name = _log_answer(payload).filename
    return LogAnswer(filename=made_storable(name, 255)) if name else None


def _diagnostics_answered16(payload: bytes) -> Understood:
    # OCPP 1.6, 5.9: without diagnostics there is no file name
    name = _diagnostics_answer(payload).file_name
    if not name:
        return Understood(state=CommandState.REJECTED, reason="The station has no diagnostics of that time.")
    return Understood(
        state=CommandState.ACCEPTED, status="Accepted", reply=LogAnswer(filename=made_storable(name, 255))
    )


_REASONS: Final[Mapping[tuple[type, str], str]] = {
    (GetLog, "Rejected"): "The station has no such log.",
    (GetDiagnostics, "Rejected"): "The station has no diagnostics of that time.",
    (CustomerInformation, "Rejected"): "The station cannot do this now.",
    (CustomerInformation, "Invalid"): "The station does not understand how the customer is named.",
}
_SINCE_201: Final = "OCPP 1.6 has no message for what a station knows of a customer; it exists since OCPP 2.0.1."

SUBJECT: Final = Subject(
    calls={
        OcppVersion.V16: {GetLog: _log16, GetDiagnostics: _diagnostics16},
        OcppVersion.V201: _calls2x(v201),
        OcppVersion.V21: _calls2x(v21),
    },
    lacks={(OcppVersion.V16, CustomerInformation): _SINCE_201},
    reasons=_REASONS,
    replies={
        OcppVersion.V16: {GetLog: _filename},
        OcppVersion.V201: {GetLog: _filename, GetDiagnostics: _filename},
        OcppVersion.V21: {GetLog: _filename, GetDiagnostics: _filename},
    },
    answers={OcppVersion.V16: {GetDiagnostics: _diagnostics_answered16}},
)
"""Logs and customer information."""
