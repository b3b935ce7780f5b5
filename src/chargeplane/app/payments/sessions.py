"""Sessions that are paid: by which payment, until when the hold suffices, and what they cost in the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.commands import Commands
from chargeplane.app.house import utc_now
from chargeplane.app.payments.payments import Payments
from chargeplane.app.payments.providers import TERMINAL, Providers
from chargeplane.app.sessions.ports import Seen
from chargeplane.domain.commands import Stop
from chargeplane.domain.payments.dearest import dearest
from chargeplane.domain.payments.holds import LATENCY, Spending, used_up
from chargeplane.domain.payments.states import PaymentState
from chargeplane.domain.rating import Rating
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.ids import TenantId, TransactionId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import billable_fees, guest_visits
from chargeplane.store.queries import payments as queries

log = structlog.get_logger(__name__)

_STOP_AGAIN: Final = timedelta(minutes=2)
_KEPT: Final = 10_000
_USUAL_INTERVAL: Final = timedelta(seconds=60)
_UNKNOWN_POWER_W: Final = 150_000
"""Of a connector of which nothing is said: rather stopped early than not paid."""

PowerOf = Callable[[TenantId, TransactionId], Awaitable[int | None]]
"""The most that the connector of a session gives, in W; None where that is not known."""


async def nobody_knows(tenant_id: TenantId, session_id: TransactionId) -> int | None:
    """None: a connector of which nothing is said."""
    return None


class PaidTransaction(Protocol):
    """What is asked of a transaction."""

    @property
    def tenant_id(self) -> TenantId: ...

    @property
    def id(self) -> TransactionId: ...

    @property
    def id_token(self) -> str | None: ...


class CdrFact(Struct, frozen=True, kw_only=True):
    """What is read of facts about CDRs."""

    session_id: str
    currency: str | None = None
    payment_id: str | None = None
    held: bool = False


_cdr = msgspec.json.Decoder(CdrFact).decode


class PaidSessions:
    """What the keeping of sessions asks of payments, and tells them."""

    def __init__(
        self,
        database: Database,
        payments: Payments,
        providers: Providers,
        commands: Commands,
        power_of: PowerOf = nobody_knows,
    ) -> None:
        self._database = database
        self._payments = payments
        self._providers = providers
        self._commands = commands
        self._power_of = power_of
        self._stopped: dict[int, datetime] = {}

    async def payment_of(self, transaction: PaidTransaction) -> int | None:
        """The payment by which a session is paid: it names the session, or its guest's id token began it."""
        async with self._database.read() as db:
            found = await queries.paying(db, transaction.tenant_id, transaction.id)
            if found is None and transaction.id_token:
                found = await guest_visits.payment_of_token(db, transaction.tenant_id, transaction.id_token)
        return found

    async def rated(
        self,
        tenant_id: TenantId,
        ident: TransactionId,
        payment_id: int | None,
        rating: Rating,
        tariff: Tariff,
        seen: Seen,
    ) -> None:
        """An open session was rated: where its hold does not suffice any more, it is raised, or the session stopped. Guests' sessions are looked
        after by their visits."""
        if payment_id is None or rating.start is None or rating.end is None:
            return
        async with self._database.read() as db:
            payment = await queries.stored(db, payment_id)
        if (
            payment is None
            or payment.purpose != "session"
            or payment.currency != rating.currency
            or payment.payment.state is not PaymentState.AUTHORIZED
        ):
            return
        power_w = await self._power_of(tenant_id, ident)
        most = dearest(tariff, max(_UNKNOWN_POWER_W if power_w is None else power_w, seen.power_w))
        spending = Spending(
            cost=rating.due.incl,
            per_hour=most.per_hour,
            jump=most.jump,
            told_ago=max(timedelta(), utc_now() - rating.end),
            meter_interval=seen.meter_interval or _USUAL_INTERVAL,
            # It is looked at again only then: the order to stop may go out so much later than a value that says it should.
            latency=LATENCY + seen.look_again,
        )
        held = payment.payment.authorized
        if not used_up(held, spending):
            return
        provider = await self._providers.get(payment.tenant_id, payment.provider)
        if provider.able.increment and payment.payment.hold <= held:
            more = Money(amount=held + payment.payment.hold, currency=payment.currency).rounded()
            view = await self._payments.raise_hold(payment_id, more)
            if not used_up(Decimal(view.authorized.amount), spending):
                return
        await self._stop(tenant_id, ident)

    async def _stop(self, tenant_id: TenantId, ident: TransactionId) -> None:
        now = utc_now()
        asked = self._stopped.get(ident)
        if asked is not None and now - asked < _STOP_AGAIN:
            return
        async with self._database.read() as db:
            row = await db.fetchrow(
                "SELECT station_key, ocpp_transaction_id FROM transaction WHERE tenant_id = $1 AND id = $2 AND is_open",
                tenant_id,
                ident,
            )
        if row is None or row["ocpp_transaction_id"] is None:
            return
        if len(self._stopped) >= _KEPT:
            self._stopped.clear()
        self._stopped[ident] = now
        await self._commands.give(
            tenant_id,
            row["station_key"],
            Stop(ocpp_transaction_id=row["ocpp_transaction_id"]),
            by="payments: hold used up",
            valid_s=86_400.0,
        )
        log.info("session_stopped_for_its_hold", session=ident)

    async def cdr(self, fact: Fact) -> None:
        """A CDR was made, or released to be billed: the session's payment takes what its CDRs say together. A credit alone gives all back;
        with a correction, the difference."""
        try:
            told = _cdr(fact.payload)
        except msgspec.MsgspecError as error:
            raise RuleError(f"The fact cannot be read: {error}") from error
        if told.held and fact.topic.startswith("cdr.created"):
            return  # nothing is taken before a person released it
        tenant_id, session_id = TenantId(fact.tenant_id), int(told.session_id)
        async with self._database.read() as db:
            ident = None if told.payment_id is None else int(told.payment_id)
            if ident is None:
                ident = await queries.of_session(db, tenant_id, session_id)
            if ident is None:
                return
            stored = await queries.stored(db, ident)
        if stored is not None and stored.kind == TERMINAL:
            return  # a terminal takes what it takes: what is to be taken is noted by whoever hears of it
        async with self._database.change() as db:
            await billable_fees.bind(db, tenant_id, session_id, ident)
            total = await queries.billed(db, tenant_id, session_id)
        if stored is None or total is None or told.currency is None:
            return
        if stored.session_id is None:
            await self._payments.attach(ident, session_id)
        await self._payments.settle_payment(ident, Money(amount=total, currency=told.currency))
