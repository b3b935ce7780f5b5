"""Reservations of a place at a station, one call at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.messages import IdToken

ReservationId = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class ReserveNow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="reserve_now"):
    """Keep a place for an id token until a time. `/v1/reservations` gives the number by itself and keeps track.

    Args:
        reservation_id: one that the station holds already is replaced (OCPP 2.0.1 H01.FR.02).
        group_id_token: tokens of this group may use it too (1.6 parentIdTag).
        evse_id: absent or 0 is any EVSE; in 1.6 that is connector 0, which stations may refuse
            (ReserveConnectorZeroSupported).
        connector_type: any EVSE with a connector of this type (2.x), such as cCCS2.
    """

    reservation_id: ReservationId
    id_token: IdToken
    expires_at: datetime
    group_id_token: IdToken | None = None
    evse_id: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    connector_type: Annotated[str, Meta(min_length=1, max_length=20)] | None = None


class CancelReservation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="cancel_reservation"):
    """Give a reserved place free again."""

    reservation_id: ReservationId
