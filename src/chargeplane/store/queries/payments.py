"""Payments, and what their providers were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.payments.states import Dispute, Ended, Goal, Payment, PaymentState
from chargeplane.domain.payments.steps import OperationKind, OperationState, uncollected
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money, MoneyView
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_amount


class StoredPayment(Struct, frozen=True, kw_only=True):
    """A payment with everything that is done with it.

    Args:
        payment: what is known of it.
        key: what its idempotency keys begin with.
        off_session: the payer is not there.
        action_until: the payer has time until then; a hold for the next session of an id token waits so long for it.
        saved_method: by which it is paid without the payer, in the provider's words.
        for_token: token_key of the id token whose next session is paid by it.
    """

    id: int
    tenant_id: TenantId
    provider: str
    kind: str
    purpose: str
    key: str
    currency: str
    payment: Payment
    off_session: bool
    method: str | None
    action_url: str | None
    client_secret: str | None
    return_url: str | None
    session_id: int | None
    driver_id: str | None
    account_id: int | None
    description: str | None
    action_until: datetime | None
    authorized_at: datetime | None
    captured_at: datetime | None
    attempts: int
    next_at: datetime | None
    claimed_until: datetime | None
    saved_method: str | None
    for_token: str | None
    created_by: str
    created_at: datetime


class StoredOperation(Struct, frozen=True, kw_only=True):
    """What a provider is asked for."""

    id: int
    kind: OperationKind
    amount: Decimal
    key: str
    state: OperationState
    superseded: bool


class PaymentView(Struct, frozen=True, kw_only=True):
    """A payment.

    Args:
        provider: by its name among the tenant's payment providers; `terminal` for a station's own.
        purpose: session, guest_session, top_up or terminal.
        state: created, requires_action, authorized, capturing, captured, partly_refunded, refunded, voided, failed, expired, disputed.
        hold: what is to be held.
        authorized: what is held, or was before it was captured.
        captured: what was taken in all, before refunds.
        refunded: what was given back.
        to_capture: what is to be taken, once that is known.
        uncollected: what was to be taken and was more than the hold.
        fee: what the provider keeps for its work, where it tells.
        method: how it is paid, for people; never a card number.
        error: why the last attempt failed, in a word.
        action_url: where the payer goes, while something is asked of them.
        expires_at: when the hold ends by itself.
        session_id: the session that is paid.
        provider_reference: the provider's id of it.
    """

    id: str
    provider: str
    provider_kind: str
    provider_reference: str | None
    purpose: str
    state: PaymentState
    hold: MoneyView
    authorized: MoneyView
    captured: MoneyView
    refunded: MoneyView
    to_capture: MoneyView | None
    uncollected: MoneyView
    fee: MoneyView
    method: str | None
    error: str | None
    dispute: Dispute
    action_url: str | None
    session_id: str | None
    driver_id: str | None
    account_id: str | None
    description: str | None
    expires_at: datetime | None
    authorized_at: datetime | None
    captured_at: datetime | None
    next_attempt_at: datetime | None
    created_by: str
    created_at: datetime
    updated_at: datetime


class OperationView(Struct, frozen=True, kw_only=True):
    """What a provider was asked for.

    Args:
        kind: start, authorize, increment, capture, void, refund.
        state: wanted, begun (whether it came through is not known), done, refused.
        idempotency_key: the provider does the same key once.
    """

    id: str
    kind: OperationKind
    amount: MoneyView
    state: OperationState
    idempotency_key: str
    error: str | None
    reason: str | None
    requested_by: str
    attempts: int
    created_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None


class PaymentFilter(Struct, frozen=True, kw_only=True):
    """Which payments. `created_from` is included, `created_to` not."""

    state: str | None = None
    provider: str | None = None
    purpose: str | None = None
    session_id: int | None = None
    driver_id: str | None = None
    reference: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


_KNOWN: Final = "hold, goal, to_capture, capture_begun, ref, action, authorized, captured, refunded, ended, dispute, expires_at, error, fee"
_BESIDE: Final = (
    "id, tenant_id, provider, kind, purpose, key, currency, off_session, method, action_url, client_secret, return_url,"
    " session_id, driver_id, account_id, description, action_until, authorized_at, captured_at, attempts, next_at,"
    " claimed_until, saved_method, for_token, created_by, created_at"
)
_SELECT: Final = f"SELECT {_BESIDE}, {_KNOWN} FROM payment"
_VIEW: Final = f"SELECT {_BESIDE}, {_KNOWN}, state, updated_at FROM payment"
_OPERATION: Final = "SELECT id, kind, amount, key, state, superseded FROM payment_operation"


async def insert(
    db: Db,
    tenant_id: TenantId,
    *,
    provider: str,
    kind: str,
    purpose: str,
    key: str,
    currency: str,
    payment: Payment,
    off_session: bool = False,
    return_url: str | None = None,
    session_id: int | None = None,
    driver_id: str | None = None,
    account_id: int | None = None,
    description: str | None = None,
    action_until: datetime | None = None,
    next_at: datetime | None = None,
    method: str | None = None,
    saved_method: str | None = None,
    for_token: str | None = None,
    by: str,
) -> int | None:
    """A new payment; its id, None where the provider's id is known already."""
    ident: int | None = await db.fetchval(
        "INSERT INTO payment (tenant_id, provider, kind, purpose, key, currency, hold, goal, to_capture, ref, authorized,"
        " captured, ended, state, off_session, return_url, session_id, driver_id, account_id, description, action_until,"
        " next_at, method, created_by, captured_at, error, saved_method, for_token)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,"
        " $24, CASE WHEN $12::numeric > 0 THEN now() END, $25, $26, $27) ON CONFLICT DO NOTHING RETURNING id",
        tenant_id,
        provider,
        kind,
        purpose,
        key,
        currency,
        payment.hold,
        payment.goal.value,
        payment.to_capture,
        payment.ref,
        payment.authorized,
        payment.captured,
        payment.ended and payment.ended.value,
        payment.state.value,
        off_session,
        return_url,
        session_id,
        driver_id,
        account_id,
        description,
        action_until,
        next_at,
        method,
        by,
        payment.error,
        saved_method,
        for_token,
    )
    return ident


