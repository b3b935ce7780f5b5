"""The stations that may connect, in memory: the handshake is synchronous, so it cannot ask the database.

Changes reach every node before the API answers: the node that changed a station publishes it on the bus and waits for the others'
word; a node that was cut off reads everything again when it is back.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from chargeplane.app.ports import StationCredentials
from chargeplane.domain import quirks
from chargeplane.domain.local_lists import ListPolicy
from chargeplane.domain.messages import Boot, Registration
from chargeplane.domain.opening_hours import OpeningHours
from chargeplane.domain.quirks import Known, Origin, Quirk, QuirkTable
from chargeplane.domain.token_rules import ANYWHERE, TRUSTED, AuthorizationPolicy, EvseType, Here
from chargeplane.kernel.ids import StationId, StationKey, TenantId

if TYPE_CHECKING:
    from asyncpg import Record

_COLUMNS = (
    "SELECT s.key, s.tenant_id, s.station_id, s.security_profile, s.registration, s.password_salt, s.password_hash, "
    "s.password_key_id, s.settings::text AS settings, s.deleted_at, s.vendor, s.model, s.firmware_version, s.location_id, "
    "n.password_salt AS next_salt, n.password_hash AS next_hash, n.password_key_id AS next_key_id, "
    "n.security_profile AS next_profile, n.agreed_at IS NOT NULL AS next_agreed "
    "FROM charging_station s LEFT JOIN credential_change n ON n.station_key = s.key AND n.is_taken"
)


class _Own(msgspec.Struct):
    """The part of a station's settings that the node acts on."""

    heartbeat_interval_s: int | None = None
    assumed_version: str | None = None
    certificate_name: str | None = None
    certificate_serial_number: str | None = None
    trigger_boot: bool = True
    ask_for_transactions: bool = True
    evse_types: dict[int, EvseType] = {}
    local_list: ListPolicy | None = None
    opening_hours: OpeningHours | None = None


class _Policy(msgspec.Struct):
    """The part of a tenant's settings that decides about id tokens."""

    master_pass_group_id: str | None = None
    trusted_token_types: tuple[str, ...] = TRUSTED
    authorization_cache_s: int | None = None
    stop_deauthorized: bool = False
    local_list: ListPolicy | None = None


_decode_policy = msgspec.json.Decoder(_Policy, strict=False).decode


def _shared(text: str | None) -> str | None:
    """The text once in memory: thousands of stations have the same few vendors, models and firmwares."""
    return None if text is None else sys.intern(text)


def _policy(said: _Policy) -> AuthorizationPolicy:
    return AuthorizationPolicy(
        master_pass_group_id=said.master_pass_group_id,
        trusted_types=said.trusted_token_types,
        cache_s=said.authorization_cache_s,
        stop_deauthorized=said.stop_deauthorized,
    )


def _nobody(_: frozenset[TenantId]) -> None:
    pass


_NONE_OWN = _Own()
_decode_quirks = msgspec.json.Decoder(tuple[Quirk, ...]).decode
_decode_own = msgspec.json.Decoder(_Own, strict=False).decode

Fetch = Callable[..., Awaitable[list[Any]]]


