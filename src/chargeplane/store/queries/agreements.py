"""Service agreements: rows, versions, what they are found by.

A row holds the agreement as it was last written. What time did since is worked out by `domain.agreements.clock`; the one place where SQL
must know it too, the filter by state, is `_STATE_NOW`, which a test holds against the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.agreements.clock import due_at, renews, start_of
from chargeplane.domain.agreements.model import (
    Acceptance,
    Agreement,
    AgreementKind,
    AgreementState,
    Notice,
    Party,
    PartyRole,
    Suspension,
    Terms,
    Version,
    VersionState,
)
from chargeplane.domain.agreements.scope import keys_of, places_of
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Key, Position, Sorts, Where, by_text, by_time, like


class Stored(Struct, frozen=True, kw_only=True):
    """An agreement with what is beside it in its row.

    Args:
        external_ids: by the names of other systems.
    """

    agreement: Agreement
    external_ids: dict[str, str]
    metadata: dict[str, Any]
    revision: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class AgreementFilter(Struct, frozen=True, kw_only=True):
    """Which agreements.

    Args:
        state: as of `now`.
        party: id of a party of any role.
        covers: keys of whom or where they cover (`domain.agreements.scope`).
        ends_before: not included.
    """

    now: datetime
    state: AgreementState | None = None
    kind: AgreementKind | None = None
    party: str | None = None
    covers: str | None = None
    ends_before: datetime | None = None
    q: str | None = None


_COLUMNS: Final = (
    "id, tenant_id, number, name, kind, currency, time_zone, state, state_reason, version, parties, starts_at, ends_at, accepted_at,"
    " begun_at, renewals, renewed_from, renewed_months, suspensions, notice, supersedes, external_ids, metadata, revision, created_at,"
    " created_by, updated_at, updated_by"
)

_STATE_NOW: Final = """CASE
    WHEN state = 'accepted' AND ends_at <= {now} AND (begins_at IS NULL OR begins_at >= ends_at) THEN 'ended'
    WHEN state = 'accepted' AND begins_at <= {now} AND NOT renews AND ends_at <= {now} THEN 'ended'
    WHEN state = 'accepted' AND begins_at <= {now} THEN 'active'
    WHEN state IN ('active', 'suspended') AND ends_at <= {now} AND NOT renews THEN 'ended'
    WHEN state = 'ending' AND ends_at <= {now} THEN 'ended'
    ELSE state END"""

_WRITTEN_AS: Final = {
    AgreementState.ACTIVE: ("active", "accepted"),
    AgreementState.ENDED: ("ended", "accepted", "active", "suspended", "ending"),
}
"""What may stand in the rows of agreements that are in a state now."""

_FOREVER: Final = "'infinity'::timestamptz"

_parties = msgspec.json.Decoder(tuple[Party, ...]).decode
_suspensions = msgspec.json.Decoder(tuple[Suspension, ...]).decode
_notice = msgspec.json.Decoder(Notice).decode
_terms = msgspec.json.Decoder(Terms).decode
_acceptances = msgspec.json.Decoder(tuple[Acceptance, ...]).decode
_texts = msgspec.json.Decoder(dict[str, str]).decode
_anything = msgspec.json.Decoder(dict[str, Any]).decode


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _stored(row: Any, versions: Sequence[Version]) -> Stored:
    agreement = Agreement(
        id=row["id"],
        number=row["number"],
        name=row["name"],
        kind=AgreementKind(row["kind"]),
        state=AgreementState(row["state"]),
        state_reason=row["state_reason"],
        currency=row["currency"],
        time_zone=row["time_zone"],
        version=row["version"],
        versions=tuple(versions),
        parties=_parties(row["parties"]),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        accepted_at=row["accepted_at"],
        begun_at=row["begun_at"],
        suspensions=_suspensions(row["suspensions"]),
        notice=None if row["notice"] is None else _notice(row["notice"]),
        renewals=row["renewals"],
        renewed_from=row["renewed_from"],
        renewed_months=row["renewed_months"],
        supersedes=row["supersedes"],
    )
    return Stored(
        agreement=agreement,
        external_ids=_texts(row["external_ids"]),
        metadata=_anything(row["metadata"]),
        revision=row["revision"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        updated_at=row["updated_at"],
        updated_by=row["updated_by"],
    )


def _version(row: Any, prefix: str = "") -> Version:
    proposed_by = row[f"{prefix}proposed_by"]
    return Version(
        version=row[f"{prefix}version"],
        state=VersionState(row[f"{prefix}state"]),
        terms=_terms(row[f"{prefix}terms"]),
        effective_at=row[f"{prefix}effective_at"],
        reason=row[f"{prefix}reason"],
        proposed_by=None if proposed_by is None else PartyRole(proposed_by),
        proposed_at=row[f"{prefix}proposed_at"],
        hash=row[f"{prefix}hash"],
        acceptances=_acceptances(row[f"{prefix}acceptances"]),
    )


async def _with_versions(db: Db, rows: Sequence[Any]) -> list[Stored]:
    found: dict[int, list[Version]] = {row["id"]: [] for row in rows}
    if rows:
        for row in await db.fetch(
            "SELECT agreement_id, version, state, terms, effective_at, reason, proposed_by, proposed_at, hash, acceptances"
            " FROM service_agreement_version WHERE agreement_id = ANY($1) ORDER BY agreement_id, version",
            list(found),
        ):
            found[row["agreement_id"]].append(_version(row))
    return [_stored(row, found[row["id"]]) for row in rows]


async def serialise(db: Db, tenant_id: TenantId) -> None:
    """Lets one change at a time look for ties among a tenant's agreements, until the transaction ends."""
    await db.execute("SELECT pg_advisory_xact_lock(hashtextextended('service agreements', $1))", tenant_id)


