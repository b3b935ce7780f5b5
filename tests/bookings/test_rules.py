"""The rules of bookings, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.bookings.fees import FeeKind, rate_expired, rate_fee
from chargeplane.domain.bookings.policy import BookingPolicy
from chargeplane.domain.bookings.states import HOLDING, OPEN, BookingState, may_follow
from chargeplane.domain.bookings.terms import AgreedTerms, cancels_free, check_interval, terms_of
from chargeplane.domain.bookings.times import next_due, times_of
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.money import Money
from tests.rating.making import element, price, tariff

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
EUR = Money(amount=Decimal("4.50"), currency="EUR")


def test_what_has_ended_stays_as_it_ended() -> None:
    for ended in set(BookingState) - set(HOLDING):
        assert not any(may_follow(ended, after) for after in BookingState)
    assert all(may_follow(state, BookingState.CANCELED) for state in OPEN)
    assert not may_follow(BookingState.USED, BookingState.CANCELED)


def test_the_agreement_goes_before_the_policy_and_is_silent_elsewhere() -> None:
    policy = BookingPolicy(max_s=7200, max_at_a_time=2, free_cancel_s=60)
    assert terms_of(policy, None).max_s == 7200
    terms = terms_of(policy, AgreedTerms(agreement_id="7", agreement_version=2, fee=EUR, max_s=3600, max_at_a_time=0))
    assert (terms.max_s, terms.max_at_a_time, terms.free_cancel_s, terms.fee) == (3600, 0, 60, EUR)
    assert (terms.agreement_id, terms.agreement_version) == ("7", 2)


@pytest.mark.parametrize(
    ("begins", "lasts", "field"),
    [(0, 0, "/ends_at"), (0, 60, "/ends_at"), (0, 7201, "/ends_at"), (86_401, 3600, "/starts_at")],
)
def test_an_interval_beyond_the_terms_names_the_field(begins: int, lasts: int, field: str) -> None:
    terms = terms_of(BookingPolicy(min_s=300, max_s=7200, max_ahead_s=86_400), None)
    start = NOON + timedelta(seconds=begins)
    with pytest.raises(InvalidInputError) as refused:
        check_interval(terms, start, start + timedelta(seconds=lasts), NOON)
    assert refused.value.fields[0][0] == field
    check_interval(terms, NOON, NOON + HOUR, NOON)


def test_canceling_is_free_until_the_limit_and_where_there_is_no_fee() -> None:
    terms = terms_of(BookingPolicy(), AgreedTerms(fee=EUR, free_cancel_s=1800))
    assert cancels_free(terms, NOON, NOON - timedelta(minutes=30))
    assert not cancels_free(terms, NOON, NOON - timedelta(minutes=29))
    assert cancels_free(terms_of(BookingPolicy(), None), NOON, NOON)


@given(
    lead=st.floats(0, 86_400),
    announce=st.floats(0, 86_400),
    no_show=st.floats(0, 86_400),
    buffer=st.floats(0, 86_400),
    lasts=st.integers(1, 86_400),
)
def test_what_is_due_comes_in_order(lead: float, announce: float, no_show: float, buffer: float, lasts: int) -> None:
    policy = BookingPolicy(lead_s=lead, announce_s=announce, no_show_s=no_show, buffer_s=buffer)
    times = times_of(policy, NOON, NOON + timedelta(seconds=lasts))
    assert times.announce_at <= times.ask_at <= times.starts_at <= times.no_show_at <= times.ends_at
    assert times.ends_at <= times.blocked_until
    first = next_due(BookingState.CONFIRMED, times, confirm_by=None, announced=False)
    assert first == times.announce_at
    assert next_due(BookingState.CONFIRMED, times, confirm_by=None, announced=True) == times.ask_at
    assert next_due(BookingState.ACTIVE, times, confirm_by=None, announced=True) == times.no_show_at
    assert next_due(BookingState.CREATED, times, confirm_by=NOON, announced=False) == NOON
    assert next_due(BookingState.NO_SHOW, times, confirm_by=None, announced=True) is None


@given(amount=st.decimals("0.01", 10_000, places=2), minutes=st.integers(0, 600))
def test_a_fee_is_rated_to_its_amount_whatever_the_interval(amount: Decimal, minutes: int) -> None:
    fee = Money(amount=amount, currency="EUR")
    until = NOON + timedelta(minutes=minutes)
    for kind in FeeKind:
        rating = rate_fee(kind, fee, NOON, until, ZoneInfo("Europe/Berlin"))
        assert rating.due_excl == fee
        assert rating.tariff_id == f"booking-{kind.value}"
        assert len(rating.lines) == 1


def test_a_reservation_that_nobody_used_costs_what_reserving_costs_and_what_its_expiry_costs() -> None:
    """OCPI 2.3.0 mod_tariffs, RESERVATION_EXPIRES."""
    what = tariff(
        element(price("FLAT", "4.00"), price("TIME", "2.00"), reservation="RESERVATION_EXPIRES"),
        element(price("FLAT", "1.00"), reservation="RESERVATION"),
        element(price("ENERGY", "0.39")),
    )
    rating = rate_expired(what, NOON, NOON + timedelta(minutes=15), ZoneInfo("Europe/Berlin"))
    assert rating.total.excl == Decimal("5.50")  # 1.00 and 4.00 once, a quarter of 2.00
