"""A charging station nobody here wrote, the package `ocpp` over `websockets`, against the server as a user starts it.

One server process with its own PostgreSQL; each OCPP version registers a station over REST, charges once by card and
once from afar, and REST tells exactly what the station sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from ocpp.routing import after, on
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK

from ocpp import v16, v21, v201
from tests.support import postgres

KEY = "an-admin-key-of-the-test"
TAG = "04A2B3C4D5E6F7"
BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


def moment(minutes: float = 0) -> str:
    return (BEGIN + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


@dataclass
class Address:
    """Where the server is."""

    ocpp: str
    rest: str


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    """`chargeplane serve` as a process of its own, as `make run` starts it, on free ports."""
    folder = postgres.make_data_dir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHARGEPLANE_")}
    environment |= {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "CHARGEPLANE_DATA_DIR": str(folder),
        "CHARGEPLANE_BIND": "127.0.0.1",
        "CHARGEPLANE_HTTP_PORT": "0",
        "CHARGEPLANE_OCPP_PORT": "0",
        "CHARGEPLANE_ADMIN_KEY": KEY,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from chargeplane.main.cli import main; main(['serve'])"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"OCPP at (ws://\S+)/STATION_ID, REST at (http://\S+)/v1", line.decode())
            if found:
                yield Address(found[1], found[2])
                break
        else:
            raise AssertionError(f"The server did not start:\n{(folder / 'log').read_text()}")
    finally:
        process.terminate()
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
            postgres.remove_data_dir(folder)


class Said:
    """Records the CALLs a station sends, as they go out; mixed into the library's classes."""

    sent: list[tuple[str, Any]]

    async def _send(self, message: str) -> None:
        frame = json.loads(message)
        if frame[0] == 2:
            self.sent.append((frame[2], frame[3]))
        await super()._send(message)  # type: ignore[misc]

    def said(self, *actions: str) -> list[tuple[str, Any]]:
        return [(action, payload) for action, payload in self.sent if action in actions]


class Station16(Said, v16.ChargePoint):
    """OCPP 1.6: what it answers to the server's calls."""

    def __init__(self, name: str, socket: Any) -> None:
        super().__init__(name, socket, response_timeout=30)
        self.sent = []
        self.number = 0
        self.stopped = asyncio.Event()

    async def start_transaction(self, tag: str, meter_wh: int, at: str) -> v16.call_result.StartTransaction:
        answer = await self.call(
            v16.call.StartTransaction(connector_id=1, id_tag=tag, meter_start=meter_wh, timestamp=at), suppress=False
        )
        self.number = answer.transaction_id
        return answer

    @on("GetConfiguration")
    def _configuration(self, **asked: Any) -> Any:
        return v16.call_result.GetConfiguration(
            configuration_key=[{"key": "MeterValueSampleInterval", "readonly": False, "value": "60"}],
            unknown_key=[key for key in asked.get("key", ()) if key != "MeterValueSampleInterval"],
        )

    @on("RemoteStartTransaction")
    def _remote_start(self, **asked: Any) -> Any:
        return v16.call_result.RemoteStartTransaction(status="Accepted")

    @after("RemoteStartTransaction")
    async def _remotely_started(self, id_tag: str, connector_id: int | None = None, **_: Any) -> None:
        await self.start_transaction(id_tag, 2_000_000, moment(10))

    @on("RemoteStopTransaction")
    def _remote_stop(self, transaction_id: int) -> Any:
        return v16.call_result.RemoteStopTransaction(status="Accepted" if transaction_id == self.number else "Rejected")

    @after("RemoteStopTransaction")
    async def _remotely_stopped(self, transaction_id: int) -> None:
        await self.call(
            v16.call.StopTransaction(
                transaction_id=transaction_id, meter_stop=2_000_321, timestamp=moment(12), reason="Remote"
            ),
            suppress=False,
        )
        self.stopped.set()

    @on("Reset")
    def _reset(self, type: str) -> Any:
        return v16.call_result.Reset(status="Accepted" if type == "Hard" else "Rejected")


