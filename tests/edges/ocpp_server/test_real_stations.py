"""The door with the real application behind it: credentials, actors and commits in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from msgspec import json

from chargeplane.main.config import Config
from chargeplane.main.wiring import Server
from tests.support.raw_station import RawStation

ADMIN_KEY = "admin-key-of-these-tests"
PASSWORD = "sixteen-or-more-characters"
T0, T1, T2 = "2026-01-31T12:00:00Z", "2026-01-31T12:10:00Z", "2026-01-31T12:20:00Z"


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """A whole server."""
    config = Config(
        bind="127.0.0.1",
        http_port=0,
        ocpp_port=0,
        data_dir=str(tmp_path),
        database_url=database_url,
        admin_key=ADMIN_KEY,
    )
    server = Server(config)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def rest(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    url = f"http://127.0.0.1:{server.http.port}/v1"
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=60) as client:
        yield client


async def register(rest: httpx.AsyncClient, station_id: str, **more: object) -> None:
    answer = await rest.post("/charging-stations", json={"station_id": station_id, "password": PASSWORD, **more})
    assert answer.status_code == 201, answer.text


async def plug(server: Server, station_id: str, version: str, password: str = PASSWORD) -> RawStation:
    station = await RawStation.dial(server.ocpp.ports[0])
    auth = f"{station_id}:{password}".encode()
    answer = await station.upgrade(f"/ocpp/{station_id}", protocols=f"ocpp{version}", auth=auth)
    assert answer.status == 101
    return station


async def test_session_in_1_6_is_answered_and_stored(server: Server, rest: httpx.AsyncClient) -> None:
    await register(rest, "CS16")
    await rest.post("/id-tokens", json={"id_token": "TAG", "type": "ISO14443"})
    station = await plug(server, "CS16", "1.6")
    boot = await station.call("1", "BootNotification", {"chargePointVendor": "Acme", "chargePointModel": "One"})
    assert boot[2]["status"] == "Accepted"  # type: ignore[index]
    start = {"connectorId": 1, "idTag": "TAG", "meterStart": 1000, "timestamp": T0}
    started = await station.call("2", "StartTransaction", start)
    assert started[2]["idTagInfo"]["status"] == "Accepted"  # type: ignore[index]
    number = started[2]["transactionId"]  # type: ignore[index]
    sampled = [{"timestamp": T1, "sampledValue": [{"value": "1500"}]}]
    values = {"connectorId": 1, "transactionId": number, "meterValue": sampled}
    assert await station.call("3", "MeterValues", values) == [3, "3", {}]
    stop = {"transactionId": number, "meterStop": 2500, "timestamp": T2, "idTag": "TAG"}
    assert (await station.call("4", "StopTransaction", stop))[0] == 3
    (transaction,) = (await rest.get("/transactions", params={"station_id": "CS16"})).json()["items"]
    assert (transaction["energy_wh"], transaction["state"]) == (1500, "closed")
    station.hang_up()


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_session_in_2_x_is_answered_and_stored(server: Server, rest: httpx.AsyncClient, version: str) -> None:
    await register(rest, "CS2X")
    await rest.post("/id-tokens", json={"id_token": "TAG", "type": "ISO14443"})
    station = await plug(server, "CS2X", version)

    def event(kind: str, seq_no: int, at: str, wh: int) -> dict[str, object]:
        return {
            "eventType": kind,
            "timestamp": at,
            "triggerReason": "Authorized" if kind == "Started" else "MeterValuePeriodic",
            "seqNo": seq_no,
            "transactionInfo": {"transactionId": "t-1"},
            "evse": {"id": 1, "connectorId": 1},
            "meterValue": [{"timestamp": at, "sampledValue": [{"value": wh}]}],
            **({"idToken": {"idToken": "TAG", "type": "ISO14443"}} if kind == "Started" else {}),
        }

    started = await station.call("1", "TransactionEvent", event("Started", 0, T0, 1000))
    assert started[2]["idTokenInfo"]["status"] == "Accepted"  # type: ignore[index]
    assert (await station.call("2", "TransactionEvent", event("Updated", 1, T1, 1200)))[0] == 3
    assert (await station.call("3", "TransactionEvent", event("Ended", 2, T2, 1750)))[0] == 3
    (transaction,) = (await rest.get("/transactions", params={"station_id": "CS2X"})).json()["items"]
    assert (transaction["energy_wh"], transaction["ocpp_transaction_id"]) == (750, "t-1")
    station.hang_up()


async def test_unknown_station_and_wrong_password_are_refused(server: Server, rest: httpx.AsyncClient) -> None:
    await register(rest, "CS1")
    station = await RawStation.dial(server.ocpp.ports[0])
    assert (await station.upgrade("/ocpp/CS1", auth=b"CS1:wrong-password-here")).status == 401
    station = await RawStation.dial(server.ocpp.ports[0])
    assert (await station.upgrade("/ocpp/CS2", auth=b"CS2:wrong-password-here")).status == 404


async def test_second_socket_displaces_the_first_and_rest_reaches_the_newest(
    server: Server, rest: httpx.AsyncClient
) -> None:
    await register(rest, "CS1")
    first = await plug(server, "CS1", "1.6")
    assert (await first.call("1", "Heartbeat", {}))[0] == 3
    second = await plug(server, "CS1", "2.0.1")
    assert await first.close_code() == 1008
    assert (await second.call("1", "Heartbeat", {}))[0] == 3
    asked = asyncio.ensure_future(
        rest.post("/charging-stations/CS1/calls", json={"action": "ClearCache", "payload": {}})
    )
    call = await second.message()
    assert call[2:] == ["ClearCache", {}]
    second.send(json.encode([3, call[1], {"status": "Accepted"}]))
    answer = (await asked).json()
    assert (answer["outcome"], answer["payload"]) == ("callresult", {"status": "Accepted"})
    second.hang_up()


async def test_deleted_station_loses_its_socket(server: Server, rest: httpx.AsyncClient) -> None:
    await register(rest, "CS1")
    station = await plug(server, "CS1", "1.6")
    assert (await station.call("1", "Heartbeat", {}))[0] == 3
    assert (await rest.delete("/charging-stations/CS1")).status_code == 204
    assert await station.close_code() == 1008


async def test_unusable_transaction_message_is_answered_and_kept_in_quarantine(
    server: Server, rest: httpx.AsyncClient
) -> None:
    await register(rest, "CS1")
    station = await plug(server, "CS1", "2.0.1")
    answer = await station.call("1", "TransactionEvent", {"eventType": {"no": "event"}})
    assert answer[:2] == [3, "1"]
    (kept,) = (await rest.get("/quarantine")).json()["items"]
    assert kept["action"] == "TransactionEvent"
    station.hang_up()


async def test_stopping_server_answers_what_it_committed_and_says_goodbye(
    server: Server, rest: httpx.AsyncClient
) -> None:
    await register(rest, "CS1")
    station = await plug(server, "CS1", "1.6")
    station.send(
        json.encode([2, "1", "StartTransaction", {"connectorId": 1, "idTag": "X", "meterStart": 1, "timestamp": T0}])
    )
    station.send(json.encode([2, "2", "Heartbeat", {}]))
    assert (await station.message())[1] == "2"  # so the start is in hand
    stopping = asyncio.ensure_future(server.stop())
    assert (await station.message())[:2] == [3, "1"]
    assert await station.close_code() == 1001
    await stopping
