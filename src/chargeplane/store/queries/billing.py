"""What is to be billed: CDRs, periods, payments; and the runs that do it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.invoicing.charges import BilledCdr, CdrToBill
from chargeplane.domain.invoicing.runs import ItemState, RunOrder, RunState
from chargeplane.domain.payments.states import Dispute
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time

_content = msgspec.json.Decoder(BilledCdr).decode
_order = msgspec.json.Decoder(RunOrder).decode


class Billable(Struct, frozen=True, kw_only=True):
    """A CDR that is not on an invoice; held while `holds` names a reason."""

    cdr_id: int
    session_id: int
    kind: str
    agreement_id: int | None
    driver_id: int | None
    payment_id: int | None
    currency: str | None
    ended_at: datetime
    holds: tuple[str, ...]


class Run(Struct, frozen=True, kw_only=True):
    """A billing run."""

    id: int
    key: str
    state: RunState
    until: datetime
    order: RunOrder
    items: int
    done: int
    failed: int
    created_at: datetime
    created_by: str
    finished_at: datetime | None


class RunItem(Struct, frozen=True, kw_only=True):
    """A subject of a run and what became of it."""

    number: int
    subject: str
    state: ItemState
    invoice_id: int | None
    reason: str | None


class PaymentSeen(Struct, frozen=True, kw_only=True):
    """How a payment stands, and how much of it is on invoices.

    Args:
        disputed: what the payer's bank took back, or took back and gave again.
    """

    payment_id: int
    provider: str
    currency: str
    captured: Decimal
    refunded: Decimal
    booked_captured: Decimal
    booked_refunded: Decimal
    fee: Decimal
    dispute: Dispute
    disputed: Decimal


async def take_cdr(db: Db, tenant_id: TenantId, cdr_id: int) -> Billable | None:
    """Notes a CDR as one that is to be billed; None where there is no such CDR. A repeat changes nothing but that it was released."""
    row = await db.fetchrow(
        "WITH made AS (INSERT INTO billable_cdr (cdr_id, tenant_id, session_id, kind, credits, agreement_id, driver_id, payment_id,"
        " currency, ended_at, created_at, holds)"
        " SELECT id, tenant_id, session_id, kind, credits, agreement_id, driver_id, payment_id, currency, ended_at, created_at, holds"
        " FROM cdr WHERE id = $2 AND tenant_id = $1 ON CONFLICT (cdr_id) DO NOTHING)"
        f" SELECT {_OF_CDR} FROM cdr c WHERE c.id = $2 AND c.tenant_id = $1",
        tenant_id,
        cdr_id,
    )
    return None if row is None else _billable(row)


_HELD = "CASE WHEN EXISTS (SELECT FROM cdr_release r WHERE r.cdr_id = c.id) THEN '{}'::text[] ELSE c.holds END AS holds"
_OF_CDR = (
    "c.id AS cdr_id, c.session_id, c.kind, c.agreement_id, c.driver_id, c.payment_id, c.currency, c.ended_at, " + _HELD
)


def _billable(row: Any) -> Billable:
    said = dict(row)
    return Billable(**{**said, "holds": tuple(said["holds"])})


class Subject(Struct, frozen=True, kw_only=True):
    """Whose CDRs: of an agreement, of a payment, or of a driver without either."""

    agreement_id: int | None = None
    payment_id: int | None = None
    driver_id: int | None = None


def _subject(where: Where, subject: Subject) -> None:
    if subject.agreement_id is not None:
        where.add("b.agreement_id = ?", subject.agreement_id)
    elif subject.payment_id is not None:
        where.add("b.payment_id = ? AND b.agreement_id IS NULL", subject.payment_id)
    else:
        where.add("b.driver_id = ? AND b.agreement_id IS NULL AND b.payment_id IS NULL", subject.driver_id)


async def cdrs(db: Db, tenant_id: TenantId, subject: Subject, until: datetime, most: int) -> list[CdrToBill]:
    """What a subject has to be billed, held ones too, by the end of the session; what ended before `until`."""
    where = Where()
    where.add(
        "b.tenant_id = ? AND b.invoice_id IS NULL AND b.ended_at < ? AND b.currency IS NOT NULL", tenant_id, until
    )
    _subject(where, subject)
    where.values.append(most)
    rows = await db.fetch(
        f"SELECT b.cdr_id, b.session_id, b.currency, b.payment_id, c.body, {_HELD} FROM billable_cdr b JOIN cdr c ON c.id = b.cdr_id"
        f" WHERE {where} ORDER BY b.holds <> '{{}}' AND NOT EXISTS (SELECT FROM cdr_release r WHERE r.cdr_id = b.cdr_id), b.ended_at, b.cdr_id LIMIT ${len(where.values)}",
        *where.values,
    )
    return [
        CdrToBill(
            cdr_id=row["cdr_id"],
            session_id=row["session_id"],
            currency=row["currency"],
            payment_id=row["payment_id"],
            holds=tuple(row["holds"]),
            content=_content(row["body"]),
        )
        for row in rows
    ]


async def mark(db: Db, cdr_ids: Sequence[int], invoice_id: int) -> None:
    """CDRs are on an invoice now.

    Raises:
        RuntimeError: one was on an invoice already: a bug, and the transaction must go.
    """
    done = await db.execute(
        "UPDATE billable_cdr SET invoice_id = $2 WHERE cdr_id = ANY($1) AND invoice_id IS NULL",
        list(cdr_ids),
        invoice_id,
    )
    if done != f"UPDATE {len(set(cdr_ids))}":
        raise RuntimeError(f"Of {len(cdr_ids)} CDRs of invoice {invoice_id} not all were free: {done}.")


UNBILLED_SORTS: Final = Sorts("b.cdr_id", ident_name="cdr_id", default="-cdr_id", ident_of=lambda one: (one.cdr_id,))


async def unbilled(
    db: Db, tenant_id: TenantId, *, held: bool | None, limit: int, after: Position | None
) -> list[Billable]:
    """CDRs that are on no invoice, newest first."""
    where = Where()
    where.add("b.tenant_id = ? AND b.invoice_id IS NULL", tenant_id)
    if held is not None:
        free = "(b.holds = '{}' OR EXISTS (SELECT FROM cdr_release r WHERE r.cdr_id = b.cdr_id))"
        where.add(f"NOT {free}" if held else free)
    order = UNBILLED_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_OF_CDR} FROM billable_cdr b JOIN cdr c ON c.id = b.cdr_id WHERE {where} ORDER BY {order}"
        f" LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_billable(row) for row in rows]


async def subjects(db: Db, tenant_id: TenantId, until: datetime) -> list[str]:
    """Payments and drivers without an agreement who have something to be billed."""
    rows = await db.fetch(
        "SELECT DISTINCT CASE WHEN payment_id IS NOT NULL THEN 'payment:' || payment_id ELSE 'driver:' || driver_id END AS subject"
        " FROM billable_cdr WHERE tenant_id = $1 AND invoice_id IS NULL AND agreement_id IS NULL AND ended_at < $2"
        " AND (payment_id IS NOT NULL OR driver_id IS NOT NULL) AND currency IS NOT NULL ORDER BY 1",
        tenant_id,
        until,
    )
    return [row["subject"] for row in rows]


async def agreements(db: Db, tenant_id: TenantId) -> list[int]:
    """Agreements that have begun, or have something to be billed."""
    rows = await db.fetch(
        "SELECT id FROM service_agreement WHERE tenant_id = $1 AND begun_at IS NOT NULL"
        " UNION SELECT DISTINCT agreement_id FROM billable_cdr WHERE tenant_id = $1 AND invoice_id IS NULL"
        " AND agreement_id IS NOT NULL UNION SELECT DISTINCT agreement_id FROM billable_fee WHERE tenant_id = $1"
        " AND invoice_id IS NULL AND agreement_id IS NOT NULL ORDER BY 1",
        tenant_id,
    )
    return [row["id"] for row in rows]


async def billed_periods(db: Db, agreement_id: int) -> set[tuple[str, datetime]]:
    """(item, start) of what is billed of an agreement's items."""
    rows = await db.fetch("SELECT item, period_start FROM billed_period WHERE agreement_id = $1", agreement_id)
    return {(row["item"], row["period_start"]) for row in rows}


