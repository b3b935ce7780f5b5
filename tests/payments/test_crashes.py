"""Killed between any two steps, payments end right: one capture, the rest of the hold released, nothing twice.

Every transaction and every call of a provider of a paid session is a place to die: before its commit, after it, and when the provider has
done it and nobody heard. The test dies at each of them in turn, at a second one during the recovery too, starts anew on the same database with the same provider, and looks
at what the provider's books say.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.alerts import Alerts
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.payments.carrying import Carrying, Times
from chargeplane.app.payments.house import HouseProvider
from chargeplane.app.payments.payments import NewPayment, Payments
from chargeplane.app.payments.ports import Provider
from chargeplane.app.payments.reconciliation import Reconciliation
from chargeplane.app.payments.webhooks import Webhooks
from chargeplane.domain.payments.states import PaymentState
from chargeplane.edges.payments.simulator import SimulatorProvider
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.money import Money
from chargeplane.simulator.payments import Intent, PaymentSimulator
from chargeplane.store.database import Database
from tests.payments.providers import TENANT, SimulatorPayer, euro
from tests.support import postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")


class KilledError(BaseException):
    """The process is gone: nothing catches it."""


class Fate:
    """Counts places to die, and dies at those chosen."""

    def __init__(self, *deaths: int) -> None:
        self.deaths = set(deaths)
        self.places = 0

    def here(self) -> None:
        self.places += 1
        if self.places in self.deaths:
            raise KilledError(self.places)


class MortalDatabase(Database):
    """Dies at the end of a transaction, before its commit, and after it."""

    fate: Fate

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Any]:
        async with super().change() as db:
            yield db
            self.fate.here()
        self.fate.here()


class MortalProvider:
    """Dies when the provider has done what it was asked; that it has not yet been asked is the place after the commit."""

    def __init__(self, inner: Provider, fate: Callable[[], Fate]) -> None:
        self.inner = inner
        self.fate = fate
        self.able = inner.able

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name in ("parse_webhook", "close"):
            return method

        async def call(*values: Any) -> Any:
            result = await method(*values)
            self.fate().here()
            return result

        return call


class OneProvider:
    """`Providers` with one that is always there."""

    def __init__(self, provider: Any, kind: str) -> None:
        self.provider = provider
        self.kind = kind

    async def get(self, tenant_id: int, name: str, *, new: bool = False) -> Any:
        return self.provider

    async def kind_of(self, tenant_id: int, name: str) -> str:
        return self.kind

    async def by_webhook(self, token: str) -> None:
        raise NotFoundError("address", token)


class World:
    """What outlives processes: the database and the provider; and the process of the moment."""

    def __init__(self, database: MortalDatabase, provider: Provider, kind: str) -> None:
        self.database = database
        self.kind = kind
        self.provider = provider
        self.clock = timedelta()
        self.start_anew(Fate())

    def now(self) -> datetime:
        return utc_now() + self.clock

    def start_anew(self, fate: Fate) -> None:
        """Another process: nothing in memory is left, and what the one before had claimed is free a minute later."""
        self.clock += timedelta(minutes=1)
        self.database.fate = fate
        providers: Any = OneProvider(MortalProvider(self.provider, lambda: self.database.fate), self.kind)
        events = EventFeed()
        carrying = Carrying(
            self.database,
            providers,
            events,
            Alerts(self.database, events),
            times=Times(call_s=10, claim_s=20),
            now=self.now,
        )
        self.payments = Payments(self.database, providers, carrying)
        self.reconciliation = Reconciliation(self.database, carrying, Webhooks(self.database, providers, carrying))
        self.carrying = carrying

    async def recover(self, ident: int) -> None:
        """The reconciliation's look, some minutes long."""
        for _ in range(4):
            await self.carrying.drive(ident, look=True)
            self.clock += timedelta(minutes=2)
            async with self.database.read() as db:
                row = await db.fetchrow(
                    "SELECT count(*) FILTER (WHERE o.state IN ('wanted', 'begun')) AS open, bool_or(p.ref IS NOT NULL) AS known"
                    " FROM payment p LEFT JOIN payment_operation o ON o.payment_id = p.id WHERE p.id = $1",
                    ident,
                )
            if row["open"] == 0 and row["known"]:
                return


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulator() -> AsyncIterator[PaymentSimulator]:
    made = PaymentSimulator()
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(postgres_server: postgres.TestServer) -> AsyncIterator[MortalDatabase]:
    with postgres_server.database() as url:
        made = MortalDatabase(url, readers=4)
        made.fate = Fate()
        yield made
        await made.close()


