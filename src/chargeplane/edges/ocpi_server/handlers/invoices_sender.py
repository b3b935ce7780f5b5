"""Row 52: records of ours about invoices, each partner its own (OCPI 2.3.0 mod_invoice_reconciliation, Sender)."""

from __future__ import annotations

from chargeplane.app.roaming.reconciliation import Reconciliation
from chargeplane.edges.ocpi_server.call import Call, Handler, Page, Reply
from chargeplane.ocpi.paging import PageAsk


def handlers(reconciliation: Reconciliation) -> dict[int, Handler]:
    """By row of the table."""

    async def listed(call: Call) -> Reply:
        ask = call.page or PageAsk()
        total, found = await reconciliation.listed(call.peer, ask.date_from, ask.date_to, ask.offset, ask.limit)
        return Reply(page=Page(documents=found, total=total))

    return {52: listed}
