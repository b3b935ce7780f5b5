"""Webhooks: endpoints, events, deliveries, attempts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.outbox import Fact
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time
from chargeplane.store.queries.payloads import as_json

_encode = msgspec.json.Encoder(decimal_format="number").encode

_MATCHES: Final = (
    "EXISTS (SELECT FROM unnest(p.event_types) AS w (t) WHERE w.t = '*' OR w.t = {type}"
    " OR (right(w.t, 2) = '.*' AND starts_with({type}, left(w.t, -1))))"
)
_DELIVER: Final = (
    "INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, key)"
    " SELECT e.tenant_id, p.id, e.id, e.key FROM made e JOIN webhook_endpoint p ON p.tenant_id = e.tenant_id"
    " AND p.enabled WHERE " + _MATCHES.format(type="e.type") + " ORDER BY e.id, p.id"
)


class EndpointView(Struct, frozen=True, kw_only=True):
    """Where events go.

    Args:
        event_types: what is sent: types as `transaction.ended`, `transaction.*`, or `*`.
        enabled: whether anything is sent.
        disabled_because: why, where the server did it.
        failing_since: first failure since the last success; null while all is well.
        paused_until: until when it is left alone after failures in a row; then one delivery is tried.
        previous_secret_until: until when the secret before signs too.
        pending, failed: deliveries that wait, and that were given up; counted to 1,000.
    """

    id: str
    url: str
    event_types: list[str]
    description: str | None
    enabled: bool
    disabled_because: str | None
    failing_since: datetime | None
    failures: int
    paused_until: datetime | None
    previous_secret_until: datetime | None
    pending: int
    failed: int
    revision: int
    created_at: datetime
    updated_at: datetime


class EventView(Struct, frozen=True, kw_only=True):
    """What happened.

    Args:
        key: the resource; events of one are delivered in order.
        message_id: `webhook-id` of its deliveries.
    """

    id: str
    message_id: str
    type: str
    key: str
    at: datetime
    data: Any


class AttemptView(Struct, frozen=True, kw_only=True):
    """One try.

    Args:
        status: HTTP; null where there was no answer.
        answer: its beginning.
    """

    number: int
    at: datetime
    status: int | None
    latency_ms: float
    answer: str | None
    error: str | None


class DeliveryView(Struct, frozen=True, kw_only=True):
    """An event on its way to an endpoint.

    Args:
        state: pending, delivered, failed.
        attempts: since it was made, or last retried by hand.
        next_at: when it is tried next; null where it is done with.
        replay: whether it was asked for by hand.
        status, error: of the last attempt.
    """

    id: str
    endpoint_id: str
    event_id: str
    type: str
    key: str
    state: str
    attempts: int
    next_at: datetime | None
    replay: bool
    created_at: datetime
    finished_at: datetime | None
    status: int | None
    error: str | None


class DeliveryFilter(Struct, frozen=True, kw_only=True):
    """Which deliveries."""

    endpoint_id: int | None = None
    state: str | None = None
    type: str | None = None
    key: str | None = None
    since: datetime | None = None


class StoredEndpoint(Struct, frozen=True, kw_only=True):
    """What a change or an attempt starts from."""

    id: int
    tenant_id: TenantId
    url: str
    event_types: list[str]
    description: str | None
    enabled: bool
    secret: bytes
    previous_secret: bytes | None
    previous_until: datetime | None
    failing_since: datetime | None
    failures: int
    revision: int


class Due(Struct, frozen=True, kw_only=True):
    """A delivery to be tried."""

    id: int
    event_id: int
    key: str
    attempts: int
    type: str
    at: datetime
    payload: str


# -- what happened -----------------------------------------------------------------------------------------------------


async def note(db: Db, tenant_id: TenantId, kind: str, key: str, data: object) -> None:
    """Writes an event down for the tenant's endpoints, within the caller's change.

    A tenant without endpoints costs one look at an index.

    Args:
        kind: see `domain.webhooks.EVENT_TYPES`.
        key: the resource, as `tariff:1`: its events are delivered in order.
        data: JSON-able, or what reads it, asked only where somebody hears of it.
    """
    if not await db.fetchval("SELECT EXISTS (SELECT FROM webhook_endpoint WHERE tenant_id = $1)", tenant_id):
        return
    if callable(data):
        read = cast("Callable[[], Awaitable[object]]", data)
        data = await read()
    await db.execute(
        "WITH made AS (INSERT INTO webhook_event (tenant_id, type, key, payload) VALUES ($1, $2, $3, $4)"
        " RETURNING id, tenant_id, type, key) " + _DELIVER,
        tenant_id,
        kind,
        made_storable(key, 255),
        _encode(data).decode(),
    )


async def note_facts(db: Db, facts: Sequence[Fact]) -> None:
    """Writes facts of the outbox down for the endpoints of their tenants, each once (an `Observer` of store/outbox)."""
    tenants = list({fact.tenant_id for fact in facts})
    rows = await db.fetch("SELECT DISTINCT tenant_id FROM webhook_endpoint WHERE tenant_id = ANY($1)", tenants)
    listening = {row["tenant_id"] for row in rows}
    told = [fact for fact in facts if fact.tenant_id in listening]
    if not told:
        return
    await db.execute(
        "WITH made AS (INSERT INTO webhook_event (tenant_id, type, key, payload, at, fact_id)"
        " SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[])"
        " AS f (tenant_id, type, key, payload, at, fact_id) ORDER BY fact_id"
        " ON CONFLICT (fact_id) WHERE fact_id IS NOT NULL DO NOTHING RETURNING id, tenant_id, type, key) " + _DELIVER,
        [fact.tenant_id for fact in told],
        [fact.topic for fact in told],
        [fact.key for fact in told],
        [fact.payload for fact in told],
        [fact.created_at for fact in told],
        [fact.id for fact in told],
    )


# -- endpoints ---------------------------------------------------------------------------------------------------------

_ENDPOINT: Final = """SELECT p.id, p.url, p.event_types, p.description, p.enabled, p.disabled_because, p.failing_since,
    p.failures, p.paused_until, CASE WHEN p.previous_until > now() THEN p.previous_until END AS previous_secret_until,
    (SELECT count(*) FROM (SELECT FROM webhook_delivery d WHERE d.endpoint_id = p.id AND d.state = 'pending' LIMIT 1000) w)
        AS pending,
    (SELECT count(*) FROM (SELECT FROM webhook_delivery d WHERE d.endpoint_id = p.id AND d.state = 'failed' LIMIT 1000) w)
        AS failed,
    p.revision, p.created_at, p.updated_at FROM webhook_endpoint p"""


ENDPOINT_SORTS: Final = Sorts("p.id", url=by_text("p.url"), created_at=by_time("p.created_at"))


async def endpoints(
    db: Db, tenant_id: TenantId, enabled: bool | None, limit: int, after: Position | None
) -> list[EndpointView]:
    """Endpoints, newest first."""
    where = Where()
    where.add("p.tenant_id = ?", tenant_id)
    where.add_if("p.enabled = ?", enabled)
    order = ENDPOINT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_ENDPOINT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_endpoint(row) for row in rows]


async def endpoint(db: Db, tenant_id: TenantId, ident: int) -> EndpointView | None:
    """An endpoint by our id."""
    row = await db.fetchrow(f"{_ENDPOINT} WHERE p.tenant_id = $1 AND p.id = $2", tenant_id, ident)
    return None if row is None else _endpoint(row)


def _endpoint(row: Any) -> EndpointView:
    return EndpointView(**{**row, "id": str(row["id"])})


async def endpoint_count(db: Db, tenant_id: TenantId) -> int:
    """How many the tenant has."""
    found: int = await db.fetchval("SELECT count(*) FROM webhook_endpoint WHERE tenant_id = $1", tenant_id)
    return found


async def lock_tenant(db: Db, tenant_id: TenantId) -> None:
    """One change of a tenant's set of endpoints at a time."""
    await db.execute("SELECT FROM tenant WHERE id = $1 FOR NO KEY UPDATE", tenant_id)


