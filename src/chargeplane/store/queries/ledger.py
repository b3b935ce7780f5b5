"""The ledger's tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.ledger import Account, AccountType, Entry, EntryKind, Posting
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_day, by_text, like


class BalanceView(Struct, frozen=True, kw_only=True):
    """An account in one currency.

    Args:
        debit, credit: what was posted on either side; `balance` is debit less credit.
    """

    id: int
    code: str
    type: AccountType
    currency: str
    debit: Decimal
    credit: Decimal
    balance: Decimal
    postings: int


class StoredEntry(Struct, frozen=True, kw_only=True):
    """An entry as it stands in the ledger."""

    id: int
    entry: Entry
    booked_on: date
    created_at: datetime
    reversed_by: str | None


class EntryFilter(Struct, frozen=True, kw_only=True):
    """Which entries. `account` is a code; `since` and `until` are days, the latter not included."""

    kind: str | None = None
    account: str | None = None
    reference_kind: str | None = None
    reference: str | None = None
    since: date | None = None
    until: date | None = None


class Flaw(Struct, frozen=True, kw_only=True):
    """Something in the ledger that must not be."""

    what: str
    entry_id: int | None = None
    detail: str


async def accounts(db: Db, tenant_id: TenantId, wanted: Sequence[Account]) -> dict[str, int]:
    """Our keys of accounts by code; those that are new are opened."""
    codes = sorted({account.code for account in wanted})
    rows = await db.fetch(
        "SELECT code, id FROM ledger_account WHERE tenant_id = $1 AND code = ANY($2)", tenant_id, codes
    )
    found: dict[str, int] = {row["code"]: row["id"] for row in rows}
    missing = {account.code: account.type for account in wanted if account.code not in found}
    for code in sorted(missing):  # in one order, so that two openers do not wait for each other
        await db.execute(
            "INSERT INTO ledger_account (tenant_id, code, type) VALUES ($1, $2, $3) ON CONFLICT (tenant_id, code) DO NOTHING",
            tenant_id,
            code,
            missing[code].value,
        )
    if missing:
        rows = await db.fetch(
            "SELECT code, id FROM ledger_account WHERE tenant_id = $1 AND code = ANY($2)", tenant_id, codes
        )
        found = {row["code"]: row["id"] for row in rows}
    return found


async def insert(
    db: Db, tenant_id: TenantId, entry: Entry, digest: str, booked_on: date, reverses: int | None
) -> int | None:
    """Writes an entry without its postings; None where its key was booked."""
    found: int | None = await db.fetchval(
        "INSERT INTO ledger_entry (tenant_id, key, kind, booked_on, happened_at, text, reference_kind, reference, reverses,"
        " postings, digest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        " ON CONFLICT (tenant_id, key) DO NOTHING RETURNING id",
        tenant_id,
        entry.key,
        entry.kind.value,
        booked_on,
        entry.happened_at,
        entry.text,
        entry.reference_kind,
        entry.reference,
        reverses,
        len(entry.postings),
        digest,
    )
    return found


async def insert_postings(
    db: Db, tenant_id: TenantId, entry_id: int, postings: Sequence[Posting], ids: dict[str, int]
) -> None:
    """Writes the postings of an entry."""
    await db.execute(
        "INSERT INTO ledger_posting (entry_id, number, account_id, tenant_id, currency, amount)"
        " SELECT $1, n, a, $2, c, m FROM unnest($3::bigint[], $4::text[], $5::numeric[]) WITH ORDINALITY AS p (a, c, m, n)",
        entry_id,
        tenant_id,
        [ids[posting.account.code] for posting in postings],
        [posting.amount.currency for posting in postings],
        [posting.amount.amount for posting in postings],
    )


async def booked(db: Db, tenant_id: TenantId, key: str) -> tuple[int, str] | None:
    """(id, digest) of the entry with a key."""
    row = await db.fetchrow("SELECT id, digest FROM ledger_entry WHERE tenant_id = $1 AND key = $2", tenant_id, key)
    return None if row is None else (row["id"], row["digest"])


async def closed_until(db: Db, tenant_id: TenantId) -> date | None:
    """The last closed day."""
    found: date | None = await db.fetchval("SELECT max(until) FROM ledger_close WHERE tenant_id = $1", tenant_id)
    return found


async def lock_period(db: Db, tenant_id: TenantId, *, exclusive: bool) -> None:
    """Lets closes wait for what is being booked, and what is booked for a close, until the transaction ends."""
    function = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    await db.execute(f"SELECT {function}(hashtextextended('ledger period', $1))", tenant_id)


async def close(db: Db, tenant_id: TenantId, until: date, by: str, report: str) -> None:
    """Closes the days up to one."""
    await db.execute(
        "INSERT INTO ledger_close (tenant_id, until, closed_by, report) VALUES ($1, $2, $3, $4)",
        tenant_id,
        until,
        by,
        report,
    )


BALANCE_SORTS: Final = Sorts(
    "p.currency",
    ident_kinds=(str,),
    ident_name=None,
    default="code",
    ident_of=lambda one: (one.currency,),
    code=by_text("a.code"),
)


async def balances(
    db: Db,
    tenant_id: TenantId,
    *,
    q: str | None = None,
    type: str | None = None,
    currency: str | None = None,
    until: date | None = None,
    limit: int | None = None,
    after: Position | None = None,
) -> list[BalanceView]:
    """Accounts with their balances, by code and currency.

    Args:
        until: entries booked before this day only.
    """
    where = Where()
    where.add("a.tenant_id = ?", tenant_id)
    where.add_if("a.type = ?", type)
    where.add_if("p.currency = ?", currency)
    if q is not None:
        where.add("lower(a.code) LIKE ?", like(q))
    if until is not None:
        where.add("e.booked_on < ?", until)
    order = BALANCE_SORTS.begin(where, after)
    join = "" if until is None else " JOIN ledger_entry e ON e.id = p.entry_id"
    ends = f" ORDER BY {order}"
    if limit is not None:
        where.values.append(limit)
        ends += f" LIMIT ${len(where.values)}"
    rows = await db.fetch(
        "SELECT a.id, a.code, a.type, p.currency, coalesce(sum(p.amount) FILTER (WHERE p.amount > 0), 0) AS debit,"
        " coalesce(-sum(p.amount) FILTER (WHERE p.amount < 0), 0) AS credit, sum(p.amount) AS balance, count(*) AS postings"
        f" FROM ledger_account a JOIN ledger_posting p ON p.account_id = a.id{join} WHERE {where}"
        f" GROUP BY a.id, p.currency{ends}",
        *where.values,
    )
    return [
        BalanceView(
            id=row["id"],
            code=row["code"],
            type=AccountType(row["type"]),
            currency=row["currency"],
            debit=row["debit"],
            credit=row["credit"],
            balance=row["balance"],
            postings=row["postings"],
        )
        for row in rows
    ]


_ENTRY = (
    "SELECT e.id, e.key, e.kind, e.booked_on, e.happened_at, e.text, e.reference_kind, e.reference, e.created_at,"
    " (SELECT key FROM ledger_entry o WHERE o.id = e.reverses) AS reverses,"
    " (SELECT key FROM ledger_entry o WHERE o.reverses = e.id) AS reversed_by FROM ledger_entry e"
)


LEDGER_ENTRY_SORTS: Final = Sorts("e.id", booked_on=by_day("e.booked_on"))


async def page(
    db: Db, tenant_id: TenantId, wanted: EntryFilter, limit: int, after: Position | None
) -> list[StoredEntry]:
    """Entries, newest first."""
    where = Where()
    where.add("e.tenant_id = ?", tenant_id)
    where.add_if("e.kind = ?", wanted.kind)
    where.add_if("e.reference_kind = ?", wanted.reference_kind)
    where.add_if("e.reference = ?", wanted.reference)
    where.add_if("e.booked_on >= ?", wanted.since)
    where.add_if("e.booked_on < ?", wanted.until)
    if wanted.account is not None:
        where.add(
            "EXISTS (SELECT FROM ledger_posting p JOIN ledger_account a ON a.id = p.account_id"
            " WHERE p.entry_id = e.id AND a.tenant_id = ? AND a.code = ?)",
            tenant_id,
            wanted.account,
        )
    order = LEDGER_ENTRY_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_ENTRY} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return await _with_postings(db, rows)


async def one(db: Db, tenant_id: TenantId, ident: int) -> StoredEntry | None:
    """An entry."""
    rows = await db.fetch(f"{_ENTRY} WHERE e.tenant_id = $1 AND e.id = $2", tenant_id, ident)
    found = await _with_postings(db, rows)
    return found[0] if found else None


async def _with_postings(db: Db, rows: Sequence[Any]) -> list[StoredEntry]:
    postings: dict[int, list[Posting]] = {row["id"]: [] for row in rows}
    if rows:
        for row in await db.fetch(
            "SELECT p.entry_id, a.code, a.type, p.currency, p.amount FROM ledger_posting p JOIN ledger_account a"
            " ON a.id = p.account_id WHERE p.entry_id = ANY($1) ORDER BY p.entry_id, p.number",
            list(postings),
        ):
            postings[row["entry_id"]].append(
                Posting(
                    account=Account(code=row["code"], type=AccountType(row["type"])),
                    amount=Money(amount=row["amount"], currency=row["currency"]),
                )
            )
    return [
        StoredEntry(
            id=row["id"],
            entry=Entry(
                key=row["key"],
                kind=EntryKind(row["kind"]),
                text=row["text"],
                happened_at=row["happened_at"],
                postings=tuple(postings[row["id"]]),
                booked_on=row["booked_on"],
                reference_kind=row["reference_kind"],
                reference=row["reference"],
                reverses=row["reverses"],
            ),
            booked_on=row["booked_on"],
            created_at=row["created_at"],
            reversed_by=row["reversed_by"],
        )
        for row in rows
    ]


async def every(db: Db, tenant_id: TenantId, wanted: EntryFilter, size: int = 500) -> AsyncIterator[StoredEntry]:
    """All entries, oldest first, a page at a time."""
    after = Position(sort="id")
    while True:
        found = await page(db, tenant_id, wanted, size, after)
        for entry in found:
            yield entry
        if len(found) < size:
            return
        after = Position((found[-1].id,), "id")


_FLAWS: Final = (
    (
        "unbalanced",
        "SELECT entry_id AS id, 'Off by ' || sum(amount) || ' ' || currency || '.' AS detail FROM ledger_posting"
        " WHERE tenant_id = $1 GROUP BY entry_id, currency HAVING sum(amount) <> 0",
    ),
    (
        "incomplete",
        "SELECT e.id, 'Has ' || count(p.entry_id) || ' postings in place of ' || e.postings || '.' AS detail FROM ledger_entry e"
        " LEFT JOIN ledger_posting p ON p.entry_id = e.id WHERE e.tenant_id = $1 GROUP BY e.id"
        " HAVING count(p.entry_id) <> e.postings",
    ),
    (
        "foreign_account",
        "SELECT p.entry_id AS id, 'Posts on an account of another tenant.' AS detail FROM ledger_posting p"
        " JOIN ledger_account a ON a.id = p.account_id WHERE p.tenant_id = $1 AND a.tenant_id <> $1",
    ),
    (
        "reversal",
        "SELECT r.id, 'Does not take back what it reverses.' AS detail FROM ledger_entry r JOIN ledger_entry e"
        " ON e.id = r.reverses WHERE r.tenant_id = $1 AND EXISTS ("
        " SELECT FROM (SELECT account_id, currency, amount FROM ledger_posting WHERE entry_id = r.id"
        " UNION ALL SELECT account_id, currency, amount FROM ledger_posting WHERE entry_id = e.id) s"
        " GROUP BY account_id, currency HAVING sum(amount) <> 0)",
    ),
)


async def flaws(db: Db, tenant_id: TenantId, most: int = 100) -> list[Flaw]:
    """What must not be, of everything the tenant has in the ledger; empty where all is well."""
    found: list[Flaw] = []
    for what, query in _FLAWS:
        rows = await db.fetch(f"{query} ORDER BY 1 LIMIT $2", tenant_id, most)
        found.extend(Flaw(what=what, entry_id=row["id"], detail=row["detail"]) for row in rows)
    return found


async def disagreements(db: Db, tenant_id: TenantId, most: int = 100) -> list[Flaw]:
    """Invoices of which the ledger says something else than they do."""
    rows = await db.fetch(
        "SELECT i.number, i.gross, coalesce(s.posted, 0) AS posted FROM invoice i LEFT JOIN LATERAL ("
        " SELECT sum(p.amount) AS posted FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id"
        " JOIN ledger_account a ON a.id = p.account_id WHERE e.tenant_id = i.tenant_id AND e.key = 'invoice:' || i.id"
        " AND a.code = 'receivable:' || i.payer_kind || ':' || i.payer_id) s ON true"
        " WHERE i.tenant_id = $1 AND i.number IS NOT NULL"
        " AND coalesce(s.posted, 0) <> CASE WHEN i.kind = 'credit_note' THEN -i.gross ELSE i.gross END ORDER BY i.id LIMIT $2",
        tenant_id,
        most,
    )
    found = [
        Flaw(what="invoice", detail=f"Invoice {row['number']} is {row['gross']}; the ledger has {row['posted']}.")
        for row in rows
    ]
    return found + await _payments_disagreeing(db, tenant_id, most)


async def _payments_disagreeing(db: Db, tenant_id: TenantId, most: int) -> list[Flaw]:
    """Payments of which something else was booked than they say: taken, given back, kept by the provider, taken back by the payer's bank."""
    rows = await db.fetch(
        "SELECT b.payment_id, w.what, w.told, w.booked FROM billing_payment b"
        " LEFT JOIN LATERAL (SELECT coalesce(sum(p.amount) FILTER (WHERE e.kind IN ('payment', 'top_up')), 0) AS captured,"
        "  coalesce(sum(p.amount) FILTER (WHERE e.kind = 'refund'), 0) AS refunded,"
        "  coalesce(sum(p.amount) FILTER (WHERE e.kind = 'fee'), 0) AS fee,"
        "  coalesce(sum(p.amount) FILTER (WHERE e.key = 'payment:' || b.payment_id || ':dispute:open'), 0) AS opened"
        "  FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id AND p.amount > 0 WHERE e.tenant_id = b.tenant_id"
        "  AND e.reference_kind = 'payment' AND e.reference = b.payment_id::text) s ON true"
        " CROSS JOIN LATERAL (VALUES ('captured', b.captured, s.captured), ('refunded', b.refunded, s.refunded),"
        "  ('fee', b.fee, s.fee), ('disputed', CASE WHEN b.dispute = 'open' THEN b.disputed ELSE s.opened END, s.opened))"
        "  AS w (what, told, booked)"
        " WHERE b.tenant_id = $1 AND w.told <> w.booked ORDER BY b.payment_id, w.what LIMIT $2",
        tenant_id,
        most,
    )
    return [
        Flaw(
            what="payment",
            detail=f"Payment {row['payment_id']}: {row['told']} {row['what']}; the ledger has {row['booked']}.",
        )
        for row in rows
    ]


async def counts(db: Db, tenant_id: TenantId) -> tuple[int, int]:
    """How many (entries, postings) there are."""
    row = await db.fetchrow(
        "SELECT (SELECT count(*) FROM ledger_entry WHERE tenant_id = $1) AS entries,"
        " (SELECT count(*) FROM ledger_posting WHERE tenant_id = $1) AS postings",
        tenant_id,
    )
    assert row is not None
    return row["entries"], row["postings"]
