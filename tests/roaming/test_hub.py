"""Three installations, one of them a hub in between, in all pairs of versions: what one sends the other gets, in its version."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.roaming.ports import Failure, Outcome, Route
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.edges.ocpi_server.call import Call, Page, Reply
from tests.support.postgres import TestServer
from tests.support.roaming import VERSIONS, Node, register, running_node, until

HUB, CPO, EMSP = PartyId("NL", "HUB"), PartyId("NL", "CPO"), PartyId("DE", "MSP")
PUT_LOCATION, LOCATIONS = 14, 7


def location(ident: str) -> dict[str, Any]:
    """A canonical location."""
    return {
        "country_code": "NL",
        "party_id": "CPO",
        "id": ident,
        "publish": True,
        "address": "Street 1",
        "city": "Town",
        "country": "NLD",
        "coordinates": {"latitude": "52.1", "longitude": "5.1"},
        "time_zone": "Europe/Amsterdam",
        "last_updated": "2026-01-02T03:04:05Z",
    }


class Town:
    """A CPO and an eMSP behind a hub; what reaches either's door is noted."""

    def __init__(self, hub: Node, cpo: Node, emsp: Node) -> None:
        self.hub, self.cpo, self.emsp = hub, cpo, emsp
        self.got: list[Call] = []

    async def noted(self, call: Call) -> Reply:
        self.got.append(call)
        return Reply(created=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def nodes(postgres_server: TestServer) -> AsyncIterator[tuple[Node, Node, Node]]:
    async with contextlib.AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(running_node(postgres_server, name, party, roles))
            for name, party, roles in (
                ("hub", ("NL", "HUB"), ("HUB",)),
                ("cpo", ("NL", "CPO"), ("CPO",)),
                ("emsp", ("DE", "MSP"), ("EMSP",)),
            )
        ]
        yield made[0], made[1], made[2]


@pytest_asyncio.fixture(loop_scope="session")
async def town(nodes: tuple[Node, Node, Node], request: pytest.FixtureRequest) -> AsyncIterator[Town]:
    """Registered with the hub in two versions; ends with the test."""
    hub, cpo, emsp = nodes
    of_cpo, of_emsp = request.param
    await register(hub, cpo, of_cpo, host_role="EMSP", guest_role="CPO", host_is_hub=True)
    await register(hub, emsp, of_emsp, host_role="CPO", guest_role="EMSP", host_is_hub=True)
    made = Town(hub, cpo, emsp)
    kept = {(node.name, row): node.roaming.door.handlers[row] for node in (cpo, emsp) for row in (7, 14, 23, 26)}
    emsp.roaming.door.handlers.update({14: made.noted, 23: made.noted, 26: made.noted})
    yield made
    for (name, row), handler in kept.items():
        (cpo if name == "cpo" else emsp).roaming.door.handlers[row] = handler
    for node in (cpo, emsp):
        for _ in range(2):
            await node.rest.delete(f"/v1/roaming/partners/{node.peers['hub']}", params={"tell": True})
            await hub.rest.delete(f"/v1/roaming/partners/{hub.peers[node.name]}", params={"tell": False})


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("town", list(product(VERSIONS, VERSIONS)), indirect=True, ids="-".join)
async def test_push_by_a_hub_reaches_the_other_in_its_version(town: Town) -> None:
    peer = await town.cpo.peer("hub")
    body = json.dumps(location("L1")).encode()
    outcome = await town.cpo.roaming.caller.call(
        peer,
        PUT_LOCATION,
        {"country_code": "NL", "party_id": "CPO", "location_id": "L1"},
        body=body,
        correlation_id="correlated-1",
    )
    assert outcome.ok, outcome

    async def came() -> bool:
        return bool(town.got)

    await until(came)
    call = town.got[0]
    assert call.document is not None
    tree = call.document.tree
    assert (tree["id"], tree["last_updated"]) == ("L1", "2026-01-02T03:04:05Z")
    assert call.owner is not None
    assert call.owner.key == "NLCPO"
    assert call.correlation_id == "correlated-1"
    assert call.request_id != outcome.request_id
    if (await town.emsp.peer("hub")).version != "2.1.1" and peer.version != "2.1.1":
        assert call.route.from_party is not None
        assert call.route.from_party.key == HUB.key
    found = (await town.hub.rest.get("/v1/roaming/exchanges", params={"correlation_id": "correlated-1"})).json()[
        "items"
    ]
    assert {one["direction"] for one in found} == {"in", "out"}


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("town", [("2.2.1", "2.3.0"), ("2.3.0", "2.2.1")], indirect=True, ids="-".join)
async def test_direct_message_reaches_whom_it_names_and_unknown_receivers_are_4001(town: Town) -> None:
    peer = await town.cpo.peer("hub")
    path = {"country_code": "NL", "party_id": "CPO", "location_id": "L2"}
    body = json.dumps(location("L2")).encode()

    async def sent(to_party: PartyId) -> Outcome:
        route = Route(from_party=CPO, to_party=to_party)
        return await town.cpo.roaming.caller.call(peer, PUT_LOCATION, path, body=body, route=route)

    outcome = await sent(EMSP)
    assert outcome.ok, outcome
    assert town.got[0].route.from_party == CPO
    assert (await sent(PartyId("FR", "XXX"))).status_code == 4001


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("town", [("2.2.1", "2.3.0")], indirect=True, ids="-".join)
async def test_cdrs_and_gets_of_one_are_not_broadcast(town: Town) -> None:
    peer = await town.cpo.peer("hub")
    outcome = await town.cpo.roaming.caller.call(
        peer,
        11,
        {"country_code": "NL", "party_id": "CPO", "location_id": "L2"},
        route=Route(from_party=CPO, to_party=HUB),
    )
    assert outcome.failure is Failure.REFUSED
    assert outcome.status_code == 2001


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("town", [("2.2.1", "2.3.0"), ("2.1.1", "2.1.1")], indirect=True, ids="-".join)
async def test_list_of_all_is_merged_and_paged(town: Town) -> None:
    documents = [json.dumps(location(f"L{number}")).encode() for number in range(7)]

    async def listed(call: Call) -> Reply:
        assert call.page is not None
        ask = call.page
        return Reply(page=Page(documents=documents[ask.offset : ask.offset + ask.limit], total=len(documents)))

    town.cpo.roaming.door.handlers[LOCATIONS] = listed
    peer = await town.emsp.peer("hub")
    found = []
    async for page in town.emsp.roaming.caller.pages(peer, LOCATIONS, limit=3):
        assert page.total == 7
        found += [json.loads(document)["id"] for document in page.documents]
    assert found == [f"L{number}" for number in range(7)]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("town", [("2.2.1", "2.2.1")], indirect=True, ids="-".join)
async def test_pair_that_is_not_allowed_does_not_see_each_other(town: Town) -> None:
    rule = {"from_party": "NLCPO", "to_party": "*", "allowed": False}
    answer = await town.hub.rest.put("/v1/roaming/routes", json=rule)
    assert [(one["from_party"], one["allowed"]) for one in answer.json()["items"]] == [("NLCPO", False)]
    try:
        peer = await town.cpo.peer("hub")
        outcome = await town.cpo.roaming.caller.call(
            peer,
            PUT_LOCATION,
            {"country_code": "NL", "party_id": "CPO", "location_id": "L3"},
            body=json.dumps(location("L3")).encode(),
            route=Route(from_party=CPO, to_party=EMSP),
        )
        assert outcome.status_code == 4001
        assert not town.got
    finally:
        assert (await town.hub.rest.delete("/v1/roaming/routes/NLCPO/*")).status_code == 204
