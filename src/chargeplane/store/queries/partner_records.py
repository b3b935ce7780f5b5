"""Sessions and CDRs of partners, as rows that are listed and worked on; their documents stand in `partner_object`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.authorization import token_key
from chargeplane.domain.cdrs.cdr import SignedSummary
from chargeplane.domain.roaming.checking import Check, Verdict, check_of, check_text
from chargeplane.domain.roaming.disputes import Dispute, DisputeState, dispute_of, dispute_text
from chargeplane.domain.roaming.own_tokens import own_contract
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_time

_signed = msgspec.json.Decoder(SignedSummary).decode
_encode: Final = msgspec.json.Encoder().encode


class OurToken(Struct, frozen=True):
    """An id token of ours that a partner names."""

    id: int
    id_token: str
    type: str | None
    driver_id: int | None


async def our_tokens(db: Db, asked: Sequence[tuple[int, str, str | None]]) -> dict[tuple[int, str], OurToken]:
    """Our id tokens by (tenant, uid in lower case), accepted ones before others; those that are none of ours are absent.

    Args:
        asked: (tenant, uid, contract id). OCPI 2.1.1 tells the contract alone, perhaps in place of the uid; then it is one of its tokens.
    """
    if not asked:
        return {}
    rows = await db.fetch(
        "SELECT DISTINCT ON (w.tenant_id, w.uid) w.tenant_id, w.uid, i.id, i.id_token, i.type, d.driver_id"
        " FROM unnest($1::int[], $2::text[], $3::text[]) AS w(tenant_id, uid, key)"
        " JOIN id_token i ON i.tenant_id = w.tenant_id AND i.token_key = w.key"
        " LEFT JOIN driver_id_token d ON d.id_token_id = i.id AND d.confirmed_at IS NOT NULL"
        " ORDER BY w.tenant_id, w.uid, i.status = 'Accepted' DESC, i.id",
        [one[0] for one in asked],
        [one[1].lower() for one in asked],
        [token_key(one[1]) for one in asked],
    )
    found = {(row["tenant_id"], row["uid"]): _token(row) for row in rows}
    lacking = [one for one in asked if (one[0], one[1].lower()) not in found]
    if lacking:
        rows = await db.fetch(
            "SELECT DISTINCT ON (w.tenant_id, w.uid) w.tenant_id, w.uid, i.id, i.id_token, i.type, d.driver_id"
            " FROM unnest($1::int[], $2::text[], $3::text[]) AS w(tenant_id, uid, contract)"
            " JOIN provider_token k ON k.tenant_id = w.tenant_id AND k.contract_key IN (w.uid, w.contract)"
            " JOIN id_token i ON i.id = k.id_token_id"
            " LEFT JOIN driver_id_token d ON d.id_token_id = i.id AND d.confirmed_at IS NOT NULL"
            " ORDER BY w.tenant_id, w.uid, i.status = 'Accepted' DESC, k.type = 'RFID' DESC, i.id",
            [one[0] for one in lacking],
            [one[1].lower() for one in lacking],
            [(one[2] or one[1]).lower() for one in lacking],
        )
        found |= {(row["tenant_id"], row["uid"]): _token(row) for row in rows}
    # A contract of a driver's that begins to charge at once may come back before partners were told of any token of it.
    made = [
        (one, contract)
        for one in lacking
        if (one[0], one[1].lower()) not in found and (contract := own_contract(one[2] or one[1])) is not None
    ]
    if made:
        rows = await db.fetch(
            "SELECT DISTINCT ON (w.tenant_id, w.uid) w.tenant_id, w.uid, i.id, i.id_token, i.type, d.driver_id"
            " FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS w(tenant_id, uid, party, driver, token)"
            " JOIN roaming_party p ON p.tenant_id = w.tenant_id AND upper(p.country_code) || upper(p.party_id) = w.party"
            " LEFT JOIN driver_id_token o ON o.tenant_id = w.tenant_id AND o.driver_id = w.driver AND o.confirmed_at IS NOT NULL"
            " JOIN id_token i ON i.tenant_id = w.tenant_id AND i.id = coalesce(w.token, o.id_token_id)"
            " LEFT JOIN driver_id_token d ON d.id_token_id = i.id AND d.confirmed_at IS NOT NULL"
            " ORDER BY w.tenant_id, w.uid, i.status = 'Accepted' DESC, i.id",
            [one[0] for one, _ in made],
            [one[1].lower() for one, _ in made],
            [contract.party for _, contract in made],
            [contract.driver_id for _, contract in made],
            [contract.id_token_id for _, contract in made],
        )
        found |= {(row["tenant_id"], row["uid"]): _token(row) for row in rows}
    return found


def _token(row: Any) -> OurToken:
    return OurToken(row["id"], row["id_token"], row["type"], row["driver_id"])


class NewSession(Struct, frozen=True, kw_only=True):
    """A partner's session as it is written."""

    object_key: int
    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str
    id: str
    status: str
    location_id: str
    evse_uid: str
    connector_id: str | None
    token_uid: str
    id_token_id: int | None
    driver_id: int | None
    reference: str | None
    started_at: datetime
    ended_at: datetime | None
    kwh: Decimal
    currency: str
    cost_excl: Decimal | None
    cost_incl: Decimal | None
    last_updated: datetime


