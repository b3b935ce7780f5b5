"""Sums, taxes and periods: pure rules."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.agreements.items import Every
from chargeplane.domain.agreements.model import BillingCycle
from chargeplane.domain.invoicing.booking import invoice_entry
from chargeplane.domain.invoicing.model import Charge, InvoiceContent, InvoiceKind, LineKind, part_of, summed, turned
from chargeplane.domain.invoicing.parties import Customer, Issuer, PostalAddress, iban_is_valid
from chargeplane.domain.invoicing.periods import cycle_end, periods
from chargeplane.domain.invoicing.states import InvoiceState, Standing, state_of
from chargeplane.domain.invoicing.taxes import LineTax, Supply, TaxCategory, profiles, treatment
from chargeplane.domain.ledger import PayerKind, unbalanced

BERLIN = ZoneInfo("Europe/Berlin")
ISSUER = Issuer(
    name="X", address=PostalAddress(country="DE"), vat_id="DE123456789", vat_registrations=("NL123456789B01",)
)
DAY = date(2026, 3, 1)

rates = st.sampled_from([Decimal(0), Decimal("5.5"), Decimal(19), Decimal(25)])
charges = st.builds(
    lambda cents, percent, included: Charge(
        kind=LineKind.CHARGING,
        text="t",
        amount=Decimal(cents) / 1000,
        tax=LineTax(category=TaxCategory.STANDARD if percent else TaxCategory.ZERO, percent=percent, place="DE"),
        included=included,
    ),
    st.integers(-50_000, 500_000),
    rates,
    st.booleans(),
)


@given(st.lists(charges, min_size=1, max_size=25))
def test_lines_taxes_and_totals_always_add_up(given_charges: list[Charge]) -> None:
    sums = summed(given_charges, "EUR")
    assert sum(line.net for line in sums.lines) == sums.net == sum(one.base for one in sums.taxes)
    assert sum(one.amount for one in sums.taxes) == sums.tax
    assert sums.net + sums.tax == sums.gross
    for one in sums.taxes:
        exact = one.base * one.tax.percent / 100
        assert abs(one.amount - exact) < Decimal("0.02")
        assert sum(line.net for line in sums.lines if line.tax == one.tax) == one.base
    if all(charge.included for charge in given_charges):
        assert sums.gross == sum(line.gross or 0 for line in sums.lines)
    back = turned(sums)
    assert (back.net, back.tax, back.gross) == (-sums.net, -sums.tax, -sums.gross)


@given(st.lists(charges, min_size=1, max_size=12), st.data())
def test_every_invoice_and_every_part_of_it_balances_in_the_ledger(
    given_charges: list[Charge], data: st.DataObject
) -> None:
    sums = summed(given_charges, "EUR")
    content = InvoiceContent(
        kind=InvoiceKind.INVOICE,
        currency="EUR",
        issuer=ISSUER,
        customer=Customer(name="c"),
        terms_days=1,
        language="en",
        **{name: getattr(sums, name) for name in ("lines", "taxes", "net", "tax", "gross")},
    )
    at = datetime(2026, 3, 1, tzinfo=UTC)
    for kind in InvoiceKind:
        said = msgspec.structs.replace(content, kind=kind)
        assert not unbalanced(invoice_entry(1, "n", said, PayerKind.DRIVER, "1", at, DAY).postings)
    chosen = data.draw(st.sets(st.sampled_from([line.number for line in sums.lines]), min_size=1))
    part = part_of(content, sorted(chosen))
    assert part.net + part.tax == part.gross


def taxed(
    place: str | None, vat_id: str | None, supply: Supply = Supply.ELECTRICITY, **more: str
) -> tuple[str, str, str]:
    customer = Customer(name="c", vat_id=vat_id, exempt=more.get("exempt"))
    found = treatment(ISSUER, customer, supply, DAY, place=place, region=more.get("region"))
    return found.category.value, f"{found.percent:f}", found.place


def test_who_is_taxed_where() -> None:
    assert taxed("DE", None) == ("S", "19", "DE")
    assert taxed("FR", None) == ("S", "20", "FR")
    assert taxed("FR", "FR40303265045") == ("AE", "0", "FR")
    assert taxed("FR", "DE123456788") == ("S", "20", "FR")
    assert taxed("NL", "NL987654321B01") == ("S", "21", "NL"), "the issuer is registered there"
    assert taxed(None, "FR40303265045", Supply.SERVICE) == ("AE", "0", "FR")
    assert taxed(None, "DE123456788", Supply.SERVICE) == ("S", "19", "DE")
    assert taxed(None, "GB123456789", Supply.SERVICE) == ("O", "0", "GB")
    assert taxed("DE", None, exempt="embassy") == ("E", "0", "DE")
    assert taxed("US", None, region="NY") == ("S", "4", "US-NY")
    assert taxed("US", None, region="ZZ") == ("Z", "0", "US-ZZ")


@pytest.mark.parametrize(
    ("on", "percent"), [("2020-06-30", "19"), ("2020-07-01", "16"), ("2020-12-31", "16"), ("2021-01-01", "19")]
)
def test_a_rate_holds_from_its_first_day_to_its_last(on: str, percent: str) -> None:
    assert profiles()["DE"].rate(Supply.ELECTRICITY, date.fromisoformat(on)) == Decimal(percent)


def test_rates_of_a_country_never_hold_at_the_same_time() -> None:
    assert set(profiles()) == {"DE", "FR", "GB", "NL", "SE", "US"}
    for profile in profiles().values():
        for one in profile.rates:
            others = [o for o in profile.rates if o is not one and (o.id, o.region) == (one.id, one.region)]
            assert not any(o.since <= one.since and (o.until is None or one.since < o.until) for o in others)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def test_periods_are_months_of_the_agreement_and_its_first_and_last_are_shares() -> None:
    found = list(periods(Every.MONTH, at("2026-01-10"), at("2026-03-11"), BERLIN, at("2026-05-01"), in_advance=False))
    assert [(one.start, one.end) for one in found] == [
        (at("2026-01-10"), at("2026-02-01")),
        (at("2026-02-01"), at("2026-03-01")),
        (at("2026-03-01"), at("2026-03-11")),
    ]
    assert [one.share for one in found] == [Decimal(22) / 31, 1, Decimal(10) / 31]


def test_what_is_due_in_advance_is_due_when_its_period_begins() -> None:
    begun = at("2026-01-01")
    ahead = list(periods(Every.QUARTER, begun, None, BERLIN, at("2026-04-02"), in_advance=True))
    behind = list(periods(Every.QUARTER, begun, None, BERLIN, at("2026-04-02"), in_advance=False))
    assert ([one.start.month for one in ahead], [one.start.month for one in behind]) == ([1, 4], [1])
    assert len(list(periods(Every.ONCE, begun, None, BERLIN, at("2026-04-02"), in_advance=True))) == 1


def test_cycles_end_at_local_midnight() -> None:
    now = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)  # already April in Berlin
    assert cycle_end(BillingCycle.MONTH, now, BERLIN) == at("2026-04-01")
    assert cycle_end(BillingCycle.QUARTER, now, BERLIN) == at("2026-04-01")
    assert cycle_end(BillingCycle.WEEK, now, BERLIN) == at("2026-03-30")
    assert cycle_end(BillingCycle.SESSION, now, BERLIN) == now


def test_the_state_follows_from_what_became_of_an_invoice() -> None:
    def state(day: date = DAY, **amounts: str) -> InvoiceState:
        said = {name: Decimal(value) for name, value in amounts.items()}
        return state_of(Standing(gross=Decimal(10), **said), DAY, day)

    later = date(2026, 3, 2)
    assert state() is InvoiceState.ISSUED
    assert state(later) is InvoiceState.OVERDUE
    assert state(later, paid="9.99") is InvoiceState.OVERDUE
    assert state(later, paid="10") is InvoiceState.PAID
    assert state(credited="10") is InvoiceState.CREDITED
    assert state(paid="4", credited="6") is InvoiceState.PAID
    assert state(paid="4", written_off="6") is InvoiceState.WRITTEN_OFF


def test_check_digits_of_an_iban() -> None:
    assert iban_is_valid("DE89370400440532013000")
    assert not iban_is_valid("DE88370400440532013000")
