"""Facts about invoices, taken from the outbox: shown to whoever watches; webhooks were written when they were taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.app.events import EventFeed
from chargeplane.app.invoicing.invoices import Invoices
from chargeplane.kernel.ids import TenantId
from chargeplane.store.outbox import BatchHandler, Fact, FactHandler

TOPICS: Final = tuple(
    f"invoice.{what}" for what in ("issued", "sent", "paid", "credited", "overdue", "reminded", "written_off")
)
"""Key `invoice:<id>`, payload `issuing.InvoiceFact`."""

ISSUED: Final = "invoice.issued"


class _About(Struct):
    invoice_id: str


_about = msgspec.json.Decoder(_About).decode


def shown_to(events: EventFeed) -> BatchHandler:
    """A handler that shows them."""

    async def show(told: Sequence[Fact]) -> None:
        for fact in told:
            events.publish(fact.topic, TenantId(fact.tenant_id), None, msgspec.Raw(fact.payload.encode()))

    return show


def mailed(invoices: Invoices, show: BatchHandler) -> FactHandler:
    """A handler that mails what was issued, and then shows it."""

    async def handle(fact: Fact) -> None:
        await invoices.mail_issued(TenantId(fact.tenant_id), int(_about(fact.payload).invoice_id))
        await show((fact,))

    return handle
