"""The work list: what is found to need a person, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.error_words import Words, explain
from chargeplane.domain.languages import say
from chargeplane.domain.performance.figures import ENOUGH_WH
from chargeplane.domain.work_list import ACTIONS, FAILED_STARTS, WorkKind
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_time
from chargeplane.store.queries.payloads import as_json, json_object

_LOCK: Final = 0x776F_726B
_MOST: Final = 20_000


class Risk(Struct, frozen=True, kw_only=True):
    """What a day without it costs, as of the past four weeks.

    Args:
        amount: revenue without taxes; null where the places earned nothing, or in several currencies.
    """

    amount: str | None
    currency: str | None
    energy_wh: Decimal


class WorkItemView(Struct, frozen=True, kw_only=True):
    """Something that needs a person.

    Args:
        actions: what may be done from here.
        risk: what a day of it costs.
        resolved_at: when it was over; null while it lasts.
        words: of a fault: what the station's codes mean and what to do.
    """

    id: str
    kind: str
    station_id: str | None
    evse_id: int | None
    ident: str
    title: str
    details: Any
    state: str
    risk: Risk
    assignee: str | None
    snoozed_until: datetime | None
    seen_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    actions: list[str]
    words: Words | None = None


class WorkEventView(Struct, frozen=True, kw_only=True):
    """A line of an item's history."""

    at: datetime
    actor: str
    what: str
    note: str | None


class WorkFilter(Struct, frozen=True, kw_only=True):
    """Which items."""

    resolved: bool = False
    kind: str | None = None
    state: str | None = None
    assignee: str | None = None
    station_id: str | None = None
    snoozed: bool | None = None


class StoredItem(Struct, frozen=True, kw_only=True):
    """What a change or an action starts from."""

    id: int
    kind: str
    station_key: StationKey | None
    evse_id: int | None
    ident: str
    state: str
    resolved_at: datetime | None


