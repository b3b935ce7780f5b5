"""Block N: monitors and their events, logs, what stations know of customers."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import Asked, Station, moment
from tests.conformance.test_d_local_list import Listed

UPLOAD = "https://files.example.org/uploads/"
EVSE_STATE: dict[str, Any] = {"component": "EVSE", "evse_id": 1, "variable": "AvailabilityState"}
STATION_STATE: dict[str, Any] = {"component": "ChargingStation", "variable": "AvailabilityState"}
POWER: dict[str, Any] = {"component": "ChargingStation", "variable": "Power"}


def on_wire(criterion: dict[str, Any]) -> dict[str, Any]:
    """A component and variable as OCPP writes them."""
    component: dict[str, Any] = {"name": criterion["component"]}
    if "evse_id" in criterion:
        component["evse"] = {"id": criterion["evse_id"]}
    return {"component": component, "variable": {"name": criterion["variable"]}}


# -- monitors ----------------------------------------------------------------------------------------------------------------


async def report_asked(
    csms: Operator, station: Station, answer: str, criteria: list[str], variables: list[dict[str, Any]]
) -> Asked:
    """The operator asks for a report of monitors."""
    doing = csms.command(station, "get_monitoring_report", criteria=criteria, variables=variables)
    words = [f"{one.capitalize()}Monitoring" for one in criteria]
    called = await station.expect(
        "GetMonitoringReport",
        monitoringCriteria=words or None,
        componentVariable=[on_wire(one) for one in variables] or None,
    )
    await called.answer(status=answer)
    await doing.ends("accepted" if answer == "Accepted" else "rejected", answer)
    return called


async def reported(csms: Operator, called: Asked, kind: str, *variables: dict[str, Any]) -> None:
    """The station reports one monitor of each variable, one a message, and the operator sees them."""
    station = called.station
    for number, variable in enumerate(variables):
        monitor: dict[str, Any] = {"id": 10 + number, "transaction": False, "value": 1, "type": kind, "severity": 5}
        if station.version == "2.1":
            monitor["eventNotificationType"] = "CustomMonitor"
        told = {
            "requestId": called["requestId"],
            "generatedAt": moment(),
            "seqNo": number,
            "tbc": number < len(variables) - 1,
            "monitor": [{**on_wire(variable), "variableMonitoring": [monitor]}],
        }
        assert await station.send("NotifyMonitoringReport", told) == {}
    await csms.request_becomes(station, "monitoring_report", called["requestId"], "complete")
    seen = await csms.items(f"/charging-stations/{station.id}/monitors")
    found = {(one["id"], one["kind"], one["variable"]["component"], one["variable"]["variable"]) for one in seen}
    assert found == {(10 + n, kind, one["component"], one["variable"]) for n, one in enumerate(variables)}


@case()
async def test_TC_N_01_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await report_asked(csms, station, "EmptyResultSet", ["delta"], [])
    called = await report_asked(csms, station, "Accepted", ["threshold"], [])
    await reported(csms, called, "UpperThreshold", POWER, EVSE_STATE)


@case()
async def test_TC_N_02_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await report_asked(csms, station, "EmptyResultSet", [], [POWER])
    called = await report_asked(csms, station, "Accepted", [], [EVSE_STATE])
    await reported(csms, called, "Delta", EVSE_STATE)


@case()
async def test_TC_N_03_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await report_asked(csms, station, "EmptyResultSet", ["delta"], [EVSE_STATE])
    called = await report_asked(csms, station, "Accepted", ["threshold"], [POWER])
    await reported(csms, called, "UpperThreshold", POWER)


@case()
async def test_TC_N_60_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    both = [STATION_STATE, EVSE_STATE]
    await report_asked(csms, station, "EmptyResultSet", ["delta"], both)
    called = await report_asked(csms, station, "Accepted", ["threshold"], both)
    await reported(csms, called, "UpperThreshold", *both)


@case()
async def test_TC_N_47_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    called = await report_asked(csms, station, "Accepted", [], [])
    await reported(csms, called, "Delta", STATION_STATE, EVSE_STATE, POWER)


@case()
async def test_TC_N_05_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    for base, word in (("all", "All"), ("factory_default", "FactoryDefault"), ("hard_wired_only", "HardWiredOnly")):
        doing = csms.command(station, "set_monitoring_base", base=base)
        await (await station.expect("SetMonitoringBase", monitoringBase=word)).answer(status="Accepted")
        await doing.ends("accepted", "Accepted")


async def monitored(csms: Operator, version: str, *variables: dict[str, Any]) -> None:
    """The operator sets monitors for changes."""
    station = await csms.booted(version)
    wanted = [{"variable": one, "kind": "Delta", "value": 1, "severity": 8} for one in variables]
    doing = csms.command(station, "set_variable_monitoring", monitors=wanted)
    called = await station.expect("SetVariableMonitoring")
    data = called["setMonitoringData"]
    assert [(one["value"], one["type"], one["severity"]) for one in data] == [(1, "Delta", 8)] * len(variables)
    assert [{"component": one["component"], "variable": one["variable"]} for one in data] == [
        on_wire(one) for one in variables
    ]
    results = [
        {"id": 20 + number, "status": "Accepted", "type": "Delta", "severity": 8, **on_wire(one)}
        for number, one in enumerate(variables)
    ]
    await called.answer(setMonitoringResult=results)
    await doing.ends("accepted", "Accepted")


@case()
async def test_TC_N_08_CSMS(csms: Operator, version: str) -> None:
    await monitored(csms, version, EVSE_STATE)


@case()
async def test_TC_N_09_CSMS(csms: Operator, version: str) -> None:
    await monitored(csms, version, EVSE_STATE, STATION_STATE)


async def level(csms: Operator, version: str, answer: str, state: str) -> None:
    """The operator sets the monitoring level."""
    station = await csms.booted(version)
    doing = csms.command(station, "set_monitoring_level", severity=4)
    await (await station.expect("SetMonitoringLevel", severity=4)).answer(status=answer)
    await doing.ends(state, answer)


@case()
async def test_TC_N_16_CSMS(csms: Operator, version: str) -> None:
    await level(csms, version, "Accepted", "accepted")


@case()
async def test_TC_N_17_CSMS(csms: Operator, version: str) -> None:
    await level(csms, version, "Rejected", "rejected")


@case()
async def test_TC_N_44_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "clear_variable_monitoring", ids=[33])
    called = await station.expect("ClearVariableMonitoring", id=[33])
    await called.answer(clearMonitoringResult=[{"id": 33, "status": "Rejected"}])
    assert (await doing.ends("rejected", "Rejected"))["reason"]


# -- events ------------------------------------------------------------------------------------------------------------------


async def event(csms: Operator, station: Station, number: int, **more: Any) -> None:
    """A NotifyEvent; its answer is empty, and the operator sees the event."""
    told: dict[str, Any] = {
        "eventId": number,
        "timestamp": moment(),
        "trigger": "Alerting",
        "actualValue": "45",
        "eventNotificationType": "CustomMonitor",
        "variableMonitoringId": 10,
        "component": {"name": "ChargingStation"},
        "variable": {"name": "Temperature"},
        **more,
    }
    assert await station.send("NotifyEvent", generatedAt=moment(), seqNo=0, tbc=False, eventData=[told]) == {}
    (seen,) = await csms.eventually(
        lambda: csms.items(f"/charging-stations/{station.id}/events", limit=1),
        lambda rows: bool(rows) and rows[0]["event_id"] == number,
    )
    assert (seen["trigger"], seen["actual_value"]) == (told["trigger"], told["actualValue"])
    assert (seen["cleared"], seen["origin"]) == (told.get("cleared", False), told["eventNotificationType"])


@case()
async def test_TC_N_21_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    for number in (1, 2, 3):
        await event(csms, station, number, eventNotificationType="HardWiredNotification")


@case()
async def test_TC_N_24_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    for number in (1, 2, 3):
        await event(csms, station, number, trigger="Periodic")


@case()
async def test_TC_N_48_CSMS(csms: Operator, version: str) -> None:
    await event(csms, await csms.booted(version), 1, actualValue="")


@case()
async def test_TC_N_49_CSMS(csms: Operator, version: str) -> None:
    await event(csms, await csms.booted(version), 1, cleared=True)


@case()
async def test_TC_N_50_CSMS(csms: Operator, version: str) -> None:
    await event(csms, await csms.booted(version), 1, trigger="Periodic")


# -- logs --------------------------------------------------------------------------------------------------------------------


async def log_asked(csms: Operator, station: Station, kind: str, answer: str, state: str) -> int:
    """The operator asks for a log; the number it is asked for under."""
    doing = csms.command(station, "get_log", kind=kind, location=UPLOAD)
    called = await station.expect("GetLog", logType=f"{kind.capitalize()}Log")
    assert called["log"]["remoteLocation"] == UPLOAD
    await called.answer(status=answer, **({} if answer == "Rejected" else {"filename": "log.zip"}))
    await doing.ends(state, answer)
    number: int = called["requestId"]
    return number


async def tells(station: Station, number: int, *statuses: str) -> None:
    """LogStatusNotifications one after another."""
    for status in statuses:
        assert await station.send("LogStatusNotification", status=status, requestId=number) == {}


async def uploaded(csms: Operator, station: Station, number: int) -> None:
    """The log comes, and the operator sees it."""
    await tells(station, number, "Uploading", "Uploaded")
    await csms.request_becomes(station, "log", number, "complete")


@case()
async def test_TC_N_25_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await uploaded(csms, station, await log_asked(csms, station, "diagnostics", "Accepted", "accepted"))


@case()
async def test_TC_N_34_CSMS(csms: Operator, version: str) -> None:
    await log_asked(csms, await csms.booted(version), "diagnostics", "Rejected", "rejected")


@case()
async def test_TC_N_35_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await uploaded(csms, station, await log_asked(csms, station, "security", "Accepted", "accepted"))


@case()
async def test_TC_N_36_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    first = await log_asked(csms, station, "diagnostics", "Accepted", "accepted")
    await tells(station, first, "Uploading")
    second = await log_asked(csms, station, "diagnostics", "AcceptedCanceled", "accepted")
    assert second != first
    await tells(station, first, "AcceptedCanceled")
    await uploaded(csms, station, second)


# -- what stations know of customers -----------------------------------------------------------------------------------------

HASHES = {"hashAlgorithm": "SHA256", "issuerNameHash": "a1" * 32, "issuerKeyHash": "b2" * 32, "serialNumber": "1f"}


async def customer_asked(
    csms: Operator,
    version: str,
    *,
    report: bool,
    clear: bool,
    data: str | None,
    answer: str = "Accepted",
    who: tuple[dict[str, Any], dict[str, Any]] | None = None,
) -> None:
    """The operator has the station report or forget what it knows of a customer; what it reports comes in two parts.

    Args:
        who: how the operator names the customer, and how OCPP does; an id token without.
    """
    station = await csms.booted(version)
    if who is None:
        token = await csms.id_token()
        who = {"id_token": {"value": token.value, "type": token.type}}, {"idToken": token.wire}
    body = {"report": report, "clear": clear, **who[0]}
    doing = csms.begin("POST", f"/charging-stations/{station.id}/customer-information", body, wait_s=30)
    called = await station.expect("CustomerInformation", report=report, clear=clear, **who[1])
    assert {"idToken", "customerCertificate", "customerIdentifier"} & set(called.payload) == set(who[1])
    await called.answer(status=answer)
    await doing.ends(answer.lower(), answer)
    if data is None:
        return
    half = len(data) // 2
    for number, part in enumerate((data[:half], data[half:])):
        told = {"requestId": called["requestId"], "generatedAt": moment(), "seqNo": number, "data": part}
        assert await station.send("NotifyCustomerInformation", told, tbc=number == 0) == {}
    if data and report:
        (row,) = await csms.eventually(
            lambda: csms.items("/customer-information", station_id=station.id),
            lambda rows: bool(rows) and rows[0]["complete"],
        )
        assert (await csms.post(f"/customer-information/{row['id']}/show"))["text"] == data


@case()
async def test_TC_N_27_CSMS(csms: Operator, version: str) -> None:
    await customer_asked(csms, version, report=True, clear=False, data="In the cache since Monday.")


@case()
async def test_TC_N_28_CSMS(csms: Operator, version: str) -> None:
    await customer_asked(csms, version, report=True, clear=False, data="")


@case()
async def test_TC_N_29_CSMS(csms: Operator, version: str) -> None:
    await customer_asked(csms, version, report=True, clear=False, data=None, answer="Rejected")


@case()
async def test_TC_N_30_CSMS(csms: Operator, version: str) -> None:
    await customer_asked(csms, version, report=True, clear=True, data="In the cache since Monday.")


@case()
async def test_TC_N_31_CSMS(csms: Operator, version: str) -> None:
    await customer_asked(csms, version, report=True, clear=True, data="")


@case()
async def test_TC_N_32_CSMS(csms: Operator, version: str) -> None:
    await customer_asked(csms, version, report=False, clear=True, data="")


@case()
async def test_TC_N_62_CSMS(csms: Operator, version: str) -> None:
    name = {"identifier": "OpenChargeAlliance"}, {"customerIdentifier": "OpenChargeAlliance"}
    await customer_asked(csms, version, report=True, clear=True, data="Known.", who=name)


@case()
async def test_TC_N_63_CSMS(csms: Operator, version: str) -> None:
    ours = {
        "hash_algorithm": HASHES["hashAlgorithm"],
        "issuer_name_hash": HASHES["issuerNameHash"],
        "issuer_key_hash": HASHES["issuerKeyHash"],
        "serial_number": HASHES["serialNumber"],
    }
    who: tuple[dict[str, Any], dict[str, Any]] = {"certificate": ours}, {"customerCertificate": HASHES}
    await customer_asked(csms, version, report=True, clear=True, data="Known.", who=who)


@case()
async def test_TC_N_46_CSMS(csms: Operator, version: str) -> None:
    listed = await Listed.of(csms, version)
    token = await listed.filled()
    station = listed.station
    who = {"id_token": {"value": token.value, "type": token.type}}
    body = {"report": True, "clear": True, **who}
    doing = csms.begin("POST", f"/charging-stations/{station.id}/customer-information", body, wait_s=30)
    called = await station.expect("CustomerInformation", report=True, clear=True, idToken=token.wire)
    await called.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    told = {"requestId": called["requestId"], "generatedAt": moment(), "seqNo": 0, "data": "Known since Monday."}
    assert await station.send("NotifyCustomerInformation", told) == {}
    # who forgets the customer forgets the id token; the list follows by itself
    await csms.delete(f"/id-tokens/{token.id}")
    await listed.update("Differential")


@case()
async def test_TC_N_18_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    limit = {
        "component": "MonitoringCtrlr",
        "variable": "ItemsPerMessage",
        "variable_instance": "ClearVariableMonitoring",
    }
    doing = csms.command(station, "get_variables", variables=[limit])
    called = await station.expect("GetVariables")
    (row,) = called["getVariableData"]
    result = {"attributeStatus": "Accepted", "attributeValue": "2", "component": row["component"]}
    await called.answer(getVariableResult=[{**result, "variable": row["variable"]}])
    await doing.ends("accepted")
    doing = csms.begin("POST", f"/charging-stations/{station.id}/monitors/clear", {"ids": [1, 2, 3]})
    for ids in ([1, 2], [3]):
        called = await station.expect("ClearVariableMonitoring", id=ids)
        await called.answer(clearMonitoringResult=[{"id": one, "status": "NotFound"} for one in ids])
    assert (await doing.done())["messages"] == 2