async def mark_period(
    db: Db, tenant_id: TenantId, agreement_id: int, item: str, start: datetime, end: datetime, invoice_id: int
) -> None:
    """An item's period is on an invoice now."""
    await db.execute(
        "INSERT INTO billed_period (tenant_id, agreement_id, item, period_start, period_end, invoice_id)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        tenant_id,
        agreement_id,
        item,
        start,
        end,
        invoice_id,
    )


async def billed_between(db: Db, tenant_id: TenantId, agreement_id: int, since: datetime, until: datetime) -> Decimal:
    """What the sessions of an agreement that ended in an interval cost, before tax, as far as they are to be billed."""
    found: Decimal = await db.fetchval(
        "SELECT coalesce(sum(c.total_excl), 0) FROM billable_cdr b JOIN cdr c ON c.id = b.cdr_id WHERE b.tenant_id = $1"
        " AND b.agreement_id = $2 AND b.ended_at >= $3 AND b.ended_at < $4",
        tenant_id,
        agreement_id,
        since,
        until,
    )
    return found


async def earned_at(
    db: Db, tenant_id: TenantId, locations: Sequence[str] | None, currency: str, since: datetime, until: datetime
) -> tuple[Decimal, Decimal]:
    """(net, Wh) of the CDRs at locations that ended in an interval; None: everywhere."""
    row = await db.fetchrow(
        "SELECT coalesce(sum(total_excl), 0) AS net, coalesce(sum(energy_wh), 0) AS wh FROM cdr c WHERE tenant_id = $1"
        " AND ($2::text[] IS NULL OR lower(location_id) = ANY($2)) AND currency = $3 AND ended_at >= $4 AND ended_at < $5"
        " AND (holds = '{}' OR EXISTS (SELECT FROM cdr_release r WHERE r.cdr_id = c.id))",
        tenant_id,
        None if locations is None else [one.lower() for one in locations],
        currency,
        since,
        until,
    )
    assert row is not None
    return row["net"], row["wh"]


