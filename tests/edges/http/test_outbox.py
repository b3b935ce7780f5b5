"""/v1/outbox: what was given up is seen, tried again or let go, by administrators."""

from __future__ import annotations

from tests.support.rest import Rest, assert_problem


async def _write(rest: Rest, key: str, *, parked: bool, tenant: int = 1) -> str:
    number: int = await rest.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload, attempts, parked_at, error) VALUES "
        "($1, 'webhook', $2, '{\"a\": 1}', 3, CASE WHEN $3 THEN now() END, 'They said no.') RETURNING id",
        tenant,
        key,
        parked,
    )
    return str(number)


async def test_parked_facts_are_listed_and_others_too(rest: Rest) -> None:
    parked, waiting = await _write(rest, "a", parked=True), await _write(rest, "b", parked=False)
    await _write(rest, "c", parked=True, tenant=2)
    found = (await rest.client.get("/v1/outbox", params={"parked": "true"})).json()
    assert [one["id"] for one in found["items"]] == [parked]
    one = found["items"][0]
    assert (one["topic"], one["key"], one["payload"], one["attempts"]) == ("webhook", "a", {"a": 1}, 3)
    assert one["error"] == "They said no."
    assert one["parked_at"]
    assert [one["id"] for one in (await rest.client.get("/v1/outbox", params={"parked": "false"})).json()["items"]] == [
        waiting
    ]
    first = (await rest.client.get("/v1/outbox", params={"limit": 1})).json()
    rest_of_it = (await rest.client.get("/v1/outbox", params={"cursor": first["next_cursor"]})).json()
    assert [one["id"] for one in (*first["items"], *rest_of_it["items"])] == [parked, waiting]
    assert (await rest.client.get(f"/v1/outbox/{parked}")).json() == one


async def test_parked_fact_is_tried_again_or_discarded_and_that_is_audited(rest: Rest) -> None:
    first, second = await _write(rest, "a", parked=True), await _write(rest, "b", parked=True)
    assert (await rest.client.post(f"/v1/outbox/{first}/retry")).status_code == 204
    again = (await rest.client.get(f"/v1/outbox/{first}")).json()
    assert (again["parked_at"], again["attempts"]) == (None, 0)
    assert_problem(await rest.client.post(f"/v1/outbox/{first}/retry"), 409)
    assert_problem(await rest.client.delete(f"/v1/outbox/{first}"), 409)
    assert (await rest.client.delete(f"/v1/outbox/{second}")).status_code == 204
    assert_problem(await rest.client.get(f"/v1/outbox/{second}"), 404)
    assert_problem(await rest.client.delete(f"/v1/outbox/{second}"), 404)
    assert_problem(await rest.client.post("/v1/outbox/xyz/retry"), 404)
    assert await rest.execute(
        "SELECT array_agg(action ORDER BY id) FROM audit_log WHERE object_kind = 'outbox fact'"
    ) == ["retry", "discard"]


async def test_other_tenants_facts_do_not_exist(rest: Rest) -> None:
    foreign = await _write(rest, "c", parked=True, tenant=2)
    for response in (
        await rest.client.get(f"/v1/outbox/{foreign}"),
        await rest.client.post(f"/v1/outbox/{foreign}/retry"),
        await rest.client.delete(f"/v1/outbox/{foreign}"),
    ):
        assert_problem(response, 404)


async def test_outbox_is_for_administrators(rest: Rest) -> None:
    made = await rest.client.post("/v1/api-keys", json={"name": "reader", "scopes": ["events:read"]})
    async with rest.as_key(made.json()["key"]) as reader:
        assert_problem(await reader.get("/v1/outbox"), 403)
        assert_problem(await reader.delete("/v1/outbox/1"), 403)
