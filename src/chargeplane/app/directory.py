"""The stations that may connect, in memory: the handshake is synchronous, so it cannot ask the database.

Changes reach every node before the API answers: the node that changed a station publishes it on the bus and waits for the others'
word; a node that was cut off reads everything again when it is back.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from chargeplane.app.ports import StationCredentials
from chargeplane.domain.messages import Registration
from chargeplane.kernel.ids import StationId, StationKey, TenantId

if TYPE_CHECKING:
    from asyncpg import Record

_COLUMNS = (
    "SELECT s.key, s.tenant_id, s.station_id, s.security_profile, s.registration, s.password_salt, s.password_hash, "
    "s.password_key_id, s.settings::text AS settings, s.deleted_at, s.vendor, s.model, s.firmware_version "
    "FROM charging_station s"
)


class _Own(msgspec.Struct):
    """The part of a station's settings that the node acts on."""

    heartbeat_interval_s: int | None = None
    assumed_version: str | None = None
    certificate_name: str | None = None
    trigger_boot: bool = True
    ask_for_transactions: bool = True


def _shared(text: str | None) -> str | None:
    """The text once in memory: thousands of stations have the same few vendors, models and firmwares."""
    return None if text is None else sys.intern(text)


_NONE_OWN = _Own()
_decode_own = msgspec.json.Decoder(_Own).decode

Fetch = Callable[..., Awaitable[list[Any]]]


class Directory:
    """Credentials by tenant and station id, and by key.

    Args:
        fetch: runs a query on the reader pool.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._by_key: dict[StationKey, StationCredentials] = {}
        self._by_id: dict[tuple[TenantId, str], StationCredentials] = {}
        self._by_folded: dict[tuple[TenantId, str], StationCredentials] = {}
        self._heartbeats: dict[StationKey, int] = {}
        self._no_trigger: set[StationKey] = set()
        self._not_asked: set[StationKey] = set()
        self._tenants: dict[str, TenantId] = {}
        self._taking: frozenset[TenantId] = frozenset()
        self._tenant_heartbeats: dict[TenantId, int] = {}

    async def load(self) -> None:
        """Reads all tenants and stations."""
        await self.refresh_tenants()
        for row in await self._fetch(f"{_COLUMNS} WHERE s.deleted_at IS NULL"):
            self._put(row)

    async def refresh_tenants(self) -> None:
        """Reads the tenants again."""
        rows = await self._fetch(
            "SELECT id, slug, settings->>'unknown_stations' AS unknown_stations,"
            " (settings->>'heartbeat_interval_s')::int AS heartbeat_interval_s FROM tenant"
        )
        self._tenants = {row["slug"]: TenantId(row["id"]) for row in rows}
        self._taking = frozenset(TenantId(row["id"]) for row in rows if row["unknown_stations"] == "pending")
        self._tenant_heartbeats = {
            TenantId(row["id"]): row["heartbeat_interval_s"] for row in rows if row["heartbeat_interval_s"] is not None
        }

    async def refresh(self, keys: Iterable[StationKey]) -> None:
        """Reads these stations again: new, changed or deleted."""
        wanted = list(keys)
        rows = await self._fetch(f"{_COLUMNS} WHERE s.key = ANY($1::int8[])", wanted)
        for key in wanted:
            self._remove(key)
        for row in rows:
            if row["deleted_at"] is None:
                self._put(row)

    def tenant(self, slug: str | None) -> TenantId | None:
        """The tenant of a slug; None stands for the default tenant."""
        return self._tenants.get("default" if slug is None else slug)

    def find(self, tenant_slug: str | None, station_id: str) -> StationCredentials | None:
        """The station that connects as `station_id`: exact first, then without case."""
        tenant = self.tenant(tenant_slug)
        if tenant is None:
            return None
        return self._by_id.get((tenant, station_id)) or self._by_folded.get((tenant, station_id.lower()))

    def by_key(self, key: StationKey) -> StationCredentials | None:
        """The station with this key."""
        return self._by_key.get(key)

    def heartbeat_interval_s(self, key: StationKey) -> int | None:
        """The station's own heartbeat interval, or its tenant's, where one is set."""
        own = self._heartbeats.get(key)
        if own is not None or not self._tenant_heartbeats:
            return own
        credentials = self._by_key.get(key)
        return None if credentials is None else self._tenant_heartbeats.get(credentials.tenant_id)

    def takes_unknown(self, tenant: TenantId) -> bool:
        """Whether the tenant wants stations that are not registered to be registered as pending."""
        return tenant in self._taking

    def triggers_boot(self, key: StationKey) -> bool:
        """Whether the station is asked for a BootNotification that it did not send."""
        return key not in self._no_trigger

    def asks_for_transactions(self, key: StationKey) -> bool:
        """Whether the station is asked about transactions that may be over."""
        return key not in self._not_asked

    def __len__(self) -> int:
        return len(self._by_key)

    def _put(self, row: Record) -> None:
        settings = row["settings"]
        own = _decode_own(settings) if settings != "{}" else _NONE_OWN
        made = StationCredentials(
            key=StationKey(row["key"]),
            tenant_id=TenantId(row["tenant_id"]),
            station_id=StationId(row["station_id"]),
            security_profile=row["security_profile"],
            registration=Registration(row["registration"]),
            password_salt=row["password_salt"],
            password_hash=row["password_hash"],
            password_key_id=row["password_key_id"],
            vendor=_shared(row["vendor"]),
            model=_shared(row["model"]),
            firmware_version=_shared(row["firmware_version"]),
            assumed_version=own.assumed_version,
            certificate_name=own.certificate_name,
        )
        self._by_key[made.key] = made
        self._by_id[made.tenant_id, made.station_id] = made
        self._by_folded[made.tenant_id, made.station_id.lower()] = made
        if own.heartbeat_interval_s is not None:
            self._heartbeats[made.key] = own.heartbeat_interval_s
        if not own.trigger_boot:
            self._no_trigger.add(made.key)
        if not own.ask_for_transactions:
            self._not_asked.add(made.key)

    def _remove(self, key: StationKey) -> None:
        old = self._by_key.pop(key, None)
        self._heartbeats.pop(key, None)
        self._no_trigger.discard(key)
        self._not_asked.discard(key)
        if old is not None:
            self._by_id.pop((old.tenant_id, old.station_id), None)
            self._by_folded.pop((old.tenant_id, old.station_id.lower()), None)
