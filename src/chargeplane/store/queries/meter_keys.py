"""Public keys of stations' meters, and what came of verifying with them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.cdrs.session import SignedPolicy
from chargeplane.domain.ocmf import Curve, MeterPublicKey, Verdict
from chargeplane.kernel.ids import StationKey, TenantId, TransactionId
from chargeplane.store.queries.paging import Db

OPERATOR: Final = "operator"
STATION: Final = "station"


class MeterKeyView(Struct, frozen=True, kw_only=True):
    """A public key of a station's meter.

    Args:
        ocpp_evse_id: null: of every EVSE of the station.
        public_key: hexadecimal of its SubjectPublicKeyInfo. fingerprint: SHA-256 over that.
        source: operator, who registered it; station, which sent it along (trusted only where the tenant says so).
    """

    id: str
    ocpp_evse_id: int | None
    meter_serial: str | None
    curve: Curve
    public_key: str
    fingerprint: str
    source: str
    registered_by: str
    registered_at: datetime
    retired_at: datetime | None


class StoredKey(Struct, frozen=True, kw_only=True):
    """A key that is in use."""

    id: int
    meter_serial: str | None
    source: str
    key: MeterPublicKey


class CheckedValue(Struct, frozen=True, kw_only=True):
    """A signed value, and what came of verifying it.

    Args:
        ordinal: of the transaction's event it came with.
        data: as received.
        because: the verdict in a sentence.
        key: that it came with, where it is a partner's station's.
    """

    ordinal: int
    data: str
    verdict: Verdict
    because: str
    key_id: int | None
    key: MeterPublicKey | None = None


class SignedSettings(Struct, frozen=True, kw_only=True):
    """What a tenant wants of signed values."""

    policy: SignedPolicy
    trust_station_keys: bool


_COLUMNS: Final = (
    "id, ocpp_evse_id, meter_serial, curve, der, fingerprint, source, registered_by, registered_at, retired_at"
)


async def settings(db: Db, tenant_id: TenantId) -> SignedSettings:
    """What the tenant wants."""
    row = await db.fetchrow(
        "SELECT settings->>'signed_meter_values' AS policy,"
        " coalesce((settings->>'trust_station_keys')::boolean, false) AS trust FROM tenant WHERE id = $1",
        tenant_id,
    )
    policy = SignedPolicy.SHOW if row is None or row["policy"] is None else SignedPolicy(row["policy"])
    return SignedSettings(policy=policy, trust_station_keys=row is not None and row["trust"])


async def of_station(db: Db, key: StationKey) -> list[MeterKeyView]:
    """All keys of a station, the retired ones too; newest first."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM meter_public_key WHERE station_key = $1 ORDER BY id DESC LIMIT 1000", key
    )
    return [_view(row) for row in rows]


async def one(db: Db, key: StationKey, ident: int) -> MeterKeyView | None:
    """A key of a station."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM meter_public_key WHERE station_key = $1 AND id = $2", key, ident)
    return None if row is None else _view(row)


async def in_use(db: Db, key: StationKey, ocpp_evse_id: int | None) -> list[StoredKey]:
    """The keys that an EVSE's values may be signed with; registered ones before those that the station sent."""
    rows = await db.fetch(
        "SELECT id, meter_serial, source, curve, der, fingerprint FROM meter_public_key WHERE station_key = $1"
        " AND retired_at IS NULL AND (ocpp_evse_id IS NULL OR ocpp_evse_id = $2) ORDER BY source, id DESC LIMIT 50",
        key,
        ocpp_evse_id,
    )
    return [
        StoredKey(
            id=row["id"],
            meter_serial=row["meter_serial"],
            source=row["source"],
            key=MeterPublicKey(curve=Curve(row["curve"]), der=row["der"], fingerprint=row["fingerprint"]),
        )
        for row in rows
    ]


