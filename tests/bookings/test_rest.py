"""/v1/bookings over a real socket and database."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.bookings.yard import NOON, connector, ident, location, new_token, new_yard
from tests.support.rest import Rest, assert_problem


def iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


async def test_a_booking_is_made_shown_listed_and_canceled(rest: Rest) -> None:
    yard = await new_yard(rest)
    made = await yard.book()
    assert made["state"] == "confirmed"
    assert made["evse_uid"] == yard.uids[0]
    assert made["standard"] == "IEC_62196_T2_COMBO"
    assert made["power_w"] == 100_000
    assert made["id_token"] == yard.token
    assert await yard.state(made) == made
    listed = await yard.send("GET", f"/v1/bookings?id_token={yard.token.lower()}")
    assert [one["id"] for one in listed["items"]] == [made["id"]]
    assert (await yard.send("GET", f"/v1/bookings?evse_uid={yard.uids[0]}&state=used"))["items"] == []
    over = await yard.send("POST", f"/v1/bookings/{made['id']}/cancel", {"reason": "Rain"})
    assert (over["state"], over["reason"], over["charges"]) == ("canceled", "Rain", [])
    again = await rest.client.post(f"/v1/bookings/{made['id']}/cancel", json={})
    assert "canceled" in assert_problem(again, 409)["detail"]
    assert (await yard.book())["state"] == "confirmed"


async def test_fifty_attempts_at_once_end_in_one_booking(rest: Rest) -> None:
    yard = await new_yard(rest)
    tokens = [await new_token(rest) for _ in range(50)]
    start = NOON + timedelta(hours=1)
    body = {"evse_uid": yard.uids[0], "starts_at": iso(start), "ends_at": iso(start + timedelta(hours=1))}
    answers = await asyncio.gather(
        *(rest.client.post("/v1/bookings", json=body | {"id_token": token}) for token in tokens)
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] + [409] * 49


async def test_the_database_itself_forbids_two_bookings_of_an_evse_at_once(rest: Rest) -> None:
    """Straight into the table, past every check of ours: 50 connections, one row."""
    yard = await new_yard(rest)
    made = await yard.book(minutes=0, lasts=60)
    await yard.send("POST", f"/v1/bookings/{made['id']}/cancel", {})

    async def attempt() -> bool:
        try:
            await rest.execute(
                "INSERT INTO booking (tenant_id, evse_key, power_w, starts_at, ends_at, blocked_until, state, id_token,"
                " token_key, terms, may_move, announce_at, ask_at, no_show_at, requested_by) SELECT tenant_id, evse_key,"
                " power_w, starts_at, ends_at, blocked_until, 'confirmed', id_token, token_key, terms, may_move, announce_at,"
                " ask_at, no_show_at, requested_by FROM booking WHERE id = $1",
                int(made["id"]),
            )
        except (asyncpg.ExclusionViolationError, asyncpg.DeadlockDetectedError):
            return False
        return True

    assert sum(await asyncio.gather(*(attempt() for _ in range(50)))) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_what_the_database_takes_is_what_does_not_overlap(rest: Rest, seed: int) -> None:
    """Random intervals at neighbouring EVSEs, against a model; one EVSE's never stand in the way of another's."""
    yard = await new_yard(rest, 3)
    keys = [await rest.execute("SELECT key FROM evse WHERE tenant_id = 1 AND uid = $1", uid) for uid in yard.uids]
    chosen = random.Random(seed)
    kept: list[tuple[int, int, int]] = []
    for _ in range(120):
        key, start = chosen.choice(keys), chosen.randrange(0, 5_000)
        until = start + chosen.randrange(1, 700)
        fits = all(key != k or until <= s or u <= start for k, s, u in kept)
        begin = NOON + timedelta(seconds=start)
        try:
            await rest.execute(
                "INSERT INTO booking (tenant_id, evse_key, starts_at, ends_at, blocked_until, state, id_token, token_key,"
                " terms, may_move, announce_at, ask_at, no_show_at, requested_by)"
                " VALUES (1, $1, $2, $3, $3, $4, 'X', 'x', '{}', false, $2, $2, $3, 'test')",
                key,
                begin,
                NOON + timedelta(seconds=until),
                chosen.choice(["created", "confirmed", "active", "used"]),
            )
            taken = True
        except asyncpg.ExclusionViolationError:
            taken = False
        assert taken is fits
        if taken:
            kept.append((key, start, until))
    await rest.execute("DELETE FROM booking WHERE evse_key = ANY($1)", keys)


async def test_the_buffer_lies_between_two_bookings(rest: Rest) -> None:
    yard = await new_yard(rest)
    await yard.book(minutes=60, lasts=60)
    start = NOON + timedelta(minutes=122)
    body = {"evse_uid": yard.uids[0], "id_token": yard.token, "starts_at": iso(start)}
    body["ends_at"] = iso(start + timedelta(minutes=30))
    refused = await rest.client.post("/v1/bookings", json=body)
    assert "is booked" in assert_problem(refused, 409)["detail"]
    assert (await yard.book(minutes=125, lasts=30))["state"] == "confirmed"


async def test_a_conflict_names_what_is_free_instead(rest: Rest) -> None:
    yard = await new_yard(rest, 2)
    await yard.book()
    start = NOON + timedelta(minutes=90)
    body = {"evse_uid": yard.uids[0], "id_token": yard.token, "starts_at": iso(start)}
    refused = await rest.client.post("/v1/bookings", json=body | {"ends_at": iso(start + timedelta(hours=1))})
    assert yard.uids[1] in assert_problem(refused, 409)["detail"]


async def test_at_a_location_the_first_evse_that_fits_is_taken(rest: Rest) -> None:
    yard = await new_yard(rest, 2)
    start = NOON + timedelta(hours=1)
    body = {
        "location_id": yard.location_id,
        "id_token": yard.token,
        "starts_at": iso(start),
        "ends_at": iso(start + timedelta(hours=1)),
    }
    first = await yard.send("POST", "/v1/bookings", body)
    second = await yard.send("POST", "/v1/bookings", body | {"min_power_w": 50_000})
    assert {first["evse_uid"], second["evse_uid"]} == set(yard.uids)
    third = await rest.client.post("/v1/bookings", json=body)
    assert_problem(third, 409)
    none_fits = await rest.client.post("/v1/bookings", json=body | {"standard": "CHADEMO"})
    assert_problem(none_fits, 409)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"id_token": "NOBODY"}, "#/id_token"),
        ({"evse_uid": "NOWHERE"}, "#/evse_uid"),
        ({"evse_uid": None}, "#/evse_uid"),
        ({"starts_at": "2020-01-01T00:00:00Z"}, "#/starts_at"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "#/ends_at"),
        ({"connector_id": "9"}, "#/connector_id"),
        ({"surprise": 1}, "#/surprise"),
        ({"starts_at": "2090-01-01T00:00:00Z", "ends_at": "2090-01-01T01:00:00Z"}, "#/starts_at"),
    ],
)
async def test_bad_input_names_the_field(rest: Rest, wrong: dict[str, Any], pointer: str) -> None:
    yard = await new_yard(rest)
    start = NOON + timedelta(hours=1)
    body = {"evse_uid": yard.uids[0], "id_token": yard.token, "starts_at": iso(start)}
    body |= {"ends_at": iso(start + timedelta(hours=1))} | wrong
    assert_problem(await rest.client.post("/v1/bookings", json=body), 422, pointer=pointer)


async def test_a_blocked_id_token_books_nothing(rest: Rest) -> None:
    yard = await new_yard(rest)
    yard.token = await new_token(rest, status="Blocked")
    start = NOON + timedelta(hours=1)
    body = {"evse_uid": yard.uids[0], "id_token": yard.token, "starts_at": iso(start)}
    refused = await rest.client.post("/v1/bookings", json=body | {"ends_at": iso(start + timedelta(hours=1))})
    assert_problem(refused, 422, pointer="#/id_token")


async def test_a_driver_has_as_many_bookings_ahead_as_the_policy_says_also_at_once(rest: Rest) -> None:
    yard = await new_yard(rest, 6)
    start = NOON + timedelta(hours=1)
    common = {"id_token": yard.token, "starts_at": iso(start), "ends_at": iso(start + timedelta(hours=1))}
    answers = await asyncio.gather(
        *(rest.client.post("/v1/bookings", json=common | {"evse_uid": uid}) for uid in yard.uids)
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 3


async def test_a_held_booking_counts_when_it_is_confirmed(rest: Rest) -> None:
    yard = await new_yard(rest)
    made = await yard.book(confirm=False)
    assert made["state"] == "created"
    assert made["confirm_by"] is not None
    stale = await rest.client.post(f"/v1/bookings/{made['id']}/confirm", json={}, headers={"If-Match": '"999"'})
    assert stale.status_code == 412
    assert (await yard.send("POST", f"/v1/bookings/{made['id']}/confirm", {}))["state"] == "confirmed"
    assert (await yard.send("POST", f"/v1/bookings/{made['id']}/confirm", {}))["state"] == "confirmed"
    unknown = await rest.client.post(f"/v1/bookings/{made['id']}/praise", json={})
    assert_problem(unknown, 404)


async def test_a_change_is_whole_or_nothing(rest: Rest) -> None:
    yard = await new_yard(rest, 2)
    mine = await yard.book(minutes=60, lasts=60)
    other = await yard.book(minutes=180, lasts=60)
    path = f"/v1/bookings/{mine['id']}"
    longer = await rest.client.patch(path, json={"ends_at": iso(NOON + timedelta(minutes=200)), "may_move": False})
    assert "stays as it was" in assert_problem(longer, 409)["detail"]
    assert await yard.state(mine) == mine
    moved = await yard.send(
        "PATCH", path, {"ends_at": iso(NOON + timedelta(minutes=200)), "evse_uid": yard.uids[1].lower()}
    )
    assert (moved["evse_uid"], moved["ends_at"]) == (yard.uids[1], iso(NOON + timedelta(minutes=200)))
    shorter = await yard.send("PATCH", path, {"ends_at": iso(NOON + timedelta(minutes=70))})
    assert shorter["revision"] > moved["revision"]
    stale = await rest.client.patch(path, json={"may_move": False}, headers={"If-Match": f'"{mine["revision"]}"'})
    assert stale.status_code == 412
    back = await yard.send("PATCH", path, {"evse_uid": yard.uids[0]})
    assert back["evse_uid"] == yard.uids[0]
    assert (await yard.state(other))["revision"] == other["revision"]
    lines = await rest.execute(
        "SELECT count(*) FROM audit_log WHERE object_kind = 'booking' AND object_id = $1", mine["id"]
    )
    assert lines == 4


async def test_search_finds_what_is_free_with_prices_the_nearest_first(rest: Rest) -> None:
    near = {"latitude": "48.10000", "longitude": "11.50000"}
    far = {"latitude": "48.10000", "longitude": "11.52000"}
    close = await new_yard(rest, 2, place={"coordinates": near})
    away = await new_yard(rest, 1, place={"coordinates": far}, standard="IEC_62196_T2", max_amperage=50)
    tariff_id = ident("T")
    content = {
        "id": tariff_id,
        "currency": "EUR",
        "tax_included": "YES",
        "elements": [{"price_components": [{"type": "ENERGY", "price": 0.5, "vat": 19, "step_size": 1}]}],
    }
    await close.send("POST", "/v1/tariffs", content)
    await close.send("POST", f"/v1/tariffs/{tariff_id}/assign", {"connectors": [{"evse_uid": close.uids[0]}]})
    start = NOON + timedelta(hours=1)
    where = {
        "latitude": 48.1,
        "longitude": 11.5,
        "radius_m": 5000,
        "starts_at": iso(start),
        "ends_at": iso(start + timedelta(hours=1)),
    }

    async def found(**more: Any) -> list[Any]:
        answer = await rest.client.get("/v1/bookings/offers", params=where | more)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    uids = [*close.uids, *away.uids]
    items = await found()
    assert [one["evse_uid"] for one in items] == uids
    assert items[0]["distance_m"] == 0
    assert 1400 < items[2]["distance_m"] < 1600
    assert items[0]["price"]["incl"] == {"amount": "10.00", "currency": "EUR"}  # 20 kWh
    assert items[1]["price"] is None
    assert [one["evse_uid"] for one in await found(standard="IEC_62196_T2")] == away.uids
    assert [one["evse_uid"] for one in await found(min_power_w=50_000)] == close.uids
    assert [one["evse_uid"] for one in await found(max_price=9.99)] == []
    assert [one["evse_uid"] for one in await found(max_price=10)] == close.uids[:1]
    assert [one["evse_uid"] for one in await found(max_price=5, energy_wh=10_000)] == close.uids[:1]
    assert [one["evse_uid"] for one in await found(payment_method="free")] == []
    pages, cursor = [], None
    while True:
        answer = (await rest.client.get("/v1/bookings/offers", params=where | {"limit": 1} | cursor_of(cursor))).json()
        pages += [one["evse_uid"] for one in answer["items"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert pages == uids
    await close.book(minutes=180)
    await close.book(minutes=60, evse_uid=close.uids[1])
    items = await found()
    assert [one["evse_uid"] for one in items] == [close.uids[0], *away.uids]
    assert items[0]["free_until"] == iso(NOON + timedelta(minutes=180))
    soon = datetime.now(UTC)
    now = await found(starts_at=iso(soon), ends_at=iso(soon + timedelta(minutes=30)))
    assert now == []  # nobody is connected
    await close.show(0, "Available")
    now = await found(starts_at=iso(soon), ends_at=iso(soon + timedelta(minutes=30)))
    assert [one["evse_uid"] for one in now] == close.uids[:1]
    assert [one["evse_uid"] for one in await found(available=True)] == close.uids[:1]


def cursor_of(cursor: str | None) -> dict[str, str]:
    return {} if cursor is None else {"cursor": cursor}


async def test_a_closed_place_is_not_offered_nor_booked(rest: Rest) -> None:
    closed = {
        "twentyfourseven": True,
        "exceptional_closings": [{"period_begin": iso(NOON), "period_end": iso(NOON + timedelta(hours=3))}],
    }
    yard = await new_yard(rest, place={"opening_times": closed})
    start = NOON + timedelta(hours=1)
    span = {"starts_at": iso(start), "ends_at": iso(start + timedelta(hours=1))}
    query = {"location_id": yard.location_id} | span
    assert (await rest.client.get("/v1/bookings/offers", params=query)).json()["items"] == []
    answer = await rest.client.get("/v1/bookings/offers", params=query | {"open": False})
    assert len(answer.json()["items"]) == 1
    body = {"evse_uid": yard.uids[0], "id_token": yard.token} | span
    assert_problem(await rest.client.post("/v1/bookings", json=body), 422, pointer="#/starts_at")
    assert (await yard.book(minutes=180))["state"] == "confirmed"


async def test_bad_questions_name_the_parameter(rest: Rest) -> None:
    for query, name in (
        ({}, "latitude"),
        ({"latitude": 1}, "longitude"),
        ({"location_id": "x", "starts_at": "soon"}, "starts_at"),
        ({"location_id": "x", "min_power_w": -1}, "min_power_w"),
    ):
        answer = await rest.client.get("/v1/bookings/offers", params=query)
        assert_problem(answer, 400, parameter=name)
    assert_problem(await rest.client.get("/v1/bookings/timeline"), 400, parameter="location_id")
    assert_problem(await rest.client.get("/v1/bookings/12x"), 404)


async def test_a_timeline_tells_when_evses_are_booked_and_names_nobody(rest: Rest) -> None:
    yard = await new_yard(rest, 2)
    await yard.book(minutes=60)
    query = {"location_id": yard.location_id, "from": iso(NOON), "to": iso(NOON + timedelta(hours=12))}
    items = (await rest.client.get("/v1/bookings/timeline", params=query)).json()["items"]
    assert [one["evse_uid"] for one in items] == yard.uids
    assert items[0]["free_until"] == iso(NOON + timedelta(minutes=60))
    assert items[0]["taken"] == [
        {
            "starts_at": iso(NOON + timedelta(minutes=60)),
            "until": iso(NOON + timedelta(minutes=125)),
            "state": "confirmed",
        }
    ]
    assert (items[1]["free_until"], items[1]["booked_until"], items[1]["taken"]) == (None, None, [])


async def test_the_policy_holds_for_the_tenant_and_is_checked(rest: Rest) -> None:
    tenant = ident("booking-tenant")
    await rest.client.post("/v1/tenants", json={"slug": tenant, "name": tenant})
    key = (await rest.client.post("/v1/api-keys", json={"name": "t", "scopes": ["admin"], "tenant": tenant})).json()[
        "key"
    ]
    async with rest.as_key(key) as client:
        assert (await client.get("/v1/bookings/policy")).json()["lead_s"] == 600
        changed = await client.put("/v1/bookings/policy", json={"lead_s": 60, "walk_in": "stop"})
        assert (changed.json()["lead_s"], changed.json()["walk_in"], changed.json()["buffer_s"]) == (60, "stop", 300)
        assert_problem(await client.put("/v1/bookings/policy", json={"lead_s": -1}), 422, pointer="#/lead_s")
        assert_problem(
            await client.put("/v1/bookings/policy", json={"min_s": 100, "max_s": 10}), 422, pointer="#/min_s"
        )
        place = location(id=ident("L"))
        assert (await client.post("/v1/locations", json=place)).status_code == 201
        evse = {"uid": ident("E"), "connectors": [connector()]}
        assert (await client.post(f"/v1/locations/{place['id']}/evses", json=evse)).status_code == 201
    assert (await rest.client.get("/v1/bookings/policy")).json()["lead_s"] == 600
    span = {"location_id": place["id"], "starts_at": iso(NOON), "ends_at": iso(NOON + timedelta(hours=1))}
    assert (await rest.client.get("/v1/bookings/offers", params=span)).json()["items"] == []


async def test_a_key_without_the_scope_sees_and_books_nothing(rest: Rest) -> None:
    made = await rest.client.post("/v1/api-keys", json={"name": "reader", "scopes": ["bookings:read"]})
    async with rest.as_key(made.json()["key"]) as client:
        assert (await client.get("/v1/bookings")).status_code == 200
        assert (await client.post("/v1/bookings", json={})).status_code in (403, 422)
        assert (await client.put("/v1/bookings/policy", json={})).status_code == 403


async def test_the_agreement_says_what_may_be_booked_and_what_it_costs(rest: Rest) -> None:
    yard = await new_yard(rest, 2)
    group, tariff_id = ident("vans"), ident("T")
    yard.token = await new_token(rest, group_id=group)
    elements = [{"price_components": [{"type": "ENERGY", "price": 0.2, "step_size": 1}]}]
    content = {"id": tariff_id, "currency": "EUR", "tax_included": "NO", "elements": elements}
    await yard.send("POST", "/v1/tariffs", content)
    terms = {
        "type": "reservation_terms",
        "fee": {"amount": "2.00", "currency": "EUR"},
        "no_show_fee": {"amount": "9.00", "currency": "EUR"},
        "free_cancel_minutes": 30,
        "max_minutes": 90,
        "max_at_a_time": 1,
    }
    body = {
        "kind": "fleet",
        "currency": "EUR",
        "parties": [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "company", "id": "fleet"}],
        "scope": [{"kind": "token_group", "value": group}],
        "starts_at": "2026-01-01T00:00:00Z",
        "items": [
            {"type": "tariff", "tariff_id": tariff_id},
            {"type": "discount", "name": "A quarter", "percent": "25", "applies_to": "energy"},
            {"type": "roaming_fee", "name": "Roaming", "per_session": {"amount": "0.50", "currency": "EUR"}},
            terms,
        ],
    }
    agreement = await yard.send("POST", "/v1/service-agreements", body)
    for action in ("propose", "accept"):
        await yard.send("POST", f"/v1/service-agreements/{agreement['id']}/{action}", {})
    start = NOON + timedelta(hours=1)
    query = {"location_id": yard.location_id, "id_token": yard.token, "starts_at": iso(start)}
    offers = (await rest.client.get("/v1/bookings/offers", params=query)).json()["items"]
    assert [(one["tariff_id"], one["agreement_id"]) for one in offers] == [(tariff_id, agreement["id"])] * 2
    assert offers[0]["price"]["excl"] == {"amount": "3.50", "currency": "EUR"}  # 4.00 less a quarter, and the fee
    made = await yard.book()
    assert made["price"] == {"amount": "3.5", "currency": "EUR"}
    assert (made["agreement_id"], made["tariff_id"], made["tariff_version"]) == (agreement["id"], tariff_id, 1)
    assert made["cancel_fee"] == {"amount": "2", "currency": "EUR"}
    assert made["no_show_fee"] == {"amount": "9", "currency": "EUR"}
    assert made["free_cancel_until"] == iso(NOON + timedelta(minutes=30))
    span = {"id_token": yard.token, "evse_uid": yard.uids[1], "starts_at": iso(start)}
    second = await rest.client.post("/v1/bookings", json=span | {"ends_at": iso(start + timedelta(hours=1))})
    assert "1 may be" in assert_problem(second, 409)["detail"]
    long = await rest.client.patch(f"/v1/bookings/{made['id']}", json={"ends_at": iso(start + timedelta(minutes=91))})
    assert_problem(long, 422, pointer="#/ends_at")
