"""Drivers, whose id tokens are, vehicles and cards over REST, with the real server and database."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from chargeplane.domain.people.drivers import TokenOrigin
from chargeplane.kernel.ids import TenantId
from tests.support.rest import Rest, assert_problem

TENANT = TenantId(1)


async def driver(rest: Rest, **more: Any) -> dict[str, Any]:
    response = await rest.client.post("/v1/drivers", json=more)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def assigned(rest: Rest, driver_id: str, text: str, **more: Any) -> dict[str, Any]:
    response = await rest.client.post(f"/v1/drivers/{driver_id}/id-tokens", json={"id_token": text, **more})
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def status_of(rest: Rest, token_id: str) -> str:
    return str((await rest.client.get(f"/v1/id-tokens/{token_id}")).json()["status"])


def fresh(prefix: str) -> str:
    return prefix + secrets.token_hex(4).upper()


async def test_driver_is_made_read_changed_and_found(rest: Rest) -> None:
    mail = f"{fresh('anna')}@example.org"
    made = await driver(
        rest,
        email=mail,
        first_name="Anna",
        last_name="Ångström",
        language="sv",
        country="SE",
        tax_id="SE556036079301",
        external_id=fresh("K"),
        user_groups=["staff"],
        billing_address={"lines": ["Storgatan 1"], "postal_code": "111 22", "city": "Stockholm", "country": "SE"},
    )
    assert made["status"] == "active"
    assert made["email_verified"] is False
    assert made["has_password"] is False
    found = await rest.client.get(f"/v1/drivers/{made['id']}")
    assert found.json() == made
    assert found.headers["etag"] == '"1"'
    changed = await rest.client.patch(
        f"/v1/drivers/{made['id']}", json={"phone": "+46 8 123", "company": None}, headers={"If-Match": '"1"'}
    )
    assert changed.json()["phone"] == "+46 8 123"
    assert changed.json()["last_name"] == "Ångström"
    assert_problem(await rest.client.patch(f"/v1/drivers/{made['id']}", json={}, headers={"If-Match": '"1"'}), 412)
    for query in ({"q": "ångstr"}, {"email": mail.upper()}, {"external_id": made["external_id"]}):
        listed = (await rest.client.get("/v1/drivers", params=query)).json()["items"]
        assert made["id"] in [one["id"] for one in listed], query
    assert (await rest.client.get("/v1/drivers", params={"q": "nobody has this"})).json()["items"] == []


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"email": "no address"}, "#/email"),
        ({"email": "two@@example.org"}, "#/email"),
        ({"country": "XX"}, "#/country"),
        ({"country": "Germany"}, "#/country"),
        ({"tax_id": "DE12"}, "#/tax_id"),
        ({"billing_address": {"lines": ["a"], "country": "QQ"}}, "#/billing_address/country"),
        ({"first_name": "a\nb"}, "#/first_name"),
        ({"password": "secret"}, "#/password"),
    ],
)
async def test_wrong_fields_are_named(rest: Rest, wrong: dict[str, Any], pointer: str) -> None:
    assert_problem(await rest.client.post("/v1/drivers", json=wrong), 422, pointer=pointer)


async def test_an_email_address_has_one_driver(rest: Rest) -> None:
    mail = f"{fresh('one')}@example.org"
    first = await driver(rest, email=mail)
    assert_problem(await rest.client.post("/v1/drivers", json={"email": mail.upper()}), 409)
    second = await driver(rest, email=f"{fresh('two')}@example.org")
    assert_problem(await rest.client.patch(f"/v1/drivers/{second['id']}", json={"email": mail}), 409)
    await rest.client.post(f"/v1/drivers/{first['id']}/close", json={})
    assert (await driver(rest, email=mail))["id"] != first["id"]


async def test_driver_of_token_is_found_by_type_and_without_case(rest: Rest) -> None:
    people = rest.business.people
    made = await driver(rest)
    text = fresh("Tag")
    token = await assigned(rest, made["id"], text)
    assert token["origin"] == TokenOrigin.OPERATOR
    assert await people.driver_of_token(TENANT, "ISO14443", text.lower()) == made["id"]
    assert await people.driver_of_token(TENANT, None, text) == made["id"]
    assert await people.driver_of_token(TENANT, "eMAID", text) is None
    assert await people.driver_of_token(TenantId(2), "ISO14443", text) is None
    assert await people.driver_of_token(TENANT, None, fresh("nobody")) is None
    listed = (await rest.client.get("/v1/drivers", params={"id_token": text})).json()["items"]
    assert [one["id"] for one in listed] == [made["id"]]


async def test_an_id_token_has_one_driver(rest: Rest) -> None:
    one, other = await driver(rest), await driver(rest)
    text = fresh("ONE")
    token = await assigned(rest, one["id"], text)
    assert_problem(await rest.client.post(f"/v1/drivers/{other['id']}/id-tokens", json={"id_token": text}), 409)
    gone = await rest.client.delete(f"/v1/drivers/{one['id']}/id-tokens/{token['id']}")
    assert gone.status_code == 204
    assert await status_of(rest, token["id"]) == "Accepted"
    assert (await assigned(rest, other["id"], text))["id"] == token["id"]


async def test_blocking_a_driver_blocks_the_id_tokens_and_unblocking_gives_them_back(rest: Rest) -> None:
    made = await driver(rest)
    good = await assigned(rest, made["id"], fresh("GOOD"))
    bad = await assigned(rest, made["id"], fresh("BAD"))
    await rest.client.patch(f"/v1/id-tokens/{bad['id']}", json={"status": "Invalid"})
    blocked = await rest.client.post(f"/v1/drivers/{made['id']}/block", json={"reason": "unpaid"})
    assert blocked.json()["status"] == "blocked"
    assert blocked.json()["status_reason"] == "unpaid"
    assert await status_of(rest, good["id"]) == "Blocked"
    assert await status_of(rest, bad["id"]) == "Invalid"
    later = await assigned(rest, made["id"], fresh("LATER"))
    assert await status_of(rest, later["id"]) == "Blocked"
    assert (await rest.client.post(f"/v1/drivers/{made['id']}/unblock")).json()["status"] == "active"
    assert await status_of(rest, good["id"]) == "Accepted"
    assert await status_of(rest, later["id"]) == "Accepted"
    assert await status_of(rest, bad["id"]) == "Invalid"
    told = await rest.execute(
        "SELECT count(*) FROM audit_log WHERE object_kind = 'driver' AND object_id = $1 AND action IN ('block', 'unblock')",
        made["id"],
    )
    assert told == 2


async def test_token_that_was_blocked_by_hand_stays_blocked_when_its_driver_is_unblocked(rest: Rest) -> None:
    made = await driver(rest)
    token = await assigned(rest, made["id"], fresh("LOST"))
    await rest.client.patch(f"/v1/id-tokens/{token['id']}", json={"status": "Blocked"})
    await rest.client.post(f"/v1/drivers/{made['id']}/block", json={})
    await rest.client.post(f"/v1/drivers/{made['id']}/unblock")
    assert await status_of(rest, token["id"]) == "Blocked"


async def test_closed_driver_stays_closed(rest: Rest) -> None:
    made = await driver(rest)
    token = await assigned(rest, made["id"], fresh("END"))
    assert (await rest.client.post(f"/v1/drivers/{made['id']}/close", json={})).json()["status"] == "closed"
    assert await status_of(rest, token["id"]) == "Blocked"
    assert_problem(await rest.client.post(f"/v1/drivers/{made['id']}/unblock"), 409)
    assert_problem(await rest.client.post(f"/v1/drivers/{made['id']}/id-tokens", json={"id_token": fresh("X")}), 409)


async def test_vehicle_is_made_described_anew_and_removed(rest: Rest) -> None:
    made = await driver(rest)
    response = await rest.client.post(
        "/v1/vehicles",
        json={"driver_id": made["id"], "brand": "Volvo", "licence_plate": "ABC 123", "battery_kwh": 78.5},
    )
    assert response.status_code == 201, response.text
    vehicle = response.json()
    token = await assigned(rest, made["id"], fresh("CAR"), vehicle_id=vehicle["id"])
    assert token["vehicle_id"] == vehicle["id"]
    other = await driver(rest)
    problem = await rest.client.post(
        f"/v1/drivers/{other['id']}/id-tokens", json={"id_token": fresh("C"), "vehicle_id": vehicle["id"]}
    )
    assert_problem(problem, 422, pointer="#/vehicle_id")
    replaced = await rest.client.put(
        f"/v1/vehicles/{vehicle['id']}", json={"brand": "Polestar"}, headers={"If-Match": '"1"'}
    )
    assert replaced.json()["licence_plate"] is None
    listed = await rest.client.get("/v1/vehicles", params={"driver_id": made["id"], "q": "polest"})
    assert [one["id"] for one in listed.json()["items"]] == [vehicle["id"]]
    assert (await rest.client.delete(f"/v1/vehicles/{vehicle['id']}")).status_code == 204
    tokens = (await rest.client.get(f"/v1/drivers/{made['id']}/id-tokens")).json()["items"]
    assert tokens[0]["vehicle_id"] is None
    assert_problem(await rest.client.get("/v1/vehicles", params={"driver_id": "x"}), 422, parameter="driver_id")
    assert_problem(await rest.client.post("/v1/vehicles", json={"driver_id": "999999"}), 422, pointer="#/driver_id")


async def test_cards_are_listed_with_numbers_that_are_given_once(rest: Rest) -> None:
    number = f"SE-{secrets.randbelow(10**8):08d}"
    added = await rest.client.post(
        "/v1/rfid-cards", json={"cards": [{"visual_number": number, "id_token": fresh("CARD")}]}
    )
    assert added.status_code == 201, added.text
    assert len(added.json()["cards"][0]["activation_code"]) == 8
    again = {"cards": [{"visual_number": number.replace("-", " "), "id_token": fresh("CARD")}]}
    assert_problem(await rest.client.post("/v1/rfid-cards", json=again), 409)
    listed = await rest.client.get("/v1/rfid-cards", params={"visual_number": number, "claimed": "false"})
    assert "activation_code" not in listed.json()["items"][0]


async def test_scopes_part_reading_from_writing_and_tenants_from_each_other(rest: Rest) -> None:
    made = await driver(rest)
    key = (await rest.client.post("/v1/api-keys", json={"name": "reader", "scopes": ["drivers:read"]})).json()["key"]
    async with rest.as_key(key) as reader:
        assert (await reader.get(f"/v1/drivers/{made['id']}")).status_code == 200
        assert_problem(await reader.post("/v1/drivers", json={}), 403)
    slug = fresh("other").lower()
    await rest.client.post("/v1/tenants", json={"slug": slug, "name": "Other"})
    body = {"name": "other", "scopes": ["admin"], "tenant": slug}
    foreign = (await rest.client.post("/v1/api-keys", json=body)).json()["key"]
    async with rest.as_key(foreign) as other:
        assert_problem(await other.get(f"/v1/drivers/{made['id']}"), 404)
        assert_problem(await other.post(f"/v1/drivers/{made['id']}/block", json={}), 404)
        assert (await other.get("/v1/drivers")).json()["items"] == []


async def test_agreements_know_whose_id_tokens_are(rest: Rest) -> None:
    people = rest.business.people
    group = fresh("fleet")
    made = await driver(rest, user_groups=[group])
    token = await assigned(rest, made["id"], fresh("FLEET"))
    async with rest.database.read() as db:
        holders = await people.holders(db, TENANT, [int(token["id"]), 10**12])
        assert {key: one.driver_id for key, one in holders.items()} == {int(token["id"]): made["id"]}
        assert holders[int(token["id"])].user_groups == (group,)
        assert await people.id_tokens(db, TENANT, [], [group.upper()]) == [int(token["id"])]
        assert await people.id_tokens(db, TENANT, [made["id"]], []) == [int(token["id"])]
        assert await people.id_tokens(db, TENANT, ["not a number"], []) == []


async def test_agreement_about_a_group_of_users_holds_the_tokens_of_who_joins_it(rest: Rest) -> None:
    group = fresh("club")
    made = await driver(rest, user_groups=[group])
    body = {
        "kind": "driver_plan",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "parties": [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "company", "id": "club"}],
        "scope": [{"kind": "user_group", "value": group}],
        "starts_at": "2026-01-01T00:00:00Z",
    }
    agreement = await rest.client.post("/v1/service-agreements", json=body)
    assert agreement.status_code == 201, agreement.text
    path = f"/v1/service-agreements/{agreement.json()['id']}"
    for step in ("propose", "accept", "suspend"):
        done = await rest.client.post(f"{path}/{step}", json={"reason": "unpaid"} if step == "suspend" else {})
        assert done.status_code == 200, done.text
    token = await assigned(rest, made["id"], fresh("CLUB"))
    held = "SELECT held_status FROM id_token WHERE id = $1"
    assert await rest.execute(held, int(token["id"])) == "Blocked"
    await rest.client.patch(f"/v1/drivers/{made['id']}", json={"user_groups": []})
    assert await rest.execute(held, int(token["id"])) is None
