"""What a booking costs without a session: priced by the rating engine as OCPI's reservation elements are."""

from __future__ import annotations

import enum
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.rating import Charge, Discount, Period, PeriodState, Rating, Terms, rate
from chargeplane.domain.tariffs.model import (
    PriceComponent,
    ReservationRestriction,
    Restrictions,
    Tariff,
    TariffDimension,
    TariffElement,
    TaxIncluded,
)
from chargeplane.kernel.money import Money


class FeeKind(enum.StrEnum):
    """Why something is charged."""

    NO_SHOW = "no_show"
    CANCELLATION = "cancellation"
    BOOKING = "booking"
    """Of a booking that was used."""


class BookingCharge(Struct, frozen=True, kw_only=True):
    """What a booking costs.

    Args:
        rating: line by line, as of a session.
        transaction_id: of the session that used the booking.
        tax_included: whether the rated prices have taxes in them.
    """

    kind: FeeKind
    at: datetime
    rating: Rating
    transaction_id: str | None = None
    tax_included: bool = False


def expired_charge(starts_at: datetime, until: datetime) -> Charge:
    """A reservation that nobody used, as it is rated."""
    return Charge(
        periods=(Period(start=starts_at, end=max(until, starts_at), state=PeriodState.RESERVED),),
        reservation_expired=True,
        booked=True,
    )


def rate_expired(
    tariff: Tariff, starts_at: datetime, until: datetime, time_zone: ZoneInfo, discounts: tuple[Discount, ...] = ()
) -> Rating:
    """What a tariff asks for a reservation that nobody used (OCPI 2.3.0 mod_tariffs, RESERVATION_EXPIRES), less an agreement's discounts."""
    return rate(expired_charge(starts_at, until), tariff, time_zone, terms=Terms(discounts=discounts))


def rate_fee(kind: FeeKind, fee: Money, starts_at: datetime, until: datetime, time_zone: ZoneInfo) -> Rating:
    """A fee of an agreement, without taxes, as a rating.

    Args:
        starts_at, until: of the reservation; what it is about.
    """
    used = kind is FeeKind.BOOKING
    restriction = ReservationRestriction.RESERVATION if used else ReservationRestriction.RESERVATION_EXPIRES
    tariff = Tariff(
        id=f"booking-{kind.value}",
        currency=fee.currency,
        tax_included=TaxIncluded.NO,
        last_updated=starts_at,
        elements=(
            TariffElement(
                price_components=(PriceComponent(type=TariffDimension.FLAT, price=fee.amount),),
                restrictions=Restrictions(reservation=restriction),
            ),
        ),
    )
    charge = expired_charge(starts_at, until)
    return rate(replace(charge, reservation_expired=not used), tariff, time_zone)
