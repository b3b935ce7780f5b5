"""Entries: what is booked, by which event, and that it balances."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal

import msgspec
from msgspec import Struct

from chargeplane.domain.ledger.accounts import Account
from chargeplane.kernel.errors import LocalProtocolError
from chargeplane.kernel.money import Money


class EntryKind(enum.StrEnum):
    """What is booked."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"
    PAYMENT = "payment"
    REFUND = "refund"
    FEE = "fee"
    PAYOUT = "payout"
    TOP_UP = "top_up"
    DISPUTE = "dispute"
    WRITE_OFF = "write_off"
    SHARE = "share"
    ADJUSTMENT = "adjustment"
    REVERSAL = "reversal"


class Posting(Struct, frozen=True, kw_only=True):
    """A line of an entry.

    Args:
        amount: debit above nothing, credit below; in minor units at the finest the currency has.
    """

    account: Account
    amount: Money


class Entry(Struct, frozen=True, kw_only=True):
    """What is booked together.

    Args:
        key: names the event, as `invoice:17`; a tenant books it once.
        happened_at: when it happened.
        booked_on: the day it counts for; None: the day of `happened_at` in UTC. In a closed period it moves to the first open day.
        reference_kind, reference: the object it is about, as (`invoice`, `17`).
        reverses: key of the entry it takes back.
    """

    key: str
    kind: EntryKind
    text: str
    happened_at: datetime
    postings: tuple[Posting, ...]
    booked_on: date | None = None
    reference_kind: str | None = None
    reference: str | None = None
    reverses: str | None = None


def unbalanced(postings: Iterable[Posting]) -> dict[str, Decimal]:
    """By how much the postings do not balance, by currency; empty where they do."""
    sums: dict[str, Decimal] = {}
    for posting in postings:
        sums[posting.amount.currency] = sums.get(posting.amount.currency, Decimal(0)) + posting.amount.amount
    return {currency: total for currency, total in sums.items() if total}


def checked(entry: Entry) -> Entry:
    """The entry with its postings put together by account and currency, those of nothing left out.

    Raises:
        LocalProtocolError: it does not balance, or has fractions of a minor unit.
    """
    sums: dict[tuple[Account, str], Decimal] = {}
    for posting in entry.postings:
        if not posting.amount.amount.is_finite() or posting.amount.rounded().amount != posting.amount.amount:
            raise LocalProtocolError(
                f"Entry '{entry.key}' posts {posting.amount.amount}, which is no amount to be paid."
            )
        place = (posting.account, posting.amount.currency)
        sums[place] = sums.get(place, Decimal(0)) + posting.amount.amount
    off = unbalanced(entry.postings)
    if off:
        told = ", ".join(f"{amount} {currency}" for currency, amount in off.items())
        raise LocalProtocolError(f"Entry '{entry.key}' does not balance: {told}.")
    postings = tuple(
        Posting(account=account, amount=Money(amount=amount, currency=currency))
        for (account, currency), amount in sums.items()
        if amount
    )
    return msgspec.structs.replace(entry, postings=postings)


def digest_of(entry: Entry) -> str:
    """What tells whether an entry with the same key says the same: of its kind, reference and postings, whatever their order."""
    postings = sorted(
        (posting.account.code, posting.amount.currency, f"{posting.amount.amount.normalize():f}")
        for posting in entry.postings
    )
    content = [entry.kind, entry.reference_kind, entry.reference, entry.reverses, postings]
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def reversal(entry: Entry, *, key: str, text: str, at: datetime) -> Entry:
    """What takes an entry back: the same accounts, the other side."""
    return Entry(
        key=key,
        kind=EntryKind.REVERSAL,
        text=text,
        happened_at=at,
        postings=tuple(
            Posting(
                account=posting.account,
                amount=Money(amount=-posting.amount.amount, currency=posting.amount.currency),
            )
            for posting in entry.postings
        ),
        reference_kind=entry.reference_kind,
        reference=entry.reference,
        reverses=entry.key,
    )
