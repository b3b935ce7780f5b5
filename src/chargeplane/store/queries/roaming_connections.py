"""Connections with roaming partners, parties of ours, and the tokens we issued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.roaming.connection import (
    BusinessDetails,
    ConnectionState,
    ModuleUrl,
    OwnParty,
    PartnerParty,
    PartyId,
    PartyRole,
    Peer,
    Quirks,
    TokenForm,
)
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time

INVITE: Final = "invite"
OFFERED: Final = "offered"
CURRENT: Final = "current"

_encode = msgspec.json.encode
_modules = msgspec.json.Decoder(tuple[ModuleUrl, ...]).decode
_parties = msgspec.json.Decoder(tuple[PartnerParty, ...]).decode
_quirks = msgspec.json.Decoder(Quirks).decode
_details = msgspec.json.Decoder(BusinessDetails).decode

_COLUMNS: Final = (
    "c.id, c.tenant_id, c.name, c.state, c.version, c.versions_url, c.modules, c.parties, c.own_parties, c.own_role, c.is_hub,"
    " c.hub_party, c.quirks, c.token_form"
)
_HEALTH: Final = (
    "c.suspended_because, c.last_error, c.revision, c.created_at, c.updated_at, c.registered_at, c.ended_at, c.heard_at,"
    " c.answered_at, c.failing_since, c.failures, c.paused_until,"
    " (SELECT count(*) FROM (SELECT FROM roaming_outgoing o WHERE o.connection_id = c.id AND o.parked_at IS NULL LIMIT 10000) w)"
    " AS waiting,"
    " (SELECT min(o.noted_at) FROM roaming_outgoing o WHERE o.connection_id = c.id AND o.parked_at IS NULL) AS waiting_since,"
    " (SELECT count(*) FROM (SELECT FROM roaming_outgoing o WHERE o.connection_id = c.id AND o.parked_at IS NOT NULL LIMIT 10000) w)"
    " AS parked"
)


class OwnPartyView(Struct, frozen=True, kw_only=True):
    """A party of ours."""

    country_code: str
    party_id: str
    roles: list[PartyRole]
    business_details: BusinessDetails
    revision: int
    created_at: datetime
    updated_at: datetime


class ModuleState(Struct, frozen=True, kw_only=True):
    """How the exchange of a module with a partner goes.

    Args:
        pulled_at: when its list was last read to the end; `pulled_lag_s`: s since then.
        pulled_until: the newest `last_updated` in it.
        pulled_count: objects that came with that.
        pushed_at: when the partner last took something.
        waiting: objects that the partner is to be told of; `waiting_since`: the longest.
        failed_at, error: of the last failure since.
    """

    module: str
    pulled_at: datetime | None
    pulled_until: datetime | None
    pulled_count: int | None
    pulled_lag_s: float | None
    pushed_at: datetime | None
    waiting: int
    waiting_since: datetime | None
    failed_at: datetime | None
    error: str | None


class IssuedToken(Struct, frozen=True, kw_only=True):
    """A token that the partner may come with, by its first characters."""

    prefix: str
    kind: str
    created_at: datetime
    used_at: datetime | None
    expires_at: datetime | None


class StoredConnection(Struct, frozen=True, kw_only=True):
    """A connection with what only we see of it."""

    peer: Peer
    own_parties: list[int] | None
    suspended_because: str | None
    last_error: str | None
    revision: int
    created_at: datetime
    updated_at: datetime
    registered_at: datetime | None
    ended_at: datetime | None
    heard_at: datetime | None
    answered_at: datetime | None
    failing_since: datetime | None
    failures: int
    paused_until: datetime | None
    waiting: int
    waiting_since: datetime | None
    parked: int


class PresentedToken(Struct, frozen=True, kw_only=True):
    """A token of ours that somebody came with."""

    connection_id: int
    id: int
    kind: str
    used: bool


# -- parties of ours ---------------------------------------------------------------------------------------------------


async def own_parties(db: Db, tenant_id: TenantId) -> list[OwnParty]:
    """All of a tenant, oldest first."""
    rows = await db.fetch(
        "SELECT key, country_code, party_id, roles, business_details FROM roaming_party WHERE tenant_id = $1 ORDER BY key",
        tenant_id,
    )
    return [_own(row) for row in rows]


def _own(row: Any) -> OwnParty:
    return OwnParty(
        key=row["key"],
        id=PartyId(row["country_code"], row["party_id"]),
        roles=tuple(PartyRole(role) for role in row["roles"]),
        business_details=_details(row["business_details"]),
    )


PARTY_SORTS: Final = Sorts(
    "key",
    ident_name=None,
    default="created_at",
    ident_of=lambda pair: (pair[0],),
    item=lambda pair: pair[1],
    created_at=by_time("created_at"),
    country_code=by_text("country_code"),
    party_id=by_text("party_id"),
)


async def party_views(
    db: Db, tenant_id: TenantId, limit: int, after: Position | None
) -> list[tuple[int, OwnPartyView]]:
    """Parties of ours with their keys, oldest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    order = PARTY_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT * FROM roaming_party WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [(row["key"], _party_view(row)) for row in rows]


