"""What follows from changes of locations and tariffs reaches whoever subscribed, in order."""

from __future__ import annotations

import asyncio

import msgspec

from chargeplane.app.events import EventFeed
from chargeplane.app.fact_copies import FactCopies
from chargeplane.app.locations import EvseWanted, Locations
from chargeplane.app.locations.binding import Binding
from chargeplane.app.locations.facts import FACTS
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.locations.model import EvseContent
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact, OutboxWorker
from tests.rating.test_places import CALLER, connector, location, tariff


async def test_each_change_is_told_in_order_to_whoever_subscribed(database_url: str) -> None:
    database, heard, done = Database(database_url, readers=2), [], asyncio.Event()

    async def take(fact: Fact) -> None:
        heard.append((fact.topic, msgspec.json.decode(fact.payload)["id"]))
        if len(heard) == 8:
            done.set()

    worker = OutboxWorker(lambda: database.connect_writer("outbox"))
    facts = FactCopies(worker)
    facts.declare(FACTS)
    facts.subscribe("test", FACTS, take)
    facts.begin()
    await worker.start()
    try:
        events = EventFeed()
        locations, tariffs = Locations(database, events, Binding(database, events)), Tariffs(database, events)
        await tariffs.create(CALLER, "T", None, tariff(), None)
        await locations.create(CALLER, "L", location())
        await locations.add_evse(CALLER, "L", "E", EvseWanted(content=EvseContent(), connectors=[connector()]))
        await tariffs.assign(CALLER, "T", [("E", None)])
        await tariffs.retire(CALLER, "T", None, None)
        await locations.remove_evse(CALLER, "E", None)
        await locations.replace(CALLER, "L", location(name="New"), None)
        await locations.remove(CALLER, "L", None)
        async with asyncio.timeout(20):
            await done.wait()
    finally:
        await worker.stop()
        await database.close()
    assert [topic for topic, ident in heard if ident == "L"] == [
        "location.created",
        "location.updated",
        "location.deleted",
    ]
    assert [topic for topic, ident in heard if ident == "E"] == [
        "evse.created",
        "evse.updated",
        "evse.removed",
    ]
    assert [topic for topic, ident in heard if ident == "T"] == ["tariff.created", "tariff.retired"]
