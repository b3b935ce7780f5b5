"""Payments at stations' own terminals."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.station_exchanges import Settlement
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_time
from chargeplane.store.queries.payloads import as_json, jsonb


class SettlementView(Struct, frozen=True, kw_only=True):
    """How a payment at a station's terminal ended.

    Args:
        status: Settled, Canceled, Rejected, Failed.
        amount: in the currency of the station's tariff.
    """

    id: str
    station_id: str
    psp_ref: str
    ocpp_transaction_id: str | None
    status: str
    amount: Decimal
    settled_at: datetime | None
    received_at: datetime
    info: str | None
    receipt_id: str | None
    receipt_url: str | None
    vat_number: str | None
    company: Any


_SELECT = """
    SELECT p.id, s.station_id, p.psp_ref, p.ocpp_transaction_id, p.status, p.amount, p.settled_at, p.received_at, p.info,
        p.receipt_id, p.receipt_url, p.vat_number, p.company
    FROM settlement p JOIN charging_station s ON s.key = p.station_key"""


async def note(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    told: Settlement,
    receipt_id: str | None,
    receipt_url: str | None,
    at: datetime,
) -> int | None:
    """Keeps a settlement; its id, None where it is kept already."""
    ident: int | None = await db.fetchval(
        "INSERT INTO settlement (tenant_id, station_key, psp_ref, ocpp_transaction_id, status, amount, settled_at,"
        " received_at, info, receipt_id, receipt_url, vat_number, company)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::jsonb) ON CONFLICT DO NOTHING RETURNING id",
        tenant_id,
        key,
        told.psp_ref,
        told.ocpp_transaction_id,
        told.status,
        told.amount,
        told.at,
        at,
        told.info,
        receipt_id,
        receipt_url,
        told.vat_number,
        None if told.company is None else jsonb(told.company),
    )
    return ident


SETTLEMENT_SORTS: Final = Sorts("p.id", received_at=by_time("p.received_at"), amount=by_number("p.amount", Decimal))


async def page(
    db: Db,
    tenant_id: TenantId,
    station_id: str | None,
    status: str | None,
    psp_ref: str | None,
    limit: int,
    after: Position | None,
) -> list[SettlementView]:
    """Settlements, newest first."""
    where = Where()
    where.add("p.tenant_id = ?", tenant_id)
    if station_id is not None:
        where.add("p.station_key = ANY(?)", await keys_of(db, tenant_id, station_id))
    where.add_if("p.status = ?", status)
    where.add_if("p.psp_ref = ?", psp_ref)
    order = SETTLEMENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def one(db: Db, ident: int) -> SettlementView:
    """The settlement with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE p.id = $1", ident)
    assert row is not None
    return _view(row)


def _view(row: Any) -> SettlementView:
    return SettlementView(**{**row, "id": str(row["id"]), "company": as_json(row["company"])})
