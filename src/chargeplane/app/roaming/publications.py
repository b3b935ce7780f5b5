"""What partners are shown of ours, as operators set it; and what they asked of our stations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chargeplane.app.api_keys import Caller
from chargeplane.domain.roaming.publication import Publication
from chargeplane.kernel.errors import NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_documents as queries
from chargeplane.store.queries import roaming_requests
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.roaming_requests import RequestView

_KIND: Final = "roaming partner"


class PartnerPublications:
    """Use cases about them.

    Args:
        told: called after a commit that noted something for partners.
    """

    def __init__(self, database: Database, told: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._told = told

    async def one(self, caller: Caller, connection_id: int) -> Publication:
        """What a partner is shown.

        Raises:
            NotFoundError: the tenant has no such partner.
        """
        async with self._database.read() as db:
            await self._owned(db, caller, connection_id)
            return await queries.publication(db, connection_id)

    async def put(self, caller: Caller, connection_id: int, wanted: Publication) -> Publication:
        """Says what a partner is shown from now on. What it sees for the first time it is told.

        Raises:
            NotFoundError: the tenant has no such partner.
        """
        async with self._database.change() as db:
            await self._owned(db, caller, connection_id)
            before = await queries.publication(db, connection_id)
            await queries.set_publication(db, caller.tenant_id, connection_id, wanted)
            if before != wanted:
                await queries.tell_all(db, caller.tenant_id, connection_id, wanted)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="publish",
                kind=_KIND,
                ident=str(connection_id),
                before=before,
                after=wanted,
            )
        self._told()
        return wanted

    async def requests(
        self, caller: Caller, connection_id: int | None, limit: int, after: Position | None
    ) -> list[RequestView]:
        """What partners asked of our stations, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await roaming_requests.page(db, caller.tenant_id, connection_id, limit, after)

    async def _owned(self, db: Db, caller: Caller, connection_id: int) -> None:
        if not await queries.is_partner(db, caller.tenant_id, connection_id):
            raise NotFoundError(_KIND, str(connection_id))
