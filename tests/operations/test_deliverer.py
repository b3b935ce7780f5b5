"""Webhooks are delivered at least once, in order per resource, each endpoint on its own, whatever dies in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.alerts import Alerts
from chargeplane.app.events import EventFeed
from chargeplane.app.webhooks import Deliverer, note
from chargeplane.app.webhooks.deliverer import DelivererSettings, secret_purpose
from chargeplane.domain.webhooks import is_fact_told, secret_text
from chargeplane.edges.outgoing import HttpFetcher
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact, OutboxWorker, Topic
from chargeplane.store.queries import webhooks as queries
from chargeplane.store.secrets import InstallationKeys
from tests.operations.receiver import Receiver

SECRET = b"s" * 32
TENANT = TenantId(1)


class House:
    """A database with endpoints, and deliverers over it."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, readers=4)
        self.keys = InstallationKeys("k" * 32)
        self.alerts = Alerts(self.database, EventFeed())
        self.sender = HttpFetcher(private_networks=True, timeout_s=20)
        self.running: list[Deliverer] = []

    async def endpoint(self, url: str, types: list[str] | None = None, tenant: int = 1) -> int:
        async with self.database.change() as db:
            ident = await queries.next_endpoint_id(db)
            sealed = self.keys.encrypt(SECRET, secret_purpose(ident))
            await queries.insert_endpoint(db, ident, TenantId(tenant), url, types or ["*"], None, True, sealed)
        return ident

    async def note(self, key: str, number: int, kind: str = "transaction.started") -> None:
        async with self.database.change() as db:
            await note(db, TENANT, kind, key, {"n": number})

    async def deliverer(self, **more: Any) -> Deliverer:
        settings = DelivererSettings(**{"poll_s": 0.05, "timeout_s": 0.1, **more})
        deliverer = Deliverer(self.database, self.keys, self.sender, self.alerts, settings)
        await deliverer.start()
        self.running.append(deliverer)
        return deliverer

    async def value(self, sql: str, *values: Any) -> Any:
        async with self.database.read() as db:
            return await db.fetchval(sql, *values)

    async def until(self, sql: str, *values: Any) -> None:
        async with asyncio.timeout(30):
            while not await self.value(sql, *values):
                await asyncio.sleep(0.02)

    async def due_now(self) -> None:
        async with self.database.change() as db:
            await db.execute("UPDATE webhook_delivery SET next_at = now() WHERE state = 'pending'")
            await db.execute("UPDATE webhook_endpoint SET paused_until = NULL")

    async def stop(self) -> None:
        for deliverer in self.running:
            await deliverer.stop()
        await self.sender.close()
        await self.database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def house(database_url: str) -> AsyncIterator[House]:
    made = House(database_url)
    yield made
    await made.stop()


ALL_DONE = "SELECT NOT EXISTS (SELECT FROM webhook_delivery WHERE state <> 'delivered')"