Steps = list[Callable[[World, int], Awaitable[object]]]


def paid_session(payer: SimulatorPayer | None) -> Steps:
    """What happens to the payment of a session, after it was begun."""

    async def hold(world: World, ident: int) -> None:
        await world.carrying.drive(ident)

    async def pay(world: World, ident: int) -> None:
        if payer is not None:
            async with world.database.read() as db:
                ref, state = tuple(await db.fetchrow("SELECT ref, state FROM payment WHERE id = $1", ident))
            if ref is not None and state in ("created", "requires_action"):
                await payer.pay(ref)
        await world.carrying.drive(ident, look=True)

    async def settle(world: World, ident: int) -> None:
        await world.payments.settle_payment(ident, euro("12.34"))

    async def refund(world: World, ident: int) -> None:
        await world.payments.settle_payment(ident, euro("10.00"))

    return [hold, pay, settle, refund]


async def live(world: World, steps: Steps, fate: Fate, *, patient: bool = False) -> int:
    """One life after another until all steps are done; our id of the payment.

    Args:
        patient: what was not answered is tried again before the next step.
    """
    world.start_anew(Fate())
    async with world.database.change() as db:
        account = None
        if world.kind == "wallet":
            account = await db.fetchval(
                "INSERT INTO payment_account (tenant_id, kind, owner, currency, balance)"
                " VALUES (1, 'wallet', gen_random_uuid()::text, 'EUR', 60) RETURNING id"
            )
        ident = await world.payments.begin(
            db,
            TENANT,
            NewPayment(
                provider="p",
                hold=euro("50.00"),
                account_id=account,
                return_url="http://127.0.0.1:1/",
                action_time=timedelta(days=1),
            ),
            by="test",
        )
    world.database.fate = fate
    for step in steps:
        died = False
        for _ in range(len(fate.deaths) + 1):
            try:
                if died:
                    await world.recover(ident)
                await step(world, ident)
                if patient:
                    await world.recover(ident)
                break
            except KilledError:
                died = True
                world.start_anew(fate)
    world.start_anew(Fate())
    await world.recover(ident)
    return ident


async def check(world: World, ident: int, simulator: PaymentSimulator) -> None:
    """One capture, nothing held any more, the difference given back once."""
    async with world.database.read() as db:
        row = await db.fetchrow("SELECT * FROM payment WHERE id = $1", ident)
        open_operations = await db.fetchval(
            "SELECT count(*) FROM payment_operation WHERE payment_id = $1 AND state NOT IN ('done', 'refused')", ident
        )
        facts = [
            r[0] for r in await db.fetch("SELECT topic FROM outbox WHERE key = $1 ORDER BY id", f"payment:{ident}")
        ]
    assert row["state"] == PaymentState.PARTLY_REFUNDED.value, dict(row)
    assert (row["captured"], row["refunded"]) == (Decimal("12.34"), Decimal("2.34"))
    assert open_operations == 0
    assert facts.count("payment.captured") <= 1
    assert facts[-1] == "payment.partly_refunded"
    if world.kind == "simulator":
        intents = [one for one in simulator.book.all() if one.reference == str(ident)]
        (paid,) = [one for one in intents if one.captured]
        assert (paid.captures, paid.holds, paid.captured, paid.refunded) == (1, 1, Decimal("12.34"), Decimal("2.34"))
        assert paid.released
        assert len(intents) == 1
    else:
        async with world.database.read() as db:
            account = await db.fetchrow("SELECT balance, held FROM payment_account WHERE id = $1", row["account_id"])
        assert tuple(account) == (Decimal("50.00"), 0)


