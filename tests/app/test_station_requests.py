"""Follow-ups of what stations were asked for, and alerts."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.reports import Place
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.alerts import Severity
from chargeplane.kernel.errors import ConflictError
from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries.alerts import AlertFilter

TENANT = TenantId(1)
CALLER = Caller(key_id=0, tenant_id=TENANT, name="test", scopes=frozenset())
_facts = itertools.count(1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.close()


@pytest.fixture
async def key(database: Database) -> StationKey:
    async with database.change() as db:
        return StationKey(
            await db.fetchval("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, 'CS1') RETURNING key")
        )


def told(key: StationKey, fact: int | None = None) -> Place:
    return Place(
        tenant_id=TENANT,
        key=key,
        station_id=StationId("CS1"),
        received_at=datetime.now(UTC),
        fact_id=next(_facts) if fact is None else fact,
    )


async def test_a_report_ends_when_all_parts_are_there_in_whatever_order(database: Database, key: StationKey) -> None:
    requests = StationRequests(database, EventFeed())
    number = await requests.open(TENANT, key, "base_report", by="test", detail={"base": "Full"})
    assert await requests.part(told(key), "base_report", number, 1, True, ["b"]) is None
    assert await requests.part(told(key), "base_report", number, 0, True, ["a"]) is None
    ended = await requests.part(told(key), "base_report", number, 2, False, ["\x00c"])
    assert ended is not None
    (view,) = await requests.page(CALLER, "CS1", None, 10, None)
    assert (view.state, view.request_id) == ("complete", number)
    whole = await requests.one(CALLER, int(view.id))
    assert whole.parts is not None
    assert [part.seq_no for part in whole.parts] == [1, 0, 2]


async def test_a_report_of_which_only_the_last_part_comes_is_incomplete_and_ended(
    database: Database, key: StationKey
) -> None:
    requests = StationRequests(database, EventFeed())
    number = await requests.open(TENANT, key, "base_report", by="test")
    assert await requests.part(told(key), "base_report", number, 3, False, []) is not None
    (view,) = await requests.page(CALLER, "CS1", "base_report", 10, None)
    assert view.state == "incomplete"
    # and whole after all when the others come late
    for seq_no in range(3):
        await requests.part(told(key), "base_report", number, seq_no, True, [])
    (view,) = await requests.page(CALLER, "CS1", "base_report", 10, None)
    assert view.state == "complete"


async def test_a_report_handed_over_twice_counts_once(database: Database, key: StationKey) -> None:
    requests = StationRequests(database, EventFeed())
    number = await requests.open(TENANT, key, "base_report", by="test")
    for _ in range(2):
        await requests.part(told(key, 77), "base_report", number, 0, False, ["a"])
    (view,) = await requests.page(CALLER, "CS1", None, 10, None)
    whole = await requests.one(CALLER, int(view.id))
    assert whole.parts is not None
    assert len(whole.parts) == 1


async def test_what_nobody_asked_for_makes_a_request_of_its_own(database: Database, key: StationKey) -> None:
    requests = StationRequests(database, EventFeed())
    await requests.status(told(key), "firmware", 0, "Idle", done=True)
    (view,) = await requests.page(CALLER, "CS1", "firmware", 10, None)
    assert (view.asked_by, view.state, view.status) == ("station", "complete", "Idle")


async def test_an_alert_is_raised_once_counted_cleared_and_raised_anew(database: Database, key: StationKey) -> None:
    alerts = Alerts(database, EventFeed())
    for _ in range(3):
        async with database.change() as db:
            await alerts.raise_alert(
                db, TENANT, key, kind="silence", severity=Severity.WARNING, title="It does not speak."
            )
    (one,) = await alerts.page(CALLER, AlertFilter(standing=True), 10, None)
    assert (one.hits, one.station_id, one.severity) == (3, "CS1", "warning")
    await alerts.acknowledge(CALLER, int(one.id))
    with pytest.raises(ConflictError, match="already"):
        await alerts.acknowledge(CALLER, int(one.id))
    async with database.change() as db:
        await alerts.clear(db, TENANT, key, kind="silence", because="It speaks again.")
    assert await alerts.page(CALLER, AlertFilter(standing=True), 10, None) == []
    async with database.change() as db:
        await alerts.raise_alert(db, TENANT, key, kind="silence", severity=Severity.INFO, title="Again.")
    assert len(await alerts.page(CALLER, AlertFilter(), 10, None)) == 2
