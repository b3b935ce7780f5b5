"""stations.md, "Transactions", and items 1 to 7 of ocpp.md: what the energy is when messages are lost, late, twice or odd."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import json

from tests.support.field import VERSIONS, VERSIONS_2X, Charge, Station, World, at, sampled, token_status


def summary(one: Any) -> tuple[float, str, list[str]]:
    """Energy, state and flags."""
    return one["energy_wh"], one["state"], one["flags"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_acknowledged_stop_is_in_the_database(world: World, version: str) -> None:
    """Item 1: commit, then acknowledge."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.end(1700, 30)
    async with world.server.database.read() as db:
        row = await db.fetchrow(
            "SELECT t.energy_wh, t.is_open FROM transaction t JOIN charging_station s ON s.key = t.station_key"
            " WHERE s.station_id = $1",
            station.id,
        )
    assert row is not None
    assert (row["energy_wh"], row["is_open"]) == (700, False)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("same_message_id", [True, False])
async def test_everything_told_twice_counts_once(world: World, version: str, same_message_id: bool) -> None:
    """Item 2: a retried start makes one transaction; a retried stop or meter batch counts once."""
    station = await world.station(version)
    charge = station.charge()

    async def twice(call: tuple[str, dict[str, Any]], message_id: str) -> Any:
        first = await station.call(*call, message_id)
        again = await station.call(*call, message_id if same_message_id else f"{message_id}-again")
        assert again == first
        return first

    answer = await twice(charge.started(1000, 0), "start")
    if version == "1.6":
        charge.ocpp_id = str(answer["transactionId"])
    await twice(charge.updated(1300, 10), "values")
    await twice(charge.ended(1600, 20), "stop")
    assert summary(await station.transaction()) == (600, "closed", [])
    assert len(await station.events()) == 3


@pytest.mark.parametrize("version", VERSIONS)
async def test_retries_after_a_reconnect_count_once(world: World, version: str) -> None:
    """Item 2: the answer was lost with the socket, and the station asks again on the next one."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    stop = charge.ended(1600, 20)
    await station.call(*stop, "stop")
    station.raw.hang_up()
    again = await world.plug(station.id, version)
    await again.call(*stop, "stop")
    assert summary(await again.transaction()) == (600, "closed", [])


@pytest.mark.parametrize("transaction_id", [-1, 0, 2_000_000_001])
async def test_16_stop_of_an_unconfirmed_start_is_matched(world: World, transaction_id: int) -> None:
    """Item 4: stop with transaction id -1, 0 or unknown is matched by connector, token and time."""
    station = await world.station("1.6")
    charge = station.charge(tag=await world.token())
    await charge.start(1000, 0)
    charge.ocpp_id = str(transaction_id)
    assert token_status(await charge.end(1600, 20, charge.tag)) == "Accepted"
    energy, state, flags = summary(await station.transaction())
    assert (energy, state) == (600, "closed")
    assert flags == ([] if transaction_id <= 0 else ["id_mismatch"])


@pytest.mark.parametrize("transaction_id", [-1, 0, 2_000_000_002])
async def test_16_stop_that_matches_nothing_opens_a_session(world: World, transaction_id: int) -> None:
    """Item 4: else open a session from the stop; always a CALLRESULT. Connection: stop for transaction 1."""
    station = await world.station("1.6")
    charge = station.charge(ocpp_id=str(transaction_id))
    values = [
        sampled("1.6", wh, at(when), context=f"Transaction.{word}")
        for wh, when, word in ((1000, 0, "Begin"), (1600, 20, "End"))
    ]
    assert token_status(await charge.end(1600, 20, "TAG", transactionData=values)) == "Accepted"
    one = await station.transaction()
    assert summary(one) == (600, "closed", ["opened_by_stop", "start_unconfirmed"])
    assert one["id_token"] == "TAG"


@pytest.mark.parametrize("payload", [{}, {"transactionId": "abc"}, [], {"transactionId": None, "meterStop": None}])
async def test_16_stop_that_cannot_be_understood_is_answered_and_quarantined(world: World, payload: object) -> None:
    """Item 4: always a CALLRESULT: a CALLERROR stalls the station's queue for ever."""
    station = await world.station("1.6")
    assert (await station.frame("StopTransaction", payload))[0] == 3
    assert await station.quarantine() or await station.transactions()