async def next_endpoint_id(db: Db) -> int:
    """The id an endpoint is to have: its secret is encrypted for it."""
    ident: int = await db.fetchval("SELECT nextval(pg_get_serial_sequence('webhook_endpoint', 'id'))")
    return ident


async def insert_endpoint(
    db: Db,
    ident: int,
    tenant_id: TenantId,
    url: str,
    event_types: list[str],
    description: str | None,
    enabled: bool,
    secret: bytes,
) -> None:
    """A new endpoint."""
    await db.execute(
        "INSERT INTO webhook_endpoint (id, tenant_id, url, event_types, description, enabled, secret)"
        " OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7)",
        ident,
        tenant_id,
        url,
        event_types,
        description,
        enabled,
        secret,
    )


async def locked_endpoint(db: Db, tenant_id: TenantId, ident: int) -> StoredEndpoint | None:
    """The endpoint, locked until the transaction ends."""
    return await _stored(db, "tenant_id = $1 AND id = $2 FOR NO KEY UPDATE", tenant_id, ident)


async def stored_endpoint(db: Db, ident: int) -> StoredEndpoint | None:
    """The endpoint with its secrets."""
    return await _stored(db, "id = $1", ident)


async def _stored(db: Db, where: str, *values: Any) -> StoredEndpoint | None:
    row = await db.fetchrow(
        "SELECT id, tenant_id, url, event_types, description, enabled, secret, previous_secret, previous_until,"
        f" failing_since, failures, revision FROM webhook_endpoint WHERE {where}",
        *values,
    )
    return None if row is None else StoredEndpoint(**row)


