"""Facts about invoices, and the mail that follows from one."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.app.invoicing.invoices import Invoices
from chargeplane.kernel.ids import TenantId
from chargeplane.store.outbox import Fact, FactHandler

TOPICS: Final = tuple(
    f"invoice.{what}" for what in ("issued", "sent", "paid", "credited", "overdue", "reminded", "written_off")
)
"""Key `invoice:<id>`, payload `issuing.InvoiceFact`."""

ISSUED: Final = "invoice.issued"


class _About(Struct):
    invoice_id: str


_about = msgspec.json.Decoder(_About).decode


def mailed(invoices: Invoices) -> FactHandler:
    """A handler that mails what was issued."""

    async def handle(fact: Fact) -> None:
        await invoices.mail_issued(TenantId(fact.tenant_id), int(_about(fact.payload).invoice_id))

    return handle
