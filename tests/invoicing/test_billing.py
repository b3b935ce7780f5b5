"""Billing by REST: guests, agreements, runs, payments, credit notes, and what the ledger has of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from chargeplane.app.invoicing.issuing import issue
from chargeplane.store.queries import invoices as queries
from tests.invoicing.making import (
    Tenant,
    agreement,
    billing_tenant,
    cdr,
    run,
    tell_cdr,
    tell_payment,
    tenant,
)
from tests.support.rest import Rest, assert_problem


async def invoices(one: Tenant, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await one.client.get("/v1/invoices", params=query)).json()["items"]
    return found


async def sound(one: Tenant) -> dict[str, str]:
    """Checks the ledger; balances by account."""
    report = (await one.client.get("/v1/ledger/check")).json()
    assert report["sound"], report
    items = (await one.client.get("/v1/ledger/accounts", params={"limit": "1000"})).json()["items"]
    return {item["code"]: item["balance"]["amount"] for item in items}


async def test_a_guest_has_one_receipt_for_one_payment_whatever_is_told_first_or_twice(rest: Rest) -> None:
    for order in ("session first", "money first"):
        one = await billing_tenant(rest)
        if order == "session first":
            ident = await cdr(rest, one, payment_id=71)
            await tell_payment(rest, one, 71, "11.90")
        else:
            await tell_payment(rest, one, 71 + 1, "11.90")
            ident = await cdr(rest, one, payment_id=72)
        await tell_cdr(rest, one, ident)
        await tell_payment(rest, one, 71 if order == "session first" else 72, "11.90")
        (receipt,) = await invoices(one)
        assert (receipt["kind"], receipt["state"], receipt["number"][:2]) == ("receipt", "paid", "R-")
        assert receipt["net"]["amount"], receipt["gross"]["amount"] == ("10.00", "11.90")
        balances = await sound(one)
        assert balances["clearing:stripe"] == "11.90"
        assert balances["revenue:charging:DE:S:19"] == "-10.00"
        assert balances["tax:DE:19"] == "-1.90"
        assert [amount for code, amount in balances.items() if code.startswith("receivable")] == ["0.00"]


async def test_a_held_session_stays_off_with_its_reason_until_it_is_released(rest: Rest) -> None:
    one = await billing_tenant(rest)
    held = await cdr(rest, one, driver_id=5, holds=["signature"])
    first = await run(one)
    items = (await one.client.get(f"/v1/billing-runs/{first['id']}/items")).json()["items"]
    assert [(i["subject"], i["state"], i["reason"]) for i in items] == [
        ("driver:5", "nothing", f"CDR {held} is held: signature")
    ]
    waiting = (await one.client.get("/v1/unbilled-cdrs", params={"held": "true"})).json()["items"]
    assert [(w["cdr_id"], w["holds"]) for w in waiting] == [(str(held), ["signature"])]
    await rest.execute(
        "INSERT INTO cdr_release (cdr_id, tenant_id, released_by, reason) VALUES ($1, $2, 'x', 'y')", held, one.id
    )
    await run(one)
    (made,) = await invoices(one)
    assert (made["state"], made["driver_id"]) == ("issued", "5")
    assert (await one.client.get("/v1/unbilled-cdrs")).json()["items"] == []


async def test_an_agreement_is_billed_by_whole_months_and_what_comes_late_is_on_the_next(rest: Rest) -> None:
    one = await billing_tenant(rest)
    begun = datetime(2026, 1, 10, tzinfo=UTC)
    ident = await agreement(
        rest,
        one,
        begun=begun,
        items=[
            {
                "type": "recurring_fee",
                "name": "Base",
                "amount": {"amount": "31.00", "currency": "EUR"},
                "in_advance": False,
            },
            {"type": "minimum", "name": "Least", "amount": {"amount": "62.00", "currency": "EUR"}},
        ],
    )
    await cdr(rest, one, agreement_id=ident, at=datetime(2026, 1, 20, 12, tzinfo=UTC))
    await cdr(rest, one, agreement_id=ident, at=datetime(2026, 2, 2, 12, tzinfo=UTC))
    await run(one, until="2026-02-10T00:00:00Z", key="january")
    (first,) = await invoices(one)
    said = (await one.client.get(f"/v1/invoices/{first['id']}")).json()
    lines = [(line["kind"], line["net"]["amount"]) for line in said["lines"]]
    # 22 of 31 days: 22.00 of the fee; 44.00 of the minimum, of which 10.00 and 22.00 are there.
    assert lines == [("charging", "10.00"), ("fee", "22.00"), ("minimum", "12.00")]
    assert (said["customer"], said["due_on"] > said["issued_on"]) == ("Flotte AG", True)
    await run(one, until="2026-02-10T00:00:00Z", key="again")
    assert len(await invoices(one)) == 1
    await cdr(rest, one, agreement_id=ident, at=datetime(2026, 1, 25, 12, tzinfo=UTC))
    await run(one, until="2026-03-05T00:00:00Z", key="february")
    second, _ = await invoices(one)
    said = (await one.client.get(f"/v1/invoices/{second['id']}")).json()
    assert [line["kind"] for line in said["lines"]].count("charging") == 2
    await sound(one)


async def test_every_period_is_billed_by_the_version_that_held_when_it_began(rest: Rest) -> None:
    one = await billing_tenant(rest)
    ident = await agreement(rest, one, begun=datetime(2026, 1, 31, 23, tzinfo=UTC), items=_fee_and_minimum("30.00"))
    path = f"/v1/service-agreements/{ident}"
    terms = {
        "items": _fee_and_minimum("45.00"),
        "scope": [{"kind": "id_token", "value": "fleet"}],
        "effective_at": "2100-01-01T00:00:00Z",
    }
    amended = await one.client.post(f"{path}/amendments", json=terms)
    assert amended.status_code == 201, amended.text
    assert (await one.client.post(f"{path}/amendments/2/accept", json={"role": "consumer"})).status_code == 200
    # It was agreed upon then: its day lies in the middle of March.
    await rest.execute(
        "UPDATE service_agreement_version SET effective_at = '2026-03-14T23:00:00Z' WHERE agreement_id = $1"
        " AND version = 2",
        ident,
    )
    await run(one, until="2026-05-01T00:00:00Z", key="spring")
    (found,) = await invoices(one)
    lines = (await one.client.get(f"/v1/invoices/{found['id']}")).json()["lines"]
    # The months of February and March cost what version 1 says, and April, the first to begin after, what version 2 says.
    fees = [(line["since"][:10], line["net"]["amount"]) for line in lines if line["kind"] == "fee"]
    assert fees == [("2026-02-01", "30.00"), ("2026-03-01", "30.00"), ("2026-04-01", "45.00")]
    least = [(line["since"][:10], line["net"]["amount"]) for line in lines if line["kind"] == "minimum"]
    assert least == [("2026-02-01", "30.00"), ("2026-03-01", "30.00"), ("2026-04-01", "45.00")]
    await run(one, until="2026-05-01T00:00:00Z", key="once more")
    assert len(await invoices(one)) == 1
    await sound(one)


async def test_an_agreements_party_is_billed_under_its_vat_number_unless_another_was_put(rest: Rest) -> None:
    one = await billing_tenant(rest)
    told: dict[str, str] = {}
    for key, put in (("first", None), ("second", {"name": "Flotte AG", "vat_id": "ATU12345678"})):
        who = f"vat-{key}"
        if put is not None:
            response = await one.client.put(f"/v1/invoice-customers/company/{who}", json=put)
            assert response.status_code in (200, 201), response.text
        begun = datetime(2026, 1, 31, 23, tzinfo=UTC)
        items = _fee_and_minimum("30.00")
        await agreement(rest, one, begun=begun, items=items, id=who, vat_id="NL123456789B01")
        await run(one, until="2026-03-01T00:00:00Z", key=key)
        (newest, *_) = await invoices(one)
        told[key] = (await one.client.get(f"/v1/invoices/{newest['id']}")).json()["to"]["vat_id"]
    assert told == {"first": "NL123456789B01", "second": "ATU12345678"}


def _fee_and_minimum(amount: str) -> list[dict[str, Any]]:
    """A fee after each month, and a minimum of twice as much."""
    twice = f"{Decimal(amount) * 2:.2f}"
    return [
        {
            "type": "recurring_fee",
            "name": "Base",
            "amount": {"amount": amount, "currency": "EUR"},
            "in_advance": False,
        },
        {"type": "minimum", "name": "Least", "amount": {"amount": twice, "currency": "EUR"}},
    ]


async def test_a_preview_says_what_a_run_will_bill_and_writes_nothing(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await cdr(rest, one, driver_id=8)
    preview = await one.client.post("/v1/billing-runs/preview", json={})
    assert preview.status_code == 200, preview.text
    assert [(p["subject"], p["gross"]["amount"]) for p in preview.json()["items"]] == [("driver:8", "11.90")]
    assert await invoices(one) == []
    await run(one)
    assert [i["gross"]["amount"] for i in await invoices(one)] == ["11.90"]


async def test_drafts_have_no_number_and_are_deleted_or_issued(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await cdr(rest, one, driver_id=8)
    await run(one, issue=False)
    (draft,) = await invoices(one)
    assert (draft["state"], draft["number"]) == ("draft", None)
    assert_problem(await one.client.get(f"/v1/invoices/{draft['id']}/pdf"), 409)
    assert (await one.client.delete(f"/v1/invoices/{draft['id']}")).status_code == 204
    await run(one, issue=False)
    (draft,) = await invoices(one)
    issued = await one.client.post(f"/v1/invoices/{draft['id']}/issue")
    assert issued.status_code == 200, issued.text
    assert issued.json()["number"].endswith("-000001")
    assert_problem(await one.client.post(f"/v1/invoices/{draft['id']}/issue"), 409)
    assert_problem(await one.client.delete(f"/v1/invoices/{draft['id']}"), 409)
    await sound(one)


async def test_payments_in_part_in_full_and_over_change_the_state_once_each(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await cdr(rest, one, driver_id=8)
    await run(one)
    (made,) = await invoices(one)
    at = f"/v1/invoices/{made['id']}/payments"

    async def pay(amount: str, key: str) -> dict[str, Any]:
        answer = await one.client.post(at, json={"amount": {"amount": amount, "currency": "EUR"}, "key": key})
        assert answer.status_code == 201, answer.text
        said: dict[str, Any] = answer.json()
        return said

    part = await pay("5.00", "a")
    assert (part["state"], part["open"]["amount"]) == ("issued", "6.90")
    again = await pay("5.00", "a")
    assert again["open"]["amount"] == "6.90"
    over = await pay("10.00", "b")
    assert (over["state"], over["paid"]["amount"]) == ("paid", "11.90")
    assert [p["surplus"]["amount"] for p in over["payments"]] == ["0.00", "3.10"]
    balances = await sound(one)
    assert (balances["bank"], balances["receivable:driver:8"]) == ("15.00", "-3.10")
    wrong = {"amount": {"amount": "1.00", "currency": "SEK"}}
    assert_problem(await one.client.post(at, json=wrong), 422, pointer="#/amount/currency")
    tiny = {"amount": {"amount": "0.001", "currency": "EUR"}}
    assert_problem(await one.client.post(at, json=tiny), 422, pointer="#/amount/amount")


async def test_a_credit_note_takes_back_lines_once_and_all_of_them_make_the_invoice(rest: Rest) -> None:
    one = await billing_tenant(rest)
    for amount in ("3.33", "4.44", "0.05"):
        await cdr(rest, one, driver_id=8, incl=amount)
    await run(one)
    (made,) = await invoices(one)
    at = f"/v1/invoices/{made['id']}/credit"
    first = await one.client.post(at, json={"reason": "wrong tariff", "lines": [1]})
    assert first.status_code == 201, first.text
    note = first.json()
    assert (note["kind"], note["credited_number"], note["state"]) == ("credit_note", made["number"], "paid")
    assert_problem(await one.client.post(at, json={"reason": "twice", "lines": [1]}), 409)
    assert_problem(await one.client.post(at, json={"reason": "none", "lines": [9]}), 422, pointer="#/lines")
    rest_of = (await one.client.post(at, json={"reason": "all of it"})).json()
    for field in ("net", "tax", "gross"):
        sums = Decimal(note[field]["amount"]) + Decimal(rest_of[field]["amount"])
        assert sums == Decimal(made[field]["amount"])
    after = (await one.client.get(f"/v1/invoices/{made['id']}")).json()
    assert (after["state"], after["open"]["amount"], len(after["credit_notes"])) == ("credited", "0.00", 2)
    balances = await sound(one)
    assert balances["receivable:driver:8"] == "0.00"
    assert balances["tax:DE:19"] == "0.00"
    assert_problem(await one.client.post(f"/v1/invoices/{note['id']}/credit", json={"reason": "no"}), 409)


async def test_what_was_paid_and_credited_is_owed_back_until_it_is_paid_back(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await cdr(rest, one, payment_id=81)
    await tell_payment(rest, one, 81, "11.90")
    (made,) = await invoices(one)
    note = (await one.client.post(f"/v1/invoices/{made['id']}/credit", json={"reason": "goodwill"})).json()
    assert (note["state"], note["open"]["amount"]) == ("issued", "11.90")
    await tell_payment(rest, one, 81, "11.90", "11.90")
    await tell_payment(rest, one, 81, "11.90", "11.90")
    assert (await one.client.get(f"/v1/invoices/{note['id']}")).json()["state"] == "paid"
    assert set((await sound(one)).values()) == {"0.00"}


async def test_a_corrected_session_is_taken_back_on_the_next_receipt(rest: Rest) -> None:
    one = await billing_tenant(rest)
    wrong = await cdr(rest, one, payment_id=91)
    await tell_payment(rest, one, 91, "11.90")
    await cdr(rest, one, payment_id=91, credits=wrong)
    note, receipt = await invoices(one)
    assert (note["kind"], note["gross"]["amount"], note["state"]) == ("credit_note", "11.90", "issued")
    assert receipt["state"] == "paid"
    await tell_payment(rest, one, 91, "11.90", "11.90")
    assert (await invoices(one))[0]["state"] == "paid"
    assert set((await sound(one)).values()) == {"0.00"}


async def test_what_is_given_up_is_written_off(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await cdr(rest, one, driver_id=8)
    await run(one)
    (made,) = await invoices(one)
    given = await one.client.post(f"/v1/invoices/{made['id']}/write-off", json={"reason": "insolvent"})
    assert given.json()["state"] == "written_off"
    assert (await sound(one))["write-off"] == "11.90"
    assert_problem(await one.client.post(f"/v1/invoices/{made['id']}/write-off", json={"reason": "x"}), 409)


async def test_numbers_have_no_holes_when_many_are_issued_at_once_and_some_are_rolled_back(rest: Rest) -> None:
    one = await billing_tenant(rest)
    for driver in range(12):
        await cdr(rest, one, driver_id=100 + driver)
    await run(one, issue=False)
    drafts = [int(draft["id"]) for draft in await invoices(one)]
    settings = (await one.client.get("/v1/invoicing-settings")).json()
    assert settings["invoice_series"] == "INV"

    async def attempt(ident: int, fail: bool) -> None:
        async with rest.database.change() as db:
            said, _ = await queries.settings(db, one.id)
            await issue(db, one.id, ident, said, datetime.now(UTC))
            if fail:
                raise RuntimeError("killed before the commit")

    results = await asyncio.gather(
        *(attempt(ident, number % 3 == 0) for number, ident in enumerate(drafts)), return_exceptions=True
    )
    assert sum(isinstance(result, RuntimeError) for result in results) == 4
    await asyncio.gather(*(attempt(ident, False) for number, ident in enumerate(drafts) if number % 3 == 0))
    async with rest.database.read() as db:
        numbers = await queries.numbers(db, one.id, "INV", datetime.now(UTC).year)
    assert list(numbers) == list(range(1, 13))
    await sound(one)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoice SET gross = gross + 1, tax = tax + 1 WHERE tenant_id = $1",
        "UPDATE invoice SET body = '{}' WHERE tenant_id = $1",
        "UPDATE invoice SET number = 'X' WHERE tenant_id = $1",
        "DELETE FROM invoice WHERE tenant_id = $1",
        "UPDATE invoice SET state = 'draft' WHERE tenant_id = $1",
    ],
)
async def test_the_database_refuses_to_change_what_is_issued(rest: Rest, statement: str) -> None:
    one = await billing_tenant(rest)
    await cdr(rest, one, driver_id=8)
    await run(one)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="credit it"):
        await rest.execute(statement, one.id)


async def test_without_an_issuer_nothing_is_billed_and_nothing_is_lost(rest: Rest) -> None:
    one = await tenant(rest)
    await cdr(rest, one, payment_id=61)
    await tell_payment(rest, one, 61, "11.90")
    assert await invoices(one) == []
    assert_problem(await one.client.post("/v1/billing-runs", json={}), 409)
    other = await billing_tenant(rest)
    settings = (await other.client.get("/v1/invoicing-settings")).json()
    assert (await one.client.put("/v1/invoicing-settings", json=settings)).status_code == 200
    await run(one)
    (made,) = await invoices(one)
    assert made["state"] == "paid"
    await sound(one)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"number_format": "{series}-{number}"}, "#/number_format"),
        ({"number_format": "{series.__class__}{year}{number}"}, "#/number_format"),
        ({"number_format": "{series}{year}{number:99999999d}"}, "#/number_format"),
        ({"time_zone": "Mars/Olympus"}, "#/time_zone"),
        ({"credit_series": "INV"}, "#/credit_series"),
        ({"dunning": [{"after_days": 5}, {"after_days": 5}]}, "#/dunning"),
    ],
)
async def test_settings_that_cannot_be_meant_are_refused(rest: Rest, change: dict[str, Any], pointer: str) -> None:
    one = await tenant(rest)
    assert_problem(await one.client.put("/v1/invoicing-settings", json=change), 422, pointer=pointer)


async def test_exports_hold_every_invoice_line_and_posting(rest: Rest) -> None:
    one = await billing_tenant(rest)
    await one.client.put("/v1/invoice-customers/driver/8", json={"name": "=SUM(A1)"})
    await cdr(rest, one, driver_id=8)
    await cdr(rest, one, driver_id=9)
    await run(one)
    answer = await one.client.get("/v1/invoices/export", params={"format": "csv"})
    rows = answer.text.strip().split("\r\n")
    assert len(rows) == 3
    assert "'=SUM(A1)" in answer.text
    lines = (await one.client.get("/v1/invoices/export", params={"lines": "true"})).text.strip().split("\n")
    assert len(lines) == 2
    postings = (await one.client.get("/v1/ledger/export", params={"format": "csv"})).text.strip().split("\r\n")
    assert len(postings) == 1 + 6
    datev = (await one.client.get("/v1/ledger/export", params={"format": "datev"})).text
    assert "10,00;H;EUR;revenue:charging:DE:S:19;receivable:driver:8" in datev
    assert_problem(await one.client.get("/v1/invoices/export", params={"format": "datev"}), 422)


async def test_unpaid_invoices_become_overdue_and_are_reminded_of_step_by_step(rest: Rest) -> None:
    from chargeplane.app.invoicing.invoices import Invoices
    from chargeplane.edges.documents import DocumentPainter

    one = await billing_tenant(rest)
    await cdr(rest, one, driver_id=8)
    await run(one)
    (made,) = await invoices(one)
    levels = []
    for days in (10, 15, 22, 36, 60):
        later = datetime.now(UTC) + timedelta(days=days)
        await Invoices(rest.database, DocumentPainter(), now=lambda later=later: later).remind()  # type: ignore[misc]
        await rest.execute("UPDATE invoice SET dunned_at = NULL WHERE tenant_id = $1", one.id)
        found = (await one.client.get(f"/v1/invoices/{made['id']}")).json()
        levels.append((found["state"], found["dunning_level"]))
    assert levels == [("issued", 0), ("overdue", 0), ("overdue", 1), ("overdue", 2), ("overdue", 2)]
