"""What is known of a driver is given out whole, and nothing of it is found after it was erased."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from tests.people.test_driver_accounts import account, door, signed_in
from tests.support.rest import Rest, StationDouble, assert_problem


async def found_anywhere(rest: Rest, word: str) -> list[str]:
    """Columns of the whole database in which a word stands."""
    columns = (
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " AND NOT a.attisdropped WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND format_type(a.atttypid, a.atttypmod) IN ('text', 'jsonb', 'json', 'text[]', 'bytea')"
    )
    places = []
    async with rest.database.read() as db:
        for table, column in await db.fetch(columns):
            sought = f"position(convert_to(lower($1), 'UTF8') in \"{column}\") > 0"
            kind = await db.fetchval(f'SELECT pg_typeof("{column}")::text FROM "{table}" LIMIT 1')
            if kind != "bytea":
                sought = f'strpos(lower("{column}"::text), lower($1)) > 0'
            if await db.fetchval(f'SELECT count(*) FROM "{table}" WHERE {sought}', word):
                places.append(f"{table}.{column}")
    return places


async def erased(rest: Rest, request: str) -> Any:
    end = time.monotonic() + 60
    while await rest.execute("SELECT state FROM data_request WHERE id = $1", int(request)) != "done":
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


async def test_nothing_of_a_person_is_found_after_erasing(rest: Rest) -> None:
    name, tag = f"Zyx{secrets.token_hex(4)}", f"TAG{secrets.token_hex(4).upper()}"
    mail = await account(rest, name.lower(), last_name=name, phone="+46 70 9988776")
    token = await signed_in(rest, mail)
    ident = (await rest.client.get("/v1/drivers", params={"email": mail})).json()["items"][0]["id"]
    station = f"CP{secrets.token_hex(4)}"
    key = await rest.station(station)
    rest.stations.connected[key] = StationDouble()
    await rest.client.post(f"/v1/drivers/{ident}/id-tokens", json={"id_token": tag})
    start = {"type": "start", "id_token": tag, "evse_id": 1}
    assert (await rest.client.post(f"/v1/charging-stations/{station}/commands?wait_s=30", json=start)).status_code < 300
    await rest.execute(
        "INSERT INTO authorization_attempt (received_on, received_at, tenant_id, station_key, id_token, status, message_id,"
        " content_hash) VALUES (current_date, now(), 1, $1, $2, 'Accepted', 'm', 'h')",
        key,
        tag.lower(),
    )
    await rest.client.post("/v1/vehicles", json={"driver_id": ident, "label": f"{name}'s car"})
    for word in (name, mail, tag):
        assert await found_anywhere(rest, word), word
    async with door(rest, token) as me:
        assert_problem(await me.post("/v1/me/erase", json={"password": "wrong password"}), 422, pointer="#/password")
        done = await me.post("/v1/me/erase", json={"password": "correct horse battery"})
        assert done.status_code == 202, done.text
        assert_problem(await me.get("/v1/me"), 401)
    await erased(rest, done.json()["id"])
    end = time.monotonic() + 30
    for word in (name, mail, tag, "9988776"):
        while places := await found_anywhere(rest, word):
            assert time.monotonic() < end, (word, places)
            await asyncio.sleep(0.1)
    gone = (await rest.client.get(f"/v1/drivers/{ident}")).json()
    assert (gone["status"], gone["email"], gone["last_name"]) == ("erased", None, None)
    log = await rest.client.get("/v1/audit-log", params={"object_kind": "driver", "object_id": ident})
    assert log.json()["items"][0]["action"] == "erase"
    assert_problem(await rest.client.post(f"/v1/drivers/{ident}/erase"), 404)


async def test_all_data_of_a_driver_are_given_out(rest: Rest) -> None:
    mail = await account(rest, "export", first_name="Ex")
    async with door(rest, await signed_in(rest, mail)) as me:
        await me.post("/v1/me/vehicles", json={"brand": "VW"})
        archive = (await me.get("/v1/me/data")).json()
    assert archive["driver"]["email"] == mail
    assert archive["vehicles"][0]["brand"] == "VW"
    assert archive["devices"][0]["kind"] == "bearer"
    assert archive["history"]
    log = await rest.client.get("/v1/audit-log", params={"object_kind": "driver", "object_id": archive["driver"]["id"]})
    assert log.json()["items"][0]["action"] == "export-data"


async def test_who_charges_is_not_erased(rest: Rest) -> None:
    made = (await rest.client.post("/v1/drivers", json={})).json()
    tag = f"RUN{secrets.token_hex(4).upper()}"
    await rest.client.post(f"/v1/drivers/{made['id']}/id-tokens", json={"id_token": tag})
    key = await rest.station(f"CP{secrets.token_hex(4)}")
    async with rest.database.change() as db:
        await db.execute(
            "INSERT INTO open_transaction (transaction_id, tenant_id, station_key, token_key, state, ordinal, opened_on)"
            " VALUES (-7, 1, $1, $2, '{}', 0, current_date)",
            key,
            tag.casefold(),
        )
    assert_problem(await rest.client.post(f"/v1/drivers/{made['id']}/erase"), 409)
    await rest.execute("DELETE FROM open_transaction WHERE transaction_id = -7")


async def test_driver_starts_by_app_with_an_own_id_token(rest: Rest) -> None:
    station = f"CP{secrets.token_hex(4)}"
    key = await rest.station(station)
    rest.stations.connected[key] = double = StationDouble()
    body = {
        "publish": True,
        "address": "A 1",
        "city": "Berlin",
        "country": "DEU",
        "coordinates": {"latitude": "52.520000", "longitude": "13.400000"},
        "time_zone": "Europe/Berlin",
    }
    place = await rest.client.post("/v1/locations", json=body)
    assert place.status_code == 201, place.text
    connector = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_voltage": 230,
        "max_amperage": 32,
    }
    evse = await rest.client.post(
        f"/v1/locations/{place.json()['id']}/evses",
        json={"station_id": station, "ocpp_evse_id": 1, "connectors": [connector]},
    )
    assert evse.status_code == 201, evse.text
    mail = await account(rest)
    async with door(rest, await signed_in(rest, mail)) as me:
        for where in ({"evse_uid": evse.json()["uid"]}, {"evse_code": evse.json()["code"]}):
            started = await me.post("/v1/me/charges?wait_s=30", json=where)
            assert started.status_code == 202, started.text
            assert started.json()["state"] == "accepted"
        tokens = (await me.get("/v1/me/id-tokens")).json()["items"]
        assert [one["origin"] for one in tokens] == ["app"]
        assert {one.id_token.value for one in double.commands} == {tokens[0]["id_token"]}
        assert (await me.get(f"/v1/me/charges/{started.json()['id']}")).json()["state"] == "accepted"
        assert_problem(await me.post("/v1/me/charges", json={}), 422, pointer="#/evse_uid")
        assert_problem(await me.post("/v1/me/charges", json={"evse_uid": "nowhere"}), 422, pointer="#/evse_uid")
        assert_problem(await me.post("/v1/me/transactions/12345/stop"), 404)
        assert (await me.get("/v1/me/transactions")).json()["items"] == []