@pytest.mark.parametrize("version", VERSIONS)
async def test_after_a_power_cut_only_the_stop_arrives(world: World, version: str) -> None:
    """Item 5: after a power cut only the stop may arrive."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    station.raw.hang_up()
    again = await world.plug(station.id, version)
    await again.boot("PowerUp")
    charge.station = again
    more: dict[str, Any] = (
        {"reason": "PowerLoss"}
        if version == "1.6"
        else {
            "triggerReason": "AbnormalCondition",
            "offline": True,
            "transactionInfo": {"transactionId": charge.ocpp_id, "stoppedReason": "PowerLoss"},
        }
    )
    await charge.end(1800, 20, **more)
    one = await again.transaction()
    assert summary(one) == (800, "closed", [] if version == "1.6" else ["offline"])
    assert one["stop_reason"] == "PowerLoss"


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_offline_events_neither_wind_back_nor_get_lost(world: World, version: str) -> None:
    """Item 5: events flagged offline with old sequence numbers; stations.md: outage mixed with live ones."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    late = [charge.updated(1000 + 100 * n, 5 * n, offline=True) for n in (1, 2, 3)]
    await charge.update(1500, 25, transactionInfo={"transactionId": charge.ocpp_id, "chargingState": "Charging"})
    one = await station.transaction()
    assert (one["energy_wh"], one["gaps"]) == (500, [{"first_seq_no": 1, "last_seq_no": 3}])
    for call in reversed(late):
        await station.call(*call)
    one = await station.transaction()
    assert (one["energy_wh"], one["charging_state"], one["gaps"]) == (500, "Charging", [])
    await charge.end(1600, 30)
    assert summary(await station.transaction()) == (600, "closed", ["offline"])
    assert len(await station.events()) == 6


@pytest.mark.parametrize("garbage", [None, 0, -1, 1_999_999_999, "null"])
async def test_16_values_without_or_with_garbage_id_are_matched(world: World, garbage: object) -> None:
    """Item 6: meter values without, or with a garbage, transaction id are kept and matched when possible."""
    station = await world.station("1.6")
    charge = station.charge()
    await charge.start(1000, 0)
    values = {"connectorId": 1, "meterValue": [sampled("1.6", 1400, at(10))]}
    await station.call("MeterValues", values | ({"transactionId": garbage} if garbage is not None else {}))
    one = await station.transaction()
    assert (one["energy_wh"], one["events"]) == (400, 2)
    await charge.end(1500, 20)
    assert (await station.transaction())["energy_wh"] == 500


async def test_16_values_that_match_nothing_are_kept(world: World) -> None:
    """Item 6: kept; where they name a transaction that nobody knows, for a person to see."""
    station = await world.station("1.6")
    values = {"connectorId": 1, "transactionId": 1_999_999_998, "meterValue": [sampled("1.6", 1400, at(10))]}
    await station.call("MeterValues", values)
    (entry,) = await station.quarantine()
    assert (entry["action"], entry["payload"]) == ("MeterValues", values)
    assert await station.transactions() == []


async def test_16_transaction_ids_are_unique_and_positive(world: World) -> None:
    """Item 7: unique over all stations, positive, 32-bit, never 0, never given twice."""
    stations = [await world.station("1.6") for _ in range(3)]
    given = []
    for n in range(4):
        for station in stations:
            charge = station.charge()
            given.append((await charge.start(100 * n, 10 * n))["transactionId"])
            await charge.end(100 * n + 50, 10 * n + 5)
    assert len(set(given)) == 12
    assert all(0 < number < 2**31 for number in given)


