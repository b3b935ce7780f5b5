"""Block B: variables, reports, network profiles."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import Station, moment

OFFLINE = {"component": "OCPPCommCtrlr", "variable": "OfflineThreshold"}
REMOTE = {"component": "AuthCtrlr", "variable": "AuthorizeRemoteStart"}


def wire(variable: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A variable as it stands in messages."""
    named: dict[str, Any] = {"name": variable["variable"]}
    if "variable_instance" in variable:
        named["instance"] = variable["variable_instance"]
    return {"component": {"name": variable["component"]}, "variable": named, **more}


def got(asked: dict[str, Any], value: str) -> dict[str, Any]:
    """A result of GetVariables."""
    return {
        "attributeStatus": "Accepted",
        "component": asked["component"],
        "variable": asked["variable"],
        "attributeType": "Actual",
        "attributeValue": value,
    }


async def value_shown(csms: Operator, station: Station, variable: dict[str, str]) -> str | None:
    """What an operator sees of a variable."""
    (found,) = await csms.items(
        f"/charging-stations/{station.id}/variables", component=variable["component"], variable=variable["variable"]
    )
    value: str | None = found["value"]
    return value


@case()
async def test_TC_B_06_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "get_variables", variables=[OFFLINE])
    asked = await station.expect("GetVariables", getVariableData=[wire(OFFLINE)])
    await asked.answer(getVariableResult=[got(asked["getVariableData"][0], "123")])
    await doing.ends("accepted", "Accepted")
    assert await value_shown(csms, station, OFFLINE) == "123"


@case()
async def test_TC_B_07_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "get_variables", variables=[OFFLINE, REMOTE])
    asked = await station.expect("GetVariables", getVariableData=[wire(OFFLINE), wire(REMOTE)])
    rows = asked["getVariableData"]
    await asked.answer(getVariableResult=[got(rows[0], "123"), got(rows[1], "false")])
    await doing.ends("accepted", "Accepted")
    assert await value_shown(csms, station, OFFLINE) == "123"
    assert await value_shown(csms, station, REMOTE) == "false"


@case()
async def test_TC_B_08_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    of_device = [
        {"component": "DeviceDataCtrlr", "variable": variable, "variable_instance": instance}
        for variable in ("ItemsPerMessage", "BytesPerMessage")
        for instance in ("GetReport", "GetVariables")
    ]
    doing = csms.command(station, "get_variables", variables=[of_device[1]])
    asked = await station.expect("GetVariables", getVariableData=[wire(of_device[1])])
    await asked.answer(getVariableResult=[got(asked["getVariableData"][0], "4")])
    await doing.ends("accepted")
    doing = csms.command(station, "get_variables", variables=[*of_device, REMOTE])
    sizes: list[int] = []
    for _ in range(2):
        asked = await station.expect("GetVariables")
        sizes.append(len(asked["getVariableData"]))
        await asked.answer(getVariableResult=[got(row, "4") for row in asked["getVariableData"]])
    view = await doing.ends("accepted", "Accepted")
    assert sorted(sizes) == [1, 4]
    assert len(view["reply"]["results"]) == 5


@case()
async def test_TC_B_09_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "set_variables", variables=[{**OFFLINE, "value": "123"}])
    asked = await station.expect("SetVariables", setVariableData=[wire(OFFLINE, attributeValue="123")])
    await asked.answer(setVariableResult=[wire(OFFLINE, attributeStatus="Accepted", attributeType="Actual")])
    await doing.ends("accepted", "Accepted")
    assert await value_shown(csms, station, OFFLINE) == "123"


@case()
async def test_TC_B_10_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(
        station, "set_variables", variables=[{**OFFLINE, "value": "123"}, {**REMOTE, "value": "false"}]
    )
    asked = await station.expect(
        "SetVariables",
        setVariableData=[wire(OFFLINE, attributeValue="123"), wire(REMOTE, attributeValue="false")],
    )
    await asked.answer(
        setVariableResult=[wire(each, attributeStatus="Accepted", attributeType="Actual") for each in (OFFLINE, REMOTE)]
    )
    await doing.ends("accepted", "Accepted")
    assert await value_shown(csms, station, OFFLINE) == "123"
    assert await value_shown(csms, station, REMOTE) == "false"


