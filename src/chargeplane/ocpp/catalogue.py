"""Which actions each OCPP version has, who may send them, and their types and codecs, made once."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from types import ModuleType
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from chargeplane.kernel.errors import PeerError
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.problems import DECODE_ERRORS, Problem, explain
from chargeplane.ocpp.versions import ErrorCode, OcppVersion

Payload: TypeAlias = bytes | msgspec.Raw

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


class PayloadError(PeerError):
    """A payload does not fit its action's type."""

    def __init__(self, version: OcppVersion, action: str, problem: Problem) -> None:
        super().__init__(f"OCPP {version} {action}: {problem.description}")
        self.version = version
        self.action = action
        self.problem = problem


class ActionSpec(Struct, frozen=True, kw_only=True, eq=False):
    """An action of one OCPP version.

    Args:
        from_station, from_csms: who may send it as a CALL or SEND.
        transactional: its content is about a transaction; a station that gets a CALLERROR for it stalls its queue or
            drops what we needed (OCPP 1.6, 3.7.1; OCPP 2.0.1 E12), so what cannot be decoded is kept and answered.
        request, response: types; `response` is None for what is sent as SEND (OCPP-J 2.1, 4.2.4).
        request_decoder, response_decoder: decode JSON text straight into these types; lenient to unknown fields.
        hash_seed: a hash that has taken in the action's name.
    """

    version: OcppVersion
    action: str
    from_station: bool
    from_csms: bool
    transactional: bool
    request: type[Struct]
    response: type[Struct] | None
    request_decoder: msgspec.json.Decoder[Struct]
    response_decoder: msgspec.json.Decoder[Struct] | None
    hash_seed: blake2b

    def content_hash(self, payload: bytes) -> bytes:
        """16 bytes over the action and the payload as received; equal for the same message under another id."""
        digest = self.hash_seed.copy()
        digest.update(payload)
        return digest.digest()


# OCPP 1.6, 4 and 5; security whitepaper, 4 and 5; OCPP 2.0.1 and 2.1 Part 2, chapter "Messages".
_FROM_STATION_2X: Final = """
    Authorize BootNotification ClearedChargingLimit FirmwareStatusNotification Get15118EVCertificate
    GetCertificateStatus Heartbeat LogStatusNotification MeterValues NotifyChargingLimit NotifyCustomerInformation
    NotifyDisplayMessages NotifyEVChargingNeeds NotifyEVChargingSchedule NotifyEvent NotifyMonitoringReport NotifyReport
    PublishFirmwareStatusNotification ReportChargingProfiles ReservationStatusUpdate SecurityEventNotification
    SignCertificate StatusNotification TransactionEvent
"""
_FROM_STATION: Final = {
    OcppVersion.V16: """
        Authorize BootNotification DiagnosticsStatusNotification FirmwareStatusNotification Heartbeat
        LogStatusNotification MeterValues SecurityEventNotification SignCertificate SignedFirmwareStatusNotification
        StartTransaction StatusNotification StopTransaction
    """,
    OcppVersion.V201: _FROM_STATION_2X,
    OcppVersion.V21: _FROM_STATION_2X
    + """
        BatterySwap ClosePeriodicEventStream GetCertificateChainStatus NotifyDERAlarm NotifyDERStartStop
        NotifyPeriodicEventStream NotifyPriorityCharging NotifySettlement OpenPeriodicEventStream
        PullDynamicScheduleUpdate ReportDERControl VatNumberValidation
    """,
}
_BOTH_WAYS: Final = frozenset({"DataTransfer"})
_SENT: Final = frozenset({"NotifyPeriodicEventStream"})
_TRANSACTIONAL: Final = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})


def _actions(version: OcppVersion, module: ModuleType) -> dict[str, ActionSpec]:
    from_station = frozenset(_FROM_STATION[version].split())
    names = {name.removesuffix("Request") for name in module.__all__ if name.endswith("Request")}
    if version is OcppVersion.V21:
        names |= _SENT
    table = {}
    for action in sorted(names):
        request: type[Struct] = getattr(module, action if action in _SENT else f"{action}Request")
        response: type[Struct] | None = None if action in _SENT else getattr(module, f"{action}Response")
        table[action] = ActionSpec(
            version=version,
            action=action,
            from_station=action in from_station or action in _BOTH_WAYS,
            from_csms=action not in from_station,
            transactional=action in _TRANSACTIONAL,
            request=request,
            response=response,
            request_decoder=msgspec.json.Decoder(request),
            response_decoder=msgspec.json.Decoder(response) if response else None,
            hash_seed=blake2b(action.encode(), digest_size=16),
        )
    return table


CATALOGUE: Final[Mapping[OcppVersion, Mapping[str, ActionSpec]]] = {
    OcppVersion.V16: _actions(OcppVersion.V16, v16),
    OcppVersion.V201: _actions(OcppVersion.V201, v201),
    OcppVersion.V21: _actions(OcppVersion.V21, v21),
}
"""Every action of every version: `CATALOGUE[version][action]`."""


def decode_request(version: OcppVersion, action: str, payload: Payload) -> Struct:
    """The request struct of a payload.

    Raises:
        PayloadError: the version has no such action, or the payload does not fit its type.
    """
    spec = CATALOGUE[version].get(action)
    if spec is None:
        raise PayloadError(version, action, unknown_action(version, action))
    try:
        return spec.request_decoder.decode(payload)
    except DECODE_ERRORS as error:
        raise PayloadError(version, action, explain(error, version)) from None


def decode_response(version: OcppVersion, action: str, payload: Payload) -> Struct:
    """The response struct of a payload.

    Raises:
        PayloadError: the version has no such action with a response, or the payload does not fit its type.
    """
    spec = CATALOGUE[version].get(action)
    if spec is None or spec.response_decoder is None:
        raise PayloadError(version, action, unknown_action(version, action))
    try:
        return spec.response_decoder.decode(payload)
    except DECODE_ERRORS as error:
        raise PayloadError(version, action, explain(error, version)) from None


def unknown_action(version: OcppVersion, action: str) -> Problem:
    """The problem of an action that the version does not have (OCPP-J 2.0.1, 4.3: NotImplemented)."""
    return Problem(ErrorCode.NOT_IMPLEMENTED, f"OCPP {version} has no action '{action[:64]}'")


encode: Final = _encoder.encode
"""Compact JSON of a request or response: Decimals as numbers, absent fields left out."""
