"""A foreign 2.x station's monitors raise the operator's alerts, and it tells what it knows of a customer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.foreign.house import Address, Operator, operator
from tests.foreign.stations import STATIONS

two_x = pytest.mark.parametrize("version", ["2.0.1", "2.1"])
WARMTH = {"component": "ChargingStation", "variable": "Temperature"}


async def kept(who: Operator) -> list[tuple[Any, ...]]:
    return [
        (one["id"], one["kind"], one["value"], one["severity"]) for one in await who.items(f"{who.station}/monitors")
    ]


@two_x
async def test_monitor_is_set_reported_and_cleared_and_its_event_is_an_alert(address: Address, version: str) -> None:
    async with operator(address, f"MONITOR-{version}") as who, STATIONS[version].online(who, address) as station:
        wanted = [
            {"variable": WARMTH, "kind": "UpperThreshold", "value": "60.5", "severity": 2},
            {"variable": WARMTH, "kind": "Periodic", "value": "300", "severity": 8},
        ]
        done = await who.post(f"{who.station}/monitors", {"monitors": wanted}, 200)
        assert (done["state"], [one["status"] for one in done["results"]]) == ("accepted", ["Accepted"] * 2)
        assert await kept(who) == [(1, "UpperThreshold", 60.5, 2), (2, "Periodic", 300, 8)]
        refused = {
            "variable": {"component": "Toaster", "variable": "Heat"},
            "kind": "Delta",
            "value": "1",
            "severity": 5,
        }
        answer = await who.post(f"{who.station}/monitors", {"monitors": [refused]}, 200)
        assert (answer["state"], answer["results"][0]["status"]) == ("rejected", "UnknownComponent")

        cause = await station.measure(1, "88")
        (alert,) = (
            await who.until(
                "/alerts", lambda found: found["items"], station_id=who.name, kind="station_event", standing=True
            )
        )["items"]
        assert (alert["severity"], alert["ident"], "88" in alert["title"]) == (
            "critical",
            "ChargingStation.Temperature",
            True,
        )
        await station.measure(1, "30", cleared=True, cause=cause)
        await who.until(
            "/alerts", lambda found: not found["items"], station_id=who.name, kind="station_event", standing=True
        )
        newest, first = await who.items(f"{who.station}/events")
        assert (first["severity"], first["actual_value"], first["cleared"]) == (2, "88", False)
        assert (newest["cleared"], newest["cause"]) == (True, first["event_id"])

        del station.monitors[2]  # gone by itself
        station.monitors[7] = {**station.monitors[1], "type": "LowerThreshold", "value": -20.0, "severity": 5}
        assert (await who.command(type="get_monitoring_report"))["state"] == "accepted"
        await who.request("monitoring_report")
        await who.until(f"{who.station}/monitors", lambda found: [one["id"] for one in found["items"]] == [1, 7])
        assert (await kept(who))[1][1:] == ("LowerThreshold", -20, 5)

        gone = await who.post(f"{who.station}/monitors/clear", {"ids": [1, 99]}, 200)
        assert [one["status"] for one in gone["results"]] == ["Accepted", "NotFound"]
        assert [one[0] for one in await kept(who)] == [7]
        assert (await who.command(type="set_monitoring_level", severity=4))["state"] == "accepted"
        assert station.monitoring_level == 4
        assert (await who.command(type="set_monitoring_base", base="factory_default"))["state"] == "accepted"
        assert station.monitoring_base == "FactoryDefault"
        await who.until(f"{who.station}/monitors", lambda found: not found["items"])


@two_x
async def test_customer_information_is_told_in_parts_shown_once_and_forgotten(address: Address, version: str) -> None:
    async with operator(address, f"CUSTOMER-{version}") as who, STATIONS[version].online(who, address) as station:
        station.customers[who.tag] = "Jane Doe, " * 40
        body = {"id_token": {"value": who.tag, "type": "ISO14443"}, "clear": True}
        done = await who.post(f"{who.station}/customer-information?wait_s=20", body, 202)
        assert done["state"] == "accepted", done
        page = await who.until(
            "/customer-information",
            lambda found: found["items"] and found["items"][0]["complete"],
            station_id=who.name,
        )
        path = f"/customer-information/{page['items'][0]['id']}/show"
        assert (await who.post(path, None, 200))["text"] == "Jane Doe, " * 40
        await who.post(path, None, 409)
        assert station.customers == {}
        again = await who.post(f"{who.station}/customer-information?wait_s=20", body, 202)
        assert (again["state"], again["status"]) == ("rejected", "Rejected")
