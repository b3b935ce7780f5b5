"""The ledger in the database: booked once, never changed, balanced whoever writes; closes and the check."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from chargeplane.app.ledger import post
from chargeplane.domain.ledger import Entry, EntryKind, PayerKind, Posting, clearing, receivable
from chargeplane.kernel.errors import LocalProtocolError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from tests.invoicing.making import tenant
from tests.support.rest import Rest, assert_problem


def paid(key: str, amount: str = "12.00", at: datetime | None = None) -> Entry:
    money = Money(amount=Decimal(amount), currency="EUR")
    back = Money(amount=-money.amount, currency="EUR")
    return Entry(
        key=key,
        kind=EntryKind.PAYMENT,
        text="Card payment",
        happened_at=at or datetime.now(UTC),
        postings=(
            Posting(account=clearing("stripe"), amount=money),
            Posting(account=receivable(PayerKind.DRIVER, "7"), amount=back),
        ),
        reference_kind="payment",
        reference="1",
    )


async def book(rest: Rest, tenant_id: TenantId, entry: Entry) -> int | None:
    async with rest.database.change() as db:
        return await post(db, tenant_id, entry)


async def test_a_repeat_books_once_and_says_which_entry_it_was(rest: Rest) -> None:
    one = await tenant(rest)
    first = await book(rest, one.id, paid("payment:1"))
    assert first is not None
    assert await book(rest, one.id, paid("payment:1", at=datetime.now(UTC) + timedelta(days=1))) == first
    accounts = (await one.client.get("/v1/ledger/accounts")).json()["items"]
    assert [(a["code"], a["balance"]) for a in accounts] == [
        ("clearing:stripe", {"amount": "12.00", "currency": "EUR"}),
        ("receivable:driver:7", {"amount": "-12.00", "currency": "EUR"}),
    ]
    with pytest.raises(LocalProtocolError, match="other postings"):
        await book(rest, one.id, paid("payment:1", "13.00"))


async def test_many_at_once_book_one_event_once_and_all_others(rest: Rest) -> None:
    one = await tenant(rest)
    entries = [paid(f"payment:{number % 5}") for number in range(20)]
    found = await asyncio.gather(*(book(rest, one.id, entry) for entry in entries))
    assert len(set(found)) == 5
    report = (await one.client.get("/v1/ledger/check")).json()
    assert (report["sound"], report["entries"], report["postings"]) == (True, 5, 10)


async def test_what_is_rolled_back_with_its_cause_is_not_booked(rest: Rest) -> None:
    one = await tenant(rest)
    with pytest.raises(RuntimeError):
        async with rest.database.change() as db:
            await post(db, one.id, paid("payment:1"))
            raise RuntimeError
    assert (await one.client.get("/v1/ledger/entries")).json()["items"] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET text = 'x' WHERE tenant_id = $1",
        "DELETE FROM ledger_entry WHERE tenant_id = $1",
        "UPDATE ledger_posting SET amount = amount + 1 WHERE tenant_id = $1",
        "DELETE FROM ledger_posting WHERE tenant_id = $1",
    ],
)
async def test_the_database_refuses_every_change(rest: Rest, statement: str) -> None:
    one = await tenant(rest)
    await book(rest, one.id, paid("payment:1"))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="reverse the entry"):
        await rest.execute(statement, one.id)
    assert (await one.client.get("/v1/ledger/check")).json()["sound"]


@pytest.mark.parametrize("amounts", [["12"], ["12", "-11"], ["12", "-12", "1"], []])
async def test_the_database_refuses_entries_that_do_not_balance(rest: Rest, amounts: list[str]) -> None:
    one = await tenant(rest)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=r"does not balance|postings in place of"):
        async with rest.database.change() as db:
            await _raw(db, one.id, amounts)


async def test_the_database_refuses_postings_on_an_entry_that_is_written(rest: Rest) -> None:
    one = await tenant(rest)
    ident = await book(rest, one.id, paid("payment:1"))
    account = await rest.execute("SELECT id FROM ledger_account WHERE tenant_id = $1 LIMIT 1", one.id)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="4 postings in place of 2"):
        async with rest.database.change() as db:
            for number, amount in ((3, "1"), (4, "-1")):
                await db.execute(
                    "INSERT INTO ledger_posting VALUES ($1, $2, $3, $4, 'EUR', $5)",
                    ident,
                    number,
                    account,
                    one.id,
                    Decimal(amount),
                )


async def _raw(db: Any, tenant_id: int, amounts: list[str]) -> None:
    account = await db.fetchval(
        "INSERT INTO ledger_account (tenant_id, code, type) VALUES ($1, 'a', 'asset') RETURNING id", tenant_id
    )
    entry = await db.fetchval(
        "INSERT INTO ledger_entry (tenant_id, key, kind, booked_on, happened_at, text, postings, digest)"
        " VALUES ($1, 'raw', 'adjustment', '2026-01-01', now(), '', $2, '') RETURNING id",
        tenant_id,
        max(len(amounts), 2),
    )
    for number, amount in enumerate(amounts):
        await db.execute(
            "INSERT INTO ledger_posting VALUES ($1, $2, $3, $4, 'EUR', $5)",
            entry,
            number,
            account,
            tenant_id,
            Decimal(amount),
        )


async def test_an_entry_is_taken_back_by_a_reversal_once(rest: Rest) -> None:
    one = await tenant(rest)
    ident = await book(rest, one.id, paid("payment:1"))
    first = (await one.client.post(f"/v1/ledger/entries/{ident}/reverse", json={"reason": "wrong payer"})).json()
    again = (await one.client.post(f"/v1/ledger/entries/{ident}/reverse", json={"reason": "once more"})).json()
    assert first["id"] == again["id"]
    assert first["reverses"] == "payment:1"
    assert (await one.client.get(f"/v1/ledger/entries/{ident}")).json()["reversed_by"] == first["key"]
    accounts = (await one.client.get("/v1/ledger/accounts")).json()["items"]
    assert {a["balance"]["amount"] for a in accounts} == {"0.00"}
    assert_problem(await one.client.post(f"/v1/ledger/entries/{first['id']}/reverse", json={"reason": "no"}), 409)


async def test_a_closed_period_takes_nothing_more(rest: Rest) -> None:
    one = await tenant(rest)
    await book(rest, one.id, paid("payment:1", at=datetime(2026, 1, 5, tzinfo=UTC)))
    closed = await one.client.post("/v1/ledger/closes", json={"until": "2026-01-31"})
    assert closed.status_code == 201, closed.text
    assert closed.json()["closed_until"] == "2026-01-31"
    assert_problem(await one.client.post("/v1/ledger/closes", json={"until": "2026-01-31"}), 409)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert_problem(await one.client.post("/v1/ledger/closes", json={"until": tomorrow}), 422, pointer="#/until")
    late = await book(rest, one.id, paid("payment:2", at=datetime(2026, 1, 20, tzinfo=UTC)))
    assert (await one.client.get(f"/v1/ledger/entries/{late}")).json()["booked_on"] == "2026-02-01"
    january = (await one.client.get("/v1/ledger/accounts", params={"until": "2026-02-01"})).json()["items"]
    assert {a["postings"] for a in january} == {1}


async def test_lists_go_page_by_page_and_by_filters(rest: Rest) -> None:
    one = await tenant(rest)
    for number in range(5):
        await book(rest, one.id, paid(f"payment:{number}", at=datetime(2026, 1, 1 + number, tzinfo=UTC)))
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await one.client.get("/v1/ledger/entries", params=query)).json()
        seen += [entry["key"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"payment:{number}" for number in (4, 3, 2, 1, 0)]
    some = await one.client.get("/v1/ledger/entries", params={"since": "2026-01-02", "until": "2026-01-04"})
    assert [entry["booked_on"] for entry in some.json()["items"]] == ["2026-01-03", "2026-01-02"]
    none = await one.client.get("/v1/ledger/entries", params={"account": "bank"})
    assert none.json()["items"] == []
    page = (await one.client.get("/v1/ledger/accounts", params={"limit": "1"})).json()
    rest_of = await one.client.get("/v1/ledger/accounts", params={"limit": "1", "cursor": page["next_cursor"]})
    assert [a["code"] for a in rest_of.json()["items"]] == ["receivable:driver:7"]
    assert_problem(await one.client.get("/v1/ledger/entries", params={"since": "soon"}), 400, parameter="since")


async def test_nobody_sees_another_tenants_ledger(rest: Rest) -> None:
    one, other = await tenant(rest), await tenant(rest)
    ident = await book(rest, one.id, paid("payment:1"))
    assert (await other.client.get("/v1/ledger/accounts")).json()["items"] == []
    assert_problem(await other.client.get(f"/v1/ledger/entries/{ident}"), 404)
    assert await book(rest, other.id, paid("payment:1")) != ident
