"""What went over the wire with partners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.database import Database
from chargeplane.store.queries.paging import Db, Position, Sorts, Where

_NAMES: Final = (
    "tenant_id, connection_id, at, direction, row_number, module, method, url, request_id, correlation_id, from_party, to_party,"
    " http_status, status_code, latency_ms, request, response, error, losses, path_values, query, cut, routed"
)


class Exchange(Struct, frozen=True, kw_only=True):
    """One request and its answer.

    Args:
        incoming: the partner asked us.
        request, response: bodies as they were on the wire; cut when they are written.
        path_values: of the row's path, for a replay.
        routed: on its way through our hub.
    """

    tenant_id: TenantId
    connection_id: int
    at: datetime
    incoming: bool
    row: int | None
    module: str | None
    method: str
    url: str
    request_id: str | None
    correlation_id: str | None
    from_party: str | None = None
    to_party: str | None = None
    http_status: int | None = None
    status_code: int | None = None
    latency_ms: float = 0.0
    request: bytes | None = None
    response: bytes | None = None
    error: str | None = None
    losses: tuple[str, ...] = ()
    path_values: str | None = None
    query: str | None = None
    routed: bool = False


class ExchangeView(Struct, frozen=True, kw_only=True):
    """A request and its answer.

    Args:
        direction: `in`: the partner asked us; `out`: we asked it.
        row: in the table of OCPI's endpoints; null where none was found.
        status_code: OCPI's; null without an envelope.
        request, response: bodies as they were on the wire, cut at 16 KiB.
        cut: whether a body is not whole.
        losses: what the conversion between versions could not carry.
        routed: on its way through our hub.
    """

    id: str
    partner_id: str
    at: datetime
    direction: str
    row: int | None
    module: str | None
    method: str
    url: str
    request_id: str | None
    correlation_id: str | None
    from_party: str | None
    to_party: str | None
    http_status: int | None
    status_code: int | None
    latency_ms: float
    request: str | None
    response: str | None
    error: str | None
    losses: list[str]
    cut: bool
    routed: bool


class ExchangeFilter(Struct, frozen=True, kw_only=True):
    """Which exchanges. `since` is included, `until` not.

    Args:
        failed: only those without an OCPI status of 1xxx.
    """

    connection_id: int | None = None
    correlation_id: str | None = None
    request_id: str | None = None
    module: str | None = None
    direction: str | None = None
    party: str | None = None
    failed: bool = False
    routed: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


async def insert(database: Database, batch: Sequence[Exchange], kept: int) -> None:
    """Writes exchanges; what is lost with the database's last moments is lost (`synchronous_commit` off)."""
    columns: list[list[Any]] = [[] for _ in range(23)]
    for one in batch:
        request, response = _text(one.request, kept), _text(one.response, kept)
        cut = any(body is not None and len(body) > kept for body in (one.request, one.response))
        values = (
            one.tenant_id,
            one.connection_id,
            one.at,
            "in" if one.incoming else "out",
            one.row,
            one.module,
            one.method[:10],
            made_storable(one.url, 2000),
            _short(one.request_id),
            _short(one.correlation_id),
            one.from_party,
            one.to_party,
            one.http_status,
            one.status_code if one.status_code is None or abs(one.status_code) < 30_000 else None,
            one.latency_ms,
            request,
            response,
            None if one.error is None else made_storable(one.error, 2000),
            "\n".join(made_storable(loss, 300) for loss in one.losses[:50]) or None,
            _short(one.path_values, 2000),
            _short(one.query, 2000),
            cut,
            one.routed,
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    async with database.change() as db:
        await db.execute("SET LOCAL synchronous_commit = off")
        await db.execute(
            f"INSERT INTO roaming_exchange ({_NAMES}) SELECT a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r,"
            " string_to_array(s, E'\\n'), t, u, v, w FROM unnest($1::int[], $2::bigint[], $3::timestamptz[], $4::text[],"
            " $5::smallint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],"
            " $13::smallint[], $14::smallint[], $15::real[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[],"
            " $21::text[], $22::bool[], $23::bool[]) AS x (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w)",
            *columns,
        )


def _text(body: bytes | None, kept: int) -> str | None:
    return None if body is None else made_storable(body[:kept].decode("utf-8", "replace"), kept)


def _short(text: str | None, limit: int = 255) -> str | None:
    return None if text is None else made_storable(text, limit)


EXCHANGE_SORTS: Final = Sorts("id")


async def page(
    db: Db, tenant_id: TenantId, wanted: ExchangeFilter, limit: int, after: Position | None
) -> list[ExchangeView]:
    """Exchanges, newest first; at most `limit`."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("connection_id = ?", wanted.connection_id)
    where.add_if("correlation_id = ?", wanted.correlation_id)
    where.add_if("request_id = ?", wanted.request_id)
    where.add_if("module = ?", wanted.module)
    where.add_if("direction = ?", wanted.direction)
    if wanted.party is not None:
        where.add("(upper(from_party) = upper(?) OR upper(to_party) = upper(?))", wanted.party, wanted.party)
    if wanted.failed:
        where.add("(status_code IS NULL OR status_code NOT BETWEEN 1000 AND 1999)")
    where.add_if("routed = ?", wanted.routed)
    where.add_if("at >= ?", wanted.since)
    where.add_if("at < ?", wanted.until)
    order = EXCHANGE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT id, {_NAMES} FROM roaming_exchange WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> tuple[ExchangeView, str | None, str | None] | None:
    """An exchange with its path's values and query, as they were kept for a replay."""
    row = await db.fetchrow(
        f"SELECT id, {_NAMES} FROM roaming_exchange WHERE tenant_id = $1 AND id = $2", tenant_id, ident
    )
    return None if row is None else (_view(row), row["path_values"], row["query"])


def _view(row: Any) -> ExchangeView:
    return ExchangeView(
        id=str(row["id"]),
        partner_id=str(row["connection_id"]),
        row=row["row_number"],
        losses=list(row["losses"] or ()),
        **{
            name: row[name]
            for name in ExchangeView.__struct_fields__
            if name not in ("id", "partner_id", "row", "losses")
        },
    )
