"""Streams of periodic values."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Mark, Position, Sorts, Where, by_time


class EventStreamView(Struct, frozen=True, kw_only=True):
    """A stream of a station.

    Args:
        monitor_id: of the variable monitor whose values it brings.
        interval_s, max_values: when the station sends what it gathered.
        pending: values the station still held when it last sent.
    """

    id: int
    monitor_id: int
    interval_s: int | None
    max_values: int | None
    opened_at: datetime
    closed_at: datetime | None
    last_at: datetime | None
    last_value: str | None
    pending: int


class StreamValueView(Struct, frozen=True, kw_only=True):
    """A value of a stream, at the station's time."""

    at: datetime
    value: str
    received_at: datetime


_FIELDS = "id, monitor_id, interval_s, max_values, opened_at, closed_at, last_at, last_value, pending"


async def opened(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    ident: int,
    monitor_id: int,
    interval_s: int | None,
    values: int | None,
    at: datetime,
) -> None:
    """A stream is open, perhaps again."""
    await db.execute(
        "INSERT INTO event_stream (station_key, id, tenant_id, monitor_id, interval_s, max_values, opened_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (station_key, id) DO UPDATE SET"
        " monitor_id = excluded.monitor_id, interval_s = excluded.interval_s, max_values = excluded.max_values,"
        " opened_at = excluded.opened_at, closed_at = NULL",
        key,
        ident,
        tenant_id,
        monitor_id,
        interval_s,
        values,
        at,
    )


async def paced(db: Db, key: StationKey, ident: int, interval_s: int | None, values: int | None) -> None:
    """Notes what a stream was adjusted to."""
    await db.execute(
        "UPDATE event_stream SET interval_s = $3, max_values = $4 WHERE station_key = $1 AND id = $2",
        key,
        ident,
        interval_s,
        values,
    )


async def closed(db: Db, key: StationKey, ident: int, at: datetime) -> None:
    """A stream is closed."""
    await db.execute(
        "UPDATE event_stream SET closed_at = $3 WHERE station_key = $1 AND id = $2 AND closed_at IS NULL",
        key,
        ident,
        at,
    )


async def add(
    db: Db,
    key: StationKey,
    ident: int,
    times: list[datetime],
    values: list[str],
    pending: int,
    fact_id: int,
    received_at: datetime,
) -> None:
    """Keeps values; those of a stream nobody opened too."""
    await db.execute(
        "INSERT INTO event_stream_value (station_key, stream_id, at, place, fact_id, value, received_at)"
        " SELECT $1, $2, v.at, v.place, $5, v.value, $6"
        " FROM unnest($3::timestamptz[], $4::text[]) WITH ORDINALITY AS v (at, value, place) ON CONFLICT DO NOTHING",
        key,
        ident,
        times,
        values,
        fact_id,
        received_at,
    )
    newest = max(range(len(times)), key=lambda place: times[place])
    await db.execute(
        "UPDATE event_stream SET pending = $3, last_at = CASE WHEN last_at IS NULL OR last_at <= $4 THEN $4 ELSE last_at END,"
        " last_value = CASE WHEN last_at IS NULL OR last_at <= $4 THEN $5 ELSE last_value END"
        " WHERE station_key = $1 AND id = $2",
        key,
        ident,
        pending,
        times[newest],
        values[newest],
    )


async def of_station(db: Db, key: StationKey) -> list[EventStreamView]:
    """A station's streams."""
    rows = await db.fetch(f"SELECT {_FIELDS} FROM event_stream WHERE station_key = $1 ORDER BY id LIMIT 1000", key)
    return [EventStreamView(**row) for row in rows]


async def open_count(db: Db, key: StationKey) -> int:
    """How many streams a station has open."""
    count: int = await db.fetchval(
        "SELECT count(*) FROM event_stream WHERE station_key = $1 AND closed_at IS NULL", key
    )
    return count


class Within(Struct, frozen=True, kw_only=True):
    """Times between which; `since` is included, `until` not."""

    since: datetime | None = None
    until: datetime | None = None


STREAM_VALUE_SORTS: Final = Sorts(
    "fact_id",
    "place",
    ident_kinds=(int, int),
    ident_name=None,
    default="-at",
    ident_of=lambda pair: pair[1][1:],
    item=lambda pair: pair[0],
    at=by_time("at"),
)


async def values(
    db: Db, key: StationKey, ident: int, within: Within, limit: int, after: Position | None
) -> list[tuple[StreamValueView, Mark]]:
    """Values of a stream, newest first, with their places in the order."""
    where = Where()
    where.add("station_key = ?", key)
    where.add("stream_id = ?", ident)
    where.add_if("at >= ?", within.since)
    where.add_if("at < ?", within.until)
    order = STREAM_VALUE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT at, value, received_at, fact_id, place FROM event_stream_value WHERE {where}"
        f" ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [
        (
            StreamValueView(at=row["at"], value=row["value"], received_at=row["received_at"]),
            (row["at"], row["fact_id"], row["place"]),
        )
        for row in rows
    ]
