"""Payments at stations' own terminals (OCPP 2.1 C18 to C25): settlements kept, receipts and VAT numbers by ports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.house import Desk
from chargeplane.app.reports import Place
from chargeplane.domain.station_exchanges import Receipt, Settlement, VatNumberAnswer, VatNumberAsk
from chargeplane.domain.vat_numbers import can_be, normalized
from chargeplane.kernel.errors import UnavailableError
from chargeplane.store.database import Database
from chargeplane.store.queries import settlements as queries
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.settlements import SettlementView

_RECEIPT_S: Final = 15.0
"""Of the time a station waits."""

log = structlog.get_logger(__name__)


class Receipts(Protocol):
    """Who writes receipts."""

    async def receipt(self, place: Place, settlement: Settlement) -> Receipt | None:
        """The receipt of a settlement; the same one when asked again. None where nobody writes one."""
        ...


class VatRegister(Protocol):
    """Who knows VAT numbers."""

    async def look_up(self, vat_number: str) -> VatNumberAnswer | None:
        """Whether the number is a company's, and whose; None where it cannot be said now.

        Args:
            vat_number: normalized, in the form of its country.
        """
        ...


Recorder = Callable[[Db, Place, Settlement], Awaitable[None]]
"""Keeps a settlement elsewhere too, within the same transaction; a repeat has the same station, reference and status."""


class StationPayments:
    """Use cases about payments at stations' terminals.

    Args:
        receipts: None: the station's own receipt stands.
        register: None: no number is confirmed.
    """

    def __init__(
        self,
        database: Database,
        events: EventFeed,
        *,
        receipts: Receipts | None = None,
        register: VatRegister | None = None,
    ) -> None:
        self._database = database
        self._events = events
        self.receipts = receipts
        self.register_of_companies = register
        self.recorders: list[Recorder] = []
        """Told of every settlement that was not kept before."""

    def register(self, desks: dict[type, Desk]) -> None:
        """Answers stations from now on."""
        desks[Settlement] = self._settled
        desks[VatNumberAsk] = self._vat_number

    async def page(
        self,
        caller: Caller,
        station_id: str | None,
        status: str | None,
        psp_ref: str | None,
        limit: int,
        after: Position | None,
    ) -> list[SettlementView]:
        """Settlements, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, station_id, status, psp_ref, limit, after)

    async def _settled(self, place: Place, told: Settlement) -> Struct | None:
        receipt: Receipt | None = None
        if self.receipts is not None and told.status == "Settled":
            try:
                async with asyncio.timeout(_RECEIPT_S):
                    receipt = await self.receipts.receipt(place, told)
            except UnavailableError:
                raise  # the station is answered when the settlement is kept
            except Exception:  # the money was taken: that is kept, with a receipt or without
                log.exception("receipt_not_written", station=place.station_id, psp_ref=told.psp_ref)
        async with self._database.change() as db:
            ident = await queries.note(
                db,
                place.tenant_id,
                place.key,
                told,
                told.receipt_id if receipt is None or receipt.id is None else receipt.id,
                told.receipt_url if receipt is None or receipt.url is None else receipt.url,
                place.received_at,
            )
            view = None if ident is None else await queries.one(db, ident)
            if view is not None:
                for recorder in self.recorders:
                    await recorder(db, place, told)
        if view is not None:
            self._events.publish("settlement.noted", place.tenant_id, view.station_id, view)
        return receipt

    async def _vat_number(self, place: Place, asks: VatNumberAsk) -> Struct | None:
        """A number without its country's form is refused at once; the others are looked up."""
        if not can_be(asks.vat_number) or self.register_of_companies is None:
            return VatNumberAnswer(valid=False)
        return await self.register_of_companies.look_up(normalized(asks.vat_number))