async def party_view(
    db: Db, tenant_id: TenantId, party: PartyId, *, lock: bool = False
) -> tuple[int, OwnPartyView] | None:
    """A party of ours and its key."""
    row = await db.fetchrow(
        "SELECT * FROM roaming_party WHERE tenant_id = $1 AND upper(country_code) = upper($2)"
        f" AND upper(party_id) = upper($3){' FOR UPDATE' if lock else ''}",
        tenant_id,
        party.country_code,
        party.party_id,
    )
    return None if row is None else (row["key"], _party_view(row))


def _party_view(row: Any) -> OwnPartyView:
    return OwnPartyView(
        country_code=row["country_code"],
        party_id=row["party_id"],
        roles=[PartyRole(role) for role in row["roles"]],
        business_details=_details(row["business_details"]),
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def insert_party(
    db: Db, tenant_id: TenantId, party: PartyId, roles: list[PartyRole], details: BusinessDetails
) -> bool:
    """Adds a party; False where it exists, be it another tenant's."""
    row = await db.fetchrow(
        "INSERT INTO roaming_party (tenant_id, country_code, party_id, roles, business_details) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT DO NOTHING RETURNING key",
        tenant_id,
        party.country_code,
        party.party_id,
        [role.value for role in roles],
        _encode(details).decode(),
    )
    return row is not None


async def update_party(db: Db, key: int, roles: list[PartyRole], details: BusinessDetails) -> None:
    """Replaces what is said of a party."""
    await db.execute(
        "UPDATE roaming_party SET roles = $2, business_details = $3, revision = revision + 1, updated_at = now() WHERE key = $1",
        key,
        [role.value for role in roles],
        _encode(details).decode(),
    )


async def delete_party(db: Db, key: int) -> None:
    """Removes a party."""
    await db.execute("DELETE FROM roaming_party WHERE key = $1", key)


# -- connections -------------------------------------------------------------------------------------------------------


async def registering(db: Db, tenant_id: TenantId, versions_url: str) -> int | None:
    """The connection whose registration at a URL was begun by us and did not succeed, locked; None: there is none."""
    found: int | None = await db.fetchval(
        "SELECT id FROM roaming_connection WHERE tenant_id = $1 AND state = 'registering' AND versions_url = $2"
        " ORDER BY id DESC LIMIT 1 FOR UPDATE",
        tenant_id,
        versions_url,
    )
    return found


async def insert(db: Db, tenant_id: TenantId, columns: Mapping[str, Any]) -> int:
    """A new connection; its id."""
    names = ["tenant_id", *columns]
    places = ", ".join(f"${place}" for place in range(1, len(names) + 1))
    return int(
        await db.fetchval(
            f"INSERT INTO roaming_connection ({', '.join(names)}) VALUES ({places}) RETURNING id",
            tenant_id,
            *columns.values(),
        )
    )


def columns_of(
    *,
    modules: tuple[ModuleUrl, ...] | None = None,
    parties: tuple[PartnerParty, ...] | None = None,
    quirks: Quirks | None = None,
) -> dict[str, Any]:
    """What is stored as JSON, as columns."""
    given = {"modules": modules, "parties": parties, "quirks": quirks}
    return {name: made_storable(_encode(value).decode()) for name, value in given.items() if value is not None}


async def update(db: Db, ident: int, columns: Mapping[str, Any], *, revise: bool = True) -> None:
    """Changes columns of a connection.

    Args:
        revise: it is a change that its readers are to see as one.
    """
    pieces = [f"{name} = ${place}" for place, name in enumerate(columns, 2)]
    if revise:
        pieces += ["revision = revision + 1", "updated_at = now()"]
    await db.execute(f"UPDATE roaming_connection SET {', '.join(pieces)} WHERE id = $1", ident, *columns.values())


async def stored(db: Db, tenant_id: TenantId | None, ident: int, *, lock: bool = False) -> StoredConnection | None:
    """A connection; of any tenant where none is named."""
    where = "c.id = $1" if tenant_id is None else "c.id = $1 AND c.tenant_id = $2"
    values = (ident,) if tenant_id is None else (ident, tenant_id)
    row = await db.fetchrow(
        f"SELECT {_COLUMNS}, {_HEALTH} FROM roaming_connection c WHERE {where}{' FOR UPDATE OF c' if lock else ''}",
        *values,
    )
    return None if row is None else await _stored(db, row)


async def peer(db: Db, ident: int) -> Peer | None:
    """A connection as whoever sends or answers needs it."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM roaming_connection c WHERE c.id = $1", ident)
    return None if row is None else _peer(row, await own_parties(db, row["tenant_id"]))


async def peers(
    db: Db, tenant_id: TenantId | None, *, registered: bool = True, idents: Sequence[int] | None = None
) -> list[Peer]:
    """Connections of a tenant (all tenants' where none is named), oldest first; at most 10,000.

    Args:
        idents: these alone.
    """
    where = Where()
    where.add_if("c.tenant_id = ?", tenant_id)
    where.add_if("c.id = ANY(?::bigint[])", idents)
    if registered:
        where.add("c.state = 'registered'")
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM roaming_connection c WHERE {where} ORDER BY c.id LIMIT 10000", *where.values
    )
    owned: dict[int, list[OwnParty]] = {}
    found = []
    for row in rows:
        tenant = row["tenant_id"]
        if tenant not in owned:
            owned[tenant] = await own_parties(db, tenant)
        found.append(_peer(row, owned[tenant]))
    return found


PARTNER_SORTS: Final = Sorts(
    "c.id",
    name=by_text("c.name"),
    state=by_text("c.state"),
    created_at=by_time("c.created_at"),
    updated_at=by_time("c.updated_at"),
)


async def page(
    db: Db, tenant_id: TenantId, state: str | None, limit: int, after: Position | None
) -> list[StoredConnection]:
    """Connections, newest first; at most `limit`."""
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add_if("c.state = ?", state)
    order = PARTNER_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS}, {_HEALTH} FROM roaming_connection c WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [await _stored(db, row) for row in rows]


async def _stored(db: Db, row: Any) -> StoredConnection:
    plain = {name: row[name] for name in StoredConnection.__struct_fields__ if name != "peer"}
    return StoredConnection(peer=_peer(row, await own_parties(db, row["tenant_id"])), **plain)


def _peer(row: Any, owned: list[OwnParty]) -> Peer:
    chosen = row["own_parties"]
    hub = row["hub_party"]
    return Peer(
        id=row["id"],
        tenant_id=TenantId(row["tenant_id"]),
        name=row["name"],
        state=ConnectionState(row["state"]),
        version=row["version"],
        versions_url=row["versions_url"],
        modules=_modules(row["modules"]),
        parties=_parties(row["parties"]),
        own=tuple(one for one in owned if chosen is None or one.key in chosen),
        own_role=None if row["own_role"] is None else PartyRole(row["own_role"]),
        is_hub=row["is_hub"],
        hub_party=None if hub is None else PartyId(hub[:2], hub[2:]),
        quirks=_quirks(row["quirks"]),
        token_form=None if row["token_form"] is None else TokenForm(row["token_form"]),
    )


async def token(db: Db, ident: int) -> bytes | None:
    """The partner's token, encrypted."""
    found: bytes | None = await db.fetchval("SELECT token FROM roaming_connection WHERE id = $1", ident)
    return found


async def delete(db: Db, ident: int) -> None:
    """Removes a connection with all that hangs on it."""
    await db.execute("DELETE FROM roaming_connection WHERE id = $1", ident)


# -- tokens that we issued ---------------------------------------------------------------------------------------------


async def issue(
    db: Db, connection_id: int, hashed: bytes, kind: str, prefix: str, expires_at: datetime | None = None
) -> None:
    """Writes a token down."""
    await db.execute(
        "INSERT INTO roaming_token (hash, connection_id, kind, prefix, expires_at) VALUES ($1, $2, $3, $4, $5)",
        hashed,
        connection_id,
        kind,
        prefix,
        expires_at,
    )


async def presented(db: Db, hashes: list[bytes]) -> dict[bytes, PresentedToken]:
    """Those of some hashes that are tokens of ours and still hold."""
    rows = await db.fetch(
        "SELECT hash, connection_id, id, kind, used_at IS NOT NULL AS used FROM roaming_token"
        " WHERE hash = ANY ($1) AND (expires_at IS NULL OR expires_at > now())",
        hashes,
    )
    return {
        row["hash"]: PresentedToken(
            connection_id=row["connection_id"], id=row["id"], kind=row["kind"], used=row["used"]
        )
        for row in rows
    }


async def note_use(db: Db, connection_id: int, token_id: int, kind: str) -> None:
    """Notes that a token was used. One that is not an invitation ends all that were issued before it."""
    if kind == INVITE:
        await db.execute("UPDATE roaming_token SET used_at = now() WHERE id = $1 AND used_at IS NULL", token_id)
        return
    await db.execute("UPDATE roaming_token SET used_at = now(), kind = 'current' WHERE id = $1", token_id)
    await db.execute("DELETE FROM roaming_token WHERE connection_id = $1 AND id < $2", connection_id, token_id)


async def confirm(db: Db, hashed: bytes) -> None:
    """An offered token was taken."""
    await db.execute("UPDATE roaming_token SET kind = 'current' WHERE hash = $1", hashed)


async def take_back(db: Db, hashed: bytes) -> None:
    """An offered token was refused, and nobody has come with it."""
    await db.execute("DELETE FROM roaming_token WHERE hash = $1 AND kind = 'offered'", hashed)


async def withdraw(db: Db, connection_id: int, *, keep_newest: int = 4) -> None:
    """Forgets old offers whose outcome was never known."""
    await db.execute(
        "DELETE FROM roaming_token WHERE connection_id = $1 AND kind = 'offered' AND id NOT IN"
        " (SELECT id FROM roaming_token WHERE connection_id = $1 AND kind = 'offered' ORDER BY id DESC LIMIT $2)",
        connection_id,
        keep_newest,
    )


async def forget_unused(db: Db, connection_id: int) -> None:
    """Removes tokens that were issued and never used, invitations apart: the one that follows takes their place."""
    await db.execute(
        "DELETE FROM roaming_token WHERE connection_id = $1 AND kind = 'current' AND used_at IS NULL", connection_id
    )


async def newest_is_unused(db: Db, connection_id: int) -> bool:
    """Whether the partner never came with the token it was given last."""
    found = await db.fetchval(
        "SELECT used_at IS NULL FROM roaming_token WHERE connection_id = $1 AND kind = 'current' ORDER BY id DESC LIMIT 1",
        connection_id,
    )
    return bool(found)


async def delete_tokens(db: Db, connection_id: int, kind: str | None = None) -> None:
    """Removes tokens of a connection: all, or those of a kind."""
    await db.execute(
        "DELETE FROM roaming_token WHERE connection_id = $1 AND ($2::text IS NULL OR kind = $2)", connection_id, kind
    )


async def issued(db: Db, connection_id: int) -> list[IssuedToken]:
    """Tokens that a partner may come with, newest first."""
    rows = await db.fetch(
        "SELECT prefix, kind, created_at, used_at, expires_at FROM roaming_token WHERE connection_id = $1 ORDER BY id DESC",
        connection_id,
    )
    return [IssuedToken(**row) for row in rows]


# -- health ------------------------------------------------------------------------------------------------------------


async def module_states(db: Db, connection_id: int) -> list[ModuleState]:
    """How each module does."""
    rows = await db.fetch(
        "SELECT module, s.pulled_at, s.pulled_until, s.pulled_count, s.pushed_at, s.failed_at, s.error,"
        " extract(epoch FROM now() - s.pulled_at)::float8 AS pulled_lag_s, coalesce(o.waiting, 0) AS waiting, o.waiting_since"
        " FROM (SELECT * FROM roaming_module_state WHERE connection_id = $1) s FULL JOIN"
        " (SELECT module, count(*) AS waiting, min(noted_at) AS waiting_since FROM roaming_outgoing"
        " WHERE connection_id = $1 AND parked_at IS NULL GROUP BY module) o USING (module) ORDER BY module",
        connection_id,
    )
    return [ModuleState(**row) for row in rows]


async def pulled(db: Db, connection_id: int, module: str, until: datetime | None, count: int) -> None:
    """A module's list was read to the end; of a partner that was removed meanwhile nothing is noted."""
    await db.execute(
        "INSERT INTO roaming_module_state AS s (connection_id, module, pulled_at, pulled_until, pulled_count)"
        " SELECT id, $2, now(), $3, $4 FROM roaming_connection WHERE id = $1 ON CONFLICT (connection_id, module) DO UPDATE SET pulled_at = now(),"
        " pulled_until = coalesce(excluded.pulled_until, s.pulled_until), pulled_count = excluded.pulled_count,"
        " error = NULL, failed_at = NULL",
        connection_id,
        module,
        until,
        count,
    )


async def pushed(db: Db, connection_id: int, module: str) -> None:
    """Something of a module was taken."""
    await db.execute(
        "INSERT INTO roaming_module_state (connection_id, module, pushed_at)"
        " SELECT id, $2, now() FROM roaming_connection WHERE id = $1"
        " ON CONFLICT (connection_id, module) DO UPDATE SET pushed_at = now(), error = NULL, failed_at = NULL",
        connection_id,
        module,
    )


async def module_failed(db: Db, connection_id: int, module: str, error: str) -> None:
    """Something of a module failed."""
    await db.execute(
        "INSERT INTO roaming_module_state (connection_id, module, failed_at, error)"
        " SELECT id, $2, now(), $3 FROM roaming_connection WHERE id = $1"
        " ON CONFLICT (connection_id, module) DO UPDATE SET failed_at = now(), error = excluded.error",
        connection_id,
        module,
        made_storable(error, 500),
    )


async def heard(db: Db, connection_ids: list[int]) -> None:
    """Partners asked us something."""
    await db.execute("UPDATE roaming_connection SET heard_at = now() WHERE id = ANY ($1)", connection_ids)


async def answering(db: Db, connection_id: int) -> None:
    """A partner answered: it is well."""
    await db.execute(
        "UPDATE roaming_connection SET answered_at = now(), failing_since = NULL, failures = 0, paused_until = NULL"
        " WHERE id = $1",
        connection_id,
    )


async def answered_within(db: Db, connection_id: int, seconds: float) -> bool:
    """Whether a partner answered anything sensible lately."""
    found = await db.fetchval(
        "SELECT answered_at > now() - make_interval(secs => $2) FROM roaming_connection WHERE id = $1",
        connection_id,
        seconds,
    )
    return bool(found)


async def failing(db: Db, connection_id: int, failures: int, pause_s: float | None) -> datetime | None:
    """A partner failed; since when it does."""
    found: datetime | None = await db.fetchval(
        "UPDATE roaming_connection SET failures = $2, failing_since = coalesce(failing_since, now()),"
        " paused_until = CASE WHEN $3::float8 IS NULL THEN NULL ELSE now() + make_interval(secs => $3::float8) END"
        " WHERE id = $1 RETURNING failing_since",
        connection_id,
        failures,
        pause_s,
    )
    return found


async def hub_that_brought(db: Db, tenant_id: TenantId, party: PartyId) -> int | None:
    """The registered hub by which locations of a party came."""
    found: int | None = await db.fetchval(
        "SELECT c.id FROM roaming_connection c WHERE c.tenant_id = $1 AND c.is_hub AND c.state = 'registered' AND EXISTS"
        " (SELECT FROM partner_location l WHERE l.tenant_id = $1 AND l.country_code = $2 AND l.party_id = $3"
        " AND l.connection_id = c.id) ORDER BY c.id LIMIT 1",
        tenant_id,
        party.country_code.upper(),
        party.party_id.upper(),
    )
    return found
