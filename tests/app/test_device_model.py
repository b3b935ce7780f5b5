"""Reports put together, however their parts arrive; who is read after a storm of boots; two nodes and one template."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from chargeplane.app.after_boot import AfterBoot, ReadingSettings
from chargeplane.app.device_model import KIND, DeviceModel
from chargeplane.app.events import EventFeed
from chargeplane.app.reports import Place as Reporter
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.commands import CommandOutcome, CommandState
from chargeplane.domain.configuration import ChangeItem, ChangeState, ItemState, ResetPolicy
from chargeplane.domain.quirks import NOTHING, Known, Limit, Quirk
from chargeplane.domain.variables import Place, VariableReport
from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import variable_changes, variables

TENANT = TenantId(1)
_facts = itertools.count(1)


class Nobody:
    """Stands for parts of the application that a test does not reach."""

    def __init__(self) -> None:
        self.wholes: dict[type, Any] = {}

    def take(self, kind: type, handler: Any) -> None:
        pass


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url, readers=4)
    yield made
    await made.close()


async def new_station(database: Database, name: str) -> StationKey:
    async with database.change() as db:
        return StationKey(
            await db.fetchval("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, $1) RETURNING key", name)
        )


def model_of(database: Database, requests: StationRequests) -> DeviceModel:
    nobody: Any = Nobody()
    return DeviceModel(database, nobody, nobody, requests, nobody, EventFeed())


def place(number: int) -> Place:
    return ("C", "", 0, 0, f"V{number}", "", "Actual")


async def known(database: Database, key: StationKey) -> set[str]:
    async with database.read() as db:
        return {
            row["variable"]
            for row in await db.fetch("SELECT variable FROM station_variable WHERE station_key = $1", key)
        }


async def test_b07_parts_in_any_order_repeated_or_missing_never_remove_what_is_there(database: Database) -> None:
    requests = StationRequests(database, EventFeed())
    model = model_of(database, requests)
    for seed in range(25):
        chance = random.Random(seed)
        key = await new_station(database, f"CS{seed}")
        before = datetime.now(UTC) - timedelta(seconds=5)
        total, parts = chance.randint(1, 12), chance.randint(1, 5)
        reported = chance.sample(range(12), total)
        async with database.change() as db:
            await db.execute(
                "INSERT INTO station_variable (station_key, component, variable, reported_at)"
                " SELECT $1, 'C', 'V' || n, $2 FROM generate_series(0, 11) n",
                key,
                before,
            )
        full = chance.random() < 0.8
        number = await requests.open(
            TENANT, key, KIND, by="test", detail={"report": "full_inventory" if full else "summary_inventory"}
        )
        slices = [tuple(place(one) for one in reported[at::parts]) for at in range(parts)]
        last_tbc_wrong = chance.random() < 0.2  # a station that never says that more follows
        arriving = [
            VariableReport(request_id=number, seq_no=at, more=at + 1 < parts and not last_tbc_wrong, places=slices[at])
            for at in range(parts)
        ]
        missing = chance.random() < 0.3
        if missing:
            arriving.remove(chance.choice(arriving))
        # parts come in their order, some twice; or in another order
        if arriving and chance.random() < 0.5:
            again = chance.randrange(len(arriving))
            arriving.insert(again, arriving[again])
        elif not last_tbc_wrong:
            chance.shuffle(arriving)
        start = datetime.now(UTC)
        for at, part in enumerate(arriving):
            now = start + timedelta(milliseconds=at)
            async with database.change() as db:  # as the group commit does with the message
                await db.executemany(
                    "UPDATE station_variable SET reported_at = $3 WHERE station_key = $1 AND variable = $2",
                    [(key, one[4], now) for one in part.places],
                )
        for at, part in enumerate(arriving):
            reporter = Reporter(
                tenant_id=TENANT,
                key=key,
                station_id=StationId(f"CS{seed}"),
                received_at=start + timedelta(milliseconds=at),
                fact_id=next(_facts),
            )
            await model._reported(reporter, part)
        left = await known(database, key)
        wanted = {f"V{one}" for one in reported}
        assert wanted <= left or missing, seed
        told = {one[4] for part in arriving for one in part.places}
        assert told <= left, seed
        complete = {part.seq_no for part in arriving} == set(range(parts))
        if full and complete:
            assert left == wanted, seed
        elif not last_tbc_wrong:
            assert len(left) == 12, seed


async def test_10_000_boots_at_once_are_spread_over_the_time_that_the_rate_gives_them(database: Database) -> None:
    nobody: Any = Nobody()
    after_boot = AfterBoot(database, nobody, ReadingSettings(delay_s=10, spread_s=20, rate_per_s=100))
    now = asyncio.get_running_loop().time()
    for key in range(10_000):
        after_boot.booted(StationKey(key))
        after_boot.booted(StationKey(key))
    assert after_boot.waiting == 10_000
    due = sorted(at - now for at, _, _ in after_boot._due)
    assert due[0] >= 10
    assert due[-1] > 60
    # no second has many times its share
    assert max(sum(at <= one < at + 1 for one in due) for at in range(10, 120)) < 1500


async def test_stations_that_are_not_to_be_read_are_left_alone(database: Database) -> None:
    asked: list[StationKey] = []

    class Model:
        async def read_all(self, tenant_id: TenantId, key: StationKey, **_: Any) -> CommandOutcome:
            asked.append(key)
            return CommandOutcome(state=CommandState.ACCEPTED)

    keys = [await new_station(database, name) for name in ("A", "B", "C", "D")]
    unread = Known((Quirk(name="restarts", vendor="ABB", limits=frozenset({Limit.CONFIGURATION_NOT_READ})),))
    async with database.change() as db:
        await db.execute(
            """UPDATE charging_station SET settings = '{"read_variables": false}' WHERE station_id = 'B'"""
        )
        await db.execute("UPDATE charging_station SET registration = 'Rejected' WHERE station_id = 'C'")
    model: Any = Model()
    after_boot = AfterBoot(database, model, ReadingSettings(delay_s=0, spread_s=0, rate_per_s=1000))
    after_boot.known_of = lambda key: unread if key == keys[3] else NOTHING
    for key in keys:
        after_boot.booted(key)
    await after_boot.start()
    async with asyncio.timeout(30):
        while after_boot.waiting or after_boot._running:
            await asyncio.sleep(0.01)
    await after_boot.stop()
    assert asked == keys[:1]


# --- two nodes --------------------------------------------------------------------------------------------------------


async def test_two_nodes_never_work_on_the_same_station(database: Database) -> None:
    stations = [await new_station(database, f"S{number}") for number in range(8)]
    item = ChangeItem(variable="V", component="C", value="1")
    async with database.change() as db:
        for key in stations * 2:
            await variable_changes.insert(
                db, TENANT, key, [item], sealed=None, requested_by="test", reset=ResetPolicy.NONE, patience_s=1
            )
    nodes = [uuid4(), uuid4()]

    async def work(me: Any) -> list[variable_changes.Claimed]:
        mine: list[variable_changes.Claimed] = []
        for _ in range(10):
            async with database.change() as db:
                mine += await variable_changes.claim(db, me, 2)
            await asyncio.sleep(0)
        return mine

    claimed = [one for found in await asyncio.gather(*(work(node) for node in nodes)) for one in found]
    assert sorted(one.station_key for one in claimed) == sorted(stations)
    async with database.change() as db:
        first = next(one for one in claimed if one.station_key == stations[0])
        for node in nodes:
            await variable_changes.finish(
                db,
                node,
                first.id,
                [ChangeItem(variable="V", component="C", value="1", state=ItemState.APPLIED)],
                ChangeState.SUCCEEDED,
                None,
            )
        (following,) = await variable_changes.claim(db, nodes[0], 5)
    assert following.station_key == stations[0]
    assert following.id > first.id


async def test_a_change_whose_process_is_gone_is_taken_over_and_the_old_one_writes_nothing(database: Database) -> None:
    key = await new_station(database, "S")
    old, new = uuid4(), uuid4()
    item = ChangeItem(variable="V", component="C", value="1")
    async with database.change() as db:
        await variable_changes.insert(
            db, TENANT, key, [item], sealed=None, requested_by="test", reset=ResetPolicy.NONE, patience_s=1
        )
        (first,) = await variable_changes.claim(db, old, 5)
        assert await variable_changes.claim(db, new, 5) == []
        await db.execute("UPDATE variable_change SET claimed_until = now() - interval '1 s'")
        (second,) = await variable_changes.claim(db, new, 5)
        assert second.id == first.id
        assert not await variable_changes.progress(db, old, first.id, [item])
        assert not await variable_changes.finish(db, old, first.id, [item], ChangeState.FAILED, None)
        assert await variable_changes.progress(db, new, first.id, [item])


async def test_names_known_in_another_spelling_stay_one_variable(database: Database) -> None:
    from chargeplane.domain.variables import ReportedVariable

    key = await new_station(database, "S")
    async with database.change() as db:
        for component, value in (("TxCtrlr", "1"), ("txctrlr", "2"), ("TXCTRLR", "3")):
            await variables.store(
                db, key, [ReportedVariable(component=component, variable="EVConnectionTimeOut", value=value)]
            )
        rows = await db.fetch("SELECT component, value FROM station_variable")
        assert [(row["component"], row["value"]) for row in rows] == [("TxCtrlr", "3")]
        await variables.forget(db, key, [("txctrlr", "", 0, 0, "evconnectiontimeout", "", "actual")])
        assert await variables.count(db, key) == 0
