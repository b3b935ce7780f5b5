"""The station's actor over a real database: order, refusals in the middle, and what waits for the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from chargeplane.app.ports import CloseReason
from chargeplane.domain.messages import (
    Acknowledged,
    Authorize,
    AuthorizeAnswer,
    ConnectorState,
    ConnectorStatus,
    IdToken,
    Notice,
    ReportKind,
    StationMessage,
    TransactionAnswer,
)
from chargeplane.kernel.ids import StationKey, TransactionId
from tests.support.place import Place, Talk, report


def bad_notice() -> Notice:
    return Notice(action="NotifyEvent", tells="a\x00b")  # PostgreSQL holds no NUL in text


@pytest.fixture
async def place(database_url: str) -> AsyncIterator[Place]:
    db: Any = await asyncpg.connect(database_url)
    for number in (1, 2):
        await db.execute("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, $1)", f"CS{number}")
    await db.execute(
        "INSERT INTO id_token (tenant_id, type, id_token, token_key, status) VALUES (1, 'Central', 'TAG', 'tag', 'Accepted')"
    )
    await db.close()
    made = await Place(database_url).start()
    yield made
    await made.stop()


async def energy(place: Place) -> list[tuple[Any, ...]]:
    rows = await place.db.fetch("SELECT ocpp_transaction_id, energy_wh, is_open FROM transaction ORDER BY id")
    return [tuple(row) for row in rows]


async def test_messages_sent_without_waiting_are_taken_in_order(place: Place) -> None:
    talk = Talk(place)
    talk.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG"))
    talk.say(report(ReportKind.UPDATED, 1500, seq=1))
    talk.say(Authorize(id_token=IdToken(value="TAG", type="Central")), "Authorize")
    last = talk.say(report(ReportKind.ENDED, 3000, seq=2, token="TAG"))
    answer = await last
    assert [name for name, _ in talk.answers] == ["m1", "m2", "m3", "m4"]
    assert isinstance(answer, TransactionAnswer)
    assert answer.id_token_info is not None
    assert answer.id_token_info.status == "Accepted"
    assert await energy(place) == [("T1", Decimal(2000), False)]


@pytest.mark.parametrize("position", range(5))
async def test_a_refused_message_costs_its_neighbours_of_the_same_station_nothing(place: Place, position: int) -> None:
    talk = Talk(place)
    messages: list[tuple[StationMessage, str]] = [
        (report(ReportKind.STARTED, 1000, seq=0, token="TAG"), "TransactionEvent"),
        (report(ReportKind.UPDATED, 1500, seq=1), "TransactionEvent"),
        (Authorize(id_token=IdToken(value="TAG", type="Central")), "Authorize"),
        (report(ReportKind.ENDED, 3000, seq=2, token="TAG"), "TransactionEvent"),
    ]
    messages.insert(position, (bad_notice(), "NotifyEvent"))
    told = [talk.say(message, action) for message, action in messages]
    await asyncio.wait_for(asyncio.gather(*told), 30)
    assert await energy(place) == [("T1", Decimal(2000), False)]
    assert await place.db.fetchval("SELECT count(*) FROM transaction_event") == 3
    assert await place.db.fetchval("SELECT count(*) FROM authorization_attempt") == 1
    rows = await place.db.fetch("SELECT action, reason FROM quarantine")
    assert [row["action"] for row in rows] == ["NotifyEvent"]
    assert "database refused" in rows[0]["reason"]
    answers = dict(talk.answers)
    assert answers[f"m{position + 1}"] == Acknowledged()
    assert len(answers) == 5


async def test_an_answer_to_an_unstorable_token_is_given_and_the_station_goes_on(place: Place) -> None:
    talk = Talk(place)
    refused = await talk.say(Authorize(id_token=IdToken(value="A\x00", type="Central")), "Authorize")
    accepted = await talk.say(Authorize(id_token=IdToken(value="tag", type="Central")), "Authorize")
    assert isinstance(refused, AuthorizeAnswer)
    assert isinstance(accepted, AuthorizeAnswer)
    assert (refused.id_token_info.status, accepted.id_token_info.status) == ("Invalid", "Accepted")


async def test_rows_of_a_sweep_that_are_refused_cost_no_message(place: Place) -> None:
    talk = Talk(place)
    first = talk.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG"))
    await first
    talk.actor.repaired(("bad\x00rule",))
    talk.actor.submit_rows(talk.actor.sweep(datetime.now(UTC)))
    told = [talk.say(report(ReportKind.UPDATED, 1500, seq=1)), talk.say(report(ReportKind.ENDED, 2500, seq=2))]
    await asyncio.wait_for(asyncio.gather(*told), 30)
    assert await energy(place) == [("T1", Decimal(1500), False)]


async def test_state_is_the_same_after_a_restart(place: Place, database_url: str) -> None:
    talk = Talk(place)
    await talk.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG"))
    for number in range(1, 30):
        await talk.say(report(ReportKind.UPDATED, 1000 + number * 10, seq=number))
    before = talk.actor.open_transactions
    await place.stop()
    again = await Place(database_url).start()
    try:
        other = Talk(again)
        await other.say(
            ConnectorStatus(evse_id=1, connector_id=1, status=ConnectorState.OCCUPIED, reported="Occupied"), "Status"
        )
        assert other.actor.open_transactions == before
        await other.say(report(ReportKind.ENDED, 5000, seq=30))
        assert await energy(again) == [("T1", Decimal(4000), False)]
    finally:
        await again.stop()


async def test_a_station_that_went_to_another_node_is_left_alone(place: Place, database_url: str) -> None:
    here = Talk(place)
    await here.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG"))
    other = await Place(database_url, "other").start()
    try:
        there = Talk(other)
        await there.say(report(ReportKind.UPDATED, 1700, seq=1))
        unanswered = here.say(report(ReportKind.UPDATED, 9000, seq=1))
        while not here.link.closed:
            await asyncio.sleep(0.01)
        assert here.link.closed == [CloseReason.FENCED]
        assert not unanswered.done()
        await there.say(report(ReportKind.ENDED, 2000, seq=2))
        assert await energy(other) == [("T1", Decimal(1000), False)]
    finally:
        await other.stop()


async def test_a_transaction_closed_by_hand_is_closed_when_the_call_returns(place: Place) -> None:
    talk = Talk(place)
    await talk.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG"))
    await talk.say(report(ReportKind.UPDATED, 1800, seq=1))
    number = talk.actor.open_transactions[0].id
    await place.stations.close_transaction(StationKey(talk.actor.key), TransactionId(number), "by hand")
    assert await energy(place) == [("T1", Decimal(800), False)]
    assert talk.actor.open_transactions == ()


async def test_a_newer_socket_displaces_the_older_and_its_end_changes_nothing(place: Place) -> None:
    older = Talk(place)
    await older.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG"))
    newer = Talk(place)
    assert older.link.closed == [CloseReason.DISPLACED]
    credentials = place.stations.find(None, "CS1")
    assert credentials is not None
    place.stations.disconnected(credentials, older.link)
    await newer.say(report(ReportKind.ENDED, 1500, seq=1))
    assert place.stations.link(credentials.key) is newer.link
    assert await place.db.fetchval("SELECT connected FROM station_connection WHERE station_key = $1", credentials.key)