# -- stations.md, "Transactions" ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_meter_that_restarts_at_zero_books_the_sum_of_the_rises(world: World, version: str) -> None:
    """Line 1: meterStop below meterStart in a transaction that goes on: the sum of the rises, flagged, never negative."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(5_000_000, 0)
    await charge.update(5_000_800, 10)
    await charge.update(0, 15)
    await charge.update(300, 25)
    await charge.end(500, 40)
    one = await station.transaction()
    assert summary(one) == (1300, "closed", ["meter_reset"])
    assert (one["meter_start_wh"], one["meter_stop_wh"]) == (5_000_000, 500)


@pytest.mark.parametrize("version", VERSIONS)
async def test_stop_below_the_start_is_never_negative(world: World, version: str) -> None:
    """Line 1: flagged, never negative."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(5_000_000, 0)
    await charge.end(700, 40)
    energy, state, flags = summary(await station.transaction())
    assert (energy >= 0, state, flags) == (True, "closed", ["meter_reset"])


@pytest.mark.parametrize("version", VERSIONS)
async def test_statuses_are_replayed_before_the_transactions_they_belong_to(world: World, version: str) -> None:
    """Line 2: statuses first with old times, then the transactions; without the offline flag."""
    station = await world.station(version)
    for word, when in (("Available", 60), ("Occupied", 0), ("Available", 40)):
        await station.status(word, at(when))
    seen = await station.view()
    assert seen["evses"][0]["connectors"][0]["at"] == at(60)
    assert seen["evses"][0]["status"] == "Available"
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(1500, 20)
    await charge.end(1900, 40)
    one = await station.transaction()
    assert summary(one) == (900, "closed", [])
    assert (one["started_at"], one["stopped_at"]) == (at(0), at(40))


@pytest.mark.parametrize("version", VERSIONS)
async def test_values_after_their_stop(world: World, version: str) -> None:
    """Line 2: MeterValues after their StopTransaction; those before its time count, the end stays."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    late = [charge.updated(1400, 10), charge.updated(1700, 20)]
    await charge.end(1900, 30)
    for call in late:
        await station.call(*call)
    one = await station.transaction()
    assert summary(one) == (900, "closed", ["late_values"])
    assert one["stopped_at"] == at(30)


async def test_16_stop_below_values_stored_because_the_car_charged_on(world: World) -> None:
    """Line 2: a stop below values already stored because the car charged on."""
    station = await world.station("1.6")
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(1500, 10)
    await charge.update(1900, 30)
    await charge.end(1700, 20)
    one = await station.transaction()
    assert (one["state"], one["stopped_at"], one["meter_stop_wh"]) == ("closed", at(20), 1700)
    assert one["energy_wh"] == 700


@pytest.mark.parametrize("version", VERSIONS)
async def test_outage_mixed_with_live_messages(world: World, version: str) -> None:
    """Line 2: messages of the outage mixed with live ones, seconds apart, without the offline flag."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    calls = [charge.updated(1000 + 100 * n, n) for n in range(1, 7)]
    for n in (3, 0, 4, 1, 5, 2):
        await station.call(*calls[n])
    await charge.end(1700, 8)
    assert summary(await station.transaction()) == (700, "closed", [])


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_seq_no_always_zero(world: World, version: str) -> None:
    """Line 4: seqNo always 0."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0, seqNo=0)
    for n in range(1, 6):
        await charge.update(1000 + 100 * n, n, seqNo=0)
    await charge.end(1600, 6, seqNo=0)
    assert summary(await station.transaction()) == (600, "closed", ["seq_repeated"])
    assert len(await station.events()) == 7


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_seq_no_repeated(world: World, version: str) -> None:
    """Line 4: seqNo repeated (2, 2, 2)."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0, seqNo=1)
    for n in range(3):
        await charge.update(1200 + 100 * n, 5 + n, seqNo=2)
    await charge.end(1600, 20, seqNo=3)
    assert summary(await station.transaction()) == (600, "closed", ["seq_repeated"])