def world_of(kind: str, database: MortalDatabase, simulator: PaymentSimulator) -> tuple[World, SimulatorPayer | None]:
    if kind == "wallet":
        return World(database, HouseProvider(database, TENANT, "wallet"), kind), None
    return World(database, SimulatorProvider(simulator.url, "merchant-of-crashes", "secret"), kind), SimulatorPayer(
        simulator.url
    )


@pytest.mark.parametrize(
    ("kind", "first", "step"),
    [("simulator", 1, 4), ("simulator", 2, 4), ("simulator", 3, 4), ("simulator", 4, 4), ("wallet", 1, 1)],
)
async def test_killed_at_every_commit_and_call_a_paid_session_ends_with_one_capture(
    kind: str, first: int, step: int, database: MortalDatabase, simulator: PaymentSimulator
) -> None:
    """The places of the simulated provider in four parts, for the sake of time."""
    world, payer = world_of(kind, database, simulator)
    steps = paid_session(payer)
    nobody_dies = Fate()
    await check(world, await live(world, steps, nobody_dies), simulator)
    assert nobody_dies.places > 25
    for place in range(first, nobody_dies.places + 1, step):
        fate = Fate(place, place + 3)
        try:
            await check(world, await live(world, steps, fate), simulator)
        except AssertionError as error:
            raise AssertionError(f"killed at {sorted(fate.deaths)} of {nobody_dies.places}: {error}") from error


async def test_answers_that_are_lost_change_nothing(database: MortalDatabase, simulator: PaymentSimulator) -> None:
    """Done at the provider, the answer broken off on its way: for one of each call in turn."""
    world, payer = world_of("simulator", database, simulator)
    for lost in range(1, 5):
        simulator._answers.lose_answers = lost
        ident = await live(world, paid_session(payer), Fate(), patient=True)
        await check(world, ident, simulator)
    simulator._answers.lose_answers = 0


async def test_a_provider_that_is_away_is_asked_again(database: MortalDatabase, simulator: PaymentSimulator) -> None:
    world, payer = world_of("simulator", database, simulator)
    simulator._answers.fail = 3
    await check(world, await live(world, paid_session(payer), Fate(), patient=True), simulator)


async def held(world: World, payer: SimulatorPayer, card: str = "4242424242424242") -> tuple[int, Intent]:
    """A payment that is held, and what the provider has of it."""
    world.start_anew(Fate())
    view = await world.payments.hold_for(
        TENANT, NewPayment(provider="p", hold=euro("50.00"), return_url="http://127.0.0.1:1/"), by="test"
    )
    assert view.provider_reference is not None
    await payer.pay(view.provider_reference, card)
    await world.carrying.drive(int(view.id), look=True)
    intent = next(one for one in simulator_of(world).book.all() if one.id == view.provider_reference)
    return int(view.id), intent


_simulators: dict[int, PaymentSimulator] = {}


def simulator_of(world: World) -> PaymentSimulator:
    return _simulators[id(world)]


async def test_more_than_the_hold_raises_it_and_else_is_told_to_a_person(
    database: MortalDatabase, simulator: PaymentSimulator
) -> None:
    world, payer = world_of("simulator", database, simulator)
    assert payer is not None
    _simulators[id(world)] = simulator
    ident, intent = await held(world, payer)
    view = await world.payments.settle_payment(ident, euro("61.00"))
    assert (view.captured.amount, intent.captured) == ("61.00", Decimal("61.00"))
    ident, intent = await held(world, payer, "4000000000000036")
    view = await world.payments.settle_payment(ident, euro("61.00"))
    assert (view.captured.amount, view.uncollected.amount) == ("50.00", "11.00")
    async with database.read() as db:
        raised = await db.fetchval("SELECT count(*) FROM alert WHERE ident = $1", f"{ident} uncollected")
    assert raised == 1


