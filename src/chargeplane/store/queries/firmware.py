"""Firmware files."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.files import StoredFile
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_text, by_time


class FirmwareView(Struct, frozen=True, kw_only=True):
    """A firmware file.

    Args:
        name: of the file.
        vendor, model: the stations it is for; null: of any.
        version: what a station's boot says when it runs.
        md5, sha256: over the whole file, as hex.
        signed_by: maker (the signature was given), house (signed here), null where it is not signed.
        url: where stations fetch it; unguessable.
    """

    id: str
    name: str
    vendor: str | None
    model: str | None
    version: str
    size_bytes: int
    md5: str
    sha256: str
    signing_certificate: str | None
    signature: str | None
    signed_by: str | None
    created_at: datetime
    created_by: str
    url: str = ""


class NewFirmware(Struct, frozen=True, kw_only=True):
    """A firmware to be kept."""

    name: str
    vendor: str | None
    model: str | None
    version: str
    signing_certificate: str | None
    signature: str | None
    signed_by: str | None
    token: str
    created_by: str


class Offered(Struct, frozen=True, kw_only=True):
    """A file as stations fetch it."""

    id: int
    tenant_id: TenantId
    name: str
    file: str
    size_bytes: int
    sha256: str


_COLUMNS = """id::text, name, vendor, model, version, size_bytes, md5, sha256, signing_certificate, signature, signed_by,
    created_at, created_by, token"""


def _view(row: Any) -> tuple[FirmwareView, str]:
    fields: dict[str, Any] = dict(row)
    token: str = fields.pop("token")
    return FirmwareView(**fields), token


async def insert(db: Db, tenant_id: TenantId, made: NewFirmware, file: StoredFile) -> int:
    """A new firmware; its id."""
    ident: int = await db.fetchval(
        "INSERT INTO firmware (tenant_id, name, vendor, model, version, size_bytes, md5, sha256, signing_certificate,"
        " signature, signed_by, file, token, created_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id",
        tenant_id,
        made.name,
        made.vendor,
        made.model,
        made.version,
        file.size,
        file.md5,
        file.sha256,
        made.signing_certificate,
        made.signature,
        made.signed_by,
        file.path,
        made.token,
        made.created_by,
    )
    return ident


FIRMWARE_SORTS: Final = Sorts(
    "firmware.id",
    ident_of=lambda pair: (int(pair[0].id),),
    item=lambda pair: pair[0],
    name=by_text("name"),
    version=by_text("version"),
    created_at=by_time("created_at"),
    size_bytes=by_number("size_bytes"),
)


async def page(
    db: Db, tenant_id: TenantId, vendor: str | None, model: str | None, limit: int, after: Position | None
) -> list[tuple[FirmwareView, str]]:
    """Firmware with its token, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add("deleted_at IS NULL")
    where.add_if("lower(vendor) = lower(?)", vendor)
    where.add_if("lower(model) = lower(?)", model)
    order = FIRMWARE_SORTS.begin(where, after)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM firmware WHERE {where} ORDER BY {order} LIMIT ${len(where.values) + 1}",
        *where.values,
        limit,
    )
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> tuple[FirmwareView, str] | None:
    """A firmware by our id, with its token."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM firmware WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL", tenant_id, ident
    )
    return None if row is None else _view(row)


async def offered(db: Db, token: str) -> Offered | None:
    """The firmware of an address."""
    row = await db.fetchrow(
        "SELECT id, tenant_id, name, file, size_bytes, sha256 FROM firmware WHERE token = $1 AND deleted_at IS NULL",
        token,
    )
    return None if row is None else Offered(**row)


async def in_use(db: Db, ident: int) -> bool:
    """Whether a campaign needs it."""
    return bool(
        await db.fetchval(
            "SELECT true FROM firmware_campaign WHERE firmware_id = $1 AND state IN ('running', 'paused') LIMIT 1",
            ident,
        )
    )


async def delete(db: Db, tenant_id: TenantId, ident: int) -> str | None:
    """Marks it as deleted; where the file is."""
    found: str | None = await db.fetchval(
        "UPDATE firmware SET deleted_at = now() WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING file",
        tenant_id,
        ident,
    )
    return found


class Reachable(Struct, frozen=True, kw_only=True):
    """What decides how a station transfers files.

    Args:
        protocols: what it says it knows (`FileTransferProtocols`; 1.6 `SupportedFileTransferProtocols`); None: nothing.
    """

    security_profile: int
    ocpp_version: str | None
    protocols: str | None


async def reachable(db: Db, key: StationKey) -> Reachable | None:
    """How a station transfers files."""
    row = await db.fetchrow(
        "SELECT s.security_profile, c.ocpp_version, (SELECT v.value FROM station_variable v WHERE v.station_key = s.key"
        " AND lower(v.variable) IN ('filetransferprotocols', 'supportedfiletransferprotocols') AND v.attribute = 'Actual'"
        " AND v.value IS NOT NULL LIMIT 1) AS protocols"
        " FROM charging_station s LEFT JOIN station_connection c ON c.station_key = s.key WHERE s.key = $1",
        key,
    )
    return None if row is None else Reachable(**row)
