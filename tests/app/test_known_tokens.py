"""Decisions by id tokens in memory: never by one that was changed before the commit began, whoever changed it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import asyncpg
import pytest

from chargeplane.domain.messages import Authorize, ConnectorState, ConnectorStatus, IdToken, ReportKind
from chargeplane.kernel.ids import TenantId
from chargeplane.store import rows
from chargeplane.store.commit.fields import int8
from chargeplane.store.tokens import TokenReader
from tests.support.place import Place, Talk, report

TENANT = TenantId(1)
TAG = Authorize(id_token=IdToken(value="TAG", type="Central"))
INSERT = "INSERT INTO id_token (tenant_id, type, id_token, token_key, status) VALUES "


@pytest.fixture
async def place(database_url: str) -> AsyncIterator[Place]:
    db: Any = await asyncpg.connect(database_url)
    for number in range(1, 9):
        await db.execute("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, $1)", f"CS{number}")
    await db.execute(INSERT + "(1, 'Central', 'TAG', 'tag', 'Accepted')")
    await db.close()
    made = await Place(database_url).start()
    yield made
    await made.stop()


async def met(place: Place, talk: Talk, token: IdToken = TAG.id_token) -> None:
    """Brings the token into memory."""
    await talk.say(Authorize(id_token=token), "Authorize")
    assert place.tokens.known(TENANT, token.value) is not None


async def before_the_commit(place: Place, decide: Callable[[], Any], change: str) -> None:
    """Has something decided while another batch is under way, and the token changed before the next one begins."""
    busy = Talk(place, "CS8")
    await busy.say(TAG, "Authorize")  # so that its state is loaded
    holder: Any = await place.connect()
    held = holder.transaction()
    await held.start()
    await holder.execute("UPDATE node SET seen_at = now() WHERE id = $1", place.node.id)
    first = busy.say(
        ConnectorStatus(
            evse_id=1, connector_id=1, status=ConnectorState.OCCUPIED, reported="Occupied", at=datetime.now(UTC)
        ),
        "StatusNotification",
    )
    while not await place.db.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        assert not first.done()
    decide()
    await place.db.execute(change)
    await held.commit()
    await first


CHANGES = [
    pytest.param("UPDATE id_token SET status = 'Blocked'", "Blocked", id="blocked"),
    pytest.param("DELETE FROM id_token", "Unknown", id="deleted"),
    pytest.param("UPDATE id_token SET id_token = 'NEW', token_key = 'new'", "Unknown", id="renamed"),
    pytest.param("UPDATE id_token SET valid_until = now() - interval '1 day'", "Expired", id="expired"),
    pytest.param("UPDATE id_token SET concurrent_limit = 0", "ConcurrentTx", id="limited"),
    pytest.param(
        "DELETE FROM id_token; " + INSERT + "(1, 'Central', 'TAG', 'tag', 'Blocked')", "Blocked", id="replaced"
    ),
    pytest.param("UPDATE id_token SET note = 'x'", "Accepted", id="changed to the same effect"),
    pytest.param(INSERT + "(1, 'ISO14443', 'TAG', 'tag', 'Blocked')", "Accepted", id="another type beside it"),
]


@pytest.mark.parametrize(("change", "status"), CHANGES)
async def test_a_token_changed_before_the_commit_is_answered_as_changed(place: Place, change: str, status: str) -> None:
    talk = Talk(place)
    await met(place, talk)
    asked: list[asyncio.Future[Any]] = []
    await before_the_commit(place, lambda: asked.append(talk.say(TAG, "Authorize")), change)
    assert (await asked[0]).id_token_info.status == status
    told = await place.db.fetch("SELECT status FROM authorization_attempt WHERE station_key = 1 ORDER BY received_at")
    assert [row[0] for row in told] == ["Accepted", status]


async def test_another_type_of_the_token_counts_for_a_station_that_names_none(place: Place) -> None:
    await place.db.execute("UPDATE id_token SET status = 'Blocked'")
    talk, bare = Talk(place), IdToken(value="tag", type=None)
    await met(place, talk, bare)
    asked: list[asyncio.Future[Any]] = []
    await before_the_commit(
        place,
        lambda: asked.append(talk.say(Authorize(id_token=bare), "Authorize")),
        INSERT + "(1, 'ISO14443', 'TAG', 'tag', 'Accepted')",
    )
    assert (await asked[0]).id_token_info.status == "Accepted"


async def test_a_start_on_a_token_blocked_meanwhile_is_kept_once_and_flagged(place: Place) -> None:
    talk = Talk(place)
    await met(place, talk)
    asked: list[asyncio.Future[Any]] = []

    def decide() -> None:
        asked.append(talk.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG")))
        asked.append(talk.say(report(ReportKind.UPDATED, 1500, seq=1)))
        asked.append(talk.say(report(ReportKind.ENDED, 3000, seq=2, token="TAG")))

    await before_the_commit(place, decide, "UPDATE id_token SET status = 'Blocked'")
    answers = await asyncio.gather(*asked)
    assert [name for name, _ in talk.answers] == ["m1", "m2", "m3", "m4"]
    assert (answers[0].id_token_info.status, answers[2].id_token_info.status) == ("Blocked", "Blocked")
    found = await place.db.fetch("SELECT authorization_status, flags, energy_wh, is_open FROM transaction")
    assert [(row[0], row[1], int(row[2]), row[3]) for row in found] == [("Blocked", ["refused_token"], 2000, False)]
    assert await place.db.fetchval("SELECT count(*) FROM transaction_event") == 3


async def test_who_may_stop_is_decided_by_the_group_of_the_commit(place: Place) -> None:
    await place.db.execute("UPDATE id_token SET group_id = 'G'")
    await place.db.execute(
        "INSERT INTO id_token (tenant_id, type, id_token, token_key, status, group_id) "
        "VALUES (1, 'Central', 'TWO', 'two', 'Accepted', 'G')"
    )
    talk = Talk(place)
    await met(place, talk)
    await met(place, talk, IdToken(value="TWO", type="Central"))
    await talk.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG"))
    asked: list[asyncio.Future[Any]] = []
    # The token that began is not the one presented: both are premises.
    await before_the_commit(
        place,
        lambda: asked.append(talk.say(report(ReportKind.ENDED, 3000, seq=1, token="TWO"))),
        "UPDATE id_token SET group_id = 'H' WHERE token_key = 'tag'",
    )
    assert (await asked[0]).id_token_info.status == "Accepted"
    assert await place.db.fetchval("SELECT flags FROM transaction") == ["stopped_by_other"]


async def test_a_repeat_that_writes_nothing_is_proved_as_well(place: Place) -> None:
    talk = Talk(place)
    await met(place, talk)
    start = report(ReportKind.STARTED, 1000, seq=0, token="TAG")
    first = await talk.say(start, payload=b'{"start":1}')
    assert first.id_token_info.status == "Accepted"
    asked: list[asyncio.Future[Any]] = []
    await before_the_commit(
        place,
        lambda: asked.append(talk.say(start, payload=b'{"start":1}')),
        "UPDATE id_token SET status = 'Blocked'",
    )
    assert (await asked[0]).id_token_info.status == "Blocked"
    assert await place.db.fetchval("SELECT count(*) FROM transaction_event") == 1


async def test_rows_nobody_waits_for_survive_the_second_decision(place: Place) -> None:
    talk = Talk(place)
    await met(place, talk)
    asked: list[asyncio.Future[Any]] = []

    def decide() -> None:
        talk.actor.submit_rows([rows.quirk(int8(1), "before", 1, datetime.now(UTC))])
        asked.append(talk.say(TAG, "Authorize"))
        talk.actor.submit_rows([rows.quirk(int8(1), "after", 1, datetime.now(UTC))])

    await before_the_commit(place, decide, "UPDATE id_token SET status = 'Blocked'")
    assert (await asked[0]).id_token_info.status == "Blocked"
    written = await place.db.fetch("SELECT rule, hits FROM station_quirk ORDER BY rule")
    assert [tuple(row) for row in written] == [("after", 1), ("before", 1)]


async def test_a_change_costs_other_stations_of_the_batch_nothing(place: Place) -> None:
    await place.db.execute(INSERT + "(1, 'Central', 'TWO', 'two', 'Accepted')")
    one, two = Talk(place), Talk(place, "CS2")
    other = Authorize(id_token=IdToken(value="TWO", type="Central"))
    await met(place, one)
    await met(place, two, other.id_token)
    asked: list[asyncio.Future[Any]] = []

    def decide() -> None:
        asked.append(one.say(TAG, "Authorize"))
        asked.append(two.say(other, "Authorize"))

    await before_the_commit(place, decide, "UPDATE id_token SET status = 'Blocked' WHERE token_key = 'tag'")
    assert [(await answer).id_token_info.status for answer in asked] == ["Blocked", "Accepted"]
    assert two.actor.is_loaded


async def test_a_token_with_a_limit_is_counted_anew_each_time(place: Place) -> None:
    await place.db.execute("UPDATE id_token SET concurrent_limit = 1")
    one, two = Talk(place), Talk(place, "CS2")
    first = await one.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG"))
    second = await two.say(report(ReportKind.STARTED, 1000, seq=0, token="TAG", ocpp_id="T2"))
    assert (first.id_token_info.status, second.id_token_info.status) == ("Accepted", "ConcurrentTx")
    assert place.tokens.known(TENANT, "TAG") is None


async def test_memory_keeps_the_tokens_used_last(database_url: str, place: Place) -> None:
    reader = TokenReader(place.connect, memory=4)
    for number in range(9):
        await place.db.execute(INSERT + "(1, 'Central', $1, $1, 'Accepted')", str(number))
    for number in (0, 1, 2, 3, 0, 4, 0, 5, 0, 6):
        if reader.known(TENANT, str(number)) is None:
            found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            reader.lookup(TENANT, str(number), found.set_result)
            await found
    kept = [number for number in range(9) if reader.known(TENANT, str(number)) is not None]
    assert len(kept) <= 4
    assert {0, 6} <= set(kept)
    await reader.stop()


async def test_what_is_known_of_a_token_is_forgotten_with_the_connection(place: Place) -> None:
    talk = Talk(place)
    await met(place, talk)
    await place.db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'WITH %' AND pid <> pg_backend_pid()"
    )
    status = ConnectorStatus(
        evse_id=1, connector_id=1, status=ConnectorState.OCCUPIED, reported="Occupied", at=datetime.now(UTC)
    )
    await talk.say(status, "StatusNotification")
    assert place.tokens.known(TENANT, "TAG") is None


async def test_no_answer_differs_from_what_the_token_was_while_it_was_asked_about(place: Place) -> None:
    """Stations ask without pause while another connection changes the tokens: each answer is one that a look-up between the
    question and the answer could have found."""
    words = ("Accepted", "Blocked", "Expired", "Invalid")
    tokens = [IdToken(value=f"T{number}", type="Central") for number in range(3)]
    for token in tokens:
        await place.db.execute(INSERT + "(1, 'Central', $1, lower($1), 'Accepted')", token.value)
    # Of each token: (status, earliest moment it may have been seen, last moment).
    lives: dict[str, list[list[Any]]] = {token.value: [["Accepted", 0.0, float("inf")]] for token in tokens}
    outcomes = Counter[str]()
    failed = place.committer._observer.failed
    place.committer._observer.failed = lambda kind: (outcomes.update([kind]), failed(kind))[1]  # type: ignore[method-assign]
    asking = True
    heard: list[tuple[str, str, float, float]] = []
    dice = random.Random(7)

    async def ask(talk: Talk) -> None:
        while asking:
            token = dice.choice(tokens)
            if place.tokens.known(TENANT, token.value) is not None:
                outcomes["known"] += 1
            asked = monotonic()
            answer = await talk.say(Authorize(id_token=token), "Authorize")
            heard.append((token.value, answer.id_token_info.status.value, asked, monotonic()))

    async def change(db: Any) -> None:
        for _ in range(150):
            token = dice.choice(tokens).value
            status = dice.choice(words)
            begun = monotonic()
            if dice.random() < 0.3:
                async with db.transaction():
                    await db.execute("DELETE FROM id_token WHERE token_key = lower($1)", token)
                    await db.execute(INSERT + "(1, 'Central', $1, lower($1), $2)", token, status)
            else:
                await db.execute("UPDATE id_token SET status = $2 WHERE token_key = lower($1)", token, status)
            lives[token][-1][2] = monotonic()
            lives[token].append([status, begun, float("inf")])
            await asyncio.sleep(dice.random() * 0.01)

    async def run() -> None:
        nonlocal asking
        changer: Awaitable[None] = change(await place.connect())
        stations = [asyncio.create_task(ask(Talk(place, f"CS{number}"))) for number in range(1, 9)]
        await changer
        asking = False
        await asyncio.gather(*stations)

    await run()
    for value, status, asked, answered in heard:
        assert any(word == status and since <= answered and until >= asked for word, since, until in lives[value]), (
            value,
            status,
            asked,
            answered,
        )
    stored = await place.db.fetchval("SELECT count(*) FROM authorization_attempt")
    assert stored == len(heard)
    assert outcomes["known"] > 50
    assert outcomes["overtaken"] > 5
