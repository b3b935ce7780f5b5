"""/v1/webhook-endpoints and what belongs to it, over a socket, with the real database and a real receiver."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.operations.receiver import Receiver
from tests.support.rest import Rest, assert_problem

_numbers = itertools.count(1)


async def make(rest: Rest, receiver: Receiver, *types: str, **more: Any) -> tuple[dict[str, Any], str]:
    body = {"url": receiver.url, "event_types": list(types) or ["webhook.*"], **more}
    response = await rest.client.post("/v1/webhook-endpoints", json=body)
    assert response.status_code == 201, response.text
    made = response.json()
    return made["endpoint"], made["secret"]


async def until_delivery(rest: Rest, ident: str, state: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            shown = (await rest.client.get(f"/v1/webhook-deliveries/{ident}")).json()
            if shown["delivery"]["state"] == state and shown["attempts"]:
                return dict(shown)
            await asyncio.sleep(0.02)


async def gone(rest: Rest, endpoint: dict[str, Any]) -> None:
    assert (await rest.client.delete(f"/v1/webhook-endpoints/{endpoint['id']}")).status_code == 204


async def test_an_endpoint_is_made_pinged_changed_and_deleted(rest: Rest, receiver: Receiver) -> None:
    endpoint, secret = await make(rest, receiver, description="ours")
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    assert secret.startswith("whsec_")
    assert secret not in (await rest.client.get(path)).text
    pinged = await rest.client.post(f"{path}/ping")
    assert pinged.status_code == 202
    (got,) = await receiver.wait_for(1)
    assert got.verified(secret)["type"] == "webhook.ping"
    shown = await until_delivery(rest, pinged.json()["id"], "delivered")
    assert [(one["number"], one["status"], one["answer"]) for one in shown["attempts"]] == [(1, 200, "hm20")]
    patched = await rest.client.patch(path, json={"enabled": False}, headers={"If-Match": '"1"'})
    assert patched.json()["enabled"] is False
    assert patched.json()["description"] == "ours"
    stale = await rest.client.patch(path, json={"enabled": True}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert_problem(await rest.client.post(f"{path}/ping"), 409)
    await gone(rest, endpoint)
    assert_problem(await rest.client.get(path), 404)


async def test_changes_in_the_house_reach_the_receiver_in_order(rest: Rest, receiver: Receiver) -> None:
    endpoint, secret = await make(rest, receiver, "charging_station.*", "location.*", "evse.*", "tariff.*")
    name = f"WH{next(_numbers)}"
    await rest.station(name)
    await rest.client.patch(f"/v1/charging-stations/{name}", json={"name": "Two"})
    await rest.client.delete(f"/v1/charging-stations/{name}")
    got = await receiver.wait_for(3)
    events = [one.verified(secret) for one in got]
    assert [one["type"] for one in events] == [
        "charging_station.created",
        "charging_station.updated",
        "charging_station.deleted",
    ]
    assert events[1]["data"]["name"] == "Two"
    location = {
        "id": f"{name}-L",
        "address": "Torstr. 1",
        "city": "Berlin",
        "country": "DEU",
        "time_zone": "Europe/Berlin",
        "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
    }
    assert (await rest.client.post("/v1/locations", json=location)).status_code == 201
    assert (await rest.client.delete(f"/v1/locations/{name}-L")).status_code == 204
    tariff = {
        "id": f"{name}-T",
        "currency": "EUR",
        "tax_included": "NO",
        "elements": [{"price_components": [{"type": "ENERGY", "price": "0.25", "step_size": 1}]}],
    }
    made = await rest.client.post("/v1/tariffs", json=tariff)
    assert made.status_code == 201, made.text
    got = await receiver.wait_for(6)
    assert sorted(one.event["type"] for one in got[3:]) == ["location.created", "location.deleted", "tariff.created"]
    await gone(rest, endpoint)


async def test_a_failure_is_seen_and_retried_by_hand(rest: Rest, receiver: Receiver) -> None:
    endpoint, _ = await make(rest, receiver)
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    receiver.answer = lambda _: 500
    delivery = (await rest.client.post(f"{path}/ping")).json()["id"]
    shown = await until_delivery(rest, delivery, "pending")
    assert shown["delivery"]["error"] == "The endpoint answered 500."
    assert (await rest.client.get(path)).json()["pending"] == 1
    receiver.answer = lambda _: 200
    assert (await rest.client.post(f"/v1/webhook-deliveries/{delivery}/retry")).status_code == 202
    shown = await until_delivery(rest, delivery, "delivered")
    assert [one["status"] for one in shown["attempts"]] == [200, 500]
    assert_problem(await rest.client.post(f"/v1/webhook-deliveries/{delivery}/retry"), 409)
    await rest.execute(
        "UPDATE webhook_delivery SET state = 'failed' WHERE id = $1", int(delivery)
    )  # as after the last attempt
    failed = await rest.client.get(
        "/v1/webhook-deliveries",
        params={"endpoint_id": endpoint["id"], "state": "failed", "event_type": "webhook.ping"},
    )
    assert [one["id"] for one in failed.json()["items"]] == [delivery]
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await rest.client.post(f"{path}/retry", json={"since": later})).json() == {"count": 0}
    assert (await rest.client.post(f"{path}/retry", json={})).json() == {"count": 1}
    assert len(await receiver.wait_for(3)) == 3
    await gone(rest, endpoint)


async def test_a_time_range_or_one_event_is_replayed_under_the_ids_it_had(rest: Rest, receiver: Receiver) -> None:
    endpoint, _ = await make(rest, receiver, "charging_station.*")
    before = datetime.now(UTC) - timedelta(seconds=1)
    name = f"WH{next(_numbers)}"
    await rest.station(name)
    await rest.client.patch(f"/v1/charging-stations/{name}", json={"name": "Two"})
    await receiver.wait_for(2)
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    span = {"from": before.isoformat(), "to": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
    replayed = await rest.client.post(f"{path}/replay", json=span)
    assert replayed.json() == {"count": 2, "continue_after": None}
    got = await receiver.wait_for(4)
    assert [one.id for one in got[:2]] == [one.id for one in got[2:]]
    one = await rest.client.post(f"{path}/replay", json={**span, "event_types": ["charging_station.updated"]})
    assert one.json()["count"] == 1
    events = await rest.client.get("/v1/webhook-events", params={"event_type": "charging_station.created", "limit": 1})
    event = events.json()["items"][0]
    assert event["data"]["station_id"] == name
    again = await rest.client.post(f"/v1/webhook-events/{event['id']}/replay", json={"endpoint_id": endpoint["id"]})
    assert again.status_code == 202
    got = await receiver.wait_for(6)
    assert got[-1].id == event["message_id"] or got[-2].id == event["message_id"]
    assert_problem(
        await rest.client.post(f"{path}/replay", json={"from": span["to"], "to": span["from"]}), 422, pointer="#/to"
    )
    await gone(rest, endpoint)


async def test_a_secret_is_rotated_with_an_overlap(rest: Rest, receiver: Receiver) -> None:
    endpoint, first = await make(rest, receiver)
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    rotated = (await rest.client.post(f"{path}/rotate-secret", json={})).json()
    assert rotated["endpoint"]["previous_secret_until"] is not None
    await rest.client.post(f"{path}/ping")
    (got,) = await receiver.wait_for(1)
    assert got.verified(first) == got.verified(rotated["secret"])
    assert first != rotated["secret"]
    await gone(rest, endpoint)


async def test_what_cannot_be_an_endpoint_is_refused_by_field(rest: Rest) -> None:
    for url in (
        "ftp://a.example/",
        "https://",
        "https://u:p@a.example/",
        "https://a.example/#x",
        "https://a b/",
        "http://[",
    ):
        response = await rest.client.post("/v1/webhook-endpoints", json={"url": url, "event_types": ["*"]})
        assert_problem(response, 422, pointer="#/url")
    for kind in ("transaction.begun", "nothing.*"):
        response = await rest.client.post(
            "/v1/webhook-endpoints", json={"url": "https://a.example/", "event_types": ["*", kind]}
        )
        assert_problem(response, 422, pointer="#/event_types/1")
    response = await rest.client.post("/v1/webhook-endpoints", json={"url": "https://a.example/", "event_types": []})
    assert_problem(response, 422, pointer="#/event_types")


async def test_types_are_listed_and_other_tenants_see_nothing(rest: Rest, receiver: Receiver) -> None:
    types = (await rest.client.get("/v1/webhook-event-types")).json()["items"]
    assert {"transaction.ended", "cdr.created", "alert.raised"} <= {one["type"] for one in types}
    endpoint, _ = await make(rest, receiver)
    tenant = await rest.client.post("/v1/tenants", json={"slug": f"other{next(_numbers)}", "name": "Other"})
    assert tenant.status_code == 201, tenant.text
    made = {"name": "theirs", "scopes": ["admin"], "tenant": tenant.json()["slug"]}
    key = (await rest.client.post("/v1/api-keys", json=made)).json()["key"]
    async with rest.as_key(key) as other:
        assert_problem(await other.get(f"/v1/webhook-endpoints/{endpoint['id']}"), 404)
        assert (await other.get("/v1/webhook-endpoints")).json()["items"] == []
    await gone(rest, endpoint)