async def test_what_is_sent_is_verified_by_somebody_elses_verifier(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    await house.note("transaction:1", 1)
    await house.deliverer()
    (got,) = await receiver.wait_for(1)
    event = got.verified(secret_text(SECRET))
    assert event["type"] == "transaction.started"
    assert event["data"] == {"n": 1}
    assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None
    assert got.headers["content-type"] == "application/json"
    await house.until(ALL_DONE)
    attempt = await house.value("SELECT (status, answer, error)::text FROM webhook_attempt")
    assert attempt == "(200,hm20,)"


async def test_only_what_an_endpoint_wants_is_sent_to_it(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url, ["transaction.*", "cdr.created"])
    for number, kind in enumerate(["session.started", "transaction.ended", "cdr.released", "cdr.created"]):
        await house.note(f"k{number}", number, kind)
    await house.deliverer()
    got = await receiver.wait_for(2)
    await house.until(ALL_DONE)
    assert sorted(one.event["type"] for one in got) == ["cdr.created", "transaction.ended"]
    assert await house.value("SELECT count(*) FROM webhook_event") == 4


async def test_a_tenant_without_endpoints_leaves_no_events(house: House) -> None:
    await house.note("transaction:1", 1)
    assert await house.value("SELECT count(*) FROM webhook_event") == 0


async def test_events_of_a_resource_wait_for_the_one_before_and_others_do_not(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    refused = {1}
    receiver.answer = lambda got: 500 if got.event["data"]["n"] in refused else 200
    for number, key in enumerate(["a", "a", "b", "b"], 1):
        await house.note(key, number)
    await house.deliverer()
    await receiver.wait_for(3)
    await house.until("SELECT count(*) = 2 FROM webhook_delivery WHERE state = 'delivered'")
    assert sorted(one.event["data"]["n"] for one in receiver.got) == [1, 3, 4]
    refused.clear()
    await house.due_now()
    await house.until(ALL_DONE)
    told = [one.event["data"]["n"] for one in receiver.got]
    assert [n for n in told if n < 3] == [1, 1, 2]
    assert [n for n in told if n > 2] == [3, 4]
    first, again = [one for one in receiver.got if one.event["data"]["n"] == 1]
    assert first.id == again.id
    assert await house.value("SELECT count(*) FROM webhook_attempt") == 5


async def test_a_slow_endpoint_delays_nobody_else(house: House, receiver: Receiver) -> None:
    async with Receiver() as slow:
        never = asyncio.Event()
        slow.answer = lambda _: never.wait()
        await house.endpoint(slow.url)
        await house.endpoint(receiver.url)
        for number in range(40):
            await house.note(f"k{number}", number)
        await house.deliverer()
        await slow.wait_for(1)
        await receiver.wait_for(40)
        assert len(slow.got) <= 8  # its own attempts at once, and no more
        never.set()


async def test_an_endpoint_that_fails_in_a_row_is_left_alone_and_then_gets_all_that_waited(
    house: House, receiver: Receiver
) -> None:
    ident = await house.endpoint(receiver.url)
    receiver.answer = lambda _: 503
    for number in range(20):
        await house.note(f"k{number}", number)
    await house.deliverer(first_pause_s=600)
    await house.until("SELECT paused_until > now() + interval '5 minutes' FROM webhook_endpoint WHERE id = $1", ident)
    await house.until("SELECT leased_until IS NULL FROM webhook_endpoint WHERE id = $1", ident)
    tried = len(receiver.got)
    assert tried < 20
    receiver.answer = lambda _: 204
    async with house.database.change() as db:
        await db.execute("UPDATE webhook_endpoint SET paused_until = now()")
        # What failed has its own wait; one success ends it for all.
        await db.execute("UPDATE webhook_delivery SET next_at = now() + interval '1 hour' WHERE attempts > 0")
    await house.until(ALL_DONE)
    assert len(receiver.got) == tried + 20
    assert await house.value("SELECT failing_since IS NULL AND failures = 0 FROM webhook_endpoint")


async def test_410_disables_an_endpoint_and_a_person_is_told(house: House, receiver: Receiver) -> None:
    ident = await house.endpoint(receiver.url)
    receiver.answer = lambda _: 410
    await house.note("a", 1)
    await house.note("a", 2)
    await house.deliverer()
    await house.until("SELECT NOT enabled FROM webhook_endpoint WHERE id = $1", ident)
    await house.until("SELECT leased_until IS NULL FROM webhook_endpoint WHERE id = $1", ident)
    assert len(receiver.got) == 1
    assert await house.value("SELECT ident FROM alert WHERE kind = 'webhook_disabled'") == str(ident)
    assert await house.value("SELECT state FROM webhook_delivery ORDER BY id LIMIT 1") == "failed"


async def test_an_endpoint_that_failed_for_days_is_disabled(house: House, receiver: Receiver) -> None:
    ident = await house.endpoint(receiver.url)
    receiver.answer = lambda _: 500
    async with house.database.change() as db:
        await db.execute("UPDATE webhook_endpoint SET failing_since = now() - interval '6 days'")
    await house.note("a", 1)
    await house.deliverer(disable_after=timedelta(days=5))
    await house.until("SELECT NOT enabled FROM webhook_endpoint WHERE id = $1", ident)
    because = await house.value("SELECT details->>'because' FROM alert WHERE kind = 'webhook_disabled'")
    assert because == "It has failed for 6 days; the last time: The endpoint answered 500."


async def test_a_delivery_that_failed_to_the_end_lets_those_behind_it_go(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    receiver.answer = lambda got: 400 if got.event["data"]["n"] == 1 else 200
    await house.note("a", 1)
    await house.note("a", 2)
    async with house.database.change() as db:
        await db.execute("UPDATE webhook_delivery SET attempts = 12 WHERE id = (SELECT min(id) FROM webhook_delivery)")
    await house.deliverer()
    await receiver.wait_for(2)
    await house.until("SELECT array_agg(state ORDER BY id) = '{failed,delivered}' FROM webhook_delivery")


async def test_the_endpoint_says_when_to_come_again(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    receiver.answer = lambda _: b"HTTP/1.1 429 Slow\r\nRetry-After: 7200\r\nContent-Length: 0\r\n\r\n"
    await house.note("a", 1)
    await house.deliverer()
    await house.until("SELECT attempts = 1 AND next_at > now() + interval '119 minutes' FROM webhook_delivery")


async def test_redirects_and_endless_answers_are_bounded(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    receiver.answer = lambda _: (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000
    )
    await house.note("a", 1)
    await house.deliverer()
    await house.until("SELECT attempts = 1 FROM webhook_delivery")
    assert await house.value("SELECT status || ' ' || length(answer) FROM webhook_attempt") == "302 1000"


async def test_addresses_within_our_networks_are_not_asked(house: House, receiver: Receiver) -> None:
    await house.sender.close()
    house.sender = HttpFetcher()
    await house.endpoint(receiver.url)
    await house.note("a", 1)
    await house.deliverer()
    await house.until("SELECT error LIKE '%within our own networks%' FROM webhook_delivery")
    assert receiver.got == []


class Died(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("step", ["lease", "heads", "sent", "add_attempt", "delivered", "healthy", "release"])
async def test_a_process_that_dies_between_any_two_steps_loses_nothing(
    house: House, receiver: Receiver, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.endpoint(receiver.url)
    for number, key in enumerate(["a", "a", "b"], 1):
        await house.note(key, number)
    dying = Deliverer(
        house.database, house.keys, house.sender, house.alerts, DelivererSettings(timeout_s=0.1, lease_s=6.0)
    )
    died = asyncio.Event()
    with monkeypatch.context() as patched:

        async def die(*_: Any, **__: Any) -> Any:
            died.set()
            raise Died

        def dies_after(real: Callable[..., Any]) -> Callable[..., Any]:
            async def wrapped(*values: Any, **named: Any) -> Any:
                await real(*values, **named)
                await die()

            return wrapped

        if step == "sent":
            patched.setattr(house.sender, "deliver", dies_after(house.sender.deliver))
        elif step == "release":
            patched.setattr(queries, "release", die)
        else:
            patched.setattr(queries, step, dies_after(getattr(queries, step)))
        if step != "release":
            patched.setattr(queries, "release", _nothing)  # the dead release nothing
        task = asyncio.create_task(dying._serve(1))
        await asyncio.wait_for(died.wait(), 30)
        with contextlib.suppress(BaseException):
            await task
    async with house.database.change() as db:
        await db.execute("UPDATE webhook_endpoint SET leased_until = now()")  # the lease has ended
    await house.deliverer()
    await house.until(ALL_DONE)
    told = [(one.id, one.event["data"]["n"]) for one in receiver.got]
    assert {n for _, n in told} == {1, 2, 3}
    assert len({ident for ident, _ in told}) == 3  # again under the same id
    of_a = [n for _, n in told if n < 3]
    assert of_a == sorted(of_a)


async def _nothing(*_: Any) -> None:
    return None


async def test_two_processes_share_endpoints_and_keep_the_order(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    for number in range(60):
        await house.note(f"k{number % 3}", number)
    await asyncio.gather(*[house.deliverer() for _ in range(3)])
    await house.until(ALL_DONE)
    for key in range(3):
        told = [n for one in receiver.got if (n := one.event["data"]["n"]) % 3 == key]
        assert told == sorted(told)
    assert len(receiver.got) == 60


async def test_two_secrets_sign_while_one_takes_over_from_the_other(house: House, receiver: Receiver) -> None:
    ident = await house.endpoint(receiver.url)
    fresh = b"n" * 32
    async with house.database.change() as db:
        stored = await queries.stored_endpoint(db, ident)
        assert stored is not None
        columns = {
            "secret": house.keys.encrypt(fresh, secret_purpose(ident)),
            "previous_secret": stored.secret,
            "previous_until": datetime.now(UTC) + timedelta(hours=1),
        }
        await queries.update_endpoint(db, ident, columns)
    await house.note("a", 1)
    await house.deliverer()
    (got,) = await receiver.wait_for(1)
    assert got.verified(secret_text(SECRET)) == got.verified(secret_text(fresh))


async def test_facts_of_the_outbox_become_events_once_whatever_their_handler_does(
    house: House, receiver: Receiver
) -> None:
    await house.endpoint(receiver.url)
    await house.deliverer()
    handled: list[str] = []

    async def batch(facts: Any) -> None:
        handled.extend(fact.topic for fact in facts)

    async def single(fact: Fact) -> None:
        if fact.attempts == 1:
            raise RuntimeError("not yet")
        handled.append(fact.topic)

    outbox = OutboxWorker(lambda: house.database.connect_writer("outbox"), poll_s=0.05)
    outbox.observe(is_fact_told, queries.note_facts)
    outbox.register_batches(["transaction.started", "transaction.ended"], batch)
    outbox.register("cdr.created", Topic(handler=single, first_retry_s=0.05))
    outbox.register("report.firmware", Topic(handler=single, first_retry_s=0.05))
    async with house.database.change() as db:
        for topic in ("transaction.started", "transaction.ended", "cdr.created", "report.firmware"):
            await db.execute(
                "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES (1, $1, 'transaction:1', $2)",
                topic,
                f'{{"topic":"{topic}"}}',
            )
    await outbox.start()
    try:
        await house.until("SELECT NOT EXISTS (SELECT FROM outbox)")
    finally:
        await outbox.stop()
    await house.until("SELECT count(*) = 3 FROM webhook_delivery WHERE state = 'delivered'")
    assert [one.event["type"] for one in receiver.got] == ["transaction.started", "transaction.ended", "cdr.created"]
    assert receiver.got[2].event["data"] == {"topic": "cdr.created"}
    assert sorted(handled) == ["cdr.created", "report.firmware", "transaction.ended", "transaction.started"]
