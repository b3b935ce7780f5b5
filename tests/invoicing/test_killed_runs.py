"""A billing run killed anywhere and run again: the same invoices, none twice, none missing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from chargeplane.app.invoicing.drafting import Drafting
from chargeplane.app.invoicing.runs import BillingRuns
from chargeplane.app.people import People
from chargeplane.domain.invoicing.runs import RunOrder
from chargeplane.store.queries import billing
from tests.invoicing.making import Tenant, billing_tenant, cdr
from tests.support.rest import Rest

DRIVERS = 4


class KilledError(BaseException):
    """The process is gone; nothing catches it."""


class Killing:
    """The database of a process that is killed at the n-th commit: before it, or just after it."""

    def __init__(self, rest: Rest, at: int, after: bool) -> None:
        self._database = rest.database
        self._left, self._after = at, after
        self.read = rest.database.read

    def change(self) -> _Change:
        return _Change(self)

    def die(self, after: bool) -> None:
        if after is self._after:
            self._left -= 1
            if self._left == 0:
                raise KilledError


class _Change:
    def __init__(self, killing: Killing) -> None:
        self._killing = killing
        self._inner = killing._database.change()

    async def __aenter__(self) -> object:
        return await self._inner.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            await self._inner.__aexit__(kind, error, trace)  # type: ignore[arg-type]
            return
        try:
            self._killing.die(after=False)
        except KilledError as killed:
            # What is not committed is rolled back by the database when its connection goes.
            try:
                await self._inner.__aexit__(KilledError, killed, None)
            except KilledError:
                pass
            raise
        await self._inner.__aexit__(None, None, None)
        self._killing.die(after=True)


async def _ordered(rest: Rest, one: Tenant) -> int:
    for driver in range(DRIVERS):
        await cdr(rest, one, driver_id=500 + driver)
        await cdr(rest, one, driver_id=500 + driver)
    async with rest.database.change() as db:
        # The server's own nodes look for open runs; this one is finished to them until the test opens it.
        subjects = await billing.subjects(db, one.id, datetime.now(UTC))
        ident = await billing.insert_run(db, one.id, "k", datetime.now(UTC), RunOrder(), subjects, "test")
        await db.execute("UPDATE billing_run SET finished_at = now() WHERE id = $1", ident)
    assert ident is not None
    return ident


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, DRIVERS + 3))
async def test_a_run_killed_at_any_commit_and_run_again_bills_everything_once(rest: Rest, at: int, after: bool) -> None:
    one = await billing_tenant(rest)
    ident = await _ordered(rest, one)
    drafting = Drafting(People(rest.database))
    killed = BillingRuns(Killing(rest, at, after), rest.events, drafting)  # type: ignore[arg-type]
    try:
        await killed.work_on(one.id, ident)
    except KilledError:
        pass
    else:
        assert at > DRIVERS + 1, "the run has a commit for each subject, one that finds none, and one that ends it"
    again = BillingRuns(rest.database, rest.events, drafting)
    await again.work_on(one.id, ident)
    await again.work_on(one.id, ident)
    made = (await one.client.get("/v1/invoices")).json()["items"]
    assert sorted(one["driver_id"] for one in made) == [str(500 + driver) for driver in range(DRIVERS)]
    assert {one["gross"]["amount"] for one in made} == {"23.80"}
    year = datetime.now(UTC).year
    assert sorted(one["number"] for one in made) == [f"INV-{year}-{n:06d}" for n in range(1, DRIVERS + 1)]
    assert (await one.client.get("/v1/unbilled-cdrs")).json()["items"] == []
    assert (await one.client.get("/v1/ledger/check")).json()["sound"]
    run = (await one.client.get(f"/v1/billing-runs/{ident}")).json()
    assert (run["state"], run["done"]) == ("finished", DRIVERS)
