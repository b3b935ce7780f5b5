"""What others hear of bookings: facts, written with the change they tell of, and live events after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from chargeplane.app.bookings.views import Charged, Upcoming, view_of
from chargeplane.app.events import EventFeed
from chargeplane.domain.bookings.fees import BookingCharge
from chargeplane.store.database import Database
from chargeplane.store.queries import bookings as queries
from chargeplane.store.queries.bookings import Booking
from chargeplane.store.queries.paging import Db

CHARGED: Final = "booking.charged"
"""A fee beside or without a session; it is money, and has a consumer of its own."""

ANNOUNCED: Final = tuple(
    f"booking.{word}"
    for word in (
        "created",
        "confirmed",
        "changed",
        "moved",
        "upcoming",
        "active",
        "used",
        "completed",
        "canceled",
        "no_show",
        "failed",
        "walk_in",
    )
)
"""Topics that only announce."""


class Telling:
    """Writes facts and publishes events.

    Args:
        hint: tells the outbox that something was written.
    """

    def __init__(self, database: Database, events: EventFeed, hint: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._events = events
        self._hint = hint

    async def note(self, db: Db, booking: Booking, word: str, *, left: str | None = None) -> Booking:
        """Writes the fact `booking.<word>` in the caller's change, with the booking as it is now, and has it published after.

        Args:
            left: the EVSE that it was on before; the fact has it behind those that it was moved from.
        """
        now = await queries.one(db, booking.tenant_id, booking.id)
        assert now is not None
        view = view_of(now)
        if left is not None:
            view = replace(view, moved_from=(*view.moved_from, left))
        await queries.fact(db, now.tenant_id, f"booking.{word}", now.id, view)
        self._after(db, f"booking.{word}", now)
        return now

    async def upcoming(self, db: Db, booking: Booking) -> None:
        """Writes what load management has to expect."""
        told = Upcoming(
            booking_id=str(booking.id),
            location_id=booking.location_id,
            evse_uid=booking.evse_uid,
            station_id=booking.station_id,
            ocpp_evse_id=booking.ocpp_evse_id,
            starts_at=booking.times.starts_at,
            ends_at=booking.times.ends_at,
            power_w=booking.power_w,
        )
        await queries.fact(db, booking.tenant_id, "booking.upcoming", booking.id, told)
        self._after(db, "booking.upcoming", booking)

    async def charge(self, db: Db, booking: Booking, made: BookingCharge) -> None:
        """Writes down what is charged, and the fact that makes it an invoice; nothing where there is nothing to pay."""
        if made.rating.due.incl <= 0 and made.rating.due.excl <= 0:
            return
        await queries.charge(db, booking, made)
        told = Charged(
            booking_id=str(booking.id),
            kind=made.kind,
            at=made.at,
            location_id=booking.location_id,
            evse_uid=booking.evse_uid,
            id_token=booking.id_token,
            id_token_type=booking.id_token_type,
            driver_id=booking.driver_id,
            agreement_id=booking.terms.agreement_id,
            agreement_version=booking.terms.agreement_version,
            starts_at=booking.times.starts_at,
            ends_at=booking.times.ends_at,
            rating=made.rating,
            transaction_id=made.transaction_id,
            payment_id=None if booking.payment_id is None else str(booking.payment_id),
            tax_included=made.tax_included,
            roaming=booking.roaming,
        )
        await queries.fact(db, booking.tenant_id, CHARGED, booking.id, told)

    def _after(self, db: Db, kind: str, booking: Booking) -> None:
        def act() -> None:
            self._events.publish(kind, booking.tenant_id, booking.station_id, view_of(booking))
            self._hint()

        self._database.after_commit(db, act)
