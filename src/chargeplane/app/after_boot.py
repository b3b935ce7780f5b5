"""What is read of a station after its boot, by itself: everything where nothing is known or its firmware is another, else the variables
that its templates are about (OCPP 2.0.1 B07.FR.14).

Boots come in storms, when the power or the network is back, so nothing is asked at once: each station gets a moment of its own in a
span that is long enough for all of them, at a rate that the node keeps. What a restart of the server forgets is found again by the next boot
or the periodic check.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

import structlog
from msgspec import Struct

from chargeplane.app.device_model import DeviceModel
from chargeplane.domain.quirks import NOTHING, Known, Limit
from chargeplane.domain.variables import VariableName
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import device_model_readings

log = structlog.get_logger(__name__)

BY: Final = "device model"
_AT_ONCE: Final = 50
_VALID_S: Final = 20.0

Needed = Callable[[TenantId, StationKey], Awaitable[list[VariableName]]]
"""The variables that somebody needs of a station."""


class ReadingSettings(Struct, frozen=True, kw_only=True):
    """How stations are read by themselves.

    Args:
        enabled: False never asks.
        delay_s: after a boot, at least so long.
        spread_s: and at random so much longer.
        rate_per_s: of stations that this node asks.
    """

    enabled: bool = True
    delay_s: float = 30.0
    spread_s: float = 60.0
    rate_per_s: float = 5.0


async def _nothing(_: TenantId, __: StationKey) -> list[VariableName]:
    return []


async def _ignore(_: TenantId, __: StationKey) -> None:
    pass


class AfterBoot:
    """Reads stations after their boots, one moment each."""

    def __init__(self, database: Database, model: DeviceModel, settings: ReadingSettings) -> None:
        self._database = database
        self._model = model
        self._settings = settings
        self._due: list[tuple[float, int, StationKey]] = []
        self._queued: dict[StationKey, float] = {}
        self._numbers = count()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.needed: Needed = _nothing
        self.known_of: Callable[[StationKey], Known] = lambda key: NOTHING
        self.on_read: Callable[[TenantId, StationKey], Awaitable[None]] = _ignore
        """Told when a station was read, or needed no reading."""

    async def start(self) -> None:
        """Begins to read."""
        self._task = asyncio.create_task(self._work(), name="after-boot")

    async def stop(self) -> None:
        """Forgets who is to be read."""
        tasks = [*self._running, *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """Stations that are to be read."""
        return len(self._queued)

    def booted(self, key: StationKey) -> None:
        """A station has booted: it is read in its moment. A storm of boots is spread over the time that the rate gives it."""
        settings = self._settings
        if not settings.enabled or key in self._queued:
            return
        span = max(settings.spread_s, len(self._queued) / settings.rate_per_s)
        due = asyncio.get_running_loop().time() + settings.delay_s + random.uniform(0, span)
        self._queued[key] = due
        heapq.heappush(self._due, (due, next(self._numbers), key))
        self._changed.set()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        pause = 1 / self._settings.rate_per_s
        while True:
            self._changed.clear()
            left = self._due[0][0] - loop.time() if self._due else None
            if left is None or left > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._changed.wait()
                continue
            if len(self._running) >= _AT_ONCE:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            _, _, key = heapq.heappop(self._due)
            self._queued.pop(key, None)
            task = asyncio.create_task(self._read(key))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await asyncio.sleep(pause)

    async def _read(self, key: StationKey) -> None:
        try:
            async with self._database.read() as db:
                reading = await device_model_readings.one(db, key)
            if reading is None or not reading.enabled:
                return
            tenant_id = reading.tenant_id
            unread = Limit.CONFIGURATION_NOT_READ in self.known_of(key).limits
            if unread:
                log.info("variables_not_asked", station_key=key)
            elif not reading.known or reading.complete_at is None or reading.firmware != reading.read_firmware:
                outcome = await self._model.read_all(tenant_id, key, by=BY, valid_s=_VALID_S)
                log.info("variables_asked", station_key=key, state=outcome.state.value)
            else:
                names = await self.needed(tenant_id, key)
                if names:
                    await self._model.read(tenant_id, key, names, by=BY, valid_s=_VALID_S)
            await self.on_read(tenant_id, key)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("after_boot_failed", station_key=key)