# Payments

_SEEN = "payment_id, provider, currency, captured, refunded, booked_captured, booked_refunded, fee, dispute, disputed"


def _payment_seen(row: Any) -> PaymentSeen:
    return PaymentSeen(**{**row, "dispute": Dispute(row["dispute"])})


async def see_payment(
    db: Db,
    tenant_id: TenantId,
    *,
    payment_id: int,
    provider: str,
    currency: str,
    captured: Decimal,
    refunded: Decimal,
    session_id: int | None,
    driver_id: str | None,
) -> PaymentSeen:
    """Notes how a payment stands, locked until the transaction ends; amounts only rise."""
    row = await db.fetchrow(
        "INSERT INTO billing_payment AS p (payment_id, tenant_id, provider, currency, captured, refunded, session_id, driver_id)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (payment_id) DO UPDATE"
        " SET captured = greatest(p.captured, excluded.captured), refunded = greatest(p.refunded, excluded.refunded),"
        f" updated_at = now() RETURNING {_SEEN}",
        payment_id,
        tenant_id,
        provider,
        currency,
        captured,
        refunded,
        session_id,
        driver_id,
    )
    assert row is not None
    return _payment_seen(row)


async def payment(db: Db, tenant_id: TenantId, payment_id: int) -> PaymentSeen | None:
    """How a payment stands, locked until the transaction ends."""
    row = await db.fetchrow(
        f"SELECT {_SEEN} FROM billing_payment WHERE payment_id = $1 AND tenant_id = $2 FOR UPDATE",
        payment_id,
        tenant_id,
    )
    return None if row is None else _payment_seen(row)


