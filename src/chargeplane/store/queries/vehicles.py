"""Vehicles of drivers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.people.vehicles import VehicleContent
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time, like


class VehicleView(VehicleContent, frozen=True, kw_only=True, omit_defaults=False):
    """A vehicle.

    Args:
        id: ours.
        revision: rises with every change; the ETag.
    """

    id: str
    driver_id: str
    revision: int
    created_at: datetime
    updated_at: datetime


class VehicleFilter(Struct, frozen=True, kw_only=True):
    """Which vehicles. `q` is looked for in plate, VIN, brand, model and label, without case."""

    driver_id: int | None = None
    q: str | None = None


_COLUMNS = "id::text AS id, driver_id::text AS driver_id, body, revision, created_at, updated_at"
_content = msgspec.json.Decoder(VehicleContent).decode


def _view(row: Any) -> VehicleView:
    values = dict(row)
    content = _content(values.pop("body"))
    return VehicleView(**values, **{name: getattr(content, name) for name in content.__struct_fields__})


def _search(content: VehicleContent) -> str:
    parts = (content.licence_plate, content.vin, content.brand, content.model, content.label, content.evcc_id)
    return "\n".join(part for part in parts if part).lower()


VEHICLE_SORTS: Final = Sorts(
    "vehicle.id",
    created_at=by_time("created_at"),
    updated_at=by_time("updated_at"),
)


async def page(
    db: Db, tenant_id: TenantId, wanted: VehicleFilter, limit: int, after: Position | None
) -> list[VehicleView]:
    """Vehicles, newest first; at most `limit`."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("driver_id = ?", wanted.driver_id)
    if wanted.q is not None:
        where.add("search LIKE ?", like(wanted.q))
    order = VEHICLE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM vehicle WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int, *, lock: bool = False) -> VehicleView | None:
    """The vehicle with our id.

    Args:
        lock: until the transaction ends.
    """
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM vehicle WHERE tenant_id = $1 AND vehicle.id = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        ident,
    )
    return None if row is None else _view(row)


async def insert(db: Db, tenant_id: TenantId, driver_id: int, content: VehicleContent) -> VehicleView:
    """A new vehicle."""
    row = await db.fetchrow(
        f"INSERT INTO vehicle (tenant_id, driver_id, body, search) VALUES ($1, $2, $3, $4) RETURNING {_COLUMNS}",
        tenant_id,
        driver_id,
        msgspec.json.encode(content).decode(),
        _search(content),
    )
    assert row is not None
    return _view(row)


async def update(db: Db, ident: int, content: VehicleContent) -> VehicleView:
    """Tells anew of a vehicle."""
    row = await db.fetchrow(
        "UPDATE vehicle SET body = $2, search = $3, revision = revision + 1, updated_at = now() WHERE id = $1"
        f" RETURNING {_COLUMNS}",
        ident,
        msgspec.json.encode(content).decode(),
        _search(content),
    )
    assert row is not None
    return _view(row)


async def delete(db: Db, ident: int) -> None:
    """Removes a vehicle."""
    await db.execute("UPDATE driver_id_token SET vehicle_id = NULL WHERE vehicle_id = $1", ident)
    await db.execute("DELETE FROM vehicle WHERE id = $1", ident)
