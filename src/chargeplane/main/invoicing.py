"""Invoices and the ledger: made and started."""

from __future__ import annotations

from dataclasses import dataclass

from chargeplane.app.ledger import Ledger
from chargeplane.main.subjects import Parts


@dataclass(frozen=True, kw_only=True)
class InvoicingParts:
    """What REST shows of it."""

    ledger: Ledger


async def start_invoicing(parts: Parts) -> InvoicingParts:
    """Makes the use cases."""
    return InvoicingParts(ledger=Ledger(parts.database))
