"""Billing runs: a run is a row with a row for each subject. Every subject is billed in a transaction of its own, which also says that it was;
so a run that is killed anywhere goes on where it stood, and bills nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import structlog
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.invoicing.drafting import Drafting
from chargeplane.domain.agreements.model import BillingCycle, version_at
from chargeplane.domain.invoicing.model import InvoiceContent
from chargeplane.domain.invoicing.periods import cycle_end
from chargeplane.domain.invoicing.runs import ItemState, RunOrder
from chargeplane.kernel.errors import ConflictError, NotFoundError, RuleError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import agreements as agreement_queries
from chargeplane.store.queries import billable_fees
from chargeplane.store.queries import billing as queries
from chargeplane.store.queries import invoices as invoice_queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.billing import Run, RunItem
from chargeplane.store.queries.paging import Db, Position

log = structlog.get_logger(__name__)

MOST_PREVIEWED: Final = 200
"""Subjects of one preview."""
_AT_ONCE: Final = 20
"""Items after which a run's progress is told."""


def _now() -> datetime:
    return datetime.now(UTC)


class Preview(Struct, frozen=True, kw_only=True):
    """What a run would make of a subject.

    Args:
        reason: why there is nothing, or what stays off.
    """

    subject: str
    content: InvoiceContent | None
    reason: str | None


