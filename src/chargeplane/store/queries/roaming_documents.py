"""Canonical OCPI documents of ours, as they stand; made after each change, read by lists, single reads and pushes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.locations.model import ConnectorContent, EvseContent, EvseStatus, LocationContent
from chargeplane.domain.roaming.publication import EVERYTHING, Publication, publication_of, publication_text
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.locations import STATUS
from chargeplane.store.queries.paging import Db, Where

LOCATIONS: Final = "locations"
TARIFFS: Final = "tariffs"
SESSIONS: Final = "sessions"
CDRS: Final = "cdrs"
BOOKINGS: Final = "bookings"
BOOKING_LOCATIONS: Final = "booking_locations"
PLACE_KEY: Final = "place:"
"""Before the id of a booking location where partners are told of it; bookings have `BOOKING_KEY`."""
BOOKING_KEY: Final = "booking:"

_LOCK: Final = 0x6F63_7069
_location_of = msgspec.json.Decoder(LocationContent).decode
_evse_of = msgspec.json.Decoder(EvseContent).decode
_connector_of = msgspec.json.Decoder(ConnectorContent).decode


class Stored(Struct, frozen=True, kw_only=True):
    """A document.

    Args:
        body: canonical JSON.
        shaped_at: when anything but statuses, costs and times changed last.
        removed_at: gone; partners are told so.
    """

    module: str
    id: str
    connection_id: int | None
    country_code: str
    party_id: str
    body: bytes
    shaped_at: datetime
    last_updated: datetime
    removed_at: datetime | None


class NewDocument(Struct, frozen=True, kw_only=True):
    """A document as it is to stand.

    Args:
        shape: digest of all but what changes often.
        open_to_all: whether a partner sees it that nobody said more of.
        location_id: of a booking location: where it is.
        free: of a booking location: when it can be booked, as PostgreSQL writes a tstzmultirange.
    """

    module: str
    id: str
    country_code: str
    party_id: str
    body: bytes
    shape: bytes
    connection_id: int | None = None
    country: str | None = None
    tags: tuple[str, ...] = ()
    open_to_all: bool = True
    removed: bool = False
    location_id: str | None = None
    free: str | None = None


class Behind(Struct, frozen=True):
    """Where a part of a list ended.

    Args:
        seq: of its last document.
        total: documents in the list when it was counted.
    """

    seq: int
    total: int


class RawConnector(Struct, frozen=True, kw_only=True):
    """A connector as stored."""

    body: str
    content: ConnectorContent
    updated_at: datetime


class RawEvse(Struct, frozen=True, kw_only=True):
    """An EVSE as stored, with its status now and as it was told last.

    Args:
        told: status, digest and time of what was told; None: nothing was.
    """

    key: int
    uid: str
    body: str
    content: EvseContent
    bound: bool
    status: EvseStatus
    told: tuple[str, bytes, datetime] | None
    connectors: list[RawConnector]


class RawLocation(Struct, frozen=True, kw_only=True):
    """A location as stored, with its EVSEs, also those that were removed."""

    key: int
    id: str
    body: str
    content: LocationContent
    deleted: bool
    evses: list[RawEvse]


_COLUMNS: Final = (
    "d.module, d.id, d.connection_id, d.country_code, d.party_id, d.body, d.shaped_at, d.last_updated, d.removed_at"
)


async def lock(db: Db, tenant_id: TenantId) -> None:
    """Holds the tenant's documents: what is read after this is newer than whatever is stored."""
    await db.execute("SELECT pg_advisory_xact_lock($1, $2)", _LOCK, tenant_id)


