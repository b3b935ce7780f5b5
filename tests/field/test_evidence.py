"""Transactions whose end never came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from chargeplane.main.config import Config, OcppConfig
from chargeplane.main.wiring import Server
from tests.support.field import QUICK, VERSIONS, VERSIONS_2X, Charge, Station, World, at, running
from tests.support.rest import ADMIN_KEY

LATER = 30


async def _left_open(world: World, version: str) -> tuple[Station, Charge]:
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(1700, 10)
    return station, charge


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_station_is_asked_and_its_lost_transaction_closed(world: World, version: str) -> None:
    """stations.md, Transactions, line 3: an Ended that never comes; ask, then close by evidence."""
    station, charge = await _left_open(world, version)
    station.answers["GetTransactionStatus"] = {"ongoingIndicator": False, "messagesInQueue": False}
    await station.status("Available", at(LATER))
    assert await station.until_called("GetTransactionStatus") == {"transactionId": charge.ocpp_id}
    one = await world.eventually(station.transaction, lambda seen: seen["state"] == "closed")
    assert one["energy_wh"] == 700
    assert one["flags"] == ["closed_by_evidence"]
    assert one["stopped_at"] == at(10)
    assert "free again" in one["stop_reason"]
    # the stop that comes after all still counts
    await charge.end(1900, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["stopped_at"]) == (900, at(20))


async def test_16_station_cannot_be_asked_and_gets_a_grace(world: World) -> None:
    """stations.md, Transactions: an Ended that never comes, in 1.6."""
    station, _ = await _left_open(world, "1.6")
    await station.status("Available", at(LATER))
    one = await world.eventually(station.transaction, lambda seen: seen["state"] == "closed")
    assert (one["energy_wh"], one["flags"]) == (700, ["closed_by_evidence"])
    assert station.asked() == []


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_transaction_that_the_station_still_has_stays_open(world: World, version: str) -> None:
    """stations.md, Transactions: the station's own word decides."""
    station, charge = await _left_open(world, version)
    station.answers["GetTransactionStatus"] = {"ongoingIndicator": True, "messagesInQueue": False}
    await station.status("Available", at(LATER))
    await station.until_called("GetTransactionStatus")
    await world.eventually(_doubts(station), lambda count: count == 0)
    assert (await station.transaction())["state"] == "open"
    await charge.end(1900, 40)
    one = await station.transaction()
    assert (one["state"], one["energy_wh"], one["flags"]) == ("closed", 900, [])


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_end_still_in_the_queue_is_waited_for(world: World, version: str) -> None:
    """stations.md, Transactions: statuses are replayed before the stops they belong to."""
    station, charge = await _left_open(world, version)
    station.answers["GetTransactionStatus"] = {"ongoingIndicator": False, "messagesInQueue": True}
    await station.status("Available", at(LATER))
    await station.until(lambda: len(station.asked()) >= 3)  # asked again and again
    assert (await station.transaction())["state"] == "open"
    await charge.end(1900, 29, offline=True)
    one = await station.transaction()
    assert (one["state"], one["energy_wh"], one["flags"]) == ("closed", 900, ["offline"])


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_station_that_does_not_know_the_question_gets_the_grace(world: World, version: str) -> None:
    """stations.md, Connection: to an unknown action some answer CALLERROR; Transactions: close by evidence."""
    station, _ = await _left_open(world, version)
    station.answers["GetTransactionStatus"] = lambda frame: [4, frame[1], "NotImplemented", "", {}]
    await station.status("Available", at(LATER))
    one = await world.eventually(station.transaction, lambda seen: seen["state"] == "closed")
    assert (one["energy_wh"], one["flags"]) == (700, ["closed_by_evidence"])


async def test_station_that_wants_no_questions_is_not_asked(world: World) -> None:
    """api.md: what the server sends by itself is switchable per station."""
    station = await world.station("2.0.1", settings={"ask_for_transactions": False})
    charge = station.charge()
    await charge.start(1000, 0)
    await station.status("Available", at(LATER))
    await world.eventually(station.transaction, lambda seen: seen["state"] == "closed")
    assert station.asked() == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_transaction_that_went_on_is_doubted_again_by_the_next_status(world: World, version: str) -> None:
    """Line 3: Available by mistake, values go on, then Available for good, within one look of the server."""
    station, charge = await _left_open(world, version)
    station.answers["GetTransactionStatus"] = {"ongoingIndicator": False, "messagesInQueue": False}
    await asyncio.gather(
        station.begin("StatusNotification", station.status_payload("Available", at(LATER))),
        station.begin(*charge.updated(1900, LATER + 5)),
        station.begin("StatusNotification", station.status_payload("Available", at(LATER + 10))),
    )
    one = await world.eventually(station.transaction, lambda seen: seen["state"] == "closed")
    assert (one["energy_wh"], one["stopped_at"], one["flags"]) == (900, at(LATER + 5), ["closed_by_evidence"])