def reported(variable: str, value: str) -> dict[str, Any]:
    """An entry of a report."""
    return {
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": variable},
        "variableAttribute": [{"value": value, "mutability": "ReadWrite"}],
        "variableCharacteristics": {"dataType": "integer", "supportsMonitoring": False},
    }


async def base_report(csms: Operator, version: str, report: str, word: str) -> None:
    """A base report is asked for, told in two parts, and shown."""
    station = await csms.booted(version)
    doing = csms.command(station, "get_base_report", report=report)
    asked = await station.expect("GetBaseReport", reportBase=word)
    assert asked["requestId"] >= 0
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    common = {"requestId": asked["requestId"], "generatedAt": moment()}
    first, second = reported("HeartbeatInterval", "300"), reported("OfflineThreshold", "60")
    assert await station.send("NotifyReport", {**common, "seqNo": 0, "tbc": True, "reportData": [first]}) == {}
    assert await station.send("NotifyReport", {**common, "seqNo": 1, "reportData": [second]}) == {}
    (request,) = await csms.eventually(
        lambda: csms.items(f"/charging-stations/{station.id}/requests"), lambda found: bool(found[0]["finished_at"])
    )
    assert (request["state"], request["request_id"]) == ("complete", asked["requestId"])
    assert await value_shown(csms, station, OFFLINE) == "60"


@case()
async def test_TC_B_12_CSMS(csms: Operator, version: str) -> None:
    await base_report(csms, version, "configuration_inventory", "ConfigurationInventory")


@case()
async def test_TC_B_13_CSMS(csms: Operator, version: str) -> None:
    await base_report(csms, version, "full_inventory", "FullInventory")


@case()
async def test_TC_B_14_CSMS(csms: Operator, version: str) -> None:
    await base_report(csms, version, "summary_inventory", "SummaryInventory")


@case()
async def test_TC_B_18_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    target = {"component": "EVSE", "evse_id": 1, "variable": "AvailabilityState"}
    row = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "AvailabilityState"}}
    doing = csms.command(station, "get_report", criteria=["problem"], targets=[target])
    asked = await station.expect("GetReport", componentCriteria=["Problem"], componentVariable=[row])
    await asked.answer(status="EmptyResultSet")
    await doing.ends("rejected", "EmptyResultSet")
    doing = csms.command(station, "get_report", criteria=["available"], targets=[target])
    asked = await station.expect("GetReport", componentCriteria=["Available"], componentVariable=[row])
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    entry = {
        **row,
        "variableAttribute": [{"value": "Available", "mutability": "ReadOnly"}],
        "variableCharacteristics": {"dataType": "OptionList", "supportsMonitoring": True},
    }
    told = {"requestId": asked["requestId"], "generatedAt": moment(), "seqNo": 0, "reportData": [entry]}
    assert await station.send("NotifyReport", told) == {}
    assert await value_shown(csms, station, {"component": "EVSE", "variable": "AvailabilityState"}) == "Available"


async def network_profile(csms: Operator, version: str, status: str, state: str) -> None:
    """A network profile is given to a station."""
    station = await csms.booted(version)
    doing = csms.command(
        station,
        "set_network_profile",
        slot=1,
        url="wss://csms.example/ocpp",
        security_profile=2,
        interface="Wired0",
        message_timeout_s=30,
        ocpp_version="2.0.1",
    )
    asked = await station.expect("SetNetworkProfile", configurationSlot=1)
    data = asked["connectionData"]
    assert {name: data[name] for name in ("ocppCsmsUrl", "ocppTransport", "ocppInterface")} == {
        "ocppCsmsUrl": "wss://csms.example/ocpp",
        "ocppTransport": "JSON",
        "ocppInterface": "Wired0",
    }
    assert (data["messageTimeout"], data["securityProfile"]) == (30, 2)
    assert data["ocppVersion"] == ("OCPP20" if version == "2.0.1" else "OCPP201")
    await asked.answer(status=status)
    await doing.ends(state, status)


@case()
async def test_TC_B_42_CSMS(csms: Operator, version: str) -> None:
    await network_profile(csms, version, "Accepted", "accepted")


@case()
async def test_TC_B_44_CSMS(csms: Operator, version: str) -> None:
    await network_profile(csms, version, "Failed", "rejected")
