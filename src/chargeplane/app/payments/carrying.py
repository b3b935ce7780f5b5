"""Carries payments on: one step at a time, each written down before the provider is asked for it.

A step is three parts: in a transaction it is decided (`domain.payments.steps.next_step`), written as an operation with its idempotency key, and
the payment is claimed for a while; the provider is asked, without a transaction; in a second transaction is written what it answered, with
the facts that follow. Whoever dies between any two of these leaves a payment that is due when the claim ends. Whoever comes then finds the
operation begun, asks the provider how the payment stands, and either sees that it came through or asks again with the same key. So nothing is
captured twice, whatever is killed and whenever.

What a provider tells by itself is joined to what is known (`domain.payments.states.seen`), in any order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.alerts import Alerts
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.payments.ports import METHOD, Begun, Costs, DeclinedError, Order, Provider, UnknownPaymentError
from chargeplane.app.payments.providers import TERMINAL, Providers
from chargeplane.domain.alerts import Severity
from chargeplane.domain.payments.states import NOTHING, OVER, Dispute, Ended, Goal, Payment, PaymentState, Seen, seen
from chargeplane.domain.payments.steps import (
    Capabilities,
    OperationKind,
    OperationState,
    capture_at,
    next_step,
    uncollected,
    visible,
)
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError, RuleError, UnavailableError
from chargeplane.kernel.ids import TransactionId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import payment_accounts as accounts
from chargeplane.store.queries import payment_methods, session_work
from chargeplane.store.queries import payments as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.payments import StoredOperation, StoredPayment

log = structlog.get_logger(__name__)

_STEPS_AT_ONCE: Final = 12
_FIRST_RETRY_S: Final = 1.0
_LAST_RETRY_S: Final = 900.0
_GRACE: Final = timedelta(seconds=3)
"""Who applies what was told asks the provider at once; the reconciliation leaves it to them for so long."""
_LOOK_SOON: Final = timedelta(seconds=10)
_LOOK_LATER: Final = timedelta(seconds=60)
_LOOK_AT_HOLD: Final = timedelta(hours=1)
_PATIENCE_ALERTS: Final = 6
"""Failed attempts in a row after which a person is told."""

FEE: Final = "payment.fee"
FACTS: Final = (*(f"payment.{state.value}" for state in PaymentState), FEE)
"""Topics of the outbox: a payment came to be in a state (again, where a dispute or a refund changed it), or its provider told what it keeps.
Key `payment:<id>`, payload `PaymentFact`."""


class PaymentFact(Struct, frozen=True, kw_only=True):
    """What a fact about a payment says; amounts as they are after it, in major units."""

    payment_id: str
    state: PaymentState
    purpose: str
    provider: str
    provider_kind: str
    currency: str
    authorized: Decimal
    captured: Decimal
    refunded: Decimal
    dispute: Dispute
    fee: Decimal
    session_id: str | None
    driver_id: str | None
    account_id: str | None
    at: datetime


class Times(Struct, frozen=True, kw_only=True):
    """How patient payments are.

    Args:
        call_s: a provider's answer is waited for so long.
        claim_s: who is at a payment has it for so long; above `call_s`.
    """

    call_s: float = 20.0
    claim_s: float = 30.0


class _Work(Struct, frozen=True, kw_only=True):
    """What is to be asked of a provider now; without an operation: how the payment stands."""

    stored: StoredPayment
    operation: StoredOperation | None
    again: bool = False


class Carrying:
    """See above.

    Args:
        costs: None: what a session costs is not known before it is settled.
    """

    def __init__(
        self,
        database: Database,
        providers: Providers,
        events: EventFeed,
        alerts: Alerts,
        *,
        costs: Costs | None = None,
        times: Times | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._providers = providers
        self._events = events
        self._alerts = alerts
        self._times = times or Times()
        self._now = now
        self.costs = costs
        self.on_expiring: Callable[[StoredPayment], Awaitable[None]] | None = None
        """Told when the hold of a running session is about to end by itself."""
        self.on_fact: Callable[[], None] = lambda: None
        """Told when facts were committed."""

    async def drive(self, ident: int, *, look: bool = False) -> None:
        """Does what is to be done with a payment now, as far as its provider answers.

        Args:
            look: asks the provider how the payment stands, first.
        """
        answered = False
        for _ in range(_STEPS_AT_ONCE):
            work = await self._claim(ident, look=look, answered=answered)
            if work is None:
                return
            look, answered = False, True
            if not await self._ask(work):
                return

    # -- first transaction: what is to be done -------------------------------------------------------------------------

    async def _claim(self, ident: int, *, look: bool, answered: bool = False) -> _Work | None:
        """What to ask now; None: nothing, or somebody else is at it.

        Args:
            answered: the provider has just told how the payment stands.
        """
        await self._end_hold(ident)
        now = self._now()
        until = now + timedelta(seconds=self._times.claim_s)
        async with self._database.change() as db:
            stored = await queries.locked(db, ident, skip=True)
            if stored is None:
                return None
            if stored.claimed_until is not None and stored.claimed_until > now:
                return None
            if stored.kind == TERMINAL:
                # Terminals tell by themselves; there is nobody to ask.
                await queries.touch(db, ident, next_at=None)
                return None
            able = await self._able(stored)
            if able is None:
                await queries.touch(db, ident, next_at=now + _LOOK_AT_HOLD)
                return None
            payment, expired = stored.payment, False
            if (
                stored.action_until is not None
                and now >= stored.action_until
                and payment.state in (PaymentState.CREATED, PaymentState.REQUIRES_ACTION)
                and payment.goal is not Goal.VOID
            ):
                payment, expired = replace(payment, goal=Goal.VOID, error=payment.error or "abandoned"), True
                stored = replace(stored, payment=payment)
            if _waited_in_vain(stored, now):
                payment = replace(payment, goal=Goal.VOID, error=payment.error or "not_started")
                stored = replace(stored, payment=payment)
            operations = await queries.operations(db, ident)
            operation = next((one for one in operations if one.state is OperationState.BEGUN), None)
            again = operation is not None
            if operation is None:
                operation = next((one for one in operations if one.state is OperationState.WANTED), None)
            if operation is None:
                tried = frozenset(
                    one.kind for one in operations if one.state is OperationState.REFUSED and not one.superseded
                )
                step = next_step(
                    payment,
                    able,
                    tried=tried,
                    off_session=stored.off_session,
                    saved=stored.saved_method is not None,
                )
                if step is not None:
                    key = f"{stored.key}-{step.kind.value}-{len(operations) + 1}"
                    operation = await queries.add_operation(
                        db, stored.tenant_id, ident, step.kind, step.amount, key, OperationState.BEGUN, "payments"
                    )
            due = not answered and stored.next_at is not None and stored.next_at <= now
            if operation is None and not (payment.ref is not None and (look or (due and payment.state not in OVER))):
                if payment.goal is Goal.VOID and payment.ref is None and payment.ended is None:
                    await self.write(db, stored, replace(payment, ended=Ended.VOIDED), next_at=None)
                    return None
                await queries.save(
                    db,
                    ident,
                    payment,
                    claimed_until=None,
                    next_at=self._later(stored, payment, now, waited=due or answered),
                )
                return None
            if operation is not None:
                await queries.begin_operation(db, operation.id)
                if operation.kind is OperationKind.CAPTURE:
                    payment = replace(payment, capture_begun=True)
            await queries.save(db, ident, payment, claimed_until=until, next_at=until)
            if expired:
                log.info("payment_abandoned", payment=ident)
        return _Work(stored=replace(stored, payment=payment), operation=operation, again=again)

    async def _end_hold(self, ident: int) -> None:
        """A hold that is about to end by itself is captured: what the session costs by now, or released where there is none."""
        async with self._database.read() as db:
            stored = await queries.stored(db, ident)
        if stored is None or stored.payment.state is not PaymentState.AUTHORIZED:
            return
        known, at = stored.payment, stored.authorized_at or stored.created_at
        if known.expires_at is None or self._now() < capture_at(at, known.expires_at):
            return
        if self.on_expiring is not None:
            await self.on_expiring(stored)
        cost = NOTHING
        if stored.session_id is not None and self.costs is not None:
            so_far = await self.costs.so_far(stored.tenant_id, stored.session_id, None)
            cost = NOTHING if so_far is None else so_far.cost.rounded().amount
        if cost <= 0 and stored.session_id is not None:
            # Of an account holder: as it was rated when it was looked at last.
            async with self._database.read() as db:
                rated = await queries.session_cost(db, stored.tenant_id, stored.session_id, stored.currency)
            cost = NOTHING if rated is None else Money(amount=rated, currency=stored.currency).rounded().amount
        async with self._database.change() as db:
            fresh = await queries.locked(db, ident)
            if fresh is not None and fresh.payment.state is PaymentState.AUTHORIZED and fresh.payment.goal is Goal.HOLD:
                payment = replace(fresh.payment, goal=Goal.CAPTURE, to_capture=min(cost, fresh.payment.authorized))
                await self.write(db, fresh, payment, next_at=self._now())
                log.info("payment_captured_before_hold_ends", payment=ident, amount=str(cost))

    async def _able(self, stored: StoredPayment) -> Capabilities | None:
        try:
            return (await self._providers.get(stored.tenant_id, stored.provider)).able
        except RuleError as error:
            log.warning("payment_provider_missing", payment=stored.id, provider=stored.provider, error=str(error))
            return None

    def _later(self, stored: StoredPayment, payment: Payment, now: datetime, *, waited: bool) -> datetime | None:
        """When to look again at a payment with which nothing is to be done."""
        state = payment.state
        if state in OVER or (payment.ref is None and payment.goal is Goal.VOID):
            return None
        if state is PaymentState.CREATED and payment.ref is None:
            return now + _LOOK_AT_HOLD  # refused for good: a person's turn
        if state in (PaymentState.CREATED, PaymentState.REQUIRES_ACTION):
            fresh = now - stored.created_at < timedelta(minutes=3)
            soon = now + (_LOOK_SOON if fresh else _LOOK_LATER)
            return soon if stored.action_until is None else min(soon, max(stored.action_until, now))
        soon = now + _LOOK_AT_HOLD
        if payment.expires_at is not None and state is PaymentState.AUTHORIZED:
            soon = min(soon, capture_at(stored.authorized_at or now, payment.expires_at))
        if stored.for_token is not None and stored.session_id is None and stored.action_until is not None:
            soon = min(soon, stored.action_until)
        if stored.next_at is not None and not waited and stored.next_at > now:
            soon = min(soon, stored.next_at)
        return max(soon, now + timedelta(seconds=1))

    # -- between: the provider -----------------------------------------------------------------------------------------

    async def _ask(self, work: _Work) -> bool:
        """Whether to go on with the payment."""
        stored, operation = work.stored, work.operation
        try:
            async with asyncio.timeout(self._times.call_s):
                provider = await self._providers.get(stored.tenant_id, stored.provider)
                begun = await self._call(provider, work)
        except DeclinedError as error:
            return await self._declined(stored, operation, error.code, str(error))
        except UnknownPaymentError as error:
            return await self._declined(stored, operation, "unknown_to_provider", str(error))
        except (InvalidInputError, ConflictError, NotFoundError) as error:
            await self._failed(stored, operation, str(error))
            return False
        except Exception as error:
            if not isinstance(error, (UnavailableError, TimeoutError, OSError)) and not is_unavailable(error):
                log.exception("payment_step_failed", payment=stored.id)
            await self._failed(stored, operation, str(error) or type(error).__name__)
            return False
        return await self._answered(stored, operation, begun)

    async def _call(self, provider: Provider, work: _Work) -> Begun:
        stored, operation = work.stored, work.operation
        payment, ref = stored.payment, stored.payment.ref
        if operation is None or (work.again and ref is not None):
            assert ref is not None
            found = await provider.fetch(ref, stored.currency)
            if operation is None or visible(
                operation.kind, operation.amount, operation.key, seen(payment, found), found.refunds
            ):
                return Begun(ref=ref, seen=found)
        amount = Money(amount=operation.amount, currency=stored.currency)
        if operation.kind is OperationKind.START:
            return await provider.start(
                Order(
                    key=operation.key,
                    reference=str(stored.id),
                    hold=amount,
                    description=stored.description or "Charging",
                    return_url=stored.return_url,
                    account_id=stored.account_id,
                    off_session=stored.off_session,
                    save=stored.purpose == METHOD,
                    method=stored.saved_method,
                )
            )
        assert ref is not None
        match operation.kind:
            case OperationKind.AUTHORIZE:
                told = await provider.authorize(ref, amount, operation.key)
            case OperationKind.INCREMENT:
                told = await provider.increment(ref, amount, operation.key)
            case OperationKind.CAPTURE:
                told = await provider.capture(ref, amount, operation.key)
            case OperationKind.VOID:
                told = await provider.void(ref, operation.key)
            case _:
                told = await provider.refund(ref, amount, operation.key)
        return Begun(ref=ref, seen=told)

    # -- second transaction: what came of it ---------------------------------------------------------------------------

    async def _answered(self, stored: StoredPayment, operation: StoredOperation | None, begun: Begun) -> bool:
        now = self._now()
        async with self._database.change() as db:
            fresh = await queries.locked(db, stored.id)
            if fresh is None:
                return False
            payment = fresh.payment if fresh.payment.ref is not None else replace(fresh.payment, ref=begun.ref)
            payment = seen(payment, begun.seen)
            done = operation is not None and visible(
                operation.kind, operation.amount, operation.key, payment, begun.seen.refunds
            )
            if operation is not None and operation.kind in (OperationKind.START, OperationKind.REFUND):
                done = True  # a start has its reference; a refund that was not refused is on its way
            if operation is not None and done:
                await queries.end_operation(db, operation.id, OperationState.DONE)
                await self._alerts.clear(
                    db,
                    fresh.tenant_id,
                    None,
                    kind="payment",
                    because="The provider has done it.",
                    ident=f"{fresh.id} {operation.kind.value}",
                )
            if fresh.attempts >= _PATIENCE_ALERTS:
                await self._alerts.clear(
                    db,
                    fresh.tenant_id,
                    None,
                    kind="payment_provider",
                    because="It answers again.",
                    ident=fresh.provider,
                )
            waits = operation is not None and not done
            columns: dict[str, Any] = {
                "claimed_until": None,
                "attempts": fresh.attempts + 1 if waits else 0,
                "next_at": now + _LOOK_SOON if waits else now,
            }
            if operation is None:
                columns["next_at"] = self._later(fresh, payment, now, waited=True)
            for name in ("action_url", "client_secret", "method", "alias"):
                value = getattr(begun.seen, name)
                if value is not None:
                    columns[name] = value
            if payment.state in OVER:
                columns["client_secret"] = None
            early = False
            if fresh.purpose == METHOD and payment.authorized > 0 and payment.goal is Goal.HOLD:
                # Where the provider told of the hold after it was asked, this answer does not say what it calls the card: it is asked again.
                early = begun.seen.authorized <= 0
                if early:
                    columns["next_at"] = now
                elif begun.seen.saved is not None and fresh.driver_id is not None:
                    label = begun.seen.method or fresh.method
                    await payment_methods.insert(
                        db, fresh.tenant_id, fresh.driver_id, fresh.provider, begun.seen.saved, label, fresh.id
                    )
                if not early:
                    payment = replace(payment, goal=Goal.VOID)
            await self.write(db, fresh, payment, **columns)
        await self._tell(stored, payment.state)
        return not waits and not early

    async def _declined(
        self, stored: StoredPayment, operation: StoredOperation | None, code: str, sentence: str
    ) -> bool:
        log.info("payment_declined", payment=stored.id, step=operation and operation.kind.value, code=code)
        now = self._now()
        async with self._database.change() as db:
            fresh = await queries.locked(db, stored.id)
            if fresh is None:
                return False
            payment = replace(fresh.payment, error=code)
            kind = None if operation is None else operation.kind
            if operation is not None:
                await queries.end_operation(db, operation.id, OperationState.REFUSED, f"{code}: {sentence}"[:500])
            if code == "unknown_to_provider" or kind in (OperationKind.START, OperationKind.AUTHORIZE):
                if payment.captured <= 0 and payment.ended is None:
                    payment = replace(payment, ended=Ended.FAILED)
            elif kind is OperationKind.INCREMENT:
                payment = replace(payment, hold=max(payment.authorized, NOTHING), error=fresh.payment.error)
            elif operation is not None and kind is not None:
                if kind is OperationKind.REFUND and fresh.purpose == "top_up" and fresh.account_id is not None:
                    await accounts.move(
                        db,
                        fresh.tenant_id,
                        fresh.account_id,
                        key=f"{operation.key}-undone",
                        kind="correction",
                        balance=operation.amount,
                        payment_id=fresh.id,
                        by="payments",
                        reason="the refund was refused",
                    )
                await self._alerts.raise_alert(
                    db,
                    fresh.tenant_id,
                    None,
                    kind="payment",
                    severity=Severity.WARNING,
                    title=f"Payment {fresh.id}: the provider refuses to {kind.value}.",
                    ident=f"{fresh.id} {kind.value}",
                    details={"payment_id": str(fresh.id), "operation": kind.value, "code": code, "sentence": sentence},
                )
            await self.write(db, fresh, payment, claimed_until=None, attempts=0, next_at=now)
        await self._tell(stored, payment.state)
        # How the payment stands now is asked: what was refused may have been done already, or the hold be gone.
        if kind in (OperationKind.CAPTURE, OperationKind.VOID) and payment.state not in OVER:
            work = await self._claim_look(stored.id)
            if work is not None:
                await self._ask(work)
            return True
        return payment.state not in OVER

    async def _claim_look(self, ident: int) -> _Work | None:
        now = self._now()
        until = now + timedelta(seconds=self._times.claim_s)
        async with self._database.change() as db:
            stored = await queries.locked(db, ident, skip=True)
            if stored is None or (stored.claimed_until is not None and stored.claimed_until > now):
                return None
            await queries.touch(db, ident, claimed_until=until, next_at=until)
        return _Work(stored=stored, operation=None)

    async def _failed(self, stored: StoredPayment, operation: StoredOperation | None, sentence: str) -> None:
        """It is not known what came of it: later again."""
        now = self._now()
        delay = timedelta(seconds=min(_FIRST_RETRY_S * 2**stored.attempts, _LAST_RETRY_S))
        async with self._database.change() as db:
            fresh = await queries.locked(db, stored.id)
            if fresh is None:
                return
            if operation is not None:
                await queries.end_operation(db, operation.id, OperationState.BEGUN, sentence[:500])
            attempts = min(fresh.attempts + 1, 1000)
            await queries.touch(db, stored.id, claimed_until=None, attempts=attempts, next_at=now + delay)
            if attempts >= _PATIENCE_ALERTS:
                await self._alerts.raise_alert(
                    db,
                    fresh.tenant_id,
                    None,
                    kind="payment_provider",
                    severity=Severity.WARNING,
                    title=f"The payment provider '{fresh.provider}' does not answer.",
                    ident=fresh.provider,
                    details={"payment_id": str(fresh.id), "sentence": sentence[:500], "attempts": attempts},
                )
        log.warning("payment_step_unanswered", payment=stored.id, in_s=delay.total_seconds(), error=sentence)

    async def told(self, db: Db, ident: int, what: Seen) -> bool:
        """Joins what a provider told by itself to a payment, within the caller's change; False where there is no such payment."""
        fresh = await queries.locked(db, ident)
        if fresh is None:
            return False
        payment = seen(fresh.payment, what)
        columns: dict[str, Any] = {} if what.method is None else {"method": what.method}
        await self.write(db, fresh, payment, next_at=self._now() + _GRACE, **columns)
        return True

    async def write(self, db: Db, before: StoredPayment, after: Payment, **columns: Any) -> None:
        """Writes a payment with what follows from its change."""
        now = self._now()
        old, new = before.payment.state, after.state
        if after.authorized > 0 and before.authorized_at is None:
            columns["authorized_at"] = now
        if after.captured > 0 and before.captured_at is None:
            columns["captured_at"] = now
        await queries.save(db, before.id, after, **columns)
        if before.purpose == "top_up" and before.account_id is not None and after.captured > before.payment.captured:
            # Once, by the key: the money is on the account when the payment says captured.
            await accounts.move(
                db,
                before.tenant_id,
                before.account_id,
                key=f"{before.key}-top-up",
                kind="top_up",
                balance=after.captured,
                payment_id=before.id,
                by="payments",
            )
        more = (
            after.refunded > before.payment.refunded
            or (after.captured > before.payment.captured > 0)
            or after.dispute is not before.payment.dispute
        )
        changed, dearer = old is not new or more, after.fee > before.payment.fee
        if not changed and not dearer and after.authorized == before.payment.authorized:
            return
        if before.purpose == "guest_session":
            await db.execute("UPDATE guest_visit SET next_at = now() WHERE payment_id = $1", before.id)
        elif before.purpose == "session" and before.session_id is not None and after.captured <= 0:
            # Whoever looks after sessions sees at once that the hold is there, or is not to be had.
            await session_work.look_at(db, before.tenant_id, TransactionId(before.session_id))
        if not changed:
            if dearer:
                await write_fact(db, before, after, now, FEE)
            return
        await write_fact(db, before, after, now)
        if after.dispute is Dispute.OPEN and before.payment.dispute is Dispute.NONE:
            await self._alerts.raise_alert(
                db,
                before.tenant_id,
                None,
                kind="payment",
                severity=Severity.WARNING,
                title=f"Payment {before.id} is disputed by the payer.",
                ident=f"{before.id} dispute",
                details={"payment_id": str(before.id)},
            )
        missing = uncollected(after)
        if missing > 0 and uncollected(before.payment) == 0:
            await self._alerts.raise_alert(
                db,
                before.tenant_id,
                None,
                kind="payment",
                severity=Severity.WARNING,
                title=f"Payment {before.id}: {missing} {before.currency} could not be collected.",
                ident=f"{before.id} uncollected",
                details={"payment_id": str(before.id), "amount": str(missing), "currency": before.currency},
            )

    async def _tell(self, stored: StoredPayment, new: PaymentState) -> None:
        self.on_fact()
        if stored.payment.state is new or not self._events.active:
            return
        async with self._database.read() as db:
            view = await queries.view(db, stored.id)
        if view is not None:
            self._events.publish("payment.updated", stored.tenant_id, None, view)