async def one(db: Db, tenant_id: TenantId, ident: int, *, lock: bool = False) -> Stored | None:
    """An agreement by our id.

    Args:
        lock: until the transaction ends.
    """
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM service_agreement WHERE tenant_id = $1 AND id = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        ident,
    )
    return None if row is None else (await _with_versions(db, [row]))[0]


async def many(db: Db, tenant_id: TenantId, idents: Iterable[int]) -> list[Stored]:
    """Agreements by our ids."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM service_agreement WHERE tenant_id = $1 AND id = ANY($2)", tenant_id, list(idents)
    )
    return await _with_versions(db, rows)


AGREEMENT_SORTS: Final = Sorts(
    "id",
    ident_of=lambda pair: (pair[0].agreement.id,),
    item=lambda pair: pair[0].agreement,
    number=by_text("number"),
    starts_at=by_time("starts_at", missing=True),
    ends_at=Key(column="ends_at", kind=datetime, missing=_FOREVER),  # those without end end last
)


async def page(
    db: Db, tenant_id: TenantId, wanted: AgreementFilter, limit: int, after: Position | None
) -> list[Stored]:
    """Agreements, the newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    if wanted.state is not None:
        where.add("state = ANY(?)", list(_WRITTEN_AS.get(wanted.state, (wanted.state.value,))))
        where.values.append(wanted.now)
        where.conditions.append(
            f"{_STATE_NOW.format(now=f'${len(where.values)}::timestamptz')} = '{wanted.state.value}'"
        )
    where.add_if("kind = ?", None if wanted.kind is None else wanted.kind.value)
    where.add_if("party_ids @> ARRAY[?::text]", None if wanted.party is None else wanted.party.casefold())
    where.add_if(
        "id IN (SELECT k.agreement_id FROM service_agreement_key k WHERE k.tenant_id = service_agreement.tenant_id AND k.key = ?)",
        wanted.covers,
    )
    where.add_if("ends_at < ?", wanted.ends_before)
    where.add_if("search LIKE ?", None if wanted.q is None else like(wanted.q))
    order = AGREEMENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM service_agreement WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return await _with_versions(db, rows)


