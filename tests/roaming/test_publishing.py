"""What partners see of ours is made anew when it changes, and only then; with the real database behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.app.events import EventFeed
from chargeplane.app.locations import EvseWanted, Locations
from chargeplane.app.locations.binding import Binding
from chargeplane.app.roaming.operator import Rendering
from chargeplane.app.roaming.own_documents import OwnDocuments, Part
from chargeplane.app.roaming.publishing import TOPICS, Publishing
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.locations.model import DeclaredStatus, EvseContent, PaymentMethod, PublishToken
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.publication import EVERYTHING, Publication
from chargeplane.kernel.ids import TenantId
from chargeplane.main.roaming_documents import MAKING
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import roaming_connections as connections
from chargeplane.store.queries import roaming_documents as queries
from chargeplane.store.queries import roaming_pushes
from chargeplane.store.queries.roaming_documents import LOCATIONS, TARIFFS
from tests.rating.test_places import CALLER, TENANT, connector, ident, location, tariff
from tests.roaming.nasty import NastyPartner, enveloped
from tests.support.postgres import TestServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
_decode = msgspec.json.decode
EVERYBODY = NastyPartner(lambda _: enveloped()).peer()


class Noting:
    """Takes what partners are to be told."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str]] = []
        self.what: list[str | None] = []
        self.hints = 0

    async def note(
        self,
        db: Any,
        tenant_id: TenantId,
        module: str,
        key: str,
        *,
        connections: list[int] | None = None,
        hint: str | None = None,
    ) -> None:
        self.noted.append((module, key))
        self.what.append(hint)

    async def note_many(self, db: Any, tenant_id: TenantId, module: str, hints: Mapping[str, str | None]) -> None:
        for key, hint in hints.items():
            await self.note(db, tenant_id, module, key, hint=hint)

    def hint(self) -> None:
        self.hints += 1


class Us:
    """One tenant that is an operator."""

    async def operator_of(self, tenant_id: TenantId) -> PartyId | None:
        return PartyId(country_code="DE", party_id="CPO") if tenant_id == TENANT else None

    async def operating_tenants(self) -> list[TenantId]:
        return [TENANT]


