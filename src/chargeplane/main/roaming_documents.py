"""How documents of ours are made: the bridge, as the use cases of roaming take it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from chargeplane.app.roaming.publishing import Making
from chargeplane.app.roaming.sessions import SessionMaking
from chargeplane.bridge.roaming.bookings import booking_document, booking_location_document
from chargeplane.bridge.roaming.locations import location_document
from chargeplane.bridge.roaming.sessions import cdr_document, session_document, signed_document, signed_values
from chargeplane.bridge.roaming.tariffs import tariff_document
from chargeplane.bridge.roaming.values import written
from chargeplane.domain.cdrs.cdr import CdrContent
from chargeplane.domain.cdrs.session import RoamingDriver
from chargeplane.domain.roaming.bookings import BookingNow, BookingPlaceNow
from chargeplane.domain.roaming.connection import PartyId


def _cdr(
    ident: str,
    session_id: int,
    content: CdrContent,
    driver: RoamingDriver,
    party: PartyId,
    created_at: datetime,
    credits: str | None,
    signed: Sequence[str],
    public_key: str | None,
) -> bytes | None:
    document = cdr_document(
        ident,
        session_id,
        content,
        driver,
        party,
        created_at,
        credits=credits,
        signed=signed_document(signed_values(signed), public_key),
    )
    return None if document is None else written(document)


MAKING: Final = Making(
    location=lambda content, ident, evses, party, at: written(location_document(content, ident, evses, party, at)),
    tariff=lambda content, ident, party, at: written(tariff_document(content, ident, party, at)),
)
SESSION_MAKING: Final = SessionMaking(
    session=lambda session, party: written(session_document(session, party)),
    cdr=_cdr,
)


def booking_location(place: BookingPlaceNow, party: PartyId, at: datetime) -> bytes:
    """A BookingLocation as JSON."""
    return written(booking_location_document(place, party, at))


def booking(said: BookingNow, party: PartyId, at: datetime) -> bytes:
    """A Booking as JSON."""
    return written(booking_document(said, party, at))