def _waited_in_vain(stored: StoredPayment, now: datetime) -> bool:
    """Whether a hold was made for a session that did not begin."""
    return (
        stored.for_token is not None
        and stored.session_id is None
        and stored.action_until is not None
        and now >= stored.action_until
        and stored.payment.state is PaymentState.AUTHORIZED
        and stored.payment.goal is Goal.HOLD
    )


async def write_fact(db: Db, stored: StoredPayment, payment: Payment, at: datetime, topic: str | None = None) -> None:
    """Writes the fact that a payment came to be in its state.

    Args:
        topic: where something else is told.
    """
    fact = PaymentFact(
        payment_id=str(stored.id),
        state=payment.state,
        purpose=stored.purpose,
        provider=stored.provider,
        provider_kind=stored.kind,
        currency=stored.currency,
        authorized=payment.authorized,
        captured=payment.captured,
        refunded=payment.refunded,
        dispute=payment.dispute,
        fee=payment.fee,
        session_id=None if stored.session_id is None else str(stored.session_id),
        driver_id=stored.driver_id,
        account_id=None if stored.account_id is None else str(stored.account_id),
        at=at,
    )
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
        stored.tenant_id,
        topic or f"payment.{payment.state.value}",
        f"payment:{stored.id}",
        msgspec.json.encode(fact).decode(),
    )