async def locked(db: Db, ident: int, *, skip: bool = False) -> StoredPayment | None:
    """A payment by our id, locked until the transaction ends.

    Args:
        skip: None where somebody else has it locked.
    """
    return _stored(await db.fetchrow(f"{_SELECT} WHERE id = $1 FOR UPDATE{' SKIP LOCKED' if skip else ''}", ident))


async def stored(db: Db, ident: int) -> StoredPayment | None:
    """A payment by our id."""
    return _stored(await db.fetchrow(f"{_SELECT} WHERE id = $1", ident))


async def by_ref(db: Db, tenant_id: TenantId, provider: str, ref: str) -> int | None:
    """Our id of a payment by one of the provider's."""
    found: int | None = await db.fetchval(
        "SELECT id FROM payment WHERE tenant_id = $1 AND provider = $2 AND (ref = $3 OR alias = $3) LIMIT 1",
        tenant_id,
        provider,
        ref,
    )
    return found


async def of_session(db: Db, tenant_id: TenantId, session_id: int) -> int | None:
    """The payment of a session, the newest that is not over without money; its id."""
    found: int | None = await db.fetchval(
        "SELECT id FROM payment WHERE tenant_id = $1 AND session_id = $2 AND purpose <> 'terminal'"
        " ORDER BY ended IS NOT NULL, id DESC LIMIT 1",
        tenant_id,
        session_id,
    )
    return found


async def paying(db: Db, tenant_id: TenantId, session_id: int) -> int | None:
    """The payment by which a session is paid: one that holds something for it, or did; its id."""
    found: int | None = await db.fetchval(
        "SELECT id FROM payment WHERE tenant_id = $1 AND session_id = $2 AND purpose <> 'terminal'"
        " AND (purpose <> 'session' OR authorized > 0) ORDER BY ended IS NOT NULL, id DESC LIMIT 1",
        tenant_id,
        session_id,
    )
    return found


async def claim_for_token(db: Db, tenant_id: TenantId, token_key: str, session_id: int) -> int | None:
    """Gives a session the oldest hold that waits for one of its id token; the payment's id."""
    found: int | None = await db.fetchval(
        "UPDATE payment SET session_id = $3, for_token = NULL WHERE id = (SELECT id FROM payment WHERE tenant_id = $1"
        " AND for_token = $2 AND session_id IS NULL AND state = 'authorized' AND goal = 'hold'"
        " ORDER BY id LIMIT 1 FOR UPDATE) RETURNING id",
        tenant_id,
        token_key,
        session_id,
    )
    return found


