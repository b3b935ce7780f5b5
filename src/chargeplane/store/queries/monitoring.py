"""Stations' monitors and events, and the rules about what events weigh."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.monitoring import (
    AlertWeight,
    EventRule,
    Monitor,
    MonitoredVariable,
    StationEvent,
)
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Mark, Position, Sorts, Where, by_number, by_time


class MonitorView(Struct, frozen=True, kw_only=True):
    """A monitor of a station, as it was last told.

    Args:
        id: the station's.
        kind: OCPP MonitorEnum word.
        origin: who made it, where the station says so (OCPP 2.1).
    """

    id: int
    variable: MonitoredVariable
    kind: str
    value: Decimal
    severity: int
    during_transactions: bool
    origin: str | None
    reported_at: datetime


class EventView(Struct, frozen=True, kw_only=True):
    """An event of a station's variable.

    Args:
        event_id: the station's number.
        at: the station's time; received_at: ours.
        trigger: Alerting, Delta, Periodic.
        severity: the event's own, or that of its monitor; null where nobody knows.
        cause: event_id of the event that led to this one.
    """

    event_id: int
    received_at: datetime
    at: datetime | None
    trigger: str
    origin: str
    variable: MonitoredVariable
    actual_value: str
    cleared: bool
    transaction_id: str | None
    monitor_id: int | None
    severity: int | None
    cause: int | None
    tech_code: str | None
    tech_info: str | None


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events."""

    component: str | None = None
    variable: str | None = None
    trigger: str | None = None
    max_severity: int | None = None
    since: datetime | None = None
    until: datetime | None = None


class EventRuleView(Struct, frozen=True, kw_only=True):
    """A rule about events; the first that matches decides.

    Args:
        component, variable, tech_code: empty matches every one.
        max_severity: matches events of this severity or a graver (lower) one.
        weight: none, info, warning, critical.
    """

    id: str
    position: int
    component: str
    variable: str
    tech_code: str
    max_severity: int | None
    weight: AlertWeight


_PLACE = "component, component_instance, evse_id, connector_id, variable, variable_instance"
_FIELDS = tuple(_PLACE.split(", "))


def _variable(row: dict[str, object]) -> MonitoredVariable:
    return MonitoredVariable(**{name: row.pop(name) for name in _FIELDS})  # type: ignore[arg-type]


# --- monitors ---------------------------------------------------------------------------------------------------------


async def put_monitors(db: Db, key: StationKey, monitors: Sequence[Monitor], now: datetime) -> None:
    """Keeps monitors as a station has them now."""
    for one in monitors:
        place = one.variable
        await db.execute(
            f"INSERT INTO station_monitor (station_key, id, {_PLACE}, kind, value, severity, during_transactions, origin,"
            " reported_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
            " ON CONFLICT (station_key, id) DO UPDATE SET component = excluded.component,"
            " component_instance = excluded.component_instance, evse_id = excluded.evse_id,"
            " connector_id = excluded.connector_id, variable = excluded.variable,"
            " variable_instance = excluded.variable_instance, kind = excluded.kind, value = excluded.value,"
            " severity = excluded.severity, during_transactions = excluded.during_transactions,"
            " origin = coalesce(excluded.origin, station_monitor.origin), reported_at = excluded.reported_at",
            key,
            one.id,
            *(getattr(place, name) for name in _FIELDS),
            one.kind,
            one.value,
            one.severity,
            one.during_transactions,
            one.origin,
            now,
        )


async def keep_only(db: Db, key: StationKey, idents: Sequence[int]) -> None:
    """Forgets the monitors that a full report does not hold."""
    await db.execute("DELETE FROM station_monitor WHERE station_key = $1 AND id <> ALL($2)", key, list(idents))


async def forget(db: Db, key: StationKey, idents: Sequence[int]) -> None:
    """Forgets monitors that were cleared."""
    await db.execute("DELETE FROM station_monitor WHERE station_key = $1 AND id = ANY($2)", key, list(idents))


async def monitors(db: Db, key: StationKey) -> list[MonitorView]:
    """A station's monitors, by variable."""
    rows = await db.fetch(
        f"SELECT id, {_PLACE}, kind, value, severity, during_transactions, origin, reported_at FROM station_monitor"
        " WHERE station_key = $1 ORDER BY component, evse_id, connector_id, variable, id",
        key,
    )
    found = [dict(row) for row in rows]
    return [MonitorView(variable=_variable(row), **row) for row in found]


async def severities(db: Db, key: StationKey, idents: Sequence[int]) -> dict[int, int]:
    """Severities of monitors by their ids."""
    rows = await db.fetch(
        "SELECT id, severity FROM station_monitor WHERE station_key = $1 AND id = ANY($2)", key, list(idents)
    )
    return {row["id"]: row["severity"] for row in rows}