@pytest.mark.parametrize("version", VERSIONS)
async def test_only_station_level_values_during_the_transaction(world: World, version: str) -> None:
    """Line 4: no Updated at all but station-level MeterValues without transaction id during the transaction."""
    station = await world.station(version)
    charge = station.charge()
    if version == "1.6":
        await charge.start(1000, 0)
    else:
        start = charge.event("Started", None, 0, "Authorized", token="TAG")
        await station.call("TransactionEvent", start)
    for wh, when in ((1000, 1), (1400, 10), (1800, 20)):
        values: dict[str, Any] = {"meterValue": [sampled(version, wh, at(when))]}
        await station.call("MeterValues", values | ({"connectorId": 1} if version == "1.6" else {"evseId": 1}))
    assert (await station.transaction())["energy_wh"] == 800
    if version == "1.6":
        await charge.end(1900, 30)
        assert (await station.transaction())["energy_wh"] == 900
    else:
        await station.call("TransactionEvent", charge.event("Ended", None, 30, "EVDeparted"))
        assert summary(await station.transaction()) == (800, "closed", [])


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_that_ends_another_stations_transaction(world: World, version: str) -> None:
    """Line 5: station B ends station A's transaction id: A's goes on, B gets a session of its own."""
    one, other = await world.station(version), await world.station(version)
    mine = one.charge()
    await mine.start(1000, 0)
    theirs = Charge(other, 1, mine.ocpp_id, "TAG")
    await theirs.end(9000, 10)
    assert (await one.transaction())["state"] == "open"
    assert summary(await other.transaction()) == (0, "closed", ["opened_by_stop", "start_unconfirmed"])
    await mine.end(1500, 20)
    assert summary(await one.transaction()) == (500, "closed", [])


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_id_zero_in_updated_and_ended(world: World, version: str) -> None:
    """Line 5: transaction id "0" in Updated and Ended, another one in Started."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    name, charge.ocpp_id = charge.ocpp_id, "0"
    await charge.update(1300, 10)
    await charge.end(1500, 20)
    one = await station.transaction()
    assert summary(one) == (500, "closed", ["id_mismatch"])
    assert one["ocpp_transaction_id"] == name


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_sparse_started_and_ended(world: World, version: str) -> None:
    """Line 6: Ended lacks EVSE, id token and values; Started lacks connector and value; odd trigger and stop reasons."""
    station = await world.station(version)
    charge = station.charge()

    def sparse(kind: str, when: float, trigger: str, **info: str) -> dict[str, Any]:
        event = charge.event(kind, None, when, trigger)
        del event["evse"]
        event["transactionInfo"] |= info
        return event

    await station.call("TransactionEvent", sparse("Started", 0, "EVDetected") | {"evse": {"id": 2}})
    await station.call(
        "TransactionEvent",
        charge.event("Updated", 1000, 1, "Authorized", token="TAG") | {"evse": {"id": 2, "connectorId": 1}},
    )
    await charge.update(1400, 10, triggerReason="Trigger", evse={"id": 2})
    await station.call("TransactionEvent", sparse("Ended", 20, "MeterValuePeriodic", stoppedReason="SOCLimitReached"))
    one = await station.transaction()
    assert summary(one) == (400, "closed", [])
    assert (one["evse_id"], one["connector_id"], one["id_token"]) == (2, 1, "TAG")
    assert one["stop_reason"] == "SOCLimitReached"


async def test_16_stop_without_reason_and_tag(world: World) -> None:
    """Line 6: StopTransaction lacks reason and tag."""
    station = await world.station("1.6")
    charge = station.charge()
    await charge.start(1000, 0)
    assert await charge.end(1500, 20) == {}
    one = await station.transaction()
    assert summary(one) == (500, "closed", [])
    assert one["stop_reason"] in (None, "Local")


async def test_16_unknown_stop_reason_is_kept(world: World) -> None:
    """Line 6: trigger and stop reasons are unreliable."""
    station = await world.station("1.6")
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.end(1500, 20, reason="EVFull")
    one = await station.transaction()
    assert (one["energy_wh"], one["stop_reason"]) == (500, "EVFull")
    assert await station.quirks("word_unknown") == {"word_unknown": 1}


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_unknown_trigger_and_stop_reasons_are_kept(world: World, version: str) -> None:
    """Line 6: trigger and stop reasons are unreliable, in 2.x too."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0, triggerReason="CarArrived")
    info = {"transactionId": charge.ocpp_id, "stoppedReason": "EVFull"}
    await charge.end(1500, 20, triggerReason="CarLeft", transactionInfo=info)
    one = await station.transaction()
    assert (summary(one), one["stop_reason"]) == ((500, "closed", []), "EVFull")
    assert await station.quirks("word_unknown", least=2) == {"word_unknown": 2}