class Answers2x(Said):
    """OCPP 2.0.1 and 2.1: what a station answers to the server's calls; `words` is the version's package."""

    words: Any
    transaction_id = ""

    def begin(self) -> None:
        self.sent = []
        self.seq_no = 0
        self.stopped = asyncio.Event()

    async def report(self, kind: str, trigger: str, at: str, **more: Any) -> Any:
        info = {"transaction_id": self.transaction_id, **more.pop("info", {})}
        answer = await self.call(  # type: ignore[attr-defined]
            self.words.call.TransactionEvent(
                event_type=kind, timestamp=at, trigger_reason=trigger, seq_no=self.seq_no, transaction_info=info, **more
            ),
            suppress=False,
        )
        self.seq_no += 1
        return answer

    @on("GetVariables")
    def _variables(self, get_variable_data: list[dict[str, Any]]) -> Any:
        return self.words.call_result.GetVariables(
            get_variable_result=[
                {"attribute_status": "Accepted", "attribute_value": "60", **asked} for asked in get_variable_data
            ]
        )

    @on("RequestStartTransaction")
    def _remote_start(self, **asked: Any) -> Any:
        return self.words.call_result.RequestStartTransaction(status="Accepted")

    @after("RequestStartTransaction")
    async def _remotely_started(self, id_token: dict[str, Any], remote_start_id: int, **_: Any) -> None:
        self.transaction_id, self.seq_no = f"{self.id}-remote", 0  # type: ignore[attr-defined]
        await self.report(
            "Started",
            "RemoteStart",
            moment(10),
            info={"remote_start_id": remote_start_id},
            evse={"id": 1, "connector_id": 1},
            id_token=id_token,
            meter_value=[energy(moment(10), 2_000_000, "Transaction.Begin")],
        )

    @on("RequestStopTransaction")
    def _remote_stop(self, transaction_id: str) -> Any:
        return self.words.call_result.RequestStopTransaction(
            status="Accepted" if transaction_id == self.transaction_id else "Rejected"
        )

    @after("RequestStopTransaction")
    async def _remotely_stopped(self, transaction_id: str) -> None:
        await self.report(
            "Ended",
            "RemoteStop",
            moment(12),
            info={"stopped_reason": "Remote"},
            evse={"id": 1, "connector_id": 1},
            meter_value=[energy(moment(12), 2_000_321, "Transaction.End")],
        )
        self.stopped.set()

    @on("Reset")
    def _reset(self, type: str, **_: Any) -> Any:
        return self.words.call_result.Reset(status="Accepted" if type == "Immediate" else "Rejected")


class Station201(Answers2x, v201.ChargePoint):
    words = v201


class Station21(Answers2x, v21.ChargePoint):
    words = v21


def energy(at: str, value: float, context: str = "Sample.Periodic", **unit: Any) -> dict[str, Any]:
    sample: dict[str, Any] = {"value": value, "measurand": "Energy.Active.Import.Register", "context": context}
    if unit:
        sample["unit_of_measure"] = unit
    return {"timestamp": at, "sampled_value": [sample]}


