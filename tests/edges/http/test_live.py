"""REST over the whole server: a station at the OCPP door, its session at the REST door."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from chargeplane.main.config import Config
from chargeplane.main.wiring import Server
from chargeplane.store.database import Database
from tests.support.rest import ADMIN_KEY, assert_problem

NOW = "2026-01-31T12:00:00Z"


@dataclass
class Station:
    """A station of any version: sends CALLs, answers those of the server with what `answers` says."""

    socket: ClientConnection
    answers: dict[str, Any] = field(default_factory=dict)
    got: list[tuple[str, bytes]] = field(default_factory=list)
    waiting: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    count: int = 0

    async def read(self) -> None:
        """Answers and takes answers until the socket closes."""
        async for text in self.socket:
            frame = msgspec.json.decode(text)
            if frame[0] == 2:
                raw = text.encode() if isinstance(text, str) else text
                self.got.append((frame[2], raw[raw.index(b"{") : -1]))
                answer = self.answers.get(frame[2], {"status": "Accepted"})
                if answer is not None:
                    await self.socket.send(msgspec.json.encode([3, frame[1], answer]).decode())
            else:
                self.waiting.pop(frame[1]).set_result(frame[2])

    async def call(self, action: str, payload: dict[str, Any]) -> Any:
        """Sends a CALL; the payload of its CALLRESULT."""
        self.count += 1
        ident = f"m{self.count}"
        self.waiting[ident] = future = asyncio.get_running_loop().create_future()
        await self.socket.send(msgspec.json.encode([2, ident, action, payload]).decode())
        return await asyncio.wait_for(future, 30)


@dataclass
class World:
    """The server, the admin's client, and the way to its OCPP door."""

    server: Server
    client: httpx.AsyncClient
    ocpp_port: int

    @contextlib.asynccontextmanager
    async def station(self, station_id: str, version: str = "ocpp1.6", *, boot: bool = True) -> AsyncIterator[Station]:
        """Registers a station and connects it."""
        made = await self.client.post("/v1/charging-stations", json={"station_id": station_id})
        assert made.status_code == 201, made.text
        login = b64encode(f"{station_id}:{made.json()['password']}".encode()).decode()
        async with connect(
            f"ws://127.0.0.1:{self.ocpp_port}/ocpp/{station_id}",
            subprotocols=[version],  # type: ignore[list-item]
            additional_headers={"Authorization": f"Basic {login}"},
        ) as socket:
            station = Station(socket)
            reading = asyncio.create_task(station.read())
            try:
                if boot and version == "ocpp1.6":
                    await station.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
                elif boot:
                    await station.call(
                        "BootNotification",
                        {"reason": "PowerUp", "chargingStation": {"vendorName": "V", "model": "M"}},
                    )
                yield station
            finally:
                reading.cancel()

    async def get(self, path: str, **params: Any) -> Any:
        """A resource."""
        response = await self.client.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    server = Server(
        Config(
            bind="127.0.0.1",
            http_port=0,
            ocpp_port=0,
            data_dir=str(tmp_path),
            database_url=database_url,
            admin_key=ADMIN_KEY,
        )
    )
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{server.http.port}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=60,
        ) as client:
            yield World(server, client, server.ocpp.ports[0])
    finally:
        await server.stop()


