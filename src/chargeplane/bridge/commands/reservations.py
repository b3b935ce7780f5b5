"""Reservations as CALLs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from chargeplane.bridge.commands.checks import checked, id_tag16, id_token2x, invalid
from chargeplane.bridge.commands.subject import Subject, ToCall
from chargeplane.domain.commands import CancelReservation, ReserveNow
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion

_REASONS: Final[Mapping[tuple[type, str], str]] = {
    (ReserveNow, "Occupied"): "Every EVSE that was asked for is occupied or reserved.",
    (ReserveNow, "Faulted"): "Every EVSE that was asked for is faulted.",
    (ReserveNow, "Unavailable"): "Every EVSE that was asked for is out of service.",
    (ReserveNow, "Rejected"): "The station takes no such reservation; it may take none, or none without an EVSE.",
    (CancelReservation, "Rejected"): "The station has no reservation of that number.",
}


def _reserve16(command: ReserveNow) -> tuple[str, Struct]:
    if command.connector_type is not None:
        raise RuleError("OCPP 1.6 reserves a connector by its number, or any: leave connector_type out.")
    return "ReserveNow", v16.ReserveNowRequest(
        connector_id=checked(command.evse_id or 0, 0, "/evse_id"),  # 1.6, 5.13: 0 is any
        expiry_date=rfc3339(command.expires_at),
        id_tag=id_tag16(command.id_token),
        parent_id_tag=None if command.group_id_token is None else id_tag16(command.group_id_token, "/group_id_token"),
        reservation_id=command.reservation_id,
    )


def _cancel16(command: CancelReservation) -> tuple[str, Struct]:
    return "CancelReservation", v16.CancelReservationRequest(reservation_id=command.reservation_id)


def _calls2x(v: Any) -> Mapping[type, ToCall]:
    def connector(word: str | None) -> Any:
        if word is None or v is v21:
            return word
        known = _CONNECTORS_201.get(word)
        if known is None:
            raise invalid(
                f"OCPP 2.0.1 has no connector type '{word}'.", "/connector_type", "one of " + ", ".join(_CONNECTORS_201)
            )
        return known

    def reserve(command: ReserveNow) -> tuple[str, Struct]:
        if command.evse_id and command.connector_type is not None:
            raise invalid(
                "A reservation is for an EVSE or for a type of connector, not for both.", "/connector_type", "left out"
            )
        group = command.group_id_token
        return "ReserveNow", v.ReserveNowRequest(
            id=command.reservation_id,
            expiry_date_time=rfc3339(command.expires_at),
            id_token=id_token2x(v, command.id_token),
            connector_type=connector(command.connector_type),
            evse_id=command.evse_id or None,
            group_id_token=None if group is None else id_token2x(v, group, "/group_id_token"),
        )

    def cancel(command: CancelReservation) -> tuple[str, Struct]:
        return "CancelReservation", v.CancelReservationRequest(reservation_id=command.reservation_id)

    return {ReserveNow: reserve, CancelReservation: cancel}


_CONNECTORS_201: Final = {word.value: word for word in v201.ConnectorEnumType}

SUBJECT: Final = Subject(
    calls={
        OcppVersion.V16: {ReserveNow: _reserve16, CancelReservation: _cancel16},
        OcppVersion.V201: _calls2x(v201),
        OcppVersion.V21: _calls2x(v21),
    },
    reasons=_REASONS,
)
"""What stations can be asked about reservations."""