async def billed(db: Db, tenant_id: TenantId, session_id: int) -> Decimal | None:
    """What the CDRs of a session say together, those that are not held back, with the fees of its booking; credits are negative. None where
    there are no CDRs."""
    found: Decimal | None = await db.fetchval(
        "SELECT sum(c.total_incl) + coalesce((SELECT sum(f.gross) FROM billable_fee f WHERE f.tenant_id = $1 AND f.session_id = $2"
        " AND f.payment_id IS NOT NULL), 0) FROM cdr c LEFT JOIN cdr_release r ON r.cdr_id = c.id"
        " WHERE c.tenant_id = $1 AND c.session_id = $2 AND (c.holds = '{}' OR r.cdr_id IS NOT NULL)",
        tenant_id,
        session_id,
    )
    return found


async def session_cost(db: Db, tenant_id: TenantId, session_id: int, currency: str) -> Decimal | None:
    """What a session costs so far, taxes included, as it was rated last; None where that is not known in this currency."""
    found: Decimal | None = await db.fetchval(
        "SELECT cost_incl FROM charging_session WHERE tenant_id = $1 AND id = $2 AND currency = $3",
        tenant_id,
        session_id,
        currency,
    )
    return found


async def has_cdr(db: Db, session_id: int) -> bool:
    """Whether there is a CDR of a session, held back or not."""
    found: bool = await db.fetchval("SELECT EXISTS (SELECT FROM cdr WHERE session_id = $1)", session_id)
    return found


async def due(db: Db, now: datetime, most: int = 50) -> list[int]:
    """Payments that are to be looked at, the longest due first."""
    rows = await db.fetch(
        "SELECT id FROM payment WHERE next_at <= $1 AND (claimed_until IS NULL OR claimed_until <= $1)"
        " ORDER BY next_at LIMIT $2",
        now,
        most,
    )
    return [row["id"] for row in rows]


async def save(db: Db, ident: int, payment: Payment, **columns: Any) -> None:
    """Writes what is known of a payment, and other columns beside it."""
    values: dict[str, Any] = {
        **msgspec.structs.asdict(payment),
        "goal": payment.goal.value,
        "ended": payment.ended and payment.ended.value,
        "dispute": payment.dispute.value,
        "state": payment.state.value,
        **columns,
    }
    changes = ", ".join(f"{name} = ${place}" for place, name in enumerate(values, 2))
    await db.execute(f"UPDATE payment SET {changes}, updated_at = now() WHERE id = $1", ident, *values.values())


async def touch(db: Db, ident: int, **columns: Any) -> None:
    """Writes columns that are not about the money."""
    changes = ", ".join(f"{name} = ${place}" for place, name in enumerate(columns, 2))
    await db.execute(f"UPDATE payment SET {changes} WHERE id = $1", ident, *columns.values())


# -- operations --------------------------------------------------------------------------------------------------------


async def operations(db: Db, ident: int) -> list[StoredOperation]:
    """What was asked of a payment's provider, oldest first."""
    return [_operation(row) for row in await db.fetch(f"{_OPERATION} WHERE payment_id = $1 ORDER BY id", ident)]


async def add_operation(
    db: Db,
    tenant_id: TenantId,
    ident: int,
    kind: OperationKind,
    amount: Decimal,
    key: str,
    state: OperationState,
    by: str,
    reason: str | None = None,
) -> StoredOperation:
    """Writes down what a provider is to be asked for."""
    number = await db.fetchval(
        "INSERT INTO payment_operation (payment_id, tenant_id, kind, amount, key, state, requested_by, reason)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        ident,
        tenant_id,
        kind.value,
        amount,
        key,
        state.value,
        by,
        reason,
    )
    return StoredOperation(id=number, kind=kind, amount=amount, key=key, state=state, superseded=False)


async def begin_operation(db: Db, number: int) -> None:
    """Notes that the provider is asked from now on."""
    await db.execute(
        "UPDATE payment_operation SET state = 'begun', begun_at = now(), attempts = attempts + 1 WHERE id = $1", number
    )


async def end_operation(db: Db, number: int, state: OperationState, error: str | None = None) -> None:
    """Notes how it ended, or why it has not."""
    over = state in (OperationState.DONE, OperationState.REFUSED)
    await db.execute(
        "UPDATE payment_operation SET state = $2, error = $3, ended_at = CASE WHEN $4 THEN now() END WHERE id = $1",
        number,
        state.value,
        error,
        over,
    )


async def supersede(db: Db, ident: int) -> int:
    """Lets be asked again what was refused; how much there was."""
    done: str = await db.execute(
        "UPDATE payment_operation SET superseded = true WHERE payment_id = $1 AND state = 'refused' AND NOT superseded",
        ident,
    )
    return int(done.rpartition(" ")[2])


