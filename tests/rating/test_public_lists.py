"""OCPI lists of a tenant's published locations, without a key, over a socket."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest_asyncio

from chargeplane.ocpi.documents import decode
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version
from tests.rating.test_public_data import PUBLIC, publish, tariff
from tests.rating.test_rest_locations import add, connector, ident, make
from tests.support.rest import Rest, assert_problem


@pytest_asyncio.fixture(loop_scope="session")
async def published(rest: Rest) -> Any:
    await publish(rest, PUBLIC)
    yield
    await publish(rest, None)


async def listed(rest: Rest, which: str, kind: Kind) -> list[dict[str, Any]]:
    answer = await rest.client.get(f"/public/default/ocpi/2.3.0/{which}", headers={"Authorization": ""})
    assert answer.status_code == 200, answer.text
    envelope = answer.json()
    assert envelope["status_code"] == 1000
    for one in envelope["data"]:
        found = decode(kind, Version.V2_3_0, msgspec.json.encode(one))
        assert found.unknown() == ()
        assert found.repairs == ()
    return list(envelope["data"])


async def test_what_a_tenant_does_not_publish_nobody_sees(rest: Rest) -> None:
    for which in ("locations", "tariffs"):
        assert_problem(await rest.client.get(f"/public/default/ocpi/2.3.0/{which}"), 404)


async def test_public_lists_have_published_places_and_public_prices_only(rest: Rest, published: Any) -> None:
    public, contract = ident("T"), ident("T")
    for name, kind in ((public, "AD_HOC_PAYMENT"), (contract, "PROFILE_GREEN")):
        answer = await rest.client.post("/v1/tariffs", json=tariff(name, type=kind))
        assert answer.status_code == 201, answer.text
    shown = (await make(rest))["id"]
    hidden = (await make(rest, publish=False))["id"]
    for place in (shown, hidden):
        evse = {"uid": ident("E"), "connectors": [connector(tariff_ids=[public, contract])]}
        await add(rest, place, **evse)
    places = {one["id"]: one for one in await listed(rest, "locations", Kind.LOCATION)}
    assert hidden not in places
    found = places[shown]
    assert (found["country_code"], found["party_id"]) == ("DE", "ABC")
    assert found["evses"][0]["connectors"][0]["tariff_ids"] == [public]
    assert "code" not in found["evses"][0]
    named = [one["id"] for one in await listed(rest, "tariffs", Kind.TARIFF)]
    assert public in named
    assert contract not in named
