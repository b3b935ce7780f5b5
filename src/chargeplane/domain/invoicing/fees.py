"""From fees of bookings to what is on an invoice: each a line that says which booking it is for and how it was rated."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.bookings.fees import FeeKind
from chargeplane.domain.invoicing.charges import Taxing, taxed_amounts
from chargeplane.domain.invoicing.model import BookingEvidence, Charge, LineKind
from chargeplane.domain.invoicing.taxes import Supply
from chargeplane.domain.languages import say
from chargeplane.domain.rating import Rating, words
from chargeplane.kernel.money import Money

_KINDS = {
    FeeKind.NO_SHOW: LineKind.NO_SHOW,
    FeeKind.CANCELLATION: LineKind.CANCELLATION,
    FeeKind.BOOKING: LineKind.RESERVATION,
}
_TEXTS = {
    FeeKind.NO_SHOW: "invoice.no_show",
    FeeKind.CANCELLATION: "invoice.cancellation",
    FeeKind.BOOKING: "invoice.booking",
}


class BookingFee(Struct, frozen=True, kw_only=True):
    """What a booking costs beside a session, as it is billed.

    Args:
        country, region: where the EVSE is, ISO 3166-1 alpha-2, with the state where states tax.
        tax_included: whether the rated prices have taxes in them.
    """

    booking_id: str
    kind: FeeKind
    at: datetime
    starts_at: datetime
    ends_at: datetime
    time_zone: str
    location_id: str
    place: str
    evse_uid: str
    rating: Rating
    country: str | None = None
    region: str | None = None
    tax_included: bool = False
    session_id: str | None = None


class FeeToBill(Struct, frozen=True, kw_only=True):
    """A fee that is to be billed.

    Args:
        gross: with tax, as it was when it fell due: what is taken of a payment.
    """

    fee_id: int
    currency: str
    gross: Decimal
    payment_id: int | None
    content: BookingFee


def fee_charges(fee: FeeToBill, taxing: Taxing, language: str, *, paid: bool = False) -> list[Charge]:
    """The lines of a fee, one for each tax rate.

    What a booking costs that was used goes with the electricity that was charged, and is taxed where the EVSE is; for one that was not used no
    electricity was delivered, and it is a service.

    Args:
        paid: a payment took the gross, which is what counts.
    """
    said, cost = fee.content, fee.content.rating.due
    supply = Supply.ELECTRICITY if said.kind is FeeKind.BOOKING else Supply.SERVICE
    tax = taxing(supply, said.at, said.country, said.region)
    standard = taxing(supply, said.at, None, None).percent
    amounts = taxed_amounts(cost, tax, standard, said.tax_included)
    if paid and len(amounts) == 1:
        amounts = [(fee.gross, amounts[0][1], True)]
    evidence = BookingEvidence(
        booking_id=said.booking_id,
        starts_at=said.starts_at,
        ends_at=said.ends_at,
        time_zone=said.time_zone,
        place=said.place,
        evse=said.evse_uid,
        session_id=said.session_id,
        explanation=tuple(words(line, said.rating.currency, language) for line in said.rating.lines),
    )
    return [
        Charge(
            kind=_KINDS[said.kind],
            text=say(_TEXTS[said.kind], language, place=said.place or said.evse_uid),
            amount=amount,
            tax=taxed,
            included=included,
            since=said.starts_at,
            until=said.ends_at,
            item=f"booking:{said.booking_id}:{said.kind.value}",
            booking=evidence,
        )
        for amount, taxed, included in amounts
    ]


def gross_of(fee: BookingFee, taxing: Taxing) -> Money:
    """What a fee costs with tax."""
    asked = FeeToBill(fee_id=0, currency=fee.rating.currency, gross=Decimal(0), payment_id=None, content=fee)
    total = Decimal(0)
    for one in fee_charges(asked, taxing, "en"):
        amount = Money(amount=one.amount, currency=fee.rating.currency).rounded().amount
        if not one.included:
            amount += Money(amount=amount * one.tax.percent / 100, currency=fee.rating.currency).rounded().amount
        total += amount
    return Money(amount=total, currency=fee.rating.currency)