# -- as the API shows them ---------------------------------------------------------------------------------------------


PAYMENT_SORTS: Final = Sorts("id", captured=by_amount("captured", "captured"))


async def page(
    db: Db, tenant_id: TenantId, wanted: PaymentFilter, limit: int, after: Position | None
) -> list[PaymentView]:
    """Payments, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("state = ?", wanted.state)
    where.add_if("provider = ?", wanted.provider)
    where.add_if("purpose = ?", wanted.purpose)
    where.add_if("session_id = ?", wanted.session_id)
    where.add_if("driver_id = ?", wanted.driver_id)
    where.add_if("ref = ?", wanted.reference)
    where.add_if("created_at >= ?", wanted.created_from)
    where.add_if("created_at < ?", wanted.created_to)
    order = PAYMENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_VIEW} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def view(db: Db, ident: int, tenant_id: TenantId | None = None) -> PaymentView | None:
    """A payment by our id; of this tenant only where one is given."""
    row = await db.fetchrow(f"{_VIEW} WHERE id = $1 AND ($2::integer IS NULL OR tenant_id = $2)", ident, tenant_id)
    return None if row is None else _view(row)


async def operation_views(db: Db, ident: int, currency: str) -> list[OperationView]:
    """What was asked of a payment's provider, oldest first."""
    rows = await db.fetch(
        "SELECT id, kind, amount, key, state, error, reason, requested_by, attempts, created_at, begun_at, ended_at"
        " FROM payment_operation WHERE payment_id = $1 ORDER BY id",
        ident,
    )
    return [
        OperationView(
            id=str(row["id"]),
            kind=OperationKind(row["kind"]),
            amount=Money(amount=row["amount"], currency=currency).view(),
            state=OperationState(row["state"]),
            idempotency_key=row["key"],
            error=row["error"],
            reason=row["reason"],
            requested_by=row["requested_by"],
            attempts=row["attempts"],
            created_at=row["created_at"],
            begun_at=row["begun_at"],
            ended_at=row["ended_at"],
        )
        for row in rows
    ]


def _known(row: Any) -> Payment:
    return Payment(
        hold=row["hold"],
        goal=Goal(row["goal"]),
        to_capture=row["to_capture"],
        capture_begun=row["capture_begun"],
        ref=row["ref"],
        action=row["action"],
        authorized=row["authorized"],
        captured=row["captured"],
        refunded=row["refunded"],
        ended=None if row["ended"] is None else Ended(row["ended"]),
        dispute=Dispute(row["dispute"]),
        expires_at=row["expires_at"],
        error=row["error"],
        fee=row["fee"],
    )


_names: Final[Sequence[str]] = [name.strip() for name in _BESIDE.split(",")]


def _stored(row: Any) -> StoredPayment | None:
    if row is None:
        return None
    return StoredPayment(payment=_known(row), **{name: row[name] for name in _names})


def _operation(row: Any) -> StoredOperation:
    return StoredOperation(
        id=row["id"],
        kind=OperationKind(row["kind"]),
        amount=row["amount"],
        key=row["key"],
        state=OperationState(row["state"]),
        superseded=row["superseded"],
    )


def _view(row: Any) -> PaymentView:
    known = _known(row)
    currency = row["currency"]

    def money(amount: Decimal) -> MoneyView:
        return Money(amount=amount, currency=currency).view()

    def text(value: int | None) -> str | None:
        return None if value is None else str(value)

    waiting = known.state in (PaymentState.CREATED, PaymentState.REQUIRES_ACTION)
    return PaymentView(
        id=str(row["id"]),
        provider=row["provider"],
        provider_kind=row["kind"],
        provider_reference=row["ref"],
        purpose=row["purpose"],
        state=known.state,
        hold=money(known.hold),
        authorized=money(known.authorized),
        captured=money(known.captured),
        refunded=money(known.refunded),
        to_capture=None if known.to_capture is None else money(known.to_capture),
        uncollected=money(uncollected(known)),
        fee=money(known.fee),
        method=row["method"],
        error=known.error,
        dispute=known.dispute,
        action_url=row["action_url"] if waiting else None,
        session_id=text(row["session_id"]),
        driver_id=row["driver_id"],
        account_id=text(row["account_id"]),
        description=row["description"],
        expires_at=known.expires_at,
        authorized_at=row["authorized_at"],
        captured_at=row["captured_at"],
        next_attempt_at=row["next_at"] if row["attempts"] else None,
        created_by=row["created_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