@dataclass
class Operator:
    """Whoever works with REST."""

    client: httpx.AsyncClient
    name: str
    password: str = ""

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(f"/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json(parse_float=Decimal)

    async def post(self, path: str, body: Any, status: int) -> Any:
        answer = await self.client.post(f"/v1{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def command(self, **body: Any) -> Any:
        return await self.post(f"/charging-stations/{self.name}/commands?wait_s=30", body, 202)

    async def until(self, path: str, holds: Callable[[Any], bool], **query: Any) -> Any:
        """The resource as soon as `holds` of it."""
        async with asyncio.timeout(30):
            while not holds(found := await self.get(path, **query)):
                await asyncio.sleep(0.02)
        return found


@contextlib.asynccontextmanager
async def operator(address: Address, name: str) -> AsyncIterator[Operator]:
    """Registers the station (security profile 1) and a card."""
    async with httpx.AsyncClient(
        base_url=address.rest, headers={"Authorization": f"Bearer {KEY}"}, timeout=60
    ) as client:
        one = Operator(client, name)
        made = await one.post("/charging-stations", {"station_id": name, "security_profile": 1}, 201)
        one.password = made["password"]
        card = await client.post("/v1/id-tokens", json={"id_token": TAG})
        assert card.status_code in (201, 409), card.text
        yield one


@contextlib.asynccontextmanager
async def online(address: Address, who: Operator, kind: Any, protocol: str, **options: Any) -> AsyncIterator[Any]:
    """The station, connected with its password and its inbox read."""
    login = b64encode(f"{who.name}:{who.password}".encode()).decode()
    async with connect(
        f"{address.ocpp}/{who.name}",
        subprotocols=[protocol],  # type: ignore[list-item]
        additional_headers={"Authorization": f"Basic {login}"},
        **options,
    ) as socket:
        assert socket.subprotocol == protocol
        assert socket.response is not None
        compressed = "permessage-deflate" in socket.response.headers.get("Sec-WebSocket-Extensions", "")
        assert compressed is ("compression" not in options)
        station = kind(who.name, socket)
        reading = asyncio.create_task(station.start())
        try:
            yield station
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosedOK):
                await reading


async def by_remote_control(who: Operator, station: Any, names: dict[str, str]) -> None:
    """Starts, stops and resets without a word of an OCPP version."""
    started = await who.command(type="start", id_token=TAG, evse_id=1)
    assert (started["state"], started["action"]) == ("accepted", names["start"])
    found = await who.until("/transactions", lambda page: page["items"], station_id=who.name, state="open")
    (opened,) = found["items"]
    stopped = await who.command(type="stop", transaction_id=opened["id"])
    assert (stopped["state"], stopped["action"]) == ("accepted", names["stop"])
    await asyncio.wait_for(station.stopped.wait(), 30)
    done = await who.get(f"/transactions/{opened['id']}")
    assert (done["state"], done["energy_wh"], done["stop_reason"]) == ("closed", 321, "Remote")
    assert done["id_token"] == TAG
    reset = await who.command(type="reset", kind="immediate")
    assert (reset["state"], reset["action"]) == ("accepted", "Reset")
    told = await who.get(f"/commands/{reset['id']}")
    assert told["state"] == "accepted"


async def log_shows(who: Operator, station: Any, called: list[str]) -> None:
    """The message log has every CALL of both sides, payloads as sent; heartbeats are counted, not logged singly."""
    path = f"/charging-stations/{who.name}/messages"
    sent = [one for one in station.sent if one[0] != "Heartbeat"]
    wanted = [action for action, _ in sent]
    page = await who.until(path, lambda found: len(found["items"]) >= len(wanted), direction="from_station", limit=100)
    ours = list(reversed(page["items"]))
    assert [entry["action"] for entry in ours] == wanted
    for entry, (_, payload) in zip(ours, sent, strict=True):
        assert entry["outcome"] == "callresult"
        assert entry["payload"] == decimal(payload)
        assert entry["latency_ms"] >= 0
    page = await who.until(path, lambda found: len(found["items"]) >= len(called), direction="to_station")
    assert [entry["action"] for entry in reversed(page["items"])] == called
    assert all(entry["outcome"] == "callresult" for entry in page["items"])


def decimal(payload: Any) -> Any:
    return json.loads(json.dumps(payload), parse_float=Decimal)


async def events_are(who: Operator, transaction_id: str, sent: list[tuple[str, Any]]) -> None:
    events = (await who.get(f"/transactions/{transaction_id}/events"))["items"]
    assert [(event["action"], event["payload"]) for event in events] == [
        (action, decimal(payload)) for action, payload in sent
    ]


async def registers(who: Operator, transaction_id: str) -> list[tuple[str, Decimal, str]]:
    """The energy register's readings: the station's time, the value, the unit."""
    values = (await who.get(f"/transactions/{transaction_id}/meter-values", limit=100))["items"]
    return [
        (value["at"], sample["value"], sample["unit"])
        for value in values
        for sample in value["samples"]
        if sample["measurand"] == "Energy.Active.Import.Register"
    ]


async def until_connected(who: Operator, connected: bool) -> Any:
    return await who.until(f"/charging-stations/{who.name}", lambda one: one["connected"] is connected)


async def test_session_of_a_16_station_with_compression(address: Address) -> None:
    async with operator(address, "FOREIGN-16") as who, online(address, who, Station16, "ocpp1.6") as station:
        call = v16.call
        booted = await station.call(
            call.BootNotification(
                charge_point_model="M16", charge_point_vendor="Foreign", firmware_version="1.2.3", meter_type="E"
            ),
            suppress=False,
        )
        assert booted.status == "Accepted"
        assert booted.interval > 0
        assert (await station.call(call.Heartbeat(), suppress=False)).current_time
        for status in ("Available", "Preparing"):
            await station.call(
                call.StatusNotification(connector_id=1, error_code="NoError", status=status, timestamp=moment()),
                suppress=False,
            )
        assert (await station.call(call.Authorize(id_tag=TAG), suppress=False)).id_tag_info["status"] == "Accepted"
        refused = await station.call(call.Authorize(id_tag="NOBODYS"), suppress=False)
        assert refused.id_tag_info["status"] == "Invalid"

        started = await station.start_transaction(TAG, 1_234_567, moment())
        assert started.id_tag_info["status"] == "Accepted"
        number = started.transaction_id
        assert number > 0
        for minutes, kwh, watts in ((1, "1234.890", "7360.5"), (2, "1238.001", "7400"), (3, "1241.4", "11000")):
            await station.call(
                call.MeterValues(
                    connector_id=1,
                    transaction_id=number,
                    meter_value=[
                        {
                            "timestamp": moment(minutes),
                            "sampledValue": [
                                {"value": kwh, "measurand": "Energy.Active.Import.Register", "unit": "kWh"},
                                {"value": watts, "measurand": "Power.Active.Import", "unit": "W"},
                                {"value": "16.1", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
                            ],
                        }
                    ],
                ),
                suppress=False,
            )
        await station.call(
            call.StopTransaction(
                transaction_id=number, meter_stop=1_242_321, timestamp=moment(4), id_tag=TAG, reason="EVDisconnected"
            ),
            suppress=False,
        )

        (one,) = (await who.get("/transactions", station_id=who.name))["items"]
        assert (one["state"], one["energy_wh"]) == ("closed", 7754)
        assert (one["meter_start_wh"], one["meter_stop_wh"]) == (1_234_567, 1_242_321)
        assert (one["started_at"], one["stopped_at"]) == (moment(), moment(4))
        assert (one["ocpp_transaction_id"], one["stop_reason"]) == (str(number), "EVDisconnected")
        assert (one["id_token"], one["authorization_status"], one["flags"]) == (TAG, "Accepted", [])
        sent = station.said("StartTransaction", "MeterValues", "StopTransaction")
        await events_are(who, one["id"], sent)
        assert await registers(who, one["id"]) == [
            (moment(), 1_234_567, "Wh"),
            (moment(1), 1_234_890, "Wh"),
            (moment(2), 1_238_001, "Wh"),
            (moment(3), 1_241_400, "Wh"),
            (moment(4), 1_242_321, "Wh"),
        ]
        raw = await who.post(
            f"/charging-stations/{who.name}/calls",
            {"action": "GetConfiguration", "payload": {"key": ["MeterValueSampleInterval", "Foreign"]}},
            200,
        )
        assert raw["outcome"] == "callresult"
        assert raw["payload"] == {
            "configurationKey": [{"key": "MeterValueSampleInterval", "readonly": False, "value": "60"}],
            "unknownKey": ["Foreign"],
        }
        await by_remote_control(who, station, {"start": "RemoteStartTransaction", "stop": "RemoteStopTransaction"})
        seen = await until_connected(who, True)
        assert (seen["vendor"], seen["model"], seen["ocpp_version"]) == ("Foreign", "M16", "1.6")
        assert seen["evses"][0]["connectors"][0]["reported_status"] == "Preparing"
        await log_shows(who, station, ["GetConfiguration", "RemoteStartTransaction", "RemoteStopTransaction", "Reset"])
        await station._connection.close()
        await until_connected(who, False)


async def session_2x(address: Address, name: str, kind: Any, protocol: str, version: str, **options: Any) -> None:
    async with operator(address, name) as who, online(address, who, kind, protocol, **options) as station:
        station.begin()
        call = station.words.call

        async def tell(payload: Any) -> Any:
            return await station.call(payload, suppress=False)

        booted = await tell(
            call.BootNotification(
                charging_station={"vendor_name": "Foreign", "model": "M2", "serial_number": "S-1"}, reason="PowerUp"
            )
        )
        assert booted.status == "Accepted"
        assert (await tell(call.Heartbeat())).current_time
        await tell(call.StatusNotification(timestamp=moment(), connector_status="Occupied", evse_id=1, connector_id=1))
        card = {"id_token": TAG, "type": "ISO14443"}
        assert (await tell(call.Authorize(id_token=card))).id_token_info["status"] == "Accepted"
        unknown = await tell(call.Authorize(id_token={"id_token": "NOBODYS", "type": "ISO14443"}))
        assert unknown.id_token_info["status"] == "Unknown"

        station.transaction_id = f"{name}-1"
        evse = {"id": 1, "connector_id": 1}
        started = await station.report(
            "Started",
            "Authorized",
            moment(),
            evse=evse,
            id_token=card,
            info={"charging_state": "EVConnected"},
            meter_value=[energy(moment(), 3.141, "Transaction.Begin", unit="kWh")],
        )
        assert started.id_token_info["status"] == "Accepted"
        await station.report(
            "Updated",
            "ChargingStateChanged",
            moment(1),
            info={"charging_state": "Charging"},
            meter_value=[energy(moment(1), 3.2, unit="kWh")],
        )
        await station.report(
            "Updated",
            "MeterValuePeriodic",
            moment(2),
            info={"charging_state": "Charging"},
            meter_value=[energy(moment(2), 4.5, unit="Wh", multiplier=3)],
        )
        await station.report(
            "Ended",
            "StopAuthorized",
            moment(4),
            evse=evse,
            id_token=card,
            info={"stopped_reason": "Local", "charging_state": "EVConnected"},
            meter_value=[energy(moment(4), 5926.5, "Transaction.End")],
        )

        (one,) = (await who.get("/transactions", station_id=name))["items"]
        assert (one["state"], one["energy_wh"]) == ("closed", Decimal("2785.5"))
        assert (one["meter_start_wh"], one["meter_stop_wh"]) == (3141, Decimal("5926.5"))
        assert (one["started_at"], one["stopped_at"]) == (moment(), moment(4))
        assert (one["ocpp_transaction_id"], one["stop_reason"]) == (f"{name}-1", "Local")
        assert (one["id_token"], one["evse_id"], one["connector_id"], one["gaps"]) == (TAG, 1, 1, [])
        assert one["flags"] == []
        await events_are(who, one["id"], station.said("TransactionEvent"))
        assert await registers(who, one["id"]) == [
            (moment(), 3141, "Wh"),
            (moment(1), 3200, "Wh"),
            (moment(2), 4500, "Wh"),
            (moment(4), Decimal("5926.5"), "Wh"),
        ]
        wanted = {"component": {"name": "SampledDataCtrlr"}, "variable": {"name": "TxUpdatedInterval"}}
        raw = await who.post(
            f"/charging-stations/{name}/calls",
            {"action": "GetVariables", "payload": {"getVariableData": [wanted]}},
            200,
        )
        assert raw["payload"]["getVariableResult"] == [
            {"attributeStatus": "Accepted", "attributeValue": "60", **wanted}
        ]
        await by_remote_control(who, station, {"start": "RequestStartTransaction", "stop": "RequestStopTransaction"})
        seen = await until_connected(who, True)
        assert (seen["vendor"], seen["model"], seen["ocpp_version"]) == ("Foreign", "M2", version)
        assert seen["evses"][0]["connectors"][0]["status"] == "Occupied"
        await log_shows(who, station, ["GetVariables", "RequestStartTransaction", "RequestStopTransaction", "Reset"])
        await station._connection.close()
        await until_connected(who, False)


async def test_session_of_a_201_station_without_compression(address: Address) -> None:
    await session_2x(address, "FOREIGN-201", Station201, "ocpp2.0.1", "2.0.1", compression=None)


async def test_session_of_a_21_station_with_compression(address: Address) -> None:
    await session_2x(address, "FOREIGN-21", Station21, "ocpp2.1", "2.1")