@pytest.mark.parametrize("version", VERSIONS)
async def test_boot_in_the_middle_of_a_transaction(world: World, version: str) -> None:
    """stations.md, Connection: others boot with reason PowerUp in the middle of a transaction."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(1200, 5)
    assert (await station.boot("PowerUp"))["status"] == "Accepted"
    await charge.update(1400, 10)
    await charge.end(1500, 20)
    assert summary(await station.transaction()) == (500, "closed", [])


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_transaction_id_that_comes_back_after_a_boot(world: World, version: str) -> None:
    """stations.md, Connection: ids repeat across stations and reboots, a 2.0.1 transaction id too."""
    first, second = await world.station(version), await world.station(version)

    async def session(station: Station, wh: int, when: float) -> None:
        charge = Charge(station, 1, "same-id", "TAG")
        await charge.start(wh, when)
        await charge.end(wh + 100, when + 10)

    await session(first, 1000, 0)
    await session(second, 2000, 0)
    await first.boot()
    await session(first, 1100, 20)
    assert [summary(one) for one in await first.transactions()] == [(100, "closed", [])] * 2
    assert [summary(one) for one in await second.transactions()] == [(100, "closed", [])]


@pytest.mark.parametrize("version", VERSIONS)
async def test_values_outside_of_a_transaction_are_kept_and_shown(world: World, version: str) -> None:
    """Item 6: meter values without a transaction id are kept: the main meter, or an EVSE where nothing runs."""
    station = await world.station(version)
    place = "connectorId" if version == "1.6" else "evseId"
    sent = [{place: evse, "meterValue": [sampled(version, 1400 + evse, at(10))]} for evse in (0, 1)]
    for payload in sent:
        await station.call("MeterValues", payload)
    assert await station.transactions() == []
    path = f"/charging-stations/{station.id}/messages"
    seen = await world.eventually(
        lambda: world.get(path, action="MeterValues"), lambda page: len(page["items"]) == len(sent)
    )
    assert [message["payload"] for message in reversed(seen["items"])] == sent


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_ended_below_values_stored_because_the_car_charged_on(world: World, version: str) -> None:
    """Line 2: a stop below values already stored because the car charged on, in 2.x."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(1500, 10)
    late = charge.ended(1700, 20)
    await charge.update(1900, 30)
    await station.call(*late)
    one = await station.transaction()
    assert (one["state"], one["stopped_at"], one["energy_wh"]) == ("closed", at(20), 700)


async def test_costs_that_a_station_calculated_are_kept_with_the_end(world: World) -> None:
    """OCPP 2.1, I12: costDetails of a station that calculates by itself, shown with the transaction's events as they came."""
    station = await world.station("2.1")
    charge = station.charge()
    await charge.start(1000, 0)
    total = {"currency": "EUR", "typeOfCost": "NormalCost", "total": {"exclTax": 3.1, "inclTax": 3.69}}
    details = {
        "totalCost": total,
        "totalUsage": {"energy": 8.2, "chargingTime": 3600, "idleTime": 0},
        "chargingPeriods": [
            {"startPeriod": at(0), "tariffId": "night", "dimensions": [{"type": "Energy", "volume": 8.2}]}
        ],
    }
    await charge.end(9200, 60, costDetails=details)
    started, ended = await station.events()
    assert "costDetails" not in started["payload"]
    assert ended["payload"]["costDetails"] == details
    assert (await station.transaction())["energy_wh"] == 8200