class Directory:
    """Credentials by tenant and station id, and by key.

    Args:
        fetch: runs a query on the reader pool.
        file_quirks: the operator's own rules about stations.
    """

    def __init__(self, fetch: Fetch, file_quirks: Sequence[Quirk] = ()) -> None:
        self._fetch = fetch
        self._house_quirks = ((Origin.BUILT_IN, quirks.built_in()), (Origin.FILE, file_quirks))
        self._common_quirks = QuirkTable(*self._house_quirks)
        self._quirks: dict[TenantId, QuirkTable] = {}
        self._quirk_texts: dict[TenantId, str] = {}
        self._told: dict[StationKey, tuple[str | None, str | None, str | None]] = {}
        self.on_quirks: Callable[[frozenset[TenantId]], None] = _nobody
        """Told of tenants whose rules about stations changed."""
        self._by_key: dict[StationKey, StationCredentials] = {}
        self._by_id: dict[tuple[TenantId, str], StationCredentials] = {}
        self._by_folded: dict[tuple[TenantId, str], StationCredentials] = {}
        self._heartbeats: dict[StationKey, int] = {}
        self._no_trigger: set[StationKey] = set()
        self._not_asked: set[StationKey] = set()
        self._tenants: dict[str, TenantId] = {}
        self._taking: frozenset[TenantId] = frozenset()
        self._tenant_heartbeats: dict[TenantId, int] = {}
        self._policies: dict[TenantId, Here] = {}
        self._sites: dict[StationKey, tuple[str | None, dict[int, EvseType]]] = {}
        self._here: dict[StationKey, Here] = {}
        self._tenant_lists: dict[TenantId, ListPolicy] = {}
        self._lists: dict[StationKey, ListPolicy] = {}
        self._hours: dict[StationKey, OpeningHours] = {}

    async def load(self) -> None:
        """Reads all tenants and stations."""
        await self.refresh_tenants()
        for row in await self._fetch(f"{_COLUMNS} WHERE s.deleted_at IS NULL"):
            self._put(row)

    async def refresh_tenants(self) -> None:
        """Reads the tenants again."""
        rows = await self._fetch(
            "SELECT id, slug, settings->>'unknown_stations' AS unknown_stations,"
            " (settings->>'heartbeat_interval_s')::int AS heartbeat_interval_s, settings::text AS settings, quirks FROM tenant"
        )
        self._tenants = {row["slug"]: TenantId(row["id"]) for row in rows}
        self._taking = frozenset(TenantId(row["id"]) for row in rows if row["unknown_stations"] == "pending")
        self._tenant_heartbeats = {
            TenantId(row["id"]): row["heartbeat_interval_s"] for row in rows if row["heartbeat_interval_s"] is not None
        }
        said = {TenantId(row["id"]): _decode_policy(row["settings"]) for row in rows}
        self._policies = {tenant: Here(policy=_policy(one)) for tenant, one in said.items()}
        self._tenant_lists = {tenant: one.local_list for tenant, one in said.items() if one.local_list is not None}
        self._here.clear()
        self._take_quirks({TenantId(row["id"]): row["quirks"] for row in rows if row["quirks"] != "[]"})

    def _take_quirks(self, texts: dict[TenantId, str]) -> None:
        changed = {
            tenant
            for tenant in self._quirk_texts.keys() | texts.keys()
            if self._quirk_texts.get(tenant) != texts.get(tenant)
        }
        if not changed:
            return
        self._quirk_texts = texts
        for tenant in changed:
            self._quirks.pop(tenant, None)
            if tenant in texts:
                self._quirks[tenant] = QuirkTable(*self._house_quirks, (Origin.TENANT, _decode_quirks(texts[tenant])))
        self.on_quirks(frozenset(changed))

    def quirks(self, tenant: TenantId) -> QuirkTable:
        """The rules about a tenant's stations."""
        return self._quirks.get(tenant, self._common_quirks)

    def known(self, credentials: StationCredentials) -> Known:
        """What is known of a station, from its last boot."""
        told = self._told.get(credentials.key) if self._told else None
        credentials = self._by_key.get(credentials.key, credentials)  # a socket's own are those of when it was opened
        vendor, model, firmware = told or (credentials.vendor, credentials.model, credentials.firmware_version)
        return self.quirks(credentials.tenant_id).of(vendor, model, firmware, credentials.station_id)

    def known_of(self, key: StationKey) -> Known:
        """What is known of a station by its key; nothing where there is none."""
        credentials = self._by_key.get(key)
        return quirks.NOTHING if credentials is None else self.known(credentials)

    def recognised(self, credentials: StationCredentials, boot: Boot) -> Known:
        """The same from a boot, which counts over what is stored until the station is read again."""
        told = (boot.vendor, boot.model, boot.firmware_version)
        if told == (credentials.vendor, credentials.model, credentials.firmware_version):
            self._told.pop(credentials.key, None)
        else:
            self._told[credentials.key] = (_shared(told[0]), _shared(told[1]), _shared(told[2]))
        return self.known(credentials)

    def forget_told(self, key: StationKey) -> None:
        """The station may have booted elsewhere since: what is stored counts."""
        self._told.pop(key, None)

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

    def policy(self, tenant: TenantId) -> AuthorizationPolicy:
        """How a tenant decides about id tokens."""
        return self._policies.get(tenant, ANYWHERE).policy

    def tenants_that_stop(self) -> list[TenantId]:
        """Tenants whose running transactions end when their id tokens lose their right."""
        return [tenant for tenant, here in self._policies.items() if here.policy.stop_deauthorized]

    @property
    def keeps_lists(self) -> bool:
        """Whether any station's local list is kept by a policy."""
        return bool(self._tenant_lists or self._lists)

    def list_policy(self, key: StationKey) -> ListPolicy | None:
        """Which id tokens belong on a station's local list; None where the list is left alone."""
        policy = self._lists.get(key)
        if policy is None and self._tenant_lists:
            credentials = self._by_key.get(key)
            policy = None if credentials is None else self._tenant_lists.get(credentials.tenant_id)
        return None if policy is None or policy.tokens == "none" else policy

    @property
    def keeps_hours(self) -> bool:
        """Whether any station has opening hours."""
        return bool(self._hours)

    def opening_hours(self, key: StationKey) -> OpeningHours | None:
        """The station's opening hours, where it has any."""
        return self._hours.get(key)

    def here(self, key: StationKey) -> Here:
        """What decisions about id tokens need to know of a station."""
        known = self._here.get(key)
        if known is not None:
            return known
        credentials = self._by_key.get(key)
        if credentials is None:
            return ANYWHERE
        plain = self._policies.get(credentials.tenant_id, ANYWHERE)
        site = self._sites.get(key)
        # without a site it is the one object of the tenant
        made = plain if site is None else Here(policy=plain.policy, location_id=site[0], evse_types=site[1])
        self._here[key] = made
        return made

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
            certificate_serial_number=own.certificate_serial_number,
            next_password_salt=row["next_salt"],
            next_password_hash=row["next_hash"],
            next_password_key_id=row["next_key_id"],
            next_profile=row["next_profile"],
            next_agreed=row["next_agreed"],
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
        if row["location_id"] is not None or own.evse_types:
            self._sites[made.key] = (_shared(row["location_id"]), own.evse_types)
        if own.local_list is not None:
            self._lists[made.key] = own.local_list
        if own.opening_hours is not None:
            self._hours[made.key] = own.opening_hours

    def _remove(self, key: StationKey) -> None:
        old = self._by_key.pop(key, None)
        self._heartbeats.pop(key, None)
        self._no_trigger.discard(key)
        self._not_asked.discard(key)
        self._sites.pop(key, None)
        self._lists.pop(key, None)
        self._hours.pop(key, None)
        self._here.pop(key, None)
        if old is not None:
            self._by_id.pop((old.tenant_id, old.station_id), None)
            self._by_folded.pop((old.tenant_id, old.station_id.lower()), None)
