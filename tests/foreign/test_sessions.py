"""A foreign station charges once by card and once from afar, and REST tells exactly what it sent."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

from tests.foreign.house import Address, Operator, operator
from tests.foreign.stations import Station16, Station21, Station201
from tests.foreign.stations.sessions import energy, moment


async def by_remote_control(who: Operator, station: Any, names: dict[str, str]) -> None:
    """Starts and stops without a word of an OCPP version."""
    started = await who.command(type="start", id_token=who.tag, evse_id=1)
    assert (started["state"], started["action"]) == ("accepted", names["start"])
    found = await who.until("/transactions", lambda page: page["items"], station_id=who.name, state="open")
    (opened,) = found["items"]
    stopped = await who.command(type="stop", transaction_id=opened["id"])
    assert (stopped["state"], stopped["action"]) == ("accepted", names["stop"])
    await asyncio.wait_for(station.stopped.wait(), 15)
    done = await who.get(f"/transactions/{opened['id']}")
    assert (done["state"], done["energy_wh"], done["stop_reason"]) == ("closed", 321, "Remote")
    assert done["id_token"] == who.tag
    told = await who.get(f"/commands/{stopped['id']}")
    assert told["state"] == "accepted"


async def log_shows(who: Operator, station: Any, called: list[str]) -> None:
    """The message log has every CALL of both sides, payloads as sent; heartbeats are counted, not logged singly."""
    path = f"{who.station}/messages"
    sent = [one for one in station.line.sent if one[0] != "Heartbeat"]
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
    return await who.until(who.station, lambda one: one["connected"] is connected)


async def test_session_of_a_16_station_with_compression(address: Address) -> None:
    async with operator(address, "FOREIGN-16") as who, Station16.online(who, address) as station:
        assert (await station.tell("Heartbeat")).current_time
        await station.show("Preparing")
        assert (await station.tell("Authorize", id_tag=who.tag)).id_tag_info["status"] == "Accepted"
        assert (await station.tell("Authorize", id_tag="NOBODYS")).id_tag_info["status"] == "Invalid"

        started = await station.start_transaction(who.tag, 1_234_567, moment())
        assert started.id_tag_info["status"] == "Accepted"
        number = started.transaction_id
        assert number > 0
        for minutes, kwh, watts in ((1, "1234.890", "7360.5"), (2, "1238.001", "7400"), (3, "1241.4", "11000")):
            await station.tell(
                "MeterValues",
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
            )
        await station.stop_transaction(1_242_321, moment(4), id_tag=who.tag, reason="EVDisconnected")

        (one,) = await who.items("/transactions", station_id=who.name)
        assert (one["state"], one["energy_wh"]) == ("closed", 7754)
        assert (one["meter_start_wh"], one["meter_stop_wh"]) == (1_234_567, 1_242_321)
        assert (one["started_at"], one["stopped_at"]) == (moment(), moment(4))
        assert (one["ocpp_transaction_id"], one["stop_reason"]) == (str(number), "EVDisconnected")
        assert (one["id_token"], one["authorization_status"], one["flags"]) == (who.tag, "Accepted", [])
        await events_are(who, one["id"], station.told("StartTransaction", "MeterValues", "StopTransaction"))
        assert await registers(who, one["id"]) == [
            (moment(), 1_234_567, "Wh"),
            (moment(1), 1_234_890, "Wh"),
            (moment(2), 1_238_001, "Wh"),
            (moment(3), 1_241_400, "Wh"),
            (moment(4), 1_242_321, "Wh"),
        ]
        raw = await who.post(
            f"{who.station}/calls",
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
        await log_shows(who, station, ["GetConfiguration", "RemoteStartTransaction", "RemoteStopTransaction"])
        await station.line.close()
        await until_connected(who, False)


async def session_2x(address: Address, name: str, kind: Any, **options: Any) -> None:
    async with operator(address, name) as who, kind.online(who, address, **options) as station:
        assert (await station.tell("Heartbeat")).current_time
        await station.show("Occupied")
        card = {"id_token": who.tag, "type": "ISO14443"}
        assert (await station.tell("Authorize", id_token=card)).id_token_info["status"] == "Accepted"
        unknown = await station.tell("Authorize", id_token={"id_token": "NOBODYS", "type": "ISO14443"})
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

        (one,) = await who.items("/transactions", station_id=name)
        assert (one["state"], one["energy_wh"]) == ("closed", Decimal("2785.5"))
        assert (one["meter_start_wh"], one["meter_stop_wh"]) == (3141, Decimal("5926.5"))
        assert (one["started_at"], one["stopped_at"]) == (moment(), moment(4))
        assert (one["ocpp_transaction_id"], one["stop_reason"]) == (f"{name}-1", "Local")
        assert (one["id_token"], one["evse_id"], one["connector_id"], one["gaps"]) == (who.tag, 1, 1, [])
        assert one["flags"] == []
        await events_are(who, one["id"], station.told("TransactionEvent"))
        assert await registers(who, one["id"]) == [
            (moment(), 3141, "Wh"),
            (moment(1), 3200, "Wh"),
            (moment(2), 4500, "Wh"),
            (moment(4), Decimal("5926.5"), "Wh"),
        ]
        wanted = {"component": {"name": "SampledDataCtrlr"}, "variable": {"name": "TxUpdatedInterval"}}
        raw = await who.post(
            f"{who.station}/calls",
            {"action": "GetVariables", "payload": {"getVariableData": [wanted]}},
            200,
        )
        assert raw["payload"]["getVariableResult"] == [
            {"attributeType": "Actual", "attributeStatus": "Accepted", "attributeValue": "60", **wanted}
        ]
        await by_remote_control(who, station, {"start": "RequestStartTransaction", "stop": "RequestStopTransaction"})
        seen = await until_connected(who, True)
        assert (seen["vendor"], seen["model"], seen["ocpp_version"]) == ("Foreign", "M2", station.version)
        assert seen["evses"][0]["connectors"][0]["status"] == "Occupied"
        await log_shows(who, station, ["GetVariables", "RequestStartTransaction", "RequestStopTransaction"])
        await station.line.close()
        await until_connected(who, False)


async def test_session_of_a_201_station_without_compression(address: Address) -> None:
    await session_2x(address, "FOREIGN-201", Station201, compression=None)


async def test_session_of_a_21_station_with_compression(address: Address) -> None:
    await session_2x(address, "FOREIGN-21", Station21)