async def raw_locations(db: Db, tenant_id: TenantId, keys: Sequence[int]) -> list[RawLocation]:
    """Locations with all that is published of them."""
    rows = await db.fetch(
        "SELECT key, id, body, deleted_at FROM location l WHERE tenant_id = $1 AND key = ANY($2) AND (deleted_at IS NULL"
        " OR NOT EXISTS (SELECT FROM location n WHERE n.tenant_id = $1 AND lower(n.id) = lower(l.id) AND n.key > l.key))"
        " ORDER BY key",
        tenant_id,
        list(keys),
    )
    evses = await db.fetch(
        f"SELECT e.key, e.location_key, e.uid, e.body, e.station_key IS NOT NULL AS bound, {STATUS} AS status,"
        " r.status AS told, r.digest, r.changed_at FROM evse e LEFT JOIN roaming_evse r ON r.evse_key = e.key"
        " WHERE e.location_key = ANY($1) ORDER BY e.key",
        [row["key"] for row in rows],
    )
    connectors: dict[int, list[RawConnector]] = {}
    for row in await db.fetch(
        "SELECT evse_key, body, updated_at FROM evse_connector WHERE evse_key = ANY($1)"
        " ORDER BY evse_key, ocpp_connector_id",
        [row["key"] for row in evses],
    ):
        connectors.setdefault(row["evse_key"], []).append(
            RawConnector(body=row["body"], content=_connector_of(row["body"]), updated_at=row["updated_at"])
        )
    found: dict[int, list[RawEvse]] = {}
    for row in evses:
        found.setdefault(row["location_key"], []).append(
            RawEvse(
                key=row["key"],
                uid=row["uid"],
                body=row["body"],
                content=_evse_of(row["body"]),
                bound=row["bound"],
                status=EvseStatus(row["status"]),
                told=None if row["told"] is None else (row["told"], row["digest"], row["changed_at"]),
                connectors=connectors.get(row["key"], []),
            )
        )
    return [
        RawLocation(
            key=row["key"],
            id=row["id"],
            body=row["body"],
            content=_location_of(row["body"]),
            deleted=row["deleted_at"] is not None,
            evses=found.get(row["key"], []),
        )
        for row in rows
    ]


async def keep_evses(db: Db, told: Sequence[tuple[int, str, bytes, datetime]]) -> None:
    """What EVSEs were told as: key, status, digest, time."""
    await db.execute(
        "INSERT INTO roaming_evse (evse_key, status, digest, changed_at)"
        " SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::timestamptz[])"
        " ON CONFLICT (evse_key) DO UPDATE SET status = excluded.status, digest = excluded.digest,"
        " changed_at = excluded.changed_at",
        [one[0] for one in told],
        [one[1] for one in told],
        [one[2] for one in told],
        [one[3] for one in told],
    )


async def shapes(db: Db, tenant_id: TenantId, module: str, idents: Sequence[str]) -> dict[str, bytes]:
    """Digests of documents by their ids, lower case."""
    rows = await db.fetch(
        "SELECT lower(id) AS id, shape FROM roaming_document WHERE tenant_id = $1 AND module = $2 AND lower(id) = ANY($3)",
        tenant_id,
        module,
        [ident.lower() for ident in idents],
    )
    return {row["id"]: row["shape"] for row in rows}


async def any_of(db: Db, tenant_id: TenantId, module: str) -> bool:
    """Whether there is any document of a module."""
    return bool(
        await db.fetchval(
            "SELECT EXISTS (SELECT FROM roaming_document WHERE tenant_id = $1 AND module = $2)", tenant_id, module
        )
    )


async def places_at(db: Db, tenant_id: TenantId, location_id: str) -> dict[str, Stored]:
    """Documents of the booking locations at a location, by their ids in lower case; also those that are gone."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM roaming_document d WHERE d.tenant_id = $1 AND d.module = '{BOOKING_LOCATIONS}'"
        " AND lower(d.location_id) = lower($2)",
        tenant_id,
        location_id,
    )
    return {row["id"].lower(): _stored(row) for row in rows}


async def put(db: Db, tenant_id: TenantId, documents: Sequence[NewDocument], at: datetime) -> None:
    """Stores documents; those that are there keep their place in the lists."""
    await db.executemany(
        "INSERT INTO roaming_document (tenant_id, module, id, connection_id, country_code, party_id, country, tags, open_to_all,"
        " body, shape, shaped_at, last_updated, removed_at, location_id, free)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::timestamptz, $12::timestamptz, CASE WHEN $13 THEN $12::timestamptz END,"
        " $14, $15::text::tstzmultirange)"
        " ON CONFLICT (tenant_id, module, lower(id)) DO UPDATE SET id = excluded.id, connection_id = excluded.connection_id,"
        " country_code = excluded.country_code, party_id = excluded.party_id, country = excluded.country, tags = excluded.tags,"
        " open_to_all = excluded.open_to_all, body = excluded.body,"
        " shaped_at = CASE WHEN roaming_document.shape = excluded.shape THEN roaming_document.shaped_at"
        "   ELSE excluded.shaped_at END,"
        " shape = excluded.shape, last_updated = excluded.last_updated,"
        " removed_at = CASE WHEN excluded.removed_at IS NULL THEN NULL"
        "   ELSE coalesce(roaming_document.removed_at, excluded.removed_at) END,"
        " location_id = excluded.location_id, free = excluded.free",
        [
            (
                tenant_id,
                one.module,
                one.id,
                one.connection_id,
                one.country_code,
                one.party_id,
                one.country,
                list(one.tags),
                one.open_to_all,
                one.body.decode(),
                one.shape,
                at,
                one.removed,
                one.location_id,
                one.free,
            )
            for one in documents
        ],
    )


async def one(db: Db, tenant_id: TenantId, module: str, ident: str) -> Stored | None:
    """A document by its id, compared without case; also one that is gone."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM roaming_document d WHERE d.tenant_id = $1 AND d.module = $2 AND lower(d.id) = lower($3)",
        tenant_id,
        module,
        ident,
    )
    return None if row is None else _stored(row)


