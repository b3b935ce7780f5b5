"""Invoices between partners and the CDRs they are made of: what a record names compared with what we have.

A record has no amounts (OCPI 2.3.0 mod_invoice_reconciliation): the sum of its CDRs, as we have them, is what its invoice should ask. It comes from
whoever invoices: from the operator for its own CDRs, or, with reverse billing, from the provider for those that it received of us.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec import Struct

from chargeplane.domain.roaming.checking import Verdict
from chargeplane.domain.roaming.disputes import DisputeState
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.money import Money
from chargeplane.kernel.time import rfc3339


class RecordSaid(Struct, frozen=True, kw_only=True):
    """OCPI InvoiceReconciliationRecord."""

    country_code: str
    party_id: str
    id: str
    invoice_id: str
    cdrs: tuple[str, ...]
    last_updated: datetime


_record = msgspec.json.Decoder(RecordSaid).decode


def record_said(document: bytes) -> RecordSaid:
    """What a record says.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        return _record(document)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"The record cannot be taken: {error}.", (("", str(error)),)) from None


def record_document(
    country_code: str, party_id: str, ident: str, invoice_id: str, cdrs: Sequence[str], last_updated: datetime
) -> bytes:
    """An InvoiceReconciliationRecord."""
    return msgspec.json.encode(
        {
            "country_code": country_code,
            "party_id": party_id,
            "id": ident,
            "invoice_id": invoice_id,
            "cdrs": list(cdrs),
            "last_updated": rfc3339(last_updated),
        }
    )


class KnownCdr(Struct, frozen=True, kw_only=True):
    """A CDR that we have: one that we received, or one of ours.

    Args:
        id: as its operator names it.
        key: our id of it: of the received one, or of ours.
        received: it is a partner's.
        total_excl, total_incl: below nothing where it is a credit; `total_incl` None where no taxes were told.
        verdict: of a received one.
        other_records: ids of other records that name it.
    """

    id: str
    key: int
    received: bool
    currency: str
    total_excl: Decimal
    total_incl: Decimal | None
    ended_at: datetime
    verdict: Verdict | None = None
    dispute: DisputeState | None = None
    other_records: tuple[str, ...] = ()


class Finding(enum.StrEnum):
    """What is the matter with a CDR of a record."""

    AGREES = "agrees"
    MISSING_HERE = "missing_here"
    """The record names it, and we have none such."""
    MISSING_THERE = "missing_there"
    """We have it, it is older than the newest that the record names, and no record names it."""
    DIFFERS = "differs"
    """It asks for something else than its own tariff says."""
    UNRATED = "unrated"
    """It could not be rated again, or was not yet."""
    TWICE = "twice"
    """The record names it twice, or another record names it too."""


class Compared(Struct, frozen=True, kw_only=True):
    """A CDR of the comparison; `cdr` is None where we have none."""

    id: str
    finding: Finding
    cdr: KnownCdr | None


class Comparison(Struct, frozen=True, kw_only=True):
    """A record compared with what we have.

    Args:
        findings: how many of each kind.
        totals: what the CDRs that we have say together, by currency: before taxes, with them.
        compared: what does not agree.
    """

    findings: Mapping[Finding, int]
    totals: Mapping[str, tuple[Decimal, Decimal]]
    compared: Sequence[Compared]


_FOUND = {
    Verdict.AGREES: Finding.AGREES,
    Verdict.DIFFERS: Finding.DIFFERS,
    Verdict.UNRATED: Finding.UNRATED,
    Verdict.WAITING: Finding.UNRATED,
    Verdict.CREDIT: Finding.AGREES,
    None: Finding.AGREES,
}


def compared(named: Iterable[str], known: Mapping[str, KnownCdr], left_out: Sequence[KnownCdr]) -> Comparison:
    """A record's CDRs compared with ours.

    Args:
        named: ids of the record, as it has them.
        known: ours among them, by their ids in lower case.
        left_out: those of the partner that are missing there.
    """
    findings: dict[Finding, int] = {}
    totals: dict[str, tuple[Decimal, Decimal]] = {}
    differing: list[Compared] = []
    seen: set[str] = set()

    def note(one: Compared) -> None:
        findings[one.finding] = findings.get(one.finding, 0) + 1
        if one.finding is not Finding.AGREES:
            differing.append(one)

    for ident in named:
        key = ident.lower()
        cdr = known.get(key)
        if key in seen:
            note(Compared(id=ident, finding=Finding.TWICE, cdr=cdr))
            continue
        seen.add(key)
        if cdr is None:
            note(Compared(id=ident, finding=Finding.MISSING_HERE, cdr=None))
            continue
        excl, incl = totals.get(cdr.currency, (Decimal(0), Decimal(0)))
        more = cdr.total_excl if cdr.total_incl is None else cdr.total_incl
        totals[cdr.currency] = (excl + cdr.total_excl, incl + more)
        note(Compared(id=ident, finding=Finding.TWICE if cdr.other_records else _FOUND[cdr.verdict], cdr=cdr))
    for cdr in left_out:
        note(Compared(id=cdr.id, finding=Finding.MISSING_THERE, cdr=cdr))
    return Comparison(findings=findings, totals=totals, compared=tuple(differing))


def too_much(invoiced: Money, totals: Mapping[str, tuple[Decimal, Decimal]]) -> Money | None:
    """How much more an invoice asks than its CDRs say, taxes included; None where they are in another currency, or in several."""
    if set(totals) - {invoiced.currency}:
        return None
    owed = totals.get(invoiced.currency, (Decimal(0), Decimal(0)))[1]
    return Money(amount=invoiced.amount - owed, currency=invoiced.currency).rounded()
