"""A payment's states: what is joined in any order ends the same, and never leaves the table."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.payments.holds import Spending, margin, used_up
from chargeplane.domain.payments.states import (
    MAY_FOLLOW,
    OVER,
    Dispute,
    Ended,
    Goal,
    Payment,
    PaymentState,
    Seen,
    refundable,
    seen,
)
from chargeplane.domain.payments.steps import (
    Capabilities,
    OperationKind,
    capture_at,
    next_step,
    uncollected,
)
from chargeplane.domain.payments.visits import MAY_FOLLOW as MAY_FOLLOW_VISIT
from chargeplane.domain.payments.visits import Stage, moved
from chargeplane.kernel.errors import LocalProtocolError

NOW = datetime(2026, 5, 1, tzinfo=UTC)
amounts = st.integers(0, 5000).map(lambda cents: Decimal(cents) / 100)
told = st.builds(
    Seen,
    action=st.booleans(),
    authorized=amounts,
    captured=amounts,
    refunded=amounts,
    ended=st.sampled_from([None, None, *Ended]),
    dispute=st.sampled_from(Dispute),
    expires_at=st.sampled_from([None, NOW, NOW + timedelta(days=7)]),
)
payments = st.builds(
    Payment,
    hold=amounts,
    goal=st.sampled_from(Goal),
    to_capture=st.none() | amounts,
    ref=st.sampled_from([None, "x"]),
    authorized=amounts,
    captured=amounts,
    refunded=amounts,
    ended=st.sampled_from([None, *Ended]),
    dispute=st.sampled_from(Dispute),
)
abilities = st.builds(
    Capabilities, page=st.booleans(), off_session=st.booleans(), increment=st.booleans(), partial_capture=st.booleans()
)


@given(payments, st.lists(told, max_size=6), st.randoms())
def test_what_is_told_ends_the_same_in_any_order_and_however_often(
    payment: Payment, history: list[Seen], random: Any
) -> None:
    shuffled = [*history, *history[:2]]
    random.shuffle(shuffled)
    one = other = payment
    for each in history:
        one = seen(one, each)
    for each in shuffled:
        other = seen(other, each)
    assert one.state is other.state
    assert (one.authorized, one.captured, one.refunded, one.ended, one.dispute, one.expires_at) == (
        other.authorized,
        other.captured,
        other.refunded,
        other.ended,
        other.dispute,
        other.expires_at,
    )


@given(payments, told)
def test_a_state_is_followed_only_by_what_may_follow_it(payment: Payment, what: Seen) -> None:
    before, after = payment.state, seen(payment, what).state
    assert after is before or after in MAY_FOLLOW[before], (before, after)


@given(payments, told)
def test_money_that_was_taken_is_never_forgotten(payment: Payment, what: Seen) -> None:
    after = seen(payment, what)
    assert after.captured >= payment.captured
    assert after.refunded >= payment.refunded
    assert after.captured == 0 or after.state in OVER


@given(payments, abilities, st.booleans(), st.sets(st.sampled_from(OperationKind)))
def test_a_step_never_takes_more_than_is_held_and_never_twice(
    payment: Payment, able: Capabilities, off_session: bool, tried: set[OperationKind]
) -> None:
    step = next_step(payment, able, tried=frozenset(tried), off_session=off_session)
    if step is None:
        return
    assert payment.state not in OVER
    assert step.kind not in tried
    if step.kind is OperationKind.CAPTURE:
        assert payment.captured == 0
        assert 0 < step.amount <= payment.authorized
        assert payment.goal is Goal.CAPTURE
    if step.kind is OperationKind.INCREMENT:
        assert able.increment
        assert step.amount > payment.authorized
    if step.kind is OperationKind.START:
        assert payment.ref is None


@given(payments, amounts)
def test_no_more_is_given_back_than_was_taken(payment: Payment, under_way: Decimal) -> None:
    left = refundable(payment, under_way)
    assert left >= 0
    assert left == 0 or left + payment.refunded + under_way <= payment.captured


def test_an_amount_of_nothing_releases_the_hold() -> None:
    payment = Payment(hold=Decimal(50), authorized=Decimal(50), ref="x", goal=Goal.CAPTURE, to_capture=Decimal(0))
    step = next_step(payment, Capabilities())
    assert step is not None
    assert step.kind is OperationKind.VOID


def test_more_than_the_hold_is_raised_where_that_can_be_and_else_stays_uncollected() -> None:
    payment = Payment(hold=Decimal(50), authorized=Decimal(50), ref="x", goal=Goal.CAPTURE, to_capture=Decimal(60))
    first = next_step(payment, Capabilities(increment=True))
    assert first is not None
    assert (first.kind, first.amount) == (OperationKind.INCREMENT, Decimal(60))
    second = next_step(payment, Capabilities(increment=True), tried=frozenset({OperationKind.INCREMENT}))
    assert second is not None
    assert (second.kind, second.amount) == (OperationKind.CAPTURE, Decimal(50))
    assert uncollected(seen(payment, Seen(captured=Decimal(50)))) == Decimal(10)


def test_a_dispute_that_is_won_gives_the_captured_payment_back() -> None:
    payment = Payment(hold=Decimal(5), authorized=Decimal(5), captured=Decimal(5), ref="x")
    opened = seen(payment, Seen(dispute=Dispute.OPEN))
    assert opened.state is PaymentState.DISPUTED
    assert refundable(opened) == 0
    assert seen(opened, Seen(dispute=Dispute.WON)).state is PaymentState.CAPTURED
    assert seen(opened, Seen(dispute=Dispute.LOST)).state is PaymentState.DISPUTED


def test_a_hold_is_captured_well_before_it_ends() -> None:
    assert capture_at(NOW, NOW + timedelta(days=7)) == NOW + timedelta(days=7) - timedelta(hours=2)
    assert capture_at(NOW, NOW + timedelta(minutes=4)) == NOW + timedelta(minutes=3)


@given(
    st.integers(1, 200).map(Decimal),
    st.integers(0, 100_000).map(lambda value: Decimal(value) / 100),
    st.integers(0, 900),
    st.integers(1, 900),
)
def test_a_session_stopped_at_the_first_value_that_says_so_stays_within_the_hold(
    hold: Decimal, per_hour: Decimal, latency_ms: int, interval_s: int
) -> None:
    """The cost rises as fast as it can; it is looked at with every meter value; the stop takes up to LATENCY."""
    per_s = per_hour / 3600
    at = 0
    while True:
        cost = per_s * at
        spending = Spending(cost=cost, per_hour=per_hour, meter_interval=timedelta(seconds=interval_s))
        if used_up(hold, spending):
            break
        if at > 3_600_000 or per_hour == 0:
            return
        at += max(interval_s, int((hold - cost - margin(hold, spending)) / per_s) // interval_s * interval_s)
    begun_within = margin(
        hold, Spending(cost=Decimal(0), per_hour=per_hour, meter_interval=timedelta(seconds=interval_s))
    )
    if begun_within < hold:  # else it is stopped at once
        assert per_s * (at + 20) <= hold


def test_a_visit_goes_on_and_never_back_but_to_charging_that_came_late() -> None:
    later = list(Stage)
    for before, after in itertools.product(Stage, Stage):
        if after is before or after in MAY_FOLLOW_VISIT[before]:
            assert moved(before, after) is after
            assert later.index(after) >= later.index(before) or (before, after) == (Stage.ENDED, Stage.CHARGING)
        else:
            with pytest.raises(LocalProtocolError, match=f"from '{before.value}' to '{after.value}'"):
                moved(before, after)
    assert not MAY_FOLLOW_VISIT[Stage.DONE]
    assert set(MAY_FOLLOW_VISIT) == set(Stage)
