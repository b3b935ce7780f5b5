"""Bookings by many at once, changed while their station is asked, over nights whose clocks change, at stations that are away or occupied."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.bookings import Change
from chargeplane.domain.commands import Stop
from chargeplane.kernel.errors import ConflictError
from tests.bookings.test_keeper import CALLER, charged, terms
from tests.bookings.yard import NOON, Life, Yard, new_token, new_yard
from tests.support.rest import Rest

Lives = Callable[..., Life]


@pytest_asyncio.fixture(loop_scope="session")
async def lives() -> AsyncIterator[Lives]:
    """Processes that look after a yard; they end with the test."""
    made: list[Life] = []

    def begin(yard: Yard) -> Life:
        made.append(yard.life())
        return made[-1]

    yield begin
    for life in made:
        await life.end()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


async def test_fifty_attempts_at_intervals_that_overlap_end_in_bookings_that_do_not(rest: Rest) -> None:
    yard = await new_yard(rest, 2)
    tokens = [await new_token(rest) for _ in range(50)]
    chance = random.Random(7)

    async def attempt(token: str) -> tuple[int, Any, str, datetime, datetime]:
        start = NOON + timedelta(minutes=chance.randrange(0, 600))
        end = start + timedelta(minutes=chance.randrange(10, 180))
        uid = chance.choice(yard.uids)
        body = {"evse_uid": uid, "id_token": token, "starts_at": start.isoformat(), "ends_at": end.isoformat()}
        answer = await rest.client.post("/v1/bookings", json=body)
        return answer.status_code, answer.json(), uid, start, end

    answers = await asyncio.gather(*(attempt(token) for token in tokens))
    assert {answer[0] for answer in answers} == {201, 409}
    buffer = timedelta(minutes=5)
    taken = [(uid, start, end) for status, _, uid, start, end in answers if status == 201]
    for one, other in itertools.combinations(taken, 2):
        assert one[0] != other[0] or one[2] + buffer <= other[1] or other[2] + buffer <= one[1]
    for status, problem, uid, start, end in answers:
        if status == 409:
            assert any(uid == u and start < e + buffer and s < end + buffer for u, s, e in taken), problem


@pytest.mark.parametrize("round", range(6))
async def test_canceled_or_moved_while_the_station_is_asked_it_keeps_what_is_wanted_or_nothing(
    rest: Rest, lives: Lives, round: int
) -> None:
    yard = await new_yard(rest)
    booking = await yard.book(minutes=5, lasts=60)
    ident = int(booking["id"])
    nodes = [lives(yard) for _ in range(2)]
    later = yard.clock() + timedelta(minutes=8)
    chance = random.Random(round)

    async def interfere() -> None:
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        if round % 2:
            await nodes[0].bookings.cancel(CALLER, ident, None, None)
        else:
            await nodes[0].bookings.change(
                CALLER, ident, Change(starts_at=later, ends_at=later + timedelta(hours=1)), None
            )

    await asyncio.gather(interfere(), *(node.keeper.settle() for node in nodes))
    for _ in range(4):
        yard.clock.forward(seconds=16)
        await asyncio.gather(*(node.keeper.settle() for node in nodes))
    seen = await yard.state(booking)
    if round % 2:
        assert seen["state"] == "canceled"
        assert yard.reservations() == []
        return
    assert (seen["state"], seen["kept_by"]) == ("active", "station")
    ((_, kept),) = yard.reservations()
    assert kept.expires_at == later + timedelta(minutes=15)


async def test_of_two_who_move_into_the_same_gap_one_does(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest, 3)
    start, life = NOON + timedelta(hours=2), lives(yard)
    first, second = [await yard.book(minutes=60, evse_uid=uid) for uid in yard.uids[:2]]
    wanted = Change(evse_uid=yard.uids[2], starts_at=start, ends_at=start + timedelta(hours=1))

    async def move(booking: Any) -> bool:
        try:
            await life.bookings.change(CALLER, int(booking["id"]), wanted, None)
        except ConflictError:
            return False
        return True

    assert sorted(await asyncio.gather(move(first), move(second))) == [False, True]
    where = sorted([(await yard.state(booking))["evse_uid"] for booking in (first, second)])
    assert where.count(yard.uids[2]) == 1


@pytest.mark.parametrize(
    ("starts", "ends", "minutes"),
    [
        ("2027-03-28T01:30:00+01:00", "2027-03-28T03:30:00+02:00", 60),  # the hour from two to three is not there
        ("2027-10-31T01:30:00+02:00", "2027-10-31T03:30:00+01:00", 180),  # it is there twice
    ],
)
async def test_the_night_the_clocks_change_a_booking_lasts_as_long_as_it_does(
    rest: Rest, lives: Lives, starts: str, ends: str, minutes: int
) -> None:
    yard = await new_yard(rest)
    begins, over = at(starts), at(ends)
    yard.clock.at = begins - timedelta(minutes=5)
    policy = {"max_ahead_s": 31_622_400}
    await yard.send("PUT", "/v1/bookings/policy", policy)
    try:
        booking = await yard.book(starts_at=starts, ends_at=ends)
    finally:
        await yard.send("PUT", "/v1/bookings/policy", {})
    assert at(booking["ends_at"]) - at(booking["starts_at"]) == over - begins == timedelta(minutes=minutes)
    beside = await rest.client.post(
        "/v1/bookings",
        json={
            "evse_uid": yard.uids[0],
            "id_token": await new_token(rest),
            "starts_at": (over - timedelta(minutes=1)).isoformat(),
            "ends_at": (over + timedelta(minutes=30)).isoformat(),
        },
    )
    assert beside.status_code in (409, 422)
    life = lives(yard)
    await life.keeper.settle()
    ((_, kept),) = yard.reservations()
    assert kept.expires_at == begins + timedelta(minutes=15)
    yard.clock.at = begins + timedelta(minutes=16)
    await life.keeper.settle()
    seen = await yard.state(booking)
    assert (seen["state"], at(seen["ended_at"])) == ("no_show", begins + timedelta(minutes=15))


async def test_a_station_that_is_away_when_the_booking_begins_is_asked_when_it_is_back(
    rest: Rest, lives: Lives
) -> None:
    yard = await new_yard(rest)
    yard.station().word = None
    booking = await yard.book(minutes=5)
    await terms(rest, booking, no_show_fee={"amount": "7.50", "currency": "EUR"})
    keeper = lives(yard).keeper
    await keeper.settle()
    yard.clock.forward(minutes=7)  # it has begun
    await keeper.settle()
    seen = await yard.state(booking)
    assert (seen["state"], seen["kept_by"]) == ("active", None)
    yard.station().word = "Accepted"
    yard.clock.forward(seconds=30)
    await keeper.settle()
    assert (await yard.state(booking))["kept_by"] == "station"
    ((_, kept),) = yard.reservations()
    session = await yard.transaction(0, yard.token)
    await keeper.settle()
    seen = await yard.state(booking)
    assert (seen["state"], seen["transaction_id"]) == ("used", str(session))
    assert kept.expires_at > yard.clock()
    assert await charged(rest, booking) == []


async def test_a_walk_in_who_does_not_leave_costs_the_driver_nothing(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    booking = await yard.book(minutes=5, may_move=False)
    await terms(
        rest, booking, no_show_fee={"amount": "7.50", "currency": "EUR"}, fee={"amount": "1", "currency": "EUR"}
    )
    await yard.transaction(0, "SOMEBODY", minutes_ago=30)
    yard.station().word = "Occupied"
    keeper = lives(yard).keeper
    await keeper.settle()
    yard.clock.forward(minutes=8)  # within the patience after the beginning
    await keeper.settle()
    assert (await yard.state(booking))["state"] == "active"
    yard.clock.forward(minutes=3)
    await keeper.settle()
    seen = await yard.state(booking)
    assert (seen["state"], seen["charges"]) == ("failed", [])
    assert not any(isinstance(one, Stop) for one in yard.station().asked)  # the policy is to warn
    assert yard.reservations() == []


async def test_a_walk_in_who_leaves_in_time_leaves_the_evse_to_the_driver(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    booking = await yard.book(minutes=5, may_move=False)
    walk_in = await yard.transaction(0, "SOMEBODY", minutes_ago=30)
    yard.station().word = "Occupied"
    keeper = lives(yard).keeper
    await keeper.settle()
    yard.clock.forward(minutes=8)
    await keeper.settle()
    await yard.end_transaction(walk_in)
    yard.station().word = "Accepted"
    mine = await yard.transaction(0, yard.token)
    await keeper.settle()
    seen = await yard.state(booking)
    assert (seen["state"], seen["transaction_id"]) == ("used", str(mine))
    await yard.end_transaction(mine)
    await keeper.settle()
    assert (await yard.state(booking))["state"] == "completed"
    yard.clock.forward(seconds=30)
    await keeper.settle()
    assert yard.reservations() == []
