"""What every request goes through."""

from __future__ import annotations

import asyncio

from chargeplane.store.database import parse_address
from tests.support.rest import Rest, assert_problem

STATIONS = "/v1/charging-stations"


async def test_bodies_that_are_no_json_are_refused(rest: Rest) -> None:
    post = rest.client.post
    json = {"Content-Type": "application/json"}
    assert_problem(await post(STATIONS, content=b"{", headers=json), 400)
    assert_problem(await post(STATIONS, content=b'{"station_id": "\xff"}', headers=json), 400)
    assert_problem(await post(STATIONS, content=b'{"station_id":"A","metadata":{"k":"\\ud800"}}', headers=json), 400)
    assert_problem(await post(STATIONS, content=b"", headers=json), 400)
    assert_problem(await post(STATIONS, content=b"null", headers=json), 422)
    assert_problem(await post(STATIONS, content=b"[" * 100_000, headers=json), 422)
    deep = b'{"station_id":"A","metadata":' + b'{"a":' * 50_000
    assert_problem(await post(STATIONS, content=deep, headers=json), 400)
    assert_problem(
        await post(
            STATIONS, content=b'{"station_id":"A","metadata":' + b'{"a":' * 100 + b"1" + b"}" * 101, headers=json
        ),
        400,
    )
    assert_problem(await post(STATIONS, content=b"station_id=A", headers={"Content-Type": "text/plain"}), 415)
    assert_problem(await post(STATIONS, data={"station_id": "A"}), 415)


async def test_bodies_over_a_mebibyte_are_refused(rest: Rest) -> None:
    body = b'{"station_id":"' + b"x" * (1 << 20) + b'"}'
    assert_problem(await rest.client.post(STATIONS, content=body, headers={"Content-Type": "application/json"}), 413)

    async def pieces() -> object:
        for _ in range(20):
            yield b" " * 65536

    chunked = await rest.client.post(STATIONS, content=pieces(), headers={"Content-Type": "application/json"})
    assert_problem(chunked, 413)


async def test_unknown_paths_and_methods_are_problems(rest: Rest) -> None:
    assert_problem(await rest.client.get("/v1/nothing"), 404)
    assert_problem(await rest.client.get("/"), 404)
    assert_problem(await rest.client.put(STATIONS), 405)
    assert_problem(await rest.client.get(f"{STATIONS}/%FF"), 404)
    assert_problem(await rest.client.get(f"{STATIONS}/a%00b"), 404)
    for path in ("transactions", "id-tokens", "quarantine", "commands"):
        for ident in ("x", "-1", "99999999999999999999999", "1e3", "%C2%B2"):
            assert_problem(await rest.client.get(f"/v1/{path}/{ident}"), 404)


async def test_bytes_in_the_path_that_are_not_encoded_are_answered(rest: Rest) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.server.port)
    writer.write(b"GET /v1/charging-stations/\xc3\xa4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")


async def test_readiness_tells_the_truth(rest: Rest) -> None:
    assert (await rest.client.get("/readyz")).json() == {"status": "ok"}
    rest.readiness.reasons = ["The database cannot be reached."]
    problem = assert_problem(await rest.client.get("/readyz"), 503)
    assert problem["detail"] == "The database cannot be reached."
    assert (await rest.client.get("/healthz")).status_code == 200


async def test_same_idempotency_key_gets_the_first_answer_again(rest: Rest) -> None:
    headers = {"Idempotency-Key": "abc"}
    first = await rest.client.post(STATIONS, json={"station_id": "A"}, headers=headers)
    again = await rest.client.post(STATIONS, json={"station_id": "A"}, headers=headers)
    assert again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert first.json()["password"].encode() not in await rest.execute("SELECT response FROM idempotency_key")
    assert_problem(await rest.client.post(STATIONS, json={"station_id": "B"}, headers=headers), 422)
    assert await rest.execute("SELECT count(*) FROM charging_station") == 1
    other_route = await rest.client.post("/v1/id-tokens", json={"id_token": "B"}, headers=headers)
    assert other_route.status_code == 201
    refused = {"Idempotency-Key": "a b"}
    assert_problem(await rest.client.post(STATIONS, json={"station_id": "C"}, headers=refused), 400)


async def test_refusals_are_kept_under_the_idempotency_key_too(rest: Rest) -> None:
    headers = {"Idempotency-Key": "k"}
    assert_problem(await rest.client.post(STATIONS, json={"station_id": ""}, headers=headers), 422)
    again = await rest.client.post(STATIONS, json={"station_id": ""}, headers=headers)
    assert_problem(again, 422)
    assert again.headers["idempotency-replayed"] == "true"


async def test_idempotency_key_of_a_running_request_is_a_conflict(rest: Rest) -> None:
    rest.stations.refresh_delay_s = 0.5
    headers = {"Idempotency-Key": "k"}
    running = asyncio.create_task(rest.client.post(STATIONS, json={"station_id": "A"}, headers=headers))
    async with asyncio.timeout(30):
        while not await rest.execute("SELECT count(*) FROM charging_station"):
            await asyncio.sleep(0.01)
    assert_problem(await rest.client.post(STATIONS, json={"station_id": "A"}, headers=headers), 409)
    assert (await running).status_code == 201


async def test_while_the_database_is_away_callers_are_told_to_try_again(rest: Rest) -> None:
    await rest.client.get(STATIONS)
    await rest.database.close()
    here, rest.database.address = rest.database.address, parse_address("postgresql://nobody@127.0.0.1:1/none")
    for response in (
        await rest.client.get(STATIONS),
        await rest.client.post("/v1/id-tokens", json={"id_token": "A"}, headers={"Idempotency-Key": "k"}),
    ):
        assert_problem(response, 503)
        assert response.headers["retry-after"] == "1"
    rest.database.address = here
    again = await rest.client.post("/v1/id-tokens", json={"id_token": "A"}, headers={"Idempotency-Key": "k"})
    assert again.status_code == 201


async def test_stopping_lets_open_requests_finish(rest: Rest) -> None:
    rest.stations.refresh_delay_s = 0.3
    await rest.client.get(STATIONS)
    running = asyncio.create_task(rest.client.post(STATIONS, json={"station_id": "A"}))
    async with asyncio.timeout(30):
        while not await rest.execute("SELECT count(*) FROM charging_station"):
            await asyncio.sleep(0.01)
    await rest.server.stop()
    assert (await running).status_code == 201
