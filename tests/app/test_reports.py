"""What stations report and ask besides transactions: kept, handed to its subject after the commit, thought about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from msgspec import Struct

from chargeplane.app.reports import Place as Where
from chargeplane.app.reports import Reports
from chargeplane.domain.contracts import ContractCheck
from chargeplane.domain.messages import (
    Acknowledged,
    Answered,
    Authorize,
    AuthorizeAnswer,
    IdToken,
    Notice,
    Question,
)
from chargeplane.kernel.errors import RuleError, UnavailableError
from chargeplane.store.outbox import OutboxWorker
from tests.support.place import Place, Talk


class Smoke(Struct, frozen=True, kw_only=True, tag="smoke"):
    thickness: int


class HowMuch(Struct, frozen=True, kw_only=True):
    of: str


class SoMuch(Struct, frozen=True, kw_only=True):
    grams: int


@pytest.fixture
async def place(database_url: str) -> AsyncIterator[Place]:
    db: Any = await asyncpg.connect(database_url)
    await db.execute("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, 'CS1')")
    await db.close()
    made = await Place(database_url).start()
    yield made
    await made.stop()


class Taken:
    """A subject that notes what it takes, and fails as often as it is told to."""

    def __init__(self, failures: int = 0, error: type[Exception] = ValueError) -> None:
        self.failures = failures
        self.error = error
        self.got: list[tuple[str, int, int]] = []
        self.enough = asyncio.Event()
        self.wanted = 1

    async def __call__(self, where: Where, report: Smoke) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error("not now")
        self.got.append((where.station_id, report.thickness, where.fact_id))
        if len(self.got) >= self.wanted:
            self.enough.set()


def smoke(thickness: int) -> Notice:
    return Notice(action="NotifyEvent", tells="smoke", report=Smoke(thickness=thickness))


@pytest.fixture
async def outbox(place: Place) -> AsyncIterator[OutboxWorker]:
    worker = OutboxWorker(place.connect, poll_s=0.2)
    yield worker
    await worker.stop()


async def test_a_report_reaches_its_subject_after_its_notice_was_committed(place: Place, outbox: OutboxWorker) -> None:
    taken = Taken()
    reports = Reports(outbox)
    reports.take(Smoke, taken)
    place.stations.house.report_committed = reports.hint
    await outbox.start()
    answer = await Talk(place).say(smoke(7), "NotifyEvent")
    assert isinstance(answer, Acknowledged)
    await asyncio.wait_for(taken.enough.wait(), 30)
    assert [(station, thickness) for station, thickness, _ in taken.got] == [("CS1", 7)]
    assert await place.db.fetchval("SELECT count(*) FROM station_notice") == 1


async def test_reports_of_a_station_come_in_order_although_one_fails_first(place: Place, outbox: OutboxWorker) -> None:
    taken = Taken(failures=1)
    taken.wanted = 3
    Reports(outbox).take(Smoke, taken)
    talk = Talk(place)
    for thickness in (1, 2, 3):
        await talk.say(smoke(thickness), "NotifyEvent")
    await outbox.start()
    await asyncio.wait_for(taken.enough.wait(), 30)
    assert [thickness for _, thickness, _ in taken.got] == [1, 2, 3]


async def test_a_report_that_its_subject_refuses_for_good_is_parked_and_the_next_one_goes_on(
    place: Place, outbox: OutboxWorker
) -> None:
    taken = Taken(failures=1, error=RuleError)
    Reports(outbox).take(Smoke, taken)
    talk = Talk(place)
    for thickness in (1, 2):
        await talk.say(smoke(thickness), "NotifyEvent")
    await outbox.start()
    await asyncio.wait_for(taken.enough.wait(), 30)
    assert [thickness for _, thickness, _ in taken.got] == [2]
    assert await place.db.fetchval("SELECT count(*) FROM outbox WHERE parked_at IS NOT NULL") == 1


async def test_a_message_sent_again_is_reported_once(place: Place) -> None:
    await Talk(place).say(smoke(1), "NotifyEvent", b'{"same":true}')
    await place.stations.stop()
    again = await Place(place.url, "node").start()
    await Talk(again).say(smoke(1), "NotifyEvent", b'{"same":true}')
    assert await again.db.fetchval("SELECT count(*) FROM outbox WHERE topic = 'station.smoke'") == 1
    await again.stop()


async def test_a_question_gets_the_answer_of_its_desk_and_is_kept(place: Place) -> None:
    async def desk(where: Where, asks: HowMuch) -> Struct | None:
        return SoMuch(grams=len(asks.of)) if where.station_id == "CS1" else None

    place.stations.house.desks[HowMuch] = desk
    answer = await Talk(place).say(Question(action="BatterySwap", asks=HowMuch(of="lithium")), "BatterySwap")
    assert answer == Answered(answer=SoMuch(grams=7))
    assert await place.db.fetchval("SELECT action FROM station_notice") == "BatterySwap"


async def test_a_question_nobody_answers_or_whose_desk_fails_is_answered_without(place: Place) -> None:
    talk = Talk(place)
    question = Question(action="BatterySwap", asks=HowMuch(of="tin"))
    assert await talk.say(question, "BatterySwap") == Answered(answer=None)

    async def desk(where: Where, asks: HowMuch) -> Struct | None:
        raise ValueError("a bug")

    place.stations.house.desks[HowMuch] = desk
    assert await talk.say(question, "BatterySwap") == Answered(answer=None)


async def test_a_desk_is_asked_again_while_the_database_is_away(place: Place) -> None:
    asked = 0

    async def desk(where: Where, asks: HowMuch) -> Struct | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise UnavailableError("The database is away.")
        return SoMuch(grams=1)

    place.stations.house.desks[HowMuch] = desk
    answer = await Talk(place).say(Question(action="BatterySwap", asks=HowMuch(of="tin")), "BatterySwap")
    assert answer == Answered(answer=SoMuch(grams=1))


async def test_messages_behind_a_question_wait_for_its_answer(place: Place) -> None:
    free = asyncio.Event()

    async def desk(where: Where, asks: HowMuch) -> Struct | None:
        await free.wait()
        return SoMuch(grams=1)

    place.stations.house.desks[HowMuch] = desk
    talk = Talk(place)
    first = talk.say(Question(action="BatterySwap", asks=HowMuch(of="tin")), "BatterySwap")
    second = talk.say(smoke(1), "NotifyEvent")
    free.set()
    await asyncio.gather(first, second)
    assert [name for name, _ in talk.answers] == ["m1", "m2"]


async def test_a_contract_that_nobody_can_check_is_never_called_accepted(place: Place) -> None:
    talk = Talk(place)
    message = Authorize(id_token=IdToken(value="DE8AAC1", type="eMAID"), contract=ContractCheck(emaid="DE8AAC1"))
    answer = await talk.say(message, "Authorize")
    assert isinstance(answer, AuthorizeAnswer)
    assert (answer.certificate_status, answer.id_token_info.status) == ("NoCertificateAvailable", "Invalid")

    async def desk(where: Where, asks: ContractCheck) -> Struct | None:
        raise ValueError("a bug")

    place.stations.house.desks[ContractCheck] = desk
    answer = await talk.say(message, "Authorize", b'{"again":1}')
    assert isinstance(answer, AuthorizeAnswer)
    assert (answer.certificate_status, answer.id_token_info.status) == ("CertChainError", "Invalid")


async def test_a_report_that_cannot_be_read_is_parked_at_once_and_the_next_one_goes_on(
    place: Place, outbox: OutboxWorker, database_url: str
) -> None:
    taken = Taken()
    reports = Reports(outbox)
    reports.take(Smoke, taken)
    db: Any = await asyncpg.connect(database_url)
    for thickness in ('"much"', "8"):
        await db.execute(
            "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES (1, 'station.smoke', 'station 1', $1)",
            '{"key": 1, "station_id": "CS1", "received_at": "2026-01-31T00:00:00Z",'
            f' "report": {{"type": "smoke", "thickness": {thickness}}}}}',
        )
    await outbox.start()
    await asyncio.wait_for(taken.enough.wait(), 30)
    assert [thickness for _, thickness, _ in taken.got] == [8]
    parked = await db.fetchval("SELECT error FROM outbox WHERE parked_at IS NOT NULL")
    await db.close()
    assert parked.startswith("The report cannot be read")


async def test_a_report_whose_numbers_no_column_holds_is_parked_at_once(
    place: Place, outbox: OutboxWorker, database_url: str
) -> None:
    taken: list[int] = []
    db: Any = await asyncpg.connect(database_url)
    enough = asyncio.Event()

    async def take(where: Where, report: Smoke) -> None:
        taken.append(await db.fetchval("SELECT $1::integer", report.thickness))
        enough.set()

    reports = Reports(outbox)
    reports.take(Smoke, take)
    for thickness in (2**40, 9):
        await db.execute(
            "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES (1, 'station.smoke', 'station 1', $1)",
            '{"key": 1, "station_id": "CS1", "received_at": "2026-01-31T00:00:00Z",'
            f' "report": {{"type": "smoke", "thickness": {thickness}}}}}',
        )
    await outbox.start()
    await asyncio.wait_for(enough.wait(), 30)
    parked = await db.fetchval("SELECT error FROM outbox WHERE parked_at IS NOT NULL")
    await db.close()
    assert taken == [9]
    assert parked.startswith("The database refuses what the report says")
