"""CDRs: written once, listed, released."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.authorization import token_key
from chargeplane.domain.cdrs.cdr import CdrContent, CdrKind, content_of, content_text
from chargeplane.domain.cdrs.holds import Hold
from chargeplane.kernel.ids import TenantId, TransactionId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_amount, by_number, by_time

EXPORT_ROWS: Final = 500


class Cdr(Struct, frozen=True, kw_only=True):
    """A CDR without its content. Energy and totals of credits are negative, so that sums over all CDRs are right.

    Args:
        number: within the session, from 1.
        credits: the CDR that a credit takes back.
        holds: why it is not billed until it is released.
        credited_by: the credit that took it back.
    """

    id: int
    tenant_id: TenantId
    session_id: TransactionId
    kind: CdrKind
    number: int
    credits: int | None
    credited_by: int | None
    created_at: datetime
    started_at: datetime
    ended_at: datetime
    location_id: str
    evse_uid: str
    token_key: str | None
    driver_id: int | None
    agreement_id: int | None
    payment_id: int | None
    tariff_id: str | None
    energy_wh: Decimal
    currency: str | None
    total_excl: Decimal | None
    total_incl: Decimal | None
    holds: tuple[Hold, ...]
    released_at: datetime | None
    released_by: str | None
    release_reason: str | None

    @property
    def is_held(self) -> bool:
        """Whether it may not be billed yet."""
        return bool(self.holds) and self.released_at is None


class NewCdr(Struct, frozen=True, kw_only=True):
    """What is written of a CDR beside its content."""

    tenant_id: TenantId
    session_id: TransactionId
    kind: CdrKind
    number: int
    credits: int | None
    location_id: str
    evse_uid: str
    token_key: str | None
    driver_id: int | None
    agreement_id: int | None
    payment_id: int | None
    tariff_id: str | None
    energy_wh: Decimal
    currency: str | None
    total_excl: Decimal | None
    total_incl: Decimal | None
    holds: tuple[Hold, ...]


class CdrFilter(Struct, frozen=True, kw_only=True):
    """Which CDRs. `ended_from` is included, `ended_to` not.

    Args:
        held: those that are held and not released, or all others.
    """

    session_id: int | None = None
    kind: CdrKind | None = None
    location_id: str | None = None
    evse_uid: str | None = None
    id_token: str | None = None
    driver_id: int | None = None
    agreement_id: int | None = None
    payment_id: int | None = None
    tariff_id: str | None = None
    currency: str | None = None
    held: bool | None = None
    ended_from: datetime | None = None
    ended_to: datetime | None = None


_COLUMNS: Final = (
    "c.id, c.tenant_id, c.session_id, c.kind, c.number, c.credits, c.created_at, c.started_at, c.ended_at, c.location_id,"
    " c.evse_uid, c.token_key, c.driver_id, c.agreement_id, c.payment_id, c.tariff_id, c.energy_wh, c.currency, c.total_excl,"
    " c.total_incl, c.holds, b.id AS credited_by, r.released_at, r.released_by, r.reason AS release_reason"
)
_JOINS: Final = "LEFT JOIN cdr b ON b.credits = c.id LEFT JOIN cdr_release r ON r.cdr_id = c.id"


CDR_SORTS: Final = Sorts(
    "c.id",
    default="-ended_at",
    ident_of=lambda pair: (pair[0][1],),
    item=lambda pair: pair[1],
    ended_at=by_time("c.ended_at"),
    started_at=by_time("c.started_at"),
    energy_wh=by_number("c.energy_wh", Decimal),
    total_incl=by_amount("c.total_incl", "total_incl", missing=True),
)


async def page(db: Db, tenant_id: TenantId, wanted: CdrFilter, limit: int, after: Position | None) -> list[Cdr]:
    """CDRs, the one whose session ended last first."""
    rows = await _chosen(db, tenant_id, wanted, limit, after, _COLUMNS)
    return [_cdr(row) for row in rows]


async def whole_page(
    db: Db, tenant_id: TenantId, wanted: CdrFilter, limit: int, after: Position | None
) -> list[tuple[Cdr, CdrContent]]:
    """The same with what they say."""
    rows = await _chosen(db, tenant_id, wanted, limit, after, f"{_COLUMNS}, c.body")
    return [(_cdr(row), content_of(row["body"])) for row in rows]


async def _chosen(
    db: Db, tenant_id: TenantId, wanted: CdrFilter, limit: int, after: Position | None, columns: str
) -> list[Any]:
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add_if("c.session_id = ?", wanted.session_id)
    where.add_if("c.kind = ?", wanted.kind)
    where.add_if("c.location_id = ?", wanted.location_id)
    where.add_if("c.evse_uid = ?", wanted.evse_uid)
    where.add_if("c.token_key = ?", None if wanted.id_token is None else token_key(wanted.id_token))
    where.add_if("c.driver_id = ?", wanted.driver_id)
    where.add_if("c.agreement_id = ?", wanted.agreement_id)
    where.add_if("c.payment_id = ?", wanted.payment_id)
    where.add_if("c.tariff_id = ?", wanted.tariff_id)
    where.add_if("c.currency = ?", wanted.currency)
    if wanted.held is not None:
        free = "EXISTS (SELECT FROM cdr_release f WHERE f.cdr_id = c.id)"
        # What was taken back waits for nobody any more, and neither does what took it back.
        gone = "c.kind = 'credit' OR EXISTS (SELECT FROM cdr g WHERE g.credits = c.id)"
        where.add(
            f"c.holds <> '{{}}' AND NOT {free} AND NOT ({gone})" if wanted.held else f"(c.holds = '{{}}' OR {free})"
        )
    where.add_if("c.ended_at >= ?", wanted.ended_from)
    where.add_if("c.ended_at < ?", wanted.ended_to)
    order = f"ORDER BY {CDR_SORTS.begin(where, after)}"
    where.values.append(limit)
    # The page is chosen before anything is gathered for it.
    return list(
        await db.fetch(
            f"SELECT {columns} FROM (SELECT c.* FROM cdr c WHERE {where} {order} LIMIT ${len(where.values)}) c {_JOINS} {order}",
            *where.values,
        )
    )


async def one(db: Db, tenant_id: TenantId, ident: int) -> tuple[Cdr, CdrContent] | None:
    """The CDR with our id."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS}, c.body FROM cdr c {_JOINS} WHERE c.tenant_id = $1 AND c.id = $2", tenant_id, ident
    )
    return None if row is None else (_cdr(row), content_of(row["body"]))


