"""Looks at transactions as sessions: freezes what they are begun with, tells what they cost so far, settles them when they are over.

Work comes from `session_work`, which the outbox writes with the facts about transactions. Whoever takes a row has it for the length of a
lease; a crash gives it back when that ends. A look reads the transaction and its messages as of one moment, works in a thread, and
writes in one database transaction; a fact that comes meanwhile raises the row's ticks, so that the row is not done with. Two who look
at once are told apart by the session's row lock (app/sessions/settling.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.cdrs.views import cdr_view
from chargeplane.app.events import EventFeed
from chargeplane.app.final_costs import FinalCosts, Price
from chargeplane.app.house import utc_now
from chargeplane.app.sessions import telling
from chargeplane.app.sessions.freezing import Freezing
from chargeplane.app.sessions.limiting import SessionLimits
from chargeplane.app.sessions.looks import Looks
from chargeplane.app.sessions.ports import (
    Nobody,
    RoamingSessions,
    SessionAgreements,
    SessionHolds,
    SessionWatcher,
    TariffSource,
)
from chargeplane.app.sessions.pricing import Prepared, prepared, rated, tariff_of
from chargeplane.app.sessions.proving import NoProofs, Proofs
from chargeplane.app.sessions.seeing import seen_of
from chargeplane.app.sessions.settling import Settling
from chargeplane.app.sessions.showing import CostDisplay
from chargeplane.app.sessions.views import session_view
from chargeplane.domain.cdrs.cdr import charging_periods
from chargeplane.domain.cdrs.charging import ToldEvent
from chargeplane.domain.cdrs.included import SessionTerms
from chargeplane.domain.cdrs.session import SessionState
from chargeplane.domain.rating import Rating
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import session_transactions, session_work
from chargeplane.store.queries import sessions as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.session_transactions import SessionTransaction
from chargeplane.store.queries.session_work import Work
from chargeplane.store.queries.sessions import Session

log = structlog.get_logger(__name__)

_LAST_RETRY_S: Final = 3600.0
_FIRST_RETRY_S: Final = 2.0
_COUNT_EVERY_S: Final = 10.0


class KeeperSettings(Struct, frozen=True, kw_only=True):
    """How sessions are kept.

    Args:
        running_cost_s: between two ratings of a session that goes on.
        settle_after_s: how long an ended one waits for messages that are missing.
        poll_s: how often it is looked for work.
        lease_s: what a node that died was looking at is looked at by another one after so long.
        concurrency: sessions that are looked at at once.
    """

    running_cost_s: float = 60.0
    settle_after_s: float = 300.0
    poll_s: float = 0.5
    lease_s: float = 120.0
    concurrency: int = 8


class SessionKeeper:
    """Looks at sessions when something happened to them, and while they go on.

    Args:
        told: called after a commit that wrote facts.
        display: shows drivers what it costs so far.
        watcher: hears what open sessions cost.
        proofs: verifies signed meter values.
        roaming: hears of sessions of partners' drivers.
        limits: keeps sessions within their agreements' limits.
        looks: keeps what was read of long sessions.
    """

    def __init__(
        self,
        database: Database,
        events: EventFeed,
        freezing: Freezing,
        tariffs: TariffSource,
        agreements: SessionAgreements,
        settings: KeeperSettings,
        *,
        told: Callable[[], None] = lambda: None,
        display: CostDisplay | None = None,
        watcher: SessionWatcher | None = None,
        proofs: Proofs | None = None,
        final_costs: FinalCosts | None = None,
        roaming: RoamingSessions | None = None,
        limits: SessionLimits | None = None,
        looks: Looks | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._events = events
        self._freezing = freezing
        self._tariffs = tariffs
        self._agreements = agreements
        self._settings = settings
        self._settling = Settling(tariffs, agreements)
        self._told = told
        self._display = display
        self.watcher: SessionWatcher = watcher or Nobody()
        self.holds: SessionHolds | None = None
        """Who sees to it that sessions of account holders are paid; None: nobody."""
        self._proofs: Proofs = proofs or NoProofs()
        self._final_costs = final_costs
        self._roaming: RoamingSessions = roaming or Nobody()
        self._limits = limits
        self._now = now
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._looking: set[asyncio.Task[None]] = set()
        self._looks = looks or Looks()
        self._count_at = 0.0
        self.due = 0
        """Transactions that wait to be looked at, as last counted."""
        self.oldest_s = 0.0
        """For how long the first of them waits."""
        self.failures = 0
        """Looks that failed since the start."""

    def hint(self) -> None:
        """Something is to be looked at."""
        self._wake.set()

    async def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._run(), name="session-keeper")

    async def stop(self) -> None:
        """Ends; what is being looked at is cut off, and looked at again by whoever comes next."""
        tasks = [task for task in (self._task, *self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                room = self._settings.concurrency - len(self._looking)
                works = await self._take(room) if room > 0 else []
                for work in works:
                    task = asyncio.create_task(self._look(work))
                    self._looking.add(task)
                    task.add_done_callback(self._looked)
                if room and len(works) == room:
                    continue
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("session_keeper_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll_s):
                    await self._wake.wait()

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        if len(self._looking) == self._settings.concurrency - 1:
            self._wake.set()

    async def _take(self, limit: int) -> list[Work]:
        async with self._database.change() as db:
            works = await session_work.take(db, limit, self._settings.lease_s)
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + _COUNT_EVERY_S
            async with self._database.read() as db:
                self.due, self.oldest_s = await session_work.waiting(db)
        return works

    async def _look(self, work: Work) -> None:
        try:
            await self.look(work)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                async with self._database.change() as db:
                    await session_work.given_back(db, [work])
            raise
        except Exception as error:
            self.failures += 1
            delay = min(_FIRST_RETRY_S * 2 ** min(work.attempts - 1, 20), _LAST_RETRY_S)
            if is_unavailable(error):
                delay = _FIRST_RETRY_S
            else:
                log.exception("session_not_looked_at", transaction=work.transaction_id, in_s=delay)
            with contextlib.suppress(Exception):
                async with self._database.change() as db:
                    await session_work.failed(db, work, str(error) or type(error).__name__, delay)

    async def look(self, work: Work) -> None:
        """Does what is to be done about a transaction now, and says when to look again."""
        ident = work.transaction_id
        known = self._looks.known(ident)
        transaction, session, rows = await read_session(self._database, work.tenant_id, ident, known)
        if transaction is None or not transaction.is_open:
            known = ()
            self._looks.forget(ident)
        if transaction is None:
            return await self._done(work, None)
        if session is None:
            session = await self._begin(transaction)
            if session is None:
                # Where its EVSE is known only later it is a session from then on; what stands at no location never is.
                unknown = transaction.is_open and not transaction.evse_id
                return await self._done(work, self._later() if unknown else None)
        hold_again: datetime | None = None
        if transaction.is_open and self.holds is not None:
            hold_again = await self.holds.hold(session, transaction)
        if session.payment_id is None:
            session = await self._paid(session, transaction)
        what = await prepared(transaction, session, rows, known)
        if transaction.is_open:
            self._looks.note(ident, what.told)
            await self._go_on(session, what)
            return await self._done(work, hold_again or self._later())
        now = self._now()
        settle_at = session.settle_at if session.state is SessionState.ENDED else None
        if transaction.gaps and session.state not in (SessionState.SETTLED, SessionState.CREDITED):
            settle_at = settle_at or now + timedelta(seconds=self._settings.settle_after_s)
            if settle_at > now:
                await self._go_on(session, what, SessionState.ENDED, settle_at)
                return await self._done(work, settle_at)
        again = await self._settle(work, what)
        return await self._done(work, again)

    def _later(self) -> datetime:
        return self._now() + timedelta(seconds=self._settings.running_cost_s)

    async def _done(self, work: Work, again_at: datetime | None) -> None:
        async with self._database.change() as db:
            await session_work.done(db, work, again_at)

    async def _begin(self, transaction: SessionTransaction) -> Session | None:
        frozen = await self._freezing.freeze(transaction)
        if frozen is None:
            return None
        async with self._database.change() as db:
            new = await queries.insert(db, transaction, frozen)
            session = await queries.locked(db, transaction.tenant_id, transaction.id)
            if new and session is not None:
                await telling.tell(db, telling.CREATED, session)
        if new and session is not None:
            self._told()
            self._show("session.created", session)
        return session

    async def _paid(self, session: Session, transaction: SessionTransaction) -> Session:
        """The session with its payment, where that was made after it had begun; its price stays."""
        paid = await self._freezing.paid_by(transaction)
        if paid is None:
            return session
        async with self._database.change() as db:
            await queries.bind_payment(db, session.tenant_id, session.id, paid.payment_id)
        return replace(session, payment_id=paid.payment_id)

    async def _go_on(
        self,
        session: Session,
        what: Prepared,
        state: SessionState = SessionState.ACTIVE,
        settle_at: datetime | None = None,
    ) -> None:
        """What it costs so far."""
        transaction = what.transaction
        rating, tariff, terms = await self._price(session, what)
        async with self._database.change() as db:
            current = await queries.locked(db, session.tenant_id, session.id)
            if current is None or current.rated_ordinal > transaction.ordinal:
                return
            changed = await queries.update(
                db,
                transaction,
                state,
                energy_wh=what.energy_wh,
                cost=None if rating is None else (rating.due.excl, rating.due.incl),
                currency=None if rating is None else rating.currency,
                settle_at=settle_at,
            )
            updated = await queries.one(db, session.tenant_id, session.id)
            if changed and updated is not None:
                await telling.tell(db, telling.UPDATED, updated)
            await self._tell_partner(db, updated, what, rating)
        if updated is None:
            return
        if updated.frozen.roaming is not None:
            self._roaming.committed()
        if changed:
            self._told()
            self._show("session.updated", updated)
        self._note_price(updated, what, rating, tariff, terms)
        if self._limits is not None and transaction.is_open:
            await self._limits.look(updated, rating)
        if rating is not None and transaction.is_open:
            if tariff is not None:
                seen = seen_of(what.charge, timedelta(seconds=self._settings.running_cost_s))
                await self.watcher.rated(session.tenant_id, session.id, updated.payment_id, rating, tariff, seen)
            await self._tell_station(updated, rating)

    async def _tell_partner(self, db: Db, session: Session | None, what: Prepared, rating: Rating | None) -> None:
        if session is not None and session.frozen.roaming is not None:
            cuts = [] if rating is None else [line.start for line in rating.lines]
            await self._roaming.moved(db, session, charging_periods(what.charge, cuts))

    async def price(self, session: Session, what: Prepared) -> tuple[Rating | None, Tariff | None]:
        """What a session costs as of now, and by which tariff; None where none holds."""
        rating, tariff, _ = await self._price(session, what)
        return rating, tariff

    def _note_price(
        self, session: Session, what: Prepared, rating: Rating | None, tariff: Tariff | None, terms: SessionTerms
    ) -> None:
        """So that the station is answered with the total when the transaction ends."""
        if self._final_costs is None:
            return
        if tariff is None or rating is None or not what.transaction.is_open:
            self._final_costs.forget(session.id)
            return
        frozen = session.frozen
        self._final_costs.note(
            session.id,
            Price(tariff=tariff, zone=frozen.place.zone, terms=terms.terms, reserved_from=frozen.reserved_from),
        )

    async def _price(self, session: Session, what: Prepared) -> tuple[Rating | None, Tariff | None, SessionTerms]:
        transaction = what.transaction
        tariff, _ = await tariff_of(self._tariffs, session)
        if tariff is None:
            return None, None, SessionTerms()
        terms = SessionTerms()
        if session.frozen.agreement is not None:
            async with self._database.read() as db:
                terms = await self._agreements.terms(db, transaction, session.frozen.agreement, tariff)
        return await rated(what, session, tariff, terms, self._now() if transaction.is_open else None), tariff, terms

    async def _tell_station(self, session: Session, rating: Rating) -> None:
        if self._display is not None:
            await self._display.show(session, rating)

    async def _settle(self, work: Work, what: Prepared) -> datetime | None:
        if self._final_costs is not None:
            self._final_costs.forget(what.transaction.id)
        proof = await self._proofs.of(what)
        updated = None
        async with self._database.change() as db:
            settled = await self._settling.settle(db, what, proof)
            if settled is not None:
                await self._proofs.keep(db, what, proof)
                updated = await queries.one(db, work.tenant_id, work.transaction_id)
                if updated is not None and (settled.written or not settled.unchanged):
                    await telling.tell(db, telling.SETTLED, updated)
                await self._tell_partner(db, updated, what, settled.rating)
        if settled is None:
            return self._now()
        if updated is not None and updated.frozen.roaming is not None:
            self._roaming.committed()
        if settled.written:
            self._told()
        if updated is not None and (settled.written or not settled.unchanged):
            self._show("session.settled", updated)
        for cdr in settled.written:
            self._events.publish("cdr.created", work.tenant_id, what.transaction.station_id, cdr_view(cdr))
        return None

    def _show(self, kind: str, session: Session) -> None:
        self._events.publish(kind, session.tenant_id, session.frozen.station_id, session_view(session))


async def read_session(
    database: Database, tenant_id: TenantId, ident: int, known: Sequence[ToldEvent] = ()
) -> tuple[SessionTransaction | None, Session | None, Sequence[Any]]:
    """A transaction, its session and its messages, as of one moment.

    Args:
        known: its first messages, by ordinal: of a transaction that is open, they are not read again.
    """
    async with database.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        transaction = await session_transactions.head(db, tenant_id, ident)  # type: ignore[arg-type]
        if transaction is None:
            return None, None, ()
        session = await queries.one(db, tenant_id, ident)
        if not transaction.is_open or not known:
            return transaction, session, await session_transactions.event_rows(db, transaction)
        after = known[-1].event.ordinal
        return transaction, session, await session_transactions.event_rows(db, transaction, len(known), after)
