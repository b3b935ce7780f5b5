"""Writes of partners: together in one transaction, each with its own answer, durable when answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from chargeplane.app.roaming.replicas import ChangedObject, Owner, Replicas
from chargeplane.domain.roaming.replicas import Module, Outcome
from chargeplane.kernel.errors import InvalidInputError, UnavailableError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries.paging import Db

OWNER = Owner(TenantId(1), 7, "DE", "ABC")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def replicas(database: Database) -> AsyncIterator[Replicas]:
    replicas = Replicas(database)
    await replicas.start()
    yield replicas
    await replicas.stop()


def stamp(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}Z"


def location(ident: str, second: int = 1, evses: int = 2, **more: Any) -> bytes:
    body = {
        "country_code": "DE",
        "party_id": "ABC",
        "id": ident,
        "publish": True,
        "name": "Würzburg",
        "city": "W",
        "country": "DEU",
        "coordinates": {"latitude": "49.79", "longitude": "9.95"},
        "time_zone": "Europe/Berlin",
        "evses": [
            {
                "uid": f"{ident}-{n}",
                "status": "AVAILABLE",
                "connectors": [
                    {"id": "1", "standard": "IEC_62196_T2_COMBO", "power_type": "DC", "max_voltage": 500,
                     "max_amperage": 300, "max_electric_power": 150000, "last_updated": stamp(second)}
                ],
                "last_updated": stamp(second),
            }
            for n in range(evses)
        ],
        "last_updated": stamp(second),
    }  # fmt: skip
    return json.dumps({**body, **more}).encode()


def status(word: str, second: int) -> bytes:
    return json.dumps({"status": word, "last_updated": stamp(second)}).encode()


async def test_what_was_put_is_read_as_sent(replicas: Replicas) -> None:
    assert (await replicas.put_location(OWNER, "L1", location("L1", x_more=[1.25]))).outcome is Outcome.CREATED
    found = json.loads(await replicas.location(OWNER, "l1") or b"")
    assert found["x_more"] == [1.25]
    assert [one["uid"] for one in found["evses"]] == ["L1-0", "L1-1"]
    assert await replicas.location(Owner(TenantId(1), 7, "DE", "XYZ"), "L1") is None


async def test_many_writes_are_one_commit_and_each_has_its_answer(replicas: Replicas) -> None:
    await replicas.put_location(OWNER, "L1", location("L1", evses=50))
    before = replicas.commits
    writes = [replicas.patch_evse(OWNER, "L1", f"L1-{n}", status("CHARGING", 5)) for n in range(52)]
    answers = await asyncio.gather(*writes)
    assert [one.outcome for one in answers] == [Outcome.UPDATED] * 50 + [Outcome.UNKNOWN] * 2
    assert replicas.commits - before <= 2
    found = json.loads(await replicas.location(OWNER, "L1") or b"")
    assert {one["status"] for one in found["evses"]} == {"CHARGING"}
    assert found["last_updated"] == "2026-01-01T00:00:05.000Z"


async def test_order_within_a_batch_is_the_order_of_arrival(replicas: Replicas) -> None:
    first, second, third, late = await asyncio.gather(
        replicas.put_location(OWNER, "L1", location("L1")),
        replicas.patch_evse(OWNER, "L1", "L1-0", status("CHARGING", 5)),
        replicas.patch_evse(OWNER, "L1", "L1-0", status("BLOCKED", 6)),
        replicas.patch_evse(OWNER, "L1", "L1-0", status("AVAILABLE", 4)),
    )
    assert [first.outcome, second.outcome, third.outcome, late.outcome] == [
        Outcome.CREATED,
        Outcome.UPDATED,
        Outcome.UPDATED,
        Outcome.LATE,
    ]
    assert json.loads(await replicas.evse(OWNER, "L1", "L1-0") or b"")["status"] == "BLOCKED"


async def test_wrong_write_fails_alone(replicas: Replicas) -> None:
    good, wrong, nul = await asyncio.gather(
        replicas.put_location(OWNER, "L1", location("L1")),
        replicas.put_location(OWNER, "L2", location("L9")),
        replicas.put_location(OWNER, "L3", location("L3", name="a\x00b")),
        return_exceptions=True,
    )
    assert isinstance(wrong, InvalidInputError)
    assert isinstance(nul, InvalidInputError)
    assert not isinstance(good, BaseException)
    assert await replicas.location(OWNER, "L1") is not None


async def test_removed_evse_is_gone_and_comes_back(replicas: Replicas) -> None:
    await replicas.put_location(OWNER, "L1", location("L1", 1, evses=2))
    await replicas.put_location(OWNER, "L1", location("L1", 2, evses=1))
    assert await replicas.evse(OWNER, "L1", "L1-1") is None
    await replicas.put_location(OWNER, "L1", location("L1", 3, evses=2))
    assert await replicas.evse(OWNER, "L1", "L1-1") is not None


async def test_connector_is_put_patched_and_read(replicas: Replicas) -> None:
    await replicas.put_location(OWNER, "L1", location("L1"))
    new = json.dumps({"id": "2", "standard": "CHADEMO", "power_type": "DC", "last_updated": stamp(9)}).encode()
    assert (await replicas.put_connector(OWNER, "L1", "L1-0", "2", new)).outcome is Outcome.CREATED
    patch = json.dumps({"max_electric_power": 50000, "last_updated": stamp(10)}).encode()
    assert (await replicas.patch_connector(OWNER, "L1", "L1-0", "2", patch)).outcome is Outcome.UPDATED
    found = json.loads(await replicas.connector(OWNER, "L1", "L1-0", "2") or b"")
    assert (found["standard"], found["max_electric_power"]) == ("CHADEMO", 50000)
    whole = json.loads(await replicas.location(OWNER, "L1") or b"")
    assert whole["last_updated"] == whole["evses"][0]["last_updated"] == "2026-01-01T00:00:10.000Z"
    assert whole["evses"][1]["last_updated"] == stamp(1)


async def test_writes_of_two_nodes_agree_in_the_end(database: Database, replicas: Replicas) -> None:
    other = Replicas(database)
    await other.start()
    try:
        await replicas.put_location(OWNER, "L1", location("L1", evses=10))
        nodes: Sequence[Replicas] = (replicas, other)
        await asyncio.gather(
            *(
                nodes[n % 2].patch_evse(OWNER, "L1", f"L1-{n % 10}", status("CHARGING" if n % 2 else "BLOCKED", 2 + n))
                for n in range(200)
            ),
            *(nodes[n % 2].put_location(OWNER, f"N{n % 5}", location(f"N{n % 5}", n)) for n in range(1, 40)),
        )
    finally:
        await other.stop()
    found = json.loads(await replicas.location(OWNER, "L1") or b"")
    assert found["last_updated"] == "2026-01-01T00:03:21.000Z"
    assert [one["last_updated"] for one in found["evses"]] == [stamp(192 + n) for n in range(10)]
    assert json.loads(await replicas.location(OWNER, "N4") or b"")["last_updated"] == "2026-01-01T00:00:39.000Z"


async def test_late_object_of_another_node_does_not_win(database: Database, replicas: Replicas) -> None:
    tariff = {"country_code": "DE", "party_id": "ABC", "id": "T1", "currency": "EUR", "last_updated": stamp(5)}
    await replicas.put(OWNER, Module.TARIFFS, "T1", json.dumps(tariff).encode())
    older = json.dumps({**tariff, "currency": "SEK", "last_updated": stamp(4)}).encode()
    assert (await replicas.put(OWNER, Module.TARIFFS, "T1", older)).outcome is Outcome.LATE
    assert b"EUR" in (await replicas.object(OWNER, Module.TARIFFS, "t1") or b"")


async def test_deleted_tariff_is_gone(replicas: Replicas) -> None:
    tariff = {"country_code": "DE", "party_id": "ABC", "id": "T1", "last_updated": stamp(5)}
    body = json.dumps(tariff).encode()
    await replicas.put(OWNER, Module.TARIFFS, "T1", body)
    assert (await replicas.delete(OWNER, Module.TARIFFS, "t1")).outcome is Outcome.UPDATED
    assert (await replicas.delete(OWNER, Module.TARIFFS, "T1")).outcome is Outcome.UNKNOWN
    assert await replicas.object(OWNER, Module.TARIFFS, "T1") is None
    assert (await replicas.put(OWNER, Module.TARIFFS, "T1", body)).outcome is Outcome.CREATED


async def test_cdr_never_changes(replicas: Replicas) -> None:
    cdr = {"country_code": "DE", "party_id": "ABC", "id": "C1", "total_cost": 5, "last_updated": stamp(5)}
    first = await replicas.keep(OWNER, Module.CDRS, "C1", json.dumps(cdr).encode())
    again = await replicas.keep(OWNER, Module.CDRS, "c1", json.dumps(cdr).encode())
    other = await replicas.keep(OWNER, Module.CDRS, "C1", json.dumps({**cdr, "total_cost": 6}).encode())
    assert [first.outcome, again.outcome, other.outcome] == [Outcome.CREATED, Outcome.UNCHANGED, Outcome.LATE]
    assert first.key == again.key == other.key > 0
    assert json.loads(await replicas.object(OWNER, Module.CDRS, "C1") or b"")["total_cost"] == 5


async def test_cdr_that_is_sent_again_is_the_same_whatever_its_sender_makes_anew(replicas: Replicas) -> None:
    # OCPI 2.1.1 has the whole Location in it, with the status that its EVSEs have now.
    cdr = {"country_code": "DE", "party_id": "ABC", "id": "C2", "total_cost": 5, "last_updated": stamp(5)}
    cdr["location"] = {"evses": [{"status": "CHARGING"}]}
    first = await replicas.keep(OWNER, Module.CDRS, "C2", json.dumps(cdr).encode())
    cdr |= {"last_updated": stamp(9), "location": {"evses": [{"status": "AVAILABLE"}]}}
    again = await replicas.keep(OWNER, Module.CDRS, "C2", json.dumps(cdr).encode())
    assert (again.outcome, again.key) == (Outcome.UNCHANGED, first.key)


async def test_hook_is_part_of_the_transaction(replicas: Replicas) -> None:
    told: list[str] = []

    async def hook(db: Db, some: Sequence[ChangedObject]) -> None:
        for one in some:
            if b"bad" in one.document:
                await db.execute("SELECT 1/0")
            told.append(f"{one.id} {one.key > 0} {one.outcome.value}")

    replicas.hooks[Module.SESSIONS] = [hook]

    def session(ident: str) -> bytes:
        return json.dumps({"country_code": "DE", "party_id": "ABC", "id": ident, "last_updated": stamp(5)}).encode()

    good, bad = await asyncio.gather(
        replicas.put(OWNER, Module.SESSIONS, "good", session("good")),
        replicas.put(OWNER, Module.SESSIONS, "bad", session("bad")),
        return_exceptions=True,
    )
    assert isinstance(bad, InvalidInputError)
    assert not isinstance(good, BaseException)
    assert told[-1] == "good True created"
    assert await replicas.object(OWNER, Module.SESSIONS, "bad") is None


async def test_too_many_waiting_writes_are_refused_at_once(database: Database) -> None:
    replicas = Replicas(database, most_waiting=3)  # not started: nothing is taken
    waiting = [asyncio.create_task(replicas.put_location(OWNER, f"L{n}", location(f"L{n}"))) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError):
        await replicas.put_location(OWNER, "L9", location("L9"))
    await replicas.stop()
    assert all(isinstance(one, UnavailableError) for one in await asyncio.gather(*waiting, return_exceptions=True))


async def test_writes_go_on_after_their_connection_was_cut(database: Database, replicas: Replicas) -> None:
    await replicas.put_location(OWNER, "L1", location("L1"))
    async with database.read() as db:
        await db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%roaming'"
            " AND datname = current_database()"
        )
    answer = await asyncio.wait_for(replicas.patch_evse(OWNER, "L1", "L1-0", status("CHARGING", 5)), 30)
    assert answer.outcome is Outcome.UPDATED
