"""What the ledger has of partners."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from chargeplane.domain.ledger import Entry, EntryKind, Posting, bank, input_tax, partner, partner_cost
from chargeplane.domain.settlements.model import Statement
from chargeplane.kernel.money import Money


def share_entry(number: str, ident: int, statement: Statement, at: datetime) -> Entry:
    """A site host's statement: what it gets is a cost, and owed."""
    amount = Money(amount=statement.payable, currency=statement.currency)
    return Entry(
        key=f"partner-statement:{ident}",
        kind=EntryKind.SHARE,
        text=number,
        happened_at=at,
        postings=(
            Posting(account=partner_cost("revenue-share"), amount=amount),
            Posting(account=partner(statement.party), amount=_negative(amount)),
        ),
        reference_kind="partner-statement",
        reference=str(ident),
    )


def partner_cdr_entry(
    ident: int, party: str, cdr_id: str, country: str, net: Money, gross: Money, at: datetime
) -> Entry:
    """A partner's CDR: what our drivers took at its stations is a cost, its tax is ours to deduct, and both are owed. A credit is below nothing."""
    return Entry(
        key=f"partner-cdr:{ident}",
        kind=EntryKind.SHARE,
        text=f"CDR {cdr_id} of {party}",
        happened_at=at,
        postings=(
            Posting(account=partner_cost("roaming"), amount=net),
            Posting(
                account=input_tax(country), amount=Money(amount=gross.amount - net.amount, currency=gross.currency)
            ),
            Posting(account=partner(party), amount=_negative(gross)),
        ),
        reference_kind="partner-cdr",
        reference=str(ident),
    )


def payout_entry(number: str, ident: int, party: str, amount: Money, at: datetime) -> Entry:
    """What was paid to a partner; below nothing: by it."""
    return Entry(
        key=f"partner-payout:{ident}",
        kind=EntryKind.PAYOUT,
        text=number,
        happened_at=at,
        postings=(
            Posting(account=partner(party), amount=amount),
            Posting(account=bank(), amount=_negative(amount)),
        ),
        reference_kind="partner-statement",
        reference=str(ident),
    )


def _negative(money: Money) -> Money:
    return Money(amount=-money.amount if money.amount else Decimal(0), currency=money.currency)
