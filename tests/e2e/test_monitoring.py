"""Monitors, events, alerts, customer information and silence, between virtual stations and the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.main.config import AlertsConfig, Config, OcppConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import Fault, VirtualStation
from chargeplane.simulator.subjects.customers import CustomerState
from chargeplane.simulator.subjects.monitors import MonitorState, tell_event
from tests.e2e.test_files import KEY, House
from tests.support import postgres

TWO_X = pytest.mark.parametrize("version", ["2.0.1", "2.1"])
WARMTH = {"component": "ChargingStation", "variable": "Temperature"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    with postgres_server.database() as url:
        server = Server(
            Config(
                bind="127.0.0.1",
                http_port=0,
                ocpp_port=0,
                data_dir=str(tmp_path_factory.mktemp("data")),
                database_url=url,
                admin_key=KEY,
                ocpp=OcppConfig(seen_flush_s=0.05),
                alerts=AlertsConfig(look_every_s=0.2, clock_offset_s=60, silent_intervals=1),
            )
        )
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    made = House(server, tmp_path_factory.getbasetemp())
    yield made
    for station in made.stations:
        await station.close()
        await made.ask("DELETE", f"/v1/charging-stations/{station.station_id}")
    await made.client.aclose()


async def command(house: House, station: VirtualStation, **body: Any) -> dict[str, Any]:
    return dict(await house.ask("POST", f"/v1/charging-stations/{station.station_id}/commands?wait_s=30", body))


def watch(kind: str, value: float, severity: int, variable: dict[str, Any] = WARMTH) -> dict[str, Any]:
    return {"variable": variable, "kind": kind, "value": str(value), "severity": severity}


async def monitors(house: House, station: VirtualStation) -> list[dict[str, Any]]:
    return list((await house.ask("GET", f"/v1/charging-stations/{station.station_id}/monitors"))["items"])


async def events(house: House, station: VirtualStation, query: str = "") -> list[dict[str, Any]]:
    page = await house.ask("GET", f"/v1/charging-stations/{station.station_id}/events?limit=100{query}")
    return list(page["items"])


async def alerts(house: House, station: VirtualStation, kind: str = "station_event") -> list[dict[str, Any]]:
    page = await house.ask("GET", f"/v1/alerts?station_id={station.station_id}&kind={kind}&standing=true")
    return list(page["items"])


async def count(look: Any, number: int) -> bool:
    return len(await look()) == number


@TWO_X
async def test_tc_n_08_monitors_are_set_kept_and_cleared(house: House, version: str) -> None:
    station = await house.station(version)
    done = await command(
        house,
        station,
        type="set_variable_monitoring",
        monitors=[watch("UpperThreshold", 60.5, 4), watch("Periodic", 3600, 8)],
    )
    assert done["state"] == "accepted", done
    kept = await monitors(house, station)
    assert [(one["kind"], one["value"], one["severity"]) for one in kept] == [
        ("UpperThreshold", 60.5, 4),
        ("Periodic", 3600, 8),
    ]
    again = await command(house, station, type="set_variable_monitoring", monitors=[watch("UpperThreshold", 70, 4)])
    assert (again["state"], again["status"]) == ("rejected", "Duplicate")  # N04.FR.10
    gone = await command(house, station, type="clear_variable_monitoring", ids=[kept[0]["id"]])
    assert gone["state"] == "accepted"
    assert [one["kind"] for one in await monitors(house, station)] == ["Periodic"]


async def test_tc_n_18_no_message_holds_more_monitors_than_the_station_takes(house: House) -> None:
    station = await house.station("2.0.1")
    path = f"/v1/charging-stations/{station.station_id}"
    rows = [
        {
            "component": {"name": "MonitoringCtrlr"},
            "variable": {"name": "ItemsPerMessage", "instance": name},
            "variableAttribute": [{"value": "2"}],
        }
        for name in ("SetVariableMonitoring", "ClearVariableMonitoring")
    ]
    told = {"requestId": 99, "generatedAt": "2026-01-31T12:00:00Z", "seqNo": 0, "reportData": rows}
    station.send_raw(json.dumps([2, "report-1", "NotifyReport", told]))

    async def known() -> Any:
        page = await house.ask("GET", f"{path}/variables?limit=100")
        return [one for one in page["items"] if one["variable"] == "ItemsPerMessage"]

    await house.until(lambda: count(known, 2))
    wanted = [watch("Periodic", 3600, severity) for severity in range(5)]
    done = await house.ask("POST", f"{path}/monitors", {"monitors": wanted})
    assert (done["messages"], done["state"], len(done["results"])) == (3, "accepted", 5)
    ids = [one["id"] for one in done["results"]]
    gone = await house.ask("POST", f"{path}/monitors/clear", {"ids": [*ids, 1]})
    assert (gone["messages"], gone["state"]) == (3, "rejected")  # the hard-wired one stays
    assert [one["status"] for one in gone["results"]] == ["Accepted"] * 5 + ["Rejected"]
    sizes = [len(payload["id"]) for action, payload in station.calls if action == "ClearVariableMonitoring"]
    assert sizes == [2, 2, 2]


@TWO_X
async def test_tc_n_02_report_of_all_monitors_replaces_what_was_known(house: House, version: str) -> None:
    station = await house.station(version)
    await command(house, station, type="set_variable_monitoring", monitors=[watch("UpperThreshold", 60, 4)])
    station.state_of(MonitorState).monitors.pop(1000)  # gone by itself
    asked = await command(house, station, type="get_monitoring_report")
    assert asked["state"] == "accepted"
    await house.request(station, "monitoring_report", "complete")
    await house.until(lambda: count(lambda: monitors(house, station), 2))
    assert {one["id"] for one in await monitors(house, station)} == {1, 101}


async def test_tc_n_05_new_base_is_followed_by_a_report(house: House) -> None:
    station = await house.station("2.0.1")
    await command(house, station, type="set_variable_monitoring", monitors=[watch("UpperThreshold", 60, 4)])
    done = await command(house, station, type="set_monitoring_base", base="hard_wired_only")
    assert done["state"] == "accepted"
    await house.until(lambda: count(lambda: monitors(house, station), 1))
    assert (await command(house, station, type="set_monitoring_level", severity=4))["state"] == "accepted"


@TWO_X
async def test_tc_n_21_alert_stands_while_the_threshold_is_passed(house: House, version: str) -> None:
    station = await house.station(version)
    await command(house, station, type="set_variable_monitoring", monitors=[watch("UpperThreshold", 60, 2)])
    measured = station.state_of(MonitorState).measured
    measured["chargingstation", 0, "temperature"] = "88"
    await house.until(lambda: count(lambda: alerts(house, station), 1))
    (alert,) = await alerts(house, station)
    assert (alert["severity"], alert["ident"]) == ("critical", "ChargingStation.Temperature")
    assert "88" in alert["title"]
    measured["chargingstation", 0, "temperature"] = "30"
    await house.until(lambda: count(lambda: alerts(house, station), 0))
    newest, first = await events(house, station)
    assert (first["cleared"], newest["cleared"], newest["cause"]) == (False, True, first["event_id"])
    assert first["severity"] == 2  # of the monitor, where the event says none (2.0.1)
    assert first["variable"]["component"] == "ChargingStation"
    assert await events(house, station, "&variable=Power") == []
    assert len(await events(house, station, "&max_severity=1")) == 0


async def test_n07_event_that_no_monitor_watches_and_rules_about_it(house: House) -> None:
    station = await house.station("2.1")
    rule = {"component": "Connector", "tech_code": "E42", "weight": "none"}
    made = await house.ask("POST", "/v1/event-rules", rule)
    tell_event(station, "Connector", "Problem", "true", evse_id=1, tech_code="E42", severity=1)
    tell_event(station, "Connector", "Problem", "true", evse_id=1, tech_code="E43", tech_info="fuse", severity=5)
    await house.until(lambda: count(lambda: alerts(house, station), 1))
    (alert,) = await alerts(house, station)
    assert (alert["severity"], alert["ident"]) == ("warning", "Connector#1.Problem E43")
    assert "fuse" in alert["title"]
    assert len(await events(house, station)) == 2
    assert [one["id"] for one in (await house.ask("GET", "/v1/event-rules"))["items"]] == [made["id"]]
    await house.ask("DELETE", f"/v1/event-rules/{made['id']}")
    tell_event(station, "Connector", "Problem", "true", evse_id=1, tech_code="E42", severity=1)
    await house.until(lambda: count(lambda: alerts(house, station), 2))


async def test_events_are_paged_in_their_order(house: House) -> None:
    station = await house.station("2.0.1")
    for number in range(5):
        tell_event(station, "EVSE", "Power", str(number), evse_id=1)
    await house.until(lambda: count(lambda: events(house, station), 5))
    path = f"/v1/charging-stations/{station.station_id}/events?limit=2"
    values: list[str] = []
    cursor = ""
    while True:
        page = await house.ask("GET", path + cursor)
        values += [one["actual_value"] for one in page["items"]]
        if not page.get("next_cursor"):
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert values == ["4", "3", "2", "1", "0"]


@TWO_X
async def test_tc_n_27_customer_information_is_shown_once(house: House, version: str) -> None:
    station = await house.station(version)
    station.state_of(CustomerState).known["tag1"] = ["Jane Doe " * 100]
    path = f"/v1/charging-stations/{station.station_id}/customer-information?wait_s=30"
    done = await house.ask("POST", path, {"id_token": {"value": "TAG1", "type": "ISO14443"}, "clear": True})
    assert done["state"] == "accepted"

    async def there() -> Any:
        page = await house.ask("GET", f"/v1/customer-information?station_id={station.station_id}")
        return [one for one in page["items"] if one["complete"]]

    (found,) = await house.until(there)
    shown = await house.ask("POST", f"/v1/customer-information/{found['id']}/show")
    assert shown["text"] == "Jane Doe " * 100
    again = await house.client.post(f"/v1/customer-information/{found['id']}/show")
    assert again.status_code == 409
    request = await house.request(station, "customer_information", "complete")
    assert "Jane" not in str(request)
    async with house.server.database.read() as db:
        kept = await db.fetch("SELECT payload FROM station_notice WHERE action = 'NotifyCustomerInformation'")
        sealed = await db.fetch("SELECT sealed FROM customer_information_part")
    assert len(kept) >= 2
    assert not any("Jane" in row["payload"] for row in kept)
    assert sealed == []  # it was shown
    both = {"id_token": {"value": "TAG1"}, "identifier": "x"}
    assert (await house.ask("POST", path, both))["state"] == "rejected"  # N09.FR.04


async def test_1_6_has_neither_monitors_nor_customers(house: House) -> None:
    station = await house.station("1.6")
    done = await command(house, station, type="set_monitoring_level", severity=4)
    assert (done["state"], "2.0.1" in done["reason"]) == ("rejected", True)


async def test_silent_station_raises_an_alert_until_it_speaks(house: House) -> None:
    station = await house.station("2.0.1")
    path = f"/v1/charging-stations/{station.station_id}"
    await house.ask("PATCH", path, {"settings": {"heartbeat_interval_s": 1, "permanently_connected": True}})
    assert await alerts(house, station, "silence") == []
    station.go_offline()
    await house.until(lambda: count(lambda: alerts(house, station, "silence"), 1))
    station.go_online()
    await station.wait_online()
    station.send(station.dialect.heartbeat())
    await house.until(lambda: count(lambda: alerts(house, station, "silence"), 0))


async def test_wrong_clock_raises_an_alert_until_it_is_right(house: House) -> None:
    station = await house.station("2.0.1", Fault.TIME_1970)
    station.send(station.dialect.status(station, station.evse(1)))
    await house.until(lambda: count(lambda: alerts(house, station, "clock_offset"), 1))
    (alert,) = await alerts(house, station, "clock_offset")
    assert "behind" in alert["title"]


async def test_monitoring_needs_its_scope(house: House) -> None:
    station = await house.station("2.0.1")
    made = await house.ask("POST", "/v1/api-keys", {"name": "k", "scopes": ["diagnostics:read"]})
    key = {"Authorization": f"Bearer {made['key']}"}
    for path, status in (
        (f"/v1/charging-stations/{station.station_id}/events", 200),
        ("/v1/customer-information", 403),
        ("/v1/firmware", 403),
    ):
        assert (await house.client.get(path, headers=key)).status_code == status
    await asyncio.sleep(0)
