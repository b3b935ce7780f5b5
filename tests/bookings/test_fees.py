"""Fees of bookings from the moment they fall due to the hold they are taken of, by REST and the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest_asyncio

from chargeplane.app.payments.payments import NewPayment
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from tests.bookings.test_keeper import terms
from tests.bookings.yard import Life, Yard, new_yard
from tests.support.rest import Rest, assert_problem


@pytest_asyncio.fixture(loop_scope="session")
async def yard(rest: Rest) -> Yard:
    """A yard with two EVSEs."""
    body = {"kind": "free", "enabled": True}
    assert (await rest.client.put("/v1/payment-providers/nothing", json=body)).status_code == 200
    return await new_yard(rest, 2)


@pytest_asyncio.fixture(loop_scope="session")
async def life(yard: Yard) -> AsyncIterator[Life]:
    """A process that looks after it."""
    made = yard.life()
    yield made
    await made.end()


async def hold(rest: Rest, amount: str = "20.00") -> str:
    """A payment that holds an amount."""
    wanted = NewPayment(provider="nothing", hold=Money(amount=Decimal(amount), currency="EUR"))
    view = await rest.business.payments.hold_for(TenantId(1), wanted, by="test")
    assert view.state == "authorized"
    return view.id


async def payment(rest: Rest, ident: str, *states: str) -> dict[str, Any]:
    """The payment, once it is in one of the states."""
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = (await rest.client.get(f"/v1/payments/{ident}")).json()["payment"]
            if found["state"] in states:
                return found
            await asyncio.sleep(0.02)


async def test_nobody_came_so_the_fee_is_taken_of_the_hold_and_the_rest_released(
    rest: Rest, yard: Yard, life: Life
) -> None:
    held = await hold(rest)
    booking = await yard.book(minutes=5, payment_id=held)
    assert booking["payment_id"] == held
    await terms(rest, booking, no_show_fee={"amount": "7.50", "currency": "EUR"})
    await life.keeper.settle()
    yard.clock.forward(minutes=30)
    await life.keeper.settle()
    assert (await yard.state(booking))["state"] == "no_show"
    taken = await payment(rest, held, "captured")
    assert taken["captured"] == {"amount": "7.50", "currency": "EUR"}
    (fee,) = [
        one
        for one in (await rest.client.get("/v1/unbilled-fees", params={"limit": "200"})).json()["items"]
        if one["booking_id"] == booking["id"]
    ]
    assert (fee["payment_id"], fee["kind"]) == (held, "no_show")


async def test_a_booking_that_costs_nothing_lets_go_of_its_hold(rest: Rest, yard: Yard, life: Life) -> None:
    held = await hold(rest)
    booking = await yard.book(minutes=120, payment_id=held)
    await yard.send("POST", f"/v1/bookings/{booking['id']}/cancel", {})
    assert (await payment(rest, held, "voided"))["captured"]["amount"] == "0.00"


async def test_a_used_booking_hands_its_hold_to_the_session(rest: Rest, yard: Yard, life: Life) -> None:
    held = await hold(rest)
    booking = await yard.book(minutes=5, payment_id=held, evse_uid=yard.uids[1])
    await terms(rest, booking, fee={"amount": "2.00", "currency": "EUR"})
    await life.keeper.settle()
    yard.clock.forward(minutes=9)
    session = await yard.transaction(1, yard.token)
    await life.keeper.settle()
    async with asyncio.timeout(30):
        while (await payment(rest, held, "authorized"))["session_id"] != str(session):
            await asyncio.sleep(0.02)
    assert (await payment(rest, held, "authorized"))["captured"]["amount"] == "0.00"  # with the session's price


async def test_a_payment_that_holds_nothing_or_is_another_bookings_books_nothing(rest: Rest, yard: Yard) -> None:
    held = await hold(rest)
    await yard.book(minutes=600, payment_id=held)
    answer = await rest.client.post(
        "/v1/bookings",
        json={
            "evse_uid": yard.uids[1],
            "id_token": yard.token,
            "starts_at": yard.clock().isoformat(),
            "ends_at": yard.clock().replace(hour=14).isoformat(),
            "payment_id": held,
        },
    )
    assert_problem(answer, 422, pointer="#/payment_id")
    released = await hold(rest)
    await rest.business.payments.release(int(released), "test")
    assert (await payment(rest, released, "voided"))["state"] == "voided"
    answer = await rest.client.post(
        "/v1/bookings",
        json={
            "evse_uid": yard.uids[1],
            "id_token": yard.token,
            "starts_at": yard.clock().isoformat(),
            "ends_at": yard.clock().replace(hour=14).isoformat(),
            "payment_id": released,
        },
    )
    assert_problem(answer, 422, pointer="#/payment_id")