async def put_beside(db: Db, payment_id: int, fee: Decimal, dispute: Dispute, disputed: Decimal) -> None:
    """Writes what is booked of a payment's fee and dispute."""
    await db.execute(
        "UPDATE billing_payment SET fee = $2, dispute = $3, disputed = $4 WHERE payment_id = $1",
        payment_id,
        fee,
        dispute.value,
        disputed,
    )


async def put_booked(db: Db, payment_id: int, captured: Decimal, refunded: Decimal) -> None:
    """Writes how much of a payment is on its invoices."""
    await db.execute(
        "UPDATE billing_payment SET booked_captured = $2, booked_refunded = $3 WHERE payment_id = $1",
        payment_id,
        captured,
        refunded,
    )


async def invoices_of_payment(db: Db, tenant_id: TenantId, payment_id: int) -> list[int]:
    """The invoices and credit notes that have sessions of a payment on them, oldest first."""
    rows = await db.fetch(
        "SELECT b.invoice_id FROM billable_cdr b JOIN invoice i ON i.id = b.invoice_id WHERE b.tenant_id = $1 AND b.payment_id = $2"
        " AND i.number IS NOT NULL UNION SELECT f.invoice_id FROM billable_fee f JOIN invoice i ON i.id = f.invoice_id"
        " WHERE f.tenant_id = $1 AND f.payment_id = $2 AND i.number IS NOT NULL UNION SELECT id FROM invoice WHERE tenant_id = $1 AND payment_id = $2 AND number IS NOT NULL"
        " ORDER BY 1",
        tenant_id,
        payment_id,
    )
    return [row["invoice_id"] for row in rows]


async def sessions_gross(db: Db, tenant_id: TenantId, payment_id: int, invoice_id: int) -> Decimal:
    """What the sessions of a payment cost on an invoice, with tax."""
    found: Decimal = await db.fetchval(
        "SELECT coalesce(sum(c.total_incl), 0) FROM billable_cdr b JOIN cdr c ON c.id = b.cdr_id WHERE b.tenant_id = $1"
        " AND b.payment_id = $2 AND b.invoice_id = $3",
        tenant_id,
        payment_id,
        invoice_id,
    )
    return found


# Runs

_RUN = "id, key, state, until, body, items, done, failed, created_at, created_by, finished_at"


def _run(row: Any) -> Run:
    said = dict(row)
    body = said.pop("body")
    return Run(**{**said, "state": RunState(said["state"]), "order": _order(body)})


async def insert_run(
    db: Db, tenant_id: TenantId, key: str, until: datetime, order: RunOrder, subjects: Sequence[str], by: str
) -> int | None:
    """Writes a run with its items; None where its key is known."""
    ident: int | None = await db.fetchval(
        "INSERT INTO billing_run (tenant_id, key, state, until, body, items, created_by) VALUES ($1, $2, 'running', $3, $4, $5, $6)"
        " ON CONFLICT (tenant_id, key) DO NOTHING RETURNING id",
        tenant_id,
        key,
        until,
        msgspec.json.encode(order).decode(),
        len(subjects),
        by,
    )
    if ident is not None:
        await db.execute(
            "INSERT INTO billing_run_item (run_id, number, tenant_id, subject, state)"
            " SELECT $1, n, $2, s, 'waiting' FROM unnest($3::text[]) WITH ORDINALITY AS u (s, n)",
            ident,
            tenant_id,
            list(subjects),
        )
    return ident


async def run_by_key(db: Db, tenant_id: TenantId, key: str) -> Run | None:
    """The run with a key."""
    row = await db.fetchrow(f"SELECT {_RUN} FROM billing_run WHERE tenant_id = $1 AND key = $2", tenant_id, key)
    return None if row is None else _run(row)


