"""Looks after payments by itself: whatever is unfinished is asked for at its provider and brought to its end."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from chargeplane.app.house import utc_now
from chargeplane.app.payments.carrying import Carrying
from chargeplane.app.payments.webhooks import Webhooks
from chargeplane.app.pulse import Pulse
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import payments as queries

_AT_ONCE: Final = 8

log = structlog.get_logger(__name__)


class Reconciliation:
    """Runs where jobs run.

    Args:
        every_s: how often what is due is looked for.
    """

    def __init__(self, database: Database, carrying: Carrying, webhooks: Webhooks, *, every_s: float = 1.0) -> None:
        self._database = database
        self._carrying = carrying
        self._webhooks = webhooks
        self._pulse = Pulse("payments", every_s, self.look)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def start(self) -> None:
        """Begins."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends, where it stands."""
        await self._pulse.stop()

    async def look(self) -> None:
        """Applies what was told and carries on what is due now."""
        await self._webhooks.apply_waiting()
        async with self._database.read() as db:
            due = await queries.due(db, utc_now())
        await asyncio.gather(*(self._drive(ident) for ident in due))

    async def _drive(self, ident: int) -> None:
        async with self._slots:
            try:
                await self._carrying.drive(ident)
            except Exception as error:  # one payment holds up no other
                if is_unavailable(error):
                    raise
                log.exception("payment_not_carried_on", payment=ident)
