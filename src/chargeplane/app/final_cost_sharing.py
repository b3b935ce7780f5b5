"""Prices of open transactions brought to the nodes whose stations they are of.

Whoever keeps sessions knows by what a transaction is priced; the node that holds the station answers its end. What is noted on one node is
published on the bus when it is new or another than before, and heard by every node with stations. A node that comes late asks for all of it.
What is lost on the way costs nothing but the total in one answer.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from chargeplane.app.bus import Bus, Subscription
from chargeplane.app.final_costs import FinalCosts, Price
from chargeplane.domain.rating import Terms
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.ids import TransactionId

_PRICES: Final = "final_costs.prices"
_ASK: Final = "final_costs.ask"
_AT_ONCE: Final = 200
"""Prices that are told one after the other before others get their turn."""


class _Told(Struct, frozen=True):
    id: int
    tariff: Tariff | None = None
    zone: str = "UTC"
    terms: Terms = Terms()
    reserved_from: datetime | None = None


_encode: Final = msgspec.json.Encoder(decimal_format="string").encode
_decode: Final = msgspec.json.Decoder(_Told).decode


class SharedPrices:
    """Ties a node's final costs to the bus.

    Args:
        stations: whether stations connect to this node.
    """

    def __init__(self, costs: FinalCosts, bus: Bus, *, stations: bool) -> None:
        self._costs = costs
        self._bus = bus
        self._stations = stations
        self._subscriptions: list[Subscription] = []
        self._telling: set[asyncio.Task[None]] = set()
        self._noted: set[TransactionId] = set()
        """Prices that this node found out, and has to tell again to whoever asks."""

    async def start(self) -> None:
        """Tells and hears from now on."""
        self._costs.noted = self._note
        self._costs.forgotten = self._forget
        self._subscriptions.append(await self._bus.subscribe(_ASK, self._asked))
        if self._stations:
            self._subscriptions.append(await self._bus.subscribe(_PRICES, self._hear))
            self._bus.on_gap(lambda: self._bus.publish(_ASK, b""))
            self._bus.publish(_ASK, b"")

    async def stop(self) -> None:
        """Leaves the bus."""
        self._costs.noted = self._costs.forgotten = None
        for task in self._telling:
            task.cancel()
        for subscription in self._subscriptions:
            await subscription.cancel()

    def _note(self, ident: TransactionId, price: Price) -> None:
        self._noted.add(ident)
        self._publish(ident, price)

    def _publish(self, ident: TransactionId, price: Price) -> None:
        told = _Told(int(ident), price.tariff, price.zone.key, price.terms, price.reserved_from)
        self._bus.publish(_PRICES, _encode(told))

    def _forget(self, ident: TransactionId) -> None:
        if ident in self._noted:
            self._noted.discard(ident)
            self._bus.publish(_PRICES, _encode(_Told(int(ident))))

    def _hear(self, subject: str, payload: bytes) -> None:
        told = _decode(payload)
        ident = TransactionId(told.id)
        if ident in self._noted:
            return  # our own word
        if told.tariff is None:
            self._costs.drop(ident)
        else:
            zone = ZoneInfo(told.zone)
            self._costs.hear(
                ident, Price(tariff=told.tariff, zone=zone, terms=told.terms, reserved_from=told.reserved_from)
            )

    def _asked(self, subject: str, payload: bytes) -> None:
        if self._noted:
            task = asyncio.get_running_loop().create_task(self._tell_all(), name="final costs told")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell_all(self) -> None:
        for count, ident in enumerate(list(self._noted), 1):
            price = self._costs.priced.get(ident)
            if price is not None:
                self._publish(ident, price)
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
