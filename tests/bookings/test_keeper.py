"""What becomes of bookings by themselves: a real database, stations that keep what they are told, a clock that is moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from chargeplane.app.api_keys import Caller
from chargeplane.app.bookings import Change
from chargeplane.domain.bookings.fees import BookingCharge
from chargeplane.domain.commands import CancelReservation, ReserveNow, Start, Stop
from chargeplane.domain.messages import IdToken
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import booking_holds
from chargeplane.store.queries import bookings as queries
from tests.bookings.yard import Killed, Life, Yard, ident, new_token, new_yard
from tests.support.rest import Rest

Lives = Callable[..., Life]
CALLER = Caller(key_id=0, tenant_id=TenantId(1), name="test", scopes=frozenset())


@pytest_asyncio.fixture(loop_scope="session")
async def lives() -> AsyncIterator[Lives]:
    """Processes that look after a yard; they end with the test."""
    made: list[Life] = []

    def begin(yard: Yard, commits: int | None = None) -> Life:
        made.append(yard.life(commits))
        return made[-1]

    yield begin
    for life in made:
        await life.end()


async def terms(rest: Rest, booking: Any, **more: Any) -> None:
    """Gives a booking terms as an agreement would."""
    held = {"free_cancel_s": 0, "max_s": 86400, "max_ahead_s": 1e9, "max_at_a_time": 3} | more
    await rest.execute(
        "UPDATE booking SET terms = $2 WHERE id = $1", int(booking["id"]), msgspec.json.encode(held).decode()
    )


async def charged(rest: Rest, booking: Any) -> list[BookingCharge]:
    """What it costs, as written down with the booking."""
    text = await rest.execute("SELECT charges FROM booking WHERE id = $1", int(booking["id"]))
    return list(msgspec.json.decode(text, type=tuple[BookingCharge, ...]))


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


async def test_the_station_is_asked_just_in_time_and_keeps_the_evse_until_nobody_came(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    booking = await yard.book(minutes=60)
    keeper = lives(yard).keeper
    await keeper.settle()
    assert yard.station().asked == []
    yard.clock.forward(minutes=49)
    await keeper.settle()
    assert yard.station().asked == []
    yard.clock.forward(minutes=1)
    await keeper.settle()
    ((_, kept),) = yard.reservations()
    assert (kept.evse_id, kept.id_token.value) == (1, yard.token)
    assert kept.expires_at == yard.clock() + timedelta(minutes=25)  # 10 before, 15 after the beginning
    seen = await yard.state(booking)
    assert (seen["state"], seen["kept_by"]) == ("active", "station")
    await keeper.settle()
    assert len(yard.station().asked) == 1
    yard.clock.forward(minutes=25)
    await keeper.settle()
    assert (await yard.state(booking))["state"] == "no_show"
    assert yard.reservations() == []
    assert await charged(rest, booking) == []
    listed = (await rest.client.get("/v1/reservations", params={"id_token": yard.token})).json()["items"]
    assert [one["state"] for one in listed] == ["cancelled"]


async def test_the_driver_comes_and_the_booking_is_over_with_the_session(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    booking = await yard.book(minutes=5)
    life = lives(yard)
    await life.keeper.settle()
    assert len(yard.reservations()) == 1
    yard.clock.forward(minutes=9)
    session = await yard.transaction(0, yard.token.lower())
    asked: Any = SimpleNamespace(id=session, tenant_id=TenantId(1))
    begun = yard.clock() - timedelta(minutes=4)
    assert await life.bookings.reserved_from(asked) == begun  # sessions ask at once
    await life.keeper.settle()
    seen = await yard.state(booking)
    assert (seen["state"], seen["transaction_id"]) == ("used", str(session))
    assert await life.bookings.reserved_from(asked) == begun
    await terms(rest, booking, fee={"amount": "2.00", "currency": "EUR"})
    assert await life.bookings.reserved_from(asked) is None  # the fee is its price
    assert yard.reservations() == []
    used = await life.bookings.of_transaction(TenantId(1), session)
    assert used is not None
    assert used.reserved_from + timedelta(minutes=4) == yard.clock()
    longer = {"ends_at": (yard.clock() + timedelta(minutes=90)).isoformat()}
    await yard.send("PATCH", f"/v1/bookings/{booking['id']}", longer)
    refused = await rest.client.post(f"/v1/bookings/{booking['id']}/cancel", json={})
    assert refused.status_code == 409
    yard.clock.forward(minutes=30)
    await yard.end_transaction(session)
    await life.keeper.settle()
    assert (await yard.state(booking))["state"] == "completed"
    assert (await yard.book(minutes=1))[
        "state"
    ] == "confirmed"  # the EVSE is free again, whatever was left of the interval


async def test_a_session_that_names_the_reservation_uses_the_booking_whoever_charges(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    booking = await yard.book(minutes=5)
    keeper = lives(yard).keeper
    await keeper.settle()
    ((_, kept),) = yard.reservations()
    session = await yard.transaction(0, "SOMEBODY", reservation=kept.reservation_id)
    await keeper.settle()
    assert (await yard.state(booking))["transaction_id"] == str(session)


async def test_a_token_of_the_drivers_group_uses_the_booking(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    group = ident("GROUP")
    yard.token = await new_token(rest, group_id=group)
    other = await new_token(rest, group_id=group)
    booking = await yard.book(minutes=5)
    keeper = lives(yard).keeper
    await keeper.settle()
    assert yard.reservations()[0][1].group_id_token == IdToken(value=group, type="Central")
    await yard.transaction(0, other)
    await keeper.settle()
    assert (await yard.state(booking))["state"] == "used"


async def test_a_no_show_costs_the_agreements_fee_once(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    booking = await yard.book(minutes=5)
    await terms(rest, booking, no_show_fee={"amount": "7.50", "currency": "EUR"})
    one, other = lives(yard), lives(yard)
    await one.keeper.settle()
    yard.clock.forward(minutes=30)
    await other.keeper.settle()
    await one.keeper.settle()
    (told,) = await charged(rest, booking)
    assert (told.kind, told.rating.due_excl) == ("no_show", eur("7.50"))
    ((charge),) = (await yard.state(booking))["charges"]
    assert (charge["kind"], charge["due_excl"]) == ("no_show", {"amount": "7.50", "currency": "EUR"})


async def test_a_no_show_costs_what_the_tariff_asks_for_reservations_that_expire(rest: Rest, lives: Lives) -> None:
    """OCPI 2.3.0 mod_tariffs, RESERVATION_EXPIRES."""
    yard = await new_yard(rest)
    content = {
        "id": ident("T"),
        "currency": "EUR",
        "tax_included": "NO",
        "elements": [
            {
                "price_components": [{"type": "TIME", "price": 6, "step_size": 60}],
                "restrictions": {"reservation": "RESERVATION_EXPIRES"},
            },
            {"price_components": [{"type": "ENERGY", "price": 0.3, "step_size": 1}]},
        ],
    }
    await yard.send("POST", "/v1/tariffs", content)
    chosen = {"connectors": [{"evse_uid": yard.uids[0]}]}
    await yard.send("POST", f"/v1/tariffs/{content['id']}/assign", chosen)
    booking = await yard.book(minutes=5)
    assert booking["tariff_id"] == content["id"]
    assert booking["price"] == {"amount": "6", "currency": "EUR"}  # 20 kWh
    keeper = lives(yard).keeper
    await keeper.settle()
    yard.clock.forward(minutes=30)
    await keeper.settle()
    (told,) = await charged(rest, booking)
    assert told.rating.due_excl == eur("1.50")  # 15 minutes


async def test_canceling_late_costs_the_fee_and_in_time_nothing(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest, 3)
    fee = {"fee": {"amount": "3.00", "currency": "EUR"}, "free_cancel_s": 1800}
    life = lives(yard)
    early, late, waived = [await yard.book(minutes=60, evse_uid=uid) for uid in yard.uids]
    for booking in (early, late, waived):
        await terms(rest, booking, **fee)
    await life.bookings.cancel(CALLER, int(early["id"]), None, None)
    yard.clock.forward(minutes=31)
    await life.bookings.cancel(CALLER, int(late["id"]), "Rain", None)
    await life.bookings.cancel(CALLER, int(waived["id"]), None, None, waive_fee=True)
    assert await charged(rest, early) == await charged(rest, waived) == []
    (told,) = await charged(rest, late)
    assert (told.kind, told.rating.due_excl) == ("cancellation", eur("3.00"))


async def test_what_is_not_confirmed_in_time_is_given_up(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    life = lives(yard)
    wish = {"minutes": 60, "confirm": False}
    booking = await yard.book(**wish)
    await rest.execute(
        "UPDATE booking SET confirm_by = $2, due_at = $2 WHERE id = $1", int(booking["id"]), yard.clock()
    )
    await life.keeper.settle()
    seen = await yard.state(booking)
    assert (seen["state"], seen["reason"]) == ("canceled", "It was not confirmed in time.")
    assert (await yard.book())["state"] == "confirmed"


@pytest.mark.parametrize("word", ["Rejected", "NotImplemented"])
async def test_what_a_station_cannot_keep_is_kept_by_us(rest: Rest, lives: Lives, word: str) -> None:
    yard = await new_yard(rest)
    yard.station().word = word
    booking = await yard.book(minutes=5)
    life = lives(yard)
    await life.keeper.settle()
    assert (await yard.state(booking))["kept_by"] == "us"
    other = await new_token(rest)
    start = life.commands.wholes[Start]

    async def send(command: Any) -> str:
        return "sent"

    with pytest.raises(RuleError, match="kept for a booking"):
        await start(TenantId(1), yard.keys[0], Start(id_token=IdToken(value=other), evse_id=1), send, "test")
    with pytest.raises(RuleError, match="kept for a booking"):
        await start(TenantId(1), yard.keys[0], Start(id_token=IdToken(value=other)), send, "test")
    mine = Start(id_token=IdToken(value=yard.token.lower()), evse_id=1)
    assert await start(TenantId(1), yard.keys[0], mine, send, "test") == "sent"  # type: ignore[comparison-overlap]
    await life.bookings.cancel(CALLER, int(booking["id"]), None, None)
    free = Start(id_token=IdToken(value=other), evse_id=1)
    assert await start(TenantId(1), yard.keys[0], free, send, "test") == "sent"  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("word", ["Faulted", "Unavailable", "Occupied", None])
async def test_where_the_evse_is_not_to_be_had_an_equal_one_is(rest: Rest, lives: Lives, word: str | None) -> None:
    yard = await new_yard(rest, 2)
    await yard.show(1, "Available")
    yard.station().word = word
    booking = await yard.book(minutes=9)
    keeper = lives(yard).keeper
    yard.clock.forward(minutes=5)  # past half of the lead, when it is high time for those that are away or occupied
    await keeper.settle()
    seen = await yard.state(booking)
    assert (seen["state"], seen["evse_uid"], seen["moved_from"]) == ("active", yard.uids[1], yard.uids[:1])
    assert [number for number, _ in yard.reservations()] == [1]


async def test_who_does_not_want_to_move_is_not_moved_and_fails(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest, 2)
    await yard.show(1, "Available")
    yard.station().word = "Faulted"
    booking = await yard.book(minutes=5, may_move=False)
    keeper = lives(yard).keeper
    await keeper.settle()
    assert (await yard.state(booking))["state"] == "active"
    yard.clock.forward(minutes=11)
    await keeper.settle()
    seen = await yard.state(booking)
    assert (seen["state"], seen["reason"], seen["evse_uid"]) == ("failed", "Faulted", yard.uids[0])
    assert await charged(rest, booking) == []


async def test_nobody_pays_for_an_evse_that_was_never_kept(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    yard.station().word = None
    booking = await yard.book(minutes=5)
    await terms(rest, booking, no_show_fee={"amount": "7.50", "currency": "EUR"})
    keeper = lives(yard).keeper
    await keeper.look()
    yard.clock.forward(minutes=25)
    await keeper.look()
    seen = await yard.state(booking)
    assert seen["state"] == "failed"
    assert await charged(rest, booking) == []


async def test_a_station_that_has_booted_or_connected_again_is_asked_again(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    await yard.show(0, "Available")
    await yard.book(minutes=5)
    keeper = lives(yard).keeper
    await keeper.settle()
    ((_, before),) = yard.reservations()
    yard.station().kept.clear()  # a restart forgot it
    await rest.execute(
        "UPDATE charging_station SET booted_at = $2 WHERE key = $1", yard.keys[0], yard.clock() + timedelta(seconds=1)
    )
    yard.clock.forward(seconds=2)
    await keeper.settle()
    assert yard.reservations() == [(0, before)]
    await keeper.settle()
    assert len(yard.station().asked) == 2
    await rest.execute(
        "UPDATE station_connection SET changed_at = $2 WHERE station_key = $1",
        yard.keys[0],
        yard.clock() + timedelta(seconds=1),
    )
    yard.clock.forward(seconds=2)
    await keeper.settle()
    assert len(yard.station().asked) == 3
    assert yard.reservations() == [(0, before)]


async def test_a_change_reaches_the_station(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest, 2)
    booking = await yard.book(minutes=5, lasts=10)
    life = lives(yard)
    await life.keeper.settle()
    ((_, first),) = yard.reservations()
    ident_ = int(booking["id"])
    await life.bookings.change(CALLER, ident_, Change(ends_at=yard.clock() + timedelta(minutes=40)), None)
    await life.keeper.settle()
    ((_, longer),) = yard.reservations()
    assert longer.reservation_id == first.reservation_id
    assert longer.expires_at == first.expires_at + timedelta(minutes=5)  # the no-show window is whole now
    await life.bookings.change(CALLER, ident_, Change(evse_uid=yard.uids[1]), None)
    await life.keeper.settle()
    assert [number for number, _ in yard.reservations()] == [1]
    later = yard.clock() + timedelta(hours=3)
    wanted = Change(starts_at=later, ends_at=later + timedelta(hours=1))
    await life.bookings.change(CALLER, ident_, wanted, None)
    await life.keeper.settle()
    assert yard.reservations() == []
    assert (await yard.state(booking))["state"] == "confirmed"
    yard.clock.forward(hours=3)
    await life.keeper.settle()
    assert [number for number, _ in yard.reservations()] == [1]


@pytest.mark.parametrize("policy", ["warn", "stop"])
async def test_a_session_that_runs_into_a_booking_is_told_and_stopped_where_the_tenant_wants_it(
    rest: Rest, lives: Lives, policy: str
) -> None:
    yard = await new_yard(rest)
    await yard.send("PUT", "/v1/bookings/policy", {"walk_in": policy})
    try:
        booking = await yard.book(minutes=5)
        session = await yard.transaction(0, "SOMEBODY", minutes_ago=30)
        yard.station().word = "Occupied"
        life = lives(yard)
        await life.keeper.settle()
        async with rest.database.read() as db:
            stored = await queries.one(db, TenantId(1), int(booking["id"]))
        assert stored is not None
        assert stored.walk_in == session
        assert not any(isinstance(command, Stop) for command in yard.station().asked)
        yard.clock.forward(minutes=5)
        await life.keeper.settle()
        await life.keeper.settle()
        waiting = list(life.commands._running.values())
        for task in waiting:
            await task
        stops = [command for command in yard.station().asked if isinstance(command, Stop)]
        assert len(stops) == (1 if policy == "stop" else 0)
        await yard.end_transaction(session)
        yard.station().word = "Accepted"
        yard.clock.forward(seconds=20)
        await life.keeper.settle()
        assert (await yard.state(booking))["kept_by"] == "station"
    finally:
        await yard.send("PUT", "/v1/bookings/policy", {})


async def test_load_management_hears_what_is_coming(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    booking = await yard.book(minutes=90)
    heard: list[tuple[str, Any]] = []

    async def listen(fact: Fact) -> None:
        if fact.key == f"booking {booking['id']}":
            heard.append((fact.topic, msgspec.json.decode(fact.payload)))

    rest.business.facts.subscribe("load", ("booking.upcoming",), listen)
    keeper = lives(yard).keeper
    await keeper.settle()
    yard.clock.forward(minutes=30)
    await keeper.settle()
    async with asyncio.timeout(20):
        while not heard:
            await asyncio.sleep(0.05)
    ((topic, told),) = heard
    assert topic == "booking.upcoming"
    assert (told["evse_uid"], told["power_w"], told["ocpp_evse_id"]) == (yard.uids[0], 100_000, 1)


@pytest.mark.parametrize("ends", ["kept", "canceled", "moved"])
async def test_killed_at_any_commit_the_station_ends_with_one_reservation_or_none(
    rest: Rest, lives: Lives, ends: str
) -> None:
    commits, finished = 0, False
    while not finished:
        commits += 1
        yard = await new_yard(rest, 2)
        booking = await yard.book(minutes=5)
        ident_ = int(booking["id"])
        life = lives(yard, commits)
        try:
            await life.keeper.settle()
            if ends == "canceled":
                await life.bookings.cancel(CALLER, ident_, None, None)
            elif ends == "moved":
                await life.bookings.change(CALLER, ident_, Change(evse_uid=yard.uids[1]), None)
            await life.keeper.settle()
            finished = True
        except Killed:
            pass
        await life.end()
        next_life = lives(yard)
        await next_life.commands.start()
        for task in list(next_life.commands._running.values()):
            await task
        yard.clock.forward(seconds=61)  # the lease of what was begun is over
        await next_life.keeper.settle()
        seen = await yard.state(booking)
        expected = {"active": 1, "canceled": 0}[seen["state"]]
        kept = yard.reservations()
        assert len(kept) == expected, (commits, seen, kept)
        if expected:
            assert yard.uids[kept[0][0]] == seen["evse_uid"]
            await next_life.bookings.cancel(CALLER, ident_, None, None)
            await next_life.keeper.settle()
            assert yard.reservations() == []
        await next_life.end()
        assert commits < 60
    assert commits > 5


async def test_two_processes_ask_a_station_once(rest: Rest, lives: Lives) -> None:
    yard = await new_yard(rest)
    await yard.book(minutes=5)
    nodes = [lives(yard) for _ in range(4)]
    await asyncio.gather(*(node.keeper.settle() for node in nodes))
    await asyncio.gather(*(node.keeper.settle() for node in nodes))
    assert [type(command) for command in yard.station().asked] == [ReserveNow]


async def test_a_cancellation_that_overtakes_a_question_is_said_again(rest: Rest, lives: Lives) -> None:
    """The ReserveNow of a process that died may still be on its way when the booking is canceled."""
    yard = await new_yard(rest)
    booking = await yard.book(minutes=5)
    life = lives(yard)
    await life.keeper.look()
    (hold,) = await life.keeper._claim(10)
    async with rest.database.change() as db:
        assert await booking_holds.asking(db, hold.reservation_id, yard.clock() + timedelta(seconds=6))
    await life.bookings.cancel(CALLER, int(booking["id"]), None, None)
    await life.keeper.settle()
    yard.station().kept[hold.number] = ReserveNow(
        reservation_id=hold.number, id_token=IdToken(value=yard.token), expires_at=hold.valid_until, evse_id=1
    )
    yard.clock.forward(seconds=6)
    await life.keeper.settle()
    assert yard.reservations() == []
    assert [type(command) for command in yard.station().asked] == [CancelReservation] * 2


@pytest.mark.parametrize("moves", [True, False])
async def test_a_booking_of_an_evse_that_was_removed_is_moved_or_fails(rest: Rest, lives: Lives, moves: bool) -> None:
    yard = await new_yard(rest, 2)
    await yard.show(1, "Available")
    booking = await yard.book(minutes=60, may_move=moves)
    await yard.send("DELETE", f"/v1/evses/{yard.uids[0]}")
    keeper = lives(yard).keeper
    yard.clock.forward(minutes=50)
    await keeper.settle()
    seen = await yard.state(booking)
    if moves:
        assert (seen["state"], seen["evse_uid"], seen["kept_by"]) == ("active", yard.uids[1], "station")
    else:
        assert (seen["state"], seen["reason"]) == ("failed", "The EVSE was removed.")
        assert yard.reservations() == []