async def insert(db: Db, tenant_id: TenantId, stored: Stored) -> Stored:
    """A new agreement; `agreement.id` is made here, and the number where it is empty.

    Raises:
        asyncpg.UniqueViolationError: the tenant has one with this number.
    """
    ident: int = await db.fetchval("SELECT nextval(pg_get_serial_sequence('service_agreement', 'id'))")
    agreement = msgspec.structs.replace(stored.agreement, id=ident, number=stored.agreement.number or f"A-{ident:06d}")
    columns = {"id": ident, "tenant_id": tenant_id, "created_by": stored.created_by, **_columns(stored, agreement)}
    places = ", ".join(_place(name, number) for number, name in enumerate(columns, 1))
    await db.execute(
        f"INSERT INTO service_agreement ({', '.join(columns)}) OVERRIDING SYSTEM VALUE VALUES ({places})",
        *columns.values(),
    )
    await _write_versions(db, tenant_id, agreement, {})
    written = await one(db, tenant_id, ident)
    assert written is not None  # it was just written
    return written


async def update(db: Db, tenant_id: TenantId, before: Stored, after: Stored, *, revision: bool = True) -> Stored:
    """Writes what changed.

    Args:
        before: as it was read, and locked.
        revision: raise it; the clock does not.
    Raises:
        asyncpg.UniqueViolationError: the tenant has another with this number.
    """
    agreement = after.agreement
    columns = _columns(after, agreement)
    changes = [f"{name} = {_place(name, number)}" for number, name in enumerate(columns, 3)]
    await db.execute(
        f"UPDATE service_agreement SET {', '.join(changes)}, updated_at = now(), revision = revision + {int(revision)}"
        " WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        agreement.id,
        *columns.values(),
    )
    known = {version.version: version for version in before.agreement.versions}
    await _write_versions(db, tenant_id, agreement, known, refind=before.agreement.parties != agreement.parties)
    written = await one(db, tenant_id, agreement.id)
    assert written is not None  # it is locked
    return written


async def delete(db: Db, tenant_id: TenantId, ident: int) -> None:
    """Removes an agreement with its versions."""
    await db.execute("DELETE FROM service_agreement WHERE tenant_id = $1 AND id = $2", tenant_id, ident)


_USED_UP: Final = ("kwh_per_month", "concurrent_sessions", "credit")


def _columns(stored: Stored, agreement: Agreement) -> dict[str, Any]:
    return {
        "number": agreement.number,
        "name": agreement.name,
        "kind": agreement.kind.value,
        "currency": agreement.currency,
        "time_zone": agreement.time_zone,
        "state": agreement.state.value,
        "state_reason": agreement.state_reason,
        "version": agreement.version,
        "parties": _json(agreement.parties),
        "party_ids": sorted({party.id.casefold() for party in agreement.parties if party.id is not None}),
        "starts_at": agreement.starts_at,
        "ends_at": agreement.ends_at,
        "accepted_at": agreement.accepted_at,
        "begins_at": start_of(agreement),
        "begun_at": agreement.begun_at,
        "renews": renews(agreement),
        "renewals": agreement.renewals,
        "renewed_from": agreement.renewed_from,
        "renewed_months": agreement.renewed_months,
        "suspensions": _json(agreement.suspensions),
        "notice": None if agreement.notice is None else _json(agreement.notice),
        "supersedes": agreement.supersedes,
        "due_at": due_at(agreement),
        "limited": any(
            getattr(version.terms.limits, name) is not None for version in agreement.versions for name in _USED_UP
        ),
        "external_ids": _json(stored.external_ids),
        "metadata": _json(stored.metadata),
        "updated_by": stored.updated_by,
    }


_JSON_COLUMNS: Final = frozenset({"parties", "suspensions", "notice", "external_ids", "metadata"})


def _place(name: str, number: int) -> str:
    return f"${number}::text::jsonb" if name in _JSON_COLUMNS else f"${number}"


