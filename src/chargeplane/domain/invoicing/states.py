"""The state of an invoice follows from what was paid, credited and given up, and the day."""

from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal

from msgspec import Struct


class InvoiceState(enum.StrEnum):
    """Where an invoice is."""

    DRAFT = "draft"
    ISSUED = "issued"
    OVERDUE = "overdue"
    PAID = "paid"
    CREDITED = "credited"
    WRITTEN_OFF = "written_off"


class Standing(Struct, frozen=True, kw_only=True):
    """What became of an issued invoice; amounts in its currency."""

    gross: Decimal
    paid: Decimal = Decimal(0)
    credited: Decimal = Decimal(0)
    written_off: Decimal = Decimal(0)

    @property
    def open(self) -> Decimal:
        """What is still owed; never below nothing."""
        return max(self.gross - self.paid - self.credited - self.written_off, Decimal(0))


def state_of(standing: Standing, due_on: date, today: date) -> InvoiceState:
    """The state of an issued invoice."""
    if standing.open > 0:
        return InvoiceState.OVERDUE if today > due_on else InvoiceState.ISSUED
    if standing.written_off > 0:
        return InvoiceState.WRITTEN_OFF
    if standing.credited > 0 and standing.credited >= standing.gross:
        return InvoiceState.CREDITED
    return InvoiceState.PAID
