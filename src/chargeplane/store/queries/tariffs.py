"""Tariffs and their versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.tariffs.model import Tariff, TariffContent
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time, like

_encode = msgspec.json.Encoder(decimal_format="number").encode
_content_of = msgspec.json.Decoder(TariffContent).decode


class TariffView(TariffContent, frozen=True, kw_only=True, forbid_unknown_fields=False, omit_defaults=False):
    """A version of a tariff.

    Args:
        name: for the operator; drivers see `tariff_alt_text`.
        version: this one; the newest has `latest_version`.
        valid_from: from when on sessions begin with it, until a newer version is valid.
        retired_at: no session begins with the tariff from then on.
        revision: of the tariff; the ETag.
    """

    id: str
    name: str | None
    version: int
    latest_version: int
    valid_from: datetime
    created_by: str
    retired_at: datetime | None
    revision: int
    created_at: datetime
    last_updated: datetime


class TariffFilter(Struct, frozen=True, kw_only=True):
    """Which tariffs. `q` is looked for in id, name and texts, without case."""

    currency: str | None = None
    type: str | None = None
    retired: bool | None = None
    q: str | None = None


class StoredTariff(Struct, frozen=True, kw_only=True):
    """What a change of a tariff starts from."""

    key: int
    id: str
    name: str | None
    currency: str
    version: int
    revision: int
    retired_at: datetime | None


_SELECT = """SELECT t.key, t.id, t.name, t.version AS latest_version, t.retired_at, t.revision, t.created_at,
    v.version, v.valid_from, v.created_by, v.created_at AS version_at, v.body
    FROM tariff t JOIN tariff_version v ON v.tariff_key = t.key"""


TARIFF_SORTS: Final = Sorts(
    "t.key",
    ident_name=None,
    default="-created_at",
    ident_of=lambda pair: (pair[0],),
    item=lambda pair: pair[1],
    created_at=by_time("t.created_at"),
    id=by_text("t.id"),
    last_updated=by_time("v.created_at"),
)


async def page(
    db: Db, tenant_id: TenantId, wanted: TariffFilter, limit: int, after: Position | None
) -> list[tuple[int, TariffView]]:
    """Tariffs with our keys of them, in their newest version; newest first."""
    where = Where()
    where.add("t.tenant_id = ?", tenant_id)
    where.add_if("t.currency = ?", wanted.currency)
    where.add_if("t.type = ?", wanted.type)
    if wanted.retired is not None:
        where.add(f"t.retired_at IS {'NOT ' if wanted.retired else ''}NULL")
    if wanted.q is not None:
        where.add("t.search LIKE ?", like(wanted.q))
    order = TARIFF_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"{_SELECT} AND v.version = t.version WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [(row["key"], _view(row)) for row in rows]


async def one(db: Db, tenant_id: TenantId, tariff_id: str, version: int | None = None) -> TariffView | None:
    """A tariff, its id compared without case.

    Args:
        version: None: the newest.
    """
    row = await db.fetchrow(
        f"{_SELECT} WHERE t.tenant_id = $1 AND lower(t.id) = lower($2) AND v.version = coalesce($3, t.version)",
        tenant_id,
        tariff_id,
        version,
    )
    return None if row is None else _view(row)


TARIFF_VERSION_SORTS: Final = Sorts(
    "v.version",
    ident_name="version",
    default="-version",
    ident_of=lambda one: (one.version,),
    valid_from=by_time("v.valid_from"),
)


async def versions(db: Db, tenant_id: TenantId, tariff_id: str, limit: int, after: Position | None) -> list[TariffView]:
    """The versions of a tariff, newest first."""
    where = Where()
    where.add("t.tenant_id = ? AND lower(t.id) = lower(?)", tenant_id, tariff_id)
    order = TARIFF_VERSION_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def valid(db: Db, tenant_id: TenantId, tariff_ids: list[str], at: datetime) -> list[Tariff]:
    """The versions with which sessions begin at a time, of those tariffs that are not retired then."""
    rows = await db.fetch(
        "SELECT DISTINCT ON (t.key) t.key, t.id, v.version, v.body, v.created_at FROM tariff t"
        " JOIN tariff_version v ON v.tariff_key = t.key AND v.valid_from <= $3"
        " WHERE t.tenant_id = $1 AND lower(t.id) = ANY($2) AND (t.retired_at IS NULL OR t.retired_at > $3)"
        " ORDER BY t.key, v.valid_from DESC, v.version DESC",
        tenant_id,
        [tariff_id.lower() for tariff_id in tariff_ids],
        at,
    )
    return [_tariff(row["id"], row["version"], row["created_at"], row["body"]) for row in rows]


async def version(db: Db, tenant_id: TenantId, tariff_id: str, number: int) -> Tariff | None:
    """A version as it is rated with."""
    row = await db.fetchrow(
        "SELECT t.id, v.version, v.body, v.created_at FROM tariff t JOIN tariff_version v ON v.tariff_key = t.key"
        " WHERE t.tenant_id = $1 AND lower(t.id) = lower($2) AND v.version = $3",
        tenant_id,
        tariff_id,
        number,
    )
    return None if row is None else _tariff(row["id"], row["version"], row["created_at"], row["body"])


async def locked(db: Db, tenant_id: TenantId, tariff_id: str) -> StoredTariff | None:
    """The tariff, locked until the transaction ends."""
    row = await db.fetchrow(
        "SELECT key, id, name, currency, version, revision, retired_at FROM tariff"
        " WHERE tenant_id = $1 AND lower(id) = lower($2) FOR UPDATE",
        tenant_id,
        tariff_id,
    )
    return None if row is None else StoredTariff(**row)


async def insert(
    db: Db, tenant_id: TenantId, tariff_id: str, name: str | None, content: TariffContent, valid_from: datetime, by: str
) -> bool:
    """A new tariff in its first version; False where the id is taken."""
    key = await db.fetchval(
        "INSERT INTO tariff (tenant_id, id, name, currency, type, version, search) VALUES ($1, $2, $3, $4, $5, 1, $6)"
        " ON CONFLICT (tenant_id, lower(id)) DO NOTHING RETURNING key",
        tenant_id,
        tariff_id,
        name,
        content.currency,
        content.type,
        _search(tariff_id, name, content),
    )
    if key is None:
        return False
    await _insert_version(db, key, 1, content, valid_from, by)
    return True


async def add_version(
    db: Db, stored: StoredTariff, name: str | None, content: TariffContent, valid_from: datetime, by: str
) -> None:
    """One more version of a tariff."""
    await _insert_version(db, stored.key, stored.version + 1, content, valid_from, by)
    await db.execute(
        "UPDATE tariff SET version = version + 1, revision = revision + 1, updated_at = now(), name = $2, type = $3,"
        " search = $4, retired_at = NULL WHERE key = $1",
        stored.key,
        name,
        content.type,
        _search(stored.id, name, content),
    )


async def _insert_version(db: Db, key: int, number: int, content: TariffContent, valid_from: datetime, by: str) -> None:
    await db.execute(
        "INSERT INTO tariff_version (tariff_key, version, valid_from, body, created_by) VALUES ($1, $2, $3, $4, $5)",
        key,
        number,
        valid_from,
        _encode(content).decode(),
        by,
    )


async def retire(db: Db, key: int, at: datetime) -> None:
    """No session begins with the tariff from a time on."""
    await db.execute(
        "UPDATE tariff SET retired_at = $2, revision = revision + 1, updated_at = now() WHERE key = $1", key, at
    )


async def delete(db: Db, key: int) -> None:
    """Deletes a tariff with its versions."""
    await db.execute("DELETE FROM tariff WHERE key = $1", key)


async def connectors_with(db: Db, tenant_id: TenantId, tariff_id: str, limit: int) -> list[tuple[str, str]]:
    """(EVSE uid, connector id) where the tariff is."""
    rows = await db.fetch(
        "SELECT e.uid, n.id FROM evse_connector n JOIN evse e ON e.key = n.evse_key AND e.removed_at IS NULL"
        " WHERE n.tenant_id = $1 AND n.tariff_ids @> ARRAY[$2::text] ORDER BY e.key, n.id LIMIT $3",
        tenant_id,
        tariff_id,
        limit,
    )
    return [(row["uid"], row["id"]) for row in rows]


async def known(db: Db, tenant_id: TenantId, tariff_ids: list[str]) -> dict[str, str]:
    """The ids as they are stored, by their lower case, of those tariffs that there are."""
    rows = await db.fetch(
        "SELECT id FROM tariff WHERE tenant_id = $1 AND lower(id) = ANY($2)",
        tenant_id,
        [tariff_id.lower() for tariff_id in tariff_ids],
    )
    return {row["id"].lower(): row["id"] for row in rows}


def _search(tariff_id: str, name: str | None, content: TariffContent) -> str:
    words = [tariff_id, name or "", *(text.text for text in content.tariff_alt_text)]
    return "\n".join(words).lower()[:10_000]


def _tariff(tariff_id: str, number: int, at: datetime, body: str) -> Tariff:
    content = _content_of(body)
    fields = {name: getattr(content, name) for name in content.__struct_fields__}
    return Tariff(**fields, id=tariff_id, version=number, last_updated=at)


def _view(row: Any) -> TariffView:
    content = _content_of(row["body"])
    return TariffView(
        **{name: getattr(content, name) for name in content.__struct_fields__},
        id=row["id"],
        name=row["name"],
        version=row["version"],
        latest_version=row["latest_version"],
        valid_from=row["valid_from"],
        created_by=row["created_by"],
        retired_at=row["retired_at"],
        revision=row["revision"],
        created_at=row["created_at"],
        last_updated=row["version_at"],
    )