async def run(db: Db, tenant_id: TenantId, ident: int) -> Run | None:
    """A run."""
    row = await db.fetchrow(f"SELECT {_RUN} FROM billing_run WHERE tenant_id = $1 AND id = $2", tenant_id, ident)
    return None if row is None else _run(row)


RUN_SORTS: Final = Sorts("id", created_at=by_time("created_at"), until=by_time("until"))


async def runs(db: Db, tenant_id: TenantId, state: str | None, limit: int, after: Position | None) -> list[Run]:
    """Runs, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("state = ?", state)
    order = RUN_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_RUN} FROM billing_run WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [_run(row) for row in rows]


ITEM_SORTS: Final = Sorts(
    "number", ident_name="number", default="number", ident_of=lambda one: (one.number,), state=by_text("state")
)


async def items(
    db: Db, tenant_id: TenantId, run_id: int, state: str | None, limit: int, after: Position | None
) -> list[RunItem]:
    """Items of a run, in their order."""
    where = Where()
    where.add("tenant_id = ? AND run_id = ?", tenant_id, run_id)
    where.add_if("state = ?", state)
    order = ITEM_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT number, subject, state, invoice_id, reason FROM billing_run_item WHERE {where} ORDER BY {order}"
        f" LIMIT ${len(where.values)}",
        *where.values,
    )
    return [RunItem(**{**dict(row), "state": ItemState(row["state"])}) for row in rows]


async def open_runs(db: Db) -> list[tuple[TenantId, int]]:
    """Runs that are not finished, of all tenants, oldest first."""
    rows = await db.fetch("SELECT tenant_id, id FROM billing_run WHERE finished_at IS NULL ORDER BY id LIMIT 100")
    return [(TenantId(row["tenant_id"]), row["id"]) for row in rows]


async def next_item(db: Db, run_id: int) -> RunItem | None:
    """An item that waits, locked; what others work on is skipped."""
    row = await db.fetchrow(
        "SELECT number, subject, state, invoice_id, reason FROM billing_run_item WHERE run_id = $1 AND state = 'waiting'"
        " ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED",
        run_id,
    )
    return None if row is None else RunItem(**{**dict(row), "state": ItemState(row["state"])})


async def put_item(
    db: Db, run_id: int, number: int, state: ItemState, invoice_id: int | None, reason: str | None
) -> None:
    """Writes what became of an item."""
    await db.execute(
        "UPDATE billing_run_item SET state = $3, invoice_id = $4, reason = $5 WHERE run_id = $1 AND number = $2",
        run_id,
        number,
        state.value,
        invoice_id,
        reason,
    )


async def progress(db: Db, run_id: int) -> tuple[int, int]:
    """Counts a run's items anew and ends it where none waits: (done, items)."""
    row = await db.fetchrow(
        "UPDATE billing_run r SET done = s.done, failed = s.failed, finished_at = CASE WHEN s.waiting = 0 THEN now() END,"
        " state = CASE WHEN s.waiting > 0 THEN 'running' WHEN s.failed > 0 THEN 'incomplete' ELSE 'finished' END"
        " FROM (SELECT count(*) FILTER (WHERE state <> 'waiting') AS done, count(*) FILTER (WHERE state = 'failed') AS failed,"
        " count(*) FILTER (WHERE state = 'waiting') AS waiting FROM billing_run_item WHERE run_id = $1) s"
        " WHERE r.id = $1 RETURNING r.done, r.items",
        run_id,
    )
    assert row is not None
    return row["done"], row["items"]


async def again(db: Db, tenant_id: TenantId, run_id: int) -> int:
    """Has the failed items of a run wait once more; how many."""
    done = await db.execute(
        "UPDATE billing_run_item SET state = 'waiting', reason = NULL WHERE run_id = $1 AND tenant_id = $2 AND state = 'failed'",
        run_id,
        tenant_id,
    )
    count = int(done.split()[-1])
    if count:
        await db.execute("UPDATE billing_run SET state = 'running', finished_at = NULL WHERE id = $1", run_id)
    return count
