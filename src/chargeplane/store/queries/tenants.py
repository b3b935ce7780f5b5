"""Tenants."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from chargeplane.domain.cdrs.session import SignedPolicy
from chargeplane.domain.local_lists import ListPolicy
from chargeplane.domain.token_rules import TRUSTED
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time, like
from chargeplane.store.queries.payloads import json_object


class PublicDataSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """That a tenant's published locations, prices and status are there for everybody, and in whose name.

    Args:
        country: ISO 3166-1 alpha-2, of the national access point.
        national_id: by which it knows the publisher.
        party_id: of the operator, as in EVSE ids.
        language: ISO 639-1, of names and addresses.
    """

    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}$")]
    national_id: Annotated[str, Meta(min_length=1, max_length=255)]
    party_id: Annotated[str, Meta(pattern=r"^[A-Z0-9]{3}$")] | None = None
    language: Annotated[str, Meta(pattern=r"^[a-z]{2}$")] = "en"


class TenantSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the server treats a tenant's stations; what is absent follows the installation.

    Args:
        unknown_stations: a station that is not registered is refused, or registered as pending, without a password, until an
            operator accepts or rejects it.
        heartbeat_interval_s: given in the answer to an accepted boot; a station's own setting goes before it.
        master_pass_group_id: id tokens of this group stop any transaction and begin none (OCPP 2.0.1 C16).
        trusted_token_types: id tokens of these types are accepted without being registered: the station vouches for them.
        authorization_cache_s: how long a station may go by what it was told of an id token; absent: as long as the token
            is valid.
        stop_deauthorized: a running transaction is stopped when its id token is blocked, expires or is removed; else
            it goes on to its end.
        local_list: which id tokens belong on the stations' local lists.
        show_costs: stations are told what a session costs so far, where a tariff holds; a station's own setting goes before it.
        signed_meter_values: whether signed values of stations' meters are ignored, shown, or required: what they do not prove is
            then held.
        trust_station_keys: public keys of meters that stations send along count as registered.
        public_data: published locations, prices and status are there for everybody; absent: they are not.
    """

    unknown_stations: Literal["refuse", "pending"] = "refuse"
    heartbeat_interval_s: Annotated[int, Meta(ge=1, le=604_800)] | None = None
    master_pass_group_id: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    trusted_token_types: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=20)], ...], Meta(max_length=20)
    ] = TRUSTED
    authorization_cache_s: Annotated[int, Meta(ge=0, le=31_536_000)] | None = None
    stop_deauthorized: bool = False
    local_list: ListPolicy | None = None
    show_costs: bool = True
    signed_meter_values: SignedPolicy = SignedPolicy.SHOW
    trust_station_keys: bool = False
    public_data: PublicDataSettings | None = None


class TenantView(Struct, frozen=True, kw_only=True):
    """A tenant.

    Args:
        slug: first path segment of its stations' addresses, `/ocpp/{slug}/{station_id}`.
    """

    slug: str
    name: str
    settings: TenantSettings
    created_at: datetime


_COLUMNS = "slug, name, settings, created_at"


def _view(row: Any) -> TenantView:
    return TenantView(
        slug=row["slug"],
        name=row["name"],
        settings=msgspec.convert(json_object(row["settings"]), TenantSettings),
        created_at=row["created_at"],
    )


TENANT_SORTS: Final = Sorts(
    'slug COLLATE "C"',
    ident_kinds=(str,),
    ident_name="slug",
    default="slug",
    ident_of=lambda one: (one.slug,),
    name=by_text("name"),
    created_at=by_time("created_at"),
)


async def page(db: Db, q: str | None, limit: int, after: Position | None) -> list[TenantView]:
    """Tenants in the order of their slugs."""
    where = Where()
    if q is not None:
        where.add("(lower(slug) LIKE ? OR lower(name) LIKE ?)", like(q), like(q))
    order = TENANT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM tenant WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [_view(row) for row in rows]


async def by_slug(db: Db, slug: str) -> TenantView | None:
    """The tenant with this slug."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM tenant WHERE slug = $1", slug)
    return None if row is None else _view(row)


async def id_of(db: Db, slug: str) -> TenantId | None:
    """Our key of the tenant with this slug."""
    found: TenantId | None = await db.fetchval("SELECT id FROM tenant WHERE slug = $1", slug)
    return found


async def slug_of(db: Db, tenant_id: TenantId) -> str:
    """The first path segment of a tenant's stations' addresses."""
    found: str = await db.fetchval("SELECT slug FROM tenant WHERE id = $1", tenant_id)
    return found


async def name_of(db: Db, tenant_id: TenantId) -> str:
    """What a tenant is called by people."""
    found: str = await db.fetchval("SELECT name FROM tenant WHERE id = $1", tenant_id)
    return found


async def insert(db: Db, slug: str, name: str, settings: TenantSettings) -> TenantView:
    """A new tenant."""
    row = await db.fetchrow(
        f"INSERT INTO tenant (slug, name, settings) VALUES ($1, $2, $3::text::jsonb) RETURNING {_COLUMNS}",
        slug,
        name,
        msgspec.json.encode(settings).decode(),
    )
    assert row is not None
    return _view(row)


async def locked(db: Db, slug: str) -> TenantView | None:
    """The tenant with this slug, locked until the transaction ends."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM tenant WHERE slug = $1 FOR UPDATE", slug)
    return None if row is None else _view(row)


async def update(db: Db, slug: str, name: str, settings: TenantSettings) -> TenantView:
    """Gives a tenant its name and settings."""
    row = await db.fetchrow(
        f"UPDATE tenant SET name = $2, settings = $3::text::jsonb WHERE slug = $1 RETURNING {_COLUMNS}",
        slug,
        name,
        msgspec.json.encode(settings).decode(),
    )
    assert row is not None
    return _view(row)