async def _write_versions(
    db: Db, tenant_id: TenantId, agreement: Agreement, known: dict[int, Version], *, refind: bool = False
) -> None:
    for version in agreement.versions:
        before = known.get(version.version)
        if before != version:
            await db.execute(
                "INSERT INTO service_agreement_version (agreement_id, version, state, terms, effective_at, reason, proposed_by,"
                " proposed_at, hash, acceptances) VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7, $8, $9, $10::text::jsonb)"
                " ON CONFLICT (agreement_id, version) DO UPDATE SET state = excluded.state, terms = excluded.terms,"
                " effective_at = excluded.effective_at, reason = excluded.reason, proposed_by = excluded.proposed_by,"
                " proposed_at = excluded.proposed_at, hash = excluded.hash, acceptances = excluded.acceptances",
                agreement.id,
                version.version,
                version.state.value,
                _json(version.terms),
                version.effective_at,
                version.reason,
                None if version.proposed_by is None else version.proposed_by.value,
                version.proposed_at,
                version.hash,
                _json(version.acceptances),
            )
        if before is None or refind or before.terms != version.terms:
            await db.execute(
                "DELETE FROM service_agreement_key WHERE agreement_id = $1 AND version = $2",
                agreement.id,
                version.version,
            )
            await db.execute(
                "INSERT INTO service_agreement_key (tenant_id, key, agreement_id, version, places)"
                " SELECT $1, k, $2, $3, $4 FROM unnest($5::text[]) k",
                tenant_id,
                agreement.id,
                version.version,
                list(places_of(version.terms)),
                list(dict.fromkeys(keys_of(version.terms, agreement.parties))),
            )


_MATTERS: Final = ("accepted", "active", "suspended", "ending", "ended", "closed")


async def candidates(
    db: Db, tenant_id: TenantId, keys: Sequence[str], places: Sequence[str] | None, most: int
) -> list[Stored]:
    """Agreements that were agreed on and may cover what is asked, by the index of what they are found by.

    Args:
        places: keys of the place; None: any.
        most: those made last, at most.
    """
    rows = await db.fetch(
        f"WITH found AS (SELECT {_COLUMNS} FROM service_agreement WHERE id IN (SELECT k.agreement_id FROM service_agreement_key k"
        " WHERE k.tenant_id = $1 AND k.key = ANY($2) AND ($3::text[] IS NULL OR k.places && $3))"
        " AND tenant_id = $1 AND state = ANY($4) ORDER BY state IN ('ended', 'closed'), id DESC LIMIT $5)"
        " SELECT found.*, v.version AS v_version, v.state AS v_state, v.terms AS v_terms, v.effective_at AS v_effective_at,"
        " v.reason AS v_reason, v.proposed_by AS v_proposed_by, v.proposed_at AS v_proposed_at, v.hash AS v_hash,"
        " v.acceptances AS v_acceptances FROM found JOIN service_agreement_version v ON v.agreement_id = found.id"
        " ORDER BY found.id, v.version",
        tenant_id,
        list(keys),
        None if places is None else list(places),
        list(_MATTERS),
        most,
    )
    return [
        _stored(first, [_version(first, "v_"), *(_version(row, "v_") for row in others)])
        for first, *others in (list(group) for _, group in groupby(rows, key=itemgetter("id")))
    ]


async def due(db: Db, now: datetime, most: int) -> list[tuple[TenantId, int]]:
    """Agreements for which the clock has something to do, the oldest first."""
    rows = await db.fetch(
        "SELECT tenant_id, id FROM service_agreement WHERE due_at <= $1 ORDER BY due_at LIMIT $2", now, most
    )
    return [(TenantId(row["tenant_id"]), row["id"]) for row in rows]


async def locked_if_free(db: Db, tenant_id: TenantId, ident: int) -> Stored | None:
    """An agreement, locked; None where somebody else changes it now."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM service_agreement WHERE tenant_id = $1 AND id = $2 FOR UPDATE SKIP LOCKED",
        tenant_id,
        ident,
    )
    return None if row is None else (await _with_versions(db, [row]))[0]


async def others_of_consumer(db: Db, tenant_id: TenantId, ident: int, party_ids: Sequence[str], now: datetime) -> bool:
    """Whether a party has another agreement that is agreed on and not over."""
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM service_agreement WHERE tenant_id = $1 AND id <> $2 AND party_ids && $3::text[]"
        f" AND {_STATE_NOW.format(now='$4::timestamptz')} IN ('accepted', 'active', 'suspended', 'ending'))",
        tenant_id,
        ident,
        list(party_ids),
        now,
    )
    return found
