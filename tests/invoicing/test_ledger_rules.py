"""Entries: balanced or refused, taken back by their reversal."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.ledger import (
    Account,
    AccountType,
    Entry,
    EntryKind,
    PayerKind,
    Posting,
    digest_of,
    receivable,
    revenue,
    reversal,
    tax,
    unbalanced,
)
from chargeplane.domain.ledger.entries import checked
from chargeplane.kernel.errors import LocalProtocolError
from chargeplane.kernel.money import Money

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(*postings: Posting, key: str = "k") -> Entry:
    return Entry(key=key, kind=EntryKind.ADJUSTMENT, text="t", happened_at=NOW, postings=postings)


def on(code: str, amount: str, currency: str = "EUR") -> Posting:
    return Posting(
        account=Account(code=code, type=AccountType.ASSET), amount=Money(amount=Decimal(amount), currency=currency)
    )


def test_postings_of_one_account_are_put_together_and_nothing_is_left_out() -> None:
    made = checked(entry(on("a", "3.00"), on("a", "2.00"), on("b", "-5.00"), on("c", "1.00"), on("c", "-1.00")))
    assert [(one.account.code, one.amount.amount) for one in made.postings] == [("a", Decimal(5)), ("b", Decimal(-5))]


@pytest.mark.parametrize(
    ("postings", "reason"),
    [
        ((on("a", "1.00"), on("b", "-0.99")), "does not balance: 0.01 EUR"),
        ((on("a", "1.00"), on("b", "-1.00", "SEK")), "does not balance"),
        ((on("a", "0.001"), on("b", "-0.001")), "no amount to be paid"),
        ((on("a", "1.5", "JPY"), on("b", "-1.5", "JPY")), "no amount to be paid"),
        ((on("a", "NaN"), on("b", "1")), "no amount to be paid"),
    ],
)
def test_what_does_not_balance_is_refused(postings: tuple[Posting, ...], reason: str) -> None:
    with pytest.raises(LocalProtocolError, match=reason):
        checked(entry(*postings))


def test_digest_tells_contents_apart_and_not_their_order_or_zeros() -> None:
    one = entry(on("a", "5.00"), on("b", "-5.00"))
    same = entry(on("b", "-5"), on("a", "5.0"))
    assert digest_of(one) == digest_of(same)
    assert digest_of(one) != digest_of(entry(on("a", "6.00"), on("b", "-6.00")))
    assert digest_of(one) != digest_of(entry(on("a", "5.00"), on("c", "-5.00")))


def test_accounts_are_named_by_what_they_are_for() -> None:
    assert receivable(PayerKind.DRIVER, "12").code == "receivable:driver:12"
    assert revenue("charging", "DE", "S", Decimal("19.00")).code == "revenue:charging:DE:S:19"
    assert tax("FR", Decimal("5.50")).code == "tax:FR:5.5"
    assert tax("FR", Decimal("100")).code == "tax:FR:100"


cents = st.integers(-(10**9), 10**9).filter(bool)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), cents, st.sampled_from(["EUR", "SEK"])), min_size=1, max_size=12))
def test_an_entry_with_its_reversal_leaves_every_account_as_it_was(lines: list[tuple[str, int, str]]) -> None:
    postings = [on(code, str(Decimal(amount) / 100), currency) for code, amount, currency in lines]
    off = unbalanced(postings)
    postings += [on("rest", str(-amount), currency) for currency, amount in off.items()]
    made = checked(entry(*postings))
    back = checked(reversal(made, key="r", text="why", at=NOW))
    sums: dict[tuple[str, str], Decimal] = {}
    for one in (*made.postings, *back.postings):
        place = (one.account.code, one.amount.currency)
        sums[place] = sums.get(place, Decimal(0)) + one.amount.amount
    assert not any(sums.values())
    assert not unbalanced(made.postings)