async def update_endpoint(db: Db, ident: int, columns: dict[str, Any]) -> None:
    """Changes columns, and the revision."""
    names = list(columns)
    sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(names, 2))
    await db.execute(
        f"UPDATE webhook_endpoint SET {sets}, revision = revision + 1, updated_at = now() WHERE id = $1",
        ident,
        *(columns[name] for name in names),
    )


async def delete_endpoint(db: Db, ident: int) -> None:
    """Deletes an endpoint with its deliveries."""
    await db.execute("DELETE FROM webhook_endpoint WHERE id = $1", ident)


# -- events and deliveries ---------------------------------------------------------------------------------------------


WEBHOOK_EVENT_SORTS: Final = Sorts("id")


async def events(
    db: Db,
    tenant_id: TenantId,
    kind: str | None,
    key: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: Position | None,
) -> list[EventView]:
    """Events, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("type = ?", kind)
    where.add_if("key = ?", key)
    where.add_if("at >= ?", since)
    where.add_if("at < ?", until)
    order = WEBHOOK_EVENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT id, type, key, at, payload FROM webhook_event WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_event(row) for row in rows]


async def event(db: Db, tenant_id: TenantId, ident: int) -> EventView | None:
    """An event by our id."""
    row = await db.fetchrow(
        "SELECT id, type, key, at, payload FROM webhook_event WHERE tenant_id = $1 AND id = $2", tenant_id, ident
    )
    return None if row is None else _event(row)


def _event(row: Any) -> EventView:
    return EventView(
        id=str(row["id"]),
        message_id=message_id(row["id"]),
        type=row["type"],
        key=row["key"],
        at=row["at"],
        data=as_json(row["payload"].encode()),
    )


def message_id(event_id: int) -> str:
    """`webhook-id` of an event's deliveries: the same at every attempt and replay."""
    return f"evt_{event_id}"


_DELIVERY: Final = """SELECT d.id, d.endpoint_id, d.event_id, e.type, d.key, d.state, d.attempts,
    CASE WHEN d.state = 'pending' THEN d.next_at END AS next_at, d.replay, d.created_at, d.finished_at, d.status, d.error
    FROM webhook_delivery d JOIN webhook_event e ON e.id = d.event_id"""


