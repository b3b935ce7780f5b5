"""Sessions as people ask for them."""

from __future__ import annotations

from chargeplane.app.api_keys import Caller
from chargeplane.app.cdrs.explaining import Explanation, explanation, meter_values
from chargeplane.app.cdrs.writing import standing
from chargeplane.app.sessions.keeper import SessionKeeper, read_session
from chargeplane.app.sessions.pricing import prepared
from chargeplane.app.sessions.views import SessionView, session_view
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.ids import TransactionId
from chargeplane.store.database import Database
from chargeplane.store.queries import cdrs as cdr_queries
from chargeplane.store.queries import session_work
from chargeplane.store.queries import sessions as queries
from chargeplane.store.queries.paging import Mark, Position
from chargeplane.store.queries.sessions import SessionFilter


class Sessions:
    """Use cases about sessions."""

    def __init__(self, database: Database, keeper: SessionKeeper) -> None:
        self._database = database
        self._keeper = keeper

    async def page(
        self, caller: Caller, wanted: SessionFilter, limit: int, after: Position | None
    ) -> list[tuple[Mark, SessionView]]:
        """Sessions with their positions, the one that started last first; at most `limit`."""
        async with self._database.read() as db:
            found = await queries.page(db, caller.tenant_id, wanted, limit, after)
        return [((one.started_at, one.id), session_view(one)) for one in found]

    async def one(self, caller: Caller, ident: int) -> SessionView:
        """A session by its id.

        Raises:
            NotFoundError: the tenant has no such session.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("session", str(ident))
        return session_view(found)

    async def refresh(self, caller: Caller, ident: int) -> None:
        """Has a session looked at now: rated, verified, settled where it is over.

        Raises:
            NotFoundError: the tenant has no such session.
        """
        await self.one(caller, ident)
        async with self._database.change() as db:
            await session_work.look_at(db, caller.tenant_id, TransactionId(ident))
        self._keeper.hint()

    async def explain(self, caller: Caller, ident: int, language: str | None) -> Explanation:
        """Every line of what a session costs, with the meter values it rests on: of its CDR, else of what it costs so far.

        Raises:
            NotFoundError: the tenant has no such session.
        """
        transaction, session, rows = await read_session(self._database, caller.tenant_id, ident)
        if transaction is None or session is None:
            raise NotFoundError("session", str(ident))
        what = await prepared(transaction, session, rows)
        async with self._database.read() as db:
            cdr = standing(await cdr_queries.of_session(db, caller.tenant_id, ident))
            said = None if cdr is None else await cdr_queries.content(db, cdr.id)
        if said is not None and cdr is not None:
            rating, tariff = said.rating, said.tariff
        else:
            rating, tariff = await self._keeper.price(session, what)
        return explanation(
            session_id=session.id,
            cdr_id=None if cdr is None else cdr.id,
            rating=rating,
            tariff=tariff,
            values=meter_values(what.told),
            language=language,
        )
