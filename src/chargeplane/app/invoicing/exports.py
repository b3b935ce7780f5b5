"""Invoices, their lines and the ledger as files, made while they are sent: a page in memory at a time."""

from __future__ import annotations

import csv
import enum
import io
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from typing import Any, Final

import msgspec

from chargeplane.app.api_keys import Caller
from chargeplane.domain.invoicing.model import InvoiceKind
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.store.database import Database
from chargeplane.store.queries import invoices as queries
from chargeplane.store.queries import ledger as ledger_queries
from chargeplane.store.queries.invoices import InvoiceFilter
from chargeplane.store.queries.ledger import EntryFilter
from chargeplane.store.queries.paging import Position

_SIZE: Final = 200
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class ExportFormat(enum.StrEnum):
    """How a file is written."""

    JSONL = "jsonl"
    CSV = "csv"
    DATEV = "datev"
    """CSV in the manner of DATEV's booking batches: semicolons, decimal commas, an amount with debit or credit and two accounts."""


class Exports:
    """Files of what is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def invoices(self, caller: Caller, format: ExportFormat, wanted: InvoiceFilter) -> AsyncIterator[bytes]:
        """Issued invoices, oldest first; amounts of credit notes are below nothing."""
        _not_datev(format)
        yield _head(format, _INVOICE)
        async for invoice, content in self._all(caller, wanted):
            sign = -1 if invoice.kind is InvoiceKind.CREDIT_NOTE else 1
            yield _row(
                format,
                _INVOICE,
                (
                    invoice.number,
                    invoice.kind.value,
                    invoice.state.value,
                    invoice.issued_on,
                    invoice.due_on,
                    invoice.customer,
                    content.customer.vat_id,
                    content.agreement,
                    invoice.currency,
                    sign * invoice.net,
                    sign * invoice.tax,
                    sign * invoice.gross,
                    sign * invoice.standing.open,
                    content.credited_number,
                ),
            )

    async def lines(self, caller: Caller, format: ExportFormat, wanted: InvoiceFilter) -> AsyncIterator[bytes]:
        """The lines of issued invoices, oldest first."""
        _not_datev(format)
        yield _head(format, _LINE)
        async for invoice, content in self._all(caller, wanted):
            sign = -1 if invoice.kind is InvoiceKind.CREDIT_NOTE else 1
            for line in content.lines:
                evidence = line.evidence
                yield _row(
                    format,
                    _LINE,
                    (
                        invoice.number,
                        line.number,
                        line.kind.value,
                        line.text,
                        line.quantity,
                        sign * line.net,
                        line.tax.category.value,
                        line.tax.percent,
                        line.tax.place,
                        invoice.currency,
                        line.since,
                        line.until,
                        None if evidence is None else evidence.cdr_id,
                        None if evidence is None else evidence.session_id,
                        None if evidence is None else evidence.energy_kwh,
                        None if evidence is None else evidence.place,
                        None if evidence is None else evidence.evse,
                    ),
                )

    async def ledger(self, caller: Caller, format: ExportFormat, wanted: EntryFilter) -> AsyncIterator[bytes]:
        """Postings with their entries, oldest first."""
        fields = _DATEV if format is ExportFormat.DATEV else _POSTING
        yield _head(format, fields)
        after = Position(sort="id")
        while True:
            async with self._database.read() as db:
                found = await ledger_queries.page(db, caller.tenant_id, wanted, _SIZE, after)
            for one in found:
                entry = one.entry
                # One line of DATEV has two accounts: each posting is booked against the one that the entry has first.
                against = entry.postings[0]
                for posting in entry.postings:
                    amount = posting.amount
                    if format is ExportFormat.DATEV:
                        if posting is against:
                            continue
                        yield _row(
                            format,
                            fields,
                            (
                                f"{abs(amount.amount):f}".replace(".", ","),
                                "S" if amount.amount > 0 else "H",
                                amount.currency,
                                posting.account.code,
                                against.account.code,
                                f"{one.booked_on:%d%m}",
                                entry.text[:36],
                                entry.key[:60],
                            ),
                        )
                    else:
                        yield _row(
                            format,
                            fields,
                            (
                                one.id,
                                entry.key,
                                entry.kind.value,
                                one.booked_on,
                                entry.happened_at,
                                entry.text,
                                entry.reference_kind,
                                entry.reference,
                                posting.account.code,
                                posting.account.type.value,
                                amount.amount,
                                amount.currency,
                            ),
                        )
            if len(found) < _SIZE:
                return
            after = Position((found[-1].id,), "id")

    async def _all(self, caller: Caller, wanted: InvoiceFilter) -> AsyncIterator[Any]:
        after: Position | None = None
        while True:
            async with self._database.read() as db:
                found = await queries.with_contents(db, caller.tenant_id, wanted, _SIZE, after)
            for one in found:
                yield one
            if len(found) < _SIZE:
                return
            after = Position((found[-1][0].id,))


_INVOICE: Final = (
    "number",
    "kind",
    "state",
    "issued_on",
    "due_on",
    "customer",
    "vat_id",
    "agreement",
    "currency",
    "net",
    "tax",
    "gross",
    "open",
    "credited_number",
)
_LINE: Final = (
    "invoice",
    "line",
    "kind",
    "text",
    "quantity",
    "net",
    "tax_category",
    "tax_percent",
    "tax_place",
    "currency",
    "since",
    "until",
    "cdr_id",
    "session_id",
    "energy_kwh",
    "place",
    "evse",
)
_POSTING: Final = (
    "entry_id",
    "key",
    "kind",
    "booked_on",
    "happened_at",
    "text",
    "reference_kind",
    "reference",
    "account",
    "account_type",
    "amount",
    "currency",
)
_DATEV: Final = (
    "Umsatz (ohne Soll/Haben-Kz)",
    "Soll/Haben-Kennzeichen",
    "WKZ Umsatz",
    "Konto",
    "Gegenkonto (ohne BU-Schlüssel)",
    "Belegdatum",
    "Belegfeld 1",
    "Buchungstext",
)


def _not_datev(format: ExportFormat) -> None:
    if format is ExportFormat.DATEV:
        sentence = "Only the ledger is written for DATEV; take csv or jsonl"
        raise InvalidInputError(f"'format': {sentence}.", (("/format", sentence),))


def _head(format: ExportFormat, fields: Iterable[str]) -> bytes:
    return b"" if format is ExportFormat.JSONL else _csv(fields, format)


def _row(format: ExportFormat, fields: Iterable[str], values: Iterable[Any]) -> bytes:
    if format is ExportFormat.JSONL:
        said = {
            name: f"{value:f}" if isinstance(value, Decimal) else value
            for name, value in zip(fields, values, strict=True)
        }
        return msgspec.json.encode(said) + b"\n"
    return _csv((_cell(value) for value in values), format)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    # A spreadsheet would take a text that begins so for a formula.
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def _csv(cells: Iterable[str], format: ExportFormat) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=";" if format is ExportFormat.DATEV else ",", lineterminator="\r\n").writerow(list(cells))
    return out.getvalue().encode()