DELIVERY_SORTS: Final = Sorts("d.id")


async def deliveries(
    db: Db, tenant_id: TenantId, wanted: DeliveryFilter, limit: int, after: Position | None
) -> list[DeliveryView]:
    """Deliveries, newest first."""
    where = Where()
    where.add("d.tenant_id = ?", tenant_id)
    where.add_if("d.endpoint_id = ?", wanted.endpoint_id)
    where.add_if("d.state = ?", wanted.state)
    where.add_if("e.type = ?", wanted.type)
    where.add_if("d.key = ?", wanted.key)
    where.add_if("d.created_at >= ?", wanted.since)
    order = DELIVERY_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_DELIVERY} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_delivery(row) for row in rows]


async def delivery(db: Db, tenant_id: TenantId, ident: int) -> DeliveryView | None:
    """A delivery by our id."""
    row = await db.fetchrow(f"{_DELIVERY} WHERE d.tenant_id = $1 AND d.id = $2", tenant_id, ident)
    return None if row is None else _delivery(row)


def _delivery(row: Any) -> DeliveryView:
    texts = {name: str(row[name]) for name in ("id", "endpoint_id", "event_id")}
    return DeliveryView(**{**row, **texts})


async def attempts(db: Db, delivery_id: int, limit: int) -> list[AttemptView]:
    """The newest attempts of a delivery, newest first."""
    rows = await db.fetch(
        "SELECT number, at, status, latency_ms, answer, error FROM webhook_attempt WHERE delivery_id = $1"
        " ORDER BY number DESC LIMIT $2",
        delivery_id,
        limit,
    )
    return [AttemptView(**row) for row in rows]


async def retry(db: Db, tenant_id: TenantId, ident: int) -> bool:
    """Has a delivery tried again from the beginning; False where it is not one that was given up or waits."""
    status: str = await db.execute(
        "UPDATE webhook_delivery SET state = 'pending', attempts = 0, next_at = now(), finished_at = NULL"
        " WHERE tenant_id = $1 AND id = $2 AND state IN ('failed', 'pending')",
        tenant_id,
        ident,
    )
    return status.endswith(" 1")


async def retry_all(db: Db, endpoint_id: int, since: datetime | None, limit: int) -> int:
    """Has what was given up since a time tried again; how many. The oldest first, so that order is kept."""
    status: str = await db.execute(
        "UPDATE webhook_delivery SET state = 'pending', attempts = 0, next_at = now(), finished_at = NULL"
        " WHERE id = ANY(ARRAY(SELECT id FROM webhook_delivery WHERE endpoint_id = $1 AND state = 'failed'"
        " AND ($2::timestamptz IS NULL OR created_at >= $2) ORDER BY id LIMIT $3))",
        endpoint_id,
        since,
        limit,
    )
    return int(status.rpartition(" ")[2])


async def replay_range(
    db: Db, endpoint_id: int, since: datetime, until: datetime, kinds: list[str] | None, limit: int, after: int
) -> tuple[int, int]:
    """Sends the tenant's events of a time range to an endpoint once more, those it wants; how many, and the last one's id.

    Args:
        kinds: only these types.
        after: events behind this one.
    """
    row = await db.fetchrow(
        "WITH made AS (SELECT e.id, e.tenant_id, e.key, p.id AS endpoint_id FROM webhook_endpoint p"
        " JOIN webhook_event e ON e.tenant_id = p.tenant_id AND e.at >= $2 AND e.at < $3 AND e.id > $6"
        " WHERE p.id = $1 AND ($4::text[] IS NULL OR e.type = ANY($4)) AND "
        + _MATCHES.format(type="e.type")
        + " ORDER BY e.id LIMIT $5), put AS (INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, key, replay)"
        " SELECT tenant_id, endpoint_id, id, key, true FROM made ORDER BY id RETURNING event_id)"
        " SELECT count(*) AS count, coalesce(max(event_id), 0) AS last FROM put",
        endpoint_id,
        since,
        until,
        kinds,
        limit,
        after,
    )
    assert row is not None
    return row["count"], row["last"]


