"""Bookings as the API and their facts show them."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.bookings.fees import FeeKind
from chargeplane.domain.bookings.states import BookingState
from chargeplane.domain.cdrs.session import RoamingDriver
from chargeplane.domain.rating import Rating
from chargeplane.kernel.money import Money
from chargeplane.store.queries.bookings import Booking


class BookingView(Struct, frozen=True, kw_only=True):
    """A booking, as the API and its facts show it.

    Args:
        kept_by: `station` holds the EVSE, `us` where it cannot; null while nobody does.
        moved_from: uids of EVSEs that it was on before.
        confirm_by: it is given up then; null where it is confirmed.
        no_show_at: until then the EVSE waits.
        free_cancel_until: canceling later costs `cancel_fee`; null: it is free.
        price: of the session as estimated, with taxes where they are known.
        charges: without a session.
        payment_id: from whose hold fees are taken.
        partner: the provider whose driver it is for, as `DE*ABC`; null: a driver of one's own.
    """

    id: str
    state: str
    reason: str | None
    location_id: str
    evse_uid: str
    connector_id: str | None
    standard: str | None
    power_w: int
    station_id: str | None
    starts_at: datetime
    ends_at: datetime
    no_show_at: datetime
    confirm_by: datetime | None
    id_token: str
    id_token_type: str | None
    driver_id: str | None
    agreement_id: str | None
    agreement_version: int | None
    tariff_id: str | None
    tariff_version: int | None
    price: MoneyText | None
    cancel_fee: MoneyText | None
    no_show_fee: MoneyText | None
    free_cancel_until: datetime | None
    may_move: bool
    moved_from: tuple[str, ...]
    kept_by: str | None
    transaction_id: str | None
    used_at: datetime | None
    ended_at: datetime | None
    charges: list[ChargeView]
    payment_id: str | None
    revision: int
    requested_by: str
    created_at: datetime
    updated_at: datetime
    partner: str | None = None


class MoneyText(Struct, frozen=True, kw_only=True):
    """An amount in a currency; the amount is text, so that nobody reads it as a float."""

    amount: str
    currency: str


class ChargeView(Struct, frozen=True, kw_only=True):
    """What was charged for a booking without a session.

    Args:
        kind: no_show, cancellation, booking.
        due_excl, due_incl: before taxes, and to be paid.
    """

    kind: str
    at: datetime
    due_excl: MoneyText
    due_incl: MoneyText
    tariff_id: str
    tariff_version: int
    transaction_id: str | None


class Charged(Struct, frozen=True, kw_only=True):
    """Payload of `booking.charged`: everything an invoice needs.

    Args:
        rating: line by line.
        payment_id: that was held for the booking.
        tax_included: whether the rated prices have taxes in them.
        roaming: a partner's driver owes it, by way of the partner: no invoice of ours.
    """

    booking_id: str
    kind: FeeKind
    at: datetime
    location_id: str
    evse_uid: str
    id_token: str
    id_token_type: str | None
    driver_id: str | None
    agreement_id: str | None
    agreement_version: int | None
    starts_at: datetime
    ends_at: datetime
    rating: Rating
    transaction_id: str | None = None
    payment_id: str | None = None
    tax_included: bool = False
    roaming: RoamingDriver | None = None


class Upcoming(Struct, frozen=True, kw_only=True):
    """Payload of `booking.upcoming`: what load management has to expect.

    Args:
        power_w: that the connector can give.
    """

    booking_id: str
    location_id: str
    evse_uid: str
    station_id: str | None
    ocpp_evse_id: int | None
    starts_at: datetime
    ends_at: datetime
    power_w: int


def money_text(money: Money | None) -> MoneyText | None:
    """An amount for an answer."""
    return None if money is None else MoneyText(amount=f"{_short(money.amount):f}", currency=money.currency)


def _short(amount: Decimal) -> Decimal:
    shown = amount.normalize()
    return shown.quantize(Decimal(1)) if int(shown.as_tuple().exponent) > 0 else shown


def view_of(booking: Booking) -> BookingView:
    """A booking as it is shown."""
    terms, times = booking.terms, booking.times
    return BookingView(
        id=str(booking.id),
        state=booking.state.value,
        reason=booking.reason,
        location_id=booking.location_id,
        evse_uid=booking.evse_uid,
        connector_id=booking.connector_id,
        standard=booking.standard,
        power_w=booking.power_w,
        station_id=booking.station_id,
        starts_at=times.starts_at,
        ends_at=times.ends_at,
        no_show_at=times.no_show_at,
        confirm_by=booking.confirm_by if booking.state is BookingState.CREATED else None,
        id_token=booking.id_token,
        id_token_type=booking.id_token_type,
        driver_id=booking.driver_id,
        agreement_id=terms.agreement_id,
        agreement_version=terms.agreement_version,
        tariff_id=booking.tariff_id,
        tariff_version=booking.tariff_version,
        price=money_text(booking.price),
        cancel_fee=money_text(terms.fee),
        no_show_fee=money_text(terms.no_show_fee),
        free_cancel_until=None if terms.fee is None else times.starts_at - timedelta(seconds=terms.free_cancel_s),
        may_move=booking.may_move,
        moved_from=booking.moved_from,
        kept_by=booking.kept_by,
        transaction_id=None if booking.transaction_id is None else str(booking.transaction_id),
        used_at=booking.used_at,
        ended_at=booking.ended_at,
        charges=[
            ChargeView(
                kind=one.kind.value,
                at=one.at,
                due_excl=_shown(one.rating.due_excl),
                due_incl=_shown(one.rating.due_incl),
                tariff_id=one.rating.tariff_id,
                tariff_version=one.rating.tariff_version,
                transaction_id=one.transaction_id,
            )
            for one in booking.charges
        ],
        payment_id=None if booking.payment_id is None else str(booking.payment_id),
        revision=booking.revision,
        requested_by=booking.requested_by,
        created_at=booking.created_at,
        updated_at=booking.updated_at,
        partner=None
        if booking.roaming is None
        else f"{booking.roaming.country_code.upper()}*{booking.roaming.party_id.upper()}",
    )


def _shown(money: Money) -> MoneyText:
    return MoneyText(amount=f"{money.amount:f}", currency=money.currency)
