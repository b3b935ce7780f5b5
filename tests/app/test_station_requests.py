"""Follow-ups of what stations were asked for, and alerts."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.customer_information import KIND, CustomerInformation
from chargeplane.app.events import EventFeed
from chargeplane.app.reports import Place
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.alerts import Severity
from chargeplane.domain.firmware import CustomerInformationPart
from chargeplane.kernel.errors import ConflictError
from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import station_requests
from chargeplane.store.queries.alerts import AlertFilter
from chargeplane.store.secrets import InstallationKeys

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


async def test_an_alert_is_told_of_when_it_is_committed_and_never_before(database: Database, key: StationKey) -> None:
    events = EventFeed()
    watcher = events.watch(TENANT)
    alerts = Alerts(database, events)

    async def raise_one(*, fails: bool) -> None:
        async with database.change() as db:
            await alerts.raise_alert(db, TENANT, key, kind="k", severity=Severity.WARNING, title="t", ident=str(fails))
            assert not watcher._waiting
            if fails:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        await raise_one(fails=True)
    assert not watcher._waiting
    await raise_one(fails=False)
    assert [one.kind for one in watcher._waiting] == ["alert.raised"]
    async with database.change() as db:
        await alerts.clear(db, TENANT, key, kind="k", because="over", ident=None)
        assert len(watcher._waiting) == 1
    assert [one.kind for one in watcher._waiting] == ["alert.raised", "alert.cleared"]
    watcher.close()


def at_time(key: StationKey, minutes: float, fact: int | None = None) -> Place:
    return replace(told(key, fact), received_at=datetime.now(UTC) + timedelta(minutes=minutes))


async def number_of(database: Database, place: Place) -> int | None:
    async with database.read() as db:
        return await station_requests.goes_on(db, place.key, "firmware", place.fact_id, place.received_at)


async def test_a_status_without_number_belongs_to_what_was_asked_for_before_it_came(
    database: Database, key: StationKey
) -> None:
    requests = StationRequests(database, EventFeed())
    first = await requests.open(TENANT, key, "firmware", by="test")
    assert await number_of(database, at_time(key, -5)) is None  # it came before anything was asked for
    assert await number_of(database, told(key)) == first
    async with database.change() as db:
        await db.execute("UPDATE station_request SET created_at = now() - interval '10 minutes'")
    second = await requests.open(TENANT, key, "firmware", by="test")
    assert await number_of(database, at_time(key, -5)) == first
    assert await number_of(database, told(key)) == second


async def test_a_status_without_number_that_is_handed_over_again_stays_with_its_request(
    database: Database, key: StationKey
) -> None:
    requests = StationRequests(database, EventFeed())
    first = await requests.open(TENANT, key, "firmware", by="test")
    place = told(key)
    await requests.status(place, "firmware", await number_of(database, place), "Installed", done=True)
    second = await requests.open(TENANT, key, "firmware", by="test")
    again = replace(place, received_at=datetime.now(UTC))  # whatever the clocks say
    assert await number_of(database, again) == first
    await requests.status(again, "firmware", await number_of(database, again), "Installed", done=True)
    newest, oldest = await requests.page(CALLER, "CS1", "firmware", 10, None)
    assert (newest.request_id, newest.state) == (second, "waiting")
    assert (oldest.request_id, oldest.state) == (first, "complete")


async def test_what_a_station_knows_of_a_customer_is_kept_once_however_often_it_is_handed_over(
    database: Database, key: StationKey
) -> None:
    events = EventFeed()
    requests = StationRequests(database, events)
    commands: Any = None  # nothing is asked here
    information = CustomerInformation(database, InstallationKeys("k" * 32), commands, requests, events)
    number = await requests.open(TENANT, key, KIND, by="test")
    places = [told(key), told(key)]
    parts = [
        CustomerInformationPart(request_id=number, seq_no=0, more=True, data="a"),
        CustomerInformationPart(request_id=number, seq_no=1, more=False, data="b"),
    ]
    for place, part in [*zip(places, parts, strict=True)] * 2:
        await information.heard(place, part)
    (kept,) = await information.page(CALLER, None, 10, None)
    assert await information.show(CALLER, int(kept.id)) == "ab"
    await information.heard(places[1], parts[1])  # and again when it was shown
    assert len(await information.page(CALLER, None, 10, None)) == 1
    alone = await requests.open(TENANT, key, KIND, by="test")
    for place in [told(key, 999)] * 2:
        await information.heard(place, CustomerInformationPart(request_id=alone, seq_no=0, more=False, data="c"))
    assert len(await information.page(CALLER, None, 10, None)) == 2
