"""What ends: agreements have their final invoice at once, disputes and refunds of parts are booked, fees too; the check sees what is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from chargeplane.store.outbox import Fact
from tests.invoicing.making import Tenant, agreement, billing_tenant, cdr, facts, tell_payment
from tests.support.rest import Rest

NOW = datetime.now(UTC)


async def tell_ended(rest: Rest, one: Tenant, ident: int, at: datetime) -> None:
    said = {"agreement_id": str(ident), "at": at.isoformat(), "last": True}
    told = Fact(
        id=1,
        tenant_id=one.id,
        topic="agreement.ended",
        key=f"agreement:{ident}",
        payload=json.dumps(said),
        created_at=at,
        attempts=1,
    )
    await facts(rest).agreement(told)


async def invoices(one: Tenant, **query: Any) -> list[Any]:
    answer = await one.client.get("/v1/invoices", params=query)
    assert answer.status_code == 200, answer.text
    return list(reversed(answer.json()["items"]))


async def ended(rest: Rest, ident: int, at: datetime) -> None:
    await rest.execute("UPDATE service_agreement SET state = 'ended', ends_at = $2 WHERE id = $1", ident, at)


async def test_an_agreement_that_ends_has_its_final_invoice_at_once_and_once(rest: Rest) -> None:
    one = await billing_tenant(rest)
    begun, end = NOW - timedelta(days=40), NOW - timedelta(minutes=5)
    fee = {"type": "recurring_fee", "name": "Base", "amount": {"amount": "10.00", "currency": "EUR"}, "every": "month"}
    ident = await agreement(rest, one, begun=begun, items=[fee])
    await cdr(rest, one, agreement_id=ident, at=NOW - timedelta(hours=2))
    assert await invoices(one) == []
    await ended(rest, ident, end)
    for _ in range(2):
        await tell_ended(rest, one, ident, end)
    (final,) = await invoices(one)
    assert final["state"] == "issued"
    lines = (await one.client.get(f"/v1/invoices/{final['id']}")).json()["lines"]
    assert [line["kind"] for line in lines].count("charging") == 1
    assert [line["kind"] for line in lines].count("fee") >= 1
    # A session that ended after the agreement did is billed when its CDR comes: no run is waited for.
    await cdr(rest, one, agreement_id=ident, at=NOW - timedelta(minutes=1))
    assert len(await invoices(one)) == 2


async def test_an_agreement_that_ends_without_anything_to_bill_has_no_invoice(rest: Rest) -> None:
    one = await billing_tenant(rest)
    ident = await agreement(rest, one, begun=NOW - timedelta(days=3))
    await ended(rest, ident, NOW - timedelta(minutes=5))
    await tell_ended(rest, one, ident, NOW - timedelta(minutes=5))
    assert await invoices(one) == []


async def balances(one: Tenant) -> dict[str, str]:
    items = (await one.client.get("/v1/ledger/accounts")).json()["items"]
    return {item["code"]: item["balance"]["amount"] for item in items if float(item["balance"]["amount"])}


async def sound(one: Tenant) -> None:
    report = (await one.client.get("/v1/ledger/check")).json()
    assert report["sound"], report["flaws"]
    closed = await one.client.post("/v1/ledger/closes", json={"until": (NOW - timedelta(days=2)).date().isoformat()})
    assert closed.status_code < 300 or closed.status_code == 409, closed.text


async def test_parts_given_back_fees_and_disputes_are_booked_once_and_the_check_stays_green(rest: Rest) -> None:
    one = await billing_tenant(rest)
    payment = 900_001
    for _ in range(2):
        await tell_payment(rest, one, payment, "30.00", fee="0.67")
    for _ in range(2):
        await tell_payment(rest, one, payment, "30.00", "5.00", fee="0.67")
    assert await balances(one) == {
        "clearing:stripe": "24.33",
        "fees:stripe": "0.67",
        f"receivable:guest:{payment}": "-25.00",
    }
    await sound(one)
    for _ in range(2):
        await tell_payment(rest, one, payment, "30.00", "5.00", fee="15.67", dispute="open")
    assert await balances(one) == {
        "clearing:stripe": "-15.67",
        "disputed:stripe": "25.00",
        "fees:stripe": "15.67",
        f"receivable:guest:{payment}": "-25.00",
    }
    await sound(one)
    await tell_payment(rest, one, payment, "30.00", "5.00", fee="15.67", dispute="lost")
    # What was told before comes again: a dispute does not go back.
    await tell_payment(rest, one, payment, "30.00", "5.00", fee="15.67", dispute="open")
    assert await balances(one) == {
        "clearing:stripe": "-15.67",
        "write-off": "25.00",
        "fees:stripe": "15.67",
        f"receivable:guest:{payment}": "-25.00",
    }
    await sound(one)


async def test_a_dispute_that_is_won_brings_the_money_back_and_one_won_at_once_moved_none(rest: Rest) -> None:
    one = await billing_tenant(rest)
    for payment, steps in ((900_002, ("open", "won")), (900_003, ("won",))):
        await tell_payment(rest, one, payment, "10.00")
        for step in steps:
            await tell_payment(rest, one, payment, "10.00", dispute=step)
    found = await balances(one)
    assert found["clearing:stripe"] == "20.00"
    assert "disputed:stripe" not in found
    await sound(one)
    await tell_payment(rest, one, 900_002, "10.00", dispute="lost")
    assert (await balances(one))["write-off"] == "10.00"
    await sound(one)


async def test_the_check_sees_a_payment_that_was_not_booked(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await tell_payment(rest, one, 900_004, "10.00")
    await rest.execute("UPDATE billing_payment SET refunded = 4, fee = 1 WHERE payment_id = 900004")
    report = (await one.client.get("/v1/ledger/check")).json()
    assert [flaw["detail"] for flaw in report["flaws"]] == [
        "Payment 900004: 1 fee; the ledger has 0.",
        "Payment 900004: 4 refunded; the ledger has 0.",
    ]