class PartnerSession(NewSession, frozen=True, kw_only=True):
    """A partner's session.

    Args:
        location_name, evse_id: of our copy of the Location; None where we have none.
        partner: country code and party, as `DE*ABC`.
        profile: JSON: its active charging profile as the partner told it last.
    """

    location_name: str | None
    city: str | None
    partner: str
    profile: bytes | None = None


_SESSION_FIELDS: Final = NewSession.__struct_fields__
_SESSION_TYPES: Final = {
    "object_key": "bigint",
    "tenant_id": "int",
    "connection_id": "bigint",
    "id_token_id": "bigint",
    "driver_id": "bigint",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "last_updated": "timestamptz",
    "kwh": "numeric",
    "cost_excl": "numeric",
    "cost_incl": "numeric",
}
_PUT_SESSIONS: Final = (
    f"INSERT INTO received_session ({', '.join(_SESSION_FIELDS)}) SELECT * FROM unnest("
    + ", ".join(f"${n}::{_SESSION_TYPES.get(name, 'text')}[]" for n, name in enumerate(_SESSION_FIELDS, 1))
    + ") ON CONFLICT (object_key) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _SESSION_FIELDS if name not in ("object_key", "tenant_id"))
    + ", updated_at = now()"
)


async def put_sessions(db: Db, sessions: Sequence[NewSession]) -> None:
    """Writes sessions, new ones and changed ones."""
    await db.execute(_PUT_SESSIONS, *([getattr(one, name) for one in sessions] for name in _SESSION_FIELDS))


_SESSION: Final = (
    ", ".join(f"s.{name}" for name in _SESSION_FIELDS)
    + ", l.name AS location_name, l.city, s.country_code || '*' || s.party_id AS partner, s.profile"
)
_OF_SESSION: Final = (
    "received_session s LEFT JOIN partner_location l ON l.tenant_id = s.tenant_id AND l.country_code = s.country_code"
    " AND l.party_id = s.party_id AND l.id_key = lower(s.location_id)"
)


PARTNER_SESSION_SORTS: Final = Sorts(
    "s.object_key",
    ident_name=None,
    default="-started_at",
    ident_of=lambda one: (one.object_key,),
    started_at=by_time("s.started_at"),
    kwh=by_number("s.kwh", Decimal),
)


async def sessions(
    db: Db,
    tenant_id: TenantId,
    limit: int,
    after: Position | None,
    *,
    driver_id: int | None = None,
    connection_id: int | None = None,
    status: str | None = None,
) -> list[PartnerSession]:
    """Partners' sessions, the one that began last first.

    Args:
        after: (start, key).
    """
    where = Where()
    where.add("s.tenant_id = ?", tenant_id)
    where.add_if("s.driver_id = ?", driver_id)
    where.add_if("s.connection_id = ?", connection_id)
    where.add_if("s.status = ?", status)
    order = PARTNER_SESSION_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_SESSION} FROM {_OF_SESSION} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [PartnerSession(**row) for row in rows]


