"""What operators see of what goes on with partners: the log of exchanges, what waits to be sent; and what they do about it."""

from __future__ import annotations

from typing import Protocol

from chargeplane.app.api_keys import Caller as ApiCaller
from chargeplane.app.roaming.connections import KIND
from chargeplane.app.roaming.exchanges import ExchangeLog
from chargeplane.app.roaming.outgoing import Outgoing
from chargeplane.app.roaming.ports import Outcome, Route
from chargeplane.domain.roaming.connection import PartyId, Peer
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_connections, roaming_exchanges, roaming_hub, roaming_outgoing
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.roaming_exchanges import ExchangeFilter, ExchangeView
from chargeplane.store.queries.roaming_hub import RouteView
from chargeplane.store.queries.roaming_outgoing import OutgoingView

EXCHANGE = "roaming exchange"
ROUTE = "roaming route"


class Repeater(Protocol):
    """Sends what was sent once more. Implemented by edges/ocpi_client."""

    async def repeat(
        self, peer: Peer, row: int, url: str, body: bytes | None, route: Route, correlation_id: str | None
    ) -> Outcome:
        """The same request again, with a request id of its own."""
        ...


class Partners:
    """Use cases about what goes on with partners."""

    def __init__(self, database: Database, log: ExchangeLog, outgoing: Outgoing, repeater: Repeater) -> None:
        self._database = database
        self._log = log
        self._outgoing = outgoing
        self._repeater = repeater

    async def exchanges(
        self, caller: ApiCaller, wanted: ExchangeFilter, limit: int, after: Position | None
    ) -> list[ExchangeView]:
        """What went over the wire, newest first; at most `limit`."""
        await self._log.flush()
        async with self._database.read() as db:
            return await roaming_exchanges.page(db, caller.tenant_id, wanted, limit, after)

    async def exchange(self, caller: ApiCaller, ident: int) -> ExchangeView:
        """One request and its answer.

        Raises:
            NotFoundError: the tenant has no such exchange.
        """
        async with self._database.read() as db:
            found = await roaming_exchanges.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(EXCHANGE, str(ident))
        return found[0]

    async def replay(self, caller: ApiCaller, ident: int) -> Outcome:
        """Sends a request of ours once more, as it was, under the same correlation id.

        Raises:
            NotFoundError: the tenant has no such exchange.
            ConflictError: it was not ours, is not whole any more, or changes credentials.
        """
        view = await self.exchange(caller, ident)
        if view.direction != "out" or view.row is None:
            raise ConflictError(f"Exchange {ident} was the partner's request; only what we sent is sent again.")
        if view.cut and view.request is not None and view.method != "GET":
            raise ConflictError(f"Exchange {ident} was too large to be kept whole.")
        if view.module == "credentials":
            raise ConflictError("Credentials are not sent again; rotate them.")
        async with self._database.read() as db:
            stored = await roaming_connections.stored(db, caller.tenant_id, int(view.partner_id))
        if stored is None:
            raise NotFoundError(KIND, view.partner_id)
        outcome = await self._repeater.repeat(
            stored.peer,
            view.row,
            view.url,
            None if view.request is None else view.request.encode(),
            Route(from_party=_party(view.from_party), to_party=_party(view.to_party)),
            view.correlation_id,
        )
        async with self._database.change() as db:
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="replay",
                kind=EXCHANGE,
                ident=str(ident),
                after={"ok": outcome.ok, "sentence": outcome.sentence},
            )
        return outcome

    async def routes(self, caller: ApiCaller) -> list[RouteView]:
        """Between whom our hub lets messages pass; without any rule, between all."""
        async with self._database.read() as db:
            return await roaming_hub.routes(db, caller.tenant_id)

    async def put_route(
        self, caller: ApiCaller, from_party: str, to_party: str, modules: list[str] | None, allowed: bool
    ) -> None:
        """Says whether messages of one party may pass to another; `*` stands for any."""
        ident = f"{from_party.upper()}-{to_party.upper()}"
        async with self._database.change() as db:
            before = await self._route(db, caller, ident)
            await roaming_hub.put_route(
                db, caller.tenant_id, from_party.upper(), to_party.upper(), modules, allowed, caller.actor
            )
            after = {"modules": modules, "allowed": allowed}
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="update",
                kind=ROUTE,
                ident=ident,
                before=before,
                after=after,
            )

    async def remove_route(self, caller: ApiCaller, from_party: str, to_party: str) -> None:
        """Forgets a rule.

        Raises:
            NotFoundError: there is none.
        """
        ident = f"{from_party.upper()}-{to_party.upper()}"
        async with self._database.change() as db:
            before = await self._route(db, caller, ident)
            if not await roaming_hub.delete_route(db, caller.tenant_id, from_party.upper(), to_party.upper()):
                raise NotFoundError(ROUTE, ident)
            await audit(
                db, caller.tenant_id, actor=caller.actor, action="delete", kind=ROUTE, ident=ident, before=before
            )

    async def _route(self, db: Db, caller: ApiCaller, ident: str) -> RouteView | None:
        known = await roaming_hub.routes(db, caller.tenant_id)
        return next((one for one in known if f"{one.from_party}-{one.to_party}" == ident), None)

    async def waiting(
        self, caller: ApiCaller, partner_id: int | None, parked: bool | None, limit: int, after: Position | None
    ) -> list[OutgoingView]:
        """What partners are yet to be told, the longest waiting first."""
        async with self._database.read() as db:
            return await roaming_outgoing.page(db, caller.tenant_id, partner_id, parked, limit, after)

    async def retry(self, caller: ApiCaller, partner_id: int) -> int:
        """Has what was given up, or waits for another attempt, tried now; how many."""
        async with self._database.change() as db:
            count = await roaming_outgoing.retry(db, caller.tenant_id, partner_id)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="retry",
                kind=KIND,
                ident=str(partner_id),
                after={"count": count},
            )
        self._outgoing.hint()
        return count


def _party(text: str | None) -> PartyId | None:
    return None if text is None else PartyId(text[:2], text[2:])
