"""Guests: from the scanned code to the receipt, without an account.

A visit is a row with a stage. What is done in a stage is decided and written before it is done, as with payments: `advance` takes a visit as
far as it goes now, whoever calls it, and again after a crash. The hold comes first, then the start; where nothing begins, the hold is
released and the page says why. The id token is random, known to the station alone, for one transaction, and gone afterwards.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.commands import Commands
from chargeplane.app.house import utc_now
from chargeplane.app.payments.payments import ACTION_TIME, NewPayment, Payments
from chargeplane.app.payments.ports import Costs, CostSoFar, Mailer, PayPlace, Places, Prices, PublicPrice, Receipts
from chargeplane.app.payments.providers import Providers
from chargeplane.app.pulse import Pulse
from chargeplane.app.reach import StationReach
from chargeplane.domain.commands import CommandState, Start, Stop
from chargeplane.domain.commands.display_and_cost import TellWebPayment
from chargeplane.domain.messages import IdToken
from chargeplane.domain.payments.holds import LATENCY, Spending, raised, used_up
from chargeplane.domain.payments.states import OVER as PAYMENT_OVER
from chargeplane.domain.payments.states import PaymentState
from chargeplane.domain.payments.visits import EndedBecause, Stage, moved
from chargeplane.domain.people.mails import Attachment
from chargeplane.domain.token_rules import TokenRules
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import guest_visits as queries
from chargeplane.store.queries import id_tokens, payments
from chargeplane.store.queries.guest_visits import Visit
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.payments import StoredPayment

log = structlog.get_logger(__name__)

_BY: Final = "guest"
_AFTERWATCH: Final = timedelta(minutes=15)
_STOP_AGAIN: Final = timedelta(seconds=60)
_STOP_VALID_S: Final = 86_400.0
_ID_TOKEN_FOR: Final = timedelta(days=3)
_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_MOST_RAISES: Final = 3
_NO_CDR_AFTER: Final = timedelta(hours=1)
_FILE_AWAITED: Final = timedelta(minutes=10)
"""A mail with a receipt waits for the document so long; then it goes without."""

LANGUAGES: Final = ("en", "de", "sv")
"""What the pages speak; the first is the default."""


class GuestTimes(Struct, frozen=True, kw_only=True):
    """How patient a visit is.

    Args:
        answer_s: how long the station may take to answer the start, and be unreachable before.
        plug_in_s: how long the guest has to plug in once the station has taken the start.
        look_s: how often a session is looked at.
        stop_s: from the order to stop until the car takes nothing more.
        claim_s: what a process that died was doing is taken up so long after, and twice `answer_s` later.
    """

    answer_s: float = 25.0
    plug_in_s: float = 120.0
    look_s: float = 5.0
    stop_s: float = LATENCY.total_seconds()
    every_s: float = 0.5
    claim_s: float = 30.0


class EvseForGuests(Struct, frozen=True, kw_only=True):
    """What everybody may know of an EVSE with its code.

    Args:
        status: available, plugged_in, busy, out_of_order or offline.
    """

    place: PayPlace
    price: PublicPrice
    status: str


class VisitView(Struct, frozen=True, kw_only=True):
    """What a guest sees of their own visit.

    Args:
        pay_url: where to pay, while that is asked.
        reason: why it ended without charging.
    """

    stage: Stage
    reason: str | None
    place: PayPlace
    price: PublicPrice
    payment: PaymentState
    hold: Money
    held: Money
    paid: Money | None
    refunded: Money | None
    method: str | None
    error: str | None
    pay_url: str | None
    energy_wh: Decimal | None
    cost: Money | None
    cost_lines: tuple[tuple[str, Decimal], ...]
    stop_asked: bool
    stop_reason: str | None
    language: str
    session_id: str | None
    payment_id: str
    started_at: datetime | None
    ended_at: datetime | None
    created_at: datetime


class Guests:
    """Use cases of guests; `start` looks after all visits.

    Args:
        final_from_cdr: the final amount comes by `payments.settle` from whoever makes CDRs; else it is rated here.
        mailer: None: no receipts are sent.
    """

    def __init__(
        self,
        database: Database,
        payments_: Payments,
        providers: Providers,
        commands: Commands,
        reach: StationReach,
        places: Places,
        prices: Prices,
        costs: Costs,
        *,
        mailer: Mailer | None = None,
        times: GuestTimes | None = None,
        final_from_cdr: bool = False,
    ) -> None:
        self._database = database
        self._payments = payments_
        self._providers = providers
        self._commands = commands
        self._reach = reach
        self._places = places
        self._prices = prices
        self._costs = costs
        self._times = times or GuestTimes()
        self._claim = timedelta(seconds=self._times.claim_s + 2 * self._times.answer_s)
        self.mailer = mailer
        self.receipts: Receipts | None = None
        """Who draws the document for the mail; None: nobody."""
        self.final_from_cdr = final_from_cdr
        self.receipt: Callable[[VisitView, str], tuple[str, str, str]] | None = None
        """Subject, text and HTML of a receipt, given the visit and its token."""
        self._pulse = Pulse("guests", self._times.every_s, self.look)

    async def start(self) -> None:
        """Looks after visits from now on."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that, where it stands."""
        await self._pulse.stop()

    # -- what guests ask -----------------------------------------------------------------------------------------------

    async def evse(self, code: str) -> EvseForGuests:
        """The EVSE with a code, its price and whether it is free.

        Raises:
            NotFoundError: no EVSE for guests has this code.
        """
        place = await self._places.by_code(code)
        price = None if place is None or not place.for_guests else await self._prices.public(place, utc_now())
        if place is None or price is None or await self._providers.for_guests(place.tenant_id) is None:
            raise NotFoundError("charging point", code)
        return EvseForGuests(place=place, price=price, status=await self._status(place))

    async def begin(
        self, code: str, *, language: str, email: str | None, return_url: Callable[[str], str]
    ) -> tuple[str, VisitView]:
        """Begins a visit with a payment; the guest's token, and how it stands: `pay_url` says where to go.

        Args:
            return_url: the guest's own address, given the token.
        Raises:
            NotFoundError: no EVSE for guests has this code.
            ConflictError: it cannot be used now.
        """
        found = await self.evse(code)
        place, price = found.place, found.price
        if found.status in ("busy", "out_of_order", "offline"):
            raise ConflictError(found.status)
        provider = await self._providers.for_guests(place.tenant_id)
        if provider is None:
            raise NotFoundError("charging point", code)
        token = secrets.token_urlsafe(24)
        async with self._database.change() as db:
            payment_id = await self._payments.begin(
                db,
                place.tenant_id,
                NewPayment(
                    provider=provider,
                    hold=price.hold,
                    purpose="guest_session",
                    off_session=True,
                    description=f"{place.name} {place.evse_name or place.evse_uid}",
                    return_url=return_url(token),
                    action_time=ACTION_TIME,
                ),
                by=_BY,
            )
            await queries.insert(
                db,
                place.tenant_id,
                token=token,
                payment_id=payment_id,
                code=place.code,
                station_key=place.station_key,
                ocpp_evse_id=place.ocpp_evse_id,
                evse_uid=place.evse_uid,
                location_id=place.location_id,
                place=msgspec.json.encode(place).decode(),
                price=msgspec.json.encode(price).decode(),
                language=language if language in LANGUAGES else LANGUAGES[0],
                email=email,
            )
        await self._payments.drive(payment_id)
        if await self._reach.version(place.station_key) == "2.1":
            # OCPP 2.1 C25.FR.21: nobody else begins there meanwhile.
            await self._commands.give(
                place.tenant_id,
                place.station_key,
                TellWebPayment(evse_id=place.ocpp_evse_id, hold_s=int(ACTION_TIME.total_seconds())),
                by=_BY,
                valid_s=10,
            )
        return token, await self.visit(token)

    async def visit(self, token: str, *, look: bool = False) -> VisitView:
        """How a guest's visit stands.

        Args:
            look: the guest comes back from the provider: it is asked.
        Raises:
            NotFoundError: nobody's token.
        """
        visit = await self._of(token)
        if look and visit.stage is Stage.PAYING:
            await self._payments.drive(visit.payment_id, look=True)
            await self.advance(visit.id)
            visit = await self._of(token)
        async with self._database.read() as db:
            payment = await payments.stored(db, visit.payment_id)
        assert payment is not None
        return _view(visit, payment)

    async def ask_stop(self, token: str) -> VisitView:
        """The guest has enough; before anything began, the hold is released.

        Raises:
            NotFoundError: nobody's token.
        """
        visit = await self._of(token)
        if visit.stage is Stage.PAYING:
            async with self._database.change() as db:
                held = await queries.locked(db, visit.id)
                if held is not None and held.stage is Stage.PAYING:
                    await self._end(db, held, EndedBecause.GIVEN_UP)
            await self._payments.drive(visit.payment_id)
        elif visit.stage in (Stage.STARTING, Stage.WAITING, Stage.CHARGING):
            async with self._database.change() as db:
                held = await queries.locked(db, visit.id)
                if held is not None and held.stop_asked_at is None:
                    await queries.change(db, visit.id, stop_asked_at=utc_now(), stop_reason="guest", next_at=utc_now())
            if visit.transaction_id is not None:
                await self._order_stop(visit, "guest")
        return await self.visit(token)

    async def _of(self, token: str) -> Visit:
        async with self._database.read() as db:
            visit = await queries.by_token(db, token)
        if visit is None:
            raise NotFoundError("visit", "of this address")
        return visit

    async def _status(self, place: PayPlace) -> str:
        if not await self._reach.ready(place.station_key):
            return "offline"
        async with self._database.read() as db:
            if await queries.somebody_here(db, place.station_key, place.ocpp_evse_id):
                return "busy"
            statuses = await queries.connector_statuses(db, place.station_key, place.ocpp_evse_id)
        if statuses and all(status in ("Unavailable", "Faulted") for status in statuses):
            return "out_of_order"
        if "Reserved" in statuses:
            return "busy"
        return "plugged_in" if "Occupied" in statuses else "available"

    # -- what goes on by itself ----------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Takes all visits that are due as far as they go."""
        async with self._database.read() as db:
            due = await queries.due(db, utc_now())
        for ident in due:
            self._pulse.spawn(self._guarded(ident))

    async def _guarded(self, ident: int) -> None:
        try:
            await self.advance(ident)
        except Exception as error:
            if is_unavailable(error):
                raise
            log.exception("guest_visit_not_carried_on", visit=ident)

    async def advance(self, ident: int) -> None:
        """Takes a visit as far as it goes now."""
        for _ in range(6):
            now = utc_now()
            async with self._database.change() as db:
                visit = await queries.locked(db, ident)
                if visit is None or (visit.claimed_until is not None and visit.claimed_until > now):
                    return
                await queries.change(db, ident, claimed_until=now + self._claim, next_at=now + self._claim)
            try:
                again = await self._step(visit)
            except BaseException:
                # Whoever comes next need not wait for the claim's end; after a kill they do.
                await self._let_go(ident)
                raise
            if not again:
                return

    async def _let_go(self, ident: int) -> None:
        try:
            async with self._database.change() as db:
                await queries.change(db, ident, claimed_until=None, next_at=utc_now() + timedelta(seconds=2))
        except Exception:
            log.warning("guest_visit_not_let_go", visit=ident)

    async def _step(self, visit: Visit) -> bool:
        """One stage; whether to go on at once."""
        match visit.stage:
            case Stage.PAYING:
                return await self._paying(visit)
            case Stage.STARTING:
                return await self._starting(visit)
            case Stage.WAITING:
                return await self._waiting(visit)
            case Stage.CHARGING:
                return await self._charging(visit)
            case Stage.SETTLING:
                return await self._settling(visit)
            case Stage.ENDED:
                return await self._after_end(visit)
            case _:
                return await self._done(visit)

    async def _write(self, visit: Visit, *, in_s: float | None, **columns: Any) -> None:
        async with self._database.change() as db:
            await self._write_in(db, visit, in_s=in_s, **columns)

    async def _write_in(self, db: Db, visit: Visit, *, in_s: float | None, **columns: Any) -> None:
        next_at = None if in_s is None else utc_now() + timedelta(seconds=in_s)
        if "stage" in columns:
            columns["stage"] = moved(visit.stage, columns["stage"])
        await queries.change(db, visit.id, claimed_until=None, next_at=next_at, **columns)

    async def _end(self, db: Db, visit: Visit, why: EndedBecause) -> None:
        """Ends a visit without a session: the hold is released, the id token lets nobody charge."""
        await self._payments.release_within(db, visit.payment_id, why.value)
        if visit.id_token is not None:
            await queries.remove_id_token(db, visit.tenant_id, visit.id_token)
        await self._write_in(
            db,
            visit,
            in_s=None if visit.id_token is None else 5.0,
            stage=Stage.ENDED,
            reason=why.value,
            ended_at=utc_now(),
        )

    async def _paying(self, visit: Visit) -> bool:
        async with self._database.read() as db:
            payment = await payments.stored(db, visit.payment_id)
        assert payment is not None
        state = payment.payment.state
        if state is PaymentState.AUTHORIZED:
            version = await self._reach.version(visit.station_key)
            kind = "DirectPayment" if version == "2.1" else "Central"  # OCPP 2.1 C25.FR.23; 2.0.1 F01, F02
            value = "".join(secrets.choice(_ALPHABET) for _ in range(20))  # as long as 1.6 takes
            async with self._database.change() as db:
                await id_tokens.insert(
                    db,
                    visit.tenant_id,
                    {
                        "type": kind,
                        "id_token": value,
                        "status": "Accepted",
                        "valid_until": utc_now() + _ID_TOKEN_FOR,
                        "concurrent_limit": 1,
                        # C25.FR.24: a station that knows costs is told the limit.
                        "rules": TokenRules(max_cost=payment.payment.authorized),
                        "note": f"guest {visit.id}",
                    },
                )
                await self._write_in(db, visit, in_s=0, stage=Stage.STARTING, id_token=value, id_token_type=kind)
            return True
        if state in PAYMENT_OVER:
            async with self._database.change() as db:
                await self._end(db, visit, EndedBecause.NOT_PAID)
            return False
        await self._write(visit, in_s=3.0 if state is PaymentState.CREATED else 15.0)
        return False

    async def _starting(self, visit: Visit) -> bool:
        assert visit.id_token is not None
        if await self._began(visit):
            return True
        if visit.stop_asked_at is not None and visit.start_asked_at is None:
            async with self._database.change() as db:
                await self._end(db, visit, EndedBecause.GIVEN_UP)
            await self._payments.drive(visit.payment_id)
            return False
        again = visit.start_asked_at is not None
        until = utc_now() + timedelta(seconds=self._times.plug_in_s)
        async with self._database.change() as db:
            await queries.change(db, visit.id, start_asked_at=utc_now(), start_until=until)
        outcome = await self._commands.ask(
            visit.tenant_id,
            visit.station_key,
            Start(
                id_token=IdToken(value=visit.id_token, type=visit.id_token_type),
                evse_id=visit.ocpp_evse_id,
            ),
            by=_BY,
            timeout_s=self._times.answer_s,
            valid_s=self._times.answer_s,
        )
        if outcome.state is CommandState.ACCEPTED:
            until = utc_now() + timedelta(seconds=self._times.plug_in_s)
            await self._write(visit, in_s=0.2, stage=Stage.WAITING, start_until=until)
            return False
        if again or outcome.state is CommandState.TIMED_OUT:
            # It may have begun all the same: the first of two starts, or one whose answer was lost.
            until = utc_now() + timedelta(seconds=min(self._times.answer_s, self._times.plug_in_s))
            reason = EndedBecause.NO_ANSWER if outcome.state is CommandState.TIMED_OUT else EndedBecause.REJECTED
            await self._write(visit, in_s=0.2, stage=Stage.WAITING, start_until=until, reason=reason.value)
            return False
        why = EndedBecause.UNREACHABLE if outcome.state is CommandState.EXPIRED else EndedBecause.REJECTED
        async with self._database.change() as db:
            await self._end(db, visit, why)
        await self._payments.drive(visit.payment_id)
        log.info("guest_start_refused", visit=visit.id, outcome=outcome.state.value, reason=outcome.reason)
        return False

    async def _waiting(self, visit: Visit) -> bool:
        if await self._began(visit):
            return True
        assert visit.start_until is not None
        given_up = visit.stop_asked_at is not None
        if utc_now() < visit.start_until and not given_up:
            await self._write(visit, in_s=0.7)
            return False
        why = EndedBecause(visit.reason) if visit.reason else EndedBecause.NOT_PLUGGED_IN
        async with self._database.change() as db:
            await self._end(db, visit, EndedBecause.GIVEN_UP if given_up else why)
        await self._payments.drive(visit.payment_id)
        return False

    async def _began(self, visit: Visit) -> bool:
        """Whether the session has begun; then it is the payment's."""
        assert visit.id_token is not None
        async with self._database.read() as db:
            running = await queries.begun(db, visit.tenant_id, visit.id_token)
        if running is None:
            return False
        async with self._database.change() as db:
            await payments.touch(db, visit.payment_id, session_id=running.id)
            await self._write_in(
                db, visit, in_s=0, stage=Stage.CHARGING, transaction_id=running.id, reason=None, ended_at=None
            )
        if visit.stop_asked_at is not None:
            await self._order_stop(replace(visit, transaction_id=running.id), "guest")
        return True

    async def _charging(self, visit: Visit) -> bool:
        assert visit.transaction_id is not None
        now = utc_now()
        async with self._database.read() as db:
            is_open = await db.fetchval("SELECT is_open FROM transaction WHERE id = $1", visit.transaction_id)
            payment = await payments.stored(db, visit.payment_id)
        assert payment is not None
        price = msgspec.json.decode(visit.price, type=PublicPrice)
        cost = await self._costs.so_far(visit.tenant_id, visit.transaction_id, price.frozen)
        told: dict[str, Any] = {}
        if cost is not None:
            told = {
                "energy_wh": cost.energy_wh,
                "cost": cost.cost.rounded().amount,
                "cost_lines": msgspec.json.encode(cost.lines).decode(),
                "cost_at": now,
            }
        if not is_open:
            async with self._database.change() as db:
                if not self.final_from_cdr:
                    if cost is None or not cost.final:
                        await self._write_in(db, visit, in_s=2.0, **told)
                        return False
                    await self._payments.settle_within(db, visit.payment_id, cost.cost)
                if visit.id_token is not None:
                    await queries.remove_id_token(db, visit.tenant_id, visit.id_token)
                await self._write_in(db, visit, in_s=0, stage=Stage.SETTLING, ended_at=now, **told)
            await self._payments.drive(visit.payment_id)
            return True
        stop = visit.stop_reason
        if stop is None and payment.payment.state is not PaymentState.AUTHORIZED:
            stop = "hold_gone"
        if stop is None and cost is not None and not await self._hold_suffices(payment, cost, now):
            stop = "hold_used_up"
        if stop is not None and (visit.stop_asked_at is None or visit.stop_reason is None):
            told |= {"stop_asked_at": now, "stop_reason": stop}
            await self._order_stop(visit, stop)
        elif visit.stop_asked_at is not None and now - visit.stop_asked_at > _STOP_AGAIN:
            told |= {"stop_asked_at": now}
            await self._order_stop(visit, stop or "guest")
        await self._write(visit, in_s=min(self._times.look_s, 1.0) if stop else self._times.look_s, **told)
        return False

    async def _hold_suffices(self, payment: StoredPayment, cost: CostSoFar, now: datetime) -> bool:
        spending = Spending(
            cost=cost.cost.amount,
            per_hour=cost.per_hour,
            told_ago=max(timedelta(), now - cost.told_at),
            meter_interval=cost.meter_interval,
            latency=timedelta(seconds=self._times.stop_s + self._times.look_s),
            jump=cost.jump,
        )
        held = payment.payment.authorized
        if not used_up(held, spending):
            return True
        provider = await self._providers.get(payment.tenant_id, payment.provider)
        if not provider.able.increment or payment.payment.hold > held:
            return False
        first = payment.payment.hold if payment.payment.hold < held else held
        more = raised(held, first, first * _MOST_RAISES)
        if more is None:
            return False
        view = await self._payments.raise_hold(payment.id, Money(amount=more, currency=payment.currency))
        return not used_up(Decimal(view.authorized.amount), spending)

    async def _order_stop(self, visit: Visit, why: str) -> None:
        transaction_id = visit.transaction_id
        async with self._database.read() as db:
            name = await db.fetchval("SELECT ocpp_transaction_id FROM transaction WHERE id = $1", transaction_id)
        if name is not None:
            await self._commands.give(
                visit.tenant_id,
                visit.station_key,
                Stop(ocpp_transaction_id=name),
                by=f"{_BY}: {why}",
                valid_s=_STOP_VALID_S,
            )

    async def _settling(self, visit: Visit) -> bool:
        async with self._database.read() as db:
            payment = await payments.stored(db, visit.payment_id)
        assert payment is not None
        if payment.payment.state not in PAYMENT_OVER:
            if payment.payment.to_capture is None and await self._nobody_bills(visit):
                await self._payments.settle_payment(
                    visit.payment_id, Money(amount=visit.cost or Decimal(0), currency=payment.currency)
                )
                log.warning("guest_session_without_cdr", visit=visit.id)
            await self._write(visit, in_s=self._times.look_s)
            return False
        await self._write(visit, in_s=0 if visit.email is not None else None, stage=Stage.DONE)
        return visit.email is not None

    async def _nobody_bills(self, visit: Visit) -> bool:
        """Whether a session has no CDR long after its end: it is taken what the guest was shown."""
        if visit.ended_at is None or visit.transaction_id is None or utc_now() - visit.ended_at < _NO_CDR_AFTER:
            return False
        async with self._database.read() as db:
            return not await payments.has_cdr(db, visit.transaction_id)

    async def _done(self, visit: Visit) -> bool:
        """What is left: the receipt by mail."""
        if visit.email is None or visit.email_sent_at is not None or self.mailer is None or self.receipt is None:
            await self._write(visit, in_s=None)
            return False
        view = await self.visit(visit.token)
        subject, text, html = self.receipt(view, visit.token)
        files: tuple[Attachment, ...] = ()
        if self.receipts is not None and view.paid is not None:
            expected, file = await self.receipts.receipt_of(visit.tenant_id, visit.payment_id)
            # The receipt is made from the same CDR that settled the payment, by somebody else: it may be a moment later.
            if expected and file is None and visit.ended_at is not None and utc_now() - visit.ended_at < _FILE_AWAITED:
                await self._write(visit, in_s=self._times.every_s)
                return False
            files = () if file is None else (file,)
        async with self._database.change() as db:
            await self.mailer.send(
                db,
                visit.tenant_id,
                to=visit.email,
                subject=subject,
                text=text,
                language=visit.language,
                html=html,
                attachments=files,
            )
            # The address was given for this mail.
            await self._write_in(db, visit, in_s=None, email_sent_at=utc_now(), email=None)
        return False

    async def _after_end(self, visit: Visit) -> bool:
        """A station may begin to charge after it was given up: it is stopped."""
        if visit.id_token is None or visit.ended_at is None or utc_now() - visit.ended_at > _AFTERWATCH:
            await self._write(visit, in_s=None)
            return False
        async with self._database.read() as db:
            running = await queries.begun(db, visit.tenant_id, visit.id_token)
        if running is None or not running.is_open:
            await self._write(visit, in_s=10.0)
            return False
        if visit.stop_asked_at is None or utc_now() - visit.stop_asked_at > _STOP_AGAIN:
            if running.ocpp_transaction_id is not None:
                await self._commands.give(
                    visit.tenant_id,
                    visit.station_key,
                    Stop(ocpp_transaction_id=running.ocpp_transaction_id),
                    by=f"{_BY}: not paid",
                    valid_s=_STOP_VALID_S,
                )
            await self._write(visit, in_s=10.0, stop_asked_at=utc_now())
            return False
        await self._write(visit, in_s=10.0)
        return False