async def send_event(db: Db, endpoint_id: int, event_id: int) -> int:
    """Sends one event to an endpoint, whatever that wants to hear; the delivery's id."""
    ident: int = await db.fetchval(
        "INSERT INTO webhook_delivery (tenant_id, endpoint_id, event_id, key, replay)"
        " SELECT tenant_id, $1, id, key, true FROM webhook_event WHERE id = $2 RETURNING id",
        endpoint_id,
        event_id,
    )
    return ident


async def insert_event(db: Db, tenant_id: TenantId, kind: str, key: str, data: object) -> int:
    """An event that goes to nobody yet; its id."""
    ident: int = await db.fetchval(
        "INSERT INTO webhook_event (tenant_id, type, key, payload) VALUES ($1, $2, $3, $4) RETURNING id",
        tenant_id,
        kind,
        key,
        _encode(data).decode(),
    )
    return ident


# -- delivering --------------------------------------------------------------------------------------------------------


async def waiting_endpoints(db: Db, limit: int) -> list[int]:
    """Endpoints with something to be tried now, and nobody at it."""
    rows = await db.fetch(
        "SELECT p.id FROM webhook_endpoint p WHERE p.enabled AND (p.paused_until IS NULL OR p.paused_until <= now())"
        " AND (p.leased_until IS NULL OR p.leased_until <= now())"
        " AND EXISTS (SELECT FROM webhook_delivery d WHERE d.endpoint_id = p.id AND d.state = 'pending'"
        " AND d.next_at <= now()) ORDER BY p.leased_until NULLS FIRST, p.id LIMIT $1",
        limit,
    )
    return [row["id"] for row in rows]


async def lease(db: Db, ident: int, by: str, seconds: float) -> bool:
    """Takes or keeps the right to deliver to an endpoint; False where it is another's."""
    status: str = await db.execute(
        "UPDATE webhook_endpoint SET leased_by = $2, leased_until = now() + make_interval(secs => $3) WHERE id = $1"
        " AND enabled AND (leased_by = $2 OR leased_until IS NULL OR leased_until <= now())",
        ident,
        by,
        seconds,
    )
    return status.endswith(" 1")


async def release(db: Db, ident: int, by: str) -> None:
    """Gives the right back."""
    await db.execute(
        "UPDATE webhook_endpoint SET leased_by = NULL, leased_until = NULL WHERE id = $1 AND leased_by = $2", ident, by
    )


async def heads(db: Db, endpoint_id: int, limit: int) -> list[Due]:
    """Deliveries to be tried now, none of which has an earlier one of its key before it."""
    rows = await db.fetch(
        "SELECT d.id, d.event_id, d.key, d.attempts, e.type, e.at, e.payload FROM webhook_delivery d"
        " JOIN webhook_event e ON e.id = d.event_id"
        " WHERE d.endpoint_id = $1 AND d.state = 'pending' AND d.next_at <= now()"
        " AND NOT EXISTS (SELECT FROM webhook_delivery a WHERE a.endpoint_id = d.endpoint_id AND a.key = d.key"
        " AND a.id < d.id AND a.state = 'pending') ORDER BY d.next_at, d.id LIMIT $2",
        endpoint_id,
        limit,
    )
    return [Due(**row) for row in rows]


async def next_of_key(db: Db, endpoint_id: int, key: str) -> Due | None:
    """The first delivery of a key that waits, if it may be tried now."""
    row = await db.fetchrow(
        "SELECT d.id, d.event_id, d.key, d.attempts, e.type, e.at, e.payload, d.next_at <= now() AS due"
        " FROM webhook_delivery d JOIN webhook_event e ON e.id = d.event_id"
        " WHERE d.endpoint_id = $1 AND d.key = $2 AND d.state = 'pending' ORDER BY d.id LIMIT 1",
        endpoint_id,
        key,
    )
    return None if row is None or not row["due"] else Due(**{name: row[name] for name in Due.__struct_fields__})


