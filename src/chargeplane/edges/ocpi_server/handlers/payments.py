"""Rows 57 to 68: payment terminals and what was captured at them, as their provider and as operator (OCPI 2.3.0 mod_payments)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from chargeplane.app.roaming.confirmations import Confirmations
from chargeplane.app.roaming.terminals import Terminals
from chargeplane.domain.roaming.connection import Peer
from chargeplane.domain.roaming.replicas import Outcome
from chargeplane.edges.ocpi_server.call import OK, Call, Handler, Page, Reply, not_found
from chargeplane.ocpi.paging import PageAsk

_CREATED = Reply(created=True)

Listing = Callable[[Peer, datetime | None, datetime | None, int, int], Awaitable[tuple[int, list[bytes]]]]


def handlers(terminals: Terminals, confirmations: Confirmations) -> dict[int, Handler]:
    """By row of the table."""

    def listed(listing: Listing) -> Handler:
        async def handle(call: Call) -> Reply:
            ask = call.page or PageAsk()
            total, found = await listing(call.peer, ask.date_from, ask.date_to, ask.offset, ask.limit)
            return Reply(page=Page(documents=found, total=total))

        return handle

    def terminal(own: bool) -> Handler:
        async def handle(call: Call) -> Reply:
            ident = call.path["terminal_id"]
            found = await terminals.document(call.peer, ident, own=own)
            return not_found(f"terminal '{ident}'") if found is None else Reply(document=found)

        return handle

    def confirmation(own: bool) -> Handler:
        async def handle(call: Call) -> Reply:
            ident = call.path["financial_advice_confirmation_id"]
            found = await confirmations.document(call.peer, ident, own=own)
            return not_found(f"financial advice confirmation '{ident}'") if found is None else Reply(document=found)

        return handle

    async def put(call: Call) -> Reply:
        await terminals.put(call.peer, call.path["terminal_id"], call.body)
        return OK

    async def patch(call: Call) -> Reply:
        await terminals.patch(call.peer, call.path["terminal_id"], call.body)
        return OK

    async def activate(call: Call) -> Reply:
        return Reply(document=await terminals.activate_for(call.peer, call.body))

    async def deactivate(call: Call) -> Reply:
        await terminals.deactivate_for(call.peer, call.path["terminal_id"])
        return OK

    async def post_terminal(call: Call) -> Reply:
        return _wrote(await terminals.receive(call.peer, call.body, posted=True))

    async def post_confirmation(call: Call) -> Reply:
        return _wrote(await confirmations.receive(call.peer, call.body))

    return {
        57: listed(terminals.listed),
        58: terminal(own=True),
        59: put,
        60: patch,
        61: activate,
        62: deactivate,
        63: listed(confirmations.listed),
        64: confirmation(own=True),
        65: terminal(own=False),
        66: post_terminal,
        67: confirmation(own=False),
        68: post_confirmation,
    }


def _wrote(outcome: Outcome) -> Reply:
    return _CREATED if outcome is Outcome.CREATED else OK