async def of_session(db: Db, tenant_id: TenantId, session_id: int) -> list[Cdr]:
    """All CDRs of a session, in the order they were written."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM cdr c {_JOINS} WHERE c.tenant_id = $1 AND c.session_id = $2 ORDER BY c.number",
        tenant_id,
        session_id,
    )
    return [_cdr(row) for row in rows]


async def content(db: Db, ident: int) -> CdrContent:
    """What a CDR says."""
    return content_of(await db.fetchval("SELECT body FROM cdr WHERE id = $1", ident))


async def insert(db: Db, new: NewCdr, said: CdrContent) -> Cdr:
    """Writes a CDR."""
    ident = await db.fetchval(
        "INSERT INTO cdr (tenant_id, session_id, kind, number, credits, started_at, ended_at, location_id, evse_uid, token_key,"
        " driver_id, agreement_id, payment_id, tariff_id, energy_wh, currency, total_excl, total_incl, holds, body)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) RETURNING id",
        new.tenant_id,
        new.session_id,
        new.kind.value,
        new.number,
        new.credits,
        said.started_at,
        said.ended_at,
        new.location_id,
        new.evse_uid,
        new.token_key,
        new.driver_id,
        new.agreement_id,
        new.payment_id,
        new.tariff_id,
        new.energy_wh,
        new.currency,
        new.total_excl,
        new.total_incl,
        [hold.value for hold in new.holds],
        content_text(said),
    )
    found = await db.fetchrow(f"SELECT {_COLUMNS} FROM cdr c {_JOINS} WHERE c.id = $1", ident)
    assert found is not None
    return _cdr(found)


async def release(db: Db, cdr: Cdr, by: str, reason: str) -> bool:
    """Says that a held CDR may be billed; False where that was said already."""
    made = await db.fetchval(
        "INSERT INTO cdr_release (cdr_id, tenant_id, released_by, reason) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING RETURNING cdr_id",
        cdr.id,
        cdr.tenant_id,
        by,
        reason,
    )
    return made is not None


async def note_use(
    db: Db, cdr_id: int, agreement_id: int, used_at: datetime, used: Sequence[tuple[str, Decimal]]
) -> None:
    """Writes down what a CDR used of what its agreement includes."""
    for item, amount in used:
        await db.execute(
            "INSERT INTO agreement_use (cdr_id, agreement_id, item, used_at, used) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (cdr_id, item) DO UPDATE SET used = agreement_use.used + excluded.used",
            cdr_id,
            agreement_id,
            item,
            used_at,
            amount,
        )


async def give_back(db: Db, cdr_id: int, credit_id: int) -> None:
    """Writes down that a credit gave back what the CDR used."""
    await db.execute(
        "INSERT INTO agreement_use (cdr_id, agreement_id, item, used_at, used)"
        " SELECT $2, agreement_id, item, used_at, -used FROM agreement_use WHERE cdr_id = $1",
        cdr_id,
        credit_id,
    )


async def used_of(db: Db, agreement_id: int, item: str, since: datetime, until: datetime, session_id: int) -> Decimal:
    """How much of an allowance was used in an interval, by other sessions than this one."""
    value: Decimal = await db.fetchval(
        "SELECT coalesce(sum(u.used), 0) FROM agreement_use u JOIN cdr c ON c.id = u.cdr_id"
        " WHERE u.agreement_id = $1 AND u.item = $2 AND u.used_at >= $3 AND u.used_at < $4 AND c.session_id <> $5",
        agreement_id,
        item,
        since,
        until,
        session_id,
    )
    return value


async def sums(
    db: Db, tenant_id: TenantId, agreement_id: int, since: datetime, until: datetime
) -> Sequence[tuple[str, int, Decimal, Decimal]]:
    """What was charged under an agreement: currency, sessions, before and after taxes; by when sessions ended."""
    rows = await db.fetch(
        "SELECT currency, count(DISTINCT session_id) AS sessions, sum(total_excl) AS excl, sum(total_incl) AS incl FROM cdr"
        " WHERE tenant_id = $1 AND agreement_id = $2 AND ended_at >= $3 AND ended_at < $4 AND currency IS NOT NULL"
        " GROUP BY currency ORDER BY currency",
        tenant_id,
        agreement_id,
        since,
        until,
    )
    return [(row["currency"], row["sessions"], row["excl"], row["incl"]) for row in rows]


def _cdr(row: Any) -> Cdr:
    fields = {name: row[name] for name in Cdr.__struct_fields__}
    return Cdr(**{**fields, "kind": CdrKind(row["kind"]), "holds": tuple(Hold(word) for word in row["holds"])})