async def seen(
    db: Db, tenant_id: TenantId, module: str, ident: str, connection_id: int, publication: Publication
) -> Stored | None:
    """The document, where the partner may see it; also one that is gone."""
    found = await seen_of(db, tenant_id, module, [ident], connection_id, publication)
    return next(iter(found.values()), None)


async def seen_of(
    db: Db,
    tenant_id: TenantId,
    module: str,
    idents: Collection[str],
    connection_id: int,
    publication: Publication,
) -> dict[str, Stored]:
    """The documents that the partner may see, also those that are gone, by their ids in lower case."""
    where = visible(tenant_id, module, connection_id, publication)
    where.add("lower(d.id) = ANY(?::text[])", [ident.lower() for ident in idents])
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM roaming_document d WHERE {where}", *where.values)
    return {row["id"].lower(): _stored(row) for row in rows}


async def page(
    db: Db,
    tenant_id: TenantId,
    module: str,
    connection_id: int,
    publication: Publication,
    *,
    date_from: datetime | None,
    date_to: datetime | None,
    offset: int,
    limit: int,
    party: tuple[str, str] | None = None,
    free_from: datetime | None = None,
    free_to: datetime | None = None,
    behind: Behind | None = None,
    driver: tuple[str, str] | None = None,
) -> tuple[int, list[bytes], Behind | None]:
    """How many documents the partner may see, some of them, oldest first, and where the next ones begin.

    Args:
        date_from: included, `date_to` not; of `last_updated`. With it, also what is gone since.
        party: of this operator alone.
        free_from, free_to: of booking locations: that are free some time in between.
        behind: where the documents before `offset` ended, if that is known: they are not walked through again, nor counted, until the
            end is near.
        driver: of sessions and CDRs those of this provider's drivers alone.
    """
    where = visible(tenant_id, module, connection_id, publication)
    if driver is not None and module in (SESSIONS, CDRS):
        told = "d.body::jsonb -> 'cdr_token'"
        whose = f"upper({told} ->> 'country_code'), upper({told} ->> 'party_id')"
        where.add(f"({whose}) = (?, ?)", driver[0].upper(), driver[1].upper())
    if date_from is None:
        where.add("d.removed_at IS NULL")
    where.add_if("d.last_updated >= ?", date_from)
    where.add_if("d.last_updated < ?", date_to)
    if free_from is not None or free_to is not None:
        where.add("d.free && tstzrange(?::timestamptz, ?::timestamptz)", free_from, free_to)
    if party is not None:
        where.add("(upper(d.country_code), upper(d.party_id)) = (?, ?)", party[0].upper(), party[1].upper())
    if behind is not None:
        where.add("d.seq > ?", behind.seq)
    if behind is not None and behind.total > offset + limit:
        total = behind.total
    else:
        left: int = await db.fetchval(f"SELECT count(*) FROM roaming_document d WHERE {where}", *where.values)
        total = left if behind is None else offset + left
    if offset >= total or limit <= 0:
        return total, [], None
    where.values += [limit, 0 if behind is not None else offset]
    rows = await db.fetch(
        f"SELECT d.seq, d.body FROM roaming_document d WHERE {where} ORDER BY d.seq"
        f" LIMIT ${len(where.values) - 1} OFFSET ${len(where.values)}",
        *where.values,
    )
    if len(rows) < limit:
        total = offset + len(rows)  # some may have gone since they were counted
    following = Behind(seq=rows[-1]["seq"], total=total) if rows else None
    return total, [row["body"].encode() for row in rows], following