class House:
    """The use cases, with what partners are told."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, readers=2)
        events = EventFeed()
        self.locations = Locations(self.database, events, Binding(self.database, events))
        self.tariffs = Tariffs(self.database, events)
        self.noting = Noting()
        self.publishing = Publishing(self.database, Us(), self.noting, MAKING)

    async def settle(self) -> list[tuple[str, str]]:
        """Hands over the facts that wait; what partners are to be told of."""
        async with self.database.change() as db:
            rows = await db.fetch("DELETE FROM outbox WHERE topic = ANY($1) RETURNING *", list(TOPICS))
        self.noting.noted.clear()
        for row in sorted(rows, key=lambda one: one["id"]):
            await self.publishing.changed(
                Fact(
                    id=row["id"],
                    tenant_id=row["tenant_id"],
                    topic=row["topic"],
                    key=row["key"],
                    payload=row["payload"],
                    created_at=row["created_at"],
                    attempts=1,
                )
            )
        return list(self.noting.noted)

    async def document(self, module: str, name: str) -> Any:
        """A document as it stands."""
        async with self.database.read() as db:
            found = await queries.one(db, TENANT, module, name)
        return None if found is None else _decode(found.body)

    async def page(self, rule: Publication = EVERYTHING, module: str = LOCATIONS, **more: Any) -> tuple[int, list[str]]:
        """A list as a partner gets it: how many, and their ids."""
        wanted: dict[str, Any] = {"date_from": None, "date_to": None, "offset": 0, "limit": 1000}
        async with self.database.read() as db:
            total, bodies, _ = await queries.page(db, TENANT, module, 1, rule, **(wanted | more))
        return total, [_decode(body)["id"] for body in bodies]

    async def place(self, **more: Any) -> str:
        """A new location with one EVSE."""
        name = ident("L")
        await self.locations.create(CALLER, name, location(**more))
        await self.locations.add_evse(
            CALLER, name, f"{name}-E", EvseWanted(content=EvseContent(), connectors=[connector()])
        )
        return name


@pytest.fixture(scope="module")
def url(postgres_server: TestServer) -> Iterator[str]:
    with postgres_server.database() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(url: str) -> AsyncIterator[House]:
    made = House(url)
    yield made
    await made.database.close()


async def test_change_is_told_once_and_what_is_equal_is_not_told(house: House) -> None:
    name = await house.place(name="Yard")
    assert (LOCATIONS, name) in await house.settle()
    first = await house.document(LOCATIONS, name)
    assert [one["uid"] for one in first["evses"]] == [f"{name}-E"]
    assert first["evses"][0]["status"] == "UNKNOWN"
    async with house.database.read() as db:
        keys = await queries.location_key(db, TENANT, name)
    house.noting.noted.clear()
    assert await house.publishing.locations(TENANT, keys) == 0
    assert house.noting.noted == []
    assert await house.document(LOCATIONS, name) == first


async def test_status_of_an_evse_moves_it_and_its_location_but_no_other_evse(house: House) -> None:
    name = await house.place()
    other = f"{name}-F"
    await house.locations.add_evse(CALLER, name, other, EvseWanted(content=EvseContent(), connectors=[connector()]))
    await house.settle()
    before = await house.document(LOCATIONS, name)
    await asyncio.sleep(0.005)  # times are told in milliseconds
    content = EvseContent(declared_status=DeclaredStatus.OUTOFORDER)
    await house.locations.replace_evse(CALLER, other, EvseWanted(content=content), None)
    await house.settle()
    after = await house.document(LOCATIONS, name)
    assert [one["status"] for one in after["evses"]] == ["UNKNOWN", "OUTOFORDER"]
    assert after["evses"][0] == before["evses"][0]
    assert after["last_updated"] == after["evses"][1]["last_updated"] > before["last_updated"]


async def test_ways_to_pay_at_an_evse_are_told_to_partners_when_they_change(house: House) -> None:
    name = await house.place()
    await house.settle()

    async def described(*methods: PaymentMethod) -> tuple[bool, list[str]]:
        wanted = EvseWanted(content=EvseContent(payment_methods=methods))
        await house.locations.replace_evse(CALLER, f"{name}-E", wanted, None)
        told = (LOCATIONS, name) in await house.settle()
        said = (await house.document(LOCATIONS, name))["evses"][0]
        return told, [one for one in said.get("capabilities", []) if "CARD" in one]

    card, contactless = PaymentMethod.TERMINAL_CREDIT_CARD, PaymentMethod.TERMINAL_CONTACTLESS
    assert await described(card, contactless) == (True, ["CREDIT_CARD_PAYABLE", "CONTACTLESS_CARD_SUPPORT"])
    assert await described(card, contactless) == (False, ["CREDIT_CARD_PAYABLE", "CONTACTLESS_CARD_SUPPORT"])
    assert await described(contactless) == (True, ["CONTACTLESS_CARD_SUPPORT"])
    assert await described() == (True, [])


async def test_look_finds_a_status_that_no_hint_told(house: House) -> None:
    name = await house.place()
    await house.settle()
    async with house.database.change() as db:
        await db.execute(
            'UPDATE evse SET body = \'{"declared_status":"BLOCKED"}\' WHERE tenant_id = $1 AND uid = $2',
            TENANT,
            f"{name}-E",
        )
    await house.publishing.look()
    assert (await house.document(LOCATIONS, name))["evses"][0]["status"] == "BLOCKED"
    assert house.noting.noted[-1] == (LOCATIONS, name)


async def test_removed_evse_and_deleted_location_are_told_as_removed(house: House) -> None:
    name = await house.place()
    await house.settle()
    await house.locations.remove_evse(CALLER, f"{name}-E", None)
    await house.settle()
    assert (await house.document(LOCATIONS, name))["evses"][0]["status"] == "REMOVED"
    since = datetime.now(UTC) - timedelta(milliseconds=1)
    await house.locations.remove(CALLER, name, None)
    assert (LOCATIONS, name) in await house.settle()
    said = await house.document(LOCATIONS, name)
    assert said["publish"] is False
    assert {one["status"] for one in said["evses"]} == {"REMOVED"}
    _, listed = await house.page()
    assert name not in listed
    _, changed = await house.page(date_from=since)
    assert name in changed
    # The id given again means the new location.
    await house.locations.create(CALLER, name, location(name="New"))
    await house.settle()
    assert (await house.document(LOCATIONS, name))["name"] == "New"
    await house.publishing.everything(TENANT)
    assert (await house.document(LOCATIONS, name))["name"] == "New"


async def test_lists_are_in_the_order_of_creation_and_count_what_the_partner_may_see(house: House) -> None:
    berlin, vienna, secret, invited = (
        await house.place(tags=("north",)),
        await house.place(country="AUT", tags=("south",), party_id="SUB"),
        await house.place(publish=False),
        await house.place(publish=False, publish_allowed_to=(PublishToken(uid="1", type="RFID"),)),
    )
    await house.settle()
    total, names = await house.page()
    assert names[-3:] == [berlin, vienna, invited]
    assert total == len(names)
    assert secret not in names
    assert secret in (await house.page(Publication(unpublished=True)))[1]
    only = Publication(location_ids=(berlin.upper(), vienna, secret))
    assert (await house.page(only))[1] == [berlin, vienna]
    assert (await house.page(Publication(location_ids=(berlin, vienna), countries=("AUT",))))[1] == [vienna]
    assert (await house.page(Publication(location_ids=(berlin, vienna), parties=("DE*CPO",))))[1] == [berlin]
    assert (await house.page(Publication(location_ids=(berlin, vienna), tags=("south", "east"))))[1] == [vienna]
    assert (await house.page(Publication(location_ids=(berlin, vienna), except_location_ids=(vienna,))))[1] == [berlin]
    assert await house.page(Publication(modules=("tariffs",))) == (0, [])
    assert await house.page(only, offset=1, limit=1) == (2, [vienna])
    assert await house.page(only, offset=5) == (2, [])
    async with house.database.read() as db:
        assert await queries.seen(db, TENANT, LOCATIONS, secret, 1, EVERYTHING) is None
        assert await queries.seen(db, TENANT, LOCATIONS, berlin.upper(), 1, EVERYTHING) is not None


async def test_lists_single_reads_pushes_and_the_whole_push_show_the_same(house: House) -> None:
    north, south, sub, secret, invited = (
        await house.place(tags=("north",)),
        await house.place(country="AUT", tags=("south",)),
        await house.place(party_id="SUB"),
        await house.place(publish=False, tags=("north",)),
        await house.place(publish=False, publish_allowed_to=(PublishToken(uid="1", type="RFID"),)),
    )
    price = ident("T")
    await house.tariffs.create(CALLER, price, None, tariff(), None)
    await house.settle()
    everywhere = (north, south, sub, secret, invited)
    matrix: list[tuple[dict[str, Any], set[str], bool]] = [
        ({}, {north, south, sub, invited}, True),
        ({"unpublished": True}, set(everywhere), True),
        ({"location_ids": (north.upper(), secret)}, {north}, True),
        ({"location_ids": (north, secret), "unpublished": True}, {north, secret}, True),
        ({"except_location_ids": (north.upper(), sub)}, {south, invited}, True),
        ({"location_ids": (north, south), "except_location_ids": (south,)}, {north}, True),
        ({"countries": ("AUT",)}, {south}, True),
        ({"countries": ("FRA",)}, set(), True),
        ({"parties": ("DE*SUB",)}, {sub}, False),
        ({"parties": ("DE*CPO", "DE*SUB")}, {north, south, sub, invited}, True),
        ({"tags": ("north",)}, {north}, True),
        ({"tags": ("north",), "unpublished": True}, {north, secret}, True),
        ({"tags": ("north", "south"), "countries": ("AUT",)}, {south}, True),
        ({"modules": ("locations",)}, {north, south, sub, invited}, False),
        ({"modules": ("tariffs",)}, set(), True),
        ({"modules": ("sessions",)}, set(), False),
    ]
    async with house.database.change() as db:
        partner = await connections.insert(db, TENANT, {"name": "matrix", "state": "registered", "version": "2.2.1"})
    peer = replace(EVERYBODY, id=partner, tenant_id=TENANT)
    rendering = Rendering(house.database)
    for said, places, priced in matrix:
        rule = Publication(**said)
        async with house.database.change() as db:
            await queries.set_publication(db, TENANT, partner, rule)
            await db.execute("DELETE FROM roaming_outgoing WHERE connection_id = $1", partner)
            for module in (LOCATIONS, TARIFFS):
                await roaming_pushes.note_all(db, TENANT, partner, module, rule)
            noted = {
                row["key"]
                for row in await db.fetch("SELECT key FROM roaming_outgoing WHERE connection_id = $1", partner)
            }
        for module, names, wanted in (
            (LOCATIONS, everywhere, places),
            (TARIFFS, (price,), {price} if priced else set[str]()),
        ):
            total, listed = await house.page(rule, module)
            assert total == len(listed)
            assert set(listed) & set(names) == wanted, (said, module)
            assert noted & set(names) == wanted, (said, module)
            for name in names:
                async with house.database.read() as db:
                    read = await queries.seen(db, TENANT, module, name, partner, rule)
                pushed = await rendering.render(peer, module, name, None)
                assert (read is not None, pushed is not None) == (name in wanted, name in wanted), (said, module, name)


async def test_reader_of_pages_misses_nothing_that_stays_while_others_go(house: House) -> None:
    places = [await house.place() for _ in range(6)]
    await house.settle()
    listed = OwnDocuments(house.database)
    rule = Publication(location_ids=tuple(places))
    async with house.database.change() as db:
        ident = await db.fetchval(
            "INSERT INTO roaming_connection (tenant_id, name, state) VALUES ($1, 'reader', 'registered') RETURNING id",
            TENANT,
        )
        await queries.set_publication(db, TENANT, ident, rule)

    async def part(offset: int, limit: int) -> tuple[int, list[str]]:
        total, bodies = await listed.page(TENANT, ident, LOCATIONS, Part(offset=offset, limit=limit))
        return total, [_decode(body)["id"] for body in bodies]

    assert await part(0, 2) == (6, places[:2])
    assert await part(2, 2) == (6, places[2:4])
    await house.locations.remove(CALLER, places[0], None)
    await house.locations.remove(CALLER, places[4], None)
    await house.settle()
    # What it was given before went: the others did not move for this reader, and the total is what it was given and what is left.
    assert await part(4, 2) == (5, places[5:])
    assert await part(5, 2) == (5, [])
    assert await part(0, 9) == (4, [*places[1:4], places[5]])
    assert await part(1, 2) == (4, places[2:4])


async def test_time_filters_include_their_beginning_and_not_their_end(house: House) -> None:
    name = await house.place()
    await house.settle()
    at = datetime.fromisoformat((await house.document(LOCATIONS, name))["last_updated"])
    one = Publication(location_ids=(name,))
    assert (await house.page(one, date_from=at))[0] == 1
    assert (await house.page(one, date_to=at))[0] == 0
    assert (await house.page(one, date_from=at + timedelta(milliseconds=1)))[0] == 0
    assert (await house.page(one, date_to=at + timedelta(milliseconds=1)))[0] == 1


async def test_tariff_is_told_in_the_version_that_holds_and_told_gone_when_it_retires(house: House) -> None:
    name = ident("T")
    await house.tariffs.create(CALLER, name, None, tariff(), None)
    assert await house.settle() == [(TARIFFS, name)]
    assert (await house.document(TARIFFS, name))["currency"] == "EUR"
    later = datetime.now(UTC) + timedelta(days=1)
    await house.tariffs.create(CALLER, f"{name}-later", None, tariff(), later)
    assert await house.settle() == []
    assert await house.document(TARIFFS, f"{name}-later") is None
    await house.tariffs.retire(CALLER, name, None, None)
    assert await house.settle() == [(TARIFFS, name)]
    assert name not in (await house.page(module=TARIFFS))[1]


async def test_tenant_that_is_no_operator_publishes_nothing(house: House) -> None:
    assert await house.publishing.locations(TenantId(2), [1]) == 0
