"""Exactly one CDR stands for a session, however often and by however many it is looked at, and wherever a look dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from chargeplane.app.events import EventFeed
from chargeplane.app.locations import Locations
from chargeplane.app.locations.binding import Binding
from chargeplane.app.sessions.freezing import Freezing
from chargeplane.app.sessions.keeper import KeeperSettings, SessionKeeper
from chargeplane.app.sessions.looks import Looks
from chargeplane.app.sessions.ports import NoAgreements, Nobody
from chargeplane.app.tariffs import Tariffs
from chargeplane.kernel.ids import TransactionId
from chargeplane.main.wiring import Server
from chargeplane.store.database import Database
from chargeplane.store.queries import session_work
from chargeplane.store.queries.session_work import Work
from tests.sessions.making import ENERGY, Site, site
from tests.support.charging_house import ChargingHouse


class Killed(BaseException):
    """The process died here; nothing that runs afterwards may mend it."""


class DyingDatabase(Database):
    """Dies at the nth change: before its commit, or just after it."""

    def __init__(self, url: str) -> None:
        super().__init__(url, readers=2)
        self.changes = 0
        self.dies_at: tuple[int, bool] | None = None

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Any]:
        """As ever, until it dies."""
        self.changes += 1
        dies, before = self.dies_at or (0, False)
        async with super().change() as db:
            yield db
            if self.changes == dies and before:
                raise Killed
        if self.changes == dies:
            raise Killed


def keeper_on(database: Database, looks: Looks | None = None) -> SessionKeeper:
    events = EventFeed()
    tariffs = Tariffs(database, events)
    places, nobody = Locations(database, events, Binding(database, events)), Nobody()
    return SessionKeeper(
        database,
        events,
        Freezing(database, places, tariffs, NoAgreements(), nobody, nobody, nobody),
        tariffs,
        NoAgreements(),
        KeeperSettings(running_cost_s=3600, settle_after_s=0),
        looks=looks,
    )


async def ended(made: Site, server: Server) -> Work:
    """A transaction that has ended and that nobody has looked at."""
    tag = (await made.tenant.token())["id_token"]
    station = await made.station("2.0.1")
    await station.charge(id_token=tag, energy_wh=10_000, meter_interval_s=600)
    (one,) = await made.tenant.transactions(station)

    async def noted() -> Any:
        async with server.database.read() as db:
            return await db.fetchrow(
                "SELECT transaction_id, tenant_id, ticks, 1 AS attempts FROM session_work WHERE transaction_id = $1"
                " AND NOT EXISTS (SELECT FROM outbox WHERE key = ($1::bigint)::text)",
                int(one["id"]),
            )

    row = await made.tenant.until(noted, lambda found: found is not None)
    return Work(**row)


@pytest.fixture
def url(calm: Server) -> str:
    assert calm.config.database_url is not None
    return calm.config.database_url


async def facts(database: Database, ident: int) -> list[Any]:
    """What was told of a session's CDRs."""
    async with database.read() as db:
        return [
            msgspec.json.decode(row["payload"])
            for row in await db.fetch(
                "SELECT payload FROM outbox WHERE topic LIKE 'cdr.created%' AND key LIKE $1 ORDER BY id",
                f"%session:{ident}",
            )
        ]


async def test_one_cdr_stands_wherever_a_look_dies(calm_house: ChargingHouse, calm: Server, url: str) -> None:
    database = DyingDatabase(url)
    try:
        for number in range(1, 10):
            for before in (True, False):
                made = await site(calm_house, ENERGY)
                work = await ended(made, calm)
                database.changes, database.dies_at = 0, (number, before)
                died = False
                try:
                    await keeper_on(database).look(work)
                except Killed:
                    died = True
                database.dies_at = None
                await keeper_on(database).look(work)
                await keeper_on(database).look(work)
                (cdr,) = await made.cdrs()
                assert (cdr["kind"], cdr["total_incl"]["amount"]) == ("original", "6.00"), (number, before)
                if not died:
                    assert number > 3  # begun, settled, done
                    return
        raise AssertionError("a look has more changes than are tried")
    finally:
        await database.close()


async def test_many_keepers_at_once_write_one_cdr(calm_house: ChargingHouse, calm: Server, url: str) -> None:
    databases = [Database(url, readers=4) for _ in range(2)]
    try:
        made = await site(calm_house, ENERGY)
        works = [await ended(made, calm) for _ in range(3)]
        keepers = [keeper_on(database) for database in databases for _ in range(3)]
        await asyncio.gather(*[keeper.look(work) for work in works for keeper in keepers])
        cdrs = await made.cdrs()
        assert [cdr["kind"] for cdr in cdrs] == ["original"] * 3
        assert sum(Decimal(cdr["total_incl"]["amount"]) for cdr in cdrs) == 18
    finally:
        for database in databases:
            await database.close()


async def test_a_fact_that_comes_during_a_look_brings_another(
    calm_house: ChargingHouse, calm: Server, url: str
) -> None:
    database = Database(url, readers=4)
    try:
        made = await site(calm_house, ENERGY)
        work = await ended(made, calm)
        async with database.change() as db:
            await session_work.look_at(db, work.tenant_id, TransactionId(work.transaction_id))
        await keeper_on(database).look(work)
        async with database.read() as db:
            row = await db.fetchrow("SELECT ticks FROM session_work WHERE transaction_id = $1", work.transaction_id)
        assert row is not None
        assert row["ticks"] == work.ticks + 1
        await keeper_on(database).look(Work(**{**msgspec.structs.asdict(work), "ticks": row["ticks"]}))
        assert len(await made.cdrs()) == 1
        async with database.read() as db:
            assert not await db.fetchval(
                "SELECT count(*) FROM session_work WHERE transaction_id = $1", work.transaction_id
            )
    finally:
        await database.close()


async def test_what_was_written_is_never_changed(calm_house: ChargingHouse, calm: Server, url: str) -> None:
    database = Database(url, readers=4)
    try:
        made = await site(calm_house, ENERGY)
        work = await ended(made, calm)
        await keeper_on(database).look(work)
        for statement in (
            "UPDATE cdr SET total_incl = 1 WHERE session_id = $1",
            "DELETE FROM cdr WHERE session_id = $1",
        ):
            with pytest.raises(Exception, match="never changed"):
                async with database.change() as db:
                    await db.execute(statement, work.transaction_id)
    finally:
        await database.close()