async def after(
    db: Db, tenant_id: TenantId, module: str, publication: Publication, seq: int, limit: int
) -> list[tuple[int, bytes]]:
    """Documents that anybody may see, behind a place in the list, with their places."""
    where = visible(tenant_id, module, None, publication)
    where.add("d.removed_at IS NULL")
    where.add("d.seq > ?", seq)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT d.seq, d.body FROM roaming_document d WHERE {where} ORDER BY d.seq LIMIT ${len(where.values)}",
        *where.values,
    )
    return [(row["seq"], row["body"].encode()) for row in rows]


def visible(tenant_id: TenantId, module: str, connection_id: int | None, rule: Publication) -> Where:
    """Which documents `d` a partner may see; without one, which anybody may."""
    where = Where()
    where.add("d.tenant_id = ?", tenant_id)
    where.add("d.module = ?", module)
    if not rule.tells(BOOKINGS if module == BOOKING_LOCATIONS else module):
        where.add("false")
    if module in (SESSIONS, CDRS, BOOKINGS) or connection_id is None:
        where.add("d.connection_id IS NOT DISTINCT FROM ?", connection_id)
        return where if connection_id is not None else _by_rule(where, module, rule)
    where.add("d.connection_id IS NULL")
    return _by_rule(where, module, rule)


def _by_rule(where: Where, module: str, rule: Publication) -> Where:
    if rule.parties:
        where.add("upper(d.country_code) || '*' || upper(d.party_id) = ANY(?)", list(rule.parties))
    if module not in (LOCATIONS, BOOKING_LOCATIONS):
        return where
    location = "d.id" if module == LOCATIONS else "d.location_id"
    if not rule.unpublished:
        where.add("d.open_to_all")
    if rule.location_ids:
        where.add(f"lower({location}) = ANY(?)", [ident.lower() for ident in rule.location_ids])
    if rule.except_location_ids:
        where.add(f"lower({location}) <> ALL(?)", [ident.lower() for ident in rule.except_location_ids])
    if rule.countries:
        where.add("d.country = ANY(?)", list(rule.countries))
    if rule.tags:
        where.add("d.tags && ?", list(rule.tags))
    return where


async def publication(db: Db, connection_id: int) -> Publication:
    """What a partner sees."""
    text = await db.fetchval("SELECT body FROM roaming_publication WHERE connection_id = $1", connection_id)
    return publication_of(text)


async def publications(db: Db, connection_ids: Collection[int]) -> dict[int, Publication]:
    """What partners see, of those that somebody said something of."""
    rows = await db.fetch(
        "SELECT connection_id, body FROM roaming_publication WHERE connection_id = ANY($1::bigint[])",
        list(connection_ids),
    )
    return {row["connection_id"]: publication_of(row["body"]) for row in rows}


async def set_publication(db: Db, tenant_id: TenantId, connection_id: int, value: Publication) -> None:
    """Says what a partner sees."""
    if value == EVERYTHING:
        await db.execute("DELETE FROM roaming_publication WHERE connection_id = $1", connection_id)
        return
    await db.execute(
        "INSERT INTO roaming_publication (connection_id, tenant_id, body) VALUES ($1, $2, $3)"
        " ON CONFLICT (connection_id) DO UPDATE SET body = excluded.body, updated_at = now()",
        connection_id,
        tenant_id,
        publication_text(value),
    )


async def is_partner(db: Db, tenant_id: TenantId, connection_id: int) -> bool:
    """Whether the tenant has this partner."""
    return bool(
        await db.fetchval(
            "SELECT EXISTS (SELECT FROM roaming_connection WHERE id = $1 AND tenant_id = $2)", connection_id, tenant_id
        )
    )


