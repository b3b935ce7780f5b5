"""What holds for one booking, frozen when it is made: the agreement's terms over the tenant's policy."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from chargeplane.domain.bookings.policy import BookingPolicy
from chargeplane.domain.rating import Discount
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.money import Money


class AgreedTerms(Struct, frozen=True, kw_only=True):
    """What an agreement says of reservations; None: nothing.

    Args:
        fee: of each booking that is used, or canceled later than the free limit.
        no_show_fee: where nobody came.
        discounts: on what the tariff asks for a reservation that nobody used.
        agreement_id, agreement_version: which one says it.
    """

    agreement_id: str | None = None
    agreement_version: int | None = None
    fee: Money | None = None
    no_show_fee: Money | None = None
    free_cancel_s: float | None = None
    max_s: float | None = None
    max_ahead_s: float | None = None
    max_at_a_time: int | None = None
    discounts: tuple[Discount, ...] = ()


class BookingTerms(Struct, frozen=True, kw_only=True):
    """What holds for a booking. Lengths in seconds."""

    free_cancel_s: float
    max_s: float
    max_ahead_s: float
    max_at_a_time: int
    min_s: float = 0
    fee: Money | None = None
    no_show_fee: Money | None = None
    agreement_id: str | None = None
    agreement_version: int | None = None
    discounts: tuple[Discount, ...] = ()


def terms_of(policy: BookingPolicy, agreed: AgreedTerms | None) -> BookingTerms:
    """What holds: what the agreement says, else the policy."""
    said = agreed or AgreedTerms()

    def either(one: float | None, other: float) -> float:
        return other if one is None else one

    return BookingTerms(
        free_cancel_s=either(said.free_cancel_s, policy.free_cancel_s),
        max_s=either(said.max_s, policy.max_s),
        max_ahead_s=either(said.max_ahead_s, policy.max_ahead_s),
        max_at_a_time=policy.max_at_a_time if said.max_at_a_time is None else said.max_at_a_time,
        min_s=policy.min_s,
        fee=said.fee,
        no_show_fee=said.no_show_fee,
        agreement_id=said.agreement_id,
        agreement_version=said.agreement_version,
        discounts=said.discounts,
    )


def check_interval(terms: BookingTerms, starts_at: datetime, ends_at: datetime, now: datetime) -> None:
    """That an interval may be booked.

    Raises:
        InvalidInputError: naming the end that is wrong, and what would be allowed.
    """
    length = (ends_at - starts_at).total_seconds()
    if length <= 0:
        raise _wrong("ends_at", "Must be after starts_at")
    if length < terms.min_s:
        raise _wrong("ends_at", f"A booking lasts at least {_words(terms.min_s)}")
    if length > terms.max_s:
        raise _wrong("ends_at", f"A booking lasts at most {_words(terms.max_s)}")
    if starts_at > now + timedelta(seconds=terms.max_ahead_s):
        raise _wrong("starts_at", f"A booking begins at most {_words(terms.max_ahead_s)} from now")


def cancels_free(terms: BookingTerms, starts_at: datetime, now: datetime) -> bool:
    """Whether canceling now costs nothing."""
    return terms.fee is None or now <= starts_at - timedelta(seconds=terms.free_cancel_s)


def _words(seconds: float) -> str:
    return f"{timedelta(seconds=seconds)}"


def _wrong(name: str, sentence: str) -> InvalidInputError:
    return InvalidInputError(f"'{name}' is wrong: {sentence}.", ((f"/{name}", sentence),))
