"""Vendors' own data from stations, handed to plug-ins (OCPP 1.6, 4.3; 2.0.1 block P).

A plug-in is any installed Python package with an entry point in the group `chargeplane.data_transfer`: the entry point's name is the
vendor id it answers for, its value an async function `(place, ask) -> DataTransferAnswer`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import structlog
from msgspec import Struct

from chargeplane.app.house import Desk
from chargeplane.app.reports import Place
from chargeplane.domain.station_exchanges import DataTransferAnswer, DataTransferAsk, DataTransferStatus

GROUP: Final = "chargeplane.data_transfer"
"""Of the entry points."""

DataTransferPlugin = Callable[[Place, DataTransferAsk], Awaitable[DataTransferAnswer]]
"""Answers one vendor's messages. It may be asked the same twice. An error of its own is answered Rejected."""

log = structlog.get_logger(__name__)


class DataTransfer:
    """The plug-ins, and the desk that asks them."""

    def __init__(self) -> None:
        self._plugins: dict[str, DataTransferPlugin] = {}

    @property
    def vendors(self) -> tuple[str, ...]:
        """Vendor ids somebody answers for."""
        return tuple(sorted(self._plugins))

    def load(self) -> None:
        """Takes the installed plug-ins; one that cannot be loaded is left out and logged."""
        for point in entry_points(group=GROUP):
            self._load(point)

    def add(self, vendor_id: str, plugin: DataTransferPlugin) -> None:
        """Has a plug-in answer for a vendor; vendor ids are compared without case."""
        self._plugins[vendor_id.casefold()] = plugin

    def register(self, desks: dict[type, Desk]) -> None:
        """Answers stations from now on."""
        desks[DataTransferAsk] = self._answer

    def _load(self, point: EntryPoint) -> None:
        try:
            self.add(point.name, point.load())
        except Exception:
            log.exception("data_transfer_plugin_not_loaded", vendor=point.name, plugin=point.value)
        else:
            log.info("data_transfer_plugin", vendor=point.name, plugin=point.value)

    async def _answer(self, place: Place, ask: DataTransferAsk) -> Struct | None:
        plugin = self._plugins.get(ask.vendor_id.casefold())
        if plugin is None:
            return None
        try:
            return await plugin(place, ask)
        except Exception:
            log.exception("data_transfer_plugin_failed", vendor=ask.vendor_id, station=place.station_id)
            return DataTransferAnswer(status=DataTransferStatus.REJECTED)