class BillingRuns:
    """Use cases about billing runs.

    Args:
        now: the clock.
    """

    def __init__(
        self, database: Database, events: EventFeed, drafting: Drafting, now: Callable[[], datetime] = _now
    ) -> None:
        self._database = database
        self._events = events
        self._drafting = drafting
        self._now = now
        self.hint: Callable[[], None] = lambda: None
        """Called where a run is to be worked on."""

    async def create(self, caller: Caller, order: RunOrder, until: datetime | None, key: str | None) -> Run:
        """Begins a run; the same key is the same run.

        Args:
            until: what ended before is billed; None: up to the end of each agreement's last whole cycle, of guests up to now.
        Raises:
            ConflictError: nobody issues the tenant's invoices.
        """
        now = self._now()
        async with self._database.change() as db:
            settings, _ = await invoice_queries.settings(db, caller.tenant_id)
            if settings.issuer is None:
                raise ConflictError(
                    "There is nobody who issues the invoices: put the issuer into the invoicing settings."
                )
            key = key or f"run:{now.isoformat()}"
            found = await queries.run_by_key(db, caller.tenant_id, key)
            if found is not None:
                return found
            until = min(until or now, now)
            subjects = await self._subjects(db, caller.tenant_id, order, until)
            ident = await queries.insert_run(db, caller.tenant_id, key, until, order, subjects, caller.actor)
            if ident is None:
                raise ConflictError(f"A run '{key}' is being made at this moment; ask again.")
            if not subjects:
                await queries.progress(db, ident)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind="billing run",
                ident=str(ident),
                after={"order": order, "until": until},
            )
        self.hint()
        return await self.one(caller, ident)

    async def preview(self, caller: Caller, order: RunOrder, until: datetime | None) -> list[Preview]:
        """What a run would bill; writes nothing. At most MOST_PREVIEWED subjects.

        Raises:
            ConflictError: nobody issues the tenant's invoices.
        """
        now = self._now()
        until = min(until or now, now)
        found: list[Preview] = []
        async with self._database.read() as db:
            settings, _ = await invoice_queries.settings(db, caller.tenant_id)
            subjects = await self._subjects(db, caller.tenant_id, order, until)
            for subject in subjects[:MOST_PREVIEWED]:
                upto = await self._until(db, caller.tenant_id, subject, until)
                billed = await self._drafting.bill(
                    db, caller.tenant_id, subject, settings, until=upto, now=now, dry=True
                )
                found.append(Preview(subject=subject, content=billed.content, reason=billed.reason))
        return found

    async def again(self, caller: Caller, ident: int) -> Run:
        """Has the failed items of a run once more.

        Raises:
            NotFoundError: the tenant has no such run.
            ConflictError: none failed.
        """
        before = await self.one(caller, ident)
        async with self._database.change() as db:
            if not await queries.again(db, caller.tenant_id, ident):
                raise ConflictError("No item of the run failed.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="retry",
                kind="billing-run",
                ident=str(ident),
                before={"failed": before.failed},
            )
        self.hint()
        return await self.one(caller, ident)

    async def one(self, caller: Caller, ident: int) -> Run:
        """A run.

        Raises:
            NotFoundError: the tenant has none such.
        """
        async with self._database.read() as db:
            found = await queries.run(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("billing run", str(ident))
        return found

    async def page(self, caller: Caller, state: str | None, limit: int, after: Position | None) -> list[Run]:
        """Runs, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.runs(db, caller.tenant_id, state, limit, after)

    async def items(
        self, caller: Caller, ident: int, state: str | None, limit: int, after: Position | None
    ) -> list[RunItem]:
        """Items of a run, in their order; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such run.
        """
        await self.one(caller, ident)
        async with self._database.read() as db:
            return await queries.items(db, caller.tenant_id, ident, state, limit, after)

    # Worked on

    async def work(self) -> None:
        """Works on all runs that are not finished, of all tenants, until they are; called now and then, by several nodes at once."""
        async with self._database.read() as db:
            waiting = await queries.open_runs(db)
        for tenant_id, ident in waiting:
            await self.work_on(tenant_id, ident)

    async def work_on(self, tenant_id: TenantId, ident: int) -> None:
        """Bills the items of a run that wait, one transaction each, until none does."""
        count = 0
        while await self._next(tenant_id, ident):
            count += 1
            if count % _AT_ONCE == 0:
                await self._progress(tenant_id, ident)
        await self._progress(tenant_id, ident)

    async def _progress(self, tenant_id: TenantId, ident: int) -> None:
        async with self._database.change() as db:
            await queries.progress(db, ident)
        async with self._database.read() as db:
            found = await queries.run(db, tenant_id, ident)
        if found is not None:
            self._events.publish("billing_run.progress", tenant_id, None, found)

    async def _next(self, tenant_id: TenantId, ident: int) -> bool:
        failed: tuple[int, str] | None = None
        async with self._database.change() as db:
            item = await queries.next_item(db, ident)
            if item is None:
                return False
            run = await queries.run(db, tenant_id, ident)
            assert run is not None
            try:
                # A savepoint: what was begun of an item that fails goes, that it failed stays.
                async with db.transaction():
                    await self._bill(db, tenant_id, run, item)
            except RuleError as error:
                failed = (item.number, str(error))
            except (ArithmeticError, LookupError, ValueError, RuntimeError) as error:
                log.exception("billing_item_failed", run=ident, subject=item.subject)
                failed = (item.number, f"{type(error).__name__}: {error}")
            if failed is not None:
                await queries.put_item(db, ident, failed[0], ItemState.FAILED, None, failed[1][:1000])
        return True

    async def _bill(self, db: Db, tenant_id: TenantId, run: Run, item: RunItem) -> None:
        settings, _ = await invoice_queries.settings(db, tenant_id)
        billed = await self._drafting.bill(
            db,
            tenant_id,
            item.subject,
            settings,
            until=await self._until(db, tenant_id, item.subject, run.until),
            now=self._now(),
            run_id=run.id,
            issued=run.order.issue,
        )
        if billed.more:
            return  # the item waits for its next invoice
        invoice_id = billed.invoice_id
        if invoice_id is None:
            state, reason = ItemState.NOTHING, billed.reason or "There was nothing to bill."
            await queries.put_item(db, run.id, item.number, state, None, reason[:1000])
        else:
            reason = billed.reason or ""
            await queries.put_item(db, run.id, item.number, ItemState.BILLED, invoice_id, reason[:1000] or None)

    async def _subjects(self, db: Db, tenant_id: TenantId, order: RunOrder, until: datetime) -> list[str]:
        idents = order.agreement_ids or await queries.agreements(db, tenant_id)
        chosen = [
            f"agreement:{ident}"
            for ident in idents
            if not order.cycles or await self._cycle(db, tenant_id, ident, until) in order.cycles
        ]
        if order.guests and not order.agreement_ids:
            subjects = {
                *await queries.subjects(db, tenant_id, until),
                *await billable_fees.subjects(db, tenant_id, until),
            }
            chosen += sorted(subjects)
        return chosen

    async def _cycle(self, db: Db, tenant_id: TenantId, ident: int, at: datetime) -> BillingCycle | None:
        found = await agreement_queries.one(db, tenant_id, ident)
        return None if found is None else version_at(found.agreement, at).terms.billing.cycle

    async def _until(self, db: Db, tenant_id: TenantId, subject: str, until: datetime) -> datetime:
        """Up to when a subject is billed: the end of the last whole cycle, or the end of the agreement where it is over."""
        kind, _, ident = subject.partition(":")
        if kind != "agreement":
            return until
        found = await agreement_queries.one(db, tenant_id, int(ident))
        if found is None:
            return until
        agreement = found.agreement
        if agreement.ends_at is not None and agreement.ends_at <= until:
            return until  # the final invoice has everything
        return cycle_end(version_at(agreement, until).terms.billing.cycle, until, ZoneInfo(agreement.time_zone))