async def tell_all(db: Db, tenant_id: TenantId, connection_id: int, publication: Publication) -> None:
    """Notes for a partner all locations, tariffs and booking locations that it sees, and those that it saw and sees no more."""
    for module in (LOCATIONS, TARIFFS, BOOKING_LOCATIONS):
        told, key = (BOOKINGS, f"'{PLACE_KEY}' || d.id") if module == BOOKING_LOCATIONS else (module, "d.id")
        where = visible(tenant_id, module, connection_id, publication)
        where.values += [connection_id, module]
        partner, named = f"${len(where.values) - 1}::bigint", f"${len(where.values)}::text"
        await db.execute(
            "INSERT INTO roaming_outgoing (tenant_id, connection_id, module, key)"
            f" SELECT d.tenant_id, {partner}, '{told}', {key} FROM roaming_document d"
            f" WHERE d.tenant_id = $1 AND d.module = {named} AND (({where}) OR EXISTS (SELECT FROM roaming_sent s"
            f" WHERE s.connection_id = {partner} AND s.module = '{told}' AND s.key = {key}))"
            " ON CONFLICT (connection_id, module, key) DO UPDATE SET ticks = roaming_outgoing.ticks + 1, hint = NULL,"
            " next_at = now(), parked_at = NULL",
            *where.values,
        )


async def location_keys(db: Db, tenant_id: TenantId, after_key: int, limit: int) -> list[int]:
    """Keys of the tenant's locations, in order."""
    rows = await db.fetch(
        "SELECT key FROM location WHERE tenant_id = $1 AND key > $2 ORDER BY key LIMIT $3", tenant_id, after_key, limit
    )
    return [row["key"] for row in rows]


async def locations_of_stations(db: Db, stations: Sequence[int]) -> list[tuple[TenantId, int]]:
    """Tenant and key of the locations at which stations have EVSEs."""
    rows = await db.fetch(
        "SELECT DISTINCT tenant_id, location_key FROM evse WHERE station_key = ANY($1) AND removed_at IS NULL",
        list(stations),
    )
    return [(row["tenant_id"], row["location_key"]) for row in rows]


async def location_of_evse(db: Db, tenant_id: TenantId, uid: str) -> int | None:
    """Key of the location of an EVSE."""
    key: int | None = await db.fetchval(
        "SELECT location_key FROM evse WHERE tenant_id = $1 AND lower(uid) = lower($2)", tenant_id, uid
    )
    return key


async def location_key(db: Db, tenant_id: TenantId, location_id: str) -> list[int]:
    """Keys of all locations that have or had this id."""
    rows = await db.fetch(
        "SELECT key FROM location WHERE tenant_id = $1 AND lower(id) = lower($2) ORDER BY key", tenant_id, location_id
    )
    return [row["key"] for row in rows]


async def untold(db: Db, tenants: Sequence[TenantId], limit: int) -> list[tuple[TenantId, int]]:
    """Tenant and key of locations with an EVSE whose status is another than was told last."""
    rows = await db.fetch(
        f"SELECT DISTINCT tenant_id, location_key FROM (SELECT e.tenant_id, e.location_key, {STATUS} AS status, r.status AS told"
        " FROM evse e LEFT JOIN roaming_evse r ON r.evse_key = e.key WHERE e.tenant_id = ANY($1) AND e.removed_at IS NULL) s"
        " WHERE s.told IS DISTINCT FROM s.status LIMIT $2",
        list(tenants),
        limit,
    )
    return [(row["tenant_id"], row["location_key"]) for row in rows]


async def tariffs_become_valid(
    db: Db, tenants: Sequence[TenantId], since: datetime, until: datetime
) -> list[tuple[TenantId, str]]:
    """Tariffs of which a version became valid, or that retired, in (since, until]."""
    rows = await db.fetch(
        "SELECT t.tenant_id, t.id FROM tariff t WHERE t.tenant_id = ANY($1) AND ((t.retired_at > $2 AND t.retired_at <= $3)"
        " OR EXISTS (SELECT FROM tariff_version v WHERE v.tariff_key = t.key AND v.valid_from > $2 AND v.valid_from <= $3))",
        list(tenants),
        since,
        until,
    )
    return [(row["tenant_id"], row["id"]) for row in rows]


async def tariff_ids(db: Db, tenant_id: TenantId) -> list[str]:
    """All tariffs of a tenant."""
    rows = await db.fetch("SELECT id FROM tariff WHERE tenant_id = $1 ORDER BY key", tenant_id)
    return [row["id"] for row in rows]


def _stored(row: Any) -> Stored:
    return Stored(**{**row, "body": row["body"].encode()})
