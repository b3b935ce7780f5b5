"""Lists of partners, read to their end or not, and places found in what was read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.roaming.errors import PulledError
from chargeplane.app.roaming.places import PartnerPlaces
from chargeplane.app.roaming.ports import Failure, Outcome, PulledPage, Route
from chargeplane.app.roaming.pulling import Pulling, modules_of
from chargeplane.app.roaming.replicas import Owner, Replicas
from chargeplane.domain.roaming.connection import (
    BusinessDetails,
    ConnectionState,
    ModuleUrl,
    PartnerParty,
    PartyId,
    PartyRole,
    Peer,
    Quirks,
)
from chargeplane.kernel.errors import ConflictError, InvalidInputError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import replicas as queries
from chargeplane.store.queries.partner_places import PlaceFilter

TENANT = TenantId(1)
PEER = Peer(
    id=7,
    tenant_id=TENANT,
    name="ABC",
    state=ConnectionState.REGISTERED,
    version="2.3.0",
    versions_url="http://partner",
    modules=tuple(
        ModuleUrl(one, "SENDER", f"http://partner/{one}") for one in ("locations", "tariffs", "sessions", "cdrs")
    ),
    parties=(PartnerParty(id=PartyId("DE", "ABC"), role=PartyRole.CPO, business_details=BusinessDetails(name="ABC")),),
)
CALLER = Caller(key_id=0, tenant_id=TENANT, name="t", scopes=frozenset())


class Partner:
    """A partner whose lists are as they are set; `breaks_after` pages it fails."""

    def __init__(self) -> None:
        self.pages_of: dict[int, list[PulledPage]] = {}
        self.asked: list[tuple[int, datetime | None]] = []
        self.breaks_after: int | None = None

    async def call(self, peer: Peer, row: int, path: Mapping[str, str] | None = None, **_: Any) -> Outcome:
        raise AssertionError

    async def pages(
        self,
        peer: Peer,
        row: int,
        *,
        date_from: datetime | None = None,
        date_to: datetime | None = None,
        query: Mapping[str, str] | None = None,
        route: Route | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[PulledPage]:
        self.asked.append((row, date_from))
        for number, page in enumerate(self.pages_of.get(row, [])):
            if number == self.breaks_after:
                raise PulledError(Outcome(failure=Failure.HTTP_ERROR, sentence="It answered 500."))
            yield page


class Peers:
    async def get(self, ident: int) -> Peer | None:
        return PEER if ident == PEER.id else None

    async def every(self, tenant_id: TenantId | None) -> Sequence[Peer]:
        return [PEER]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def replicas(database: Database) -> AsyncIterator[Replicas]:
    replicas = Replicas(database)
    await replicas.start()
    yield replicas
    await replicas.stop()


@pytest.fixture
def partner() -> Partner:
    return Partner()


@pytest.fixture
def pulling(database: Database, replicas: Replicas, partner: Partner) -> Pulling:
    return Pulling(database, partner, Peers(), replicas)


def location(ident: str, second: int = 1, lat: str = "49.79", **more: Any) -> bytes:
    stamp = f"2026-01-01T00:00:{second:02d}Z"
    connector = {
        "id": "1", "standard": "IEC_62196_T2_COMBO", "format": "CABLE", "power_type": "DC", "max_voltage": 500,
        "max_amperage": 300, "max_electric_power": 150000, "tariff_ids": ["T1"], "last_updated": stamp,
    }  # fmt: skip
    body = {
        "country_code": "DE", "party_id": "ABC", "id": ident, "publish": True, "name": f"Place {ident}", "city": "W",
        "address": "Weg 1", "country": "DEU", "coordinates": {"latitude": lat, "longitude": "9.95"}, "time_zone": "Europe/Berlin",
        "operator": {"name": "ABC Strom"},
        "evses": [{"uid": f"{ident}-E", "status": "AVAILABLE", "connectors": [connector], "last_updated": stamp}],
        "last_updated": stamp,
    }  # fmt: skip
    return json.dumps({**body, **more}).encode()


def tariff(ident: str = "T1", price: float = 0.5) -> bytes:
    return json.dumps({
        "country_code": "DE", "party_id": "ABC", "id": ident, "currency": "EUR", "tax_included": "NO",
        "elements": [{"price_components": [{"type": "ENERGY", "price": price, "vat": 19.0, "step_size": 1}]}],
        "last_updated": "2026-01-01T00:00:00Z",
    }).encode()  # fmt: skip


async def count(database: Database, what: str) -> int:
    async with database.read() as db:
        found: int = await db.fetchval(f"SELECT count(*) FROM {what}")
    return found


async def test_whole_list_is_stored_page_by_page(database: Database, pulling: Pulling, partner: Partner) -> None:
    partner.pages_of[7] = [
        PulledPage(documents=tuple(location(f"L{page}-{n}") for n in range(30)), total=90) for page in range(3)
    ]
    done = await pulling.pull(PEER, "locations", full=True)
    assert (done.objects, done.changed, done.refused, done.gone, done.full) == (90, 90, 0, 0, True)
    assert await count(database, "partner_location") == 90
    again = await pulling.pull(PEER, "locations", full=True)
    assert (again.objects, again.changed) == (90, 0)
    assert partner.asked == [(7, None), (7, None)]


async def test_second_time_only_what_changed_is_asked_for(pulling: Pulling, partner: Partner) -> None:
    partner.pages_of[7] = [PulledPage(documents=(location("L1", 30),))]
    await pulling.pull(PEER, "locations", full=False)
    partner.pages_of[7] = [PulledPage(documents=(location("L1", 50, name="New"),))]
    done = await pulling.pull(PEER, "locations", full=False)
    assert (done.changed, done.full, done.gone) == (1, False, 0)
    assert [asked and asked.isoformat() for _, asked in partner.asked] == [None, "2025-12-31T23:55:30+00:00"]


async def test_what_a_whole_list_has_no_more_is_gone_and_may_come_back(
    database: Database, replicas: Replicas, pulling: Pulling, partner: Partner
) -> None:
    partner.pages_of[7] = [PulledPage(documents=(location("L1"), location("L2")))]
    await pulling.pull(PEER, "locations", full=True)
    partner.pages_of[7] = [PulledPage(documents=(location("L1"),))]
    assert (await pulling.pull(PEER, "locations", full=True)).gone == 1
    owner = Owner(TENANT, 7, "DE", "ABC")
    assert await replicas.location(owner, "L2") is None
    await replicas.put_location(owner, "L2", location("L2"))
    assert await replicas.location(owner, "L2") is not None


async def test_list_that_breaks_off_removes_nothing_and_says_why(
    database: Database, pulling: Pulling, partner: Partner
) -> None:
    partner.pages_of[7] = [PulledPage(documents=(location("L1"), location("L2")))]
    await pulling.pull(PEER, "locations", full=True)
    partner.pages_of[7] = [PulledPage(documents=(location("L1"),)), PulledPage(documents=())]
    partner.breaks_after = 1
    with pytest.raises(PulledError):
        await pulling.pull(PEER, "locations", full=True)
    assert await count(database, "partner_location WHERE gone_at IS NOT NULL") == 0
    async with database.read() as db:
        (state,) = await queries.pulls(db, TENANT, 7)
    assert (state.error, state.ended_at is not None) == ("It answered 500.", True)


async def test_objects_of_others_and_broken_ones_are_left_out_and_counted(
    database: Database, pulling: Pulling, partner: Partner
) -> None:
    documents = (location("L1"), location("L2", party_id="XYZ"), b'{"id": 5}', location("L3"))
    partner.pages_of[7] = [PulledPage(documents=documents, refused=("One was no Location.",))]
    done = await pulling.pull(PEER, "locations", full=True)
    assert (done.objects, done.changed, done.refused) == (4, 2, 3)
    assert any("XYZ" in reason for reason in done.reasons)
    assert await count(database, "partner_location") == 2


async def test_push_that_is_newer_than_the_page_stays(replicas: Replicas, pulling: Pulling, partner: Partner) -> None:
    owner = Owner(TENANT, 7, "DE", "ABC")
    await replicas.put_location(owner, "L1", location("L1", 40, name="Newer"))
    partner.pages_of[7] = [PulledPage(documents=(location("L1", 30),))]
    assert (await pulling.pull(PEER, "locations", full=True)).changed == 0
    assert b"Newer" in (await replicas.location(owner, "L1") or b"")


async def test_one_pull_at_a_time(database: Database, pulling: Pulling) -> None:
    async with database.change() as db:
        await queries.begin_pull(db, TENANT, 7, "locations", timedelta(hours=1))
    with pytest.raises(ConflictError):
        await pulling.pull(PEER, "locations", full=True)


async def test_module_that_the_partner_lacks_is_refused(pulling: Pulling) -> None:
    assert modules_of(PEER) == ["tariffs", "locations", "sessions", "cdrs"]
    with pytest.raises(InvalidInputError):
        await pulling.now(TENANT, 7, "tokens", full=True)


async def test_places_are_found_with_their_prices(
    database: Database, replicas: Replicas, pulling: Pulling, partner: Partner
) -> None:
    partner.pages_of[28] = [PulledPage(documents=(tariff(),))]
    partner.pages_of[7] = [
        PulledPage(documents=(location("FAR", lat="49.90"), location("NEAR"), location("HIDDEN", publish=False)))
    ]
    await pulling.pull(PEER, "tariffs", full=True)
    await pulling.pull(PEER, "locations", full=True)
    await replicas.patch_evse(
        Owner(TENANT, 7, "DE", "ABC"), "NEAR", "NEAR-E", b'{"status":"CHARGING","last_updated":"2026-01-02T00:00:00Z"}'
    )
    places = PartnerPlaces(database)
    near = (49.79, 9.95, 50_000.0)
    found = await places.search(CALLER, PlaceFilter(near=near), 10, None, energy_wh=Decimal(10_000))
    assert [one.id for _, one in found] == ["NEAR", "FAR"]
    first = found[0][1]
    assert (first.partner, first.operator, first.evses[0].status) == ("DE*ABC", "ABC Strom", "CHARGING")
    price = first.evses[0].connectors[0].price
    assert price is not None
    assert price.per_kwh is not None
    assert (price.per_kwh.amount, price.session.amount) == ("0.595", "5.95")
    free = await places.search(CALLER, PlaceFilter(near=near, available=True), 10, None)
    assert [one.id for _, one in free] == ["FAR"]
    rest = await places.search(CALLER, PlaceFilter(near=near), 1, found[0][0])
    assert [one.id for _, one in rest] == ["FAR"]
    for wanted, expected in (
        (PlaceFilter(near=near, standard="IEC_62196_T2_COMBO", min_power_w=150_000), 2),
        (PlaceFilter(near=near, min_power_w=150_001), 0),
        (PlaceFilter(near=near, current="AC"), 0),
        (PlaceFilter(q="place near"), 1),
        (PlaceFilter(party=("DE", "XYZ")), 0),
    ):
        assert len(await places.search(CALLER, wanted, 10, None)) == expected, wanted


@pytest.mark.parametrize(("quirks", "after_s", "due"), [
    (Quirks(), 3599, False), (Quirks(), 3600, True),
    (Quirks(pull=("locations",), pull_every_s=60), 59, False), (Quirks(pull=("locations",), pull_every_s=60), 60, True),
    (Quirks(pull=("cdrs",), pull_every_s=60), 60, False),
])  # fmt: skip
async def test_partner_that_does_not_push_is_read_as_often_as_its_quirks_say(
    database: Database, pulling: Pulling, partner: Partner, quirks: Quirks, after_s: int, due: bool
) -> None:
    partner.pages_of[7] = [PulledPage(documents=(location("L1"),))]
    await pulling.pull(PEER, "locations", full=True)
    async with database.read() as db:
        (known,) = await queries.pulls(db, TENANT, 7)
    assert known.ended_at is not None
    at = known.ended_at + timedelta(seconds=after_s)
    found = pulling._due(replace(PEER, quirks=quirks), "locations", known, at)
    assert found is (False if due else None)  # False: what changed is read
