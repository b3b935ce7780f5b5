"""Keys, scopes and tenants."""

from __future__ import annotations

import pytest

from chargeplane.kernel.proxies import TrustedProxies
from tests.support.rest import Rest, assert_problem, running_rest


async def _key(rest: Rest, *scopes: str, **more: object) -> str:
    made = await rest.client.post("/v1/api-keys", json={"name": "k", "scopes": list(scopes), **more})
    assert made.status_code == 201, made.text
    key: str = made.json()["key"]
    return key


async def test_no_key_and_a_wrong_key_are_told_apart_from_a_missing_scope(rest: Rest) -> None:
    async with rest.as_key("wrong") as client:
        refused = await client.get("/v1/transactions")
        assert_problem(refused, 401)
        assert refused.headers["www-authenticate"].startswith("Bearer")
        for header in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
            client.headers.pop("Authorization", None)
            assert_problem(await client.get("/v1/transactions", headers=header), 401)
    async with rest.as_key(await _key(rest, "stations:read")) as client:
        assert (await client.get("/v1/charging-stations")).status_code == 200
        problem = assert_problem(await client.get("/v1/transactions"), 403)
        assert problem["required_scope"] == "transactions:read"
        assert_problem(await client.post("/v1/charging-stations", json={"station_id": "A"}), 403)
        assert_problem(await client.post("/v1/api-keys", json={"name": "k", "scopes": ["admin"]}), 403)


async def test_a_revoked_key_is_worthless_at_once(rest: Rest) -> None:
    made = (await rest.client.post("/v1/api-keys", json={"name": "k", "scopes": ["stations:read"]})).json()
    async with rest.as_key(made["key"]) as client:
        assert (await client.get("/v1/charging-stations")).status_code == 200
        listed = (await rest.client.get("/v1/api-keys")).json()["items"]
        assert made["id"] in [item["id"] for item in listed]
        assert "key" not in listed[0]
        assert (await rest.client.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
        assert_problem(await client.get("/v1/charging-stations"), 401)
    assert_problem(await rest.client.delete(f"/v1/api-keys/{made['id']}"), 404)


async def test_an_expired_key_is_refused(rest: Rest) -> None:
    key = await _key(rest, "stations:read", expires_at="2999-01-01T00:00:00Z")
    await rest.execute("UPDATE api_key SET expires_at = now() - interval '1 s' WHERE name = 'k'")
    async with rest.as_key(key) as client:
        assert_problem(await client.get("/v1/charging-stations"), 401)
    late = await rest.client.post(
        "/v1/api-keys", json={"name": "k", "scopes": ["calls"], "expires_at": "2001-01-01T00:00:00Z"}
    )
    assert_problem(late, 422, pointer="#/expires_at")


async def test_guesses_are_slowed_down(rest: Rest) -> None:
    async with rest.as_key("wrong") as client:
        statuses = [(await client.get("/v1/transactions")).status_code for _ in range(22)]
        assert statuses[:20] == [401] * 20
        assert statuses[21] == 429
        assert int((await client.get("/v1/transactions")).headers["retry-after"]) >= 1
    # A key never seen in this process waits like a guess: else a guesser would learn at full speed which one is right.
    assert_problem(await rest.client.get("/v1/transactions"), 429)


async def test_a_key_used_before_passes_while_its_address_is_slowed_down(rest: Rest) -> None:
    assert (await rest.client.get("/v1/transactions")).status_code == 200
    async with rest.as_key("wrong") as client:
        for _ in range(25):
            await client.get("/v1/transactions")
    assert (await rest.client.get("/v1/transactions")).status_code == 200


async def _guesses(rest: Rest, count: int, **headers: str) -> list[int]:
    async with rest.as_key("wrong") as client:
        return [(await client.get("/v1/transactions", headers=headers)).status_code for _ in range(count)]


async def test_guesses_through_a_trusted_proxy_count_against_who_made_them(database_url: str) -> None:
    async with running_rest(database_url, TrustedProxies(["127.0.0.0/8"])) as rest:
        assert 429 in await _guesses(rest, 25, **{"X-Forwarded-For": "203.0.113.9"})
        assert await _guesses(rest, 1, **{"X-Forwarded-For": "203.0.113.9"}) == [429]
        # an invented address before the proxy's own line changes nothing
        assert await _guesses(rest, 1, **{"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}) == [429]
        assert await _guesses(rest, 1, **{"X-Forwarded-For": "203.0.113.10"}) == [401]
        assert await _guesses(rest, 1) == [401]


async def test_whoever_is_no_trusted_proxy_cannot_give_itself_another_address(rest: Rest) -> None:
    spoofed = [await _guesses(rest, 1, **{"X-Forwarded-For": f"203.0.113.{number}"}) for number in range(25)]
    assert [429] in spoofed


async def test_tenants_see_nothing_of_each_other(rest: Rest) -> None:
    made = await rest.client.post("/v1/tenants", json={"slug": "other", "name": "Other"})
    assert made.status_code == 201, made.text
    assert rest.stations.tenants_refreshed == 1
    await rest.station("CP1")
    token = (await rest.client.post("/v1/id-tokens", json={"id_token": "AB"})).json()
    async with rest.as_key(await _key(rest, "admin", tenant="other")) as client:
        assert (await client.get("/v1/charging-stations")).json() == {"items": [], "next_cursor": None}
        for path in ("/v1/charging-stations/CP1", f"/v1/id-tokens/{token['id']}", "/v1/charging-stations/CP1/messages"):
            assert_problem(await client.get(path), 404)
        assert_problem(await client.post("/v1/charging-stations/CP1/calls", json={"action": "Heartbeat"}), 404)
        assert (await client.post("/v1/charging-stations", json={"station_id": "CP1"})).status_code == 201
        assert (await client.post("/v1/id-tokens", json={"id_token": "AB"})).status_code == 201
        assert_problem(await client.get("/v1/tenants"), 403)
        assert_problem(
            await client.post("/v1/api-keys", json={"name": "k", "scopes": ["admin"], "tenant": "default"}), 403
        )


async def test_tenants_are_made_listed_and_changed(rest: Rest) -> None:
    await rest.client.post("/v1/tenants", json={"slug": "b", "name": "B"})
    assert [t["slug"] for t in (await rest.client.get("/v1/tenants")).json()["items"]] == ["b", "default"]
    changed = await rest.client.patch("/v1/tenants/b", json={"name": "C"})
    assert changed.json()["name"] == "C"
    assert_problem(await rest.client.post("/v1/tenants", json={"slug": "b", "name": "B"}), 409)
    assert_problem(await rest.client.post("/v1/tenants", json={"slug": "Ä", "name": "B"}), 422, pointer="#/slug")
    assert_problem(await rest.client.get("/v1/tenants/none"), 404)
    assert_problem(await rest.client.patch("/v1/tenants/none", json={"name": "X"}), 404)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/v1/openapi.json"])
async def test_public_doors_need_no_key(rest: Rest, path: str) -> None:
    rest.client.headers.pop("Authorization")
    assert (await rest.client.get(path)).status_code == 200
