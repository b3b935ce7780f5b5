"""Copies of what partners own: read for a batch of writes with their rows locked, written back in a few statements.

Rows are locked in the order of their keys, so that two nodes that write the same Locations wait for each other and do not
deadlock. What is new to both is settled by the unique keys: the later statement finds the row and replaces it, unless it is newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.roaming.replicas import EvseCopy, LocationCopy, Module, ObjectCopy, folded
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db

LocationId = tuple[int, str, str, str]
"""Tenant, country code, party id (upper case), folded id."""

ObjectId = tuple[int, str, str, str, str, str]
"""Tenant, module, folded id, country code, party id, variant."""


class StoredLocation(Struct):
    """A Location that a batch works on.

    Attributes:
        key: 0 where it is new.
        whole: its document and all its EVSEs are read.
    """

    copy: LocationCopy
    connection_id: int
    key: int = 0
    whole: bool = False


class StoredObject(Struct):
    """Another object that a batch works on; `key` is 0 where it is new."""

    copy: ObjectCopy
    connection_id: int
    key: int = 0


_LOCATIONS: Final = """SELECT w.n, l.key, l.told_at, l.last_updated, l.gone_at IS NOT NULL AS gone,
    CASE WHEN w.whole THEN l.document END AS document
    FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::boolean[]) WITH ORDINALITY
        AS w(tenant_id, country_code, party_id, id_key, whole, n)
    JOIN partner_location l USING (tenant_id, country_code, party_id, id_key)
    ORDER BY l.key FOR NO KEY UPDATE OF l"""

_EVSES_OF: Final = """SELECT location_key, uid, uid_key, told_at, last_updated, document FROM partner_evse
    WHERE location_key = ANY($1::bigint[]) ORDER BY key"""

_EVSES: Final = """SELECT e.location_key, e.uid, e.uid_key, e.told_at, e.last_updated, e.document
    FROM unnest($1::bigint[], $2::text[]) AS w(location_key, uid_key) JOIN partner_evse e USING (location_key, uid_key)"""


async def lock_locations(
    db: Db, wanted: dict[LocationId, StoredLocation], evses: Iterable[tuple[LocationId, str]]
) -> None:
    """Reads Locations and EVSEs into their copies, and locks them until the transaction ends.

    Args:
        wanted: `whole` says whether the document and all EVSEs are needed.
        evses: single EVSEs of the others, by folded uid.
    """
    if not wanted:
        return
    ids = list(wanted)
    rows = await db.fetch(
        _LOCATIONS,
        [one[0] for one in ids],
        [one[1] for one in ids],
        [one[2] for one in ids],
        [one[3] for one in ids],
        [wanted[one].whole for one in ids],
    )
    for row in rows:
        stored = wanted[ids[row["n"] - 1]]
        copy = stored.copy
        stored.key = row["key"]
        copy.told_at, copy.last_updated = row["told_at"], row["last_updated"]
        copy.document = row["document"] or (b"" if row["gone"] else b"{}")
        if row["gone"]:
            copy.document = b""
    by_key = {one.key: one.copy for one in wanted.values() if one.key}
    whole = [one.key for one in wanted.values() if one.key and one.whole]
    single = [(wanted[ident].key, uid) for ident, uid in evses if wanted[ident].key and not wanted[ident].whole]
    found = await db.fetch(_EVSES_OF, whole) if whole else []
    if single:
        found += await db.fetch(_EVSES, [one[0] for one in single], [one[1] for one in single])
    for row in found:
        by_key[row["location_key"]].evses[row["uid_key"]] = EvseCopy(
            uid=row["uid"], told_at=row["told_at"], last_updated=row["last_updated"], document=row["document"]
        )


_PUT_LOCATIONS: Final = """INSERT INTO partner_location AS l (tenant_id, country_code, party_id, id_key, id, connection_id,
        told_at, last_updated, document, name, city, postal_code, country, time_zone, publish, place)
    SELECT w.tenant_id, w.country_code, w.party_id, w.id_key, w.id, w.connection_id, w.told_at, w.last_updated, w.document,
        w.name, w.city, w.postal_code, w.country, w.time_zone, w.publish,
        CASE WHEN w.longitude IS NOT NULL THEN point(w.longitude, w.latitude) END
    FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[],
        $8::timestamptz[], $9::bytea[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::boolean[],
        $16::float8[], $17::float8[]) AS w(tenant_id, country_code, party_id, id_key, id, connection_id, told_at,
        last_updated, document, name, city, postal_code, country, time_zone, publish, longitude, latitude)
    ON CONFLICT (tenant_id, country_code, party_id, id_key) DO UPDATE SET id = excluded.id,
        connection_id = excluded.connection_id, told_at = excluded.told_at,
        last_updated = greatest(l.last_updated, excluded.last_updated), document = excluded.document, name = excluded.name,
        city = excluded.city, postal_code = excluded.postal_code, country = excluded.country, time_zone = excluded.time_zone,
        publish = excluded.publish, place = excluded.place, gone_at = NULL, stored_at = now()
    WHERE excluded.told_at >= l.told_at OR l.gone_at IS NOT NULL
    RETURNING key, tenant_id, country_code, party_id, id_key"""

_TOUCH: Final = """UPDATE partner_location l SET last_updated = greatest(l.last_updated, w.at)
    FROM unnest($1::bigint[], $2::timestamptz[]) AS w(key, at) WHERE l.key = w.key AND l.last_updated < w.at"""

_PUT_EVSES: Final = """INSERT INTO partner_evse AS e (location_key, uid_key, uid, evse_id, told_at, last_updated, status,
        document, standards, power_types, powers_w)
    SELECT location_key, uid_key, uid, evse_id, told_at, last_updated, status, document, string_to_array(standards, ','),
        string_to_array(power_types, ','), string_to_array(powers_w, ',')::int[]
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[],
        $8::bytea[], $9::text[], $10::text[], $11::text[]) AS w(location_key, uid_key, uid, evse_id, told_at, last_updated,
        status, document, standards, power_types, powers_w)
    ON CONFLICT (location_key, uid_key) DO UPDATE SET uid = excluded.uid, evse_id = excluded.evse_id,
        told_at = excluded.told_at, last_updated = greatest(e.last_updated, excluded.last_updated), status = excluded.status,
        document = excluded.document, standards = excluded.standards, power_types = excluded.power_types,
        powers_w = excluded.powers_w
    WHERE excluded.told_at >= e.told_at"""

_DROP_EVSES: Final = """DELETE FROM partner_evse e USING unnest($1::bigint[], $2::text[]) AS w(location_key, uid_key)
    WHERE e.location_key = w.location_key AND e.uid_key = w.uid_key"""


async def write_locations(db: Db, locations: dict[LocationId, StoredLocation]) -> None:
    """Writes what is dirty of Locations and EVSEs; new ones get their key."""
    dirty = [(ident, one) for ident, one in locations.items() if one.copy.dirty]
    if dirty:
        columns: list[list[Any]] = [[] for _ in range(17)]
        for ident, one in dirty:
            _location_row(columns, ident, one)
        for row in await db.fetch(_PUT_LOCATIONS, *columns):
            ident = (row["tenant_id"], row["country_code"], row["party_id"], row["id_key"])
            locations[ident].key = row["key"]
    touched = [one for one in locations.values() if one.copy.touched and not one.copy.dirty and one.key]
    if touched:
        await db.execute(_TOUCH, [one.key for one in touched], [one.copy.last_updated for one in touched])
    columns = [[] for _ in range(11)]
    dropped: tuple[list[int], list[str]] = ([], [])
    for one in locations.values():
        for key, evse in one.copy.evses.items():
            if not evse.dirty or not one.key:
                continue
            if evse.gone:
                dropped[0].append(one.key)
                dropped[1].append(key)
            else:
                _evse_row(columns, one.key, key, evse)
    if columns[0]:
        await db.execute(_PUT_EVSES, *columns)
    if dropped[0]:
        await db.execute(_DROP_EVSES, *dropped)


def _location_row(columns: list[list[Any]], ident: LocationId, one: StoredLocation) -> None:
    copy = one.copy
    keys = copy.keys
    assert keys is not None
    place = _place(keys.coordinates.longitude, keys.coordinates.latitude) if keys.coordinates is not None else None
    for column, value in zip(
        columns,
        (
            *ident,
            copy.id,
            one.connection_id,
            copy.told_at,
            copy.last_updated,
            copy.document,
            keys.name,
            keys.city,
            keys.postal_code,
            keys.country,
            keys.time_zone,
            keys.publish,
            None if place is None else place[0],
            None if place is None else place[1],
        ),
        strict=True,
    ):
        column.append(value)


def _evse_row(columns: list[list[Any]], location_key: int, key: str, evse: EvseCopy) -> None:
    keys = evse.keys
    assert keys is not None
    connectors = keys.connectors
    for column, value in zip(
        columns,
        (
            location_key,
            key,
            evse.uid,
            keys.evse_id,
            evse.told_at,
            evse.last_updated,
            keys.status,
            evse.document,
            ",".join([one.standard.replace(",", "") for one in connectors]),
            ",".join([one.power_type.replace(",", "") for one in connectors]),
            ",".join([str(one.power_w) for one in connectors]),
        ),
        strict=True,
    ):
        column.append(value)


def _place(longitude: str, latitude: str) -> tuple[float, float] | None:
    try:
        place = float(longitude), float(latitude)
    except ValueError:
        return None
    return place if -180 <= place[0] <= 180 and -90 <= place[1] <= 90 else None


_OBJECTS: Final = """SELECT w.n, o.key, o.id, o.last_updated, o.document, o.gone_at IS NOT NULL AS gone
    FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY
        AS w(tenant_id, module, id_key, country_code, party_id, variant, n)
    JOIN partner_object o USING (tenant_id, module, id_key, country_code, party_id, variant)
    ORDER BY o.key FOR NO KEY UPDATE OF o"""

_PUT_OBJECTS: Final = """INSERT INTO partner_object AS o (tenant_id, module, id_key, country_code, party_id, variant,
        connection_id, id, last_updated, document, gone_at)
    SELECT tenant_id, module, id_key, country_code, party_id, variant, connection_id, id, last_updated, document,
        CASE WHEN gone THEN now() END
    FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[],
        $9::timestamptz[], $10::bytea[], $11::boolean[]) AS w(tenant_id, module, id_key, country_code, party_id, variant,
        connection_id, id, last_updated, document, gone)
    ON CONFLICT (tenant_id, module, id_key, country_code, party_id, variant) DO UPDATE SET
        connection_id = excluded.connection_id, id = excluded.id, last_updated = excluded.last_updated,
        document = excluded.document, gone_at = excluded.gone_at, stored_at = now()
    WHERE excluded.last_updated >= o.last_updated OR o.gone_at IS NOT NULL
    RETURNING key, tenant_id, module, id_key, country_code, party_id, variant"""


async def lock_objects(db: Db, wanted: dict[ObjectId, StoredObject]) -> None:
    """Reads objects into their copies, and locks them until the transaction ends."""
    if not wanted:
        return
    ids = list(wanted)
    for row in await db.fetch(_OBJECTS, *([one[n] for one in ids] for n in range(6))):
        stored = wanted[ids[row["n"] - 1]]
        stored.key = row["key"]
        copy = stored.copy
        copy.last_updated, copy.document, copy.gone = row["last_updated"], row["document"], row["gone"]


async def write_objects(db: Db, objects: dict[ObjectId, StoredObject]) -> None:
    """Writes what is dirty; new ones get their key."""
    dirty = [(ident, one) for ident, one in objects.items() if one.copy.dirty]
    if not dirty:
        return
    columns: list[list[Any]] = [[] for _ in range(11)]
    for ident, one in dirty:
        copy = one.copy
        values = (*ident, one.connection_id, copy.id, copy.last_updated, copy.document, copy.gone)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    for row in await db.fetch(_PUT_OBJECTS, *columns):
        ident = tuple(row.values())[1:]
        objects[ident].key = row["key"]


# Reads


class LocationRow(Struct, frozen=True):
    """A Location as stored, with its EVSEs (key of the row, document) in the order in which they came."""

    key: int
    document: bytes
    last_updated: datetime
    evses: tuple[bytes, ...]


async def location(db: Db, ident: LocationId) -> LocationRow | None:
    """One Location; None where there is none."""
    row = await db.fetchrow(
        "SELECT l.key, l.document, l.last_updated, (SELECT array_agg(e.document ORDER BY e.key) FROM partner_evse e"
        " WHERE e.location_key = l.key) AS evses FROM partner_location l WHERE tenant_id = $1 AND country_code = $2"
        " AND party_id = $3 AND id_key = $4 AND gone_at IS NULL",
        *ident,
    )
    if row is None:
        return None
    return LocationRow(row["key"], row["document"], row["last_updated"], tuple(row["evses"] or ()))


async def evse(db: Db, ident: LocationId, uid: str) -> bytes | None:
    """One EVSE; None where there is none."""
    found: bytes | None = await db.fetchval(
        "SELECT e.document FROM partner_location l JOIN partner_evse e ON e.location_key = l.key WHERE l.tenant_id = $1"
        " AND l.country_code = $2 AND l.party_id = $3 AND l.id_key = $4 AND l.gone_at IS NULL AND e.uid_key = $5",
        *ident,
        folded(uid),
    )
    return found


class ObjectRow(Struct, frozen=True):
    """An object as stored."""

    key: int
    connection_id: int
    country_code: str
    party_id: str
    id: str
    variant: str
    last_updated: datetime
    document: bytes


_OBJECT: Final = "key, connection_id, country_code, party_id, id, variant, last_updated, document"


async def one_object(db: Db, ident: ObjectId) -> ObjectRow | None:
    """One object; None where there is none."""
    row = await db.fetchrow(
        f"SELECT {_OBJECT} FROM partner_object WHERE tenant_id = $1 AND module = $2 AND id_key = $3 AND country_code = $4"
        " AND party_id = $5 AND variant = $6 AND gone_at IS NULL",
        *ident,
    )
    return None if row is None else ObjectRow(*row.values())


async def objects_named(db: Db, tenant_id: TenantId, module: Module, ident: str) -> list[ObjectRow]:
    """The objects with an id, of all partners: tokens that a station shows are found so."""
    rows = await db.fetch(
        f"SELECT {_OBJECT} FROM partner_object WHERE tenant_id = $1 AND module = $2 AND id_key = $3 AND gone_at IS NULL"
        " ORDER BY key LIMIT 20",
        tenant_id,
        module.value,
        folded(ident),
    )
    return [ObjectRow(*row.values()) for row in rows]


async def objects_of(
    db: Db, tenant_id: TenantId, module: Module, party: tuple[str, str] | None, limit: int, after: int = 0
) -> list[ObjectRow]:
    """Objects of a module in the order in which they came."""
    rows = await db.fetch(
        f"SELECT {_OBJECT} FROM partner_object WHERE tenant_id = $1 AND module = $2 AND key > $3 AND gone_at IS NULL"
        " AND ($4::text IS NULL OR (country_code, party_id) = ($4, $5)) ORDER BY key LIMIT $6",
        tenant_id,
        module.value,
        after,
        None if party is None else party[0],
        None if party is None else party[1],
        limit,
    )
    return [ObjectRow(*row.values()) for row in rows]


async def objects_by_id(
    db: Db, tenant_id: TenantId, module: Module, party: tuple[str, str], idents: Sequence[str]
) -> list[ObjectRow]:
    """Objects of a party by their ids."""
    rows = await db.fetch(
        f"SELECT {_OBJECT} FROM partner_object WHERE tenant_id = $1 AND module = $2 AND id_key = ANY($3::text[])"
        " AND country_code = $4 AND party_id = $5 AND gone_at IS NULL ORDER BY key",
        tenant_id,
        module.value,
        [folded(one) for one in idents],
        *party,
    )
    return [ObjectRow(*row.values()) for row in rows]


# Pulls


class PullRow(Struct, frozen=True):
    """How far a module of a partner is read."""

    module: str
    until: datetime | None
    full_at: datetime | None
    begun_at: datetime
    ended_at: datetime | None
    objects: int
    changed: int
    refused: int
    gone: int
    error: str | None


_PULL: Final = "module, until, full_at, begun_at, ended_at, objects, changed, refused, gone, error"


async def pulls(db: Db, tenant_id: TenantId, connection_id: int) -> list[PullRow]:
    """How far a partner's modules are read."""
    rows = await db.fetch(
        f"SELECT {_PULL} FROM partner_pull WHERE tenant_id = $1 AND connection_id = $2 ORDER BY module",
        tenant_id,
        connection_id,
    )
    return [PullRow(*row.values()) for row in rows]