# Each finds causes: tenant_id, kind, station_key, evse_id, ident, title, details.
_CAUSES: Final = (
    """SELECT a.tenant_id, 'offline', a.station_key, NULL::integer, '', 'The station is offline.',
        jsonb_build_object('since', min(a.started_at))
    FROM evse_availability a WHERE a.ended_at IS NULL AND a.state = 'offline'
        AND a.started_at < now() - interval '10 minutes' GROUP BY 1, 3""",
    """SELECT a.tenant_id, 'faulted', a.station_key, a.evse_id, '', 'The EVSE is faulted.',
        jsonb_build_object('since', a.started_at, 'codes', (SELECT jsonb_agg(jsonb_build_object('connector_id',
            c.connector_id, 'error_code', c.error_code, 'vendor_error_code', c.vendor_error_code, 'info', c.info))
            FROM connector c WHERE c.station_key = a.station_key AND c.evse_id IN (0, a.evse_id) AND c.status = 'Faulted'))
    FROM evse_availability a WHERE a.ended_at IS NULL AND a.state = 'faulted'
        AND a.started_at < now() - interval '2 minutes'""",
    f"""SELECT q.tenant_id, 'failed_starts', q.station_key, q.evse_id, '', 'Sessions end without energy, one after another.',
        jsonb_build_object('sessions', count(*), 'since', min(q.started_at)) FROM (
        SELECT t.tenant_id, t.station_key, t.evse_id, t.energy_wh, t.started_at,
            row_number() OVER (PARTITION BY t.station_key, t.evse_id ORDER BY t.opened_at DESC) AS place
        FROM transaction t WHERE t.opened_at > now() - interval '7 days' AND NOT t.is_open AND t.evse_id IS NOT NULL) q
    WHERE q.place <= {FAILED_STARTS} GROUP BY q.tenant_id, q.station_key, q.evse_id
    HAVING count(*) = {FAILED_STARTS} AND max(q.energy_wh) < {ENOUGH_WH}""",
    """SELECT o.tenant_id, 'eternal_session', o.station_key, t.evse_id, o.transaction_id::text,
        'A session has been open for more than two days.', jsonb_build_object('since', t.started_at)
    FROM open_transaction o JOIN transaction t ON t.id = o.transaction_id
    WHERE o.opened_on < (now() - interval '2 days')::date""",
    """SELECT p.tenant_id, 'declined_payment', t.station_key, t.evse_id, p.id::text, 'A payment for a session failed.',
        jsonb_build_object('session_id', p.session_id::text, 'error', p.error)
    FROM payment p JOIN transaction t ON t.id = p.session_id
    WHERE p.ended = 'failed' AND p.updated_at > now() - interval '7 days' AND t.energy_wh > 0""",
    """SELECT c.tenant_id, 'held_cdrs', NULL::bigint, NULL::integer, '', 'CDRs are held back from billing.',
        jsonb_build_object('count', count(*))
    FROM cdr c WHERE c.holds <> '{}' AND c.kind <> 'credit' AND NOT EXISTS (SELECT FROM cdr_release r WHERE r.cdr_id = c.id)
        AND NOT EXISTS (SELECT FROM cdr g WHERE g.credits = c.id) GROUP BY 1""",
    """SELECT p.tenant_id, 'undelivered_webhooks', NULL::bigint, NULL::integer, p.id::text,
        'Events were not delivered to a webhook endpoint.', jsonb_build_object('endpoint_id', p.id::text, 'failed', q.failed,
            'enabled', p.enabled)
    FROM webhook_endpoint p, LATERAL (SELECT count(*) AS failed FROM (SELECT FROM webhook_delivery d
        WHERE d.endpoint_id = p.id AND d.state = 'failed' LIMIT 1000) w) q WHERE q.failed > 0""",
    """SELECT g.tenant_id, 'agreement_ending', NULL::bigint, NULL::integer, g.id::text,
        'A service agreement is about to end.', jsonb_build_object('number', g.number, 'ends_at', g.ends_at)
    FROM service_agreement g WHERE g.state IN ('active', 'suspended', 'ending') AND NOT g.renews
        AND g.ends_at > now() AND g.ends_at < now() + interval '30 days'""",
    """SELECT q.tenant_id, 'quarantine', q.station_key, NULL::integer, '', 'Messages could not be understood or matched.',
        jsonb_build_object('count', count(*), 'since', min(q.received_at))
    FROM quarantine q WHERE q.resolved_at IS NULL GROUP BY 1, 3""",
    """SELECT f.tenant_id, 'parked_facts', NULL::bigint, NULL::integer, f.topic, 'What follows from a change was given up.',
        jsonb_build_object('topic', f.topic, 'count', count(*), 'error', max(f.error))
    FROM outbox f WHERE f.parked_at IS NOT NULL GROUP BY 1, f.topic""",
    """SELECT a.tenant_id, 'alert', a.station_key, NULL::integer, a.id::text, a.title,
        jsonb_build_object('alert_id', a.id::text, 'kind', a.kind, 'severity', a.severity)
    FROM alert a WHERE a.cleared_at IS NULL AND a.severity IN ('critical', 'warning')""",
)


