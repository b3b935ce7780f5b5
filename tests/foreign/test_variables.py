"""A foreign station's settings are read by the server and changed by the operator."""

from __future__ import annotations

from typing import Any

import pytest

from tests.foreign.house import Address, Operator, operator
from tests.foreign.stations import STATIONS
from tests.foreign.stations.variables import NEEDS_RESTART

every_version = pytest.mark.parametrize("version", STATIONS)
INTERVAL = {"component": "OCPPCommCtrlr", "variable": "HeartbeatInterval"}


async def value_of(who: Operator, variable: str) -> str | None:
    (found,) = await who.items(f"{who.station}/variables", variable=variable)
    value: str | None = found["value"]
    return value


@every_version
async def test_everything_is_read_after_the_boot(address: Address, version: str) -> None:
    kind, settings = STATIONS[version], {"read_variables": True}
    async with operator(address, f"READ-{version}", settings=settings) as who, kind.online(who, address) as station:
        page = await who.until(
            f"{who.station}/variables",
            lambda found: len(found["items"]) >= len(station.settings),
            limit=1000,
        )
        if version == "1.6":
            assert station.asked("GetConfiguration") == [{}]
        else:
            report = await who.request("variables")
            assert [len(part["items"]) for part in report["parts"]] == [5, 5, 4]
            assert station.asked("GetBaseReport") == [
                {"requestId": report["request_id"], "reportBase": "FullInventory"}
            ]
        known = {(one["component"], one["variable"], one["variable_instance"]): one for one in page["items"]}
        assert len(known) == len(station.settings)
        interval = known["OCPPCommCtrlr", "HeartbeatInterval", None]
        assert (interval["value"], interval["mutability"]) == ("300", "ReadWrite")
        own = next(one for one in page["items"] if one["variable"] == NEEDS_RESTART)
        assert (own["component"], own["value"]) == (None if version == "1.6" else "BuzzerCtrlr", "7")


@every_version
async def test_values_are_asked_for_and_set(address: Address, version: str) -> None:
    async with operator(address, f"SET-{version}") as who, STATIONS[version].online(who, address) as station:
        gone = {"variable": "AcmeGone"} if version == "1.6" else {"component": "AcmeCtrlr", "variable": "Gone"}
        done = await who.command(
            type="get_variables", variables=[INTERVAL, {"variable": "MeterValueSampleInterval"}, gone]
        )
        assert done["state"] == "accepted", done
        assert [(one["status"], one.get("value")) for one in done["reply"]["results"]] == [
            ("Accepted", "300"),
            ("Accepted", "60"),
            ("UnknownVariable" if version == "1.6" else "UnknownComponent", None),
        ]
        limit = {"variable": "ChargeProfileMaxStackLevel"}
        done = await who.command(
            type="set_variables",
            variables=[
                {**INTERVAL, "value": "120"},
                {**limit, "value": "3"},
                {"variable": "MeterValueSampleInterval", "value": "15"},
            ],
        )
        assert done["state"] == "rejected"
        assert [one["status"] for one in done["reply"]["results"]] == ["Accepted", "Rejected", "Accepted"]
        assert (await value_of(who, "HeartbeatInterval"), station_value(station, "HeartbeatInterval")) == ("120", "120")


def station_value(station: Any, variable: str) -> str:
    """What the station has of it now."""
    (found,) = [
        one.value
        for name, one in station.settings.items()
        if variable in (name if station.version != "1.6" else (name,))
    ]
    return str(found)


@every_version
async def test_changes_are_read_back_also_after_the_restart_they_need(address: Address, version: str) -> None:
    async with operator(address, f"CHANGE-{version}") as who, STATIONS[version].online(who, address) as station:
        own = {"variable": NEEDS_RESTART} | ({} if version == "1.6" else {"component": "BuzzerCtrlr"})
        body = {
            "variables": [{**INTERVAL, "value": "90"}, {**own, "value": "2"}],
            "reset": "immediate",
            "patience_s": 20,
        }
        done = await who.send("PATCH", f"{who.station}/variables?wait_s=30", body, 202)
        assert done["state"] == "succeeded", done
        assert [(one["variable"], one["state"]) for one in done["variables"]] == [
            ("HeartbeatInterval", "applied"),
            (NEEDS_RESTART, "applied"),
        ]
        await station.settled()
        assert (station_value(station, NEEDS_RESTART), len(station.boot_reasons)) == ("2", 2)
        bad = await who.send(
            "PATCH", f"{who.station}/variables?wait_s=30", {"variables": [{**INTERVAL, "value": "often"}]}, 202
        )
        assert (bad["state"], bad["variables"][0]["state"]) == ("failed", "rejected")