async def add_attempt(
    db: Db,
    delivery_id: int,
    at: datetime,
    status: int | None,
    latency_ms: float,
    answer: str | None,
    error: str | None,
) -> None:
    """Records an attempt."""
    await db.execute(
        "INSERT INTO webhook_attempt (delivery_id, number, at, status, latency_ms, answer, error)"
        " SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6 FROM webhook_attempt WHERE delivery_id = $1",
        delivery_id,
        at,
        status,
        latency_ms,
        None if answer is None else made_storable(answer, 2000),
        None if error is None else made_storable(error, 2000),
    )


async def delivered(db: Db, delivery_id: int, status: int) -> None:
    """It arrived."""
    await db.execute(
        "UPDATE webhook_delivery SET state = 'delivered', attempts = attempts + 1, finished_at = now(), status = $2,"
        " error = NULL WHERE id = $1 AND state = 'pending'",
        delivery_id,
        status,
    )


async def not_delivered(db: Db, delivery_id: int, status: int | None, error: str, again_in_s: float | None) -> None:
    """It did not.

    Args:
        again_in_s: None: it is given up.
    """
    await db.execute(
        "UPDATE webhook_delivery SET attempts = attempts + 1, status = $2, error = $3,"
        " state = CASE WHEN $4::float8 IS NULL THEN 'failed' ELSE 'pending' END,"
        " finished_at = CASE WHEN $4::float8 IS NULL THEN now() END,"
        " next_at = now() + make_interval(secs => coalesce($4::float8, 0)) WHERE id = $1 AND state = 'pending'",
        delivery_id,
        status,
        made_storable(error, 2000),
        again_in_s,
    )


async def healthy(db: Db, ident: int, broken_at: int) -> None:
    """Notes that an endpoint took something. Where its circuit was open, what waited for another attempt is tried now.

    Args:
        broken_at: from so many failures in a row on it was.
    """
    row = await db.fetchrow(
        "WITH before AS (SELECT id, failures FROM webhook_endpoint WHERE id = $1 AND failing_since IS NOT NULL"
        " FOR NO KEY UPDATE) UPDATE webhook_endpoint p SET failing_since = NULL, failures = 0, paused_until = NULL"
        " FROM before WHERE p.id = before.id RETURNING before.failures",
        ident,
    )
    if row is not None and row["failures"] >= broken_at:
        await db.execute(
            "UPDATE webhook_delivery SET next_at = now()"
            " WHERE endpoint_id = $1 AND state = 'pending' AND next_at > now()",
            ident,
        )


async def unhealthy(db: Db, ident: int) -> tuple[int, datetime] | None:
    """Counts one more failure in a row; how many there are, and since when. None where the endpoint was deleted."""
    row = await db.fetchrow(
        "UPDATE webhook_endpoint SET failures = failures + 1, failing_since = coalesce(failing_since, now())"
        " WHERE id = $1 RETURNING failures, failing_since",
        ident,
    )
    return None if row is None else (row["failures"], row["failing_since"])


async def pause(db: Db, ident: int, seconds: float) -> None:
    """Leaves an endpoint alone for a while."""
    await db.execute(
        "UPDATE webhook_endpoint SET paused_until = now() + make_interval(secs => $2) WHERE id = $1", ident, seconds
    )


async def disable(db: Db, ident: int, because: str) -> StoredEndpoint | None:
    """Sends nothing more to an endpoint; None where nothing was sent already."""
    found = await _stored(db, "id = $1 AND enabled FOR NO KEY UPDATE", ident)
    if found is not None:
        await update_endpoint(db, ident, {"enabled": False, "disabled_because": because, "paused_until": None})
    return found