async def session(db: Db, tenant_id: TenantId, key: int) -> PartnerSession | None:
    """One session by our key; None where there is none."""
    row = await db.fetchrow(
        f"SELECT {_SESSION} FROM {_OF_SESSION} WHERE s.tenant_id = $1 AND s.object_key = $2", tenant_id, key
    )
    return None if row is None else PartnerSession(**row)


async def session_by_reference(db: Db, tenant_id: TenantId, reference: str) -> PartnerSession | None:
    """The session that a reference of ours began; None where none came yet."""
    row = await db.fetchrow(
        f"SELECT {_SESSION} FROM {_OF_SESSION} WHERE s.tenant_id = $1 AND s.reference = $2 ORDER BY s.object_key DESC LIMIT 1",
        tenant_id,
        reference,
    )
    return None if row is None else PartnerSession(**row)


async def latest_at(db: Db, at: PartnerSession) -> int | None:
    """Our key of the session that began last at the same EVSE."""
    found: int | None = await db.fetchval(
        "SELECT object_key FROM received_session WHERE tenant_id = $1 AND country_code = $2 AND party_id = $3"
        " AND evse_uid = $4 ORDER BY started_at DESC, object_key DESC LIMIT 1",
        at.tenant_id,
        at.country_code,
        at.party_id,
        at.evse_uid,
    )
    return found


class NewPartnerCdr(Struct, frozen=True, kw_only=True):
    """A partner's CDR as it is written when it comes."""

    object_key: int
    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str
    id: str
    session_id: str | None
    credit: bool
    credits: str | None
    reference: str | None
    location_id: str
    evse_uid: str
    token_uid: str
    id_token_id: int | None
    driver_id: int | None
    started_at: datetime
    ended_at: datetime
    kwh: Decimal
    currency: str
    total_excl: Decimal
    total_incl: Decimal | None
    booking_id: str | None = None


class PartnerCdr(NewPartnerCdr, frozen=True, kw_only=True):
    """A partner's CDR with what became of it.

    Args:
        cdr_id: ours, by which the driver is billed.
        signed: what its signed meter values prove; None: it has none.
    """

    received_at: datetime
    verdict: Verdict
    check: Check | None
    dispute_state: DisputeState | None
    dispute: Dispute
    cdr_id: int | None
    posted_at: datetime | None
    revision: int
    credited_by: int | None
    signed: SignedSummary | None = None


_CDR_FIELDS: Final = NewPartnerCdr.__struct_fields__
_CDR: Final = (
    ", ".join(f"c.{name}" for name in _CDR_FIELDS)
    + ", c.received_at, c.verdict, c.check_body, c.dispute, c.dispute_body, c.cdr_id, c.posted_at, c.revision, c.signed,"
    " (SELECT min(k.object_key) FROM checked_cdr k WHERE k.tenant_id = c.tenant_id AND k.country_code = c.country_code"
    " AND k.party_id = c.party_id AND lower(k.credits) = lower(c.id) AND k.credits IS NOT NULL) AS credited_by"
)


def _cdr(row: Any) -> PartnerCdr:
    said = dict(row)
    return PartnerCdr(
        **{name: said[name] for name in _CDR_FIELDS},
        received_at=said["received_at"],
        verdict=Verdict(said["verdict"]),
        check=check_of(said["check_body"]),
        dispute_state=None if said["dispute"] is None else DisputeState(said["dispute"]),
        dispute=dispute_of(said["dispute_body"]),
        cdr_id=said["cdr_id"],
        posted_at=said["posted_at"],
        revision=said["revision"],
        credited_by=said["credited_by"],
        signed=None if said["signed"] is None else _signed(said["signed"]),
    )


async def put_cdr(db: Db, cdr: NewPartnerCdr) -> None:
    """Writes a CDR that came; a repeat changes nothing."""
    places = ", ".join(f"${n}" for n in range(1, len(_CDR_FIELDS) + 1))
    await db.execute(
        f"INSERT INTO checked_cdr ({', '.join(_CDR_FIELDS)}) VALUES ({places}) ON CONFLICT (object_key) DO NOTHING",
        *(getattr(cdr, name) for name in _CDR_FIELDS),
    )


