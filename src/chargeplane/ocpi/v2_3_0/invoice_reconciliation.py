"""Which CDRs an invoice is made of (OCPI 2.3.0 mod_invoice_reconciliation)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import CiString2, CiString3, CiString36, CiString255, DateTime

__all__ = [
    "InvoiceReconciliationRecord",
]


class InvoiceReconciliationRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The CDRs of an invoice."""

    country_code: CiString2
    party_id: CiString3
    id: CiString36
    invoice_id: CiString255
    cdrs: Annotated[tuple[CiString36, ...], Meta(min_length=1)]
    last_updated: DateTime
