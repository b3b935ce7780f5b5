"""What is booked: balances, entries, the check over all of it, closing of periods."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.ledger.posting import take_back
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import ledger as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.ledger import BalanceView, EntryFilter, Flaw, StoredEntry
from chargeplane.store.queries.paging import Db, Position

_KIND: Final = "ledger entry"


def _now() -> datetime:
    return datetime.now(UTC)


class CheckReport(Struct, frozen=True, kw_only=True):
    """What the check over a tenant's whole ledger says.

    Args:
        flaws: up to 100 of each sort; none where all is well.
        totals: the sum of all balances by currency; nothing, each of them.
        closed_until: the last closed day.
    """

    sound: bool
    entries: int
    postings: int
    flaws: list[Flaw]
    totals: dict[str, str]
    closed_until: date | None
    checked_at: datetime


class Ledger:
    """Use cases about the ledger.

    Args:
        now: the clock.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = _now) -> None:
        self._database = database
        self._now = now

    async def balances(
        self,
        caller: Caller,
        *,
        q: str | None,
        type: str | None,
        currency: str | None,
        until: date | None,
        limit: int,
        after: Position | None,
    ) -> list[BalanceView]:
        """Accounts with their balances, by code and currency; at most `limit`."""
        async with self._database.read() as db:
            return await queries.balances(
                db, caller.tenant_id, q=q, type=type, currency=currency, until=until, limit=limit, after=after
            )

    async def page(self, caller: Caller, wanted: EntryFilter, limit: int, after: Position | None) -> list[StoredEntry]:
        """Entries, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> StoredEntry:
        """An entry.

        Raises:
            NotFoundError: the tenant has none such.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        return found

    async def reverse(self, caller: Caller, ident: int, reason: str) -> StoredEntry:
        """Takes an entry back that was booked by hand or by mistake; what belongs to an invoice is credited instead.

        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: it is a reversal, or of an invoice.
        """
        found = await self.one(caller, ident)
        if found.entry.reference_kind == "invoice":
            raise ConflictError("The entry belongs to an invoice: credit the invoice instead.")
        async with self._database.change() as db:
            made = await take_back(db, caller.tenant_id, ident, reason, self._now())
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="reverse",
                kind=_KIND,
                ident=str(ident),
                reason=reason,
                before={"reversed_by": None},
                after={"reversed_by": str(made)},
            )
        return await self.one(caller, made)

    async def check(self, caller: Caller) -> CheckReport:
        """Looks at everything."""
        async with self._database.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
            return await self._check(db, caller.tenant_id)

    async def close(self, caller: Caller, until: date) -> CheckReport:
        """Closes the days up to one: nothing is booked there any more, what comes late goes to the first open day.

        Raises:
            InvalidInputError: the day is not over.
            ConflictError: it is closed already, or the check found something.
        """
        if until >= self._now().date():
            sentence = "Must be a day that is over"
            raise InvalidInputError(f"'until': {sentence}.", (("/until", sentence),))
        async with self._database.change() as db:
            await queries.lock_period(db, caller.tenant_id, exclusive=True)
            closed = await queries.closed_until(db, caller.tenant_id)
            if closed is not None and until <= closed:
                raise ConflictError(f"The days up to {closed} are closed already; close a later one.")
            report = await self._check(db, caller.tenant_id)
            if not report.sound:
                raise ConflictError(
                    f"The ledger has {len(report.flaws)} flaws, the first: {report.flaws[0].detail} See the check."
                )
            await queries.close(db, caller.tenant_id, until, caller.actor, msgspec.json.encode(report).decode())
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="close",
                kind="ledger period",
                ident=until.isoformat(),
                before={"until": closed},
                after={"until": until},
            )
        return msgspec.structs.replace(report, closed_until=until)

    async def _check(self, db: Db, tenant_id: TenantId) -> CheckReport:
        flaws = [*await queries.flaws(db, tenant_id), *await queries.disagreements(db, tenant_id)]
        totals: dict[str, object] = {}
        for balance in await queries.balances(db, tenant_id):
            totals[balance.currency] = totals.get(balance.currency, 0) + balance.balance  # type: ignore[operator]
        entries, postings = await queries.counts(db, tenant_id)
        return CheckReport(
            sound=not flaws and not any(totals.values()),
            entries=entries,
            postings=postings,
            flaws=flaws,
            totals={currency: str(total) for currency, total in totals.items()},
            closed_until=await queries.closed_until(db, tenant_id),
            checked_at=self._now(),
        )