async def register(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    public: MeterPublicKey,
    *,
    ocpp_evse_id: int | None,
    meter_serial: str | None,
    source: str,
    by: str,
) -> int | None:
    """Registers a key; None where the EVSE has it already. One that the station sent becomes the operator's."""
    ident: int | None = await db.fetchval(
        "INSERT INTO meter_public_key (tenant_id, station_key, ocpp_evse_id, meter_serial, curve, der, fingerprint, source,"
        " registered_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        " ON CONFLICT (station_key, coalesce(ocpp_evse_id, 0), fingerprint) WHERE retired_at IS NULL"
        " DO UPDATE SET source = excluded.source, registered_by = excluded.registered_by, registered_at = now(),"
        "   meter_serial = coalesce(excluded.meter_serial, meter_public_key.meter_serial)"
        " WHERE meter_public_key.source = 'station' AND excluded.source = 'operator' RETURNING id",
        tenant_id,
        key,
        ocpp_evse_id,
        meter_serial,
        public.curve.value,
        public.der,
        public.fingerprint,
        source,
        by,
    )
    return ident


async def retire(db: Db, key: StationKey, ident: int) -> bool:
    """Uses a key no more; False where there is none in use."""
    found = await db.fetchval(
        "UPDATE meter_public_key SET retired_at = now() WHERE station_key = $1 AND id = $2 AND retired_at IS NULL"
        " RETURNING id",
        key,
        ident,
    )
    return found is not None


async def keep_values(db: Db, tenant_id: TenantId, session_id: TransactionId, values: Sequence[CheckedValue]) -> None:
    """What came of verifying a session's values, in place of what came of it before."""
    await db.execute("DELETE FROM signed_meter_value WHERE session_id = $1", session_id)
    await db.executemany(
        "INSERT INTO signed_meter_value (session_id, place, tenant_id, ordinal, data, verdict, because, key_id, curve, der)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        [
            (
                session_id,
                place,
                tenant_id,
                one.ordinal,
                one.data,
                one.verdict.value,
                one.because,
                one.key_id,
                None if one.key is None else one.key.curve.value,
                None if one.key is None else one.key.der,
            )
            for place, one in enumerate(values, 1)
        ],
    )


async def values_of(db: Db, tenant_id: TenantId, session_id: int) -> list[CheckedValue]:
    """What came of verifying a session's values, in order of arrival."""
    rows = await db.fetch(
        "SELECT ordinal, data, verdict, because, key_id, curve, der FROM signed_meter_value"
        " WHERE session_id = $1 AND tenant_id = $2 ORDER BY place",
        session_id,
        tenant_id,
    )
    return [
        CheckedValue(
            ordinal=row["ordinal"],
            data=row["data"],
            verdict=Verdict(row["verdict"]),
            because=row["because"],
            key_id=row["key_id"],
            key=None if row["der"] is None else _key(row["curve"], row["der"]),
        )
        for row in rows
    ]


def _key(curve: str, der: bytes) -> MeterPublicKey:
    return MeterPublicKey(curve=Curve(curve), der=der, fingerprint=hashlib.sha256(der).hexdigest())


async def keys_by_id(db: Db, idents: Sequence[int]) -> dict[int, MeterPublicKey]:
    """Keys, also retired ones, by our ids."""
    rows = await db.fetch("SELECT id, curve, der, fingerprint FROM meter_public_key WHERE id = ANY($1)", list(idents))
    return {
        row["id"]: MeterPublicKey(curve=Curve(row["curve"]), der=row["der"], fingerprint=row["fingerprint"])
        for row in rows
    }


def _view(row: Any) -> MeterKeyView:
    return MeterKeyView(
        id=str(row["id"]),
        ocpp_evse_id=row["ocpp_evse_id"],
        meter_serial=row["meter_serial"],
        curve=Curve(row["curve"]),
        public_key=row["der"].hex(),
        fingerprint=row["fingerprint"],
        source=row["source"],
        registered_by=row["registered_by"],
        registered_at=row["registered_at"],
        retired_at=row["retired_at"],
    )