async def items_per_message(db: Db, key: StationKey, action: str) -> int | None:
    """How many monitors a station takes in one message, where it has said (`MonitoringCtrlr.ItemsPerMessage`).

    Args:
        action: SetVariableMonitoring or ClearVariableMonitoring.
    """
    found: str | None = await db.fetchval(
        "SELECT value FROM station_variable WHERE station_key = $1 AND lower(component) = 'monitoringctrlr'"
        " AND attribute = 'Actual' AND ((lower(variable) = 'itemspermessage' AND lower(variable_instance) = lower($2))"
        " OR lower(variable) = 'itemspermessage' || lower($2)) LIMIT 1",
        key,
        action,
    )
    return int(found) if found is not None and found.isdecimal() and 0 < int(found) <= 10_000 else None


# --- events -----------------------------------------------------------------------------------------------------------


async def add_event(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    received_at: datetime,
    fact_id: int,
    ordinal: int,
    event: StationEvent,
    severity: int | None,
) -> bool:
    """Keeps an event; False where it is kept already."""
    written: str = await db.execute(
        "INSERT INTO station_event (received_on, received_at, tenant_id, station_key, fact_id, ordinal, event_id, at, trigger,"
        f" origin, {_PLACE}, actual_value, cleared, transaction_id, monitor_id, severity, cause, tech_code, tech_info)"
        " VALUES (($1::timestamptz AT TIME ZONE 'UTC')::date, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
        " $16, $17, $18, $19, $20, $21, $22, $23) ON CONFLICT DO NOTHING",
        received_at,
        tenant_id,
        key,
        fact_id,
        ordinal,
        event.event_id,
        event.at,
        event.trigger,
        event.origin,
        *(getattr(event.variable, name) for name in _FIELDS),
        event.actual_value,
        event.cleared,
        event.transaction_id,
        event.monitor_id,
        severity,
        event.cause,
        event.tech_code,
        event.tech_info,
    )
    return written.endswith(" 1")


STATION_EVENT_SORTS: Final = Sorts(
    "fact_id",
    "ordinal",
    ident_kinds=(int, int),
    ident_name=None,
    default="-received_at",
    ident_of=lambda pair: pair[1][1:],
    item=lambda pair: pair[0],
    received_at=by_time("received_at"),
    severity=by_number("severity", missing=True),
)


async def events(
    db: Db, key: StationKey, wanted: EventFilter, limit: int, after: Position | None
) -> list[tuple[EventView, Mark]]:
    """A station's events with their places in the list, newest first."""
    where = Where()
    where.add("station_key = ?", key)
    where.add_if("lower(component) = lower(?)", wanted.component)
    where.add_if("lower(variable) = lower(?)", wanted.variable)
    where.add_if("trigger = ?", wanted.trigger)
    where.add_if("severity <= ?", wanted.max_severity)
    where.add_if("received_at >= ?", wanted.since)
    where.add_if("received_at < ?", wanted.until)
    order = STATION_EVENT_SORTS.begin(where, after)
    rows = await db.fetch(
        f"SELECT event_id, received_at, at, trigger, origin, {_PLACE}, actual_value, cleared, transaction_id, monitor_id,"
        f" severity, cause, tech_code, tech_info, fact_id, ordinal FROM station_event WHERE {where}"
        f" ORDER BY {order} LIMIT ${len(where.values) + 1}",
        *where.values,
        limit,
    )
    found: list[tuple[EventView, Mark]] = []
    for each in rows:
        row = dict(each)
        position = (row["received_at"], row.pop("fact_id"), row.pop("ordinal"))
        found.append((EventView(variable=_variable(row), **row), position))
    return found


# --- rules ------------------------------------------------------------------------------------------------------------

_RULE = "id::text, position, component, variable, tech_code, max_severity, weight"


async def rules(db: Db, tenant_id: TenantId) -> list[EventRuleView]:
    """A tenant's rules in their order."""
    rows = await db.fetch(
        f"SELECT {_RULE} FROM event_rule WHERE tenant_id = $1 ORDER BY position, event_rule.id", tenant_id
    )
    return [EventRuleView(**{**row, "weight": AlertWeight(row["weight"])}) for row in rows]


async def add_rule(db: Db, tenant_id: TenantId, rule: EventRule, position: int) -> EventRuleView:
    """A new rule."""
    row = await db.fetchrow(
        "INSERT INTO event_rule (tenant_id, position, component, variable, tech_code, max_severity, weight)"
        f" VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_RULE}",
        tenant_id,
        position,
        rule.component,
        rule.variable,
        rule.tech_code,
        rule.max_severity,
        rule.weight.value,
    )
    assert row is not None
    return EventRuleView(**{**row, "weight": AlertWeight(row["weight"])})


async def delete_rule(db: Db, tenant_id: TenantId, ident: int) -> bool:
    """Whether there was one."""
    written: str = await db.execute("DELETE FROM event_rule WHERE tenant_id = $1 AND id = $2", tenant_id, ident)
    return written.endswith(" 1")