Hook = Callable[[StoredPayment], Awaitable[None]]
"""See `Carrying.on_expiring`."""


def stop_before_expiry(database: Database, commands: Commands) -> Hook:
    """Stops the session of a payment whose hold is about to end by itself."""

    async def stop(payment: StoredPayment) -> None:
        if payment.session_id is None:
            return
        async with database.read() as db:
            row = await db.fetchrow(
                "SELECT station_key, ocpp_transaction_id, is_open FROM transaction WHERE id = $1 AND tenant_id = $2",
                payment.session_id,
                payment.tenant_id,
            )
        if row is not None and row["is_open"] and row["ocpp_transaction_id"] is not None:
            await commands.give(
                payment.tenant_id,
                row["station_key"],
                Stop(ocpp_transaction_id=row["ocpp_transaction_id"]),
                by="payments: hold ends",
                valid_s=_STOP_VALID_S,
            )

    return stop


def _view(visit: Visit, payment: StoredPayment) -> VisitView:
    known, currency = payment.payment, payment.currency

    def money(amount: Decimal) -> Money:
        return Money(amount=amount, currency=currency)

    waits = known.state in (PaymentState.CREATED, PaymentState.REQUIRES_ACTION)
    lines = (
        () if visit.cost_lines is None else msgspec.json.decode(visit.cost_lines, type=tuple[tuple[str, Decimal], ...])
    )
    return VisitView(
        stage=visit.stage,
        reason=visit.reason if visit.stage is Stage.ENDED else None,
        place=msgspec.json.decode(visit.place, type=PayPlace),
        price=msgspec.json.decode(visit.price, type=PublicPrice),
        payment=known.state,
        hold=money(known.hold),
        held=money(known.authorized),
        paid=money(known.captured) if known.captured > 0 else None,
        refunded=money(known.refunded) if known.refunded > 0 else None,
        method=payment.method,
        error=known.error,
        pay_url=payment.action_url if waits and visit.stage is Stage.PAYING else None,
        energy_wh=visit.energy_wh,
        cost=None if visit.cost is None else money(visit.cost),
        cost_lines=lines,
        stop_asked=visit.stop_asked_at is not None,
        stop_reason=visit.stop_reason,
        language=visit.language,
        session_id=None if visit.transaction_id is None else str(visit.transaction_id),
        payment_id=str(visit.payment_id),
        started_at=visit.start_asked_at,
        ended_at=visit.ended_at,
        created_at=visit.created_at,
    )