async def test_a_hold_is_taken_before_it_ends_by_itself_and_released_where_nothing_was_used(
    database: MortalDatabase, simulator: PaymentSimulator
) -> None:
    world, payer = world_of("simulator", database, simulator)
    assert payer is not None
    _simulators[id(world)] = simulator

    class Costs:
        async def so_far(self, *_: object) -> Any:
            class Cost:
                cost = Money(amount=Decimal("7.504"), currency="EUR")

            return Cost()

    ident, intent = await held(world, payer)
    other, unused = await held(world, payer)
    await world.payments.attach(ident, 4711)
    stopped: list[int] = []

    async def stop(payment: Any) -> None:
        stopped.append(payment.id)

    world.carrying.costs = Costs()
    world.carrying.on_expiring = stop
    world.clock += timedelta(days=6, hours=22, minutes=30)
    await world.carrying.drive(ident)
    await world.carrying.drive(other)
    assert stopped == [ident, other]
    assert (intent.captured, intent.captures) == (Decimal("7.50"), 1)
    assert unused.captured == 0
    assert unused.status.value == "canceled"
    world.clock = timedelta()


async def test_settling_again_gives_back_once_and_repeats_do_nothing(
    database: MortalDatabase, simulator: PaymentSimulator
) -> None:
    world, payer = world_of("simulator", database, simulator)
    assert payer is not None
    _simulators[id(world)] = simulator
    ident, intent = await held(world, payer)
    for amount in ("20.00", "20.00", "15.00", "15.00", "15.00"):
        await world.payments.settle_payment(ident, euro(amount))
    assert (intent.captures, intent.captured, intent.refunded) == (1, Decimal("20.00"), Decimal("5.00"))


async def test_a_refused_capture_is_seen_by_a_person_and_asked_again_only_by_one(
    database: MortalDatabase, simulator: PaymentSimulator
) -> None:
    world, payer = world_of("simulator", database, simulator)
    assert payer is not None
    _simulators[id(world)] = simulator
    ident, intent = await held(world, payer, "4000000000000341")
    view = await world.payments.settle_payment(ident, euro("5.00"))
    assert view.state is PaymentState.CAPTURING
    await world.recover(ident)
    async with database.read() as db:
        asked = await db.fetchval(
            "SELECT count(*) FROM payment_operation WHERE payment_id = $1 AND kind = 'capture'", ident
        )
        raised = await db.fetchval("SELECT count(*) FROM alert WHERE ident = $1", f"{ident} capture")
    assert (asked, raised) == (1, 1)
    intent.card = None  # the bank has changed its mind
    async with database.change() as db:
        await db.execute("UPDATE payment_operation SET superseded = true WHERE payment_id = $1", ident)
    await world.recover(ident)
    assert intent.captures == 1
    async with database.read() as db:
        assert await db.fetchval("SELECT cleared_at IS NOT NULL FROM alert WHERE ident = $1", f"{ident} capture")


async def test_a_provider_that_stays_away_is_told_to_a_person_until_it_answers(
    database: MortalDatabase, simulator: PaymentSimulator
) -> None:
    world, payer = world_of("simulator", database, simulator)
    assert payer is not None
    _simulators[id(world)] = simulator
    ident, intent = await held(world, payer)
    simulator._answers.fail = 7
    await world.payments.settle_payment(ident, euro("5.00"))
    for _ in range(8):
        world.clock += timedelta(minutes=20)
        await world.carrying.drive(ident)
    assert intent.captures == 1
    async with database.read() as db:
        raised, open_ones = tuple(
            await db.fetchrow(
                "SELECT count(*), count(*) FILTER (WHERE cleared_at IS NULL) FROM alert WHERE kind = 'payment_provider'"
            )
        )
    assert (raised, open_ones) == (1, 0)
