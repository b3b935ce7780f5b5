"""Drivers' own tariffs, told to stations that calculate costs by themselves in the answer to Authorize (OCPP 2.1 I08).

Only a station of 2.1 that reported to calculate by tariffs is answered with one, so only its Authorize is looked up for: what stations reported
is remembered for a while, and every other message and station pays for nothing more than the question. A driver's own tariff is that of
the agreement which applies to the id token there. What is not found in time is left out; the station is answered all the same, and then
calculates with its default.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.agreements.scope import ResolveAsk
from chargeplane.domain.driver_tariffs import Calculates, calculates, driver_tariff
from chargeplane.domain.messages import IdToken
from chargeplane.domain.station_tariffs import StationTariff
from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import driver_tariffs as queries

log = structlog.get_logger(__name__)

_WITHIN_S: Final = 3.0
_KNOWN_S: Final = 60.0
_MOST: Final = 200_000


class DriverTariffs:
    """Knows which stations of this node calculate, and finds tariffs for them."""

    def __init__(self, database: Database, tariffs: Tariffs, resolving: Resolving) -> None:
        self._database = database
        self._tariffs = tariffs
        self._resolving = resolving
        self._known: dict[StationKey, tuple[float, Calculates]] = {}
        self._tasks: dict[StationKey, asyncio.Task[None]] = {}

    def may(self, key: StationKey) -> bool:
        """Whether a station may calculate: it says so, or is not known. What is known of it is looked at again, aside, once in a while."""
        known = self._known.get(key)
        if known is None:
            return True
        if time.monotonic() > known[0] + _KNOWN_S and key not in self._tasks:
            task = asyncio.create_task(self._look_again(key))
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return known[1].tariffs

    def forget(self, key: StationKey) -> None:
        """A station booted: what it calculates is looked up when it is asked for next."""
        self._known.pop(key, None)

    async def of(
        self,
        tenant_id: TenantId,
        key: StationKey,
        station_id: StationId,
        token: IdToken,
        evse_ids: Sequence[int],
        at: datetime,
    ) -> StationTariff | None:
        """The driver's tariff; None where there is none, the station could not take it, or it is not known in time."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                known = self._known.get(key)
                able = await self._look(key) if known is None else known[1]
                if not able.tariffs:
                    return None
                return await self._find(tenant_id, key, station_id, token, evse_ids, at, able)
        except Exception as error:
            log.warning("driver_tariff_not_told", station=station_id, error=str(error) or type(error).__name__)
            return None

    async def _find(
        self,
        tenant_id: TenantId,
        key: StationKey,
        station_id: StationId,
        token: IdToken,
        evse_ids: Sequence[int],
        at: datetime,
        able: Calculates,
    ) -> StationTariff | None:
        async with self._database.read() as db:
            if not await queries.has_agreements(db, tenant_id):
                return None
            evse_uid = await queries.only_evse(db, key, evse_ids)
        found = await self._resolving.resolve(
            tenant_id,
            ResolveAsk(at=at, id_token=token.value, id_token_type=token.type, station_id=station_id, evse_uid=evse_uid),
        )
        if found is None or found.tariff is None:
            return None
        ident, version = found.tariff.tariff_id, found.tariff.version
        tariff = (
            await self._tariffs.version_of(tenant_id, ident, at)
            if version is None
            else await self._tariffs.frozen(tenant_id, ident, version)
        )
        return None if tariff is None else driver_tariff(tariff, able)

    async def _look(self, key: StationKey) -> Calculates:
        async with self._database.read() as db:
            able = calculates(await queries.told(db, key))
        if key not in self._known and len(self._known) >= _MOST:
            self._known.pop(next(iter(self._known)))
        self._known[key] = (time.monotonic(), able)
        return able

    async def _look_again(self, key: StationKey) -> None:
        try:
            async with asyncio.timeout(_WITHIN_S):
                await self._look(key)
        except Exception as error:
            log.warning("driver_tariffs_not_known", station_key=key, error=str(error) or type(error).__name__)
