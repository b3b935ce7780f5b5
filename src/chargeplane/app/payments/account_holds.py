"""Sessions of account holders whose agreement says that each is paid: by card, or from a wallet.

By app, the amount is held before the station is asked to start: where it is not to be had, nothing is started and the driver reads why. At the
station (a card, a car), OCPP has the station's answer go out before any provider could be asked, so the hold is made as soon as the
transaction is known; where it is declined, or not answered in time, the station is asked to end the transaction, an alert says why, and
what was charged until then is on the agreement's next invoice. Each look at an open session comes here again, so whoever dies
in between has it done by whoever looks next: the payment names its session from the transaction in which it is written.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

import structlog
from msgspec import Struct

from chargeplane.app.agreements.resolving import Resolved
from chargeplane.app.alerts import Alerts
from chargeplane.app.commands import Commands
from chargeplane.app.house import utc_now
from chargeplane.app.locations import EvsePlace
from chargeplane.app.payments.payments import MOST, NewPayment, Payments
from chargeplane.domain.agreements.model import BillingMethod
from chargeplane.domain.agreements.scope import ResolveAsk
from chargeplane.domain.alerts import Severity
from chargeplane.domain.authorization import canonical, token_key
from chargeplane.domain.cdrs.session import FrozenAgreement
from chargeplane.domain.commands import Stop
from chargeplane.domain.payments.states import OVER, PaymentState
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.queries import payment_accounts, payment_methods
from chargeplane.store.queries import payments as queries
from chargeplane.store.queries import sessions as session_queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.payments import StoredPayment
from chargeplane.store.queries.session_transactions import SessionTransaction
from chargeplane.store.queries.sessions import Session

log = structlog.get_logger(__name__)

HELD: Final = frozenset({BillingMethod.CARD, BillingMethod.WALLET})
"""How agreements are paid session by session; all else is billed, or free."""

_STOP_AGAIN: Final = timedelta(minutes=2)
_KEPT: Final = 10_000
_BREATH_S: Final = 0.1
_LOOK_AGAIN: Final = timedelta(seconds=1)
_START_WITHIN: Final = timedelta(minutes=3)
"""A hold that was made before the start waits so long for its session."""

_TAKEN: Final = frozenset({PaymentState.CAPTURED, PaymentState.PARTLY_REFUNDED, PaymentState.REFUNDED})


class Terms(Protocol):
    """Who knows how agreements are paid."""

    async def resolve(self, tenant_id: TenantId, ask: ResolveAsk) -> Resolved | None:
        """The agreement that applies."""
        ...

    async def frozen(
        self, tenant_id: TenantId, agreement_id: int, version: int, *, location_id: str | None = None
    ) -> Resolved | None:
        """A version that a session froze."""
        ...


class HoldTimes(Struct, frozen=True, kw_only=True):
    """How patient it is.

    Args:
        answer_s: so long a provider may take before the session is stopped.
    """

    answer_s: float = 30.0


class AccountHolds:
    """See above.

    Args:
        hold: held where the agreement names no amount, in major units of its currency.
    """

    def __init__(
        self,
        database: Database,
        payments: Payments,
        commands: Commands,
        alerts: Alerts,
        terms: Terms,
        *,
        hold: Decimal,
        times: HoldTimes | None = None,
    ) -> None:
        self._database = database
        self._payments = payments
        self._commands = commands
        self._alerts = alerts
        self._terms = terms
        self._hold = hold
        self._times = times or HoldTimes()
        self._stopped: dict[int, datetime] = {}

    # -- before the start, by app --------------------------------------------------------------------------------------

    async def before(
        self, tenant_id: TenantId, driver_id: int, id_token: tuple[str, str], place: EvsePlace
    ) -> int | None:
        """Holds what a session by app is to be paid by; the payment, None where none is needed.

        Raises:
            ConflictError: it is not to be had; why, for the driver.
        """
        value, kind = id_token
        found = await self._terms.resolve(
            tenant_id,
            ResolveAsk(
                at=utc_now(),
                id_token=value,
                id_token_type=kind,
                driver_id=str(driver_id),
                evse_uid=place.evse_uid,
                station_id=place.station_id,
                location_id=place.location_id,
                country=place.country,
            ),
        )
        if found is None or found.billing.method not in HELD:
            return None
        async with self._database.change() as db:
            wanted = await self._wanted(db, tenant_id, found, str(driver_id), None, token_key(canonical(value, kind)))
            ident = await self._begin(db, tenant_id, wanted) if isinstance(wanted, NewPayment) else wanted
        if isinstance(ident, str):
            raise ConflictError(f"The session cannot be paid: {_SENTENCES[ident]} Nothing was started.")
        stored = await self._answered(ident)
        if stored.payment.state is PaymentState.AUTHORIZED:
            return ident
        why = stored.payment.error or "no_answer"
        await self._payments.release(ident, why)
        raise ConflictError(f"The payment was refused ({why}). Nothing was started.")

    async def _answered(self, ident: int) -> StoredPayment:
        """A payment once its provider has said yes or no, or for too long nothing."""
        until = utc_now() + timedelta(seconds=self._times.answer_s)
        while True:
            # Somebody else may be at it: what the provider tells by itself is applied, too.
            await self._payments.drive(ident)
            async with self._database.read() as db:
                stored = await queries.stored(db, ident)
            assert stored is not None
            state = stored.payment.state
            if state in OVER or state is PaymentState.AUTHORIZED or utc_now() >= until:
                return stored
            await asyncio.sleep(_BREATH_S)

    async def not_started(self, payment_id: int) -> None:
        """The station did not start: what is held for it is released, unless the session began all the same."""
        async with self._database.change() as db:
            stored = await queries.locked(db, payment_id)
            if stored is None or stored.session_id is not None:
                return
            await self._payments.release_within(db, payment_id, "not_started")
        await self._payments.drive(payment_id)

    # -- while a session goes on ---------------------------------------------------------------------------------------

    async def hold(self, session: Session, transaction: SessionTransaction) -> datetime | None:
        """Sees to it that an open session is paid: its hold is made, or it is stopped. When to look again; None: at the usual time."""
        agreement = session.frozen.agreement
        if agreement is None:
            return None
        found = await self._terms.frozen(session.tenant_id, agreement.id, agreement.version)
        if found is None or found.billing.method not in HELD:
            return None
        refused: str | None = None
        async with self._database.change() as db:
            if await session_queries.locked(db, session.tenant_id, session.id) is None:
                return None
            ident = await queries.of_session(db, session.tenant_id, session.id)
            if ident is None and transaction.token_key is not None:
                ident = await queries.claim_for_token(db, session.tenant_id, transaction.token_key, session.id)
            if ident is None:
                driver = session.frozen.driver_id
                wanted = await self._wanted(
                    db, session.tenant_id, found, None if driver is None else str(driver), session.id, None
                )
                begun = await self._begin(db, session.tenant_id, wanted) if isinstance(wanted, NewPayment) else wanted
                if isinstance(begun, str):
                    refused = begun
                else:
                    ident = begun
        if ident is None:
            await self._refuse(session, transaction, agreement, refused or "no_answer")
            return None
        await self._payments.drive(ident)
        return await self._look(session, transaction, agreement, ident)

    async def _look(
        self, session: Session, transaction: SessionTransaction, agreement: FrozenAgreement, ident: int
    ) -> datetime | None:
        async with self._database.read() as db:
            stored = await queries.stored(db, ident)
        assert stored is not None
        payment = stored.payment
        if payment.state in _TAKEN or (payment.authorized > 0 and payment.ended is None):
            return None
        now = utc_now()
        if payment.state not in OVER:
            if now - stored.created_at < timedelta(seconds=self._times.answer_s):
                return now + _LOOK_AGAIN
            await self._payments.release(ident, "no_answer")
        await self._refuse(session, transaction, agreement, payment.error or "no_answer", ident)
        return None

    async def _refuse(
        self,
        session: Session,
        transaction: SessionTransaction,
        agreement: FrozenAgreement,
        why: str,
        payment_id: int | None = None,
    ) -> None:
        now = utc_now()
        asked = self._stopped.get(session.id)
        if asked is not None and now - asked < _STOP_AGAIN:
            return
        if len(self._stopped) >= _KEPT:
            self._stopped.clear()
        self._stopped[session.id] = now
        async with self._database.change() as db:
            await self._alerts.raise_alert(
                db,
                session.tenant_id,
                session.station_key,
                kind="payment",
                severity=Severity.WARNING,
                title=f"Session {session.id} is not paid and was stopped: {why}.",
                ident=f"session {session.id}",
                details={
                    "session_id": str(session.id),
                    "agreement": agreement.number,
                    "payment_id": None if payment_id is None else str(payment_id),
                    "code": why,
                },
            )
        if transaction.ocpp_transaction_id is not None:
            await self._commands.give(
                session.tenant_id,
                session.station_key,
                Stop(ocpp_transaction_id=transaction.ocpp_transaction_id),
                by=f"payments: {why}",
                valid_s=86_400.0,
            )
        log.info("session_not_paid", session=session.id, why=why)

    # -- what is held --------------------------------------------------------------------------------------------------

    async def _begin(self, db: Db, tenant_id: TenantId, wanted: NewPayment) -> int | str:
        try:
            return await self._payments.begin(db, tenant_id, wanted, by="sessions")
        except (ConflictError, InvalidInputError, NotFoundError):
            return "no_provider"

    async def _wanted(
        self,
        db: Db,
        tenant_id: TenantId,
        terms: Resolved,
        driver_id: str | None,
        session_id: int | None,
        for_token: str | None,
    ) -> NewPayment | str:
        """The payment, or in a word why there can be none."""
        amount = terms.limits.hold_per_session
        hold = Money(amount=self._hold, currency=terms.currency)
        if amount is not None and amount.currency == terms.currency and amount.amount > 0:
            hold = Money(amount=min(amount.amount, MOST), currency=amount.currency)
        owners = [terms.number] if driver_id is None else [terms.number, driver_id]
        provider, account_id, saved = None, None, None
        if terms.billing.method is BillingMethod.WALLET:
            provider, account_id = await payment_accounts.wallet_of(db, tenant_id, owners, terms.currency)
            if account_id is None or provider is None:
                return "no_wallet" if account_id is None else "no_provider"
        else:
            method = await payment_methods.of_owners(db, tenant_id, owners)
            if method is None:
                return "no_payment_method"
            provider, saved = method.provider, method.ref
        return NewPayment(
            provider=provider,
            hold=hold.rounded(),
            off_session=True,
            session_id=session_id,
            driver_id=driver_id,
            account_id=account_id,
            saved_method=saved,
            for_token=for_token,
            action_time=_START_WITHIN,
            description=f"Charging, {terms.number}",
        )


_SENTENCES: Final = {
    "no_wallet": "the agreement is paid from a wallet, and there is none.",
    "no_provider": "the payment provider takes no payments.",
    "no_payment_method": "the agreement is paid by card, and none is saved.",
}