async def begin_pull(db: Db, tenant_id: TenantId, connection_id: int, module: str, held: timedelta) -> bool:
    """Notes that a pull begins; False where one is under way already, on whichever node.

    Args:
        held: after so long without an end or a sign of life its node is taken for dead.
    """
    found = await db.fetchval(
        "INSERT INTO partner_pull AS p (connection_id, module, tenant_id, begun_at) VALUES ($1, $2, $3, now())"
        " ON CONFLICT (connection_id, module) DO UPDATE SET begun_at = now(), ended_at = NULL, error = NULL"
        " WHERE p.ended_at IS NOT NULL OR p.begun_at < now() - $4::interval RETURNING 1",
        connection_id,
        module,
        tenant_id,
        held,
    )
    return found is not None


async def pull_lives(db: Db, connection_id: int, module: str) -> None:
    """A pull that is under way goes on: it counts as begun now, until it ends."""
    await db.execute(
        "UPDATE partner_pull SET begun_at = now() WHERE connection_id = $1 AND module = $2 AND ended_at IS NULL",
        connection_id,
        module,
    )


async def end_pull(
    db: Db,
    connection_id: int,
    module: str,
    *,
    begun_at: datetime,
    until: datetime | None,
    full: bool,
    counts: tuple[int, int, int, int],
    error: str | None,
) -> None:
    """Notes how a pull ended.

    Args:
        until: where the next delta begins; None leaves it.
        counts: objects, changed, refused, gone.
    """
    await db.execute(
        "UPDATE partner_pull SET ended_at = now(), until = coalesce($3, until), full_at = CASE WHEN $4 THEN now() ELSE full_at END,"
        " objects = $5, changed = $6, refused = $7, gone = $8, error = $9, begun_at = $10"
        " WHERE connection_id = $1 AND module = $2",
        connection_id,
        module,
        until,
        full,
        *counts,
        error,
        begun_at,
    )


async def locations_gone(db: Db, connection_id: int, before: datetime, seen: Sequence[int]) -> int:
    """Marks the Locations of a partner that a full pull did not find and that were not written since."""
    done = await db.execute(
        "UPDATE partner_location SET gone_at = now() WHERE connection_id = $1 AND gone_at IS NULL AND stored_at < $2"
        " AND key <> ALL($3::bigint[])",
        connection_id,
        before,
        seen,
    )
    return int(done.rpartition(" ")[2])


async def objects_gone(db: Db, connection_id: int, module: Module, before: datetime, seen: Sequence[int]) -> int:
    """The same of another module."""
    done = await db.execute(
        "UPDATE partner_object SET gone_at = now() WHERE connection_id = $1 AND module = $4 AND gone_at IS NULL"
        " AND stored_at < $2 AND key <> ALL($3::bigint[])",
        connection_id,
        before,
        seen,
        module.value,
    )
    return int(done.rpartition(" ")[2])
