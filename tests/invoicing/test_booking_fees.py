"""What bookings cost beside sessions, on invoices, receipts and in the ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from chargeplane.app.invoicing.drafting import Drafting
from chargeplane.app.invoicing.fees import BookingFees
from chargeplane.app.people import People
from chargeplane.domain.bookings.fees import FeeKind, rate_fee
from chargeplane.kernel.money import Money
from chargeplane.store.outbox import Fact
from chargeplane.store.queries.paging import Db
from tests.invoicing.making import ROWS, Tenant, agreement, billing_tenant, cdr, run, tell_payment
from tests.invoicing.test_billing import invoices, sound
from tests.support.rest import Rest

NOW = datetime.now(UTC).replace(microsecond=0)


class Held:
    """Payments that remember what is taken of them."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, Money]] = []
        self.released: list[int] = []

    async def settle_within(self, db: Db, ident: int, amount: Money) -> None:
        """Notes it."""
        self.taken.append((ident, amount))

    async def release_within(self, db: Db, ident: int, why: str) -> None:
        """Notes it."""
        self.released.append(ident)


async def tell_fee(
    rest: Rest, one: Tenant, kind: FeeKind, fee: str = "9.00", held: Held | None = None, **more: Any
) -> str:
    """Tells of a fee, as the booking's fact does; the booking's id."""
    start = NOW - timedelta(hours=2)
    rating = rate_fee(kind, Money(amount=Decimal(fee), currency="EUR"), start, start, ZoneInfo("Europe/Berlin"))
    booking = more.pop("booking_id", None) or str(next(ROWS))
    said = {
        "booking_id": booking,
        "kind": kind.value,
        "at": NOW - timedelta(hours=1),
        "location_id": "L1",
        "evse_uid": "E1",
        "starts_at": start,
        "ends_at": start + timedelta(hours=1),
        "rating": rating,
        **more,
    }
    text = msgspec.json.encode(said).decode()
    fact = Fact(id=1, tenant_id=one.id, topic="booking.charged", key="k", payload=text, created_at=NOW, attempts=1)
    await BookingFees(rest.database, Drafting(People(rest.database)), held).charged(fact)
    return booking


async def details(one: Tenant, invoice: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await one.client.get(f"/v1/invoices/{invoice['id']}")).json()
    return found


async def place(rest: Rest, one: Tenant) -> None:
    """Where the booked EVSE is."""
    body = {
        "id": "L1",
        "name": "Marktplatz",
        "address": "Markt 1",
        "city": "Berlin",
        "country": "DEU",
        "time_zone": "Europe/Berlin",
        "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
    }
    assert (await one.client.post("/v1/locations", json=body)).status_code == 201
    evse = {
        "uid": "E1",
        "connectors": [
            {
                "id": "1",
                "standard": "IEC_62196_T2",
                "format": "SOCKET",
                "power_type": "AC_3_PHASE",
                "max_voltage": 230,
                "max_amperage": 32,
            }
        ],
    }
    made = await one.client.post("/v1/locations/L1/evses", json=evse)
    assert made.status_code == 201, made.text


