"""What stood before a partner registered: partners read it; who reads nothing is pushed it whole, when asked for or by its quirks."""

from __future__ import annotations

import json
import secrets
from typing import Any

from chargeplane.app.roaming import outgoing
from tests.roaming.nasty import Asked, enveloped, nasty
from tests.roaming.test_outgoing import TENANT, partner_of
from tests.support.roaming import Node, until

PLACES: list[tuple[str, str]] = []


async def place(node: Node, number: int = 0) -> tuple[str, str]:
    """A location with an EVSE, and a tariff, as published; their ids."""
    while len(PLACES) <= number:
        PLACES.append(await made(node))
    return PLACES[number]


async def made(node: Node) -> tuple[str, str]:
    location, tariff = f"L{secrets.token_hex(4)}", f"T{secrets.token_hex(4)}"
    element = {"price_components": [{"type": "ENERGY", "price": 0.4, "step_size": 1}]}
    await node.post(
        "/v1/tariffs", {"id": tariff, "type": "REGULAR", "currency": "EUR", "tax_included": "NO", "elements": [element]}
    )
    await node.post(
        "/v1/locations",
        {
            "id": location, "name": "Plein", "address": "Plein 1", "city": "Utrecht", "postal_code": "3511", "country": "NLD",
            "time_zone": "Europe/Amsterdam", "coordinates": {"latitude": "52.09000", "longitude": "5.12000"},
        },
    )  # fmt: skip
    connector = {
        "id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_voltage": 230,
        "max_amperage": 32, "tariff_ids": [tariff],
    }  # fmt: skip
    await node.post(f"/v1/locations/{location}/evses", {"uid": f"{location}-E", "connectors": [connector]})

    async def published() -> Any:
        return await node.execute(
            "SELECT (SELECT body::json ->> 'evses' FROM roaming_document WHERE module = 'locations' AND id = $1) LIKE '%-E%'"
            " AND EXISTS (SELECT FROM roaming_document WHERE module = 'tariffs' AND id = $2)",
            location,
            tariff,
        )

    await until(published, 30)
    return location, tariff


def told(asked: list[Asked], module: str) -> list[str]:
    return [one.path.rpartition("/")[2] for one in asked if one.method == "PUT" and f"/{module}/" in one.path]


async def pushes(node: Node, ident: int) -> dict[str, Any]:
    answer = await node.rest.get(f"/v1/roaming/partners/{ident}/pushes")
    assert answer.status_code == 200, answer.text
    return {one["module"]: one for one in answer.json()}


async def test_partner_is_pushed_all_that_it_may_see_when_asked_for(operator: Node) -> None:
    location, tariff = await place(operator)
    hidden, _ = await place(operator, 1)
    async with nasty(lambda _: enveloped()) as partner, partner_of(operator, partner, "reads nothing") as ident:
        assert await pushes(operator, ident) == {}
        shown = await operator.rest.put(
            f"/v1/roaming/partners/{ident}/publication", json={"except_location_ids": [hidden]}
        )
        assert shown.status_code == 200, shown.text
        await operator.execute("DELETE FROM roaming_outgoing WHERE connection_id = $1", ident)
        before = len(partner.asked)
        noted = await operator.post(f"/v1/roaming/partners/{ident}/push", {"modules": ["locations", "tariffs"]}, 202)
        assert {one["module"] for one in noted} == {"locations", "tariffs"}

        async def sent() -> Any:
            found = await pushes(operator, ident)
            return found if all(one["waiting"] == 0 for one in found.values()) else None

        found = await until(sent, 30)
        places, tariffs = told(partner.asked[before:], "locations"), told(partner.asked[before:], "tariffs")
        assert location in places
        assert hidden not in places
        assert tariff in tariffs
        assert found["locations"]["objects"] == len(set(places))
        assert found["tariffs"]["parked"] == 0
        # Once more: it is sent once more.
        await operator.post(f"/v1/roaming/partners/{ident}/push", {"modules": ["tariffs"]}, 202)
        await until(sent, 30)
        assert told(partner.asked[before:], "tariffs").count(tariff) == 2


async def test_push_that_cannot_be_is_refused_with_the_field(operator: Node) -> None:
    async with nasty(lambda _: enveloped()) as partner, partner_of(operator, partner, "picky") as ident:
        path = f"/v1/roaming/partners/{ident}/push"
        for wrong in ("commands", "nonsense"):
            answer = await operator.rest.post(path, json={"modules": ["tariffs", wrong]})
            assert answer.status_code == 422, answer.text
            assert answer.json()["errors"][0]["pointer"] == "#/modules/1"
        assert (await operator.rest.post(path, json={"modules": []})).status_code in (400, 422)
        assert (await operator.rest.post("/v1/roaming/partners/999999999/push", json={})).status_code == 404
        assert (await operator.rest.get("/v1/roaming/partners/999999999/pushes")).status_code == 404
        await operator.execute("UPDATE roaming_connection SET state = 'invited' WHERE id = $1", ident)
        operator.roaming.connections._changed(ident)
        assert (await operator.rest.post(path, json={})).status_code == 409


async def test_partner_that_reads_no_lists_is_pushed_all_once_it_is_registered(operator: Node) -> None:
    location, _ = await place(operator)
    async with nasty(lambda _: enveloped()) as partner, partner_of(operator, partner, "by itself") as ident:
        await operator.execute("UPDATE roaming_connection SET quirks = $2 WHERE id = $1", ident, '{"push_all": true}')
        operator.roaming.connections._changed(ident)

        async def there() -> Any:
            return location in told(partner.asked, "locations")

        await until(there, 30)
        assert (await pushes(operator, ident))["locations"]["requested_by"] == "policy: push_all"


async def test_partner_that_lost_a_location_gets_it_whole_after_it_refused_a_part(operator: Node) -> None:
    location, _ = await place(operator)
    has: set[str] = set()

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.method == "PATCH" and location not in has:
            return enveloped(status=2003)
        has.update(told([asked], "locations"))
        return enveloped()

    async with nasty(answer) as partner, partner_of(operator, partner, "forgetful") as ident:
        await operator.post(f"/v1/roaming/partners/{ident}/push", {"modules": ["locations"]}, 202)

        async def took() -> Any:
            return location in has

        await until(took, 30)

        async def settled() -> Any:
            return (await pushes(operator, ident))["locations"]["waiting"] == 0

        await until(settled, 30)
        has.clear()
        async with operator.server.database.change() as db:
            await outgoing.note(db, TENANT, "locations", location, connections=[ident], hint=f"evse:{location}-E")
        operator.roaming.outgoing.hint()
        await until(took, 30)
        of_place = [one for one in partner.asked if location in one.path]  # it is read from, too
        assert [one.method for one in of_place[-2:]] == ["PATCH", "PUT"]
        assert json.loads(of_place[-1].body)["evses"][0]["uid"] == f"{location}-E"