async def find(db: Db) -> list[tuple[int, TenantId, bool]]:
    """Brings the list in line with what is the case; the items that came (True) or went (False), with their tenants."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    causes = " UNION ALL ".join(f"({cause})" for cause in _CAUSES)
    rows = await db.fetch(
        "WITH cause (tenant_id, kind, station_key, evse_id, ident, title, details) AS MATERIALIZED ("
        f"SELECT * FROM ({causes}) q LIMIT {_MOST}),"
        " revenue AS (SELECT d.station_key, d.evse_id, min(v.key) AS currency, count(DISTINCT v.key) AS currencies,"
        " sum(v.value::numeric) / 28 AS amount FROM performance_day d, jsonb_each_text(d.revenue) v"
        " WHERE d.day > now()::date - 28 AND d.station_key IN (SELECT station_key FROM cause) GROUP BY 1, 2),"
        " energy AS (SELECT d.station_key, d.evse_id, sum(d.energy_wh) / 28 AS wh FROM performance_day d"
        " WHERE d.day > now()::date - 28 AND d.station_key IN (SELECT station_key FROM cause) GROUP BY 1, 2),"
        " put AS (INSERT INTO work_item AS w (tenant_id, kind, station_key, evse_id, ident, title, details, risk, currency,"
        " risk_wh) SELECT c.tenant_id, c.kind, c.station_key, c.evse_id, c.ident, c.title, c.details,"
        " coalesce((SELECT sum(r.amount) FROM revenue r WHERE r.station_key = c.station_key"
        "  AND (c.evse_id IS NULL OR r.evse_id = c.evse_id)), 0),"
        " (SELECT CASE WHEN max(r.currencies) = 1 AND count(DISTINCT r.currency) = 1 THEN min(r.currency) END FROM revenue r"
        "  WHERE r.station_key = c.station_key AND (c.evse_id IS NULL OR r.evse_id = c.evse_id)),"
        " coalesce((SELECT sum(e.wh) FROM energy e WHERE e.station_key = c.station_key"
        "  AND (c.evse_id IS NULL OR e.evse_id = c.evse_id)), 0) FROM cause c"
        " ON CONFLICT (tenant_id, kind, coalesce(station_key, 0), coalesce(evse_id, 0), ident) WHERE resolved_at IS NULL"
        " DO UPDATE SET details = excluded.details, title = excluded.title, risk = excluded.risk,"
        " currency = excluded.currency, risk_wh = excluded.risk_wh"
        " WHERE (w.details, w.title, w.risk, w.risk_wh)"
        " IS DISTINCT FROM (excluded.details, excluded.title, excluded.risk, excluded.risk_wh)"
        " RETURNING w.id, w.tenant_id, w.xmax = 0 AS new),"
        " gone AS (UPDATE work_item w SET state = 'resolved', resolved_at = now(), updated_at = now()"
        " WHERE w.resolved_at IS NULL AND NOT EXISTS (SELECT FROM cause c WHERE c.tenant_id = w.tenant_id"
        " AND c.kind = w.kind AND coalesce(c.station_key, 0) = coalesce(w.station_key, 0)"
        " AND coalesce(c.evse_id, 0) = coalesce(w.evse_id, 0) AND c.ident = w.ident)"
        f" AND (SELECT count(*) FROM cause) < {_MOST} RETURNING w.id, w.tenant_id)"
        " SELECT id, tenant_id, true AS came FROM put WHERE new UNION ALL SELECT id, tenant_id, false FROM gone"
    )
    for row in rows:
        await add_event(
            db,
            row["id"],
            "policy: work list",
            "seen" if row["came"] else "resolved",
            None if row["came"] else "It went away.",
        )
    return [(row["id"], row["tenant_id"], row["came"]) for row in rows]


_SELECT: Final = """SELECT w.id, w.kind, s.station_id, w.evse_id, w.ident, w.title, w.details, w.state, w.risk, w.currency,
    s.vendor, s.model, w.risk_wh, w.assignee, w.snoozed_until, w.seen_at, w.updated_at, w.resolved_at
    FROM work_item w LEFT JOIN charging_station s ON s.key = w.station_key"""


class WorkPlace(Struct, frozen=True, kw_only=True):
    """What items are sorted by. Energy counts where no money is at risk."""

    id: int
    risk: Decimal
    risk_wh: Decimal
    seen_at: datetime
    updated_at: datetime
    resolved_at: datetime | None


WORK_SORTS: Final = Sorts(
    "w.risk_wh",
    "w.id",
    ident_kinds=(Decimal, int),
    ident_name=None,
    default="-risk",
    ident_of=lambda pair: (pair[0].risk_wh, pair[0].id),
    item=lambda pair: pair[0],
    risk=by_number("w.risk", Decimal),
    seen_at=by_time("w.seen_at"),
    updated_at=by_time("w.updated_at"),
    resolved_at=by_time("w.resolved_at", missing=True),
)


async def page(
    db: Db,
    tenant_id: TenantId,
    wanted: WorkFilter,
    limit: int,
    after: Position | None,
    language: str | None = None,
) -> list[tuple[WorkPlace, WorkItemView]]:
    """Items with their places in the list, most at risk first where nothing else is asked for."""
    where = Where()
    where.add("w.tenant_id = ?", tenant_id)
    where.add(f"w.resolved_at IS {'NOT ' if wanted.resolved else ''}NULL")
    where.add_if("w.kind = ?", wanted.kind)
    where.add_if("w.state = ?", wanted.state)
    where.add_if("w.assignee = ?", wanted.assignee)
    if wanted.station_id is not None:
        where.add("w.station_key = ANY(?)", await keys_of(db, tenant_id, wanted.station_id))
    if wanted.snoozed is not None:
        where.add(
            f"(w.snoozed_until IS NOT NULL AND w.snoozed_until > now()) = {'true' if wanted.snoozed else 'false'}"
        )
    order = WORK_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    names = WorkPlace.__struct_fields__
    return [(WorkPlace(**{name: row[name] for name in names}), _view(row, language)) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int, language: str | None = None) -> WorkItemView | None:
    """An item by our id, in a language."""
    row = await db.fetchrow(f"{_SELECT} WHERE w.tenant_id = $1 AND w.id = $2", tenant_id, ident)
    return None if row is None else _view(row, language)


def _view(row: Any, language: str | None) -> WorkItemView:
    amount = row["risk"] if row["currency"] is not None else None
    return WorkItemView(
        id=str(row["id"]),
        kind=row["kind"],
        station_id=row["station_id"],
        evse_id=row["evse_id"],
        ident=row["ident"],
        title=row["title"] if row["kind"] == WorkKind.ALERT else say(f"work.{row['kind']}", language),
        details=as_json(row["details"]),
        state=row["state"],
        risk=Risk(
            amount=None if amount is None else f"{amount:.2f}",
            currency=row["currency"],
            energy_wh=round(row["risk_wh"], 1),
        ),
        assignee=row["assignee"],
        snoozed_until=row["snoozed_until"],
        seen_at=row["seen_at"],
        updated_at=row["updated_at"],
        resolved_at=row["resolved_at"],
        words=_explained(row, language),
        actions=[action.value for action in ACTIONS.get(WorkKind(row["kind"]), ())],
    )


def _explained(row: Any, language: str | None) -> Words | None:
    if row["kind"] != WorkKind.FAULTED:
        return None
    for code in json_object(row["details"]).get("codes") or ():
        found = explain(
            error_code=code.get("error_code"),
            vendor_error_code=code.get("vendor_error_code"),
            vendor=row["vendor"],
            model=row["model"],
            language=language,
        )
        if found is not None:
            return found
    return explain(status="Faulted", language=language)


async def events(db: Db, ident: int) -> list[WorkEventView]:
    """The history of an item, oldest first; its newest 500 lines."""
    rows = await db.fetch(
        "SELECT at, actor, what, note FROM (SELECT * FROM work_item_event WHERE work_item_id = $1"
        " ORDER BY id DESC LIMIT 500) e ORDER BY id",
        ident,
    )
    return [WorkEventView(**row) for row in rows]


async def add_event(db: Db, ident: int, actor: str, what: str, note: str | None) -> None:
    """Adds a line to an item's history."""
    await db.execute(
        "INSERT INTO work_item_event (work_item_id, actor, what, note) VALUES ($1, $2, $3, $4)",
        ident,
        actor,
        what,
        None if note is None else made_storable(note, 2000),
    )


async def locked(db: Db, tenant_id: TenantId, ident: int) -> StoredItem | None:
    """The item, locked until the transaction ends."""
    row = await db.fetchrow(
        "SELECT id, kind, station_key, evse_id, ident, state, resolved_at FROM work_item"
        " WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",
        tenant_id,
        ident,
    )
    return None if row is None else StoredItem(**row)


async def change(db: Db, ident: int, columns: dict[str, Any]) -> None:
    """Changes an item."""
    sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 2))
    await db.execute(f"UPDATE work_item SET {sets}, updated_at = now() WHERE id = $1", ident, *columns.values())


async def parked(db: Db, tenant_id: TenantId, topic: str, limit: int) -> Sequence[int]:
    """Parked facts of a topic."""
    rows = await db.fetch(
        "SELECT id FROM outbox WHERE tenant_id = $1 AND topic = $2 AND parked_at IS NOT NULL ORDER BY id LIMIT $3",
        tenant_id,
        topic,
        limit,
    )
    return [row["id"] for row in rows]


async def open_transaction(db: Db, transaction_id: int) -> str | None:
    """What the station calls a transaction."""
    found: str | None = await db.fetchval("SELECT ocpp_transaction_id FROM transaction WHERE id = $1", transaction_id)
    return found