async def test_a_no_show_is_on_the_drivers_invoice_once_explained_and_taxed(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await place(rest, one)
    booking = await tell_fee(rest, one, FeeKind.NO_SHOW, driver_id="5")
    await tell_fee(rest, one, FeeKind.NO_SHOW, driver_id="5", booking_id=booking)
    (waiting,) = (await one.client.get("/v1/unbilled-fees")).json()["items"]
    assert (waiting["booking_id"], waiting["gross"]["amount"], waiting["driver_id"]) == (booking, "10.71", "5")
    await run(one)
    await run(one)
    (made,) = await invoices(one)
    assert (made["net"]["amount"], made["tax"]["amount"], made["gross"]["amount"]) == ("9.00", "1.71", "10.71")
    found = await details(one, made)
    (line,) = found["lines"]
    assert (line["kind"], line["text"]) == ("no_show", "Booking not used: Marktplatz")
    assert line["booking"]["booking_id"] == booking
    assert line["booking"]["explanation"] == ["Fee for a reservation that was not used: 9.00 EUR"]
    balances = await sound(one)
    assert balances["revenue:no_show:DE:S:19"] == "-9.00"
    assert balances["receivable:driver:5"] == "10.71"
    assert (await one.client.get("/v1/unbilled-fees")).json()["items"] == []
    for form in ("pdf", "xml"):
        assert (await one.client.get(f"/v1/invoices/{made['id']}/{form}")).status_code == 200
    assert booking in (await one.client.get(f"/v1/invoices/{made['id']}/xml")).text


async def test_a_used_booking_is_on_the_sessions_invoice_a_canceled_one_on_its_own(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await place(rest, one)
    plan = await agreement(rest, one, begun=NOW - timedelta(days=40), cycle="session")
    await tell_fee(rest, one, FeeKind.CANCELLATION, "2.00", agreement_id=str(plan))
    (canceled,) = await invoices(one)
    assert [line["kind"] for line in (await details(one, canceled))["lines"]] == ["cancellation"]
    await tell_fee(rest, one, FeeKind.BOOKING, "3.00", agreement_id=str(plan), transaction_id="77")
    assert len(await invoices(one)) == 1  # it waits for the session
    await cdr(rest, one, agreement_id=plan)
    used, _ = await invoices(one)
    lines = (await details(one, used))["lines"]
    assert [(line["kind"], line["net"]["amount"]) for line in lines] == [("charging", "10.00"), ("reservation", "3.00")]
    assert lines[1]["booking"]["session_id"] == "77"
    assert lines[1]["booking"]["explanation"] == ["Fee for the reservation: 3.00 EUR"]
    balances = await sound(one)
    assert (balances["revenue:reservation:DE:S:19"], balances["revenue:cancellation:DE:S:19"]) == ("-3.00", "-2.00")


async def test_a_no_show_is_taken_of_the_payment_that_was_held_and_has_a_receipt_to_the_cent(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await place(rest, one)
    held, payment = Held(), next(ROWS)
    await tell_fee(rest, one, FeeKind.NO_SHOW, "7.77", held, payment_id=str(payment))
    assert held.taken == [(payment, Money(amount=Decimal("9.25"), currency="EUR"))]  # 7.77 and 19 %
    await tell_payment(rest, one, payment, "9.25")
    (receipt,) = await invoices(one)
    assert (receipt["kind"], receipt["state"], receipt["gross"]["amount"]) == ("receipt", "paid", "9.25")
    balances = await sound(one)
    assert balances["clearing:stripe"] == "9.25"
    assert balances[f"receivable:guest:{payment}"] == "0.00"


async def test_what_was_on_a_deleted_draft_is_billed_by_the_next_run(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await tell_fee(rest, one, FeeKind.NO_SHOW, driver_id="6")
    await run(one, issue=False)
    (draft,) = await invoices(one)
    assert (await one.client.delete(f"/v1/invoices/{draft['id']}")).status_code == 204
    assert len((await one.client.get("/v1/unbilled-fees")).json()["items"]) == 1
    await run(one)
    (made,) = await invoices(one)
    assert made["state"] == "issued"


async def test_a_fee_of_nobody_stays_visible_and_no_run_fails_of_it(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await tell_fee(rest, one, FeeKind.NO_SHOW)
    found = await run(one)
    assert (found["items"], found["failed"]) == (0, 0)
    (waiting,) = (await one.client.get("/v1/unbilled-fees")).json()["items"]
    assert (waiting["driver_id"], waiting["agreement_id"], waiting["payment_id"]) == (None, None, None)


@pytest.mark.parametrize("kind", list(FeeKind))
async def test_a_credit_note_takes_a_fee_back_to_the_cent(rest: Rest, kind: FeeKind) -> None:
    one = await billing_tenant(rest)
    await tell_fee(rest, one, kind, "0.99", driver_id="8")
    await run(one)
    (made,) = await invoices(one)
    credited = await one.client.post(f"/v1/invoices/{made['id']}/credit", json={"reason": "The gate was closed"})
    assert credited.status_code == 201, credited.text
    assert credited.json()["gross"] == made["gross"]
    assert json.loads(credited.text)["lines"][0]["booking"]["place"] == "L1"
    assert set((await sound(one)).values()) == {"0.00"}
