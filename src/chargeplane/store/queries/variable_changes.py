"""Changes of a station's variables, one after the other, and who works on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from chargeplane.domain.configuration import ChangeItem, ChangeState, ItemState, ResetPolicy
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time
from chargeplane.store.queries.payloads import jsonb

LEASE_S: Final = 30.0
"""A process that has not renewed its claim for so long is gone, and another one goes on."""


class VariableChangeView(Struct, frozen=True, kw_only=True):
    """A change of a station's variables.

    Args:
        template: name of the template it comes from; null where somebody asked for it.
        state: pending, running, succeeded, partly, failed, cancelled.
        reboot_required: some of it takes effect after a restart.
        reason: why it ended as it did.
        variables: each with its state, the station's word and what was read back.
    """

    id: str
    station_id: str
    template: str | None
    template_version: int | None
    requested_by: str
    state: str
    reboot_required: bool
    reason: str | None
    reset: str
    variables: tuple[ChangeItem, ...]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Claimed(Struct, frozen=True, kw_only=True):
    """A change that this process works on."""

    id: int
    tenant_id: TenantId
    station_key: StationKey
    station_id: str
    template_id: int | None
    template_version: int | None
    firmware: str | None
    variables: tuple[ChangeItem, ...]
    sealed: bytes | None
    reset: ResetPolicy
    patience_s: float


_decode: Final = msgspec.json.Decoder(tuple[ChangeItem, ...]).decode


def _items(value: Any) -> tuple[ChangeItem, ...]:
    return _decode(value if isinstance(value, str | bytes) else msgspec.json.encode(value))


async def insert(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    items: Sequence[ChangeItem],
    *,
    sealed: bytes | None,
    requested_by: str,
    reset: ResetPolicy,
    patience_s: float,
    template: tuple[int, int] | None = None,
) -> int:
    """A new change; its id.

    Args:
        items: secret values hidden.
        template: id and version.
    """
    ident: int = await db.fetchval(
        "INSERT INTO variable_change (tenant_id, station_key, template_id, template_version, requested_by, state, variables,"
        " sealed, reset, patience_s) VALUES ($1, $2, $3, $4, $5, 'pending', $6::text::jsonb, $7, $8, $9) RETURNING id",
        tenant_id,
        key,
        None if template is None else template[0],
        None if template is None else template[1],
        requested_by,
        jsonb(items),
        sealed,
        reset.value,
        patience_s,
    )
    return ident


async def open_of_station(db: Db, key: StationKey) -> int:
    """Changes of a station that have not ended."""
    number: int = await db.fetchval(
        "SELECT count(*) FROM variable_change WHERE station_key = $1 AND finished_at IS NULL", key
    )
    return number


async def claim(db: Db, claimant: UUID, most: int) -> list[Claimed]:
    """Changes to work on now, the oldest of each station: new ones, and those whose process is gone. Nobody else gets them."""
    rows = await db.fetch(
        "WITH chosen AS (SELECT c.id FROM variable_change c WHERE c.finished_at IS NULL"
        " AND (c.claimed_until IS NULL OR c.claimed_until < now())"
        " AND NOT EXISTS (SELECT FROM variable_change e WHERE e.station_key = c.station_key AND e.finished_at IS NULL"
        " AND e.id < c.id) ORDER BY c.id LIMIT $2 FOR UPDATE SKIP LOCKED),"
        " claimed AS (UPDATE variable_change c SET claim = $1, claimed_until = now() + make_interval(secs => $3),"
        " state = 'running', started_at = coalesce(c.started_at, now()) FROM chosen WHERE c.id = chosen.id RETURNING c.*)"
        " SELECT c.id, c.tenant_id, c.station_key, s.station_id, c.template_id, c.template_version,"
        " s.firmware_version AS firmware, c.variables, c.sealed, c.reset, c.patience_s"
        " FROM claimed c JOIN charging_station s ON s.key = c.station_key ORDER BY c.id",
        claimant,
        most,
        LEASE_S,
    )
    return [
        Claimed(**{**row, "variables": _items(row["variables"]), "reset": ResetPolicy(row["reset"])}) for row in rows
    ]


async def renew(db: Db, claimant: UUID, idents: Sequence[int]) -> list[int]:
    """Claims anew what is being worked on; those that are still ours and not cancelled."""
    rows = await db.fetch(
        "UPDATE variable_change SET claimed_until = now() + make_interval(secs => $3)"
        " WHERE id = ANY($2::int8[]) AND claim = $1 AND finished_at IS NULL RETURNING id",
        claimant,
        list(idents),
        LEASE_S,
    )
    return [row["id"] for row in rows]


async def progress(db: Db, claimant: UUID, ident: int, items: Sequence[ChangeItem]) -> bool:
    """Writes how far a change is; False where it is not ours any more."""
    written: str = await db.execute(
        "UPDATE variable_change SET variables = $3::text::jsonb, claimed_until = now() + make_interval(secs => $4)"
        " WHERE id = $2 AND claim = $1 AND finished_at IS NULL",
        claimant,
        ident,
        jsonb(items),
        LEASE_S,
    )
    return written.endswith(" 1")


async def finish(
    db: Db, claimant: UUID, ident: int, items: Sequence[ChangeItem], state: ChangeState, reason: str | None
) -> bool:
    """Writes how a change ended, and forgets its secrets; False where it is not ours any more."""
    written: str = await db.execute(
        "UPDATE variable_change SET variables = $3::text::jsonb, state = $4, reason = $5, sealed = NULL, finished_at = now(),"
        " claim = NULL, claimed_until = NULL WHERE id = $2 AND claim = $1 AND finished_at IS NULL",
        claimant,
        ident,
        jsonb(items),
        state.value,
        reason,
    )
    return written.endswith(" 1")


async def release(db: Db, claimant: UUID) -> None:
    """Lets go of everything: another process, or this one after its restart, goes on at once."""
    await db.execute(
        "UPDATE variable_change SET claim = NULL, claimed_until = NULL WHERE claim = $1 AND finished_at IS NULL",
        claimant,
    )


async def cancel(db: Db, tenant_id: TenantId, ident: int, reason: str) -> bool:
    """Ends a change that goes on; what was changed stays so."""
    row = await db.fetchrow(
        "SELECT variables FROM variable_change WHERE tenant_id = $1 AND id = $2 AND finished_at IS NULL FOR UPDATE",
        tenant_id,
        ident,
    )
    if row is None:
        return False
    items = [
        msgspec.structs.replace(item, state=ItemState.CANCELLED)
        if item.state in (ItemState.PENDING, ItemState.SETTING)
        else item
        for item in _items(row["variables"])
    ]
    await db.execute(
        "UPDATE variable_change SET state = 'cancelled', reason = $2, variables = $3::text::jsonb, sealed = NULL,"
        " finished_at = now(), claim = NULL, claimed_until = NULL WHERE id = $1",
        ident,
        reason,
        jsonb(items),
    )
    return True


async def booted_since(db: Db, key: StationKey, since: datetime) -> bool:
    """Whether the station has booted since a time of ours."""
    return bool(await db.fetchval("SELECT booted_at > $2 FROM charging_station WHERE key = $1", key, since))


_SELECT = """
    SELECT c.id, s.station_id, t.name AS template, c.template_version, c.requested_by, c.state, c.reason, c.reset,
        c.variables, c.created_at, c.started_at, c.finished_at
    FROM variable_change c JOIN charging_station s ON s.key = c.station_key
    LEFT JOIN configuration_template t ON t.id = c.template_id"""


async def one(db: Db, tenant_id: TenantId, ident: int) -> VariableChangeView | None:
    """The change with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE c.tenant_id = $1 AND c.id = $2", tenant_id, ident)
    return None if row is None else _view(row)


VARIABLE_CHANGE_SORTS: Final = Sorts("c.id", created_at=by_time("c.created_at"), state=by_text("c.state"))


async def page(
    db: Db,
    tenant_id: TenantId,
    key: StationKey | None,
    template_id: int | None,
    state: str | None,
    limit: int,
    after: Position | None,
) -> list[VariableChangeView]:
    """Changes of a station or a template, newest first."""
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add_if("c.station_key = ?", key)
    where.add_if("c.template_id = ?", template_id)
    where.add_if("c.state = ?", state)
    order = VARIABLE_CHANGE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


def _view(row: Any) -> VariableChangeView:
    items = _items(row["variables"])
    return VariableChangeView(
        **{
            **row,
            "id": str(row["id"]),
            "variables": items,
            "reboot_required": any(item.state is ItemState.REBOOT_REQUIRED for item in items),
        }
    )
