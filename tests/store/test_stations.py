"""State after a restart: what one transaction's stored state has wrong never stops another, nor the station."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from msgspec.structs import asdict

from chargeplane.domain.messages import ReportKind, TransactionAnswer
from chargeplane.kernel.ids import StationKey
from chargeplane.store import stations
from tests.support.place import Place, Talk, report


@pytest.fixture
async def place(database_url: str) -> AsyncIterator[Place]:
    db: Any = await asyncpg.connect(database_url)
    for number in (1, 2):
        await db.execute("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, $1)", f"CS{number}")
    await db.close()
    made = await Place(database_url).start()
    yield made
    await made.stop()


async def charge(place: Place, station_id: str, events: int) -> None:
    """An open transaction of so many events; the register begins at 1,000 Wh and rises by 100 Wh each."""
    talk = Talk(place, station_id)
    await talk.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG"))
    for number in range(1, events):
        await talk.say(report(ReportKind.UPDATED, 1000 + 100 * number, seq=number))


async def loaded(place: Place) -> dict[int, stations.Loaded]:
    keys = [StationKey(1), StationKey(2)]
    return {
        int(key): state for key, state in (await stations.load(place.db, keys, datetime.now(UTC), repeats=True)).items()
    }


UNREADABLE = ['{"id": 1}', "", "null", "no JSON", '{"id": 1, "energy_wh": {}}']


@pytest.mark.parametrize("text", UNREADABLE)
async def test_a_state_that_cannot_be_read_is_rebuilt_from_columns_and_events(place: Place, text: str) -> None:
    await charge(place, "CS1", 21)
    await charge(place, "CS2", 5)
    before = await loaded(place)
    await place.db.execute("UPDATE open_transaction SET state = $1 WHERE station_key = 1", text)
    await place.db.execute("UPDATE transaction SET state = $1 WHERE station_key = 1", text)
    after = await loaded(place)
    assert after[2].open == before[2].open
    (known,), (again,) = before[1].open, after[1].open
    assert again.energy_wh == Decimal(2000)
    differing = {name for name, value in asdict(again).items() if value != getattr(known, name)}
    assert differing == set()


async def test_a_rebuilt_transaction_goes_on_and_ends_with_its_exact_energy(place: Place) -> None:
    await charge(place, "CS1", 3)
    await place.db.execute("UPDATE open_transaction SET state = '{}'")
    await place.db.execute("UPDATE transaction SET state = '{}'")
    await place.stop()
    again = await Place(place.url).start()
    try:
        talk = Talk(again)
        answer = await talk.say(report(ReportKind.ENDED, 4321, seq=3), payload=b"{}")
        assert isinstance(answer, TransactionAnswer)
        rows = await again.db.fetch("SELECT energy_wh, is_open, ordinal FROM transaction")
        assert [tuple(row) for row in rows] == [(Decimal(3321), False, 4)]
        assert await again.db.fetchval("SELECT count(*) FROM open_transaction") == 0
    finally:
        await again.stop()


async def test_an_older_transaction_that_cannot_be_read_still_takes_its_late_values(place: Place) -> None:
    await charge(place, "CS1", 2)
    talk = Talk(place)
    await talk.say(report(ReportKind.ENDED, 2000, seq=3), payload=b"{}")
    await place.db.execute("UPDATE transaction SET state = '[]'")
    await talk.say(report(ReportKind.UPDATED, 1500, seq=2), payload=b"[]")
    rows = await place.db.fetch("SELECT energy_wh, is_open, ordinal FROM transaction")
    assert [tuple(row) for row in rows] == [(Decimal(1000), False, 4)]


async def test_readings_and_words_that_cannot_be_read_stop_nothing(place: Place) -> None:
    await charge(place, "CS1", 3)
    await place.db.execute("UPDATE transaction_event SET readings = '{]' WHERE ordinal = 2")
    await place.db.execute(
        "INSERT INTO authorization_attempt (received_on, received_at, tenant_id, station_key, id_token, status, message_id, "
        "content_hash) VALUES (CURRENT_DATE, now(), 1, 1, 'X', 'Unheard', 'm', 'h')"
    )
    found = await loaded(place)
    assert [state.energy_wh for state in found[1].open] == [Decimal(200)]
    assert found[1].attempts == []


async def test_an_open_transaction_without_its_row_stops_nothing(place: Place) -> None:
    await charge(place, "CS1", 2)
    await place.db.execute("UPDATE open_transaction SET state = '{}'")
    await place.db.execute("DELETE FROM transaction")
    assert (await loaded(place))[1].open == []