async def test_mass_reconnect_with_queued_stops_loses_none(world: World) -> None:
    """Item 9: all come back at once, boot and tell what they queued."""
    stations = await asyncio.gather(*(world.station(VERSIONS[n % 3]) for n in range(30)))
    charges = [station.charge() for station in stations]
    await asyncio.gather(*(charge.start(1000, 0) for charge in charges))
    for station in stations:
        station.raw.hang_up()

    async def back(charge: Charge) -> Any:
        station = charge.station = await world.plug(charge.station.id, charge.station.version)
        boot = asyncio.ensure_future(station.boot())
        await charge.end(1500, 20)
        assert (await boot)["status"] == "Accepted"
        return summary(await station.transaction())

    assert await asyncio.gather(*map(back, charges)) == [(500, "closed", [])] * 30


async def test_transactions_go_on_while_many_others_boot(world: World) -> None:
    """Item 9: answer what transactions need; no call of a session waits for the last of the boots around it."""
    charging = await asyncio.gather(*(world.station(version) for version in VERSIONS))
    charges = [station.charge() for station in charging]
    await asyncio.gather(*(charge.start(1000, 0) for charge in charges))
    names = await asyncio.gather(*(world.register() for _ in range(120)))
    accepted: list[str] = []
    told: list[int] = []

    at_once = asyncio.Semaphore(20)

    async def storm(name: str, version: str) -> None:
        async with at_once:
            station = await world.plug(name, version)
            accepted.append((await station.boot())["status"])

    async def session(charge: Charge) -> None:
        minute = 0
        while len(accepted) < len(names):
            minute += 1
            await charge.update(1000 + 10 * minute, minute)
            told.append(len(accepted))
        await charge.end(1000 + 10 * minute, minute + 1)
        one = await charge.station.transaction()
        assert (one["energy_wh"], one["state"]) == (10 * minute, "closed")

    storms = (storm(name, VERSIONS[number % 3]) for number, name in enumerate(names))
    await asyncio.gather(*storms, *map(session, charges))
    assert accepted == ["Accepted"] * len(names)
    assert any(0 < booted < len(names) for booted in told)


@pytest.mark.parametrize("version", VERSIONS)
async def test_stations_that_must_boot_again_come_back_apart(world: World, version: str) -> None:
    """Item 9: spread boots by the interval we give."""
    intervals = set()
    for _ in range(8):
        station = await world.station(version, boot=False, registration="pending")
        answer = await station.boot()
        assert answer["status"] == "Pending"
        assert 60 <= answer["interval"] <= 75
        intervals.add(answer["interval"])
    assert len(intervals) > 3


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_whole_session_in_one_burst_is_taken_in_order(world: World, version: str) -> None:
    """Line 2: messages seconds apart, here without a pause: lookups and reads in between change no order."""
    tag, other = await world.token(), await world.token()
    station = await world.station(version)
    charge = station.charge(tag=tag)
    old = charge.updated(1100, 5)
    calls = [
        charge.started(1000, 0),
        charge.updated(1200, 10),
        old,
        old,
        charge.updated(1300, 15, seqNo=1),
        charge.ended(1500, 20, other),
        charge.updated(1400, 18),
    ]
    frames = await asyncio.gather(*(station.begin(*call) for call in calls))
    assert [frame[0] for frame in frames] == [3] * 7
    assert token_status(frames[5][2]) == "Accepted"
    one = await station.transaction()
    assert summary(one) == (500, "closed", ["late_values", "seq_gap", "seq_repeated", "stopped_by_other"])
    assert [event["payload"] for event in await station.events()] == [
        payload for n, (_, payload) in enumerate(calls) if n != 3
    ]


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_what_was_sent_right_before_the_socket_died_counts_once(world: World, version: str) -> None:
    """Items 1 and 2: the answers found no socket; the station tells everything again on the next one."""
    station = await world.station(version)
    charge = station.charge(tag=await world.token())
    calls = [charge.started(1000, 0), charge.updated(1200, 10), charge.ended(1500, 20, charge.tag)]
    for n, call in enumerate(calls):
        station.raw.send(json.encode([2, f"a{n}", *call]))
    await station.raw.writer.drain()
    station.raw.hang_up()
    again = await world.plug(station.id, version)
    for n, call in enumerate(calls):
        await again.call(*call, f"b{n}")
    assert summary(await again.transaction()) == (500, "closed", [])
    assert len(await again.events()) == 3