@pytest.mark.parametrize("version", VERSIONS)
async def test_replay_that_begins_with_the_status_and_lacks_the_end(world: World, version: str) -> None:
    """Lines 2 and 3: statuses first with old times, then a transaction whose end never comes."""
    station = await world.station(version)
    station.answers["GetTransactionStatus"] = {"ongoingIndicator": False, "messagesInQueue": False}
    await station.status("Available", at(LATER))
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(1700, 10)
    one = await world.eventually(station.transaction, lambda seen: seen["state"] == "closed")
    assert (one["energy_wh"], one["flags"]) == (700, ["closed_by_evidence"])


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_clock_that_is_behind_closes_nothing_that_goes_on(world: World, version: str) -> None:
    """Line 3, item 13: a status whose time cannot be believed counts from its arrival; so does what comes after it."""
    station, charge = await _left_open(world, version)
    station.answers["GetTransactionStatus"] = {"messagesInQueue": True}
    await station.status("Available", "1970-01-01T00:00:00Z")
    assert await _doubts(station)() == 1
    await charge.update(1800, 11)
    await world.eventually(_doubts(station), lambda count: count == 0)
    await charge.end(1900, 20)
    assert (await station.transaction())["flags"] == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_that_is_away_is_waited_for(world: World, version: str) -> None:
    """Line 3: what it has queued comes when it is back; the time it was away is no time of grace."""
    station, charge = await _left_open(world, version)
    station.answers["GetTransactionStatus"] = {"messagesInQueue": True}
    other, _ = await _left_open(world, "1.6")
    await station.status("Available", at(LATER))
    await station.leave()
    await other.status("Available", at(LATER))
    await world.eventually(other.transaction, lambda seen: seen["state"] == "closed")
    assert (await station.transaction())["state"] == "open"
    charge.station = again = await world.plug(station.id, version)
    again.answers = station.answers
    await charge.end(1900, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (900, [])


@pytest.mark.parametrize("version", VERSIONS)
async def test_old_available_of_a_replay_closes_nothing(world: World, version: str) -> None:
    """stations.md, Transactions: statuses first with old times, then the transactions they belong to."""
    station, charge = await _left_open(world, version)
    await station.status("Available", at(-60))
    await station.status("Occupied", at(0))
    assert await _doubts(station)() == 0
    await charge.end(2000, 30)
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (1000, [])


async def test_doubt_outlives_the_server(database_url: str, tmp_path: Path) -> None:
    """stations.md, Transactions, line 3: the server is restarted before it could ask."""

    def server(ocpp: OcppConfig) -> Server:
        return Server(
            Config(
                bind="127.0.0.1",
                http_port=0,
                ocpp_port=0,
                data_dir=str(tmp_path),
                database_url=database_url,
                admin_key=ADMIN_KEY,
                ocpp=ocpp,
            )
        )

    async with running(server(OcppConfig()), ADMIN_KEY) as world:
        station, charge = await _left_open(world, "2.0.1")
        await station.status("Available", at(LATER))
        world.hang_up()
    async with running(server(QUICK), ADMIN_KEY) as world:
        again = await world.plug(station.id, "2.0.1")
        again.answers["GetTransactionStatus"] = {"ongoingIndicator": False, "messagesInQueue": False}
        assert await again.until_called("GetTransactionStatus") == {"transactionId": charge.ocpp_id}
        one = await world.eventually(again.transaction, lambda seen: seen["state"] == "closed")
        assert one["energy_wh"] == 700
        world.hang_up()


def _doubts(station: Station) -> Callable[[], Awaitable[int]]:
    async def count() -> int:
        stations = station.world.server.stations
        found = stations.find(None, station.id)
        assert found is not None
        return stations.doubts.about(found.key)

    return count
