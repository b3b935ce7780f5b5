"""Stations that try to connect and are not registered: noted for the operator, and registered as pending where the tenant's policy
says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from chargeplane.app.directory import Directory
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import storable

log = structlog.get_logger(__name__)

_KEPT_MOST = 1000
_PERIOD_S = 2.0
_SOON_S = 0.1

Execute = Callable[..., Awaitable[Any]]
Register = Callable[[TenantId, str], Awaitable[bool]]
"""Registers a station as pending; False where the tenant has too many of them."""


class UnknownStations:
    """Notes attempts, at most a thousand different ones every two seconds: whoever guesses ids fills no table.

    Args:
        execute: runs a statement.

    Attributes:
        register: set when stations can be registered; what tried before is noted only.
    """

    def __init__(self, directory: Directory, execute: Execute) -> None:
        self._directory = directory
        self._execute = execute
        self._seen: dict[tuple[TenantId, str], tuple[str, int]] = {}
        self._task: asyncio.Task[None] | None = None
        self.register: Register | None = None

    def note(self, tenant_slug: str | None, station_id: str, remote_address: str) -> None:
        """Notes an attempt; written a moment later."""
        tenant = self._directory.tenant(tenant_slug)
        if tenant is None or not station_id or len(station_id) > 255 or not storable(station_id):
            return
        known = self._seen.get((tenant, station_id))
        if known is None and len(self._seen) >= _KEPT_MOST:
            return
        self._seen[tenant, station_id] = (remote_address, known[1] + 1 if known is not None else 1)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write(), name="unknown-stations")

    async def stop(self) -> None:
        """Writes what is noted."""
        if self._task is not None:
            self._task.cancel()
        if self._seen:
            await self._flush()

    async def _write(self) -> None:
        taken = any(self._directory.takes_unknown(tenant) for tenant, _ in self._seen)
        await asyncio.sleep(_SOON_S if taken else _PERIOD_S)
        self._task = None
        await self._flush()

    async def _flush(self) -> None:
        seen, self._seen = self._seen, {}
        if self.register is not None:
            for tenant, name in [one for one in seen if self._directory.takes_unknown(one[0])]:
                try:
                    if await self.register(tenant, name):
                        del seen[tenant, name]
                except InvalidInputError:
                    pass  # no station could have this id; it is noted like the others
                except Exception as error:
                    log.warning("pending_station_not_registered", station=name, error=str(error))
        if not seen:
            return
        try:
            await self._execute(
                "INSERT INTO unknown_station (tenant_id, station_id, remote_address, attempts) "
                "SELECT * FROM unnest($1::int4[], $2::text[], $3::text[], $4::int8[]) "
                "ON CONFLICT (tenant_id, station_id) DO UPDATE SET remote_address = excluded.remote_address, "
                "last_seen_at = now(), attempts = unknown_station.attempts + excluded.attempts",
                [tenant for tenant, _ in seen],
                [name for _, name in seen],
                [address for address, _ in seen.values()],
                [count for _, count in seen.values()],
            )
        except Exception as error:
            log.warning("unknown_stations_not_noted", stations=len(seen), error=str(error))