async def _session_16(station: Station) -> int:
    started = await station.call(
        "StartTransaction", {"connectorId": 1, "idTag": "TAG", "meterStart": 1000, "timestamp": NOW}
    )
    number: int = started["transactionId"]
    for wh in (1200, 1500):
        await station.call(
            "MeterValues",
            {
                "connectorId": 1,
                "transactionId": number,
                "meterValue": [
                    {
                        "timestamp": NOW,
                        "sampledValue": [
                            {"value": str(wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
                            {"value": "11.04", "measurand": "Power.Active.Import", "unit": "kW"},
                        ],
                    }
                ],
            },
        )
    return number


async def test_session_of_16_in_rest(world: World) -> None:
    await world.client.post("/v1/id-tokens", json={"id_token": "tag"})
    async with world.station("CP1") as station:
        await station.call(
            "StatusNotification",
            {"connectorId": 1, "status": "Charging", "errorCode": "NoError", "timestamp": NOW},
        )
        number = await _session_16(station)
        (open_one,) = (await world.get("/v1/transactions", state="open"))["items"]
        assert open_one["energy_wh"] == 500
        assert open_one["ocpp_transaction_id"] == str(number)
        assert open_one["id_token"] == "TAG"
        assert open_one["authorization_status"] == "Accepted"
        seen = await world.get("/v1/charging-stations/CP1")
        assert seen["vendor"] == "V"
        assert seen["ocpp_version"] == "1.6"
        assert seen["evses"][0]["status"] == "Occupied"
        assert seen["evses"][0]["connectors"][0]["reported_status"] == "Charging"
        assert seen["evses"][0]["transaction_id"] == open_one["id"]
        await station.call(
            "StopTransaction", {"transactionId": number, "meterStop": 1750, "timestamp": NOW, "reason": "Local"}
        )
    assert (await world.get("/v1/transactions", state="open"))["items"] == []
    one = await world.get(f"/v1/transactions/{open_one['id']}")
    assert one["state"] == "closed"
    assert one["energy_wh"] == 750
    assert (one["meter_start_wh"], one["meter_stop_wh"], one["stop_reason"]) == (1000, 1750, "Local")
    assert one == (await world.get("/v1/transactions", station_id="cp1", id_token="tag"))["items"][0]
    events = await world.get(f"/v1/transactions/{one['id']}/events")
    assert [e["action"] for e in events["items"]] == [
        "StartTransaction",
        "MeterValues",
        "MeterValues",
        "StopTransaction",
    ]
    assert [e["ordinal"] for e in events["items"]] == [1, 2, 3, 4]
    assert events["items"][0]["payload"]["idTag"] == "TAG"
    values: list[Any] = []
    cursor = None
    while True:
        page = await world.get(
            f"/v1/transactions/{one['id']}/meter-values", limit=1, **({"cursor": cursor} if cursor else {})
        )
        values += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    samples = [(s["measurand"], s["value"], s["unit"]) for v in values for s in v["samples"]]
    assert ("Power.Active.Import", 11040, "W") in samples
    assert [v for m, v, _ in samples if m == "Energy.Active.Import.Register"] == [1000, 1200, 1500, 1750]
    assert (await world.get("/v1/transactions", started_from="2026-02-01T00:00:00Z"))["items"] == []
    assert_problem(await world.client.post(f"/v1/transactions/{one['id']}/close", json={"reason": "x"}), 409)


async def test_missing_sequence_numbers_of_an_open_session_are_shown(world: World) -> None:
    async with world.station("CP2", "ocpp2.0.1") as station:
        for seq_no, kind in ((0, "Started"), (1, "Updated"), (4, "Updated")):
            await station.call(
                "TransactionEvent",
                {
                    "eventType": kind,
                    "timestamp": NOW,
                    "triggerReason": "Authorized" if kind == "Started" else "MeterValuePeriodic",
                    "seqNo": seq_no,
                    "transactionInfo": {"transactionId": "T1"},
                    "evse": {"id": 1, "connectorId": 1},
                },
            )
        (one,) = (await world.get("/v1/transactions"))["items"]
        assert one["ocpp_transaction_id"] == "T1"
        assert one["gaps"] == [{"first_seq_no": 2, "last_seq_no": 3}]
        assert one["events"] == 3


async def test_closing_by_hand_is_audited(world: World) -> None:
    async with world.station("CP1") as station:
        await _session_16(station)
        (one,) = (await world.get("/v1/transactions"))["items"]
        assert_problem(await world.client.post(f"/v1/transactions/{one['id']}/close", json={}), 422, pointer="#/reason")
        closed = await world.client.post(f"/v1/transactions/{one['id']}/close", json={"reason": "Meter broken"})
        assert closed.status_code == 200, closed.text
        assert closed.json()["state"] == "closed"
        assert closed.json()["energy_wh"] == 500
        assert "closed_by_operator" in closed.json()["flags"]
        async with world.server.database.read() as db:
            row = await db.fetchrow("SELECT actor, reason FROM audit_log WHERE object_kind = 'transaction'")
        assert row is not None
        assert row["reason"] == "Meter broken"
        assert row["actor"].startswith("api-key:")


async def test_raw_call_reaches_the_station_as_given(world: World) -> None:
    async with world.station("CP1") as station:
        station.answers["GetConfiguration"] = {"configurationKey": [], "unknownKey": ["Foo"]}
        answer = await world.client.post(
            "/v1/charging-stations/CP1/calls", json={"action": "GetConfiguration", "payload": {"key": ["Foo"]}}
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["outcome"] == "callresult"
        assert body["payload"] == {"configurationKey": [], "unknownKey": ["Foo"]}
        assert body["latency_ms"] > 0
        assert ("GetConfiguration", b'{"key":["Foo"]}') in station.got
        wrong = await world.client.post(
            "/v1/charging-stations/CP1/calls", json={"action": "Reset", "payload": {"type": "Sideways"}}
        )
        assert_problem(wrong, 422)
        assert any(e["pointer"].startswith("#/payload") for e in wrong.json()["errors"]), wrong.text
        station.answers["ClearCache"] = None
        late = await world.client.post(
            "/v1/charging-stations/CP1/calls", json={"action": "ClearCache", "timeout_s": 0.2}
        )
        assert late.json()["outcome"] == "timeout"
    async with asyncio.timeout(30):
        while (await world.get("/v1/charging-stations/CP1"))["connected"]:
            await asyncio.sleep(0.02)
    assert_problem(await world.client.post("/v1/charging-stations/CP1/calls", json={"action": "ClearCache"}), 409)


async def test_command_is_version_free(world: World) -> None:
    for station_id, version, action in (
        ("A", "ocpp1.6", "RemoteStartTransaction"),
        ("B", "ocpp2.0.1", "RequestStartTransaction"),
        ("C", "ocpp2.1", "RequestStartTransaction"),
    ):
        async with world.station(station_id, version) as station:
            response = await world.client.post(
                f"/v1/charging-stations/{station_id}/commands?wait_s=30",
                json={"type": "start", "id_token": "TAG", "evse_id": 1},
            )
            assert response.status_code == 202, response.text
            assert response.json()["state"] == "accepted"
            assert response.json()["action"] == action
            assert action in [sent for sent, _ in station.got]


async def test_message_log_page_by_page_and_live(world: World) -> None:
    async with (
        world.station("CP1") as station,
        world.client.stream("GET", "/v1/charging-stations/CP1/messages/live") as live,
    ):
        lines = live.aiter_lines()
        assert (await anext(lines)).startswith(":")
        await _session_16(station)
        kinds = []
        async for line in lines:
            if line.startswith("data: "):
                entry = msgspec.json.decode(line[6:])
                kinds.append(entry["action"])
                assert entry["payload"]["connectorId"] == 1
                if len(kinds) == 3:
                    break
        assert kinds == ["StartTransaction", "MeterValues", "MeterValues"]
        path = "/v1/charging-stations/CP1/messages"
        async with asyncio.timeout(30):
            while len((await world.get(path, direction="from_station"))["items"]) < 4:
                await asyncio.sleep(0.05)
        newest = (await world.get(path, direction="from_station"))["items"]
        assert [m["action"] for m in newest] == ["MeterValues", "MeterValues", "StartTransaction", "BootNotification"]
        assert newest[2]["payload"]["idTag"] == "TAG"
        assert newest[2]["response"]["transactionId"] > 0
        assert newest[2]["latency_ms"] >= 0
        assert [m["action"] for m in (await world.get(path, action="bootnotification"))["items"]] == [
            "BootNotification"
        ]
        first = await world.get(path, limit=3, direction="from_station")
        rest = await world.get(path, limit=3, direction="from_station", cursor=first["next_cursor"])
        assert [m["action"] for m in rest["items"]] == ["BootNotification"]
        assert_problem(await world.client.get(path, params={"direction": "up"}), 400, parameter="direction")
        assert_problem(await world.client.get(path, params={"sent_from": "noon"}), 400, parameter="sent_from")


async def test_new_credentials_hold_at_once(world: World) -> None:
    async with world.station("CP1") as station:
        changed = await world.client.patch("/v1/charging-stations/CP1", json={"password": "0123456789abcdefghij"})
        assert changed.status_code == 200, changed.text
        await asyncio.wait_for(station.socket.wait_closed(), 30)
    login = b64encode(b"CP1:0123456789abcdefghij").decode()
    async with connect(
        f"ws://127.0.0.1:{world.ocpp_port}/ocpp/CP1",
        subprotocols=["ocpp1.6"],  # type: ignore[list-item]
        additional_headers={"Authorization": f"Basic {login}"},
    ) as socket:
        assert (await world.client.delete("/v1/charging-stations/CP1")).status_code == 204
        await asyncio.wait_for(socket.wait_closed(), 30)


async def test_what_is_not_understood_is_in_the_quarantine(world: World) -> None:
    async with world.station("CP1") as station:
        sample = {"value": "12", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
        await station.call(
            "MeterValues",
            {
                "connectorId": 1,
                "transactionId": 777,
                "meterValue": [{"timestamp": NOW, "sampledValue": [sample]}],
            },
        )
        (entry,) = (await world.get("/v1/quarantine", resolved="false"))["items"]
        assert entry["action"] == "MeterValues"
        assert entry["payload"]["transactionId"] == 777
        assert entry["reason"]
        assert entry["station_id"] == "CP1"
        path = f"/v1/quarantine/{entry['id']}"
        assert await world.get(path) == entry
        assert_problem(await world.client.post(f"{path}/resolve", json={"note": ""}), 422, pointer="#/note")
        settled = await world.client.post(f"{path}/resolve", json={"note": "Test message"})
        assert settled.json()["resolution"] == "Test message"
        assert_problem(await world.client.post(f"{path}/resolve", json={"note": "again"}), 409)
        assert (await world.get("/v1/quarantine", resolved="false"))["items"] == []
        assert len((await world.get("/v1/quarantine", resolved="true"))["items"]) == 1


async def test_start_and_end_are_told_by_the_outbox_in_order(world: World) -> None:
    async with world.client.stream("GET", "/v1/events?type=transaction") as stream:
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith(":")
        async with world.station("CP1") as station:
            number = await _session_16(station)
            await station.call("StopTransaction", {"transactionId": number, "meterStop": 1750, "timestamp": NOW})
        told = []
        async with asyncio.timeout(30):
            async for line in lines:
                if line.startswith("data: "):
                    told.append(msgspec.json.decode(line[6:]))
                    if told[-1]["type"] == "transaction.ended":
                        break
    (one,) = (await world.get("/v1/transactions"))["items"]
    kinds = [event["type"] for event in told]
    assert kinds.index("transaction.started") < kinds.index("transaction.ended")
    assert kinds.count("transaction.started") == kinds.count("transaction.ended") == 1
    assert set(kinds) == {"transaction.started", "transaction.updated", "transaction.ended"}
    last = told[-1]
    assert last["station_id"] == last["data"]["station_id"] == "CP1"
    assert (last["data"]["id"], last["data"]["energy_wh"], last["data"]["state"]) == (one["id"], 750, "closed")
    async with asyncio.timeout(30):
        while (await world.get("/v1/outbox"))["items"]:
            await asyncio.sleep(0.02)


async def test_what_was_committed_before_a_crash_is_told_after_it(world: World) -> None:
    payload = '{"id": "7", "station_id": "CP9", "energy_wh": 1}'
    config = world.server.config
    await world.server.stop()
    assert config.database_url is not None
    database = Database(config.database_url)
    async with database.change() as db:
        await db.executemany(
            "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES (1, $1, '7', $2)",
            [("transaction.started", payload), ("transaction.ended", payload)],
        )
    await database.close()
    again = Server(config)
    await again.start()
    try:
        base = f"http://127.0.0.1:{again.http.port}"
        async with httpx.AsyncClient(base_url=base, headers=world.client.headers, timeout=60) as client:
            async with asyncio.timeout(30):
                while (await client.get("/v1/outbox")).json()["items"]:
                    await asyncio.sleep(0.02)
            headers = {"Last-Event-ID": "an-event-of-the-process-before"}
            async with client.stream("GET", "/v1/events", headers=headers) as stream:
                kinds = []
                async with asyncio.timeout(30):
                    async for line in stream.aiter_lines():
                        if line.startswith("event: "):
                            kinds.append(line[7:])
                        if len(kinds) == 3:
                            break
        assert kinds == ["lost", "transaction.started", "transaction.ended"]
    finally:
        await again.stop()
