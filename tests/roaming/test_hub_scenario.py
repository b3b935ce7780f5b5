"""A driver of a provider charges at an operator's virtual station, both behind a hub, in all pairs of versions; both agree what it cost."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.app.roaming.ports import Route
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.simulator import FAST, Plan
from tests.support import postgres
from tests.support.roaming import VERSIONS
from tests.support.roaming_town import (
    OLD,
    Houses,
    Member,
    driver_with_card,
    found_town,
    opened_place,
    running_houses,
    shown_place,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOLD = replace(FAST, remote_plan=Plan(hold=True))
GET_CDR = 27


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def around(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Houses]:
    async with running_houses(postgres_server, tmp_path_factory) as made:
        yield made


async def agreed(operator: Member, provider: Member, driver: str, energy_kwh: float | None) -> dict[str, Any]:
    """That one more CDR came, was rated equal and billed, and that both sides say the same of all."""

    async def billed() -> Any:
        found = (await provider.tenant.get("/roaming/cdrs", driver_id=driver))["items"]
        theirs = (await operator.tenant.get("/cdrs"))["items"]
        return found if len(found) == len(theirs) and all(one["billed_by"] for one in found) else None

    found = await provider.tenant.until(billed, bool)
    assert [one["verdict"] for one in found] == ["agrees"] * len(found), found[0]["check"]
    theirs = {one["id"]: one for one in (await operator.tenant.get("/cdrs"))["items"]}
    for one in found:
        ours = await provider.tenant.get(f"/cdrs/{one['billed_by']}")
        assert ours["driver_id"] == driver
        assert ours["total_excl"] == one["total_excl"] == theirs[one["cdr_id"]]["total_excl"]
    if energy_kwh is not None:
        assert float(found[0]["kwh"]) == energy_kwh
        assert float(found[0]["total_excl"]["amount"]) == energy_kwh * 0.4
    return dict(found[0])


PAIRS = list(itertools.product(VERSIONS, VERSIONS))


@pytest.mark.parametrize(("of_cpo", "of_emsp"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
async def test_driver_charges_through_the_hub_by_card_and_by_command_and_both_sides_agree(
    around: Houses, of_cpo: str, of_emsp: str
) -> None:
    town = await found_town(around)
    # Others of both kinds, so that whom a message is for is never just who is left.
    others = [await town.member("other provider", "EMSP", of_emsp), await town.member("other operator", "CPO", of_cpo)]
    operator = await town.member("operator", "CPO", of_cpo)
    provider = await town.member("provider", "EMSP", of_emsp)
    driver, card = await driver_with_card(provider)
    place = await opened_place(operator, HOLD)
    evse = await shown_place(provider, operator, place)
    plain = OLD in (of_cpo, of_emsp)  # OCPI 2.1.1 has no VAT in tariffs
    assert evse["connectors"][0]["price"]["per_kwh"]["amount"] == ("0.40" if plain else "0.476")

    # By card: the token came through the hub, or is asked about through it.
    station = place.station
    station.plug_in()
    assert await provider.tenant.until(lambda: station.authorize(card), lambda word: word == "Accepted")
    transaction = await station.start_transaction(card)

    async def active() -> Any:
        found = (await provider.tenant.get("/roaming/sessions", driver_id=driver))["items"]
        return next((one for one in found if one["status"] == "ACTIVE"), None)

    await provider.tenant.until(active, bool)
    await station.deliver(transaction, 5000, meter_interval_s=60)
    await provider.tenant.until(active, lambda one: float(one["kwh"]) > 0)
    await station.stop_transaction(transaction)
    station.unplug()
    await agreed(operator, provider, driver, 5.0)

    # By command: the results come by URLs of the hub.
    order = {
        "type": "start_session", "partner": operator.party, "location_id": place.location, "evse_uid": place.evse_uid,
        "id_token": card,
    }  # fmt: skip
    given = await provider.tenant.send("POST", "/roaming/commands?wait_s=30", order)
    assert (given["state"], given["result"]) == ("done", "ACCEPTED"), given
    session = await provider.tenant.until(active, bool)
    stopped = await provider.tenant.send(
        "POST", "/roaming/commands?wait_s=30", {"type": "stop_session", "session_id": session["id"]}
    )
    assert (stopped["state"], stopped["result"]) == ("done", "ACCEPTED"), stopped
    cdr = await agreed(operator, provider, driver, None)
    requests = (await operator.tenant.get("/roaming/requests"))["items"]
    assert [one["kind"] for one in requests] == ["STOP_SESSION", "START_SESSION"]

    # The CDR can be read back where the hub said that it is.
    peer = await around.operator.roaming.connections.get(operator.connection)
    assert peer is not None

    async def told() -> Any:
        async with around.operator.server.database.read() as db:
            return await db.fetchval(
                "SELECT location FROM roaming_sent WHERE connection_id = $1 AND module = 'cdrs' AND key = $2",
                operator.connection,
                cdr["cdr_id"],
            )

    location = await operator.tenant.until(told, bool)
    assert location.startswith(f"http://127.0.0.1:{around.hub.server.http.port}/ocpi/{of_cpo}/")  # type: ignore[union-attr]
    route = Route(from_party=PartyId(*operator.party.split("*")))

    async def read_back() -> bytes | None:
        # The hub may be giving it new credentials at this moment.
        return (await around.operator.roaming.caller.call(peer, GET_CDR, url=location, route=route)).data

    assert f'"{cdr["cdr_id"]}"'.encode() in await operator.tenant.until(read_back, bool)

    # Nothing of it reached anybody else.
    assert (await others[0].tenant.get("/roaming/sessions"))["items"] == []
    assert (await others[0].tenant.get("/roaming/cdrs"))["items"] == []
    assert (await others[1].tenant.get("/roaming/requests"))["items"] == []
