"""What the other parts ask of people: whose an id token is, and who a driver is."""

from __future__ import annotations

from collections.abc import Sequence

from chargeplane.app.agreements.ports import Holder
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import drivers as queries
from chargeplane.store.queries.drivers import DriverView
from chargeplane.store.queries.paging import Db


class People:
    """Looks people up. Driver ids are text, as in REST."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def driver_of_token(
        self, tenant_id: TenantId, kind: str | None, id_token: str, db: Db | None = None
    ) -> str | None:
        """Whose an id token is; None where it is nobody's, or waits for its confirmation.

        Args:
            kind: OCPP 2.x type; None (1.6) matches any.
            db: to read within a change.
        """
        if db is not None:
            found = await queries.driver_of_token(db, tenant_id, kind, id_token)
        else:
            async with self._database.read() as reader:
                found = await queries.driver_of_token(reader, tenant_id, kind, id_token)
        return None if found is None else str(found)

    async def driver(self, tenant_id: TenantId, driver_id: str, db: Db | None = None) -> DriverView | None:
        """Who a driver is: names, e-mail, language, country, addresses, tax id; None where there is none. An erased one has none of these.

        Args:
            db: to read within a change.
        """
        if not driver_id.isascii() or not driver_id.isdecimal() or len(driver_id) > 18:
            return None
        if db is not None:
            return await queries.one(db, tenant_id, int(driver_id))
        async with self._database.read() as reader:
            return await queries.one(reader, tenant_id, int(driver_id))

    async def holders(self, db: Db, tenant_id: TenantId, id_token_ids: Sequence[int]) -> dict[int, Holder]:
        """Whose id tokens are, by our id of the token; those of nobody are absent."""
        return {
            one.id_token_id: Holder(driver_id=str(one.driver_id), user_groups=one.user_groups)
            for one in await queries.owners(db, tenant_id, id_token_ids)
        }

    async def id_tokens(
        self, db: Db, tenant_id: TenantId, driver_ids: Sequence[str], user_groups: Sequence[str]
    ) -> list[int]:
        """Our ids of the tokens of drivers, and of the members of groups of users; both without case."""
        numbers = [int(one) for one in driver_ids if one.isascii() and one.isdecimal() and len(one) <= 18]
        return await queries.id_tokens_of(db, tenant_id, numbers, user_groups)
