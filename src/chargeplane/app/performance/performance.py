"""The figures, and what does not count, for operators."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

from chargeplane.app.api_keys import Caller
from chargeplane.domain.performance.figures import ExclusionKind
from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import performance as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.charging_stations import required_key
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.performance import ExclusionView, PerformanceRow

_LONGEST: Final = timedelta(days=366)


class Performance:
    """Use cases about performance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sums(
        self,
        caller: Caller,
        by: str,
        since: date,
        until: date,
        station_id: str | None,
        location_id: str | None,
        limit: int,
    ) -> list[PerformanceRow]:
        """Figures by group, from a UTC day to another, that one not included.

        Args:
            by: of `queries.GROUPS`.
        Raises:
            InvalidInputError: the range is empty.
        """
        _check(since, until)
        async with self._database.read() as db:
            return await queries.sums(db, caller.tenant_id, by, since, until, station_id, location_id, limit)

    async def recompute(self, caller: Caller, since: date, until: date) -> None:
        """Has days computed again.

        Raises:
            InvalidInputError: the range is empty or longer than a year.
        """
        _check(since, until)
        async with self._database.change() as db:
            await queries.mark_due(db, since, until - timedelta(days=1), caller.tenant_id)
            await self._audit(db, caller, "recompute", f"{since}..{until}", None)

    async def exclusions(
        self, caller: Caller, kind: str | None, limit: int, after: Position | None
    ) -> list[ExclusionView]:
        """What does not count, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.exclusions(db, caller.tenant_id, kind, limit, after)

    async def exclude(
        self,
        caller: Caller,
        kind: ExclusionKind,
        starts_at: datetime,
        ends_at: datetime,
        station_id: str | None,
        evse_id: int | None,
        location_id: str | None,
        note: str | None,
    ) -> ExclusionView:
        """Declares that time does not count; its days are computed again.

        Raises:
            InvalidInputError: it is no range, or an EVSE of no station.
            NotFoundError: the tenant has no such station.
        """
        if not starts_at < ends_at <= starts_at + _LONGEST:
            sentence = "Must be later than 'starts_at', by a year at most"
            raise InvalidInputError(f"'ends_at': {sentence}.", (("/ends_at", sentence),))
        if evse_id is not None and station_id is None:
            sentence = "Names an EVSE of no station: give 'station_id' too"
            raise InvalidInputError(f"'evse_id': {sentence}.", (("/evse_id", sentence),))
        async with self._database.change() as db:
            key = None if station_id is None else await required_key(db, caller.tenant_id, station_id)
            ident = await queries.insert_exclusion(
                db,
                caller.tenant_id,
                kind.value,
                key,
                evse_id,
                location_id,
                starts_at,
                ends_at,
                note,
                caller.actor,
            )
            await self._mark(db, caller, starts_at, ends_at)
            view = await queries.exclusion(db, caller.tenant_id, ident)
            assert view is not None
            await self._audit(db, caller, "create", str(ident), view)
        return view

    async def include(self, caller: Caller, ident: int) -> None:
        """Takes an exclusion back; its days are computed again.

        Raises:
            NotFoundError: the tenant has no such exclusion.
        """
        async with self._database.change() as db:
            view = await queries.exclusion(db, caller.tenant_id, ident)
            if view is None:
                raise NotFoundError("exclusion", str(ident))
            await queries.delete_exclusion(db, caller.tenant_id, ident)
            await self._mark(db, caller, view.starts_at, view.ends_at)
            await self._audit(db, caller, "delete", str(ident), None, view)

    async def _mark(self, db: Db, caller: Caller, starts_at: datetime, ends_at: datetime) -> None:
        today = datetime.now(UTC).date()
        since, until = starts_at.astimezone(UTC).date(), min(ends_at.astimezone(UTC).date(), today)
        if since <= until:
            await queries.mark_due(db, since, until, caller.tenant_id)

    async def _audit(
        self, db: Db, caller: Caller, action: str, ident: str, after: object, before: object = None
    ) -> None:
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=action,
            kind="performance",
            ident=ident,
            before=before,
            after=after,
        )


def _check(since: date, until: date) -> None:
    if not since < until <= since + _LONGEST:
        sentence = "Must be later than 'from', by a year at most"
        raise InvalidInputError(f"'to': {sentence}.", (("/to", sentence),))