async def cdr(db: Db, tenant_id: TenantId, key: int, *, locked: bool = False) -> PartnerCdr | None:
    """One CDR by our key; None where there is none."""
    row = await db.fetchrow(
        f"SELECT {_CDR} FROM checked_cdr c WHERE c.tenant_id = $1 AND c.object_key = $2"
        + (" FOR UPDATE OF c" if locked else ""),
        tenant_id,
        key,
    )
    return None if row is None else _cdr(row)


async def cdr_named(db: Db, tenant_id: TenantId, party: tuple[str, str], ident: str) -> PartnerCdr | None:
    """A party's CDR by its id, locked; None where there is none."""
    row = await db.fetchrow(
        f"SELECT {_CDR} FROM checked_cdr c JOIN partner_object o ON o.key = c.object_key WHERE o.tenant_id = $1"
        " AND o.module = 'cdrs' AND o.id_key = lower($2) AND o.country_code = $3 AND o.party_id = $4 FOR UPDATE OF c",
        tenant_id,
        ident,
        *party,
    )
    return None if row is None else _cdr(row)


class PartnerCdrFilter(Struct, frozen=True, kw_only=True):
    """Which CDRs."""

    connection_id: int | None = None
    driver_id: int | None = None
    verdict: Verdict | None = None
    dispute: DisputeState | None = None


ROAMING_CDR_SORTS: Final = Sorts(
    "c.object_key",
    ident_name=None,
    default="-ended_at",
    ident_of=lambda one: (one.object_key,),
    ended_at=by_time("c.ended_at"),
    kwh=by_number("c.kwh", Decimal),
)


async def cdrs(
    db: Db, tenant_id: TenantId, wanted: PartnerCdrFilter, limit: int, after: Position | None
) -> list[PartnerCdr]:
    """CDRs, the one whose session ended last first.

    Args:
        after: (end, key).
    """
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add_if("c.connection_id = ?", wanted.connection_id)
    where.add_if("c.driver_id = ?", wanted.driver_id)
    where.add_if("c.verdict = ?", None if wanted.verdict is None else wanted.verdict.value)
    where.add_if("c.dispute = ?", None if wanted.dispute is None else wanted.dispute.value)
    order = ROAMING_CDR_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_CDR} FROM checked_cdr c WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_cdr(row) for row in rows]


async def document(db: Db, tenant_id: TenantId, key: int) -> bytes | None:
    """The document of an object by our key."""
    found: bytes | None = await db.fetchval(
        "SELECT document FROM partner_object WHERE key = $2 AND tenant_id = $1", tenant_id, key
    )
    return found


async def put_check(db: Db, key: int, check: Check, signed: SignedSummary | None) -> None:
    """Writes what came of the check, and of verifying the signed values."""
    await db.execute(
        "UPDATE checked_cdr SET verdict = $2, check_body = $3, signed = $4, revision = revision + 1 WHERE object_key = $1",
        key,
        check.verdict.value,
        check_text(check),
        None if signed is None else _encode(signed).decode(),
    )


async def put_billed(db: Db, key: int, cdr_id: int) -> None:
    """Notes by which CDR of ours the driver is billed."""
    await db.execute("UPDATE checked_cdr SET cdr_id = $2, revision = revision + 1 WHERE object_key = $1", key, cdr_id)


async def put_posted(db: Db, key: int) -> None:
    """Notes that it stands in the ledger."""
    await db.execute("UPDATE checked_cdr SET posted_at = now() WHERE object_key = $1 AND posted_at IS NULL", key)


async def put_dispute(db: Db, key: int, state: DisputeState, dispute: Dispute) -> None:
    """Writes how a dispute stands."""
    await db.execute(
        "UPDATE checked_cdr SET dispute = $2, dispute_body = $3, revision = revision + 1 WHERE object_key = $1",
        key,
        state.value,
        dispute_text(dispute),
    )


async def time_zone_of(db: Db, tenant_id: TenantId, party: tuple[str, str], location_id: str) -> str | None:
    """The time zone of a partner's Location; None where we have no copy of it."""
    found: str | None = await db.fetchval(
        "SELECT time_zone FROM partner_location WHERE tenant_id = $1 AND country_code = $2 AND party_id = $3"
        " AND id_key = lower($4)",
        tenant_id,
        *party,
        location_id,
    )
    return found
